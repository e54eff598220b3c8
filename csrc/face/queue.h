/*
 * queue: the ring and the eventfd through which finished operations reach one event loop.
 *
 * Operations are listed from submit until their completion is in the ring; room in the ring is
 * reserved when they are submitted, so a completion is never lost. The descriptor is written once
 * for any number of completions and read when the ring is empty again.
 */
#ifndef S3I_FACE_QUEUE_H
#define S3I_FACE_QUEUE_H

#include "operations/op.h"

struct s3_queue;

/* NULL without memory or descriptors. */
struct s3_queue *s3i_queue_new(void);
int s3i_queue_fd(const struct s3_queue *queue);
/* Lists operations and makes room; NO_MEMORY leaves all as it was. Before they are submitted. */
int s3i_queue_add(struct s3_queue *queue, struct s3_op *const *ops, const uint64_t *tokens,
                  size_t count);
size_t s3i_queue_drain(struct s3_queue *queue, struct s3ext_completion *out, size_t capacity);
/*
 * Cancels what is listed and waits until it has let go of its owners' buffers, at most
 * CLOSE_WAIT_MS; an upload that is still being aborted then keeps the record, without its
 * descriptor, until it is done. In a fork child: closes the descriptor.
 */
void s3i_queue_close(struct s3_queue *queue);

#endif
