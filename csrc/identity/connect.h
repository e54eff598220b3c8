/*
 * connect: how to reach a host, the part of a client's configuration that the lanes read.
 *
 * Immutable once its client exists. Strings end in NUL and live as long as the client, which every
 * exchange keeps alive.
 */
#ifndef S3I_IDENTITY_CONNECT_H
#define S3I_IDENTITY_CONNECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pure/hash.h"

struct s3_trust; /* trust.h; set by the engine */

/* What carries requests: see bytes/lane.h. */
enum s3_lane_kind { S3I_LANE_CURL, S3I_LANE_DIRECT, S3I_LANE_KINDS };

struct s3_connect {
    uint64_t serial; /* differs for every client: lanes keep what they set up for one by it */
    /* Digest of what tells the connections of one client from another's to the same host; those of
     * clients that agree in it are shared. Set by the engine. */
    uint8_t route[S3I_HASH_MAX];
    const char *user_agent;
    const char *proxy_url; /* NULL: libcurl's own environment rules; "": none */
    const char *proxy_excludes;
    struct s3_trust *trust; /* one reference; NULL: the system's, as libcurl finds them */
    enum s3_lane_kind lane; /* set by the engine */
    bool verify_tls;
    bool randomize_addresses;   /* else in the order of the DNS answer */
    int http_version;           /* 1 or 2 alone; 0: 2 where TLS agrees on it */
    int64_t connect_timeout_ms; /* 0 turns any of these off */
    int64_t first_byte_timeout_ms;
    int64_t stall_timeout_ms;
    int64_t total_timeout_ms;
    int64_t pool_idle_timeout_ms;
    int64_t pool_max_idle; /* for each host and lane; -1: no limit */
    int64_t probe_ms;
    int64_t unanswered_ms;
    uint32_t concurrency;
};

/* Computes `route`, when all else is set. An s3_code. */
int s3i_connect_set_route(struct s3_connect *connect);

#endif
