/*
 * http: see http.h. Every parser walks a copy of the caller's slice from left to right and fails at
 * the first byte that does not fit; results are written only when the whole text has been
 * understood.
 */
#include "pure/http.h"

#include "base/time.h"

enum { RETRY_AFTER_MAX_S = 60, MONTHS = 12, WEEKDAYS = 7 };

/* Only the first three letters of a name are its short form in dates. */
static const char *const DAY_NAMES[WEEKDAYS] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                "Thursday", "Friday", "Saturday"};
static const char *const MONTH_NAMES[MONTHS] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static void skip(struct s3_str *text, size_t size)
{
    text->data += size;
    text->size -= size;
}

static bool take(struct s3_str *text, struct s3_str expected)
{
    if (!s3i_str_starts(*text, expected)) {
        return false;
    }
    skip(text, expected.size);
    return true;
}

/* All the digits at the front of the text, at least one, at most UINT64_MAX. */
static bool take_number(struct s3_str *text, uint64_t *number)
{
    uint64_t value = 0;
    size_t size = 0;
    for (; size < text->size && is_digit(text->data[size]); size++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text->data[size] - '0'), &value)) {
            return false;
        }
    }
    if (size == 0) {
        return false;
    }
    skip(text, size);
    *number = value;
    return true;
}

/* Exactly `count` digits; more may follow. */
static bool take_digits(struct s3_str *text, size_t count, int *number)
{
    if (text->size < count) {
        return false;
    }
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(text->data[i])) {
            return false;
        }
        value = value * 10 + (text->data[i] - '0');
    }
    skip(text, count);
    *number = value;
    return true;
}

int s3i_http_status(struct s3_str line)
{
    struct s3_str text = s3i_http_without_line_end(line);
    uint64_t major = 0;
    uint64_t minor = 0;
    int status = -1;
    if (!take(&text, S3I_STR("HTTP/")) || !take_number(&text, &major)) {
        return -1;
    }
    if (take(&text, S3I_STR(".")) && !take_number(&text, &minor)) {
        return -1;
    }
    if (!take(&text, S3I_STR(" ")) || !take_digits(&text, 3, &status) || status < 100) {
        return -1;
    }
    return text.size == 0 || text.data[0] == ' ' ? status : -1;
}

static bool is_control(char byte)
{
    unsigned char code = (unsigned char)byte;
    return (code < 0x20 && code != '\t') || code == 0x7F;
}

bool s3i_http_header(struct s3_str line, struct s3_str *name, struct s3_str *value)
{
    struct s3_str text = s3i_http_without_line_end(line);
    size_t colon = 0;
    for (; colon < text.size && text.data[colon] != ':'; colon++) {
        /* Visible ASCII is more than the token of RFC 9110, 5.6.2, which servers do not keep to
         * in the names of metadata; white space is what makes a name ambiguous. */
        if (text.data[colon] <= ' ' || text.data[colon] > '~') {
            return false;
        }
    }
    if (colon == 0 || colon == text.size) {
        return false;
    }
    bool controls = false; /* no early end: so the compiler looks at many bytes at a time */
    for (size_t i = colon + 1; i < text.size; i++) {
        controls |= is_control(text.data[i]);
    }
    if (controls) {
        return false;
    }
    *name = s3i_str(text.data, colon);
    *value = s3i_str_trim(s3i_str(text.data + colon + 1, text.size - colon - 1));
    return true;
}

bool s3i_http_next_element(struct s3_str *list, struct s3_str *element)
{
    if (list->data == NULL) {
        return false;
    }
    const char *comma = memchr(list->data, ',', list->size);
    if (comma == NULL) {
        *element = s3i_str_trim(*list);
        *list = S3I_STR_NONE;
        return true;
    }
    size_t size = (size_t)(comma - list->data);
    *element = s3i_str_trim(s3i_str(list->data, size));
    skip(list, size + 1);
    return true;
}

bool s3i_http_number(struct s3_str text, uint64_t *number)
{
    uint64_t value = 0;
    if (!take_number(&text, &value) || text.size != 0) {
        return false;
    }
    *number = value;
    return true;
}

/* The unit and its space: names of range units compare without case (RFC 9110, 14.1). */
static bool take_bytes_unit(struct s3_str *text)
{
    const struct s3_str unit = S3I_STR("bytes ");
    if (text->size < unit.size || !s3i_str_equal_nocase(s3i_str(text->data, unit.size), unit)) {
        return false;
    }
    skip(text, unit.size);
    return true;
}

bool s3i_http_content_range(struct s3_str text, struct s3_content_range *range)
{
    struct s3_content_range found = {.total_known = false};
    if (!take_bytes_unit(&text) || !take_number(&text, &found.first) ||
        !take(&text, S3I_STR("-")) || !take_number(&text, &found.last) ||
        !take(&text, S3I_STR("/"))) {
        return false;
    }
    if (!take(&text, S3I_STR("*"))) {
        found.total_known = true;
        if (!take_number(&text, &found.total)) {
            return false;
        }
    }
    if (text.size != 0 || found.first > found.last || found.last == UINT64_MAX ||
        (found.total_known && found.last >= found.total)) {
        return false;
    }
    *range = found;
    return true;
}

bool s3i_http_unsatisfied_range(struct s3_str text, uint64_t *total)
{
    return take_bytes_unit(&text) && take(&text, S3I_STR("*/")) && s3i_http_number(text, total);
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Second 60 is a leap second, which the formats allow and the epoch counts as the next second. */
static bool utc_is_valid(const struct s3_utc *utc)
{
    static const int DAYS[MONTHS] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (utc->month < 1 || utc->month > MONTHS || utc->day < 1) {
        return false;
    }
    int days = DAYS[utc->month - 1] + (utc->month == 2 && is_leap(utc->year));
    return utc->day <= days && utc->hour <= 23 && utc->minute <= 59 && utc->second <= 60;
}

static bool take_clock(struct s3_str *text, struct s3_utc *utc)
{
    return take_digits(text, 2, &utc->hour) && take(text, S3I_STR(":")) &&
           take_digits(text, 2, &utc->minute) && take(text, S3I_STR(":")) &&
           take_digits(text, 2, &utc->second);
}

static bool take_month(struct s3_str *text, struct s3_utc *utc)
{
    for (int i = 0; i < MONTHS; i++) {
        if (take(text, s3i_str(MONTH_NAMES[i], 3))) {
            utc->month = i + 1;
            return true;
        }
    }
    return false;
}

/* The name of a day, whole or its first three letters. The name is not checked against the date. */
static bool take_day_name(struct s3_str *text, bool whole)
{
    for (int i = 0; i < WEEKDAYS; i++) {
        if (take(text, whole ? s3i_str_from(DAY_NAMES[i]) : s3i_str(DAY_NAMES[i], 3))) {
            return true;
        }
    }
    return false;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool imf_date(struct s3_str text, struct s3_utc *utc)
{
    return take_day_name(&text, false) && take(&text, S3I_STR(", ")) &&
           take_digits(&text, 2, &utc->day) && take(&text, S3I_STR(" ")) &&
           take_month(&text, utc) && take(&text, S3I_STR(" ")) &&
           take_digits(&text, 4, &utc->year) && take(&text, S3I_STR(" ")) &&
           take_clock(&text, utc) && take(&text, S3I_STR(" GMT")) && text.size == 0;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT"; two digits of a year are read as POSIX does, from 1969 to
 * 2068. */
static bool rfc850_date(struct s3_str text, struct s3_utc *utc)
{
    if (!take_day_name(&text, true) || !take(&text, S3I_STR(", ")) ||
        !take_digits(&text, 2, &utc->day) || !take(&text, S3I_STR("-")) ||
        !take_month(&text, utc) || !take(&text, S3I_STR("-")) ||
        !take_digits(&text, 2, &utc->year) || !take(&text, S3I_STR(" ")) ||
        !take_clock(&text, utc) || !take(&text, S3I_STR(" GMT"))) {
        return false;
    }
    utc->year += utc->year < 69 ? 2000 : 1900;
    return text.size == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool asctime_date(struct s3_str text, struct s3_utc *utc)
{
    if (!take_day_name(&text, false) || !take(&text, S3I_STR(" ")) || !take_month(&text, utc) ||
        !take(&text, S3I_STR(" "))) {
        return false;
    }
    size_t digits = take(&text, S3I_STR(" ")) ? 1 : 2;
    return take_digits(&text, digits, &utc->day) && take(&text, S3I_STR(" ")) &&
           take_clock(&text, utc) && take(&text, S3I_STR(" ")) &&
           take_digits(&text, 4, &utc->year) && text.size == 0;
}

bool s3i_http_date(struct s3_str text, int64_t *epoch)
{
    struct s3_utc utc = {0};
    if (!imf_date(text, &utc) && !rfc850_date(text, &utc) && !asctime_date(text, &utc)) {
        return false;
    }
    if (!utc_is_valid(&utc)) {
        return false;
    }
    *epoch = s3i_utc_to_epoch(utc);
    return true;
}

/* ".123456": digits after the sixth are below the resolution and dropped. */
static bool take_fraction(struct s3_str *text, int64_t *microseconds)
{
    *microseconds = 0;
    if (!take(text, S3I_STR("."))) {
        return true;
    }
    size_t size = 0;
    int64_t weight = 100000;
    for (; size < text->size && is_digit(text->data[size]); size++) {
        *microseconds += (text->data[size] - '0') * weight;
        weight /= 10;
    }
    skip(text, size);
    return size > 0;
}

/* "Z", "+hh:mm" or "+hhmm", in seconds east of UTC. */
static bool take_offset(struct s3_str *text, int64_t *seconds)
{
    *seconds = 0;
    if (take(text, S3I_STR("Z")) || take(text, S3I_STR("z"))) {
        return true;
    }
    int hours = 0;
    int minutes = 0;
    int sign = take(text, S3I_STR("-")) ? -1 : 1;
    if ((sign > 0 && !take(text, S3I_STR("+"))) || !take_digits(text, 2, &hours)) {
        return false;
    }
    take(text, S3I_STR(":"));
    if (!take_digits(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *seconds = (int64_t)sign * (hours * 3600 + minutes * 60);
    return true;
}

bool s3i_iso_time(struct s3_str text, int64_t *epoch_us)
{
    struct s3_utc utc = {0};
    int64_t fraction = 0;
    int64_t offset = 0;
    if (!take_digits(&text, 4, &utc.year) || !take(&text, S3I_STR("-")) ||
        !take_digits(&text, 2, &utc.month) || !take(&text, S3I_STR("-")) ||
        !take_digits(&text, 2, &utc.day) ||
        (!take(&text, S3I_STR("T")) && !take(&text, S3I_STR("t"))) || !take_clock(&text, &utc) ||
        !take_fraction(&text, &fraction) || !take_offset(&text, &offset)) {
        return false;
    }
    if (text.size != 0 || !utc_is_valid(&utc)) {
        return false;
    }
    *epoch_us = (s3i_utc_to_epoch(utc) - offset) * 1000000 + fraction;
    return true;
}

static void add_padded(struct s3_buf *out, int number, int width)
{
    int least = 1;
    for (int i = 1; i < width; i++) {
        least *= 10;
    }
    for (; least > number && least > 1; least /= 10) {
        s3i_buf_add_char(out, '0');
    }
    s3i_buf_add_u64(out, (uint64_t)number);
}

void s3i_http_add_date(struct s3_buf *out, int64_t epoch)
{
    const int64_t first = -62167219200; /* 0000-01-01, and the last second of 9999: four digits */
    const int64_t last = 253402300799;
    if (epoch < first || epoch > last) {
        out->failed = true;
        return;
    }
    struct s3_utc utc = s3i_utc_from_epoch(epoch);
    /* Counted from a Saturday, 0000-01-01, so that the remainder is never negative. */
    int64_t weekday = ((epoch - first) / 86400 + 6) % WEEKDAYS;
    s3i_buf_add(out, s3i_str(DAY_NAMES[weekday], 3));
    s3i_buf_add(out, S3I_STR(", "));
    add_padded(out, utc.day, 2);
    s3i_buf_add_char(out, ' ');
    s3i_buf_add(out, s3i_str(MONTH_NAMES[utc.month - 1], 3));
    s3i_buf_add_char(out, ' ');
    add_padded(out, utc.year, 4);
    s3i_buf_add_char(out, ' ');
    add_padded(out, utc.hour, 2);
    s3i_buf_add_char(out, ':');
    add_padded(out, utc.minute, 2);
    s3i_buf_add_char(out, ':');
    add_padded(out, utc.second, 2);
    s3i_buf_add(out, S3I_STR(" GMT"));
}

static bool all_digits(struct s3_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_digit(text.data[i])) {
            return false;
        }
    }
    return text.size > 0;
}

bool s3i_http_retry_after(struct s3_str text, int64_t now, int64_t *wait_ms)
{
    text = s3i_str_trim(text);
    uint64_t seconds = 0;
    int64_t until = 0;
    if (all_digits(text)) {
        /* A number too large for 64 bits is a wait all the same, and clamped like any other. */
        if (!s3i_http_number(text, &seconds)) {
            seconds = RETRY_AFTER_MAX_S;
        }
    } else if (s3i_http_date(text, &until)) {
        seconds = until > now ? (uint64_t)until - (uint64_t)now : 0;
    } else {
        return false;
    }
    *wait_ms = (int64_t)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
    return true;
}

void s3i_headers_init(struct s3_headers *headers, size_t limit)
{
    s3i_buf_init(&headers->pairs, limit);
    headers->count = 0;
}

void s3i_headers_clear(struct s3_headers *headers)
{
    s3i_buf_clear(&headers->pairs);
    headers->count = 0;
}

void s3i_headers_reset(struct s3_headers *headers)
{
    s3i_buf_reset(&headers->pairs);
    headers->count = 0;
}

static bool is_of_interest(struct s3_str name)
{
    static const struct s3_str PREFIXES[] = {{"content-", 8}, {"x-amz-", 6}};
    static const struct s3_str NAMES[] = {
        {"etag", 4},    {"last-modified", 13}, {"date", 4},     {"cache-control", 13},
        {"age", 3},     {"retry-after", 11},   {"location", 8}, {"server", 6},
        {"expires", 7},
    };
    for (size_t i = 0; i < sizeof(PREFIXES) / sizeof(PREFIXES[0]); i++) {
        if (name.size > PREFIXES[i].size &&
            s3i_str_equal_nocase(s3i_str(name.data, PREFIXES[i].size), PREFIXES[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (s3i_str_equal_nocase(name, NAMES[i])) {
            return true;
        }
    }
    return false;
}

/* ASCII only: header names are. */
static char to_lower(char byte)
{
    if (byte < 'A' || byte > 'Z') {
        return byte;
    }
    return (char)(byte + ('a' - 'A'));
}

static bool has_nul(struct s3_str text)
{
    return text.size && memchr(text.data, '\0', text.size) != NULL;
}

bool s3i_headers_add(struct s3_headers *headers, struct s3_str name, struct s3_str value)
{
    if (!is_of_interest(name)) {
        return true;
    }
    struct s3_buf *pairs = &headers->pairs;
    if (has_nul(name) || has_nul(value) || value.size > SIZE_MAX - name.size - 2 ||
        !s3i_buf_reserve(pairs, name.size + value.size + 2)) {
        return false;
    }
    char *pair = pairs->data + pairs->size;
    for (size_t i = 0; i < name.size; i++) {
        *pair++ = to_lower(name.data[i]);
    }
    *pair++ = '\0';
    if (value.size) {
        memcpy(pair, value.data, value.size);
    }
    pair[value.size] = '\0';
    pairs->size += name.size + value.size + 2;
    headers->count++;
    return true;
}

struct s3_str s3i_headers_find(const struct s3_headers *headers, struct s3_str name)
{
    size_t at = 0;
    while (at < headers->pairs.size) {
        const char *pair = headers->pairs.data + at;
        struct s3_str found = s3i_str(pair, strlen(pair));
        pair += found.size + 1;
        struct s3_str value = s3i_str(pair, strlen(pair));
        if (s3i_str_equal(found, name)) {
            return value;
        }
        at += found.size + value.size + 2;
    }
    return S3I_STR_NONE;
}
