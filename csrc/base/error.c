#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

struct row {
    int code;
    bool retryable;
    const char *name;
    const char *python;
    const char *text;
};

static const struct row ROWS[] = {
#define S3I_ROW(name, value, retryable, python, text)                                              \
    {(value), (retryable) != 0, #name, (python), (text)},
    S3I_ERRORS(S3I_ROW)
#undef S3I_ROW
};

static const struct row UNKNOWN = {1, false, "UNKNOWN", "GenericError", "an unknown error"};

static const struct row *row_of(int code)
{
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        if (ROWS[i].code == code) {
            return &ROWS[i];
        }
    }
    return &UNKNOWN;
}

const char *s3i_error_name(int code)
{
    return row_of(code)->name;
}

const char *s3i_error_text(int code)
{
    return row_of(code)->text;
}

const char *s3i_error_python(int code)
{
    return row_of(code)->python;
}

bool s3i_error_retryable(int code)
{
    return row_of(code)->retryable;
}

void s3i_error_clear(struct s3_error *error)
{
    memset(error, 0, sizeof(*error));
}

/* Cuts a UTF-8 text that was truncated at `size` bytes back to its last whole character. */
static size_t utf8_floor(const char *text, size_t size)
{
    size_t start = size;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) {
        start--;
    }
    if (start == 0) {
        return 0;
    }
    unsigned char lead = (unsigned char)text[start - 1];
    size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    return start - 1 + length <= size ? size : start - 1;
}

void s3i_error_text_copy(char *field, size_t capacity, struct s3_str text)
{
    size_t size = text.size < capacity ? text.size : utf8_floor(text.data, capacity - 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        field[i] = byte < 0x20 || byte == 0x7F ? ' ' : text.data[i];
    }
    field[size] = '\0';
}

int s3i_error_set(struct s3_error *error, int code, const char *format, ...)
{
    if (error == NULL) {
        return code;
    }
    if (error->code != S3EXT_OK) {
        return error->code;
    }
    char line[sizeof(error->message) + 64];
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    size_t size = written < 0 ? 0 : strnlen(line, sizeof(line));
    error->code = code;
    s3i_error_text_copy(error->message, sizeof(error->message), s3i_str(line, size));
    return code;
}
