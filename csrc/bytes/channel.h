/*
 * channel: one connection of the direct lane and the transfer on it: writes the request, sends it, and
 * receives the answer, body bytes straight to their place.
 *
 *   CONNECTING --> TALKING --answered--> IDLE --next transfer--> TALKING
 *        |            |                    |
 *        +------------+--> ENDED           +--> closed, when the peer ends it or its time is over
 *
 *   TALKING:  send head and body <--> wait to be writable
 *             receive the head --judged by the exchange--> receive the body --> ENDED or IDLE
 *
 * An answer may begin while the request is still being sent. A final status of 300 or more stops the
 * sending, and the connection with it; after any other the rest of the request is sent, and the answer
 * counts only then.
 *
 * The lane owns the channels and says where they go; what is here knows one of them.
 */
#ifndef S3I_BYTES_CHANNEL_H
#define S3I_BYTES_CHANNEL_H

#include "base/buf.h"
#include "base/list.h"
#include "bytes/connection.h"
#include "bytes/lane.h"
#include "pure/http1.h"

enum {
    S3I_CHANNEL_SCRATCH = 128 * 1024, /* room for what a lane receives at a time; over LINE_MAX */
    S3I_CHANNEL_HEAD = 128 * 1024     /* the largest head of a request */
};

enum s3_channel_state {
    S3I_CHANNEL_CONNECTING, /* `connector` is under way */
    S3I_CHANNEL_TALKING,    /* `transfer` is carried */
    S3I_CHANNEL_IDLE,       /* open, for the next transfer */
    S3I_CHANNEL_ENDED       /* the transfer's end is known: `code` and `detail` */
};

struct s3_channel_host; /* the lane's */

struct s3_channel {
    struct s3_list node;   /* the lane's list that goes with the state */
    struct s3_list recent; /* among all IDLE ones */
    struct s3_channel_host *host;
    enum s3_channel_state state;
    struct s3_transfer *transfer;    /* NULL while IDLE */
    struct s3_connector *connector;  /* while CONNECTING */
    struct s3_connection connection; /* afterwards */
    bool tls;
    bool unwatched; /* the poll had no room: tried again soon */
    uint64_t answers;
    int64_t born_ms;
    int64_t idle_ms, idle_timeout_ms; /* of IDLE: since when, and for how long */

    /* the request */
    struct s3_buf head; /* and a small body, over TLS */
    struct s3_str body; /* the rest of it */
    size_t sent;        /* of head and body */
    bool mute;          /* nothing more is sent */

    /* the answer */
    struct s3_http1 parser;
    struct s3_buf held; /* the beginning of a line */
    uint64_t received;
    bool answered; /* it is complete */
    bool surplus;  /* more came than belongs to it */

    /* the end */
    int code;
    bool nothing_sent; /* the server cannot have seen the request */
    bool stale; /* it was kept open for too long: nothing was answered, another one is to be used */
    char detail[S3I_EASY_DETAIL];
};

/* Takes a transfer on: writes the head of its request. An s3_code. */
int s3i_channel_begin(struct s3_channel *channel, struct s3_transfer *transfer,
                      char scratch[S3I_CHANNEL_SCRATCH]);

/* Sends what can be sent. */
void s3i_channel_send(struct s3_channel *channel, char scratch[S3I_CHANNEL_SCRATCH]);
/* Receives what has come. */
void s3i_channel_receive(struct s3_channel *channel, char scratch[S3I_CHANNEL_SCRATCH]);

/* Its connector FAILED: the transfer ends with that. */
void s3i_channel_fail_to_connect(struct s3_channel *channel);

/* What is to be waited for: S3I_POLL_IN, S3I_POLL_OUT or both. */
unsigned s3i_channel_wants(const struct s3_channel *channel);

/* It ended well, and its connection may carry another transfer. */
bool s3i_channel_is_reusable(struct s3_channel *channel);

/* Forgets the transfer and what was written for it. */
void s3i_channel_reset(struct s3_channel *channel);

#endif
