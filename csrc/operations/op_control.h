/*
 * op_control: requests that move no object bytes: head, delete (one, many), and waiting for
 * credentials.
 */
#ifndef S3I_OPERATIONS_OP_CONTROL_H
#define S3I_OPERATIONS_OP_CONTROL_H

#include "operations/op.h"

/* Each returns NULL without memory. */
struct s3_op *s3i_op_head_new(struct s3_client *client, const struct s3_op_texts *texts);
struct s3_op *s3i_op_delete_new(struct s3_client *client, const struct s3_op_texts *texts);
/* `keys` are `count` NUL-ended keys, S3I_DELETE_MAX at most. */
struct s3_op *s3i_op_delete_many_new(struct s3_client *client, struct s3_str keys, size_t count);
struct s3_op *s3i_op_credentials_new(struct s3_client *client);

enum { S3I_DELETE_MAX = 1000 }; /* keys of one DeleteObjects request */

#endif
