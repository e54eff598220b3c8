/*
 * exchange: one attempt at a request: sign, send, judge the head of the answer, pass on the body.
 *
 *   SENT --status line, headers, empty line--> judged --> body delivered --> ended
 *     |                                          |
 *     |                                          +-- refused: the lane stops; ended with why
 *     +-- 1xx heads are skipped                  +-- an error answer: its document is kept
 *
 * No body byte is delivered before the head was accepted: the status, Content-Range against what
 * was asked, Content-Length against the range, the ETag against the pinned one. Exchanges belong to
 * the reactor, which keeps used ones with their warm buffers.
 */
#ifndef S3I_FLOW_EXCHANGE_H
#define S3I_FLOW_EXCHANGE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "bytes/lane.h"
#include "flow/request.h"

enum { S3I_EXCHANGE_HEADERS = 48 };

struct s3_exchange {
    struct s3_list node; /* in the reactor's list of active or of spare exchanges */
    struct s3_transfer transfer;
    const struct s3_lane_class *lane_class; /* of `lane`, which carries the transfer */
    struct s3_lane *lane;
    struct s3_request *request;
    struct s3_reactor *reactor;
    struct s3_identity *identity;
    struct s3_buf url;
    struct s3_buf lines; /* header lines, each ended by NUL */
    const char *line_starts[S3I_EXCHANGE_HEADERS];
    bool secret; /* the lines hold the customer's key: they are wiped at the end */

    /* the answer */
    struct s3_headers headers;
    struct s3_buf document; /* of an error answer */
    size_t header_bytes;
    int status;
    bool judged;   /* the final head is complete */
    bool deliver;  /* the body goes to the request */
    uint64_t skip; /* bytes before the wanted ones (an endpoint without ranges) */
    bool wanted_known;
    uint64_t wanted;       /* bytes still to deliver */
    uint64_t moved;        /* delivered by this attempt */
    struct s3_error error; /* why the head or the body was refused */

    /* for the watchdog */
    int64_t started_ms;
    int64_t progress_ms;
    uint64_t progress_bytes;
};

/* NULL without memory. */
struct s3_exchange *s3i_exchange_new(struct s3_reactor *reactor);
void s3i_exchange_free(struct s3_exchange *exchange);

/* Signs and sends; takes the reference on `identity`. An s3_code; when not OK the exchange is spare
 * again. */
int s3i_exchange_start(struct s3_exchange *exchange, struct s3_request *request,
                       struct s3_identity *identity, struct s3_error *error);

/* Stops it without a word to the request. Not from inside the lane. */
void s3i_exchange_cancel(struct s3_exchange *exchange);

/* The watchdog's look: ends the exchange with TIMEOUT when a deadline has passed. */
void s3i_exchange_watch(struct s3_exchange *exchange, int64_t now_ms);

#endif
