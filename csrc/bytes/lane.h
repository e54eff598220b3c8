/*
 * lane: the way an exchange is carried. An interface with two implementations: lane_curl.c, libcurl's
 * own HTTP, which can do everything; lane_direct.c, our HTTP/1.1 over connections that libcurl makes.
 *
 * A lane belongs to one reactor and is used by one thread at a time. It carries any number of
 * transfers; a transfer is one HTTP request and its response on one connection, owned by the
 * exchange that embeds it. The lane borrows the transfer and all that it points to from start until
 * on_end, or until cancel returns.
 *
 *   start ---> on_header* (whole lines, last one empty) ---> (on_body | on_room, on_filled)* ---> on_end
 *
 * on_header, on_body, on_room and on_filled may be called while the lane is inside libcurl: they must not start or
 * cancel transfers. on_end is called with the lane idle, and may.
 */
#ifndef S3I_BYTES_LANE_H
#define S3I_BYTES_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "bytes/poll.h"
#include "identity/connect.h"

struct s3_transfer;

/* What a transfer ended in, besides the answer. */
struct s3_transfer_end {
    int code; /* OK when a whole response came; else RESOLVE, CONNECT, TLS, TRANSPORT, ... */
    bool nothing_sent;  /* the server cannot have seen the request */
    const char *detail; /* the cause in words, or NULL; borrowed for the call */
};

struct s3_transfer_events {
    /* One header line with its line end, status lines and the empty line included; false ends the
     * transfer. */
    bool (*on_header)(struct s3_transfer *transfer, struct s3_str line);
    /* Body bytes in order; false ends the transfer. */
    bool (*on_body)(struct s3_transfer *transfer, struct s3_str data);
    /*
     * Where the next body bytes are to be received, and how many at most; 0: nowhere, they go to
     * on_body. The place is good until the next event. on_filled: so many bytes are there, at least
     * one.
     */
    size_t (*on_room)(struct s3_transfer *transfer, char **place);
    void (*on_filled)(struct s3_transfer *transfer, size_t size);
    /* The last call; the transfer is the exchange's again. */
    void (*on_end)(struct s3_transfer *transfer, const struct s3_transfer_end *end);
};

enum s3_method { S3I_GET, S3I_HEAD, S3I_PUT, S3I_POST, S3I_DELETE };

/* "GET" and so on. */
struct s3_str s3i_method_name(enum s3_method method);

struct s3_transfer {
    const struct s3_transfer_events *events;
    const struct s3_connect *connect;
    enum s3_method method;
    const char *url;            /* NUL-terminated */
    const char *const *headers; /* "name: value", NUL-terminated, without line end */
    size_t header_count;
    struct s3_str body; /* of PUT and POST */
    bool lend;   /* its memory may be read late, and no harm is done: see splice.h */
    bool once;   /* must not be sent twice, not even by the lane on its own */
    bool secret; /* the headers hold a customer's key: copies are wiped */
    uint64_t expected;  /* body bytes that may come, for the choice of buffers; 0: few */
    void *lane_state;   /* the lane's own */
};

/* How far a transfer is, for the watchdog. */
struct s3_transfer_progress {
    bool connected;
    uint64_t bytes; /* sent and received; only whether it moves counts */
};

struct s3_lane;

struct s3_lane_class {
    const char *name;
    /* A lane that watches its descriptors in `poll`, borrowed. NULL without memory or descriptors.
     */
    struct s3_lane *(*new_lane)(struct s3_poll *poll);
    /* No transfer may be under way. */
    void (*free_lane)(struct s3_lane *lane);
    /* An s3_code; when it is not OK, no event follows. */
    int (*start)(struct s3_lane *lane, struct s3_transfer *transfer);
    /* Drops a transfer and its connection; no event follows. Not from on_header or on_body. */
    void (*cancel)(struct s3_lane *lane, struct s3_transfer *transfer);
    /* Readiness of one of its descriptors. */
    void (*on_ready)(struct s3_lane *lane, int fd, unsigned events);
    /* When it wants on_deadline, in monotonic ms; INT64_MAX for never. */
    int64_t (*deadline)(const struct s3_lane *lane);
    void (*on_deadline)(struct s3_lane *lane);
    void (*progress)(struct s3_lane *lane, const struct s3_transfer *transfer,
                     struct s3_transfer_progress *progress);
    /* In a fork child: closes the descriptors, touches nothing else, leaks the rest. */
    void (*abandon)(struct s3_lane *lane);
};

/* By enum s3_lane_kind. Descriptors are watched with the lane's kind as their owner. */
extern const struct s3_lane_class *const s3i_lane_classes[S3I_LANE_KINDS];
extern const struct s3_lane_class s3i_lane_curl;
extern const struct s3_lane_class s3i_lane_direct;

/* Initialises libcurl on the calling thread and checks what it can do. An s3_code, with `error`
 * set. */
int s3i_lane_init(struct s3_error *error);

struct s3_lane_versions {
    const char *curl;
    const char *tls;
    const char *ca_bundle; /* path of the system's certificates, "" when libcurl does not tell */
    bool http2;
    bool threadsafe;
};
void s3i_lane_versions_get(struct s3_lane_versions *versions);

/*
 * Which lane is to carry the requests of a configuration, as it is wanted: "auto", "direct" or "curl".
 * The direct one speaks HTTP/1.1 alone, to the server itself (through a proxy's tunnel at most), and
 * reaches into libcurl's TLS, which must be OpenSSL. An s3_code; where it is asked for what it cannot
 * do, NOT_SUPPORTED with `error` set.
 */
int s3i_lane_choose(const struct s3_connect *connect, bool tls, struct s3_str wanted,
                    enum s3_lane_kind *lane, struct s3_error *error);

#endif
