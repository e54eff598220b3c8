/*
 * str: a borrowed slice of bytes, the way every string from outside travels through the core.
 *
 * A slice never owns its bytes and need not end in NUL; whoever hands one out says how long the
 * bytes stay. NUL-terminated strings exist only where libcurl, OpenSSL or the kernel ask for them.
 */
#ifndef S3I_BASE_STR_H
#define S3I_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h> /* strncasecmp */

struct s3_str {
    const char *data;
    size_t size;
};

#define S3I_STR(literal) ((struct s3_str){(literal), sizeof(literal) - 1})
#define S3I_STR_NONE ((struct s3_str){NULL, 0})

static inline struct s3_str s3i_str(const char *data, size_t size)
{
    return (struct s3_str){data, size};
}

/* A slice of a NUL-terminated string; NULL gives the empty slice. */
static inline struct s3_str s3i_str_from(const char *text)
{
    return (struct s3_str){text, text ? strlen(text) : 0};
}

static inline bool s3i_str_equal(struct s3_str a, struct s3_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ASCII letters compare without case: header names and HTTP tokens (RFC 9110, 5.1). */
static inline bool s3i_str_equal_nocase(struct s3_str a, struct s3_str b)
{
    return a.size == b.size && (a.size == 0 || strncasecmp(a.data, b.data, a.size) == 0);
}

static inline bool s3i_str_starts(struct s3_str text, struct s3_str prefix)
{
    return text.size >= prefix.size &&
           (prefix.size == 0 || memcmp(text.data, prefix.data, prefix.size) == 0);
}

/* The value of a hexadecimal digit, 16 for any other byte. */
static inline unsigned s3i_hex_value(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return (unsigned)(byte - '0');
    }
    unsigned letter = (unsigned char)byte | 0x20u;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : 16;
}

/* The slice without leading and trailing spaces and tabs (optional white space of RFC 9110, 5.6.3).
 */
static inline struct s3_str s3i_str_trim(struct s3_str text)
{
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

#endif
