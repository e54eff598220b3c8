/*
 * splice: sends memory over a plain socket without copying it: the kernel takes references to the
 * pages (vmsplice into a pipe) and sends from them (splice). Copying is half of what a large plain
 * upload costs its process.
 *
 * The memory must stay as it is until the peer has received it. The peer's answer tells that; where
 * there is none, the connection has to be reset, for what is still queued here would be sent as the
 * memory is then. On the same machine even bytes that have been sent are shared with the peer until it
 * reads them. So only bodies go this way that count by a later word of ours, the parts of an upload:
 * one that was spoilt after its attempt had ended is in no object.
 *
 *   CLOSED --open--> OPEN: `held` bytes wait in the pipe --close--> CLOSED
 *      |               +--the system does not allow it--> REFUSED, for good
 *      +--no descriptors--> CLOSED
 *
 * A struct s3_splice belongs to a connection, and is all zero to begin with.
 */
#ifndef S3I_BYTES_SPLICE_H
#define S3I_BYTES_SPLICE_H

#include <sys/types.h>

#include "base/str.h"
#include "bytes/watch.h"

enum { S3I_SPLICE_LEAST = 256 * 1024 }; /* less is cheaper to copy */

enum s3_splice_state { S3I_SPLICE_CLOSED, S3I_SPLICE_OPEN, S3I_SPLICE_REFUSED };

struct s3_splice {
    enum s3_splice_state state;
    int ends[2]; /* of the pipe */
    size_t held; /* bytes in the pipe: the next ones of the body */
    struct s3_watch *watch; /* knows the pipe, for the child of a fork */
};

/* Makes the pipe, if there is none; false if that cannot be, and the memory is to be copied. */
bool s3i_splice_open(struct s3_splice *pipe, struct s3_watch *watch);
void s3i_splice_close(struct s3_splice *pipe);

/*
 * Sends some of `data`, whose first `held` bytes are in the pipe already: how many went to the socket;
 * -1 with errno as of send(). May raise SIGPIPE. 0: nothing was taken, and `pipe` is REFUSED.
 */
ssize_t s3i_splice_send(struct s3_splice *pipe, int fd, struct s3_str data);

#endif
