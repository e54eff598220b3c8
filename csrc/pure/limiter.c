/*
 * limiter: see limiter.h. in_flight may stay above the limit for a while after a cut: the exchanges
 * that run are left alone, and no new one starts until enough of them have ended.
 */
#include "pure/limiter.h"

#include <assert.h>

enum {
    CUT_TENTHS = 7,         /* a throttle leaves 7/10 of the limit */
    CUT_INTERVAL_MS = 1000, /* throttles of one burst count as one */
    FREEZE_MS = 3000,
    FREEZE_SPREAD_MS = 2000
};

void s3i_limiter_init(struct s3_limiter *limiter, uint32_t ceiling)
{
    uint32_t limit = ceiling ? ceiling : 1;
    *limiter = (struct s3_limiter){
        .ceiling = limit, .limit = limit, .cut_at_ms = INT64_MIN, .frozen_until_ms = INT64_MIN};
}

void s3i_limiter_set_ceiling(struct s3_limiter *limiter, uint32_t ceiling)
{
    limiter->ceiling = ceiling ? ceiling : 1;
    if (!limiter->is_cut || limiter->limit > limiter->ceiling) {
        limiter->limit = limiter->ceiling;
    }
}

bool s3i_limiter_take(struct s3_limiter *limiter)
{
    if (limiter->in_flight >= limiter->limit) {
        return false;
    }
    limiter->in_flight++;
    return true;
}

void s3i_limiter_give(struct s3_limiter *limiter)
{
    assert(limiter->in_flight > 0);
    limiter->in_flight--;
}

void s3i_limiter_success(struct s3_limiter *limiter, int64_t now_ms)
{
    if (limiter->limit >= limiter->ceiling || now_ms < limiter->frozen_until_ms) {
        return;
    }
    limiter->successes++;
    if (limiter->successes >= limiter->limit) {
        limiter->successes = 0;
        limiter->limit++;
        limiter->is_cut = limiter->limit < limiter->ceiling;
    }
}

void s3i_limiter_throttled(struct s3_limiter *limiter, int64_t now_ms, double uniform)
{
    if (now_ms < limiter->cut_at_ms + CUT_INTERVAL_MS) {
        return;
    }
    uint32_t cut = (uint32_t)((uint64_t)limiter->limit * CUT_TENTHS / 10);
    limiter->limit = cut ? cut : 1;
    limiter->is_cut = true;
    limiter->successes = 0;
    limiter->cut_at_ms = now_ms;
    limiter->frozen_until_ms = now_ms + FREEZE_MS + (int64_t)(uniform * FREEZE_SPREAD_MS);
}
