#include "operations/op.h"

#include <inttypes.h> /* PRId64 */

#include "base/alloc.h"
#include "base/time.h"
#include "base/wait.h"
#include "bytes/memory.h"
#include "flow/counters.h"
#include "flow/process.h"

enum {
    KEY_LIMIT = 1024, /* bytes of an object key, "Naming Amazon S3 objects" */
    QUERY_PAIRS = 32,
    QUERY_LIMIT = 32 * 1024,
    ANSWER_LIMIT = 64 * 1024
};

/* ---- making and freeing ---- */

int s3i_op_add_query(struct s3_buf *out, struct s3_str pairs)
{
    struct s3_query parsed[QUERY_PAIRS];
    size_t count = 0;
    while (pairs.size) {
        if (count == QUERY_PAIRS) {
            return S3EXT_INVALID;
        }
        struct s3_str name = s3i_str(pairs.data, strnlen(pairs.data, pairs.size));
        size_t used = name.size + 1;
        if (used >= pairs.size) {
            return S3EXT_INVALID;
        }
        struct s3_str value =
            s3i_str(pairs.data + used, strnlen(pairs.data + used, pairs.size - used));
        used += value.size + 1;
        parsed[count++] = (struct s3_query){name, value};
        pairs = used < pairs.size ? s3i_str(pairs.data + used, pairs.size - used) : S3I_STR_NONE;
    }
    s3i_uri_add_query(out, parsed, count);
    return s3i_buf_ok(out) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

static struct s3_str place(char **at, struct s3_str text)
{
    struct s3_str copy = {*at, text.size};
    if (text.size) {
        memcpy(*at, text.data, text.size);
    }
    *at += text.size;
    return copy;
}

/* Copies the texts into one block. */
static int copy_texts(struct s3_op *op, const struct s3_op_texts *texts)
{
    struct s3_buf query;
    s3i_buf_init(&query, QUERY_LIMIT);
    int code = texts->query_pairs.size ? s3i_op_add_query(&query, texts->query_pairs) : S3EXT_OK;
    size_t size = texts->key.size + texts->headers.size + query.size;
    if (code == S3EXT_OK && size) {
        char *at = op->texts = s3i_malloc(size);
        if (at == NULL) {
            code = S3EXT_NO_MEMORY;
        } else {
            op->key = place(&at, texts->key);
            op->headers = place(&at, texts->headers);
            op->query = place(&at, s3i_buf_str(&query));
        }
    }
    s3i_buf_clear(&query);
    return code;
}

static void on_submitted(struct s3_post *post);
static void on_cancelled(struct s3_post *post);
static void on_limit(struct s3_timer *timer);

struct s3_op *s3i_op_new(const struct s3_op_class *class, size_t size, struct s3_client *client,
                         const struct s3_op_texts *texts)
{
    struct s3_op *op = s3i_calloc(1, size);
    if (op == NULL) {
        return NULL;
    }
    op->class = class;
    op->client = s3i_client_retain(client);
    op->owns_slices = true;
    op->generation = s3i_process_generation();
    op->result.object_size = UINT64_MAX;
    op->result.last_modified = INT64_MIN;
    atomic_init(&op->references, 1);
    s3i_list_init(&op->running);
    s3i_list_init(&op->requests);
    s3i_list_init(&op->listed);
    s3i_post_init(&op->submitted, on_submitted);
    s3i_post_init(&op->cancelled, on_cancelled);
    s3i_timer_init(&op->limit, on_limit);
    s3i_headers_init(&op->answer_headers, ANSWER_LIMIT);
    int code = copy_texts(op, texts);
    if (code == S3EXT_NO_MEMORY) {
        s3i_op_release(op);
        return NULL;
    }
    if (code != S3EXT_OK) {
        s3i_error_set(&op->error, code, "the query is no block of name and value pairs");
    } else if (texts->key.size > KEY_LIMIT) {
        s3i_error_set(&op->error, S3EXT_INVALID, "the key has %zu bytes; S3 allows 1024",
                      texts->key.size);
    }
    return op;
}

void s3i_op_retain(struct s3_op *op)
{
    atomic_fetch_add_explicit(&op->references, 1, memory_order_relaxed);
}

static void release_slices(struct s3_op *op)
{
    for (size_t i = 0; op->owns_slices && i < op->result.slice_count; i++) {
        s3i_memory_release((struct s3_memory *)op->result.slices[i].memory);
    }
    s3i_free(op->result.slices);
}

void s3i_op_release(struct s3_op *op)
{
    if (op == NULL || atomic_fetch_sub_explicit(&op->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (op->class->destroy != NULL) {
        op->class->destroy(op);
    }
    release_slices(op);
    s3i_headers_clear(&op->answer_headers);
    s3i_client_release(op->client);
    s3i_free(op->texts);
    s3i_free(op);
}

/* ---- life on the reactor ---- */

void s3i_op_begin(struct s3_op *op, struct s3_reactor *reactor)
{
    if (op->reactor != reactor) { /* of a submitted one other threads may read it by now */
        op->reactor = reactor;
    }
    op->started_ms = s3i_now_ms();
    s3i_op_retain(op);
    s3i_list_append(&reactor->operations, &op->running);
    atomic_store(&op->state, S3I_OP_RUNNING);
    if (op->limit_ms > 0) {
        s3i_timer_set(&reactor->timers, &op->limit, op->started_ms + op->limit_ms);
    }
    if (op->error.code != S3EXT_OK) {
        s3i_op_fail(op, &op->error);
    } else if (atomic_load(&op->cancel_asked)) {
        s3i_op_check_cancel(op);
    } else {
        op->class->start(op);
    }
}

void s3i_op_request(struct s3_op *op, struct s3_request *request)
{
    s3i_list_append(&op->requests, &request->member);
    s3i_request_start(request, op->reactor);
}

void s3i_op_request_done(struct s3_op *op, struct s3_request *request)
{
    s3i_list_remove(&request->member);
    if (!atomic_load(&op->let_go)) {
        op->result.retries += request->all_retries;
        op->result.attempts = request->attempts;
        op->result.http_status = request->status;
    }
}

/* The waiter sets `awaited` before it looks at the state, we the state before we look at `awaited`.
 */
static void wake_waiters(struct s3_op *op)
{
    if (atomic_load(&op->awaited)) {
        s3i_word_wake(&op->state);
    }
}

static void set_outcome(struct s3_op *op)
{
    op->result.code = op->error.code;
    op->result.elapsed_ms = s3i_now_ms() - op->started_ms;
}

/* A failing operation whose owner has cancelled it: result and error are the owner's from now on.
 */
static void let_go_if_cancelled(struct s3_op *op)
{
    if (atomic_load(&op->cancel_asked)) {
        atomic_store(&op->let_go, true);
        op->reactor->relieved = true;
        wake_waiters(op);
    }
}

void s3i_op_fail(struct s3_op *op, const struct s3_error *error)
{
    if (op->error.code == S3EXT_OK) {
        op->error = *error;
    }
    if (op->error.message[0] == '\0') {
        s3i_error_text_copy(op->error.message, sizeof(op->error.message),
                            s3i_str_from(s3i_error_text(op->error.code)));
    }
    if (op->failing) {
        return;
    }
    op->failing = true;
    struct s3_list *node;
    while ((node = s3i_list_pop(&op->requests)) != NULL) {
        s3i_request_cancel(S3I_OWNER(node, struct s3_request, member));
    }
    if (op->class->on_failed != NULL) {
        set_outcome(op);
        let_go_if_cancelled(op);
        op->class->on_failed(op);
    } else {
        s3i_op_finish(op);
    }
}

void s3i_op_finish(struct s3_op *op)
{
    if (!atomic_load(&op->let_go)) {
        set_outcome(op);
    }
    s3i_list_remove(&op->running);
    s3i_timer_clear(&op->limit);
    S3I_COUNT(operations, 1);
    struct s3_op_listener *listener = op->listener;
    op->reactor->relieved = true;
    atomic_store(&op->state, S3I_OP_DONE); /* what the reactor wrote is seen by whoever sees DONE */
    wake_waiters(op);
    if (listener != NULL) {
        listener->on_done(listener, op);
    }
    s3i_op_release(op);
}

void s3i_op_abandon(struct s3_op *op, int code, const char *message)
{
    s3i_error_clear(&op->error);
    s3i_error_set(&op->error, code, "%s", message);
    op->result.code = code;
    atomic_store_explicit(&op->state, S3I_OP_DONE, memory_order_release);
}

void s3i_op_check_cancel(struct s3_op *op)
{
    /* The post of a cancel may come before that of the submit: s3i_op_begin looks at the flag then.
     */
    if (!atomic_load(&op->cancel_asked) || atomic_load(&op->state) != S3I_OP_RUNNING) {
        return;
    }
    if (op->failing) {
        let_go_if_cancelled(op);
    } else {
        struct s3_error error;
        s3i_error_clear(&error);
        s3i_error_set(&error, S3EXT_CANCELLED, "%s", s3i_error_text(S3EXT_CANCELLED));
        s3i_op_fail(op, &error);
    }
}

/* What a failed one still clears up on the server is not cut short. */
static void on_limit(struct s3_timer *timer)
{
    struct s3_op *op = S3I_OWNER(timer, struct s3_op, limit);
    if (!op->failing) {
        struct s3_error error;
        s3i_error_clear(&error);
        s3i_error_set(&error, S3EXT_TIMEOUT, "it was not done within %" PRId64 " ms", op->limit_ms);
        s3i_op_fail(op, &error);
    }
}

static void on_submitted(struct s3_post *post)
{
    struct s3_op *op = S3I_OWNER(post, struct s3_op, submitted);
    s3i_op_begin(op, op->reactor);
    s3i_op_release(op); /* the post's reference */
}

static void on_cancelled(struct s3_post *post)
{
    struct s3_op *op = S3I_OWNER(post, struct s3_op, cancelled);
    s3i_op_check_cancel(op);
    s3i_op_release(op); /* the post's reference */
}

void s3i_op_submit(struct s3_op *op, struct s3_reactor *reactor)
{
    op->reactor = reactor;
    s3i_op_retain(op);
    atomic_store(&op->on_io_thread, true);
    s3i_inbox_put(&reactor->inbox, &op->submitted);
}

void s3i_op_cancel(struct s3_op *op)
{
    if (atomic_exchange(&op->cancel_asked, true) || !atomic_load(&op->on_io_thread) ||
        s3i_op_is_done(op)) {
        return; /* a caller's driver looks at the flag itself, and so does s3i_op_begin */
    }
    s3i_op_retain(op);
    s3i_inbox_put(&op->reactor->inbox, &op->cancelled);
}

/* ---- results ---- */

static int copy_headers(struct s3_headers *to, const struct s3_headers *from)
{
    s3i_headers_reset(to);
    s3i_buf_add(&to->pairs, s3i_buf_str(&from->pairs));
    to->count = from->count;
    return s3i_buf_ok(&to->pairs) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

int s3i_op_keep_answer(struct s3_op *op, const struct s3_answer *answer)
{
    S3I_TRY(copy_headers(&op->answer_headers, answer->headers));
    const struct s3_headers *headers = &op->answer_headers;
    struct s3_str etag = s3i_headers_find(headers, S3I_STR("etag"));
    struct s3_str version = s3i_headers_find(headers, S3I_STR("x-amz-version-id"));
    struct s3_str modified = s3i_headers_find(headers, S3I_STR("last-modified"));
    op->result.etag = etag.data;
    op->result.etag_size = etag.size;
    op->result.version = version.data;
    op->result.version_size = version.size;
    op->result.headers = headers->pairs.data;
    op->result.headers_size = headers->pairs.size;
    int64_t epoch;
    if (modified.data != NULL && s3i_http_date(modified, &epoch)) {
        op->result.last_modified = epoch;
    }
    return S3EXT_OK;
}

void s3i_op_await(struct s3_op *op, int timeout_ms)
{
    atomic_store(&op->awaited, true);
    if (!s3i_op_let_go(op)) {
        s3i_op_await_end(op, timeout_ms);
    }
}

void s3i_op_await_end(struct s3_op *op, int timeout_ms)
{
    atomic_store(&op->awaited, true);
    unsigned seen = atomic_load(&op->state);
    if (seen != S3I_OP_DONE) {
        s3i_word_wait(&op->state, seen, s3i_now_ms() + timeout_ms);
    }
}
