#include "face/engine.h"

#include <errno.h>
#include <openssl/crypto.h> /* OPENSSL_init_crypto */
#include <pthread.h>
#include <signal.h>

#include "base/time.h"
#include "base/wait.h"
#include "bytes/memory.h"
#include "flow/gate.h"
#include "flow/process.h"
#include "pure/hash.h"

enum {
    CROWD = 3, /* callers that drive themselves; more cost 110 us of CPU a request, 65 with this */
    SPARE_REACTORS = 64,
    TURN_MS = 1000,
    TRIM_INTERVAL_MS = 2000,
    TRIM_IDLE_MS = 10000,
    GATE_WAIT_MS = 250, /* of the time for the shutdown: what is inside leaves */
    HOLD_MS = 5000
};

static struct {
    pthread_mutex_t lock;
    struct {
        struct s3_reactor *io; /* NULL until the first submit */
        pthread_t thread;
        bool io_ended;
        struct s3_list spare; /* reactors of sync callers, the last returned one first */
        size_t spare_count;
        int64_t trimmed_ms; /* when idle ones were looked for */
        size_t lent;        /* reactors in callers' hands */
        bool ready;
        bool down;
    } locked;
    struct s3_bell returned; /* a reactor came back, or the I/O thread has ended */
    struct s3_post stop;     /* to the I/O thread */
    atomic_int callers;      /* sync calls under way */
    atomic_bool stopping;
    bool stopped;      /* the I/O thread's own: it takes nothing on any more */
    pthread_t stopper; /* who ends the process, and since when: set before `stopping` */
    int64_t stopping_ms;
} engine = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void ready_locked(void)
{
    if (!engine.locked.ready) {
        s3i_list_init(&engine.locked.spare);
        engine.locked.ready = true;
    }
}

/* In a fork child: as if nothing had been started; what the parent started is left where it is. */
static void renew(void)
{
    pthread_mutex_init(&engine.lock, NULL);
    engine.locked.io = NULL;
    engine.locked.io_ended = false;
    engine.locked.lent = 0;
    engine.locked.ready = false;
    engine.locked.spare_count = 0;
    engine.locked.down = false;
    atomic_store(&engine.stopping, false);
    engine.stopped = false;
    atomic_store(&engine.callers, 0);
}

int s3i_engine_init(struct s3_error *error)
{
    /* Everything lazy in OpenSSL and libcurl happens here, on the importing thread: first use on
       another thread could meet a fork in the middle, and the child would wait for ever. */
    if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) !=
        1) {
        return s3i_error_set(error, S3EXT_SYSTEM, "OpenSSL could not be initialised");
    }
    S3I_TRY(s3i_lane_init(error));
    if (s3i_hash_init() != S3EXT_OK) {
        return s3i_error_set(error, S3EXT_SYSTEM, "OpenSSL offers no SHA-256");
    }
    if (s3i_process_init() != S3EXT_OK) {
        return s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for the fork handlers");
    }
    s3i_process_on_child(renew);
    return S3EXT_OK;
}

/* ---- reactors that no caller uses ---- */

static void take_idle_locked(struct s3_list *idle, int64_t now_ms)
{
    ready_locked();
    struct s3_list *node = engine.locked.spare.next;
    while (node != &engine.locked.spare) {
        struct s3_list *next = node->next;
        if (S3I_OWNER(node, struct s3_reactor, node)->keep_until_ms < now_ms) {
            s3i_list_remove(node);
            s3i_list_append(idle, node);
            engine.locked.spare_count--;
        }
        node = next;
    }
}

/* Whoever drives a reactor passes by here now and then, and frees those that nobody needs. */
static void trim_spare(int64_t now_ms)
{
    struct s3_list idle;
    struct s3_list *node;
    s3i_list_init(&idle);
    pthread_mutex_lock(&engine.lock);
    if (now_ms - engine.locked.trimmed_ms >= TRIM_INTERVAL_MS && !engine.locked.down) {
        engine.locked.trimmed_ms = now_ms;
        take_idle_locked(&idle, now_ms);
    }
    pthread_mutex_unlock(&engine.lock);
    if (s3i_list_empty(&idle) || !s3i_gate_enter()) {
        return;
    }
    while ((node = s3i_list_pop(&idle)) != NULL) {
        s3i_reactor_free(S3I_OWNER(node, struct s3_reactor, node));
    }
    s3i_gate_leave();
}

/* ---- the I/O thread ---- */

static void fail_all(struct s3_reactor *reactor)
{
    struct s3_error error;
    s3i_error_clear(&error);
    s3i_error_set(&error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
    S3I_LIST_EACH(node, &reactor->operations)
    {
        s3i_op_fail(S3I_OWNER(node, struct s3_op, running), &error);
    }
}

/* The last post: whatever was submitted came before it. run_io sees to the rest after every turn.
 */
static void on_stop(struct s3_post *post)
{
    (void)post;
    engine.stopped = true;
}

static void announce_io_end(void)
{
    pthread_mutex_lock(&engine.lock);
    engine.locked.io_ended = true;
    s3i_bell_ring(&engine.returned);
    pthread_mutex_unlock(&engine.lock);
}

static void *run_io(void *argument)
{
    struct s3_reactor *reactor = argument;
    int64_t trimmed_ms = s3i_now_ms();
    while (!engine.stopped || !s3i_list_empty(&reactor->operations)) {
        if (!s3i_reactor_turn(reactor, TURN_MS)) {
            break;
        }
        if (atomic_load(&engine.stopping) && s3i_gate_enter()) {
            fail_all(reactor);
            s3i_gate_leave();
        }
        int64_t now_ms = s3i_now_ms();
        if (now_ms - trimmed_ms >= TRIM_INTERVAL_MS) {
            s3i_memory_trim(now_ms, TRIM_IDLE_MS);
            trim_spare(now_ms);
            trimmed_ms = now_ms;
        }
    }
    announce_io_end();
    return NULL;
}

/* The host program's signals are none of our threads'. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

/* Inside the gate, because it calls libcurl. */
static struct s3_reactor *new_reactor(struct s3_error *error)
{
    if (!s3i_gate_enter()) {
        s3i_error_set(error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
        return NULL;
    }
    struct s3_reactor *reactor = s3i_reactor_new(error);
    s3i_gate_leave();
    return reactor;
}

static int start_io_locked(struct s3_error *error)
{
    if (engine.locked.down) {
        return s3i_error_set(error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
    }
    if (engine.locked.io != NULL) {
        return S3EXT_OK;
    }
    struct s3_reactor *reactor = new_reactor(error);
    if (reactor == NULL) {
        return error->code;
    }
    s3i_post_init(&engine.stop, on_stop);
    int failure = start_thread(&engine.locked.thread, run_io, reactor);
    if (failure != 0) {
        s3i_reactor_free(reactor);
        return s3i_error_set(error, S3EXT_SYSTEM, "the I/O thread could not be started: %s",
                             strerror(failure));
    }
    engine.locked.io = reactor;
    return S3EXT_OK;
}

int s3i_engine_io(struct s3_reactor **reactor, struct s3_error *error)
{
    pthread_mutex_lock(&engine.lock);
    int code = start_io_locked(error);
    *reactor = engine.locked.io;
    pthread_mutex_unlock(&engine.lock);
    return code;
}

/* Under the lock, so that nothing is posted behind the stop of a shutdown, where it would never
 * run. */
bool s3i_engine_submit(struct s3_op *op)
{
    pthread_mutex_lock(&engine.lock);
    bool taken = !engine.locked.down;
    if (taken) {
        s3i_op_submit(op, engine.locked.io);
    }
    pthread_mutex_unlock(&engine.lock);
    return taken;
}

/* ---- reactors of sync callers ---- */

struct s3_reactor *s3i_engine_borrow(struct s3_error *error)
{
    struct s3_list *node = NULL;
    pthread_mutex_lock(&engine.lock);
    ready_locked();
    bool down = engine.locked.down;
    engine.locked.lent += down ? 0 : 1;
    if (!down && (node = s3i_list_pop(&engine.locked.spare)) != NULL) {
        engine.locked.spare_count--;
    }
    pthread_mutex_unlock(&engine.lock);
    if (down) {
        s3i_error_set(error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
        return NULL;
    }
    struct s3_reactor *reactor =
        node ? S3I_OWNER(node, struct s3_reactor, node) : new_reactor(error);
    if (reactor != NULL) {
        reactor->of_caller = true;
    } else {
        pthread_mutex_lock(&engine.lock);
        engine.locked.lent--;
        pthread_mutex_unlock(&engine.lock);
    }
    return reactor;
}

bool s3i_engine_caller_in(void)
{
    return atomic_fetch_add_explicit(&engine.callers, 1, memory_order_relaxed) >= CROWD;
}

void s3i_engine_caller_out(void)
{
    atomic_fetch_sub_explicit(&engine.callers, 1, memory_order_relaxed);
}

void s3i_engine_return(struct s3_reactor *reactor)
{
    int64_t now_ms = s3i_now_ms();
    pthread_mutex_lock(&engine.lock);
    bool keep = engine.locked.spare_count < SPARE_REACTORS && !engine.locked.down;
    if (keep) {
        s3i_list_prepend(&engine.locked.spare, &reactor->node);
        engine.locked.spare_count++;
    }
    engine.locked.lent--;
    bool due = now_ms - engine.locked.trimmed_ms >= TRIM_INTERVAL_MS;
    s3i_bell_ring(&engine.returned);
    pthread_mutex_unlock(&engine.lock);
    if (!keep && s3i_gate_enter()) {
        s3i_reactor_free(reactor);
        s3i_gate_leave();
    }
    if (due) {
        trim_spare(now_ms);
    }
}

static void *run_to_its_end(void *argument)
{
    struct s3_op *op = argument;
    while (!s3i_op_is_done(op)) {
        if (!s3i_reactor_turn(op->reactor, TURN_MS)) {
            return NULL; /* the process ends */
        }
    }
    s3i_engine_return(op->reactor);
    if (s3i_gate_enter()) {
        s3i_op_release(op);
        s3i_gate_leave();
    }
    return NULL;
}

bool s3i_engine_adopt(struct s3_op *op)
{
    pthread_t thread;
    if (start_thread(&thread, run_to_its_end, op) != 0) {
        return false;
    }
    pthread_detach(thread);
    return true;
}

/* ---- the end ---- */

bool s3i_engine_stopping(void)
{
    return atomic_load(&engine.stopping);
}

bool s3i_engine_holds(void)
{
    return atomic_load(&engine.stopping) && !pthread_equal(pthread_self(), engine.stopper) &&
           s3i_now_ms() - engine.stopping_ms < HOLD_MS;
}

/* Callers' threads fail their operations, and abort their uploads, as soon as they wake. */
static void await_callers(int64_t until_ms)
{
    s3i_reactors_recheck();
    pthread_mutex_lock(&engine.lock);
    while (engine.locked.lent > 0 && s3i_now_ms() < until_ms) {
        s3i_bell_wait(&engine.returned, &engine.lock, until_ms);
    }
    pthread_mutex_unlock(&engine.lock);
}

/* true: the I/O thread has ended and was joined. */
static bool join_io(pthread_t thread, int64_t until_ms)
{
    pthread_mutex_lock(&engine.lock);
    while (!engine.locked.io_ended && s3i_now_ms() < until_ms) {
        s3i_bell_wait(&engine.returned, &engine.lock, until_ms);
    }
    bool ended = engine.locked.io_ended;
    pthread_mutex_unlock(&engine.lock);
    if (ended) {
        pthread_join(thread, NULL);
    }
    return ended;
}

void s3i_engine_shutdown(int timeout_ms)
{
    pthread_mutex_lock(&engine.lock);
    bool first = !engine.locked.down;
    engine.locked.down = true;
    struct s3_reactor *io = engine.locked.io;
    pthread_t thread = engine.locked.thread;
    pthread_mutex_unlock(&engine.lock);
    if (!first) {
        return;
    }
    int64_t until_ms = s3i_now_ms() + timeout_ms - GATE_WAIT_MS;
    bool io_runs = io != NULL;
    s3i_desk_close();
    engine.stopper = pthread_self();
    engine.stopping_ms = s3i_now_ms();
    atomic_store(&engine.stopping, true);
    if (io_runs) {
        s3i_inbox_put(&io->inbox, &engine.stop);
    }
    await_callers(until_ms);
    io_runs = io_runs && !join_io(thread, until_ms);
    /* Whoever is still inside leaves within a turn, and none gets in again. */
    s3i_gate_shut(GATE_WAIT_MS);
    if (io_runs) {
        s3i_inbox_put(&io->inbox, &engine.stop);
        join_io(thread, s3i_now_ms() + GATE_WAIT_MS);
    }
}
