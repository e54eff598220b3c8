"""Memory: the budget of bytes in flight is kept, and who reads slowly or never holds up nobody else."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path

import s3ext
from tests.faults.tools import connect, pattern
from tests.lifecycle import SLOW
from tests.server import Fault, PatternBody, faults

MIB = 1024 * 1024
BUDGET = 1024 * MIB
HALF = BUDGET // 2
"""A part of which two are the whole budget."""


def resident():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def test_two_parts_are_in_flight_at_a_time_where_the_budget_is_two_parts(server):
    """A hundred reads that each want half of the budget: one never goes on, the others take turns."""
    server.put("k", b"data")
    server.put("stuck", b"data")
    fault = server.faults.add(Fault(faults.stall("answer"), key="stuck", times=None))
    store = connect(server, part_size=HALF)
    most = 0

    async def main():
        nonlocal most
        stuck = asyncio.create_task(store.get_range_async("stuck", start=0, end=HALF))
        while not fault.hits:  # noqa: ASYNC110 - the server's thread changes it
            await asyncio.sleep(0.005)
        others = [store.get_range_async("k", start=0, end=HALF) for _ in range(99)]
        tasks = [asyncio.create_task(other) for other in others]
        while not all(task.done() for task in tasks):
            most = max(most, s3ext.stats()["bytes_in_flight"])
            await asyncio.sleep(0)
        assert [bytes(task.result()) for task in tasks] == [b"data"] * 99
        assert not stuck.done()
        fault.release()
        assert await stuck == b"data"

    before = resident()
    asyncio.run(asyncio.wait_for(main(), 30))
    assert server.peak_in_flight == 2
    assert HALF <= most <= BUDGET
    assert resident() - before < 100 * MIB


def test_one_part_larger_than_the_budget_is_let_through_alone(server, way):
    server.put("k", b"data")
    store = connect(server, part_size=2 * BUDGET)
    assert way(store, "get_range", "k", start=0, end=2 * BUDGET) == b"data"


def test_streams_that_nobody_reads_hold_what_they_read_ahead_and_hold_up_nobody(server):
    """A hundred streams: one is never read again, half of them slowly, and other reads go on all the time."""
    size = 12 * MIB
    ahead = 5 * MIB  # four units under way or waiting, and the piece that was handed out
    server.put("large", PatternBody(size))
    server.put("small", pattern(1000))
    store = connect(server, part_size=MIB)
    before, held = resident(), s3ext.stats()["memory_live"]
    streams = [store.get("large").stream(MIB) for _ in range(100)]
    seen = [len(next(stream)) for stream in streams]

    most = [0]
    stop = threading.Event()
    slowest = [0.0]

    def look():
        while not stop.is_set():
            most[0] = max(most[0], resident())
            begun = time.monotonic()
            assert store.get_range("small", start=0, end=1000) == pattern(1000)
            slowest[0] = max(slowest[0], time.monotonic() - begun)
            time.sleep(0.005)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        time.sleep(0.3)
        for number in range(1, 30):
            seen[number] += sum(map(len, streams[number]))
        for _ in range(3):
            for number in range(30, 60):
                seen[number] += len(next(streams[number]))
    finally:
        stop.set()
        watcher.join()
    assert seen[1:30] == [size] * 29
    assert most[0] - before < (100 * ahead + 200 * MIB) * SLOW
    assert slowest[0] < 5 * SLOW
    never = streams[0]
    del streams
    gc.collect()
    assert sum(map(len, never)) + seen[0] == size
    del never
    gc.collect()
    end = time.monotonic() + 5
    while s3ext.stats()["memory_live"] > held:
        assert time.monotonic() < end, s3ext.stats()["memory_live"] - held
        time.sleep(0.01)


def test_ranges_far_out_in_a_huge_object_are_right(server, way):
    """Of 5 TiB, the largest object there is: offsets beyond 32 bits, and the last bytes."""
    body = PatternBody(5 * 2**40)
    server.put("huge", body)
    store = connect(server)
    starts = [2**31 - 5, 2**32 - 5, 2**40 + 1, body.size - 200_000]
    assert [bytes(piece) for piece in way(store, "get_ranges", "huge", starts=starts, lengths=[100] * 4)] == [
        body.read(start, start + 100) for start in starts
    ]
    start = body.size - 300_000
    wanted = body.read(start, body.size)
    assert way(store, "get_range", "huge", start=start, end=body.size + 1000) == wanted
    assert way(way(store, "get", "huge", options={"range": {"suffix": 300_000}}), "bytes") == wanted
    assert way(store, "head", "huge")["size"] == body.size
