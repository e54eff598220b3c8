#include "flow/exchange.h"

#include <inttypes.h> /* PRIu64 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/time.h"
#include "flow/counters.h"
#include "flow/reactor.h"
#include "pure/hash.h"
#include "pure/uri.h"

enum {
    URL_LIMIT = 16 * 1024,
    LINES_LIMIT = 64 * 1024,
    HEADERS_LIMIT = 64 * 1024,       /* of the answer's headers of interest */
    HEADER_BYTES_LIMIT = 256 * 1024, /* of an answer's header lines in all */
    ERROR_DOCUMENT_LIMIT = 64 * 1024
};

static const struct s3_transfer_events EVENTS;

struct s3_exchange *s3i_exchange_new(struct s3_reactor *reactor)
{
    struct s3_exchange *exchange = s3i_calloc(1, sizeof(*exchange));
    if (exchange != NULL) {
        exchange->reactor = reactor;
        s3i_list_init(&exchange->node);
        s3i_buf_init(&exchange->url, URL_LIMIT);
        s3i_buf_init(&exchange->lines, LINES_LIMIT);
        s3i_buf_init(&exchange->document, ERROR_DOCUMENT_LIMIT);
        s3i_headers_init(&exchange->headers, HEADERS_LIMIT);
    }
    return exchange;
}

void s3i_exchange_free(struct s3_exchange *exchange)
{
    s3i_list_remove(&exchange->node);
    s3i_buf_clear(&exchange->url);
    s3i_buf_clear(&exchange->lines);
    s3i_buf_clear(&exchange->document);
    s3i_headers_clear(&exchange->headers);
    s3i_free(exchange);
}

/* ---- sending ---- */

/* The headers of one attempt while they are gathered: all are signed, all but host are sent. */
struct gathering {
    struct s3_header headers[S3I_EXCHANGE_HEADERS];
    size_t count;
    bool overflow;
    char date[32]; /* in the form that the version of the signature wants */
    char range[64];
};

static void gather(struct gathering *out, struct s3_str name, struct s3_str value)
{
    if (out->count == S3I_EXCHANGE_HEADERS) {
        out->overflow = true;
        return;
    }
    out->headers[out->count++] = (struct s3_header){name, value};
}

/* An operation's header replaces a default one of the same name. */
static bool gathered(const struct gathering *out, struct s3_str name)
{
    for (size_t i = 0; i < out->count; i++) {
        if (s3i_str_equal(out->headers[i].name, name)) {
            return true;
        }
    }
    return false;
}

static void gather_block(struct gathering *out, struct s3_str block)
{
    while (block.size) {
        struct s3_str name = s3i_str(block.data, strnlen(block.data, block.size));
        size_t used = name.size + 1;
        if (used >= block.size) {
            return;
        }
        struct s3_str value =
            s3i_str(block.data + used, strnlen(block.data + used, block.size - used));
        used += value.size + 1;
        if (!gathered(out, name)) {
            gather(out, name, value);
        }
        block = used < block.size ? s3i_str(block.data + used, block.size - used) : S3I_STR_NONE;
    }
}

static void gather_range(struct gathering *out, const struct s3_request *request)
{
    uint64_t start = request->range.start + request->received;
    int size;
    if (request->range_kind == S3I_RANGE_SUFFIX) {
        size = snprintf(out->range, sizeof(out->range), "bytes=-%" PRIu64, request->suffix);
    } else if (request->range.end == UINT64_MAX) {
        size = snprintf(out->range, sizeof(out->range), "bytes=%" PRIu64 "-", start);
    } else {
        size = snprintf(out->range, sizeof(out->range), "bytes=%" PRIu64 "-%" PRIu64, start,
                        request->range.end - 1);
    }
    gather(out, S3I_STR("range"), s3i_str(out->range, (size_t)size));
}

static struct s3_str payload_hash(const struct s3_request *request)
{
    if (request->client->unsigned_payload) {
        return S3I_STR("UNSIGNED-PAYLOAD");
    }
    if (request->body.size == 0) {
        return S3I_STR(S3I_SHA256_EMPTY);
    }
    return s3i_str_from(request->payload.hex);
}

static void gather_encryption(struct gathering *out, const struct s3_request *request)
{
    const struct s3_client *client = request->client;
    if (request->encryption & S3I_ENCRYPT_WRITE) {
        gather_block(out, client->write_headers);
    }
    if (request->encryption & S3I_ENCRYPT_KEY) {
        gather_block(out, client->key_headers);
    }
    if (request->encryption & S3I_ENCRYPT_SOURCE) {
        gather_block(out, client->source_headers);
    }
}

/* What the version of the signature wants to be there, but for the token. */
static void gather_time(struct s3_exchange *exchange, struct gathering *out, struct s3_str *hash,
                        int64_t epoch)
{
    if (exchange->identity->v2_signer != NULL) {
        struct s3_buf date;
        s3i_buf_fixed(&date, out->date, sizeof(out->date));
        s3i_http_add_date(&date, epoch);
        gather(out, S3I_STR("date"), s3i_buf_str(&date));
        return;
    }
    *hash = payload_hash(exchange->request);
    s3i_amz_date(out->date, epoch);
    gather(out, S3I_STR("host"), exchange->identity->target.host);
    gather(out, S3I_STR("x-amz-content-sha256"), *hash);
    gather(out, S3I_STR("x-amz-date"), s3i_str(out->date, S3I_AMZ_DATE_SIZE));
}

static int gather_all(struct s3_exchange *exchange, struct gathering *out, struct s3_str *hash,
                      int64_t epoch)
{
    const struct s3_request *request = exchange->request;
    const struct s3_client *client = request->client;
    gather_block(out, request->headers);
    gather_block(out, request->extra_headers);
    if (request->range_kind != S3I_RANGE_NONE) {
        gather_range(out, request);
    }
    if (request->pinned_etag.data != NULL && !gathered(out, S3I_STR("if-match"))) {
        gather(out, S3I_STR("if-match"), request->pinned_etag);
    }
    if (request->checksum != S3I_CHECKSUM_NONE) {
        gather(out, s3i_checksum_names(request->checksum)->header,
               s3i_str_from(request->payload.checksum));
    }
    gather_encryption(out, request);
    gather_block(out, client->default_headers);
    if (exchange->identity->credentials != NULL) {
        gather_time(exchange, out, hash, epoch);
        if (exchange->identity->credentials->token.size) {
            gather(out,
                   client->express_session ? S3I_STR("x-amz-s3session-token")
                                           : S3I_STR("x-amz-security-token"),
                   exchange->identity->credentials->token);
        }
        if (client->request_payer) {
            gather(out, S3I_STR("x-amz-request-payer"), S3I_STR("requester"));
        }
    }
    return out->overflow ? S3EXT_INVALID : S3EXT_OK;
}

/* Why a part of the request could not be written. */
static int unfit(const struct s3_buf *buf)
{
    return buf->starved ? S3EXT_NO_MEMORY : S3EXT_INVALID;
}

/* Room at once where the customer's key is among the lines: growing, they would leave a copy. */
static void prepare_lines(struct s3_exchange *exchange)
{
    enum { ENOUGH = 8 * 1024 };
    const struct s3_request *request = exchange->request;
    s3i_buf_reset(&exchange->lines);
    exchange->secret = request->encryption != 0 && request->client->key_headers.size > 0;
    if (exchange->secret) {
        s3i_buf_reserve(&exchange->lines, ENOUGH);
    }
}

static void begin_line(struct s3_exchange *exchange, size_t *offsets, size_t *count)
{
    offsets[(*count)++] = exchange->lines.size;
}

static void write_lines(struct s3_exchange *exchange, const struct gathering *headers,
                        size_t *offsets, size_t *count)
{
    struct s3_buf *lines = &exchange->lines;
    for (size_t i = 0; i < headers->count; i++) {
        if (s3i_str_equal(headers->headers[i].name, S3I_STR("host"))) {
            continue; /* the lane writes it from the URL */
        }
        begin_line(exchange, offsets, count);
        s3i_buf_add(lines, headers->headers[i].name);
        /* A header with an empty value is written "name;" for libcurl, which drops "name:". */
        s3i_buf_add(lines, headers->headers[i].value.size ? S3I_STR(": ") : S3I_STR(";"));
        s3i_buf_add(lines, headers->headers[i].value);
        s3i_buf_add_char(lines, '\0');
    }
}

/* The path as it is signed, and the URL around it. */
static struct s3_str write_url(struct s3_exchange *exchange)
{
    const struct s3_request *request = exchange->request;
    const struct s3_target *target = &exchange->identity->target;
    struct s3_buf *url = &exchange->url;
    s3i_buf_reset(url);
    s3i_buf_add(url, target->origin);
    size_t path = url->size;
    s3i_buf_add(url, target->path_prefix);
    if (request->has_key || target->path_prefix.size == 0) {
        s3i_buf_add_char(url, '/');
    }
    if (request->has_key) {
        s3i_uri_add_path(url, request->key);
    }
    size_t path_size = url->size - path;
    if (request->query.size) {
        s3i_buf_add_char(url, '?');
        s3i_buf_add(url, request->query);
    }
    s3i_buf_terminate(url);
    return s3i_buf_ok(url) ? s3i_str(url->data + path, path_size) : S3I_STR_NONE;
}

static int add_v2_signature(struct s3_exchange *exchange, struct gathering *headers,
                            struct s3_str path)
{
    const struct s3_identity *identity = exchange->identity;
    const struct s3_v2_request to_sign = {
        .method = s3i_method_name(exchange->request->method),
        .bucket = identity->target.host_bucket,
        .path = path,
        .query = exchange->request->query,
        .headers = headers->headers,
        .header_count = headers->count,
    };
    return s3i_v2_sign_headers(identity->v2_signer, &to_sign, &exchange->lines);
}

static int add_v4_signature(struct s3_exchange *exchange, struct gathering *headers,
                            struct s3_str path, struct s3_str hash, int64_t epoch)
{
    const struct s3_request *request = exchange->request;
    const struct s3_sign_request to_sign = {
        .method = s3i_method_name(request->method),
        .path = path,
        .query = request->query,
        .headers = headers->headers,
        .header_count = headers->count,
        .payload_hash = hash,
    };
    return s3i_sign_headers(exchange->identity->signer, &to_sign, epoch, &exchange->lines);
}

static int sign(struct s3_exchange *exchange, struct gathering *headers, struct s3_str path,
                struct s3_str hash, int64_t epoch)
{
    s3i_buf_add(&exchange->lines, S3I_STR("authorization: "));
    S3I_TRY(exchange->identity->v2_signer != NULL
                ? add_v2_signature(exchange, headers, path)
                : add_v4_signature(exchange, headers, path, hash, epoch));
    s3i_buf_add_char(&exchange->lines, '\0');
    return S3EXT_OK;
}

static int write_request(struct s3_exchange *exchange)
{
    struct gathering headers = {.count = 0};
    struct s3_str hash = S3I_STR_NONE;
    size_t offsets[S3I_EXCHANGE_HEADERS + 1];
    size_t count = 0;
    int64_t epoch = s3i_wall_seconds() + atomic_load(&exchange->request->client->clock_offset);
    struct s3_str path = write_url(exchange);
    if (path.data == NULL) {
        return unfit(&exchange->url);
    }
    S3I_TRY(gather_all(exchange, &headers, &hash, epoch));
    prepare_lines(exchange);
    write_lines(exchange, &headers, offsets, &count);
    if (!s3i_buf_ok(&exchange->lines)) {
        return unfit(&exchange->lines);
    }
    if (exchange->identity->credentials != NULL) {
        begin_line(exchange, offsets, &count);
        S3I_TRY(sign(exchange, &headers, path, hash, epoch));
    }
    if (!s3i_buf_ok(&exchange->lines) || count > S3I_EXCHANGE_HEADERS) {
        return unfit(&exchange->lines);
    }
    for (size_t i = 0; i < count; i++) {
        exchange->line_starts[i] = exchange->lines.data + offsets[i];
    }
    exchange->transfer.header_count = count;
    return S3EXT_OK;
}

static void reset_answer(struct s3_exchange *exchange)
{
    s3i_headers_reset(&exchange->headers);
    s3i_buf_reset(&exchange->document);
    s3i_error_clear(&exchange->error);
    exchange->header_bytes = 0;
    exchange->status = 0;
    exchange->judged = false;
    exchange->deliver = false;
    exchange->skip = 0;
    exchange->wanted_known = false;
    exchange->wanted = 0;
    exchange->moved = 0;
    exchange->progress_bytes = 0;
    exchange->started_ms = s3i_now_ms();
    exchange->progress_ms = exchange->started_ms;
}

static uint64_t expected_bytes(const struct s3_request *request)
{
    enum { MIDDLE = 64 * 1024 };
    if (request->may_be_small) {
        return MIDDLE;
    }
    if (request->range_kind == S3I_RANGE_SPAN && request->range.end != UINT64_MAX) {
        return request->range.end - request->range.start - request->received;
    }
    return request->range_kind == S3I_RANGE_SUFFIX ? request->suffix : request->document_limit / 16;
}

static void retire(struct s3_exchange *exchange)
{
    if (exchange->secret) {
        s3i_buf_wipe(&exchange->lines);
        exchange->secret = false;
    }
    s3i_list_remove(&exchange->node);
    s3i_identity_release(exchange->identity);
    exchange->identity = NULL;
    exchange->request = NULL;
    s3i_reactor_give_exchange(exchange->reactor, exchange);
}

static int hand_to_lane(struct s3_exchange *exchange, enum s3_lane_kind kind)
{
    exchange->lane_class = s3i_lane_classes[kind];
    exchange->lane = s3i_reactor_lane(exchange->reactor, kind);
    return exchange->lane == NULL ? S3EXT_NO_MEMORY
                                  : exchange->lane_class->start(exchange->lane, &exchange->transfer);
}

int s3i_exchange_start(struct s3_exchange *exchange, struct s3_request *request,
                       struct s3_identity *identity, struct s3_error *error)
{
    struct s3_reactor *reactor = exchange->reactor;
    exchange->request = request;
    exchange->identity = identity;
    reset_answer(exchange);
    int code = write_request(exchange);
    if (code == S3EXT_OK) {
        exchange->transfer = (struct s3_transfer){
            .events = &EVENTS,
            .connect = &request->client->connect,
            .method = request->method,
            .url = exchange->url.data,
            .headers = exchange->line_starts,
            .header_count = exchange->transfer.header_count,
            .body = request->body,
            .lend = request->lend,
            .once = !request->repeatable,
            .secret = exchange->secret,
            .expected = expected_bytes(request),
        };
        code = hand_to_lane(exchange, request->client->connect.lane);
    }
    if (code != S3EXT_OK) {
        s3i_error_set(error, code, "the request could not be built: %s", s3i_error_text(code));
        retire(exchange);
        return code;
    }
    s3i_list_append(&reactor->active, &exchange->node);
    S3I_COUNT(requests, 1);
    S3I_COUNT(requests_direct, request->client->connect.lane == S3I_LANE_DIRECT);
    S3I_COUNT(exchanges_in_flight, 1);
    return S3EXT_OK;
}

/* ---- the head of the answer ---- */

static int refuse(struct s3_exchange *exchange, int code, const char *why)
{
    return s3i_error_set(&exchange->error, code, "%s", why);
}

/* A buffer did not take what came: it is too much for its ceiling, or for the machine. */
static void refuse_size(struct s3_exchange *exchange, const struct s3_buf *buf, const char *why)
{
    if (buf->starved) {
        refuse(exchange, S3EXT_NO_MEMORY, s3i_error_text(S3EXT_NO_MEMORY));
    } else {
        refuse(exchange, S3EXT_PROTOCOL, why);
    }
}

static bool read_length(struct s3_exchange *exchange, struct s3_answer *answer)
{
    struct s3_str text = s3i_headers_find(&exchange->headers, S3I_STR("content-length"));
    if (text.data == NULL) {
        return true;
    }
    answer->length_known = s3i_http_number(text, &answer->length);
    return answer->length_known;
}

/* What remains of the wanted range, as this attempt asked for it. */
static struct s3_range asked_range(const struct s3_request *request)
{
    return (struct s3_range){request->range.start + request->received, request->range.end};
}

/* RFC 9110, 15.3.7: a 206 says which bytes it holds; anything but what was asked for is refused. */
static int judge_partial(struct s3_exchange *exchange, struct s3_answer *answer)
{
    const struct s3_request *request = exchange->request;
    struct s3_content_range got;
    struct s3_str text = s3i_headers_find(&exchange->headers, S3I_STR("content-range"));
    if (text.data == NULL || !s3i_http_content_range(text, &got)) {
        return refuse(exchange, S3EXT_PROTOCOL, "a partial answer without a valid Content-Range");
    }
    uint64_t size = got.last - got.first + 1;
    bool right;
    if (request->range_kind == S3I_RANGE_SUFFIX) {
        uint64_t wanted =
            got.total_known && got.total < request->suffix ? got.total : request->suffix;
        right = got.total_known && size == wanted && got.last == got.total - 1;
    } else {
        struct s3_range asked = asked_range(request);
        bool to_the_end = got.total_known && got.last == got.total - 1;
        right = got.first == asked.start &&
                (to_the_end ? got.last < asked.end : got.last == asked.end - 1);
    }
    if (!right) {
        return s3i_error_set(&exchange->error, S3EXT_PROTOCOL,
                             "asked for bytes %" PRIu64 "-%" PRIu64 ", got %" PRIu64 "-%" PRIu64,
                             asked_range(request).start, asked_range(request).end - 1, got.first,
                             got.last);
    }
    if (answer->length_known && answer->length != size) {
        return refuse(exchange, S3EXT_PROTOCOL,
                      "Content-Length and Content-Range contradict each other");
    }
    answer->range = (struct s3_range){got.first, got.last + 1};
    answer->total_known = got.total_known;
    answer->total = got.total;
    exchange->wanted_known = true;
    exchange->wanted = size;
    return S3EXT_OK;
}

/* The whole object where a range was asked for: usable if its size is known; the wanted bytes are
 * cut out. */
static int judge_whole(struct s3_exchange *exchange, struct s3_answer *answer)
{
    struct s3_request *request = exchange->request;
    if (!answer->length_known) {
        return refuse(exchange, S3EXT_GENERIC,
                      "a range was asked for, a whole object of unknown size came");
    }
    uint64_t size = answer->length;
    struct s3_range asked = asked_range(request);
    if (request->range_kind == S3I_RANGE_SUFFIX) {
        asked = (struct s3_range){size > request->suffix ? size - request->suffix : 0, size};
    }
    if (asked.start >= size && asked.start > 0) {
        return refuse(exchange, S3EXT_GENERIC, "the range begins after the end of the object");
    }
    asked.end = asked.end < size ? asked.end : size;
    atomic_store(&request->client->without_ranges, true);
    answer->whole = true;
    answer->total_known = true;
    answer->total = size;
    answer->range = asked;
    exchange->skip = asked.start;
    exchange->wanted_known = true;
    exchange->wanted = asked.end - asked.start;
    return S3EXT_OK;
}

static int judge_plain(struct s3_exchange *exchange, struct s3_answer *answer)
{
    answer->total_known = answer->length_known;
    answer->total = answer->length;
    answer->range = (struct s3_range){0, answer->length};
    answer->whole = true;
    exchange->wanted_known = answer->length_known && exchange->request->method != S3I_HEAD;
    exchange->wanted = answer->length;
    return S3EXT_OK;
}

static int judge_pins(struct s3_exchange *exchange, const struct s3_answer *answer)
{
    const struct s3_request *request = exchange->request;
    if (request->pinned_etag.data != NULL && answer->etag.data != NULL &&
        !s3i_str_equal(request->pinned_etag, answer->etag)) {
        return refuse(exchange, S3EXT_MODIFIED,
                      "the object changed while it was read (another ETag)");
    }
    if (request->received > 0 && request->total != UINT64_MAX && answer->total_known &&
        request->total != answer->total) {
        return refuse(exchange, S3EXT_MODIFIED,
                      "the object changed while it was read (another size)");
    }
    return S3EXT_OK;
}

static int judge_success(struct s3_exchange *exchange, struct s3_answer *answer)
{
    struct s3_request *request = exchange->request;
    if (!read_length(exchange, answer)) {
        return refuse(exchange, S3EXT_PROTOCOL, "the Content-Length is no number");
    }
    bool ranged = request->range_kind != S3I_RANGE_NONE && request->method == S3I_GET;
    if (ranged && exchange->status == 206) {
        S3I_TRY(judge_partial(exchange, answer));
    } else if (ranged && exchange->status == 200) {
        S3I_TRY(judge_whole(exchange, answer));
    } else if (ranged || (exchange->status == 206 && request->method != S3I_HEAD)) {
        return refuse(exchange, S3EXT_PROTOCOL, "the status does not fit the request");
    } else {
        S3I_TRY(judge_plain(exchange, answer));
    }
    S3I_TRY(judge_pins(exchange, answer));
    if (answer->total_known) {
        request->total = answer->total;
    }
    if (request->class->on_head != NULL) {
        S3I_TRY(request->class->on_head(request, answer, &exchange->error));
    }
    if (ranged && answer->whole) {
        exchange->wanted = answer->range.end - answer->range.start;
    }
    if (request->range_kind == S3I_RANGE_SUFFIX) {
        /* From here on the place of the bytes is known, so a broken body can be resumed. */
        request->range_kind = S3I_RANGE_SPAN;
        request->range = answer->range;
    } else if (request->range_kind == S3I_RANGE_SPAN) {
        request->range.end = answer->range.end;
    }
    exchange->deliver = true;
    return S3EXT_OK;
}

static bool judge(struct s3_exchange *exchange)
{
    struct s3_request *request = exchange->request;
    exchange->judged = true;
    request->status = exchange->status;
    if (exchange->status < 200 || exchange->status > 299) {
        return true; /* an error answer: its document is collected */
    }
    struct s3_answer answer = {
        .status = exchange->status,
        .headers = &exchange->headers,
        .etag = s3i_headers_find(&exchange->headers, S3I_STR("etag")),
        .resumed = request->received > 0,
    };
    int code = judge_success(exchange, &answer);
    if (code != S3EXT_OK) {
        refuse(exchange, code, s3i_error_text(code)); /* unless who refused it has said more */
    }
    return code == S3EXT_OK;
}

static bool on_status_line(struct s3_exchange *exchange, struct s3_str line)
{
    exchange->status = s3i_http_status(line);
    s3i_headers_reset(&exchange->headers);
    if (exchange->status < 100) {
        refuse(exchange, S3EXT_PROTOCOL, "the answer has no valid status line");
        return false;
    }
    return true;
}

static bool on_header(struct s3_transfer *transfer, struct s3_str line)
{
    struct s3_exchange *exchange = S3I_OWNER(transfer, struct s3_exchange, transfer);
    exchange->header_bytes += line.size;
    if (exchange->header_bytes > HEADER_BYTES_LIMIT) {
        refuse(exchange, S3EXT_PROTOCOL, "the answer's headers are too large");
        return false;
    }
    if (exchange->judged) {
        return true; /* a trailer */
    }
    if (s3i_str_starts(line, S3I_STR("HTTP/"))) {
        return on_status_line(exchange, line);
    }
    if (s3i_str_equal(line, S3I_STR("\r\n")) || s3i_str_equal(line, S3I_STR("\n"))) {
        return exchange->status < 200 ? true : judge(exchange); /* 1xx: the final head follows */
    }
    struct s3_str name;
    struct s3_str value;
    if (s3i_http_header(line, &name, &value) && !s3i_headers_add(&exchange->headers, name, value)) {
        refuse_size(exchange, &exchange->headers.pairs, "the answer's headers are too large");
        return false;
    }
    return true;
}

/* ---- the body ---- */

static bool keep_document(struct s3_exchange *exchange, struct s3_buf *document, struct s3_str data)
{
    s3i_buf_add(document, data);
    if (!s3i_buf_ok(document)) {
        refuse_size(exchange, document, "the answer's document is too large");
        return false;
    }
    return true;
}

/* An error document longer than what is of use ends where the limit is; the status tells the rest.
 */
static bool keep_error_document(struct s3_exchange *exchange, struct s3_str data)
{
    size_t room = exchange->document.limit - exchange->document.size;
    data.size = data.size < room ? data.size : room;
    s3i_buf_add(&exchange->document, data);
    return true;
}

static struct s3_str wanted_part(struct s3_exchange *exchange, struct s3_str data)
{
    size_t skipped = exchange->skip < data.size ? (size_t)exchange->skip : data.size;
    exchange->skip -= skipped;
    data = s3i_str(data.data + skipped, data.size - skipped);
    if (exchange->wanted_known) {
        if (data.size > exchange->wanted) {
            data.size = (size_t)exchange->wanted;
        }
        exchange->wanted -= data.size;
    }
    return data;
}

/* All bytes of a read are there: how the connection ends after them does not matter. */
static bool has_all(const struct s3_exchange *exchange)
{
    return exchange->deliver && exchange->wanted_known && exchange->wanted == 0 &&
           exchange->request->class->on_body != NULL;
}

static bool on_body(struct s3_transfer *transfer, struct s3_str data)
{
    struct s3_exchange *exchange = S3I_OWNER(transfer, struct s3_exchange, transfer);
    struct s3_request *request = exchange->request;
    S3I_COUNT(bytes_received, data.size);
    if (!exchange->judged) {
        refuse(exchange, S3EXT_PROTOCOL, "body bytes came before the head was complete");
        return false;
    }
    if (!exchange->deliver) {
        return keep_error_document(exchange, data);
    }
    bool surplus = exchange->wanted_known && data.size > exchange->wanted + exchange->skip;
    data = wanted_part(exchange, data);
    if (request->class->on_body == NULL) {
        return keep_document(exchange, &request->document, data);
    }
    if (data.size) {
        int code = request->class->on_body(request, request->received, data);
        if (code != S3EXT_OK) {
            refuse(exchange, code, s3i_error_text(code));
            return false;
        }
        request->received += data.size;
        exchange->moved += data.size;
    }
    /* What follows the wanted bytes is not waited for: the connection goes with it. */
    return !(has_all(exchange) && surplus);
}

/* Only where each byte that comes is wanted: what is to be cut out, or kept as a document, is not. */
static size_t on_room(struct s3_transfer *transfer, char **place)
{
    struct s3_exchange *exchange = S3I_OWNER(transfer, struct s3_exchange, transfer);
    struct s3_request *request = exchange->request;
    if (!exchange->deliver || exchange->skip > 0 || !exchange->wanted_known ||
        request->class->on_room == NULL) {
        return 0;
    }
    uint64_t room = request->class->on_room(request, request->received, place);
    return (size_t)(room < exchange->wanted ? room : exchange->wanted);
}

static void on_filled(struct s3_transfer *transfer, size_t size)
{
    struct s3_exchange *exchange = S3I_OWNER(transfer, struct s3_exchange, transfer);
    S3I_COUNT(bytes_received, size);
    exchange->request->received += size;
    exchange->wanted -= size;
    exchange->moved += size;
}

/* ---- the end ---- */

/* The connection stays for the next exchange, for as long as the client wants it. */
static void note_idle(const struct s3_exchange *exchange)
{
    int64_t until_ms = s3i_now_ms() + exchange->request->client->connect.pool_idle_timeout_ms;
    if (exchange->reactor->keep_until_ms < until_ms) {
        exchange->reactor->keep_until_ms = until_ms;
    }
}

static void conclude(struct s3_exchange *exchange, struct s3_attempt *attempt)
{
    struct s3_request *request = exchange->request;
    note_idle(exchange);
    attempt->status = exchange->status;
    /* An error status stands, even if its document broke off: the rest would not change it. */
    attempt->answered = exchange->judged && !exchange->deliver && exchange->error.code == S3EXT_OK;
    attempt->headers = &exchange->headers;
    attempt->document = s3i_buf_str(&exchange->document);
    attempt->host = exchange->identity->target.host;
    attempt->region = exchange->identity->target.region;
    attempt->moved = exchange->moved;
    S3I_UNCOUNT(exchanges_in_flight, 1);
    s3i_list_remove(&exchange->node);
    request->exchange = NULL;
    s3i_request_attempted(request, attempt);
    retire(exchange);
}

static void on_end(struct s3_transfer *transfer, const struct s3_transfer_end *end)
{
    struct s3_exchange *exchange = S3I_OWNER(transfer, struct s3_exchange, transfer);
    struct s3_attempt attempt = {
        .code = end->code,
        .nothing_sent = end->nothing_sent,
        .detail = end->detail,
    };
    if (exchange->error.code != S3EXT_OK) {
        attempt.code = exchange->error.code;
        attempt.detail = exchange->error.message;
    } else if (has_all(exchange)) {
        attempt.code = S3EXT_OK;
    } else if (end->code == S3EXT_OK && !exchange->judged) {
        attempt.code = S3EXT_PROTOCOL;
        attempt.detail = "the connection ended before an answer";
    } else if (end->code == S3EXT_OK && exchange->deliver && exchange->wanted_known &&
               exchange->wanted > 0) {
        attempt.code = S3EXT_TRANSPORT;
        attempt.detail = "the body ended before its announced length";
    }
    conclude(exchange, &attempt);
}

static const struct s3_transfer_events EVENTS = {on_header, on_body, on_room, on_filled, on_end};

void s3i_exchange_cancel(struct s3_exchange *exchange)
{
    exchange->lane_class->cancel(exchange->lane, &exchange->transfer);
    exchange->request->exchange = NULL;
    S3I_UNCOUNT(exchanges_in_flight, 1);
    retire(exchange);
}

/* ---- deadlines ---- */

static void expire(struct s3_exchange *exchange, bool nothing_sent, const char *what,
                   int64_t limit_ms)
{
    char detail[96];
    snprintf(detail, sizeof(detail), "%s within %" PRId64 " ms", what, limit_ms);
    exchange->lane_class->cancel(exchange->lane, &exchange->transfer);
    struct s3_attempt attempt = {.code = has_all(exchange) ? S3EXT_OK : S3EXT_TIMEOUT,
                                 .nothing_sent = nothing_sent,
                                 .detail = detail};
    conclude(exchange, &attempt);
}

void s3i_exchange_watch(struct s3_exchange *exchange, int64_t now_ms)
{
    const struct s3_connect *limits = &exchange->request->client->connect;
    struct s3_transfer_progress progress;
    exchange->lane_class->progress(exchange->lane, &exchange->transfer, &progress);
    uint64_t bytes = progress.bytes + exchange->header_bytes + (progress.connected ? 1 : 0);
    if (bytes != exchange->progress_bytes) {
        exchange->progress_bytes = bytes;
        exchange->progress_ms = now_ms;
    }
    int64_t idle = now_ms - exchange->progress_ms;
    int64_t age = now_ms - exchange->started_ms;
    if (limits->total_timeout_ms && age > limits->total_timeout_ms) {
        expire(exchange, false, "the request was not complete", limits->total_timeout_ms);
    } else if (!progress.connected && limits->connect_timeout_ms &&
               age > limits->connect_timeout_ms) {
        expire(exchange, true, "no connection was made", limits->connect_timeout_ms);
    } else if (progress.connected && !exchange->judged && limits->first_byte_timeout_ms &&
               idle > limits->first_byte_timeout_ms) {
        expire(exchange, false, "no answer came", limits->first_byte_timeout_ms);
    } else if (exchange->judged && limits->stall_timeout_ms && idle > limits->stall_timeout_ms) {
        expire(exchange, false, "no byte came", limits->stall_timeout_ms);
    }
}
