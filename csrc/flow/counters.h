/*
 * counters: what the engine has done, as atomics that any thread raises and stats() reads.
 *
 * Relaxed ordering is enough: each number stands for itself.
 */
#ifndef S3I_FLOW_COUNTERS_H
#define S3I_FLOW_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#define S3I_COUNTERS(X)                                                                            \
    X(operations)                                                                                  \
    X(requests)                                                                                    \
    X(requests_direct)                                                                             \
    X(retries)                                                                                     \
    X(retries_throttle)                                                                            \
    X(retries_server)                                                                              \
    X(retries_connect)                                                                             \
    X(retries_transport)                                                                           \
    X(retries_other)                                                                               \
    X(resumed)                                                                                     \
    X(bytes_received)                                                                              \
    X(bytes_sent)                                                                                  \
    X(exchanges_in_flight)

struct s3_counters {
#define S3I_COUNTER(name) atomic_uint_fast64_t name;
    S3I_COUNTERS(S3I_COUNTER)
#undef S3I_COUNTER
};

extern struct s3_counters s3i_counters;

#define S3I_COUNT(name, by)                                                                        \
    atomic_fetch_add_explicit(&s3i_counters.name, (uint_fast64_t)(by), memory_order_relaxed)
#define S3I_UNCOUNT(name, by)                                                                      \
    atomic_fetch_sub_explicit(&s3i_counters.name, (uint_fast64_t)(by), memory_order_relaxed)

#endif
