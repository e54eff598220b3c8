/*
 * reactor: an epoll loop that drives exchanges. Two drivers run the same loop: the engine's I/O
 * thread for asyncio and batches, and the thread of a sync caller (a hop between threads costs
 * twice the CPU).
 *
 *   turn:  [inside the gate]  posts -> timers -> ready requests -> hashing -> lane -> watchdog
 *          [outside]          wait for descriptors, a wake-up, or the next deadline
 *          [inside]           lane events -> ready requests
 *
 * One thread at a time runs a reactor. Others reach it through its inbox.
 */
#ifndef S3I_FLOW_REACTOR_H
#define S3I_FLOW_REACTOR_H

#include "base/list.h"
#include "bytes/lane.h"
#include "bytes/poll.h"
#include "flow/exchange.h"
#include "flow/inbox.h"
#include "flow/timer.h"

struct s3_reactor {
    struct s3_list node;       /* for the engine: its list of spare reactors */
    struct s3_list registered; /* in the list of all reactors, under its lock */
    struct s3_poll poll;
    struct s3_inbox inbox;
    struct s3_post recheck; /* credentials changed */
    struct s3_lane *lanes[S3I_LANE_KINDS]; /* made when they are first needed, or NULL */
    struct s3_list ready;         /* requests to pump */
    struct s3_list want_identity; /* requests in WAIT_IDENTITY */
    struct s3_list hashing;       /* requests in HASHING */
    struct s3_list operations;    /* that run here */
    struct s3_list timers;
    struct s3_list active; /* exchanges under way */
    struct s3_list spare;  /* exchanges to reuse */
    size_t spare_count;
    int64_t watched_ms;    /* last sweep of the watchdog */
    int64_t keep_until_ms; /* then its idle connections have been idle for long enough */
    bool of_caller;        /* a sync caller drives it, for one operation */
    bool relieved;         /* an operation has ended since the last wait */
};

/* NULL with `error` set, without memory or descriptors. */
struct s3_reactor *s3i_reactor_new(struct s3_error *error);
/* Nothing may be under way. */
void s3i_reactor_free(struct s3_reactor *reactor);

/* One turn, waiting at most `wait_ms`; a caller's reactor does not wait once its operation has
 * ended. false: the gate is shut, the engine ends. */
bool s3i_reactor_turn(struct s3_reactor *reactor, int64_t wait_ms);

/* An exchange to use, or NULL without memory; and back. */
struct s3_exchange *s3i_reactor_take_exchange(struct s3_reactor *reactor);
void s3i_reactor_give_exchange(struct s3_reactor *reactor, struct s3_exchange *exchange);

/* A lane of its own, for s3i_lane_classes[kind]; NULL without memory or descriptors. */
struct s3_lane *s3i_reactor_lane(struct s3_reactor *reactor, enum s3_lane_kind kind);

/* Tells all reactors that credentials changed. Any thread. */
void s3i_reactors_recheck(void);

/* Around a fork; the child abandons all reactors: descriptors closed, memory left. */
void s3i_reactors_fork_prepare(void);
void s3i_reactors_fork_parent(void);
void s3i_reactors_fork_child(void);

#endif
