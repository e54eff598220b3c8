#include "flow/payload.h"

#include <string.h>

#include "base/buf.h"
#include "base/error.h"

enum {
    SMALL = 256 * 1024,
    BLOCK = 256 * 1024 /* goes through all that is wanted while it is in the cache */
};

static void set_hex(struct s3_payload *payload, const uint8_t *digest)
{
    struct s3_buf hex;
    s3i_buf_fixed(&hex, payload->hex, sizeof(payload->hex));
    s3i_hash_add_hex(&hex, digest, S3I_SHA256_SIZE);
    s3i_buf_terminate(&hex);
}

static bool wants_sha256(const struct s3_payload_wants *wants)
{
    return wants->sha256 || wants->checksum == S3I_CHECKSUM_SHA256;
}

static int begin_hash(struct s3_hash **hash, enum s3_hash_kind kind)
{
    if (*hash == NULL) {
        *hash = s3i_hash_new(kind);
    }
    return *hash == NULL ? S3EXT_NO_MEMORY : S3EXT_OK;
}

static int feed(struct s3_payload *payload, const struct s3_payload_wants *wants,
                struct s3_str block)
{
    if (wants_sha256(wants)) {
        S3I_TRY(begin_hash(&payload->sha256, S3I_HASH_SHA256));
        S3I_TRY(s3i_hash_update(payload->sha256, block));
    }
    if (wants->checksum == S3I_CHECKSUM_SHA1) {
        S3I_TRY(begin_hash(&payload->sha1, S3I_HASH_SHA1));
        S3I_TRY(s3i_hash_update(payload->sha1, block));
    }
    if (s3i_checksum_is_crc(wants->checksum)) {
        payload->crc = s3i_checksum_crc(wants->checksum, payload->crc, block);
    }
    payload->done += block.size;
    return S3EXT_OK;
}

/* A body of one block, an empty one too, needs no state that is fed. */
static int digest_of(struct s3_hash *hash, enum s3_hash_kind kind, struct s3_str body,
                     uint8_t *digest)
{
    return hash != NULL ? s3i_hash_final(hash, digest) : s3i_hash_once(kind, body, digest);
}

static int conclude(struct s3_payload *payload, const struct s3_payload_wants *wants,
                    struct s3_str body)
{
    uint8_t digest[S3I_HASH_MAX];
    if (wants_sha256(wants)) {
        S3I_TRY(digest_of(payload->sha256, S3I_HASH_SHA256, body, digest));
        set_hex(payload, digest);
        if (wants->checksum == S3I_CHECKSUM_SHA256) {
            s3i_checksum_write(digest, S3I_SHA256_SIZE, payload->checksum);
        }
    }
    if (wants->checksum == S3I_CHECKSUM_SHA1) {
        S3I_TRY(digest_of(payload->sha1, S3I_HASH_SHA1, body, digest));
        s3i_checksum_write(digest, S3I_SHA1_SIZE, payload->checksum);
    }
    if (s3i_checksum_is_crc(wants->checksum)) {
        s3i_checksum_write_crc(wants->checksum, payload->crc, payload->checksum);
    }
    s3i_hash_free(payload->sha256);
    s3i_hash_free(payload->sha1);
    payload->sha256 = payload->sha1 = NULL;
    payload->known = true;
    return S3EXT_OK;
}

int s3i_payload_step(struct s3_payload *payload, const struct s3_payload_wants *wants,
                     struct s3_str body, size_t *budget)
{
    if (body.size <= SMALL) {
        payload->crc = s3i_checksum_crc(wants->checksum, 0, body);
        *budget -= body.size < *budget ? body.size : *budget;
        return conclude(payload, wants, body);
    }
    while (*budget > 0 && payload->done < body.size) {
        size_t left = body.size - payload->done;
        size_t size = left < BLOCK ? left : BLOCK;
        size = size < *budget ? size : *budget;
        S3I_TRY(feed(payload, wants, s3i_str(body.data + payload->done, size)));
        *budget -= size;
    }
    return payload->done == body.size ? conclude(payload, wants, body) : S3EXT_OK;
}

void s3i_payload_clear(struct s3_payload *payload)
{
    s3i_hash_free(payload->sha256);
    s3i_hash_free(payload->sha1);
    memset(payload, 0, sizeof(*payload));
}
