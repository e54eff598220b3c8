"""pure/limiter: single steps, and a server in trouble simulated under a virtual clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import load

ffi, lib = load(
    "limiter",
    ["pure/limiter.c"],
    """
    struct s3_limiter {
        uint32_t ceiling, limit, in_flight, successes;
        int64_t cut_at_ms, frozen_until_ms;
        bool is_cut;
    };
    void s3i_limiter_init(struct s3_limiter *limiter, uint32_t ceiling);
    bool s3i_limiter_take(struct s3_limiter *limiter);
    void s3i_limiter_give(struct s3_limiter *limiter);
    void s3i_limiter_set_ceiling(struct s3_limiter *limiter, uint32_t ceiling);
    void s3i_limiter_success(struct s3_limiter *limiter, int64_t now_ms);
    void s3i_limiter_throttled(struct s3_limiter *limiter, int64_t now_ms, double uniform);
    """,
)


def new(ceiling):
    limiter = ffi.new("struct s3_limiter *")
    lib.s3i_limiter_init(limiter, ceiling)
    return limiter


def test_it_starts_at_the_ceiling_and_never_hands_out_more():
    limiter = new(3)
    assert [lib.s3i_limiter_take(limiter) for _ in range(5)] == [True, True, True, False, False]
    lib.s3i_limiter_give(limiter)
    assert lib.s3i_limiter_take(limiter)
    assert limiter.in_flight == 3


def test_a_ceiling_of_zero_still_lets_one_through():
    limiter = new(0)
    assert lib.s3i_limiter_take(limiter)
    assert not lib.s3i_limiter_take(limiter)


def test_a_throttle_cuts_to_seven_tenths_at_most_once_a_second():
    limiter = new(100)
    lib.s3i_limiter_throttled(limiter, 5_000, 0.0)
    assert limiter.limit == 70
    lib.s3i_limiter_throttled(limiter, 5_999, 0.0)
    assert limiter.limit == 70
    lib.s3i_limiter_throttled(limiter, 6_000, 0.0)
    assert limiter.limit == 49


@pytest.mark.parametrize(("uniform", "frozen"), [(0.0, 3_000), (0.5, 4_000), (0.999999, 4_999)])
def test_a_cut_freezes_the_growth_for_three_to_five_seconds(uniform, frozen):
    limiter = new(10)
    lib.s3i_limiter_throttled(limiter, 1_000, uniform)
    assert limiter.frozen_until_ms == 1_000 + frozen
    for _ in range(100):
        lib.s3i_limiter_success(limiter, 1_000 + frozen - 1)
    assert limiter.limit == 7
    for _ in range(7):
        lib.s3i_limiter_success(limiter, 1_000 + frozen)
    assert limiter.limit == 8


def test_successes_before_a_cut_do_not_count_towards_the_next_rise():
    limiter = new(10)
    lib.s3i_limiter_throttled(limiter, 0, 0.0)
    for _ in range(6):
        lib.s3i_limiter_success(limiter, 3_000)
    lib.s3i_limiter_throttled(limiter, 4_000, 0.0)
    assert limiter.limit == 4
    for _ in range(3):
        lib.s3i_limiter_success(limiter, 7_000)
    assert limiter.limit == 4
    lib.s3i_limiter_success(limiter, 7_000)
    assert limiter.limit == 5


def test_the_limit_never_falls_below_one_nor_rises_above_the_ceiling():
    limiter = new(4)
    for second in range(50):
        lib.s3i_limiter_throttled(limiter, second * 1_000, 0.0)
    assert limiter.limit == 1
    for _ in range(1_000):
        lib.s3i_limiter_success(limiter, 1_000_000)
    assert limiter.limit == 4


def test_a_limit_that_was_not_cut_follows_the_ceiling():
    limiter = new(10)
    assert lib.s3i_limiter_take(limiter)
    for ceiling in (20, 3, 7, 0):
        lib.s3i_limiter_set_ceiling(limiter, ceiling)
        assert (limiter.ceiling, limiter.limit, limiter.in_flight) == (max(1, ceiling), max(1, ceiling), 1)


def test_a_cut_outlasts_another_ceiling_and_the_limit_grows_to_it_step_by_step():
    limiter = new(10)
    lib.s3i_limiter_throttled(limiter, 1_000, 0.0)
    lib.s3i_limiter_set_ceiling(limiter, 20)
    assert (limiter.ceiling, limiter.limit, limiter.frozen_until_ms) == (20, 7, 4_000)
    lib.s3i_limiter_set_ceiling(limiter, 5)
    assert limiter.limit == 5
    lib.s3i_limiter_set_ceiling(limiter, 9)
    assert limiter.limit == 5
    for _ in range(5):
        lib.s3i_limiter_success(limiter, 4_000)
    assert limiter.limit == 6
    for _ in range(100):
        lib.s3i_limiter_success(limiter, 4_000)
    assert limiter.limit == 9
    lib.s3i_limiter_set_ceiling(limiter, 20)
    assert limiter.limit == 20


def test_the_largest_ceiling_is_cut_without_overflow():
    limiter = new(2**32 - 1)
    lib.s3i_limiter_throttled(limiter, 0, 0.0)
    assert limiter.limit == (2**32 - 1) * 7 // 10


def test_exchanges_in_flight_outlive_a_cut_and_block_new_ones():
    limiter = new(10)
    for _ in range(10):
        assert lib.s3i_limiter_take(limiter)
    lib.s3i_limiter_throttled(limiter, 0, 0.0)
    for _ in range(3):
        lib.s3i_limiter_give(limiter)
        assert not lib.s3i_limiter_take(limiter)
    lib.s3i_limiter_give(limiter)
    assert lib.s3i_limiter_take(limiter)


steps = st.lists(
    st.tuples(st.sampled_from(["take", "give", "success", "throttled", "ceiling"]), st.integers(0, 3_000)),
    max_size=200,
)


@given(st.integers(1, 50), steps, st.floats(0, 1, exclude_max=True))
def test_under_any_history_the_limit_and_the_count_stay_within_bounds(ceiling, history, uniform):
    limiter, now, taken = new(ceiling), 0, 0
    for step, wait in history:
        now += wait
        before = limiter.limit
        if step == "take":
            taken += lib.s3i_limiter_take(limiter)
            assert limiter.limit == before
        elif step == "give" and taken:
            lib.s3i_limiter_give(limiter)
            taken -= 1
        elif step == "success":
            lib.s3i_limiter_success(limiter, now)
            assert before <= limiter.limit <= before + 1
        elif step == "throttled":
            lib.s3i_limiter_throttled(limiter, now, uniform)
            assert limiter.limit in {before, max(1, before * 7 // 10)}
        elif step == "ceiling":
            ceiling = wait % 50 + 1
            lib.s3i_limiter_set_ceiling(limiter, ceiling)
            assert limiter.limit == ceiling or (limiter.is_cut and limiter.limit == before)
        assert limiter.in_flight == taken
        assert 1 <= limiter.limit <= ceiling


def simulate(seconds, capacity_at, seed):
    """Run a client of 128 slots against a server that refuses what goes beyond its capacity per 100 ms."""
    limiter, chance = new(128), random.Random(seed)
    limits, useful, refused = [], 0, 0
    for tick in range(seconds * 10):
        now = tick * 100
        running = 0
        while lib.s3i_limiter_take(limiter):
            running += 1
        for number in range(running):
            if number < capacity_at(now):
                lib.s3i_limiter_success(limiter, now)
                useful += 1
            else:
                lib.s3i_limiter_throttled(limiter, now, chance.random())
                refused += 1
        for _ in range(running):
            lib.s3i_limiter_give(limiter)
        limits.append(limiter.limit)
    return limits, useful, refused


@pytest.mark.parametrize("seed", range(5))
def test_in_a_storm_the_limit_falls_to_what_the_server_bears_and_recovers_after(seed):
    limits, useful, refused = simulate(120, lambda now: 10 if 10_000 <= now < 40_000 else 1_000, seed)
    assert set(limits[:100]) == {128}
    assert min(limits[150:400]) <= 16
    assert max(limits[200:400]) <= 60
    assert limits[-1] == 128
    assert refused < useful / 2
