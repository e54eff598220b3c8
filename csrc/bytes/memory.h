/*
 * memory: where results live. A pool of slabs that the socket writes into and Python reads from.
 *
 *   64 KiB .. 8 MiB   classes of powers of two, kept for reuse (LIFO, so the next user finds them
 * warm) below             the heap, header and bytes in one block above             mmap, rounded
 * up to 2 MiB; those up to 128 MiB are kept for reuse as well
 *
 * Fresh memory costs more than reading it from the network (page faults), hence the reuse. A memory
 * is counted by reference: the operation holds one while bytes arrive, each result slice one. The
 * pool caps what it keeps and gives idle slabs back to the system after a while.
 *
 * Every memory carries the generation of the process that made it: released in a forked child it is
 * left alone (the pages belong to the child's copy of the parent's pool, which is abandoned).
 */
#ifndef S3I_BYTES_MEMORY_H
#define S3I_BYTES_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct s3_memory;

/* One reference on at least `size` writable bytes; NULL without memory. Any thread. */
struct s3_memory *s3i_memory_new(uint64_t size);
char *s3i_memory_data(struct s3_memory *memory);
uint64_t s3i_memory_capacity(const struct s3_memory *memory);

void s3i_memory_retain(struct s3_memory *memory);
/* NULL is allowed. Any thread. */
void s3i_memory_release(struct s3_memory *memory);

/* Gives back what has been idle since `idle_ms` before `now_ms`. */
void s3i_memory_trim(int64_t now_ms, int64_t idle_ms);

/* Bytes kept for reuse, and bytes handed out. */
void s3i_memory_counts(uint64_t *cached, uint64_t *live);

/* Around a fork: the pool's lock is held over it; the child starts an empty pool of a new
 * generation. */
void s3i_memory_fork_prepare(void);
void s3i_memory_fork_parent(void);
void s3i_memory_fork_child(void);

#endif
