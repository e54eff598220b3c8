#include "operations/op_control.h"

#include "base/alloc.h"
#include "operations/op_single.h"
#include "pure/hash.h"

enum { DOCUMENT_LIMIT = 64 * 1024, DELETE_DOCUMENT_LIMIT = 4 * 1024 * 1024 };

static struct s3_op *public_of(struct op_single *single)
{
    return single == NULL ? NULL : &single->op;
}

/* ---- head, delete ---- */

static const struct s3_single_kind HEAD = {
    .name = "head", .method = S3I_HEAD, .has_key = true, .encryption = S3I_ENCRYPT_KEY};

struct s3_op *s3i_op_head_new(struct s3_client *client, const struct s3_op_texts *texts)
{
    return public_of(s3i_single_new(&HEAD, client, texts));
}

static const struct s3_single_kind DELETE = {
    .name = "delete", .method = S3I_DELETE, .has_key = true, .document_limit = DOCUMENT_LIMIT};

struct s3_op *s3i_op_delete_new(struct s3_client *client, const struct s3_op_texts *texts)
{
    return public_of(s3i_single_new(&DELETE, client, texts));
}

/* ---- delete many ---- */

static int read_deleted(struct op_single *single, struct s3_xml_error *xml)
{
    struct s3_delete_result *result = single->state;
    s3i_delete_result_clear(result);
    s3i_delete_result_init(result);
    S3I_TRY(s3i_xml_delete(s3i_buf_str(&single->request.document), S3I_DELETE_MAX, result, xml));
    single->op.result.text = result->text.data;
    single->op.result.text_size = result->text.size;
    single->op.result.failures = (const struct s3ext_delete_failure *)result->failures;
    single->op.result.failure_count = result->failure_count;
    return S3EXT_OK;
}

/* The record that leaves the core is the one that the parser fills. */
_Static_assert(sizeof(struct s3_delete_failure) == sizeof(struct s3ext_delete_failure),
               "one layout");

static void free_deleted(struct op_single *single)
{
    if (single->state != NULL) {
        s3i_delete_result_clear(single->state);
        s3i_free(single->state);
    }
}

static const struct s3_single_kind DELETE_MANY = {
    .name = "delete many",
    .method = S3I_POST,
    .document_limit = DELETE_DOCUMENT_LIMIT,
    .read_document = read_deleted,
    .destroy = free_deleted,
};

static void write_keys(struct s3_buf *body, struct s3_str keys, size_t count)
{
    s3i_buf_add(body, S3I_STR("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"));
    for (size_t i = 0; i < count && keys.size; i++) {
        size_t size = strnlen(keys.data, keys.size);
        s3i_buf_add(body, S3I_STR("<Object><Key>"));
        s3i_xml_add_text(body, s3i_str(keys.data, size));
        s3i_buf_add(body, S3I_STR("</Key></Object>"));
        keys = size + 1 < keys.size ? s3i_str(keys.data + size + 1, keys.size - size - 1)
                                    : S3I_STR_NONE;
    }
    s3i_buf_add(body, S3I_STR("</Delete>"));
}

/* Content-MD5 is what S3 demands here; the SHA-256 checksum is what newer servers take instead. */
static int add_digests(struct op_single *single)
{
    static const struct {
        enum s3_hash_kind kind;
        size_t size;
        struct s3_str name;
    } digests[] = {
        {S3I_HASH_MD5, S3I_MD5_SIZE, {"content-md5", 11}},
        {S3I_HASH_SHA256, S3I_SHA256_SIZE, {"x-amz-checksum-sha256", 21}},
    };
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        uint8_t digest[S3I_HASH_MAX];
        char text[64];
        struct s3_buf base64;
        s3i_buf_fixed(&base64, text, sizeof(text));
        S3I_TRY(s3i_hash_once(digests[i].kind, s3i_buf_str(&single->body), digest));
        s3i_hash_add_base64(&base64, digest, digests[i].size);
        s3i_pair_add(&single->headers, digests[i].name, s3i_buf_str(&base64));
    }
    return S3EXT_OK;
}

struct s3_op *s3i_op_delete_many_new(struct s3_client *client, struct s3_str keys, size_t count)
{
    const struct s3_op_texts texts = {.query_pairs = s3i_str("delete\0", 8)};
    struct op_single *single = s3i_single_new(&DELETE_MANY, client, &texts);
    if (single == NULL) {
        return NULL;
    }
    struct s3_delete_result *result = s3i_calloc(1, sizeof(*result));
    if (result == NULL) {
        s3i_op_release(&single->op);
        return NULL;
    }
    s3i_delete_result_init(result);
    single->state = result;
    if (count == 0 || count > S3I_DELETE_MAX) {
        s3i_error_set(&single->op.error, S3EXT_INVALID,
                      "a delete request takes 1 to 1000 keys, not %zu", count);
        return &single->op;
    }
    write_keys(&single->body, keys, count);
    s3i_pair_add(&single->headers, S3I_STR("content-type"), S3I_STR("application/xml"));
    int code = s3i_buf_ok(&single->body) ? add_digests(single) : S3EXT_NO_MEMORY;
    if (code != S3EXT_OK) {
        s3i_error_set(&single->op.error, code, "the delete request could not be built");
    }
    return &single->op;
}

/* ---- credentials ---- */

static const struct s3_single_kind CREDENTIALS = {.name = "credentials", .method = S3I_HEAD};

struct s3_op *s3i_op_credentials_new(struct s3_client *client)
{
    const struct s3_op_texts texts = {.key = S3I_STR_NONE};
    struct op_single *single = s3i_single_new(&CREDENTIALS, client, &texts);
    if (single != NULL) {
        single->request.identity_only = true;
    }
    return public_of(single);
}
