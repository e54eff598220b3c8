#include "operations/op_http.h"

#include "operations/op_single.h"

enum { DOCUMENT_LIMIT = 64 * 1024 }; /* as much as is kept of an error */

static void show_document(struct op_single *single)
{
    single->op.result.text = single->request.document.data;
    single->op.result.text_size = single->request.document.size;
}

static int read_answer(struct op_single *single, struct s3_xml_error *xml)
{
    (void)xml;
    show_document(single);
    return S3EXT_OK;
}

/*
 * The code of an error of the JSON services: {"__type": "com.amazonaws.dynamodb#<code>", ...}. Only
 * what retries need is looked for, wherever it is; a document that is no such thing has none.
 */
static struct s3_str json_code(struct s3_str document)
{
    static const char name[] = "\"__type\"";
    const char *found =
        document.size ? memmem(document.data, document.size, name, sizeof(name) - 1) : NULL;
    if (found == NULL) {
        return S3I_STR_NONE;
    }
    const char *end = document.data + document.size;
    const char *at = found + sizeof(name) - 1;
    while (at < end && (*at == ' ' || *at == ':')) {
        at++;
    }
    if (at == end || *at != '"') {
        return S3I_STR_NONE;
    }
    const char *code = ++at;
    for (; at < end && *at != '"'; at++) {
        code = *at == '#' ? at + 1 : code;
    }
    return at < end ? s3i_str(code, (size_t)(at - code)) : S3I_STR_NONE;
}

static void read_refusal(struct op_single *single, const struct s3_attempt *attempt,
                         struct s3_xml_error *xml)
{
    s3i_buf_reset(&single->request.document);
    s3i_buf_add(&single->request.document, attempt->document);
    show_document(single);
    const struct s3_answer refusal = {.status = attempt->status, .headers = attempt->headers};
    s3i_op_keep_answer(&single->op, &refusal); /* without memory for them, there are none */
    if (xml->code[0] == '\0') {
        s3i_error_text_copy(xml->code, sizeof(xml->code), json_code(attempt->document));
    }
}

static const struct s3_single_kind HTTP = {
    .name = "http",
    .document_limit = DOCUMENT_LIMIT,
    .read_document = read_answer,
    .read_refusal = read_refusal,
};

static bool find_method(struct s3_str name, enum s3_method *method)
{
    static const enum s3_method methods[] = {S3I_GET, S3I_HEAD, S3I_PUT, S3I_POST, S3I_DELETE};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (s3i_str_equal(s3i_method_name(methods[i]), name)) {
            *method = methods[i];
            return true;
        }
    }
    return false;
}

struct s3_op *s3i_op_http_new(struct s3_client *client, struct s3_str method,
                              const struct s3_op_texts *texts, struct s3_str body, bool repeatable)
{
    struct op_single *single = s3i_single_new(&HTTP, client, texts);
    if (single == NULL) {
        return NULL;
    }
    single->request.has_key = texts->key.size > 0;
    single->request.repeatable = repeatable;
    s3i_buf_add(&single->body, body);
    if (!find_method(method, &single->request.method)) {
        s3i_error_set(&single->op.error, S3EXT_INVALID, "there is no method %.*s", (int)method.size,
                      method.data);
    }
    return &single->op;
}
