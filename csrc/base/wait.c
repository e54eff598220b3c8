#include "base/wait.h"

#include <limits.h> /* INT_MAX */
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"

void s3i_word_wait(const atomic_uint *word, unsigned seen, int64_t until_ms)
{
    if (until_ms == INT64_MAX) {
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        return;
    }
    int64_t left_ms = until_ms - s3i_now_ms();
    if (left_ms > 0) { /* counted by the kernel on the monotonic clock */
        struct timespec left = {.tv_sec = left_ms / 1000,
                                .tv_nsec = (long)(left_ms % 1000) * 1000000L};
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &left, NULL, 0);
    }
}

void s3i_word_wake(const atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void s3i_bell_ring(struct s3_bell *bell)
{
    if (bell->waiting > 0) {
        atomic_fetch_add(&bell->rings, 1);
        s3i_word_wake(&bell->rings);
    }
}

bool s3i_bell_wait(struct s3_bell *bell, pthread_mutex_t *lock, int64_t until_ms)
{
    unsigned seen = atomic_load(&bell->rings); /* under the lock: a later ring changes it */
    bell->waiting++;
    pthread_mutex_unlock(lock);
    s3i_word_wait(&bell->rings, seen, until_ms);
    pthread_mutex_lock(lock);
    bell->waiting--;
    return s3i_now_ms() < until_ms;
}
