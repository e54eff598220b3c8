/*
 * http: the parts of HTTP/1.1 that are parsed by the core itself, fed one line or one value at a
 * time.
 *
 * RFC 9110 (semantics) and 9112 (syntax). Every parser takes a slice, gives values, and refuses
 * what it does not understand: an unparsed length or range is never taken for a small one.
 */
#ifndef S3I_PURE_HTTP_H
#define S3I_PURE_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* Status of "HTTP/1.1 206 Partial Content" (any HTTP/x[.y]); -1 when the line is none. */
int s3i_http_status(struct s3_str line);

/*
 * Splits "Name: value\r\n" (line end optional) into name and trimmed value; false for what is no
 * header line (no colon, empty name, white space in the name, control characters in the value).
 */
bool s3i_http_header(struct s3_str line, struct s3_str *name, struct s3_str *value);

/* The line without its end: CRLF, or a bare LF (RFC 9112, 2.2). */
static inline struct s3_str s3i_http_without_line_end(struct s3_str line)
{
    if (line.size && line.data[line.size - 1] == '\n') {
        line.size--;
        if (line.size && line.data[line.size - 1] == '\r') {
            line.size--;
        }
    }
    return line;
}

/*
 * Takes the next element off a list "a, b" (RFC 9110, 5.6.1), without the white space around it;
 * false when all are taken, or for a list with NULL data. Empty elements are given too, and an
 * empty text is a list of one. Quotes mean nothing: it is for lists of tokens and numbers.
 */
bool s3i_http_next_element(struct s3_str *list, struct s3_str *element);

/* A decimal number without sign or spaces, at most UINT64_MAX; false otherwise. */
bool s3i_http_number(struct s3_str text, uint64_t *number);

/* A range as "bytes first-last/total" (RFC 9110, 14.4). `last` is inclusive. */
struct s3_content_range {
    uint64_t first, last, total;
    bool total_known; /* false when the total is an asterisk */
};
/* false when the text is no such range, first > last, last >= total, or last = UINT64_MAX (so that
 * last + 1 never overflows). The unsatisfied form (an asterisk for first-last) is false too. */
bool s3i_http_content_range(struct s3_str text, struct s3_content_range *range);

/* The unsatisfied form of a 416 answer, an asterisk for first-last: gives the object's size. */
bool s3i_http_unsatisfied_range(struct s3_str text, uint64_t *total);

/* An HTTP date in any of the three forms of RFC 9110, 5.6.7, as epoch seconds. */
bool s3i_http_date(struct s3_str text, int64_t *epoch);

/* An ISO 8601 / RFC 3339 time as S3 lists it ("2009-10-12T17:50:30.000Z", offsets too), epoch
 * microseconds. */
bool s3i_iso_time(struct s3_str text, int64_t *epoch_us);

/* Appends an epoch value as "Sun, 06 Nov 1994 08:49:37 GMT"; a year outside 0 to 9999 fails the
 * buffer. */
void s3i_http_add_date(struct s3_buf *out, int64_t epoch);

/* Retry-After: seconds or an HTTP date (taken against `now`), clamped to 0..60,000 ms; false for
 * junk. */
bool s3i_http_retry_after(struct s3_str text, int64_t now, int64_t *wait_ms);

/*
 * Response headers kept for the caller: one run of "name\0value\0" pairs, names in lower case. Only
 * those that S3 gives a meaning to are kept (content-*, cache-control, etag, last-modified,
 * x-amz-*, date, retry-after, location, server, expires, age); others cost nothing.
 */
struct s3_headers {
    struct s3_buf pairs;
    size_t count;
};
void s3i_headers_init(struct s3_headers *headers, size_t limit);
void s3i_headers_clear(struct s3_headers *headers);
void s3i_headers_reset(struct s3_headers *headers);
/* Adds one header if it is of interest; false when the ceiling is reached, memory is short, or it
 * has a NUL. */
bool s3i_headers_add(struct s3_headers *headers, struct s3_str name, struct s3_str value);
/* The first value under a lower-case name; a slice with NULL data when there is none. Borrowed. */
struct s3_str s3i_headers_find(const struct s3_headers *headers, struct s3_str name);

#endif
