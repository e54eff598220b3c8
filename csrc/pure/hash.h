/*
 * hash: SHA-256, SHA-1, MD5 and HMAC through OpenSSL's EVP, with reusable mid-states.
 *
 * An HMAC key is kept as the two digest states after the inner and outer pad (RFC 2104), so that
 * one signature costs two copied states and no key schedule. Digest algorithms are fetched once
 * (s3i_hash_init). Functions return an s3_code: NO_MEMORY, or SYSTEM when OpenSSL refuses (a FIPS
 * build without MD5).
 */
#ifndef S3I_PURE_HASH_H
#define S3I_PURE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

enum { S3I_SHA256_SIZE = 32, S3I_SHA1_SIZE = 20, S3I_MD5_SIZE = 16, S3I_HASH_MAX = 32 };

enum s3_hash_kind { S3I_HASH_SHA256, S3I_HASH_SHA1, S3I_HASH_MD5 };

/* Fetches the algorithms; called once from s3ext_init, on the importing thread. */
int s3i_hash_init(void);

/* The digest of one run of bytes; `digest` holds S3I_HASH_MAX bytes. */
int s3i_hash_once(enum s3_hash_kind kind, struct s3_str data, uint8_t *digest);

/* A digest fed in pieces. */
struct s3_hash;
struct s3_hash *s3i_hash_new(enum s3_hash_kind kind);
void s3i_hash_free(struct s3_hash *hash);
int s3i_hash_update(struct s3_hash *hash, struct s3_str data);
int s3i_hash_final(struct s3_hash *hash, uint8_t *digest);

/* An HMAC key as mid-states, of SHA-256 or SHA-1. Immutable after _new: any number of threads may
 * sign with it. `digest` holds as many bytes as the hash has. */
struct s3_hmac_key;
struct s3_hmac_key *s3i_hmac_key_new(enum s3_hash_kind kind, struct s3_str key);
void s3i_hmac_key_free(struct s3_hmac_key *key); /* cleanses the states */
int s3i_hmac(const struct s3_hmac_key *key, struct s3_str data, uint8_t *digest);

/* Lower-case hex and base64 of a digest, appended. */
void s3i_hash_add_hex(struct s3_buf *out, const uint8_t *digest, size_t size);
void s3i_hash_add_base64(struct s3_buf *out, const uint8_t *digest, size_t size);

/* The hex SHA-256 of no bytes, which every request without a body signs. */
#define S3I_SHA256_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

#endif
