#include "flow/request.h"

#include <inttypes.h> /* PRId64 */
#include <stdio.h>

#include "base/time.h"
#include "flow/counters.h"
#include "flow/exchange.h"
#include "flow/random.h"
#include "flow/reactor.h"

#define PROGRESS                                                                                   \
    ((uint64_t)1 << 20) /* body bytes of one attempt that start the count of retries anew */

enum {
    CREDENTIALS_WAIT_MS = 90000, /* Python says how a wish for keys ended long before, if it can */
    REFUSALS_MAX = 2,            /* newer credentials are asked for this often */
    RESOLVE_FAILURES_MAX = 1,    /* a name that cannot be resolved is looked up twice */
    SKEW_SUSPECT_SECONDS = 240,  /* a 403 with clocks this far apart is about the clock */
    DOCUMENT_LIMIT = 256 * 1024
};

static void on_granted(struct s3_post *post);
static void on_timer(struct s3_timer *timer);

void s3i_request_init(struct s3_request *request, const struct s3_request_class *class,
                      struct s3_client *client)
{
    memset(request, 0, sizeof(*request));
    request->class = class;
    request->client = client;
    request->repeatable = true;
    request->total = UINT64_MAX;
    request->document_limit = DOCUMENT_LIMIT;
    s3i_list_init(&request->node);
    s3i_list_init(&request->member);
    s3i_timer_init(&request->timer, on_timer);
    s3i_ticket_init(&request->ticket, on_granted);
    s3i_buf_init(&request->document, 0);
}

void s3i_request_clear(struct s3_request *request)
{
    s3i_buf_clear(&request->document);
    s3i_payload_clear(&request->payload);
}

/* ---- the path to an exchange ---- */

static void set_ready(struct s3_request *request)
{
    request->state = S3I_REQUEST_READY;
    s3i_list_append(&request->reactor->ready, &request->node);
}

void s3i_request_start(struct s3_request *request, struct s3_reactor *reactor)
{
    request->reactor = reactor;
    request->document.limit = request->document_limit;
    set_ready(request);
}

static void drop_identity(struct s3_request *request)
{
    s3i_identity_release(request->identity);
    request->identity = NULL;
}

/* Leaves every list and gives everything back; the request is idle. */
static void settle(struct s3_request *request)
{
    s3i_list_remove(&request->node);
    s3i_timer_clear(&request->timer);
    s3i_admission_give(&request->ticket);
    drop_identity(request);
    request->state = S3I_REQUEST_IDLE;
}

static void finish(struct s3_request *request)
{
    settle(request);
    request->error.attempts = request->attempts;
    request->class->on_done(request);
}

static void fail(struct s3_request *request, int code, const char *message)
{
    s3i_error_set(&request->error, code, "%s", message);
    finish(request);
}

void s3i_request_cancel(struct s3_request *request)
{
    if (request->exchange != NULL) {
        s3i_exchange_cancel(request->exchange);
    }
    settle(request);
}

/* A body that cannot be pinned to its object starts again from its first byte. */
static void prepare_attempt(struct s3_request *request)
{
    s3i_buf_reset(&request->document);
    if (request->received > 0 && request->pinned_etag.data == NULL) {
        request->received = 0;
    }
    if (request->received > 0) {
        S3I_COUNT(resumed, 1);
        if (request->range_kind == S3I_RANGE_NONE) {
            request->range_kind = S3I_RANGE_SPAN;
            request->range = (struct s3_range){0, UINT64_MAX};
        }
    }
}

static void begin(struct s3_request *request)
{
    struct s3_exchange *exchange = s3i_reactor_take_exchange(request->reactor);
    if (exchange == NULL) {
        fail(request, S3EXT_NO_MEMORY, "no memory for a request");
        return;
    }
    prepare_attempt(request);
    struct s3_identity *identity = request->identity;
    request->identity = NULL;
    request->credentials_version = identity->credentials ? identity->credentials->version : 0;
    request->attempts++;
    request->state = S3I_REQUEST_IN_EXCHANGE;
    request->exchange = exchange;
    if (s3i_exchange_start(exchange, request, identity, &request->error) != S3EXT_OK) {
        request->exchange = NULL;
        finish(request);
    }
}

static void wait_for_identity(struct s3_request *request)
{
    s3i_admission_give(&request->ticket);
    request->state = S3I_REQUEST_WAIT_IDENTITY;
    s3i_list_append(&request->reactor->want_identity, &request->node);
    if (s3i_list_empty(&request->timer.node)) {
        s3i_timer_set(&request->reactor->timers, &request->timer,
                      s3i_now_ms() + CREDENTIALS_WAIT_MS);
    }
}

static bool needs_hash(struct s3_request *request)
{
    request->wants.sha256 = request->identity->signer != NULL &&
                            !request->client->unsigned_payload && request->body.size > 0;
    request->wants.checksum = request->checksum;
    return (request->wants.sha256 || request->checksum != S3I_CHECKSUM_NONE) &&
           !request->payload.known;
}

static size_t left_to_hash(struct s3_list *node)
{
    const struct s3_request *request = S3I_OWNER(node, struct s3_request, node);
    return request->body.size - request->payload.done;
}

/* Smaller bodies first: what is sent keeps the connections busy while a large one is hashed. */
static void queue_for_hash(struct s3_request *request)
{
    struct s3_list *bodies = &request->reactor->hashing;
    struct s3_list *place = bodies;
    while (place->previous != bodies && left_to_hash(place->previous) > request->body.size) {
        place = place->previous;
    }
    request->state = S3I_REQUEST_HASHING;
    s3i_list_insert_before(place, &request->node);
}

void s3i_request_hash(struct s3_request *request, size_t *budget)
{
    int code = s3i_payload_step(&request->payload, &request->wants, request->body, budget);
    if (code != S3EXT_OK) {
        fail(request, code, "the body could not be hashed");
    } else if (request->payload.known) {
        s3i_list_remove(&request->node);
        set_ready(request);
    }
}

void s3i_request_pump(struct s3_request *request)
{
    enum s3_identity_state state =
        s3i_client_identity(request->client, s3i_wall_ms(), &request->identity_ticket,
                            &request->identity, &request->error);
    if (state == S3I_IDENTITY_WAIT) {
        wait_for_identity(request);
        return;
    }
    if (state == S3I_IDENTITY_FAILED) {
        finish(request);
        return;
    }
    s3i_timer_clear(&request->timer);
    request->identity_ticket = 0;
    if (request->identity_only) {
        finish(request);
        return;
    }
    if (needs_hash(request)) {
        drop_identity(request); /* it may be stale when the hash is there */
        queue_for_hash(request);
        return;
    }
    if (request->ticket.state == S3I_TICKET_HELD ||
        s3i_admission_take(&request->ticket, request->client->host, request->memory,
                           &request->reactor->inbox)) {
        begin(request);
        return;
    }
    drop_identity(request); /* it may be stale when the slot comes */
    request->state = S3I_REQUEST_WAIT_SLOT;
}

void s3i_request_needs(struct s3_request *request, uint64_t memory)
{
    if (memory < request->memory) {
        s3i_admission_shrink(&request->ticket, memory);
        request->memory = memory;
    }
}

void s3i_request_recheck(struct s3_request *request)
{
    s3i_list_remove(&request->node);
    set_ready(request);
}

static void on_granted(struct s3_post *post)
{
    struct s3_ticket *ticket = S3I_OWNER(post, struct s3_ticket, granted);
    set_ready(S3I_OWNER(ticket, struct s3_request, ticket));
}

static void on_timer(struct s3_timer *timer)
{
    struct s3_request *request = S3I_OWNER(timer, struct s3_request, timer);
    if (request->state == S3I_REQUEST_WAIT_IDENTITY) {
        fail(request, S3EXT_CREDENTIALS, "nobody brought credentials within 90 s");
    } else {
        set_ready(request);
    }
}

/* ---- what an attempt came to ---- */

/* A failed attempt as it is judged. */
struct verdict {
    enum s3_retry_class class;
    int outcome; /* the code, should it stand */
    struct s3_xml_error xml;
    struct s3_str region;   /* that the answer names, "" for none */
    int64_t retry_after_ms; /* -1: none */
};

static struct s3_str header_of(const struct s3_attempt *attempt, struct s3_str name)
{
    return attempt->headers ? s3i_headers_find(attempt->headers, name) : S3I_STR_NONE;
}

/* Server's clock minus ours in seconds, as the Date header (and Age, of a cache) tells. */
static bool clock_difference(const struct s3_attempt *attempt, int64_t *difference)
{
    int64_t date;
    uint64_t age = 0;
    struct s3_str text = header_of(attempt, S3I_STR("date"));
    if (text.data == NULL || !s3i_http_date(text, &date)) {
        return false;
    }
    struct s3_str age_text = header_of(attempt, S3I_STR("age"));
    if (age_text.data != NULL && (!s3i_http_number(age_text, &age) || age > 86400)) {
        return false;
    }
    *difference = date + (int64_t)age - s3i_wall_seconds();
    return true;
}

static void judge_region(const struct s3_attempt *attempt, struct verdict *verdict)
{
    struct s3_str named = header_of(attempt, S3I_STR("x-amz-bucket-region"));
    verdict->region = named.size ? named : s3i_str_from(verdict->xml.region);
    bool other = verdict->region.size && !s3i_str_equal(verdict->region, attempt->region);
    bool about_region = attempt->status == 301 || attempt->status == 307 || attempt->status == 400;
    if (other && about_region) {
        verdict->class = S3I_RETRY_REGION;
        verdict->outcome = S3EXT_REGION;
    }
}

static void judge_clock(const struct s3_request *request, const struct s3_attempt *attempt,
                        struct verdict *verdict)
{
    int64_t difference;
    if (attempt->status != 403 || verdict->class != S3I_RETRY_NEWER_KEYS ||
        !clock_difference(attempt, &difference)) {
        return;
    }
    int64_t unknown = difference - atomic_load(&request->client->clock_offset);
    if (unknown > SKEW_SUSPECT_SECONDS || unknown < -SKEW_SUSPECT_SECONDS) {
        verdict->class = S3I_RETRY_CLOCK;
    }
}

static void judge_answer(struct s3_request *request, const struct s3_attempt *attempt,
                         struct verdict *verdict)
{
    if (!s3i_xml_error(attempt->document, &verdict->xml)) {
        verdict->xml =
            (struct s3_xml_error){.code = ""}; /* a HEAD, or a proxy's page: the status tells */
    }
    if (request->class->on_refused != NULL) {
        request->class->on_refused(request, attempt, &verdict->xml);
    }
    struct s3_str code = s3i_str_from(verdict->xml.code);
    verdict->class = s3i_retry_answer(attempt->status, code);
    verdict->outcome = s3i_retry_outcome(attempt->status, code);
    bool gone =
        attempt->status == 412 || attempt->status == 416; /* 416: the pinned object was longer */
    if (gone && request->pinned_etag.data != NULL) {
        verdict->outcome = S3EXT_MODIFIED;
    }
    if (request->method == S3I_HEAD && attempt->status == 400 &&
        verdict->class == S3I_RETRY_NEVER) {
        verdict->class = S3I_RETRY_CREDENTIALS; /* how an expired token shows where no code can */
    }
    judge_region(attempt, verdict);
    judge_clock(request, attempt, verdict);
    struct s3_str after = header_of(attempt, S3I_STR("retry-after"));
    if (after.data == NULL ||
        !s3i_http_retry_after(after, s3i_wall_seconds(), &verdict->retry_after_ms)) {
        verdict->retry_after_ms = -1;
    }
}

/* An <Error> inside a 200 answer is judged by its code; without one the server failed. */
static bool judge_document(struct s3_request *request, struct verdict *verdict)
{
    if (request->class->check_document == NULL) {
        return true;
    }
    int code = request->class->check_document(request, &verdict->xml);
    if (code == S3EXT_OK) {
        return true;
    }
    struct s3_str s3_code = s3i_str_from(verdict->xml.code);
    verdict->retry_after_ms = -1;
    if (code == S3EXT_SERVER) {
        int status = s3_code.size ? 200 : 500;
        verdict->class = s3i_retry_answer(status, s3_code);
        verdict->outcome = s3i_retry_outcome(status, s3_code);
    } else {
        verdict->class = s3i_retry_broken(code, false);
        verdict->outcome = code;
    }
    return false;
}

/* ---- the outcome's words ---- */

static void describe_answer(struct s3_request *request, const struct s3_attempt *attempt,
                            const struct verdict *verdict)
{
    struct s3_error *error = &request->error;
    struct s3_str location = header_of(attempt, S3I_STR("location"));
    if (verdict->outcome == S3EXT_REGION && verdict->region.size) {
        s3i_error_set(error, S3EXT_REGION,
                      "the bucket is in region '%.*s', the request was signed for '%.*s'",
                      (int)verdict->region.size, verdict->region.data, (int)attempt->region.size,
                      attempt->region.data);
    } else if (verdict->xml.message[0] != '\0') {
        s3i_error_set(error, verdict->outcome, "%s", verdict->xml.message);
    } else if (attempt->status / 100 == 3 && location.data != NULL) {
        s3i_error_set(error, verdict->outcome,
                      "the server redirects elsewhere, which is not followed");
    } else {
        s3i_error_set(error, verdict->outcome, "%s", s3i_error_text(verdict->outcome));
    }
}

static void describe(struct s3_request *request, const struct s3_attempt *attempt,
                     const struct verdict *verdict)
{
    struct s3_error *error = &request->error;
    s3i_error_clear(error);
    if (attempt->answered || verdict->xml.code[0] != '\0') {
        describe_answer(request, attempt, verdict);
    } else {
        s3i_error_set(error, verdict->outcome, "%s",
                      attempt->detail ? attempt->detail : s3i_error_text(verdict->outcome));
    }
    if (request->budget_spent) {
        size_t used = strlen(error->message);
        snprintf(error->message + used, sizeof(error->message) - used,
                 "; not tried again: too many requests to this host have failed");
    }
    struct s3_str id = header_of(attempt, S3I_STR("x-amz-request-id"));
    struct s3_str host_id = header_of(attempt, S3I_STR("x-amz-id-2"));
    error->http_status = attempt->status;
    s3i_error_text_copy(error->s3_code, sizeof(error->s3_code), s3i_str_from(verdict->xml.code));
    s3i_error_text_copy(error->request_id, sizeof(error->request_id),
                        id.data ? id : s3i_str_from(verdict->xml.request_id));
    s3i_error_text_copy(error->host_id, sizeof(error->host_id),
                        host_id.data ? host_id : s3i_str_from(verdict->xml.host_id));
    s3i_error_text_copy(error->host, sizeof(error->host), attempt->host);
}

/* ---- whether to go on ---- */

static void count_retry(struct s3_request *request, enum s3_retry_class class)
{
    S3I_COUNT(retries, 1);
    request->all_retries++;
    switch (class) {
    case S3I_RETRY_THROTTLE:
        S3I_COUNT(retries_throttle, 1);
        break;
    case S3I_RETRY_SERVER:
        S3I_COUNT(retries_server, 1);
        break;
    case S3I_RETRY_CONNECT:
        S3I_COUNT(retries_connect, 1);
        break;
    case S3I_RETRY_TRANSPORT:
    case S3I_RETRY_ONCE:
        S3I_COUNT(retries_transport, 1);
        break;
    case S3I_RETRY_NEVER:
    case S3I_RETRY_CREDENTIALS:
    case S3I_RETRY_NEWER_KEYS:
    case S3I_RETRY_CLOCK:
    case S3I_RETRY_REGION:
        S3I_COUNT(retries_other, 1);
        break;
    }
}

static bool learn_clock(struct s3_request *request, const struct s3_attempt *attempt)
{
    int64_t difference;
    if (request->clock_learnt || !clock_difference(attempt, &difference)) {
        return false;
    }
    request->clock_learnt = true;
    atomic_store(&request->client->clock_offset, difference);
    return true;
}

/* Keys that were refused as expired: newer ones are tried, each once, or asked for, a few times. */
static bool renew_keys(struct s3_request *request)
{
    uint64_t version = request->credentials_version;
    return version != 0 &&
           (s3i_client_has_newer(request->client, version) ||
            (request->refusals++ < REFUSALS_MAX && s3i_client_refused(request->client, version)));
}

/* Causes that are mended, once, rather than waited out; not counted against max_retries. */
static bool mend(struct s3_request *request, const struct s3_attempt *attempt,
                 const struct verdict *verdict)
{
    switch (verdict->class) {
    case S3I_RETRY_CREDENTIALS:
        return renew_keys(request);
    case S3I_RETRY_NEWER_KEYS:
        return request->credentials_version != 0 &&
               s3i_client_has_newer(request->client, request->credentials_version);
    case S3I_RETRY_CLOCK:
        return learn_clock(request, attempt);
    case S3I_RETRY_REGION:
        if (request->region_corrected) {
            return false;
        }
        request->region_corrected = true;
        return s3i_client_correct_region(request->client, verdict->region);
    case S3I_RETRY_NEVER:
    case S3I_RETRY_THROTTLE:
    case S3I_RETRY_SERVER:
    case S3I_RETRY_CONNECT:
    case S3I_RETRY_TRANSPORT:
    case S3I_RETRY_ONCE:
        break;
    }
    return false;
}

static bool once(bool *done)
{
    bool first = !*done;
    *done = true;
    return first;
}

/* Whether this failure may be tried again at all, limits aside. */
static bool repeatable(struct s3_request *request, const struct s3_attempt *attempt,
                       const struct verdict *verdict)
{
    switch (verdict->class) {
    case S3I_RETRY_THROTTLE:
    case S3I_RETRY_SERVER:
        return true;
    case S3I_RETRY_CONNECT:
        return attempt->code != S3EXT_RESOLVE || request->resolve_failures++ < RESOLVE_FAILURES_MAX;
    case S3I_RETRY_TRANSPORT:
        if (attempt->code == S3EXT_PROTOCOL || verdict->outcome == S3EXT_PROTOCOL) {
            return request->repeatable && once(&request->protocol_retried);
        }
        return request->repeatable || attempt->nothing_sent;
    case S3I_RETRY_ONCE:
        return once(&request->damage_retried);
    case S3I_RETRY_NEVER:
    case S3I_RETRY_CREDENTIALS:
    case S3I_RETRY_NEWER_KEYS:
    case S3I_RETRY_CLOCK:
    case S3I_RETRY_REGION:
        break;
    }
    return false;
}

/* A wait that would end after retry_timeout is not begun. */
static bool within_limits(struct s3_request *request, const struct verdict *verdict, int64_t now_ms,
                          int64_t wait_ms)
{
    const struct s3_retry_config *config = &request->client->retry;
    if (request->first_failure_ms == 0) {
        request->first_failure_ms = now_ms;
    }
    if (request->retries >= config->max_retries ||
        now_ms + wait_ms - request->first_failure_ms > config->retry_timeout_ms) {
        return false;
    }
    int32_t tokens = s3i_admission_retry(request->client->host, verdict->class);
    request->retry_tokens = tokens;
    request->budget_spent = tokens < 0;
    return tokens >= 0;
}

static void back_off(struct s3_request *request, int64_t until_ms)
{
    request->retries++;
    request->state = S3I_REQUEST_WAIT_BACKOFF;
    s3i_timer_set(&request->reactor->timers, &request->timer, until_ms);
}

static void decide(struct s3_request *request, const struct s3_attempt *attempt,
                   const struct verdict *verdict)
{
    int64_t now_ms = s3i_now_ms();
    if (attempt->moved >= PROGRESS) {
        request->retries = 0;
        request->first_failure_ms = 0;
    }
    if (verdict->class == S3I_RETRY_THROTTLE) {
        s3i_admission_throttled(request->client->host);
    }
    int64_t wait_ms = s3i_retry_delay_ms(&request->client->retry, verdict->class, request->retries,
                                         s3i_random_uniform(), verdict->retry_after_ms);
    if (mend(request, attempt, verdict)) {
        count_retry(request, verdict->class);
        set_ready(request);
    } else if (repeatable(request, attempt, verdict) &&
               within_limits(request, verdict, now_ms, wait_ms)) {
        count_retry(request, verdict->class);
        back_off(request, now_ms + wait_ms);
    } else {
        describe(request, attempt, verdict);
        finish(request);
    }
}

void s3i_request_attempted(struct s3_request *request, const struct s3_attempt *attempt)
{
    struct verdict verdict = {.retry_after_ms = -1};
    s3i_admission_give(&request->ticket);
    if (attempt->answered) {
        judge_answer(request, attempt, &verdict);
    } else if (attempt->code != S3EXT_OK) {
        verdict.class = s3i_retry_broken(attempt->code, attempt->nothing_sent);
        verdict.outcome = attempt->code;
    } else if (judge_document(request, &verdict)) {
        s3i_admission_success(request->client->host, request->retry_tokens);
        S3I_COUNT(bytes_sent, request->body.size);
        finish(request);
        return;
    }
    decide(request, attempt, &verdict);
}
