/*
 * http1: HTTP/1.1 messages as bytes (RFC 9112): a writer of requests' heads, a parser of responses.
 *
 * Nothing here reads or writes a connection. The writer appends to a buffer. The parser is told
 * what has arrived, and hands back spans of just that memory: it keeps no bytes and allocates
 * nothing. It never looks at more than it is given, and where the bytes were cut makes no
 * difference: the same answer gives the same lines and the same body.
 *
 * One struct s3_http1 lives for one answer, on one thread. The caller owns the receive buffer:
 *
 *   begin
 *   until DONE or FAILED:
 *       receive to the end of the buffer, or, while direct() > 0 and the buffer is empty, straight
 *       to where the body goes, then took()
 *       until NEED_MORE: feed(what the buffer holds), drop what was consumed from its front
 *   the peer closed: eof() instead of feed()
 *
 * A line is given only when it is whole. So bytes that feed left must be given to it again, more
 * following; a buffer of S3I_HTTP1_LINE_MAX bytes is never full of half a line.
 *
 *          +-- 1xx: the next head --+
 *          v                        |
 *   --> STATUS --> HEADERS --(empty line)--+--> DONE         HEAD, 204, 304, Content-Length: 0
 *                                          +--> LENGTH --> DONE
 *                                          +--> UNTIL_CLOSE --(eof)--> DONE
 *                                          +--> CHUNK_SIZE <--> CHUNK_DATA, CHUNK_END
 *                                                    |
 *                                                    +--(size 0)--> TRAILERS --> DONE
 *
 * Any state goes to FAILED, which is final, as DONE is. Bytes after DONE answer nothing that was
 * asked: a connection on which they arrive is not to be used again.
 *
 * What decides where an answer ends is read strictly, for if server and client disagree about that,
 * one answer's body is taken for the next one's head. All else is passed on as it came. Beside what
 * libcurl 7.88.1, the parser of the other lane, was seen to do:
 *
 *   answer                                      here                 libcurl
 *   line ends with LF alone                     accepted             accepted
 *   line that continues another (obs-fold,      a line of its own    a line of its own
 *     RFC 9112, 5.2): a caller that does not
 *     join them has the header's first part
 *   one that continues a status line, or        FAILED               fails; the first part counts
 *     Content-Length, Transfer-Encoding,
 *     Connection
 *   NUL in a head; header without colon         FAILED               fails
 *   white space or a control before the colon   FAILED               another header, of no effect
 *   CR that ends no line                        FAILED               accepted
 *   HTTP/0.9, HTTP/1.2, anything before a head  FAILED               fails
 *   101                                         FAILED               a body until close
 *   Content-Length: 5, twice; or "5, 5"         5                    5
 *   Content-Length: 5, then 6; or "5, 6"        FAILED               the last one; 5
 *   Content-Length: -5, or empty                FAILED               fails
 *   Content-Length: +5, 0x5, 2^63               FAILED               until close, 0, until close
 *   Transfer-Encoding: identity; gzip;          FAILED               passed over; decoded;
 *     chunked twice                                                    once
 *   Transfer-Encoding with Content-Length,      chunked, then        chunked, kept alive
 *     or of HTTP/1.0                              closed
 *   204 that announces a body                   no body, then closed no body, kept alive
 *   chunk size: 17 digits, or over 2^63 - 1     FAILED               fails
 *   chunk size: rubbish before the line's end   FAILED               passed over
 *   trailers                                    lines, of no effect  lines, of no effect
 *   longest line; all lines of an answer        100 KiB; 256 KiB     100 KB; 300 KB
 */
#ifndef S3I_PURE_HTTP1_H
#define S3I_PURE_HTTP1_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* ---- requests ---- */

/*
 * Appends a request's head: the request line, the headers as given ("name: value", NUL-terminated,
 * no line end), Content-Length if there is a body (of 0 bytes too: PUT and POST always have one),
 * the empty line. Nothing else is added: Host is the caller's.
 *
 * false, with `out` as it was, for what would make another request of it: a method or target that
 * is empty or has anything but visible ASCII, a header without a name before its colon or with CR
 * or LF, or one that says where the body ends, which is the writer's to say.
 * false with out->failed when there is no room.
 */
bool s3i_http1_write_head(struct s3_buf *out, struct s3_str method, struct s3_str target,
                          const char *const *headers, size_t header_count, bool has_body,
                          uint64_t content_length);

/* ---- responses ---- */

enum {
    S3I_HTTP1_LINE_MAX = 100 * 1024, /* bytes of a line, its end included */
    S3I_HTTP1_HEAD_MAX = 256 * 1024, /* bytes of all the lines that an answer gives */
    S3I_HTTP1_CHUNK_LINE_MAX = 1024 /* bytes of a chunk's size and its extensions, with their end */
};

enum s3_http1_kind {
    S3I_HTTP1_NEED_MORE, /* nothing (more) can be said of these bytes */
    S3I_HTTP1_LINE,      /* data: a line with its end; a status line first, an empty line last */
    S3I_HTTP1_BODY,      /* data: bytes of the body, at least one */
    S3I_HTTP1_DONE,      /* the answer is complete */
    S3I_HTTP1_FAILED     /* reason: what is wrong with it; the connection is of no more use */
};

struct s3_http1_event {
    enum s3_http1_kind kind;
    struct s3_str data; /* within what feed was given; NULL unless LINE or BODY */
    const char *reason; /* one readable line, static; NULL unless FAILED */
};

enum s3_http1_state {
    S3I_HTTP1_IN_STATUS,
    S3I_HTTP1_IN_HEADERS,
    S3I_HTTP1_IN_LENGTH,
    S3I_HTTP1_IN_CHUNK_SIZE,
    S3I_HTTP1_IN_CHUNK_DATA,
    S3I_HTTP1_IN_CHUNK_END,
    S3I_HTTP1_IN_TRAILERS,
    S3I_HTTP1_UNTIL_CLOSE,
    S3I_HTTP1_AT_END,
    S3I_HTTP1_BROKEN
};

/* Callers read `status` (0 before the first status line; of 1xx too) and, after DONE, `keep_alive`:
 * whether the connection may carry another request. The rest is the parser's. */
struct s3_http1 {
    enum s3_http1_state state;
    int status;
    bool keep_alive;
    bool head_request;
    bool old;             /* HTTP/1.0 */
    bool close_seen;      /* Connection: close */
    bool keep_alive_seen; /* Connection: keep-alive */
    bool length_seen;     /* Content-Length, its value in `left` */
    bool chunked;
    bool may_fold;        /* a continuation of the last line would change nothing that counts */
    uint64_t left;        /* bytes of the body, or of the chunk, that are still to come */
    size_t head_size;     /* bytes of the lines given so far */
    const char *reason;   /* of BROKEN */
};

/* Before the first byte of each answer. `head_request`: it answers a HEAD and has no body. */
void s3i_http1_begin(struct s3_http1 *parser, bool head_request);

/* Takes from the front of `data`, sets one event, and returns how many bytes were consumed: with
 * NEED_MORE possibly some too (framing of chunks). DONE and FAILED are repeated, consuming nothing.
 */
size_t s3i_http1_feed(struct s3_http1 *parser, struct s3_str data, struct s3_http1_event *event);

/* How many body bytes may be received past the parser before anything else comes: the rest of the
 * body or of the chunk, UINT64_MAX when the body ends with the connection, 0 when no body byte is
 * next. */
uint64_t s3i_http1_direct(const struct s3_http1 *parser);

/* Accounts for body bytes received past the parser, at most s3i_http1_direct() of them. */
void s3i_http1_took(struct s3_http1 *parser, uint64_t size);

/* The peer closed, after all that it sent was fed. true with DONE if the answer was complete, else
 * false with FAILED. */
bool s3i_http1_eof(struct s3_http1 *parser, struct s3_http1_event *event);

#endif
