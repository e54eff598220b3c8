#include "pure/xml_reader.h"

#include <assert.h>
#include <expat.h>

#include "base/alloc.h"

enum { FIRST_RECORDS = 64 };

static_assert((uint64_t)S3I_XML_TEXT_MAX < UINT32_MAX, "records hold 32-bit offsets into the text");

/* ---- for grammars ---- */

void s3i_xml_fail(struct s3_xml_reader *reader, int code, const char *reason)
{
    if (reader->code == S3EXT_OK) {
        reader->code = code;
        reader->reason = reason;
        XML_StopParser(reader->parser, XML_FALSE);
    }
}

struct s3_buf *s3i_xml_scratch(struct s3_xml_reader *reader, unsigned node)
{
    (void)node;
    s3i_buf_reset(&reader->scratch);
    return &reader->scratch;
}

void *s3i_xml_make_room(void *records, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return records;
    }
    size_t wanted = *capacity ? *capacity * 2 : FIRST_RECORDS;
    void *grown = s3i_realloc_array(records, wanted, size);
    if (grown != NULL) {
        *capacity = wanted;
    }
    return grown;
}

bool s3i_xml_may_add(struct s3_xml_reader *reader, size_t count)
{
    if (count >= reader->max_records) {
        s3i_xml_fail(reader, S3EXT_PROTOCOL, "the document has more entries than were asked for");
        return false;
    }
    return true;
}

/* ---- expat's calls ---- */

/* The name without its namespace prefix. */
static struct s3_str local_name(const XML_Char *name)
{
    const char *colon = strrchr(name, ':');
    return s3i_str_from(colon != NULL ? colon + 1 : name);
}

static struct s3_xml_frame open_root(struct s3_xml_reader *reader, struct s3_str name)
{
    if (s3i_str_equal(name, s3i_xml_error_grammar.root)) {
        reader->grammar = &s3i_xml_error_grammar;
        reader->is_error = true;
    } else if (!s3i_str_equal(name, reader->grammar->root)) {
        s3i_xml_fail(reader, S3EXT_PROTOCOL, "the document is of another kind");
    }
    return (struct s3_xml_frame){.node = S3I_NODE_ROOT};
}

const struct s3_xml_rule *s3i_xml_find_rule(const struct s3_xml_grammar *grammar, unsigned parent,
                                            struct s3_str name)
{
    for (size_t i = 0; i < grammar->count; i++) {
        if (grammar->rules[i].parent == parent && s3i_str_equal(grammar->rules[i].name, name)) {
            return &grammar->rules[i];
        }
    }
    return NULL;
}

static struct s3_xml_frame open_child(struct s3_xml_reader *reader, struct s3_xml_frame *parent,
                                      struct s3_str name)
{
    const struct s3_xml_rule *rule = s3i_xml_find_rule(reader->grammar, parent->node, name);
    if (rule == NULL || (rule->kind != S3I_KIND_RECORD && (parent->seen >> rule->node & 1))) {
        return (struct s3_xml_frame){.node = S3I_NODE_SKIP};
    }
    parent->seen |= UINT32_C(1) << rule->node;
    if (rule->kind == S3I_KIND_TEXT) {
        reader->sink = reader->grammar->sink(reader, rule->node);
        reader->start = reader->sink->size;
    }
    return (struct s3_xml_frame){.node = rule->node};
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
    struct s3_xml_reader *reader = user;
    (void)attributes;
    if (reader->code != S3EXT_OK) {
        return;
    }
    if (reader->depth == S3I_XML_DEPTH_MAX) {
        s3i_xml_fail(reader, S3EXT_PROTOCOL, "the document is nested too deeply");
        return;
    }
    if (reader->sink != NULL) {
        s3i_xml_fail(reader, S3EXT_PROTOCOL, "an element stands where only text may");
        return;
    }
    struct s3_str local = local_name(name);
    struct s3_xml_frame frame = reader->depth == 0
                                    ? open_root(reader, local)
                                    : open_child(reader, &reader->stack[reader->depth - 1], local);
    reader->stack[reader->depth++] = frame;
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
    struct s3_xml_reader *reader = user;
    (void)name;
    if (reader->code != S3EXT_OK) {
        return;
    }
    struct s3_xml_frame frame = reader->stack[--reader->depth];
    struct s3_buf *sink = reader->sink;
    reader->sink = NULL;
    if (sink != NULL && reader->source.replaced) {
        s3i_xml_restore(sink, reader->start);
    }
    if (frame.node != S3I_NODE_SKIP) {
        reader->grammar->ended(reader, frame.node, reader->start, frame.seen);
    }
}

static void XMLCALL on_text(void *user, const XML_Char *data, int count)
{
    struct s3_xml_reader *reader = user;
    struct s3_buf *sink = reader->sink;
    if (reader->code != S3EXT_OK || sink == NULL) {
        return;
    }
    size_t size = (size_t)count;
    size_t room = sink->limit - sink->size;
    if (size > room && !reader->grammar->cuts) {
        s3i_xml_fail(reader, S3EXT_PROTOCOL, "a text is too long");
        return;
    }
    s3i_buf_add(sink, s3i_str(data, size < room ? size : room));
    if (!s3i_buf_ok(sink)) {
        s3i_xml_fail(reader, S3EXT_NO_MEMORY, "out of memory");
    }
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system_id,
                               const XML_Char *public_id, int has_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_subset;
    s3i_xml_fail(user, S3EXT_PROTOCOL, "the document has a DOCTYPE");
}

static void *expat_realloc(void *block, size_t size)
{
    return s3i_realloc_array(block, size, 1);
}

/* Feeds the whole source. A document without raw control characters needs one buffer. */
static void feed(struct s3_xml_reader *reader)
{
    struct s3_xml_source *source = &reader->source;
    const size_t capacity = source->rest.size + 64;
    enum XML_Status status = XML_STATUS_OK;
    bool done = false;
    while (!done && status == XML_STATUS_OK) {
        void *buffer = XML_GetBuffer(reader->parser, (int)capacity);
        if (buffer == NULL) {
            reader->code = S3EXT_NO_MEMORY;
            return;
        }
        size_t size = s3i_xml_source_fill(source, buffer, capacity);
        if (source->has_nul) {
            reader->code = S3EXT_PROTOCOL;
            reader->reason = "the document is not UTF-8 text";
            return;
        }
        done = source->rest.size == 0;
        status = XML_ParseBuffer(reader->parser, (int)size, done);
    }
    if (status != XML_STATUS_OK && reader->code == S3EXT_OK) {
        bool no_memory = XML_GetErrorCode(reader->parser) == XML_ERROR_NO_MEMORY;
        reader->code = no_memory ? S3EXT_NO_MEMORY : S3EXT_PROTOCOL;
        reader->reason = "the document is no well-formed XML";
    }
}

int s3i_xml_parse(struct s3_xml_reader *reader, struct s3_str document)
{
    /* A caller's encoding overrides that of the document: S3 writes UTF-8, and the scan relies
     * on it. */
    static const XML_Memory_Handling_Suite MEMORY = {s3i_malloc, expat_realloc, s3i_free};
    memset(reader->error, 0, sizeof(*reader->error));
    s3i_buf_fixed(&reader->scratch, reader->scratch_memory, sizeof(reader->scratch_memory));
    if (document.size > S3I_XML_DOCUMENT_MAX) {
        reader->code = S3EXT_PROTOCOL;
        reader->reason = "the document is too large";
    } else {
        reader->source = s3i_xml_source_of(document);
        reader->parser = XML_ParserCreate_MM("UTF-8", &MEMORY, NULL);
        if (reader->parser == NULL) {
            return S3EXT_NO_MEMORY;
        }
        XML_SetUserData(reader->parser, reader);
        XML_SetElementHandler(reader->parser, on_start, on_end);
        XML_SetCharacterDataHandler(reader->parser, on_text);
        XML_SetStartDoctypeDeclHandler(reader->parser, on_doctype);
        feed(reader);
        XML_ParserFree(reader->parser);
    }
    if (reader->is_error && reader->code != S3EXT_NO_MEMORY) {
        return S3EXT_SERVER;
    }
    if (reader->code == S3EXT_PROTOCOL) {
        s3i_error_text_copy(reader->error->message, sizeof(reader->error->message),
                            s3i_str_from(reader->reason));
    }
    return reader->code;
}
