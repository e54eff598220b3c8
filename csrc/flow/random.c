#include "flow/random.h"

#include <stdint.h>
#include <sys/random.h>
#include <unistd.h> /* getpid: a forked child must not repeat its parent's waits */

#include "base/time.h"

/* SplitMix64 (Steele, Lea, Flood, 2014): one word of state, good enough for spreading retries. */
double s3i_random_uniform(void)
{
    static _Thread_local uint64_t state;
    static _Thread_local pid_t owner;
    if (owner != getpid()) {
        owner = getpid();
        if (getrandom(&state, sizeof(state), GRND_NONBLOCK) != (ssize_t)sizeof(state)) {
            state = (uint64_t)s3i_now_ms() ^ ((uint64_t)owner << 32);
        }
    }
    state += 0x9E3779B97F4A7C15u;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    mixed ^= mixed >> 31;
    return (double)(mixed >> 11) / 9007199254740992.0; /* 2^53 */
}
