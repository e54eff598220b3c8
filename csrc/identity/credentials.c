#include "identity/credentials.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/time.h"
#include "base/wait.h"

struct record {
    struct s3_credentials public; /* first: the public pointer is the record's */
    atomic_uint references;
    size_t size; /* of the whole block, for cleansing */
};

static atomic_uint_fast64_t last_version;

static struct s3_str copy_into(char **place, struct s3_str text)
{
    struct s3_str copy = {*place, text.size};
    if (text.size) {
        memcpy(*place, text.data, text.size);
    }
    *place += text.size;
    return copy;
}

struct s3_credentials *s3i_credentials_new(struct s3_str key_id, struct s3_str secret,
                                           struct s3_str token, int64_t expires_ms)
{
    size_t size = sizeof(struct record) + key_id.size + secret.size + token.size;
    struct record *record = s3i_calloc(1, size);
    if (record == NULL) {
        return NULL;
    }
    char *place = (char *)(record + 1);
    record->size = size;
    atomic_init(&record->references, 1);
    record->public.version = atomic_fetch_add(&last_version, 1) + 1;
    record->public.expires_ms = expires_ms;
    record->public.key_id = copy_into(&place, key_id);
    record->public.secret = copy_into(&place, secret);
    record->public.token = copy_into(&place, token);
    return &record->public;
}

struct s3_credentials *s3i_credentials_retain(struct s3_credentials *credentials)
{
    struct record *record = (struct record *)credentials;
    atomic_fetch_add_explicit(&record->references, 1, memory_order_relaxed);
    return credentials;
}

void s3i_credentials_release(struct s3_credentials *credentials)
{
    struct record *record = (struct record *)credentials;
    if (record != NULL &&
        atomic_fetch_sub_explicit(&record->references, 1, memory_order_acq_rel) == 1) {
        s3i_free_secret(record, record->size);
    }
}

/* ---- the desk ---- */

enum { DESK_SIZE = 1024 }; /* clients that may ask at once; the next ask again at their next try */

static struct {
    pthread_mutex_t lock;
    struct s3_bell asked;
    struct {
        uint64_t tags[DESK_SIZE];
        size_t count;
        bool closed;
    } locked;
} desk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool on_desk_locked(uint64_t tag)
{
    for (size_t i = 0; i < desk.locked.count; i++) {
        if (desk.locked.tags[i] == tag) {
            return true;
        }
    }
    return false;
}

bool s3i_desk_ask(uint64_t tag)
{
    pthread_mutex_lock(&desk.lock);
    bool there = on_desk_locked(tag);
    if (!there && desk.locked.count < DESK_SIZE) {
        desk.locked.tags[desk.locked.count++] = tag;
        s3i_bell_ring(&desk.asked);
        there = true;
    }
    pthread_mutex_unlock(&desk.lock);
    return there;
}

uint64_t s3i_desk_take(int timeout_ms)
{
    int64_t until_ms = s3i_now_ms() + timeout_ms;
    uint64_t tag = 0;
    pthread_mutex_lock(&desk.lock);
    bool in_time = true;
    while (desk.locked.count == 0 && !desk.locked.closed && in_time) {
        in_time = s3i_bell_wait(&desk.asked, &desk.lock, until_ms);
    }
    if (desk.locked.count > 0 && !desk.locked.closed) {
        tag = desk.locked.tags[0];
        desk.locked.count--;
        memmove(desk.locked.tags, desk.locked.tags + 1,
                desk.locked.count * sizeof(desk.locked.tags[0]));
    }
    pthread_mutex_unlock(&desk.lock);
    return tag;
}

void s3i_desk_close(void)
{
    pthread_mutex_lock(&desk.lock);
    desk.locked.closed = true;
    s3i_bell_ring(&desk.asked);
    pthread_mutex_unlock(&desk.lock);
}

void s3i_desk_fork_child(void)
{
    pthread_mutex_init(&desk.lock, NULL);
    desk.locked.count = 0;
    desk.locked.closed = false;
}
