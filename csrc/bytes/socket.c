#include "bytes/socket.h"

#include <fcntl.h> /* FD_CLOEXEC by SOCK_CLOEXEC */
#include <netinet/in.h>
#include <netinet/tcp.h> /* TCP_KEEPIDLE, TCP_USER_TIMEOUT */
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>

static atomic_uint_fast64_t opened;

uint64_t s3i_socket_count(void)
{
    return atomic_load_explicit(&opened, memory_order_relaxed);
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

ino_t s3i_socket_inode(int fd)
{
    struct stat status;
    bool ours = fstat(fd, &status) == 0 && (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode));
    return ours ? status.st_ino : 0;
}

int s3i_socket_open(int family, int type, int protocol, const struct s3_connect *connect)
{
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd >= 0) {
        set_probes(fd, connect);
        atomic_fetch_add_explicit(&opened, 1, memory_order_relaxed);
    }
    return fd;
}
