/* Listings. */
#include "base/alloc.h"
#include "pure/http.h"
#include "pure/xml_reader.h"

enum { TOKEN_MAX = 65536 };

/* Decodes a percent-encoded text in place ('+' is a space, as S3 writes it); returns its new
 * size. */
static size_t decode_url(char *text, size_t size)
{
    size_t to = 0;
    for (size_t from = 0; from < size; from++) {
        char byte = text[from];
        if (byte == '%' && size - from > 2 && s3i_hex_value(text[from + 1]) < 16 &&
            s3i_hex_value(text[from + 2]) < 16) {
            byte = (char)(s3i_hex_value(text[from + 1]) << 4 | s3i_hex_value(text[from + 2]));
            from += 2;
        } else if (byte == '+') {
            byte = ' ';
        }
        text[to++] = byte;
    }
    return to;
}

enum {
    LIST_OBJECT = S3I_NODE_FIRST,
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

static const struct s3_xml_rule LIST_RULES[] = {
    {LIST_OBJECT, LIST_KEY, S3I_KIND_TEXT, {"Key", 3}},
    {LIST_OBJECT, LIST_ETAG, S3I_KIND_TEXT, {"ETag", 4}},
    {LIST_OBJECT, LIST_SIZE, S3I_KIND_TEXT, {"Size", 4}},
    {LIST_OBJECT, LIST_MODIFIED, S3I_KIND_TEXT, {"LastModified", 12}},
    {S3I_NODE_ROOT, LIST_OBJECT, S3I_KIND_RECORD, {"Contents", 8}},
    {LIST_PREFIX, LIST_PREFIX_TEXT, S3I_KIND_TEXT, {"Prefix", 6}},
    {S3I_NODE_ROOT, LIST_PREFIX, S3I_KIND_RECORD, {"CommonPrefixes", 14}},
    {S3I_NODE_ROOT, LIST_TOKEN, S3I_KIND_TEXT, {"NextContinuationToken", 21}},
    {S3I_NODE_ROOT, LIST_TRUNCATED, S3I_KIND_TEXT, {"IsTruncated", 11}},
    {S3I_NODE_ROOT, LIST_ENCODING, S3I_KIND_TEXT, {"EncodingType", 12}},
};

struct listing {
    struct s3_list_page *page;
    struct s3_list_entry entry; /* the one that is open */
    bool url_encoded;
    bool truncation_known;
};

static struct s3_buf *list_sink(struct s3_xml_reader *reader, unsigned node)
{
    struct listing *listing = reader->target;
    if (node == LIST_KEY || node == LIST_ETAG || node == LIST_PREFIX_TEXT) {
        return &listing->page->text;
    }
    return node == LIST_TOKEN ? &listing->page->next_token : s3i_xml_scratch(reader, node);
}

static void list_add_entry(struct s3_xml_reader *reader, struct s3_list_entry **entries,
                           size_t *count, size_t *capacity)
{
    struct listing *listing = reader->target;
    if (!s3i_xml_may_add(reader, listing->page->object_count + listing->page->prefix_count)) {
        return;
    }
    struct s3_list_entry *room = s3i_xml_make_room(*entries, *count, capacity, sizeof(**entries));
    if (room == NULL) {
        s3i_xml_fail(reader, S3EXT_NO_MEMORY, "out of memory");
        return;
    }
    *entries = room;
    room[(*count)++] = listing->entry;
    listing->entry = (struct s3_list_entry){0};
}

static void list_record_ended(struct s3_xml_reader *reader, unsigned node, uint32_t seen)
{
    struct s3_list_page *page = ((struct listing *)reader->target)->page;
    const uint32_t needed = node == LIST_OBJECT
                                ? 1u << LIST_KEY | 1u << LIST_SIZE | 1u << LIST_MODIFIED
                                : 1u << LIST_PREFIX_TEXT;
    if ((seen & needed) != needed) {
        s3i_xml_fail(reader, S3EXT_PROTOCOL, "an entry of the listing lacks its key, size or time");
    } else if (node == LIST_OBJECT) {
        list_add_entry(reader, &page->objects, &page->object_count, &page->object_capacity);
    } else {
        list_add_entry(reader, &page->prefixes, &page->prefix_count, &page->prefix_capacity);
    }
}

/* "true" or "false"; anything else ends the parse. */
static bool read_flag(struct s3_xml_reader *reader, struct s3_str text)
{
    bool is_true = s3i_str_equal(text, S3I_STR("true"));
    if (!is_true && !s3i_str_equal(text, S3I_STR("false"))) {
        s3i_xml_fail(reader, S3EXT_PROTOCOL, "IsTruncated is neither true nor false");
    }
    return is_true;
}

static void list_ended(struct s3_xml_reader *reader, unsigned node, size_t start, uint32_t seen)
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
            s3i_xml_fail(reader, S3EXT_PROTOCOL, "a size of the listing is no number");
        }
        break;
    case LIST_MODIFIED:
        if (!s3i_iso_time(scratch, &entry->last_modified_us)) {
            s3i_xml_fail(reader, S3EXT_PROTOCOL, "a time of the listing is none");
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
        const size_t size = entries[i].key_size;
        char *key = page->text.data + entries[i].key_offset;
        if (size && (memchr(key, '%', size) != NULL || memchr(key, '+', size) != NULL)) {
            entries[i].key_size = (uint32_t)decode_url(key, size);
        }
    }
}

void s3i_list_page_reset(struct s3_list_page *page)
{
    s3i_buf_reset(&page->text);
    s3i_buf_reset(&page->next_token);
    page->object_count = 0;
    page->prefix_count = 0;
    page->truncated = false;
}

void s3i_list_page_decode(struct s3_list_page *page)
{
    list_decode(page, page->objects, page->object_count);
    list_decode(page, page->prefixes, page->prefix_count);
}

void s3i_list_page_init(struct s3_list_page *page)
{
    *page = (struct s3_list_page){.truncated = false};
    s3i_buf_init(&page->text, S3I_XML_TEXT_MAX);
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
    static const struct s3_xml_grammar GRAMMAR = {
        .root = {"ListBucketResult", 16},
        .rules = LIST_RULES,
        .count = sizeof(LIST_RULES) / sizeof(LIST_RULES[0]),
        .sink = list_sink,
        .ended = list_ended,
    };
    struct listing listing = {.page = page};
    struct s3_xml_reader reader = {
        .grammar = &GRAMMAR, .error = error, .target = &listing, .max_records = max_entries};
    s3i_list_page_reset(page);
    int code = s3i_xml_parse(&reader, document);
    if (code != S3EXT_OK) {
        s3i_list_page_reset(page);
        return code;
    }
    if (!listing.truncation_known) {
        page->truncated = page->next_token.size > 0;
    }
    if (page->truncated && page->next_token.size == 0) {
        s3i_list_page_reset(page);
        s3i_error_text_copy(error->message, sizeof(error->message),
                            S3I_STR("the listing goes on but has no continuation token"));
        return S3EXT_PROTOCOL;
    }
    if (listing.url_encoded) {
        /* Only now: the element may stand after the entries. */
        s3i_list_page_decode(page);
    }
    return S3EXT_OK;
}
