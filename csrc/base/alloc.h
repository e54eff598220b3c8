/*
 * alloc: the one shim between the core and the C heap.
 *
 * Sizes are checked for overflow here, so that no caller multiplies before it allocates. A build
 * with S3EXT_TEST can make the n-th allocation fail (s3i_alloc_fail_after), which is how the
 * torture tests walk through every out-of-memory path.
 */
#ifndef S3I_BASE_ALLOC_H
#define S3I_BASE_ALLOC_H

#include <stddef.h>

#include "base/str.h"

/* NULL when there is no memory, never for a size of 0. */
void *s3i_malloc(size_t size) __attribute__((malloc));
void *s3i_calloc(size_t count, size_t size) __attribute__((malloc));

/* Resizes to count * size bytes; on failure the old block stays valid and NULL is returned. */
void *s3i_realloc_array(void *block, size_t count, size_t size);

/* A NUL-terminated copy of a slice. */
char *s3i_strdup(struct s3_str text) __attribute__((malloc));

/* NULL is allowed. */
void s3i_free(void *block);

/* Clears the bytes in a way that the compiler may not drop, then frees them: for secrets. */
void s3i_free_secret(void *block, size_t size);

#ifdef S3EXT_TEST
/* The allocation after the next `count` ones fails, once; a negative count turns this off. */
void s3i_alloc_fail_after(long count);
/* Whether that failure is still to come. */
bool s3i_alloc_failure_pending(void);
/* Allocations not yet freed. */
long s3i_alloc_live(void);
#endif

#endif
