/*
 * op: what every operation is made of: state, cancellation, and completion exactly once.
 *
 *   NEW --run or submit--> RUNNING --finish--> DONE
 *
 * An operation is driven by one reactor. Its requests are embedded in it; it finishes only when
 * none of them is under way, so that from DONE on nobody touches the caller's body or destination.
 * Counted by reference: the handle holds one, the reactor one while it runs. `cancel_asked` and
 * `state` are atomics, the rest belongs to the reactor's thread until DONE and to the handle's
 * owner afterwards.
 *
 * A kind of operation is a class: start begins its first requests, on_failed (optional) may clean
 * up on the server before the end, destroy frees what it owns.
 */
#ifndef S3I_OPERATIONS_OP_H
#define S3I_OPERATIONS_OP_H

#include <stdatomic.h>

#include "flow/reactor.h"
#include "flow/request.h"
#include "s3ext.h"

struct s3_op;

struct s3_op_class {
    const char *name;
    void (*start)(struct s3_op *op);
    /*
     * Requests have been cancelled and op->error is set. Either s3i_op_finish, now or later, or
     * more requests. NULL: the operation just finishes.
     */
    void (*on_failed)(struct s3_op *op);
    /* Its own memory only; the base is cleared after it. */
    void (*destroy)(struct s3_op *op);
};

enum s3_op_state { S3I_OP_NEW, S3I_OP_RUNNING, S3I_OP_DONE };

/* Where an operation tells its end, besides its state; face/queue.h. */
struct s3_op_listener {
    void (*on_done)(struct s3_op_listener *listener, struct s3_op *op);
    void (*on_room)(struct s3_op_listener *listener, struct s3_op *op);
};

struct s3_op {
    const struct s3_op_class *class;
    struct s3_client *client;
    atomic_uint references;
    atomic_uint state; /* enum s3_op_state; a futex word for waiters */
    atomic_bool cancel_asked;
    atomic_bool awaited;      /* somebody waits, or has waited, on `state` */
    atomic_bool on_io_thread; /* was submitted: a cancel is posted, not just noted */
    atomic_bool let_go; /* its driver leaves result and error alone from now on: s3i_op_let_go */
    uint32_t generation;
    bool failing;     /* on_failed has been called */
    bool has_caller;  /* a sync caller waits for it (face) */
    bool owns_slices; /* the slices' memory goes with the operation */
    struct s3_reactor *reactor;
    struct s3_list running;   /* in the reactor's list of operations */
    struct s3_list requests;  /* under way */
    struct s3_post submitted; /* to the I/O thread */
    struct s3_post cancelled;
    struct s3_op_listener *listener;
    struct s3_list listed; /* in the listener's list */
    uint64_t token;
    int64_t started_ms;
    int64_t limit_ms;      /* from its begin to its end; 0: none */
    struct s3_timer limit; /* when that is over */
    char *texts; /* copies of key, headers, query; the slices below point into it */
    struct s3_str key, headers, query;
    struct s3_error error;
    struct s3ext_result result;
    struct s3_headers answer_headers; /* what result.headers, etag and version point into */
};

/* The texts an operation copies when it is made. `query_pairs` is a pair block; op->query its
 * canonical form. */
struct s3_op_texts {
    struct s3_str key, headers, query_pairs;
};

/*
 * A zeroed operation of `size` bytes whose first member is struct s3_op, with one reference, and
 * its texts copied. NULL without memory. A key over 1,024 bytes or with a NUL fails it with INVALID
 * when it is run.
 */
struct s3_op *s3i_op_new(const struct s3_op_class *class, size_t size, struct s3_client *client,
                         const struct s3_op_texts *texts);
void s3i_op_retain(struct s3_op *op);
/* NULL is allowed. The last reference frees it; it must be NEW or DONE then. */
void s3i_op_release(struct s3_op *op);

/* ---- on the reactor's thread ---- */

/* NEW -> RUNNING, then class->start; the reactor's reference is taken. */
void s3i_op_begin(struct s3_op *op, struct s3_reactor *reactor);
/* Starts one of its requests. */
void s3i_op_request(struct s3_op *op, struct s3_request *request);
/* To be called first in a request's on_done: it is no longer under way. */
void s3i_op_request_done(struct s3_op *op, struct s3_request *request);
/*
 * Fails with the request's error: cancels all others, then class->on_failed. Only the first failure
 * counts. From now on the result has its code, and nobody touches the caller's body or destination.
 */
void s3i_op_fail(struct s3_op *op, const struct s3_error *error);
/* RUNNING -> DONE, with op->error as the outcome; wakes whoever waits and gives up the reactor's
 * reference. */
void s3i_op_finish(struct s3_op *op);
/* Ends it from outside a reactor: NEW ones that cannot run, or at exit, when no reactor will run
 * again. */
void s3i_op_abandon(struct s3_op *op, int code, const char *message);
/* Ends a RUNNING operation whose cancel was asked for, or lets it go; a NEW one ends when it
 * begins. */
void s3i_op_check_cancel(struct s3_op *op);

/* Keeps the answer's headers and sets etag, version, last_modified of the result. An s3_code. */
int s3i_op_keep_answer(struct s3_op *op, const struct s3_answer *answer);

/* ---- any thread ---- */

static inline bool s3i_op_is_done(const struct s3_op *op)
{
    return atomic_load_explicit(&op->state, memory_order_acquire) == S3I_OP_DONE;
}

/*
 * Whether its owner need not wait any longer: it is done, or it was cancelled and only clears up on
 * the server (an upload is aborted), which takes as long as the server likes.
 */
static inline bool s3i_op_let_go(const struct s3_op *op)
{
    return s3i_op_is_done(op) || atomic_load(&op->let_go);
}

/* Asks it to end; whoever drives it does so. */
void s3i_op_cancel(struct s3_op *op);

/* Hands it to the reactor of the I/O thread. */
void s3i_op_submit(struct s3_op *op, struct s3_reactor *reactor);

/* Waits until it has let go, or `timeout_ms` have passed, or for no reason. */
void s3i_op_await(struct s3_op *op, int timeout_ms);
/* The same until it is done, however little its owner has to do with it any more. */
void s3i_op_await_end(struct s3_op *op, int timeout_ms);

/* The canonical query of a pair block, appended. An s3_code. */
int s3i_op_add_query(struct s3_buf *out, struct s3_str pairs);

#endif
