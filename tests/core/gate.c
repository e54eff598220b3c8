/* The gate: while it is closed nobody is inside, nobody waits for ever, and once shut nobody gets in. */
#include "flow/gate.h"

#include <stdatomic.h>

#include "check.h"

enum { WORKERS = 6, CLOSERS = 2 };

static atomic_int inside;
static atomic_int closed;
static atomic_int working = WORKERS;
static pthread_mutex_t closers = PTHREAD_MUTEX_INITIALIZER;
static long
    guarded; /* written behind the closed gate only, so that a missing order is a data race */

static void work(void)
{
    long sum = 0;
    for (int i = 0; i < ROUNDS(60000); i++) {
        CHECK(s3i_gate_enter());
        atomic_fetch_add(&inside, 1);
        CHECK(atomic_load(&closed) == 0);
        sum += guarded;
        atomic_fetch_sub(&inside, 1);
        s3i_gate_leave();
    }
    CHECK(sum >= 0);
    atomic_fetch_sub(&working, 1);
}

static void close_and_open(void)
{
    do {
        CHECK(s3i_gate_close(10000));
        atomic_fetch_add(&closed, 1);
        CHECK(atomic_load(&inside) == 0);
        pthread_mutex_lock(&closers);
        guarded++;
        pthread_mutex_unlock(&closers);
        usleep(100);
        CHECK(atomic_load(&inside) == 0);
        atomic_fetch_sub(&closed, 1);
        s3i_gate_open();
        usleep(200);
    } while (atomic_load(&working) > 0);
}

static void *work_or_close(void *number)
{
    if ((intptr_t)number < WORKERS) {
        work();
    } else {
        close_and_open();
    }
    return NULL;
}

static void closed_means_empty(void)
{
    run_threads(WORKERS + CLOSERS, work_or_close);
    CHECK(guarded > 0);
}

static void close_gives_up_in_time(void)
{
    CHECK(s3i_gate_enter());
    CHECK(!s3i_gate_close(20));
    s3i_gate_open();
    s3i_gate_leave();
    CHECK(s3i_gate_close(20));
    s3i_gate_open();
    CHECK(s3i_gate_enter());
    s3i_gate_leave();
}

static void *work_until_shut(void *number)
{
    if ((intptr_t)number == WORKERS) {
        usleep(20000);
        CHECK(s3i_gate_shut(10000));
        CHECK(atomic_load(&inside) == 0);
        return NULL;
    }
    while (s3i_gate_enter()) {
        atomic_fetch_add(&inside, 1);
        atomic_fetch_sub(&inside, 1);
        s3i_gate_leave();
    }
    CHECK(!s3i_gate_enter());
    return NULL;
}

static void shut_ends_everybody(void)
{
    run_threads(WORKERS + 1, work_until_shut);
    s3i_gate_fork_child();
    CHECK(s3i_gate_enter());
    s3i_gate_leave();
}

int main(void)
{
    closed_means_empty();
    close_gives_up_in_time();
    shut_ends_everybody();
    return 0;
}
