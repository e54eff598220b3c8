#include "identity/sigv2.h"

#include "base/alloc.h"
#include "pure/hash.h"

struct s3_v2_signer {
    struct s3_hmac_key *key;
    struct s3_str key_id; /* lies behind the struct */
};

struct s3_v2_signer *s3i_v2_signer_new(struct s3_str key_id, struct s3_str secret)
{
    struct s3_v2_signer *signer = s3i_calloc(1, sizeof(*signer) + key_id.size);
    if (signer == NULL) {
        return NULL;
    }
    if (key_id.size > 0) {
        memcpy(signer + 1, key_id.data, key_id.size);
    }
    signer->key_id = s3i_str((const char *)(signer + 1), key_id.size);
    signer->key = s3i_hmac_key_new(S3I_HASH_SHA1, secret);
    if (signer->key == NULL) {
        s3i_v2_signer_free(signer);
        return NULL;
    }
    return signer;
}

void s3i_v2_signer_free(struct s3_v2_signer *signer)
{
    if (signer != NULL) {
        s3i_hmac_key_free(signer->key);
        s3i_free(signer);
    }
}

/* ---- the string to sign ---- */

static struct s3_str header_value(const struct s3_v2_request *request, struct s3_str name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (s3i_str_equal(request->headers[i].name, name)) {
            return request->headers[i].value;
        }
    }
    return S3I_STR_NONE;
}

static void add_line(struct s3_buf *out, struct s3_str text)
{
    s3i_buf_add(out, text);
    s3i_buf_add_char(out, '\n');
}

/* Of a header that comes several times the values are joined by ','. */
static void add_amz_headers(struct s3_buf *out, const struct s3_v2_request *request)
{
    struct s3_str last = S3I_STR_NONE;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct s3_header *header = &request->headers[i];
        if (!s3i_str_starts(header->name, S3I_STR("x-amz-"))) {
            continue;
        }
        if (s3i_str_equal(header->name, last)) {
            s3i_buf_add_char(out, ',');
        } else {
            if (last.size > 0) {
                s3i_buf_add_char(out, '\n');
            }
            s3i_buf_add(out, header->name);
            s3i_buf_add_char(out, ':');
        }
        s3i_buf_add(out, header->value);
        last = header->name;
    }
    if (last.size > 0) {
        s3i_buf_add_char(out, '\n');
    }
}

/* Of the page named above, and what S3 has got since. */
static bool is_resource(struct s3_str name)
{
    static const char *const NAMES[] = {
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    };
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (s3i_str_equal(name, s3i_str_from(NAMES[i]))) {
            return true;
        }
    }
    return false;
}

/* The text up to a byte, or all of it; `rest` is what follows that byte. */
static struct s3_str take_until(struct s3_str text, char end, struct s3_str *rest)
{
    const char *place = text.size ? memchr(text.data, end, text.size) : NULL;
    size_t taken = place ? (size_t)(place - text.data) : text.size;
    *rest = place ? s3i_str(place + 1, text.size - taken - 1) : S3I_STR_NONE;
    return s3i_str(text.data, taken);
}

/* A canonical query is in the right order: the names of sub-resources are encoded as themselves. */
static void add_resources(struct s3_buf *out, struct s3_str query)
{
    char mark = '?';
    while (query.size > 0) {
        struct s3_str value;
        struct s3_str name = take_until(take_until(query, '&', &query), '=', &value);
        if (!is_resource(name)) {
            continue;
        }
        s3i_buf_add_char(out, mark);
        s3i_buf_add(out, name);
        if (value.size > 0) {
            s3i_buf_add_char(out, '=');
            s3i_uri_add_decoded(out, value);
        }
        mark = '&';
    }
}

/* `date` is the line of the time: that of the headers, or when a presigned URL expires. */
static void add_string_to_sign(struct s3_buf *out, const struct s3_v2_request *request,
                               struct s3_str date)
{
    add_line(out, request->method);
    add_line(out, header_value(request, S3I_STR("content-md5")));
    add_line(out, header_value(request, S3I_STR("content-type")));
    add_line(out, date);
    add_amz_headers(out, request);
    s3i_buf_add(out, request->bucket);
    s3i_buf_add(out, request->path);
    add_resources(out, request->query);
}

/* No string to sign is longer. */
static size_t scratch_size(const struct s3_v2_request *request, struct s3_str date)
{
    size_t size = request->method.size + request->bucket.size + request->path.size +
                  request->query.size + date.size + 5; /* line feeds and a mark */
    for (size_t i = 0; i < request->header_count; i++) {
        size += request->headers[i].name.size + request->headers[i].value.size + 2;
    }
    return size;
}

/* Appends the signature of a request whose headers are sorted, in base64. */
static int add_signature(struct s3_buf *out, const struct s3_v2_signer *signer,
                         const struct s3_v2_request *request, struct s3_str date)
{
    size_t size = scratch_size(request, date);
    char *memory = s3i_malloc(size);
    if (memory == NULL) {
        return S3EXT_NO_MEMORY;
    }
    struct s3_buf scratch;
    uint8_t digest[S3I_SHA1_SIZE];
    s3i_buf_fixed(&scratch, memory, size);
    add_string_to_sign(&scratch, request, date);
    int code = s3i_buf_ok(&scratch) ? s3i_hmac(signer->key, s3i_buf_str(&scratch), digest)
                                    : S3EXT_NO_MEMORY;
    s3i_free_secret(memory, size); /* a session token is among the headers */
    if (code == S3EXT_OK) {
        s3i_hash_add_base64(out, digest, sizeof(digest));
    }
    return code;
}

int s3i_v2_sign_headers(const struct s3_v2_signer *signer, const struct s3_v2_request *request,
                        struct s3_buf *authorization)
{
    s3i_sign_sort(request->headers, request->header_count);
    /* x-amz-date stands among the x-amz-* headers, and the line of Date is empty then. */
    bool amz_date = header_value(request, S3I_STR("x-amz-date")).data != NULL;
    struct s3_str date = amz_date ? S3I_STR_NONE : header_value(request, S3I_STR("date"));
    s3i_buf_add(authorization, S3I_STR("AWS "));
    s3i_buf_add(authorization, signer->key_id);
    s3i_buf_add_char(authorization, ':');
    S3I_TRY(add_signature(authorization, signer, request, date));
    return s3i_buf_ok(authorization) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

/* ---- presigned URLs ---- */

/* What a presigned query is made from: its pairs, and the headers that are signed with it. */
struct presigning {
    struct s3_query *pairs;
    size_t pair_count;
    struct s3_header *headers;
    size_t header_count;
};

static void add_pair(struct presigning *made, struct s3_str name, struct s3_str value)
{
    made->pairs[made->pair_count++] = (struct s3_query){name, value};
    if (s3i_str_starts(name, S3I_STR("x-amz-"))) {
        made->headers[made->header_count++] = (struct s3_header){name, value};
    }
}

static int presign(const struct s3_v2_signer *signer, const struct s3_v2_request *request,
                   const struct presigning *made, struct s3_str expires, struct s3_buf *query)
{
    size_t start = query->size;
    s3i_uri_add_query(query, made->pairs, made->pair_count);
    if (!s3i_buf_ok(query)) {
        return S3EXT_NO_MEMORY;
    }
    char encoded[4 * ((S3I_SHA1_SIZE + 2) / 3)];
    struct s3_buf signature;
    struct s3_v2_request whole = *request;
    whole.query = s3i_str(query->data + start, query->size - start);
    whole.headers = made->headers;
    whole.header_count = made->header_count;
    s3i_sign_sort(whole.headers, whole.header_count);
    s3i_buf_fixed(&signature, encoded, sizeof(encoded));
    S3I_TRY(add_signature(&signature, signer, &whole, expires));
    s3i_buf_add(query, S3I_STR("&Signature="));
    s3i_uri_add_component(query, s3i_buf_str(&signature));
    return s3i_buf_ok(query) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

int s3i_v2_sign_query(const struct s3_v2_signer *signer, const struct s3_v2_request *request,
                      int64_t expires, struct s3_str token, const struct s3_query *extra,
                      size_t extra_count, struct s3_buf *query)
{
    enum { OWN = 3 };
    if (request->query.size != 0 || expires < 0) {
        return S3EXT_INVALID;
    }
    char digits[20]; /* of the largest int64_t */
    struct s3_buf until;
    s3i_buf_fixed(&until, digits, sizeof(digits));
    s3i_buf_add_u64(&until, (uint64_t)expires);
    struct presigning made = {
        .pairs = s3i_calloc(OWN + extra_count, sizeof(struct s3_query)),
        .headers = s3i_calloc(OWN + extra_count + request->header_count, sizeof(struct s3_header)),
    };
    int code = S3EXT_NO_MEMORY;
    if (made.pairs != NULL && made.headers != NULL) {
        for (size_t i = 0; i < request->header_count; i++) {
            made.headers[made.header_count++] = request->headers[i];
        }
        add_pair(&made, S3I_STR("AWSAccessKeyId"), signer->key_id);
        add_pair(&made, S3I_STR("Expires"), s3i_buf_str(&until));
        if (token.size > 0) {
            add_pair(&made, S3I_STR("x-amz-security-token"), token);
        }
        for (size_t i = 0; i < extra_count; i++) {
            add_pair(&made, extra[i].name, extra[i].value);
        }
        code = presign(signer, request, &made, s3i_buf_str(&until), query);
    }
    s3i_free(made.pairs);
    s3i_free(made.headers);
    return code;
}
