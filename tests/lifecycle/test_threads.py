"""Crowds of threads on one store."""

from __future__ import annotations

import os

import pytest

from tests.lifecycle import KEY
from tests.lifecycle.process import run
from tests.server import Fault, faults

CROWD = """
import asyncio, threading
failed = []
def guarded(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:
        failed.append(error)
def crowd(count, function):
    threads = [threading.Thread(target=guarded, args=(function, number)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[:3]
"""


# ThreadSanitizer's work for each lock and each memory access grows with the number of threads.
MANY = 200 if os.environ.get("S3EXT_SANITIZE") == "thread" else 1000


@pytest.mark.smoke
def test_a_thousand_threads(server):
    """With 1,024 descriptors, as most systems have it; the limiter holds, and all get their own bytes."""
    run(
        server,
        CROWD
        + f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
threading.stack_size(256 * 1024)
barrier = threading.Barrier({MANY})
def one(number):
    barrier.wait()
    for at in (number, 2 * number):
        assert store.get_range(KEY, start=at, end=at + 1000) == content(at, at + 1000)
crowd({MANY}, one)
assert s3ext.stats()["retries"] == 0
settled()
""",
        limit=60,
    )
    assert server.peak_in_flight <= 64
    assert server.connections_opened <= 80


def test_sync_and_async_and_threads_that_come_and_go(server):
    run(
        server,
        CROWD
        + """
def one(number):
    for _ in range(5):
        if number % 3 == 0:
            asyncio.run(store.head_async(KEY))
        elif number % 3 == 1:
            check(start=number, end=number + 10_000)
        else:
            assert sum(map(len, store.get(KEY).stream(1_000_000))) == SIZE
for _ in range(3):
    crowd(24, one)
settled()
""",
        limit=40,
    )


def test_one_store_made_and_used_by_many_threads_at_once(server):
    """The client, the I/O thread and the queues are made once, whoever comes first."""
    run(
        server,
        CROWD
        + """
crowd(1, lambda _: None)  # the first thread of a process brings ThreadSanitizer's own
before = set(os.listdir("/proc/self/task"))
barrier = threading.Barrier(32)
def one(number):
    barrier.wait()
    if number % 2:
        asyncio.run(store.head_async(KEY))
    else:
        check()
crowd(32, one)
from s3ext import _clients
assert len(_clients._clients) == 1
until(lambda: len(set(os.listdir("/proc/self/task")) - before) == 1)
""",
    )


def test_one_stream_shared_by_threads(server):
    """An error for whoever comes while another reads, the next piece for who does; no byte twice or lost."""
    server.put("large", bytes(1_000_000) * 30)
    for number in range(1200):
        server.put(f"many/{number:04}", b"")
    run(
        server,
        CROWD
        + """
stream = store.get("large").stream(1_000_000)
seen = []
def one(number):
    while True:
        try:
            seen.append(len(next(stream)))
        except ValueError:
            time.sleep(0.001)
        except StopIteration:
            return
crowd(6, one)
assert sum(seen) == 30_000_000
listing, refused, entries = store.list("many", chunk_size=10), [], []
def lister(number):
    while True:
        try:
            entries.extend(next(listing))
        except ValueError as error:
            assert "another thread" in str(error)
            time.sleep(0.001)
        except StopIteration:
            return
crowd(4, lister)
assert len({entry["path"] for entry in entries}) == len(entries) == 1200
async def both():
    stream = (await store.get_async("large")).stream(1_000_000)
    answers = await asyncio.gather(*[anext(stream) for _ in range(40)], return_exceptions=True)
    assert sum(isinstance(answer, bytes) for answer in answers) >= 1
    assert all(isinstance(answer, (bytes, ValueError)) for answer in answers)
    got = sum(len(answer) for answer in answers if isinstance(answer, bytes))
    assert got + sum([len(piece) async for piece in stream]) == 30_000_000
asyncio.run(both())
settled()
""",
    )


def test_results_freed_by_other_threads_than_their_makers(server):
    run(
        server,
        CROWD
        + """
import queue
handed = queue.Queue()
def one(number):
    if number % 2:
        for _ in range(30):
            body = store.get_range(KEY, start=0, end=200_000)
            handed.put((body, store.get(KEY), store.get(KEY).stream(65536)))
    else:
        for _ in range(30):
            body, result, stream = handed.get(timeout=20 * SLOW)
            assert body[:10] == content(0, 10)
            next(stream)
            del body, result, stream
crowd(8, one)
settled()
""",
        limit=40,
    )


def test_an_operation_freed_while_others_wait_for_it(server):
    """Each waits with a handle that lives until it is through, whoever let go of the operation first."""
    server.faults.add(Fault(faults.stall("answer"), key=KEY, times=None))
    run(
        server,
        CROWD
        + """
from s3ext._ffi import NULL
from s3ext._operations import range_operation
from s3ext._wait import Begin, _act_async, _begin_here, _queue_of, _running_loop, _wait_begun, _wait_here
def steps():
    while True:
        yield
def begin():
    return range_operation(store._target(KEY), b"", b"", 0, 1000, NULL, None)
def waited_for(operation):
    def one(number):
        if number == 0:
            time.sleep(0.01)
            operation.release()
        elif number % 2:
            _wait_here(operation)
        else:
            asyncio.run(wait_on_a_loop(operation))
    crowd(5, one)
    until(lambda: not operation.holders)  # the loop may still have to learn of its end
    assert not operation.hold()
async def wait_on_a_loop(operation):
    await _wait_begun(_queue_of(_running_loop()), operation)
async def one_of_a_loop():
    operation = begin()
    loop = _running_loop()
    await _act_async(steps(), Begin(operation), loop, _queue_of(loop))
    await asyncio.to_thread(waited_for, operation)
for _ in range(5):
    operation = begin()
    _begin_here([operation])
    waited_for(operation)
    asyncio.run(one_of_a_loop())
settled()
""",
    )
    server.take_errors()


def test_a_stream_taken_up_after_its_loop(server):
    """What was read ahead on a loop is there as long as that is not known to be closed, then an error."""
    server.put("large", bytes(1_000_000) * 30)
    run(
        server,
        CROWD
        + """
async def first():
    stream = (await store.get_async("large")).stream(1_000_000)
    return stream, len(await anext(stream))
async def rest(stream):
    return sum([len(piece) async for piece in stream])
stream, size = asyncio.run(first())
assert size + sum(map(len, stream)) == 30_000_000
for read in (lambda stream: asyncio.run(rest(stream)), lambda stream: sum(map(len, stream))):
    stream, size = asyncio.run(first())
    asyncio.run(store.head_async(KEY))
    try:
        assert size + read(stream) == 30_000_000
    except s3ext.exceptions.BaseError as error:
        assert "cancelled" in str(error)
del stream
settled()
""",
    )
