#include "operations/op_write.h"

#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/time.h"
#include "base/wait.h"
#include "bytes/memory.h"
#include "operations/op_copy.h"
#include "operations/op_single.h"
#include "pure/hash.h"

enum {
    PARTS_MAX = 10000,  /* "Amazon S3 multipart upload limits" */
    GROWTH_PARTS = 960, /* parts of unknown number double after so many: 5 TiB from 5 MiB on */
    ETAG_LIMIT = 256,
    ID_LIMIT = 4096,
    QUERY_LIMIT = 3 * ID_LIMIT + 64,
    CONTROL_HEADERS_LIMIT = 1024,
    DOCUMENT_LIMIT = 64 * 1024,
    MANIFEST_LIMIT = 8 * 1024 * 1024,
    LAST_WAIT_MS = 15000 /* what a request that only clears up or looks may take */
};

#define PART_LIMIT (UINT64_C(5) << 30) /* bytes, by the same page */

/* ---- one PUT ---- */

/* Whether the checksum that a server names of what it received is ours; `named`: it names one. */
static bool agrees(const struct s3_request *request, const struct s3_headers *headers, bool *named)
{
    struct s3_str theirs = S3I_STR_NONE;
    if (request->checksum != S3I_CHECKSUM_NONE) {
        theirs = s3i_headers_find(headers, s3i_checksum_names(request->checksum)->header);
    }
    if (named != NULL) {
        *named = theirs.data != NULL;
    }
    return theirs.data == NULL ||
           s3i_str_equal(theirs, s3i_str_from(request->payload.checksum));
}

/* "A PUT answer without ETag" is no proof of anything: obstore refuses it too. */
static int read_put(struct op_single *single, struct s3_xml_error *xml)
{
    (void)xml;
    if (!agrees(&single->request, &single->op.answer_headers, NULL)) {
        return S3EXT_CHECKSUM;
    }
    return single->op.result.etag == NULL ? S3EXT_PROTOCOL : S3EXT_OK;
}

static const struct s3_single_kind PUT = {
    .name = "put",
    .method = S3I_PUT,
    .has_key = true,
    .encryption = S3I_ENCRYPT_WRITE,
    .document_limit = DOCUMENT_LIMIT,
    .read_document = read_put,
};

struct s3_op *s3i_op_put_new(struct s3_client *client, const struct s3_op_texts *texts,
                             struct s3_str body, bool conditional)
{
    struct op_single *single = s3i_single_new(&PUT, client, texts);
    if (single == NULL) {
        return NULL;
    }
    single->request.body = body;
    single->request.repeatable = !conditional;
    single->request.checksum = client->checksum;
    return &single->op;
}

/* ---- the upload ---- */

enum upload_state {
    NOT_BEGUN, /* nothing was sent: it may end at once */
    CREATING,
    DOOMED, /* failed while the create request is under way */
    SENDING,
    VERIFYING, /* is the source of copied parts still the same? */
    COMPLETING,
    CONFIRMING, /* is the object there although Complete failed? */
    TIDYING,    /* it is; the upload may be left nevertheless */
    ABORTING
};

/* A part under way. */
struct part {
    struct s3_request request;
    struct op_upload *upload;
    uint32_t number; /* from 1 */
    struct s3_buf query;
    struct s3_buf headers;    /* of a copied part */
    struct s3_memory *memory; /* of a fed part; NULL for the caller's body */
    char etag[ETAG_LIMIT];
    bool checksum_named; /* the server has answered with the part's checksum */
};

/* A part that the server has. */
struct sent {
    char *etag;
    uint64_t size;
    uint64_t crc;                     /* of a checksum that is one */
    char checksum[S3I_CHECKSUM_TEXT]; /* "": the server does not know it */
};

/* A part that was fed and not sent yet. */
struct fed {
    struct s3_memory *memory;
    uint64_t size;
};

struct op_upload {
    struct s3_op op; /* first */
    enum upload_state state;
    const char *body;
    struct s3_copy copy; /* its source is NULL when the parts are sent */
    uint64_t size, part_size;
    uint32_t window;
    bool if_absent;
    struct s3_request control; /* create, complete, abort, confirm: one at a time */
    struct s3_timer deadline;  /* of a request after which nothing follows */
    struct s3_error cause;     /* how Complete failed, while the object is looked for */
    enum s3_checksum checksum; /* of the parts */
    bool full_object;          /* Complete carries the whole object's checksum */
    struct s3_buf id, query, manifest, etag;
    struct s3_buf control_headers; /* of create and complete */
    struct part *parts;
    uint32_t started, finished; /* parts */
    uint32_t expected;          /* parts in all; 0 while a fed upload goes on */
    struct sent *sent;          /* finished parts, by number - 1 */
    size_t sent_capacity;
    struct s3_post fed;  /* something was pushed */
    atomic_uint changes; /* futex word: rises with room and at the end */
    pthread_mutex_t lock;
    struct {
        struct s3_memory *filling; /* handed out by slot, not pushed yet */
        struct fed *queue;         /* ring of `window` */
        uint32_t first, count;     /* in the ring */
        uint32_t outstanding;      /* pushed and not finished */
        uint32_t pushed;
        bool last;
        bool wants_room;
        bool ended;
        int code; /* why it ended */
    } locked;
};

static const struct s3_op_class UPLOAD;
static const struct s3_request_class CONTROL;
static const struct s3_request_class PART;
static const struct s3_request_class COPIED_PART;

static struct op_upload *upload_of(struct s3_op *op)
{
    return (struct op_upload *)op;
}

/* Fed ones come one by one; all others are known from the start. */
static bool is_fed(const struct op_upload *upload)
{
    return upload->body == NULL && upload->copy.source == NULL;
}

static void on_fed(struct s3_post *post);
static void on_deadline(struct s3_timer *timer);

struct s3_op *s3i_op_upload_new(struct s3_client *client, const struct s3_upload_options *options)
{
    struct s3_op *op = s3i_op_new(&UPLOAD, sizeof(struct op_upload), client, &options->texts);
    if (op == NULL) {
        return NULL;
    }
    struct op_upload *upload = upload_of(op);
    pthread_mutex_init(&upload->lock, NULL);
    upload->body = options->body;
    if (options->copy != NULL) {
        upload->copy = *options->copy;
        *options->copy = (struct s3_copy){.source = NULL};
    }
    upload->size = options->size;
    upload->part_size = options->part_size;
    upload->window = options->window ? options->window : 1;
    upload->if_absent = options->if_absent;
    s3i_buf_init(&upload->id, ID_LIMIT);
    s3i_buf_init(&upload->query, QUERY_LIMIT);
    s3i_buf_init(&upload->manifest, MANIFEST_LIMIT);
    s3i_buf_init(&upload->etag, ETAG_LIMIT);
    s3i_buf_init(&upload->control_headers, CONTROL_HEADERS_LIMIT);
    upload->checksum = upload->copy.source == NULL ? client->checksum : S3I_CHECKSUM_NONE;
    upload->full_object = s3i_checksum_is_crc(upload->checksum);
    s3i_request_init(&upload->control, &CONTROL, client);
    s3i_timer_init(&upload->deadline, on_deadline);
    s3i_post_init(&upload->fed, on_fed);
    if (!is_fed(upload) &&
        s3i_plan_upload_part(options->size, options->part_size, &upload->part_size)) {
        s3i_error_set(&op->error, S3EXT_INVALID, "an object cannot have more than 5 TiB");
    }
    upload->parts = s3i_calloc(upload->window, sizeof(*upload->parts));
    upload->locked.queue = s3i_calloc(upload->window, sizeof(*upload->locked.queue));
    if (upload->parts == NULL || upload->locked.queue == NULL) {
        s3i_op_release(op);
        return NULL;
    }
    for (uint32_t i = 0; i < upload->window; i++) {
        s3i_request_init(&upload->parts[i].request, &PART, client);
        s3i_buf_init(&upload->parts[i].query, QUERY_LIMIT);
        s3i_buf_init(&upload->parts[i].headers, QUERY_LIMIT);
    }
    return op;
}

static void release_fed(struct op_upload *upload)
{
    s3i_memory_release(upload->locked.filling);
    upload->locked.filling = NULL;
    for (; upload->locked.queue != NULL && upload->locked.count > 0; upload->locked.count--) {
        s3i_memory_release(upload->locked.queue[upload->locked.first].memory);
        upload->locked.first = (upload->locked.first + 1) % upload->window;
    }
}

static void destroy_upload(struct s3_op *op)
{
    struct op_upload *upload = upload_of(op);
    for (uint32_t i = 0; upload->parts != NULL && i < upload->window; i++) {
        s3i_request_clear(&upload->parts[i].request);
        s3i_buf_clear(&upload->parts[i].query);
        s3i_buf_clear(&upload->parts[i].headers);
        s3i_memory_release(upload->parts[i].memory);
    }
    for (size_t i = 0; i < upload->sent_capacity; i++) {
        s3i_free(upload->sent[i].etag);
    }
    release_fed(upload);
    s3i_free(upload->locked.queue);
    s3i_free(upload->sent);
    s3i_free(upload->parts);
    s3i_request_clear(&upload->control);
    s3i_buf_clear(&upload->id);
    s3i_buf_clear(&upload->query);
    s3i_buf_clear(&upload->manifest);
    s3i_buf_clear(&upload->etag);
    s3i_buf_clear(&upload->control_headers);
    s3i_copy_clear(&upload->copy);
    pthread_mutex_destroy(&upload->lock);
}

/* ---- the end ---- */

static void announce(struct op_upload *upload)
{
    atomic_fetch_add(&upload->changes, 1);
    s3i_word_wake(&upload->changes);
}

/* The fed side hears of the end before the operation is done. */
static void close_fed_side(struct op_upload *upload)
{
    pthread_mutex_lock(&upload->lock);
    upload->locked.ended = true;
    upload->locked.code = upload->op.error.code;
    pthread_mutex_unlock(&upload->lock);
    announce(upload);
}

static void finish_upload(struct op_upload *upload)
{
    s3i_timer_clear(&upload->deadline);
    close_fed_side(upload);
    s3i_op_finish(&upload->op);
}

static void fail_with(struct op_upload *upload, int code, const char *message)
{
    struct s3_error error;
    s3i_error_clear(&error);
    s3i_error_set(&error, code, "%s", message);
    s3i_op_fail(&upload->op, &error);
}

/* ---- control requests ---- */

/* The request is idle; it keeps key, client and class. */
static struct s3_request *new_control(struct op_upload *upload, enum s3_method method,
                                      struct s3_str query)
{
    struct s3_request *request = &upload->control;
    s3i_request_clear(request);
    s3i_request_init(request, &CONTROL, upload->op.client);
    request->method = method;
    request->has_key = true;
    request->key = upload->op.key;
    request->query = query;
    request->document_limit = DOCUMENT_LIMIT;
    return request;
}

static void write_create_headers(struct op_upload *upload)
{
    struct s3_buf *headers = &upload->control_headers;
    if (upload->checksum != S3I_CHECKSUM_NONE) {
        s3i_pair_add(headers, S3I_STR("x-amz-checksum-algorithm"),
                     s3i_checksum_names(upload->checksum)->algorithm);
    }
    if (upload->full_object) {
        s3i_pair_add(headers, S3I_STR("x-amz-checksum-type"), S3I_STR("FULL_OBJECT"));
    }
}

/* Not in the operation's list: a failure elsewhere must not cancel it silently. */
static void send_create(struct op_upload *upload)
{
    write_create_headers(upload);
    if (!s3i_buf_ok(&upload->control_headers)) {
        fail_with(upload, S3EXT_NO_MEMORY, "no memory to begin the upload");
        return;
    }
    struct s3_request *request = new_control(upload, S3I_POST, S3I_STR("uploads="));
    request->headers = upload->op.headers;
    request->encryption = S3I_ENCRYPT_WRITE;
    request->extra_headers = s3i_buf_str(&upload->control_headers);
    upload->state = CREATING;
    s3i_request_start(request, upload->op.reactor);
}

static bool set_upload_query(struct op_upload *upload)
{
    s3i_buf_reset(&upload->query);
    s3i_buf_add(&upload->query, S3I_STR("uploadId="));
    s3i_uri_add_component(&upload->query, s3i_buf_str(&upload->id));
    return s3i_buf_ok(&upload->query);
}

static void set_deadline(struct op_upload *upload)
{
    s3i_timer_set(&upload->op.reactor->timers, &upload->deadline, s3i_now_ms() + LAST_WAIT_MS);
}

static void send_abort(struct op_upload *upload, enum upload_state state)
{
    upload->state = state;
    set_deadline(upload);
    s3i_request_start(new_control(upload, S3I_DELETE, s3i_buf_str(&upload->query)),
                      upload->op.reactor);
}

/* Only what the server has named itself: others might refuse an element that they do not know. */
static void add_part_checksum(struct s3_buf *out, const struct op_upload *upload,
                              const struct sent *sent)
{
    struct s3_str element = s3i_checksum_names(upload->checksum)->element;
    if (sent->checksum[0] != '\0') {
        s3i_buf_add_char(out, '<');
        s3i_buf_add(out, element);
        s3i_buf_add_char(out, '>');
        s3i_buf_add(out, s3i_str_from(sent->checksum));
        s3i_buf_add(out, S3I_STR("</"));
        s3i_buf_add(out, element);
        s3i_buf_add_char(out, '>');
    }
}

static void write_manifest(struct op_upload *upload)
{
    struct s3_buf *out = &upload->manifest;
    s3i_buf_add(
        out,
        S3I_STR("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"));
    for (uint32_t i = 0; i < upload->expected; i++) {
        s3i_buf_add(out, S3I_STR("<Part><ETag>"));
        s3i_xml_add_text(out, s3i_str_from(upload->sent[i].etag));
        s3i_buf_add(out, S3I_STR("</ETag><PartNumber>"));
        s3i_buf_add_u64(out, i + 1);
        s3i_buf_add(out, S3I_STR("</PartNumber>"));
        add_part_checksum(out, upload, &upload->sent[i]);
        s3i_buf_add(out, S3I_STR("</Part>"));
    }
    s3i_buf_add(out, S3I_STR("</CompleteMultipartUpload>"));
}

static void write_complete_headers(struct op_upload *upload)
{
    struct s3_buf *headers = &upload->control_headers;
    s3i_buf_reset(headers);
    s3i_pair_add(headers, S3I_STR("content-type"), S3I_STR("application/xml"));
    if (upload->if_absent) {
        s3i_pair_add(headers, S3I_STR("if-none-match"), S3I_STR("*"));
    }
    if (upload->full_object) {
        char text[S3I_CHECKSUM_TEXT];
        uint64_t crc = 0;
        for (uint32_t i = 0; i < upload->expected; i++) {
            crc = s3i_checksum_combine(upload->checksum, crc, upload->sent[i].crc,
                                       upload->sent[i].size);
        }
        s3i_checksum_write_crc(upload->checksum, crc, text);
        s3i_pair_add(headers, s3i_checksum_names(upload->checksum)->header, s3i_str_from(text));
        s3i_pair_add(headers, S3I_STR("x-amz-checksum-type"), S3I_STR("FULL_OBJECT"));
    }
}

static void send_complete(struct op_upload *upload)
{
    write_manifest(upload);
    write_complete_headers(upload);
    if (!s3i_buf_ok(&upload->manifest) || !s3i_buf_ok(&upload->control_headers)) {
        fail_with(upload, S3EXT_NO_MEMORY, "no memory to complete the upload");
        return;
    }
    upload->state = COMPLETING;
    struct s3_request *request = new_control(upload, S3I_POST, s3i_buf_str(&upload->query));
    request->body = s3i_buf_str(&upload->manifest);
    request->extra_headers = s3i_buf_str(&upload->control_headers);
    if (upload->checksum != S3I_CHECKSUM_NONE) {
        request->encryption = S3I_ENCRYPT_KEY; /* required "when [...] created using a checksum" */
    }
    s3i_op_request(&upload->op, request);
}

/* Ceph passes over the condition that each part was copied under: the parts may be of two objects. */
static void send_verify(struct op_upload *upload)
{
    upload->state = VERIFYING;
    struct s3_request *request = new_control(upload, S3I_HEAD, S3I_STR_NONE);
    request->key = s3i_str_from(upload->copy.key);
    request->encryption = S3I_ENCRYPT_KEY;
    request->pinned_etag = s3i_str_from(upload->copy.etag);
    s3i_op_request(&upload->op, request);
}

static void send_confirm(struct op_upload *upload)
{
    upload->state = CONFIRMING;
    set_deadline(upload);
    struct s3_request *request = new_control(upload, S3I_HEAD, S3I_STR_NONE);
    request->encryption = S3I_ENCRYPT_KEY;
    s3i_op_request(&upload->op, request);
}

/* ---- the object's ETag ---- */

/* The MD5 in a part's ETag, quotes left out; false when it is none (KMS, SSE-C). */
static bool part_digest(const char *etag, uint8_t digest[S3I_MD5_SIZE])
{
    struct s3_str text = s3i_str_from(etag);
    if (text.size == 2 * S3I_MD5_SIZE + 2 && text.data[0] == '"') {
        text = s3i_str(text.data + 1, text.size - 2);
    }
    bool valid = text.size == 2 * (size_t)S3I_MD5_SIZE;
    for (size_t i = 0; valid && i < S3I_MD5_SIZE; i++) {
        unsigned high = s3i_hex_value(text.data[2 * i]);
        unsigned low = s3i_hex_value(text.data[2 * i + 1]);
        valid = high < 16 && low < 16;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return valid;
}

/* What S3 makes of the parts' MD5s: "<md5 of the digests>-<parts>", with quotes. false when it
 * cannot be told. */
static bool expected_etag(const struct op_upload *upload, struct s3_buf *out)
{
    uint8_t digest[S3I_HASH_MAX];
    struct s3_hash *hash = s3i_hash_new(S3I_HASH_MD5);
    bool ok = hash != NULL;
    for (uint32_t i = 0; ok && i < upload->expected; i++) {
        ok = part_digest(upload->sent[i].etag, digest) &&
             s3i_hash_update(hash, s3i_str((const char *)digest, S3I_MD5_SIZE)) == S3EXT_OK;
    }
    ok = ok && s3i_hash_final(hash, digest) == S3EXT_OK;
    s3i_hash_free(hash);
    if (ok) {
        s3i_buf_add_char(out, '"');
        s3i_hash_add_hex(out, digest, S3I_MD5_SIZE);
        s3i_buf_add_char(out, '-');
        s3i_buf_add_u64(out, upload->expected);
        s3i_buf_add_char(out, '"');
    }
    return ok && s3i_buf_ok(out);
}

static void set_result_etag(struct op_upload *upload)
{
    upload->op.result.etag = upload->etag.data;
    upload->op.result.etag_size = upload->etag.size;
}

/* ---- parts ---- */

static struct part *free_part(struct op_upload *upload)
{
    for (uint32_t i = 0; i < upload->window; i++) {
        if (!s3i_request_active(&upload->parts[i].request)) {
            return &upload->parts[i];
        }
    }
    return NULL;
}

static bool set_part_query(struct op_upload *upload, struct part *part)
{
    s3i_buf_reset(&part->query);
    s3i_buf_add(&part->query, S3I_STR("partNumber="));
    s3i_buf_add_u64(&part->query, part->number);
    s3i_buf_add_char(&part->query, '&');
    s3i_buf_add(&part->query, s3i_buf_str(&upload->query));
    return s3i_buf_ok(&part->query);
}

static void send_part(struct op_upload *upload, struct part *part, struct s3_str body)
{
    struct s3_request *request = &part->request;
    part->upload = upload;
    part->number = ++upload->started;
    part->etag[0] = '\0';
    part->checksum_named = false;
    s3i_request_clear(request);
    if (upload->copy.source != NULL) {
        s3i_request_init(request, &COPIED_PART, upload->copy.signer);
    } else {
        s3i_request_init(request, &PART, upload->op.client);
    }
    if (!set_part_query(upload, part) || !s3i_buf_ok(&part->headers)) {
        fail_with(upload, S3EXT_NO_MEMORY, "no memory to send a part");
        return;
    }
    request->method = S3I_PUT;
    request->has_key = true;
    request->key = upload->op.key;
    request->query = s3i_buf_str(&part->query);
    request->extra_headers = s3i_buf_str(&part->headers);
    request->encryption =
        S3I_ENCRYPT_KEY | (upload->copy.source ? S3I_ENCRYPT_SOURCE : S3I_ENCRYPT_NONE);
    request->checksum = upload->checksum;
    request->body = body;
    request->lend = true; /* only the parts that the manifest names by their ETags become the object */
    request->document_limit = DOCUMENT_LIMIT;
    s3i_op_request(&upload->op, request);
}

static void send_known(struct op_upload *upload)
{
    const struct s3_range all = {0, upload->size};
    struct part *part;
    while (upload->state == SENDING && upload->started < upload->expected &&
           (part = free_part(upload)) != NULL) {
        struct s3_range range = s3i_plan_part(all, upload->part_size, upload->started);
        if (upload->copy.source != NULL) {
            s3i_buf_reset(&part->headers);
            s3i_copy_add_part(&part->headers, &upload->copy, range, upload->expected == 1);
            send_part(upload, part, S3I_STR_NONE);
        } else {
            size_t size = (size_t)(range.end - range.start);
            send_part(upload, part, s3i_str(upload->body + range.start, size));
        }
    }
}

static bool take_fed(struct op_upload *upload, struct fed *fed)
{
    bool taken = false;
    pthread_mutex_lock(&upload->lock);
    if (upload->locked.count > 0) {
        *fed = upload->locked.queue[upload->locked.first];
        upload->locked.first = (upload->locked.first + 1) % upload->window;
        upload->locked.count--;
        taken = true;
    }
    if (upload->locked.last) {
        upload->expected = upload->locked.pushed;
    }
    pthread_mutex_unlock(&upload->lock);
    return taken;
}

static void send_fed(struct op_upload *upload)
{
    struct part *part;
    struct fed fed;
    /* A fed part always finds a free place: at most `window` are outstanding. */
    while (upload->state == SENDING && (part = free_part(upload)) != NULL &&
           take_fed(upload, &fed)) {
        part->memory = fed.memory;
        send_part(upload, part, s3i_str(s3i_memory_data(fed.memory), (size_t)fed.size));
    }
}

static void send_parts(struct op_upload *upload)
{
    if (is_fed(upload)) {
        send_fed(upload);
    } else {
        send_known(upload);
    }
    if (upload->state != SENDING || upload->expected == 0 || upload->finished != upload->expected) {
        return;
    }
    if (upload->copy.source != NULL && upload->copy.etag[0] != '\0') {
        send_verify(upload);
    } else {
        send_complete(upload);
    }
}

static bool store_sent(struct op_upload *upload, const struct part *part)
{
    if (part->number > upload->sent_capacity) {
        size_t capacity = upload->sent_capacity ? upload->sent_capacity * 2 : 64;
        struct sent *grown = s3i_realloc_array(upload->sent, capacity, sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        memset(grown + upload->sent_capacity, 0,
               (capacity - upload->sent_capacity) * sizeof(*grown));
        upload->sent = grown;
        upload->sent_capacity = capacity;
    }
    struct sent *sent = &upload->sent[part->number - 1];
    sent->etag = s3i_strdup(s3i_str_from(part->etag));
    sent->size = part->request.body.size;
    sent->crc = part->request.payload.crc;
    if (part->checksum_named) {
        memcpy(sent->checksum, part->request.payload.checksum, sizeof(sent->checksum));
    }
    return sent->etag != NULL;
}

static void give_room(struct op_upload *upload, struct part *part)
{
    if (part->memory == NULL) {
        return;
    }
    s3i_memory_release(part->memory);
    part->memory = NULL;
    pthread_mutex_lock(&upload->lock);
    upload->locked.outstanding--;
    bool wanted = upload->locked.wants_room;
    upload->locked.wants_room = false;
    pthread_mutex_unlock(&upload->lock);
    if (wanted) {
        announce(upload);
        if (upload->op.listener != NULL) {
            upload->op.listener->on_room(upload->op.listener, &upload->op);
        }
    }
}

static int on_part_head(struct s3_request *request, struct s3_answer *answer,
                        struct s3_error *error)
{
    struct part *part = S3I_OWNER(request, struct part, request);
    if (answer->etag.size == 0 || answer->etag.size >= sizeof(part->etag)) {
        return s3i_error_set(error, S3EXT_PROTOCOL, "the answer to an uploaded part has no ETag");
    }
    memcpy(part->etag, answer->etag.data, answer->etag.size);
    part->etag[answer->etag.size] = '\0';
    if (!agrees(request, answer->headers, &part->checksum_named)) {
        return s3i_error_set(error, S3EXT_CHECKSUM,
                             "the server has another checksum of an uploaded part");
    }
    return S3EXT_OK;
}

static int check_copied_part(struct s3_request *request, struct s3_xml_error *xml)
{
    struct part *part = S3I_OWNER(request, struct part, request);
    struct s3_buf etag;
    s3i_buf_fixed(&etag, part->etag, sizeof(part->etag) - 1);
    S3I_TRY(s3i_copy_read_part(s3i_buf_str(&request->document), &etag, xml));
    part->etag[etag.size] = '\0';
    return S3EXT_OK;
}

/* The only condition of a copied part, and of the look after all, is the ETag of the source. */
static void name_change(const struct op_upload *upload, struct s3_error *error)
{
    if (upload->copy.source != NULL &&
        (error->code == S3EXT_PRECONDITION || error->code == S3EXT_MODIFIED)) {
        error->code = S3EXT_MODIFIED;
        s3i_error_text_copy(error->message, sizeof(error->message),
                            S3I_STR("the source changed while it was copied"));
    }
}

static void on_part_done(struct s3_request *request)
{
    struct part *part = S3I_OWNER(request, struct part, request);
    struct op_upload *upload = part->upload;
    s3i_op_request_done(&upload->op, request);
    name_change(upload, &request->error);
    if (request->error.code != S3EXT_OK) {
        s3i_op_fail(&upload->op, &request->error);
    } else if (!store_sent(upload, part)) {
        fail_with(upload, S3EXT_NO_MEMORY, "no memory for a part's ETag");
    } else {
        upload->finished++;
        give_room(upload, part);
        send_parts(upload);
    }
}

/* ---- the course of things ---- */

static void start_upload(struct s3_op *op)
{
    struct op_upload *upload = upload_of(op);
    if (!is_fed(upload)) {
        upload->expected = (uint32_t)s3i_plan_count(upload->size, upload->part_size);
    }
    send_create(upload);
}

static int read_created(struct op_upload *upload, struct s3_xml_error *xml)
{
    static const char *const names[] = {"UploadId"};
    s3i_buf_reset(&upload->id);
    S3I_TRY(s3i_xml_fields(s3i_buf_str(&upload->control.document), "InitiateMultipartUploadResult",
                           names, &upload->id, 1, xml));
    return upload->id.size == 0       ? S3EXT_PROTOCOL
           : set_upload_query(upload) ? S3EXT_OK
                                      : S3EXT_NO_MEMORY;
}

static int read_completed(struct op_upload *upload, struct s3_xml_error *xml)
{
    static const char *const names[] = {"ETag"};
    s3i_buf_reset(&upload->etag);
    S3I_TRY(s3i_xml_fields(s3i_buf_str(&upload->control.document), "CompleteMultipartUploadResult",
                           names, &upload->etag, 1, xml));
    if (upload->etag.size == 0) {
        expected_etag(upload, &upload->etag); /* Ceph answers with an empty one */
    }
    set_result_etag(upload);
    return S3EXT_OK;
}

static int check_control(struct s3_request *request, struct s3_xml_error *xml)
{
    struct op_upload *upload = S3I_OWNER(request, struct op_upload, control);
    switch (upload->state) {
    case CREATING:
    case DOOMED:
        return read_created(upload, xml);
    case COMPLETING:
        return read_completed(upload, xml);
    case NOT_BEGUN:
    case SENDING:
    case VERIFYING:
    case CONFIRMING:
    case TIDYING:
    case ABORTING:
        break;
    }
    return S3EXT_OK;
}

/* A server that knows the algorithm but not the type makes composite checksums: it is sent none. */
static void learn_checksum_type(struct op_upload *upload, const struct s3_headers *headers)
{
    struct s3_str algorithm = s3i_headers_find(headers, S3I_STR("x-amz-checksum-algorithm"));
    struct s3_str type = s3i_headers_find(headers, S3I_STR("x-amz-checksum-type"));
    if (algorithm.data != NULL && !s3i_str_equal(type, S3I_STR("FULL_OBJECT"))) {
        upload->full_object = false;
    }
}

static int on_control_head(struct s3_request *request, struct s3_answer *answer,
                           struct s3_error *error)
{
    (void)error;
    struct op_upload *upload = S3I_OWNER(request, struct op_upload, control);
    if (upload->state == CREATING) {
        learn_checksum_type(upload, answer->headers);
    }
    bool wanted = upload->state == COMPLETING || upload->state == CONFIRMING;
    return wanted ? s3i_op_keep_answer(&upload->op, answer) : S3EXT_OK;
}

static void on_created(struct op_upload *upload)
{
    const struct s3_error *error = &upload->control.error;
    if (upload->state == DOOMED && error->code == S3EXT_OK) {
        send_abort(upload, ABORTING);
    } else if (upload->state == DOOMED) {
        finish_upload(upload);
    } else if (error->code != S3EXT_OK) {
        upload->state = ABORTING; /* nothing to abort */
        s3i_op_fail(&upload->op, error);
    } else {
        upload->state = SENDING;
        send_parts(upload);
    }
}

static void on_verified(struct op_upload *upload)
{
    struct s3_error *error = &upload->control.error;
    if (error->code == S3EXT_OK) {
        send_complete(upload);
    } else {
        name_change(upload, error);
        s3i_op_fail(&upload->op, error);
    }
}

static bool is_unknown(const struct s3_error *error)
{
    return strcmp(error->s3_code, "NoSuchUpload") == 0;
}

/*
 * Whether Complete may have been done although it failed: its answer was lost or is none, or an
 * earlier one was (ours or one that libcurl repeated by itself on a connection that died), so that
 * the upload is unknown now.
 */
static bool may_be_done(const struct s3_error *error)
{
    bool lost = error->code == S3EXT_TRANSPORT || error->code == S3EXT_TIMEOUT ||
                error->code == S3EXT_PROTOCOL || error->code == S3EXT_SERVER;
    return lost || is_unknown(error);
}

/* Then the object tells by its ETag. */
static void on_completed(struct op_upload *upload)
{
    const struct s3_error *error = &upload->control.error;
    if (error->code == S3EXT_OK) {
        finish_upload(upload);
    } else if (may_be_done(error)) {
        upload->cause = *error;
        send_confirm(upload);
    } else {
        s3i_op_fail(&upload->op, error);
    }
}

static void on_confirmed(struct op_upload *upload)
{
    struct s3_str found = s3i_str(upload->op.result.etag, upload->op.result.etag_size);
    s3i_timer_clear(&upload->deadline);
    s3i_buf_reset(&upload->etag);
    bool same = upload->control.error.code == S3EXT_OK && expected_etag(upload, &upload->etag) &&
                s3i_str_equal(found, s3i_buf_str(&upload->etag));
    if (!same) {
        s3i_op_fail(&upload->op, &upload->cause);
        return;
    }
    set_result_etag(upload);
    if (is_unknown(&upload->cause)) {
        finish_upload(upload);
    } else {
        send_abort(upload, TIDYING); /* an older object of the same parts looks the same */
    }
}

/*
 * An upload that was still there has not made the object: where there must have been none before,
 * the object is somebody else's.
 */
static void on_tidied(struct op_upload *upload)
{
    if (upload->if_absent && upload->control.error.code == S3EXT_OK) {
        upload->op.error = upload->cause;
    }
    finish_upload(upload);
}

static void on_aborted(struct op_upload *upload)
{
    const struct s3_error *error = &upload->control.error;
    bool left_behind = error->code != S3EXT_OK && error->code != S3EXT_NOT_FOUND;
    if (left_behind && !s3i_op_let_go(&upload->op)) {
        size_t used = strlen(upload->op.error.message);
        snprintf(upload->op.error.message + used, sizeof(upload->op.error.message) - used,
                 "; upload %.*s could not be aborted", (int)upload->id.size, upload->id.data);
    }
    finish_upload(upload);
}

static void on_control_done(struct s3_request *request)
{
    struct op_upload *upload = S3I_OWNER(request, struct op_upload, control);
    s3i_op_request_done(&upload->op, request);
    switch (upload->state) {
    case CREATING:
    case DOOMED:
        on_created(upload);
        break;
    case VERIFYING:
        on_verified(upload);
        break;
    case COMPLETING:
        on_completed(upload);
        break;
    case CONFIRMING:
        on_confirmed(upload);
        break;
    case TIDYING:
        on_tidied(upload);
        break;
    case ABORTING:
        on_aborted(upload);
        break;
    case NOT_BEGUN:
    case SENDING:
        break;
    }
}

static void on_deadline(struct s3_timer *timer)
{
    struct op_upload *upload = S3I_OWNER(timer, struct op_upload, deadline);
    s3i_request_cancel(&upload->control);
    upload->control.error.code = S3EXT_TIMEOUT;
    on_control_done(&upload->control);
}

static void on_upload_failed(struct s3_op *op)
{
    struct op_upload *upload = upload_of(op);
    close_fed_side(upload);
    switch (upload->state) {
    case CREATING:
        upload->state = DOOMED;
        break;
    case SENDING:
    case VERIFYING:
    case COMPLETING:
    case CONFIRMING:
        send_abort(upload, ABORTING);
        break;
    case TIDYING:
        upload->state = ABORTING; /* under way already */
        break;
    case NOT_BEGUN:
    case ABORTING:
    case DOOMED:
        finish_upload(upload);
        break;
    }
}

static const struct s3_op_class UPLOAD = {
    .name = "upload",
    .start = start_upload,
    .on_failed = on_upload_failed,
    .destroy = destroy_upload,
};
static const struct s3_request_class CONTROL = {
    .on_head = on_control_head,
    .on_done = on_control_done,
    .check_document = check_control,
};
static const struct s3_request_class PART = {.on_head = on_part_head, .on_done = on_part_done};
static const struct s3_request_class COPIED_PART = {
    .on_done = on_part_done,
    .check_document = check_copied_part,
};

/* ---- the fed side ---- */

static void on_fed(struct s3_post *post)
{
    struct op_upload *upload = S3I_OWNER(post, struct op_upload, fed);
    if (upload->state == SENDING) {
        send_parts(upload);
    }
    s3i_op_release(&upload->op); /* the post's reference */
}

static uint64_t slot_size_locked(const struct op_upload *upload)
{
    bool grows = upload->size == 0 && upload->part_size < PART_LIMIT;
    uint64_t size = upload->part_size << (grows ? upload->locked.pushed / GROWTH_PARTS : 0);
    return grows && size > PART_LIMIT ? PART_LIMIT : size;
}

/* Memory for a part of the size; what its predecessors of half the size leave behind is given back,
 * for parts in flight are all that an upload may hold. */
static struct s3_memory *slot_memory_locked(const struct op_upload *upload, uint64_t size)
{
    bool grown = size > upload->part_size;
    if (grown && upload->locked.pushed % GROWTH_PARTS <= upload->window) {
        s3i_memory_trim(s3i_now_ms(), 0);
    }
    return s3i_memory_new(size);
}

char *s3i_upload_slot(struct s3_op *op, uint64_t *capacity)
{
    struct op_upload *upload = upload_of(op);
    char *data = NULL;
    *capacity = 0;
    pthread_mutex_lock(&upload->lock);
    if (!upload->locked.ended && !upload->locked.last) {
        uint64_t size = slot_size_locked(upload);
        bool room = upload->locked.outstanding < upload->window;
        upload->locked.wants_room = !room;
        if (room && upload->locked.filling == NULL) {
            upload->locked.filling = slot_memory_locked(upload, size);
        }
        if (room) {
            data = upload->locked.filling ? s3i_memory_data(upload->locked.filling) : NULL;
            *capacity = size;
        }
    }
    pthread_mutex_unlock(&upload->lock);
    return data;
}

static int push_locked(struct op_upload *upload, uint64_t size, bool last)
{
    if (upload->locked.ended) {
        return upload->locked.code ? upload->locked.code : S3EXT_INVALID;
    }
    if (upload->locked.last || (size > 0 && upload->locked.filling == NULL) ||
        (size > 0 && upload->locked.pushed >= PARTS_MAX)) {
        return S3EXT_INVALID;
    }
    upload->locked.last = last;
    /* An upload has at least one part, even if it is empty; otherwise an empty end sends nothing.
     */
    if (size > 0 || upload->locked.pushed == 0) {
        if (upload->locked.filling == NULL) {
            return S3EXT_INVALID;
        }
        uint32_t place = (upload->locked.first + upload->locked.count) % upload->window;
        upload->locked.queue[place] = (struct fed){upload->locked.filling, size};
        upload->locked.filling = NULL;
        upload->locked.count++;
        upload->locked.outstanding++;
        upload->locked.pushed++;
    }
    return S3EXT_OK;
}

int s3i_upload_push(struct s3_op *op, uint64_t size, bool last)
{
    struct op_upload *upload = upload_of(op);
    pthread_mutex_lock(&upload->lock);
    int code = push_locked(upload, size, last);
    pthread_mutex_unlock(&upload->lock);
    if (code == S3EXT_OK) {
        s3i_op_retain(op);
        if (!s3i_inbox_put(&op->reactor->inbox, &upload->fed)) {
            s3i_op_release(op); /* the post waits already, with its own reference */
        }
    }
    return code;
}

bool s3i_upload_wait(struct s3_op *op, int timeout_ms)
{
    struct op_upload *upload = upload_of(op);
    unsigned seen = atomic_load(&upload->changes);
    pthread_mutex_lock(&upload->lock);
    bool ready = upload->locked.ended || upload->locked.outstanding < upload->window;
    upload->locked.wants_room = !ready;
    pthread_mutex_unlock(&upload->lock);
    if (!ready) {
        s3i_word_wait(&upload->changes, seen, s3i_now_ms() + timeout_ms);
        pthread_mutex_lock(&upload->lock);
        ready = upload->locked.ended || upload->locked.outstanding < upload->window;
        pthread_mutex_unlock(&upload->lock);
    }
    return ready;
}
