/*
 * connection: bytes over a connection that a connector made: by the socket itself, or through libcurl
 * where it speaks TLS.
 *
 * Nothing blocks. A TLS connection may hold bytes that were read ahead, of which the poll knows
 * nothing: it is to be read until AGAIN, or until the answer is complete. A connection belongs to the
 * thread of its lane; s3i_quiet_begin keeps that thread, a caller's maybe, safe from SIGPIPE.
 */
#ifndef S3I_BYTES_CONNECTION_H
#define S3I_BYTES_CONNECTION_H

#include <signal.h>

#include "base/str.h"
#include "bytes/connector.h"
#include "bytes/splice.h"

struct s3_connection {
    int fd;
    struct s3_watch *watch;
    struct s3_connector *tls; /* owned; NULL: plain */
    int error;                /* an errno, of a plain one that is BROKEN */
    struct s3_splice splice;  /* of a plain one */
    bool lent;                /* the kernel may still read from memory that was sent */
};

enum s3_io {
    S3I_IO_OK,
    S3I_IO_AGAIN,  /* not now: wait for the poll */
    S3I_IO_CLOSED, /* the peer has ended it */
    S3I_IO_BROKEN
};

/* Takes a READY connector's connection over, and the connector itself where that speaks TLS. true when
 * the connector is the caller's to use again. */
bool s3i_connection_open(struct s3_connection *connection, struct s3_connector *connector, bool tls);
void s3i_connection_close(struct s3_connection *connection);

/* Sends some of `head` and then of `body`; *sent says how much. `lend`: the memory of the body stays as
 * it is until the peer has answered, and need not be copied (splice.h). */
enum s3_io s3i_connection_send(struct s3_connection *connection, struct s3_str head,
                               struct s3_str body, bool lend, size_t *sent);
/* The peer has answered all that was sent: nothing is lent any more. */
void s3i_connection_settle(struct s3_connection *connection);

/* Receives into `place`, which has room for `size` bytes. *got is larger than that where more came than
 * may come: only asked for by `last`, and dropped. TLS keeps it for s3i_connection_is_clean. */
enum s3_io s3i_connection_receive(struct s3_connection *connection, char *place, size_t size,
                                  bool last, size_t *got);

/* Nothing came that nobody asked for: it can be used again. Costs nothing where only the poll could
 * tell more. */
bool s3i_connection_is_clean(struct s3_connection *connection);
/* The same, by looking. */
bool s3i_connection_is_silent(struct s3_connection *connection);

/* Words for BROKEN. */
void s3i_connection_describe(const struct s3_connection *connection, bool sending, char *text,
                             size_t capacity);

/* OpenSSL and splice() write to their socket as they like: around such calls, if there are any, SIGPIPE
 * is held back, and one that came is consumed. */
struct s3_quiet {
    bool held;
    sigset_t before;
};
void s3i_quiet_begin(struct s3_quiet *quiet, bool any);
void s3i_quiet_end(const struct s3_quiet *quiet);

#endif
