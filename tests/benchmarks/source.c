/*
 * A source of S3 objects for benchmarks: HTTP/1.1 on 127.0.0.1, with as little work per byte as
 * Linux allows, so that both ends can share a small machine and the client's cost is what is seen.
 *
 * It checks no signature and stores nothing. What exists is told by names:
 *   - a key that ends in "-<n>", "-<n>K", "-<n>M" or "-<n>G" (also "KiB" and so on; powers of
 *     1,024) is an object of that many bytes. Byte p is byte (q % 8) of the little-endian
 *     splitmix64(q / 8), where q = p % PERIOD; the period is a prime, so that no two parts of an
 *     object are equal because of where they begin;
 *   - a list with a prefix "<name>-<n>/" finds n keys: "<prefix>00000000-4096",
 *     "<prefix>00000001-4096" and so on, each with a time of its own.
 * Uploads, parts, completions and deletions are swallowed and answered as S3 would.
 *
 * One thread, one edge-triggered epoll. For each request a connection goes through three states:
 * reading the head; swallowing the body (body_left > 0); sending the answer (sending). Bodies of
 * objects go out by sendfile from a memfd, small ones by the system call that sends the head.
 *
 * It prints its port and a newline, and ends when standard input is closed or its parent dies.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h> /* TCP_NODELAY, TCP_CONGESTION */
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h> /* strncasecmp */
#include <sys/epoll.h>
#include <sys/mman.h> /* memfd_create */
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PERIOD 67108859 /* The largest prime below 64 Mi. */
#define HEAD_MAX 16384  /* Of a request. */
#define SMALL_BODY 16384
#define LIST_PAGE 1000
#define LIST_SIZE 4096 /* Of each object in a list. */
#define MODIFIED "Thu, 01 Jan 2026 00:00:00 GMT"

struct text {
    const char *data;
    size_t size;
};

struct connection {
    int fd;
    size_t filled;
    uint64_t body_left; /* Of the request: to be thrown away before the answer. */
    bool sending;
    bool close_after;
    char *
        answer; /* Head, and body when it is not an object's. Grows, is kept for the next answer. */
    size_t answer_size;
    size_t answer_capacity;
    size_t answer_sent;
    uint64_t object_at; /* The part of an object that follows the answer. */
    uint64_t object_left;
    char input[HEAD_MAX];
};

struct request {
    struct text method;
    struct text path;  /* As it came, without the query. */
    struct text query; /* Without the question mark. */
    struct text range;
    struct text if_match;
    uint64_t length;
    bool expects_continue;
    bool closes;
};

static int content_fd;
static const char *content;
static char date[64];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- content ---- */

static uint64_t splitmix64(uint64_t n)
{
    uint64_t z = (n + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void make_content(void)
{
    const size_t words = PERIOD / 8 + 1;
    content_fd = memfd_create("content", MFD_CLOEXEC);
    if (content_fd < 0 || ftruncate(content_fd, (off_t)(words * 8)) != 0) {
        fail("memfd");
    }
    uint64_t *memory = mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_SHARED, content_fd, 0);
    if (memory == MAP_FAILED) {
        fail("mmap");
    }
    for (size_t i = 0; i < words; i++) {
        memory[i] = htole64(splitmix64(i));
    }
    content = (const char *)memory;
}

/* ---- text ---- */

static bool equals(struct text text, const char *other)
{
    return text.size == strlen(other) && memcmp(text.data, other, text.size) == 0;
}

/* Reads a number and moves past it; false when there is none or it is absurdly long. */
static bool take_number(struct text *text, uint64_t *number)
{
    size_t digits = 0;
    *number = 0;
    while (digits < text->size && text->data[digits] >= '0' && text->data[digits] <= '9') {
        *number = *number * 10 + (uint64_t)(text->data[digits] - '0');
        digits++;
    }
    text->data += digits;
    text->size -= digits;
    return digits > 0 && digits < 19;
}

/* The value of a parameter of a query; its data is NULL when the parameter is not there. */
static struct text parameter(struct text query, const char *name)
{
    const char *at = query.data;
    const char *end = at + query.size;
    const size_t length = strlen(name);
    while (at < end) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        next = next == NULL ? end : next;
        const size_t size = (size_t)(next - at);
        if (size >= length && memcmp(at, name, length) == 0 &&
            (size == length || at[length] == '=')) {
            const size_t skip = size == length ? length : length + 1;
            return (struct text){at + skip, size - skip};
        }
        at = next + 1;
    }
    return (struct text){NULL, 0};
}

/* What follows the last dash of a name: a size with an optional unit. False when it is not. */
static bool named_size(struct text name, uint64_t *size)
{
    const char *dash = memrchr(name.data, '-', name.size);
    if (dash == NULL) {
        return false;
    }
    struct text rest = {dash + 1, (size_t)(name.data + name.size - dash - 1)};
    if (!take_number(&rest, size)) {
        return false;
    }
    static const char units[] = "KMGT";
    const char *unit = rest.size > 0 ? memchr(units, rest.data[0], sizeof units - 1) : NULL;
    if (unit != NULL) {
        *size <<= 10 * (unit - units + 1);
        rest.data++;
        rest.size--;
        return rest.size == 0 || equals(rest, "iB");
    }
    return rest.size == 0;
}

/* ---- answers ---- */

static void reserve(struct connection *c, size_t more)
{
    if (c->answer_capacity - c->answer_size >= more) {
        return;
    }
    c->answer_capacity = (c->answer_capacity + more) * 2;
    c->answer = realloc(c->answer, c->answer_capacity);
    if (c->answer == NULL) {
        fail("realloc");
    }
}

__attribute__((format(printf, 2, 3))) static void append(struct connection *c, const char *format,
                                                         ...)
{
    va_list arguments;
    reserve(c, 2048);
    va_start(arguments, format);
    c->answer_size += (size_t)vsnprintf(c->answer + c->answer_size, 2048, format, arguments);
    va_end(arguments);
}

/* The head of an answer with a body of `length` bytes; `more` is further header lines. */
static void append_head(struct connection *c, const char *status, uint64_t length, const char *more)
{
    append(c,
           "HTTP/1.1 %s\r\nx-amz-id-2: 3mVJ7fNQd8sLb0Xw5RkYtZ1pGc6HaUoEi2TyMxBvKjDrWnSqFlPz\r\n"
           "x-amz-request-id: 5E4A1C0D9B7F3286\r\nDate: %s\r\nServer: AmazonS3\r\nContent-Length: "
           "%ju\r\n%s\r\n",
           status, date, (uintmax_t)length, more);
}

static void answer_text(struct connection *c, const char *status, const char *type,
                        const char *body)
{
    char more[64];
    snprintf(more, sizeof more, "Content-Type: %s\r\n", type);
    append_head(c, status, strlen(body), more);
    append(c, "%s", body);
}

static void answer_error(struct connection *c, bool head, const char *status, const char *code)
{
    char body[256];
    snprintf(
        body, sizeof body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message>"
        "<RequestId>5E4A1C0D9B7F3286</RequestId></Error>",
        code, status);
    answer_text(c, status, "application/xml", head ? "" : body);
}

static void etag_of(uint64_t size, char etag[40])
{
    snprintf(etag, 40, "\"%016jx%016jx\"", (uintmax_t)splitmix64(size),
             (uintmax_t)splitmix64(~size));
}

/* First and last byte that a Range header asks for. 1: a range; 0: none; -1: cannot be met. */
static int wanted_range(struct text range, uint64_t size, uint64_t *first, uint64_t *last)
{
    uint64_t number = 0;
    *first = 0;
    *last = size - 1;
    if (range.size < 7 || memcmp(range.data, "bytes=", 6) != 0) {
        return 0;
    }
    struct text rest = {range.data + 6, range.size - 6};
    if (rest.data[0] == '-') {
        rest.data++;
        rest.size--;
        if (!take_number(&rest, &number) || rest.size > 0) {
            return 0;
        }
        *first = number < size ? size - number : 0;
        return number > 0 && size > 0 ? 1 : -1;
    }
    if (!take_number(&rest, first) || rest.size == 0 || rest.data[0] != '-') {
        return 0;
    }
    rest.data++;
    rest.size--;
    if (rest.size > 0) {
        if (!take_number(&rest, &number) || rest.size > 0 || number < *first) {
            return 0;
        }
        *last = number < size ? number : size - 1;
    }
    return *first < size ? 1 : -1;
}

static void answer_object(struct connection *c, const struct request *request, bool head)
{
    uint64_t size = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    char etag[40];
    char more[512];
    if (!named_size(request->path, &size)) {
        answer_error(c, head, "404 Not Found", "NoSuchKey");
        return;
    }
    etag_of(size, etag);
    if (request->if_match.data != NULL && !equals(request->if_match, etag)) {
        answer_error(c, head, "412 Precondition Failed", "PreconditionFailed");
        return;
    }
    const int ranged = wanted_range(request->range, size, &first, &last);
    if (ranged < 0) {
        answer_error(c, head, "416 Range Not Satisfiable", "InvalidRange");
        return;
    }
    const uint64_t length = ranged > 0 ? last - first + 1 : size;
    int used = snprintf(more, sizeof more,
                        "Last-Modified: " MODIFIED "\r\nETag: %s\r\nAccept-Ranges: bytes\r\n"
                        "Content-Type: application/octet-stream\r\n",
                        etag);
    if (ranged > 0) {
        snprintf(more + used, sizeof more - (size_t)used, "Content-Range: bytes %ju-%ju/%ju\r\n",
                 (uintmax_t)first, (uintmax_t)last, (uintmax_t)size);
    }
    append_head(c, ranged > 0 ? "206 Partial Content" : "200 OK", length, more);
    c->object_at = ranged > 0 ? first : 0;
    c->object_left = head ? 0 : length;
}

/* The number of the key after `start`, which is a key of a list, percent-encoded. */
static uint64_t index_after(struct text start)
{
    uint64_t number = 0;
    const char *dash = start.data == NULL ? NULL : memrchr(start.data, '-', start.size);
    if (dash == NULL || dash - start.data < 8) {
        return 0;
    }
    struct text digits = {dash - 8, 8};
    return take_number(&digits, &number) ? number + 1 : 0;
}

/* Copies a query value without its percent-encoding. */
static size_t decoded(struct text value, char *to, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < value.size && used + 1 < capacity; i++, used++) {
        to[used] = value.data[i];
        if (value.data[i] == '%' && i + 2 < value.size) {
            const char digits[3] = {value.data[i + 1], value.data[i + 2], '\0'};
            to[used] = (char)strtoul(digits, NULL, 16);
            i += 2;
        }
    }
    to[used] = '\0';
    return used;
}

/* The times of a list differ from key to key, as in a real one, so that no client is spared work. */
static void listed_time(uint64_t index, char text[32])
{
    const uint64_t mixed = splitmix64(index);
    struct tm parts;
    const time_t moment = (time_t)(1420070400 + mixed % 315360000); /* ten years from 2015 on */
    gmtime_r(&moment, &parts);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
}

static void answer_list(struct connection *c, const struct request *request)
{
    char prefix[1200];
    char etag[40];
    uint64_t total = 0;
    uint64_t page = LIST_PAGE;
    uint64_t index = 0;
    const size_t used = decoded(parameter(request->query, "prefix"), prefix, sizeof prefix);
    const bool known =
        used > 1 && prefix[used - 1] == '/' && named_size((struct text){prefix, used - 1}, &total);
    struct text token = parameter(request->query, "continuation-token");
    struct text most = parameter(request->query, "max-keys");
    if (token.data == NULL || !take_number(&token, &index)) {
        index = index_after(parameter(request->query, "start-after"));
    }
    if (most.data == NULL || !take_number(&most, &page) || page > LIST_PAGE) {
        page = LIST_PAGE;
    }
    total = known ? total : 0;
    index = index < total ? index : total;
    const uint64_t end = total - index < page ? total : index + page;
    const bool truncated = end < total;
    etag_of(LIST_SIZE, etag);
    const size_t start = c->answer_size;
    append(
        c,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
        "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name><Prefix>%s</Prefix>"
        "<KeyCount>%ju</KeyCount><MaxKeys>%ju</MaxKeys><IsTruncated>%s</IsTruncated>",
        prefix, (uintmax_t)(end - index), (uintmax_t)page, truncated ? "true" : "false");
    if (parameter(request->query, "encoding-type").data != NULL) {
        append(c, "<EncodingType>url</EncodingType>");
    }
    for (uint64_t i = index; i < end; i++) {
        char modified[32];
        listed_time(i, modified);
        append(c,
               "<Contents><Key>%s%08ju-%d</Key><LastModified>%s</LastModified>"
               "<ETag>&quot;%.32s&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass>"
               "</Contents>",
               prefix, (uintmax_t)i, LIST_SIZE, modified, etag + 1, LIST_SIZE);
    }
    if (truncated) {
        append(c, "<NextContinuationToken>%ju</NextContinuationToken>", (uintmax_t)end);
    }
    append(c, "</ListBucketResult>");

    /* The head goes before the body, whose length is known only now. */
    const size_t body = c->answer_size - start;
    append_head(c, "200 OK", body, "Content-Type: application/xml\r\n");
    const size_t head = c->answer_size - start - body;
    reserve(c, head);
    memmove(c->answer + start + head, c->answer + start, body + head);
    memcpy(c->answer + start, c->answer + start + head + body, head);
}

static void answer_put(struct connection *c)
{
    char etag[40];
    char more[64];
    etag_of(0, etag);
    snprintf(more, sizeof more, "ETag: %s\r\n", etag);
    append_head(c, "200 OK", 0, more);
}

static void answer_post(struct connection *c, const struct request *request)
{
    const char *body = NULL;
    if (parameter(request->query, "uploads").data != NULL) {
        body = "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>key</Key>"
               "<UploadId>VXBsb2FkSWQ</UploadId></InitiateMultipartUploadResult>";
    } else if (parameter(request->query, "uploadId").data != NULL) {
        body =
            "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>key</Key>"
            "<ETag>\"9b2cf535f27731c974343645a3985328-2\"</ETag></CompleteMultipartUploadResult>";
    } else if (parameter(request->query, "delete").data != NULL) {
        body = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></DeleteResult>";
    }
    if (body == NULL) {
        answer_error(c, false, "400 Bad Request", "InvalidRequest");
    } else {
        answer_text(c, "200 OK", "application/xml", body);
    }
}

static void answer(struct connection *c, const struct request *request)
{
    c->answer_size = 0;
    c->answer_sent = 0;
    c->object_left = 0;
    if (equals(request->method, "GET")) {
        if (parameter(request->query, "list-type").data != NULL) {
            answer_list(c, request);
        } else {
            answer_object(c, request, false);
        }
    } else if (equals(request->method, "HEAD")) {
        answer_object(c, request, true);
    } else if (equals(request->method, "PUT")) {
        answer_put(c);
    } else if (equals(request->method, "POST")) {
        answer_post(c, request);
    } else if (equals(request->method, "DELETE")) {
        append(c, "HTTP/1.1 204 No Content\r\nDate: %s\r\nServer: AmazonS3\r\n\r\n", date);
    } else {
        answer_error(c, false, "405 Method Not Allowed", "MethodNotAllowed");
    }
    c->sending = true;
}

/* ---- requests ---- */

/* The value when a line is the header of that name, which is given with its colon. */
static bool header_is(struct text line, const char *name, struct text *value)
{
    const size_t length = strlen(name);
    if (line.size < length || strncasecmp(line.data, name, length) != 0) {
        return false;
    }
    const char *at = line.data + length;
    const char *end = line.data + line.size;
    while (at < end && *at == ' ') {
        at++;
    }
    *value = (struct text){at, (size_t)(end - at)};
    return true;
}

static void parse_header(struct request *request, struct text line)
{
    struct text value;
    if (header_is(line, "range:", &value)) {
        request->range = value;
    } else if (header_is(line, "if-match:", &value)) {
        request->if_match = value;
    } else if (header_is(line, "content-length:", &value)) {
        take_number(&value, &request->length);
    } else if (header_is(line, "expect:", &value)) {
        request->expects_continue = true;
    } else if (header_is(line, "connection:", &value)) {
        request->closes = value.size == 5 && strncasecmp(value.data, "close", 5) == 0;
    }
}

/* Cuts a request's head into its parts. False when it does not look like one. */
static bool parse(struct text head, struct request *request)
{
    const char *end = head.data + head.size;
    const char *line_end = memchr(head.data, '\r', head.size);
    const char *space = memchr(head.data, ' ', (size_t)(line_end - head.data));
    if (space == NULL || space[1] != '/') {
        return false;
    }
    request->method = (struct text){head.data, (size_t)(space - head.data)};
    const char *path = space + 1;
    const char *path_end = memchr(path, ' ', (size_t)(line_end - path));
    if (path_end == NULL) {
        return false;
    }
    const char *mark = memchr(path, '?', (size_t)(path_end - path));
    request->path = (struct text){path, (size_t)((mark == NULL ? path_end : mark) - path)};
    if (mark != NULL) {
        request->query = (struct text){mark + 1, (size_t)(path_end - mark - 1)};
    }
    for (const char *line = line_end + 2; line < end - 2; line = line_end + 2) {
        line_end = memchr(line, '\r', (size_t)(end - line));
        parse_header(request, (struct text){line, (size_t)(line_end - line)});
    }
    return true;
}

/* ---- connections ---- */

enum step {
    STEP_ON,    /* Something was done: go on. */
    STEP_WAIT,  /* The socket has to become ready first. */
    STEP_CLOSE, /* The end, or an error. */
};

static enum step step_of_error(void)
{
    return errno == EAGAIN ? STEP_WAIT : errno == EINTR ? STEP_ON : STEP_CLOSE;
}

static enum step send_answer(struct connection *c)
{
    const uint64_t place = c->object_at % PERIOD;
    const bool joined = c->object_left <= SMALL_BODY && place + c->object_left <= PERIOD;
    struct iovec parts[2] = {
        {c->answer + c->answer_sent, c->answer_size - c->answer_sent},
        {(void *)(uintptr_t)(content + place), joined ? c->object_left : 0},
    };
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    const int more = c->object_left > 0 && !joined ? MSG_MORE : 0;
    const ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | more);
    if (sent < 0) {
        return step_of_error();
    }
    const size_t of_answer = (size_t)sent < parts[0].iov_len ? (size_t)sent : parts[0].iov_len;
    c->answer_sent += of_answer;
    c->object_at += (uint64_t)sent - of_answer;
    c->object_left -= (uint64_t)sent - of_answer;
    return STEP_ON;
}

static enum step send_object(struct connection *c)
{
    off_t place = (off_t)(c->object_at % PERIOD);
    const uint64_t run = PERIOD - (uint64_t)place;
    const ssize_t sent =
        sendfile(c->fd, content_fd, &place, (size_t)(c->object_left < run ? c->object_left : run));
    if (sent < 0) {
        return step_of_error();
    }
    c->object_at += (uint64_t)sent;
    c->object_left -= (uint64_t)sent;
    return STEP_ON;
}

static enum step swallow(struct connection *c)
{
    /* MSG_TRUNC throws bytes of a TCP stream away without copying them. */
    const size_t most = c->body_left < (1 << 30) ? (size_t)c->body_left : 1 << 30;
    const ssize_t got = recv(c->fd, NULL, most, MSG_TRUNC);
    if (got <= 0) {
        return got == 0 ? STEP_CLOSE : step_of_error();
    }
    c->body_left -= (uint64_t)got;
    return STEP_ON;
}

/* Takes a request out of the input if one is there whole, and prepares its answer. */
static enum step take_request(struct connection *c)
{
    const char *end = memmem(c->input, c->filled, "\r\n\r\n", 4);
    if (end == NULL) {
        return c->filled == sizeof c->input ? STEP_CLOSE : STEP_WAIT;
    }
    const size_t size = (size_t)(end - c->input) + 4;
    struct request request = {0};
    if (!parse((struct text){c->input, size}, &request)) {
        return STEP_CLOSE;
    }
    c->close_after = request.closes;
    answer(c, &request);
    const size_t rest = c->filled - size;
    const size_t body = request.length < rest ? (size_t)request.length : rest;
    c->body_left = request.length - body;
    if (request.expects_continue && c->body_left > 0) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL) != sizeof go_on - 1) {
            return STEP_CLOSE;
        }
    }
    memmove(c->input, c->input + size + body, rest - body);
    c->filled = rest - body;
    return STEP_ON;
}

static enum step read_request(struct connection *c)
{
    const enum step step = c->filled > 0 ? take_request(c) : STEP_WAIT;
    if (step != STEP_WAIT) {
        return step;
    }
    const ssize_t got = recv(c->fd, c->input + c->filled, sizeof c->input - c->filled, 0);
    if (got <= 0) {
        return got == 0 ? STEP_CLOSE : step_of_error();
    }
    c->filled += (size_t)got;
    return STEP_ON;
}

static enum step advance(struct connection *c)
{
    if (c->body_left > 0) {
        return swallow(c);
    }
    if (!c->sending) {
        return read_request(c);
    }
    if (c->answer_sent < c->answer_size) {
        return send_answer(c);
    }
    if (c->object_left > 0) {
        return send_object(c);
    }
    c->sending = false;
    return c->close_after ? STEP_CLOSE : STEP_ON;
}

static void serve(struct connection *c)
{
    enum step step = STEP_ON;
    while (step == STEP_ON) {
        step = advance(c);
    }
    if (step == STEP_CLOSE) {
        close(c->fd);
        free(c->answer);
        free(c);
    }
}

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        const int one = 1;
        struct connection *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.ptr = c};
        if (c == NULL || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
            fail("accept");
        }
        c->fd = fd;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            fail("epoll_ctl");
        }
    }
}

static int listen_on_loopback(void)
{
    const int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1024) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fail("listen");
    }
    /* Where bbr is the system's choice, its pacing makes a loopback slow and its figures noisy. */
    (void)setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, "cubic", strlen("cubic"));
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void set_date(void)
{
    struct tm parts;
    const time_t now = time(NULL);
    gmtime_r(&now, &parts);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}

int main(void)
{
    static char listening;
    static char standard_input;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN); /* a client may leave at any time, and sendfile has no MSG_NOSIGNAL */
    make_content();
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const int listener = listen_on_loopback();
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &listening};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &wanted) != 0) {
        fail("epoll");
    }
    wanted.data.ptr = &standard_input;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &wanted) != 0) {
        fail("standard input is not a pipe");
    }
    for (;;) {
        struct epoll_event events[64];
        const int count = epoll_wait(epoll, events, 64, -1);
        set_date();
        for (int i = 0; i < count; i++) {
            char ignored[64];
            if (events[i].data.ptr == &listening) {
                accept_all(epoll, listener);
            } else if (events[i].data.ptr != &standard_input) {
                serve(events[i].data.ptr);
            } else if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0) {
                return 0;
            }
        }
    }
}
