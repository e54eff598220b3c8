/*
 * The floor of the benchmarks: what the same work costs in C, with raw sockets and HTTP by hand.
 *
 *     floor PORT WORK COUNT
 *
 * Work is one of those in `works` below. Requests are not signed, but are as long as signed ones.
 * Answers are received where they are to stay: small ones in the connection's buffer, head and
 * all; large parts straight in their place of one big memory, which is mapped beforehand. Parts of
 * an upload are sent from there. The pages of a list are received and not looked at.
 * With one request at a time the socket blocks; otherwise an epoll drives one connection for each
 * request in flight.
 *
 * Prints one JSON object: requests, bytes, cpu_s (user and system time of this process), wall_s.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h> /* TCP_NODELAY */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BUFFER_SIZE ((size_t)128 * 1024)
#define HEAD_FIRST 2048 /* Asked for first when the body belongs elsewhere. */
#define OBJECT_SIZE (UINT64_C(1) << 30)
#define IN_FLIGHT_MAX 64

struct work {
    const char *name;
    const char *method;
    const char *key;
    uint64_t part; /* Bytes of a range; 0: the whole object, without a Range header. */
    unsigned in_flight;
    bool in_order; /* The ranges follow each other in the memory; else they are random. */
    unsigned keys; /* Of each page of a list. */
};

static const struct work works[] = {
    {"a", "GET", "object-1GiB", 8 << 20, 8, true, 0},
    {"b", "GET", "object-1GiB", 64 << 10, 32, false, 0},
    {"c", "GET", "object-16KiB", 0, 32, false, 0},
    {"d", "GET", "object-1GiB", 4 << 10, 1, false, 0},
    {"e", "HEAD", "object-16KiB", 0, 32, false, 0},
    {"e1", "HEAD", "object-16KiB", 0, 1, false, 0},
    {"f", "PUT", "upload", 8 << 20, 1, true, 0},
    {"g", "GET", "?list-type=2&encoding-type=url&prefix=keys-99999999%2F", 0, 1, false, 1000},
};

struct connection {
    int fd;
    bool has_head;
    size_t filled; /* Of the buffer, as long as the head is not complete. */
    char *place;   /* Where the next byte of the body goes. */
    uint64_t body_left;
    uint64_t start; /* Of the range that was asked for. */
    char *buffer;
};

struct run {
    const struct work *work;
    char *memory;    /* For parts in order: the whole object. */
    uint64_t to_ask; /* Requests not yet sent. */
    uint64_t to_end; /* Requests not yet answered whole. */
    uint64_t asked;
    uint64_t bytes;
    uint64_t random;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t next_start(struct run *run)
{
    const uint64_t part = run->work->part;
    if (part == 0) {
        return 0;
    }
    if (run->work->in_order) {
        return run->asked * part % OBJECT_SIZE;
    }
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random % (OBJECT_SIZE - part);
}

static bool is_upload(const struct run *run)
{
    return strcmp(run->work->method, "PUT") == 0;
}

static void send_all(const struct connection *c, const char *data, size_t size)
{
    while (size > 0) {
        const ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            fail("send");
        }
        data += sent;
        size -= (size_t)sent;
    }
}

static void ask(struct run *run, struct connection *c)
{
    char text[1024];
    char more[80] = "";
    char query[80] = "";
    c->start = next_start(run);
    if (is_upload(run)) {
        snprintf(more, sizeof more, "content-length: %ju\r\n", (uintmax_t)run->work->part);
        snprintf(query, sizeof query, "?partNumber=%ju&uploadId=1", (uintmax_t)run->asked + 1);
    } else if (run->work->part > 0) {
        snprintf(more, sizeof more, "range: bytes=%ju-%ju\r\n", (uintmax_t)c->start,
                 (uintmax_t)(c->start + run->work->part - 1));
    }
    if (run->work->keys > 0) {
        snprintf(query, sizeof query, "&continuation-token=%ju",
                 (uintmax_t)(run->asked * run->work->keys));
    }
    const int size = snprintf(
        text, sizeof text,
        "%s /bucket/%s%s HTTP/1.1\r\nhost: 127.0.0.1:65535\r\n%suser-agent: floor/1.0\r\n"
        "authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/s3/"
        "aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="
        "fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024\r\n"
        "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n"
        "x-amz-date: 20260101T000000Z\r\n\r\n",
        run->work->method, run->work->key, query, more);
    send_all(c, text, (size_t)size);
    if (is_upload(run)) {
        send_all(c, run->memory + c->start, run->work->part);
        run->bytes += run->work->part;
    }
    c->filled = 0;
    c->has_head = false;
    run->asked++;
    run->to_ask--;
}

/* Looks at a head in the buffer: status and length. Then sets where the rest of the body goes. */
static void take_head(struct run *run, struct connection *c, const char *head_end)
{
    static const char name[] = "Content-Length: ";
    const char *status = c->buffer + 9;
    const char *length = memmem(c->buffer, c->filled, name, sizeof name - 1);
    const bool is_range = run->work->part > 0 && !is_upload(run);
    if (memcmp(status, is_range ? "206" : "200", 3) != 0 || length == NULL) {
        fprintf(stderr, "unexpected answer: %.*s\n", (int)(head_end - c->buffer), c->buffer);
        exit(1);
    }
    const size_t head_size = (size_t)(head_end + 4 - c->buffer);
    const size_t got = c->filled - head_size;
    c->body_left = strtoull(length + sizeof name - 1, NULL, 10);
    if (strcmp(run->work->method, "HEAD") == 0) {
        c->body_left = 0;
    }
    run->bytes += run->work->keys > 0 ? 0 : c->body_left; /* those of objects */
    c->body_left -= got;
    c->place = c->buffer;
    if (run->memory != NULL && !is_upload(run)) {
        char *place = run->memory + c->start;
        memcpy(place, c->buffer + head_size, got);
        c->place = place + got;
    }
    c->has_head = true;
}

/* Receives once. True when the answer is complete. */
static bool receive(struct run *run, struct connection *c)
{
    const bool to_memory = run->memory != NULL && !is_upload(run);
    char *place = c->has_head ? c->place : c->buffer + c->filled;
    size_t room = to_memory ? HEAD_FIRST : BUFFER_SIZE - 1;
    if (!c->has_head) {
        room -= c->filled;
    } else if (to_memory || c->body_left < room) {
        room = (size_t)c->body_left;
    }
    const ssize_t got = recv(c->fd, place, room, 0);
    if (got <= 0) {
        fail("recv");
    }
    if (c->has_head) {
        c->place += to_memory ? got : 0; /* what goes to the buffer is not wanted */
        c->body_left -= (uint64_t)got;
        return c->body_left == 0;
    }
    c->filled += (size_t)got;
    const char *head_end = memmem(c->buffer, c->filled, "\r\n\r\n", 4);
    if (head_end == NULL) {
        return false;
    }
    take_head(run, c, head_end);
    return c->body_left == 0;
}

static void perform(struct run *run, struct connection *connections, int epoll, uint64_t count)
{
    run->to_ask = count;
    run->to_end = count;
    for (unsigned i = 0; i < run->work->in_flight && run->to_ask > 0; i++) {
        ask(run, &connections[i]);
    }
    while (run->to_end > 0) {
        struct epoll_event events[IN_FLIGHT_MAX];
        int ready = 1;
        events[0].data.ptr = &connections[0];
        if (run->work->in_flight > 1) {
            ready = epoll_wait(epoll, events, IN_FLIGHT_MAX, -1);
        }
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(run, c)) {
                continue;
            }
            run->to_end--;
            if (run->to_ask > 0) {
                ask(run, c);
            }
        }
    }
}

static void connect_to(struct connection *c, uint16_t port, int epoll)
{
    const int one = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->buffer = malloc(BUFFER_SIZE);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->buffer == NULL || c->fd < 0 ||
        connect(c->fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        fail("connect");
    }
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

static double wall_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static const struct work *find_work(const char *name)
{
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        if (strcmp(works[i].name, name) == 0) {
            return &works[i];
        }
    }
    fprintf(stderr, "no such work: %s\n", name);
    exit(1);
}

int main(int argc, char **argv)
{
    static struct connection connections[IN_FLIGHT_MAX];
    if (argc != 4) {
        fprintf(stderr, "usage: floor PORT WORK COUNT\n");
        return 2;
    }
    struct run run = {.work = find_work(argv[2]), .random = 88172645463325252};
    const uint64_t count = strtoull(argv[3], NULL, 10);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < run.work->in_flight; i++) {
        connect_to(&connections[i], (uint16_t)strtoul(argv[1], NULL, 10), epoll);
    }
    if (run.work->in_order) {
        run.memory = mmap(NULL, OBJECT_SIZE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (run.memory == MAP_FAILED) {
            fail("mmap");
        }
    }
    perform(&run, connections, epoll, count / 10 + run.work->in_flight);
    run.bytes = 0;
    const double cpu = cpu_seconds();
    const double wall = wall_seconds();
    perform(&run, connections, epoll, count);
    printf("{\"requests\": %ju, \"bytes\": %ju, \"cpu_s\": %.6f, \"wall_s\": %.6f}\n",
           (uintmax_t)count * (run.work->keys > 0 ? run.work->keys : 1), (uintmax_t)run.bytes,
           cpu_seconds() - cpu, wall_seconds() - wall);
    return 0;
}
