/*
 * regions: where buckets are, as the answers of AWS have told; one memory for the whole process.
 *
 * A place is what stores of one bucket at one endpoint share: "<host without the bucket>/<bucket>".
 * Bounded: the lesson that is the oldest makes room for a new one. A lesson that is no longer true
 * costs one more answer, which replaces it.
 */
#ifndef S3I_IDENTITY_REGIONS_H
#define S3I_IDENTITY_REGIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum { S3I_REGION_SIZE = 64 }; /* with its NUL */

/* Rises with every lesson: as long as it stands still, there is nothing to look up. */
uint64_t s3i_regions_lessons(void);

/* The region of a place, with a NUL; false, and `region` as it was, when none was learnt. */
bool s3i_regions_find(struct s3_str place, char region[S3I_REGION_SIZE]);

/* Remembers; `region` has fewer than S3I_REGION_SIZE bytes. A place with an absurdly long name is
 * not remembered. */
void s3i_regions_learn(struct s3_str place, struct s3_str region);

/* Around a fork, in this order; what was learnt stays good in the child. */
void s3i_regions_fork_prepare(void);
void s3i_regions_fork_done(void); /* in the parent and in the child */

#endif
