/*
 * op_copy: copies that the server makes itself, whole (CopyObject) or as the parts of a multipart
 * upload (UploadPartCopy), for sources above what CopyObject takes.
 *
 * The course of a copy in parts is that of any upload, so op_write.c runs it; here is only what is
 * different about its parts and about the condition on its end.
 */
#ifndef S3I_OPERATIONS_OP_COPY_H
#define S3I_OPERATIONS_OP_COPY_H

#include "operations/op.h"

/*
 * CopyObject of `source`, a key of the same bucket, to texts->key. NULL without memory.
 * `conditional`: not repeated once it may have been applied.
 */
struct s3_op *s3i_op_copy_new(struct s3_client *client, struct s3_str source,
                              const struct s3_op_texts *texts, bool conditional);

struct s3_copy_options {
    struct s3_op_texts texts;
    struct s3_client *signer;   /* of the parts: S3 Express wants other keys for them */
    struct s3_str source, etag; /* key and ETag */
    uint64_t size, part_size;
    uint32_t window;
    bool if_absent;
};
/* NULL without memory. */
struct s3_op *s3i_op_copy_parts_new(struct s3_client *client,
                                    const struct s3_copy_options *options);

/* ---- for op_write.c ---- */

/* Where the parts of an upload come from when they are copied; it owns its texts. */
struct s3_copy {
    struct s3_client *signer; /* one reference */
    char *key;                /* of the source */
    char *source;             /* value of x-amz-copy-source */
    char *etag;               /* the parts are copied from no other version; "" if it has none */
};
void s3i_copy_clear(struct s3_copy *copy);

/* Appends the headers that make an UploadPart copy `range`, or the whole source if that is `whole`. */
void s3i_copy_add_part(struct s3_buf *headers, const struct s3_copy *copy, struct s3_range range,
                       bool whole);

/* The ETag in the answer to such a part, appended. Codes as for check_document. */
int s3i_copy_read_part(struct s3_str document, struct s3_buf *etag, struct s3_xml_error *xml);

#endif
