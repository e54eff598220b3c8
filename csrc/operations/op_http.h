/*
 * op_http: any one request to any service, its answer as text: DynamoDB, S3 Express's sessions, what
 * S3 has no operation of its own for here, and sources of credentials. What the answers mean is the
 * caller's business; this only knows which of them are worth another try.
 */
#ifndef S3I_OPERATIONS_OP_HTTP_H
#define S3I_OPERATIONS_OP_HTTP_H

#include "operations/op.h"

/*
 * texts->key is the path behind the client's own. The body is copied. NULL without memory; a method
 * that there is not ends it with INVALID.
 */
struct s3_op *s3i_op_http_new(struct s3_client *client, struct s3_str method,
                              const struct s3_op_texts *texts, struct s3_str body, bool repeatable);

#endif
