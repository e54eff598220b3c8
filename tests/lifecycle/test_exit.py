"""The end of the interpreter with work under way: soon, with status 0, and without a word."""

from __future__ import annotations

import pytest

from tests.lifecycle.process import SLOW, run
from tests.server import Fault, faults

LIMIT = 3.0


def end(server, body, *flags, status=0):
    """Run a script that just ends; the process has to do so within the promised time."""
    script = run(server, body, *flags, limit=15, status=status)
    assert script.seconds < LIMIT * SLOW, f"{script.seconds:.2f} s"


FLAGS = {"plain": (), "dev": ("-X", "dev", "-W", "error"), "isolated-gc": ("-X", "dev", "-X", "tracemalloc")}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_an_idle_process_ends_quickly(server, flags):
    script = run(
        server,
        """
        import asyncio
        check()
        with asyncio.Runner() as runner:
            runner.run(store.head_async(KEY))
            result, data, listing = store.get(KEY), store.get_range(KEY, start=0, end=9), store.list()
            next(listing)
            stream = store.get(KEY).stream(1024 * 1024)
            next(stream)
        """,
        *flags,
    )
    assert script.seconds < 2 * SLOW


WORK = {
    "daemon-threads": """
for _ in range(12):
    threading.Thread(target=store.get, args=(KEY,), daemon=True).start()
""",
    "daemon-into": """
buffer = bytearray(SIZE)
for _ in range(2):
    call = lambda: store.get_range(KEY, start=0, end=SIZE, into=buffer)
    threading.Thread(target=call, daemon=True).start()
""",
    "daemon-list": """
threading.Thread(target=lambda: store.list().collect(), daemon=True).start()
""",
    "loop-in-a-thread": """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
def begin():
    for _ in range(20):
        task = loop.create_task(store.get_async(KEY))
        # What asyncio itself says of tasks that nobody waits for.
        task._log_destroy_pending = False
        task.add_done_callback(lambda task: task.exception())
loop.call_soon_threadsafe(begin)
""",
    "stream-half-read": """
stream = store.get("large").stream(1024 * 1024)
next(stream)
""",
    "stream-in-a-cycle": """
class Holder:
    pass
holder = Holder()
holder.stream = store.get("large").stream(1024 * 1024)
next(holder.stream)
holder.itself = holder
""",
    "stream-in-builtins": """
import builtins
builtins.kept = store.get("large").stream(1024 * 1024)
next(builtins.kept)
""",
    "stream-in-a-module": """
import types
sys.modules["zzz_kept"] = types.ModuleType("zzz_kept")
sys.modules["zzz_kept"].stream = store.get("large").stream(1024 * 1024)
next(sys.modules["zzz_kept"].stream)
""",
    "async-stream-half-read": """
async def half():
    async for piece in (await store.get_async("large")).stream(1024 * 1024):
        return
runner = asyncio.Runner()
runner.run(half())
runner.close()
""",
    "provider-hangs": """
def provider():
    time.sleep(60)
hanging = connect(credential_provider=provider)
threading.Thread(target=hanging.head, args=(KEY,), daemon=True).start()
""",
    "executor": """
import concurrent.futures
pool = concurrent.futures.ThreadPoolExecutor(4)
futures = [pool.submit(store.put, f"pool{number}", b"x") for number in range(20)]
""",
}
ENDS = {"falls-off-the-end": "", "sys.exit": "sys.exit(0)", "gc-off": "import gc; gc.disable()"}
CASES = [(work, "sys.exit") for work in WORK]
CASES += [(work, "falls-off-the-end") for work in ("daemon-threads", "stream-half-read", "loop-in-a-thread")]
CASES += [("stream-in-a-cycle", "gc-off")]


@pytest.mark.parametrize(("work", "ending"), CASES)
def test_work_in_flight(server, work, ending):
    server.put("large", bytes(1_000_000) * 60)
    # What is read stalls, what is written does not: an executor's threads are waited for, as Python has it.
    server.faults.add(Fault(faults.stall("answer"), key="k", method="GET", times=None))
    server.faults.add(Fault(faults.stall("answer"), key="", method="GET", times=None))
    server.faults.add(Fault(faults.stall("answer"), key="large", method="GET", skip=1, times=None))
    flags = FLAGS["dev" if ending == "sys.exit" else "plain"]
    body = "import asyncio, threading\n" + WORK[work] + "\ntime.sleep(0.15)\n" + ENDS[ending]
    end(server, body, *flags)
    if work == "executor":
        assert len([key for key in sorted(server.keys()) if key.startswith("pool")]) == 20
    server.wait_idle(5)


def test_tasks_that_run_when_asyncio_run_ends(server):
    """asyncio.run cancels them itself."""
    server.faults.add(Fault(faults.stall("answer"), key="k", times=None))
    end(
        server,
        """
        import asyncio
        async def main():
            tasks = [asyncio.ensure_future(store.get_async(KEY)) for _ in range(50)]
            await asyncio.sleep(0.2)
        asyncio.run(main())
        """,
        *FLAGS["dev"],
    )


UPLOADS = [(how, "nothing") for how in ("daemon-thread", "asyncio", "loop-in-a-thread", "crowd")]
UPLOADS += [("daemon-thread", "abort"), ("asyncio", "abort"), ("asyncio", "create"), ("crowd", "create")]


@pytest.mark.parametrize(("how", "stalls"), UPLOADS)
def test_uploads_in_flight_are_aborted(server, how, stalls):
    """The parts hang. If the abort hangs as well, the process ends nevertheless."""
    server.faults.add(Fault(faults.stall("request"), method="PUT", times=None))
    if stalls != "nothing":
        server.faults.add(
            Fault(faults.stall("answer"), method="DELETE" if stalls == "abort" else "POST", times=None)
        )
    body = {
        "daemon-thread": "threading.Thread(target=put, args=('up',), daemon=True).start()",
        "crowd": "[threading.Thread(target=put, args=(f'up{n}',), daemon=True).start() for n in range(6)]",
        "asyncio": """
async def main():
    task = asyncio.ensure_future(store.put_async("up", [data] * 3, chunk_size=5 * 1024 * 1024))
    await asyncio.sleep(0.3)
asyncio.run(main())
""",
        "loop-in-a-thread": """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
def begin():
    task = loop.create_task(store.put_async("up", data * 3, chunk_size=5 * 1024 * 1024))
    task._log_destroy_pending = False
    task.add_done_callback(lambda task: task.exception())
loop.call_soon_threadsafe(begin)
""",
    }[how]
    end(
        server,
        f"""
import asyncio, threading
data = content(0, 5 * 1024 * 1024)
def put(key):
    store.put(key, data * 3, chunk_size=5 * 1024 * 1024)
{body}
time.sleep(0.4)
""",
    )
    server.faults.clear()
    server.wait_idle(5)
    if stalls != "create":
        assert not server.store.uploads
        assert len(server.store.aborted) == (6 if how == "crowd" else 1)
    assert not [key for key in sorted(server.keys()) if key.startswith("up")]


def test_a_thread_that_is_no_daemon_finishes_its_work(server):
    """Python waits for it, and so do we: its upload is complete."""
    server.faults.add(Fault(faults.delay(0.3), method="PUT", times=None))
    end(
        server,
        """
        import threading
        def work():
            store.put("whole", content(0, 11_000_000), chunk_size=5 * 1024 * 1024)
            check()
        threading.Thread(target=work).start()
        """,
    )
    assert "whole" in {*server.keys()}


def test_sys_exit_in_a_thread_and_in_a_callback(server):
    end(
        server,
        """
        import asyncio, threading
        def work():
            check()
            sys.exit(3)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        async def main():
            await store.head_async(KEY)
            task = asyncio.ensure_future(store.get_async(KEY))
            asyncio.get_running_loop().call_soon(sys.exit, 0)
            await asyncio.sleep(1)
        asyncio.run(main())
        """,
    )


@pytest.mark.smoke
def test_use_in_atexit_functions(server):
    """One that runs before ours works; one that runs after it gets an error, and no hang."""
    end(
        server,
        """
        import asyncio, atexit
        atexit.register(check)
        """,
    )
    end(
        server,
        """
        import asyncio
        from s3ext import _ffi
        from s3ext.exceptions import BaseError
        stream = store.get(KEY).stream(1_000_000)
        _ffi._exit()
        def refused(call):
            try:
                call()
            except BaseError as error:
                assert "shut down" in str(error), error
            else:
                raise SystemExit("not refused")
        refused(lambda: store.head(KEY))
        refused(lambda: store.put("a", b""))
        refused(lambda: store.put("a", iter([content(0, 4_000_000)] * 3)))
        refused(lambda: store.list().collect())
        refused(lambda: asyncio.run(store.head_async(KEY)))
        refused(lambda: asyncio.run(store.put_async("a", [content(0, 4_000_000)] * 3)))
        refused(lambda: store.sign("GET", KEY, __import__("datetime").timedelta(60)))
        """,
    )


def test_a_loop_left_open(server):
    """What asyncio itself says of its tasks is silenced; we add nothing."""
    server.faults.add(Fault(faults.stall("answer"), key="k", times=None))
    end(
        server,
        """
        import asyncio
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(store.get_async(KEY, )) for _ in range(5)]
        buffer = bytearray(SIZE)
        tasks.append(loop.create_task(store.get_range_async(KEY, start=0, end=SIZE, into=buffer)))
        for task in tasks:
            task._log_destroy_pending = False
        loop.run_until_complete(asyncio.sleep(0.2))
        """,
    )


def test_os_exit_and_kill(server):
    server.faults.add(Fault(faults.stall("answer"), key="k", times=None))
    body = """
        import asyncio, signal, threading
        threading.Thread(target=store.get, args=(KEY,), daemon=True).start()
        async def main():
            task = asyncio.ensure_future(store.get_async(KEY))
            await asyncio.sleep(0.2)
            {}
        asyncio.run(main())
    """
    end(server, body.format("os._exit(0)"))
    end(server, body.format("os.kill(os.getpid(), signal.SIGTERM)"), status=-15)
