"""Signals: Ctrl-C wherever a call may stand, storms of timers, and SIGPIPE left as the system has it."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager

import pytest

from tests.lifecycle.process import SLOW, Script, run
from tests.server import Fault, faults

# What a script does when it is about to be interrupted: `attempt()` must end by KeyboardInterrupt.
INTERRUPTED = """
import asyncio
{setup}
def attempt():
    {attempt}
print("ready", flush=True)
try:
    attempt()
except KeyboardInterrupt:
    ended = time.monotonic()
else:
    raise SystemExit("no KeyboardInterrupt")
print(ended, flush=True)
sys.stdin.readline()
{after}
"""


def interrupt(
    server, attempt, *, setup="", after="check()", when=lambda: time.sleep(0.3), heal=lambda: None, limit=0.2
):
    """Interrupt a call that waits; it ends within `limit` seconds, and the engine goes on to work."""
    body = INTERRUPTED.format(attempt=attempt, setup=setup, after=after)
    with Script(server, body, limit=15) as script:
        assert script.line() == "ready"
        when()
        sent = time.monotonic()
        script.interrupt()
        answer = script.line()
        assert answer, script.end()
        taken = float(answer) - sent
        heal()
        script.process.stdin.write("\n")
        script.process.stdin.flush()
        script.end()
    assert taken < limit * SLOW, f"{taken:.3f} s"


CALLS = {
    "get": "store.get(KEY)",
    "get-into": "store.get(KEY, into=bytearray(SIZE))",
    "get_range": "store.get_range(KEY, start=0, end=SIZE)",
    "get_ranges": "store.get_ranges(KEY, starts=[0, 2_000_000], ends=[10, 2_000_010])",
    "put": "store.put('new', bytes(100_000))",
    "list": "store.list().collect()",
    "delete": "store.delete('gone')",
    "copy": "store.copy(KEY, 'copied')",
    "async": "asyncio.run(store.get_async(KEY))",
}


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_while_the_answer_is_awaited(server, call):
    fault = server.faults.add(Fault(faults.stall("answer"), times=None))
    interrupt(server, CALLS[call], when=fault.wait_hit, heal=server.faults.clear)
    server.wait_idle(5)


@contextmanager
def blackhole():
    """A port of this machine that answers nothing: its queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = []
        try:
            for _ in range(3):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(address)
                fillers.append(filler)
            time.sleep(0.05)
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.smoke
@pytest.mark.parametrize(
    "call", ["lost.head(KEY)", "asyncio.run(lost.head_async(KEY))"], ids=["sync", "async"]
)
def test_ctrl_c_while_a_connection_is_made(server, call):
    with blackhole() as url:
        interrupt(server, call, setup=f"lost = connect(endpoint={url!r})")


@pytest.mark.parametrize("call", ["get_range", "get-into", "async"])
def test_ctrl_c_in_the_body(server, call):
    fault = server.faults.add(Fault(faults.drip(10_000, 0.01), times=None))
    interrupt(server, CALLS[call], when=fault.wait_hit, heal=server.faults.clear)


def test_ctrl_c_in_a_back_off(server):
    fault = server.faults.add(Fault(faults.slow_down(retry_after="30"), times=None))
    interrupt(server, CALLS["get_range"], when=fault.wait_hit, heal=server.faults.clear)


@pytest.mark.parametrize("kind", ["provider", "later"])
def test_ctrl_c_while_credentials_are_awaited(server, kind):
    interrupt(
        server,
        "hanging.head(KEY)",
        setup=f"""
import asyncio, threading
never = threading.Event()
def provider():
    never.wait(5)
    raise OSError("too late")
async def later():
    await asyncio.to_thread(provider)
hanging = connect(credential_provider={kind})
""",
        after="check(); never.set()",
    )


def test_ctrl_c_between_the_pages_of_a_list(server):
    for number in range(2100):
        server.put(f"many/{number:04}", b"")
    fault = server.faults.add(Fault(faults.stall("answer"), query="continuation-token", times=None))
    interrupt(
        server, "store.list('many', chunk_size=10).collect()", when=fault.wait_hit, heal=server.faults.clear
    )


@pytest.mark.parametrize(
    "source",
    ["content(0, 20_000_000)", "iter([content(0, 4_000_000)] * 5)", "open(path, 'rb')"],
    ids=["buffer", "iterator", "file"],
)
def test_ctrl_c_in_an_upload_aborts_it(server, source, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(20_000_000))
    fault = server.faults.add(Fault(faults.stall("request"), method="PUT", query="partNumber", times=None))
    interrupt(
        server,
        f"store.put('up', {source}, chunk_size=5 * 1024 * 1024)",
        setup=f"path = {str(path)!r}",
        when=fault.wait_hit,
        heal=lambda: _until(lambda: not server.store.uploads),
        after="settled(); check()",
    )
    assert len(server.store.aborted) == 1
    assert "up" not in {*server.keys()}


@pytest.mark.parametrize("stalls", ["DELETE", "POST"])
def test_ctrl_c_does_not_wait_for_a_server_that_will_not_abort(server, stalls):
    """The abort (or the answer to the upload's creation) never comes; the caller does not care."""
    server.faults.add(Fault(faults.stall("answer"), method=stalls, times=None))
    stalled = server.faults.add(Fault(faults.stall("request"), method="PUT", times=None))
    interrupt(
        server,
        "store.put('up', content(0, 20_000_000), chunk_size=5 * 1024 * 1024)",
        when=stalled.wait_hit if stalls == "DELETE" else lambda: time.sleep(0.4),
        heal=server.faults.clear,
        after="check(); settled()",
    )
    _until(lambda: not server.store.uploads)


def _until(condition):
    end = time.monotonic() + 5 * SLOW
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.smoke
@pytest.mark.parametrize("call", ["get_range(KEY, start=0, end=SIZE, into=view)", "get(KEY, into=view)"])
def test_a_destination_is_the_callers_again_after_ctrl_c(server, call):
    """No late write: a canary that is put into the buffer at once is still there a while later."""
    fault = server.faults.add(Fault(faults.drip(20_000, 0.002), times=None))
    interrupt(
        server,
        f"store.{call}",
        setup="buffer = bytearray(SIZE)\nview = memoryview(buffer)",
        when=lambda: (fault.wait_hit(), time.sleep(0.1)),
        after="""
assert any(buffer), "the interrupt came before the first byte"
view.release()
""",
    )
    # The same again; this time the canary goes in the moment the call has ended, with bytes still coming.
    run(
        server,
        f"""
        import signal, threading
        buffer = bytearray(SIZE)
        view = memoryview(buffer)
        for round in range(5):
            timer = threading.Timer(0.05 + round * 0.02, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            try:
                store.{call}
                raise SystemExit("not interrupted")
            except KeyboardInterrupt:
                buffer[:] = b"\\xAA" * SIZE
            timer.join()
            time.sleep(0.1)
            assert buffer.count(b"\\xAA") == SIZE
        view.release()
        buffer.append(1)
        settled()
        """,
    )


def test_an_exception_from_another_signal_ends_a_call_as_well(server):
    server.faults.add(Fault(faults.stall("answer"), times=1))
    run(
        server,
        """
        import signal
        class Alarm(Exception):
            pass
        raised = 0
        def handler(*_):
            global raised
            raised += 1
            if raised <= 3:
                raise Alarm
        signal.signal(signal.SIGALRM, handler)
        buffer = bytearray(SIZE)
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.01)
        try:
            try:
                store.get_range(KEY, start=0, end=SIZE, into=buffer)
                raise SystemExit("not interrupted")
            finally:
                until(lambda: raised > 3)
        except Alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        sys.last_traceback = None
        settled()
        buffer.append(1)
        check()
        settled()
        """,
    )


@pytest.mark.parametrize(("timer", "signal"), [("REAL", "ALRM"), ("PROF", "PROF")])
def test_a_storm_of_timers(server, timer, signal):
    """A signal every millisecond, handled in Python: the bytes are right, and nothing is tried twice."""
    run(
        server,
        f"""
        import asyncio, signal, threading
        count = 0
        def handler(*_):
            global count
            count += 1
        signal.signal(signal.SIG{signal}, handler)
        signal.setitimer(signal.ITIMER_{timer}, 0.001, 0.001)
        async def many():
            bodies = await asyncio.gather(*[store.get_range_async(KEY, start=0, end=SIZE) for _ in range(8)])
            assert all(body == content() for body in bodies)
        thread = threading.Thread(target=lambda: [check() for _ in range(50)])
        thread.start()
        end = time.monotonic() + 1
        while time.monotonic() < end or count < 100:
            assert store.get_range(KEY, start=0, end=SIZE) == content()
            asyncio.run(many())
            store.put("new", content(0, 300_000))
        thread.join()
        signal.setitimer(signal.ITIMER_{timer}, 0)
        assert count >= 100
        assert s3ext.stats()["retries"] == 0
        settled()
        """,
    )


@pytest.mark.parametrize("kind", ["server", "tls_server"])
def test_sigpipe_as_the_system_has_it(request, kind):
    """Connections that the server resets while a body is sent do not kill a process that has not SIG_IGN."""
    server = request.getfixturevalue(kind)
    server.faults.add(Fault(faults.cut_upload(100_000, reset=True), method="PUT", times=6))
    server.faults.add(Fault(faults.cut_upload(100_000), method="PUT", times=6))
    run(
        server,
        """
        import asyncio, signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        from datetime import timedelta
        backoff = {"init_backoff": timedelta(milliseconds=1)}
        on = connect(retry_config={"max_retries": 10, "backoff": backoff})
        data = content(0, 2_000_000)
        for number in range(3):
            on.put(f"sync{number}", data)
            asyncio.run(on.put_async(f"async{number}", data))
        assert s3ext.stats()["retries"] >= 6
        """,
    )


def test_other_programs_signals_go_to_the_main_thread(server):
    """The I/O thread takes none: a handler runs at once, even while that thread is busy."""
    run(
        server,
        """
        import asyncio, signal, threading
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(time.monotonic()))
        def takes(task):
            with open(f"/proc/self/task/{task}/status") as file:
                blocked = next(line for line in file if line.startswith("SigBlk")).split()[1]
            return not int(blocked, 16) & 1 << signal.SIGUSR1 - 1
        thread = threading.Thread(target=int)  # the first of a process brings ThreadSanitizer's own
        thread.start()
        thread.join()
        before = set(os.listdir("/proc/self/task"))
        asyncio.run(store.head_async(KEY))
        (ours,) = set(os.listdir("/proc/self/task")) - before
        assert takes(os.getpid()) and not takes(ours)
        os.kill(os.getpid(), signal.SIGUSR1)
        until(lambda: seen)
        """,
    )
