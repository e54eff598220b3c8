/*
 * A libFuzzer target: what the scanner of listings reads, it reads as expat does.
 *
 * clang -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -Icsrc
 *     tests/pure/fuzz_listing.c csrc/base/[a-z]*.c csrc/pure/listing.c csrc/pure/xml*.c
 *     csrc/pure/http.c -lexpat -lcrypto
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "pure/listing.h"

enum { MOST = 100 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static struct s3_str cut(const struct s3_list_page *page, uint32_t offset, uint32_t size)
{
    check((uint64_t)offset + size <= page->text.size);
    return s3i_str(size ? page->text.data + offset : NULL, size);
}

static void compare(const struct s3_list_page *a, const struct s3_list_page *b)
{
    check(a->object_count == b->object_count && a->prefix_count == b->prefix_count);
    check(a->truncated == b->truncated);
    check(s3i_str_equal(s3i_buf_str(&a->next_token), s3i_buf_str(&b->next_token)));
    for (size_t i = 0; i < a->object_count; i++) {
        const struct s3_list_entry *x = &a->objects[i];
        const struct s3_list_entry *y = &b->objects[i];
        check(x->size == y->size && x->last_modified_us == y->last_modified_us);
        check(
            s3i_str_equal(cut(a, x->key_offset, x->key_size), cut(b, y->key_offset, y->key_size)));
        check(s3i_str_equal(cut(a, x->etag_offset, x->etag_size),
                            cut(b, y->etag_offset, y->etag_size)));
    }
    for (size_t i = 0; i < a->prefix_count; i++) {
        const struct s3_list_entry *x = &a->prefixes[i];
        const struct s3_list_entry *y = &b->prefixes[i];
        check(
            s3i_str_equal(cut(a, x->key_offset, x->key_size), cut(b, y->key_offset, y->key_size)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct s3_str text = s3i_str((const char *)data, size);
    struct s3_buf document;
    struct s3_list_page scanned;
    struct s3_list_page read;
    struct s3_xml_error error;
    s3i_buf_init(&document, size + 1);
    s3i_buf_add(&document, text);
    s3i_list_page_init(&scanned);
    s3i_list_page_init(&read);
    if (s3i_listing_scan(&document, MOST, &scanned) == S3I_SCAN_READ) {
        check(s3i_xml_list(text, MOST, &read, &error) == S3EXT_OK);
        compare(&scanned, &read);
    } else {
        check(s3i_str_equal(s3i_buf_str(&document), text));
        check(scanned.object_count + scanned.prefix_count + scanned.text.size == 0);
    }
    s3i_list_page_clear(&read);
    s3i_list_page_clear(&scanned);
    s3i_buf_clear(&document);
    return 0;
}
