#include "bytes/connector.h"

#include <errno.h>
#include <openssl/ssl.h> /* SSL_CTX_set_read_ahead */
#include <unistd.h>

#include "base/alloc.h"
#include "base/time.h"

enum {
    REWATCH_MS = 10,
    CHECK_MS = 1000, /* libcurl is asked to go on at least so often */
    ADDRESSES_MAX = 16, /* of one host, tried at once when each refuses */
    READ_AHEAD = 64 * 1024
};

/* ---- callbacks ---- */

static curl_socket_t on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct s3_connector *connector = user;
    int fd = s3i_socket_open(address->family, address->socktype, address->protocol,
                             connector->easy.transfer->connect);
    if (fd < 0) {
        connector->easy.no_socket = errno;
        return CURL_SOCKET_BAD;
    }
    if (!s3i_watch_opened(connector->watch, fd)) {
        connector->easy.no_socket = ENOMEM;
        close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static int on_close_socket(void *user, curl_socket_t fd)
{
    struct s3_connector *connector = user;
    if (connector->keeps_socket && fd == connector->fd) {
        connector->keeps_socket = false;
        return 0;
    }
    connector->address_failed = true;
    s3i_watch_closed(connector->watch, fd);
    return close(fd);
}

/* Where the kernel has no room in the poll, the deadline takes its place. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known)
{
    (void)easy;
    (void)known;
    struct s3_connector *connector = user;
    unsigned events = what == CURL_POLL_REMOVE ? 0u
                                               : (what & CURL_POLL_IN ? (unsigned)S3I_POLL_IN : 0u) |
                                                     (what & CURL_POLL_OUT ? (unsigned)S3I_POLL_OUT
                                                                           : 0u);
    if (!s3i_watch_set(connector->watch, fd, events, connector->owner)) {
        connector->unwatched = true;
    }
    return 0;
}

/* With read-ahead OpenSSL takes 64 KiB from the socket at a time, not a record's head and then its
 * body: a tenth of the system calls. It has to be set before the handshake. */
static CURLcode on_tls_context(CURL *curl, void *context, void *user)
{
    const struct s3_connector *connector = user;
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
    SSL_CTX_clear_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return s3i_easy_set_store(curl, context, &connector->easy);
}

/* ---- life ---- */

struct s3_connector *s3i_connector_new(struct s3_watch *watch)
{
    struct s3_connector *connector = s3i_calloc(1, sizeof(*connector));
    if (connector == NULL) {
        return NULL;
    }
    s3i_list_init(&connector->node);
    connector->watch = watch;
    connector->easy.curl = curl_easy_init();
    if (connector->easy.curl == NULL) {
        s3i_free(connector);
        return NULL;
    }
    return connector;
}

void s3i_connector_free(struct s3_connector *connector)
{
    s3i_list_remove(&connector->node);
    s3i_connector_stop(connector);
    curl_easy_cleanup(connector->easy.curl);
    curl_multi_cleanup(connector->multi);
    s3i_free(connector);
}

static bool make_multi(struct s3_connector *connector)
{
    if (connector->multi == NULL && (connector->multi = curl_multi_init()) != NULL) {
        curl_multi_setopt(connector->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(connector->multi, CURLMOPT_SOCKETDATA, connector);
    }
    return connector->multi != NULL;
}

static CURLcode configure(struct s3_connector *connector, const struct s3_connect *connect,
                          CURLSH *share)
{
    if (connector->easy.serial == connect->serial) {
        return CURLE_OK;
    }
    CURLcode result = s3i_easy_configure(&connector->easy, connect);
    CURL *easy = connector->easy.curl;
    curl_easy_setopt(easy, CURLOPT_SHARE, share);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, connector);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, connector);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, connector);
    /* Refused by a libcurl without OpenSSL, which then has no TLS to do here. */
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
    return result;
}

bool s3i_connector_start(struct s3_connector *connector, const struct s3_transfer *transfer,
                         CURLSH *share, void *owner)
{
    if (!make_multi(connector) || configure(connector, transfer->connect, share) != CURLE_OK) {
        return false;
    }
    struct s3_easy *easy = &connector->easy;
    easy->detail[0] = '\0';
    easy->no_socket = 0;
    easy->transfer = transfer;
    connector->owner = owner;
    connector->fd = -1;
    connector->unwatched = false;
    if (curl_easy_setopt(easy->curl, CURLOPT_URL, transfer->url) != CURLE_OK ||
        curl_multi_add_handle(connector->multi, easy->curl) != CURLM_OK) {
        return false;
    }
    connector->state = S3I_CONNECTOR_RUNNING;
    connector->deadline_ms = s3i_now_ms();
    return true;
}

void s3i_connector_stop(struct s3_connector *connector)
{
    if (connector->state != S3I_CONNECTOR_IDLE) {
        curl_multi_remove_handle(connector->multi, connector->easy.curl);
        connector->state = S3I_CONNECTOR_IDLE;
        connector->easy.transfer = NULL;
    }
}

int s3i_connector_give_up_socket(struct s3_connector *connector)
{
    int fd = connector->fd;
    connector->keeps_socket = true;
    s3i_connector_stop(connector);
    if (connector->keeps_socket) { /* libcurl did not let go of it yet */
        curl_multi_cleanup(connector->multi);
        connector->multi = NULL;
    }
    connector->keeps_socket = false;
    return fd;
}

/* ---- on the way ---- */

static void collect(struct s3_connector *connector)
{
    int left;
    const CURLMsg *message = curl_multi_info_read(connector->multi, &left);
    if (message == NULL || message->msg != CURLMSG_DONE) {
        return;
    }
    curl_socket_t fd = CURL_SOCKET_BAD;
    connector->result = message->data.result;
    if (connector->result == CURLE_OK) {
        curl_easy_getinfo(connector->easy.curl, CURLINFO_ACTIVESOCKET, &fd);
        connector->result = fd == CURL_SOCKET_BAD ? CURLE_COULDNT_CONNECT : CURLE_OK;
    }
    connector->fd = fd;
    connector->state =
        connector->result == CURLE_OK ? S3I_CONNECTOR_READY : S3I_CONNECTOR_FAILED;
    connector->deadline_ms = INT64_MAX;
}

/* Never early: to a call before the time libcurl does nothing, and our clock is rounded down. */
static void set_deadline(struct s3_connector *connector)
{
    long timeout_ms = -1;
    curl_multi_timeout(connector->multi, &timeout_ms);
    int64_t limit_ms = connector->unwatched ? REWATCH_MS : CHECK_MS;
    int64_t wait_ms = timeout_ms > 0 ? timeout_ms + 1 : timeout_ms;
    wait_ms = wait_ms < 0 || wait_ms > limit_ms ? limit_ms : wait_ms;
    connector->deadline_ms = s3i_now_ms() + wait_ms;
}

/*
 * When an address refuses or does not answer, libcurl 7.88 begins with the next one only when it is
 * asked to go on. Nothing else than this call looks at a handle whatever has happened to it.
 */
void s3i_connector_run(struct s3_connector *connector)
{
    int running;
    int tries = 0;
    do {
        connector->address_failed = false;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        curl_multi_socket_all(connector->multi, &running);
#pragma GCC diagnostic pop
        collect(connector);
    } while (connector->state == S3I_CONNECTOR_RUNNING && connector->address_failed &&
             ++tries < ADDRESSES_MAX);
    if (connector->state == S3I_CONNECTOR_RUNNING) {
        set_deadline(connector);
    }
}
