/*
 * client: endpoint, signing, credential slot, retry and timeouts; one for each distinct
 * configuration.
 *
 * Counted by reference: the Python handle holds one, every operation one. Fields outside `locked`
 * (client.c) never change. What does change, the keys, the region and the day, is bundled into an
 * immutable identity; a request takes a reference on one and is signed with it, whatever happens to
 * the client meanwhile.
 *
 * A region that an answer corrects is remembered for the bucket (regions.h): all clients of it take
 * that one up with their next identity.
 *
 *   slot:  EMPTY --set--> VALID --near expiry: ask the provider, go on using--> VALID
 *                           |--expired, or refused--> EMPTY (ask the provider, requests wait)
 */
#ifndef S3I_IDENTITY_CLIENT_H
#define S3I_IDENTITY_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "identity/connect.h"
#include "identity/credentials.h"
#include "identity/sigv2.h"
#include "identity/sigv4.h"
#include "pure/checksum.h"
#include "pure/retry.h"

struct s3_host; /* flow/admission.h; the client only carries the pointer */

/* Where requests go: made from the configuration and the region. Immutable; part of an identity. */
struct s3_target {
    struct s3_str origin;      /* "https://host[:port]" */
    struct s3_str host;        /* "host[:port]", as the Host header names it */
    struct s3_str path_prefix; /* encoded: "/base/bucket", "/base" or "" in virtual-hosted style */
    struct s3_str host_bucket; /* encoded: "/bucket" in virtual-hosted style, else "" */
    struct s3_str region;
};

/* Keys, target and signing key (in version 4 of one UTC day). Counted; immutable. */
struct s3_identity {
    struct s3_target target;
    const struct s3_credentials *credentials; /* NULL: requests are not signed */
    const struct s3_signer *signer;           /* NULL then, and in version 2 */
    const struct s3_v2_signer *v2_signer;     /* NULL then, and in version 4 */
};

/* Which of a client's encryption headers go with a request; the bits may be joined. */
enum s3_encryption {
    S3I_ENCRYPT_NONE = 0,
    S3I_ENCRYPT_WRITE = 1, /* it makes an object: PUT, CreateMultipartUpload, CopyObject */
    S3I_ENCRYPT_KEY = 2,   /* it touches the bytes of one: GET, HEAD, UploadPart, UploadPartCopy */
    S3I_ENCRYPT_SOURCE = 4 /* it copies from one */
};

struct s3_client {
    struct s3_connect connect;
    struct s3_retry_config retry;
    struct s3_host *host;          /* shared by the clients of one endpoint; set by the engine */
    uint32_t generation;           /* of the process that made it; set by the engine */
    struct s3_str default_headers; /* pair block */
    struct s3_str write_headers;   /* pair blocks of encryption: s3_encryption */
    struct s3_str key_headers;
    struct s3_str source_headers;
    enum s3_checksum checksum; /* of uploads */
    bool region_may_change;
    bool skip_signature;
    bool unsigned_payload;
    bool request_payer;
    bool express_session; /* the token goes into x-amz-s3session-token */
    uint64_t part_size;
    uint32_t window;
    atomic_bool without_ranges;       /* the endpoint answered a range with the whole object */
    atomic_int_fast64_t clock_offset; /* server's clock minus ours, seconds */
};

struct s3ext_client_config; /* s3ext.h */

/* One reference, or NULL with `error` set. */
struct s3_client *s3i_client_new(const struct s3ext_client_config *config, struct s3_error *error);
struct s3_client *s3i_client_retain(struct s3_client *client);
void s3i_client_release(struct s3_client *client);

struct s3_str s3i_client_bucket(const struct s3_client *client);

int s3i_client_set_credentials(struct s3_client *client, struct s3_str key_id, struct s3_str secret,
                               struct s3_str token, int64_t expires_ms);
void s3i_client_fail_credentials(struct s3_client *client, struct s3_str message);

enum s3_identity_state { S3I_IDENTITY_READY, S3I_IDENTITY_WAIT, S3I_IDENTITY_FAILED };

/*
 * An identity to sign with at `wall_ms` (our clock): READY gives a reference. WAIT: keys have been
 * asked for; call again when the engine says that credentials changed, with the same `ticket` (0
 * the first time), which tells this wait's fetch from later ones. FAILED sets `error`.
 */
enum s3_identity_state s3i_client_identity(struct s3_client *client, int64_t wall_ms,
                                           uint64_t *ticket, struct s3_identity **identity,
                                           struct s3_error *error);
void s3i_identity_release(struct s3_identity *identity);

/* Whether newer keys than these are there already. */
bool s3i_client_has_newer(struct s3_client *client, uint64_t credentials_version);

/* The server refused these keys as expired: true when newer ones are there or can be asked for. */
bool s3i_client_refused(struct s3_client *client, uint64_t credentials_version);
/* Whether that is so of the present keys, and no newer ones have come yet. */
bool s3i_client_is_refused(struct s3_client *client);

/* The server named another region: true when later identities will use it. */
bool s3i_client_correct_region(struct s3_client *client, struct s3_str region);

#endif
