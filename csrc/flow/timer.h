/*
 * timer: deadlines of one reactor, in a list sorted by time.
 *
 * New deadlines are mostly the latest, so they are inserted from the end; a reactor has few of
 * them. Embedded in its owner; used by the reactor's thread only.
 */
#ifndef S3I_FLOW_TIMER_H
#define S3I_FLOW_TIMER_H

#include <stdint.h>

#include "base/list.h"

struct s3_timer {
    struct s3_list node;
    int64_t at_ms;
    void (*fire)(struct s3_timer *timer);
};

static inline void s3i_timer_init(struct s3_timer *timer, void (*fire)(struct s3_timer *timer))
{
    s3i_list_init(&timer->node);
    timer->fire = fire;
}

static inline void s3i_timer_set(struct s3_list *timers, struct s3_timer *timer, int64_t at_ms)
{
    s3i_list_remove(&timer->node);
    timer->at_ms = at_ms;
    struct s3_list *place = timers;
    while (place->previous != timers &&
           S3I_OWNER(place->previous, struct s3_timer, node)->at_ms > at_ms) {
        place = place->previous;
    }
    s3i_list_insert_before(place, &timer->node);
}

static inline void s3i_timer_clear(struct s3_timer *timer)
{
    s3i_list_remove(&timer->node);
}

/* When the first one is due; INT64_MAX for none. */
static inline int64_t s3i_timer_next(const struct s3_list *timers)
{
    return s3i_list_empty(timers) ? INT64_MAX
                                  : S3I_OWNER(timers->next, struct s3_timer, node)->at_ms;
}

static inline void s3i_timer_run(struct s3_list *timers, int64_t now_ms)
{
    while (s3i_timer_next(timers) <= now_ms) {
        struct s3_timer *timer = S3I_OWNER(timers->next, struct s3_timer, node);
        s3i_list_remove(&timer->node);
        timer->fire(timer);
    }
}

#endif
