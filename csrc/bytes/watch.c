#include "bytes/watch.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

void s3i_watch_init(struct s3_watch *watch, struct s3_poll *poll)
{
    *watch = (struct s3_watch){.poll = poll};
}

void s3i_watch_clear(struct s3_watch *watch)
{
    s3i_free(watch->table);
    watch->table = NULL;
    watch->capacity = 0;
}

static struct s3_watched *record(struct s3_watch *watch, int fd)
{
    enum { LEAST = 64 };
    size_t needed = (size_t)fd + 1;
    if (needed > watch->capacity) {
        size_t capacity = needed < LEAST ? LEAST : needed * 2;
        struct s3_watched *grown = s3i_realloc_array(watch->table, capacity, sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + watch->capacity, 0, (capacity - watch->capacity) * sizeof(*grown));
        watch->table = grown;
        watch->capacity = capacity;
    }
    return &watch->table[fd];
}

bool s3i_watch_opened(struct s3_watch *watch, int fd)
{
    struct s3_watched *watched = record(watch, fd);
    if (watched != NULL) {
        *watched = (struct s3_watched){.inode = s3i_socket_inode(fd)};
    }
    return watched != NULL;
}

void s3i_watch_closed(struct s3_watch *watch, int fd)
{
    if ((size_t)fd < watch->capacity) {
        watch->table[fd] = (struct s3_watched){.inode = 0};
    }
}

/* A number that has passed to another socket behind our back has left the poll, and is not ours. */
static void unset(struct s3_watch *watch, int fd, struct s3_watched *watched)
{
    if (watched->in_poll && (watched->inode == 0 || watched->inode == s3i_socket_inode(fd))) {
        s3i_poll_forget(watch->poll, fd);
    }
    watched->in_poll = false;
    watched->owner = NULL;
    watched->events = 0;
}

bool s3i_watch_set(struct s3_watch *watch, int fd, unsigned events, void *owner)
{
    struct s3_watched *watched = record(watch, fd);
    if (watched == NULL) {
        return false;
    }
    if (events == 0) {
        unset(watch, fd, watched);
        return true;
    }
    watched->owner = owner;
    if (watched->in_poll && watched->events == events) {
        return true;
    }
    if (!s3i_poll_watch(watch->poll, S3I_LANE_DIRECT, fd, events, watched->in_poll)) {
        return false;
    }
    watched->in_poll = true;
    watched->events = events;
    return true;
}

void *s3i_watch_owner(const struct s3_watch *watch, int fd)
{
    return (size_t)fd < watch->capacity ? watch->table[fd].owner : NULL;
}

void s3i_watch_abandon(struct s3_watch *watch)
{
    for (size_t fd = 0; fd < watch->capacity; fd++) {
        ino_t inode = watch->table[fd].inode;
        if (inode != 0 && inode == s3i_socket_inode((int)fd)) {
            close((int)fd);
        }
    }
    watch->capacity = 0;
}
