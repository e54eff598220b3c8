/*
 * engine: the process's one owner of reactors and threads.
 *
 * The I/O thread is started by the first submit; it runs what outlives a call. Sync calls borrow a
 * reactor with its warm connections from a LIFO, one thread at a time, and bring it back; one that
 * none has borrowed for as long as its idle connections are to be kept is freed with them. At the
 * end of the process all operations fail, and there is some time for what they have to clear up on
 * the server.
 */
#ifndef S3I_FACE_ENGINE_H
#define S3I_FACE_ENGINE_H

#include "operations/op.h"

/* Once, on the importing thread. An s3_code with `error` set. */
int s3i_engine_init(struct s3_error *error);

/* The I/O thread's reactor, started if need be. SHUTDOWN, SYSTEM or NO_MEMORY with `error` set. */
int s3i_engine_io(struct s3_reactor **reactor, struct s3_error *error);
/* Hands an operation to the I/O thread, which runs. false: the engine has ended meanwhile; nothing
 * was done. */
bool s3i_engine_submit(struct s3_op *op);

/*
 * Counts a sync caller in, and out when its operation has ended. true: there are so many of them
 * that the I/O thread serves this one better: a hop costs a lone caller twice the CPU, but of many
 * callers each would wake for its own bytes only.
 */
bool s3i_engine_caller_in(void);
void s3i_engine_caller_out(void);

/* A reactor for the calling thread, and back. */
struct s3_reactor *s3i_engine_borrow(struct s3_error *error);
void s3i_engine_return(struct s3_reactor *reactor);

/*
 * Takes over an operation that a caller's thread has begun and will not drive to its end: a thread
 * of the engine's does, and releases it. false: no thread could be had.
 */
bool s3i_engine_adopt(struct s3_op *op);

/* The process ends: operations that are driven in callers' threads are to fail. */
bool s3i_engine_stopping(void);

/*
 * The process ends, and the calling thread is another one than that which ends it: a daemon, which
 * Python will stop where it stands. Until then, for HOLD_MS at most, nothing is to be told to it:
 * its complaint would be the last words of a program that has ended well.
 */
bool s3i_engine_holds(void);

/* Cancels, aborts, joins, shuts the gate; within `timeout_ms`. Later calls end with SHUTDOWN. */
void s3i_engine_shutdown(int timeout_ms);

#endif
