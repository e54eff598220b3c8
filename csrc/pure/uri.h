/*
 * uri: percent-encoding and canonical queries, as AWS signs them.
 *
 * Rules: AWS SigV4 "Create a canonical request": every byte but A-Z a-z 0-9 - . _ ~ becomes %XX in
 * upper case; '/' stays in a path and is encoded in a query. S3 encodes the path once. All
 * functions append to the caller's buffer; nothing is owned here.
 */
#ifndef S3I_PURE_URI_H
#define S3I_PURE_URI_H

#include "base/buf.h"
#include "base/str.h"

/* Appends an object key as a path: '/' is kept. */
void s3i_uri_add_path(struct s3_buf *out, struct s3_str key);

/* Appends a query name or value: '/' is encoded. */
void s3i_uri_add_component(struct s3_buf *out, struct s3_str text);

/* Appends the bytes of a percent-encoded text decoded once; a '%' without two hex digits stays as
 * it is. */
void s3i_uri_add_decoded(struct s3_buf *out, struct s3_str text);

/* One name=value of a query, not yet encoded. Both are borrowed. */
struct s3_query {
    struct s3_str name;
    struct s3_str value;
};

/*
 * Appends the canonical query: pairs encoded, sorted by encoded name and then encoded value (byte
 * order), joined by '&', a pair without a value as "name=". `pairs` is sorted in place. The text
 * serves as the query of the URL too, so what is sent is what is signed.
 */
void s3i_uri_add_query(struct s3_buf *out, struct s3_query *pairs, size_t count);

#endif
