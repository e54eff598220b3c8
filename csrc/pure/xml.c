/*
 * xml: see xml.h. One reader drives expat for every kind of document; a grammar says which elements
 * count.
 *
 * A grammar is a list of rules "inside element A, an element of this name is B". The reader keeps
 * the open elements on a stack of fixed depth, skips what no rule names, and hands the text of an
 * element to the grammar's own function when the element ends. Text goes straight to where it stays
 * (the page's text, the caller's buffer), so a listing costs no allocation per entry.
 *
 * Forbidden characters. XML 1.0 knows no U+0001, not even as "&#x1;", but keys may hold it and
 * servers write it, as a reference or raw. While the document is copied into expat's buffer such a
 * character becomes a placeholder, MARK and a letter, and is turned back when its element ends.
 * MARK is U+FDD0, a code point that Unicode keeps free of meaning; where a text really holds it, it
 * becomes a placeholder too (as "&#xFDD0;" as well), so every MARK that expat reports is one of
 * ours and no text is changed by the round trip. Inside CDATA "&#x1;" is plain text: a document
 * that has a CDATA section is given to expat as it is.
 *
 * The reader is a local of the exported functions and lends nothing beyond them; expat's memory
 * comes through base/alloc.h.
 */
#include "pure/xml.h"

#include <assert.h>
#include <expat.h>

#include "base/alloc.h"
#include "pure/http.h"

enum {
    DOCUMENT_MAX = 64 << 20, /* bytes; a page of 1,000 keys that are all escapes has 4 MB */
    DEPTH_MAX = 32,
    RULES_MAX = 24,
    SCRATCH_SIZE = 2048, /* the text of an element that is parsed or cut, then dropped */
    TOKEN_MAX = 65536,
    FIRST_RECORDS = 64,
    MARK_SIZE = 3,
    PLACEHOLDER_SIZE = MARK_SIZE + 1
};

/* A raw control character grows to a placeholder, until its element ends. */
enum { TEXT_MAX = DOCUMENT_MAX * 4LL };
static_assert((uint64_t)TEXT_MAX < UINT32_MAX, "records hold 32-bit offsets into the text");

static const char MARK[MARK_SIZE] = {'\xEF', '\xB7', '\x90'};

/* The letters of the code points that are no control characters; U+0001 to U+001F are '`' +
 * code. */
enum { LETTER_FDD0 = '0', LETTER_FFFE = '1', LETTER_FFFF = '2', LETTER_CONTROL = '`' };

/* ---- From the document to expat's buffer ---- */

/* What remains of a document on its way to expat. */
struct source {
    struct s3_str rest;
    bool literal;  /* it has a CDATA section: nothing is replaced */
    bool replaced; /* a placeholder was written */
    bool has_nul;  /* no UTF-8 text has one; UTF-16 always does */
};

/* A stretch at the front of the source that is replaced as one. */
struct spot {
    size_t size;
    char letter; /* of the placeholder; 0: the bytes stay as they are */
};

/* Bytes at which something may have to be replaced. Without branches, so that blocks are
 * vectorised. */
static inline unsigned is_special(unsigned char byte)
{
    unsigned control = (unsigned)(byte < 0x20) & (unsigned)(byte != '\t') &
                       (unsigned)(byte != '\n') & (unsigned)(byte != '\r');
    return control | (unsigned)(byte == '&') | (unsigned)(byte == 0xEF);
}

/* The number of bytes at the front that need no second look. */
static size_t plain_run(struct s3_str text)
{
    enum { BLOCK = 32 };
    const unsigned char *data = (const unsigned char *)text.data;
    size_t at = 0;
    while (text.size - at >= BLOCK) {
        unsigned special = 0;
        for (size_t i = 0; i < BLOCK; i++) {
            special |= is_special(data[at + i]);
        }
        if (special) {
            break;
        }
        at += BLOCK;
    }
    while (at < text.size && !is_special(data[at])) {
        at++;
    }
    return at;
}

static char letter_of(uint32_t code)
{
    switch (code) {
    case 0xFDD0:
        return LETTER_FDD0;
    case 0xFFFE:
        return LETTER_FFFE;
    case 0xFFFF:
        return LETTER_FFFF;
    case 0:
    case '\t':
    case '\n':
    case '\r':
        return 0;
    default:
        break;
    }
    if (code >= 0x20) {
        return 0;
    }
    return (char)(LETTER_CONTROL + code);
}

/* The value of a hexadecimal digit, 16 for any other byte. */
static unsigned hex_value(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return (unsigned)(byte - '0');
    }
    if (byte >= 'a' && byte <= 'f') {
        return (unsigned)(byte - 'a') + 10;
    }
    return byte >= 'A' && byte <= 'F' ? (unsigned)(byte - 'A') + 10 : 16;
}

/* "&#1;" or "&#x1;" with any number of digits; every other '&' is left to expat. */
static struct spot reference_spot(struct s3_str text)
{
    const struct spot none = {1, 0};
    if (text.size < 4 || text.data[1] != '#') {
        return none;
    }
    const unsigned base = text.data[2] == 'x' ? 16 : 10;
    const size_t first = base == 16 ? 3 : 2;
    uint32_t code = 0;
    size_t at = first;
    for (; at < text.size && hex_value(text.data[at]) < base; at++) {
        code = code > 0xFFFF ? code : code * base + hex_value(text.data[at]);
    }
    if (at == first || at == text.size || text.data[at] != ';' || letter_of(code) == 0) {
        return none;
    }
    return (struct spot){at + 1, letter_of(code)};
}

/* U+FDD0, U+FFFE and U+FFFF as UTF-8. */
static struct spot raw_spot(struct s3_str text)
{
    static const struct {
        char bytes[MARK_SIZE];
        char letter;
    } RAW[] = {
        {{'\xEF', '\xB7', '\x90'}, LETTER_FDD0},
        {{'\xEF', '\xBF', '\xBE'}, LETTER_FFFE},
        {{'\xEF', '\xBF', '\xBF'}, LETTER_FFFF},
    };
    for (size_t i = 0; i < sizeof(RAW) / sizeof(RAW[0]); i++) {
        if (s3i_str_starts(text, s3i_str(RAW[i].bytes, MARK_SIZE))) {
            return (struct spot){MARK_SIZE, RAW[i].letter};
        }
    }
    return (struct spot){1, 0};
}

static struct spot spot_at(struct s3_str text)
{
    unsigned char byte = (unsigned char)text.data[0];
    if (byte == '&') {
        return reference_spot(text);
    }
    return byte == 0xEF ? raw_spot(text) : (struct spot){1, letter_of(byte < 0x20 ? byte : 0)};
}

/* Moves `size` bytes from the source to `out`. */
static void move_bytes(struct source *source, char *out, size_t size)
{
    memcpy(out, source->rest.data, size);
    source->rest = s3i_str(source->rest.data + size, source->rest.size - size);
}

/* Fills `out` from the source as far as it goes; returns the number of bytes written. */
static size_t source_fill(struct source *source, char *out, size_t capacity)
{
    size_t used = 0;
    while (source->rest.size && capacity - used >= PLACEHOLDER_SIZE) {
        size_t run = plain_run(source->rest);
        run = run < capacity - used ? run : capacity - used;
        move_bytes(source, out + used, run);
        used += run;
        if (source->rest.size == 0 || capacity - used < PLACEHOLDER_SIZE) {
            break;
        }
        struct spot spot = spot_at(source->rest);
        source->has_nul = source->has_nul || source->rest.data[0] == '\0';
        if (spot.letter == 0 || source->literal) {
            move_bytes(source, out + used, 1);
            used++;
            continue;
        }
        memcpy(out + used, MARK, MARK_SIZE);
        out[used + MARK_SIZE] = spot.letter;
        used += PLACEHOLDER_SIZE;
        source->replaced = true;
        source->rest = s3i_str(source->rest.data + spot.size, source->rest.size - spot.size);
    }
    return used;
}

static bool has_cdata(struct s3_str document)
{
    const struct s3_str opening = S3I_STR("<![CDATA");
    size_t at = 0;
    while (at < document.size) {
        const char *bracket = memchr(document.data + at, '[', document.size - at);
        if (bracket == NULL) {
            break;
        }
        size_t before = (size_t)(bracket - document.data);
        if (before >= opening.size &&
            memcmp(bracket - opening.size, opening.data, opening.size) == 0) {
            return true;
        }
        at = before + 1;
    }
    return false;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static struct s3_str without_space(struct s3_str text)
{
    size_t at = 0;
    while (at < text.size && is_space(text.data[at])) {
        at++;
    }
    return at ? s3i_str(text.data + at, text.size - at) : text;
}

/* The document without the white space and the byte order mark that may stand before its
 * declaration. */
static struct source source_of(struct s3_str document)
{
    const struct s3_str bom = S3I_STR("\xEF\xBB\xBF");
    struct s3_str rest = without_space(document);
    if (s3i_str_starts(rest, bom)) {
        rest = without_space(s3i_str(rest.data + bom.size, rest.size - bom.size));
    }
    return (struct source){.rest = rest, .literal = has_cdata(rest)};
}

/* Turns the placeholders in the text from `start` on back into what they stand for. */
static void restore(struct s3_buf *text, size_t start)
{
    size_t to = start;
    for (size_t from = start; from < text->size;) {
        struct s3_str rest = s3i_str(text->data + from, text->size - from);
        if (rest.size < PLACEHOLDER_SIZE || !s3i_str_starts(rest, s3i_str(MARK, MARK_SIZE))) {
            text->data[to++] = text->data[from++];
            continue;
        }
        const char letter = rest.data[MARK_SIZE];
        from += PLACEHOLDER_SIZE;
        if (letter > LETTER_CONTROL) {
            text->data[to++] = (char)(letter - LETTER_CONTROL);
            continue;
        }
        memcpy(text->data + to, letter == LETTER_FDD0 ? MARK : "\xEF\xBF\xBE", MARK_SIZE);
        to += MARK_SIZE;
        if (letter == LETTER_FFFF) {
            text->data[to - 1] = '\xBF';
        }
    }
    text->size = to;
}

/* ---- The reader ---- */

/* What an open element is: the root, nothing that counts, or a node that the grammar numbers
 * itself. */
enum { NODE_SKIP, NODE_ROOT, NODE_FIRST, NODE_MAX = 31 };

enum kind {
    KIND_TEXT,  /* has text; the first one in its parent counts */
    KIND_GROUP, /* has elements; the first one in its parent counts */
    KIND_RECORD /* has elements; every one counts */
};

struct rule {
    unsigned parent, node;
    enum kind kind;
    struct s3_str name;
};

struct reader;

struct grammar {
    struct s3_str root;
    const struct rule *rules;
    size_t count;
    bool cuts; /* a text that is too long is cut; otherwise it ends the parse */
    /* Where the text of a node goes. */
    struct s3_buf *(*sink)(struct reader *reader, unsigned node);
    /* A node ended: its text runs from `start` to the end of its sink, `seen` has bit n for each
     * child n. */
    void (*ended)(struct reader *reader, unsigned node, size_t start, uint32_t seen);
};

struct frame {
    unsigned node;
    uint32_t seen;
};

struct reader {
    XML_Parser parser;
    struct source source;
    const struct grammar *grammar; /* the one asked for, or that of <Error> */
    struct s3_xml_error *error;
    void *target; /* where the grammar that was asked for puts what it finds */
    size_t max_records;
    struct frame stack[DEPTH_MAX];
    size_t depth;
    struct s3_buf *sink; /* of the open text element, or NULL */
    size_t start;        /* where its text begins */
    struct s3_buf scratch;
    char scratch_memory[SCRATCH_SIZE];
    bool is_error; /* the root is <Error> */
    int code;
    const char *reason;
};

/* Ends the parse; the first reason stays. */
static void fail(struct reader *reader, int code, const char *reason)
{
    if (reader->code == S3EXT_OK) {
        reader->code = code;
        reader->reason = reason;
        XML_StopParser(reader->parser, XML_FALSE);
    }
}

static struct s3_str text_from(const struct s3_buf *sink, size_t start)
{
    return s3i_str(sink->data + start, sink->size - start);
}

/* ---- The grammar of <Error> ---- */

enum {
    ERROR_CODE = NODE_FIRST,
    ERROR_MESSAGE,
    ERROR_REQUEST_ID,
    ERROR_HOST_ID,
    ERROR_REGION,
    ERROR_ENDPOINT,
    ERROR_SERVER_TIME
};

static const struct rule ERROR_RULES[] = {
    {NODE_ROOT, ERROR_CODE, KIND_TEXT, {"Code", 4}},
    {NODE_ROOT, ERROR_MESSAGE, KIND_TEXT, {"Message", 7}},
    {NODE_ROOT, ERROR_REQUEST_ID, KIND_TEXT, {"RequestId", 9}},
    {NODE_ROOT, ERROR_HOST_ID, KIND_TEXT, {"HostId", 6}},
    {NODE_ROOT, ERROR_REGION, KIND_TEXT, {"Region", 6}},
    {NODE_ROOT, ERROR_ENDPOINT, KIND_TEXT, {"Endpoint", 8}},
    {NODE_ROOT, ERROR_SERVER_TIME, KIND_TEXT, {"ServerTime", 10}},
};

static struct s3_buf *scratch_sink(struct reader *reader, unsigned node)
{
    (void)node;
    s3i_buf_reset(&reader->scratch);
    return &reader->scratch;
}

static void error_ended(struct reader *reader, unsigned node, size_t start, uint32_t seen)
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
            s3i_error_text_copy(fields[i].field, fields[i].capacity,
                                text_from(&reader->scratch, start));
        }
    }
}

static const struct grammar ERROR_GRAMMAR = {
    .root = {"Error", 5},
    .rules = ERROR_RULES,
    .count = sizeof(ERROR_RULES) / sizeof(ERROR_RULES[0]),
    .cuts = true,
    .sink = scratch_sink,
    .ended = error_ended,
};

/* ---- expat's calls ---- */

/* The name without its namespace prefix. */
static struct s3_str local_name(const XML_Char *name)
{
    const char *colon = strrchr(name, ':');
    return s3i_str_from(colon != NULL ? colon + 1 : name);
}

static struct frame open_root(struct reader *reader, struct s3_str name)
{
    if (s3i_str_equal(name, ERROR_GRAMMAR.root)) {
        reader->grammar = &ERROR_GRAMMAR;
        reader->is_error = true;
    } else if (!s3i_str_equal(name, reader->grammar->root)) {
        fail(reader, S3EXT_PROTOCOL, "the document is of another kind");
    }
    return (struct frame){.node = NODE_ROOT};
}

static const struct rule *find_rule(const struct grammar *grammar, unsigned parent,
                                    struct s3_str name)
{
    for (size_t i = 0; i < grammar->count; i++) {
        if (grammar->rules[i].parent == parent && s3i_str_equal(grammar->rules[i].name, name)) {
            return &grammar->rules[i];
        }
    }
    return NULL;
}

static struct frame open_child(struct reader *reader, struct frame *parent, struct s3_str name)
{
    const struct rule *rule = find_rule(reader->grammar, parent->node, name);
    if (rule == NULL || (rule->kind != KIND_RECORD && (parent->seen >> rule->node & 1))) {
        return (struct frame){.node = NODE_SKIP};
    }
    parent->seen |= UINT32_C(1) << rule->node;
    if (rule->kind == KIND_TEXT) {
        reader->sink = reader->grammar->sink(reader, rule->node);
        reader->start = reader->sink->size;
    }
    return (struct frame){.node = rule->node};
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
    struct reader *reader = user;
    (void)attributes;
    if (reader->code != S3EXT_OK) {
        return;
    }
    if (reader->depth == DEPTH_MAX) {
        fail(reader, S3EXT_PROTOCOL, "the document is nested too deeply");
        return;
    }
    if (reader->sink != NULL) {
        fail(reader, S3EXT_PROTOCOL, "an element stands where only text may");
        return;
    }
    struct s3_str local = local_name(name);
    struct frame frame = reader->depth == 0
                             ? open_root(reader, local)
                             : open_child(reader, &reader->stack[reader->depth - 1], local);
    reader->stack[reader->depth++] = frame;
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
    struct reader *reader = user;
    (void)name;
    if (reader->code != S3EXT_OK) {
        return;
    }
    struct frame frame = reader->stack[--reader->depth];
    struct s3_buf *sink = reader->sink;
    reader->sink = NULL;
    if (sink != NULL && reader->source.replaced) {
        restore(sink, reader->start);
    }
    if (frame.node != NODE_SKIP) {
        reader->grammar->ended(reader, frame.node, reader->start, frame.seen);
    }
}

static void XMLCALL on_text(void *user, const XML_Char *data, int count)
{
    struct reader *reader = user;
    struct s3_buf *sink = reader->sink;
    if (reader->code != S3EXT_OK || sink == NULL) {
        return;
    }
    size_t size = (size_t)count;
    size_t room = sink->limit - sink->size;
    if (size > room && !reader->grammar->cuts) {
        fail(reader, S3EXT_PROTOCOL, "a text is too long");
        return;
    }
    s3i_buf_add(sink, s3i_str(data, size < room ? size : room));
    if (!s3i_buf_ok(sink)) {
        fail(reader, S3EXT_NO_MEMORY, "out of memory");
    }
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system_id,
                               const XML_Char *public_id, int has_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_subset;
    fail(user, S3EXT_PROTOCOL, "the document has a DOCTYPE");
}

static void *expat_realloc(void *block, size_t size)
{
    return s3i_realloc_array(block, size, 1);
}

/* Feeds the whole source. A document without raw control characters needs one buffer. */
static void feed(struct reader *reader)
{
    struct source *source = &reader->source;
    const size_t capacity = source->rest.size + 64;
    enum XML_Status status = XML_STATUS_OK;
    bool done = false;
    while (!done && status == XML_STATUS_OK) {
        void *buffer = XML_GetBuffer(reader->parser, (int)capacity);
        if (buffer == NULL) {
            reader->code = S3EXT_NO_MEMORY;
            return;
        }
        size_t size = source_fill(source, buffer, capacity);
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

static int parse(struct reader *reader, struct s3_str document)
{
    /* A caller's encoding overrides that of the document: S3 writes UTF-8, and the scan relies
     * on it. */
    static const XML_Memory_Handling_Suite MEMORY = {s3i_malloc, expat_realloc, s3i_free};
    memset(reader->error, 0, sizeof(*reader->error));
    s3i_buf_fixed(&reader->scratch, reader->scratch_memory, sizeof(reader->scratch_memory));
    if (document.size > DOCUMENT_MAX) {
        reader->code = S3EXT_PROTOCOL;
        reader->reason = "the document is too large";
    } else {
        reader->source = source_of(document);
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

bool s3i_xml_error(struct s3_str document, struct s3_xml_error *error)
{
    struct reader reader = {.grammar = &ERROR_GRAMMAR, .error = error};
    parse(&reader, document);
    return reader.is_error;
}

/* ---- Fields ---- */

/* A grammar made from the caller's paths. Node NODE_FIRST + i is the i-th path; groups come
 * after. */
struct fields {
    struct rule rules[RULES_MAX];
    size_t rule_count;
    unsigned next_group;
    struct s3_buf *outs;
};

static bool fields_add_rule(struct fields *fields, struct rule rule)
{
    if (fields->rule_count == RULES_MAX || rule.node > NODE_MAX) {
        return false;
    }
    fields->rules[fields->rule_count++] = rule;
    return true;
}

/* The node of a group of this name, made at its first use; NODE_SKIP when there are too many. */
static unsigned fields_group(struct fields *fields, unsigned parent, struct s3_str name)
{
    const struct grammar so_far = {.rules = fields->rules, .count = fields->rule_count};
    const struct rule *known = find_rule(&so_far, parent, name);
    if (known != NULL) {
        return known->node;
    }
    struct rule rule = {parent, fields->next_group, KIND_GROUP, name};
    if (!fields_add_rule(fields, rule)) {
        return NODE_SKIP;
    }
    fields->next_group++;
    return rule.node;
}

static bool fields_add_path(struct fields *fields, const char *path, unsigned node)
{
    unsigned parent = NODE_ROOT;
    const char *slash = strchr(path, '/');
    for (; slash != NULL; slash = strchr(path, '/')) {
        parent = fields_group(fields, parent, s3i_str(path, (size_t)(slash - path)));
        if (parent == NODE_SKIP) {
            return false;
        }
        path = slash + 1;
    }
    return fields_add_rule(fields, (struct rule){parent, node, KIND_TEXT, s3i_str_from(path)});
}

static struct s3_buf *fields_sink(struct reader *reader, unsigned node)
{
    const struct fields *fields = reader->target;
    return &fields->outs[node - NODE_FIRST];
}

static void fields_ended(struct reader *reader, unsigned node, size_t start, uint32_t seen)
{
    (void)reader; /* the text is in the caller's buffer already */
    (void)node;
    (void)start;
    (void)seen;
}

static void fields_reset(struct s3_buf *outs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s3i_buf_reset(&outs[i]);
    }
}

int s3i_xml_fields(struct s3_str document, const char *root, const char *const *names,
                   struct s3_buf *outs, size_t count, struct s3_xml_error *error)
{
    if (count > RULES_MAX) {
        return S3EXT_INVALID;
    }
    struct fields fields = {.outs = outs, .next_group = NODE_FIRST + (unsigned)count};
    for (size_t i = 0; i < count; i++) {
        if (!fields_add_path(&fields, names[i], NODE_FIRST + (unsigned)i)) {
            return S3EXT_INVALID;
        }
    }
    const struct grammar grammar = {.root = s3i_str_from(root),
                                    .rules = fields.rules,
                                    .count = fields.rule_count,
                                    .sink = fields_sink,
                                    .ended = fields_ended};
    struct reader reader = {.grammar = &grammar, .error = error, .target = &fields};
    fields_reset(outs, count);
    int code = parse(&reader, document);
    if (code != S3EXT_OK) {
        fields_reset(outs, count);
    }
    return code;
}

/* ---- Records ---- */

/* Room for one more record: the array, grown if it was full, or NULL when there is no memory. */
static void *make_room(void *records, size_t count, size_t *capacity, size_t size)
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

/* False, and the parse ended, when the document has more records than it may. */
static bool may_add_record(struct reader *reader, size_t count)
{
    if (count >= reader->max_records) {
        fail(reader, S3EXT_PROTOCOL, "the document has more entries than were asked for");
        return false;
    }
    return true;
}

/* Decodes a percent-encoded text in place ('+' is a space, as S3 writes it); returns its new
 * size. */
static size_t decode_url(char *text, size_t size)
{
    size_t to = 0;
    for (size_t from = 0; from < size; from++) {
        char byte = text[from];
        if (byte == '%' && size - from > 2 && hex_value(text[from + 1]) < 16 &&
            hex_value(text[from + 2]) < 16) {
            byte = (char)(hex_value(text[from + 1]) << 4 | hex_value(text[from + 2]));
            from += 2;
        } else if (byte == '+') {
            byte = ' ';
        }
        text[to++] = byte;
    }
    return to;
}

/* ---- Listings ---- */

enum {
    LIST_OBJECT = NODE_FIRST,
    LIST_PREFIX,
    LIST_TOKEN,
    LIST_TRUNCATED,
    LIST_ENCODING,
    LIST_KEY,
    LIST_ETAG,
    LIST_SIZE,
    LIST_MODIFIED,
    LIST_PREFIX_TEXT
};

static const struct rule LIST_RULES[] = {
    {LIST_OBJECT, LIST_KEY, KIND_TEXT, {"Key", 3}},
    {LIST_OBJECT, LIST_ETAG, KIND_TEXT, {"ETag", 4}},
    {LIST_OBJECT, LIST_SIZE, KIND_TEXT, {"Size", 4}},
    {LIST_OBJECT, LIST_MODIFIED, KIND_TEXT, {"LastModified", 12}},
    {NODE_ROOT, LIST_OBJECT, KIND_RECORD, {"Contents", 8}},
    {LIST_PREFIX, LIST_PREFIX_TEXT, KIND_TEXT, {"Prefix", 6}},
    {NODE_ROOT, LIST_PREFIX, KIND_RECORD, {"CommonPrefixes", 14}},
    {NODE_ROOT, LIST_TOKEN, KIND_TEXT, {"NextContinuationToken", 21}},
    {NODE_ROOT, LIST_TRUNCATED, KIND_TEXT, {"IsTruncated", 11}},
    {NODE_ROOT, LIST_ENCODING, KIND_TEXT, {"EncodingType", 12}},
};

struct listing {
    struct s3_list_page *page;
    struct s3_list_entry entry; /* the one that is open */
    bool url_encoded;
    bool truncation_known;
};

static struct s3_buf *list_sink(struct reader *reader, unsigned node)
{
    struct listing *listing = reader->target;
    if (node == LIST_KEY || node == LIST_ETAG || node == LIST_PREFIX_TEXT) {
        return &listing->page->text;
    }
    return node == LIST_TOKEN ? &listing->page->next_token : scratch_sink(reader, node);
}

static void list_add_entry(struct reader *reader, struct s3_list_entry **entries, size_t *count,
                           size_t *capacity)
{
    struct listing *listing = reader->target;
    if (!may_add_record(reader, listing->page->object_count + listing->page->prefix_count)) {
        return;
    }
    struct s3_list_entry *room = make_room(*entries, *count, capacity, sizeof(**entries));
    if (room == NULL) {
        fail(reader, S3EXT_NO_MEMORY, "out of memory");
        return;
    }
    *entries = room;
    room[(*count)++] = listing->entry;
    listing->entry = (struct s3_list_entry){0};
}

static void list_record_ended(struct reader *reader, unsigned node, uint32_t seen)
{
    struct s3_list_page *page = ((struct listing *)reader->target)->page;
    const uint32_t needed = node == LIST_OBJECT
                                ? 1u << LIST_KEY | 1u << LIST_SIZE | 1u << LIST_MODIFIED
                                : 1u << LIST_PREFIX_TEXT;
    if ((seen & needed) != needed) {
        fail(reader, S3EXT_PROTOCOL, "an entry of the listing lacks its key, size or time");
    } else if (node == LIST_OBJECT) {
        list_add_entry(reader, &page->objects, &page->object_count, &page->object_capacity);
    } else {
        list_add_entry(reader, &page->prefixes, &page->prefix_count, &page->prefix_capacity);
    }
}

/* "true" or "false"; anything else ends the parse. */
static bool read_flag(struct reader *reader, struct s3_str text)
{
    bool is_true = s3i_str_equal(text, S3I_STR("true"));
    if (!is_true && !s3i_str_equal(text, S3I_STR("false"))) {
        fail(reader, S3EXT_PROTOCOL, "IsTruncated is neither true nor false");
    }
    return is_true;
}

static void list_ended(struct reader *reader, unsigned node, size_t start, uint32_t seen)
{
    struct listing *listing = reader->target;
    struct s3_list_entry *entry = &listing->entry;
    const struct s3_str scratch = s3i_buf_str(&reader->scratch);
    const uint32_t offset = (uint32_t)start;
    const uint32_t size = (uint32_t)(listing->page->text.size - start);
    switch (node) {
    case LIST_KEY:
    case LIST_PREFIX_TEXT:
        entry->key_offset = offset;
        entry->key_size = size;
        break;
    case LIST_ETAG:
        entry->etag_offset = offset;
        entry->etag_size = size;
        break;
    case LIST_SIZE:
        if (!s3i_http_number(scratch, &entry->size)) {
            fail(reader, S3EXT_PROTOCOL, "a size of the listing is no number");
        }
        break;
    case LIST_MODIFIED:
        if (!s3i_iso_time(scratch, &entry->last_modified_us)) {
            fail(reader, S3EXT_PROTOCOL, "a time of the listing is none");
        }
        break;
    case LIST_TRUNCATED:
        listing->page->truncated = read_flag(reader, scratch);
        listing->truncation_known = true;
        break;
    case LIST_ENCODING:
        listing->url_encoded = s3i_str_equal_nocase(scratch, S3I_STR("url"));
        break;
    case LIST_OBJECT:
    case LIST_PREFIX:
        list_record_ended(reader, node, seen);
        break;
    default:
        break;
    }
}

static void list_decode(const struct s3_list_page *page, struct s3_list_entry *entries,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].key_size) {
            char *key = page->text.data + entries[i].key_offset;
            entries[i].key_size = (uint32_t)decode_url(key, entries[i].key_size);
        }
    }
}

static void list_reset(struct s3_list_page *page)
{
    s3i_buf_reset(&page->text);
    s3i_buf_reset(&page->next_token);
    page->object_count = 0;
    page->prefix_count = 0;
    page->truncated = false;
}

void s3i_list_page_init(struct s3_list_page *page)
{
    *page = (struct s3_list_page){.truncated = false};
    s3i_buf_init(&page->text, TEXT_MAX);
    s3i_buf_init(&page->next_token, TOKEN_MAX);
}

void s3i_list_page_clear(struct s3_list_page *page)
{
    s3i_buf_clear(&page->text);
    s3i_buf_clear(&page->next_token);
    s3i_free(page->objects);
    s3i_free(page->prefixes);
    s3i_list_page_init(page);
}

int s3i_xml_list(struct s3_str document, size_t max_entries, struct s3_list_page *page,
                 struct s3_xml_error *error)
{
    static const struct grammar GRAMMAR = {
        .root = {"ListBucketResult", 16},
        .rules = LIST_RULES,
        .count = sizeof(LIST_RULES) / sizeof(LIST_RULES[0]),
        .sink = list_sink,
        .ended = list_ended,
    };
    struct listing listing = {.page = page};
    struct reader reader = {
        .grammar = &GRAMMAR, .error = error, .target = &listing, .max_records = max_entries};
    list_reset(page);
    int code = parse(&reader, document);
    if (code != S3EXT_OK) {
        list_reset(page);
        return code;
    }
    if (!listing.truncation_known) {
        page->truncated = page->next_token.size > 0;
    }
    if (page->truncated && page->next_token.size == 0) {
        list_reset(page);
        s3i_error_text_copy(error->message, sizeof(error->message),
                            S3I_STR("the listing goes on but has no continuation token"));
        return S3EXT_PROTOCOL;
    }
    if (listing.url_encoded) {
        /* Only now: the element may stand after the entries. */
        list_decode(page, page->objects, page->object_count);
        list_decode(page, page->prefixes, page->prefix_count);
    }
    return S3EXT_OK;
}

/* ---- Bulk deletes ---- */

enum { DELETE_FAILURE = NODE_FIRST, DELETE_KEY, DELETE_CODE, DELETE_MESSAGE };

static const struct rule DELETE_RULES[] = {
    {NODE_ROOT, DELETE_FAILURE, KIND_RECORD, {"Error", 5}},
    {DELETE_FAILURE, DELETE_KEY, KIND_TEXT, {"Key", 3}},
    {DELETE_FAILURE, DELETE_CODE, KIND_TEXT, {"Code", 4}},
    {DELETE_FAILURE, DELETE_MESSAGE, KIND_TEXT, {"Message", 7}},
};

struct deletion {
    struct s3_delete_result *result;
    struct s3_delete_failure failure; /* the one that is open */
};

static struct s3_buf *delete_sink(struct reader *reader, unsigned node)
{
    (void)node;
    const struct deletion *deletion = reader->target;
    return &deletion->result->text;
}

static void delete_add_failure(struct reader *reader)
{
    struct deletion *deletion = reader->target;
    struct s3_delete_result *result = deletion->result;
    if (!may_add_record(reader, result->failure_count)) {
        return;
    }
    struct s3_delete_failure *room =
        make_room(result->failures, result->failure_count, &result->failure_capacity,
                  sizeof(*result->failures));
    if (room == NULL) {
        fail(reader, S3EXT_NO_MEMORY, "out of memory");
        return;
    }
    result->failures = room;
    room[result->failure_count++] = deletion->failure;
    deletion->failure = (struct s3_delete_failure){0};
}

static void delete_ended(struct reader *reader, unsigned node, size_t start, uint32_t seen)
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
            fail(reader, S3EXT_PROTOCOL, "a failure of the bulk delete names no key");
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
    s3i_buf_init(&result->text, TEXT_MAX);
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
    static const struct grammar GRAMMAR = {
        .root = {"DeleteResult", 12},
        .rules = DELETE_RULES,
        .count = sizeof(DELETE_RULES) / sizeof(DELETE_RULES[0]),
        .sink = delete_sink,
        .ended = delete_ended,
    };
    struct deletion deletion = {.result = result};
    struct reader reader = {
        .grammar = &GRAMMAR, .error = error, .target = &deletion, .max_records = max_entries};
    delete_reset(result);
    int code = parse(&reader, document);
    if (code != S3EXT_OK) {
        delete_reset(result);
    }
    return code;
}

/* ---- Writing ---- */

/* The escape of a byte in an element's text, empty where it stands for itself. */
static struct s3_str escape_of(char byte)
{
    switch (byte) {
    case '&':
        return S3I_STR("&amp;");
    case '<':
        return S3I_STR("&lt;");
    case '>':
        return S3I_STR("&gt;");
    case '"':
        return S3I_STR("&quot;");
    case '\'':
        return S3I_STR("&apos;");
    default:
        return S3I_STR_NONE;
    }
}

static void add_control(struct s3_buf *out, unsigned char byte)
{
    static const char DIGITS[] = "0123456789ABCDEF";
    s3i_buf_add(out, S3I_STR("&#x"));
    if (byte >= 0x10) {
        s3i_buf_add_char(out, DIGITS[byte >> 4]);
    }
    s3i_buf_add_char(out, DIGITS[byte & 0xF]);
    s3i_buf_add_char(out, ';');
}

void s3i_xml_add_text(struct s3_buf *out, struct s3_str text)
{
    size_t plain = 0; /* where the run of bytes begins that stand for themselves */
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        struct s3_str escape = escape_of(text.data[i]);
        if (byte >= 0x20 && escape.size == 0) {
            continue;
        }
        s3i_buf_add(out, s3i_str(text.data + plain, i - plain));
        plain = i + 1;
        if (escape.size) {
            s3i_buf_add(out, escape);
        } else {
            add_control(out, byte);
        }
    }
    if (plain < text.size) {
        s3i_buf_add(out, s3i_str(text.data + plain, text.size - plain));
    }
}
