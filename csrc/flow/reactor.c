#include "flow/reactor.h"

#include <errno.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/time.h"
#include "flow/gate.h"

enum { READY_BATCH = 64, SPARE_EXCHANGES = 128, WATCH_INTERVAL_MS = 250 };

static struct {
    pthread_mutex_t lock;
    struct {
        struct s3_list reactors;
        bool ready;
    } locked;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- lanes ---- */

/* Walks the lanes that a reactor has. */
#define EACH_LANE(reactor, kind)                                                                   \
    for (unsigned kind = 0; kind < S3I_LANE_KINDS; kind++)                                         \
        if ((reactor)->lanes[kind] != NULL)

struct s3_lane *s3i_reactor_lane(struct s3_reactor *reactor, enum s3_lane_kind kind)
{
    if (reactor->lanes[kind] == NULL) {
        reactor->lanes[kind] = s3i_lane_classes[kind]->new_lane(&reactor->poll);
    }
    return reactor->lanes[kind];
}

/* ---- life ---- */

static void add_to_registry(struct s3_reactor *reactor)
{
    pthread_mutex_lock(&registry.lock);
    if (!registry.locked.ready) {
        s3i_list_init(&registry.locked.reactors);
        registry.locked.ready = true;
    }
    s3i_list_append(&registry.locked.reactors, &reactor->registered);
    pthread_mutex_unlock(&registry.lock);
}

static void on_recheck(struct s3_post *post)
{
    struct s3_reactor *reactor = S3I_OWNER(post, struct s3_reactor, recheck);
    /* The whole list becomes ready at once: looking at one may end, and so remove, others. */
    struct s3_list *node;
    while ((node = s3i_list_pop(&reactor->want_identity)) != NULL) {
        s3i_request_recheck(S3I_OWNER(node, struct s3_request, node));
    }
}

struct s3_reactor *s3i_reactor_new(struct s3_error *error)
{
    struct s3_reactor *reactor = s3i_calloc(1, sizeof(*reactor));
    if (reactor == NULL) {
        s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for a reactor");
        return NULL;
    }
    struct s3_list *lists[] = {&reactor->node,          &reactor->registered, &reactor->ready,
                               &reactor->want_identity, &reactor->hashing,    &reactor->operations,
                               &reactor->timers,        &reactor->active,     &reactor->spare};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        s3i_list_init(lists[i]);
    }
    if (s3i_poll_init(&reactor->poll) != S3EXT_OK) {
        s3i_error_set(error, S3EXT_SYSTEM, "no descriptors for a reactor: %s", strerror(errno));
        s3i_free(reactor);
        return NULL;
    }
    s3i_inbox_init(&reactor->inbox, &reactor->poll);
    s3i_post_init(&reactor->recheck, on_recheck);
    reactor->watched_ms = s3i_now_ms();
    add_to_registry(reactor);
    return reactor;
}

void s3i_reactor_free(struct s3_reactor *reactor)
{
    pthread_mutex_lock(&registry.lock);
    s3i_list_remove(&reactor->registered);
    pthread_mutex_unlock(&registry.lock);
    s3i_inbox_withdraw(&reactor->inbox, &reactor->recheck);
    struct s3_list *node;
    while ((node = s3i_list_pop(&reactor->spare)) != NULL) {
        s3i_exchange_free(S3I_OWNER(node, struct s3_exchange, node));
    }
    EACH_LANE(reactor, kind)
    {
        s3i_lane_classes[kind]->free_lane(reactor->lanes[kind]);
    }
    s3i_inbox_clear(&reactor->inbox);
    s3i_poll_clear(&reactor->poll);
    s3i_free(reactor);
}

/* ---- a turn ---- */

static void pump(struct s3_reactor *reactor)
{
    struct s3_list *node;
    while ((node = s3i_list_pop(&reactor->ready)) != NULL) {
        s3i_request_pump(S3I_OWNER(node, struct s3_request, node));
    }
}

static void hash_bodies(struct s3_reactor *reactor)
{
    size_t budget = S3I_PAYLOAD_STEP;
    while (budget > 0 && !s3i_list_empty(&reactor->hashing)) {
        s3i_request_hash(S3I_OWNER(reactor->hashing.next, struct s3_request, node), &budget);
    }
}

/* Ending one exchange may end others, so the walk starts again after each that was ended. */
static void watch(struct s3_reactor *reactor, int64_t now_ms)
{
    if (now_ms - reactor->watched_ms < WATCH_INTERVAL_MS) {
        return;
    }
    reactor->watched_ms = now_ms;
    struct s3_list watched;
    s3i_list_init(&watched);
    struct s3_list *node;
    while ((node = s3i_list_pop(&reactor->active)) != NULL) {
        s3i_list_append(&watched, node);
        s3i_exchange_watch(S3I_OWNER(node, struct s3_exchange, node), now_ms);
    }
    while ((node = s3i_list_pop(&watched)) != NULL) {
        s3i_list_append(&reactor->active, node);
    }
}

static void work(struct s3_reactor *reactor)
{
    s3i_inbox_run(&reactor->inbox);
    s3i_timer_run(&reactor->timers, s3i_now_ms());
    pump(reactor);
    hash_bodies(reactor);
    EACH_LANE(reactor, kind)
    {
        if (s3i_lane_classes[kind]->deadline(reactor->lanes[kind]) <= s3i_now_ms()) {
            s3i_lane_classes[kind]->on_deadline(reactor->lanes[kind]);
        }
    }
    watch(reactor, s3i_now_ms());
    pump(reactor);
}

/* How long the reactor may wait for descriptors. */
static int64_t patience(const struct s3_reactor *reactor, int64_t wait_ms)
{
    int64_t now_ms = s3i_now_ms();
    int64_t until = now_ms + wait_ms;
    int64_t timer = s3i_timer_next(&reactor->timers);
    EACH_LANE(reactor, kind)
    {
        int64_t lane = s3i_lane_classes[kind]->deadline(reactor->lanes[kind]);
        until = lane < until ? lane : until;
    }
    until = timer < until ? timer : until;
    if (!s3i_list_empty(&reactor->active) && reactor->watched_ms + WATCH_INTERVAL_MS < until) {
        until = reactor->watched_ms + WATCH_INTERVAL_MS;
    }
    if (!s3i_list_empty(&reactor->ready) || !s3i_list_empty(&reactor->hashing) || until < now_ms) {
        until = now_ms;
    }
    return until - now_ms;
}

bool s3i_reactor_turn(struct s3_reactor *reactor, int64_t wait_ms)
{
    struct s3_ready ready[READY_BATCH];
    if (!s3i_gate_enter()) {
        return false;
    }
    reactor->relieved = false;
    work(reactor);
    int64_t wait = patience(reactor, wait_ms);
    if (reactor->of_caller && reactor->relieved) {
        s3i_gate_leave();
        return true;
    }
    if (wait > 0 && !s3i_inbox_park(&reactor->inbox)) {
        wait = 0;
    }
    s3i_gate_leave();
    size_t count = s3i_poll_wait(&reactor->poll, wait, ready, READY_BATCH);
    if (!s3i_gate_enter()) {
        return false;
    }
    s3i_inbox_unpark(&reactor->inbox);
    for (size_t i = 0; i < count; i++) {
        unsigned kind = ready[i].owner;
        s3i_lane_classes[kind]->on_ready(reactor->lanes[kind], ready[i].fd, ready[i].events);
    }
    pump(reactor);
    s3i_gate_leave();
    return true;
}

/* ---- exchanges ---- */

struct s3_exchange *s3i_reactor_take_exchange(struct s3_reactor *reactor)
{
    struct s3_list *node = s3i_list_pop(&reactor->spare);
    if (node == NULL) {
        return s3i_exchange_new(reactor);
    }
    reactor->spare_count--;
    return S3I_OWNER(node, struct s3_exchange, node);
}

void s3i_reactor_give_exchange(struct s3_reactor *reactor, struct s3_exchange *exchange)
{
    if (reactor->spare_count >= SPARE_EXCHANGES) {
        s3i_exchange_free(exchange);
        return;
    }
    reactor->spare_count++;
    s3i_list_prepend(&reactor->spare, &exchange->node);
}

/* ---- all reactors ---- */

void s3i_reactors_recheck(void)
{
    pthread_mutex_lock(&registry.lock);
    if (registry.locked.ready) {
        S3I_LIST_EACH(node, &registry.locked.reactors)
        {
            struct s3_reactor *reactor = S3I_OWNER(node, struct s3_reactor, registered);
            s3i_inbox_put(&reactor->inbox, &reactor->recheck);
        }
    }
    pthread_mutex_unlock(&registry.lock);
}

void s3i_reactors_fork_prepare(void)
{
    pthread_mutex_lock(&registry.lock);
}

void s3i_reactors_fork_parent(void)
{
    pthread_mutex_unlock(&registry.lock);
}

void s3i_reactors_fork_child(void)
{
    if (registry.locked.ready) {
        S3I_LIST_EACH(node, &registry.locked.reactors)
        {
            struct s3_reactor *reactor = S3I_OWNER(node, struct s3_reactor, registered);
            EACH_LANE(reactor, kind)
            {
                s3i_lane_classes[kind]->abandon(reactor->lanes[kind]);
            }
            s3i_poll_clear(&reactor->poll);
        }
        registry.locked.ready = false;
    }
    pthread_mutex_unlock(&registry.lock);
}
