/*
 * The gate: while it is closed nobody is inside, nobody waits for ever, and once shut nobody gets in. And
 * what it waits on: a ring is never missed, a wait ends at its deadline and not before.
 */
#include "flow/gate.h"

#include <stdatomic.h>

#include "base/time.h"
#include "base/wait.h"
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

/* ---- bells ---- */

enum { RINGERS = 2, TAKERS = 4 };

static pthread_mutex_t counter = PTHREAD_MUTEX_INITIALIZER;
static struct s3_bell put;
static int there; /* put and not taken yet */
static int taken;

static void *put_or_take(void *number)
{
    bool takes = (intptr_t)number < TAKERS;
    int rounds = ROUNDS(2500) * (takes ? RINGERS : TAKERS);
    for (int i = 0; i < rounds; i++) {
        pthread_mutex_lock(&counter);
        while (takes && there == 0) {
            CHECK(s3i_bell_wait(&put, &counter, INT64_MAX)); /* for ever, if a ring is missed */
        }
        there += takes ? -1 : 1;
        taken += takes;
        if (!takes) {
            s3i_bell_ring(&put);
        }
        pthread_mutex_unlock(&counter);
    }
    return NULL;
}

static void no_ring_is_missed(void)
{
    run_threads(TAKERS + RINGERS, put_or_take);
    CHECK_EQUAL(there, 0);
    CHECK_EQUAL(taken, ROUNDS(2500) * RINGERS * TAKERS);
    CHECK_EQUAL(put.waiting, 0);
}

static void a_wait_ends_at_its_deadline(void)
{
    static const int waits[] = {-5, 0, 1, 30};
    struct s3_bell silent = {0};
    pthread_mutex_lock(&counter);
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        int64_t until = s3i_now_ms() + waits[i];
        while (s3i_bell_wait(&silent, &counter, until)) {
            CHECK(s3i_now_ms() < until);
        }
        CHECK(s3i_now_ms() >= until);
        CHECK(s3i_now_ms() < until + 2000);
    }
    pthread_mutex_unlock(&counter);
}

static void a_word_that_has_changed_is_not_waited_for(void)
{
    atomic_uint word = 7;
    s3i_word_wait(&word, 6, INT64_MAX);
    s3i_word_wait(&word, 7, s3i_now_ms() + 5);
}

int main(void)
{
    no_ring_is_missed();
    a_wait_ends_at_its_deadline();
    a_word_that_has_changed_is_not_waited_for();
    closed_means_empty();
    close_gives_up_in_time();
    shut_ends_everybody();
    return 0;
}
