/*
 * error: the one table of outcomes, and the record that carries one to Python.
 *
 * The table gives the enum, the name, the default text, whether the same call may succeed later,
 * and the Python class (s3ext/exceptions.py); nothing else in the project lists error codes.
 *
 * A record is plain memory of fixed size: setting one never allocates and never fails. The first
 * error wins: setting a record that already holds one keeps the old one, so that a clean-up step
 * cannot hide its cause. No secret, signature or header value that could hold one may ever be
 * written into a record.
 */
#ifndef S3I_BASE_ERROR_H
#define S3I_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/*    name                value  retryable  Python class             text */
#define S3I_ERRORS(X)                                                                              \
    X(OK, 0, 0, "", "success")                                                                     \
    X(INVALID, -1, 0, "ValueError", "invalid argument")                                            \
    X(NO_MEMORY, -2, 0, "MemoryError", "out of memory")                                            \
    X(CANCELLED, -3, 0, "GenericError", "the operation was cancelled")                             \
    X(SHUTDOWN, -4, 0, "GenericError", "the engine has shut down")                                 \
    X(SYSTEM, -5, 1, "GenericError", "a system call failed")                                       \
    X(GENERIC, -6, 0, "GenericError", "the request failed")                                        \
    X(NOT_FOUND, -7, 0, "NotFoundError", "not found")                                              \
    X(ALREADY_EXISTS, -8, 0, "AlreadyExistsError", "the object already exists")                    \
    X(PRECONDITION, -9, 0, "PreconditionError", "a precondition failed")                           \
    X(MODIFIED, -10, 1, "PreconditionError", "the object changed while it was read")               \
    X(NOT_MODIFIED, -11, 0, "NotModifiedError", "the object was not modified")                     \
    X(PERMISSION_DENIED, -12, 0, "PermissionDeniedError", "permission denied")                     \
    X(UNAUTHENTICATED, -13, 0, "UnauthenticatedError", "the credentials were refused")             \
    X(CREDENTIALS, -14, 1, "UnauthenticatedError", "no credentials could be had")                  \
    X(NOT_SUPPORTED, -15, 0, "NotSupportedError", "not supported")                                 \
    X(THROTTLED, -16, 1, "ThrottledError", "the server asked to slow down")                        \
    X(SERVER, -17, 1, "GenericError", "the server failed")                                         \
    X(TIMEOUT, -18, 1, "RequestTimeoutError", "the request took too long")                         \
    X(RESOLVE, -19, 1, "ConnectError", "the host name could not be resolved")                      \
    X(CONNECT, -20, 1, "ConnectError", "no connection could be made")                              \
    X(TLS, -21, 0, "ConnectError", "the TLS connection was refused")                               \
    X(PROXY, -22, 0, "ConnectError", "the proxy refused the connection")                           \
    X(TRANSPORT, -23, 1, "ConnectError", "the connection broke")                                   \
    X(PROTOCOL, -24, 0, "ProtocolError", "the server broke the protocol")                          \
    X(CHECKSUM, -25, 1, "ChecksumError", "a checksum did not match")                               \
    X(REGION, -26, 0, "GenericError", "the bucket is in another region")                           \
    X(TOO_SMALL, -27, 0, "ValueError", "the destination buffer is too small")

enum s3_code {
#define S3I_CODE(name, value, retryable, python, text) S3EXT_##name = (value),
    S3I_ERRORS(S3I_CODE)
#undef S3I_CODE
};

struct s3_error {
    int32_t code;        /* enum s3_code; 0 means that no error is set */
    int32_t http_status; /* 0 when no answer came */
    uint32_t attempts;   /* exchanges tried, the failed one included */
    uint32_t reserved;
    char s3_code[64];    /* <Code> of the error document, "" if there was none */
    char request_id[64]; /* x-amz-request-id */
    char host_id[128];   /* x-amz-id-2 */
    char host[256];      /* host:port that was asked */
    char message[512];   /* one line, UTF-8, cut where it does not fit */
};

/* The name ("NOT_FOUND"), text and Python class of a code; "UNKNOWN" for a number outside the
 * table. */
const char *s3i_error_name(int code);
const char *s3i_error_text(int code);
const char *s3i_error_python(int code);
bool s3i_error_retryable(int code);

void s3i_error_clear(struct s3_error *error);

/*
 * Sets code and message (printf form) unless an error is already set; returns the record's code, so
 * that `return s3i_error_set(...)` reads well. `error` may be NULL: then only the code is returned.
 */
int s3i_error_set(struct s3_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies text into a fixed field, cutting at a UTF-8 boundary and turning control characters into
 * spaces. */
void s3i_error_text_copy(char *field, size_t capacity, struct s3_str text);

/* Runs an expression that returns a code and returns that code when it is not S3EXT_OK. */
#define S3I_TRY(expression)                                                                        \
    do {                                                                                           \
        int s3i_try_code = (expression);                                                           \
        if (s3i_try_code != S3EXT_OK) {                                                            \
            return s3i_try_code;                                                                   \
        }                                                                                          \
    } while (0)

#endif
