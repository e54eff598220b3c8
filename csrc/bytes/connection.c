#include "bytes/connection.h"

#include <errno.h>
#include <openssl/ssl.h> /* SSL_has_pending */
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { TLS_WRITE = 128 * 1024 }; /* at a time: OpenSSL tells no progress before all is written */

/* ---- life ---- */

bool s3i_connection_open(struct s3_connection *connection, struct s3_connector *connector, bool tls)
{
    *connection = (struct s3_connection){.watch = connector->watch, .fd = connector->fd};
    if (tls) {
        connection->tls = connector;
    } else {
        s3i_connector_give_up_socket(connector);
    }
    return !tls;
}

/* What is still queued would be sent as the memory is then: it is dropped, and the peer told so. */
static void reset_if_lent(const struct s3_connection *connection)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (connection->lent) {
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
}

void s3i_connection_settle(struct s3_connection *connection)
{
    s3i_splice_close(&connection->splice);
    connection->lent = false;
}

void s3i_connection_close(struct s3_connection *connection)
{
    if (connection->tls != NULL) {
        s3i_connector_free(connection->tls);
    } else if (connection->fd >= 0) {
        s3i_splice_close(&connection->splice);
        reset_if_lent(connection);
        s3i_watch_closed(connection->watch, connection->fd);
        close(connection->fd);
    }
    connection->tls = NULL;
    connection->fd = -1;
}

/* ---- plain ---- */

static enum s3_io failure(struct s3_connection *connection)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        return S3I_IO_AGAIN;
    }
    connection->error = errno;
    return S3I_IO_BROKEN;
}

static enum s3_io send_plain(struct s3_connection *connection, struct s3_str head,
                             struct s3_str body, size_t *sent)
{
    ssize_t done;
    if (body.size == 0) {
        done = send(connection->fd, head.data, head.size, MSG_NOSIGNAL);
    } else {
        struct iovec parts[2];
        memcpy(&parts[0].iov_base, &head.data, sizeof(head.data)); /* which sendmsg only reads */
        memcpy(&parts[1].iov_base, &body.data, sizeof(body.data));
        parts[0].iov_len = head.size;
        parts[1].iov_len = body.size;
        struct msghdr message = {.msg_iov = head.size ? parts : parts + 1,
                                 .msg_iovlen = head.size ? 2 : 1};
        done = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    }
    *sent = done < 0 ? 0 : (size_t)done;
    return done < 0 ? failure(connection) : S3I_IO_OK;
}

/* As send_plain, but for the body's memory, which the kernel borrows. */
static enum s3_io send_lent(struct s3_connection *connection, struct s3_str head,
                            struct s3_str body, size_t *sent)
{
    *sent = 0;
    if (head.size > 0) {
        ssize_t done = send(connection->fd, head.data, head.size, MSG_NOSIGNAL | MSG_MORE);
        *sent = done < 0 ? 0 : (size_t)done;
        if (done < 0 || *sent < head.size) {
            return done < 0 ? failure(connection) : S3I_IO_OK;
        }
    }
    connection->lent = true;
    ssize_t done = s3i_splice_send(&connection->splice, connection->fd, body);
    *sent += done < 0 ? 0 : (size_t)done;
    return done < 0 ? failure(connection) : S3I_IO_OK;
}

/* Whether the body goes by splice: because it is large, or because its next bytes are in the pipe. */
static bool may_lend(struct s3_connection *connection, size_t body_size)
{
    return connection->splice.held > 0 ||
           (body_size >= S3I_SPLICE_LEAST &&
            s3i_splice_open(&connection->splice, connection->watch));
}

static enum s3_io receive_plain(struct s3_connection *connection, char *place, size_t size,
                                bool last, size_t *got)
{
    char surplus[16];
    struct iovec parts[2] = {{place, size}, {surplus, sizeof(surplus)}};
    ssize_t done =
        last ? readv(connection->fd, parts, 2) : recv(connection->fd, place, size, 0);
    *got = done < 0 ? 0 : (size_t)done;
    return done < 0 ? failure(connection) : done == 0 ? S3I_IO_CLOSED : S3I_IO_OK;
}

/* ---- TLS ---- */

static enum s3_io outcome_of(CURLcode result)
{
    return result == CURLE_OK      ? S3I_IO_OK
           : result == CURLE_AGAIN ? S3I_IO_AGAIN
                                   : S3I_IO_BROKEN;
}

static enum s3_io send_tls(struct s3_connection *connection, struct s3_str data, size_t *sent)
{
    size_t size = data.size < TLS_WRITE ? data.size : TLS_WRITE;
    *sent = 0;
    return outcome_of(curl_easy_send(connection->tls->easy.curl, data.data, size, sent));
}

static enum s3_io receive_tls(struct s3_connection *connection, char *place, size_t size,
                              size_t *got)
{
    *got = 0;
    enum s3_io io = outcome_of(curl_easy_recv(connection->tls->easy.curl, place, size, got));
    return io == S3I_IO_OK && *got == 0 ? S3I_IO_CLOSED : io;
}

/* Whether OpenSSL holds bytes, a whole record or not. */
static bool holds_bytes(const struct s3_connection *connection)
{
    struct curl_tlssessioninfo *session = NULL;
    curl_easy_getinfo(connection->tls->easy.curl, CURLINFO_TLS_SSL_PTR, &session);
    return session == NULL || session->internals == NULL || SSL_has_pending(session->internals);
}

/* ---- both ---- */

enum s3_io s3i_connection_send(struct s3_connection *connection, struct s3_str head,
                               struct s3_str body, bool lend, size_t *sent)
{
    if (connection->tls == NULL) {
        return lend && may_lend(connection, body.size) ? send_lent(connection, head, body, sent)
                                                       : send_plain(connection, head, body, sent);
    }
    return send_tls(connection, head.size ? head : body, sent);
}

enum s3_io s3i_connection_receive(struct s3_connection *connection, char *place, size_t size,
                                  bool last, size_t *got)
{
    return connection->tls == NULL ? receive_plain(connection, place, size, last, got)
                                   : receive_tls(connection, place, size, got);
}

/* What TLS 1.3 sends by itself (tickets) makes a socket readable, and is no answer. */
bool s3i_connection_is_silent(struct s3_connection *connection)
{
    char byte;
    size_t got;
    if (connection->tls != NULL) {
        return receive_tls(connection, &byte, 1, &got) == S3I_IO_AGAIN;
    }
    return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool s3i_connection_is_clean(struct s3_connection *connection)
{
    return connection->tls == NULL || !holds_bytes(connection) ||
           s3i_connection_is_silent(connection);
}

void s3i_connection_describe(const struct s3_connection *connection, bool sending, char *text,
                             size_t capacity)
{
    const char *what = sending ? "Send failure" : "Recv failure";
    if (connection->tls == NULL) {
        snprintf(text, capacity, "%s: %s", what, strerror(connection->error));
    } else {
        const char *detail = connection->tls->easy.detail;
        snprintf(text, capacity, "%s", detail[0] ? detail : what);
    }
}

/* ---- SIGPIPE ---- */

void s3i_quiet_begin(struct s3_quiet *quiet, bool any)
{
    struct sigaction action;
    sigset_t pipe;
    sigset_t pending;
    quiet->held = any && sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler != SIG_IGN &&
                  sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE);
    if (quiet->held) {
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe, &quiet->before);
    }
}

void s3i_quiet_end(const struct s3_quiet *quiet)
{
    const struct timespec at_once = {0, 0};
    sigset_t pipe;
    if (quiet->held) {
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        while (sigtimedwait(&pipe, NULL, &at_once) < 0 && errno == EINTR) {
        }
        pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
    }
}
