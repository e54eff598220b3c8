#include "base/alloc.h"

#include <openssl/crypto.h> /* OPENSSL_cleanse */
#include <stdint.h>         /* SIZE_MAX */
#include <stdlib.h>

#ifdef S3EXT_TEST
#include <stdatomic.h>

static atomic_long fail_countdown = -1;
static atomic_long live;

void s3i_alloc_fail_after(long count)
{
    atomic_store(&fail_countdown, count);
}

bool s3i_alloc_failure_pending(void)
{
    return atomic_load(&fail_countdown) >= 0;
}

long s3i_alloc_live(void)
{
    return atomic_load(&live);
}

static bool must_fail(void)
{
    return atomic_load(&fail_countdown) >= 0 && atomic_fetch_sub(&fail_countdown, 1) == 0;
}

static void *counted(void *block)
{
    if (block != NULL) {
        atomic_fetch_add(&live, 1);
    }
    return block;
}

static void uncount(void)
{
    atomic_fetch_sub(&live, 1);
}
#else
static inline bool must_fail(void)
{
    return false;
}

static inline void *counted(void *block)
{
    return block;
}

static inline void uncount(void)
{
}
#endif

void *s3i_malloc(size_t size)
{
    return must_fail() ? NULL : counted(malloc(size ? size : 1));
}

void *s3i_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : counted(calloc(count ? count : 1, size ? size : 1));
}

void *s3i_realloc_array(void *block, size_t count, size_t size)
{
    if (must_fail() || (size != 0 && count > SIZE_MAX / size)) {
        return NULL;
    }
    size_t total = count * size;
    void *resized = realloc(block, total ? total : 1);
    return block == NULL ? counted(resized) : resized;
}

char *s3i_strdup(struct s3_str text)
{
    char *copy = s3i_malloc(text.size + 1);
    if (copy != NULL) {
        if (text.size) {
            memcpy(copy, text.data, text.size);
        }
        copy[text.size] = '\0';
    }
    return copy;
}

void s3i_free(void *block)
{
    if (block != NULL) {
        uncount();
        free(block);
    }
}

void s3i_free_secret(void *block, size_t size)
{
    if (block != NULL) {
        OPENSSL_cleanse(block, size);
        s3i_free(block);
    }
}
