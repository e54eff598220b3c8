/*
 * A libFuzzer target for the parsers of answers: every input goes through every parser of xml and
 * http. It looks for crashes and sanitizer reports; what the results must be is checked in Python.
 *
 * clang -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -Icsrc
 *     tests/pure/fuzz_xml.c csrc/base/[a-z]*.c csrc/pure/xml_[a-z]*.c csrc/pure/http.c -lexpat -lcrypto
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "pure/http.h"
#include "pure/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void fuzz_listing(struct s3_str text, struct s3_xml_error *error)
{
    struct s3_list_page page;
    s3i_list_page_init(&page);
    int code = s3i_xml_list(text, 100, &page, error);
    check(code == S3EXT_OK || page.object_count + page.prefix_count == 0);
    check(page.object_count + page.prefix_count <= 100);
    for (size_t i = 0; i < page.object_count; i++) {
        const struct s3_list_entry *entry = &page.objects[i];
        check((uint64_t)entry->key_offset + entry->key_size <= page.text.size);
        check((uint64_t)entry->etag_offset + entry->etag_size <= page.text.size);
    }
    s3i_list_page_clear(&page);
}

static void fuzz_delete(struct s3_str text, struct s3_xml_error *error)
{
    struct s3_delete_result result;
    s3i_delete_result_init(&result);
    int code = s3i_xml_delete(text, 100, &result, error);
    check(code == S3EXT_OK || result.failure_count == 0);
    for (size_t i = 0; i < result.failure_count; i++) {
        const struct s3_delete_failure *failure = &result.failures[i];
        check((uint64_t)failure->key_offset + failure->key_size <= result.text.size);
        check((uint64_t)failure->message_offset + failure->message_size <= result.text.size);
    }
    s3i_delete_result_clear(&result);
}

static void fuzz_fields(struct s3_str text, struct s3_xml_error *error)
{
    static const char *const NAMES[] = {"UploadId", "ETag", "Credentials/Token", "Credentials/Key"};
    enum { COUNT = sizeof(NAMES) / sizeof(NAMES[0]) };
    struct s3_buf outs[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        s3i_buf_init(&outs[i], 1000);
    }
    s3i_xml_fields(text, "InitiateMultipartUploadResult", NAMES, outs, COUNT, error);
    for (size_t i = 0; i < COUNT; i++) {
        check(outs[i].size <= 1000);
        s3i_buf_clear(&outs[i]);
    }
}

static void fuzz_lines(struct s3_str text)
{
    struct s3_str name;
    struct s3_str value;
    struct s3_content_range range;
    uint64_t number;
    int64_t time;
    struct s3_headers headers;
    s3i_headers_init(&headers, 4096);
    check(s3i_http_status(text) <= 999);
    if (s3i_http_header(text, &name, &value) && s3i_headers_add(&headers, name, value)) {
        s3i_headers_find(&headers, name);
    }
    if (s3i_http_content_range(text, &range)) {
        check(range.first <= range.last && range.last + 1 != 0);
    }
    s3i_http_number(text, &number);
    s3i_http_unsatisfied_range(text, &number);
    s3i_http_date(text, &time);
    s3i_iso_time(text, &time);
    if (s3i_http_retry_after(text, 0, &time)) {
        check(time >= 0 && time <= 60000);
    }
    s3i_headers_clear(&headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_str text = s3i_str((const char *)data, size);
    struct s3_xml_error error;
    s3i_xml_error(text, &error);
    fuzz_listing(text, &error);
    fuzz_delete(text, &error);
    fuzz_fields(text, &error);
    fuzz_lines(text);
    return 0;
}
