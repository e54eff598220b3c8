/*
 * payload: what has to be known of a request's body before it is sent: the SHA-256 that its
 * signature covers, and the checksum that goes with it.
 *
 * Both come from one pass, and a SHA-256 that is wanted for both is computed once. A body may have
 * gigabytes, and whoever drives a reactor is inside the gate while it works. So it is hashed in
 * steps, between which the reactor goes on turning: a fork, a Ctrl-C, the end of the process and
 * the other requests wait for one step only.
 */
#ifndef S3I_FLOW_PAYLOAD_H
#define S3I_FLOW_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "pure/checksum.h"
#include "pure/hash.h"

enum {
    S3I_PAYLOAD_STEP = 8 << 20
}; /* bytes of one turn: some 5 ms, 30 ms without SHA extensions */

struct s3_payload_wants {
    bool sha256;
    enum s3_checksum checksum;
};

/* All zero: nothing is known. Used by the thread of its request's reactor. */
struct s3_payload {
    struct s3_hash *sha256, *sha1; /* while they are under way */
    size_t done;                   /* bytes of the body hashed so far */
    bool known;
    char hex[2 * S3I_SHA256_SIZE + 1]; /* of the SHA-256, if it was wanted */
    char checksum[S3I_CHECKSUM_TEXT];  /* if it was wanted */
    uint64_t crc;                      /* the same as a number, of a CRC */
};

/* Goes on by at most *budget bytes, and takes them from it; a small body is hashed whatever the
 * budget. The wants must be the same each time. An s3_code. */
int s3i_payload_step(struct s3_payload *payload, const struct s3_payload_wants *wants,
                     struct s3_str body, size_t *budget);

/* Nothing is known any more. */
void s3i_payload_clear(struct s3_payload *payload);

#endif
