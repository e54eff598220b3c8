#include "pure/uri.h"

#include <stdint.h>

#define BIT(byte) (UINT64_C(1) << ((byte) % 64))
#define BITS(first, last) (2 * BIT(last) - BIT(first))

/* One bit for each byte that stays as it is: the unreserved characters of RFC 3986, 2.3, ... */
#define UNRESERVED_LOW (BITS('0', '9') | BIT('-') | BIT('.'))
#define UNRESERVED_HIGH (BITS('A', 'Z') | BITS('a', 'z') | BIT('_') | BIT('~'))
static const uint64_t COMPONENT_BYTES[4] = {UNRESERVED_LOW, UNRESERVED_HIGH};

/* ... and in a path the slash too. */
static const uint64_t PATH_BYTES[4] = {UNRESERVED_LOW | BIT('/'), UNRESERVED_HIGH};

static const char HEX[] = "0123456789ABCDEF";

static bool is_kept(const uint64_t kept[4], char byte)
{
    unsigned place = (unsigned char)byte;
    return (kept[place / 64] & BIT(place)) != 0;
}

static size_t encoded_size(struct s3_str text, const uint64_t kept[4])
{
    size_t size = text.size;
    for (size_t i = 0; i < text.size; i++) {
        size += is_kept(kept, text.data[i]) ? 0 : 2;
    }
    return size;
}

/* The size is counted first, so that a text which fits the buffer's ceiling exactly is taken. */
static void add_encoded(struct s3_buf *out, struct s3_str text, const uint64_t kept[4])
{
    size_t size = encoded_size(text, kept);
    if (size == 0 || !s3i_buf_reserve(out, size)) {
        return;
    }
    char *to = out->data + out->size;
    out->size += size;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (is_kept(kept, text.data[i])) {
            *to++ = text.data[i];
        } else {
            *to++ = '%';
            *to++ = HEX[byte >> 4];
            *to++ = HEX[byte & 15];
        }
    }
}

void s3i_uri_add_path(struct s3_buf *out, struct s3_str key)
{
    add_encoded(out, key, PATH_BYTES);
}

void s3i_uri_add_component(struct s3_buf *out, struct s3_str text)
{
    add_encoded(out, text, COMPONENT_BYTES);
}

void s3i_uri_add_decoded(struct s3_buf *out, struct s3_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned high = 16;
        unsigned low = 16;
        if (text.data[i] == '%' && text.size - i > 2) {
            high = s3i_hex_value(text.data[i + 1]);
            low = s3i_hex_value(text.data[i + 2]);
        }
        if (high < 16 && low < 16) {
            s3i_buf_add_char(out, (char)(unsigned char)(high << 4 | low));
            i += 2;
        } else {
            s3i_buf_add_char(out, text.data[i]);
        }
    }
}

/*
 * Where a byte stands among encoded texts: an escape begins with '%', which is smaller than every
 * unreserved character, and two escapes compare as their bytes do, since '0'-'9' come before
 * 'A'-'F'. So texts can be ordered as if encoded without encoding them.
 */
static int encoded_rank(char byte)
{
    return (unsigned char)byte + (is_kept(COMPONENT_BYTES, byte) ? 256 : 0);
}

static int compare_encoded(struct s3_str a, struct s3_str b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    for (size_t i = 0; i < shared; i++) {
        if (a.data[i] != b.data[i]) {
            return encoded_rank(a.data[i]) - encoded_rank(b.data[i]);
        }
    }
    return (a.size > b.size) - (a.size < b.size);
}

static int compare_pairs(const struct s3_query *a, const struct s3_query *b)
{
    int order = compare_encoded(a->name, b->name);
    return order ? order : compare_encoded(a->value, b->value);
}

/* Insertion: a handful of pairs, most often in order already, and nothing may be allocated. */
static void sort_pairs(struct s3_query *pairs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct s3_query pair = pairs[i];
        size_t at = i;
        for (; at > 0 && compare_pairs(&pairs[at - 1], &pair) > 0; at--) {
            pairs[at] = pairs[at - 1];
        }
        pairs[at] = pair;
    }
}

void s3i_uri_add_query(struct s3_buf *out, struct s3_query *pairs, size_t count)
{
    sort_pairs(pairs, count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            s3i_buf_add_char(out, '&');
        }
        s3i_uri_add_component(out, pairs[i].name);
        s3i_buf_add_char(out, '=');
        s3i_uri_add_component(out, pairs[i].value);
    }
}
