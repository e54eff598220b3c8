#include "flow/inbox.h"

void s3i_post_init(struct s3_post *post, void (*run)(struct s3_post *post))
{
    s3i_list_init(&post->node);
    post->run = run;
}

void s3i_inbox_init(struct s3_inbox *inbox, const struct s3_poll *poll)
{
    inbox->poll = poll;
    atomic_init(&inbox->parked, false);
    pthread_mutex_init(&inbox->lock, NULL);
    s3i_list_init(&inbox->locked.posts);
}

void s3i_inbox_clear(struct s3_inbox *inbox)
{
    pthread_mutex_destroy(&inbox->lock);
}

bool s3i_inbox_put(struct s3_inbox *inbox, struct s3_post *post)
{
    pthread_mutex_lock(&inbox->lock);
    bool fresh = s3i_list_empty(&post->node);
    if (fresh) {
        s3i_list_append(&inbox->locked.posts, &post->node);
    }
    /* Under the lock, so that the inbox cannot be cleared between the post and the wake-up. */
    if (atomic_exchange(&inbox->parked, false)) {
        s3i_poll_wake(inbox->poll);
    }
    pthread_mutex_unlock(&inbox->lock);
    return fresh;
}

void s3i_inbox_withdraw(struct s3_inbox *inbox, struct s3_post *post)
{
    pthread_mutex_lock(&inbox->lock);
    s3i_list_remove(&post->node);
    pthread_mutex_unlock(&inbox->lock);
}

static struct s3_post *take(struct s3_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    struct s3_list *node = s3i_list_pop(&inbox->locked.posts);
    pthread_mutex_unlock(&inbox->lock);
    return node == NULL ? NULL : S3I_OWNER(node, struct s3_post, node);
}

void s3i_inbox_run(struct s3_inbox *inbox)
{
    struct s3_post *post;
    while ((post = take(inbox)) != NULL) {
        post->run(post);
    }
}

bool s3i_inbox_park(struct s3_inbox *inbox)
{
    atomic_store(&inbox->parked, true);
    pthread_mutex_lock(&inbox->lock);
    bool empty = s3i_list_empty(&inbox->locked.posts);
    pthread_mutex_unlock(&inbox->lock);
    if (!empty) {
        atomic_store(&inbox->parked, false);
    }
    return empty;
}

void s3i_inbox_unpark(struct s3_inbox *inbox)
{
    atomic_store(&inbox->parked, false);
}
