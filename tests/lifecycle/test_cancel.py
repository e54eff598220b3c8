"""asyncio: cancellation at any point, loops that end with work in flight, loops after and beside loops."""

from __future__ import annotations

import pytest

from tests.lifecycle.process import run
from tests.server import Fault, faults

LOOPS = {"asyncio": "asyncio.new_event_loop", "uvloop": "__import__('uvloop').new_event_loop"}


@pytest.fixture(params=LOOPS)
def loop(request):
    """How to make a loop, of each kind."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    return LOOPS[request.param]


@pytest.mark.smoke
def test_cancellation_at_random_points(server, loop):
    """Thousands, from before the submission to after the answer; others go on, nothing is left."""
    run(
        server,
        f"""
        import asyncio, gc, random
        source = random.Random(1)
        outcomes = {{"done": 0, "cancelled": 0}}
        complaints = []
        async def one(number, delay):
            start = number % 1000
            kind = number % 4
            if kind == 0:
                call = store.get_range_async(KEY, start=start, end=start + 2000)
            elif kind == 1:
                call = store.get_async(KEY, options={{"range": (start, start + 50_000)}})
            elif kind == 2:
                buffer = bytearray(20_000)
                call = store.get_range_async(KEY, start=start, end=start + 20_000, into=buffer)
            else:
                call = store.put_async("new", content(0, 1000))
            task = asyncio.ensure_future(call)
            if delay is None:
                pass
            elif delay == 0:
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                task.cancel()
            else:
                await asyncio.sleep(delay)
                task.cancel()
            try:
                answer = await task
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1
                return
            outcomes["done"] += 1
            if kind == 0:
                assert answer == content(start, start + 2000)
            elif kind == 2:
                assert answer == content(start, start + 20_000)
        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            for batch in range(60):
                await asyncio.gather(*[
                    one(batch * 50 + number, source.choice([None, 0, 0, source.random() * 0.02]))
                    for number in range(50)
                ])
            del batch
            gc.collect()
        with asyncio.Runner(loop_factory={loop}) as runner:
            runner.run(main())
            assert not complaints, complaints
            assert min(outcomes.values()) > 500, outcomes
            settled()
            runner.run(store.head_async(KEY))
        settled()
        """,
        limit=40,
    )
    # A body that was cut off by its sender is not the server's to judge.
    server.take_errors()


def test_a_destination_stays_exported_until_the_core_has_let_go(server, loop):
    """A canary goes in as soon as the buffer can be resized, and stays."""
    server.faults.add(Fault(faults.drip(20_000, 0.001), key="k", times=None))
    run(
        server,
        f"""
        import asyncio
        async def main():
            for round in range(20):
                buffer = bytearray(SIZE)
                task = asyncio.ensure_future(store.get_range_async(KEY, start=0, end=SIZE, into=buffer))
                await asyncio.sleep(0.005 * round)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                del task
                end = time.monotonic() + SLOW
                while True:
                    try:
                        buffer.append(1)
                        break
                    except BufferError:
                        assert time.monotonic() < end, "never released"
                        await asyncio.sleep(0)
                buffer[:] = b"\\xAA" * SIZE
                await asyncio.sleep(0.02)
                assert buffer.count(b"\\xAA") == SIZE
        with asyncio.Runner(loop_factory={loop}) as runner:
            runner.run(main())
        settled()
        """,
    )


def test_cancelled_uploads_are_aborted(server, loop):
    run(
        server,
        f"""
        import asyncio
        data = content(0, 6 * 1024 * 1024)
        async def pieces():
            for _ in range(3):
                yield data
                await asyncio.sleep(0.01)
        async def main():
            for number in range(16):
                source = (data + data, pieces())[number % 2]
                task = asyncio.ensure_future(store.put_async("up", source, chunk_size=5 * 1024 * 1024))
                await asyncio.sleep(0.006 * number)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        with asyncio.Runner(loop_factory={loop}) as runner:
            runner.run(main())
        settled()
        """,
    )
    server.take_errors()
    server.wait_idle(5)
    assert not server.store.uploads
    assert server.store.aborted


def test_a_loop_closed_with_work_in_flight(server, loop):
    """Soon, and the buffers are the caller's again; the store goes on in the next loop."""
    server.put("slow", bytes(1_000_000))
    server.faults.add(Fault(faults.stall(500_000), key="slow", method="GET", times=None))
    run(
        server,
        f"""
        import asyncio, gc
        before = None
        for round in range(6):
            loop = {loop}()
            buffer = bytearray(1_000_000)
            tasks = [
                loop.create_task(store.get_range_async("slow", start=0, end=1_000_000, into=buffer)),
                loop.create_task(store.get_async("slow")),
                loop.create_task(store.put_async("other", content(0, 100_000))),
            ]
            for task in tasks:
                if hasattr(task, "_log_destroy_pending"):
                    task._log_destroy_pending = False
            loop.run_until_complete(asyncio.sleep(0.05))
            begun = time.monotonic()
            loop.close()
            del loop, tasks, task
            gc.collect()
            assert time.monotonic() - begun < SLOW
            buffer.append(1)
            asyncio.run(store.head_async(KEY))
            settled()
            if round == 2:
                before = fd_count()
        assert fd_count() <= before + 2, (before, fd_count())
        """,
    )
    server.take_errors()


def test_loops_beside_loops(server, loop):
    """Four threads with loops of their own, one store."""
    run(
        server,
        f"""
        import asyncio, threading
        failed = []
        async def main(number):
            for round in range(10):
                spans = [(number * 100 + at, number * 100 + at + 5000) for at in range(10)]
                bodies = await asyncio.gather(*[store.get_range_async(KEY, start=s, end=e) for s, e in spans])
                assert all(body == content(*span) for body, span in zip(bodies, spans))
        def work(number):
            try:
                with asyncio.Runner(loop_factory={loop}) as runner:
                    runner.run(main(number))
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed
        settled()
        """,
    )


def test_loops_after_loops(server, loop):
    """Hundreds: each queue and its eventfd go with their loop."""
    run(
        server,
        f"""
        import asyncio, gc
        def eventfds():
            return sum("eventfd" in os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd")
                       if os.path.islink(f"/proc/self/fd/{{fd}}"))
        def once():
            with asyncio.Runner(loop_factory={loop}) as runner:
                runner.run(store.get_range_async(KEY, start=0, end=100))
        for _ in range(20):
            once()
        gc.collect()
        before, ours = fd_count(), eventfds()
        for _ in range(300):
            once()
        gc.collect()
        assert (fd_count(), eventfds()) <= (before + 1, ours + 1), (before, ours, fd_count(), eventfds())
        """,
    )


def test_a_stream_dropped_by_a_cancelled_task(server, loop):
    server.put("large", bytes(1_000_000) * 50)
    run(
        server,
        f"""
        import asyncio, gc
        async def reader():
            async for piece in (await store.get_async("large")).stream(1_000_000):
                await asyncio.sleep(0.002)
        async def main():
            for number in range(10):
                task = asyncio.ensure_future(reader())
                await asyncio.sleep(0.01 * number)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        with asyncio.Runner(loop_factory={loop}) as runner:
            runner.run(main())
        gc.collect()
        settled()
        """,
    )
    server.take_errors()


def test_timeouts_and_task_groups(server, loop):
    server.put("slow", bytes(1000))
    server.faults.add(Fault(faults.stall("answer"), key="slow", times=None))
    run(
        server,
        f"""
        import asyncio
        async def main():
            for _ in range(5):
                try:
                    async with asyncio.timeout(0.05):
                        await store.get_async("slow")
                    raise SystemExit("no timeout")
                except TimeoutError:
                    pass
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(store.get_async("slow"))
                        group.create_task(store.get_async("missing"))
                except* s3ext.exceptions.NotFoundError:
                    pass
            await store.head_async(KEY)
        with asyncio.Runner(loop_factory={loop}) as runner:
            runner.run(main())
        settled()
        """,
    )
