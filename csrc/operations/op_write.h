/*
 * op_write: object bytes to the server, as one PUT or as a multipart upload in parallel parts.
 *
 *   CREATING --upload id--> SENDING --all parts are there--> COMPLETING --result--> done
 *      | failure               | failure                        | no clear answer
 *      v                       v                                v
 *   DOOMED --upload id--> ABORTING <--another object------ CONFIRMING --same ETag--> done
 *                              |
 *                              +--answered, or ABORT_WAIT_MS--> done, with the first error
 *
 * An upload that was created is completed or aborted, whatever happens: a cancel while the create
 * request is under way waits for its answer (DOOMED), so that no upload stays behind unseen.
 *
 * Parts come from the caller's body, cut here, or are fed: the caller fills slots of our memory, at
 * most `window` of them at a time. The fed side is used by the caller's thread; what both sides
 * touch is in `locked`.
 */
#ifndef S3I_OPERATIONS_OP_WRITE_H
#define S3I_OPERATIONS_OP_WRITE_H

#include "operations/op.h"

/* One PUT; `body` is borrowed until the end. `conditional`: not repeated once it may have been
 * applied. */
struct s3_op *s3i_op_put_new(struct s3_client *client, const struct s3_op_texts *texts,
                             struct s3_str body, bool conditional);

struct s3_upload_options {
    struct s3_op_texts texts;
    const char *body; /* borrowed; NULL: fed */
    uint64_t size;    /* of body */
    uint64_t part_size;
    uint32_t window;
};
struct s3_op *s3i_op_upload_new(struct s3_client *client, const struct s3_upload_options *options);

/* ---- the fed side; any thread, one at a time ---- */

/* Memory for the next part; NULL: no room now, or the upload has ended. */
char *s3i_upload_slot(struct s3_op *op, uint64_t *capacity);
/* The slot's first `size` bytes are the next part. OK, or the code that the upload has ended with.
 */
int s3i_upload_push(struct s3_op *op, uint64_t size, bool last);
/* Waits at most `timeout_ms` for room or the end; true when there is one of them. */
bool s3i_upload_wait(struct s3_op *op, int timeout_ms);

#endif
