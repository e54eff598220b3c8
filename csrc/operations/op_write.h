/*
 * op_write: object bytes to the server, as one PUT or as a multipart upload in parallel parts; and
 * multipart uploads whose parts the server copies.
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
 * Between SENDING and COMPLETING an upload of copied parts looks whether its source is still the one
 * that it began with (VERIFYING).
 *
 * With a checksum (client->checksum) every part carries its own, and Complete lists those that the
 * server has named in its answers. Of CRCs, Complete also carries that of the whole object,
 * combined from the parts'.
 *
 * Parts come from the caller's body, cut here, or are fed: the caller fills slots of our memory, at
 * most `window` of them at a time. The fed side is used by the caller's thread; what both sides
 * touch is in `locked`.
 */
#ifndef S3I_OPERATIONS_OP_WRITE_H
#define S3I_OPERATIONS_OP_WRITE_H

#include "operations/op.h"

struct s3_copy; /* op_copy.h */

/* One PUT; `body` is borrowed until the end. `conditional`: not repeated once it may have been
 * applied. */
struct s3_op *s3i_op_put_new(struct s3_client *client, const struct s3_op_texts *texts,
                             struct s3_str body, bool conditional);

struct s3_upload_options {
    struct s3_op_texts texts;
    const char *body;     /* borrowed; NULL without `copy`: fed */
    struct s3_copy *copy; /* the parts are copied; its texts are taken. NULL: they are sent */
    uint64_t size;        /* of body, of the source, or of what is fed; 0 if that is not known */
    uint64_t part_size;
    uint32_t window;
    bool if_absent; /* Complete fails when there is an object by then */
};
struct s3_op *s3i_op_upload_new(struct s3_client *client, const struct s3_upload_options *options);

/* ---- the fed side; any thread, one at a time ---- */

/* Memory for the next part; NULL: no room now, or the upload has ended (capacity 0), or no memory. */
char *s3i_upload_slot(struct s3_op *op, uint64_t *capacity);
/* The slot's first `size` bytes are the next part. OK, or the code that the upload has ended with.
 */
int s3i_upload_push(struct s3_op *op, uint64_t size, bool last);
/* Waits at most `timeout_ms` for room or the end; true when there is one of them. */
bool s3i_upload_wait(struct s3_op *op, int timeout_ms);

#endif
