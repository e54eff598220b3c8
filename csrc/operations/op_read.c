#include "operations/op_read.h"

#include <inttypes.h> /* PRIu64 */

#include "base/alloc.h"
#include "bytes/memory.h"

#define WHOLE_LIMIT                                                                                \
    ((uint64_t)1 << 30) /* a get reserves room for an object up to this size at once */

enum { ETAG_LIMIT = 256 };

/* A run of bytes that is fetched as one, and where its bytes go. */
struct fetch {
    struct s3_fetch plan;
    uint64_t part_size;
    uint64_t next_part;
    uint64_t parts;           /* number of them, once the size is known */
    bool opened;              /* its first answer's head was accepted: memory is there */
    struct s3_memory *memory; /* NULL when bytes go into the caller's memory */
};

struct part {
    struct s3_request request;
    struct op_read *read;
    struct fetch *fetch;
    size_t cursor; /* first member whose end the received bytes have not reached */
};

struct op_read {
    struct s3_op op; /* first */
    struct s3_range *ranges;
    size_t count;
    size_t *order;
    void **into;
    uint64_t into_size;
    uint64_t suffix;
    bool first_only;
    struct s3_fetch *plans;
    struct fetch *fetches;
    size_t fetch_count;
    size_t next_fetch; /* the first that has parts to send */
    bool size_known;
    bool plain_retry; /* a get of an empty object is asked again without a range */
    char etag[ETAG_LIMIT];
    size_t etag_size;
    struct part *parts; /* window of them */
    size_t window;
};

static const struct s3_op_class CLASS;
static const struct s3_request_class PART;

static struct op_read *read_of(struct s3_op *op)
{
    return (struct op_read *)op;
}

/* ---- making ---- */

static bool copy_ranges(struct op_read *read, const struct s3_read_options *options)
{
    read->ranges = s3i_calloc(options->count, sizeof(*read->ranges));
    read->order = s3i_calloc(options->count, sizeof(*read->order));
    read->plans = s3i_calloc(options->count, sizeof(*read->plans));
    read->fetches = s3i_calloc(options->count, sizeof(*read->fetches));
    read->op.result.slices = s3i_calloc(options->count, sizeof(*read->op.result.slices));
    if (!read->ranges || !read->order || !read->plans || !read->fetches ||
        !read->op.result.slices) {
        return false;
    }
    memcpy(read->ranges, options->ranges, options->count * sizeof(*read->ranges));
    if (options->into == NULL) {
        return true;
    }
    read->into = s3i_calloc(options->count, sizeof(*read->into));
    if (read->into != NULL) {
        memcpy(read->into, options->into, options->count * sizeof(*read->into));
    }
    return read->into != NULL;
}

struct s3_op *s3i_op_read_new(struct s3_client *client, const struct s3_read_options *options)
{
    static const struct s3_range everything = {0, UINT64_MAX};
    struct s3_read_options fixed = *options;
    if (fixed.suffix) {
        fixed.ranges = &everything;
        fixed.count = 1;
    }
    struct s3_op *op = s3i_op_new(&CLASS, sizeof(struct op_read), client, &fixed.texts);
    if (op == NULL) {
        return NULL;
    }
    struct op_read *read = read_of(op);
    read->count = fixed.count;
    read->into_size = fixed.into_size;
    read->suffix = fixed.suffix;
    read->first_only = fixed.first_only;
    if (!copy_ranges(read, &fixed)) {
        s3i_op_release(op);
        return NULL;
    }
    read->fetch_count =
        s3i_plan_coalesce(read->ranges, read->count, fixed.gap, read->order, read->plans);
    for (size_t i = 0; i < read->fetch_count; i++) {
        read->fetches[i].plan = read->plans[i];
    }
    op->result.slice_count = read->count;
    return op;
}

static void destroy(struct s3_op *op)
{
    struct op_read *read = read_of(op);
    for (size_t i = 0; read->parts != NULL && i < read->window; i++) {
        s3i_request_clear(&read->parts[i].request);
    }
    for (size_t i = 0; read->fetches != NULL && i < read->fetch_count; i++) {
        s3i_memory_release(read->fetches[i].memory);
    }
    s3i_free(read->parts);
    s3i_free(read->ranges);
    s3i_free(read->order);
    s3i_free(read->into);
    s3i_free(read->plans);
    s3i_free(read->fetches);
}

/* ---- parts ---- */

static uint64_t part_size_of(const struct op_read *read, const struct fetch *fetch)
{
    uint64_t part = read->op.client->part_size;
    if (atomic_load(&read->op.client->without_ranges)) {
        return fetch->plan.end - fetch->plan.start; /* every request would bring the whole object */
    }
    if (read->first_only) {
        return part;
    }
    return s3i_plan_read_part(fetch->plan.end - fetch->plan.start, part);
}

static void plan_fetch(struct op_read *read, struct fetch *fetch)
{
    fetch->part_size = part_size_of(read, fetch);
    uint64_t size = fetch->plan.end - fetch->plan.start;
    bool single = read->first_only || read->suffix || fetch->part_size == 0;
    fetch->parts = single ? 1 : s3i_plan_count(size, fetch->part_size);
}

static struct s3_range part_range(const struct op_read *read, const struct fetch *fetch,
                                  uint64_t index)
{
    struct s3_range whole = {fetch->plan.start, fetch->plan.end};
    bool first_of_many = read->first_only && !atomic_load(&read->op.client->without_ranges);
    if (fetch->parts > 1 || first_of_many) {
        return s3i_plan_part(whole, fetch->part_size, index);
    }
    return whole;
}

static void send_part(struct op_read *read, struct part *part, struct fetch *fetch)
{
    struct s3_op *op = &read->op;
    struct s3_request *request = &part->request;
    s3i_request_clear(request);
    s3i_request_init(request, &PART, op->client);
    part->read = read;
    part->fetch = fetch;
    part->cursor = fetch->plan.first_member;
    request->method = S3I_GET;
    request->has_key = true;
    request->encryption = S3I_ENCRYPT_KEY;
    request->key = op->key;
    request->query = op->query;
    request->headers = op->headers;
    request->range_kind = read->suffix ? S3I_RANGE_SUFFIX : S3I_RANGE_SPAN;
    request->suffix = read->suffix;
    request->range = part_range(read, fetch, fetch->next_part++);
    if (read->into == NULL && request->range.end != UINT64_MAX) {
        request->memory = request->range.end - request->range.start;
    }
    request->may_be_small = read->first_only;
    if (read->etag_size) {
        request->pinned_etag = s3i_str(read->etag, read->etag_size);
    }
    s3i_op_request(op, request);
}

/* The next fetch with a part that may be sent now, or NULL. */
static struct fetch *next_to_send(struct op_read *read)
{
    while (read->next_fetch < read->fetch_count) {
        struct fetch *fetch = &read->fetches[read->next_fetch];
        if (fetch->parts == 0) {
            plan_fetch(read, fetch);
        }
        if (fetch->next_part < fetch->parts) {
            /* Parts after the first wait for the object's size: they might begin after its end. */
            return fetch->next_part > 0 && !read->size_known ? NULL : fetch;
        }
        read->next_fetch++;
    }
    return NULL;
}

static void fill_window(struct op_read *read)
{
    for (size_t i = 0; i < read->window; i++) {
        struct part *part = &read->parts[i];
        if (s3i_request_active(&part->request)) {
            continue;
        }
        struct fetch *fetch = next_to_send(read);
        if (fetch == NULL) {
            return;
        }
        send_part(read, part, fetch);
    }
}

/* The window is made when the operation starts: as large as there can be parts. */
static bool make_window(struct op_read *read)
{
    uint64_t parts = 0;
    for (size_t i = 0; i < read->fetch_count; i++) {
        plan_fetch(read, &read->fetches[i]);
        parts += read->fetches[i].parts;
    }
    read->window = parts < read->op.client->window ? (size_t)parts : read->op.client->window;
    read->parts = s3i_calloc(read->window, sizeof(*read->parts));
    for (size_t i = 0; read->parts != NULL && i < read->window; i++) {
        s3i_request_init(&read->parts[i].request, &PART, read->op.client);
    }
    return read->parts != NULL;
}

static void start(struct s3_op *op)
{
    struct op_read *read = read_of(op);
    if (read->count == 0) {
        s3i_op_finish(op);
        return;
    }
    if (!make_window(read)) {
        struct s3_error error = {.code = S3EXT_NO_MEMORY};
        s3i_op_fail(op, &error);
        return;
    }
    fill_window(read);
}

/* ---- the head of an answer ---- */

/* Whether an answer is about another object than the first one was; without an ETag its date has to
 * tell. */
static const char *what_changed(const struct op_read *read, const struct s3_answer *answer)
{
    const struct s3_op *op = &read->op;
    struct s3_str known = s3i_str(read->etag, read->etag_size);
    struct s3_str date = s3i_headers_find(answer->headers, S3I_STR("last-modified"));
    struct s3_str known_date = s3i_headers_find(&op->answer_headers, S3I_STR("last-modified"));
    if (answer->etag.data != NULL && known.size && !s3i_str_equal(known, answer->etag)) {
        return "another ETag";
    }
    if (answer->total_known && op->result.object_size != answer->total) {
        return "another size";
    }
    if ((answer->etag.data == NULL || known.size == 0) && date.data != NULL &&
        known_date.data != NULL && !s3i_str_equal(date, known_date)) {
        return "another date";
    }
    return NULL;
}

/* The first answer tells size and ETag of the object for the whole operation. */
static int learn_object(struct op_read *read, const struct s3_answer *answer,
                        struct s3_error *error)
{
    struct s3_op *op = &read->op;
    if (read->size_known || op->result.object_size != UINT64_MAX) {
        const char *change = what_changed(read, answer);
        return change == NULL ? S3EXT_OK
                              : s3i_error_set(error, S3EXT_MODIFIED,
                                              "the object changed while it was read (%s)", change);
    }
    if (answer->etag.size < ETAG_LIMIT && answer->etag.size) {
        memcpy(read->etag, answer->etag.data, answer->etag.size);
        read->etag_size = answer->etag.size;
    }
    if (answer->total_known) {
        op->result.object_size = answer->total;
        read->size_known = true;
    }
    op->result.range_start = answer->range.start;
    return s3i_op_keep_answer(op, answer);
}

/* Cuts the fetches at the end of the object; one that begins after it would be answered with 416.
 */
static int cut_fetches(struct op_read *read, struct s3_error *error)
{
    uint64_t size = read->op.result.object_size;
    if (!read->size_known) {
        return S3EXT_OK;
    }
    for (size_t i = 0; i < read->count; i++) {
        if (read->ranges[i].start >= size && !read->suffix && (size > 0 || !read->plain_retry)) {
            return s3i_error_set(error, S3EXT_GENERIC,
                                 "the range starting at %" PRIu64
                                 " begins after the end of the object (%" PRIu64 " bytes)",
                                 read->ranges[i].start, size);
        }
    }
    for (size_t i = 0; i < read->fetch_count; i++) {
        struct fetch *fetch = &read->fetches[i];
        if (fetch->plan.end > size) {
            fetch->plan.end = size;
            uint64_t length = size - fetch->plan.start;
            fetch->parts = fetch->parts > 1 && !fetch->opened
                               ? s3i_plan_count(length, fetch->part_size)
                               : fetch->parts;
        }
    }
    return S3EXT_OK;
}

static int take_memory(struct op_read *read, struct fetch *fetch, const struct s3_answer *answer,
                       struct s3_error *error)
{
    uint64_t size = fetch->plan.end - fetch->plan.start;
    uint64_t coming = answer->range.end - answer->range.start;
    if (read->first_only && size > WHOLE_LIMIT && coming < size) {
        size = coming;
    }
    fetch->memory = s3i_memory_new(size);
    if (fetch->memory == NULL) {
        return s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for %" PRIu64 " bytes", size);
    }
    return S3EXT_OK;
}

static int open_fetch(struct op_read *read, struct fetch *fetch, struct s3_answer *answer,
                      struct s3_error *error)
{
    if (fetch->plan.end == UINT64_MAX && !read->size_known && !answer->whole) {
        return s3i_error_set(error, S3EXT_PROTOCOL,
                             "the answer does not tell the size of the object");
    }
    if (read->suffix || fetch->plan.end == UINT64_MAX) {
        fetch->plan.start = answer->range.start;
        fetch->plan.end = read->size_known ? read->op.result.object_size : answer->range.end;
    }
    uint64_t size = fetch->plan.end - fetch->plan.start;
    if (size > read->into_size) {
        return s3i_error_set(error, S3EXT_TOO_SMALL,
                             "the object has %" PRIu64 " bytes, the buffer room for %" PRIu64, size,
                             read->into_size);
    }
    if (answer->whole) {
        fetch->parts = fetch->next_part; /* this answer brings all of it */
        answer->range.end = fetch->plan.end;
    } else if (!read->first_only && !read->suffix) {
        fetch->parts = s3i_plan_count(size, fetch->part_size);
    }
    fetch->opened = true;
    return read->into == NULL ? take_memory(read, fetch, answer, error) : S3EXT_OK;
}

static int on_head(struct s3_request *request, struct s3_answer *answer, struct s3_error *error)
{
    struct part *part = S3I_OWNER(request, struct part, request);
    struct op_read *read = part->read;
    bool first = !read->size_known;
    S3I_TRY(learn_object(read, answer, error));
    if (first) {
        S3I_TRY(cut_fetches(read, error));
    }
    if (!part->fetch->opened) {
        S3I_TRY(open_fetch(read, part->fetch, answer, error));
    }
    if (request->memory) {
        s3i_request_needs(request, answer->range.end - answer->range.start);
    }
    if (!answer->resumed) {
        part->cursor = part->fetch->plan.first_member;
    }
    if (read->etag_size) {
        request->pinned_etag = s3i_str(read->etag, read->etag_size); /* for a resumed body */
    }
    if (first) {
        fill_window(read);
    }
    return S3EXT_OK;
}

/* ---- the body ---- */

/* Copies the bytes at [position, position + data.size) of the object into each range that covers
 * them. */
static void scatter(struct part *part, uint64_t position, struct s3_str data)
{
    struct op_read *read = part->read;
    const struct s3_fetch *plan = &part->fetch->plan;
    uint64_t end = position + data.size;
    bool passed = true;
    for (size_t i = part->cursor; i < plan->first_member + plan->members; i++) {
        size_t member = read->order[i];
        const struct s3_range *range = &read->ranges[member];
        if (range->start >= end) {
            break;
        }
        uint64_t from = range->start > position ? range->start : position;
        uint64_t to = range->end < end ? range->end : end;
        if (from < to) {
            memcpy((char *)read->into[member] + (from - range->start),
                   data.data + (from - position), (size_t)(to - from));
        }
        passed = passed && range->end <= end;
        part->cursor = passed ? i + 1 : part->cursor;
    }
}

static int on_body(struct s3_request *request, uint64_t offset, struct s3_str data)
{
    struct part *part = S3I_OWNER(request, struct part, request);
    struct fetch *fetch = part->fetch;
    uint64_t position = request->range.start + offset;
    if (fetch->memory == NULL) {
        scatter(part, position, data);
        return S3EXT_OK;
    }
    uint64_t place = position - fetch->plan.start;
    if (place + data.size > s3i_memory_capacity(fetch->memory)) {
        return S3EXT_PROTOCOL;
    }
    memcpy(s3i_memory_data(fetch->memory) + place, data.data, data.size);
    return S3EXT_OK;
}

/*
 * How many bytes from `position` on belong to one range alone, which `place` then lies in. A byte
 * that several ranges want, or none, is scattered.
 */
static uint64_t room_in_ranges(struct part *part, uint64_t position, char **place)
{
    const struct op_read *read = part->read;
    const struct s3_fetch *plan = &part->fetch->plan;
    size_t last = plan->first_member + plan->members;
    uint64_t room = 0;
    while (part->cursor < last && read->ranges[read->order[part->cursor]].end <= position) {
        part->cursor++;
    }
    for (size_t i = part->cursor; i < last; i++) {
        size_t member = read->order[i];
        const struct s3_range *range = &read->ranges[member];
        if (range->start > position) {
            uint64_t gap = range->start - position;
            return gap < room ? gap : room;
        }
        if (range->end <= position) {
            continue;
        }
        if (room > 0) {
            return 0;
        }
        room = range->end - position;
        *place = (char *)read->into[member] + (position - range->start);
    }
    return room;
}

static uint64_t on_room(struct s3_request *request, uint64_t offset, char **place)
{
    struct part *part = S3I_OWNER(request, struct part, request);
    struct fetch *fetch = part->fetch;
    uint64_t position = request->range.start + offset;
    if (fetch->memory == NULL) {
        return room_in_ranges(part, position, place);
    }
    uint64_t taken = position - fetch->plan.start;
    uint64_t capacity = s3i_memory_capacity(fetch->memory);
    *place = s3i_memory_data(fetch->memory) + taken;
    return taken < capacity ? capacity - taken : 0;
}

/* ---- the end ---- */

/* One slice for each range: a view of its fetch's memory, or just its size in the caller's. */
static void cut_slices(struct op_read *read, uint64_t got_end)
{
    for (size_t i = 0; i < read->fetch_count; i++) {
        struct fetch *fetch = &read->fetches[i];
        for (size_t m = 0; m < fetch->plan.members; m++) {
            size_t member = read->order[fetch->plan.first_member + m];
            const struct s3_range *range = &read->ranges[member];
            struct s3ext_slice *slice = &read->op.result.slices[member];
            uint64_t start = read->suffix ? fetch->plan.start : range->start;
            uint64_t end = range->end < fetch->plan.end ? range->end : fetch->plan.end;
            end = read->first_only && got_end < end ? got_end : end;
            slice->size = end - start;
            if (fetch->memory == NULL) {
                continue;
            }
            uint64_t place = start - fetch->plan.start;
            slice->data = s3i_memory_data(fetch->memory) + place;
            slice->capacity = s3i_memory_capacity(fetch->memory) - place;
            slice->memory = (s3ext_memory *)fetch->memory;
            s3i_memory_retain(fetch->memory);
        }
    }
}

/* A range of an empty object is answered with 416: asked from 0 to the end, the object is read
 * without one. */
static bool ask_again_plain(struct op_read *read, struct part *part)
{
    const struct s3_request *request = &part->request;
    bool open = read->count == 1 && read->ranges[0].start == 0 && read->ranges[0].end == UINT64_MAX;
    if (request->error.http_status != 416 || !open || part->fetch->opened || read->plain_retry ||
        read->op.error.code != S3EXT_OK) {
        return false;
    }
    read->plain_retry = true;
    read->suffix = 0;
    struct fetch *fetch = part->fetch;
    fetch->next_part = 0;
    send_part(read, part, fetch);
    part->request.range_kind = S3I_RANGE_NONE;
    part->request.range = (struct s3_range){0, UINT64_MAX};
    return true;
}

/*
 * A range that the server says is none, although it begins within the object as another answer has
 * told it: the object became shorter. Such a request may have been sent before there was an ETag to
 * pin.
 */
static bool has_shrunk(const struct op_read *read, const struct s3_request *request)
{
    return request->error.http_status == 416 && read->op.result.object_size != UINT64_MAX &&
           request->range.start < read->op.result.object_size;
}

static void on_done(struct s3_request *request)
{
    struct part *part = S3I_OWNER(request, struct part, request);
    struct op_read *read = part->read;
    struct s3_op *op = &read->op;
    s3i_op_request_done(op, request);
    if (request->error.code != S3EXT_OK) {
        if (has_shrunk(read, request)) {
            request->error.code = S3EXT_MODIFIED;
        }
        if (!ask_again_plain(read, part)) {
            s3i_op_fail(op, &request->error);
        }
        return;
    }
    read->size_known = true; /* an object of unknown size came in one answer */
    fill_window(read);
    if (s3i_list_empty(&op->requests)) {
        op->result.range_end = request->range_kind == S3I_RANGE_NONE
                                   ? request->received
                                   : request->range.start + request->received;
        if (!read->first_only) {
            const struct fetch *last = &read->fetches[read->fetch_count - 1];
            op->result.range_end = last->plan.end;
        }
        cut_slices(read, op->result.range_end);
        s3i_op_finish(op);
    }
}

static const struct s3_op_class CLASS = {.name = "read", .start = start, .destroy = destroy};
static const struct s3_request_class PART = {
    .on_head = on_head, .on_body = on_body, .on_room = on_room, .on_done = on_done};
