#include "pure/xml_source.h"

#include <stdint.h>
#include <string.h>

enum { MARK_SIZE = 3, PLACEHOLDER_SIZE = MARK_SIZE + 1 };

static const char MARK[MARK_SIZE] = {'\xEF', '\xB7', '\x90'};

/* The letters of the code points that are no control characters; U+0001 to U+001F are '`' +
 * code. */
enum { LETTER_FDD0 = '0', LETTER_FFFE = '1', LETTER_FFFF = '2', LETTER_CONTROL = '`' };

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
    for (; at < text.size && s3i_hex_value(text.data[at]) < base; at++) {
        code = code > 0xFFFF ? code : code * base + s3i_hex_value(text.data[at]);
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
static void move_bytes(struct s3_xml_source *source, char *out, size_t size)
{
    memcpy(out, source->rest.data, size);
    source->rest = s3i_str(source->rest.data + size, source->rest.size - size);
}

size_t s3i_xml_source_fill(struct s3_xml_source *source, char *out, size_t capacity)
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

struct s3_xml_source s3i_xml_source_of(struct s3_str document)
{
    const struct s3_str bom = S3I_STR("\xEF\xBB\xBF");
    struct s3_str rest = without_space(document);
    if (s3i_str_starts(rest, bom)) {
        rest = without_space(s3i_str(rest.data + bom.size, rest.size - bom.size));
    }
    return (struct s3_xml_source){.rest = rest, .literal = has_cdata(rest)};
}

void s3i_xml_restore(struct s3_buf *text, size_t start)
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
