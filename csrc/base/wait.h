/*
 * wait: how threads wait for each other: on a word that changes, or on a bell.
 *
 * Deadlines are those of s3i_now_ms, so that a wait lasts as long as it should while somebody sets the
 * clock; a condition variable counts so only if it is initialised at run time, and is not used.
 * Words and bells need neither initialising nor renewing in a fork child.
 */
#ifndef S3I_BASE_WAIT_H
#define S3I_BASE_WAIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Waits while *word is `seen`, until `until_ms` (INT64_MAX: without end), or for no reason. */
void s3i_word_wait(const atomic_uint *word, unsigned seen, int64_t until_ms);
/* Wakes all who wait on the word. */
void s3i_word_wake(const atomic_uint *word);

/* What a condition variable is, for one lock. All zero: ready to use. */
struct s3_bell {
    atomic_uint rings;
    unsigned waiting; /* under the lock */
};

/* Wakes all who wait; costs nothing when nobody does. The lock is held. */
void s3i_bell_ring(struct s3_bell *bell);
/*
 * Waits for a ring with the lock let go, until `until_ms` (INT64_MAX: without end), or for no
 * reason. false: that time has come.
 */
bool s3i_bell_wait(struct s3_bell *bell, pthread_mutex_t *lock, int64_t until_ms);

#endif
