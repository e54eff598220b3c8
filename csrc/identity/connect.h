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

struct s3_connect {
    uint64_t serial; /* differs for every client: lanes key their caches by it */
    const char *user_agent;
    const char *proxy_url; /* NULL: libcurl's own environment rules; "": none */
    const char *proxy_excludes;
    const char *ca_pem; /* NULL: the system's certificates */
    size_t ca_pem_size;
    bool system_certificates;
    bool verify_tls;
    int64_t connect_timeout_ms; /* 0 turns any of these off */
    int64_t first_byte_timeout_ms;
    int64_t stall_timeout_ms;
    int64_t total_timeout_ms;
    int64_t pool_idle_timeout_ms;
    uint32_t concurrency;
};

#endif
