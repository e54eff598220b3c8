/*
 * lane_curl: transfers by libcurl's own HTTP, driven through curl_multi_socket_action and the
 * reactor's poll.
 *
 * One multi handle for each lane, with its own connection cache; easy handles are kept and reused,
 * because making one costs more than a small request. A handle remembers which configuration
 * (s3_connect.serial) it was set up for; only URL, method, headers and body are set for each
 * transfer.
 *
 *   start: handle from the LIFO -> curl_multi_add_handle -> timer callback sets deadline to now
 *   on_deadline / on_ready: curl_multi_socket_action -> callbacks -> curl_multi_info_read -> on_end
 *
 * libcurl's timer callback is one-shot: the absolute deadline is cleared before the TIMEOUT action,
 * else the loop would spin. libcurl's own time-outs are off but for the connect phase; the watchdog
 * of the reactor judges by `progress`.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/time.h"
#include "bytes/curl_easy.h"
#include "bytes/lane.h"
#include "bytes/socket.h"

enum {
    HANDLES_KEPT = 256,
    CONNECTIONS_LEAST = 64,
    STREAMS = 8, /* requests on one HTTP/2 connection: few are faster than many */
    REWATCH_MS = 10,
    LONG_TIMER_MS = 100,
    TIMER_SLACK_MS = 5,
    ADDRESSES_MAX = 16 /* of one host, tried at once when each refuses */
};

struct handle {
    struct s3_list node; /* in the lane's `free` or `busy` */
    struct s3_lane *lane;
    struct s3_easy easy;
    struct s3_transfer *transfer; /* NULL while free */
};

/* What is known of a descriptor of ours, by its number. */
struct socket {
    ino_t inode;  /* says whether the number still stands for the socket: see abandon */
    bool open;    /* opened by on_open_socket, and not closed by on_close_socket yet */
    bool watched; /* in the poll */
    bool idle; /* libcurl has no interest; still in the poll, to spare two system calls a request */
    bool used; /* something was waited for on it: it is connected */
    bool framed;  /* may speak HTTP/2: what comes while it is idle is libcurl's to read */
    bool pending; /* could not be put into the poll: tried again at rewatch_ms */
    unsigned events;
};

struct s3_lane {
    CURLM *multi;
    struct s3_poll *poll;
    int64_t deadline_ms;
    int64_t rewatch_ms; /* INT64_MAX: nothing is pending */
    struct s3_list free_handles, busy_handles;
    size_t free_count;
    long connections_limit;
    bool deadline_is_long;  /* it ends an attempt to connect, or the like */
    bool look_at_all;       /* an attempt to connect has ended: see try_next_addresses */
    struct socket *sockets; /* by descriptor */
    size_t socket_capacity;
};

/* ---- callbacks of the easy handle ---- */

static size_t on_header(char *data, size_t one, size_t size, void *user)
{
    struct handle *handle = user;
    struct s3_transfer *transfer = handle->transfer;
    if (transfer->connect->http_version == 2 &&
        s3i_str_starts(s3i_str(data, one * size), S3I_STR("HTTP/1"))) {
        handle->easy.wrong_version = true;
        return 0;
    }
    return transfer->events->on_header(transfer, s3i_str(data, one * size)) ? size : 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
    struct handle *handle = user;
    struct s3_transfer *transfer = handle->transfer;
    return transfer->events->on_body(transfer, s3i_str(data, one * size)) ? size : 0;
}

static bool make_place(struct s3_lane *lane, int fd)
{
    size_t needed = (size_t)fd + 1;
    if (needed <= lane->socket_capacity) {
        return true;
    }
    size_t capacity = needed < 64 ? 64 : needed * 2;
    struct socket *grown = s3i_realloc_array(lane->sockets, capacity, sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    memset(grown + lane->socket_capacity, 0, (capacity - lane->socket_capacity) * sizeof(*grown));
    lane->sockets = grown;
    lane->socket_capacity = capacity;
    return true;
}

/* The record of a connection; NULL for descriptors that libcurl made itself (its resolver's). */
static struct socket *socket_of(struct s3_lane *lane, int fd)
{
    bool ours = fd >= 0 && (size_t)fd < lane->socket_capacity && lane->sockets[fd].open;
    return ours ? &lane->sockets[fd] : NULL;
}

static curl_socket_t on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct handle *handle = user;
    struct s3_lane *lane = handle->lane;
    int fd = s3i_socket_open(address->family, address->socktype, address->protocol,
                             handle->transfer->connect);
    if (fd < 0) {
        handle->easy.no_socket = errno;
        return CURL_SOCKET_BAD;
    }
    if (!make_place(lane, fd)) {
        handle->easy.no_socket = ENOMEM;
        close(fd);
        return CURL_SOCKET_BAD;
    }
    bool framed = handle->transfer->connect->http_version != 1;
    lane->sockets[fd] =
        (struct socket){.inode = s3i_socket_inode(fd), .open = true, .framed = framed};
    return fd;
}

static int on_close_socket(void *user, curl_socket_t fd)
{
    struct s3_lane *lane = user;
    struct socket *socket = socket_of(lane, fd);
    if (socket != NULL) {
        lane->look_at_all = lane->look_at_all || !socket->used;
        *socket = (struct socket){.open = false};
    }
    return close(fd); /* which takes it out of the poll */
}

/* ---- callbacks of the multi handle ---- */

/*
 * A connection that only waits to be read stays in the poll while it is idle. One that was never
 * connected may have been closed by libcurl 7.88 without a word to on_close_socket: then its number may
 * be another thread's by now, and closing has taken it out of the poll.
 */
static void lose_interest(struct s3_lane *lane, int fd, bool is_resolvers)
{
    struct socket *socket = socket_of(lane, fd);
    if (socket == NULL) {
        if (is_resolvers) {
            s3i_poll_forget(lane->poll, fd);
        }
    } else if (!socket->used && socket->inode != s3i_socket_inode(fd)) {
        *socket = (struct socket){.open = false};
    } else if (socket->events == S3I_POLL_IN && !socket->framed) {
        socket->idle = true;
    } else {
        s3i_poll_forget(lane->poll, fd);
        socket->watched = false;
    }
}

static void watched_now(struct s3_lane *lane, int fd, unsigned events)
{
    struct socket *socket = socket_of(lane, fd);
    if (socket != NULL) {
        socket->watched = true;
        socket->idle = false;
        socket->used = socket->used || (events & S3I_POLL_IN) != 0;
        socket->events = events;
    } else {
        curl_multi_assign(lane->multi, fd, lane);
    }
}

/*
 * The kernel has no room in the poll. To say so to libcurl would end the whole multi handle, for
 * good: so it is tried again in a moment, and a transfer that waits too long is the watchdog's.
 */
static int watch_later(struct s3_lane *lane, int fd, unsigned events)
{
    if (!make_place(lane, fd)) {
        return -1;
    }
    lane->sockets[fd].pending = true;
    lane->sockets[fd].events = events;
    lane->rewatch_ms = s3i_now_ms() + REWATCH_MS;
    return 0;
}

static void watch_pending(struct s3_lane *lane)
{
    lane->rewatch_ms = INT64_MAX;
    for (size_t fd = 0; fd < lane->socket_capacity; fd++) {
        struct socket *socket = &lane->sockets[fd];
        if (!socket->pending) {
            continue;
        }
        if (s3i_poll_watch(lane->poll, S3I_LANE_CURL, (int)fd, socket->events,
                           socket->open && socket->watched)) {
            socket->pending = false;
            watched_now(lane, (int)fd, socket->events);
        } else {
            lane->rewatch_ms = s3i_now_ms() + REWATCH_MS;
        }
    }
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known)
{
    (void)easy;
    struct s3_lane *lane = user;
    bool was_pending = (size_t)fd < lane->socket_capacity && lane->sockets[fd].pending;
    if (was_pending) {
        lane->sockets[fd].pending = false;
    }
    if (what == CURL_POLL_REMOVE) {
        lose_interest(lane, fd, known != NULL);
        return 0;
    }
    unsigned events = (what & CURL_POLL_IN ? (unsigned)S3I_POLL_IN : 0u) |
                      (what & CURL_POLL_OUT ? (unsigned)S3I_POLL_OUT : 0u);
    struct socket *socket = socket_of(lane, fd);
    bool watched = socket != NULL ? socket->watched : known != NULL;
    if ((socket == NULL || !watched || was_pending || socket->events != events) &&
        !s3i_poll_watch(lane->poll, S3I_LANE_CURL, fd, events, watched)) {
        return watch_later(lane, fd, events);
    }
    watched_now(lane, fd, events);
    return 0;
}

/*
 * Never early: to an action before the time libcurl does nothing, and it does not set the same timer
 * again. Our clock is rounded down to milliseconds; and 7.88 sets the timer that ends an attempt to
 * connect just before it notes when the attempt began, so that in time is too early still.
 */
static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
    (void)multi;
    struct s3_lane *lane = user;
    lane->deadline_is_long = timeout_ms >= LONG_TIMER_MS;
    int64_t late_ms = timeout_ms >= LONG_TIMER_MS ? TIMER_SLACK_MS : timeout_ms > 0 ? 1 : 0;
    lane->deadline_ms = timeout_ms < 0 ? INT64_MAX : s3i_now_ms() + timeout_ms + late_ms;
    return 0;
}

/* ---- easy handles ---- */

/* Sets a handle up for a configuration. */
static CURLcode configure(struct handle *handle, const struct s3_connect *connect)
{
    CURLcode result = s3i_easy_configure(&handle->easy, connect);
    CURL *easy = handle->easy.curl;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, handle);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, handle);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, handle);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, handle);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, handle->lane);
    return result;
}

static struct handle *make_handle(struct s3_lane *lane)
{
    struct handle *handle = s3i_calloc(1, sizeof(*handle));
    if (handle == NULL) {
        return NULL;
    }
    handle->lane = lane;
    s3i_list_init(&handle->node);
    handle->easy.curl = curl_easy_init();
    if (handle->easy.curl == NULL) {
        s3i_free(handle);
        return NULL;
    }
    return handle;
}

static void destroy_handle(struct handle *handle)
{
    s3i_list_remove(&handle->node);
    curl_easy_cleanup(handle->easy.curl);
    s3i_free(handle);
}

/* A free handle, best one that is set up for this configuration already. */
static struct handle *take_handle(struct s3_lane *lane, const struct s3_connect *connect)
{
    struct handle *found = NULL;
    S3I_LIST_EACH(node, &lane->free_handles)
    {
        struct handle *handle = S3I_OWNER(node, struct handle, node);
        if (found == NULL || handle->easy.serial == connect->serial) {
            found = handle;
        }
        if (handle->easy.serial == connect->serial) {
            break;
        }
    }
    if (found == NULL) {
        found = make_handle(lane);
    } else {
        s3i_list_remove(&found->node);
        lane->free_count--;
    }
    if (found != NULL && found->easy.serial != connect->serial &&
        configure(found, connect) != CURLE_OK) {
        destroy_handle(found);
        found = NULL;
    }
    return found;
}

static void give_handle(struct handle *handle)
{
    struct s3_lane *lane = handle->lane;
    handle->transfer = NULL;
    s3i_list_remove(&handle->node);
    if (lane->free_count >= HANDLES_KEPT) {
        destroy_handle(handle);
        return;
    }
    s3i_list_prepend(&lane->free_handles, &handle->node);
    lane->free_count++;
}

/* ---- one transfer ---- */

/* Warm connections are closed when fewer handles are added unless the cache's size is pinned. */
static void pin_connections(struct s3_lane *lane, const struct s3_connect *connect)
{
    long wanted = connect->concurrency * 2L;
    if (wanted > lane->connections_limit) {
        lane->connections_limit = wanted;
        curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, wanted);
    }
}

/*
 * At most `pool_max_idle` transfers of a configuration leave their connection behind: those that find
 * so many or more under way close theirs. For libcurl has a limit for all hosts together only.
 */
static bool leaves_connection(const struct s3_lane *lane, const struct s3_transfer *transfer)
{
    const struct s3_connect *connect = transfer->connect;
    int64_t room = connect->pool_max_idle;
    if (s3i_easy_is_clear_http2(transfer)) {
        return false;
    }
    if (room < 0) {
        return true;
    }
    S3I_LIST_EACH(node, &lane->busy_handles)
    {
        const struct handle *busy = S3I_OWNER(node, struct handle, node);
        room -= busy->easy.serial == connect->serial ? 1 : 0;
    }
    return room > 0;
}

static int start(struct s3_lane *lane, struct s3_transfer *transfer)
{
    if (transfer->header_count > S3I_EASY_HEADERS) {
        return S3EXT_INVALID;
    }
    struct handle *handle = take_handle(lane, transfer->connect);
    if (handle == NULL) {
        return S3EXT_NO_MEMORY;
    }
    pin_connections(lane, transfer->connect);
    handle->transfer = transfer;
    transfer->lane_state = handle;
    CURLcode prepared = s3i_easy_prepare(&handle->easy, transfer);
    bool leaves = leaves_connection(lane, transfer);
    curl_easy_setopt(handle->easy.curl, CURLOPT_FORBID_REUSE, leaves ? 0L : 1L);
    s3i_list_append(&lane->busy_handles, &handle->node);
    if (prepared != CURLE_OK || curl_multi_add_handle(lane->multi, handle->easy.curl) != CURLM_OK) {
        give_handle(handle);
        return S3EXT_NO_MEMORY;
    }
    return S3EXT_OK;
}

static void cancel(struct s3_lane *lane, struct s3_transfer *transfer)
{
    struct handle *handle = transfer->lane_state;
    curl_multi_remove_handle(lane->multi, handle->easy.curl);
    give_handle(handle);
}

/*
 * Bytes that follow an answer nobody asked for. libcurl before 8.0 takes a connection that holds
 * some for a clean one, and would read the next answer from them: it is shut down. Not over TLS,
 * where they may be session tickets, and not over HTTP/2, where they are frames.
 */
static void spoil(int fd)
{
    char rubbish[4096];
    while (recv(fd, rubbish, sizeof(rubbish), MSG_DONTWAIT) > 0) {
    }
    shutdown(fd, SHUT_RDWR);
}

/* The next transfer may have the connection already, and what can be read is its answer: then it is
 * not idle. */
static void check_surplus(struct s3_lane *lane, CURL *easy, const struct s3_transfer *transfer)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    char byte;
    bool plain = s3i_easy_is_clear(transfer) && transfer->connect->http_version == 1;
    if (!plain || curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK) {
        return;
    }
    const struct socket *socket = socket_of(lane, fd);
    bool unused = socket != NULL && (socket->idle || !socket->watched) && !socket->pending;
    if (unused && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
        spoil(fd);
    }
}

static void finish(struct s3_lane *lane, struct handle *handle, CURLcode result)
{
    struct s3_transfer *transfer = handle->transfer;
    struct s3_transfer_end end;
    char detail[S3I_EASY_DETAIL];
    s3i_easy_end(&handle->easy, result, &end, detail);
    if (result == CURLE_OK) {
        check_surplus(lane, handle->easy.curl, transfer);
    }
    curl_multi_remove_handle(lane->multi, handle->easy.curl);
    give_handle(handle);
    transfer->events->on_end(transfer, &end);
}

static void collect(struct s3_lane *lane)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(lane->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            char *private = NULL;
            CURLcode result = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
            finish(lane, (struct handle *)(void *)private, result);
        }
    }
}

/*
 * When an address refuses or does not answer, libcurl 7.88 begins with the next one only at its next
 * timer, up to half of the connect time-out later; unless all its transfers are looked at.
 */
static void try_next_addresses(struct s3_lane *lane)
{
    int running;
    for (int tries = 0; lane->look_at_all && tries < ADDRESSES_MAX; tries++) {
        lane->look_at_all = false;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* it does what nothing else does */
        curl_multi_socket_all(lane->multi, &running);
#pragma GCC diagnostic pop
    }
}

static void act(struct s3_lane *lane, curl_socket_t fd, int mask)
{
    int running;
    /* An empty multi would still call sigaction, whatever NOSIGNAL says. */
    if (!s3i_list_empty(&lane->busy_handles)) {
        curl_multi_socket_action(lane->multi, fd, mask, &running);
        try_next_addresses(lane);
        collect(lane);
    }
}

static void on_ready(struct s3_lane *lane, int fd, unsigned events)
{
    struct socket *socket = socket_of(lane, fd);
    if (socket != NULL && socket->idle) {
        char byte;
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) {
            return; /* what was to be read has been, by a transfer that libcurl drove meanwhile */
        }
        /* The server closed it, or sent what nobody asked for: libcurl finds it dead when it would
         * reuse it. */
        spoil(fd);
        s3i_poll_forget(lane->poll, fd);
        socket->watched = false;
        return;
    }
    act(lane, fd,
        (events & S3I_POLL_IN ? CURL_CSELECT_IN : 0) |
            (events & S3I_POLL_OUT ? CURL_CSELECT_OUT : 0) |
            (events & S3I_POLL_ERROR ? CURL_CSELECT_ERR : 0));
}

static int64_t deadline(const struct s3_lane *lane)
{
    int64_t first = lane->deadline_ms < lane->rewatch_ms ? lane->deadline_ms : lane->rewatch_ms;
    return s3i_list_empty(&lane->busy_handles) ? INT64_MAX : first;
}

static void on_deadline(struct s3_lane *lane)
{
    int64_t now_ms = s3i_now_ms();
    if (lane->rewatch_ms <= now_ms) {
        watch_pending(lane);
    }
    if (lane->deadline_ms <= now_ms) {
        lane->deadline_ms = INT64_MAX;
        lane->look_at_all = lane->look_at_all || lane->deadline_is_long;
        act(lane, CURL_SOCKET_TIMEOUT, 0);
    }
}

static void progress(struct s3_lane *lane, const struct s3_transfer *transfer,
                     struct s3_transfer_progress *progress)
{
    (void)lane;
    const struct handle *handle = transfer->lane_state;
    curl_off_t connected = 0;
    curl_off_t received = 0;
    curl_off_t sent = 0;
    curl_easy_getinfo(handle->easy.curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
    curl_easy_getinfo(handle->easy.curl, CURLINFO_SIZE_DOWNLOAD_T, &received);
    curl_easy_getinfo(handle->easy.curl, CURLINFO_SIZE_UPLOAD_T, &sent);
    progress->connected = connected > 0;
    progress->bytes = (uint64_t)received + (uint64_t)sent;
}

static struct s3_lane *new_lane(struct s3_poll *poll)
{
    struct s3_lane *lane = s3i_calloc(1, sizeof(*lane));
    if (lane == NULL) {
        return NULL;
    }
    lane->poll = poll;
    lane->deadline_ms = INT64_MAX;
    lane->rewatch_ms = INT64_MAX;
    s3i_list_init(&lane->free_handles);
    s3i_list_init(&lane->busy_handles);
    lane->multi = curl_multi_init();
    if (lane->multi == NULL) {
        s3i_free(lane);
        return NULL;
    }
    lane->connections_limit = CONNECTIONS_LEAST;
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, lane->connections_limit);
    curl_multi_setopt(lane->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    return lane;
}

static void free_lane(struct s3_lane *lane)
{
    S3I_LIST_EACH(node, &lane->free_handles)
    {
        destroy_handle(S3I_OWNER(node, struct handle, node));
    }
    curl_multi_cleanup(lane->multi);
    s3i_free(lane->sockets);
    s3i_free(lane);
}

/*
 * libcurl (7.88) closes a socket that never got connected behind the back of on_close_socket; its
 * number may be anybody's since.
 */
static void abandon(struct s3_lane *lane)
{
    for (size_t fd = 0; fd < lane->socket_capacity; fd++) {
        const struct socket *socket = &lane->sockets[fd];
        if (socket->open && socket->inode != 0 && socket->inode == s3i_socket_inode((int)fd)) {
            close((int)fd);
        }
    }
    lane->socket_capacity = 0;
}

const struct s3_lane_class s3i_lane_curl = {
    .name = "curl",
    .new_lane = new_lane,
    .free_lane = free_lane,
    .start = start,
    .cancel = cancel,
    .on_ready = on_ready,
    .deadline = deadline,
    .on_deadline = on_deadline,
    .progress = progress,
    .abandon = abandon,
};
