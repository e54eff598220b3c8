/*
 * Every allocation of ours fails once: each scenario is run with the first, the second, ... allocation failing,
 * until it runs through without a failure. No run may crash, hang, leak or corrupt bytes; an operation ends
 * once, with NO_MEMORY or in success, and the next one, with memory, works.
 *
 * The reactor of the calling thread is made anew for every run, so that its allocations fail in turn as well,
 * and freed after it, so that what is left is a leak. Named by an argument, one scenario runs alone.
 */
#include <string.h>

#include "base/alloc.h"
#include "bytes/memory.h"
#include "face/engine.h"
#include "support.h"

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)

enum { ALLOCATIONS_MAX = 2000, KEPT = 20 };

static s3ext_client *client;

/* Runs an operation to its end and returns its code; NO_MEMORY when it could not even be made. */
static int finish(s3ext_op *op)
{
    if (op == NULL) {
        return S3EXT_NO_MEMORY;
    }
    int code = run(op);
    CHECK_EQUAL(s3ext_op_run(op, 0), 1);
    struct s3ext_error_view error;
    s3ext_op_error(op, &error);
    CHECK_EQUAL(code, error.code);
    CHECK((code == S3EXT_OK) == (error.message[0] == '\0'));
    return code;
}

/* ---- scenarios: each returns the code of its operation and checks what a success brought ---- */

static int head(void)
{
    s3ext_op *op = s3ext_op_head(client, "size-77", 7, "a\0b", 4, "versionId\0v", 12);
    int code = finish(op);
    CHECK(code != S3EXT_OK || s3ext_op_result(op)->object_size == 77);
    s3ext_op_free(op);
    return code;
}

static int get_small(void)
{
    s3ext_op *op = s3ext_op_get(client, "size-5000", 9, NULL, 0, NULL, 0, 0, UINT64_MAX);
    int code = finish(op);
    if (code == S3EXT_OK) {
        const struct s3ext_slice *slice = &s3ext_op_result(op)->slices[0];
        CHECK(slice->size == 5000 && server_matches(slice->data, 0, 5000));
    }
    s3ext_op_free(op);
    return code;
}

static int get_empty(void)
{
    s3ext_op *op = s3ext_op_get(client, "size-0", 6, NULL, 0, NULL, 0, 0, UINT64_MAX);
    int code = finish(op);
    CHECK(code != S3EXT_OK || s3ext_op_result(op)->object_size == 0);
    s3ext_op_free(op);
    return code;
}

static int get_suffix(void)
{
    s3ext_op *op = s3ext_op_get_suffix(client, "size-5000", 9, NULL, 0, NULL, 0, 100);
    int code = finish(op);
    if (code == S3EXT_OK) {
        CHECK(server_matches(s3ext_op_result(op)->slices[0].data, 4900, 100));
    }
    s3ext_op_free(op);
    return code;
}

static int get_parts(void)
{
    s3ext_op *op =
        s3ext_op_get_range(client, "size-9000000", 12, NULL, 0, NULL, 0, 11, 3 * MIB + 5, NULL);
    int code = finish(op);
    if (code == S3EXT_OK) {
        const struct s3ext_slice *slice = &s3ext_op_result(op)->slices[0];
        CHECK(slice->size == 3 * MIB - 6 && server_matches(slice->data, 11, slice->size));
    }
    s3ext_op_free(op);
    return code;
}

static int get_ranges_with(void *const *into)
{
    static const uint64_t starts[] = {0, 700 * KIB, 100, 2000};
    static const uint64_t ends[] = {50, 700 * KIB + 9, 1900, 3000};
    s3ext_op *op = s3ext_op_get_ranges(client, "size-9000000", 12, NULL, 0, NULL, 0, starts, ends,
                                       4, 4 * KIB, into);
    int code = finish(op);
    for (int i = 0; code == S3EXT_OK && i < 4; i++) {
        const struct s3ext_slice *slice = &s3ext_op_result(op)->slices[i];
        CHECK_EQUAL(slice->size, ends[i] - starts[i]);
        CHECK(server_matches(into ? into[i] : slice->data, starts[i], slice->size));
    }
    s3ext_op_free(op);
    return code;
}

static int get_ranges(void)
{
    return get_ranges_with(NULL);
}

static int get_ranges_into(void)
{
    static char memory[4][2000];
    void *const into[] = {memory[0], memory[1], memory[2], memory[3]};
    return get_ranges_with(into);
}

static int get_into(void)
{
    char *into = malloc(3 * MIB);
    CHECK(into != NULL);
    s3ext_op *op = s3ext_op_get_into(client, "size-3000000", 12, NULL, 0, NULL, 0, into, 3 * MIB);
    int code = finish(op);
    CHECK(code != S3EXT_OK || server_matches(into, 0, 3000000));
    s3ext_op_free(op);
    free(into);
    return code;
}

static int put(void)
{
    s3ext_op *op = s3ext_op_put(client, "k", 1, "content-type\0text/plain", 24, "hello", 5, 0);
    int code = finish(op);
    s3ext_op_free(op);
    return code;
}

static int upload_body(void)
{
    static char body[300 * 1024];
    s3ext_op *op = s3ext_op_upload(client, "k", 1, NULL, 0, body, sizeof(body), 100 * KIB, 2, 0);
    int code = finish(op);
    CHECK(code != S3EXT_OK || s3ext_op_result(op)->etag_size > 0);
    s3ext_op_free(op);
    return code;
}

/* A slot without memory is one that does not come: the feeder gives up, as Python does. */
static void feed(s3ext_op *op)
{
    for (int part = 1; part <= 5; part++) {
        uint64_t capacity;
        char *slot = wait_for_room(op, &capacity);
        if (slot == NULL) {
            return;
        }
        memset(slot, 'f', (size_t)capacity);
        if (s3ext_upload_push(op, capacity, part == 5) != S3EXT_OK) {
            return;
        }
    }
}

static int upload_fed(void)
{
    s3ext_op *op = s3ext_op_upload(client, "k", 1, NULL, 0, NULL, 0, 80 * KIB, 2, 0);
    const uint64_t token = 1;
    int code = op ? s3ext_submit(NULL, &op, &token, 1) : S3EXT_NO_MEMORY;
    if (code == S3EXT_OK) {
        feed(op);
        code = wait_for(op);
    }
    s3ext_op_free(op);
    return code;
}

static int delete_many(void)
{
    s3ext_op *op = s3ext_op_delete_many(client, "a\0b", 4, 2);
    int code = finish(op);
    CHECK(code != S3EXT_OK || s3ext_op_result(op)->failure_count == 1);
    s3ext_op_free(op);
    return code;
}

static int delete_one(void)
{
    s3ext_op *op = s3ext_op_delete(client, "a", 1, NULL, 0, NULL, 0);
    int code = finish(op);
    s3ext_op_free(op);
    return code;
}

static int list(void)
{
    static const char query[] = "list-type\0"
                                "2\0prefix\0x";
    s3ext_op *op = s3ext_op_list(client, query, sizeof(query));
    int code = finish(op);
    if (code == S3EXT_OK) {
        const struct s3ext_result *result = s3ext_op_result(op);
        CHECK(result->object_count == 2 && result->prefix_count == 1 &&
              result->next_token_size == 4);
    }
    s3ext_op_free(op);
    return code;
}

static int copy(void)
{
    s3ext_op *op = s3ext_op_copy(client, "from/a b", 8, "to", 2, NULL, 0, 0);
    int code = finish(op);
    s3ext_op_free(op);
    return code;
}

static int copy_parts(void)
{
    s3ext_op *op = s3ext_op_copy_parts(client, client, "size-1000", 9, "to", 2, "x-amz-meta-a\0b", 15,
                                       "\"00000000000003e8\"", 1000, 300, 3, 1);
    int code = finish(op);
    s3ext_op_free(op);
    return code;
}

static int http(void)
{
    static const char body[] = "{\"a\": 1}";
    s3ext_op *op = s3ext_op_http(client, "POST", "b/c", 3, "x-amz-target\0T", 15, "uploads\0", 9, body,
                                 sizeof(body) - 1, 1);
    int code = finish(op);
    if (code == S3EXT_OK) {
        CHECK(s3ext_op_result(op)->text_size > 0);
    }
    s3ext_op_free(op);
    return code;
}

static struct s3ext_client_config configuration(void)
{
    struct s3ext_client_config config = server_config();
    config.default_headers = "x-test\0yes";
    config.default_headers_size = 11;
    config.write_headers = config.key_headers = "x-test-key\0secret";
    config.write_headers_size = config.key_headers_size = 18;
    config.source_headers = "x-test-source-key\0secret";
    config.source_headers_size = 25;
    config.checksum = S3I_CHECKSUM_SHA1; /* beside the SHA-256 of the signature */
    return config;
}

/* Where the allocations of a client fail too. */
static s3ext_client *try_client(void)
{
    struct s3ext_client_config config = configuration();
    int code;
    char message[256];
    s3ext_client *made = s3ext_client_new(&config, &code, message, sizeof(message));
    CHECK(made != NULL ? code == S3EXT_OK : code == S3EXT_NO_MEMORY);
    return made;
}

/* A client of its own, keys that are set, and the wait for them. */
static int credentials(void)
{
    s3ext_client *own = try_client();
    if (own == NULL) {
        return S3EXT_NO_MEMORY;
    }
    int code = s3ext_client_set_credentials(own, "KEY", "SECRET", "TOKEN", INT64_MAX);
    if (code == S3EXT_OK) {
        s3ext_op *op = s3ext_op_credentials(own);
        code = finish(op);
        s3ext_op_free(op);
    }
    s3ext_client_free(own);
    return code;
}

static int presign(void)
{
    char url[2048];
    size_t size = 0;
    int code =
        s3ext_presign(client, "GET", "a b", 3, "versionId\0v", 12, 60, url, sizeof(url), &size);
    CHECK(code != S3EXT_OK || strlen(url) == size);
    return code;
}

/* Through the I/O thread: the reactor stays, what the operation takes is given back. */
static int submitted(void)
{
    s3ext_queue *queue = s3ext_queue_new();
    s3ext_op *op = s3ext_op_get(client, "size-5000", 9, NULL, 0, NULL, 0, 0, UINT64_MAX);
    const uint64_t token = 1;
    int code = queue && op ? s3ext_submit(queue, &op, &token, 1) : S3EXT_NO_MEMORY;
    if (code == S3EXT_OK) {
        struct s3ext_completion completion;
        int64_t until = s3i_now_ms() + PATIENCE_MS;
        code = wait_for(op);
        while (s3ext_queue_drain(queue, &completion, 1) == 0) {
            CHECK(s3i_now_ms() < until);
            usleep(100);
        }
        CHECK_EQUAL(completion.code, code);
    }
    s3ext_op_free(op);
    s3ext_queue_close(queue);
    return code;
}

static const struct scenario {
    const char *name;
    int (*run)(void);
    bool by_io_thread; /* its reactor is not made anew, and keeps buffers that grow */
} SCENARIOS[] = {
    {"head", head, false},
    {"get_small", get_small, false},
    {"get_empty", get_empty, false},
    {"get_suffix", get_suffix, false},
    {"get_parts", get_parts, false},
    {"get_ranges", get_ranges, false},
    {"get_ranges_into", get_ranges_into, false},
    {"get_into", get_into, false},
    {"put", put, false},
    {"upload_body", upload_body, false},
    {"upload_fed", upload_fed, true},
    {"delete_one", delete_one, false},
    {"delete_many", delete_many, false},
    {"list", list, false},
    {"copy", copy, false},
    {"copy_parts", copy_parts, false},
    {"http", http, false},
    {"credentials", credentials, false},
    {"presign", presign, false},
    {"submitted", submitted, true},
};

/* ---- the torture ---- */

/* Frees the callers' reactors and what the pool keeps: all that is left belongs to somebody. */
static void tidy(void)
{
    for (;;) {
        struct s3_error error;
        s3i_error_clear(&error);
        long live = s3i_alloc_live();
        struct s3_reactor *reactor = s3i_engine_borrow(&error);
        CHECK(reactor != NULL);
        bool fresh = s3i_alloc_live() != live;
        s3i_reactor_free(reactor);
        if (fresh) {
            break;
        }
    }
    s3i_memory_trim(s3i_now_ms() + 1000, 0);
}

/* The I/O thread's reactor stays, and keeps buffers for later; a leak of every run is more than those. */
static void check_live(const struct scenario *scenario, long base)
{
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    while (scenario->by_io_thread && s3i_alloc_live() > base + KEPT) {
        CHECK(s3i_now_ms() < until);
        usleep(1000);
    }
    if (!scenario->by_io_thread) {
        CHECK_EQUAL(s3i_alloc_live(), base);
    }
}

static void torture(const struct scenario *scenario)
{
    CHECK_EQUAL(scenario->run(), S3EXT_OK);
    tidy();
    long base = s3i_alloc_live();
    for (long failing = 0;; failing++) {
        CHECK(failing < ALLOCATIONS_MAX);
        snprintf(now, sizeof(now), "%s, allocation %ld", scenario->name, failing);
        s3i_alloc_fail_after(failing);
        int code = scenario->run();
        bool through = s3i_alloc_failure_pending();
        s3i_alloc_fail_after(-1);
        tidy();
        settle();
        check_live(scenario, base);
        if (code != S3EXT_OK && code != S3EXT_NO_MEMORY) {
            fprintf(stderr, "%s: allocation %ld: code %d\n", scenario->name, failing, code);
            CHECK(!"another code than NO_MEMORY");
        }
        if (through) {
            CHECK_EQUAL(code, S3EXT_OK);
            printf("%s: %ld allocations\n", scenario->name, failing);
            break;
        }
        CHECK_EQUAL(scenario->run(), S3EXT_OK);
        tidy();
    }
}

int main(int count, char **arguments)
{
    start_engine();
    client = open_client(configuration());
    int found = 0;
    for (size_t i = 0; i < sizeof(SCENARIOS) / sizeof(SCENARIOS[0]); i++) {
        if (count < 2 || strcmp(arguments[1], SCENARIOS[i].name) == 0) {
            torture(&SCENARIOS[i]);
            found++;
        }
    }
    CHECK(found > 0);
    s3ext_shutdown(300); /* not longer: it would wait for the reactors that tidy has taken away */
    s3ext_client_free(client);
    server_stop();
    return 0;
}
