/* The slab pool: any size, many threads, counts that come back to zero, dead memory after a fork. */
#include "bytes/memory.h"

#include <string.h>

#include "base/alloc.h"
#include "base/time.h"
#include "check.h"

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)

enum { SHELVES = 16, WORKERS = 6 };

static const uint64_t SIZES[] = {
    0,       1,           100,     64 * KIB - 1, 64 * KIB, 64 * KIB + 1,
    MIB - 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1,  20 * MIB};
enum { SIZE_COUNT = sizeof(SIZES) / sizeof(SIZES[0]) };

static void trim_all(void)
{
    s3i_memory_trim(s3i_now_ms() + 1000, 0);
}

static void check_counts(uint64_t cached, uint64_t live)
{
    uint64_t cached_now;
    uint64_t live_now;
    s3i_memory_counts(&cached_now, &live_now);
    CHECK_EQUAL(cached_now, cached);
    CHECK_EQUAL(live_now, live);
}

static void every_size_is_writable_to_its_end(void)
{
    for (int i = 0; i < SIZE_COUNT; i++) {
        struct s3_memory *memory = s3i_memory_new(SIZES[i]);
        CHECK(memory != NULL);
        CHECK(s3i_memory_capacity(memory) >= SIZES[i]);
        memset(s3i_memory_data(memory), 'x', (size_t)s3i_memory_capacity(memory));
        s3i_memory_release(memory);
    }
    s3i_memory_release(NULL);
    trim_all();
    check_counts(0, 0);
}

static void sizes_that_cannot_be_are_refused(void)
{
    CHECK(s3i_memory_new(UINT64_MAX) == NULL);
    CHECK(s3i_memory_new(UINT64_MAX - MIB) == NULL);
    CHECK(s3i_memory_new(UINT64_MAX - 4 * MIB) == NULL);
    CHECK(s3i_memory_new((uint64_t)1 << 62) == NULL);
    check_counts(0, 0);
}

static void no_memory_is_said(void)
{
    for (int i = 0; i < SIZE_COUNT; i++) {
        s3i_alloc_fail_after(0);
        CHECK(s3i_memory_new(SIZES[i]) == NULL);
        s3i_alloc_fail_after(-1);
    }
    check_counts(0, 0);
}

static void a_slab_is_used_again_until_it_is_trimmed(void)
{
    struct s3_memory *first = s3i_memory_new(100 * KIB);
    char *data = s3i_memory_data(first);
    check_counts(0, 128 * KIB);
    s3i_memory_release(first);
    check_counts(128 * KIB, 0);
    struct s3_memory *second = s3i_memory_new(128 * KIB);
    CHECK(s3i_memory_data(second) == data);
    s3i_memory_retain(second);
    s3i_memory_release(second);
    check_counts(0, 128 * KIB);
    s3i_memory_release(second);
    s3i_memory_trim(s3i_now_ms(), 60000);
    check_counts(128 * KIB, 0);
    trim_all();
    check_counts(0, 0);
    CHECK_EQUAL(s3i_alloc_live(), 0);
}

/* What threads hand to one another: each place holds one reference, or NULL. */
static struct {
    pthread_mutex_t lock;
    struct s3_memory *memory;
} shelves[SHELVES];

static struct s3_memory *swap(uint32_t place, struct s3_memory *memory)
{
    pthread_mutex_lock(&shelves[place].lock);
    struct s3_memory *found = shelves[place].memory;
    shelves[place].memory = memory;
    pthread_mutex_unlock(&shelves[place].lock);
    return found;
}

/* The first and the last byte tell whether somebody else got the same memory. */
static void mark(struct s3_memory *memory, char sign)
{
    uint64_t capacity = s3i_memory_capacity(memory);
    if (capacity > 1) {
        s3i_memory_data(memory)[0] = sign;
        s3i_memory_data(memory)[capacity - 1] = sign;
    }
}

static void *trade(void *number)
{
    uint32_t state = (uint32_t)(intptr_t)number + 1;
    for (int i = 0; i < ROUNDS(30000); i++) {
        struct s3_memory *memory = s3i_memory_new(SIZES[pick(&state, SIZE_COUNT)]);
        CHECK(memory != NULL);
        mark(memory, (char)i);
        s3i_memory_retain(memory);
        struct s3_memory *other = swap(pick(&state, SHELVES), memory);
        if (other != NULL && s3i_memory_capacity(other) > 1) {
            char *data = s3i_memory_data(other);
            CHECK(data[0] == data[s3i_memory_capacity(other) - 1]);
        }
        s3i_memory_release(other);
        s3i_memory_release(memory);
        if (i % 512 == 0) {
            s3i_memory_trim(s3i_now_ms(), 1);
        }
    }
    return NULL;
}

static void threads_trade_memory(void)
{
    for (int i = 0; i < SHELVES; i++) {
        pthread_mutex_init(&shelves[i].lock, NULL);
    }
    run_threads(WORKERS, trade);
    for (uint32_t i = 0; i < SHELVES; i++) {
        s3i_memory_release(swap(i, NULL));
    }
    trim_all();
    check_counts(0, 0);
    CHECK_EQUAL(s3i_alloc_live(), 0);
}

/* The handlers run without a fork here: what they do to the pool is the same. */
static void memory_of_an_older_generation_is_left_alone(void)
{
    static struct s3_memory *old; /* static: never freed, and no leak */
    old = s3i_memory_new(64 * KIB);
    mark(old, 'o');
    s3i_memory_fork_prepare();
    s3i_memory_fork_child();
    check_counts(0, 0);
    s3i_memory_release(old);
    check_counts(0, 0);
    CHECK(s3i_memory_data(old)[0] == 'o');
    struct s3_memory *fresh = s3i_memory_new(64 * KIB);
    CHECK(fresh != old);
    s3i_memory_release(fresh);
    check_counts(64 * KIB, 0);
    s3i_memory_fork_prepare();
    s3i_memory_fork_parent();
    trim_all();
    check_counts(0, 0);
}

int main(void)
{
    every_size_is_writable_to_its_end();
    sizes_that_cannot_be_are_refused();
    no_memory_is_said();
    a_slab_is_used_again_until_it_is_trimmed();
    threads_trade_memory();
    memory_of_an_older_generation_is_left_alone();
    return 0;
}
