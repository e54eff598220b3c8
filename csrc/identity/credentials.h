/*
 * credentials: keys as immutable, counted, versioned records, and the desk where new ones are asked
 * for.
 *
 * The desk is how C asks Python: whoever needs keys puts the client's tag on it; a Python thread
 * takes tags off, calls the user's provider and answers through the client's slot. C never calls
 * Python.
 */
#ifndef S3I_IDENTITY_CREDENTIALS_H
#define S3I_IDENTITY_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct s3_credentials {
    uint64_t version;   /* rises with every set of keys of a process */
    int64_t expires_ms; /* epoch milliseconds; INT64_MAX: never */
    struct s3_str key_id, secret, token;
};

/* One reference; copies the strings. NULL without memory. */
struct s3_credentials *s3i_credentials_new(struct s3_str key_id, struct s3_str secret,
                                           struct s3_str token, int64_t expires_ms);
struct s3_credentials *s3i_credentials_retain(struct s3_credentials *credentials);
/* Cleanses the memory with the last reference. NULL is allowed. */
void s3i_credentials_release(struct s3_credentials *credentials);

/* Puts a tag on the desk; a tag that is there already stays there once. false: the desk is full. */
bool s3i_desk_ask(uint64_t tag);
/* Takes a tag off, waiting up to `timeout_ms`; 0 when there is none. */
uint64_t s3i_desk_take(int timeout_ms);
/* Ends all waits, now and later. */
void s3i_desk_close(void);
/* In a fork child: an empty, open desk. */
void s3i_desk_fork_child(void);

#endif
