"""Nothing piles up: descriptors, memory, and the gauges of stats()."""

from __future__ import annotations

from tests.lifecycle.process import SLOW, run
from tests.server import Fault, faults

MEASURED = """
import asyncio, gc, random
{setup}
def measured(work, rounds, grown_by=1_500_000, idle=1):
    for _ in range(max(rounds // 5, 1)):
        work()
    settled()
    gc.collect()
    fds, memory = fd_count(), rss()
    for _ in range(rounds):
        work()
    settled()
    gc.collect()
    assert fd_count() <= fds + idle, (fds, fd_count())
    assert rss() - memory < grown_by * {slow}, (memory, rss())
{work}
"""


def measure(server, work, setup="", limit=60):
    """Run a script in which `measured(work, rounds)` does something again and again."""
    run(server, MEASURED.format(setup=setup, work=work, slow=1000 if SLOW > 1 else 1), limit=limit)


def test_ten_thousand_small_gets(server):
    measure(
        server,
        """
many = list(range(250))
async def batch():
    for body in await asyncio.gather(*[store.get_range_async(KEY, start=at, end=at + 10) for at in many]):
        assert len(body) == 10
def work():
    runner.run(batch())
    for at in range(30):
        store.get_range(KEY, start=at, end=at + 10)
with asyncio.Runner() as runner:
    measured(work, 30)
assert s3ext.stats()["operations"] > 10_000
""",
    )
    # The limiter's 64, and that of the caller's own.
    assert server.peak_connections <= 66
    assert server.connections_opened < 200


def test_failed_operations(server):
    server.put("broken", bytes(300_000))
    server.faults.add(Fault(faults.cut(1000), key="broken", times=None))
    server.faults.add(Fault(faults.s3_error("AccessDenied"), key="denied", times=None))
    measure(
        server,
        """
def fails(call, *kinds):
    try:
        call()
    except s3ext.exceptions.BaseError:
        return
    raise SystemExit("it did not fail")
async def batch():
    calls = [on.get_async(key) for key in ("missing", "denied") * 20]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, s3ext.exceptions.BaseError) for answer in answers)
def work():
    fails(lambda: on.get("missing"))
    fails(lambda: on.get("denied"))
    fails(lambda: on.get_range("broken", start=0, end=300_000))
    fails(lambda: on.put("denied", b"x" * 1000))
    fails(lambda: on.list("x", offset="y").collect() or on.head("missing"))
    runner.run(batch())
with asyncio.Runner() as runner:
    measured(work, 20)
""",
        setup="on = connect(retry_config={'max_retries': 0})",
    )
    server.take_errors()


def test_cancelled_operations(server):
    measure(
        server,
        """
source = random.Random(3)
async def batch():
    tasks = [asyncio.ensure_future(store.get_range_async(KEY, start=0, end=100_000)) for _ in range(20)]
    await asyncio.sleep(source.random() * 0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # What the core has ended is freed when the loop hears of it.
    del tasks, task
    while any(gauges().values()):
        await asyncio.sleep(0.001)
def work():
    runner.run(batch())
with asyncio.Runner() as runner:
    # Cancelled requests take their connections with them: now more, now fewer of the 20 stay.
    measured(work, 60, 4_000_000, idle=20)
""",
    )
    server.take_errors()


def test_streams_lists_results_and_uploads(server):
    for number in range(1100):
        server.put(f"many/{number:04}", b"")
    server.put("large", bytes(1_000_000) * 20)
    measure(
        server,
        """
def work():
    stream = store.get("large").stream(1_000_000)
    next(stream)
    del stream
    listing = store.list("many")
    next(listing)
    del listing
    kept = store.get(KEY)
    view = memoryview(kept.bytes())[10:20]
    del kept, view
    store.put("up", iter([content(0, 4_000_000)] * 2), chunk_size=5 * 1024 * 1024)
    store.put("small", b"x")
    store.delete(["small", "up"])
# What the pool of slabs keeps for reuse swings by some slabs.
measured(work, 20, 60_000_000)
""",
    )


def test_stores_and_clients_that_come_and_go(server):
    measure(
        server,
        """
def work():
    for number in range(5):
        on = connect(user_agent=f"agent/{random.random()}")
        check(on)
        asyncio.run(on.head_async(KEY))
measured(work, 30, 3_000_000)
""",
    )


def test_results_outlive_everything_and_give_back_their_memory(server):
    run(
        server,
        """
        import asyncio, gc
        kept = [store.get_range(KEY, start=0, end=SIZE) for _ in range(5)]
        kept += asyncio.run(store.get_ranges_async(KEY, starts=[0, 2_000_000], ends=[100_000, 2_100_000]))
        assert s3ext.stats()["memory_live"] > 5 * SIZE
        views = [memoryview(body)[5:10] for body in kept]
        del kept
        gc.collect()
        assert [bytes(view) for view in views[:5]] == [content(5, 10)] * 5
        assert s3ext.stats()["memory_live"] > 5 * SIZE
        del views
        settled()
        assert s3ext.stats()["bytes_in_flight"] == 0
        """,
    )


def test_descriptors_that_have_run_out(server):
    """EMFILE: a clean error or a wait, no crash and no hang; all is well when there are some again."""
    run(
        server,
        """
        import asyncio, resource, threading
        from s3ext.exceptions import BaseError
        from datetime import timedelta
        backoff = {"init_backoff": timedelta(milliseconds=20)}
        on = connect(retry_config={"max_retries": 2, "backoff": backoff})
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        def without(spare, call):
            hog = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (fd_count() + 40, limit[1]))
            try:
                while True:
                    hog.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            for _ in range(spare):
                os.close(hog.pop())
            try:
                return call()
            finally:
                for fd in hog:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        outcomes = []
        def tolerant(call):
            def guarded():
                try:
                    call(connect(retry_config=on.retry_config))
                    outcomes.append("done")
                except (BaseError, MemoryError, OSError) as error:
                    outcomes.append(str(error))
            return guarded
        def crowd(fresh):
            threads = [threading.Thread(target=tolerant(check)) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        pieces = [content(0, 4_000_000)] * 3
        calls = [
            check,
            lambda fresh: asyncio_run(fresh.head_async(KEY)),
            lambda fresh: fresh.put("a", iter(pieces)),
            lambda fresh: asyncio_run(fresh.put_async("a", iter(pieces))),
            lambda fresh: asyncio_run(fresh.put_async("a", pieces[0] * 3)),
            lambda fresh: list(fresh.get(KEY).stream(100_000)),
            lambda fresh: fresh.list().collect(),
            crowd,
        ]
        loop = asyncio.new_event_loop()
        asyncio_run = loop.run_until_complete
        for spare in range(9):
            for call in calls:
                without(spare, tolerant(call))
        assert "done" in outcomes and len(set(outcomes)) > 1, set(outcomes)
        for call in calls:
            call(store)
        loop.close()
        settled()
        """,
        limit=60,
    )
    server.take_errors()
