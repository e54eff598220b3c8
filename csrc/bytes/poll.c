#include "bytes/poll.h"

#include <limits.h> /* INT_MAX */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"

enum { BATCH = 64, OWNER_SHIFT = 32 };

int s3i_poll_init(struct s3_poll *poll)
{
    poll->epoll = epoll_create1(EPOLL_CLOEXEC);
    poll->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (poll->epoll < 0 || poll->wake < 0 ||
        !s3i_poll_watch(poll, 0, poll->wake, S3I_POLL_IN, false)) {
        s3i_poll_clear(poll);
        return S3EXT_SYSTEM;
    }
    return S3EXT_OK;
}

void s3i_poll_clear(struct s3_poll *poll)
{
    if (poll->epoll >= 0) {
        close(poll->epoll);
    }
    if (poll->wake >= 0) {
        close(poll->wake);
    }
    poll->epoll = -1;
    poll->wake = -1;
}

bool s3i_poll_watch(struct s3_poll *poll, unsigned owner, int fd, unsigned events, bool known)
{
    struct epoll_event event = {.data.u64 = (uint64_t)owner << OWNER_SHIFT | (unsigned)fd};
    event.events = (events & S3I_POLL_IN ? (uint32_t)EPOLLIN : 0u) |
                   (events & S3I_POLL_OUT ? (uint32_t)EPOLLOUT : 0u);
    return epoll_ctl(poll->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0;
}

void s3i_poll_forget(struct s3_poll *poll, int fd)
{
    /* A descriptor that is closed already has left the set by itself: nothing to report. */
    epoll_ctl(poll->epoll, EPOLL_CTL_DEL, fd, NULL);
}

size_t s3i_poll_wait(struct s3_poll *poll, int64_t timeout_ms, struct s3_ready *ready,
                     size_t capacity)
{
    struct epoll_event events[BATCH];
    int limit = capacity < BATCH ? (int)capacity : BATCH;
    int timeout = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    int count = epoll_wait(poll->epoll, events, limit, timeout);
    size_t given = 0;
    for (int i = 0; i < count; i++) {
        int fd = (int)(events[i].data.u64 & UINT32_MAX);
        if (fd == poll->wake) {
            uint64_t ignored;
            ssize_t got = read(poll->wake, &ignored, sizeof(ignored));
            (void)got; /* EAGAIN: somebody drained it first, which is as good */
            continue;
        }
        uint32_t seen = events[i].events;
        ready[given].fd = fd;
        ready[given].owner = (unsigned)(events[i].data.u64 >> OWNER_SHIFT);
        ready[given].events = (seen & EPOLLIN ? (unsigned)S3I_POLL_IN : 0u) |
                              (seen & EPOLLOUT ? (unsigned)S3I_POLL_OUT : 0u) |
                              (seen & (EPOLLERR | EPOLLHUP) ? (unsigned)S3I_POLL_ERROR : 0u);
        given++;
    }
    return given;
}

void s3i_poll_wake(const struct s3_poll *poll)
{
    const uint64_t one = 1;
    ssize_t written = write(poll->wake, &one, sizeof(one));
    (void)written; /* EAGAIN: the counter is full of unread wake-ups, which wakes too */
}
