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
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h> /* FD_CLOEXEC by SOCK_CLOEXEC */
#include <netinet/in.h>
#include <netinet/tcp.h> /* TCP_KEEPIDLE, TCP_USER_TIMEOUT */
#include <inttypes.h>
#include <openssl/ssl.h>      /* SSL_CTX_set1_cert_store */
#include <openssl/x509_vfy.h> /* X509_verify_cert_error_string */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/time.h"
#include "bytes/lane.h"
#include "identity/trust.h"

enum {
    HEADERS_MAX = 64, /* header lines of one request, ours included */
    HANDLES_KEPT = 256,
    /* libcurl 7.88 allocates its buffer for each transfer, so small is faster; and glibc tidies up
       its whole heap when a chunk of 64 KiB is freed, so all but the large ones stay below that. */
    BUFFER_TINY = 16 * 1024,
    BUFFER_SMALL = 60 * 1024,
    BUFFER_LARGE = 512 * 1024,
    TINY_TO = 12 * 1024, /* leaves room for the head of the answer */
    LARGE_FROM = 1024 * 1024,
    CONNECTIONS_LEAST = 64,
    CONNECTION_LIFE_S = 300, /* then a new one asks the DNS again, where load may have moved */
    STREAMS = 8,             /* requests on one HTTP/2 connection: few are faster than many */
    REWATCH_MS = 10,
    ADDRESSES_MAX = 16 /* of one host, tried at once when each refuses */
};

struct handle {
    struct s3_list node; /* in the lane's `free` or `busy` */
    struct s3_lane *lane;
    CURL *easy;
    struct s3_transfer *transfer; /* NULL while free */
    uint64_t serial;              /* of the configuration that it is set up for; 0: none */
    long buffer;
    int no_socket;      /* why no socket could be had for the transfer: an errno; 0: one was */
    bool wrong_version; /* the answer is HTTP/1, and only HTTP/2 was asked for */
    struct curl_slist lines[HEADERS_MAX + 4];
    char detail[CURL_ERROR_SIZE];
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
    bool lost_connecting;   /* a socket was closed before it was connected */
    struct socket *sockets; /* by descriptor */
    size_t socket_capacity;
};

static atomic_uint_fast64_t connections_opened;

uint64_t s3i_lane_connections(void)
{
    return atomic_load_explicit(&connections_opened, memory_order_relaxed);
}

int s3i_lane_init(struct s3_error *error)
{
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK) {
        return s3i_error_set(error, S3EXT_SYSTEM, "libcurl could not be initialised");
    }
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    if (info->version_num < 0x074c00) {
        return s3i_error_set(error, S3EXT_NOT_SUPPORTED, "libcurl %s is too old; 7.76 is the least",
                             info->version);
    }
    if ((info->features & CURL_VERSION_SSL) == 0) {
        return s3i_error_set(error, S3EXT_NOT_SUPPORTED, "libcurl %s has no TLS back-end",
                             info->version);
    }
    return S3EXT_OK;
}

/* Where this build of libcurl looks for the system's certificates; told from 7.84 on. */
static const char *system_bundle(void)
{
    static char path[1024];
#if LIBCURL_VERSION_NUM >= 0x075400
    CURL *easy = curl_easy_init();
    char *found = NULL;
    if (easy != NULL && curl_easy_getinfo(easy, CURLINFO_CAINFO, &found) == CURLE_OK &&
        found != NULL) {
        snprintf(path, sizeof(path), "%s", found);
    }
    curl_easy_cleanup(easy);
#endif
    return path;
}

void s3i_lane_versions_get(struct s3_lane_versions *versions)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    versions->curl = info->version;
    versions->tls = info->ssl_version ? info->ssl_version : "";
    versions->ca_bundle = system_bundle();
    versions->http2 = (info->features & CURL_VERSION_HTTP2) != 0;
#ifdef CURL_VERSION_THREADSAFE
    versions->threadsafe = (info->features & CURL_VERSION_THREADSAFE) != 0;
#else
    versions->threadsafe = false;
#endif
}

struct s3_str s3i_method_name(enum s3_method method)
{
    static const struct s3_str names[] = {
        [S3I_GET] = {"GET", 3},   [S3I_HEAD] = {"HEAD", 4},     [S3I_PUT] = {"PUT", 3},
        [S3I_POST] = {"POST", 4}, [S3I_DELETE] = {"DELETE", 6},
    };
    return names[method];
}

/* ---- what libcurl ended in ---- */

static const struct {
    CURLcode curl;
    int code;
} OUTCOMES[] = {
    {CURLE_OK, S3EXT_OK},
    {CURLE_COULDNT_RESOLVE_HOST, S3EXT_RESOLVE},
    {CURLE_COULDNT_RESOLVE_PROXY, S3EXT_PROXY},
    {CURLE_PROXY, S3EXT_PROXY},
    {CURLE_COULDNT_CONNECT, S3EXT_CONNECT},
    {CURLE_INTERFACE_FAILED, S3EXT_CONNECT},
    {CURLE_SSL_CONNECT_ERROR, S3EXT_CONNECT},
    {CURLE_PEER_FAILED_VERIFICATION, S3EXT_TLS},
    {CURLE_SSL_CACERT_BADFILE, S3EXT_TLS},
    {CURLE_SSL_CERTPROBLEM, S3EXT_TLS},
    {CURLE_SSL_CIPHER, S3EXT_TLS},
    {CURLE_SSL_ISSUER_ERROR, S3EXT_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, S3EXT_TLS},
    {CURLE_USE_SSL_FAILED, S3EXT_TLS},
    {CURLE_OPERATION_TIMEDOUT, S3EXT_TIMEOUT},
    {CURLE_OUT_OF_MEMORY, S3EXT_NO_MEMORY},
    {CURLE_URL_MALFORMAT, S3EXT_INVALID},
    {CURLE_UNSUPPORTED_PROTOCOL,
     S3EXT_PROTOCOL} /* the URL is ours: it is the answer that is no HTTP/1 */,
    {CURLE_WEIRD_SERVER_REPLY, S3EXT_PROTOCOL},
    {CURLE_BAD_CONTENT_ENCODING, S3EXT_PROTOCOL},
};

static int outcome_of(CURLcode curl)
{
    for (size_t i = 0; i < sizeof(OUTCOMES) / sizeof(OUTCOMES[0]); i++) {
        if (OUTCOMES[i].curl == curl) {
            return OUTCOMES[i].code;
        }
    }
    return S3EXT_TRANSPORT;
}

static bool is_before_sending(int code)
{
    return code == S3EXT_RESOLVE || code == S3EXT_CONNECT || code == S3EXT_TLS ||
           code == S3EXT_PROXY;
}

/* ---- callbacks of the easy handle ---- */

static size_t on_header(char *data, size_t one, size_t size, void *user)
{
    struct handle *handle = user;
    struct s3_transfer *transfer = handle->transfer;
    if (transfer->connect->http_version == 2 &&
        s3i_str_starts(s3i_str(data, one * size), S3I_STR("HTTP/1"))) {
        handle->wrong_version = true;
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

/*
 * The kernel finds out that the other side is gone, also where nothing is sent. It does what
 * HTTP/2's pings would: libcurl before 8 sends none on a connection of a multi handle.
 */
static void set_probes(int fd, const struct s3_connect *connect)
{
    int on = 1;
    int probe_s = (int)((connect->probe_ms + 999) / 1000);
    unsigned unanswered_ms = (unsigned)connect->unanswered_ms;
    if (probe_s > 0) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe_s, sizeof(probe_s));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_s, sizeof(probe_s));
    }
    if (unanswered_ms > 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof(unanswered_ms));
    }
}

/* 0: it is no socket, or closed. */
static ino_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

static curl_socket_t on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct handle *handle = user;
    struct s3_lane *lane = handle->lane;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) {
        handle->no_socket = errno;
        return CURL_SOCKET_BAD;
    }
    if (!make_place(lane, fd)) {
        handle->no_socket = ENOMEM;
        close(fd);
        return CURL_SOCKET_BAD;
    }
    set_probes(fd, handle->transfer->connect);
    bool framed = handle->transfer->connect->http_version != 1;
    lane->sockets[fd] = (struct socket){.inode = inode_of(fd), .open = true, .framed = framed};
    atomic_fetch_add_explicit(&connections_opened, 1, memory_order_relaxed);
    return fd;
}

static int on_close_socket(void *user, curl_socket_t fd)
{
    struct s3_lane *lane = user;
    struct socket *socket = socket_of(lane, fd);
    if (socket != NULL) {
        lane->lost_connecting = lane->lost_connecting || !socket->used;
        *socket = (struct socket){.open = false};
    }
    return close(fd); /* which takes it out of the poll */
}

/* ---- callbacks of the multi handle ---- */

/* A connection that only waits to be read stays in the poll while it is idle. */
static void lose_interest(struct s3_lane *lane, int fd)
{
    struct socket *socket = socket_of(lane, fd);
    if (socket != NULL && socket->events == S3I_POLL_IN && !socket->framed) {
        socket->idle = true;
        return;
    }
    s3i_poll_forget(lane->poll, fd);
    if (socket != NULL) {
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
        if (s3i_poll_watch(lane->poll, (int)fd, socket->events, socket->open && socket->watched)) {
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
        lose_interest(lane, fd);
        return 0;
    }
    unsigned events = (what & CURL_POLL_IN ? (unsigned)S3I_POLL_IN : 0u) |
                      (what & CURL_POLL_OUT ? (unsigned)S3I_POLL_OUT : 0u);
    struct socket *socket = socket_of(lane, fd);
    bool watched = socket != NULL ? socket->watched : known != NULL;
    if ((socket == NULL || !watched || was_pending || socket->events != events) &&
        !s3i_poll_watch(lane->poll, fd, events, watched)) {
        return watch_later(lane, fd, events);
    }
    watched_now(lane, fd, events);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
    (void)multi;
    struct s3_lane *lane = user;
    lane->deadline_ms = timeout_ms < 0 ? INT64_MAX : s3i_now_ms() + timeout_ms;
    return 0;
}

/* ---- easy handles ---- */

static void set_proxy(CURL *easy, const struct s3_connect *connect)
{
    /* An unset option keeps libcurl's rules for http_proxy, https_proxy and no_proxy. */
    curl_easy_setopt(easy, CURLOPT_PROXY, connect->proxy_url);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, connect->proxy_excludes);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

/* Certificates that were parsed once, for each connection to the server or to an https proxy. */
static CURLcode on_tls_context(CURL *easy, void *context, void *user)
{
    (void)easy;
    const struct handle *handle = user;
    SSL_CTX_set1_cert_store(context, s3i_trust_store(handle->transfer->connect->trust));
    return CURLE_OK;
}

/*
 * libcurl shares connections where its own options agree, and cannot see into ours: a path of
 * certificates that cannot exist, another one for each trust, keeps them apart.
 */
static CURLcode set_trust(struct handle *handle, const struct s3_connect *connect)
{
    CURL *easy = handle->easy;
    char mark[64];
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, connect->verify_tls ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, connect->verify_tls ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, connect->verify_tls ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, connect->verify_tls ? 2L : 0L);
    if (connect->trust == NULL) {
        return CURLE_OK;
    }
    snprintf(mark, sizeof(mark), "/dev/null/trust-%" PRIu64, s3i_trust_serial(connect->trust));
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, handle);
    CURLcode result = curl_easy_setopt(easy, CURLOPT_CAPATH, mark);
    return result != CURLE_OK ? result
                              : curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
}

/*
 * libcurl keeps a DNS answer for a minute, and takes its addresses in one order: all connections of a
 * burst would go to one of them. Without that, each connection asks, and shuffles.
 */
static void set_addresses(CURL *easy, const struct s3_connect *connect)
{
    if (connect->randomize_addresses) {
        curl_easy_setopt(easy, CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
        curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    }
}

static CURLcode set_version(CURL *easy, const struct s3_connect *connect)
{
    static const long versions[] = {CURL_HTTP_VERSION_2TLS, CURL_HTTP_VERSION_1_1,
                                    CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE};
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, connect->http_version == 1 ? 0L : 1L);
    return curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, versions[connect->http_version]);
}

/* How long a connection is kept, and its next ones found. */
static void set_age(CURL *easy, const struct s3_connect *connect)
{
    long idle_seconds = (long)((connect->pool_idle_timeout_ms + 999) / 1000);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, idle_seconds ? idle_seconds : 1L);
#if LIBCURL_VERSION_NUM >= 0x075000
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)CONNECTION_LIFE_S);
#endif
}

static void set_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    /* A transfer that is cancelled while its host is looked up must not wait for the look-up. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

/* Everything that stays the same from transfer to transfer of one configuration. */
static CURLcode configure(struct handle *handle, const struct s3_connect *connect)
{
    CURL *easy = handle->easy;
    struct s3_lane *lane = handle->lane;
    curl_easy_reset(easy);
    handle->serial = 0;
    handle->buffer = 0;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, handle);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handle->detail);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, handle);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, handle);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, handle);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, lane);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, connect->user_agent);
    set_age(easy, connect);
    set_addresses(easy, connect);
    set_protocols(easy);
    set_proxy(easy, connect);
    CURLcode result = set_version(easy, connect);
    result = result == CURLE_OK ? set_trust(handle, connect) : result;
    handle->serial = result == CURLE_OK ? connect->serial : 0;
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
    handle->easy = curl_easy_init();
    if (handle->easy == NULL) {
        s3i_free(handle);
        return NULL;
    }
    return handle;
}

static void destroy_handle(struct handle *handle)
{
    s3i_list_remove(&handle->node);
    curl_easy_cleanup(handle->easy);
    s3i_free(handle);
}

/* A free handle, best one that is set up for this configuration already. */
static struct handle *take_handle(struct s3_lane *lane, const struct s3_connect *connect)
{
    struct handle *found = NULL;
    S3I_LIST_EACH(node, &lane->free_handles)
    {
        struct handle *handle = S3I_OWNER(node, struct handle, node);
        if (found == NULL || handle->serial == connect->serial) {
            found = handle;
        }
        if (handle->serial == connect->serial) {
            break;
        }
    }
    if (found == NULL) {
        found = make_handle(lane);
    } else {
        s3i_list_remove(&found->node);
        lane->free_count--;
    }
    if (found != NULL && found->serial != connect->serial &&
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

static bool is_clear(const struct s3_transfer *transfer)
{
    return strncmp(transfer->url, "http:", 5) == 0;
}

/* libcurl 7.88, the command curl too, breaks off the second request on such a connection. */
static bool is_clear_http2(const struct s3_transfer *transfer)
{
    return is_clear(transfer) && transfer->connect->http_version == 2;
}

static void set_method(CURL *easy, const struct s3_transfer *transfer)
{
    const char *custom = NULL;
    switch (transfer->method) {
    case S3I_GET:
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        break;
    case S3I_HEAD:
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        break;
    case S3I_DELETE:
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        custom = "DELETE";
        break;
    case S3I_PUT:
        custom = "PUT";
        /* fall through */
    case S3I_POST:
        curl_easy_setopt(easy, CURLOPT_NOBODY, 0L);
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body.size);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->body.size ? transfer->body.data : "");
        break;
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, custom);
    /* libcurl sends a request again by itself when a kept connection turns out to be dead. */
    bool fresh = transfer->once || is_clear_http2(transfer);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
}

static void add_line(struct handle *handle, size_t index, const char *line)
{
    memcpy(&handle->lines[index].data, &line, sizeof(line)); /* libcurl reads it only */
    handle->lines[index].next = NULL;
    if (index > 0) {
        handle->lines[index - 1].next = &handle->lines[index];
    }
}

/* libcurl adds Accept, Content-Type and Expect by itself unless an empty one is given. */
static void set_headers(struct handle *handle, const struct s3_transfer *transfer)
{
    size_t count = 0;
    bool typed = false;
    for (size_t i = 0; i < transfer->header_count; i++) {
        add_line(handle, count++, transfer->headers[i]);
        typed = typed || strncasecmp(transfer->headers[i], "content-type:", 13) == 0;
    }
    add_line(handle, count++, "Accept:");
    if (transfer->method == S3I_PUT || transfer->method == S3I_POST) {
        add_line(handle, count++, "Expect:");
        if (!typed) {
            add_line(handle, count++, "Content-Type:");
        }
    }
    curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, handle->lines);
}

static void set_buffers(struct handle *handle, const struct s3_transfer *transfer)
{
    uint64_t bytes =
        transfer->expected > transfer->body.size ? transfer->expected : transfer->body.size;
    long buffer = bytes >= LARGE_FROM ? BUFFER_LARGE : bytes > TINY_TO ? BUFFER_SMALL : BUFFER_TINY;
    if (handle->buffer != buffer) {
        curl_easy_setopt(handle->easy, CURLOPT_BUFFERSIZE, buffer);
        curl_easy_setopt(handle->easy, CURLOPT_UPLOAD_BUFFERSIZE, buffer);
        handle->buffer = buffer;
    }
}

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
    if (is_clear_http2(transfer)) {
        return false;
    }
    if (room < 0) {
        return true;
    }
    S3I_LIST_EACH(node, &lane->busy_handles)
    {
        const struct handle *busy = S3I_OWNER(node, struct handle, node);
        room -= busy->serial == connect->serial ? 1 : 0;
    }
    return room > 0;
}

static int start(struct s3_lane *lane, struct s3_transfer *transfer)
{
    if (transfer->header_count > HEADERS_MAX) {
        return S3EXT_INVALID;
    }
    struct handle *handle = take_handle(lane, transfer->connect);
    if (handle == NULL) {
        return S3EXT_NO_MEMORY;
    }
    pin_connections(lane, transfer->connect);
    handle->detail[0] = '\0';
    handle->no_socket = 0;
    handle->wrong_version = false;
    handle->transfer = transfer;
    transfer->lane_state = handle;
    set_method(handle->easy, transfer);
    set_headers(handle, transfer);
    set_buffers(handle, transfer);
    bool leaves = leaves_connection(lane, transfer);
    curl_easy_setopt(handle->easy, CURLOPT_FORBID_REUSE, leaves ? 0L : 1L);
    s3i_list_append(&lane->busy_handles, &handle->node);
    if (curl_easy_setopt(handle->easy, CURLOPT_URL, transfer->url) != CURLE_OK ||
        curl_multi_add_handle(lane->multi, handle->easy) != CURLM_OK) {
        give_handle(handle);
        return S3EXT_NO_MEMORY;
    }
    return S3EXT_OK;
}

static void cancel(struct s3_lane *lane, struct s3_transfer *transfer)
{
    struct handle *handle = transfer->lane_state;
    curl_multi_remove_handle(lane->multi, handle->easy);
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
    bool plain = is_clear(transfer) && transfer->connect->http_version == 1;
    if (!plain || curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK) {
        return;
    }
    const struct socket *socket = socket_of(lane, fd);
    bool unused = socket != NULL && (socket->idle || !socket->watched) && !socket->pending;
    if (unused && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
        spoil(fd);
    }
}

#define HTTP2_DOUBT "; http2_only is set: does the server speak HTTP/2?"
enum { DETAIL_SIZE = CURL_ERROR_SIZE + sizeof(HTTP2_DOUBT) };

/* Nothing came back in the one version of HTTP that was allowed. */
static bool lacks_answer(const struct handle *handle, CURLcode result)
{
    long header_bytes = 0;
    curl_easy_getinfo(handle->easy, CURLINFO_HEADER_SIZE, &header_bytes);
    return handle->transfer->connect->http_version == 2 && header_bytes == 0 &&
           outcome_of(result) == S3EXT_TRANSPORT;
}

/* libcurl closes dead connections in the name of whichever transfer comes by, and complains to it. */
static bool is_of_another(const char *detail, CURLcode result)
{
    return result != CURLE_SEND_ERROR && strncmp(detail, "Send failure", 12) == 0;
}

/*
 * The cause in words. libcurl's own may be overwritten by what followed: a certificate is refused, and
 * then the alert that says so cannot be sent.
 */
static void describe(const struct handle *handle, CURLcode result, char detail[DETAIL_SIZE])
{
    long verified = X509_V_OK;
    long tunnel = 0;
    curl_easy_getinfo(handle->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    curl_easy_getinfo(handle->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
    if (handle->no_socket != 0 && outcome_of(result) == S3EXT_CONNECT) {
        snprintf(detail, DETAIL_SIZE, "no socket for a connection: %s",
                 strerror(handle->no_socket));
    } else if (handle->wrong_version) {
        snprintf(detail, DETAIL_SIZE, "the server does not speak HTTP/2 (http2_only is set)");
    } else if (outcome_of(result) == S3EXT_TLS && verified != X509_V_OK) {
        snprintf(detail, DETAIL_SIZE, "the server's certificate is not trusted: %s",
                 X509_verify_cert_error_string(verified));
    } else if (tunnel != 0 && tunnel / 100 != 2) {
        snprintf(detail, DETAIL_SIZE, "CONNECT tunnel failed, response %ld", tunnel);
    } else {
        bool own = handle->detail[0] != '\0' && !is_of_another(handle->detail, result);
        snprintf(detail, DETAIL_SIZE, "%s%s", own ? handle->detail : curl_easy_strerror(result),
                 lacks_answer(handle, result) ? HTTP2_DOUBT : "");
    }
}

static void finish(struct s3_lane *lane, struct handle *handle, CURLcode result)
{
    struct s3_transfer *transfer = handle->transfer;
    struct s3_transfer_end end = {.code = outcome_of(result)};
    long connect_status = 0;
    long sent = 0;
    long header_bytes = 0;
    curl_off_t connected = 0;
    curl_easy_getinfo(handle->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    curl_easy_getinfo(handle->easy, CURLINFO_HEADER_SIZE, &header_bytes);
    curl_easy_getinfo(handle->easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
    curl_easy_getinfo(handle->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (end.code != S3EXT_OK && connect_status != 0 && connect_status / 100 != 2) {
        end.code = S3EXT_PROXY;
    }
    if (result == CURLE_OUT_OF_MEMORY && header_bytes > 0) {
        end.code = S3EXT_PROTOCOL; /* libcurl's word for a header line longer than it takes */
        handle->detail[0] = '\0';
        result = CURLE_RECV_ERROR;
    }
    if (handle->wrong_version) {
        end.code = S3EXT_PROTOCOL;
    }
    /* Before there is a connection to the server, what was sent is a proxy's CONNECT. */
    end.nothing_sent =
        is_before_sending(end.code) || (end.code != S3EXT_OK && (sent == 0 || connected == 0));
    if (end.code == S3EXT_CONNECT && handle->no_socket == ENOMEM) {
        end.code = S3EXT_NO_MEMORY;
    }
    char detail[DETAIL_SIZE];
    describe(handle, result, detail);
    end.detail = result == CURLE_OK ? NULL : detail;
    if (result == CURLE_OK) {
        check_surplus(lane, handle->easy, transfer);
    }
    curl_multi_remove_handle(lane->multi, handle->easy);
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
 * libcurl 7.88 begins with the next address of a host only at its next timer, up to half of the connect
 * time-out later; unless all its transfers are looked at.
 */
static void try_next_addresses(struct s3_lane *lane)
{
    int running;
    for (int tries = 0; lane->lost_connecting && tries < ADDRESSES_MAX; tries++) {
        lane->lost_connecting = false;
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
    curl_easy_getinfo(handle->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    curl_easy_getinfo(handle->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
    curl_easy_getinfo(handle->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
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
        if (socket->open && socket->inode != 0 && socket->inode == inode_of((int)fd)) {
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
