/*
 * retry: see retry.h. The table of codes is the union of what botocore's standard mode, the AWS
 * CRT, object_store, minio-go and s5cmd retry.
 */
#include "pure/retry.h"

#include <stddef.h>

enum {
    THROTTLE_FIRST_MS = 1000,
    BUDGET_CAPACITY = 500,
    COST_ANSWER = 5,
    COST_BROKEN = 10,
    GIVE_PLAIN = 1
};

/*
 * `status` is the one that S3 documents for the code: an <Error> inside a 200 answer (CopyObject,
 * CompleteMultipartUpload, DeleteObjects) is judged as if it had come with it.
 */
struct code_row {
    const char *code;
    enum s3_retry_class class;
    int status;
};

static const struct code_row CODES[] = {
    {"SlowDown", S3I_RETRY_THROTTLE, 503},
    {"SlowDownRead", S3I_RETRY_THROTTLE, 503},
    {"SlowDownWrite", S3I_RETRY_THROTTLE, 503},
    {"Throttling", S3I_RETRY_THROTTLE, 429},
    {"ThrottlingException", S3I_RETRY_THROTTLE, 429},
    {"ThrottledException", S3I_RETRY_THROTTLE, 429},
    {"RequestThrottled", S3I_RETRY_THROTTLE, 429},
    {"RequestThrottledException", S3I_RETRY_THROTTLE, 429},
    {"TooManyRequestsException", S3I_RETRY_THROTTLE, 429},
    {"TooManyRequests", S3I_RETRY_THROTTLE, 429},
    {"RequestLimitExceeded", S3I_RETRY_THROTTLE, 429},
    {"BandwidthLimitExceeded", S3I_RETRY_THROTTLE, 509},
    {"LimitExceededException", S3I_RETRY_THROTTLE, 429},
    {"ProvisionedThroughputExceededException", S3I_RETRY_THROTTLE, 429},
    {"PriorRequestNotComplete", S3I_RETRY_THROTTLE, 429},
    {"ServiceUnavailable", S3I_RETRY_THROTTLE, 503},
    {"Busy", S3I_RETRY_THROTTLE, 503},
    {"XMinioServerNotInitialized", S3I_RETRY_THROTTLE, 503},

    {"InternalError", S3I_RETRY_SERVER, 500},
    {"InternalErrors", S3I_RETRY_SERVER, 500},
    {"RequestTimeout", S3I_RETRY_SERVER, 408},
    {"RequestTimeoutException", S3I_RETRY_SERVER, 408},
    {"OperationAborted", S3I_RETRY_SERVER, 409},
    {"ConditionalRequestConflict", S3I_RETRY_SERVER, 409},

    {"BadDigest", S3I_RETRY_ONCE, 400},
    {"XAmzContentSHA256Mismatch", S3I_RETRY_ONCE, 400},

    {"ExpiredToken", S3I_RETRY_CREDENTIALS, 400},
    {"ExpiredTokenException", S3I_RETRY_CREDENTIALS, 400},
    {"TokenRefreshRequired", S3I_RETRY_CREDENTIALS, 400},
    {"InvalidToken", S3I_RETRY_CREDENTIALS, 400},

    {"AccessDenied", S3I_RETRY_NEWER_KEYS, 403},
    {"InvalidAccessKeyId", S3I_RETRY_NEWER_KEYS, 403},
    {"SignatureDoesNotMatch", S3I_RETRY_NEWER_KEYS, 403},

    {"RequestTimeTooSkewed", S3I_RETRY_CLOCK, 403},
    {"RequestExpired", S3I_RETRY_CLOCK, 400},

    {"AuthorizationHeaderMalformed", S3I_RETRY_REGION, 400},
    {"PermanentRedirect", S3I_RETRY_REGION, 301},
    {"TemporaryRedirect", S3I_RETRY_REGION, 307},
    {"Redirect", S3I_RETRY_REGION, 307},
    {"IllegalLocationConstraintException", S3I_RETRY_REGION, 400},
    {"IncorrectEndpoint", S3I_RETRY_REGION, 400},

    {"NotImplemented", S3I_RETRY_NEVER, 501},
    {"NoSuchBucket", S3I_RETRY_NEVER, 404},
    {"NoSuchKey", S3I_RETRY_NEVER, 404},
    {"NoSuchUpload", S3I_RETRY_NEVER, 404},
    {"NoSuchVersion", S3I_RETRY_NEVER, 404},
    {"PreconditionFailed", S3I_RETRY_NEVER, 412},
};

struct status_row {
    int first, last;
    enum s3_retry_class class;
};

/* The first row that holds a status counts; what no row holds is final. */
static const struct status_row STATUSES[] = {
    {429, 429, S3I_RETRY_THROTTLE}, {503, 503, S3I_RETRY_THROTTLE},
    {509, 509, S3I_RETRY_THROTTLE}, {301, 302, S3I_RETRY_REGION},
    {307, 308, S3I_RETRY_REGION},   {408, 408, S3I_RETRY_SERVER},
    {499, 499, S3I_RETRY_SERVER},   {501, 501, S3I_RETRY_NEVER},
    {505, 505, S3I_RETRY_NEVER},    {403, 403, S3I_RETRY_NEWER_KEYS},
    {500, 599, S3I_RETRY_SERVER},
};

static const struct code_row *find_code(struct s3_str code)
{
    for (size_t i = 0; i < sizeof(CODES) / sizeof(CODES[0]); i++) {
        if (s3i_str_equal(s3i_str_from(CODES[i].code), code)) {
            return &CODES[i];
        }
    }
    return NULL;
}

static enum s3_retry_class class_of_status(int status)
{
    for (size_t i = 0; i < sizeof(STATUSES) / sizeof(STATUSES[0]); i++) {
        if (status >= STATUSES[i].first && status <= STATUSES[i].last) {
            return STATUSES[i].class;
        }
    }
    return S3I_RETRY_NEVER;
}

static bool is_success(int status)
{
    return status >= 200 && status <= 299;
}

enum s3_retry_class s3i_retry_answer(int http_status, struct s3_str s3_code)
{
    enum s3_retry_class by_status = class_of_status(http_status);
    /* A 503 asks to slow down whatever its body says: a proxy may have written it. */
    if (by_status == S3I_RETRY_THROTTLE) {
        return by_status;
    }
    const struct code_row *row = find_code(s3_code);
    return row != NULL && row->class != S3I_RETRY_NEVER ? row->class : by_status;
}

/* The outcomes that a status alone decides, whatever the code; 0 for none. */
static int outcome_of_status(int status)
{
    switch (status) {
    case 304:
        return S3EXT_NOT_MODIFIED;
    case 401:
        return S3EXT_UNAUTHENTICATED;
    case 403:
        return S3EXT_PERMISSION_DENIED;
    case 404:
        return S3EXT_NOT_FOUND;
    case 409:
        return S3EXT_ALREADY_EXISTS;
    case 412:
        return S3EXT_PRECONDITION;
    default:
        return S3EXT_OK;
    }
}

static bool is_timeout(int status, struct s3_str s3_code)
{
    const struct code_row *row = find_code(s3_code);
    return status == 408 || (row != NULL && row->status == 408);
}

int s3i_retry_outcome(int http_status, struct s3_str s3_code)
{
    const struct code_row *row = find_code(s3_code);
    int status = is_success(http_status) && row != NULL ? row->status : http_status;
    int by_status = outcome_of_status(status);
    if (by_status != S3EXT_OK) {
        return by_status;
    }
    switch (s3i_retry_answer(status, s3_code)) {
    case S3I_RETRY_THROTTLE:
        return S3EXT_THROTTLED;
    case S3I_RETRY_SERVER:
        return is_timeout(status, s3_code) ? S3EXT_TIMEOUT : S3EXT_SERVER;
    case S3I_RETRY_CREDENTIALS:
        return S3EXT_UNAUTHENTICATED;
    case S3I_RETRY_REGION:
        return S3EXT_REGION;
    case S3I_RETRY_NEVER:
    case S3I_RETRY_CONNECT:
    case S3I_RETRY_TRANSPORT:
    case S3I_RETRY_ONCE:
    case S3I_RETRY_NEWER_KEYS:
    case S3I_RETRY_CLOCK:
        break;
    }
    return S3EXT_GENERIC;
}

void s3i_retry_defaults(struct s3_retry_config *config)
{
    *config = (struct s3_retry_config){.max_retries = 10,
                                       .retry_timeout_ms = 180000,
                                       .init_backoff_ms = 100,
                                       .max_backoff_ms = 15000,
                                       .base = 2.0};
}

/* base^exponent by squaring: at most 32 steps for any exponent; too large becomes infinity. */
static double power(double base, uint32_t exponent)
{
    double result = 1.0;
    for (; exponent != 0; exponent >>= 1) {
        if (exponent & 1) {
            result *= base;
        }
        base *= base;
    }
    return result;
}

int64_t s3i_retry_delay_ms(const struct s3_retry_config *config, enum s3_retry_class class,
                           uint32_t retry, double uniform, int64_t retry_after_ms)
{
    int64_t first = config->init_backoff_ms;
    if (class == S3I_RETRY_THROTTLE && !config->init_backoff_set && first < THROTTLE_FIRST_MS) {
        first = THROTTLE_FIRST_MS;
    }
    int64_t most = 0;
    if (first > 0 && config->max_backoff_ms > 0) {
        double grown = (double)first * power(config->base, retry);
        most = grown < (double)config->max_backoff_ms ? (int64_t)grown : config->max_backoff_ms;
    }
    /* One more, so that `most` itself can be drawn; even rounded, the product stays below it. */
    int64_t wait = (int64_t)(uniform * ((double)most + 1.0));
    return wait > retry_after_ms ? wait : retry_after_ms;
}

static int32_t cost_of(enum s3_retry_class class)
{
    switch (class) {
    case S3I_RETRY_THROTTLE:
    case S3I_RETRY_SERVER:
    case S3I_RETRY_ONCE:
        return COST_ANSWER;
    case S3I_RETRY_TRANSPORT:
        return COST_BROKEN;
    case S3I_RETRY_CONNECT:
    case S3I_RETRY_NEVER:
    case S3I_RETRY_CREDENTIALS:
    case S3I_RETRY_NEWER_KEYS:
    case S3I_RETRY_CLOCK:
    case S3I_RETRY_REGION:
        break;
    }
    return 0;
}

void s3i_retry_budget_init(struct s3_retry_budget *budget)
{
    budget->tokens = BUDGET_CAPACITY;
}

int32_t s3i_retry_budget_take(struct s3_retry_budget *budget, enum s3_retry_class class)
{
    int32_t cost = cost_of(class);
    if (cost > budget->tokens) {
        return -1;
    }
    budget->tokens -= cost;
    return cost;
}

void s3i_retry_budget_give(struct s3_retry_budget *budget, int32_t taken)
{
    int32_t given = taken > 0 ? taken : GIVE_PLAIN;
    int32_t room = BUDGET_CAPACITY - budget->tokens;
    budget->tokens += given < room ? given : room;
}

enum s3_retry_class s3i_retry_broken(int code, bool nothing_sent)
{
    switch (code) {
    case S3EXT_RESOLVE:
    case S3EXT_CONNECT:
        return S3I_RETRY_CONNECT;
    case S3EXT_TIMEOUT:
    case S3EXT_TRANSPORT:
        return nothing_sent ? S3I_RETRY_CONNECT : S3I_RETRY_TRANSPORT;
    case S3EXT_PROTOCOL:
    case S3EXT_CHECKSUM:
        return S3I_RETRY_TRANSPORT;
    default:
        return S3I_RETRY_NEVER;
    }
}
