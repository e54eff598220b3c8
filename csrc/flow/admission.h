/*
 * admission: the only valve. An exchange starts when it holds a slot of its host's limiter and, if
 * it needs memory of ours, its share of the engine's budget of bytes in flight; nothing is paused
 * later.
 *
 * Tickets wait first come, first served for each host. When a slot comes free, the ticket gets it
 * at once and its post goes to the inbox of the reactor that waits; an owner that no longer wants
 * it gives it back. At least one exchange is always admitted, however large: the budget cannot
 * dead-lock.
 */
#ifndef S3I_FLOW_ADMISSION_H
#define S3I_FLOW_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/str.h"
#include "flow/inbox.h"
#include "pure/retry.h"

struct s3_host;

enum s3_ticket_state { S3I_TICKET_IDLE, S3I_TICKET_WAITING, S3I_TICKET_HELD };

/* Embedded in a request; used by its reactor's thread, changed to HELD by any. */
struct s3_ticket {
    struct s3_list node;
    struct s3_host *host;
    struct s3_inbox *inbox;
    struct s3_post granted; /* runs on the reactor when a waiting ticket was given its slot */
    uint64_t bytes;
    enum s3_ticket_state state; /* under the lock of admission while WAITING */
};

/* The record of "scheme://host:port", made at first use and kept; the latest `concurrency` counts.
 */
struct s3_host *s3i_admission_host(struct s3_str origin, uint32_t concurrency);

void s3i_ticket_init(struct s3_ticket *ticket, void (*granted)(struct s3_post *post));
/* true: held now. false: it waits, and `granted` will be posted to `inbox`. */
bool s3i_admission_take(struct s3_ticket *ticket, struct s3_host *host, uint64_t bytes,
                        struct s3_inbox *inbox);
/* A held ticket turns out to need fewer bytes. */
void s3i_admission_shrink(struct s3_ticket *ticket, uint64_t bytes);
/* Ends a ticket in any state. */
void s3i_admission_give(struct s3_ticket *ticket);

/* What the host's answers teach. */
void s3i_admission_success(struct s3_host *host, int32_t retry_tokens);
void s3i_admission_throttled(struct s3_host *host);
/* Tokens for a retry, 0 for a class that takes none; -1: the budget is used up. */
int32_t s3i_admission_retry(struct s3_host *host, enum s3_retry_class class);

uint64_t s3i_admission_bytes(void);

/* The lock is held over a fork; the child starts with no hosts and no tickets. */
void s3i_admission_fork_prepare(void);
void s3i_admission_fork_parent(void);
void s3i_admission_fork_child(void);

#endif
