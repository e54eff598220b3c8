#include "face/queue.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/time.h"
#include "base/wait.h"
#include "flow/gate.h"
#include "flow/process.h"

enum {
    CLOSE_WAIT_MS = 2000,
    CLOSE_SLICE_MS = 10,
    FIRST_CAPACITY = 64,
    EVENTS_PER_OP = 2 /* its end, and room for a fed part */
};

struct s3_queue {
    struct s3_op_listener listener;
    int eventfd;
    uint32_t generation;
    pthread_mutex_t lock;
    struct s3_bell emptied;
    struct {
        struct s3ext_completion *ring;
        size_t capacity, first, count;
        struct s3_list operations;
        size_t listed;
        bool signalled;
        bool orphan; /* closed while operations were listed: the last one frees it */
    } locked;
};

static struct s3_queue *queue_of(struct s3_op_listener *listener)
{
    return S3I_OWNER(listener, struct s3_queue, listener);
}

static void destroy(struct s3_queue *queue)
{
    pthread_mutex_destroy(&queue->lock);
    s3i_free(queue->locked.ring);
    s3i_free(queue);
}

static void put_locked(struct s3_queue *queue, struct s3ext_completion completion)
{
    if (queue->locked.orphan) {
        return;
    }
    size_t place = (queue->locked.first + queue->locked.count) % queue->locked.capacity;
    queue->locked.ring[place] = completion;
    queue->locked.count++;
    if (!queue->locked.signalled) {
        const uint64_t one = 1;
        queue->locked.signalled = write(queue->eventfd, &one, sizeof(one)) == (ssize_t)sizeof(one);
    }
}

static void on_done(struct s3_op_listener *listener, struct s3_op *op)
{
    struct s3_queue *queue = queue_of(listener);
    pthread_mutex_lock(&queue->lock);
    s3i_list_remove(&op->listed);
    queue->locked.listed--;
    put_locked(queue,
               (struct s3ext_completion){.token = op->token, .kind = 0, .code = op->error.code});
    bool last = queue->locked.orphan && queue->locked.listed == 0;
    s3i_bell_ring(&queue->emptied);
    pthread_mutex_unlock(&queue->lock);
    if (last) {
        destroy(queue);
    }
}

/* Never takes the room that is reserved for the ends of operations. */
static void on_room(struct s3_op_listener *listener, struct s3_op *op)
{
    struct s3_queue *queue = queue_of(listener);
    pthread_mutex_lock(&queue->lock);
    if (queue->locked.count + queue->locked.listed < queue->locked.capacity) {
        put_locked(queue, (struct s3ext_completion){.token = op->token, .kind = 1});
    }
    pthread_mutex_unlock(&queue->lock);
}

struct s3_queue *s3i_queue_new(void)
{
    struct s3_queue *queue = s3i_calloc(1, sizeof(*queue));
    if (queue == NULL) {
        return NULL;
    }
    queue->listener = (struct s3_op_listener){.on_done = on_done, .on_room = on_room};
    queue->generation = s3i_process_generation();
    queue->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    queue->locked.ring = s3i_calloc(FIRST_CAPACITY, sizeof(*queue->locked.ring));
    queue->locked.capacity = FIRST_CAPACITY;
    s3i_list_init(&queue->locked.operations);
    pthread_mutex_init(&queue->lock, NULL);
    if (queue->eventfd < 0 || queue->locked.ring == NULL) {
        if (queue->eventfd >= 0) {
            close(queue->eventfd);
        }
        destroy(queue);
        return NULL;
    }
    return queue;
}

int s3i_queue_fd(const struct s3_queue *queue)
{
    return queue->eventfd;
}

static int reserve_locked(struct s3_queue *queue, size_t count)
{
    size_t wanted = queue->locked.count + (queue->locked.listed + count) * EVENTS_PER_OP;
    if (wanted <= queue->locked.capacity) {
        return S3EXT_OK;
    }
    size_t capacity = queue->locked.capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    struct s3ext_completion *ring = s3i_calloc(capacity, sizeof(*ring));
    if (ring == NULL) {
        return S3EXT_NO_MEMORY;
    }
    for (size_t i = 0; i < queue->locked.count; i++) {
        ring[i] = queue->locked.ring[(queue->locked.first + i) % queue->locked.capacity];
    }
    s3i_free(queue->locked.ring);
    queue->locked.ring = ring;
    queue->locked.capacity = capacity;
    queue->locked.first = 0;
    return S3EXT_OK;
}

int s3i_queue_add(struct s3_queue *queue, struct s3_op *const *ops, const uint64_t *tokens,
                  size_t count)
{
    pthread_mutex_lock(&queue->lock);
    int code = reserve_locked(queue, count);
    for (size_t i = 0; code == S3EXT_OK && i < count; i++) {
        ops[i]->token = tokens[i];
        ops[i]->listener = &queue->listener;
        s3i_list_append(&queue->locked.operations, &ops[i]->listed);
        queue->locked.listed++;
    }
    pthread_mutex_unlock(&queue->lock);
    return code;
}

size_t s3i_queue_drain(struct s3_queue *queue, struct s3ext_completion *out, size_t capacity)
{
    pthread_mutex_lock(&queue->lock);
    size_t taken = 0;
    while (taken < capacity && queue->locked.count > 0) {
        out[taken++] = queue->locked.ring[queue->locked.first];
        queue->locked.first = (queue->locked.first + 1) % queue->locked.capacity;
        queue->locked.count--;
    }
    if (queue->locked.count == 0 && queue->locked.signalled) {
        uint64_t ignored;
        queue->locked.signalled =
            read(queue->eventfd, &ignored, sizeof(ignored)) != (ssize_t)sizeof(ignored);
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

/* Whether an operation still has buffers of its owner's; when the engine has ended, nobody touches
 * them. */
static bool in_use_locked(const struct s3_queue *queue)
{
    if (s3i_gate_is_shut()) {
        return false;
    }
    S3I_LIST_EACH(node, &queue->locked.operations)
    {
        if (!s3i_op_let_go(S3I_OWNER(node, struct s3_op, listed))) {
            return true;
        }
    }
    return false;
}

void s3i_queue_close(struct s3_queue *queue)
{
    if (queue->generation != s3i_process_generation()) {
        close(queue->eventfd);
        return;
    }
    int64_t until_ms = s3i_now_ms() + CLOSE_WAIT_MS;
    pthread_mutex_lock(&queue->lock);
    S3I_LIST_EACH(node, &queue->locked.operations)
    {
        s3i_op_cancel(S3I_OWNER(node, struct s3_op, listed));
    }
    while (in_use_locked(queue) && s3i_now_ms() < until_ms) {
        /* Not longer, because nobody rings when one has only let go. */
        s3i_bell_wait(&queue->emptied, &queue->lock, s3i_now_ms() + CLOSE_SLICE_MS);
    }
    close(queue->eventfd);
    queue->locked.orphan = true;
    bool empty = queue->locked.listed == 0;
    pthread_mutex_unlock(&queue->lock);
    if (empty) {
        destroy(queue);
    }
}
