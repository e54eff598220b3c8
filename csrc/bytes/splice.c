#include "bytes/splice.h"

#include <fcntl.h> /* vmsplice, splice */
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIPE_SIZE = 1024 * 1024 }; /* the most that a process may have without privileges */

bool s3i_splice_open(struct s3_splice *pipe, struct s3_watch *watch)
{
    if (pipe->state != S3I_SPLICE_CLOSED) {
        return pipe->state == S3I_SPLICE_OPEN;
    }
    if (pipe2(pipe->ends, O_CLOEXEC) != 0) {
        return false;
    }
    *pipe = (struct s3_splice){S3I_SPLICE_OPEN, {pipe->ends[0], pipe->ends[1]}, 0, watch};
    if (!s3i_watch_opened(watch, pipe->ends[0]) || !s3i_watch_opened(watch, pipe->ends[1])) {
        s3i_splice_close(pipe);
        return false;
    }
    (void)fcntl(pipe->ends[1], F_SETPIPE_SZ, PIPE_SIZE); /* else it is 64 KiB, and slower */
    return true;
}

void s3i_splice_close(struct s3_splice *pipe)
{
    for (size_t end = 0; pipe->state == S3I_SPLICE_OPEN && end < 2; end++) {
        s3i_watch_closed(pipe->watch, pipe->ends[end]);
        close(pipe->ends[end]);
    }
    *pipe = (struct s3_splice){.state = S3I_SPLICE_CLOSED};
}

/* Puts the beginning of `data` into the empty pipe. */
static bool fill(struct s3_splice *pipe, struct s3_str data)
{
    struct iovec piece = {.iov_len = data.size < PIPE_SIZE ? data.size : PIPE_SIZE};
    memcpy(&piece.iov_base, &data.data, sizeof(data.data)); /* which vmsplice only reads */
    ssize_t taken = vmsplice(pipe->ends[1], &piece, 1, SPLICE_F_NONBLOCK);
    pipe->held = taken > 0 ? (size_t)taken : 0;
    return taken > 0;
}

ssize_t s3i_splice_send(struct s3_splice *pipe, int fd, struct s3_str data)
{
    size_t sent = 0;
    while (sent < data.size) {
        if (pipe->held == 0 && !fill(pipe, s3i_str(data.data + sent, data.size - sent))) {
            if (sent == 0) {
                s3i_splice_close(pipe);
                pipe->state = S3I_SPLICE_REFUSED;
            }
            break;
        }
        unsigned more = sent + pipe->held < data.size ? (unsigned)SPLICE_F_MORE : 0u;
        ssize_t done = splice(pipe->ends[0], NULL, fd, NULL, pipe->held, SPLICE_F_NONBLOCK | more);
        if (done < 0) {
            return sent > 0 ? (ssize_t)sent : -1;
        }
        pipe->held -= (size_t)done;
        sent += (size_t)done;
    }
    return (ssize_t)sent;
}
