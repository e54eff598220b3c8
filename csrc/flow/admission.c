#include "flow/admission.h"

#include <pthread.h>

#include "base/alloc.h"
#include "base/time.h"
#include "flow/random.h"
#include "pure/limiter.h"

#define BUDGET ((uint64_t)1 << 30) /* bytes of our memory in flight, whole engine */

struct s3_host {
    struct s3_list node;
    char *origin;
    struct {
        struct s3_limiter limiter;
        struct s3_retry_budget retries;
        struct s3_list waiting;
    } locked;
};

static struct {
    pthread_mutex_t lock;
    struct {
        struct s3_list hosts;
        bool ready;
        uint64_t bytes;
    } locked;
} admission = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct s3_host *find_locked(struct s3_str origin)
{
    if (!admission.locked.ready) {
        s3i_list_init(&admission.locked.hosts);
        admission.locked.ready = true;
    }
    S3I_LIST_EACH(node, &admission.locked.hosts)
    {
        struct s3_host *host = S3I_OWNER(node, struct s3_host, node);
        if (s3i_str_equal(s3i_str_from(host->origin), origin)) {
            return host;
        }
    }
    return NULL;
}

static struct s3_host *make_locked(struct s3_str origin, uint32_t concurrency)
{
    struct s3_host *host = s3i_calloc(1, sizeof(*host));
    if (host == NULL) {
        return NULL;
    }
    host->origin = s3i_strdup(origin);
    if (host->origin == NULL) {
        s3i_free(host);
        return NULL;
    }
    s3i_limiter_init(&host->locked.limiter, concurrency);
    s3i_retry_budget_init(&host->locked.retries);
    s3i_list_init(&host->locked.waiting);
    s3i_list_append(&admission.locked.hosts, &host->node);
    return host;
}

static bool admit_locked(struct s3_ticket *ticket)
{
    uint64_t bytes = admission.locked.bytes;
    if (bytes != 0 && ticket->bytes > BUDGET - (bytes < BUDGET ? bytes : BUDGET)) {
        return false;
    }
    if (!s3i_limiter_take(&ticket->host->locked.limiter)) {
        return false;
    }
    admission.locked.bytes += ticket->bytes;
    ticket->state = S3I_TICKET_HELD;
    return true;
}

/* The inbox's lock is the only one taken under ours; nothing of a user's is called. */
static void serve_locked(struct s3_host *host)
{
    while (!s3i_list_empty(&host->locked.waiting)) {
        struct s3_ticket *ticket = S3I_OWNER(host->locked.waiting.next, struct s3_ticket, node);
        if (!admit_locked(ticket)) {
            return;
        }
        s3i_list_remove(&ticket->node);
        s3i_inbox_put(ticket->inbox, &ticket->granted);
    }
}

struct s3_host *s3i_admission_host(struct s3_str origin, uint32_t concurrency)
{
    pthread_mutex_lock(&admission.lock);
    struct s3_host *host = find_locked(origin);
    if (host == NULL) {
        host = make_locked(origin, concurrency);
    } else {
        s3i_limiter_set_ceiling(&host->locked.limiter, concurrency); /* the latest word counts */
        serve_locked(host);
    }
    pthread_mutex_unlock(&admission.lock);
    return host;
}

void s3i_ticket_init(struct s3_ticket *ticket, void (*granted)(struct s3_post *post))
{
    *ticket = (struct s3_ticket){.state = S3I_TICKET_IDLE};
    s3i_list_init(&ticket->node);
    s3i_post_init(&ticket->granted, granted);
}

bool s3i_admission_take(struct s3_ticket *ticket, struct s3_host *host, uint64_t bytes,
                        struct s3_inbox *inbox)
{
    ticket->host = host;
    ticket->bytes = bytes;
    ticket->inbox = inbox;
    pthread_mutex_lock(&admission.lock);
    /* Those who wait already come first. */
    bool held = s3i_list_empty(&host->locked.waiting) && admit_locked(ticket);
    if (!held) {
        ticket->state = S3I_TICKET_WAITING;
        s3i_list_append(&host->locked.waiting, &ticket->node);
    }
    pthread_mutex_unlock(&admission.lock);
    return held;
}

/* Bytes that came free may let in tickets of any host. */
static void serve_all_locked(void)
{
    S3I_LIST_EACH(node, &admission.locked.hosts)
    {
        serve_locked(S3I_OWNER(node, struct s3_host, node));
    }
}

void s3i_admission_give(struct s3_ticket *ticket)
{
    pthread_mutex_lock(&admission.lock);
    if (ticket->state == S3I_TICKET_WAITING) {
        s3i_list_remove(&ticket->node);
        serve_locked(ticket->host); /* it may have stood before smaller ones */
    } else if (ticket->state == S3I_TICKET_HELD) {
        s3i_inbox_withdraw(ticket->inbox, &ticket->granted);
        s3i_limiter_give(&ticket->host->locked.limiter);
        admission.locked.bytes -= ticket->bytes;
        if (ticket->bytes) {
            serve_all_locked();
        } else {
            serve_locked(ticket->host);
        }
    }
    ticket->state = S3I_TICKET_IDLE;
    pthread_mutex_unlock(&admission.lock);
}

void s3i_admission_shrink(struct s3_ticket *ticket, uint64_t bytes)
{
    pthread_mutex_lock(&admission.lock);
    if (ticket->state == S3I_TICKET_HELD) {
        admission.locked.bytes -= ticket->bytes - bytes;
        ticket->bytes = bytes;
        serve_all_locked();
    }
    pthread_mutex_unlock(&admission.lock);
}

void s3i_admission_success(struct s3_host *host, int32_t retry_tokens)
{
    pthread_mutex_lock(&admission.lock);
    s3i_retry_budget_give(&host->locked.retries, retry_tokens);
    s3i_limiter_success(&host->locked.limiter, s3i_now_ms());
    serve_locked(host); /* the limit may have risen */
    pthread_mutex_unlock(&admission.lock);
}

void s3i_admission_throttled(struct s3_host *host)
{
    pthread_mutex_lock(&admission.lock);
    s3i_limiter_throttled(&host->locked.limiter, s3i_now_ms(), s3i_random_uniform());
    pthread_mutex_unlock(&admission.lock);
}

int32_t s3i_admission_retry(struct s3_host *host, enum s3_retry_class class)
{
    pthread_mutex_lock(&admission.lock);
    int32_t tokens = s3i_retry_budget_take(&host->locked.retries, class);
    pthread_mutex_unlock(&admission.lock);
    return tokens;
}

uint64_t s3i_admission_bytes(void)
{
    pthread_mutex_lock(&admission.lock);
    uint64_t bytes = admission.locked.bytes;
    pthread_mutex_unlock(&admission.lock);
    return bytes;
}

void s3i_admission_fork_prepare(void)
{
    pthread_mutex_lock(&admission.lock);
}

void s3i_admission_fork_parent(void)
{
    pthread_mutex_unlock(&admission.lock);
}

void s3i_admission_fork_child(void)
{
    admission.locked.ready = false;
    admission.locked.bytes = 0;
    pthread_mutex_unlock(&admission.lock);
}
