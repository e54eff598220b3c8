/*
 * op_list: one page of ListObjectsV2. Pages are chained by whoever iterates: the token of one is an
 * argument of the next, so that a lazy listing holds one page and, at most, one request ahead.
 */
#ifndef S3I_OPERATIONS_OP_LIST_H
#define S3I_OPERATIONS_OP_LIST_H

#include "operations/op.h"

/* texts->query_pairs hold list-type and what else the page needs. NULL without memory. */
struct s3_op *s3i_op_list_new(struct s3_client *client, const struct s3_op_texts *texts);

#endif
