/* The inbox: posts of many threads reach a reactor that parks, each once, and none sleeps through. */
#include "flow/inbox.h"

#include <stdatomic.h>

#include "base/time.h"
#include "check.h"

enum { POSTERS = 4, POSTS = 8, PATIENCE_MS = 5000 };

struct note {
    struct s3_post post;
    atomic_long runs;
    long
        payload; /* written by the poster, read by the reactor: ordered by the inbox or a data race */
    atomic_long seen;
};

static struct s3_poll poll;
static struct s3_inbox inbox;
static atomic_bool ended;
static atomic_long total_runs;
static atomic_long total_puts;

static void on_note(struct s3_post *post)
{
    struct note *note = S3I_OWNER(post, struct note, post);
    atomic_store(&note->seen, note->payload);
    atomic_fetch_add(&note->runs, 1);
    atomic_fetch_add(&total_runs, 1);
}

/* Waits for ever once it is parked: a lost wake-up is a post that does not run. */
static void *react(void *unused)
{
    (void)unused;
    struct s3_ready ready[4];
    while (!atomic_load(&ended)) {
        s3i_inbox_run(&inbox);
        if (!atomic_load(&ended) && s3i_inbox_park(&inbox)) {
            CHECK_EQUAL(s3i_poll_wait(&poll, -1, ready, 4), 0);
        }
        s3i_inbox_unpark(&inbox);
    }
    s3i_inbox_run(&inbox);
    return NULL;
}

static void put(struct note *note)
{
    atomic_fetch_add(&total_puts, s3i_inbox_put(&inbox, &note->post));
}

static void *post_and_wait(void *unused)
{
    (void)unused;
    struct note *note = calloc(1, sizeof(*note));
    s3i_post_init(&note->post, on_note);
    for (long i = 1; i <= ROUNDS(5000); i++) {
        note->payload = i;
        put(note);
        int64_t until = s3i_now_ms() + PATIENCE_MS;
        while (atomic_load(&note->runs) < i) {
            CHECK(s3i_now_ms() < until);
            usleep(10);
        }
        CHECK_EQUAL(atomic_load(&note->seen), i);
    }
    free(note);
    return NULL;
}

static void *post_in_bursts(void *number)
{
    uint32_t state = (uint32_t)(intptr_t)number;
    static struct note notes[POSTERS][POSTS];
    struct note *mine = notes[(intptr_t)number];
    for (int i = 0; i < POSTS; i++) {
        s3i_post_init(&mine[i].post, on_note);
    }
    for (int i = 0; i < ROUNDS(40000); i++) {
        put(&mine[pick(&state, POSTS)]);
    }
    return NULL;
}

static void *everybody(void *number)
{
    post_and_wait(number);
    return post_in_bursts(number);
}

static void nothing_is_lost(void)
{
    pthread_t reactor;
    CHECK(pthread_create(&reactor, NULL, react, NULL) == 0);
    run_threads(POSTERS, everybody);
    atomic_store(&ended, true);
    struct note last = {.payload = 0};
    s3i_post_init(&last.post, on_note);
    put(&last);
    pthread_join(reactor, NULL);
    CHECK_EQUAL(atomic_load(&total_runs), atomic_load(&total_puts));
}

static void a_queued_post_is_queued_once(void)
{
    struct note note = {.payload = 1};
    s3i_post_init(&note.post, on_note);
    put(&note);
    CHECK(!s3i_inbox_put(&inbox, &note.post));
    CHECK(!s3i_inbox_park(&inbox));
    s3i_inbox_run(&inbox);
    CHECK_EQUAL(atomic_load(&note.runs), 1);
    CHECK(s3i_inbox_put(&inbox, &note.post));
    s3i_inbox_withdraw(&inbox, &note.post);
    s3i_inbox_withdraw(&inbox, &note.post);
    s3i_inbox_run(&inbox);
    CHECK_EQUAL(atomic_load(&note.runs), 1);
    CHECK(s3i_inbox_park(&inbox));
    s3i_inbox_unpark(&inbox);
}

int main(void)
{
    CHECK(s3i_poll_init(&poll) == 0);
    s3i_inbox_init(&inbox, &poll);
    a_queued_post_is_queued_once();
    nothing_is_lost();
    s3i_inbox_clear(&inbox);
    s3i_poll_clear(&poll);
    s3i_poll_clear(&poll);
    return 0;
}
