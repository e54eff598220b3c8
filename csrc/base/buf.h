/*
 * buf: a growing run of bytes with a ceiling.
 *
 * The owner embeds a struct s3_buf, sets the ceiling once, and clears it at the end. Appending past
 * the ceiling or without memory sets `failed` and drops the bytes: a builder appends many times and
 * asks s3i_buf_ok() once; `starved` tells the one cause from the other. A buffer made by
 * s3i_buf_fixed() works in the owner's memory and never allocates.
 */
#ifndef S3I_BASE_BUF_H
#define S3I_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct s3_buf {
    char *data;
    size_t size;
    size_t capacity;
    size_t limit; /* ceiling of size, in bytes */
    bool fixed;   /* data belongs to the owner and is not grown */
    bool failed;  /* an append was dropped */
    bool starved; /* for want of memory, not because of the ceiling */
};

/* An empty buffer that grows up to `limit` bytes. */
void s3i_buf_init(struct s3_buf *buf, size_t limit);

/* An empty buffer in `memory` of `capacity` bytes, borrowed until the buffer is no longer used. */
void s3i_buf_fixed(struct s3_buf *buf, char *memory, size_t capacity);

/* Frees what the buffer owns and leaves it empty, with its ceiling, ready for use. */
void s3i_buf_clear(struct s3_buf *buf);

/* Forgets the bytes and the failure but keeps the memory. */
void s3i_buf_reset(struct s3_buf *buf);

/* Overwrites the bytes in a way that the compiler may not drop, then forgets them: for secrets. */
void s3i_buf_wipe(struct s3_buf *buf);

/* Room for `size` more bytes at data + size; false (and failed) when there is none. */
bool s3i_buf_reserve(struct s3_buf *buf, size_t size);

void s3i_buf_add(struct s3_buf *buf, struct s3_str text);

static inline void s3i_buf_add_char(struct s3_buf *buf, char byte)
{
    if ((buf->size < buf->capacity && !buf->failed) || s3i_buf_reserve(buf, 1)) {
        buf->data[buf->size++] = byte;
    }
}

void s3i_buf_add_u64(struct s3_buf *buf, uint64_t number);

/* Ends the bytes with a NUL that is not counted in size. */
void s3i_buf_terminate(struct s3_buf *buf);

static inline bool s3i_buf_ok(const struct s3_buf *buf)
{
    return !buf->failed;
}

static inline struct s3_str s3i_buf_str(const struct s3_buf *buf)
{
    return s3i_str(buf->data, buf->size);
}

#endif
