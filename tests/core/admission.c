/*
 * Admission: slots and bytes are never over their limits, tickets of a host are served in order, and a ticket
 * that is given back while it is being granted is neither lost nor granted.
 */
#include "flow/admission.h"

#include <stdatomic.h>

#include "base/time.h"
#include "check.h"

#define MIB ((uint64_t)1 << 20)
#define BUDGET (1024 * MIB)
#define OVERSIZE (2 * BUDGET) /* the only size above the budget that the tests ask for */

enum { REACTORS = 6, TICKETS = 8, HOSTS = 2, SLOTS = 4, PATIENCE_MS = 20000 };

static struct s3_host *hosts[HOSTS];

/* ---- one thread ---- */

static int order[TICKETS];
static int granted_count;

struct numbered {
    struct s3_ticket ticket;
    int number;
};

static void note_order(struct s3_post *post)
{
    struct s3_ticket *ticket = S3I_OWNER(post, struct s3_ticket, granted);
    order[granted_count++] = S3I_OWNER(ticket, struct numbered, ticket)->number;
}

static void tickets_are_served_in_order(void)
{
    struct s3_poll poll;
    struct s3_inbox inbox;
    CHECK(s3i_poll_init(&poll) == 0);
    s3i_inbox_init(&inbox, &poll);
    struct s3_host *host = s3i_admission_host(S3I_STR("http://one-slot"), 99);
    CHECK(host == s3i_admission_host(S3I_STR("http://one-slot"), 1)); /* the latest word counts */
    struct numbered tickets[5];
    for (int i = 0; i < 5; i++) {
        tickets[i].number = i;
        s3i_ticket_init(&tickets[i].ticket, note_order);
        CHECK(s3i_admission_take(&tickets[i].ticket, host, MIB, &inbox) == (i == 0));
    }
    s3i_admission_give(&tickets[2].ticket); /* waits no longer */
    for (int i = 0; i < 5; i++) {
        s3i_admission_give(&tickets[i].ticket);
        s3i_inbox_run(&inbox);
    }
    CHECK_EQUAL(granted_count, 3);
    CHECK(order[0] == 1 && order[1] == 3 && order[2] == 4);
    CHECK_EQUAL(s3i_admission_bytes(), 0);
    s3i_inbox_clear(&inbox);
    s3i_poll_clear(&poll);
}

static void bytes_are_counted(void)
{
    struct s3_poll poll;
    struct s3_inbox inbox;
    CHECK(s3i_poll_init(&poll) == 0);
    s3i_inbox_init(&inbox, &poll);
    struct numbered huge;
    struct numbered small;
    struct numbered none;
    s3i_ticket_init(&huge.ticket, note_order);
    s3i_ticket_init(&small.ticket, note_order);
    s3i_ticket_init(&none.ticket, note_order);
    CHECK(s3i_admission_take(&huge.ticket, hosts[0], OVERSIZE, &inbox)); /* alone, however large */
    CHECK(s3i_admission_take(&none.ticket, hosts[0], 0, &inbox));
    CHECK(!s3i_admission_take(&small.ticket, hosts[1], 1, &inbox));
    s3i_admission_shrink(&huge.ticket, BUDGET);
    CHECK(small.ticket.state == S3I_TICKET_WAITING);
    s3i_admission_shrink(&huge.ticket, BUDGET - 1);
    CHECK(small.ticket.state == S3I_TICKET_HELD);
    CHECK_EQUAL(s3i_admission_bytes(), BUDGET);
    s3i_admission_give(&huge.ticket);
    s3i_admission_give(&none.ticket);
    s3i_admission_give(&small.ticket);
    s3i_inbox_run(&inbox); /* the grant was taken back with the ticket */
    CHECK_EQUAL(s3i_admission_bytes(), 0);
    s3i_inbox_clear(&inbox);
    s3i_poll_clear(&poll);
}

/* Tickets of one host that need no bytes, and how many of them hold a slot. */
struct crowd {
    struct s3_poll poll;
    struct s3_inbox inbox;
    struct s3_host *host;
    struct numbered tickets[TICKETS];
};

static void gather_crowd(struct crowd *crowd, struct s3_str origin, uint32_t concurrency)
{
    CHECK(s3i_poll_init(&crowd->poll) == 0);
    s3i_inbox_init(&crowd->inbox, &crowd->poll);
    crowd->host = s3i_admission_host(origin, concurrency);
    CHECK(crowd->host != NULL);
    for (int i = 0; i < TICKETS; i++) {
        s3i_ticket_init(&crowd->tickets[i].ticket, note_order);
        s3i_admission_take(&crowd->tickets[i].ticket, crowd->host, 0, &crowd->inbox);
    }
}

static int holders(const struct crowd *crowd)
{
    int count = 0;
    for (int i = 0; i < TICKETS; i++) {
        count += crowd->tickets[i].ticket.state == S3I_TICKET_HELD;
    }
    return count;
}

static void dissolve(struct crowd *crowd)
{
    for (int i = 0; i < TICKETS; i++) {
        s3i_admission_give(&crowd->tickets[i].ticket);
    }
    s3i_inbox_clear(&crowd->inbox);
    s3i_poll_clear(&crowd->poll);
}

static void a_raised_limit_serves_those_who_wait_at_once(void)
{
    struct crowd crowd;
    gather_crowd(&crowd, S3I_STR("http://raised"), 2);
    CHECK_EQUAL(holders(&crowd), 2);
    CHECK(s3i_admission_host(S3I_STR("http://raised"), 5) == crowd.host);
    CHECK_EQUAL(holders(&crowd), 5);
    dissolve(&crowd);
}

static void another_concurrency_does_not_undo_a_cut(void)
{
    struct crowd crowd;
    struct s3_host *host = s3i_admission_host(S3I_STR("http://cut"), 4);
    s3i_admission_throttled(host); /* 2 slots from now on, and for 3 s at least */
    gather_crowd(&crowd, S3I_STR("http://cut"), TICKETS);
    CHECK_EQUAL(holders(&crowd), 2);
    CHECK(s3i_admission_host(S3I_STR("http://cut"), 1) == host);
    CHECK(s3i_admission_host(S3I_STR("http://cut"), TICKETS) == host);
    CHECK_EQUAL(holders(&crowd), 2);
    s3i_admission_give(&crowd.tickets[0].ticket); /* the lower word in between counted */
    CHECK_EQUAL(holders(&crowd), 1);
    dissolve(&crowd);
}

static void a_limit_that_recovers_serves_those_who_wait_at_once(void)
{
    struct crowd crowd;
    struct s3_host *host = s3i_admission_host(S3I_STR("http://recovering"), 4);
    s3i_admission_throttled(host);
    gather_crowd(&crowd, S3I_STR("http://recovering"), 4);
    CHECK_EQUAL(holders(&crowd), 2);
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    while (holders(&crowd) == 2) { /* frozen for 3 to 5 s */
        CHECK(s3i_now_ms() < until);
        s3i_admission_success(host, 0);
        usleep(50000);
    }
    CHECK_EQUAL(holders(&crowd), 3);
    dissolve(&crowd);
}

/* ---- many reactors ---- */

struct reactor {
    struct s3_poll poll;
    struct s3_inbox inbox;
    struct worker {
        struct s3_ticket ticket;
        struct reactor *reactor;
        int host;
        bool waits, holds;
    } workers[TICKETS];
    int turns;
};

static atomic_int held[HOSTS];

static void check_budget(void)
{
    uint64_t bytes = s3i_admission_bytes();
    CHECK(bytes <= BUDGET || bytes == OVERSIZE);
}

static void hold(struct worker *worker)
{
    worker->waits = false;
    worker->holds = true;
    CHECK(worker->ticket.state == S3I_TICKET_HELD);
    CHECK(atomic_fetch_add(&held[worker->host], 1) < SLOTS);
}

static void on_granted(struct s3_post *post)
{
    struct s3_ticket *ticket = S3I_OWNER(post, struct s3_ticket, granted);
    struct worker *worker = S3I_OWNER(ticket, struct worker, ticket);
    CHECK(worker->waits); /* not after it was given back */
    hold(worker);
    worker->reactor->turns++;
}

static void take(struct worker *worker, uint32_t *state)
{
    static const uint64_t sizes[] = {0, 0, MIB, 64 * MIB, 300 * MIB, 700 * MIB, OVERSIZE};
    worker->host = (int)pick(state, HOSTS);
    uint64_t bytes = sizes[pick(state, sizeof(sizes) / sizeof(sizes[0]))];
    if (s3i_admission_take(&worker->ticket, hosts[worker->host], bytes, &worker->reactor->inbox)) {
        hold(worker);
        worker->reactor->turns++;
    } else {
        worker->waits = true;
    }
}

static void let_go(struct worker *worker)
{
    if (worker->holds) {
        atomic_fetch_sub(&held[worker->host], 1);
    }
    worker->holds = false;
    worker->waits = false;
    s3i_admission_give(&worker->ticket);
}

static void step(struct worker *worker, uint32_t *state)
{
    uint32_t chance = pick(state, 8);
    if (!worker->waits && !worker->holds) {
        take(worker, state);
    } else if (worker->holds && chance < 2) {
        s3i_admission_shrink(&worker->ticket, worker->ticket.bytes / 2 > OVERSIZE / 4
                                                  ? OVERSIZE / 4
                                                  : worker->ticket.bytes / 2);
    } else if (worker->holds || chance == 7) { /* done, or cancelled while it waits */
        let_go(worker);
    }
}

static void *react(void *number)
{
    uint32_t state = (uint32_t)(intptr_t)number + 7;
    struct s3_ready ready[1];
    struct reactor *reactor = calloc(1, sizeof(*reactor));
    CHECK(s3i_poll_init(&reactor->poll) == 0);
    s3i_inbox_init(&reactor->inbox, &reactor->poll);
    for (int i = 0; i < TICKETS; i++) {
        reactor->workers[i].reactor = reactor;
        s3i_ticket_init(&reactor->workers[i].ticket, on_granted);
    }
    int64_t until = s3i_now_ms() + PATIENCE_MS * (int64_t)SLOWNESS;
    while (reactor->turns < ROUNDS(6000)) {
        CHECK(s3i_now_ms() < until);
        s3i_inbox_run(&reactor->inbox);
        for (int i = 0; i < TICKETS; i++) {
            step(&reactor->workers[i], &state);
        }
        check_budget();
        if (s3i_inbox_park(&reactor->inbox)) {
            s3i_poll_wait(&reactor->poll, pick(&state, 16) == 0 ? 1 : 0, ready, 1);
        }
        s3i_inbox_unpark(&reactor->inbox);
    }
    for (int i = 0; i < TICKETS; i++) {
        let_go(&reactor->workers[i]);
    }
    s3i_inbox_run(&reactor->inbox); /* nothing may come: every grant was taken back */
    s3i_inbox_clear(&reactor->inbox);
    s3i_poll_clear(&reactor->poll);
    free(reactor);
    return NULL;
}

static void learn(struct s3_host *host, uint32_t *state)
{
    if (pick(state, 4) == 0) {
        s3i_admission_throttled(host);
    }
    int32_t tokens = s3i_admission_retry(host, S3I_RETRY_SERVER);
    s3i_admission_success(host, tokens);
}

static void *react_or_learn(void *number)
{
    if ((intptr_t)number < REACTORS) {
        return react(number);
    }
    uint32_t state = 1;
    for (int i = 0; i < ROUNDS(6000); i++) {
        learn(hosts[i % HOSTS], &state);
        check_budget();
    }
    return NULL;
}

static void limits_hold_among_reactors(void)
{
    run_threads(REACTORS + 1, react_or_learn);
    CHECK_EQUAL(s3i_admission_bytes(), 0);
    CHECK(atomic_load(&held[0]) == 0 && atomic_load(&held[1]) == 0);
}

/* Every slot came back: a host whose limit was never cut gives all of them out again. */
static void no_slot_is_lost(void)
{
    struct s3_poll poll;
    struct s3_inbox inbox;
    CHECK(s3i_poll_init(&poll) == 0);
    s3i_inbox_init(&inbox, &poll);
    static struct reactor reactor;
    hosts[0] = hosts[1] = s3i_admission_host(S3I_STR("http://fresh"), SLOTS);
    run_threads(REACTORS, react);
    for (int i = 0; i <= SLOTS; i++) {
        reactor.workers[i].waits = true;
        s3i_ticket_init(&reactor.workers[i].ticket, on_granted);
        CHECK(s3i_admission_take(&reactor.workers[i].ticket, hosts[0], 0, &inbox) == (i < SLOTS));
    }
    for (int i = SLOTS; i >= 0; i--) {
        s3i_admission_give(&reactor.workers[i].ticket);
    }
    s3i_inbox_clear(&inbox);
    s3i_poll_clear(&poll);
}

int main(void)
{
    hosts[0] = s3i_admission_host(S3I_STR("http://a"), SLOTS);
    hosts[1] = s3i_admission_host(S3I_STR("http://b"), SLOTS);
    CHECK(hosts[0] != NULL && hosts[1] != NULL && hosts[0] != hosts[1]);
    tickets_are_served_in_order();
    bytes_are_counted();
    a_raised_limit_serves_those_who_wait_at_once();
    another_concurrency_does_not_undo_a_cut();
    a_limit_that_recovers_serves_those_who_wait_at_once();
    limits_hold_among_reactors();
    no_slot_is_lost();
    return 0;
}
