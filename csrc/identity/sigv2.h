/*
 * sigv2: AWS Signature Version 2, header and presigned form, for servers that know no other. Pure:
 * time and keys are arguments.
 *
 *   method, Content-MD5, Content-Type, Date, x-amz-* headers, resource --HMAC-SHA-1--> base64
 *
 * The resource is the path with the bucket in front, wherever the request names it, and those parts
 * of the query that S3 counts as sub-resources. Rules: AWS "Signing and authenticating REST
 * requests (AWS signature version 2)". A key has no day and no region, and bodies are not signed.
 */
#ifndef S3I_IDENTITY_SIGV2_H
#define S3I_IDENTITY_SIGV2_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "identity/sigv4.h" /* struct s3_header */
#include "pure/uri.h"

/* A key pair, made ready. Immutable; the key id inside is a copy. */
struct s3_v2_signer;

/* NULL without memory or when OpenSSL has no SHA-1. */
struct s3_v2_signer *s3i_v2_signer_new(struct s3_str key_id, struct s3_str secret);
void s3i_v2_signer_free(struct s3_v2_signer *signer);

struct s3_v2_request {
    struct s3_str method; /* "GET" */
    struct s3_str bucket; /* encoded, "/bucket", where the host names it; "" where the path does */
    struct s3_str path;   /* encoded, begins with '/' */
    struct s3_str query;  /* canonical (s3i_uri_add_query), "" for none */
    struct s3_header *headers; /* names in lower case; others than the rules name are skipped */
    size_t header_count;       /* sorted in place by name */
};

/*
 * Appends the value of the Authorization header. The caller has put the time among the headers, as
 * date (s3i_http_add_date) or x-amz-date, and a session token as x-amz-security-token.
 */
int s3i_v2_sign_headers(const struct s3_v2_signer *signer, const struct s3_v2_request *request,
                        struct s3_buf *authorization);

/*
 * Appends the query of a presigned URL that holds until `expires` (epoch seconds), signature last:
 * AWSAccessKeyId, Expires, x-amz-security-token when `token` is not empty, `extra` pairs. x-amz-*
 * pairs among them are signed as the headers that they stand for. `headers` are those that the user
 * of the URL must send. `request->query` is not used and must be empty.
 */
int s3i_v2_sign_query(const struct s3_v2_signer *signer, const struct s3_v2_request *request,
                      int64_t expires, struct s3_str token, const struct s3_query *extra,
                      size_t extra_count, struct s3_buf *query);

#endif
