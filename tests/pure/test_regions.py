"""What is remembered of buckets' regions: found again, replaced, bounded, whole under threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

from tests.pure.native import BASE_CDEF, Native, load

__all__: list[str] = []

_CDEF = (
    BASE_CDEF
    + """
uint64_t s3i_regions_lessons(void);
bool s3i_regions_find(struct s3_str place, char *region);
void s3i_regions_learn(struct s3_str place, struct s3_str region);
void s3i_regions_fork_prepare(void);
void s3i_regions_fork_done(void);
"""
)
ffi, lib = load("regions", ["identity/regions.c"], _CDEF)
native = Native(ffi, lib)
names = count(1)
ENTRIES = 512


def place() -> bytes:
    """Return one that no test has named yet: the memory is the process's."""
    return f"s3.{{region}}.amazonaws.com/bucket-{next(names)}".encode()


def learn(name: bytes, region: bytes) -> None:
    lib.s3i_regions_learn(native.text(name), native.text(region))


def find(name: bytes) -> bytes | None:
    region = ffi.new("char[64]", b"as it was")
    if lib.s3i_regions_find(native.text(name), region):
        return ffi.string(region)
    assert ffi.string(region) == b"as it was"
    return None


def test_what_was_learnt_is_found_and_replaced() -> None:
    name, other = place(), place()
    assert find(name) is None
    learn(name, b"eu-west-1")
    assert (find(name), find(other)) == (b"eu-west-1", None)
    learn(name, b"us-west-2")
    assert find(name) == b"us-west-2"
    assert find(name[:-1]) is None


def test_lessons_are_counted_where_they_are_news() -> None:
    name = place()
    before = lib.s3i_regions_lessons()
    for region in (b"a", b"a", b"b", b"b", b"a"):
        learn(name, region)
    assert lib.s3i_regions_lessons() == before + 3


def test_the_oldest_makes_room() -> None:
    everything = [place() for _ in range(3 * ENTRIES + 7)]
    for name in everything:
        learn(name, name[-20:])
    found = [find(name) for name in everything]
    assert found[:-ENTRIES] == [None] * (len(everything) - ENTRIES)
    assert found[-ENTRIES:] == [name[-20:] for name in everything[-ENTRIES:]]


def test_what_is_too_long_is_not_remembered() -> None:
    longest = place().ljust(320, b"x")
    learn(longest, b"r" * 63)
    assert find(longest) == b"r" * 63
    for name, region in ((longest + b"x", b"r"), (place(), b"r" * 64)):
        before = lib.s3i_regions_lessons()
        learn(name, region)
        assert find(name) is None
        assert lib.s3i_regions_lessons() == before


def test_threads_see_whole_regions() -> None:
    mine = [place() for _ in range(4)]
    regions = [b"a" * 63, b"b" * 40, b"c"]

    def work(number: int) -> bool:
        name = mine[number % 4]
        learn(name, regions[number % 3])
        return find(name) in regions

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(4000)))


def test_a_fork_waits_for_who_is_inside() -> None:
    lib.s3i_regions_fork_prepare()
    lib.s3i_regions_fork_done()
    name = place()
    learn(name, b"after")
    assert find(name) == b"after"
