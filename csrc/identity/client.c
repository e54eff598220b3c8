#include "identity/client.h"

#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/time.h"
#include "identity/regions.h"
#include "identity/trust.h"
#include "pure/uri.h"
#include "s3ext.h"

enum {
    TEXT_LIMIT = 4096, /* bytes of an origin, a path prefix or a region */
    /* How long keys inside the refresh margin are used before the next try: twice as long after each
     * try that failed or gave keys inside the margin again. */
    PAUSE_FIRST_MS = 100,
    PAUSE_MOST_MS = 10000
};

struct identity {
    struct s3_identity public; /* first: the public pointer is the record's */
    atomic_uint references;
    struct s3_credentials *credentials;
    struct s3_signer *signer;
    struct s3_v2_signer *v2_signer;
    struct s3_buf text; /* what the target's slices point into */
};

/* The client as this file knows it. */
struct client {
    struct s3_client public; /* first */
    atomic_uint references;
    char *scheme, *host, *base_path, *bucket, *service;
    char *user_agent, *proxy_url, *proxy_excludes, *default_headers;
    char *write_headers, *key_headers, *source_headers; /* may hold the customer's key */
    char *place; /* in regions.h; NULL where the region may not change */
    bool bucket_in_host;
    bool signature_v2;
    uint64_t provider_tag;
    int64_t refresh_before_ms;
    pthread_mutex_t lock;
    struct {
        char region[S3I_REGION_SIZE];
        uint64_t lessons; /* s3i_regions_lessons() when `region` was last looked up */
        struct s3_credentials *credentials;
        struct identity *identity; /* cached for the next request */
        bool refused;              /* the server will not take `credentials` any more */
        bool fetching;
        bool asked;            /* the desk took the wish of this fetch */
        uint64_t fetch;        /* number of the current or last fetch */
        uint64_t failed_fetch; /* number of the last fetch that failed */
        char failure[256];
        int64_t fetched_ms; /* wall clock of the last answer */
        int64_t pause_ms;   /* from then on, before keys are renewed ahead of time */
    } locked;
};

static struct client *private_of(struct s3_client *client)
{
    return (struct client *)client;
}

/* ---- construction ---- */

static char *copy(const char *text)
{
    return text == NULL ? NULL : s3i_strdup(s3i_str_from(text));
}

static void set_connect(struct client *client, const struct s3ext_client_config *config)
{
    static atomic_uint_fast64_t last_serial;
    client->public.connect = (struct s3_connect){
        .serial = atomic_fetch_add(&last_serial, 1) + 1,
        .user_agent = client->user_agent,
        .proxy_url = client->proxy_url,
        .proxy_excludes = client->proxy_excludes,
        .verify_tls = config->verify_tls != 0,
        .randomize_addresses = config->randomize_addresses != 0,
        .http_version = config->http_version,
        .connect_timeout_ms = config->connect_timeout_ms,
        .first_byte_timeout_ms = config->first_byte_timeout_ms,
        .stall_timeout_ms = config->stall_timeout_ms,
        .total_timeout_ms = config->total_timeout_ms,
        .pool_idle_timeout_ms = config->pool_idle_timeout_ms,
        .pool_max_idle = config->pool_max_idle,
        .probe_ms = config->probe_ms,
        .unanswered_ms = config->unanswered_ms,
        .concurrency = config->concurrency,
    };
}

static void set_behaviour(struct client *client, const struct s3ext_client_config *config)
{
    struct s3_client *public = &client->public;
    public->retry = (struct s3_retry_config){
        .max_retries = config->max_retries,
        .retry_timeout_ms = config->retry_timeout_ms,
        .init_backoff_ms = config->init_backoff_ms,
        .max_backoff_ms = config->max_backoff_ms,
        .base = config->backoff_base,
        .init_backoff_set = config->init_backoff_set != 0,
    };
    public->default_headers = s3i_str(client->default_headers, config->default_headers_size);
    public->write_headers = s3i_str(client->write_headers, config->write_headers_size);
    public->key_headers = s3i_str(client->key_headers, config->key_headers_size);
    public->source_headers = s3i_str(client->source_headers, config->source_headers_size);
    public->checksum = (enum s3_checksum)config->checksum;
    public->region_may_change = config->region_may_change != 0;
    public->skip_signature = config->skip_signature != 0;
    public->unsigned_payload = config->unsigned_payload != 0;
    public->request_payer = config->request_payer != 0;
    public->express_session = config->express_session != 0;
    public->part_size = config->part_size;
    public->window = config->window;
    client->bucket_in_host = config->bucket_in_host != 0;
    client->signature_v2 = config->signature_v2 != 0;
    client->provider_tag = config->provider_tag;
    client->refresh_before_ms = config->refresh_before_ms;
}

static bool copy_encryption(struct client *client, const struct s3ext_client_config *config)
{
    client->write_headers = s3i_strdup(s3i_str(config->write_headers, config->write_headers_size));
    client->key_headers = s3i_strdup(s3i_str(config->key_headers, config->key_headers_size));
    client->source_headers =
        s3i_strdup(s3i_str(config->source_headers, config->source_headers_size));
    return client->write_headers && client->key_headers && client->source_headers;
}

static void free_encryption(struct client *client)
{
    s3i_free_secret(client->write_headers, client->public.write_headers.size);
    s3i_free_secret(client->key_headers, client->public.key_headers.size);
    s3i_free_secret(client->source_headers, client->public.source_headers.size);
}

static bool copy_texts(struct client *client, const struct s3ext_client_config *config)
{
    client->scheme = copy(config->scheme);
    client->host = copy(config->host);
    client->base_path = copy(config->base_path ? config->base_path : "");
    client->bucket = copy(config->bucket);
    client->service = copy(config->service ? config->service : "s3");
    client->user_agent = copy(config->user_agent);
    client->proxy_url = copy(config->proxy_url);
    client->proxy_excludes = copy(config->proxy_excludes);
    client->default_headers =
        s3i_strdup(s3i_str(config->default_headers, config->default_headers_size));
    return client->scheme && client->host && client->base_path && client->bucket &&
           client->service && client->user_agent && client->default_headers &&
           (client->proxy_url || !config->proxy_url) &&
           (client->proxy_excludes || !config->proxy_excludes);
}

/* What stores of one bucket at one endpoint share, in both styles. */
static bool set_place(struct client *client, const struct s3ext_client_config *config)
{
    if (!config->region_may_change) {
        return true;
    }
    struct s3_buf place;
    struct s3_str bucket = s3i_str_from(client->bucket);
    struct s3_str host = s3i_str_from(client->host);
    if (config->bucket_in_host && s3i_str_starts(host, bucket) && host.size > bucket.size &&
        host.data[bucket.size] == '.') {
        host = s3i_str(host.data + bucket.size + 1, host.size - bucket.size - 1);
    }
    s3i_buf_init(&place, TEXT_LIMIT);
    s3i_buf_add(&place, host);
    s3i_buf_add_char(&place, '/');
    s3i_buf_add(&place, bucket);
    client->place = s3i_buf_ok(&place) ? s3i_strdup(s3i_buf_str(&place)) : NULL;
    s3i_buf_clear(&place);
    return client->place != NULL;
}

static int check(const struct s3ext_client_config *config, struct s3_error *error)
{
    if (config->scheme == NULL || config->host == NULL || config->bucket == NULL ||
        config->region == NULL || config->user_agent == NULL) {
        return s3i_error_set(error, S3EXT_INVALID,
                             "a client needs scheme, host, bucket, region, user agent");
    }
    if (strlen(config->region) >= sizeof(((struct client *)0)->locked.region)) {
        return s3i_error_set(error, S3EXT_INVALID, "the region has more than 63 characters");
    }
    if (config->part_size == 0 || config->window == 0 || config->concurrency == 0) {
        return s3i_error_set(error, S3EXT_INVALID,
                             "part_size, window and concurrency must be at least 1");
    }
    if (config->checksum < S3I_CHECKSUM_NONE || config->checksum >= S3I_CHECKSUM_KINDS) {
        return s3i_error_set(error, S3EXT_INVALID, "there is no checksum %d", config->checksum);
    }
    return S3EXT_OK;
}

static void destroy_client(struct client *client);

struct s3_client *s3i_client_new(const struct s3ext_client_config *config, struct s3_error *error)
{
    if (check(config, error) != S3EXT_OK) {
        return NULL;
    }
    struct client *client = s3i_calloc(1, sizeof(*client));
    if (client == NULL) {
        s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for a client");
        return NULL;
    }
    pthread_mutex_init(&client->lock, NULL);
    atomic_init(&client->references, 1);
    if (!copy_texts(client, config) || !copy_encryption(client, config) ||
        !set_place(client, config)) {
        s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for a client");
        destroy_client(client);
        return NULL;
    }
    snprintf(client->locked.region, sizeof(client->locked.region), "%s", config->region);
    set_connect(client, config);
    set_behaviour(client, config);
    return &client->public;
}

struct s3_client *s3i_client_retain(struct s3_client *client)
{
    atomic_fetch_add_explicit(&private_of(client)->references, 1, memory_order_relaxed);
    return client;
}

struct s3_str s3i_client_bucket(const struct s3_client *client)
{
    return s3i_str_from(((const struct client *)client)->bucket);
}

static void identity_release(struct identity *identity)
{
    if (identity != NULL &&
        atomic_fetch_sub_explicit(&identity->references, 1, memory_order_acq_rel) == 1) {
        s3i_signer_free(identity->signer);
        s3i_v2_signer_free(identity->v2_signer);
        s3i_credentials_release(identity->credentials);
        s3i_buf_clear(&identity->text);
        s3i_free(identity);
    }
}

void s3i_identity_release(struct s3_identity *identity)
{
    identity_release((struct identity *)identity);
}

static void destroy_client(struct client *client)
{
    identity_release(client->locked.identity);
    s3i_credentials_release(client->locked.credentials);
    s3i_trust_release(client->public.connect.trust);
    pthread_mutex_destroy(&client->lock);
    char *texts[] = {client->scheme,    client->host,           client->base_path,
                     client->bucket,    client->service,        client->user_agent,
                     client->proxy_url, client->proxy_excludes, client->default_headers,
                     client->place};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        s3i_free(texts[i]);
    }
    free_encryption(client);
    s3i_free(client);
}

void s3i_client_release(struct s3_client *client)
{
    struct client *private = private_of(client);
    if (client != NULL &&
        atomic_fetch_sub_explicit(&private->references, 1, memory_order_acq_rel) == 1) {
        destroy_client(private);
    }
}

/* ---- identities ---- */

/* The host with "{region}" filled in and a default port left out, as libcurl writes it. */
static void add_host(struct s3_buf *out, const struct client *client, const char *region)
{
    static const char mark[] = "{region}";
    const char *host = client->host;
    const char *place = strstr(host, mark);
    if (place != NULL) {
        s3i_buf_add(out, s3i_str(host, (size_t)(place - host)));
        s3i_buf_add(out, s3i_str_from(region));
        host = place + sizeof(mark) - 1;
    }
    struct s3_str rest = s3i_str_from(host);
    struct s3_str port = strcmp(client->scheme, "https") == 0 ? S3I_STR(":443") : S3I_STR(":80");
    if (rest.size > port.size &&
        s3i_str_equal(s3i_str(rest.data + rest.size - port.size, port.size), port)) {
        rest.size -= port.size;
    }
    s3i_buf_add(out, rest);
}

/* The target's texts one after another in `text`; offsets, because the buffer may move while it
 * grows. */
static bool set_target(struct identity *identity, const struct client *client, const char *region)
{
    struct s3_buf *text = &identity->text;
    s3i_buf_init(text, TEXT_LIMIT);
    s3i_buf_add(text, s3i_str_from(client->scheme));
    s3i_buf_add(text, S3I_STR("://"));
    size_t host = text->size;
    add_host(text, client, region);
    size_t path = text->size;
    s3i_buf_add(text, s3i_str_from(client->base_path));
    if (!client->bucket_in_host) {
        s3i_buf_add_char(text, '/');
        s3i_uri_add_path(text, s3i_str_from(client->bucket));
    }
    size_t bucket = text->size;
    if (client->bucket_in_host) {
        s3i_buf_add_char(text, '/');
        s3i_uri_add_path(text, s3i_str_from(client->bucket));
    }
    size_t area = text->size;
    s3i_buf_add(text, s3i_str_from(region));
    if (!s3i_buf_ok(text)) {
        return false;
    }
    identity->public.target = (struct s3_target){
        .origin = s3i_str(text->data, path),
        .host = s3i_str(text->data + host, path - host),
        .path_prefix = s3i_str(text->data + path, bucket - path),
        .host_bucket = s3i_str(text->data + bucket, area - bucket),
        .region = s3i_str(text->data + area, text->size - area),
    };
    return true;
}

static bool set_signer(struct identity *identity, const struct client *client,
                       struct s3_credentials *credentials, int64_t epoch)
{
    identity->credentials = s3i_credentials_retain(credentials);
    if (client->signature_v2) {
        identity->v2_signer = s3i_v2_signer_new(credentials->key_id, credentials->secret);
        return identity->v2_signer != NULL;
    }
    identity->signer =
        s3i_signer_new(credentials->key_id, credentials->secret, identity->public.target.region,
                       s3i_str_from(client->service), epoch);
    return identity->signer != NULL;
}

static struct identity *make_identity(const struct client *client, const char *region,
                                      struct s3_credentials *credentials, int64_t epoch)
{
    struct identity *identity = s3i_calloc(1, sizeof(*identity));
    if (identity == NULL) {
        return NULL;
    }
    atomic_init(&identity->references, 1);
    if (!set_target(identity, client, region) ||
        (credentials != NULL && !set_signer(identity, client, credentials, epoch))) {
        identity_release(identity);
        return NULL;
    }
    identity->public.credentials = identity->credentials;
    identity->public.signer = identity->signer;
    identity->public.v2_signer = identity->v2_signer;
    return identity;
}

/* NULL where nothing is to be signed, whatever keys there are. */
static struct s3_credentials *signing_locked(const struct client *client)
{
    return client->public.skip_signature ? NULL : client->locked.credentials;
}

static bool identity_holds_locked(const struct client *client, int64_t epoch)
{
    const struct identity *identity = client->locked.identity;
    return identity != NULL && identity->credentials == signing_locked(client) &&
           (identity->signer == NULL || s3i_signer_valid(identity->signer, epoch)) &&
           s3i_str_equal(identity->public.target.region, s3i_str_from(client->locked.region));
}

/* What any client of the bucket was told counts, be it before this one was made. */
static void take_up_lessons_locked(struct client *client)
{
    uint64_t lessons = s3i_regions_lessons();
    if (client->place != NULL && lessons != client->locked.lessons) {
        client->locked.lessons = lessons;
        s3i_regions_find(s3i_str_from(client->place), client->locked.region);
    }
}

static enum s3_identity_state give_identity_locked(struct client *client, int64_t wall_ms,
                                                   struct s3_identity **out, struct s3_error *error)
{
    take_up_lessons_locked(client);
    int64_t epoch = wall_ms / 1000 + atomic_load(&client->public.clock_offset);
    if (!identity_holds_locked(client, epoch)) {
        struct identity *fresh =
            make_identity(client, client->locked.region, signing_locked(client), epoch);
        if (fresh == NULL) {
            s3i_error_set(error, S3EXT_NO_MEMORY, "no memory to sign a request");
            return S3I_IDENTITY_FAILED;
        }
        identity_release(client->locked.identity);
        client->locked.identity = fresh;
    }
    atomic_fetch_add_explicit(&client->locked.identity->references, 1, memory_order_relaxed);
    *out = &client->locked.identity->public;
    return S3I_IDENTITY_READY;
}

static void ask_locked(struct client *client)
{
    if (!client->locked.fetching) {
        client->locked.fetching = true;
        client->locked.fetch++;
        client->locked.asked = false;
    }
    if (!client->locked.asked) {
        client->locked.asked = s3i_desk_ask(client->provider_tag);
    }
}

static bool usable_locked(const struct client *client, int64_t wall_ms)
{
    const struct s3_credentials *credentials = client->locked.credentials;
    return credentials != NULL && !client->locked.refused && credentials->expires_ms > wall_ms;
}

static bool near_expiry_locked(const struct client *client, int64_t wall_ms)
{
    return client->provider_tag != 0 &&
           client->locked.credentials->expires_ms - wall_ms < client->refresh_before_ms &&
           !client->locked.fetching &&
           wall_ms - client->locked.fetched_ms >= client->locked.pause_ms;
}

static enum s3_identity_state wait_locked(struct client *client, uint64_t *ticket,
                                          struct s3_error *error)
{
    if (client->provider_tag == 0) {
        s3i_error_set(
            error, S3EXT_CREDENTIALS,
            client->locked.credentials == NULL
                ? "no credentials are configured (skip_signature=True sends unsigned requests)"
                : "the credentials have expired and no provider can renew them");
        return S3I_IDENTITY_FAILED;
    }
    if (*ticket != 0 && client->locked.failed_fetch >= *ticket) {
        s3i_error_set(error, S3EXT_CREDENTIALS, "%s", client->locked.failure);
        return S3I_IDENTITY_FAILED;
    }
    ask_locked(client);
    if (*ticket == 0) {
        *ticket = client->locked.fetch;
    }
    return S3I_IDENTITY_WAIT;
}

enum s3_identity_state s3i_client_identity(struct s3_client *client, int64_t wall_ms,
                                           uint64_t *ticket, struct s3_identity **identity,
                                           struct s3_error *error)
{
    struct client *private = private_of(client);
    enum s3_identity_state state;
    pthread_mutex_lock(&private->lock);
    if (client->skip_signature) {
        state = give_identity_locked(private, wall_ms, identity, error);
    } else if (usable_locked(private, wall_ms)) {
        if (near_expiry_locked(private, wall_ms)) {
            ask_locked(private);
        }
        state = give_identity_locked(private, wall_ms, identity, error);
    } else {
        state = wait_locked(private, ticket, error);
    }
    pthread_mutex_unlock(&private->lock);
    return state;
}

/* ---- changes ---- */

/* A fetch has ended; `fruitful` when there are keys now that last. */
static void note_fetch_locked(struct client *client, int64_t wall_ms, bool fruitful)
{
    int64_t longer = 2 * client->locked.pause_ms;
    client->locked.fetched_ms = wall_ms;
    client->locked.fetching = false;
    if (fruitful || longer == 0) {
        longer = PAUSE_FIRST_MS;
    }
    client->locked.pause_ms = longer < PAUSE_MOST_MS ? longer : PAUSE_MOST_MS;
}

static void fail_locked(struct client *client, struct s3_str message)
{
    client->locked.failed_fetch = client->locked.fetch;
    s3i_error_text_copy(client->locked.failure, sizeof(client->locked.failure), message);
}

int s3i_client_set_credentials(struct s3_client *client, struct s3_str key_id, struct s3_str secret,
                               struct s3_str token, int64_t expires_ms)
{
    struct client *private = private_of(client);
    struct s3_credentials *fresh = s3i_credentials_new(key_id, secret, token, expires_ms);
    if (fresh == NULL) {
        s3i_client_fail_credentials(client, S3I_STR("no memory for credentials"));
        return S3EXT_NO_MEMORY;
    }
    int64_t wall_ms = s3i_wall_ms();
    pthread_mutex_lock(&private->lock);
    note_fetch_locked(private, wall_ms, expires_ms - wall_ms >= private->refresh_before_ms);
    if (expires_ms <= wall_ms) {
        fail_locked(private, S3I_STR("the provider returned credentials that have expired"));
        s3i_credentials_release(fresh);
    } else {
        s3i_credentials_release(private->locked.credentials);
        private->locked.credentials = fresh;
        private->locked.refused = false;
    }
    pthread_mutex_unlock(&private->lock);
    return S3EXT_OK;
}

void s3i_client_fail_credentials(struct s3_client *client, struct s3_str message)
{
    struct client *private = private_of(client);
    pthread_mutex_lock(&private->lock);
    note_fetch_locked(private, s3i_wall_ms(), false);
    fail_locked(private, message);
    pthread_mutex_unlock(&private->lock);
}

static bool has_newer_locked(const struct client *client, uint64_t credentials_version)
{
    const struct s3_credentials *current = client->locked.credentials;
    return current != NULL && current->version > credentials_version;
}

bool s3i_client_has_newer(struct s3_client *client, uint64_t credentials_version)
{
    struct client *private = private_of(client);
    pthread_mutex_lock(&private->lock);
    bool newer = has_newer_locked(private, credentials_version);
    pthread_mutex_unlock(&private->lock);
    return newer;
}

bool s3i_client_refused(struct s3_client *client, uint64_t credentials_version)
{
    struct client *private = private_of(client);
    pthread_mutex_lock(&private->lock);
    bool newer = has_newer_locked(private, credentials_version);
    bool can_ask = private->provider_tag != 0;
    if (!newer && can_ask) {
        private->locked.refused = true;
    }
    pthread_mutex_unlock(&private->lock);
    return newer || can_ask;
}

bool s3i_client_is_refused(struct s3_client *client)
{
    struct client *private = private_of(client);
    pthread_mutex_lock(&private->lock);
    bool refused = private->locked.refused;
    pthread_mutex_unlock(&private->lock);
    return refused;
}

bool s3i_client_correct_region(struct s3_client *client, struct s3_str region)
{
    struct client *private = private_of(client);
    if (!client->region_may_change || region.size == 0 ||
        region.size >= sizeof(private->locked.region)) {
        return false;
    }
    for (size_t i = 0; i < region.size; i++) {
        char byte = region.data[i];
        /* The name becomes part of a host name: nothing but what region names are made of. */
        if (!((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-')) {
            return false;
        }
    }
    pthread_mutex_lock(&private->lock);
    memcpy(private->locked.region, region.data, region.size);
    private->locked.region[region.size] = '\0';
    pthread_mutex_unlock(&private->lock);
    s3i_regions_learn(s3i_str_from(private->place), region);
    return true;
}
