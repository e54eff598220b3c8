"""What is particular to waiting: batches, cancellation, loops that end, signals, threads, forks and exits."""

# ruff: noqa: ASYNC110 - what is waited for is not on the loop

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import s3ext
from s3ext import _wait, exceptions
from s3ext._ffi import NULL, lib
from tests.lifecycle import SLOW
from tests.python.ways import connect
from tests.server import ACCESS_KEY, SECRET_KEY, Fault, faults

uvloop_missing = find_spec("uvloop") is None


def uvloop_loop():
    import uvloop

    return uvloop.new_event_loop()


LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(
        uvloop_loop, id="uvloop", marks=pytest.mark.skipif(uvloop_missing, reason="uvloop is not installed")
    ),
]


@pytest.fixture(params=LOOPS)
def run(request):
    """Run coroutines on a fresh loop of each kind."""

    def run(coroutine):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)

    return run


def test_methods_are_coroutine_functions(store):
    """Callers from other threads, such as async-tiff's, make the coroutine where no loop runs."""
    plain = {"list_async", "open_writer_async"}  # as in obstore: their results are awaited, not they
    names = [name for name in dir(store) if name.endswith("_async") and name not in plain]
    assert len(names) >= 10
    assert all(asyncio.iscoroutinefunction(getattr(store, name)) for name in names)
    coroutine = store.get_range_async(path="k", start=0, end=1)
    coroutine.close()


def test_keywords_only_as_async_tiff_calls(server, store, run):
    server.put("some dir/é x.tif", b"0123456789")

    async def main():
        first = await store.get_range_async(path="some dir/é x.tif", start=0, end=32768)
        tiles = await store.get_ranges_async(path="some dir/é x.tif", starts=[0, 5], ends=[2, 7])
        return first, tiles

    first, tiles = run(main())
    assert memoryview(first).format == "B"
    assert (first, tiles) == (b"0123456789", [b"01", b"56"])


def test_many_at_once_get_each_its_own(server, store, run):
    data = np.random.default_rng(1).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    server.put("k", data)

    async def main():
        calls = [store.get_range_async("k", start=at, end=at + 100) for at in range(0, 100_000, 200)]
        return await asyncio.gather(*calls)

    for number, body in enumerate(run(main())):
        assert body == data[number * 200 : number * 200 + 100]
    assert server.connections_opened < 200


def test_failures_and_successes_do_not_mix(server, store, run):
    server.put("k", b"data")

    async def main():
        calls = [store.head_async("k" if number % 2 else "missing") for number in range(40)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = run(main())
    assert all(isinstance(answer, exceptions.NotFoundError) for answer in answers[::2])
    assert all(answer["size"] == 4 for answer in answers[1::2])


def test_one_store_serves_loop_after_loop_and_thread_beside_thread(server, store, run):
    server.put("k", b"data")
    bodies = []

    def work():
        for _ in range(3):
            bodies.append(run(store.get_range_async("k", start=0, end=4)))
            bodies.append(store.get_range("k", start=0, end=4))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [b"data"] * 24


def test_a_queue_goes_with_its_loop(server, store):
    server.put("k", b"data")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        asyncio.run(store.head_async("k"))
        gc.collect()
    _wait._close_dead()
    assert len(_wait._queues) == 0
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_sync_calls_work_inside_a_running_loop(server, store, run):
    server.put("k", b"data")

    async def main():
        return store.get("k").bytes()

    assert run(main()) == b"data"


# ---- cancellation ----


def stalled(server, where="answer"):
    server.put("k", bytes(1_000_000))
    return server.faults.add(Fault(faults.stall(where), key="k", times=1000))


@pytest.mark.parametrize("where", ["answer", 500_000])
def test_a_cancelled_task_is_told_at_once(server, store, run, where):
    stalled(server, where)

    async def main():
        task = asyncio.create_task(store.get_range_async("k", start=0, end=1_000_000))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begun

    assert run(main()) < 0.1
    server.wait_idle(5)


def test_a_destination_stays_exported_until_the_core_lets_go(server, store, run):
    stalled(server, 500_000)
    destination = bytearray(1_000_000)

    async def main():
        task = asyncio.create_task(store.get_range_async("k", start=0, end=1_000_000, into=destination))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                destination.append(1)
            except BufferError:
                await asyncio.sleep(0.005)
            else:
                return
        pytest.fail("the destination is never released")

    run(main())


def test_cancelling_before_the_batch_is_sent_sends_nothing(server, store, run):
    server.put("k", b"data")

    async def main():
        call = store.head_async("k")
        call.send(None)
        call.close()
        await asyncio.sleep(0.05)

    run(main())
    assert server.requests == []


def test_a_timeout_leaves_the_others_alone(server, store, run):
    stalled(server)
    server.put("other", b"data")

    async def main():
        slow = asyncio.create_task(store.head_async("k"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow, 0.1)
        return await asyncio.gather(*[store.head_async("other") for _ in range(10)])

    assert len(run(main())) == 10


def test_a_cancelled_put_aborts_its_upload(server, store, run):
    server.faults.add(Fault(faults.stall("answer"), method="PUT", part=2, times=100))

    async def chunks():
        for _ in range(4):
            yield bytes(5 * 1024 * 1024)

    async def main():
        task = asyncio.create_task(store.put_async("k", chunks()))
        await asyncio.sleep(0.3)
        assert len(server.store.uploads) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        end = time.monotonic() + 5
        while server.store.uploads and time.monotonic() < end:
            await asyncio.sleep(0.01)

    run(main())
    assert not server.store.uploads
    assert server.keys() == []


def test_a_cancelled_read_of_a_file_waits_for_the_reader_before_it_frees(server, store, run, tmp_path):
    """The executor may be writing into a slot of the core's when the task is cancelled."""
    reading, go_on = threading.Event(), threading.Event()

    class Slow:
        left = 30 * 1024 * 1024

        def seek(self, *_):
            raise OSError

        def read(self, size=-1):
            reading.set()
            go_on.wait(5)
            self.left -= size
            return bytes(size) if self.left >= 0 else b""

        tell = seek

    async def main():
        task = asyncio.create_task(store.put_async("k", Slow()))
        while not reading.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(_wait._busy) == 1
        go_on.set()
        while _wait._busy:
            await asyncio.sleep(0.01)

    run(main())
    assert server.keys() == []


def test_closing_a_loop_with_work_in_flight_is_quick_and_quiet(server, store):
    stalled(server)
    loop = asyncio.new_event_loop()
    destination = bytearray(1_000_000)
    task = loop.create_task(store.get_range_async("k", start=0, end=1_000_000, into=destination))
    loop.run_until_complete(asyncio.sleep(0.1))
    # What asyncio would log of a task that is destroyed while it waits.
    task._log_destroy_pending = False
    begun = time.monotonic()
    gone = weakref.ref(loop)
    loop.close()
    del loop, task
    gc.collect()
    assert gone() is None
    assert time.monotonic() - begun < 1
    destination.append(1)
    server.wait_idle(5)


# ---- signals ----


@pytest.mark.parametrize("method", ["get", "get_range", "put", "list"])
def test_ctrl_c_ends_a_sync_call_within_200_ms(server, store, method):
    server.put("k", bytes(1_000_000))
    server.faults.add(Fault(faults.stall("answer"), times=1000))
    destination = bytearray(1_000_000)
    calls = {
        "get": lambda: store.get("k", into=destination),
        "get_range": lambda: store.get_range("k", start=0, end=1_000_000, into=destination),
        "put": lambda: store.put("k2", destination),
        "list": lambda: next(store.list()),
    }
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    begun = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        calls[method]()
    assert 0.25 < time.monotonic() - begun < 0.55
    timer.join()
    destination.append(1)


def test_ctrl_c_while_a_stream_waits(server, store):
    server.put("big", bytes(20 * 1024 * 1024))
    stream = store.get("big").stream(1024 * 1024)
    server.faults.add(Fault(faults.stall("answer"), times=1000))
    next(stream)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    timer.join()
    assert list(stream) == []
    server.faults.clear()
    assert store.head("big")["size"] == 20 * 1024 * 1024


# ---- forks and exits ----


@pytest.mark.fork
def test_a_child_goes_on_with_a_store_of_its_parent(server, store):
    server.put("k", b"data")
    assert store.get("k").bytes() == b"data"
    asyncio.run(store.head_async("k"))
    kept = store.get_range("k", start=0, end=4)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ok = store.get("k").bytes() == b"data" and asyncio.run(store.head_async("k"))["size"] == 4
            ok = ok and kept == b"data"
            os.write(write, b"y" if ok else b"n")
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 1) == b"y"
    os.close(read)
    os.waitpid(child, 0)
    assert store.get("k").bytes() == b"data"


SCRIPT = """
import asyncio, sys, threading, time
from s3ext.store import S3Store
store = S3Store("bucket", endpoint={url!r}, region="us-east-1", allow_http=True,
                access_key_id={key!r}, secret_access_key={secret!r})
async def main():
    tasks = [asyncio.ensure_future(store.get_async("k")) for _ in range(20)]
    await asyncio.sleep(0.2)
{body}
"""


ENDINGS = {
    "exit-in-loop": """
    sys.exit(3)
asyncio.run(main())
""",
    "killed": """
    import os
    os.kill(os.getpid(), 9)
asyncio.run(main())
""",
    "after-run": """
asyncio.run(main())
sys.exit(3)
""",
    "sync-thread": """
threading.Thread(target=store.get, args=("k",), daemon=True).start()
time.sleep(0.2)
sys.exit(3)
""",
    "loop-left-open": """
loop = asyncio.new_event_loop()
tasks = loop.create_task(main())
loop.run_until_complete(asyncio.sleep(0.1))
sys.exit(3)
""",
}


@pytest.mark.parametrize("body", ENDINGS.values(), ids=ENDINGS)
def test_an_interpreter_ends_with_work_in_flight(body):
    with _stalling() as url:
        script = SCRIPT.format(url=url, key=ACCESS_KEY, secret=SECRET_KEY, body=body)
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", script], timeout=30 * SLOW, capture_output=True, text=True, check=False
        )
        assert done.returncode in {3, -9}, done.stderr
        assert time.monotonic() - begun < 4 * SLOW
        assert "Fatal" not in done.stderr


class _stalling:  # noqa: N801 - used like a function
    """A server that accepts everything and never answers."""

    def __enter__(self):
        import socket

        self.socket = socket.create_server(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *_):
        self.socket.close()


def test_importing_the_package_is_light():
    script = "import sys; bare = set(sys.modules); import {}; print(*(set(sys.modules) - bare))"
    heavy = {
        "asyncio",
        "json",
        "urllib",
        "inspect",
        "dataclasses",
        "typing",
        "re",
        "threading",
        "logging",
        "ssl",
    }
    for name in ("s3ext", "s3ext.store"):
        done = subprocess.run(
            [sys.executable, "-c", script.format(name)], capture_output=True, text=True, check=True
        )
        loaded = set(done.stdout.split())
        assert name in loaded
        assert not loaded & heavy


def test_stats_after_all_show_nothing_in_flight(server, store):
    server.put("k", b"data")
    store.head("k")
    end = time.monotonic() + 5
    while s3ext.stats()["exchanges_in_flight"] and time.monotonic() < end:
        time.sleep(0.01)
    assert s3ext.stats()["exchanges_in_flight"] == 0
    assert s3ext.stats()["bytes_in_flight"] == 0


def test_a_store_of_another_configuration_is_another_client(server):
    one, two, three = connect(server), connect(server), connect(server, skip_signature=True)
    server.put("k", b"")
    server.create_bucket("open", public=True)
    one.head("k")
    two.head("k")
    assert one._client is two._client
    with pytest.raises(exceptions.BaseError):
        three.head("k")
    assert three._client is not one._client
    server.take_errors()


@pytest.mark.parametrize("size", [0, 6 * 1024 * 1024], ids=["fed", "from-memory"])
def test_an_upload_cancelled_before_it_begins_ends(server, store, size):
    client = store._connected().handle
    body = bytes(size)
    for wait in (lib.s3ext_op_wait, lib.s3ext_op_run):
        operation = lib.s3ext_op_upload(client, b"k", 1, NULL, 0, body or NULL, size, 5 * 1024 * 1024, 4, 0)
        lib.s3ext_op_cancel(operation)
        if wait is lib.s3ext_op_wait:
            assert lib.s3ext_submit(NULL, [operation], NULL, 1) == 0
        assert wait(operation, 2000) == 1
        lib.s3ext_op_free(operation)
    assert server.requests == []
