/*
 * request: one thing that an operation wants from the server, tried until it is answered or given
 * up.
 *
 *                    +---------------- WAIT_BACKOFF <---------------+
 *                    v                                              | may be tried again
 *   IDLE --start--> READY --> WAIT_IDENTITY --> WAIT_SLOT --> IN_EXCHANGE
 *                            (no credentials)   (limiter,           | answered, or given up
 *                             or HASHING         memory)            v
 *                            (a large body)                   IDLE, on_done
 *
 * A request is embedded in its operation, which owns it and what it points to; all its fields
 * belong to the thread that runs the operation's reactor. Retrying is decided here and only here:
 * by the class that pure/retry gives a failure, within max_retries, retry_timeout and the host's
 * budget. Waits for fresh credentials, a learnt clock and a corrected region are not counted as
 * retries. A body that broke off is taken up again at the received offset, pinned by If-Match; an
 * attempt that moved PROGRESS bytes or more starts the count anew, so that a transfer that makes
 * progress has no total deadline.
 */
#ifndef S3I_FLOW_REQUEST_H
#define S3I_FLOW_REQUEST_H

#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "base/str.h"
#include "bytes/lane.h"
#include "flow/admission.h"
#include "flow/payload.h"
#include "flow/timer.h"
#include "identity/client.h"
#include "pure/http.h"
#include "pure/plan.h"
#include "pure/xml.h"

struct s3_attempt;
struct s3_exchange;
struct s3_reactor;
struct s3_request;

/* The head of an accepted answer, as on_head sees it; borrowed for the call. */
struct s3_answer {
    int status;
    const struct s3_headers *headers;
    struct s3_str etag; /* data NULL when absent */
    bool length_known;
    uint64_t length; /* Content-Length */
    bool total_known;
    uint64_t total;        /* size of the object */
    struct s3_range range; /* of a ranged request: the bytes that will be delivered */
    bool whole;   /* the whole object comes, asked for or not (an endpoint without ranges) */
    bool resumed; /* the answer continues an earlier one: memory is there already */
};

struct s3_request_class {
    /*
     * The answer was accepted; body bytes follow. Makes ready where they go. Not an s3_code OK: the
     * attempt is refused with `error`. Called inside the lane: must not start or cancel requests
     * (it may queue starts). Where the whole object comes, answer->range.end may be raised up to
     * the total.
     */
    int (*on_head)(struct s3_request *request, struct s3_answer *answer, struct s3_error *error);
    /* Body bytes at `offset` from the start of the request's range; OK or an error. NULL: into
     * `document`. */
    int (*on_body)(struct s3_request *request, uint64_t offset, struct s3_str data);
    /*
     * Where the body bytes from `offset` on may be received, and how many at most; 0: nowhere, they go
     * to on_body. NULL: never.
     */
    uint64_t (*on_room)(struct s3_request *request, uint64_t offset, char **place);
    /*
     * The end: request->error.code says how. May start requests, finish or fail the operation; the
     * request may be gone afterwards.
     */
    void (*on_done)(struct s3_request *request);
    /*
     * A complete document came (on_body NULL): OK, or the code of an error inside it with `xml`
     * filled, which is then classified like an answer. NULL: whatever came is fine.
     */
    int (*check_document)(struct s3_request *request, struct s3_xml_error *xml);
    /*
     * An answer with the status of an error came. `xml` holds what S3's own document of errors said;
     * may add what another service says. NULL: nothing to add.
     */
    void (*on_refused)(struct s3_request *request, const struct s3_attempt *attempt,
                       struct s3_xml_error *xml);
};

enum s3_range_kind {
    S3I_RANGE_NONE,  /* no Range header */
    S3I_RANGE_SPAN,  /* bytes=start-(end-1); end UINT64_MAX: bytes=start- */
    S3I_RANGE_SUFFIX /* bytes=-suffix */
};

enum s3_request_state {
    S3I_REQUEST_IDLE,          /* not started, or done */
    S3I_REQUEST_READY,         /* in the reactor's ready list */
    S3I_REQUEST_WAIT_IDENTITY, /* credentials were asked for */
    S3I_REQUEST_HASHING,       /* in the reactor's list of bodies to be hashed */
    S3I_REQUEST_WAIT_SLOT,     /* the ticket waits */
    S3I_REQUEST_IN_EXCHANGE,   /* an attempt is under way */
    S3I_REQUEST_WAIT_BACKOFF   /* until the timer */
};

struct s3_request {
    /* ---- what is asked: set by the operation before start, constant over the attempts ---- */
    const struct s3_request_class *class;
    struct s3_client *client;
    enum s3_method method;
    bool has_key;                /* false: the bucket itself */
    struct s3_str key;           /* raw */
    struct s3_str query;         /* canonical, "" for none */
    struct s3_str headers;       /* pair block, names in lower case */
    struct s3_str extra_headers; /* a second pair block, the operation's own */
    struct s3_str body;
    bool lend; /* the body may be sent from where it is: it counts by a later request alone */
    bool identity_only; /* done as soon as the client can sign; nothing is sent */
    bool repeatable;    /* may be sent again after it may have been seen */
    enum s3_range_kind range_kind;
    struct s3_range range;
    uint64_t suffix;
    struct s3_str pinned_etag; /* sent as If-Match, and answers must have it; data NULL: none */
    uint64_t memory;           /* bytes of our memory that the answer will take, for admission */
    bool may_be_small;         /* the range is an upper bound: the object may well be smaller */
    size_t document_limit;     /* of a document answer */
    unsigned encryption;       /* enum s3_encryption: the client's headers that go with it */
    enum s3_checksum checksum; /* of the body, sent with it */

    /* ---- how it stands: the request's own ---- */
    enum s3_request_state state;
    struct s3_reactor *reactor;
    struct s3_list node;   /* the reactor's list that goes with the state */
    struct s3_list member; /* the operation's list of requests under way */
    struct s3_timer timer; /* back-off, or the deadline of a wait for credentials */
    struct s3_ticket ticket;
    struct s3_exchange *exchange;
    struct s3_identity *identity;
    uint64_t identity_ticket;
    uint64_t credentials_version; /* signed with in the last attempt; 0: unsigned */
    uint64_t received;            /* body bytes delivered, over all attempts */
    uint64_t total; /* size of the object as the first answer told it; UINT64_MAX: not known */
    struct s3_payload payload; /* computed before the first attempt */
    struct s3_payload_wants wants; /* of it */
    uint32_t attempts;         /* exchanges begun */
    uint32_t retries;          /* counted ones, since the last progress */
    uint32_t all_retries;      /* for statistics */
    uint32_t refusals;         /* waits for newer credentials */
    bool clock_learnt, region_corrected, protocol_retried, damage_retried;
    bool budget_spent; /* the host's budget of retries does not allow another one */
    uint32_t resolve_failures;
    int32_t retry_tokens;     /* what the last retry took from the budget */
    int64_t first_failure_ms; /* 0: none since the last progress */
    struct s3_error error;    /* the outcome */
    int status;               /* of the last answer, 0 for none */
    struct s3_buf document;   /* an answer that is a document */
};

/* Zeroes and prepares; the operation then fills in what is asked. */
void s3i_request_init(struct s3_request *request, const struct s3_request_class *class,
                      struct s3_client *client);
/* Frees what it holds; must not be under way. */
void s3i_request_clear(struct s3_request *request);

/* Queues it on the reactor; nothing happens before the caller returns to the reactor's loop. */
void s3i_request_start(struct s3_request *request, struct s3_reactor *reactor);

/* Ends it silently: on_done is not called. Not from inside the lane (on_head, on_body). */
void s3i_request_cancel(struct s3_request *request);

/* The memory that the answer needs turned out to be less than `memory`: the rest goes to others. */
void s3i_request_needs(struct s3_request *request, uint64_t memory);

static inline bool s3i_request_active(const struct s3_request *request)
{
    return request->state != S3I_REQUEST_IDLE;
}

/* ---- for the reactor and the exchange ---- */

/* Moves a READY request on. */
void s3i_request_pump(struct s3_request *request);
/* Hashes a HASHING request's body on by at most *budget bytes, and takes them from it. */
void s3i_request_hash(struct s3_request *request, size_t *budget);
/* Credentials changed somewhere: looks again. */
void s3i_request_recheck(struct s3_request *request);

/* How an attempt ended, for s3i_request_attempted. */
struct s3_attempt {
    int code; /* OK: accepted and complete; else what broke (error.h) */
    bool nothing_sent;
    bool answered; /* a status came: status, headers and `document` hold the error answer */
    int status;
    const struct s3_headers *headers;
    struct s3_str document;
    const char *detail;   /* words for the message; NULL: the code's own */
    struct s3_str host;   /* that was asked */
    struct s3_str region; /* that was signed for */
    uint64_t moved;       /* body bytes that this attempt delivered or sent */
};
void s3i_request_attempted(struct s3_request *request, const struct s3_attempt *attempt);

#endif
