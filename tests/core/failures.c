/*
 * System calls that fail: descriptors, memory of the kernel and threads run out, for a moment or for good. What
 * is begun then fails with a clean error or waits; what comes after works.
 *
 * Linked with --wrap for the calls below, so that ours, and only ours, come here first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/error.h"
#include "support.h"

/* ---- the shim ---- */

/* How many of the next calls fail, and with what. */
struct shim {
    atomic_int fails;
    int code;
};

static struct shim on_epoll_create, on_eventfd, on_epoll_ctl, on_thread, on_socket;

static bool fails(struct shim *shim)
{
    return atomic_load(&shim->fails) > 0 && atomic_fetch_sub(&shim->fails, 1) > 0;
}

static void arm(struct shim *shim, int count, int code)
{
    shim->code = code;
    atomic_store(&shim->fails, count);
}

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __real_epoll_ctl(int poll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int poll, int what, int fd, struct epoll_event *event);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);

int __wrap_epoll_create1(int flags)
{
    if (fails(&on_epoll_create)) {
        errno = on_epoll_create.code;
        return -1;
    }
    return __real_epoll_create1(flags);
}

int __wrap_eventfd(unsigned value, int flags)
{
    if (fails(&on_eventfd)) {
        errno = on_eventfd.code;
        return -1;
    }
    return __real_eventfd(value, flags);
}

int __wrap_epoll_ctl(int poll, int what, int fd, struct epoll_event *event)
{
    if (what != EPOLL_CTL_DEL && fails(&on_epoll_ctl)) {
        errno = on_epoll_ctl.code;
        return -1;
    }
    return __real_epoll_ctl(poll, what, fd, event);
}

int __wrap_socket(int domain, int type, int protocol)
{
    if (fails(&on_socket)) {
        errno = on_socket.code;
        return -1;
    }
    return __real_socket(domain, type, protocol);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument)
{
    return fails(&on_thread) ? on_thread.code
                             : __real_pthread_create(thread, attributes, body, argument);
}

/* ---- operations ---- */

static s3ext_client *client;

static s3ext_client *client_with(uint32_t retries)
{
    struct s3ext_client_config config = server_config();
    config.max_retries = retries;
    return open_client(config);
}

/* Reads an object in the calling thread, or on the I/O thread; the outcome with its words. */
static int read_object(s3ext_client *of, bool submitted, char words[256])
{
    s3ext_op *op = s3ext_op_get(of, "size-3000000", 12, NULL, 0, NULL, 0, 0, UINT64_MAX);
    const uint64_t token = 1;
    int code = submitted ? s3ext_submit(NULL, &op, &token, 1) : S3EXT_OK;
    words[0] = '\0';
    if (code == S3EXT_OK) {
        struct s3ext_error_view error;
        code = submitted ? wait_for(op) : run(op);
        s3ext_op_error(op, &error);
        snprintf(words, 256, "%s", error.message);
    }
    if (code == S3EXT_OK) {
        const struct s3ext_slice *slice = &s3ext_op_result(op)->slices[0];
        CHECK(server_matches(slice->data, 0, slice->size));
    }
    s3ext_op_free(op);
    return code;
}

static void works(void)
{
    char words[256];
    CHECK_EQUAL(read_object(client, false, words), S3EXT_OK);
    CHECK_EQUAL(read_object(client, true, words), S3EXT_OK);
}

/* ---- tests; the first needs an engine that has not begun ---- */

static void a_thread_that_cannot_start_is_said_and_tried_again(void)
{
    char words[256];
    arm(&on_thread, 1, EAGAIN);
    CHECK_EQUAL(read_object(client, true, words), S3EXT_SYSTEM);
    CHECK_EQUAL(atomic_load(&on_thread.fails), 0);
    arm(&on_epoll_create, 1, EMFILE); /* of the I/O thread's reactor */
    CHECK_EQUAL(read_object(client, true, words), S3EXT_SYSTEM);
    CHECK_EQUAL(read_object(client, true, words), S3EXT_OK);
}

static void a_reactor_without_descriptors_is_said(struct shim *shim, int code)
{
    char words[256];
    arm(shim, 1, code);
    CHECK_EQUAL(read_object(client, false, words), S3EXT_SYSTEM);
    CHECK(strstr(words, strerror(code)) != NULL);
    CHECK_EQUAL(atomic_load(&shim->fails), 0);
}

static void a_queue_without_descriptors_is_none(void)
{
    arm(&on_eventfd, 1, EMFILE);
    CHECK(s3ext_queue_new() == NULL);
    s3ext_queue *queue = s3ext_queue_new();
    CHECK(queue != NULL);
    s3ext_queue_close(queue);
}

/* The connections are gone, so that each read has to open one. */
static void a_full_poll_is_waited_for(bool submitted)
{
    char words[256];
    int met = 0;
    for (int count = 1; count < 8; count++) {
        server_drop();
        arm(&on_epoll_ctl, count, ENOSPC);
        CHECK_EQUAL(read_object(client, submitted, words), S3EXT_OK);
        met += atomic_load(&on_epoll_ctl.fails) <= 0;
        arm(&on_epoll_ctl, 0, 0);
        works();
    }
    CHECK(met > 0);
}

/* libcurl's own timers may carry a short transfer through; a longer one is the watchdog's. */
static void a_poll_that_stays_full_ends_in_time(void)
{
    char words[256];
    struct s3ext_client_config config = server_config();
    config.connect_timeout_ms = 300;
    config.first_byte_timeout_ms = 300;
    s3ext_client *hasty = open_client(config);
    works();
    server_drop();
    arm(&on_epoll_ctl, 1000000, ENOMEM);
    int64_t began = s3i_now_ms();
    int code = read_object(hasty, true, words);
    arm(&on_epoll_ctl, 0, 0);
    CHECK(code == S3EXT_TIMEOUT || code == S3EXT_OK);
    CHECK(s3i_now_ms() - began < 5000);
    works();
    s3ext_client_free(hasty);
}

static void sockets_that_cannot_be_had_are_said_or_waited_for(void)
{
    char words[256];
    s3ext_client *impatient = client_with(0);
    server_drop();
    arm(&on_socket, 1000000, EMFILE);
    CHECK_EQUAL(read_object(impatient, false, words), S3EXT_CONNECT);
    CHECK(strstr(words, strerror(EMFILE)) != NULL);
    s3ext_client_free(impatient);
    s3ext_client *patient = client_with(5);
    server_drop();
    arm(&on_socket, 3, EMFILE);
    CHECK_EQUAL(read_object(patient, false, words), S3EXT_OK);
    s3ext_client_free(patient);
    works();
}

/* Allows no descriptor more than there are. The I/O thread may be closing some yet: then once more. */
static void take_descriptors(struct rlimit before)
{
    s3ext_queue *queue;
    do {
        struct rlimit low = before;
        int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(lowest >= 0);
        close(lowest);
        low.rlim_cur = (rlim_t)lowest;
        CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
        queue = s3ext_queue_new();
        if (queue != NULL) {
            s3ext_queue_close(queue);
            CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
        }
    } while (queue != NULL);
}

/* No shim: the limit of the process itself. */
static void a_process_without_descriptors_recovers(void)
{
    struct rlimit before;
    char words[256];
    s3ext_client *impatient = client_with(0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    server_drop();
    take_descriptors(before);
    int here = read_object(impatient, false, words);
    int there = read_object(impatient, true, words);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(here == S3EXT_OK || here == S3EXT_SYSTEM || here == S3EXT_CONNECT);
    CHECK(there == S3EXT_OK || there == S3EXT_CONNECT);
    s3ext_client_free(impatient);
    works();
}

int main(void)
{
    start_engine();
    client = client_with(0);
    a_thread_that_cannot_start_is_said_and_tried_again();
    a_reactor_without_descriptors_is_said(&on_epoll_create, EMFILE);
    a_reactor_without_descriptors_is_said(&on_eventfd, ENFILE);
    a_reactor_without_descriptors_is_said(&on_epoll_ctl, ENOSPC);
    a_queue_without_descriptors_is_none();
    works();
    a_full_poll_is_waited_for(false);
    a_full_poll_is_waited_for(true);
    a_poll_that_stays_full_ends_in_time();
    sockets_that_cannot_be_had_are_said_or_waited_for();
    a_process_without_descriptors_recovers();
    end_engine(client);
    return 0;
}
