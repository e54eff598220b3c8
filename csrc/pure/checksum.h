/*
 * checksum: the checksums that S3 keeps of objects, as they are named and written on the wire.
 *
 * A value is text: the big-endian digest or CRC in base64. CRCs are additive: that of a whole
 * object comes from those of its parts and their sizes (pure/crc), which S3 calls FULL_OBJECT; of
 * digests there is only the digest of the parts' digests, COMPOSITE.
 */
#ifndef S3I_PURE_CHECKSUM_H
#define S3I_PURE_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* The numbers are those of s3ext_client_config.checksum. */
enum s3_checksum {
    S3I_CHECKSUM_NONE,
    S3I_CHECKSUM_SHA256,
    S3I_CHECKSUM_SHA1,
    S3I_CHECKSUM_CRC32,
    S3I_CHECKSUM_CRC32C,
    S3I_CHECKSUM_CRC64NVME,
    S3I_CHECKSUM_KINDS
};

enum { S3I_CHECKSUM_TEXT = 48 }; /* room for any value and a NUL */

struct s3_checksum_names {
    struct s3_str header;    /* "x-amz-checksum-crc32c" */
    struct s3_str algorithm; /* "CRC32C" */
    struct s3_str element;   /* "ChecksumCRC32C" */
};
const struct s3_checksum_names *s3i_checksum_names(enum s3_checksum kind);

/* Whether values of parts can be combined to that of the whole. */
bool s3i_checksum_is_crc(enum s3_checksum kind);

/* The CRC of the bytes before (0 for none) and these; 0 for what is no CRC. */
uint64_t s3i_checksum_crc(enum s3_checksum kind, uint64_t crc, struct s3_str data);
uint64_t s3i_checksum_combine(enum s3_checksum kind, uint64_t first, uint64_t second,
                              uint64_t second_size);

/* Writes a value and a NUL. */
void s3i_checksum_write_crc(enum s3_checksum kind, uint64_t crc, char text[S3I_CHECKSUM_TEXT]);
void s3i_checksum_write(const uint8_t *digest, size_t size, char text[S3I_CHECKSUM_TEXT]);

#endif
