/* Error documents: the root that any answer may have. */
#include "pure/xml_reader.h"

enum {
    ERROR_CODE = S3I_NODE_FIRST,
    ERROR_MESSAGE,
    ERROR_REQUEST_ID,
    ERROR_HOST_ID,
    ERROR_REGION,
    ERROR_ENDPOINT,
    ERROR_SERVER_TIME
};

static const struct s3_xml_rule ERROR_RULES[] = {
    {S3I_NODE_ROOT, ERROR_CODE, S3I_KIND_TEXT, {"Code", 4}},
    {S3I_NODE_ROOT, ERROR_MESSAGE, S3I_KIND_TEXT, {"Message", 7}},
    {S3I_NODE_ROOT, ERROR_REQUEST_ID, S3I_KIND_TEXT, {"RequestId", 9}},
    {S3I_NODE_ROOT, ERROR_HOST_ID, S3I_KIND_TEXT, {"HostId", 6}},
    {S3I_NODE_ROOT, ERROR_REGION, S3I_KIND_TEXT, {"Region", 6}},
    {S3I_NODE_ROOT, ERROR_ENDPOINT, S3I_KIND_TEXT, {"Endpoint", 8}},
    {S3I_NODE_ROOT, ERROR_SERVER_TIME, S3I_KIND_TEXT, {"ServerTime", 10}},
};

static void error_ended(struct s3_xml_reader *reader, unsigned node, size_t start, uint32_t seen)
{
    (void)seen;
    struct s3_xml_error *error = reader->error;
    const struct {
        unsigned node;
        char *field;
        size_t capacity;
    } fields[] = {
        {ERROR_CODE, error->code, sizeof(error->code)},
        {ERROR_MESSAGE, error->message, sizeof(error->message)},
        {ERROR_REQUEST_ID, error->request_id, sizeof(error->request_id)},
        {ERROR_HOST_ID, error->host_id, sizeof(error->host_id)},
        {ERROR_REGION, error->region, sizeof(error->region)},
        {ERROR_ENDPOINT, error->endpoint, sizeof(error->endpoint)},
        {ERROR_SERVER_TIME, error->server_time, sizeof(error->server_time)},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].node == node) {
            s3i_error_text_copy(
                fields[i].field, fields[i].capacity,
                s3i_str(reader->scratch.data + start, reader->scratch.size - start));
        }
    }
}

const struct s3_xml_grammar s3i_xml_error_grammar = {
    .root = {"Error", 5},
    .rules = ERROR_RULES,
    .count = sizeof(ERROR_RULES) / sizeof(ERROR_RULES[0]),
    .cuts = true,
    .sink = s3i_xml_scratch,
    .ended = error_ended,
};

bool s3i_xml_error(struct s3_str document, struct s3_xml_error *error)
{
    struct s3_xml_reader reader = {.grammar = &s3i_xml_error_grammar, .error = error};
    s3i_xml_parse(&reader, document);
    return reader.is_error;
}
