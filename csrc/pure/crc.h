/*
 * crc: CRC-32 (IEEE), CRC-32C (Castagnoli) and CRC-64/NVME, with CPU dispatch and combine.
 *
 * All three are reflected with initial value and final xor of all ones. `crc` is the value of the
 * bytes before (0 for none), so a run may be fed in pieces. combine gives the CRC of A followed by
 * B from the two CRCs and the length of B alone. The fast paths (SSE4.2, PCLMULQDQ, VPCLMULQDQ,
 * ARMv8 CRC and PMULL) give the scalar results; they are chosen once, at first use.
 */
#ifndef S3I_PURE_CRC_H
#define S3I_PURE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t s3i_crc32(uint32_t crc, const void *data, size_t size);
uint32_t s3i_crc32c(uint32_t crc, const void *data, size_t size);
uint64_t s3i_crc64nvme(uint64_t crc, const void *data, size_t size);

uint32_t s3i_crc32_combine(uint32_t first, uint32_t second, uint64_t second_size);
uint32_t s3i_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_size);
uint64_t s3i_crc64nvme_combine(uint64_t first, uint64_t second, uint64_t second_size);

#ifdef S3EXT_TEST
/* The same by tables alone, on any CPU. */
uint32_t s3i_crc32_scalar(uint32_t crc, const void *data, size_t size);
uint32_t s3i_crc32c_scalar(uint32_t crc, const void *data, size_t size);
uint64_t s3i_crc64nvme_scalar(uint64_t crc, const void *data, size_t size);
#endif

#endif
