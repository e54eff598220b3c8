/*
 * lane_direct: transfers by our own HTTP/1.1 (pure/http1), over connections that libcurl makes.
 *
 * A warm request takes three system calls: one to send it, one wait that all share, one to receive the
 * answer, straight into its destination. Connections are kept in a LIFO for each host and each way to
 * it (s3_connect.route), and stay in the poll while they are idle: what the server says
 * then, an end or something that nobody asked for, closes them. One that died unnoticed is replaced
 * once, by a fresh one, without a word; unless the transfer must not be sent twice, which always gets a
 * fresh one.
 *
 *   start: the last idle connection, its request sent at once; or a connector
 *   on_ready: the connector, or the channel, goes on --> on_end
 *   on_deadline: connectors whose time has come, transfers that ended in start, idle connections whose
 *                time is over
 *
 * Nothing here blocks, and no thread is needed: connectors are driven by the reactor as well.
 */
#include "base/alloc.h"
#include "base/time.h"
#include "bytes/channel.h"

enum {
    CONNECTORS_KEPT = 1, /* each has two descriptors of libcurl's */
    IDLE_LEAST = 64,     /* connections that a lane may keep, whatever the configuration */
    REWATCH_MS = 10,
    SWEEP_MS = 1000,
    LIFE_MS = 300 * 1000 /* then a new one asks the DNS again, where load may have moved */
};

/* Where connections lead, and on which way. */
struct s3_channel_host {
    struct s3_list node;
    struct s3_list idle; /* the last used one first */
    int64_t idle_count;
    size_t channels; /* all that point here */
    uint8_t route[S3I_HASH_MAX];
    size_t origin_size;
    char origin[]; /* "https://host:port" */
};

struct s3_lane {
    struct s3_watch watch;
    CURLSH *share; /* what the DNS answered, and TLS sessions; of one thread at a time, as the lane is */
    struct s3_list hosts;
    struct s3_list connecting, talking, ended; /* channels */
    struct s3_list connectors;                 /* spare ones */
    size_t connector_count;
    struct s3_list idle;                       /* all idle channels, the last used one first */
    size_t idle_count, idle_limit;
    int64_t sweep_ms, rewatch_ms; /* INT64_MAX: nothing to do */
    char scratch[S3I_CHANNEL_SCRATCH];
};

/* ---- hosts ---- */

static struct s3_str origin_of(const char *url)
{
    const char *start = strstr(url, "://");
    return s3i_str(url, start == NULL ? 0 : (size_t)(start - url) + 3 + strcspn(start + 3, "/"));
}

static struct s3_channel_host *find_host(struct s3_lane *lane, const struct s3_transfer *transfer)
{
    struct s3_str origin = origin_of(transfer->url);
    const uint8_t *route = transfer->connect->route;
    S3I_LIST_EACH(node, &lane->hosts)
    {
        struct s3_channel_host *host = S3I_OWNER(node, struct s3_channel_host, node);
        if (s3i_str_equal(s3i_str(host->origin, host->origin_size), origin) &&
            memcmp(host->route, route, sizeof(host->route)) == 0) {
            s3i_list_remove(node); /* to the front: it will be looked for again */
            s3i_list_prepend(&lane->hosts, node);
            return host;
        }
    }
    return NULL;
}

static struct s3_channel_host *host_of(struct s3_lane *lane, const struct s3_transfer *transfer)
{
    struct s3_str origin = origin_of(transfer->url);
    struct s3_channel_host *host = find_host(lane, transfer);
    if (host == NULL && (host = s3i_calloc(1, sizeof(*host) + origin.size)) != NULL) {
        s3i_list_init(&host->idle);
        memcpy(host->route, transfer->connect->route, sizeof(host->route));
        host->origin_size = origin.size;
        memcpy(host->origin, origin.data, origin.size);
        s3i_list_prepend(&lane->hosts, &host->node);
    }
    return host;
}

static void leave_host(struct s3_channel_host *host)
{
    if (--host->channels == 0) {
        s3i_list_remove(&host->node);
        s3i_free(host);
    }
}

/* ---- channels ---- */

static struct s3_channel *new_channel(struct s3_lane *lane, const struct s3_transfer *transfer)
{
    struct s3_channel_host *host = host_of(lane, transfer);
    struct s3_channel *channel = host != NULL ? s3i_calloc(1, sizeof(*channel)) : NULL;
    if (host != NULL) {
        host->channels++;
    }
    if (channel == NULL) {
        if (host != NULL) {
            leave_host(host);
        }
        return NULL;
    }
    s3i_list_init(&channel->node);
    s3i_list_init(&channel->recent);
    s3i_buf_init(&channel->head, S3I_CHANNEL_HEAD);
    s3i_buf_init(&channel->held, S3I_HTTP1_LINE_MAX);
    channel->host = host;
    channel->connection.fd = -1;
    channel->tls = strncmp(transfer->url, "https:", 6) == 0;
    channel->born_ms = s3i_now_ms();
    return channel;
}

static void keep_connector(struct s3_lane *lane, struct s3_connector *connector)
{
    s3i_connector_stop(connector);
    if (lane->connector_count < CONNECTORS_KEPT) {
        lane->connector_count++;
        s3i_list_prepend(&lane->connectors, &connector->node);
    } else {
        s3i_connector_free(connector);
    }
}

static struct s3_connector *take_connector(struct s3_lane *lane)
{
    struct s3_list *node = s3i_list_pop(&lane->connectors);
    if (node == NULL) {
        return s3i_connector_new(&lane->watch);
    }
    lane->connector_count--;
    return S3I_OWNER(node, struct s3_connector, node);
}

/* Whether what is called for a channel may raise SIGPIPE. */
static bool may_be_signalled(const struct s3_channel *channel)
{
    return channel->tls || (channel->transfer != NULL && channel->transfer->lend);
}

static void free_channel(struct s3_lane *lane, struct s3_channel *channel)
{
    struct s3_quiet quiet;
    s3i_list_remove(&channel->node);
    s3i_quiet_begin(&quiet, may_be_signalled(channel));
    if (channel->connector != NULL) {
        keep_connector(lane, channel->connector);
    }
    s3i_connection_close(&channel->connection);
    s3i_quiet_end(&quiet);
    s3i_channel_reset(channel);
    s3i_buf_clear(&channel->head);
    s3i_buf_clear(&channel->held);
    leave_host(channel->host);
    s3i_free(channel);
}

/* Has what it waits for put into the poll; where there is no room for it, soon again. */
static void watch(struct s3_lane *lane, struct s3_channel *channel)
{
    unsigned events = s3i_channel_wants(channel);
    channel->unwatched = !s3i_watch_set(&lane->watch, channel->connection.fd, events, channel);
    if (channel->unwatched) {
        lane->rewatch_ms = s3i_now_ms() + REWATCH_MS;
    }
}

/* ---- idle connections ---- */

static void forget_idle(struct s3_lane *lane, struct s3_channel *channel)
{
    s3i_list_remove(&channel->node);
    s3i_list_remove(&channel->recent);
    channel->host->idle_count--;
    lane->idle_count--;
}

static bool is_over(const struct s3_channel *channel, int64_t idle_timeout_ms, int64_t now_ms)
{
    return now_ms - channel->idle_ms >= idle_timeout_ms || now_ms - channel->born_ms >= LIFE_MS;
}

static struct s3_channel *take_idle(struct s3_lane *lane, const struct s3_transfer *transfer)
{
    struct s3_channel_host *host = find_host(lane, transfer);
    int64_t now_ms = s3i_now_ms();
    while (host != NULL && host->idle_count > 0) {
        struct s3_channel *channel = S3I_OWNER(host->idle.next, struct s3_channel, node);
        bool last = host->channels == 1;
        forget_idle(lane, channel);
        if (!is_over(channel, transfer->connect->pool_idle_timeout_ms, now_ms)) {
            return channel;
        }
        free_channel(lane, channel);
        host = last ? NULL : host;
    }
    return NULL;
}

static void close_idle(struct s3_lane *lane, struct s3_channel *channel)
{
    forget_idle(lane, channel);
    free_channel(lane, channel);
}

static void keep_idle(struct s3_lane *lane, struct s3_channel *channel)
{
    const struct s3_connect *connect = channel->transfer->connect;
    size_t limit = connect->concurrency * (size_t)2;
    lane->idle_limit = limit > lane->idle_limit ? limit : lane->idle_limit;
    channel->state = S3I_CHANNEL_IDLE;
    channel->idle_ms = s3i_now_ms();
    channel->idle_timeout_ms = connect->pool_idle_timeout_ms;
    channel->answers++;
    s3i_channel_reset(channel);
    s3i_list_remove(&channel->node);
    s3i_list_prepend(&channel->host->idle, &channel->node);
    s3i_list_prepend(&lane->idle, &channel->recent);
    channel->host->idle_count++;
    if (lane->idle_count++ == 0) {
        lane->sweep_ms = channel->idle_ms + SWEEP_MS;
    }
    watch(lane, channel);
    if (lane->idle_count > lane->idle_limit) {
        close_idle(lane, S3I_OWNER(lane->idle.previous, struct s3_channel, recent));
    }
}

static void sweep(struct s3_lane *lane, int64_t now_ms)
{
    S3I_LIST_EACH(node, &lane->idle)
    {
        struct s3_channel *channel = S3I_OWNER(node, struct s3_channel, recent);
        if (is_over(channel, channel->idle_timeout_ms, now_ms)) {
            close_idle(lane, channel);
        }
    }
    lane->sweep_ms = lane->idle_count > 0 ? now_ms + SWEEP_MS : INT64_MAX;
}

/* ---- the end of a transfer ---- */

static int connect_for(struct s3_lane *lane, struct s3_transfer *transfer);

static bool may_keep(struct s3_channel *channel)
{
    int64_t most = channel->transfer->connect->pool_max_idle;
    return s3i_channel_is_reusable(channel) && (most < 0 || channel->host->idle_count < most);
}

static void finish(struct s3_lane *lane, struct s3_channel *channel)
{
    struct s3_transfer *transfer = channel->transfer;
    struct s3_transfer_end end = {.code = channel->code, .nothing_sent = channel->nothing_sent};
    char detail[sizeof(channel->detail)];
    memcpy(detail, channel->detail, sizeof(detail));
    end.detail = end.code == S3EXT_OK || detail[0] == '\0' ? NULL : detail;
    bool stale = channel->stale;
    if (may_keep(channel)) {
        keep_idle(lane, channel);
    } else {
        free_channel(lane, channel);
    }
    if (stale) {
        end.code = connect_for(lane, transfer);
        end.detail = NULL;
        if (end.code == S3EXT_OK) {
            return;
        }
    }
    transfer->events->on_end(transfer, &end);
}

/* ---- a transfer on its way ---- */

static void talk(struct s3_lane *lane, struct s3_channel *channel, unsigned events)
{
    if (events & (S3I_POLL_IN | S3I_POLL_ERROR)) {
        s3i_channel_receive(channel, lane->scratch);
    }
    if (events & S3I_POLL_OUT) {
        s3i_channel_send(channel, lane->scratch);
    }
    if (channel->state == S3I_CHANNEL_TALKING) {
        watch(lane, channel);
    }
}

/* Puts the transfer on an open connection, and sends what can be sent. */
static void open_talk(struct s3_lane *lane, struct s3_channel *channel)
{
    channel->state = S3I_CHANNEL_TALKING;
    s3i_list_remove(&channel->node);
    s3i_list_append(&lane->talking, &channel->node);
    talk(lane, channel, S3I_POLL_OUT);
}

static void go_on_connecting(struct s3_lane *lane, struct s3_channel *channel)
{
    struct s3_connector *connector = channel->connector;
    s3i_connector_run(connector);
    if (connector->state == S3I_CONNECTOR_READY) {
        channel->connector = NULL;
        if (s3i_connection_open(&channel->connection, connector, channel->tls)) {
            keep_connector(lane, connector);
        }
        open_talk(lane, channel);
    } else if (connector->state == S3I_CONNECTOR_FAILED) {
        s3i_channel_fail_to_connect(channel);
    }
}

static int connect_for(struct s3_lane *lane, struct s3_transfer *transfer)
{
    struct s3_channel *channel = new_channel(lane, transfer);
    if (channel == NULL) {
        return S3EXT_NO_MEMORY;
    }
    int code = s3i_channel_begin(channel, transfer, lane->scratch);
    if (code == S3EXT_OK) {
        channel->connector = take_connector(lane);
        bool started =
            channel->connector != NULL &&
            s3i_connector_start(channel->connector, transfer, lane->share, channel);
        code = started ? S3EXT_OK : S3EXT_NO_MEMORY;
    }
    if (code != S3EXT_OK) {
        free_channel(lane, channel);
        return code;
    }
    transfer->lane_state = channel;
    s3i_list_append(&lane->connecting, &channel->node);
    return S3EXT_OK;
}

static int start(struct s3_lane *lane, struct s3_transfer *transfer)
{
    struct s3_channel *channel = transfer->once ? NULL : take_idle(lane, transfer);
    if (channel == NULL) {
        return connect_for(lane, transfer);
    }
    int code = s3i_channel_begin(channel, transfer, lane->scratch);
    if (code != S3EXT_OK) {
        free_channel(lane, channel);
        return code;
    }
    struct s3_quiet quiet;
    transfer->lane_state = channel;
    s3i_quiet_begin(&quiet, may_be_signalled(channel));
    open_talk(lane, channel);
    s3i_quiet_end(&quiet);
    if (channel->state == S3I_CHANNEL_ENDED) { /* which may not be told before start has returned */
        s3i_list_remove(&channel->node);
        s3i_list_append(&lane->ended, &channel->node);
    }
    return S3EXT_OK;
}

static void cancel(struct s3_lane *lane, struct s3_transfer *transfer)
{
    free_channel(lane, transfer->lane_state);
}

/* ---- events ---- */

static void go_on(struct s3_lane *lane, struct s3_channel *channel, unsigned events)
{
    struct s3_quiet quiet;
    s3i_quiet_begin(&quiet, may_be_signalled(channel));
    if (channel->state == S3I_CHANNEL_CONNECTING) {
        go_on_connecting(lane, channel);
    } else {
        talk(lane, channel, events);
    }
    s3i_quiet_end(&quiet);
    if (channel->state == S3I_CHANNEL_ENDED) {
        finish(lane, channel);
    }
}

static void on_ready(struct s3_lane *lane, int fd, unsigned events)
{
    struct s3_channel *channel = s3i_watch_owner(&lane->watch, fd);
    if (channel == NULL) {
        return; /* closed since the poll told */
    }
    if (channel->state != S3I_CHANNEL_IDLE) {
        go_on(lane, channel, events);
    } else if (!s3i_connection_is_silent(&channel->connection)) {
        close_idle(lane, channel);
    }
}

static int64_t deadline(const struct s3_lane *lane)
{
    int64_t first = lane->sweep_ms < lane->rewatch_ms ? lane->sweep_ms : lane->rewatch_ms;
    S3I_LIST_EACH(node, &lane->connecting)
    {
        int64_t next = S3I_OWNER(node, struct s3_channel, node)->connector->deadline_ms;
        first = next < first ? next : first;
    }
    return s3i_list_empty(&lane->ended) ? first : 0;
}

static void rewatch(struct s3_lane *lane)
{
    lane->rewatch_ms = INT64_MAX;
    S3I_LIST_EACH(node, &lane->talking)
    {
        struct s3_channel *channel = S3I_OWNER(node, struct s3_channel, node);
        if (channel->unwatched) {
            watch(lane, channel);
        }
    }
}

/* Telling of one end may cancel other transfers: so lists are emptied, not walked. */
static void on_deadline(struct s3_lane *lane)
{
    int64_t now_ms = s3i_now_ms();
    struct s3_list *node;
    struct s3_list waiting;
    s3i_list_init(&waiting);
    while ((node = s3i_list_pop(&lane->ended)) != NULL) {
        finish(lane, S3I_OWNER(node, struct s3_channel, node));
    }
    while ((node = s3i_list_pop(&lane->connecting)) != NULL) {
        struct s3_channel *channel = S3I_OWNER(node, struct s3_channel, node);
        s3i_list_append(&waiting, node);
        if (channel->connector->deadline_ms <= now_ms) {
            go_on(lane, channel, 0);
        }
    }
    while ((node = s3i_list_pop(&waiting)) != NULL) {
        s3i_list_append(&lane->connecting, node);
    }
    if (lane->rewatch_ms <= now_ms) {
        rewatch(lane);
    }
    if (lane->sweep_ms <= now_ms) {
        sweep(lane, now_ms);
    }
}

static void progress(struct s3_lane *lane, const struct s3_transfer *transfer,
                     struct s3_transfer_progress *progress)
{
    (void)lane;
    const struct s3_channel *channel = transfer->lane_state;
    progress->connected = channel->state != S3I_CHANNEL_CONNECTING;
    progress->bytes = channel->sent + channel->received;
}

/* ---- life ---- */

static bool share_all(CURLSH *share)
{
    return share != NULL &&
           curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) == CURLSHE_OK &&
           curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK;
}

static struct s3_lane *new_lane(struct s3_poll *poll)
{
    struct s3_lane *lane = s3i_malloc(sizeof(*lane));
    CURLSH *share = curl_share_init();
    if (lane == NULL || !share_all(share)) {
        curl_share_cleanup(share);
        s3i_free(lane);
        return NULL;
    }
    struct s3_list *lists[] = {&lane->hosts, &lane->connecting, &lane->talking,
                               &lane->ended, &lane->connectors, &lane->idle};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        s3i_list_init(lists[i]);
    }
    s3i_watch_init(&lane->watch, poll);
    lane->share = share;
    lane->connector_count = 0;
    lane->idle_count = 0;
    lane->idle_limit = IDLE_LEAST;
    lane->sweep_ms = INT64_MAX;
    lane->rewatch_ms = INT64_MAX;
    return lane;
}

static void free_lane(struct s3_lane *lane)
{
    struct s3_list *node;
    sweep(lane, INT64_MAX / 2);
    while ((node = s3i_list_pop(&lane->connectors)) != NULL) {
        s3i_connector_free(S3I_OWNER(node, struct s3_connector, node));
    }
    curl_share_cleanup(lane->share);
    s3i_watch_clear(&lane->watch);
    s3i_free(lane);
}

static void abandon(struct s3_lane *lane)
{
    s3i_watch_abandon(&lane->watch);
}

const struct s3_lane_class s3i_lane_direct = {
    .name = "direct",
    .new_lane = new_lane,
    .free_lane = free_lane,
    .start = start,
    .cancel = cancel,
    .on_ready = on_ready,
    .deadline = deadline,
    .on_deadline = on_deadline,
    .progress = progress,
    .abandon = abandon,
};
