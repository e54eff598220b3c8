/*
 * trust: the certificates that a client believes: the system's, others, or both.
 *
 * Parsed once: a bundle of 140 certificates takes 30 ms, and libcurl would parse one given as text (and,
 * on the direct lane, the system's) for every connection. Clients that believe the same share one; it goes
 * with the last of them, but for the system's alone. OpenSSL lets any number of threads use a store at once.
 */
#ifndef S3I_IDENTITY_TRUST_H
#define S3I_IDENTITY_TRUST_H

#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

struct s3_trust;

/*
 * One reference. `pem` may hold any number of certificates, and other PEM blocks, which are ignored.
 * `bundle`, the path of the system's certificates, is trusted as well unless NULL; OpenSSL's own
 * places stand in for it when it cannot be read. NULL with `error` set.
 */
struct s3_trust *s3i_trust_get(struct s3_str pem, const char *bundle, struct s3_error *error);
void s3i_trust_release(struct s3_trust *trust);

/* Another number for each. */
uint64_t s3i_trust_serial(const struct s3_trust *trust);
/* An X509_STORE of OpenSSL's, borrowed; the system's is parsed now. NULL without memory. */
void *s3i_trust_store(struct s3_trust *trust);

/* Around a fork, in this order; what was parsed stays good in the child. */
void s3i_trust_fork_prepare(void);
void s3i_trust_fork_done(void); /* in the parent and in the child */

#endif
