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

struct s3_trust; /* trust.h; set by the engine */

/* What carries requests: see bytes/lane.h. */
enum s3_lane_kind { S3I_LANE_CURL, S3I_LANE_DIRECT, S3I_LANE_KINDS };

struct s3_connect {
    uint64_t serial; /* differs for every client: lanes key their caches by it */
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

#endif
