/*
 * plan: which bytes to ask for in which request. Pure arithmetic on half-open ranges [start, end).
 *
 * Ranges that lie within `gap` of each other become one fetch (overlaps always do); a fetch that is
 * larger than twice the part size is split into parts, all but the last of one size. Results are
 * exact: the parts of a fetch cover it without hole or overlap.
 */
#ifndef S3I_PURE_PLAN_H
#define S3I_PURE_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct s3_range {
    uint64_t start, end;
};

/* A run of bytes fetched as one, and the ranges inside it: order[first_member .. first_member +
 * members). */
struct s3_fetch {
    uint64_t start, end;
    size_t first_member, members;
};

/*
 * Coalesces `count` ranges. `order` (count entries) receives the indices of the ranges sorted by
 * start (ties: by index); `fetches` (count entries) the result, in rising order. Returns the number
 * of fetches. Ranges merge when next.start - current_end <= gap (obstore's rule, inclusive;
 * overlaps always).
 */
size_t s3i_plan_coalesce(const struct s3_range *ranges, size_t count, uint64_t gap, size_t *order,
                         struct s3_fetch *fetches);

/*
 * The size of the parts of a read of `size` bytes with part size `part`: `size` itself when
 * size <= 2 * part (one request), else `part`. The number of parts is s3i_plan_count.
 */
uint64_t s3i_plan_read_part(uint64_t size, uint64_t part);

/*
 * The part size of an upload of `size` bytes: `wanted`, or larger (a multiple of 1 MiB) so that
 * 10,000 parts are enough; never above 5 GiB. INVALID when size > 5 TiB. S3's limits: "Amazon S3
 * multipart upload limits".
 */
int s3i_plan_upload_part(uint64_t size, uint64_t wanted, uint64_t *part);

/* ceil(size / part); 1 for an empty size, and for a part size of 0 (one part that holds all). */
uint64_t s3i_plan_count(uint64_t size, uint64_t part);

/* Part `index` (from 0) of `range`; an empty range at its end when there is no such part. */
struct s3_range s3i_plan_part(struct s3_range range, uint64_t part, uint64_t index);

#endif
