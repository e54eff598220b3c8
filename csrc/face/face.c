/*
 * face: the functions of s3ext.h, each a few lines over the layers below.
 *
 * The public handles are the inner records under another name. Everything that may touch libcurl or
 * OpenSSL happens inside the gate: in a reactor's turn, or between enter and leave here.
 */
#include <expat.h> /* XML_ExpatVersion */
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/time.h"
#include "bytes/memory.h"
#include "face/engine.h"
#include "face/queue.h"
#include "flow/counters.h"
#include "flow/gate.h"
#include "flow/process.h"
#include "identity/client.h"
#include "identity/trust.h"
#include "operations/op_control.h"
#include "operations/op_copy.h"
#include "operations/op_http.h"
#include "operations/op_list.h"
#include "operations/op_read.h"
#include "operations/op_write.h"
#include "pure/checksum.h"
#include "s3ext.h"

enum { URL_LIMIT = 32 * 1024, PRESIGN_PAIRS = 16 };

static struct s3_client *client_of(s3ext_client *client)
{
    return (struct s3_client *)client;
}

static struct s3_op *op_of(s3ext_op *op)
{
    return (struct s3_op *)op;
}

static const struct s3_op *const_op_of(const s3ext_op *op)
{
    return (const struct s3_op *)op;
}

/* ---- the process ---- */

int s3ext_init(char *message, size_t capacity)
{
    struct s3_error error;
    s3i_error_clear(&error);
    int code = s3i_engine_init(&error);
    snprintf(message, capacity, "%s", error.message);
    return code;
}

void s3ext_shutdown(int timeout_ms)
{
    s3i_engine_shutdown(timeout_ms);
}

uint32_t s3ext_generation(void)
{
    return s3i_process_generation();
}

void s3ext_versions_get(struct s3ext_versions *versions)
{
    struct s3_lane_versions lane;
    s3i_lane_versions_get(&lane);
    *versions = (struct s3ext_versions){
        .core = S3EXT_VERSION,
        .curl = lane.curl,
        .tls = lane.tls,
        .openssl = OpenSSL_version(OPENSSL_VERSION),
        .expat = XML_ExpatVersion(),
        .ca_bundle = lane.ca_bundle,
        .curl_http2 = lane.http2,
        .curl_threadsafe = lane.threadsafe,
    };
}

void s3ext_stats_get(struct s3ext_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
#define S3I_COPY(name) stats->name = atomic_load_explicit(&s3i_counters.name, memory_order_relaxed);
    S3I_COUNTERS(S3I_COPY)
#undef S3I_COPY
    stats->connections_opened = s3i_lane_connections();
    stats->bytes_in_flight = s3i_admission_bytes();
    s3i_memory_counts(&stats->memory_cached, &stats->memory_live);
}

const char *s3ext_code_name(int code)
{
    return s3i_error_name(code);
}

const char *s3ext_code_text(int code)
{
    return s3i_error_text(code);
}

const char *s3ext_code_python(int code)
{
    return s3i_error_python(code);
}

int s3ext_code_retryable(int code)
{
    return s3i_error_retryable(code);
}

uint64_t s3ext_crc(int checksum, uint64_t crc, const void *data, size_t size)
{
    bool known = checksum > S3I_CHECKSUM_NONE && checksum < S3I_CHECKSUM_KINDS;
    return known ? s3i_checksum_crc((enum s3_checksum)checksum, crc, s3i_str(data, size)) : 0;
}

/* ---- clients ---- */

/* Clients of one endpoint share a limiter and a retry budget. */
static bool attach_host(struct s3_client *client, const struct s3ext_client_config *config,
                        struct s3_error *error)
{
    char origin[512];
    int size = snprintf(origin, sizeof(origin), "%s://%s", config->scheme, config->host);
    if (size < 0 || (size_t)size >= sizeof(origin)) {
        s3i_error_set(error, S3EXT_INVALID, "the host name is too long");
        return false;
    }
    client->host = s3i_admission_host(s3i_str(origin, (size_t)size), config->concurrency);
    if (client->host == NULL) {
        s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for a host");
    }
    return client->host != NULL;
}

static bool attach_trust(struct s3_client *client, const struct s3ext_client_config *config,
                         struct s3_error *error)
{
    struct s3_lane_versions versions;
    if (config->ca_pem == NULL && config->system_certificates) {
        return true;
    }
    s3i_lane_versions_get(&versions);
    client->connect.trust =
        s3i_trust_get(s3i_str(config->ca_pem, config->ca_pem_size),
                      config->system_certificates ? versions.ca_bundle : NULL, error);
    return client->connect.trust != NULL;
}

static bool can_version(const struct s3ext_client_config *config, struct s3_error *error)
{
    struct s3_lane_versions versions;
    if (config->http_version == 1) {
        return true;
    }
    if (config->http_version != 0 && config->http_version != 2) {
        s3i_error_set(error, S3EXT_INVALID, "http_version must be 0, 1 or 2");
        return false;
    }
    s3i_lane_versions_get(&versions);
    if (!versions.http2) {
        s3i_error_set(error, S3EXT_NOT_SUPPORTED, "libcurl %s was built without HTTP/2",
                      versions.curl);
    }
    return versions.http2;
}

s3ext_client *s3ext_client_new(const struct s3ext_client_config *config, int *code, char *message,
                               size_t capacity)
{
    struct s3_error error;
    s3i_error_clear(&error);
    struct s3_client *client = NULL;
    if (can_version(config, &error)) {
        client = s3i_client_new(config, &error);
    }
    if (client != NULL &&
        (!attach_host(client, config, &error) || !attach_trust(client, config, &error))) {
        s3i_client_release(client);
        client = NULL;
    }
    if (client != NULL) {
        client->generation = s3i_process_generation();
    }
    *code = error.code;
    snprintf(message, capacity, "%s", error.message);
    return (s3ext_client *)client;
}

void s3ext_client_free(s3ext_client *client)
{
    if (client != NULL && client_of(client)->generation == s3i_process_generation()) {
        s3i_client_release(client_of(client));
    }
}

int s3ext_client_set_credentials(s3ext_client *client, const char *key_id, const char *secret,
                                 const char *token, int64_t expires_ms)
{
    int code = s3i_client_set_credentials(client_of(client), s3i_str_from(key_id),
                                          s3i_str_from(secret), s3i_str_from(token), expires_ms);
    s3i_reactors_recheck();
    return code;
}

void s3ext_client_fail_credentials(s3ext_client *client, const char *message)
{
    s3i_client_fail_credentials(client_of(client), s3i_str_from(message));
    s3i_reactors_recheck();
}

int s3ext_client_is_refused(s3ext_client *client)
{
    return s3i_client_is_refused(client_of(client));
}

uint64_t s3ext_credentials_wanted(int timeout_ms)
{
    return s3i_desk_take(timeout_ms);
}

/* ---- presigned URLs ---- */

static size_t split_pairs(struct s3_str pairs, struct s3_query *out)
{
    size_t count = 0;
    while (pairs.size && count < PRESIGN_PAIRS) {
        struct s3_str name = s3i_str(pairs.data, strnlen(pairs.data, pairs.size));
        size_t used = name.size + 1;
        size_t left = used < pairs.size ? pairs.size - used : 0;
        struct s3_str value =
            s3i_str(pairs.data + used, left ? strnlen(pairs.data + used, left) : 0);
        used += value.size + 1;
        out[count++] = (struct s3_query){name, value};
        pairs = used < pairs.size ? s3i_str(pairs.data + used, pairs.size - used) : S3I_STR_NONE;
    }
    return count;
}

struct presign {
    struct s3_str method, key, query;
    struct s3_str key_headers; /* of SSE-C */
    uint32_t expires_seconds;
    bool request_payer;
};

/*
 * Requests for an object's bytes need the customer's key, and S3 refuses headers of its own that
 * are not signed. So the URL's signature covers them, but they have to be sent with it: it holds no
 * key.
 */
static size_t add_key_headers(const struct presign *presign, struct s3_header *out)
{
    struct s3_query pairs[PRESIGN_PAIRS];
    bool about_bytes = s3i_str_equal(presign->method, S3I_STR("GET")) ||
                       s3i_str_equal(presign->method, S3I_STR("HEAD")) ||
                       s3i_str_equal(presign->method, S3I_STR("PUT"));
    size_t count = about_bytes ? split_pairs(presign->key_headers, pairs) : 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct s3_header){pairs[i].name, pairs[i].value};
    }
    return count;
}

/* Appends the query; `path` is not in the buffer, which may move. */
static int sign_presigned(const struct s3_identity *identity, const struct presign *presign,
                          struct s3_str path, int64_t epoch, struct s3_buf *url)
{
    struct s3_header headers[1 + PRESIGN_PAIRS] = {{S3I_STR("host"), identity->target.host}};
    size_t header_count = 1 + add_key_headers(presign, headers + 1);
    struct s3_query extra[PRESIGN_PAIRS + 1];
    size_t count = split_pairs(presign->query, extra);
    if (presign->request_payer) {
        extra[count++] = (struct s3_query){S3I_STR("x-amz-request-payer"), S3I_STR("requester")};
    }
    if (identity->v2_signer != NULL) {
        const struct s3_v2_request request = {
            .method = presign->method,
            .bucket = identity->target.host_bucket,
            .path = path,
            .headers = headers,
            .header_count = header_count,
        };
        return s3i_v2_sign_query(identity->v2_signer, &request, epoch + presign->expires_seconds,
                                 identity->credentials->token, extra, count, url);
    }
    const struct s3_sign_request request = {
        .method = presign->method,
        .path = path,
        .headers = headers,
        .header_count = header_count,
        .payload_hash = S3I_STR("UNSIGNED-PAYLOAD"),
    };
    return s3i_sign_query(identity->signer, &request, epoch, presign->expires_seconds,
                          identity->credentials->token, extra, count, url);
}

static int write_presigned(const struct s3_identity *identity, const struct presign *presign,
                           int64_t epoch, struct s3_buf *url)
{
    s3i_buf_add(url, identity->target.origin);
    size_t path = url->size;
    s3i_buf_add(url, identity->target.path_prefix);
    s3i_buf_add_char(url, '/');
    s3i_uri_add_path(url, presign->key);
    char *copy = s3i_strdup(s3i_str(url->data + path, url->size - path));
    if (copy == NULL) {
        return S3EXT_NO_MEMORY;
    }
    s3i_buf_add_char(url, '?');
    int code = sign_presigned(identity, presign, s3i_str_from(copy), epoch, url);
    s3i_free(copy);
    return code != S3EXT_OK ? code : s3i_buf_ok(url) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

static int presign_inside(struct s3_client *client, const struct presign *presign,
                          struct s3_buf *url)
{
    struct s3_identity *identity = NULL;
    struct s3_error error;
    uint64_t ticket = 0;
    s3i_error_clear(&error);
    enum s3_identity_state state =
        s3i_client_identity(client, s3i_wall_ms(), &ticket, &identity, &error);
    if (state != S3I_IDENTITY_READY) {
        return S3EXT_CREDENTIALS;
    }
    int64_t epoch = s3i_wall_seconds() + atomic_load(&client->clock_offset);
    int code =
        identity->credentials ? write_presigned(identity, presign, epoch, url) : S3EXT_CREDENTIALS;
    s3i_identity_release(identity);
    return code;
}

int s3ext_presign(s3ext_client *client, const char *method, const char *key, size_t key_size,
                  const char *query, size_t query_size, uint32_t expires_seconds, char *out,
                  size_t capacity, size_t *size)
{
    const struct presign presign = {
        .method = s3i_str_from(method),
        .key = s3i_str(key, key_size),
        .query = s3i_str(query, query_size),
        .key_headers = client_of(client)->key_headers,
        .expires_seconds = expires_seconds,
        .request_payer = client_of(client)->request_payer,
    };
    struct s3_buf url;
    s3i_buf_init(&url, URL_LIMIT);
    if (!s3i_gate_enter()) {
        return S3EXT_SHUTDOWN;
    }
    int code = presign_inside(client_of(client), &presign, &url);
    s3i_gate_leave();
    *size = url.size;
    if (code == S3EXT_OK && url.size < capacity) {
        memcpy(out, url.data, url.size);
        out[url.size] = '\0';
    } else if (code == S3EXT_OK) {
        code = S3EXT_TOO_SMALL;
    }
    s3i_buf_clear(&url);
    return code;
}

/* ---- making operations ---- */

static struct s3_op_texts texts_of(const char *key, size_t key_size, const char *headers,
                                   size_t headers_size, const char *query, size_t query_size)
{
    return (struct s3_op_texts){s3i_str(key, key_size), s3i_str(headers, headers_size),
                                s3i_str(query, query_size)};
}

s3ext_op *s3ext_op_head(s3ext_client *client, const char *key, size_t key_size, const char *headers,
                        size_t headers_size, const char *query, size_t query_size)
{
    struct s3_op_texts texts = texts_of(key, key_size, headers, headers_size, query, query_size);
    return (s3ext_op *)s3i_op_head_new(client_of(client), &texts);
}

s3ext_op *s3ext_op_get(s3ext_client *client, const char *key, size_t key_size, const char *headers,
                       size_t headers_size, const char *query, size_t query_size, uint64_t start,
                       uint64_t end)
{
    const struct s3_range range = {start, end};
    const struct s3_read_options options = {
        .texts = texts_of(key, key_size, headers, headers_size, query, query_size),
        .ranges = &range,
        .count = 1,
        .into_size = UINT64_MAX,
        .first_only = true,
    };
    return (s3ext_op *)s3i_op_read_new(client_of(client), &options);
}

s3ext_op *s3ext_op_get_suffix(s3ext_client *client, const char *key, size_t key_size,
                              const char *headers, size_t headers_size, const char *query,
                              size_t query_size, uint64_t suffix)
{
    const struct s3_read_options options = {
        .texts = texts_of(key, key_size, headers, headers_size, query, query_size),
        .suffix = suffix,
        .into_size = UINT64_MAX,
    };
    return (s3ext_op *)s3i_op_read_new(client_of(client), &options);
}

s3ext_op *s3ext_op_get_into(s3ext_client *client, const char *key, size_t key_size,
                            const char *headers, size_t headers_size, const char *query,
                            size_t query_size, void *into, uint64_t into_size)
{
    const struct s3_range range = {0, UINT64_MAX};
    const struct s3_read_options options = {
        .texts = texts_of(key, key_size, headers, headers_size, query, query_size),
        .ranges = &range,
        .count = 1,
        .into = &into,
        .into_size = into_size,
    };
    return (s3ext_op *)s3i_op_read_new(client_of(client), &options);
}

s3ext_op *s3ext_op_get_range(s3ext_client *client, const char *key, size_t key_size,
                             const char *headers, size_t headers_size, const char *query,
                             size_t query_size, uint64_t start, uint64_t end, void *into)
{
    const struct s3_range range = {start, end};
    const struct s3_read_options options = {
        .texts = texts_of(key, key_size, headers, headers_size, query, query_size),
        .ranges = &range,
        .count = 1,
        .into = into ? &into : NULL,
        .into_size = UINT64_MAX,
    };
    return (s3ext_op *)s3i_op_read_new(client_of(client), &options);
}

s3ext_op *s3ext_op_get_ranges(s3ext_client *client, const char *key, size_t key_size,
                              const char *headers, size_t headers_size, const char *query,
                              size_t query_size, const uint64_t *starts, const uint64_t *ends,
                              size_t count, uint64_t gap, void *const *into)
{
    struct s3_range *ranges = s3i_calloc(count, sizeof(*ranges));
    if (ranges == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        ranges[i] = (struct s3_range){starts[i], ends[i]};
    }
    const struct s3_read_options options = {
        .texts = texts_of(key, key_size, headers, headers_size, query, query_size),
        .ranges = ranges,
        .count = count,
        .gap = gap,
        .into = into,
        .into_size = UINT64_MAX,
    };
    struct s3_op *op = s3i_op_read_new(client_of(client), &options);
    s3i_free(ranges);
    return (s3ext_op *)op;
}

s3ext_op *s3ext_op_put(s3ext_client *client, const char *key, size_t key_size, const char *headers,
                       size_t headers_size, const void *body, size_t size, int conditional)
{
    struct s3_op_texts texts = texts_of(key, key_size, headers, headers_size, NULL, 0);
    return (s3ext_op *)s3i_op_put_new(client_of(client), &texts, s3i_str(body, size),
                                      conditional != 0);
}

s3ext_op *s3ext_op_upload(s3ext_client *client, const char *key, size_t key_size,
                          const char *headers, size_t headers_size, const void *body, uint64_t size,
                          uint64_t part_size, uint32_t window, int if_absent)
{
    const struct s3_upload_options options = {
        .texts = texts_of(key, key_size, headers, headers_size, NULL, 0),
        .body = body,
        .size = size,
        .part_size = part_size,
        .window = window,
        .if_absent = if_absent != 0,
    };
    return (s3ext_op *)s3i_op_upload_new(client_of(client), &options);
}

s3ext_op *s3ext_op_delete(s3ext_client *client, const char *key, size_t key_size,
                          const char *headers, size_t headers_size, const char *query,
                          size_t query_size)
{
    struct s3_op_texts texts = texts_of(key, key_size, headers, headers_size, query, query_size);
    return (s3ext_op *)s3i_op_delete_new(client_of(client), &texts);
}

s3ext_op *s3ext_op_delete_many(s3ext_client *client, const char *keys, size_t keys_size,
                               size_t count)
{
    return (s3ext_op *)s3i_op_delete_many_new(client_of(client), s3i_str(keys, keys_size), count);
}

s3ext_op *s3ext_op_list(s3ext_client *client, const char *query, size_t query_size)
{
    struct s3_op_texts texts = texts_of(NULL, 0, NULL, 0, query, query_size);
    return (s3ext_op *)s3i_op_list_new(client_of(client), &texts);
}

s3ext_op *s3ext_op_copy(s3ext_client *client, const char *source, size_t source_size,
                        const char *key, size_t key_size, const char *headers, size_t headers_size,
                        int conditional)
{
    struct s3_op_texts texts = texts_of(key, key_size, headers, headers_size, NULL, 0);
    return (s3ext_op *)s3i_op_copy_new(client_of(client), s3i_str(source, source_size), &texts,
                                       conditional != 0);
}

s3ext_op *s3ext_op_copy_parts(s3ext_client *client, s3ext_client *signer, const char *source,
                              size_t source_size, const char *key, size_t key_size,
                              const char *headers, size_t headers_size, const char *etag,
                              uint64_t size, uint64_t part_size, uint32_t window, int if_absent)
{
    const struct s3_copy_options options = {
        .texts = texts_of(key, key_size, headers, headers_size, NULL, 0),
        .signer = client_of(signer),
        .source = s3i_str(source, source_size),
        .etag = s3i_str_from(etag),
        .size = size,
        .part_size = part_size,
        .window = window,
        .if_absent = if_absent != 0,
    };
    return (s3ext_op *)s3i_op_copy_parts_new(client_of(client), &options);
}

s3ext_op *s3ext_op_http(s3ext_client *client, const char *method, const char *path,
                        size_t path_size, const char *headers, size_t headers_size,
                        const char *query, size_t query_size, const void *body, size_t size,
                        int repeatable)
{
    struct s3_op_texts texts = texts_of(path, path_size, headers, headers_size, query, query_size);
    return (s3ext_op *)s3i_op_http_new(client_of(client), s3i_str_from(method), &texts,
                                       s3i_str(body, size), repeatable != 0);
}

void s3ext_op_limit(s3ext_op *op, int64_t limit_ms)
{
    op_of(op)->limit_ms = limit_ms;
}

s3ext_op *s3ext_op_credentials(s3ext_client *client)
{
    return (s3ext_op *)s3i_op_credentials_new(client_of(client));
}

/* ---- driving ---- */

/* In a fork child: whoever drives an operation of the parent's does so there, and it never ends
 * here. */
static bool inherited(struct s3_op *op)
{
    if (op->generation == s3i_process_generation()) {
        return false;
    }
    if (!s3i_op_is_done(op)) {
        s3i_op_abandon(op, S3EXT_CANCELLED,
                       "the operation was begun before a fork, by the parent of this process");
    }
    return true;
}

static bool begin_here(struct s3_op *op)
{
    struct s3_error error;
    s3i_error_clear(&error);
    struct s3_reactor *reactor = s3i_engine_borrow(&error);
    if (reactor == NULL || !s3i_gate_enter()) {
        s3i_op_abandon(op, error.code ? error.code : S3EXT_SHUTDOWN, error.message);
        return false;
    }
    s3i_op_begin(op, reactor);
    s3i_gate_leave();
    return true;
}

static void fail_for_shutdown(struct s3_op *op)
{
    struct s3_error error;
    s3i_error_clear(&error);
    s3i_error_set(&error, S3EXT_SHUTDOWN, "%s", s3i_error_text(S3EXT_SHUTDOWN));
    if (!s3i_op_is_done(op)) {
        s3i_op_fail(op, &error);
    }
}

/* false: the engine ends, and no reactor will run again. */
static bool turn(struct s3_op *op, int64_t wait_ms)
{
    bool stopping = s3i_engine_stopping();
    if (stopping || atomic_load(&op->cancel_asked)) {
        if (!s3i_gate_enter()) {
            return false;
        }
        s3i_op_check_cancel(op);
        if (stopping) {
            fail_for_shutdown(op);
        }
        s3i_gate_leave();
    }
    return s3i_op_let_go(op) || s3i_reactor_turn(op->reactor, wait_ms);
}

static void caller_out(struct s3_op *op)
{
    if (op->has_caller) {
        op->has_caller = false;
        s3i_engine_caller_out();
    }
}

/* Begins a new operation for a sync caller: here, or in a crowd on the I/O thread. false: it is
 * over. */
static bool begin(struct s3_op *op)
{
    struct s3_reactor *io;
    struct s3_error error;
    s3i_error_clear(&error);
    op->has_caller = true;
    if (s3i_engine_caller_in() && s3i_engine_io(&io, &error) == S3EXT_OK && s3i_engine_submit(op)) {
        return true;
    }
    return begin_here(op);
}

/* Turns the reactor of the calling thread until the operation has let go or the slice is over. */
static bool drive(struct s3_op *op, int slice_ms)
{
    int64_t until = s3i_now_ms() + slice_ms;
    while (!s3i_op_let_go(op)) {
        int64_t left = until - s3i_now_ms();
        if (left < 0) {
            return false;
        }
        if (!turn(op, left)) {
            s3i_op_abandon(op, S3EXT_SHUTDOWN, s3i_error_text(S3EXT_SHUTDOWN));
            return true;
        }
    }
    if (s3i_op_is_done(op)) {
        s3i_engine_return(op->reactor);
        op->reactor = NULL;
    }
    return true;
}

/* Whether a daemon thread is not to hear that its operation ended because the process does. */
static bool held_back(const struct s3_op *op, int slice_ms)
{
    if (!s3i_op_is_done(op) || op->result.code != S3EXT_SHUTDOWN || !s3i_engine_holds()) {
        return false;
    }
    const struct timespec slice = {.tv_nsec = (long)(slice_ms % 1000) * 1000000L};
    nanosleep(&slice, NULL);
    return true;
}

int s3ext_op_run(s3ext_op *handle, int slice_ms)
{
    struct s3_op *op = op_of(handle);
    if (inherited(op)) {
        return 1;
    }
    bool fresh = atomic_load(&op->state) == S3I_OP_NEW && !atomic_load(&op->on_io_thread);
    bool done = s3i_op_is_done(op) || (fresh && !begin(op));
    if (!done) {
        done = atomic_load(&op->on_io_thread) ? s3ext_op_wait(handle, slice_ms) != 0
                                              : drive(op, slice_ms);
    }
    if (done) {
        caller_out(op);
    }
    return done && !held_back(op, slice_ms);
}

/* The engine has ended between the listing of an operation and its start. */
static void end_by_shutdown(struct s3_op *op)
{
    s3i_op_abandon(op, S3EXT_SHUTDOWN, s3i_error_text(S3EXT_SHUTDOWN));
    if (op->listener != NULL) {
        op->listener->on_done(op->listener, op);
    }
}

int s3ext_submit(s3ext_queue *queue, s3ext_op *const *handles, const uint64_t *tokens, size_t count)
{
    struct s3_reactor *reactor;
    struct s3_error error;
    s3i_error_clear(&error);
    struct s3_op *const *ops = (struct s3_op *const *)handles;
    S3I_TRY(s3i_engine_io(&reactor, &error));
    if (queue != NULL) {
        S3I_TRY(s3i_queue_add((struct s3_queue *)queue, ops, tokens, count));
    }
    for (size_t i = 0; i < count; i++) {
        if (!s3i_engine_submit(ops[i])) {
            end_by_shutdown(ops[i]);
        }
    }
    return S3EXT_OK;
}

int s3ext_op_wait(s3ext_op *handle, int slice_ms)
{
    struct s3_op *op = op_of(handle);
    if (inherited(op)) {
        return 1;
    }
    s3i_op_retain(op); /* another thread may free the handle meanwhile */
    s3i_op_await(op, slice_ms);
    bool done = s3i_op_let_go(op) && !held_back(op, slice_ms);
    s3i_op_release(op);
    return done;
}

int s3ext_op_wait_end(s3ext_op *handle, int slice_ms)
{
    struct s3_op *op = op_of(handle);
    if (inherited(op)) {
        return 1;
    }
    s3i_op_retain(op);
    s3i_op_await_end(op, slice_ms);
    bool done = s3i_op_is_done(op);
    s3i_op_release(op);
    return done;
}

void s3ext_op_cancel(s3ext_op *op)
{
    if (op_of(op)->generation == s3i_process_generation()) {
        s3i_op_cancel(op_of(op));
    }
}

void s3ext_op_free(s3ext_op *handle)
{
    struct s3_op *op = op_of(handle);
    if (op == NULL || op->generation != s3i_process_generation()) {
        return;
    }
    caller_out(op);
    bool here = !atomic_load(&op->on_io_thread);
    bool begun = atomic_load(&op->state) != S3I_OP_NEW || !here;
    if (!begun || s3i_op_is_done(op)) {
        s3i_op_release(op);
        return;
    }
    s3i_op_cancel(op);
    if (here && !s3i_op_let_go(op)) {
        turn(op, 0); /* which lets it go */
    }
    if (!here || !s3i_engine_adopt(op)) {
        s3i_op_release(op);
    }
}

/* ---- results ---- */

const struct s3ext_result *s3ext_op_result(const s3ext_op *op)
{
    return &const_op_of(op)->result;
}

void s3ext_op_take_slices(s3ext_op *op)
{
    op_of(op)->owns_slices = false;
}

void s3ext_memory_release(s3ext_memory *memory)
{
    s3i_memory_release((struct s3_memory *)memory);
}

void s3ext_op_error(const s3ext_op *op, struct s3ext_error_view *view)
{
    const struct s3_error *error = &const_op_of(op)->error;
    *view = (struct s3ext_error_view){
        .code = error->code,
        .http_status = error->http_status,
        .attempts = error->attempts,
        .s3_code = error->s3_code,
        .request_id = error->request_id,
        .host_id = error->host_id,
        .host = error->host,
        .message = error->message,
    };
}

/* ---- fed uploads ---- */

char *s3ext_upload_slot(s3ext_op *op, uint64_t *capacity)
{
    return inherited(op_of(op)) ? NULL : s3i_upload_slot(op_of(op), capacity);
}

int s3ext_upload_push(s3ext_op *op, uint64_t size, int last)
{
    /* One that the engine did not take has no reactor. */
    if (inherited(op_of(op)) || !atomic_load(&op_of(op)->on_io_thread)) {
        return S3EXT_CANCELLED;
    }
    return s3i_upload_push(op_of(op), size, last != 0);
}

int s3ext_upload_wait(s3ext_op *op, int slice_ms)
{
    return inherited(op_of(op)) ? 1 : s3i_upload_wait(op_of(op), slice_ms);
}

/* ---- queues ---- */

s3ext_queue *s3ext_queue_new(void)
{
    return (s3ext_queue *)s3i_queue_new();
}

int s3ext_queue_fd(const s3ext_queue *queue)
{
    return s3i_queue_fd((const struct s3_queue *)queue);
}

size_t s3ext_queue_drain(s3ext_queue *queue, struct s3ext_completion *out, size_t capacity)
{
    return s3i_queue_drain((struct s3_queue *)queue, out, capacity);
}

void s3ext_queue_close(s3ext_queue *queue)
{
    if (queue != NULL) {
        s3i_queue_close((struct s3_queue *)queue);
    }
}
