#include "bytes/channel.h"

#include <stdio.h>

enum {
    LINES = 64, /* of one request */
    HEAD_ROOM = 4 * 1024,   /* at once: a customer's key among the lines leaves no copies */
    TLS_INLINE = 12 * 1024, /* a body that goes into one record with its head */
    FIRST_READ = 2 * 1024,  /* the head of an answer, and few bytes of its body, which are copied */
    COPIED = 8 * 1024       /* a body that is: cheaper than a second system call */
};

/* ---- the request ---- */

/* "http://host/target" taken apart. */
static void split_url(const char *url, struct s3_str *host, struct s3_str *target)
{
    const char *start = strstr(url, "://");
    start = start != NULL ? start + 3 : url;
    size_t size = strcspn(start, "/");
    *host = s3i_str(start, size);
    *target = s3i_str_from(start + size);
}

static const char *add_line(struct s3_buf *lines, struct s3_str name, struct s3_str value)
{
    size_t start = lines->size;
    s3i_buf_add(lines, name);
    s3i_buf_add(lines, S3I_STR(": "));
    s3i_buf_add(lines, value);
    s3i_buf_add_char(lines, '\0');
    return lines->data + start;
}

/* `own` holds the lines that the transfer does not: ours, and those without a value, which it writes
 * "name;". It works in memory that does not move. */
static size_t gather_lines(const struct s3_transfer *transfer, struct s3_str host,
                           struct s3_buf *own, const char *lines[LINES])
{
    struct s3_str agent = s3i_str_from(transfer->connect->user_agent);
    size_t count = 0;
    lines[count++] = add_line(own, S3I_STR("Host"), host);
    if (agent.size) {
        lines[count++] = add_line(own, S3I_STR("User-Agent"), agent);
    }
    for (size_t i = 0; i < transfer->header_count; i++) {
        const char *line = transfer->headers[i];
        size_t name = strcspn(line, ":;");
        lines[count++] = line[name] == ':' ? line : add_line(own, s3i_str(line, name), S3I_STR(""));
    }
    return count;
}

int s3i_channel_begin(struct s3_channel *channel, struct s3_transfer *transfer,
                      char scratch[S3I_CHANNEL_SCRATCH])
{
    const char *lines[LINES];
    struct s3_buf own;
    struct s3_str host;
    struct s3_str target;
    if (transfer->header_count > LINES - 2) {
        return S3EXT_INVALID;
    }
    split_url(transfer->url, &host, &target);
    s3i_buf_fixed(&own, scratch, S3I_CHANNEL_SCRATCH);
    size_t count = gather_lines(transfer, host, &own, lines);
    s3i_buf_reserve(&channel->head, HEAD_ROOM);
    bool has_body = transfer->method == S3I_PUT || transfer->method == S3I_POST;
    if (!s3i_buf_ok(&own) ||
        !s3i_http1_write_head(&channel->head, s3i_method_name(transfer->method), target, lines,
                              count, has_body, transfer->body.size)) {
        return channel->head.starved ? S3EXT_NO_MEMORY : S3EXT_INVALID;
    }
    channel->body = has_body ? transfer->body : S3I_STR_NONE;
    if (channel->tls && channel->body.size <= TLS_INLINE) {
        s3i_buf_add(&channel->head, channel->body);
        channel->body = S3I_STR_NONE;
    }
    if (!s3i_buf_ok(&channel->head)) {
        return S3EXT_NO_MEMORY;
    }
    channel->transfer = transfer;
    channel->code = S3EXT_OK;
    s3i_http1_begin(&channel->parser, transfer->method == S3I_HEAD);
    return S3EXT_OK;
}

void s3i_channel_reset(struct s3_channel *channel)
{
    if (channel->transfer != NULL && channel->transfer->secret) {
        s3i_buf_wipe(&channel->head);
    }
    s3i_buf_reset(&channel->head);
    s3i_buf_reset(&channel->held);
    s3i_connection_settle(&channel->connection);
    channel->transfer = NULL;
    channel->body = S3I_STR_NONE;
    channel->sent = 0;
    channel->received = 0;
    channel->mute = false;
    channel->answered = false;
    channel->surplus = false;
    channel->stale = false;
    channel->detail[0] = '\0';
}

/* ---- the end ---- */

static void end(struct s3_channel *channel, int code, const char *detail)
{
    channel->state = S3I_CHANNEL_ENDED;
    channel->code = code;
    channel->nothing_sent = code != S3EXT_OK && channel->sent == 0;
    if (detail != NULL) {
        snprintf(channel->detail, sizeof(channel->detail), "%s", detail);
    }
}

void s3i_channel_fail_to_connect(struct s3_channel *channel)
{
    struct s3_transfer_end told;
    char detail[S3I_EASY_DETAIL];
    s3i_easy_end(&channel->connector->easy, channel->connector->result, &told, detail);
    end(channel, told.code, told.detail);
}

static bool is_sent(const struct s3_channel *channel)
{
    return channel->sent == channel->head.size + channel->body.size;
}

/* A connection that was kept for too long: the request was lost on it, and is sent on another one. */
static void end_broken(struct s3_channel *channel, const char *detail)
{
    channel->stale =
        channel->answers > 0 && channel->received == 0 && !channel->transfer->once;
    end(channel, S3EXT_TRANSPORT, detail);
}

static void end_failed(struct s3_channel *channel, bool sending)
{
    char text[CURL_ERROR_SIZE];
    s3i_connection_describe(&channel->connection, sending, text, sizeof(text));
    end_broken(channel, text);
}

static void end_closed(struct s3_channel *channel)
{
    struct s3_http1_event event;
    if (channel->received == 0) {
        end_broken(channel, "Empty reply from server");
    } else if (s3i_http1_eof(&channel->parser, &event)) {
        end(channel, S3EXT_OK, NULL);
    } else {
        end_broken(channel, event.reason);
    }
}

/* The answer is complete; the request may not be, which is sent to its end first. */
static void end_answered(struct s3_channel *channel)
{
    channel->answered = true;
    if (is_sent(channel) || channel->mute) {
        end(channel, S3EXT_OK, NULL);
    }
}

bool s3i_channel_is_reusable(struct s3_channel *channel)
{
    return channel->answered && channel->code == S3EXT_OK && channel->parser.keep_alive &&
           !channel->surplus && is_sent(channel) && s3i_connection_is_clean(&channel->connection);
}

/* ---- sending ---- */

static bool is_talking(const struct s3_channel *channel)
{
    return channel->state == S3I_CHANNEL_TALKING;
}

static struct s3_str rest_of(struct s3_str text, size_t skip)
{
    return skip < text.size ? s3i_str(text.data + skip, text.size - skip) : S3I_STR_NONE;
}

/* What could not be sent may have been answered already: with a refusal, before the peer closed. */
static void look_for_answer(struct s3_channel *channel, char scratch[S3I_CHANNEL_SCRATCH])
{
    char text[CURL_ERROR_SIZE];
    s3i_connection_describe(&channel->connection, true, text, sizeof(text));
    channel->mute = true;
    s3i_channel_receive(channel, scratch);
    if (is_talking(channel)) {
        end_broken(channel, text);
    }
}

void s3i_channel_send(struct s3_channel *channel, char scratch[S3I_CHANNEL_SCRATCH])
{
    while (is_talking(channel) && !channel->mute && !is_sent(channel)) {
        struct s3_str head = rest_of(s3i_buf_str(&channel->head), channel->sent);
        size_t body_sent =
            channel->sent > channel->head.size ? channel->sent - channel->head.size : 0;
        struct s3_str body = rest_of(channel->body, body_sent);
        size_t sent = 0;
        enum s3_io io = s3i_connection_send(&channel->connection, head, body,
                                             channel->transfer->lend, &sent);
        channel->sent += sent;
        if (io == S3I_IO_BROKEN) {
            look_for_answer(channel, scratch);
            return;
        }
        if (io == S3I_IO_AGAIN || (!channel->tls && sent < head.size + body.size)) {
            return;
        }
    }
    if (is_talking(channel) && channel->answered) {
        end(channel, S3EXT_OK, NULL);
    }
}

unsigned s3i_channel_wants(const struct s3_channel *channel)
{
    bool sending = is_talking(channel) && !channel->mute && !is_sent(channel);
    unsigned in = channel->answered && sending ? 0u : (unsigned)S3I_POLL_IN;
    return in | (sending ? (unsigned)S3I_POLL_OUT : 0u);
}

/* ---- receiving ---- */

/* A refusal: whatever else of the request was sent would be thrown away. */
static void look_at_status(struct s3_channel *channel)
{
    if (channel->parser.status >= 300 && !is_sent(channel)) {
        channel->mute = true;
    }
}

/* One event; false when there is nothing more to be had from the bytes, or the transfer has ended. */
static bool take_event(struct s3_channel *channel, struct s3_str *data)
{
    struct s3_transfer *transfer = channel->transfer;
    struct s3_http1_event event;
    size_t used = s3i_http1_feed(&channel->parser, *data, &event);
    *data = rest_of(*data, used);
    switch (event.kind) {
    case S3I_HTTP1_NEED_MORE:
        return false;
    case S3I_HTTP1_LINE:
        look_at_status(channel);
        if (!transfer->events->on_header(transfer, event.data)) {
            end(channel, S3EXT_TRANSPORT, NULL);
        }
        break;
    case S3I_HTTP1_BODY:
        if (!transfer->events->on_body(transfer, event.data)) {
            end(channel, S3EXT_TRANSPORT, NULL);
        }
        break;
    case S3I_HTTP1_DONE:
        channel->surplus = data->size > 0;
        end_answered(channel);
        return false;
    case S3I_HTTP1_FAILED:
        end(channel, S3EXT_PROTOCOL, event.reason);
        break;
    }
    return is_talking(channel);
}

/* Whether bytes came; where none will ever, the transfer ends. */
static bool has_come(struct s3_channel *channel, enum s3_io io)
{
    if (io == S3I_IO_CLOSED) {
        end_closed(channel);
    } else if (io == S3I_IO_BROKEN) {
        end_failed(channel, false);
    }
    return io == S3I_IO_OK;
}

/* Receives what has no place of its own: heads, framing, documents. false: no more for now. */
static bool receive_scratch(struct s3_channel *channel, char scratch[S3I_CHANNEL_SCRATCH])
{
    size_t held = channel->held.size;
    bool in_head = channel->parser.state <= S3I_HTTP1_IN_HEADERS;
    bool large = channel->transfer->expected > COPIED;
    size_t room = in_head && large ? FIRST_READ : S3I_CHANNEL_SCRATCH - held;
    size_t got = 0;
    enum s3_io io =
        s3i_connection_receive(&channel->connection, scratch + held, room, false, &got);
    if (!has_come(channel, io)) {
        return false;
    }
    if (held > 0) {
        memcpy(scratch, channel->held.data, held);
    }
    channel->received += got;
    struct s3_str data = s3i_str(scratch, held + got);
    while (take_event(channel, &data)) {
    }
    s3i_buf_reset(&channel->held);
    if (is_talking(channel)) {
        s3i_buf_add(&channel->held, data);
        if (!s3i_buf_ok(&channel->held)) {
            end(channel, S3EXT_NO_MEMORY, NULL);
        }
    }
    return is_talking(channel) && !channel->answered && (channel->tls || got == room);
}

/* Receives body bytes at their place. false: no more for now. */
static bool receive_direct(struct s3_channel *channel, char *place, size_t room, uint64_t left)
{
    struct s3_transfer *transfer = channel->transfer;
    struct s3_str nothing = S3I_STR_NONE;
    size_t size = room < left ? room : (size_t)left;
    bool last = size == left && channel->parser.state == S3I_HTTP1_IN_LENGTH;
    size_t got = 0;
    enum s3_io io =
        s3i_connection_receive(&channel->connection, place, size, last, &got);
    if (!has_come(channel, io)) {
        return false;
    }
    size_t filled = got < size ? got : size;
    channel->received += filled;
    s3i_http1_took(&channel->parser, filled);
    transfer->events->on_filled(transfer, filled);
    take_event(channel, &nothing);
    channel->surplus = channel->surplus || got > size;
    return is_talking(channel) && !channel->answered && (channel->tls || got >= size);
}

/* Of a plain socket, less than was asked for is all there is: the poll tells when there is more. */
void s3i_channel_receive(struct s3_channel *channel, char scratch[S3I_CHANNEL_SCRATCH])
{
    bool more = is_talking(channel) && !channel->answered;
    while (more) {
        struct s3_transfer *transfer = channel->transfer;
        char *place = NULL;
        uint64_t left = channel->held.size ? 0 : s3i_http1_direct(&channel->parser);
        size_t room = left ? transfer->events->on_room(transfer, &place) : 0;
        more = room ? receive_direct(channel, place, room, left)
                    : receive_scratch(channel, scratch);
    }
}
