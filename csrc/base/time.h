/*
 * time: the two clocks, the only place that reads them.
 *
 * Deadlines and durations use the monotonic clock, signatures the wall clock; the two are never
 * compared.
 */
#ifndef S3I_BASE_TIME_H
#define S3I_BASE_TIME_H

#include <stdint.h>

/* Milliseconds since some fixed moment; never steps. */
int64_t s3i_now_ms(void);

/* Since 1970-01-01T00:00:00Z; may step when the clock is set. */
int64_t s3i_wall_seconds(void);
int64_t s3i_wall_ms(void);

/* A calendar time in UTC. */
struct s3_utc {
    int year, month, day, hour, minute, second;
};

/* The calendar time of an epoch value (proleptic Gregorian calendar), and back. Pure. */
struct s3_utc s3i_utc_from_epoch(int64_t seconds);
int64_t s3i_utc_to_epoch(struct s3_utc utc);

#endif
