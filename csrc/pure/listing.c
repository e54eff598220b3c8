/*
 * listing: see listing.h.
 *
 * Entries look alike: between their texts stand the same bytes. So an entry that was read tag by tag
 * is the shape of those that follow, which need only be compared with it; one that is different is
 * read tag by tag again, and is the shape from then on.
 *
 * Two passes. The first only looks: it finds the entries and checks all that expat would check.
 * The second, when nothing can fail any more, decodes entities and percent signs in place; a
 * document that is declined has not been touched.
 *
 * Every function that reads moves `at` forward, never beyond `end`, and returns false where it
 * meets something that is not surely the plain form.
 */
#include "pure/listing.h"

#include <endian.h> /* le64toh */
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/alloc.h"
#include "base/time.h"
#include "pure/http.h"

enum {
    DOCUMENT_MAX = 64 << 20, /* what expat is given at most */
    DEPTH_MAX = 8,           /* of elements that are skipped */
    ENTITY_MAX = 10,         /* bytes of an entity, '&' and ';' included */
    ENTRY_GUESS = 256,       /* bytes of an entry, to size the records */
    SHAPE_MAX = 16,          /* texts of an entry */
    TIME_SIZE = 24,          /* bytes of a time as S3 writes it */
    FIRST_RECORDS = 16
};

enum tag { TAG_ODD, TAG_OPEN, TAG_EMPTY, TAG_CLOSE };

/* What an element with text is; a bit each, for `seen`. */
enum {
    FIELD_NONE = 0,
    FIELD_KEY = 1,
    FIELD_ETAG = 2,
    FIELD_SIZE = 4,
    FIELD_MODIFIED = 8,
    FIELD_TOKEN = 16,
    FIELD_TRUNCATED = 32,
    FIELD_ENCODING = 64
};

/* One text of an entry, and the bytes before it since the last text or the beginning. */
struct piece {
    struct s3_str literal;
    unsigned field;
};

/* The entry that was read last, tag by tag, as what an entry looks like. */
struct shape {
    struct piece pieces[SHAPE_MAX];
    size_t count;
    struct s3_str ending; /* the bytes after the last text */
    const char *from;     /* while it is learned: where the next literal begins, or NULL */
    bool known;
};

struct scanner {
    const char *begin, *at, *end;
    struct shape shape;
    struct s3_list_page *page;
    size_t max_entries;
    struct s3_str token;
    bool url_encoded;
    bool starved;
};

/* ---- Bytes and entities ---- */

/* A byte that stands for itself in a text. '>' may stand in one, but "]]>" may not; and expat turns
 * a carriage return into a line feed. */
static bool is_plain(char byte)
{
    return (byte >= 0x20 && byte < 0x7F && byte != '<' && byte != '&' && byte != '>') ||
           byte == '\t' || byte == '\n';
}

#if defined(__SSE2__)

enum { BLOCK = 16 };

/* Where the first byte of a block is that is below 0x20, above 0x7E, '<', '>' or '&'; BLOCK for
 * none. Bytes above 0x7F are negative here; '<' and '>' differ in one bit. */
static inline size_t first_suspect(const char *block)
{
    const __m128i bytes = _mm_loadu_si128((const void *)block);
    const __m128i brackets =
        _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x02)), _mm_set1_epi8('>'));
    const __m128i others = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('&')),
                                        _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)));
    const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    const __m128i found = _mm_or_si128(_mm_or_si128(brackets, others), low);
    return (size_t)__builtin_ctz((unsigned)_mm_movemask_epi8(found) | 1u << BLOCK);
}

#else

enum { BLOCK = 8 };

/* As above, for any machine. A borrow or a carry may accuse the byte above a suspect, too, but
 * acquits none, so the first one is always right. */
static inline size_t first_suspect(const char *block)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, block, sizeof(word));
    word = le64toh(word);
    const uint64_t brackets = (word | ones * 0x02) ^ ones * '>';
    const uint64_t ampersands = word ^ ones * '&';
    const uint64_t zeros = ((brackets - ones) & ~brackets) | ((ampersands - ones) & ~ampersands);
    const uint64_t found = ((word - ones * 0x20) | (word + ones) | word | zeros) & ones * 0x80;
    return found == 0 ? BLOCK : (size_t)__builtin_ctzll(found) / 8;
}

#endif

/* The first byte that is not plain, or the end. */
static inline const char *plain_end(const char *at, const char *end)
{
    while (end - at >= BLOCK) {
        const size_t first = first_suspect(at);
        at += first;
        if (first < BLOCK) {
            if (!is_plain(*at)) { /* a tab or a line feed is */
                return at;
            }
            at++;
        }
    }
    while (at < end && is_plain(*at)) {
        at++;
    }
    return at;
}

/* The value of "#34" or "#x22"; -1 for what is no number or no plain ASCII character. */
static int reference_value(struct s3_str digits)
{
    const bool is_hex = digits.size > 1 && digits.data[1] == 'x';
    size_t at = is_hex ? 2 : 1;
    if (at >= digits.size) {
        return -1;
    }
    int value = 0;
    for (; at < digits.size && value <= 0x7F; at++) {
        const char byte = digits.data[at];
        const char letter = (char)(byte | 0x20);
        if (byte >= '0' && byte <= '9') {
            value = value * (is_hex ? 16 : 10) + (byte - '0');
        } else if (is_hex && letter >= 'a' && letter <= 'f') {
            value = value * 16 + (letter - 'a') + 10;
        } else {
            return -1;
        }
    }
    const bool is_space = value == '\t' || value == '\n' || value == '\r';
    return is_space || (value >= 0x20 && value < 0x7F) ? value : -1;
}

/* The character of the entity that a text begins with, and its size; -1 when it is none of the five
 * of XML and no plain ASCII one by number. */
static int entity_at(struct s3_str text, size_t *size)
{
    static const struct {
        struct s3_str name;
        char byte;
    } NAMED[] = {
        {{"amp", 3}, '&'},
        {{"lt", 2}, '<'},
        {{"gt", 2}, '>'},
        {{"apos", 4}, '\''},
    };
    const struct s3_str quote = S3I_STR("&quot;"); /* two in most entries */
    if (text.size >= quote.size && memcmp(text.data, "&quot;", 6) == 0) {
        *size = quote.size;
        return '"';
    }
    const size_t most = text.size < ENTITY_MAX ? text.size : ENTITY_MAX;
    const char *end = memchr(text.data, ';', most);
    if (end == NULL) {
        return -1;
    }
    const struct s3_str name = s3i_str(text.data + 1, (size_t)(end - text.data) - 1);
    *size = name.size + 2;
    if (name.size && name.data[0] == '#') {
        return reference_value(name);
    }
    for (size_t i = 0; i < sizeof(NAMED) / sizeof(NAMED[0]); i++) {
        if (s3i_str_equal(name, NAMED[i].name)) {
            return NAMED[i].byte;
        }
    }
    return -1;
}

/* Decodes the entities of a text in place; returns its new size. */
static size_t decode_entities(char *text, size_t size)
{
    const char *mark = size ? memchr(text, '&', size) : NULL;
    if (mark == NULL) {
        return size;
    }
    size_t from = (size_t)(mark - text);
    size_t to = from;
    while (from < size) {
        size_t length = 0;
        text[to++] = (char)entity_at(s3i_str(text + from, size - from), &length);
        from += length;
        mark = from < size ? memchr(text + from, '&', size - from) : NULL;
        const size_t run = (mark == NULL ? size : (size_t)(mark - text)) - from;
        memmove(text + to, text + from, run);
        from += run;
        to += run;
    }
    return to;
}

/* ---- The shape of an entry ---- */

/* A text of the entry that is being read ends here, and the scanner stands behind it. */
static void learn_text(struct shape *shape, unsigned field, struct s3_str text)
{
    if (shape->from == NULL) {
        return;
    }
    if (shape->count == SHAPE_MAX) {
        shape->from = NULL;
        return;
    }
    const struct s3_str literal = s3i_str(shape->from, (size_t)(text.data - shape->from));
    shape->pieces[shape->count++] = (struct piece){literal, field};
    shape->from = text.data + text.size;
}

static void learn_beginning(struct shape *shape, const char *at)
{
    shape->known = false;
    shape->count = 0;
    shape->from = at;
}

static void learn_end(struct shape *shape, const char *at)
{
    if (shape->from != NULL) {
        shape->ending = s3i_str(shape->from, (size_t)(at - shape->from));
        shape->known = true;
        shape->from = NULL;
    }
}

/* ---- Tags and texts ---- */

static struct s3_str rest_of(const struct scanner *scanner)
{
    return s3i_str(scanner->at, (size_t)(scanner->end - scanner->at));
}

static bool take(struct scanner *scanner, struct s3_str literal)
{
    if (!s3i_str_starts(rest_of(scanner), literal)) {
        return false;
    }
    scanner->at += literal.size;
    return true;
}

static void skip_space(struct scanner *scanner)
{
    while (scanner->at < scanner->end && (*scanner->at == ' ' || *scanner->at == '\n' ||
                                          *scanner->at == '\t' || *scanner->at == '\r')) {
        scanner->at++;
    }
}

static bool is_letter(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

/* Whether a name is surely one in XML, too; those that are known are. */
static bool is_name(struct s3_str name)
{
    if (name.size == 0 || !is_letter(name.data[0])) {
        return false;
    }
    for (size_t i = 1; i < name.size; i++) {
        if (!is_letter(name.data[i]) && (name.data[i] < '0' || name.data[i] > '9')) {
            return false;
        }
    }
    return true;
}

/* Takes a tag; what stands in it as its name has yet to be compared or checked. */
static enum tag take_tag(struct scanner *scanner, struct s3_str *name)
{
    struct s3_str rest = rest_of(scanner);
    if (rest.size < 3 || rest.data[0] != '<') {
        return TAG_ODD;
    }
    const bool closes = rest.data[1] == '/';
    const char *start = rest.data + 1 + closes;
    const char *end = plain_end(start, scanner->end);
    if (end == scanner->end || *end != '>' || end == start) {
        return TAG_ODD;
    }
    const bool is_empty = !closes && end[-1] == '/';
    scanner->at = end + 1;
    *name = s3i_str(start, (size_t)(end - start) - is_empty);
    return closes ? TAG_CLOSE : is_empty ? TAG_EMPTY : TAG_OPEN;
}

/* The next tag of an element that has elements only. */
static enum tag next_tag(struct scanner *scanner, struct s3_str *name)
{
    skip_space(scanner);
    return take_tag(scanner, name);
}

/* Text up to the next tag. */
static bool take_text(struct scanner *scanner, struct s3_str *text)
{
    const char *at = plain_end(scanner->at, scanner->end);
    while (at < scanner->end && *at == '&') {
        size_t size = 0;
        if (entity_at(s3i_str(at, (size_t)(scanner->end - at)), &size) < 0) {
            return false;
        }
        at = plain_end(at + size, scanner->end);
    }
    *text = s3i_str(scanner->at, (size_t)(at - scanner->at));
    scanner->at = at;
    return at < scanner->end && *at == '<';
}

/* The text of an element whose tag was taken, and its end. */
static bool take_content(struct scanner *scanner, enum tag tag, struct s3_str name,
                         struct s3_str *text)
{
    if (tag == TAG_EMPTY) {
        *text = s3i_str(scanner->at, 0);
        return true;
    }
    if (!take_text(scanner, text)) {
        return false;
    }
    const char *at = scanner->at; /* a '<' */
    if ((size_t)(scanner->end - at) < name.size + 3 || at[1] != '/' ||
        memcmp(at + 2, name.data, name.size) != 0 || at[2 + name.size] != '>') {
        return false;
    }
    scanner->at = at + name.size + 3;
    return true;
}

/* Passes over an element whose tag was taken, with all that is in it. */
static bool skip_element(struct scanner *scanner, enum tag tag, struct s3_str name)
{
    struct s3_str open[DEPTH_MAX];
    size_t depth = 0;
    for (;;) {
        if (tag == TAG_CLOSE) {
            if (!s3i_str_equal(open[--depth], name)) {
                return false;
            }
        } else if (!is_name(name)) {
            return false;
        } else if (tag == TAG_OPEN) {
            if (depth == DEPTH_MAX) {
                return false;
            }
            open[depth++] = name;
        }
        if (depth == 0) {
            return true;
        }
        struct s3_str text;
        if (!take_text(scanner, &text)) {
            return false;
        }
        if (text.size) {
            learn_text(&scanner->shape, FIELD_NONE, text);
        }
        tag = take_tag(scanner, &name);
        if (tag == TAG_ODD) {
            return false;
        }
    }
}

/* ---- Entries ---- */

/* One more entry; false when there may be none or there is no memory. */
static bool add_entry(struct scanner *scanner, struct s3_list_entry **entries, size_t *count,
                      size_t *capacity, const struct s3_list_entry *entry)
{
    const struct s3_list_page *page = scanner->page;
    if (page->object_count + page->prefix_count >= scanner->max_entries) {
        return false;
    }
    if (*count == *capacity) {
        const size_t left = (size_t)(scanner->end - scanner->at) / ENTRY_GUESS + FIRST_RECORDS;
        const size_t wanted = *capacity + (left > *capacity ? left : *capacity);
        struct s3_list_entry *grown = s3i_realloc_array(*entries, wanted, sizeof(**entries));
        if (grown == NULL) {
            scanner->starved = true;
            return false;
        }
        *entries = grown;
        *capacity = wanted;
    }
    (*entries)[(*count)++] = *entry;
    return true;
}

/* Two digits; more than 99 where there are none. */
static unsigned two_digits(const char *text)
{
    const unsigned tens = (unsigned char)text[0] - (unsigned)'0';
    const unsigned ones = (unsigned char)text[1] - (unsigned)'0';
    return tens > 9 || ones > 9 ? 1000 : tens * 10 + ones;
}

/* Reads a time in the form that S3 writes, "2009-10-12T17:50:30.000Z"; false for another one, and
 * where the calendar would have to be asked whether there is such a day. */
static bool quick_time(const char *at, int64_t *epoch_us)
{
    if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':' ||
        at[19] != '.' || at[23] != 'Z') {
        return false;
    }
    const unsigned century = two_digits(at);
    const unsigned year = two_digits(at + 2);
    const unsigned month = two_digits(at + 5);
    const unsigned day = two_digits(at + 8);
    const unsigned hour = two_digits(at + 11);
    const unsigned minute = two_digits(at + 14);
    const unsigned second = two_digits(at + 17);
    const unsigned tens = two_digits(at + 20);
    const unsigned ones = (unsigned char)at[22] - (unsigned)'0';
    const int64_t milliseconds = (int64_t)tens * 10 + ones;
    if (century > 99 || year > 99 || month - 1 > 11 || day - 1 > 27 || hour > 23 || minute > 59 ||
        second > 59 || tens > 99 || ones > 9) {
        return false;
    }
    const struct s3_utc utc = {.year = (int)(century * 100 + year),
                               .month = (int)month,
                               .day = (int)day,
                               .hour = (int)hour,
                               .minute = (int)minute,
                               .second = (int)second};
    *epoch_us = (s3i_utc_to_epoch(utc) * 1000 + milliseconds) * 1000;
    return true;
}

/* Takes a number of at most 19 digits, which cannot overflow, up to a '<'. */
static bool take_quick_number(struct scanner *scanner, uint64_t *number)
{
    const char *at = scanner->at;
    uint64_t value = 0;
    for (; at < scanner->end && *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
    }
    const ptrdiff_t digits = at - scanner->at;
    if (digits == 0 || digits > 19 || at == scanner->end || *at != '<') {
        return false;
    }
    *number = value;
    scanner->at = at;
    return true;
}

static bool set_field(const struct scanner *scanner, unsigned field, struct s3_str text,
                      struct s3_list_entry *entry)
{
    const uint32_t offset = (uint32_t)(text.data - scanner->begin);
    switch (field) {
    case FIELD_KEY:
        entry->key_offset = offset;
        entry->key_size = (uint32_t)text.size;
        return true;
    case FIELD_ETAG:
        entry->etag_offset = offset;
        entry->etag_size = (uint32_t)text.size;
        return true;
    case FIELD_SIZE:
        return s3i_http_number(text, &entry->size);
    default:
        return s3i_iso_time(text, &entry->last_modified_us);
    }
}

/* Takes an ETag as S3 writes it, in two "&quot;", up to a '<'. What is kept runs from the last byte
 * of the first to the first byte of the second: the places of its quotes, which decode_etag sets. */
static bool take_quoted(struct scanner *scanner, struct s3_list_entry *entry)
{
    const char *at = scanner->at;
    if (scanner->end - at < 6 || memcmp(at, "&quot;", 6) != 0) {
        return false;
    }
    const char *stop = plain_end(at + 6, scanner->end);
    if (scanner->end - stop < 7 || memcmp(stop, "&quot;<", 7) != 0) {
        return false;
    }
    entry->etag_offset = (uint32_t)(at + 5 - scanner->begin);
    entry->etag_size = (uint32_t)(stop + 1 - (at + 5));
    scanner->at = stop + 6;
    return true;
}

/* Takes a text up to a '<'. A time, a size or an ETag as S3 writes them has a quick way. */
static inline bool take_field(struct scanner *scanner, unsigned field, struct s3_list_entry *entry)
{
    const char *at = scanner->at;
    struct s3_str text;
    if (field == FIELD_MODIFIED && scanner->end - at > TIME_SIZE && at[TIME_SIZE] == '<' &&
        quick_time(at, &entry->last_modified_us)) {
        scanner->at = at + TIME_SIZE;
        return true;
    }
    if ((field == FIELD_SIZE && take_quick_number(scanner, &entry->size)) ||
        (field == FIELD_ETAG && take_quoted(scanner, entry))) {
        return true;
    }
    return take_text(scanner, &text) &&
           (field == FIELD_NONE || set_field(scanner, field, text, entry));
}

static bool is(struct s3_str name, const char *other, size_t size)
{
    return name.size == size && memcmp(name.data, other, size) == 0;
}

/* `is` with a constant, so that the compiler makes one or two compares of it. */
#define IS(name, literal) is(name, "" literal, sizeof(literal) - 1)

static unsigned object_field(struct s3_str name)
{
    return IS(name, "Key")            ? FIELD_KEY
           : IS(name, "LastModified") ? FIELD_MODIFIED
           : IS(name, "ETag")         ? FIELD_ETAG
           : IS(name, "Size")         ? FIELD_SIZE
                                      : FIELD_NONE;
}

static unsigned prefix_field(struct s3_str name)
{
    return IS(name, "Prefix") ? FIELD_KEY : FIELD_NONE;
}

/* Reads an entry, <Contents> or <CommonPrefixes>, whose tag was taken. */
static inline bool scan_entry(struct scanner *scanner, struct s3_str element,
                              unsigned (*field_of)(struct s3_str name), unsigned needed,
                              struct s3_list_entry *entry)
{
    unsigned seen = 0;
    for (;;) {
        struct s3_str name;
        struct s3_str text;
        const enum tag tag = next_tag(scanner, &name);
        if (tag == TAG_ODD) {
            return false;
        }
        if (tag == TAG_CLOSE) {
            return s3i_str_equal(name, element) && (seen & needed) == needed;
        }
        const unsigned field = field_of(name);
        if (field & seen) {
            return false;
        }
        seen |= field;
        if (field == FIELD_NONE) {
            if (!skip_element(scanner, tag, name)) {
                return false;
            }
        } else if (!take_content(scanner, tag, name, &text) ||
                   !set_field(scanner, field, text, entry)) {
            return false;
        } else if (tag == TAG_OPEN) {
            learn_text(&scanner->shape, field, text);
        } else {
            scanner->shape.from = NULL; /* what follows an empty tag is no text of its element */
        }
    }
}

static bool add_object(struct scanner *scanner, const struct s3_list_entry *entry)
{
    struct s3_list_page *page = scanner->page;
    return add_entry(scanner, &page->objects, &page->object_count, &page->object_capacity, entry);
}

/* Reads an object whose tag began at `start` and was taken. */
static bool scan_object(struct scanner *scanner, struct s3_str element, const char *start)
{
    struct s3_list_entry entry = {0};
    learn_beginning(&scanner->shape, start);
    if (!scan_entry(scanner, element, object_field, FIELD_KEY | FIELD_SIZE | FIELD_MODIFIED,
                    &entry)) {
        return false;
    }
    learn_end(&scanner->shape, scanner->at);
    return add_object(scanner, &entry);
}

/* Reads an object of the known shape; where there is none, the scanner stays. */
static bool scan_shape(struct scanner *scanner, struct s3_list_entry *entry)
{
    const struct shape *shape = &scanner->shape;
    const char *start = scanner->at;
    for (size_t i = 0; i < shape->count; i++) {
        if (!take(scanner, shape->pieces[i].literal) ||
            !take_field(scanner, shape->pieces[i].field, entry)) {
            scanner->at = start;
            return false;
        }
    }
    if (!take(scanner, shape->ending)) {
        scanner->at = start;
        return false;
    }
    return true;
}

/* Reads objects as long as they have the known shape; false only when one may not be added. */
static bool scan_alike(struct scanner *scanner)
{
    while (scanner->shape.known) {
        struct s3_list_entry entry = {0};
        skip_space(scanner);
        if (!scan_shape(scanner, &entry)) {
            return true;
        }
        if (!add_object(scanner, &entry)) {
            return false;
        }
    }
    return true;
}

static bool scan_prefix(struct scanner *scanner, struct s3_str element)
{
    struct s3_list_page *page = scanner->page;
    struct s3_list_entry entry = {0};
    return scan_entry(scanner, element, prefix_field, FIELD_KEY, &entry) &&
           add_entry(scanner, &page->prefixes, &page->prefix_count, &page->prefix_capacity, &entry);
}

/* ---- The document ---- */

static bool scan_root_text(struct scanner *scanner, unsigned field, struct s3_str text)
{
    if (field == FIELD_TOKEN) {
        scanner->token = text;
    } else if (field == FIELD_ENCODING) {
        scanner->url_encoded = s3i_str_equal_nocase(text, S3I_STR("url"));
        return scanner->url_encoded;
    } else {
        scanner->page->truncated = s3i_str_equal(text, S3I_STR("true"));
        return scanner->page->truncated || s3i_str_equal(text, S3I_STR("false"));
    }
    return true;
}

static unsigned root_field(struct s3_str name)
{
    return IS(name, "NextContinuationToken") ? FIELD_TOKEN
           : IS(name, "IsTruncated")         ? FIELD_TRUNCATED
           : IS(name, "EncodingType")        ? FIELD_ENCODING
                                             : FIELD_NONE;
}

static bool scan_root_child(struct scanner *scanner, enum tag tag, struct s3_str name,
                            unsigned *seen)
{
    if (IS(name, "Contents")) {
        return tag == TAG_OPEN && scan_object(scanner, name, name.data - 1) && scan_alike(scanner);
    }
    if (IS(name, "CommonPrefixes")) {
        return tag == TAG_OPEN && scan_prefix(scanner, name);
    }
    const unsigned field = root_field(name);
    struct s3_str text;
    if (field == FIELD_NONE) {
        return skip_element(scanner, tag, name);
    }
    if (*seen & field || !take_content(scanner, tag, name, &text)) {
        return false;
    }
    *seen |= field;
    return scan_root_text(scanner, field, text);
}

/* White space, the declaration, and the root's tag with at most an xmlns. */
static bool scan_opening(struct scanner *scanner)
{
    static const struct s3_str DECLARATIONS[] = {
        {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>", 38},
        {"<?xml version=\"1.0\" encoding=\"utf-8\"?>", 38},
        {"<?xml version='1.0' encoding='UTF-8'?>", 38},
        {"<?xml version='1.0' encoding='utf-8'?>", 38},
        {"<?xml version=\"1.0\"?>", 21},
    };
    skip_space(scanner);
    for (size_t i = 0; i < sizeof(DECLARATIONS) / sizeof(DECLARATIONS[0]); i++) {
        if (take(scanner, DECLARATIONS[i])) {
            break;
        }
    }
    skip_space(scanner);
    if (!take(scanner, S3I_STR("<ListBucketResult"))) {
        return false;
    }
    if (take(scanner, S3I_STR(" xmlns=\""))) {
        while (scanner->at < scanner->end && is_plain(*scanner->at) && *scanner->at != '"') {
            scanner->at++;
        }
        if (!take(scanner, S3I_STR("\""))) {
            return false;
        }
    }
    return take(scanner, S3I_STR(">"));
}

/* The first pass: everything is found, and nothing changed. */
static bool scan_document(struct scanner *scanner)
{
    if (!scan_opening(scanner)) {
        return false;
    }
    unsigned seen = 0;
    struct s3_str name;
    enum tag tag = next_tag(scanner, &name);
    for (; tag == TAG_OPEN || tag == TAG_EMPTY; tag = next_tag(scanner, &name)) {
        if (!scan_root_child(scanner, tag, name, &seen)) {
            return false;
        }
    }
    if (tag == TAG_ODD || !s3i_str_equal(name, S3I_STR("ListBucketResult"))) {
        return false;
    }
    skip_space(scanner);
    if (!(seen & FIELD_TRUNCATED)) {
        scanner->page->truncated = scanner->token.size > 0;
    }
    return scanner->at == scanner->end && (!scanner->page->truncated || scanner->token.size > 0);
}

static void decode_etag(char *page_text, struct s3_list_entry *entry)
{
    char *text = page_text + entry->etag_offset;
    const size_t size = entry->etag_size;
    if (size && text[size - 1] == '&') { /* no whole text ends so: it is one of take_quoted */
        text[0] = '"';
        text[size - 1] = '"';
    } else {
        entry->etag_size = (uint32_t)decode_entities(text, size);
    }
}

/* The second pass, in the memory that is the page's now. */
static void decode_page(struct s3_list_page *page, bool url_encoded)
{
    char *text = page->text.data;
    for (size_t i = 0; i < page->object_count; i++) {
        struct s3_list_entry *entry = &page->objects[i];
        entry->key_size = (uint32_t)decode_entities(text + entry->key_offset, entry->key_size);
        decode_etag(text, entry);
    }
    for (size_t i = 0; i < page->prefix_count; i++) {
        struct s3_list_entry *entry = &page->prefixes[i];
        entry->key_size = (uint32_t)decode_entities(text + entry->key_offset, entry->key_size);
    }
    if (url_encoded) {
        s3i_list_page_decode(page);
    }
}

enum s3_scan s3i_listing_scan(struct s3_buf *document, size_t max_entries,
                              struct s3_list_page *page)
{
    s3i_list_page_reset(page);
    if (document->size == 0 || document->size > DOCUMENT_MAX) {
        return S3I_SCAN_DECLINED;
    }
    struct scanner scanner = {.begin = document->data,
                              .at = document->data,
                              .end = document->data + document->size,
                              .page = page,
                              .max_entries = max_entries};
    const bool found = scan_document(&scanner);
    if (found) {
        s3i_buf_add(&page->next_token, scanner.token);
    }
    if (!found || !s3i_buf_ok(&page->next_token)) {
        const bool starved = scanner.starved || page->next_token.starved;
        s3i_list_page_reset(page);
        return starved ? S3I_SCAN_NO_MEMORY : S3I_SCAN_DECLINED;
    }
    page->next_token.size = decode_entities(page->next_token.data, page->next_token.size);
    const struct s3_buf spare = page->text;
    page->text = *document;
    *document = spare;
    decode_page(page, scanner.url_encoded);
    return S3I_SCAN_READ;
}

int s3i_listing_read(struct s3_buf *document, size_t max_entries, struct s3_list_page *page,
                     struct s3_xml_error *error)
{
    switch (s3i_listing_scan(document, max_entries, page)) {
    case S3I_SCAN_READ:
        memset(error, 0, sizeof(*error));
        return S3EXT_OK;
    case S3I_SCAN_NO_MEMORY:
        return S3EXT_NO_MEMORY;
    case S3I_SCAN_DECLINED:
    default:
        return s3i_xml_list(s3i_buf_str(document), max_entries, page, error);
    }
}
