/*
 * Completion queues: every token comes exactly once, whoever cancels, however many threads submit; a close ends
 * what is listed; an upload that is fed is told of room.
 */
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "support.h"

enum { SUBMITTERS = 4, BATCH = 8, SHARED = 3 };

static s3ext_client *client;

static s3ext_op *get(const char *key)
{
    s3ext_op *op = s3ext_op_get_range(client, key, strlen(key), NULL, 0, NULL, 0, 0, 100, NULL);
    CHECK(op != NULL);
    return op;
}

static bool readable(s3ext_queue *queue, int wait_ms)
{
    struct pollfd descriptor = {.fd = s3ext_queue_fd(queue), .events = POLLIN};
    return poll(&descriptor, 1, wait_ms) == 1;
}

/* ---- tokens come once ---- */

/* The completions of one queue: filled by whoever drains it. */
struct ledger {
    s3ext_queue *queue;
    atomic_int seen[1024];
    atomic_int total;
};

static void drain(struct ledger *ledger)
{
    struct s3ext_completion completions[3];
    size_t count = s3ext_queue_drain(ledger->queue, completions, 3);
    for (size_t i = 0; i < count; i++) {
        CHECK_EQUAL(completions[i].kind, 0);
        CHECK(completions[i].code == S3EXT_OK || completions[i].code == S3EXT_CANCELLED);
        CHECK_EQUAL(atomic_fetch_add(&ledger->seen[completions[i].token], 1), 0);
        atomic_fetch_add(&ledger->total, 1);
    }
}

/* Half of the keys would never be answered: only a cancel ends them. */
static void submit_and_cancel(struct ledger *ledger, uint64_t first_token, uint32_t *state)
{
    s3ext_op *ops[BATCH];
    uint64_t tokens[BATCH];
    for (uint64_t i = 0; i < BATCH; i++) {
        ops[i] = get(i % 2 ? "stall" : "size-100");
        tokens[i] = first_token + i;
        if (pick(state, 16) == 0) {
            s3ext_op_cancel(ops[i]); /* before it is submitted */
        }
    }
    CHECK_EQUAL(s3ext_submit(ledger->queue, ops, tokens, BATCH), 0);
    usleep(pick(state, 1000));
    for (int i = 0; i < BATCH; i++) {
        if (i % 2 || pick(state, 4) == 0) {
            s3ext_op_cancel(ops[i]);
            s3ext_op_cancel(ops[i]);
        }
        drain(ledger);
    }
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    for (int i = 0; i < BATCH; i++) {
        while (atomic_load(&ledger->seen[tokens[i]]) == 0) {
            CHECK(s3i_now_ms() < until);
            readable(ledger->queue, 1); /* another thread may be the one that drains it */
            drain(ledger);
        }
        CHECK(s3ext_op_wait(ops[i], 0));
        s3ext_op_free(ops[i]);
    }
}

static struct ledger shared;

static void *submit(void *number)
{
    uint32_t state = (uint32_t)(intptr_t)number;
    struct ledger *own = NULL;
    uint64_t first = 0;
    if ((intptr_t)number >= SHARED) {
        own = calloc(1, sizeof(*own));
        CHECK(own != NULL);
        own->queue = s3ext_queue_new();
    } else {
        first = (uint64_t)(intptr_t)number * 300;
    }
    struct ledger *ledger = own != NULL ? own : &shared;
    int rounds = ROUNDS(30);
    for (int i = 0; i < rounds; i++) {
        submit_and_cancel(ledger, first + (uint64_t)i * BATCH, &state);
    }
    if (own != NULL) {
        CHECK_EQUAL(atomic_load(&own->total), rounds * BATCH);
        CHECK(!readable(own->queue, 0));
        s3ext_queue_close(own->queue);
        free(own);
    }
    return NULL;
}

static void every_token_comes_once(void)
{
    shared.queue = s3ext_queue_new();
    run_threads(SUBMITTERS, submit);
    CHECK_EQUAL(atomic_load(&shared.total), SHARED * ROUNDS(30) * BATCH);
    CHECK(!readable(shared.queue, 0));
    s3ext_queue_close(shared.queue);
}

/* ---- more than the ring's first size ---- */

static void a_full_ring_grows(void)
{
    enum { COUNT = 300 };
    s3ext_queue *queue = s3ext_queue_new();
    static s3ext_op *ops[COUNT];
    static uint64_t tokens[COUNT];
    static bool seen[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        ops[i] = get("size-100");
        tokens[i] = i;
    }
    for (int i = 0; i < COUNT; i += 100) {
        CHECK_EQUAL(s3ext_submit(queue, ops + i, tokens + i, 100), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        wait_for(ops[i]);
        s3ext_op_free(ops[i]);
    }
    CHECK(readable(queue, PATIENCE_MS));
    for (int done = 0; done < COUNT;) {
        struct s3ext_completion completions[7];
        size_t count = s3ext_queue_drain(queue, completions, 7);
        CHECK(count > 0 || readable(queue, PATIENCE_MS));
        for (size_t i = 0; i < count; i++, done++) {
            CHECK(!seen[completions[i].token]);
            seen[completions[i].token] = true;
        }
    }
    CHECK(!readable(queue, 0));
    s3ext_queue_close(queue);
}

/* ---- close ---- */

static void a_close_ends_what_is_listed(void)
{
    for (int round = 0; round < 5; round++) {
        s3ext_queue *queue = s3ext_queue_new();
        s3ext_op *ops[BATCH];
        uint64_t tokens[BATCH];
        for (uint64_t i = 0; i < BATCH; i++) {
            ops[i] = get(i % 2 ? "stall" : "size-100");
            tokens[i] = i;
        }
        CHECK_EQUAL(s3ext_submit(queue, ops, tokens, BATCH), 0);
        usleep((useconds_t)round * 500);
        int64_t began = s3i_now_ms();
        s3ext_queue_close(queue);
        CHECK(s3i_now_ms() - began < 1500);
        for (int i = 0; i < BATCH; i++) {
            CHECK(s3ext_op_wait(ops[i], 0));
            int code = s3ext_op_result(ops[i])->code;
            CHECK(code == S3EXT_CANCELLED || (code == S3EXT_OK && i % 2 == 0));
            s3ext_op_free(ops[i]);
        }
    }
}

static s3ext_queue *raced;

static void *close_or_cancel(void *op)
{
    if (op == NULL) {
        s3ext_queue_close(raced);
    } else {
        s3ext_op_cancel(op);
    }
    return NULL;
}

static void a_close_and_cancels_may_meet(void)
{
    for (int round = 0; round < ROUNDS(60); round++) {
        raced = s3ext_queue_new();
        s3ext_op *op = get("stall");
        const uint64_t token = 9;
        CHECK_EQUAL(s3ext_submit(raced, &op, &token, 1), 0);
        pthread_t threads[2];
        CHECK(pthread_create(&threads[0], NULL, close_or_cancel, NULL) == 0);
        CHECK(pthread_create(&threads[1], NULL, close_or_cancel, op) == 0);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        CHECK(s3ext_op_wait(op, 0));
        CHECK_EQUAL(s3ext_op_result(op)->code, S3EXT_CANCELLED);
        s3ext_op_free(op);
    }
}

/* The handle may go while its operation runs and is listed. */
static void freed_handles_still_complete(void)
{
    s3ext_queue *queue = s3ext_queue_new();
    s3ext_op *op = get("stall");
    const uint64_t token = 4;
    CHECK_EQUAL(s3ext_submit(queue, &op, &token, 1), 0);
    s3ext_op_free(op);
    CHECK(readable(queue, PATIENCE_MS));
    struct s3ext_completion completion;
    CHECK_EQUAL(s3ext_queue_drain(queue, &completion, 1), 1);
    CHECK(completion.token == 4 && completion.code == S3EXT_CANCELLED);
    s3ext_queue_close(queue);
}

/* ---- fed uploads ---- */

static void room_is_announced(void)
{
    enum { PARTS = 12 };
    s3ext_queue *queue = s3ext_queue_new();
    s3ext_op *op = s3ext_op_upload(client, "fed", 3, NULL, 0, NULL, 0, 256 * 1024, 2, 0);
    const uint64_t token = 3;
    CHECK_EQUAL(s3ext_submit(queue, &op, &token, 1), 0);
    int parts = 0;
    bool done = false;
    while (!done) {
        uint64_t capacity;
        char *slot = parts < PARTS ? s3ext_upload_slot(op, &capacity) : NULL;
        if (slot != NULL) {
            memset(slot, 'f', (size_t)capacity);
            parts++;
            CHECK_EQUAL(s3ext_upload_push(op, capacity, parts == PARTS), 0);
            continue;
        }
        CHECK(readable(queue, PATIENCE_MS)); /* room or the end, and neither is missed */
        struct s3ext_completion completion;
        while (s3ext_queue_drain(queue, &completion, 1) == 1) {
            CHECK_EQUAL(completion.token, 3);
            done = done || completion.kind == 0;
        }
    }
    CHECK_EQUAL(parts, PARTS);
    CHECK_EQUAL(s3ext_op_result(op)->code, S3EXT_OK);
    s3ext_op_free(op);
    s3ext_queue_close(queue);
}

int main(void)
{
    start_engine();
    client = open_client(server_config());
    every_token_comes_once();
    a_full_ring_grows();
    a_close_ends_what_is_listed();
    a_close_and_cancels_may_meet();
    freed_handles_still_complete();
    room_is_announced();
    end_engine(client);
    return 0;
}
