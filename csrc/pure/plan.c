/*
 * plan: see plan.h. All sums are written so that they cannot pass 2^64: differences are taken only
 * after a comparison says which side is larger.
 */
#include "pure/plan.h"

#include <stdbool.h>
#include <stdlib.h> /* qsort */

static const uint64_t MIB = (uint64_t)1 << 20;

/* "Amazon S3 multipart upload limits": the largest object, the largest part, and the number of
 * parts. */
static const uint64_t OBJECT_MAX = (uint64_t)5 << 40;
static const uint64_t PART_MAX = (uint64_t)5 << 30;
enum { UPLOAD_PARTS_MAX = 10000 };

/* By start, then by index, which makes the order of equal starts a fixed one. */
static int compare(const void *left, const void *right)
{
    const struct s3_fetch *a = left;
    const struct s3_fetch *b = right;
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return a->first_member < b->first_member ? -1 : a->first_member > b->first_member;
}

/* True when `next` (which starts no earlier) belongs to the fetch that ends at `end`. */
static bool is_near(uint64_t end, uint64_t next, uint64_t gap)
{
    return next <= end || next - end <= gap;
}

size_t s3i_plan_coalesce(const struct s3_range *ranges, size_t count, uint64_t gap, size_t *order,
                         struct s3_fetch *fetches)
{
    if (count == 0) {
        return 0;
    }
    /* Each range is first a fetch of its own that remembers its index; sorted, then merged in
     * place. */
    bool sorted = true;
    for (size_t i = 0; i < count; i++) {
        fetches[i] = (struct s3_fetch){ranges[i].start, ranges[i].end, i, 1};
        sorted = sorted && (i == 0 || ranges[i - 1].start <= ranges[i].start);
    }
    if (!sorted) {
        qsort(fetches, count, sizeof(*fetches), compare);
    }
    size_t last = 0;
    for (size_t i = 0; i < count; i++) {
        struct s3_fetch next = fetches[i];
        struct s3_fetch *current = &fetches[last];
        order[i] = next.first_member;
        if (i > 0 && is_near(current->end, next.start, gap)) {
            current->end = next.end > current->end ? next.end : current->end;
            current->members++;
        } else {
            last = i == 0 ? 0 : last + 1;
            fetches[last] = (struct s3_fetch){next.start, next.end, i, 1};
        }
    }
    return last + 1;
}

uint64_t s3i_plan_read_part(uint64_t size, uint64_t part)
{
    return part == 0 || size <= part || size - part <= part ? size : part;
}

int s3i_plan_upload_part(uint64_t size, uint64_t wanted, uint64_t *part)
{
    if (size > OBJECT_MAX) {
        return S3EXT_INVALID;
    }
    uint64_t least = s3i_plan_count(size, UPLOAD_PARTS_MAX);
    if (wanted < least || wanted == 0) {
        *part = s3i_plan_count(least, MIB) * MIB;
    } else {
        *part = wanted < PART_MAX ? wanted : PART_MAX;
    }
    return S3EXT_OK;
}

uint64_t s3i_plan_count(uint64_t size, uint64_t part)
{
    if (size == 0 || part == 0) {
        return 1;
    }
    return size / part + (size % part != 0);
}

struct s3_range s3i_plan_part(struct s3_range range, uint64_t part, uint64_t index)
{
    uint64_t size = range.end - range.start;
    if (index >= s3i_plan_count(size, part)) {
        return (struct s3_range){range.end, range.end};
    }
    uint64_t start = range.start + index * part;
    bool is_last = part == 0 || range.end - start <= part;
    return (struct s3_range){start, is_last ? range.end : start + part};
}
