#include "pure/checksum.h"

#include "base/buf.h"
#include "pure/crc.h"
#include "pure/hash.h"


#define TEXT(literal) {literal, sizeof(literal) - 1}
#define NAMES(header, algorithm)                                                                   \
    {TEXT("x-amz-checksum-" header), TEXT(algorithm), TEXT("Checksum" algorithm)}

static const struct s3_checksum_names KINDS[S3I_CHECKSUM_KINDS] = {
    [S3I_CHECKSUM_NONE] = {TEXT(""), TEXT(""), TEXT("")},
    [S3I_CHECKSUM_SHA256] = NAMES("sha256", "SHA256"),
    [S3I_CHECKSUM_SHA1] = NAMES("sha1", "SHA1"),
    [S3I_CHECKSUM_CRC32] = NAMES("crc32", "CRC32"),
    [S3I_CHECKSUM_CRC32C] = NAMES("crc32c", "CRC32C"),
    [S3I_CHECKSUM_CRC64NVME] = NAMES("crc64nvme", "CRC64NVME"),
};

const struct s3_checksum_names *s3i_checksum_names(enum s3_checksum kind)
{
    return &KINDS[kind];
}

bool s3i_checksum_is_crc(enum s3_checksum kind)
{
    return kind == S3I_CHECKSUM_CRC32 || kind == S3I_CHECKSUM_CRC32C ||
           kind == S3I_CHECKSUM_CRC64NVME;
}

uint64_t s3i_checksum_crc(enum s3_checksum kind, uint64_t crc, struct s3_str data)
{
    switch (kind) {
    case S3I_CHECKSUM_CRC32:
        return s3i_crc32((uint32_t)crc, data.data, data.size);
    case S3I_CHECKSUM_CRC32C:
        return s3i_crc32c((uint32_t)crc, data.data, data.size);
    case S3I_CHECKSUM_CRC64NVME:
        return s3i_crc64nvme(crc, data.data, data.size);
    case S3I_CHECKSUM_NONE:
    case S3I_CHECKSUM_SHA256:
    case S3I_CHECKSUM_SHA1:
    case S3I_CHECKSUM_KINDS:
        break;
    }
    return 0;
}

uint64_t s3i_checksum_combine(enum s3_checksum kind, uint64_t first, uint64_t second,
                              uint64_t second_size)
{
    switch (kind) {
    case S3I_CHECKSUM_CRC32:
        return s3i_crc32_combine((uint32_t)first, (uint32_t)second, second_size);
    case S3I_CHECKSUM_CRC32C:
        return s3i_crc32c_combine((uint32_t)first, (uint32_t)second, second_size);
    case S3I_CHECKSUM_CRC64NVME:
        return s3i_crc64nvme_combine(first, second, second_size);
    case S3I_CHECKSUM_NONE:
    case S3I_CHECKSUM_SHA256:
    case S3I_CHECKSUM_SHA1:
    case S3I_CHECKSUM_KINDS:
        break;
    }
    return 0;
}

void s3i_checksum_write(const uint8_t *digest, size_t size, char text[S3I_CHECKSUM_TEXT])
{
    struct s3_buf out;
    s3i_buf_fixed(&out, text, S3I_CHECKSUM_TEXT);
    s3i_hash_add_base64(&out, digest, size);
    s3i_buf_terminate(&out);
}

void s3i_checksum_write_crc(enum s3_checksum kind, uint64_t crc, char text[S3I_CHECKSUM_TEXT])
{
    uint8_t bytes[sizeof(crc)];
    size_t size = kind == S3I_CHECKSUM_CRC64NVME ? sizeof(crc) : sizeof(uint32_t);
    for (size_t i = 0; i < size; i++) {
        bytes[size - 1 - i] = (uint8_t)(crc >> (8 * i));
    }
    s3i_checksum_write(bytes, size, text);
}
