/*
 * Fork, in every form: pthread_atfork reaches os.fork, multiprocessing and C libraries alike.
 *
 *   prepare: the gate is closed and emptied (at most PARK_MS), then our locks are taken, in layer
 * order parent:  locks released in reverse, gate opened; transfers go on child:   generation + 1;
 * descriptors of the parent's reactors are closed raw (no epoll_ctl, no libcurl or TLS clean-up,
 * which would speak on the parent's connections); locks, pools and hosts start anew
 */
#include "flow/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/error.h"
#include "bytes/memory.h"
#include "flow/admission.h"
#include "flow/counters.h"
#include "flow/gate.h"
#include "flow/reactor.h"
#include "identity/credentials.h"
#include "identity/regions.h"
#include "identity/trust.h"

enum { PARK_MS = 250 };

static atomic_uint generation = 1;
static void (*renew_engine)(void);

uint32_t s3i_process_generation(void)
{
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

static void prepare(void)
{
    s3i_gate_close(PARK_MS);
    s3i_reactors_fork_prepare();
    s3i_admission_fork_prepare();
    s3i_memory_fork_prepare();
    s3i_trust_fork_prepare();
    s3i_regions_fork_prepare();
}

static void in_parent(void)
{
    s3i_regions_fork_done();
    s3i_trust_fork_done();
    s3i_memory_fork_parent();
    s3i_admission_fork_parent();
    s3i_reactors_fork_parent();
    s3i_gate_open();
}

static void in_child(void)
{
    atomic_fetch_add(&generation, 1);
    s3i_regions_fork_done();
    s3i_trust_fork_done();
    s3i_memory_fork_child();
    s3i_admission_fork_child();
    s3i_reactors_fork_child();
    s3i_desk_fork_child();
    atomic_store(&s3i_counters.exchanges_in_flight, 0);
    if (renew_engine != NULL) {
        renew_engine();
    }
    s3i_gate_fork_child();
}

int s3i_process_init(void)
{
    return pthread_atfork(prepare, in_parent, in_child) == 0 ? S3EXT_OK : S3EXT_SYSTEM;
}

void s3i_process_on_child(void (*renew)(void))
{
    renew_engine = renew;
}
