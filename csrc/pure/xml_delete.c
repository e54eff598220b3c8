/* Results of bulk deletes. */
#include "base/alloc.h"
#include "pure/xml_reader.h"

enum { DELETE_FAILURE = S3I_NODE_FIRST, DELETE_KEY, DELETE_CODE, DELETE_MESSAGE };

static const struct s3_xml_rule DELETE_RULES[] = {
    {S3I_NODE_ROOT, DELETE_FAILURE, S3I_KIND_RECORD, {"Error", 5}},
    {DELETE_FAILURE, DELETE_KEY, S3I_KIND_TEXT, {"Key", 3}},
    {DELETE_FAILURE, DELETE_CODE, S3I_KIND_TEXT, {"Code", 4}},
    {DELETE_FAILURE, DELETE_MESSAGE, S3I_KIND_TEXT, {"Message", 7}},
};

struct deletion {
    struct s3_delete_result *result;
    struct s3_delete_failure failure; /* the one that is open */
};

static struct s3_buf *delete_sink(struct s3_xml_reader *reader, unsigned node)
{
    (void)node;
    const struct deletion *deletion = reader->target;
    return &deletion->result->text;
}

static void delete_add_failure(struct s3_xml_reader *reader)
{
    struct deletion *deletion = reader->target;
    struct s3_delete_result *result = deletion->result;
    if (!s3i_xml_may_add(reader, result->failure_count)) {
        return;
    }
    struct s3_delete_failure *room =
        s3i_xml_make_room(result->failures, result->failure_count, &result->failure_capacity,
                          sizeof(*result->failures));
    if (room == NULL) {
        s3i_xml_fail(reader, S3EXT_NO_MEMORY, "out of memory");
        return;
    }
    result->failures = room;
    room[result->failure_count++] = deletion->failure;
    deletion->failure = (struct s3_delete_failure){0};
}

static void delete_ended(struct s3_xml_reader *reader, unsigned node, size_t start, uint32_t seen)
{
    struct deletion *deletion = reader->target;
    struct s3_delete_failure *failure = &deletion->failure;
    const uint32_t offset = (uint32_t)start;
    const uint32_t size = (uint32_t)(deletion->result->text.size - start);
    switch (node) {
    case DELETE_KEY:
        failure->key_offset = offset;
        failure->key_size = size;
        break;
    case DELETE_CODE:
        failure->code_offset = offset;
        failure->code_size = size;
        break;
    case DELETE_MESSAGE:
        failure->message_offset = offset;
        failure->message_size = size;
        break;
    case DELETE_FAILURE:
        if (!(seen >> DELETE_KEY & 1)) {
            s3i_xml_fail(reader, S3EXT_PROTOCOL, "a failure of the bulk delete names no key");
        } else {
            delete_add_failure(reader);
        }
        break;
    default:
        break;
    }
}

static void delete_reset(struct s3_delete_result *result)
{
    s3i_buf_reset(&result->text);
    result->failure_count = 0;
}

void s3i_delete_result_init(struct s3_delete_result *result)
{
    *result = (struct s3_delete_result){.failure_count = 0};
    s3i_buf_init(&result->text, S3I_XML_TEXT_MAX);
}

void s3i_delete_result_clear(struct s3_delete_result *result)
{
    s3i_buf_clear(&result->text);
    s3i_free(result->failures);
    s3i_delete_result_init(result);
}

int s3i_xml_delete(struct s3_str document, size_t max_entries, struct s3_delete_result *result,
                   struct s3_xml_error *error)
{
    static const struct s3_xml_grammar GRAMMAR = {
        .root = {"DeleteResult", 12},
        .rules = DELETE_RULES,
        .count = sizeof(DELETE_RULES) / sizeof(DELETE_RULES[0]),
        .sink = delete_sink,
        .ended = delete_ended,
    };
    struct deletion deletion = {.result = result};
    struct s3_xml_reader reader = {
        .grammar = &GRAMMAR, .error = error, .target = &deletion, .max_records = max_entries};
    delete_reset(result);
    int code = s3i_xml_parse(&reader, document);
    if (code != S3EXT_OK) {
        delete_reset(result);
    }
    return code;
}
