#include "face/engine.h"

#include <errno.h>
#include <openssl/crypto.h> /* OPENSSL_init_crypto */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/time.h"
#include "bytes/memory.h"
#include "flow/gate.h"
#include "flow/process.h"
#include "pure/hash.h"

enum {
    CROWD = 3,           /* callers that drive themselves; more cost 110 us of CPU a request, 65 with this */
    SPARE_REACTORS = 64,
    TURN_MS = 1000,
    TRIM_INTERVAL_MS = 2000,
    TRIM_IDLE_MS = 10000,
    GATE_WAIT_MS = 500
};

static struct {
    pthread_mutex_t lock;
    struct {
        struct s3_reactor *io;   /* NULL until the first submit */
        pthread_t thread;
        struct s3_list spare;    /* reactors of sync callers */
        size_t spare_count;
        bool ready;
        bool down;
    } locked;
    struct s3_post stop;         /* to the I/O thread */
    atomic_int callers;          /* sync calls under way */
    atomic_bool stopping;
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
    engine.locked.ready = false;
    engine.locked.spare_count = 0;
    engine.locked.down = false;
    atomic_store(&engine.stopping, false);
    atomic_store(&engine.callers, 0);
}

int s3i_engine_init(struct s3_error *error)
{
    /* Everything lazy in OpenSSL and libcurl happens here, on the importing thread: first use on another
       thread could meet a fork in the middle, and the child would wait for ever. */
    if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1) {
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

/* ---- the I/O thread ---- */

static void on_stop(struct s3_post *post)
{
    (void)post;
    struct s3_error error;
    s3i_error_clear(&error);
    s3i_error_set(&error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
    S3I_LIST_EACH (node, &engine.locked.io->operations) {
        s3i_op_fail(S3I_OWNER(node, struct s3_op, running), &error);
    }
}

static void *run_io(void *argument)
{
    struct s3_reactor *reactor = argument;
    int64_t trimmed_ms = s3i_now_ms();
    while (!atomic_load(&engine.stopping) || !s3i_list_empty(&reactor->operations)) {
        if (!s3i_reactor_turn(reactor, TURN_MS)) {
            break;
        }
        int64_t now_ms = s3i_now_ms();
        if (now_ms - trimmed_ms >= TRIM_INTERVAL_MS) {
            s3i_memory_trim(now_ms, TRIM_IDLE_MS);
            trimmed_ms = now_ms;
        }
    }
    return NULL;
}

/* The host program's signals are none of this thread's. */
static int start_thread(pthread_t *thread, struct s3_reactor *reactor)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(thread, NULL, run_io, reactor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

static int start_io_locked(struct s3_error *error)
{
    if (engine.locked.down) {
        return s3i_error_set(error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
    }
    if (engine.locked.io != NULL) {
        return S3EXT_OK;
    }
    struct s3_reactor *reactor = s3i_reactor_new(error);
    if (reactor == NULL) {
        return error->code;
    }
    s3i_post_init(&engine.stop, on_stop);
    int failure = start_thread(&engine.locked.thread, reactor);
    if (failure != 0) {
        s3i_reactor_free(reactor);
        return s3i_error_set(error, S3EXT_SYSTEM, "the I/O thread could not be started: %s", strerror(failure));
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

/* ---- reactors of sync callers ---- */

struct s3_reactor *s3i_engine_borrow(struct s3_error *error)
{
    struct s3_list *node = NULL;
    pthread_mutex_lock(&engine.lock);
    ready_locked();
    bool down = engine.locked.down;
    if (!down && (node = s3i_list_pop(&engine.locked.spare)) != NULL) {
        engine.locked.spare_count--;
    }
    pthread_mutex_unlock(&engine.lock);
    if (down) {
        s3i_error_set(error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
        return NULL;
    }
    struct s3_reactor *reactor = node ? S3I_OWNER(node, struct s3_reactor, node) : s3i_reactor_new(error);
    if (reactor != NULL) {
        reactor->of_caller = true;
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
    pthread_mutex_lock(&engine.lock);
    bool keep = engine.locked.spare_count < SPARE_REACTORS && !engine.locked.down;
    if (keep) {
        s3i_list_prepend(&engine.locked.spare, &reactor->node);
        engine.locked.spare_count++;
    }
    pthread_mutex_unlock(&engine.lock);
    if (!keep && s3i_gate_enter()) {
        s3i_reactor_free(reactor);
        s3i_gate_leave();
    }
}

/* ---- the end ---- */

static void stop_io(struct s3_reactor *io, pthread_t thread, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000 + 1;
    atomic_store(&engine.stopping, true);
    s3i_inbox_put(&io->inbox, &engine.stop);
    pthread_timedjoin_np(thread, NULL, &until);
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
    if (io != NULL) {
        stop_io(io, thread, timeout_ms);
    }
    s3i_desk_close();
    /* Callers' threads that are still inside leave within a turn; none gets in again. */
    s3i_gate_shut(GATE_WAIT_MS);
}
