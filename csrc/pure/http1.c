/*
 * http1: see http1.h. Each state has one function, which takes what it can from the front of the
 * bytes and sets the event; feed calls them until there is one. A state that consumes nothing
 * leaves the event at NEED_MORE.
 */
#include "pure/http1.h"

#include <assert.h>

#include "pure/http.h"

/* The headers that say where an answer ends, and what becomes of its connection. */
enum field { OTHER, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION };

static bool is_named(struct s3_str name, struct s3_str field)
{
    return (name.data[0] | 0x20) == field.data[0] && s3i_str_equal_nocase(name, field);
}

/* Sizes first: hardly any other header has one of these. */
static enum field field_of(struct s3_str name)
{
    const struct s3_str length = S3I_STR("content-length");
    const struct s3_str encoding = S3I_STR("transfer-encoding");
    const struct s3_str connection = S3I_STR("connection");
    if (name.size == length.size) {
        return is_named(name, length) ? CONTENT_LENGTH : OTHER;
    }
    if (name.size == encoding.size) {
        return is_named(name, encoding) ? TRANSFER_ENCODING : OTHER;
    }
    return name.size == connection.size && is_named(name, connection) ? CONNECTION : OTHER;
}

/* The size of the name before a line's colon; 0 when there is none, or white space or a control in
 * it. Other bytes than a token's may be: they take part in nothing. What ends a line, LF or the NUL
 * of a C string, ends the search too. */
static size_t name_size(const char *line)
{
    size_t size = 0;
    while (line[size] != ':' && (unsigned char)line[size] > ' ') {
        size++;
    }
    return line[size] == ':' ? size : 0;
}

static bool has(struct s3_str text, char byte)
{
    return text.size != 0 && memchr(text.data, byte, text.size) != NULL;
}

/* ---- requests ---- */

static bool is_visible(struct s3_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~') {
            return false;
        }
    }
    return text.size > 0;
}

static bool may_be_written(struct s3_str header)
{
    size_t size = name_size(header.data);
    if (size == 0 || has(header, '\r') || has(header, '\n')) {
        return false;
    }
    enum field field = field_of(s3i_str(header.data, size));
    return field != CONTENT_LENGTH && field != TRANSFER_ENCODING;
}

static void add_line(struct s3_buf *out, struct s3_str line)
{
    if (s3i_buf_reserve(out, line.size + 2)) {
        char *end = out->data + out->size;
        memcpy(end, line.data, line.size);
        memcpy(end + line.size, "\r\n", 2);
        out->size += line.size + 2;
    }
}

static bool add_headers(struct s3_buf *out, const char *const *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct s3_str header = s3i_str_from(headers[i]);
        if (!may_be_written(header)) {
            return false;
        }
        add_line(out, header);
    }
    return true;
}

bool s3i_http1_write_head(struct s3_buf *out, struct s3_str method, struct s3_str target,
                          const char *const *headers, size_t header_count, bool has_body,
                          uint64_t content_length)
{
    if (!is_visible(method) || !is_visible(target)) {
        return false;
    }
    size_t before = out->size;
    s3i_buf_add(out, method);
    s3i_buf_add_char(out, ' ');
    s3i_buf_add(out, target);
    s3i_buf_add(out, S3I_STR(" HTTP/1.1\r\n"));
    bool written = add_headers(out, headers, header_count);
    if (has_body) {
        s3i_buf_add(out, S3I_STR("Content-Length: "));
        s3i_buf_add_u64(out, content_length);
        s3i_buf_add(out, S3I_STR("\r\n"));
    }
    s3i_buf_add(out, S3I_STR("\r\n"));
    if (!written || !s3i_buf_ok(out)) {
        out->size = before;
        return false;
    }
    return true;
}

/* ---- events ---- */

static void set(struct s3_http1_event *event, enum s3_http1_kind kind, struct s3_str data)
{
    *event = (struct s3_http1_event){.kind = kind, .data = data};
}

/* Consumes nothing: 0 is what the failing state returns. */
static size_t fail(struct s3_http1 *parser, struct s3_http1_event *event, const char *reason)
{
    parser->state = S3I_HTTP1_BROKEN;
    parser->reason = reason;
    parser->keep_alive = false;
    *event = (struct s3_http1_event){.kind = S3I_HTTP1_FAILED, .reason = reason};
    return 0;
}

/*
 * Finds the whole line at the front of the data; a NULL line, with the event set, when there is
 * none. NUL and CR inside it are refused: some readers end a line there (RFC 9112, 2.2).
 */
static struct s3_str next_line(struct s3_http1 *parser, struct s3_str data, size_t most,
                               struct s3_http1_event *event)
{
    size_t size = data.size < most ? data.size : most;
    const char *end = size ? memchr(data.data, '\n', size) : NULL;
    if (end == NULL) {
        if (size == most) {
            fail(parser, event, "a line of the answer is too long");
        }
        return S3I_STR_NONE;
    }
    struct s3_str line = s3i_str(data.data, (size_t)(end - data.data) + 1);
    struct s3_str text = s3i_http_without_line_end(line);
    if (has(text, '\0') || has(text, '\r')) {
        fail(parser, event, "a line of the answer has a NUL or a bare CR");
        return S3I_STR_NONE;
    }
    return line;
}

/* Gives a line to the caller. */
static size_t give_line(struct s3_http1 *parser, struct s3_str line, struct s3_http1_event *event)
{
    parser->head_size += line.size;
    if (parser->head_size > S3I_HTTP1_HEAD_MAX) {
        return fail(parser, event, "the headers of the answer are too large");
    }
    set(event, S3I_HTTP1_LINE, line);
    return line.size;
}

/* ---- status line ---- */

static void forget_head(struct s3_http1 *parser)
{
    parser->old = false;
    parser->close_seen = false;
    parser->keep_alive_seen = false;
    parser->length_seen = false;
    parser->chunked = false;
    parser->may_fold = false;
    parser->left = 0;
}

/* What cannot become a status line any more fails at once: a peer that speaks something else may
 * never end its line. */
static size_t take_status(struct s3_http1 *parser, struct s3_str data, struct s3_http1_event *event)
{
    const struct s3_str start = S3I_STR("HTTP/1.");
    size_t known = data.size < start.size ? data.size : start.size;
    if (!s3i_str_starts(data, s3i_str(start.data, known))) {
        return fail(parser, event, "the answer is not HTTP/1.x");
    }
    struct s3_str line = next_line(parser, data, S3I_HTTP1_LINE_MAX, event);
    if (line.data == NULL) {
        return 0;
    }
    const char *version = line.data + start.size;
    int status = s3i_http_status(line); /* >= 0: the line is long enough to look at version[1] */
    if (status < 0 || (*version != '0' && *version != '1') || version[1] != ' ') {
        return fail(parser, event, "the answer's status line is malformed");
    }
    if (status == 101) {
        return fail(parser, event, "the server switched protocols, which nobody asked for");
    }
    forget_head(parser);
    parser->old = *version == '0';
    parser->status = status;
    parser->state = S3I_HTTP1_IN_HEADERS;
    return give_line(parser, line, event);
}

/* ---- headers ---- */

/* NULL, or what is wrong with the header. All the numbers of all these headers must be the same
 * (RFC 9110, 8.6). */
static const char *read_length(struct s3_http1 *parser, struct s3_str value)
{
    struct s3_str element;
    while (s3i_http_next_element(&value, &element)) {
        uint64_t length = 0;
        if (!s3i_http_number(element, &length) || length > INT64_MAX) {
            return "the answer's Content-Length is no length";
        }
        if (parser->length_seen && length != parser->left) {
            return "the answer has two different Content-Lengths";
        }
        parser->length_seen = true;
        parser->left = length;
    }
    return NULL;
}

static const char *read_coding(struct s3_http1 *parser, struct s3_str value)
{
    if (parser->chunked || !s3i_str_equal_nocase(value, S3I_STR("chunked"))) {
        return "the answer has a Transfer-Encoding other than chunked";
    }
    parser->chunked = true;
    return NULL;
}

static void read_connection(struct s3_http1 *parser, struct s3_str value)
{
    struct s3_str option;
    while (s3i_http_next_element(&value, &option)) {
        parser->close_seen |= s3i_str_equal_nocase(option, S3I_STR("close"));
        parser->keep_alive_seen |= s3i_str_equal_nocase(option, S3I_STR("keep-alive"));
    }
}

static const char *read_field(struct s3_http1 *parser, enum field field, struct s3_str line)
{
    struct s3_str name;
    struct s3_str value;
    if (!s3i_http_header(line, &name, &value)) {
        return "the answer has a malformed header";
    }
    switch (field) {
    case CONTENT_LENGTH:
        return read_length(parser, value);
    case TRANSFER_ENCODING:
        return read_coding(parser, value);
    case CONNECTION:
        read_connection(parser, value);
        return NULL;
    case OTHER:
        break;
    }
    return NULL;
}

/* Where the body ends (RFC 9112, 6.3), and whether another answer may follow it. */
static void end_head(struct s3_http1 *parser)
{
    if (parser->status < 200) {
        parser->state = S3I_HTTP1_IN_STATUS;
        return;
    }
    bool contradicts = parser->chunked && (parser->length_seen || parser->old);
    parser->keep_alive =
        !parser->close_seen && !contradicts && (!parser->old || parser->keep_alive_seen);
    if (parser->status == 204) {
        parser->keep_alive &= !parser->chunked && parser->left == 0;
    }
    if (parser->head_request || parser->status == 204 || parser->status == 304) {
        parser->state = S3I_HTTP1_AT_END;
        parser->left = 0;
    } else if (parser->chunked) {
        parser->state = S3I_HTTP1_IN_CHUNK_SIZE;
        parser->left = 0;
    } else if (parser->length_seen) {
        parser->state = parser->left ? S3I_HTTP1_IN_LENGTH : S3I_HTTP1_AT_END;
    } else {
        parser->state = S3I_HTTP1_UNTIL_CLOSE; /* and eof says that the connection is over */
        parser->left = UINT64_MAX;
    }
}

/* NULL, or what is wrong with a line of a head or of trailers; the latter decide nothing. */
static const char *read_line(struct s3_http1 *parser, struct s3_str line)
{
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        return parser->may_fold ? NULL : "the answer continues a line that may not be continued";
    }
    size_t size = name_size(line.data);
    if (size == 0) {
        return "the answer has a malformed header";
    }
    enum field field = OTHER;
    if (parser->state == S3I_HTTP1_IN_HEADERS) {
        field = field_of(s3i_str(line.data, size));
    }
    parser->may_fold = field == OTHER;
    return field == OTHER ? NULL : read_field(parser, field, line);
}

static bool is_empty(struct s3_str line)
{
    return line.data[0] == '\n' || line.data[0] == '\r'; /* next_line lets no other CR in */
}

/* A line of a head or of trailers. The empty line behind trailers is framing, and not given. */
static size_t take_header(struct s3_http1 *parser, struct s3_str data, struct s3_http1_event *event)
{
    struct s3_str line = next_line(parser, data, S3I_HTTP1_LINE_MAX, event);
    if (line.data == NULL) {
        return 0;
    }
    if (!is_empty(line)) {
        const char *wrong = read_line(parser, line);
        return wrong ? fail(parser, event, wrong) : give_line(parser, line, event);
    }
    if (parser->state == S3I_HTTP1_IN_TRAILERS) {
        parser->state = S3I_HTTP1_AT_END;
        return line.size;
    }
    end_head(parser);
    return give_line(parser, line, event);
}

/* ---- bodies ---- */

static size_t take_body(struct s3_http1 *parser, struct s3_str data, struct s3_http1_event *event)
{
    size_t size = data.size < parser->left ? data.size : (size_t)parser->left;
    if (size) {
        s3i_http1_took(parser, size);
        set(event, S3I_HTTP1_BODY, s3i_str(data.data, size));
    }
    return size;
}

/* "1a2b ; name=value": up to 16 digits, at most INT64_MAX. */
static bool read_chunk_size(struct s3_str text, uint64_t *size)
{
    uint64_t value = 0;
    size_t at = 0;
    for (; at < text.size && at < 16 && s3i_hex_value(text.data[at]) < 16; at++) {
        value = value * 16 + s3i_hex_value(text.data[at]);
    }
    struct s3_str rest = s3i_str_trim(s3i_str(text.data + at, text.size - at));
    if (at == 0 || value > INT64_MAX || (rest.size && rest.data[0] != ';')) {
        return false;
    }
    *size = value;
    return true;
}

static size_t take_chunk_size(struct s3_http1 *parser, struct s3_str data,
                              struct s3_http1_event *event)
{
    struct s3_str line = next_line(parser, data, S3I_HTTP1_CHUNK_LINE_MAX, event);
    if (line.data == NULL) {
        return 0;
    }
    if (!read_chunk_size(s3i_http_without_line_end(line), &parser->left)) {
        return fail(parser, event, "a chunk of the answer has no valid size");
    }
    parser->state = parser->left ? S3I_HTTP1_IN_CHUNK_DATA : S3I_HTTP1_IN_TRAILERS;
    parser->may_fold = false;
    return line.size;
}

static size_t take_chunk_end(struct s3_http1 *parser, struct s3_str data,
                             struct s3_http1_event *event)
{
    if (data.size == 0 || (data.size == 1 && data.data[0] == '\r')) {
        return 0;
    }
    size_t size = data.data[0] == '\r' ? 2 : 1;
    if (data.data[size - 1] != '\n') {
        return fail(parser, event, "a chunk of the answer is longer than its size");
    }
    parser->state = S3I_HTTP1_IN_CHUNK_SIZE;
    return size;
}

/* ---- the parser ---- */

void s3i_http1_begin(struct s3_http1 *parser, bool head_request)
{
    *parser = (struct s3_http1){.state = S3I_HTTP1_IN_STATUS, .head_request = head_request};
}

static size_t take(struct s3_http1 *parser, struct s3_str data, struct s3_http1_event *event)
{
    switch (parser->state) {
    case S3I_HTTP1_IN_STATUS:
        return take_status(parser, data, event);
    case S3I_HTTP1_IN_HEADERS:
    case S3I_HTTP1_IN_TRAILERS:
        return take_header(parser, data, event);
    case S3I_HTTP1_IN_LENGTH:
    case S3I_HTTP1_IN_CHUNK_DATA:
    case S3I_HTTP1_UNTIL_CLOSE:
        return take_body(parser, data, event);
    case S3I_HTTP1_IN_CHUNK_SIZE:
        return take_chunk_size(parser, data, event);
    case S3I_HTTP1_IN_CHUNK_END:
        return take_chunk_end(parser, data, event);
    case S3I_HTTP1_AT_END:
        set(event, S3I_HTTP1_DONE, S3I_STR_NONE);
        return 0;
    case S3I_HTTP1_BROKEN:
        break;
    }
    return fail(parser, event, parser->reason);
}

size_t s3i_http1_feed(struct s3_http1 *parser, struct s3_str data, struct s3_http1_event *event)
{
    set(event, S3I_HTTP1_NEED_MORE, S3I_STR_NONE);
    size_t used = take(parser, data, event);
    for (size_t size = used; size && event->kind == S3I_HTTP1_NEED_MORE; used += size) {
        size = take(parser, s3i_str(data.data + used, data.size - used), event);
    }
    return used;
}

uint64_t s3i_http1_direct(const struct s3_http1 *parser)
{
    bool in_body = parser->state == S3I_HTTP1_IN_LENGTH ||
                   parser->state == S3I_HTTP1_IN_CHUNK_DATA ||
                   parser->state == S3I_HTTP1_UNTIL_CLOSE;
    return in_body ? parser->left : 0;
}

void s3i_http1_took(struct s3_http1 *parser, uint64_t size)
{
    assert(size <= s3i_http1_direct(parser));
    if (parser->state == S3I_HTTP1_UNTIL_CLOSE) {
        return;
    }
    parser->left -= size;
    if (parser->left == 0) {
        bool chunk = parser->state == S3I_HTTP1_IN_CHUNK_DATA;
        parser->state = chunk ? S3I_HTTP1_IN_CHUNK_END : S3I_HTTP1_AT_END;
    }
}

/* What an answer lacks that ends in a state. */
static const char *lack(enum s3_http1_state state)
{
    switch (state) {
    case S3I_HTTP1_IN_STATUS:
        return "the connection was closed before an answer";
    case S3I_HTTP1_IN_HEADERS:
        return "the connection was closed within the answer's head";
    case S3I_HTTP1_IN_LENGTH:
    case S3I_HTTP1_IN_CHUNK_SIZE:
    case S3I_HTTP1_IN_CHUNK_DATA:
    case S3I_HTTP1_IN_CHUNK_END:
        return "the connection was closed within the answer's body";
    case S3I_HTTP1_IN_TRAILERS:
        return "the connection was closed within the answer's trailers";
    case S3I_HTTP1_UNTIL_CLOSE:
    case S3I_HTTP1_AT_END:
    case S3I_HTTP1_BROKEN:
        break;
    }
    return NULL;
}

bool s3i_http1_eof(struct s3_http1 *parser, struct s3_http1_event *event)
{
    const char *reason = parser->state == S3I_HTTP1_BROKEN ? parser->reason : lack(parser->state);
    if (reason != NULL) {
        fail(parser, event, reason);
        return false;
    }
    parser->state = S3I_HTTP1_AT_END;
    parser->keep_alive = false;
    set(event, S3I_HTTP1_DONE, S3I_STR_NONE);
    return true;
}
