/*
 * support: what the programs share that drive the whole engine against the server of server.h: its start, its
 * end, a client with keys, and the waits for operations, none of which lasts for ever.
 */
#ifndef TESTS_CORE_SUPPORT_H
#define TESTS_CORE_SUPPORT_H

#include "base/time.h"
#include "check.h"
#include "s3ext.h"
#include "server.h"

enum { SLICE_MS = 50, PATIENCE_MS = 30000 };

static inline void start_engine(void)
{
    char message[256];
    CHECK_EQUAL(s3ext_init(message, sizeof(message)), 0);
    server_start();
}

/* Its clients are freed afterwards, as those of a program that ends are. */
static inline void end_engine(s3ext_client *client)
{
    s3ext_shutdown(2000);
    s3ext_client_free(client);
    server_stop();
}

/* A client with keys, of a configuration that is server_config's or begins as that. */
static inline s3ext_client *open_client(struct s3ext_client_config config)
{
    int code;
    char message[256];
    s3ext_client *client = s3ext_client_new(&config, &code, message, sizeof(message));
    CHECK(client != NULL);
    CHECK_EQUAL(s3ext_client_set_credentials(client, "KEY", "SECRET", NULL, INT64_MAX), 0);
    return client;
}

/* Runs an operation in the calling thread to its end; its code. */
static inline int run(s3ext_op *op)
{
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    while (!s3ext_op_run(op, SLICE_MS)) {
        CHECK(s3i_now_ms() < until);
    }
    return s3ext_op_result(op)->code;
}

/* Waits for the end of an operation that was submitted; its code. */
static inline int wait_for(s3ext_op *op)
{
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    while (!s3ext_op_wait(op, SLICE_MS)) {
        CHECK(s3i_now_ms() < until);
    }
    return s3ext_op_result(op)->code;
}

/* Waits until a fed upload has room for a part; NULL when it has ended. */
static inline char *wait_for_room(s3ext_op *op, uint64_t *capacity)
{
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    for (;;) {
        char *slot = s3ext_upload_slot(op, capacity);
        if (slot != NULL || s3ext_op_wait(op, 0)) {
            return slot;
        }
        CHECK(s3i_now_ms() < until);
        s3ext_upload_wait(op, SLICE_MS);
    }
}

/* Waits until nothing is under way and no memory is held: the I/O thread may still be ending what was let go. */
static inline void settle(void)
{
    struct s3ext_stats stats;
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    do {
        CHECK(s3i_now_ms() < until);
        usleep(100);
        s3ext_stats_get(&stats);
    } while (stats.exchanges_in_flight + stats.bytes_in_flight + stats.memory_live > 0);
}

#endif
