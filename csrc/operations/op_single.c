#include "operations/op_single.h"

enum {
    OWN_HEADERS_LIMIT = 16 * 1024,
    OWN_BODY_LIMIT = 8 * 1024 * 1024,
    ROOM_AT_ONCE = 4 * 1024 * 1024 /* that a server's word is enough for */
};

static const struct s3_op_class CLASS;
static const struct s3_request_class REQUEST;

static struct op_single *single_of(struct s3_op *op)
{
    return (struct op_single *)op;
}

void s3i_pair_add(struct s3_buf *block, struct s3_str name, struct s3_str value)
{
    s3i_buf_add(block, name);
    s3i_buf_add_char(block, '\0');
    s3i_buf_add(block, value);
    s3i_buf_add_char(block, '\0');
}

struct op_single *s3i_single_new(const struct s3_single_kind *kind, struct s3_client *client,
                                 const struct s3_op_texts *texts)
{
    struct s3_op *op = s3i_op_new(&CLASS, sizeof(struct op_single), client, texts);
    if (op == NULL) {
        return NULL;
    }
    struct op_single *single = single_of(op);
    single->kind = kind;
    s3i_buf_init(&single->headers, OWN_HEADERS_LIMIT);
    s3i_buf_init(&single->body, OWN_BODY_LIMIT);
    s3i_request_init(&single->request, &REQUEST, client);
    single->request.method = kind->method;
    single->request.has_key = kind->has_key;
    single->request.encryption = kind->encryption;
    single->request.document_limit = kind->document_limit;
    single->request.key = op->key;
    single->request.query = op->query;
    single->request.headers = op->headers;
    return single;
}

static void start(struct s3_op *op)
{
    struct op_single *single = single_of(op);
    if (!s3i_buf_ok(&single->headers) || !s3i_buf_ok(&single->body)) {
        struct s3_error error = {.code = S3EXT_NO_MEMORY};
        s3i_op_fail(op, &error);
        return;
    }
    single->request.extra_headers = s3i_buf_str(&single->headers);
    if (single->body.size) {
        single->request.body = s3i_buf_str(&single->body);
    }
    s3i_op_request(op, &single->request);
}

static void destroy(struct s3_op *op)
{
    struct op_single *single = single_of(op);
    if (single->kind != NULL && single->kind->destroy != NULL) {
        single->kind->destroy(single);
    }
    s3i_request_clear(&single->request);
    s3i_buf_clear(&single->headers);
    s3i_buf_clear(&single->body);
}

static int on_head(struct s3_request *request, struct s3_answer *answer, struct s3_error *error)
{
    struct op_single *single = S3I_OWNER(request, struct op_single, request);
    if (request->method == S3I_HEAD && request->has_key) { /* S3 gives a bucket no length */
        single->op.result.object_size = answer->length_known ? answer->length : UINT64_MAX;
        if (!answer->length_known) {
            return s3i_error_set(error, S3EXT_GENERIC, "the answer has no Content-Length");
        }
    }
    if (single->kind->read_document != NULL && answer->length_known &&
        answer->length <= ROOM_AT_ONCE && answer->length <= request->document_limit) {
        /* A page of a listing would grow, and be copied, ten times. */
        s3i_buf_reserve(&request->document, (size_t)answer->length);
    }
    return s3i_op_keep_answer(&single->op, answer);
}

static int check_document(struct s3_request *request, struct s3_xml_error *xml)
{
    struct op_single *single = S3I_OWNER(request, struct op_single, request);
    return single->kind->read_document ? single->kind->read_document(single, xml) : S3EXT_OK;
}

static void on_refused(struct s3_request *request, const struct s3_attempt *attempt,
                       struct s3_xml_error *xml)
{
    struct op_single *single = S3I_OWNER(request, struct op_single, request);
    if (single->kind->read_refusal != NULL) {
        single->kind->read_refusal(single, attempt, xml);
    }
}

static void on_done(struct s3_request *request)
{
    struct op_single *single = S3I_OWNER(request, struct op_single, request);
    s3i_op_request_done(&single->op, request);
    if (request->error.code != S3EXT_OK) {
        s3i_op_fail(&single->op, &request->error);
    } else {
        s3i_op_finish(&single->op);
    }
}

static const struct s3_op_class CLASS = {.name = "single", .start = start, .destroy = destroy};
static const struct s3_request_class REQUEST = {
    .on_head = on_head,
    .on_done = on_done,
    .check_document = check_document,
    .on_refused = on_refused,
};
