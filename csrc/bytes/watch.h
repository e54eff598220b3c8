/*
 * watch: the descriptors of a direct lane, by their numbers: what each is for, and what its poll waits
 * for on it.
 *
 * A descriptor is opened here or, libcurl's own for its resolver, only watched. The record of an open
 * one holds its inode, by which a fork child tells whether the number still stands for the socket:
 * libcurl (7.88) closes one that never got connected without a word.
 */
#ifndef S3I_BYTES_WATCH_H
#define S3I_BYTES_WATCH_H

#include "bytes/poll.h"
#include "bytes/socket.h"

struct s3_watched {
    ino_t inode; /* of a socket or pipe of ours; 0: of something else, or nothing */
    void *owner; /* NULL: nobody waits for it */
    unsigned events;
    bool in_poll;
};

struct s3_watch {
    struct s3_poll *poll;
    struct s3_watched *table;
    size_t capacity;
};

void s3i_watch_init(struct s3_watch *watch, struct s3_poll *poll);
void s3i_watch_clear(struct s3_watch *watch);

/* Notes a socket or pipe of ours; false without memory. */
bool s3i_watch_opened(struct s3_watch *watch, int fd);
/* Forgets it: it is being closed, which takes it out of the poll. */
void s3i_watch_closed(struct s3_watch *watch, int fd);

/* Waits for `events` (0: for none) in the owner's name; false without memory, or with errno set. */
bool s3i_watch_set(struct s3_watch *watch, int fd, unsigned events, void *owner);

/* Who waits for it, or NULL. */
void *s3i_watch_owner(const struct s3_watch *watch, int fd);

/* In a fork child: closes the sockets and nothing else. */
void s3i_watch_abandon(struct s3_watch *watch);

#endif
