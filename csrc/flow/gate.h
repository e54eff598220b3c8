/*
 * gate: the one place that all drivers pass before they touch libcurl, OpenSSL or our locks.
 *
 * A driver (the I/O thread, or a caller's thread that runs a reactor) is inside the gate while it
 * works and outside while it waits in the kernel. To fork, or to end, the gate is closed and
 * emptied first: then no thread holds a lock of ours or stands in a library, and the memory that a
 * child inherits is consistent.
 */
#ifndef S3I_FLOW_GATE_H
#define S3I_FLOW_GATE_H

#include <stdbool.h>

/* Waits while the gate is closed. false when it is shut for good: the caller must not go on. */
bool s3i_gate_enter(void);
void s3i_gate_leave(void);

/* Keeps newcomers out and waits until nobody is inside; false when that took longer than
 * `timeout_ms`. */
bool s3i_gate_close(int timeout_ms);
void s3i_gate_open(void);

/* As close, and those who come later get false. */
bool s3i_gate_shut(int timeout_ms);

/* No reactor will run again. */
bool s3i_gate_is_shut(void);

/* In a fork child, where no other thread exists: open and empty. */
void s3i_gate_fork_child(void);

#endif
