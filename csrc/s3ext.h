/*
 * s3ext: the public face of the core, the only header that leaves csrc/.
 *
 * The text between the cdef marks is what cffi sees: plain C, no macros, no includes. Everything a
 * Python caller can do goes through it, at most one call for a whole operation.
 *
 * Ownership, in one rule: strings and pair blocks are copied before a call returns; bodies (`body`)
 * and destinations (`into`) are borrowed until the operation is done; handles are freed by their
 * own _free. A handle made before a fork may be given to _free in the child, where that does
 * nothing.
 *
 * A "pair block" is a run of "name\0value\0name\0value\0"; its size counts every byte. Header names
 * are in lower case; query names and values are raw (the core encodes them).
 */
#ifndef S3EXT_H
#define S3EXT_H

#include <stddef.h>
#include <stdint.h>

#ifndef S3EXT_VERSION
#define S3EXT_VERSION "0" /* the build says it; pyproject.toml holds the number */
#endif

/* cdef: begin */
typedef struct s3ext_client s3ext_client;
typedef struct s3ext_op s3ext_op;
typedef struct s3ext_queue s3ext_queue;
typedef struct s3ext_memory s3ext_memory;

/* ---- the process ---- */

/*
 * Checks and initialises libcurl and OpenSSL, and registers the fork handlers. To be called once,
 * on the importing thread. Returns 0, or a code with a line in `message`.
 */
int s3ext_init(char *message, size_t capacity);

/* Cancels all operations (uploads are aborted), ends the threads; at most `timeout_ms`. Called at
 * exit. */
void s3ext_shutdown(int timeout_ms);

/* Rises by one in the child of every fork; handles of an older generation are dead. */
uint32_t s3ext_generation(void);

struct s3ext_versions {
    const char *core;
    const char *curl;    /* running libcurl, e.g. "7.88.1" */
    const char *tls;     /* its TLS back-end, e.g. "OpenSSL/3.0.17" */
    const char *openssl; /* libcrypto that signs */
    const char *expat;
    const char *ca_bundle; /* the system's certificates as libcurl knows them, "" if it does not */
    int curl_http2;        /* 1 when libcurl can do HTTP/2 */
    int curl_threadsafe;   /* 1 when curl_global_init is thread-safe */
};
void s3ext_versions_get(struct s3ext_versions *versions);

struct s3ext_stats {
    uint64_t operations; /* finished */
    uint64_t requests;   /* exchanges begun, retries included */
    uint64_t requests_direct; /* of these, on the direct lane */
    uint64_t retries;
    uint64_t retries_throttle; /* by cause */
    uint64_t retries_server;
    uint64_t retries_connect;
    uint64_t retries_transport;
    uint64_t retries_other;  /* credentials, clock, region */
    uint64_t resumed;        /* bodies taken up again at the received offset */
    uint64_t bytes_received; /* body bytes */
    uint64_t bytes_sent;
    uint64_t connections_opened;
    uint64_t exchanges_in_flight;
    uint64_t bytes_in_flight; /* memory admitted for parts under way */
    uint64_t memory_cached;   /* bytes kept for reuse in the slab pool */
    uint64_t memory_live;     /* bytes of results not yet released */
};
void s3ext_stats_get(struct s3ext_stats *stats);

/* Name ("NOT_FOUND"), default text, Python class and retryability of a code. */
const char *s3ext_code_name(int code);
const char *s3ext_code_text(int code);
const char *s3ext_code_python(int code);
int s3ext_code_retryable(int code);

/* The CRC of the bytes before (0 for none) and these, by the number of s3ext_client_config.checksum;
 * 0 for what is no CRC. */
uint64_t s3ext_crc(int checksum, uint64_t crc, const void *data, size_t size);

/* ---- clients: endpoint, signing, credential slot, retry, timeouts ---- */

struct s3ext_client_config {
    const char *scheme;    /* "http" or "https" */
    const char *host;      /* host[:port]; "{region}" in it is replaced by the region */
    const char *base_path; /* path of the endpoint, encoded, "" or "/base" */
    const char *bucket;
    const char *region;
    const char *service;   /* that requests are signed for; NULL: "s3" */
    int signature_v2;      /* 1: sign with version 2, for servers that know no other */
    int express_session;   /* 1: the keys are those of an S3 Express session */
    int bucket_in_host;    /* 1: virtual-hosted style, the path does not name the bucket */
    int region_may_change; /* 1: an AWS endpoint; a wrong region is corrected from the answer */
    int skip_signature;
    int unsigned_payload;
    int request_payer;
    const char *user_agent;
    const char *default_headers; /* pair block, signed and sent with every request */
    size_t default_headers_size;
    /* Pair blocks of encryption, signed; the customer's key is wiped when the client goes. */
    const char *write_headers; /* with PUT, CreateMultipartUpload and CopyObject */
    size_t write_headers_size;
    const char *key_headers; /* of SSE-C, with GET, HEAD, UploadPart and UploadPartCopy */
    size_t key_headers_size;
    const char *source_headers; /* of SSE-C, for the source of both kinds of copies */
    size_t source_headers_size;
    int checksum; /* of uploads: 0 none, 1 SHA-256, 2 SHA-1, 3 CRC32, 4 CRC32C, 5 CRC64NVME */
    int verify_tls;
    int system_certificates; /* 0: trust only ca_pem */
    const char *ca_pem;      /* certificates trusted besides the system's, PEM; NULL for none */
    size_t ca_pem_size;
    const char *proxy_url; /* NULL: as libcurl finds it in the environment, each time; "": none */
    const char *proxy_excludes; /* NULL or NO_PROXY syntax */
    int http_version;        /* 1: HTTP/1.1 alone; 2: HTTP/2 alone; 0: 2 where TLS agrees on it */
    const char *lane;        /* "auto", "direct" or "curl": what carries requests */
    int randomize_addresses; /* 1: connections spread over all addresses of the host */
    int64_t connect_timeout_ms; /* 0 turns any of these off */
    int64_t first_byte_timeout_ms;
    int64_t stall_timeout_ms;
    int64_t total_timeout_ms; /* of one request, body included */
    int64_t pool_idle_timeout_ms;
    int64_t pool_max_idle;   /* idle connections kept for each host and driver; -1: no limit */
    int64_t probe_ms;        /* silence after which a connection is probed (TCP keep-alive) */
    int64_t unanswered_ms;   /* what is unacknowledged for so long ends it; 0: the system's time */
    uint64_t part_size;   /* parallel parts of large reads, bytes */
    uint32_t window;      /* parts of one read in flight */
    uint32_t concurrency; /* exchanges in flight per host, whole engine */
    uint32_t max_retries;
    int64_t retry_timeout_ms;
    int64_t init_backoff_ms;
    int64_t max_backoff_ms;
    double backoff_base;
    int init_backoff_set;
    uint64_t provider_tag;     /* not 0: credentials come from a provider, asked for by this tag */
    int64_t refresh_before_ms; /* a provider is asked again when less than this remains */
};

/* NULL with a code and a line in `message` when the configuration is unusable. */
s3ext_client *s3ext_client_new(const struct s3ext_client_config *config, int *code, char *message,
                               size_t capacity);
void s3ext_client_free(s3ext_client *client);

/*
 * Puts credentials into the slot and wakes what waits for them. `token` may be NULL; `expires_ms`
 * is milliseconds since the epoch, INT64_MAX for never.
 */
int s3ext_client_set_credentials(s3ext_client *client, const char *key_id, const char *secret,
                                 const char *token, int64_t expires_ms);
/* Tells what waits that no credentials could be had, and why (a line without secrets). */
void s3ext_client_fail_credentials(s3ext_client *client, const char *message);
/* 1: the server has refused the credentials in the slot as expired, so the same ones will not do. */
int s3ext_client_is_refused(s3ext_client *client);

/* Waits up to `timeout_ms` for a client that wants credentials; its provider_tag, or 0. */
uint64_t s3ext_credentials_wanted(int timeout_ms);

/*
 * Writes a presigned URL and a NUL to `out`; *size receives its length. TOO_SMALL when it does not
 * fit, CREDENTIALS when the slot is empty (run s3ext_op_credentials first). `query` is a pair
 * block.
 */
int s3ext_presign(s3ext_client *client, const char *method, const char *key, size_t key_size,
                  const char *query, size_t query_size, uint32_t expires_seconds, char *out,
                  size_t capacity, size_t *size);

/* ---- operations: made, then run (caller's thread) or submitted (I/O thread), then freed ---- */

/*
 * Each returns NULL only without memory; bad arguments end the operation with INVALID when it is
 * run. `headers` and `query` are pair blocks added to the request (conditions, version,
 * attributes); NULL, 0 for none. A read pins the ETag of its first answer, unless `headers` hold an
 * if-match.
 */
s3ext_op *s3ext_op_head(s3ext_client *client, const char *key, size_t key_size, const char *headers,
                        size_t headers_size, const char *query, size_t query_size);

/*
 * Begins a read of [start, end); end may be UINT64_MAX for "to the end of the object". One request
 * for at most one part: the result tells the object's size and holds the bytes up to the end of the
 * first part. If the object goes on, the slice's `capacity` may already have room for all of it
 * (then the caller reads the rest `into` it). An empty object read from 0 to the end is a success
 * with 0 bytes.
 */
s3ext_op *s3ext_op_get(s3ext_client *client, const char *key, size_t key_size, const char *headers,
                       size_t headers_size, const char *query, size_t query_size, uint64_t start,
                       uint64_t end);

/* Reads the last `suffix` bytes (all of a shorter object) in one request. */
s3ext_op *s3ext_op_get_suffix(s3ext_client *client, const char *key, size_t key_size,
                              const char *headers, size_t headers_size, const char *query,
                              size_t query_size, uint64_t suffix);

/*
 * Reads the whole object into memory of the caller, in parallel parts. TOO_SMALL, before a body
 * byte is written, when it has more than `into_size` bytes.
 */
s3ext_op *s3ext_op_get_into(s3ext_client *client, const char *key, size_t key_size,
                            const char *headers, size_t headers_size, const char *query,
                            size_t query_size, void *into, uint64_t into_size);

/* Reads [start, end) in parallel parts, cut at the end of the object. `into` holds end - start
 * bytes or is NULL. */
s3ext_op *s3ext_op_get_range(s3ext_client *client, const char *key, size_t key_size,
                             const char *headers, size_t headers_size, const char *query,
                             size_t query_size, uint64_t start, uint64_t end, void *into);

/*
 * Reads `count` ranges; those within `gap` bytes of each other are fetched as one. One slice for
 * each range, in input order. `into` is NULL or `count` addresses of memory for end - start bytes
 * each.
 */
s3ext_op *s3ext_op_get_ranges(s3ext_client *client, const char *key, size_t key_size,
                              const char *headers, size_t headers_size, const char *query,
                              size_t query_size, const uint64_t *starts, const uint64_t *ends,
                              size_t count, uint64_t gap, void *const *into);

/* One PUT. `body` is borrowed until the operation is done. `conditional` is 1 when headers hold a
 * condition. */
s3ext_op *s3ext_op_put(s3ext_client *client, const char *key, size_t key_size, const char *headers,
                       size_t headers_size, const void *body, size_t size, int conditional);

/*
 * A multipart upload, aborted on every failure. With `body`, the core cuts it into parts of
 * `part_size` (larger if 10,000 would not do). With body NULL it is fed: see s3ext_upload_* below;
 * `size` is 0 then if it is not known, and parts become larger as there are more of them. At most
 * `window` parts are in flight. With `if_absent` the upload ends with PRECONDITION when there is an
 * object by the time that all parts are there.
 */
s3ext_op *s3ext_op_upload(s3ext_client *client, const char *key, size_t key_size,
                          const char *headers, size_t headers_size, const void *body, uint64_t size,
                          uint64_t part_size, uint32_t window, int if_absent);

s3ext_op *s3ext_op_delete(s3ext_client *client, const char *key, size_t key_size,
                          const char *headers, size_t headers_size, const char *query,
                          size_t query_size);

/* One DeleteObjects request: `keys` is `count` NUL-ended keys, 1,000 at most. */
s3ext_op *s3ext_op_delete_many(s3ext_client *client, const char *keys, size_t keys_size,
                               size_t count);

/* One page of ListObjectsV2; `query` as a pair block (prefix, delimiter, start-after,
 * continuation-token...). */
s3ext_op *s3ext_op_list(s3ext_client *client, const char *query, size_t query_size);

/*
 * CopyObject: `source` is a key of the same bucket. `conditional` is 1 when headers hold a condition
 * that a copy done before would not meet.
 */
s3ext_op *s3ext_op_copy(s3ext_client *client, const char *source, size_t source_size,
                        const char *key, size_t key_size, const char *headers, size_t headers_size,
                        int conditional);

/*
 * A copy in parts, for sources too large for CopyObject: a multipart upload whose parts the server
 * copies, aborted on every failure. `etag` and `size` are the source's; if it changes meanwhile the
 * copy ends with MODIFIED. `headers` (attributes, tags) belong to the new object, which takes
 * nothing from the source but its bytes. `signer` is the client that signs the parts, another one in
 * S3 Express alone. With `if_absent` the copy ends with PRECONDITION when there
 * is an object by then.
 */
s3ext_op *s3ext_op_copy_parts(s3ext_client *client, s3ext_client *signer, const char *source,
                              size_t source_size, const char *key, size_t key_size,
                              const char *headers, size_t headers_size, const char *etag,
                              uint64_t size, uint64_t part_size, uint32_t window, int if_absent);

/*
 * Any request: `method` is one of GET, HEAD, PUT, POST and DELETE, `path` is raw, without its leading
 * '/', and comes behind the client's own path. The result has the answer's
 * headers of interest and its body as text, of an error as well; a body of 64 KiB at most.
 * `repeatable` is 0 when the request must not be sent again once the server may have seen it.
 */
s3ext_op *s3ext_op_http(s3ext_client *client, const char *method, const char *path,
                        size_t path_size, const char *headers, size_t headers_size,
                        const char *query, size_t query_size, const void *body, size_t size,
                        int repeatable);

/* Before it is run or submitted: ends with TIMEOUT when it is not done `limit_ms` after it began. */
void s3ext_op_limit(s3ext_op *op, int64_t limit_ms);

/* Done when the client's slot holds valid credentials (at once with skip_signature). */
s3ext_op *s3ext_op_credentials(s3ext_client *client);

/*
 * Runs an operation in the caller's thread (or, when many callers do so, waits for the I/O thread
 * to run it) for at most `slice_ms`; 1 when it is done, 0 to call again. After a cancel it still
 * has to be called until it is done, which then takes no network wait.
 */
int s3ext_op_run(s3ext_op *op, int slice_ms);

/* Hands operations to the I/O thread. With a queue, each puts its token there when done. 0 or a
 * code. */
int s3ext_submit(s3ext_queue *queue, s3ext_op *const *ops, const uint64_t *tokens, size_t count);

/* Waits at most `slice_ms` for a submitted operation; 1 when it is done. */
int s3ext_op_wait(s3ext_op *op, int slice_ms);
/* The same, but a cancelled one is not done until it has cleared up on the server: an upload until
 * it was aborted, which takes no longer than its last requests may. */
int s3ext_op_wait_end(s3ext_op *op, int slice_ms);

/* Asks an operation to end with CANCELLED; from any thread, any number of times. */
void s3ext_op_cancel(s3ext_op *op);

/*
 * Lets the handle go. An operation still under way is cancelled; one that runs on the I/O thread
 * ends there by itself, so its `body` and `into` must stay valid until its token came or
 * s3ext_op_wait said 1.
 */
void s3ext_op_free(s3ext_op *op);

/* ---- results: valid from done until s3ext_op_free ---- */

struct s3ext_slice {
    char *data;           /* NULL when the bytes went `into` the caller's memory */
    uint64_t size;        /* bytes read */
    uint64_t capacity;    /* bytes that may be written from data on */
    s3ext_memory *memory; /* one reference of the caller's, if taken */
};

struct s3ext_list_entry {
    uint32_t key_offset, key_size;
    uint32_t etag_offset, etag_size;
    uint64_t size;
    int64_t last_modified_us;
};

struct s3ext_delete_failure {
    uint32_t key_offset, key_size;
    uint32_t code_offset, code_size;
    uint32_t message_offset, message_size;
};

struct s3ext_result {
    int32_t code; /* 0 or an error */
    int32_t http_status;
    uint32_t attempts; /* exchanges of the last request */
    uint32_t retries;  /* retries of all requests */
    int64_t elapsed_ms;
    uint64_t object_size; /* UINT64_MAX: not known */
    uint64_t range_start; /* what the slices of a one-range read cover */
    uint64_t range_end;
    int64_t last_modified; /* epoch seconds; INT64_MIN: absent */
    const char *etag;      /* with quotes, NULL if absent */
    size_t etag_size;
    const char *version; /* x-amz-version-id, NULL if absent */
    size_t version_size;
    const char *headers; /* pair block of the answer's headers of interest */
    size_t headers_size;
    struct s3ext_slice *slices;
    size_t slice_count;
    const char *text; /* what the entries point into; of s3ext_op_http the answer's body */
    size_t text_size;
    const struct s3ext_list_entry *objects;
    size_t object_count;
    const struct s3ext_list_entry *prefixes;
    size_t prefix_count;
    const char *next_token; /* NULL on the last page */
    size_t next_token_size;
    const struct s3ext_delete_failure *failures;
    size_t failure_count;
};
const struct s3ext_result *s3ext_op_result(const s3ext_op *op);
/* The same as a number, which s3ext._buffer takes. */
uintptr_t s3ext_op_answer(const s3ext_op *op);

/* The references of the slices' memory pass to the caller; without this they go with the operation.
 */
void s3ext_op_take_slices(s3ext_op *op);
void s3ext_memory_release(s3ext_memory *memory);

struct s3ext_error_view {
    int32_t code;
    int32_t http_status;
    uint32_t attempts;
    const char *s3_code;
    const char *request_id;
    const char *host_id;
    const char *host;
    const char *message;
};
void s3ext_op_error(const s3ext_op *op, struct s3ext_error_view *view);

/* ---- fed uploads: the caller fills slots of part_size bytes, in order ---- */

/*
 * Memory for the next part, or NULL when the window is full (or the operation has ended): then wait
 * with s3ext_upload_wait, or for a completion of kind 1 on the queue. NULL with a capacity that is
 * not 0: there is no memory.
 */
char *s3ext_upload_slot(s3ext_op *op, uint64_t *capacity);
/* Sends the slot's first `size` bytes as the next part; `last` ends the upload. 0 or the
 * operation's code. */
int s3ext_upload_push(s3ext_op *op, uint64_t size, int last);
/* Waits at most `slice_ms` for a free slot or the end; 1 when there is one of them. */
int s3ext_upload_wait(s3ext_op *op, int slice_ms);

/* ---- completion queues: one for each event loop ---- */

struct s3ext_completion {
    uint64_t token;
    int32_t kind; /* 0: done; 1: a fed upload has a free slot */
    int32_t code;
};
s3ext_queue *s3ext_queue_new(void);
/* Readable while completions wait. Belongs to the queue. */
int s3ext_queue_fd(const s3ext_queue *queue);
/* Takes up to `capacity` completions; when it takes all, the descriptor is no longer readable. */
size_t s3ext_queue_drain(s3ext_queue *queue, struct s3ext_completion *out, size_t capacity);
/* Cancels the queue's operations, waits until they have ended, frees the queue. */
void s3ext_queue_close(s3ext_queue *queue);
/* cdef: end */

#endif
