"""Forks in every form: before any use, after use, amid transfers; children that work, or just end."""

from __future__ import annotations

import pytest

from tests.lifecycle.process import Script, run
from tests.server import Fault, PatternBody, faults

pytestmark = pytest.mark.fork

ENDINGS = ["os._exit", "sys.exit", "exception"]


@pytest.fixture(params=["plain", "tls"])
def any_server(request):
    """Http in one run of the test, https in the other."""
    return request.getfixturevalue("server" if request.param == "plain" else "tls_server")


USES = {
    "unused": "pass",
    "after-sync": "check()",
    "after-async": "asyncio.run(store.head_async(KEY))",
    "after-both": "check(); asyncio.run(store.head_async(KEY))",
}


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("use", "ending"),
    [*((use, "sys.exit") for use in USES), ("after-both", "os._exit"), ("after-both", "exception")],
)
def test_a_child_works_as_its_parent_does(any_server, use, ending):
    run(
        any_server,
        f"""
        import asyncio
        async def later():
            assert await store.get_range_async(KEY, start=7, end=70_007) == content(7, 70_007)
        def work():
            check()
            asyncio.run(later())
            check()
        {USES[use]}
        wait = fork(work, {ending!r})
        work()
        wait()
        """,
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_idle_child_leaves_the_connections_of_its_parent_alone(any_server, ending):
    """It drops all that it inherited, and the parent's next requests go over the same connections."""
    run(
        any_server,
        f"""
        import asyncio, gc
        check()
        result, data = store.get(KEY), store.get_range(KEY, start=0, end=1_000_000)
        stream = store.get(KEY).stream(1024 * 1024)
        next(stream)
        listing = store.list()
        next(listing)
        with asyncio.Runner() as runner:
            runner.run(store.head_async(KEY))
            until(lambda: not gauges()["exchanges_in_flight"])
            before = s3ext.stats()["connections_opened"]
            def work():
                global result, data, stream, listing, runner
                assert data == content(0, 1_000_000)
                result = data = stream = listing = runner = None
                gc.collect()
            fork(work, {ending!r})()
            check()
            assert data == content(0, 1_000_000)
            runner.run(store.head_async(KEY))
            assert result.bytes() == content()
            assert s3ext.stats()["connections_opened"] == before
        """,
    )
    any_server.wait_idle(5)
    assert all(request.finished for request in any_server.requests)


AMID = [("server", mode, ending) for mode in ("threads", "io-thread") for ending in ENDINGS]
# TLS is slow in the tests' server; here the child that runs the clean-up of libraries matters most.
AMID += [("tls_server", "threads", "sys.exit"), ("tls_server", "io-thread", "sys.exit")]


@pytest.mark.parametrize(("kind", "mode", "ending"), AMID)
def test_fork_amid_64_transfers(request, kind, mode, ending):
    """All stand half-way when the child is made; it makes 64 more. All bytes right, nothing tried twice."""
    server = request.getfixturevalue(kind)
    fault = server.faults.add(Fault(faults.stall(500_000), times=64))
    body = f"""
        import asyncio, threading
        store = connect(connect_timeout="60s")
        wrong = []
        def one(number):
            start = number * 1000
            if store.get_range(KEY, start=start, end=start + 1_000_000) != content(start, start + 1_000_000):
                wrong.append(number)
        async def many():
            spans = [(number * 1000, number * 1000 + 1_000_000) for number in range(64)]
            bodies = await asyncio.gather(*[store.get_range_async(KEY, start=s, end=e) for s, e in spans])
            wrong.extend(span for span, body in zip(spans, bodies) if body != content(*span))
        def crowd():
            if {mode!r} == "threads":
                threads = [threading.Thread(target=one, args=(number,)) for number in range(64)]
            else:
                threads = [threading.Thread(target=lambda: asyncio.run(many()))]
            for thread in threads:
                thread.start()
            return threads
        def work():
            for thread in crowd():
                thread.join()
            assert not wrong
        threads = crowd()
        until(lambda: s3ext.stats()["bytes_received"] >= 64 * 450_000, 30)
        wait = fork(work, {ending!r})
        print("forked", flush=True)
        for thread in threads:
            thread.join()
        assert not wrong
        assert s3ext.stats()["retries"] == 0
        wait()
        settled()
        """
    with Script(server, body, limit=40) as script:
        assert script.line() == "forked"
        fault.release()
        script.end()
    server.wait_idle(5)
    assert all(request.finished for request in server.requests)


def test_many_forks_during_transfers(any_server):
    """Twenty children one after another, each ending at once: the parent's streams go on as if alone."""
    run(
        any_server,
        """
        import asyncio, threading
        ended = []
        def reader():
            for _ in range(6):
                assert store.get_range(KEY, start=0, end=SIZE) == content()
                assert b"".join(store.get(KEY).stream(100_000)) == content()
            ended.append("sync")
        async def coroutine():
            for _ in range(6):
                assert await store.get_range_async(KEY, start=0, end=SIZE) == content()
            ended.append("async")
        threads = [threading.Thread(target=reader) for _ in range(2)]
        threads.append(threading.Thread(target=lambda: asyncio.run(coroutine())))
        for thread in threads:
            thread.start()
        for number in range(20):
            fork(lambda: None, ["os._exit", "sys.exit"][number % 2])()
        for thread in threads:
            thread.join()
        assert sorted(ended) == ["async", "sync", "sync"]
        assert s3ext.stats()["retries"] == 0
        settled()
        """,
        limit=40,
    )


def test_a_fork_from_a_thread_that_is_not_the_main_one(server):
    run(
        server,
        """
        import asyncio, threading
        check()
        asyncio.run(store.head_async(KEY))
        def work():
            check()
            asyncio.run(store.head_async(KEY))
        waits = []
        threads = [threading.Thread(target=lambda: waits.append(fork(work))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for wait in waits:
            wait()
        assert len(waits) == 4
        check()
        """,
    )


def test_children_of_children(any_server):
    run(
        any_server,
        """
        import asyncio
        def work(depth):
            check()
            asyncio.run(store.head_async(KEY))
            if depth:
                fork(lambda: work(depth - 1), ["os._exit", "sys.exit"][depth % 2])()
                check()
        work(4)
        """,
    )


def test_descriptors_do_not_pile_up_from_child_to_child(server):
    """A child keeps none of its parent's; what libcurl has for itself is bounded by a few a reactor."""
    run(
        server,
        """
        import asyncio, stat
        def kinds():
            found = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                     if os.path.exists(f"/proc/self/fd/{fd}")]
            return sum("eventfd" in name or "eventpoll" in name for name in found)
        def work(depth):
            # Of our own: none but those of this generation.
            assert kinds() == 0, kinds()
            check()
            asyncio.run(store.head_async(KEY))
            if depth:
                fork(lambda: work(depth - 1))()
        work(4)
        """,
    )


def test_a_child_keeps_the_descriptors_that_are_not_the_cores(server):
    """Also those with a number that a socket of the core's once had, which came to no connection."""
    run(
        server,
        """
        import asyncio, socket
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        nobody = connect(endpoint=f"http://127.0.0.1:{full.getsockname()[1]}")
        async def cancel():
            tasks = [asyncio.ensure_future(nobody.head_async(KEY)) for _ in range(20)]
            await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        def look():
            for fd in sum(pipes, ()):
                os.fstat(fd)
            check()
        check()
        before = fd_count()
        asyncio.run(cancel())
        until(lambda: fd_count() < before + 10)  # an I/O thread and a queue have some
        pipes = [os.pipe() for _ in range(20)]
        fork(look)()
        """,
    )


def test_inherited_results_go_on_in_the_child(any_server):
    """A result taken before the fork still gives its bytes, by requests of the child's own."""
    any_server.put("large", bytes(1_000_000) * 12)
    run(
        any_server,
        """
        import asyncio
        small, large = connect(part_size=5 * 1024 * 1024), store.get("large")
        other = small.get("large")
        asyncio.run(store.head_async(KEY))
        def work():
            assert large.bytes() == bytes(12_000_000)
            assert sum(map(len, other.stream(1_000_000))) == 12_000_000
        wait = fork(work)
        work()
        wait()
        """,
    )


def test_streams_and_lists_under_way_in_the_parent_fail_or_go_on_in_the_child_but_never_hang(server):
    for number in range(1200):
        server.put(f"many/{number:04}", b"")
    server.put("large", bytes(1_000_000) * 60)
    run(
        server,
        """
        from s3ext.exceptions import BaseError
        stream = connect(part_size=5 * 1024 * 1024).get("large").stream(1_000_000)
        seen = len(next(stream))
        listing = store.list("many", chunk_size=500)
        listed = len(next(listing))
        def rest():
            return seen + sum(map(len, stream)), listed + sum(map(len, listing))
        def work():
            for iterator, already, total in ((stream, seen, 60_000_000), (listing, listed, 1200)):
                try:
                    assert already + sum(map(len, iterator)) == total
                except BaseError as error:
                    assert "fork" in str(error), error
            check()
        wait = fork(work)
        assert rest() == (60_000_000, 1200)
        wait()
        """,
    )


KEYS = {"keys": "", "sync": "def", "async": "async def"}


@pytest.mark.parametrize("keys", KEYS)
def test_what_was_taken_from_a_store_is_read_in_the_child_of_a_parent_at_its_limit(server, keys):
    """The child has a limiter of its own and asks the store's provider itself: nothing waits for the parent.

    What was under way in the parent at the fork fails at once there, or gives the right bytes.
    """
    server.put("large", PatternBody(12_000_000))
    for number in range(2200):
        server.put(f"many/{number:04}", b"")
    fault = server.faults.add(Fault(faults.stall(500_000), key="stalled", times=4))
    server.put("stalled", bytes(1_000_000))
    body = f"""
        import asyncio, faulthandler, threading
        from s3ext.exceptions import BaseError
        asked = []
        if {KEYS[keys]!r}:
            id_, secret = os.environ["LIFECYCLE_KEYS"].split(" ")
            {KEYS[keys] or "def"} provider():
                asked.append(os.getpid())
                return {{"access_key_id": id_, "secret_access_key": secret, "expires_at": None}}
            options = {{"credential_provider": provider}}
        else:
            options = {{}}
        on = connect(concurrency=4, part_size=5 * 1024 * 1024, read_timeout="60s", **options)
        whole, buffer, later, pieces = (on.get("large") for _ in range(4))
        fresh = on.list("many", chunk_size=2000)
        stream, listing = on.get("large").stream(1_000_000), on.list("many", chunk_size=500)
        seen, listed = [next(stream)], next(listing)
        # The stream reads ahead, and the listing asked for its next page: both hold no slot any more.
        until(lambda: not gauges()["exchanges_in_flight"])
        second = on.list("many", chunk_size=500)
        threads = [
            threading.Thread(target=lambda: on.get_range("stalled", start=0, end=1_000_000), daemon=True)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        until(lambda: gauges()["exchanges_in_flight"] == 4 and s3ext.stats()["bytes_received"] >= 2_000_000)
        waiting = later.stream(1_000_000)
        held = [bytes(next(waiting)) for _ in range(5)]
        def work():
            faulthandler.dump_traceback_later(8, exit=True)
            wanted = content(0, 12_000_000)
            assert bytes(whole.bytes()) == wanted
            assert bytes(buffer.buffer()) == wanted
            async def read():
                return b"".join([piece async for piece in pieces.stream(1_000_000)])
            assert asyncio.run(read()) == wanted
            assert [len(chunk) for chunk in fresh] == [2000, 200]
            # Half-consumed ones: what is there is right, and the rest comes, or fails for the fork.
            for iterator, got in ((stream, seen), (waiting, held)):
                try:
                    got.extend(iterator)
                    assert b"".join(got) == wanted
                except BaseError as error:
                    assert "before a fork" in str(error), error
                    assert wanted.startswith(b"".join(got))
            try:
                paths = [meta["path"] for meta in listed + listing.collect()]
                assert paths == [f"many/{{number:04}}" for number in range(2200)]
            except BaseError as error:
                assert "before a fork" in str(error), error
            check(on)
            assert asked.count(os.getpid()) == (1 if asked else 0)
        wait = fork(work)
        print("forked", flush=True)
        wait()
        print("read", flush=True)
        for thread in threads:
            thread.join()
        assert b"".join([*held, *waiting]) == content(0, 12_000_000)
        assert b"".join([*seen, *stream]) == content(0, 12_000_000)
        assert len(listed + listing.collect()) == 2200
        assert asked.count(os.getpid()) == (1 if asked else 0)
        """
    with Script(server, body, limit=30) as script:
        assert [script.line(), script.line()] == ["forked", "read"]
        fault.release()
        script.end()


def test_a_signal_handler_that_forks_amid_a_sync_call(server):
    """The child is in the middle of the parent's call: it gets an error, the parent its bytes."""
    server.put("stalled", bytes(1_000_000))
    server.faults.add(Fault(faults.stall(500_000, 0.7), key="stalled"))
    run(
        server,
        """
        import signal
        from s3ext.exceptions import BaseError
        slow, inside = connect(), []
        pids = []
        def handler(*_):
            pid = os.fork()
            pids.append(pid)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            data = slow.get_range("stalled", start=0, end=1_000_000)
        except BaseError as error:
            if pids == [0]:
                check()
                os._exit(17)
            raise
        if pids == [0]:
            os._exit(18)
        assert data == bytes(1_000_000)
        assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 17
        check()
        """,
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(server, method, tmp_path):
    """Pools of workers with a store that the parent made and used."""
    script = tmp_path / "pool_main.py"
    script.write_text(
        """
import asyncio, multiprocessing, sys
from tests.lifecycle.prelude import *

def work(on, number):
    assert on.get_range(KEY, start=number, end=number + 50_000) == content(number, number + 50_000)
    return len(asyncio.run(on.get_async(KEY)).bytes()) + number

def inherited(number):
    return work(store, number)

if __name__ == "__main__":
    check()
    asyncio.run(store.head_async(KEY))
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(3) as pool:
        answers = pool.starmap(work, [(store, number) for number in range(12)])
        answers += pool.map(inherited, range(12))
        pool.close()
        pool.join()
    assert answers == [SIZE + number for number in range(12)] * 2
    check()
"""
    )
    run(
        server,
        f"""
        import subprocess
        subprocess.run([sys.executable, {str(script)!r}, {method!r}], check=True)
        """,
        limit=40,
    )


def test_a_process_pool_executor(server):
    run(
        server,
        """
        import asyncio, concurrent.futures, multiprocessing
        check()
        def length(number):
            return len(asyncio.run(store.get_async(KEY)).bytes()) + number
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(length, range(8))) == [SIZE + number for number in range(8)]
        """,
        limit=40,
    )


def test_a_program_started_while_transfers_run(any_server):
    """subprocess by vfork, and by fork with preexec_fn; no socket of ours is left open in the program."""
    run(
        any_server,
        """
        import asyncio, subprocess, sys, threading
        async def many():
            for _ in range(4):
                calls = [store.get_range_async(KEY, start=0, end=SIZE) for _ in range(8)]
                assert all(body == content() for body in await asyncio.gather(*calls))
        def sync():
            for _ in range(6):
                assert store.get_range(KEY, start=0, end=SIZE) == content()
        threads = [threading.Thread(target=lambda: asyncio.run(many())), threading.Thread(target=sync)]
        for thread in threads:
            thread.start()
        show = (
            "import os, socket, stat\\n"
            "there = lambda fd: os.path.exists(f'/proc/self/fd/{fd}')\\n"
            "fds = [int(fd) for fd in os.listdir('/proc/self/fd') if there(fd)]\\n"
            "found = [socket.socket(fileno=fd).family for fd in fds if stat.S_ISSOCK(os.stat(fd).st_mode)]\\n"
            "print(found.count(socket.AF_INET))\\n"
        )
        for number in range(6):
            options = {"preexec_fn": lambda: None} if number % 2 else {}
            command = [sys.executable, "-S", "-E", "-c", show]
            done = subprocess.run(command, capture_output=True, check=True, close_fds=False, **options)
            assert done.stdout.strip() == b"0", done.stdout
        for thread in threads:
            thread.join()
        assert s3ext.stats()["retries"] == 0
        """,
        limit=40,
    )


def test_a_child_forked_during_a_refresh_of_credentials_asks_for_its_own(server):
    run(
        server,
        """
        import threading, time
        calls, go_on = [], threading.Event()
        id_, secret = os.environ["LIFECYCLE_KEYS"].split(" ")
        def provider():
            calls.append(os.getpid())
            if len(calls) == 1:
                go_on.wait(10)
            return {"access_key_id": id_, "secret_access_key": secret, "expires_at": None}
        on = connect(credential_provider=provider)
        threads = [threading.Thread(target=check, args=(on,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: calls)
        def work():
            check(on)
            assert calls[1:] == [os.getpid()]
        wait = fork(work, "sys.exit")
        wait()
        go_on.set()
        for thread in threads:
            thread.join()
        assert calls == [os.getpid()]
        """,
    )


def test_a_child_that_crashes_or_is_killed_leaves_the_parent_alone(any_server):
    run(
        any_server,
        """
        import signal
        check()
        stream = store.get(KEY).stream(1024 * 1024)
        seen = [next(stream)]
        for number in (signal.SIGKILL, signal.SIGABRT):
            pid = os.fork()
            if pid == 0:
                faulthandler_off = __import__("faulthandler").disable()
                check()
                os.kill(os.getpid(), number)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
        assert b"".join(seen + list(stream)) == content()
        check()
        assert s3ext.stats()["retries"] == 0
        """,
    )


def test_uploads_go_on_over_a_fork(any_server):
    """Multipart uploads in a thread and on the I/O thread; the child neither ends nor aborts them."""
    run(
        any_server,
        """
        import asyncio, threading
        data = content(0, 11_000_000)
        def sync():
            store.put("sync", data, chunk_size=5 * 1024 * 1024)
        async def later():
            await store.put_async("async", [data[:6_000_000], data[6_000_000:]], chunk_size=5 * 1024 * 1024)
        threads = [threading.Thread(target=sync), threading.Thread(target=lambda: asyncio.run(later()))]
        for thread in threads:
            thread.start()
        until(lambda: gauges()["exchanges_in_flight"] > 2)
        waits = [fork(lambda: None, ending) for ending in ("os._exit", "sys.exit", "os._exit")]
        for thread in threads:
            thread.join()
        for wait in waits:
            wait()
        assert store.get("sync").bytes() == data and store.get("async").bytes() == data
        """,
    )
    assert not any_server.store.uploads
    assert not any_server.store.aborted


def test_forks_and_submissions_race(server):
    """Forks on one thread while another starts and cancels operations as fast as it can."""
    run(
        server,
        """
        import asyncio, threading, time
        stop = time.monotonic() + 3
        async def churn():
            while time.monotonic() < stop:
                calls = [store.get_range_async(KEY, start=0, end=1000) for _ in range(8)]
                tasks = [asyncio.ensure_future(call) for call in calls]
                await asyncio.sleep(0.0005)
                for task in tasks[::2]:
                    task.cancel()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
                for answer in answers[1::2]:
                    assert answer == content(0, 1000), answer
        def sync():
            while time.monotonic() < stop:
                check(end=50)
        failed = []
        def guarded(function):
            try:
                function()
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=guarded, args=(sync,)) for _ in range(2)]
        threads.append(threading.Thread(target=guarded, args=(lambda: asyncio.run(churn()),)))
        for thread in threads:
            thread.start()
        forks = 0
        while time.monotonic() < stop:
            fork(check if forks % 4 == 0 else lambda: None)()
            forks += 1
        for thread in threads:
            thread.join()
        assert not failed, failed
        assert forks > 10
        settled()
        """,
        limit=40,
    )


def test_a_child_within_a_running_loop_is_told_that_its_parents_operations_do_not_end_there(server):
    """It goes on in the coroutine that forked; what it awaits fails, and its buffers are free again."""
    server.put("stalled", bytes(1_000_000))
    fault = server.faults.add(Fault(faults.stall(500_000), key="stalled", times=2))
    slow = server.faults.add(Fault(faults.stall("head"), method="PUT", times=3))
    body = """
        import asyncio, gc
        from s3ext.exceptions import BaseError
        async def failure(task):
            try:
                await task
            except BaseError as error:
                return str(error)
            return None
        def exported(buffer):
            try:
                buffer.append(1)
            except BufferError:
                return True
            return False
        async def main():
            on = connect(read_timeout="60s")
            into, body, dropped = bytearray(1_000_000), bytearray(8_000_000), bytearray(8_000_000)
            single = asyncio.ensure_future(on.get_range_async("stalled", start=0, end=1_000_000, into=into))
            listed = asyncio.ensure_future(failure(on.get_range_async("stalled", start=0, end=1_000_000)))
            put = asyncio.ensure_future(on.put_async("body", body, use_multipart=False))
            given_up = asyncio.ensure_future(on.put_async("dropped", dropped, use_multipart=False))
            fed = asyncio.ensure_future(
                on.put_async("fed", iter([bytes(6_000_000)] * 3), use_multipart=True, max_concurrency=1)
            )
            while s3ext.stats()["exchanges_in_flight"] < 5 or s3ext.stats()["bytes_received"] < 1_000_000:
                await asyncio.sleep(0.01)
            given_up.cancel()
            await asyncio.wait([given_up])
            assert exported(into) and exported(body)
            queued = asyncio.ensure_future(failure(on.head_async(KEY)))
            await asyncio.sleep(0)  # now it is in the loop's next batch
            pid = os.fork()
            if not pid:
                for task in (single, put, fed):
                    message = await failure(task)
                    assert message and "before a fork" in message, message
                    del task
                assert "before a fork" in await listed
                assert "before a fork" in await queued
                del single, put, fed
                del given_up
                gc.collect()
                assert not any([exported(into), exported(body), exported(dropped)])
                check(on)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            print("forked", flush=True)
            assert await single == bytes(1_000_000)
            assert await listed is None
            await put
            await fed
            assert await queued is None
        asyncio.run(main())
        settled()
        """
    with Script(server, body, limit=20) as script:
        assert script.line() == "forked"
        fault.release()
        slow.release()
        script.end()
    assert len(server.get("fed").data) == 18_000_000


def test_a_child_of_another_thread_than_the_loops_lets_go_of_its_operations(server):
    server.put("stalled", bytes(1_000_000))
    fault = server.faults.add(Fault(faults.stall(500_000), key="stalled"))
    body = """
        import asyncio, threading
        into, ended = bytearray(1_000_000), []
        async def main():
            ended.append(await connect(read_timeout="60s").get_range_async(
                "stalled", start=0, end=1_000_000, into=into
            ) == bytes(1_000_000))
        thread = threading.Thread(target=lambda: asyncio.run(main(), debug=True), daemon=True)
        thread.start()
        until(lambda: s3ext.stats()["bytes_received"] >= 500_000)
        def work():
            into.append(1)
            asyncio.run(store.head_async(KEY))
            check()
        fork(work)()
        print("forked", flush=True)
        thread.join()
        assert ended == [True]
        """
    with Script(server, body, limit=20) as script:
        assert script.line() == "forked"
        fault.release()
        script.end()


def test_a_reader_goes_on_in_a_child_and_a_writer_says_that_it_is_the_parents(any_server):
    run(
        any_server,
        """
        import asyncio, threading
        async def opened():
            file = await store.open_reader_async(KEY, buffer_size=1000)
            await file.read(5)
            writer = store.open_writer_async("async", buffer_size=5_242_880)
            await writer.write(b"data")
            return file, writer
        with asyncio.Runner() as runner:
            later, later_writer = runner.run(opened())
            file = store.open_reader(KEY, buffer_size=1000)
            assert file.read(5) == content(0, 5)
            small, large = (store.open_writer(name, buffer_size=5_242_880) for name in ("small", "large"))
            small.write(b"data")
            large.write(content(0, 6_000_000))
            plain, text = store.open(KEY, block_size=1000), store.open("text", "w")
            assert plain.read(5) == content(0, 5)
            text.write("data")
            # A thread that the child does not have holds the reader's lock.
            held, let_go = threading.Event(), threading.Event()
            def hold():
                with file._lock:
                    held.set()
                    let_go.wait()
            thread = threading.Thread(target=hold)
            thread.start()
            held.wait()
            def work():
                assert file.read(100_000) == content(5, 100_005)
                assert asyncio.run(later.read(100_000)) == content(5, 100_005)
                assert plain.read(100_000) == content(5, 100_005)
                for writer in (small, large):
                    for call in (lambda: writer.write(b"x"), writer.close, writer.flush, writer.__enter__):
                        try:
                            call()
                        except OSError as error:
                            assert "before a fork" in str(error), error
                        else:
                            raise AssertionError("it went on")
                try:
                    text.close()
                except OSError as error:
                    assert "before a fork" in str(error), error
                else:
                    raise AssertionError("it went on")
                try:
                    asyncio.run(later_writer.close())
                except OSError as error:
                    assert "before a fork" in str(error), error
                check()
            wait = fork(work, "sys.exit")
            wait()
            let_go.set()
            thread.join()
            assert file.read(100_000) == content(5, 100_005)
            assert plain.read(100_000) == content(5, 100_005)
            text.close()
            small.close()
            large.write(b"end")
            large.close()
            runner.run(later_writer.close())
        """,
    )
    assert any_server.get("small").data == any_server.get("async").data == b"data"
    assert any_server.get("text").data == b"data"
    assert len(any_server.get("large").data) == 6_000_003
    assert not any_server.store.uploads
    assert not any_server.store.aborted
