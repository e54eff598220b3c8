/*
 * The credential slot and the desk: identities are whole whatever is set meanwhile, refused keys are not given
 * again, a failed fetch ends those who waited for it and nobody later, and the desk loses no tag.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/time.h"
#include "check.h"
#include "identity/client.h"
#include "pure/hash.h"
#include "s3ext.h"

enum { SIGNERS = 4, TAG = 77, PATIENCE_MS = 20000 };

static struct s3_client *client;
static atomic_bool ended;
static atomic_int signing = SIGNERS;
static atomic_long fetches, failures;

static struct s3_client *new_client(uint64_t tag)
{
    const struct s3ext_client_config config = {
        .scheme = "http",
        .host = "{region}.localhost:80",
        .bucket = "bucket",
        .region = "us-east-1",
        .region_may_change = 1,
        .user_agent = "test",
        .part_size = 1,
        .window = 1,
        .concurrency = 1,
        .provider_tag = tag,
        .refresh_before_ms = 60000,
    };
    struct s3_error error;
    s3i_error_clear(&error);
    struct s3_client *made = s3i_client_new(&config, &error);
    CHECK(made != NULL && error.code == S3EXT_OK);
    return made;
}

/* Key id and secret end in the same number, so that a mix of two sets shows. */
static void set_keys(struct s3_client *to, long number, int64_t expires_ms)
{
    char key_id[32];
    char secret[32];
    snprintf(key_id, sizeof(key_id), "KEY%08ld", number);
    snprintf(secret, sizeof(secret), "SECRET%08ld", number);
    s3i_client_set_credentials(to, s3i_str_from(key_id), s3i_str_from(secret), S3I_STR("token"),
                               expires_ms);
}

static void check_whole(const struct s3_identity *identity)
{
    const struct s3_credentials *keys = identity->credentials;
    CHECK(keys->key_id.size == 11 && keys->secret.size == 14 && identity->signer != NULL);
    CHECK(memcmp(keys->key_id.data + 3, keys->secret.data + 6, 8) == 0);
    struct s3_str region = identity->target.region;
    CHECK(memcmp(identity->target.host.data, region.data, region.size) == 0);
    CHECK(s3i_str_equal(identity->target.path_prefix, S3I_STR("/bucket")));
}

/* ---- one thread ---- */

static enum s3_identity_state ask(struct s3_client *of, uint64_t *ticket,
                                  struct s3_identity **identity)
{
    struct s3_error error;
    s3i_error_clear(&error);
    *identity = NULL;
    enum s3_identity_state state = s3i_client_identity(of, s3i_wall_ms(), ticket, identity, &error);
    CHECK((state == S3I_IDENTITY_FAILED) == (error.code != S3EXT_OK));
    CHECK((state == S3I_IDENTITY_READY) == (*identity != NULL));
    return state;
}

static void a_slot_goes_through_its_states(void)
{
    struct s3_client *own = new_client(5);
    struct s3_identity *identity;
    uint64_t ticket = 0;
    CHECK(ask(own, &ticket, &identity) == S3I_IDENTITY_WAIT);
    CHECK(ticket != 0);
    CHECK_EQUAL(s3i_desk_take(0), 5);
    CHECK_EQUAL(s3i_desk_take(0), 0);
    s3i_client_fail_credentials(own, S3I_STR("no\nluck"));
    uint64_t later = 0;
    CHECK(ask(own, &ticket, &identity) == S3I_IDENTITY_FAILED);
    CHECK(ask(own, &later, &identity) == S3I_IDENTITY_WAIT); /* who comes later asks anew */
    CHECK(later != ticket);
    CHECK_EQUAL(s3i_desk_take(0), 5);
    set_keys(own, 1, s3i_wall_ms() - 1); /* a provider that hands out expired keys has failed */
    CHECK(ask(own, &later, &identity) == S3I_IDENTITY_FAILED);
    set_keys(own, 2, INT64_MAX);
    CHECK(ask(own, &later, &identity) == S3I_IDENTITY_READY);
    check_whole(identity);
    uint64_t version = identity->credentials->version;
    s3i_identity_release(identity);
    CHECK(s3i_client_refused(own, version));
    ticket = 0;
    CHECK(ask(own, &ticket, &identity) == S3I_IDENTITY_WAIT); /* refused: not given again */
    set_keys(own, 3,
             s3i_wall_ms() + 30000); /* inside the refresh margin: given, and renewed meanwhile */
    CHECK(s3i_client_refused(own, version)); /* newer ones are there */
    CHECK(ask(own, &ticket, &identity) == S3I_IDENTITY_READY);
    check_whole(identity);
    while (s3i_desk_take(0) != 0) { /* how often the renewal was wished for is a matter of time */
    }
    s3i_client_release(own); /* an identity outlives its client */
    check_whole(identity);
    s3i_identity_release(identity);
    CHECK_EQUAL(s3i_alloc_live(), 0);
}

/* Asks at `wall_ms`, and tells whether that was a wish for keys. */
static bool wishes_at(struct s3_client *of, int64_t wall_ms)
{
    struct s3_error error;
    struct s3_identity *identity = NULL;
    uint64_t ticket = 0;
    s3i_error_clear(&error);
    CHECK(s3i_client_identity(of, wall_ms, &ticket, &identity, &error) == S3I_IDENTITY_READY);
    s3i_identity_release(identity);
    return s3i_desk_take(0) != 0;
}

static void keys_that_do_not_last_are_renewed_ever_more_slowly(void)
{
    static const int64_t pauses[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    struct s3_client *own = new_client(5);
    int64_t end = s3i_wall_ms() + 50000; /* inside the margin of a minute, and not before the last pause */
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        int64_t before = s3i_wall_ms();
        if (i % 2 == 0) {
            set_keys(own, 1, end);
        } else {
            s3i_client_fail_credentials(own, S3I_STR("no luck"));
        }
        CHECK(!wishes_at(own, before + pauses[i] - 1));
        CHECK(wishes_at(own, s3i_wall_ms() + pauses[i]));
    }
    set_keys(own, 2, INT64_MAX); /* these last: from here on it counts anew */
    int64_t before = s3i_wall_ms();
    set_keys(own, 3, end);
    CHECK(!wishes_at(own, before + 199));
    CHECK(wishes_at(own, s3i_wall_ms() + 200));
    s3i_client_release(own);
    CHECK_EQUAL(s3i_alloc_live(), 0);
}

static void without_a_provider_it_fails_at_once(void)
{
    struct s3_client *own = new_client(0);
    struct s3_identity *identity;
    uint64_t ticket = 0;
    CHECK(ask(own, &ticket, &identity) == S3I_IDENTITY_FAILED);
    set_keys(own, 1, INT64_MAX);
    CHECK(ask(own, &ticket, &identity) == S3I_IDENTITY_READY);
    CHECK(!s3i_client_refused(own, identity->credentials->version));
    s3i_identity_release(identity);
    CHECK_EQUAL(s3i_desk_take(0), 0);
    s3i_client_release(own);
}

static void only_names_of_regions_are_taken(void)
{
    static const char *const bad[] = {
        "",           "evil.example",
        "eu-west-1/", "EU",
        "a b",        "a\r\nb",
        "eu_west",    "0123456789012345678901234567890123456789012345678901234567890123"};
    struct s3_client *own = new_client(0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!s3i_client_correct_region(own, s3i_str_from(bad[i])));
    }
    CHECK(s3i_client_correct_region(own, S3I_STR("eu-west-1")));
    s3i_client_release(own);
}

static void every_allocation_may_fail(void)
{
    struct s3_client *own = new_client(0);
    set_keys(own, 1, INT64_MAX);
    long base = s3i_alloc_live();
    for (long n = 0; n < 100; n++) {
        struct s3_identity *identity = NULL;
        uint64_t ticket = 0;
        CHECK(s3i_client_correct_region(own, n % 2 ? S3I_STR("eu-west-1") : S3I_STR("us-west-2")));
        s3i_alloc_fail_after(n);
        enum s3_identity_state state = ask(own, &ticket, &identity);
        s3i_alloc_fail_after(-1);
        s3i_identity_release(identity);
        CHECK(state == S3I_IDENTITY_READY || state == S3I_IDENTITY_FAILED);
        if (state == S3I_IDENTITY_READY) {
            CHECK(n > 0);
            s3i_client_release(own);
            CHECK_EQUAL(s3i_alloc_live(), 0);
            return;
        }
        CHECK(s3i_alloc_live() >= base);
    }
    CHECK(!"an identity needs endless memory");
}

/* ---- many threads ---- */

/* As a request does: asks, waits until somebody answers, and may find its keys refused. */
static void *sign(void *number)
{
    uint32_t state = (uint32_t)(intptr_t)number;
    uint64_t refused = 0; /* the highest version that this thread has seen refused */
    uint64_t ticket = 0;
    int64_t until = s3i_now_ms() + PATIENCE_MS;
    for (int done = 0; done < ROUNDS(6000);) {
        CHECK(s3i_now_ms() < until);
        struct s3_error error;
        s3i_error_clear(&error);
        struct s3_identity *identity;
        enum s3_identity_state got =
            s3i_client_identity(client, s3i_wall_ms(), &ticket, &identity, &error);
        if (got == S3I_IDENTITY_WAIT) {
            usleep(20);
            continue;
        }
        done++;
        ticket = 0;
        if (got == S3I_IDENTITY_FAILED) {
            CHECK_EQUAL(error.code, S3EXT_CREDENTIALS);
            continue;
        }
        check_whole(identity);
        uint64_t version = identity->credentials->version;
        CHECK(version > refused);
        if (pick(&state, 8) == 0) {
            CHECK(s3i_client_refused(client, version));
            refused = version;
        }
        s3i_identity_release(identity);
    }
    atomic_fetch_sub(&signing, 1);
    return NULL;
}

static void provide(void)
{
    while (!atomic_load(&ended)) {
        uint64_t tag = s3i_desk_take(10);
        if (tag == 0) {
            continue;
        }
        CHECK_EQUAL(tag, TAG);
        long number = atomic_fetch_add(&fetches, 1);
        if (number % 5 == 4) {
            atomic_fetch_add(&failures, 1);
            s3i_client_fail_credentials(client, S3I_STR("the provider is tired"));
        } else {
            set_keys(client, number, number % 3 ? INT64_MAX : s3i_wall_ms() + 90000);
        }
    }
}

/* What else changes under a request's feet. */
static void disturb(void)
{
    static const char *const regions[] = {"us-east-1", "eu-central-1", "ap-south-1"};
    for (int i = 0; atomic_load(&signing) > 0; i++) {
        CHECK(s3i_client_correct_region(client, s3i_str_from(regions[i % 3])));
        atomic_store(&client->clock_offset, i % 2 ? 0 : 86400);
        s3i_client_release(s3i_client_retain(client));
        usleep(50);
    }
    atomic_store(&ended, true);
}

static void *everybody(void *number)
{
    if ((intptr_t)number < SIGNERS) {
        return sign(number);
    }
    if ((intptr_t)number == SIGNERS) {
        disturb();
    } else {
        provide();
    }
    return NULL;
}

static void many_threads_sign_while_keys_change(void)
{
    client = new_client(TAG);
    run_threads(SIGNERS + 2, everybody);
    CHECK(atomic_load(&failures) > 0);
    s3i_client_release(client);
    CHECK_EQUAL(s3i_alloc_live(), 0);
}

/* ---- the desk ---- */

static void *wait_at_desk(void *unused)
{
    (void)unused;
    int64_t began = s3i_now_ms();
    CHECK_EQUAL(s3i_desk_take(60000), 0);
    CHECK(s3i_now_ms() - began < PATIENCE_MS);
    return NULL;
}

static void *wait_or_close(void *number)
{
    if ((intptr_t)number > 0) {
        return wait_at_desk(NULL);
    }
    usleep(20000);
    s3i_desk_close();
    return NULL;
}

static void a_closed_desk_lets_everybody_go(void)
{
    int64_t began = s3i_now_ms();
    CHECK_EQUAL(s3i_desk_take(30), 0);
    CHECK(s3i_now_ms() - began >= 25);
    run_threads(4, wait_or_close);
    s3i_desk_ask(1);
    CHECK_EQUAL(s3i_desk_take(1000), 0);
    s3i_desk_fork_child();
    s3i_desk_ask(1);
    s3i_desk_ask(1);
    s3i_desk_ask(2);
    CHECK_EQUAL(s3i_desk_take(0), 1);
    CHECK_EQUAL(s3i_desk_take(0), 2);
    CHECK_EQUAL(s3i_desk_take(0), 0);
}

int main(void)
{
    CHECK(s3i_hash_init() == S3EXT_OK);
    a_slot_goes_through_its_states();
    keys_that_do_not_last_are_renewed_ever_more_slowly();
    without_a_provider_it_fails_at_once();
    only_names_of_regions_are_taken();
    every_allocation_may_fail();
    many_threads_sign_while_keys_change();
    a_closed_desk_lets_everybody_go();
    return 0;
}
