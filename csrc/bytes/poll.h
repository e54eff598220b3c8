/*
 * poll: readiness of descriptors for one reactor, and the means to wake it (epoll and eventfd;
 * Linux).
 *
 * A poll belongs to one thread at a time. Only s3i_poll_wake may be called from other threads.
 */
#ifndef S3I_BYTES_POLL_H
#define S3I_BYTES_POLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct s3_poll {
    int epoll;
    int wake; /* eventfd */
};

enum { S3I_POLL_IN = 1, S3I_POLL_OUT = 2, S3I_POLL_ERROR = 4 };

struct s3_ready {
    int fd;
    unsigned owner; /* as it was given to s3i_poll_watch */
    unsigned events;
};

/* An s3_code; SYSTEM (with errno kept) when descriptors have run out. */
int s3i_poll_init(struct s3_poll *poll);
void s3i_poll_clear(struct s3_poll *poll);

/* Watches `fd` for the events (IN, OUT) in the name of `owner`, any number; `known` says whether it is
 * watched already. false with errno set. */
bool s3i_poll_watch(struct s3_poll *poll, unsigned owner, int fd, unsigned events, bool known);
void s3i_poll_forget(struct s3_poll *poll, int fd);

/*
 * Waits up to `timeout_ms` (-1: for ever) and gives at most `capacity` ready descriptors. A wake-up
 * ends the wait and is not among them.
 */
size_t s3i_poll_wait(struct s3_poll *poll, int64_t timeout_ms, struct s3_ready *ready,
                     size_t capacity);

void s3i_poll_wake(const struct s3_poll *poll);

#endif
