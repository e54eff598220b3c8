#include "bytes/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/time.h"

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)

enum {
    CLASSES = 8,      /* 64 KiB << 0 .. 64 KiB << 7 */
    MAPPED = CLASSES, /* the list of memories above the largest class */
    LISTS = CLASSES + 1,
    PAGE = 4096
};
#define SMALLEST (64 * KIB)
#define LARGEST (SMALLEST << (CLASSES - 1))
#define GRAIN                                                                                      \
    (2 * MIB) /* sizes above the classes are rounded up to it, so that more of them match */
#define CACHE_LIMIT (256 * MIB)  /* kept for reuse in all */
#define MAPPED_LIMIT (128 * MIB) /* largest single mapping that is kept */

struct s3_memory {
    struct s3_list node; /* in a list of the pool while it is kept */
    atomic_uint references;
    uint32_t generation;
    int list; /* index of its list; -1: from the heap */
    uint64_t capacity;
    char *data;
    int64_t idle_since_ms; /* while it is kept */
};

static struct {
    pthread_mutex_t lock;
    struct {
        struct s3_list kept[LISTS]; /* front: most recently used */
        bool ready;
        uint32_t generation;
        uint64_t cached;
    } locked;
    atomic_uint_fast64_t live;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void ready_locked(void)
{
    if (!pool.locked.ready) {
        for (int i = 0; i < LISTS; i++) {
            s3i_list_init(&pool.locked.kept[i]);
        }
        pool.locked.ready = true;
    }
}

static int list_of(uint64_t size)
{
    if (size < SMALLEST) {
        return -1;
    }
    int list = 0;
    while (list < CLASSES && (SMALLEST << list) < size) {
        list++;
    }
    return list;
}

static uint64_t capacity_of(uint64_t size, int list)
{
    if (list < 0) {
        return size;
    }
    return list < CLASSES ? SMALLEST << list : (size + GRAIN - 1) / GRAIN * GRAIN;
}

/*
 * Huge pages are not asked for. A fresh GiB in pages of 4 KiB costs 0.5 s of CPU to touch; in huge
 * ones 0.1 s on a guest whose memory the host has given already, but 2.6 s where it has not.
 */
static char *map(uint64_t capacity)
{
    char *start = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

/* The most recently kept memory of a list that is large enough and not wastefully larger. */
static struct s3_memory *take_kept(int list, uint64_t capacity)
{
    struct s3_memory *found = NULL;
    pthread_mutex_lock(&pool.lock);
    ready_locked();
    S3I_LIST_EACH(node, &pool.locked.kept[list])
    {
        struct s3_memory *memory = S3I_OWNER(node, struct s3_memory, node);
        if (memory->capacity >= capacity && memory->capacity <= 2 * capacity) {
            s3i_list_remove(node);
            pool.locked.cached -= memory->capacity;
            found = memory;
            break;
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return found;
}

static struct s3_memory *make(uint64_t capacity, int list)
{
    if (capacity > SIZE_MAX - sizeof(struct s3_memory)) {
        return NULL;
    }
    struct s3_memory *memory = s3i_malloc(sizeof(*memory) + (list < 0 ? (size_t)capacity : 0));
    if (memory == NULL) {
        return NULL;
    }
    memory->data = list < 0 ? (char *)(memory + 1) : map(capacity);
    if (memory->data == NULL) {
        s3i_free(memory);
        return NULL;
    }
    s3i_list_init(&memory->node);
    memory->list = list;
    memory->capacity = capacity;
    memory->generation =
        pool.locked.generation; /* changes only in a fork child, before any other thread */
    return memory;
}

static void destroy(struct s3_memory *memory)
{
    if (memory->list >= 0) {
        munmap(memory->data, memory->capacity);
    }
    s3i_free(memory);
}

struct s3_memory *s3i_memory_new(uint64_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL; /* rounding it up must not wrap */
    }
    int list = list_of(size);
    uint64_t capacity = capacity_of(size, list);
    struct s3_memory *memory = list < 0 ? NULL : take_kept(list, capacity);
    if (memory == NULL) {
        memory = make(capacity, list);
    }
    if (memory != NULL) {
        atomic_store_explicit(&memory->references, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool.live, memory->capacity, memory_order_relaxed);
    }
    return memory;
}

char *s3i_memory_data(struct s3_memory *memory)
{
    return memory->data;
}

uint64_t s3i_memory_capacity(const struct s3_memory *memory)
{
    return memory->capacity;
}

void s3i_memory_retain(struct s3_memory *memory)
{
    atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
}

static bool keep(struct s3_memory *memory)
{
    if (memory->list < 0 || memory->capacity > MAPPED_LIMIT) {
        return false;
    }
    bool kept = false;
    pthread_mutex_lock(&pool.lock);
    ready_locked();
    if (pool.locked.cached + memory->capacity <= CACHE_LIMIT) {
        pool.locked.cached += memory->capacity;
        memory->idle_since_ms = s3i_now_ms();
        s3i_list_prepend(&pool.locked.kept[memory->list], &memory->node);
        kept = true;
    }
    pthread_mutex_unlock(&pool.lock);
    return kept;
}

void s3i_memory_release(struct s3_memory *memory)
{
    if (memory == NULL || memory->generation != pool.locked.generation) {
        return;
    }
    /* Release orders the readers' last use before the free; acquire lets the freeing thread see it.
     */
    if (atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    atomic_fetch_sub_explicit(&pool.live, memory->capacity, memory_order_relaxed);
    if (!keep(memory)) {
        destroy(memory);
    }
}

void s3i_memory_trim(int64_t now_ms, int64_t idle_ms)
{
    struct s3_list stale;
    s3i_list_init(&stale);
    pthread_mutex_lock(&pool.lock);
    ready_locked();
    for (int i = 0; i < LISTS; i++) {
        S3I_LIST_EACH(node, &pool.locked.kept[i])
        {
            struct s3_memory *memory = S3I_OWNER(node, struct s3_memory, node);
            if (now_ms - memory->idle_since_ms >= idle_ms) {
                s3i_list_remove(node);
                pool.locked.cached -= memory->capacity;
                s3i_list_append(&stale, node);
            }
        }
    }
    pthread_mutex_unlock(&pool.lock);
    struct s3_list *node;
    while ((node = s3i_list_pop(&stale)) != NULL) {
        destroy(S3I_OWNER(node, struct s3_memory, node));
    }
}

void s3i_memory_counts(uint64_t *cached, uint64_t *live)
{
    pthread_mutex_lock(&pool.lock);
    *cached = pool.locked.cached;
    pthread_mutex_unlock(&pool.lock);
    *live = atomic_load_explicit(&pool.live, memory_order_relaxed);
}

void s3i_memory_fork_prepare(void)
{
    pthread_mutex_lock(&pool.lock);
}

void s3i_memory_fork_parent(void)
{
    pthread_mutex_unlock(&pool.lock);
}

void s3i_memory_fork_child(void)
{
    pool.locked.ready = false;
    pool.locked.cached = 0;
    pool.locked.generation++;
    atomic_store(&pool.live, 0);
    pthread_mutex_unlock(&pool.lock);
}
