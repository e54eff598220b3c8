#include "pure/crc.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h> /* _mm_crc32_u64, _mm_clmulepi64_si128, _mm512_clmulepi64_epi128 */
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#include <arm_neon.h> /* vmull_p64 */
#include <asm/hwcap.h>
#include <sys/auxv.h> /* getauxval */
#endif

/*
 * All three CRCs run in one 64-bit register with the same code; only polynomial and width differ.
 *
 * Bits are reflected: in a register of w bits, bit i stands for x^(w-1-i), so that the first bit of
 * the message is the lowest one of the first byte, and multiplying by x is a shift to the right.
 *
 *   scalar  slicing-by-8: eight tables turn eight bytes into one step.
 *   crc32c  CRC32C only: the CPU's own instruction, eight bytes a step.
 *   folded  from FOLD_MIN bytes on: carry-less multiplication keeps 64 bytes of state that are
 *           congruent to all bytes so far; the last 16 bytes of state and the tail end in one of
 *           the paths above.
 *   wide    from WIDE_MIN bytes on, where a CPU multiplies 64 bytes at a time (VPCLMULQDQ): the
 *           same with 256 bytes of state, which end in the folded path. In cache it is four times
 *           as fast, and leaves memory as the limit.
 *
 * Tables and constants come from the polynomial at first use; none is written down. After that they
 * never change, and any number of threads may read them.
 */

enum { SLICES = 8, LANE = 16, LANES = 4, FOLD_MIN = LANE * LANES }; /* lanes in bytes */
enum { WIDE = 4 * LANE, WIDES = 4, WIDE_ROUND = WIDE * WIDES, WIDE_MIN = 4 * WIDE_ROUND };

struct model;
typedef uint64_t advance_fn(const struct model *model, uint64_t crc, const uint8_t *data,
                            size_t size);

/* Moves 16 bytes of state forward: by all lanes of a round, or by one. */
struct fold {
    uint64_t low; /* for the 8 bytes that came first */
    uint64_t high;
};

struct model {
    uint64_t polynomial; /* reflected, without the leading term */
    unsigned width;
    uint64_t table[SLICES][256];
    struct fold by_wides; /* a round of the wide path */
    struct fold by_lanes;
    struct fold by_lane;
    advance_fn *run;  /* the best path for any size */
    advance_fn *rest; /* the best path for a few bytes */
};

enum kind { CRC32, CRC32C, CRC64NVME, KINDS };

static struct model models[KINDS] = {
    [CRC32] = {.polynomial = 0xEDB88320, .width = 32},
    [CRC32C] = {.polynomial = 0x82F63B78, .width = 32},
    [CRC64NVME] = {.polynomial = 0x9A6C9329AC4BC9B5, .width = 64},
};

static inline uint64_t load_le64(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static uint64_t advance_scalar(const struct model *model, uint64_t crc, const uint8_t *data,
                               size_t size)
{
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word = crc ^ load_le64(data);
        crc = 0;
#pragma GCC unroll 8
        for (unsigned i = 0; i < SLICES; i++) {
            crc ^= model->table[SLICES - 1 - i][word >> (8 * i) & 255];
        }
    }
    for (; size > 0; data++, size--) {
        crc = crc >> 8 ^ model->table[0][(crc ^ *data) & 255];
    }
    return crc;
}

/* The product of two polynomials modulo the model's, bit by bit: no data passes through it. */
static uint64_t multiply(const struct model *model, uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (unsigned i = model->width; i-- > 0;) {
        product ^= a >> i & 1 ? b : 0;
        b = b >> 1 ^ (b & 1 ? model->polynomial : 0);
    }
    return product;
}

/* x^exponent modulo the polynomial. */
static uint64_t power(const struct model *model, uint64_t exponent)
{
    uint64_t result = UINT64_C(1) << (model->width - 1); /* x^0 */
    uint64_t square = result >> 1;                       /* x^1 */
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) {
            result = multiply(model, result, square);
        }
        square = multiply(model, square, square);
    }
    return result;
}

/*
 * The constants that move 16 bytes forward by `bits`. Their first half is ahead of their second by
 * another 64 bits. A product of two reflected 64-bit registers has 127 bits and so stands one place
 * too low in 128: that is one factor of x too many, which the constants leave out.
 */
static struct fold fold_by(const struct model *model, unsigned bits)
{
    unsigned align = 64 - model->width;
    return (struct fold){
        .low = power(model, bits + 64 - 1) << align,
        .high = power(model, bits - 1) << align,
    };
}

static void fill_tables(struct model *model)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? model->polynomial : 0);
        }
        model->table[0][byte] = crc;
    }
    for (unsigned slice = 1; slice < SLICES; slice++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint64_t crc = model->table[slice - 1][byte];
            model->table[slice][byte] = crc >> 8 ^ model->table[0][crc & 255];
        }
    }
}

/* What differs between CPUs: a lane of 16 bytes and its fold, CRC32C of 8 bytes and of 1. */
#if defined(__x86_64__)

#define HAVE_FAST_PATHS 1
#define FOLD_TARGET __attribute__((target("pclmul")))
#define CRC32C_TARGET __attribute__((target("sse4.2")))

typedef __m128i lane;

static bool cpu_folds(void)
{
    return __builtin_cpu_supports("pclmul");
}

static bool cpu_has_crc32c(void)
{
    return __builtin_cpu_supports("sse4.2");
}

FOLD_TARGET static inline lane lane_load(const uint8_t *data)
{
    return _mm_loadu_si128((const void *)data);
}

FOLD_TARGET static inline lane lane_of(uint64_t low, uint64_t high)
{
    return _mm_set_epi64x((long long)high, (long long)low);
}

FOLD_TARGET static inline void lane_store(uint8_t *data, lane value)
{
    _mm_storeu_si128((void *)data, value);
}

FOLD_TARGET static inline lane lane_xor(lane a, lane b)
{
    return _mm_xor_si128(a, b);
}

FOLD_TARGET static inline lane lane_fold(lane value, lane constants)
{
    return _mm_xor_si128(_mm_clmulepi64_si128(value, constants, 0x00),
                         _mm_clmulepi64_si128(value, constants, 0x11));
}

CRC32C_TARGET static inline uint64_t crc32c_word(uint64_t crc, uint64_t word)
{
    return _mm_crc32_u64(crc, word);
}

CRC32C_TARGET static inline uint64_t crc32c_byte(uint64_t crc, uint8_t byte)
{
    return _mm_crc32_u8((uint32_t)crc, byte);
}

#elif defined(__aarch64__) && defined(__AARCH64EL__)

#define HAVE_FAST_PATHS 1
#define FOLD_TARGET __attribute__((target("+crypto")))
#define CRC32C_TARGET __attribute__((target("+crc")))

typedef uint64x2_t lane;

static bool cpu_folds(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_PMULL) != 0;
}

static bool cpu_has_crc32c(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

FOLD_TARGET static inline lane lane_load(const uint8_t *data)
{
    return vreinterpretq_u64_u8(vld1q_u8(data));
}

FOLD_TARGET static inline lane lane_of(uint64_t low, uint64_t high)
{
    return vcombine_u64(vcreate_u64(low), vcreate_u64(high));
}

FOLD_TARGET static inline void lane_store(uint8_t *data, lane value)
{
    vst1q_u8(data, vreinterpretq_u8_u64(value));
}

FOLD_TARGET static inline lane lane_xor(lane a, lane b)
{
    return veorq_u64(a, b);
}

FOLD_TARGET static inline lane lane_fold(lane value, lane constants)
{
    poly64x2_t a = vreinterpretq_p64_u64(value);
    poly64x2_t b = vreinterpretq_p64_u64(constants);
    return veorq_u64(vreinterpretq_u64_p128(vmull_p64(vgetq_lane_p64(a, 0), vgetq_lane_p64(b, 0))),
                     vreinterpretq_u64_p128(vmull_high_p64(a, b)));
}

/* By name: not every compiler's arm_acle.h declares them under a target attribute. */
CRC32C_TARGET static inline uint64_t crc32c_word(uint64_t crc, uint64_t word)
{
    uint32_t result;
    __asm__("crc32cx %w0, %w1, %x2" : "=r"(result) : "r"((uint32_t)crc), "r"(word));
    return result;
}

CRC32C_TARGET static inline uint64_t crc32c_byte(uint64_t crc, uint8_t byte)
{
    uint32_t result;
    __asm__("crc32cb %w0, %w1, %w2" : "=r"(result) : "r"((uint32_t)crc), "r"((uint32_t)byte));
    return result;
}

#endif

#ifdef HAVE_FAST_PATHS

CRC32C_TARGET static uint64_t advance_crc32c(const struct model *model, uint64_t crc,
                                             const uint8_t *data, size_t size)
{
    (void)model;
    for (; size >= 8; data += 8, size -= 8) {
        crc = crc32c_word(crc, load_le64(data));
    }
    for (; size > 0; data++, size--) {
        crc = crc32c_byte(crc, *data);
    }
    return crc;
}

FOLD_TARGET static uint64_t advance_folded(const struct model *model, uint64_t crc,
                                           const uint8_t *data, size_t size)
{
    if (size < FOLD_MIN) {
        return model->rest(model, crc, data, size);
    }
    lane state[LANES];
    for (size_t i = 0; i < LANES; i++) {
        state[i] = lane_load(data + LANE * i);
    }
    state[0] = lane_xor(state[0], lane_of(crc, 0));
    data += FOLD_MIN;
    size -= FOLD_MIN;
    const lane by_lanes = lane_of(model->by_lanes.low, model->by_lanes.high);
    for (; size >= FOLD_MIN; data += FOLD_MIN, size -= FOLD_MIN) {
        for (size_t i = 0; i < LANES; i++) {
            state[i] = lane_xor(lane_fold(state[i], by_lanes), lane_load(data + LANE * i));
        }
    }
    const lane by_lane = lane_of(model->by_lane.low, model->by_lane.high);
    lane all = state[0];
    for (size_t i = 1; i < LANES; i++) {
        all = lane_xor(lane_fold(all, by_lane), state[i]);
    }
    for (; size >= LANE; data += LANE, size -= LANE) {
        all = lane_xor(lane_fold(all, by_lane), lane_load(data));
    }
    uint8_t last[LANE];
    lane_store(last, all);
    crc = model->rest(model, 0, last, sizeof(last));
    return model->rest(model, crc, data, size);
}

#if defined(__x86_64__)

static bool cpu_folds_wide(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
}

__attribute__((target("avx512f,vpclmulqdq"))) static uint64_t
advance_wide(const struct model *model, uint64_t crc, const uint8_t *data, size_t size)
{
    enum { XOR_OF_THREE = 0x96 }; /* the truth table */
    if (size < WIDE_MIN) {
        return advance_folded(model, crc, data, size);
    }
    __m512i state[WIDES];
    for (size_t i = 0; i < WIDES; i++) {
        state[i] = _mm512_loadu_si512(data + WIDE * i);
    }
    state[0] = _mm512_xor_si512(state[0], _mm512_zextsi128_si512(lane_of(crc, 0)));
    data += WIDE_ROUND;
    size -= WIDE_ROUND;
    const __m512i by = _mm512_broadcast_i32x4(lane_of(model->by_wides.low, model->by_wides.high));
    for (; size >= WIDE_ROUND; data += WIDE_ROUND, size -= WIDE_ROUND) {
#pragma GCC unroll 4
        for (size_t i = 0; i < WIDES; i++) {
            state[i] = _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(state[i], by, 0x00),
                                                 _mm512_clmulepi64_epi128(state[i], by, 0x11),
                                                 _mm512_loadu_si512(data + WIDE * i), XOR_OF_THREE);
        }
    }
    uint8_t last[WIDE_ROUND];
    for (size_t i = 0; i < WIDES; i++) {
        _mm512_storeu_si512(last + WIDE * i, state[i]);
    }
    crc = advance_folded(model, 0, last, sizeof(last));
    return advance_folded(model, crc, data, size);
}

#endif

static advance_fn *best_folding(void)
{
#if defined(__x86_64__)
    if (cpu_folds_wide()) {
        return advance_wide;
    }
#endif
    return advance_folded;
}

static void choose_paths(void)
{
    if (cpu_has_crc32c()) {
        models[CRC32C].rest = advance_crc32c;
        models[CRC32C].run = advance_crc32c;
    }
    if (cpu_folds()) {
        for (int kind = 0; kind < KINDS; kind++) {
            models[kind].run = best_folding();
        }
    }
}

#else

static void choose_paths(void)
{
}

#endif

static void prepare(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct model *model = &models[kind];
        fill_tables(model);
        model->by_wides = fold_by(model, 8 * WIDE_ROUND);
        model->by_lanes = fold_by(model, 8 * LANE * LANES);
        model->by_lane = fold_by(model, 8 * LANE);
        model->run = advance_scalar;
        model->rest = advance_scalar;
    }
    choose_paths();
}

static const struct model *model_of(enum kind kind)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int failed = pthread_once(&once, prepare); /* cannot fail with these arguments (POSIX) */
    assert(failed == 0);
    (void)failed;
    return &models[kind];
}

/* Initial value and final xor are all ones: the register of a run is the inverse of its CRC. */
static uint64_t extend(const struct model *model, advance_fn *path, uint64_t crc, const void *data,
                       size_t size)
{
    uint64_t ones = UINT64_MAX >> (64 - model->width);
    return path(model, crc ^ ones, data, size) ^ ones;
}

/* Each byte of the second run shifts the first by 8 places; the inversions cancel each other. */
static uint64_t combine(const struct model *model, uint64_t first, uint64_t second,
                        uint64_t second_size)
{
    uint64_t shift = power(model, second_size);
    for (int squaring = 0; squaring < 3; squaring++) { /* bits of a byte: 8 * size could overflow */
        shift = multiply(model, shift, shift);
    }
    return multiply(model, shift, first) ^ second;
}

uint32_t s3i_crc32(uint32_t crc, const void *data, size_t size)
{
    const struct model *model = model_of(CRC32);
    return (uint32_t)extend(model, model->run, crc, data, size);
}

uint32_t s3i_crc32c(uint32_t crc, const void *data, size_t size)
{
    const struct model *model = model_of(CRC32C);
    return (uint32_t)extend(model, model->run, crc, data, size);
}

uint64_t s3i_crc64nvme(uint64_t crc, const void *data, size_t size)
{
    const struct model *model = model_of(CRC64NVME);
    return extend(model, model->run, crc, data, size);
}

uint32_t s3i_crc32_combine(uint32_t first, uint32_t second, uint64_t second_size)
{
    return (uint32_t)combine(model_of(CRC32), first, second, second_size);
}

uint32_t s3i_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_size)
{
    return (uint32_t)combine(model_of(CRC32C), first, second, second_size);
}

uint64_t s3i_crc64nvme_combine(uint64_t first, uint64_t second, uint64_t second_size)
{
    return combine(model_of(CRC64NVME), first, second, second_size);
}

#ifdef S3EXT_TEST
uint32_t s3i_crc32_scalar(uint32_t crc, const void *data, size_t size)
{
    return (uint32_t)extend(model_of(CRC32), advance_scalar, crc, data, size);
}

uint32_t s3i_crc32c_scalar(uint32_t crc, const void *data, size_t size)
{
    return (uint32_t)extend(model_of(CRC32C), advance_scalar, crc, data, size);
}

uint64_t s3i_crc64nvme_scalar(uint64_t crc, const void *data, size_t size)
{
    return extend(model_of(CRC64NVME), advance_scalar, crc, data, size);
}
#endif
