"""pure/plan: coalescing, part sizes and parts, against their invariants and a model in Python."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import load

ffi, lib = load(
    "plan",
    ["pure/plan.c"],
    """
    struct s3_range { uint64_t start, end; };
    struct s3_fetch { uint64_t start, end; size_t first_member, members; };
    size_t s3i_plan_coalesce(const struct s3_range *ranges, size_t count, uint64_t gap, size_t *order,
                             struct s3_fetch *fetches);
    uint64_t s3i_plan_read_part(uint64_t size, uint64_t part);
    int s3i_plan_upload_part(uint64_t size, uint64_t wanted, uint64_t *part);
    uint64_t s3i_plan_count(uint64_t size, uint64_t part);
    struct s3_range s3i_plan_part(struct s3_range range, uint64_t part, uint64_t index);
    """,
)

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
TOP = (1 << 64) - 1
INVALID = -1

u64 = st.one_of(
    st.integers(0, 100),
    st.integers(0, TOP),
    st.builds(
        lambda power, off: min(max((1 << power) + off, 0), TOP), st.integers(0, 64), st.integers(-3, 3)
    ),
)


def spans(low=0, high=TOP):
    inner = st.one_of(st.integers(low, min(high, 200)), st.integers(low, high))
    return st.tuples(inner, inner).map(lambda pair: (min(pair), max(pair)))


def coalesce(ranges, gap):
    count = len(ranges)
    order, fetches = ffi.new("size_t[]", count or 1), ffi.new("struct s3_fetch[]", count or 1)
    made = lib.s3i_plan_coalesce(ffi.new("struct s3_range[]", ranges), count, gap, order, fetches)
    return list(order)[:count], [(f.start, f.end, f.first_member, f.members) for f in fetches[0:made]]


def upload_part(size, wanted):
    part = ffi.new("uint64_t *")
    return lib.s3i_plan_upload_part(size, wanted, part), part[0]


def test_no_ranges_make_no_fetches():
    assert coalesce([], 10) == ([], [])


def test_ranges_within_the_gap_merge_and_others_do_not():
    assert coalesce([(0, 10), (20, 30), (41, 50)], 10) == ([0, 1, 2], [(0, 30, 0, 2), (41, 50, 2, 1)])


def test_the_gap_is_inclusive():
    assert len(coalesce([(0, 10), (15, 20)], 5)[1]) == 1
    assert len(coalesce([(0, 10), (15, 20)], 4)[1]) == 2


def test_overlaps_merge_without_a_gap_and_a_contained_range_does_not_shorten():
    assert coalesce([(0, 100), (10, 20), (50, 120)], 0)[1] == [(0, 120, 0, 3)]


def test_equal_starts_keep_the_order_of_their_indices():
    assert coalesce([(5, 6), (0, 1), (5, 9), (5, 7)], 0)[0] == [1, 0, 2, 3]


def test_merging_at_the_end_of_the_number_space_does_not_wrap():
    assert coalesce([(TOP - 1, TOP), (0, 1)], TOP - 3)[1] == [(0, 1, 0, 1), (TOP - 1, TOP, 1, 1)]
    assert coalesce([(TOP - 1, TOP), (0, 1)], TOP)[1] == [(0, TOP, 0, 2)]


@given(st.lists(spans(), max_size=40), u64)
def test_coalescing_covers_every_range_in_order_without_touching_fetches(ranges, gap):
    order, fetches = coalesce(ranges, gap)
    assert order == sorted(range(len(ranges)), key=lambda i: (ranges[i][0], i))
    assert sum(fetch[3] for fetch in fetches) == len(ranges)
    next_member = 0
    for start, end, first, members in fetches:
        assert first == next_member
        next_member += members
        inside = [ranges[i] for i in order[first : first + members]]
        assert (start, end) == (min(r[0] for r in inside), max(r[1] for r in inside))
    for before, after in itertools.pairwise(fetches):
        assert after[0] > before[1]
        assert after[0] - before[1] > gap


@given(st.lists(spans(), min_size=1, max_size=20), u64)
def test_within_a_fetch_no_hole_is_larger_than_the_gap(ranges, gap):
    order, fetches = coalesce(ranges, gap)
    for _, _, first, members in fetches:
        reach = ranges[order[first]][1]
        for index in order[first + 1 : first + members]:
            assert ranges[index][0] - reach <= gap
            reach = max(reach, ranges[index][1])


@given(u64, u64.filter(bool))
def test_a_read_of_up_to_two_parts_is_one_request(size, part):
    assert lib.s3i_plan_read_part(size, part) == (size if size <= 2 * part else part)


@given(u64, u64.filter(bool))
def test_the_number_of_parts_is_the_quotient_rounded_up(size, part):
    assert lib.s3i_plan_count(size, part) == max(1, -(-size // part))


def test_a_part_size_of_zero_is_one_part():
    assert lib.s3i_plan_count(7, 0) == 1
    assert lib.s3i_plan_read_part(7, 0) == 7
    assert lib.s3i_plan_part((3, 10), 0, 0).end == 10


@given(spans(), st.data())
def test_parts_cover_their_range_without_hole_or_overlap(span, data):
    start, end = span
    part = data.draw(st.integers(max(1, (end - start) // 300), TOP))
    count = lib.s3i_plan_count(end - start, part)
    at = start
    for index in range(count):
        piece = lib.s3i_plan_part(span, part, index)
        assert piece.start == at
        assert piece.end - piece.start == min(part, end - at)
        at = piece.end
    assert at == end
    beyond = lib.s3i_plan_part(span, part, data.draw(st.integers(count, TOP)))
    assert (beyond.start, beyond.end) == (end, end)


@given(st.integers(0, 5 * TIB), st.one_of(u64, st.integers(5 * MIB, 64 * MIB)))
def test_an_upload_never_needs_more_than_ten_thousand_parts(size, wanted):
    code, part = upload_part(size, wanted)
    assert code == 0
    assert lib.s3i_plan_count(size, part) <= 10_000
    assert 0 < part <= 5 * GIB
    if part != min(wanted, 5 * GIB):
        assert part > wanted
        assert part % MIB == 0
        assert wanted == 0 or -(-size // wanted) > 10_000
        assert part == MIB or -(-size // (part - MIB)) > 10_000


def test_the_largest_object_fits_and_one_byte_more_is_refused():
    code, part = upload_part(5 * TIB, 8 * MIB)
    assert (code, part) == (0, 525 * MIB)
    assert upload_part(5 * TIB + 1, 8 * MIB)[0] == INVALID
    assert upload_part(TOP, TOP)[0] == INVALID


@pytest.mark.parametrize(
    ("size", "wanted", "part"),
    [
        (0, 8 * MIB, 8 * MIB),
        (0, 0, MIB),
        (1, 5 * MIB + 1, 5 * MIB + 1),
        (10_000 * 8 * MIB, 8 * MIB, 8 * MIB),
        (10_000 * 8 * MIB + 1, 8 * MIB, 9 * MIB),
        (TIB, 6 * GIB, 5 * GIB),
    ],
)
def test_upload_part_sizes(size, wanted, part):
    assert upload_part(size, wanted) == (0, part)
