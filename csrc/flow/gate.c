#include "flow/gate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/time.h"
#include "base/wait.h"

static struct {
    atomic_int inside;
    atomic_int closers; /* closed while there are any: forks may overlap in several threads */
    atomic_bool shut;
    pthread_mutex_t lock;
    struct s3_bell changed; /* somebody left, or the gate opened */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void announce(void)
{
    pthread_mutex_lock(&gate.lock);
    s3i_bell_ring(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

/*
 * A newcomer counts itself in before it looks at `closers`, a closer raises `closers` before it
 * looks at `inside`: with sequentially consistent atomics at least one of them sees the other.
 */
bool s3i_gate_enter(void)
{
    for (;;) {
        atomic_fetch_add(&gate.inside, 1);
        if (atomic_load(&gate.closers) == 0) {
            return true;
        }
        s3i_gate_leave();
        if (atomic_load(&gate.shut)) {
            return false;
        }
        pthread_mutex_lock(&gate.lock);
        while (atomic_load(&gate.closers) != 0 && !atomic_load(&gate.shut)) {
            s3i_bell_wait(&gate.changed, &gate.lock, INT64_MAX);
        }
        pthread_mutex_unlock(&gate.lock);
    }
}

void s3i_gate_leave(void)
{
    if (atomic_fetch_sub(&gate.inside, 1) == 1 && atomic_load(&gate.closers) != 0) {
        announce();
    }
}

bool s3i_gate_close(int timeout_ms)
{
    int64_t until_ms = s3i_now_ms() + timeout_ms;
    atomic_fetch_add(&gate.closers, 1);
    bool in_time = true;
    pthread_mutex_lock(&gate.lock);
    while (atomic_load(&gate.inside) != 0 && in_time) {
        in_time = s3i_bell_wait(&gate.changed, &gate.lock, until_ms);
    }
    in_time = atomic_load(&gate.inside) == 0;
    pthread_mutex_unlock(&gate.lock);
    return in_time;
}

void s3i_gate_open(void)
{
    atomic_fetch_sub(&gate.closers, 1);
    announce();
}

bool s3i_gate_shut(int timeout_ms)
{
    atomic_store(&gate.shut, true);
    return s3i_gate_close(timeout_ms);
}

bool s3i_gate_is_shut(void)
{
    return atomic_load(&gate.shut);
}

void s3i_gate_fork_child(void)
{
    pthread_mutex_init(&gate.lock, NULL);
    atomic_store(&gate.inside, 0);
    atomic_store(&gate.closers, 0);
    atomic_store(&gate.shut, false);
}
