/*
 * retry: what a failed attempt means, and how long to wait. Pure: the caller gives time and
 * randomness.
 *
 * One table of S3 codes and one of statuses (retry.c) classify every failure; nothing else in the
 * project decides what is retryable. Sources: AWS SDK standard retry mode, engine lessons in
 * csrc/README.md.
 */
#ifndef S3I_PURE_RETRY_H
#define S3I_PURE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum s3_retry_class {
    S3I_RETRY_NEVER,       /* the answer stands */
    S3I_RETRY_THROTTLE,    /* slow down: wait from at least 1 s, cut the limiter */
    S3I_RETRY_SERVER,      /* the server failed: any method that may be repeated */
    S3I_RETRY_CONNECT,     /* nothing was sent: any method */
    S3I_RETRY_TRANSPORT,   /* broke after sending: idempotent requests only */
    S3I_RETRY_ONCE,        /* the body was damaged on its way: once more, any method */
    S3I_RETRY_CREDENTIALS, /* refresh the credentials once per version; not counted */
    S3I_RETRY_NEWER_KEYS, /* stands unless there are newer keys than it was signed with; not counted */
    S3I_RETRY_CLOCK,      /* learn the clock offset once; not counted */
    S3I_RETRY_REGION      /* correct the region once; not counted */
};

/*
 * The class of an answer: status and the <Code> of its body ("" if none). Success statuses are
 * NEVER, unless they come with a code: an <Error> inside a 200 answer is judged by it.
 */
enum s3_retry_class s3i_retry_answer(int http_status, struct s3_str s3_code);

/*
 * The class of an attempt that ended without an answer, by its s3_code (error.h). `nothing_sent`:
 * the server cannot have seen the request. PROTOCOL and CHECKSUM are TRANSPORT; the caller repeats
 * them only once.
 */
enum s3_retry_class s3i_retry_broken(int code, bool nothing_sent);

/* The s3_code (error.h) that an answer ends in when it is not, or no longer, retried; never OK. */
int s3i_retry_outcome(int http_status, struct s3_str s3_code);

/* RetryConfig. Times in milliseconds. */
struct s3_retry_config {
    uint32_t max_retries;     /* default 10 */
    int64_t retry_timeout_ms; /* default 180,000; counted from the first failure */
    int64_t init_backoff_ms;  /* default 100 */
    int64_t max_backoff_ms;   /* default 15,000 */
    double base;              /* default 2, > 1 */
    bool init_backoff_set;    /* the user chose init_backoff: throttles start from it too */
};

void s3i_retry_defaults(struct s3_retry_config *config);

/*
 * Full jitter: a wait in [0, min(max_backoff, first * base^retry)], retry counted from 0, where
 * first is init_backoff, or for THROTTLE max(init_backoff, 1 s) unless init_backoff_set. `uniform`
 * is in [0, 1). A server's Retry-After (>= 0; -1 for none) is a lower bound of the wait.
 */
int64_t s3i_retry_delay_ms(const struct s3_retry_config *config, enum s3_retry_class class,
                           uint32_t retry, double uniform, int64_t retry_after_ms);

/*
 * The budget of retries of one host: a bucket of tokens, so that a server in trouble is not
 * drowned. Capacity 500; a retry takes 5 (SERVER, THROTTLE, ONCE) or 10 (TRANSPORT); a success gives
 * back what its last retry took, or 1. What the server has not seen (CONNECT) takes nothing: many
 * requests that find no connection at once must not use up each other's attempts. Not thread-safe:
 * the caller holds the lock of the host.
 */
struct s3_retry_budget {
    int32_t tokens;
};
void s3i_retry_budget_init(struct s3_retry_budget *budget);
/* Tokens taken, 0 for a class that takes none; -1: the budget is used up, and the failure stands. */
int32_t s3i_retry_budget_take(struct s3_retry_budget *budget, enum s3_retry_class class);
void s3i_retry_budget_give(struct s3_retry_budget *budget, int32_t taken);

#endif
