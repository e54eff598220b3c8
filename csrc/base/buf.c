#include "base/buf.h"

#include <openssl/crypto.h> /* OPENSSL_cleanse */

#include "base/alloc.h"

enum { FIRST_CAPACITY = 256 };

void s3i_buf_init(struct s3_buf *buf, size_t limit)
{
    *buf = (struct s3_buf){.limit = limit};
}

void s3i_buf_fixed(struct s3_buf *buf, char *memory, size_t capacity)
{
    *buf = (struct s3_buf){.data = memory, .capacity = capacity, .limit = capacity, .fixed = true};
}

void s3i_buf_clear(struct s3_buf *buf)
{
    if (!buf->fixed) {
        s3i_free(buf->data);
        buf->data = NULL;
        buf->capacity = 0;
    }
    s3i_buf_reset(buf);
}

void s3i_buf_reset(struct s3_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
    buf->starved = false;
}

void s3i_buf_wipe(struct s3_buf *buf)
{
    if (buf->data != NULL) {
        OPENSSL_cleanse(buf->data, buf->capacity);
    }
    s3i_buf_reset(buf);
}

bool s3i_buf_reserve(struct s3_buf *buf, size_t size)
{
    if (buf->failed) {
        return false;
    }
    if (size <= buf->capacity - buf->size) {
        return true;
    }
    if (buf->fixed || size > buf->limit - buf->size) {
        buf->failed = true;
        return false;
    }
    size_t wanted = buf->size + size;
    size_t capacity = buf->capacity ? buf->capacity : FIRST_CAPACITY;
    capacity = capacity < buf->limit ? capacity : buf->limit;
    while (capacity < wanted) {
        capacity = capacity > buf->limit / 2 ? buf->limit : capacity * 2;
    }
    char *data = s3i_realloc_array(buf->data, capacity, 1);
    if (data == NULL) {
        buf->failed = true;
        buf->starved = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void s3i_buf_add(struct s3_buf *buf, struct s3_str text)
{
    if (text.size && s3i_buf_reserve(buf, text.size)) {
        memcpy(buf->data + buf->size, text.data, text.size);
        buf->size += text.size;
    }
}

void s3i_buf_add_u64(struct s3_buf *buf, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    s3i_buf_add(buf, s3i_str(digits + at, sizeof(digits) - at));
}

void s3i_buf_terminate(struct s3_buf *buf)
{
    if (s3i_buf_reserve(buf, 1)) {
        buf->data[buf->size] = '\0';
    }
}
