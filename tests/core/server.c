#include "server.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "check.h"
#include "s3ext.h"

enum {
    CONNECTIONS_MAX = 256,
    HEAD_MAX = 32 * 1024,
    WAIT_SLICE_MS = 10,
    TABLE = 65521 /* a prime: offsets modulo powers of two differ */
};

struct connection {
    pthread_t thread;
    int fd;
    atomic_int state; /* of the slot: FREE, RUNNING, ENDED (to be joined) */
};

enum { FREE, RUNNING, ENDED };

struct request {
    char head[HEAD_MAX];
    size_t have; /* bytes in head, the start of a body included */
    size_t head_size;
    char method[8];
    char target[2048];
    uint64_t body_size;
    bool ranged;
    uint64_t first, last;
};

static struct {
    int listener;
    int port;
    pthread_t acceptor;
    struct connection connections[CONNECTIONS_MAX];
    unsigned char table[TABLE];
    atomic_bool released;
    atomic_bool stopping;
    atomic_long requests, created, completed, aborted;
} server;

/* ---- content ---- */

unsigned char server_byte(uint64_t offset)
{
    return server.table[offset % TABLE];
}

bool server_matches(const char *data, uint64_t offset, uint64_t size)
{
    uint64_t done = 0;
    while (done < size) {
        uint64_t place = (offset + done) % TABLE;
        uint64_t run = TABLE - place < size - done ? TABLE - place : size - done;
        if (memcmp(data + done, server.table + place, (size_t)run) != 0) {
            return false;
        }
        done += run;
    }
    return true;
}

static void fill_table(void)
{
    uint32_t state = 12345;
    for (int i = 0; i < TABLE; i++) {
        server.table[i] = (unsigned char)pick(&state, 256);
    }
}

/* ---- the wire ---- */

static bool send_all(int fd, const void *data, uint64_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(fd, at, (size_t)size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (uint64_t)sent;
    }
    return true;
}

static bool send_content(int fd, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t place = from % TABLE;
        uint64_t run = TABLE - place < to - from ? TABLE - place : to - from;
        if (!send_all(fd, server.table + place, run)) {
            return false;
        }
        from += run;
    }
    return true;
}

/* false: the client has gone meanwhile. */
static bool wait_for_release(int fd)
{
    while (!atomic_load(&server.released)) {
        struct pollfd gone = {.fd = fd, .events = POLLRDHUP};
        if (poll(&gone, 1, WAIT_SLICE_MS) != 0) {
            return false;
        }
    }
    return true;
}

static void parse_head(struct request *request)
{
    CHECK(sscanf(request->head, "%7s %2047s", request->method, request->target) == 2);
    request->body_size = 0;
    request->ranged = false;
    request->last = UINT64_MAX;
    for (char *line = strstr(request->head, "\r\n"); line != NULL;
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0) {
            request->body_size = strtoull(line + 17, NULL, 10);
        } else if (strncasecmp(line + 2, "range: bytes=-", 14) == 0) {
            request->ranged = true;
            request->first = UINT64_MAX;
            request->last = strtoull(line + 16, NULL, 10);
        } else if (strncasecmp(line + 2, "range: bytes=", 13) == 0) {
            char *end;
            request->ranged = true;
            request->first = strtoull(line + 15, &end, 10);
            request->last =
                end[1] >= '0' && end[1] <= '9' ? strtoull(end + 1, NULL, 10) : UINT64_MAX;
        }
    }
}

/* false: the client has gone. */
static bool read_head(int fd, struct request *request)
{
    for (;;) {
        request->head[request->have] = '\0';
        char *end = strstr(request->head, "\r\n\r\n");
        if (end != NULL) {
            request->head_size = (size_t)(end + 4 - request->head);
            end[2] = '\0';
            return true;
        }
        CHECK(request->have < HEAD_MAX - 1);
        ssize_t got = recv(fd, request->head + request->have, HEAD_MAX - 1 - request->have, 0);
        if (got <= 0) {
            return false;
        }
        request->have += (size_t)got;
    }
}

static bool skip_body(int fd, struct request *request)
{
    static _Thread_local char ignored[64 * 1024];
    uint64_t here = request->have - request->head_size;
    here = here < request->body_size ? here : request->body_size;
    uint64_t left = request->body_size - here;
    size_t used = request->head_size + (size_t)here;
    memmove(request->head, request->head + used, request->have - used);
    request->have -= used;
    while (left > 0) {
        ssize_t got = recv(fd, ignored, left < sizeof(ignored) ? (size_t)left : sizeof(ignored), 0);
        if (got <= 0) {
            return false;
        }
        left -= (uint64_t)got;
    }
    return true;
}

/* ---- answers ---- */

static bool answer_document(int fd, int status, const char *extra, const char *document)
{
    char out[4096];
    int size = snprintf(out, sizeof(out),
                        "HTTP/1.1 %d OK\r\nx-amz-request-id: R1\r\n%sContent-Length: %zu\r\n\r\n%s",
                        status, extra, strlen(document), document);
    CHECK(size > 0 && (size_t)size < sizeof(out));
    return send_all(fd, out, (uint64_t)size);
}

static bool answer_object(int fd, const struct request *request, const char *key)
{
    uint64_t total = strncmp(key, "size-", 5) == 0 || strncmp(key, "half-", 5) == 0
                         ? strtoull(key + 5, NULL, 10)
                         : 0;
    uint64_t from = 0;
    uint64_t to = total;
    if (request->ranged && request->first == UINT64_MAX) {
        from = request->last < total ? total - request->last : 0;
    } else if (request->ranged) {
        from = request->first;
        to = request->last < total ? request->last + 1 : total;
    }
    if (request->ranged && from >= total) {
        return answer_document(fd, 416, "", "<Error><Code>InvalidRange</Code></Error>");
    }
    char head[512];
    char range[128] = "";
    if (request->ranged) {
        snprintf(range, sizeof(range),
                 "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", from, to - 1,
                 total);
    }
    int size = snprintf(
        head, sizeof(head),
        "HTTP/1.1 %s\r\nETag: \"%016" PRIx64 "\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 "
        "GMT\r\n%sContent-Length: %" PRIu64 "\r\n\r\n",
        request->ranged ? "206 Partial Content" : "200 OK", total, range, to - from);
    if (!send_all(fd, head, (uint64_t)size) || strcmp(request->method, "HEAD") == 0) {
        return strcmp(request->method, "HEAD") == 0;
    }
    if (key[0] == 'h') {
        uint64_t middle = from + (to - from) / 2;
        if (!send_content(fd, from, middle) || !wait_for_release(fd)) {
            return false;
        }
        from = middle;
    }
    return send_content(fd, from, to);
}

#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"

static bool answer_post(int fd, const char *query)
{
    if (strncmp(query, "uploads", 7) == 0) {
        atomic_fetch_add(&server.created, 1);
        return answer_document(fd, 200, "",
                               XML
                               "<InitiateMultipartUploadResult><UploadId>upload&amp;1</UploadId>"
                               "</InitiateMultipartUploadResult>");
    }
    if (strncmp(query, "delete", 6) == 0) {
        return answer_document(fd, 200, "",
                               XML "<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code>"
                                   "<Message>no</Message></Error></DeleteResult>");
    }
    atomic_fetch_add(&server.completed, 1);
    return answer_document(fd, 200, "",
                           XML "<CompleteMultipartUploadResult><ETag>\"0123456789abcdef-2\"</ETag>"
                               "</CompleteMultipartUploadResult>");
}

static bool answer_listing(int fd)
{
    return answer_document(
        fd, 200, "",
        XML "<ListBucketResult><Name>bucket</Name><Prefix/><KeyCount>3</KeyCount><MaxKeys>1000</"
            "MaxKeys>"
            "<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>"
            "<Contents><Key>a</Key><LastModified>2020-01-02T03:04:05.678Z</LastModified>"
            "<ETag>\"e1\"</ETag><Size>1</Size></Contents>"
            "<Contents><Key>b</Key><LastModified>2020-01-02T03:04:05.678Z</LastModified>"
            "<ETag>\"e2\"</ETag><Size>2</Size></Contents>"
            "<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes></ListBucketResult>");
}

static bool answer_other(int fd, const struct request *request, const char *query)
{
    if (strcmp(request->method, "POST") == 0) {
        return answer_post(fd, query);
    }
    if (strcmp(request->method, "DELETE") == 0) {
        atomic_fetch_add(&server.aborted, strncmp(query, "uploadId", 8) == 0);
        return send_all(fd, "HTTP/1.1 204 No Content\r\n\r\n", 27);
    }
    bool copies = strcasestr(request->head, "\r\nx-amz-copy-source:") != NULL;
    return answer_document(fd, 200, "ETag: \"0123456789abcdef0123456789abcdef\"\r\n",
                           !copies ? ""
                           : strstr(query, "uploadId")
                               ? XML "<CopyPartResult><ETag>\"e\"</ETag></CopyPartResult>"
                               : XML "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>");
}

static bool answer(int fd, const struct request *request)
{
    static const char bucket[] = "/bucket/";
    const char *query = strchr(request->target, '?');
    query = query ? query + 1 : "";
    const char *key = strncmp(request->target, bucket, sizeof(bucket) - 1) == 0
                          ? request->target + sizeof(bucket) - 1
                          : NULL;
    atomic_fetch_add(&server.requests, 1);
    if (key != NULL && strncmp(key, "stall", 5) == 0 && !wait_for_release(fd)) {
        return false;
    }
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (reads) {
        return key != NULL ? answer_object(fd, request, key) : answer_listing(fd);
    }
    return answer_other(fd, request, query);
}

/* ---- threads ---- */

static void *serve(void *argument)
{
    struct connection *connection = argument;
    struct request *request = calloc(1, sizeof(*request));
    CHECK(request != NULL);
    /* The head is needed for the answer, and skipping the body moves it: so the answer is of a copy. */
    struct request *copy = calloc(1, sizeof(*copy));
    CHECK(copy != NULL);
    for (;;) {
        if (!read_head(connection->fd, request)) {
            break;
        }
        parse_head(request);
        memcpy(copy, request, sizeof(*copy));
        if (!skip_body(connection->fd, request) || !answer(connection->fd, copy)) {
            break;
        }
    }
    shutdown(connection->fd, SHUT_RDWR);
    free(copy);
    free(request);
    atomic_store(&connection->state, ENDED);
    return NULL;
}

static void clean_up(struct connection *connection)
{
    pthread_join(connection->thread, NULL);
    close(connection->fd);
    atomic_store(&connection->state, FREE);
}

static struct connection *free_slot(void)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (atomic_load(&server.connections[i].state) == ENDED) {
            clean_up(&server.connections[i]);
        }
        if (atomic_load(&server.connections[i].state) == FREE) {
            return &server.connections[i];
        }
    }
    CHECK(!"too many connections");
    return NULL;
}

static void *accept_all(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || atomic_load(&server.stopping)) {
            break;
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct connection *connection = free_slot();
        connection->fd = fd;
        atomic_store(&connection->state, RUNNING);
        CHECK(pthread_create(&connection->thread, NULL, serve, connection) == 0);
    }
    return NULL;
}

void server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    fill_table();
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(server.listener >= 0);
    CHECK(bind(server.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(listen(server.listener, 256) == 0);
    CHECK(getsockname(server.listener, (struct sockaddr *)&address, &size) == 0);
    server.port = ntohs(address.sin_port);
    CHECK(pthread_create(&server.acceptor, NULL, accept_all, NULL) == 0);
}

void server_release(void)
{
    atomic_store(&server.released, true);
}

void server_drop(void)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (atomic_load(&server.connections[i].state) == RUNNING) {
            shutdown(server.connections[i].fd, SHUT_RDWR);
        }
    }
}

void server_stop(void)
{
    server_release();
    atomic_store(&server.stopping, true);
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.acceptor, NULL);
    close(server.listener);
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (atomic_load(&server.connections[i].state) != FREE) {
            shutdown(server.connections[i].fd, SHUT_RDWR);
            clean_up(&server.connections[i]);
        }
    }
}

struct server_counts server_counts(void)
{
    return (struct server_counts){
        .requests = atomic_load(&server.requests),
        .created = atomic_load(&server.created),
        .completed = atomic_load(&server.completed),
        .aborted = atomic_load(&server.aborted),
    };
}

struct s3ext_client_config server_config(void)
{
    static char host[64];
    const char *lane = getenv("S3EXT_LANE");
    snprintf(host, sizeof(host), "127.0.0.1:%d", server.port);
    return (struct s3ext_client_config){
        .scheme = "http",
        .host = host,
        .base_path = "",
        .bucket = "bucket",
        .region = "us-east-1",
        .user_agent = "tests",
        .verify_tls = 1,
        .system_certificates = 1,
        .proxy_url = "",
        .connect_timeout_ms = 10000,
        .first_byte_timeout_ms = 30000,
        .stall_timeout_ms = 30000,
        .pool_idle_timeout_ms = 60000,
        .pool_max_idle = -1,
        .http_version = 1,
        .lane = lane != NULL ? lane : "auto",
        .part_size = 1024 * 1024,
        .window = 4,
        .concurrency = 32,
        .max_backoff_ms = 10,
        .init_backoff_ms = 1,
        .backoff_base = 2,
        .init_backoff_set = 1,
        .retry_timeout_ms = 60000,
    };
}
