/*
 * op_read: every operation that brings object bytes into memory: get, get_range, get_ranges, get
 * into memory.
 *
 * Ranges that lie close together are fetched as one, large fetches in parallel parts (pure/plan).
 * There is no HEAD: the first answer's Content-Range tells the object's size, by which the fetches
 * are cut, and its ETag pins every other part (If-Match), so that bytes of two objects are never
 * mixed.
 *
 *   START --first parts sent--> FIRST --an answer's head--> FLOWING --last part--> done
 *
 * While FIRST, a split fetch sends only its first part; from FLOWING on the window is kept full.
 * Memory of ours is taken when a fetch's size is known; bytes go from the socket's buffer to their
 * place at once.
 */
#ifndef S3I_OPERATIONS_OP_READ_H
#define S3I_OPERATIONS_OP_READ_H

#include "operations/op.h"

struct s3_read_options {
    struct s3_op_texts texts;
    const struct s3_range *ranges; /* copied; end may be UINT64_MAX when there is one */
    size_t count;
    uint64_t gap;       /* ranges at most this far apart are fetched as one */
    void *const *into;  /* NULL, or memory of the caller for each range */
    uint64_t into_size; /* of into[0] when the range's end is open; UINT64_MAX otherwise */
    uint64_t suffix;    /* not 0: the last bytes, instead of ranges */
    bool first_only;    /* end with the first part */
};

/* NULL without memory. */
struct s3_op *s3i_op_read_new(struct s3_client *client, const struct s3_read_options *options);

#endif
