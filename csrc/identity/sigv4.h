/*
 * sigv4: AWS Signature Version 4, header and presigned form. Pure: time and keys are arguments.
 *
 *   secret --HMAC date--> --HMAC region--> --HMAC service--> --HMAC "aws4_request"--> signing key
 *   canonical request --SHA-256--> string to sign --HMAC signing key--> signature
 *
 * A signing key (struct s3_signer) holds for one day, region, service and secret; it is made once
 * and shared. Rules: AWS "Signature Version 4 for API requests" and "Authenticating Requests: Using
 * Query Parameters (AWS Signature Version 4)". S3 encodes the path once and does not normalise it.
 */
#ifndef S3I_IDENTITY_SIGV4_H
#define S3I_IDENTITY_SIGV4_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "pure/uri.h"

/* Immutable; the strings inside are copies. */
struct s3_signer;

/*
 * The key for the UTC day of `epoch`, and everything of the scope: "<key
 * id>/<date>/<region>/<service>/aws4_request". NULL without memory or when OpenSSL fails.
 */
struct s3_signer *s3i_signer_new(struct s3_str key_id, struct s3_str secret, struct s3_str region,
                                 struct s3_str service, int64_t epoch);
void s3i_signer_free(struct s3_signer *signer);

/* Whether the key holds for that second (same UTC day). */
bool s3i_signer_valid(const struct s3_signer *signer, int64_t epoch);

/* A header to be signed: name in lower case, value trimmed of outer white space; both borrowed. */
struct s3_header {
    struct s3_str name;
    struct s3_str value;
};

/* Sorts by name, in place; those of one name stay in the order given. */
void s3i_sign_sort(struct s3_header *headers, size_t count);

struct s3_sign_request {
    struct s3_str method; /* "GET" */
    struct s3_str path;   /* encoded, begins with '/' */
    struct s3_str query;  /* canonical (s3i_uri_add_query), "" for none */
    struct s3_header
        *headers; /* all to be signed, host and x-amz-* included; sorted in place by name */
    size_t header_count;
    struct s3_str payload_hash; /* hex SHA-256 of the body, or "UNSIGNED-PAYLOAD" */
};

enum { S3I_AMZ_DATE_SIZE = 16 }; /* "20130524T000000Z" */

/* Writes the x-amz-date form of `epoch`, 16 bytes and a NUL. */
void s3i_amz_date(char out[S3I_AMZ_DATE_SIZE + 1], int64_t epoch);

/*
 * Appends the value of the Authorization header. The caller has put x-amz-date (of the same epoch)
 * among the headers. Inner runs of spaces in values are folded for the signature, as the rules say.
 */
int s3i_sign_headers(const struct s3_signer *signer, const struct s3_sign_request *request,
                     int64_t epoch, struct s3_buf *authorization);

/*
 * Appends the query of a presigned URL, signature last: X-Amz-Algorithm, -Credential, -Date,
 * -Expires, -SignedHeaders, then `token` as X-Amz-Security-Token when it is not empty, merged with
 * `extra` pairs (for instance versionId), in canonical order, then X-Amz-Signature. `headers` are
 * those that the user of the URL must send (at least host). `request->query` is not used and must
 * be empty.
 */
int s3i_sign_query(const struct s3_signer *signer, const struct s3_sign_request *request,
                   int64_t epoch, uint32_t expires_seconds, struct s3_str token,
                   const struct s3_query *extra, size_t extra_count, struct s3_buf *query);

#endif
