/*
 * socket: the sockets that libcurl connects for the lanes: made here, so that they do not leak into
 * other programs, are probed by the kernel, are counted, and can be told in a fork child.
 */
#ifndef S3I_BYTES_SOCKET_H
#define S3I_BYTES_SOCKET_H

#include <stdint.h>
#include <sys/types.h> /* ino_t */

#include "identity/connect.h"

/* A socket for a connection; -1 with errno set. */
int s3i_socket_open(int family, int type, int protocol, const struct s3_connect *connect);

/* Says whether a number still stands for the same socket or pipe; 0: it is neither, or closed. */
ino_t s3i_socket_inode(int fd);

/* Sockets opened by all lanes since the start of the process. */
uint64_t s3i_socket_count(void);

#endif
