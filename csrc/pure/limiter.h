/*
 * limiter: how many exchanges may be in flight to one host. Pure: time is an argument; the caller
 * holds the lock of the host and keeps the queue of those who wait.
 *
 * A throttle answer cuts the limit to 0.7 of itself, at most once a second, and freezes it for 3 to
 * 5 s (`uniform` spreads it); later successes raise it again by one per `limit` successes, up to the
 * ceiling. A changed ceiling does not undo a cut.
 */
#ifndef S3I_PURE_LIMITER_H
#define S3I_PURE_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

struct s3_limiter {
    uint32_t ceiling; /* set by configuration, >= 1 */
    uint32_t limit;   /* now in force, 1..ceiling */
    uint32_t in_flight;
    uint32_t successes; /* since the last rise */
    int64_t cut_at_ms;  /* the last cut */
    int64_t frozen_until_ms;
    bool is_cut; /* by a throttle, and not back at the ceiling since */
};

void s3i_limiter_init(struct s3_limiter *limiter, uint32_t ceiling);
/* Takes a slot; false when none is free. */
bool s3i_limiter_take(struct s3_limiter *limiter);
/* Gives a slot back. */
void s3i_limiter_give(struct s3_limiter *limiter);
/* Another ceiling from now on: a limit that was cut stays (or falls to it), any other follows it. */
void s3i_limiter_set_ceiling(struct s3_limiter *limiter, uint32_t ceiling);
void s3i_limiter_success(struct s3_limiter *limiter, int64_t now_ms);
void s3i_limiter_throttled(struct s3_limiter *limiter, int64_t now_ms, double uniform);

#endif
