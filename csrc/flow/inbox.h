/*
 * inbox: how other threads reach a reactor.
 *
 * A post is embedded in the thing that it is about; posting one that is queued already does
 * nothing. Posts run on the reactor's thread, in order, without the inbox's lock. The reactor says
 * when it is about to wait in the kernel (parked); only then does a post cost a write to wake it.
 */
#ifndef S3I_FLOW_INBOX_H
#define S3I_FLOW_INBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "bytes/poll.h"

struct s3_post {
    struct s3_list node;
    void (*run)(struct s3_post *post);
};

struct s3_inbox {
    const struct s3_poll *poll;
    atomic_bool parked;
    pthread_mutex_t lock;
    struct {
        struct s3_list posts;
    } locked;
};

void s3i_post_init(struct s3_post *post, void (*run)(struct s3_post *post));

void s3i_inbox_init(struct s3_inbox *inbox, const struct s3_poll *poll);
void s3i_inbox_clear(struct s3_inbox *inbox);

/* Any thread. false: the post was queued already. */
bool s3i_inbox_put(struct s3_inbox *inbox, struct s3_post *post);
/* Takes a post back if it has not run. Any thread. */
void s3i_inbox_withdraw(struct s3_inbox *inbox, struct s3_post *post);

/* Reactor only: runs what is queued. */
void s3i_inbox_run(struct s3_inbox *inbox);
/* Reactor only: announces a wait; false when posts have come, so that it must not wait. */
bool s3i_inbox_park(struct s3_inbox *inbox);
void s3i_inbox_unpark(struct s3_inbox *inbox);

#endif
