#include "identity/trust.h"

#include <limits.h> /* INT_MAX */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/list.h"

struct s3_trust {
    struct s3_list node; /* in the registry */
    size_t references;   /* under its lock */
    uint64_t serial;
    char *pem;
    size_t pem_size;
    char *bundle; /* NULL: the system is not trusted */
    X509_STORE *store; /* under the registry's lock until it is there; never NULL with a `pem` */
};

static struct {
    pthread_mutex_t lock;
    struct {
        struct s3_list trusts;
        uint64_t last_serial;
        bool ready;
    } locked;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool add_pem(X509_STORE *store, struct s3_str pem)
{
    if (pem.size == 0) {
        return true;
    }
    BIO *text = pem.size <= INT_MAX ? BIO_new_mem_buf(pem.data, (int)pem.size) : NULL;
    STACK_OF(X509_INFO) *found = text ? PEM_X509_INFO_read_bio(text, NULL, NULL, NULL) : NULL;
    bool added = found != NULL;
    for (int i = 0; added && i < sk_X509_INFO_num(found); i++) {
        X509 *certificate = sk_X509_INFO_value(found, i)->x509;
        added = certificate == NULL || X509_STORE_add_cert(store, certificate) == 1;
    }
    sk_X509_INFO_pop_free(found, X509_INFO_free);
    BIO_free(text);
    return added;
}

static X509_STORE *make_store(struct s3_str pem, const char *bundle)
{
    X509_STORE *store = X509_STORE_new();
    bool made = store != NULL && add_pem(store, pem);
    if (made && bundle != NULL && X509_STORE_load_file(store, bundle) != 1) {
        made = X509_STORE_set_default_paths(store) == 1;
    }
    /* What went wrong on the way must not be taken for the cause of some later failure. */
    ERR_clear_error();
    if (!made) {
        X509_STORE_free(store);
        return NULL;
    }
    return store;
}

static void destroy(struct s3_trust *trust)
{
    X509_STORE_free(trust->store);
    s3i_free(trust->pem);
    s3i_free(trust->bundle);
    s3i_free(trust);
}

static struct s3_trust *make(struct s3_str pem, const char *bundle, struct s3_error *error)
{
    struct s3_trust *trust = s3i_calloc(1, sizeof(*trust));
    if (trust == NULL) {
        s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for certificates");
        return NULL;
    }
    s3i_list_init(&trust->node);
    trust->references = pem.size == 0 && bundle != NULL ? 2 : 1; /* the system's alone stay for good */
    trust->pem = s3i_strdup(pem);
    trust->pem_size = pem.size;
    trust->bundle = bundle ? s3i_strdup(s3i_str_from(bundle)) : NULL;
    if (trust->pem == NULL || (bundle != NULL && trust->bundle == NULL)) {
        s3i_error_set(error, S3EXT_NO_MEMORY, "no memory for certificates");
        destroy(trust);
        return NULL;
    }
    /* The system's alone need not be checked, and cost 30 ms: whoever never uses TLS never parses them. */
    trust->store = pem.size ? make_store(pem, bundle) : NULL;
    if (pem.size && trust->store == NULL) {
        s3i_error_set(error, S3EXT_INVALID, "OpenSSL does not take the certificates to trust");
        destroy(trust);
        return NULL;
    }
    return trust;
}

static bool equals(const struct s3_trust *trust, struct s3_str pem, const char *bundle)
{
    bool same_bundle = bundle == NULL || trust->bundle == NULL ? bundle == trust->bundle
                                                               : strcmp(trust->bundle, bundle) == 0;
    return same_bundle && s3i_str_equal(s3i_str(trust->pem, trust->pem_size), pem);
}

static struct s3_trust *find_locked(struct s3_str pem, const char *bundle)
{
    if (!registry.locked.ready) {
        s3i_list_init(&registry.locked.trusts);
        registry.locked.ready = true;
    }
    S3I_LIST_EACH(node, &registry.locked.trusts)
    {
        struct s3_trust *trust = S3I_OWNER(node, struct s3_trust, node);
        if (equals(trust, pem, bundle)) {
            return trust;
        }
    }
    return NULL;
}

struct s3_trust *s3i_trust_get(struct s3_str pem, const char *bundle, struct s3_error *error)
{
    pthread_mutex_lock(&registry.lock);
    struct s3_trust *trust = find_locked(pem, bundle);
    if (trust != NULL) {
        trust->references++;
    } else if ((trust = make(pem, bundle, error)) != NULL) {
        trust->serial = ++registry.locked.last_serial;
        s3i_list_append(&registry.locked.trusts, &trust->node);
    }
    pthread_mutex_unlock(&registry.lock);
    return trust;
}

void s3i_trust_release(struct s3_trust *trust)
{
    if (trust == NULL) {
        return;
    }
    pthread_mutex_lock(&registry.lock);
    bool last = --trust->references == 0;
    if (last) {
        s3i_list_remove(&trust->node);
    }
    pthread_mutex_unlock(&registry.lock);
    if (last) {
        destroy(trust);
    }
}

uint64_t s3i_trust_serial(const struct s3_trust *trust)
{
    return trust->serial;
}

void *s3i_trust_store(struct s3_trust *trust)
{
    pthread_mutex_lock(&registry.lock);
    if (trust->store == NULL) {
        trust->store = make_store(S3I_STR_NONE, trust->bundle);
    }
    X509_STORE *store = trust->store;
    pthread_mutex_unlock(&registry.lock);
    return store;
}

void s3i_trust_fork_prepare(void)
{
    pthread_mutex_lock(&registry.lock);
}

void s3i_trust_fork_done(void)
{
    pthread_mutex_unlock(&registry.lock);
}
