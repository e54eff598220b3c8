/*
 * A libFuzzer target: an answer of HTTP/1.1 is the same answer wherever its bytes are cut, and
 * whether its body goes through the parser or past it. Two bytes of the input choose the request
 * and the cuts, the rest is the answer. Each feed sees a heap block of its own size, so that
 * AddressSanitizer sees a read beyond it.
 *
 * clang -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -Icsrc
 *     tests/pure/fuzz_http1.c csrc/base/[a-z]*.c csrc/pure/http.c csrc/pure/http1.c -lexpat -lcrypto
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "pure/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* One reading of an answer: what it gave, as text, and how it ended. */
struct reading {
    struct s3_http1 parser;
    struct s3_http1_event event;
    struct s3_buf text;
    bool in_body; /* the last bytes of the text are the body's; the next ones join them */
    size_t used;  /* bytes of the answer that were consumed */
};

static void note(struct reading *reading, struct s3_str data, bool body)
{
    if (!body || !reading->in_body) {
        s3i_buf_add_char(&reading->text, body ? 'B' : 'L');
    }
    s3i_buf_add(&reading->text, data);
    reading->in_body = body;
}

/* Feeds what has arrived, up to `end`, until more is needed. */
static void feed(struct reading *reading, struct s3_str answer, size_t end)
{
    do {
        size_t size = end - reading->used;
        char *block = malloc(size);
        check(block != NULL || size == 0);
        if (size) {
            memcpy(block, answer.data + reading->used, size);
        }
        size_t used = s3i_http1_feed(&reading->parser, s3i_str(block, size), &reading->event);
        struct s3_str data = reading->event.data;
        check(used <= size);
        check((reading->event.reason != NULL) == (reading->event.kind == S3I_HTTP1_FAILED));
        if (data.data != NULL) {
            check(data.size > 0 && data.data >= block && data.data + data.size == block + used);
            note(reading, data, reading->event.kind == S3I_HTTP1_BODY);
        }
        reading->used += used;
        free(block);
    } while (reading->event.kind == S3I_HTTP1_LINE || reading->event.kind == S3I_HTTP1_BODY);
}

/* Receives up to `step` bytes at a time, the body's past the parser where it may. */
static void read_answer(struct reading *reading, struct s3_str answer, bool head, size_t step,
                        bool direct)
{
    *reading = (struct reading){.used = 0};
    s3i_buf_init(&reading->text, 4 * answer.size + 16);
    s3i_http1_begin(&reading->parser, head);
    for (size_t end = 0; end < answer.size;) {
        size_t size = answer.size - end < step ? answer.size - end : step;
        uint64_t past = direct && reading->used == end ? s3i_http1_direct(&reading->parser) : 0;
        if (past) {
            size = past < size ? (size_t)past : size;
            s3i_http1_took(&reading->parser, size);
            note(reading, s3i_str(answer.data + end, size), true);
            reading->used += size;
        }
        end += size;
        feed(reading, answer, end);
        if (reading->event.kind != S3I_HTTP1_NEED_MORE) {
            return;
        }
    }
    check(s3i_http1_eof(&reading->parser, &reading->event) ==
          (reading->event.kind == S3I_HTTP1_DONE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct s3_str answer = s3i_str((const char *)data + 2, size - 2);
    struct reading whole;
    struct reading cut;
    read_answer(&whole, answer, data[0] & 1, SIZE_MAX, false);
    read_answer(&cut, answer, data[0] & 1, 1 + data[1], data[0] & 2);
    check(s3i_buf_ok(&whole.text) && s3i_buf_ok(&cut.text));
    check(s3i_str_equal(s3i_buf_str(&whole.text), s3i_buf_str(&cut.text)));
    check(whole.event.kind == cut.event.kind && whole.event.reason == cut.event.reason);
    check(whole.parser.keep_alive == cut.parser.keep_alive && whole.used == cut.used);
    s3i_buf_clear(&whole.text);
    s3i_buf_clear(&cut.text);
    return 0;
}
