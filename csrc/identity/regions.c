#include "identity/regions.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ENTRIES = 512, PLACE_SIZE = 320 /* the longest host name, and a bucket's */ };

struct entry {
    size_t place_size;
    char place[PLACE_SIZE];
    char region[S3I_REGION_SIZE];
};

static atomic_uint_fast64_t lessons;

static struct {
    pthread_mutex_t lock;
    struct {
        struct entry entries[ENTRIES];
        size_t count;
        size_t oldest; /* makes room when all are in use */
    } locked;
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t s3i_regions_lessons(void)
{
    return atomic_load_explicit(&lessons, memory_order_acquire);
}

/* A walk is good enough: who asks does so once after a lesson. */
static struct entry *find_locked(struct s3_str place)
{
    for (size_t i = 0; i < memory.locked.count; i++) {
        struct entry *entry = &memory.locked.entries[i];
        if (s3i_str_equal(s3i_str(entry->place, entry->place_size), place)) {
            return entry;
        }
    }
    return NULL;
}

static struct entry *take_locked(struct s3_str place)
{
    size_t index = memory.locked.count;
    if (index < ENTRIES) {
        memory.locked.count++;
    } else {
        index = memory.locked.oldest;
        memory.locked.oldest = (index + 1) % ENTRIES;
    }
    struct entry *entry = &memory.locked.entries[index];
    memcpy(entry->place, place.data, place.size);
    entry->place_size = place.size;
    entry->region[0] = '\0';
    return entry;
}

bool s3i_regions_find(struct s3_str place, char region[S3I_REGION_SIZE])
{
    pthread_mutex_lock(&memory.lock);
    const struct entry *entry = find_locked(place);
    if (entry != NULL) {
        memcpy(region, entry->region, S3I_REGION_SIZE);
    }
    pthread_mutex_unlock(&memory.lock);
    return entry != NULL;
}

void s3i_regions_learn(struct s3_str place, struct s3_str region)
{
    if (place.size > PLACE_SIZE || region.size >= S3I_REGION_SIZE) {
        return;
    }
    pthread_mutex_lock(&memory.lock);
    struct entry *entry = find_locked(place);
    if (entry == NULL) {
        entry = take_locked(place);
    }
    if (!s3i_str_equal(s3i_str_from(entry->region), region)) {
        memcpy(entry->region, region.data, region.size);
        entry->region[region.size] = '\0';
        atomic_fetch_add_explicit(&lessons, 1, memory_order_release);
    }
    pthread_mutex_unlock(&memory.lock);
}

void s3i_regions_fork_prepare(void)
{
    pthread_mutex_lock(&memory.lock);
}

void s3i_regions_fork_done(void)
{
    pthread_mutex_unlock(&memory.lock);
}
