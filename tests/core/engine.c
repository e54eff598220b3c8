/*
 * The engine end to end: callers' threads and the I/O thread read and write at once, cancelled work leaves its
 * destination alone, uploads are completed or aborted, and a shutdown ends everything, once.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "support.h"

#define MIB ((uint64_t)1 << 20)

enum { CALLERS = 4, SUBMITTERS = 3, BATCH = 16 };

static s3ext_client *client;

static s3ext_op *get(const char *key, uint64_t start, uint64_t end, void *into)
{
    s3ext_op *op = s3ext_op_get_range(client, key, strlen(key), NULL, 0, NULL, 0, start, end, into);
    CHECK(op != NULL);
    return op;
}

/* ---- what callers do ---- */

static void check_slice(s3ext_op *op, uint64_t start, uint64_t size)
{
    const struct s3ext_result *result = s3ext_op_result(op);
    CHECK_EQUAL(result->code, S3EXT_OK);
    CHECK_EQUAL(result->slice_count, 1);
    CHECK_EQUAL(result->slices[0].size, size);
    CHECK(server_matches(result->slices[0].data, start, size));
}

static void read_parts(uint32_t *state)
{
    uint64_t start = pick(state, 4 * MIB);
    uint64_t size = 1 + pick(state, 6 * MIB);
    s3ext_op *op = get("size-16777216", start, start + size, NULL);
    run(op);
    check_slice(op, start, size);
    s3ext_memory *memory = s3ext_op_result(op)->slices[0].memory;
    const char *data = s3ext_op_result(op)->slices[0].data;
    s3ext_op_take_slices(op);
    s3ext_op_free(op);
    CHECK(server_matches(data, start, size)); /* the bytes outlive their operation */
    s3ext_memory_release(memory);
}

static void read_ranges(uint32_t *state)
{
    enum { COUNT = 8 };
    uint64_t starts[COUNT];
    uint64_t ends[COUNT];
    static _Thread_local char memory[COUNT][4096];
    void *into[COUNT];
    for (int i = 0; i < COUNT; i++) {
        starts[i] = pick(state, 4 * MIB);
        ends[i] = starts[i] + pick(state, 4096) + 1;
        into[i] = memory[i];
    }
    static const char key[] = "size-8388608";
    bool given = pick(state, 2);
    s3ext_op *op = s3ext_op_get_ranges(client, key, sizeof(key) - 1, NULL, 0, NULL, 0, starts, ends,
                                       COUNT, 256 * 1024, given ? into : NULL);
    CHECK(op != NULL);
    run(op);
    const struct s3ext_result *result = s3ext_op_result(op);
    CHECK_EQUAL(result->code, S3EXT_OK);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQUAL(result->slices[i].size, ends[i] - starts[i]);
        CHECK(server_matches(given ? memory[i] : result->slices[i].data, starts[i],
                             ends[i] - starts[i]));
    }
    s3ext_op_free(op);
}

static void write_and_ask(uint32_t *state)
{
    char body[1000];
    memset(body, 'b', sizeof(body));
    s3ext_op *put = s3ext_op_put(client, "k", 1, NULL, 0, body, pick(state, sizeof(body)), 0);
    CHECK_EQUAL(run(put), S3EXT_OK);
    s3ext_op_free(put);
    s3ext_op *head = s3ext_op_head(client, "size-1234", 9, NULL, 0, NULL, 0);
    run(head);
    CHECK_EQUAL(s3ext_op_result(head)->object_size, 1234);
    s3ext_op_free(head);
}

static void call(uint32_t *state)
{
    for (int i = 0; i < ROUNDS(60); i++) {
        switch (pick(state, 3)) {
        case 0:
            read_parts(state);
            break;
        case 1:
            read_ranges(state);
            break;
        default:
            write_and_ask(state);
            break;
        }
    }
}

/* ---- what event loops do ---- */

static void submit_batches(uint32_t *state)
{
    s3ext_queue *queue = s3ext_queue_new();
    CHECK(queue != NULL);
    for (int round = 0; round < ROUNDS(40); round++) {
        s3ext_op *ops[BATCH];
        uint64_t tokens[BATCH];
        uint64_t starts[BATCH];
        for (int i = 0; i < BATCH; i++) {
            starts[i] = pick(state, MIB);
            tokens[i] = (uint64_t)i;
            ops[i] = get("size-2097152", starts[i], starts[i] + 64 * 1024, NULL);
        }
        CHECK_EQUAL(s3ext_submit(queue, ops, tokens, BATCH), 0);
        int64_t until = s3i_now_ms() + PATIENCE_MS;
        for (int done = 0; done < BATCH;) {
            struct s3ext_completion completions[5];
            size_t count = s3ext_queue_drain(queue, completions, 5);
            for (size_t i = 0; i < count; i++, done++) {
                uint64_t token = completions[i].token;
                CHECK(ops[token] != NULL);
                check_slice(ops[token], starts[token], 64 * 1024);
                s3ext_op_free(ops[token]);
                ops[token] = NULL;
            }
            CHECK(s3i_now_ms() < until);
            usleep(count == 0 ? 100 : 0);
        }
    }
    s3ext_queue_close(queue);
}

/* ---- uploads ---- */

static void feed_an_upload(bool cancelled)
{
    s3ext_op *op = s3ext_op_upload(client, "fed", 3, NULL, 0, NULL, 0, 5 * MIB / SLOWNESS, 2, 0);
    CHECK(op != NULL);
    const uint64_t token = 1;
    s3ext_op *const ops[] = {op};
    CHECK_EQUAL(s3ext_submit(NULL, ops, &token, 1), 0);
    for (int part = 1; part <= 4; part++) {
        uint64_t capacity;
        char *slot = wait_for_room(op, &capacity);
        if (slot == NULL) {
            break;
        }
        memset(slot, 'p', (size_t)capacity);
        int code = s3ext_upload_push(op, capacity, part == 4);
        CHECK(code == S3EXT_OK || (cancelled && code == S3EXT_CANCELLED));
        if (cancelled && part == 2) {
            s3ext_op_cancel(op);
        }
    }
    CHECK_EQUAL(wait_for(op), cancelled ? S3EXT_CANCELLED : S3EXT_OK);
    s3ext_op_free(op);
}

static void uploads_are_completed_or_aborted(void)
{
    struct server_counts before = server_counts();
    for (int i = 0; i < 6; i++) {
        feed_an_upload(i % 2 == 1);
    }
    /* One that was cancelled before it began has nothing to abort; others are aborted after they were let go. */
    struct server_counts after;
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    do {
        CHECK(s3i_now_ms() < until);
        usleep(1000);
        after = server_counts();
    } while (after.aborted - before.aborted != after.created - before.created - 3);
    CHECK_EQUAL(after.completed - before.completed, 3);
}

/* ---- all at once ---- */

static void *work(void *number)
{
    uint32_t state = (uint32_t)(intptr_t)number;
    if ((intptr_t)number < CALLERS) {
        call(&state);
    } else if ((intptr_t)number < CALLERS + SUBMITTERS) {
        submit_batches(&state);
    } else {
        feed_an_upload(false);
    }
    return NULL;
}

static void callers_and_the_io_thread_work_at_once(void)
{
    run_threads(CALLERS + SUBMITTERS + 1, work);
    struct s3ext_stats stats;
    s3ext_stats_get(&stats);
    CHECK_EQUAL(stats.exchanges_in_flight, 0);
    CHECK_EQUAL(stats.bytes_in_flight, 0);
    CHECK_EQUAL(stats.memory_live, 0);
    CHECK_EQUAL(stats.retries, 0);
}

/* ---- cancelled reads ---- */

static void *cancel_later(void *op)
{
    usleep(30000);
    s3ext_op_cancel(op);
    return NULL;
}

/*
 * Once an operation is done its destination is the caller's again: freed at once here, so that a late write is
 * one to freed memory.
 */
static void a_cancelled_read_leaves_its_destination(bool submitted)
{
    enum { SIZE = 3 * 1024 * 1024 };
    char *into = malloc(SIZE);
    CHECK(into != NULL);
    s3ext_op *op = get("half-8388608", 0, SIZE, into);
    const uint64_t token = 1;
    pthread_t canceller;
    if (submitted) {
        CHECK_EQUAL(s3ext_submit(NULL, &op, &token, 1), 0);
    }
    CHECK(pthread_create(&canceller, NULL, cancel_later, op) == 0);
    int64_t began = s3i_now_ms();
    if (submitted) {
        wait_for(op);
    } else {
        run(op);
    }
    CHECK(s3i_now_ms() - began < 5000);
    free(into);
    CHECK_EQUAL(s3ext_op_result(op)->code, S3EXT_CANCELLED);
    pthread_join(canceller, NULL);
    s3ext_op_free(op);
}

static void an_operation_that_nobody_waits_for_ends_by_itself(void)
{
    s3ext_op *op = get("stall", 0, 1, NULL);
    const uint64_t token = 1;
    CHECK_EQUAL(s3ext_submit(NULL, &op, &token, 1), 0);
    usleep(10000);
    s3ext_op_free(op);
    s3ext_op *never_run = get("stall", 0, 1, NULL);
    s3ext_op_free(never_run);
    s3ext_op *half_run = get("stall", 0, 1, NULL);
    CHECK(!s3ext_op_run(half_run, 20));
    s3ext_op_free(half_run);
    settle();
}

/* ---- shutdown ---- */

static atomic_int ended_by_shutdown;

static void *work_until_shutdown(void *number)
{
    if ((intptr_t)number == CALLERS) {
        usleep(100000);
        int64_t began = s3i_now_ms();
        s3ext_shutdown(2000);
        s3ext_shutdown(2000);
        CHECK(s3i_now_ms() - began < 3000);
        return NULL;
    }
    for (;;) {
        s3ext_op *op = get((intptr_t)number % 2 ? "stall" : "size-1048576", 0, 1000, NULL);
        int code = run(op);
        s3ext_op_free(op);
        if (code == S3EXT_SHUTDOWN) {
            atomic_fetch_add(&ended_by_shutdown, 1);
            return NULL;
        }
        CHECK_EQUAL(code, S3EXT_OK);
    }
}

static void a_shutdown_ends_everything(void)
{
    s3ext_queue *queue = s3ext_queue_new();
    s3ext_op *ops[BATCH];
    uint64_t tokens[BATCH];
    for (int i = 0; i < BATCH; i++) {
        tokens[i] = (uint64_t)i;
        ops[i] = get("stall", 0, 1, NULL);
    }
    CHECK_EQUAL(s3ext_submit(queue, ops, tokens, BATCH), 0);
    run_threads(CALLERS + 1, work_until_shutdown);
    CHECK_EQUAL(atomic_load(&ended_by_shutdown), CALLERS);
    struct s3ext_completion completions[2 * BATCH];
    CHECK_EQUAL(s3ext_queue_drain(queue, completions, 2 * BATCH), BATCH);
    for (int i = 0; i < BATCH; i++) {
        CHECK_EQUAL(completions[i].code, S3EXT_SHUTDOWN);
        s3ext_op_free(ops[i]);
    }
    s3ext_op *late = get("size-1", 0, 1, NULL);
    CHECK_EQUAL(s3ext_submit(NULL, &late, tokens, 1), S3EXT_SHUTDOWN);
    CHECK_EQUAL(run(late), S3EXT_SHUTDOWN);
    s3ext_op_free(late);
    s3ext_queue_close(queue);
}

int main(void)
{
    start_engine();
    client = open_client(server_config());
    callers_and_the_io_thread_work_at_once();
    uploads_are_completed_or_aborted();
    a_cancelled_read_leaves_its_destination(true);
    a_cancelled_read_leaves_its_destination(false);
    an_operation_that_nobody_waits_for_ends_by_itself();
    a_shutdown_ends_everything();
    end_engine(client);
    return 0;
}
