"""Silence: no connection, no answer, no further byte, or just too slow. The core's own watchdog ends it.

The watchdog looks every 250 ms, so that is how late a deadline may be; the tests allow for a busy machine.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from datetime import timedelta

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, SHAPES, connect, pattern, read, retrying, sent_once
from tests.server import Fault, VerifyingServer, faults, make_certificate

SMALL = PART - 999
LARGE = 6 * PART + 77
QUICK = {"read_timeout": "60ms"}


@pytest.fixture(autouse=True)
def in_time():
    """No silence may take longer than this."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 8


@pytest.fixture
def full_backlog():
    """A port whose connections are never accepted nor refused: the backlog is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fill = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        fill.append(client)
    time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    for client in fill:
        client.close()
    listener.close()


def ask(way, store):
    return bytes(way(store, "get_range", "k", start=0, end=4))


@pytest.mark.parametrize("at", ["accept", "request", "answer", "head"])
def test_an_answer_that_does_not_come_is_asked_for_again(server, counters, sync, at):
    server.put("k", b"data")
    server.faults.add(Fault(faults.stall(at), times=1))
    assert ask(sync, connect(server, client_options=QUICK)) == b"data"
    assert counters() == {"retries": 1, "retries_transport": 1}


@pytest.mark.parametrize("at", ["request", "answer"])
def test_answers_that_never_come_are_a_timeout(server, counters, way, at):
    server.faults.add(Fault(faults.stall(at), times=None))
    with pytest.raises(exceptions.RequestTimeoutError, match="no answer came within 60 ms") as caught:
        ask(way, connect(server, client_options=QUICK, max_retries=1))
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.status, error.attempts, error.retryable) == (None, 2, True)
    assert 0.1 < error.elapsed < 3
    assert counters() == {"retries": 1, "retries_transport": 1}


@pytest.mark.smoke
@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_that_stalls_is_resumed_elsewhere(server, counters, sync, shape):
    data = pattern(SMALL)
    stored = server.put("k", data)
    server.faults.add(Fault(faults.stall(1234), method="GET"))
    assert read(sync, connect(server, client_options=QUICK), shape, "k", SMALL) == data
    first, second = server.find("GET", "k")
    assert second.range()[0] == 1234
    assert second.header("if-match") == stored.etag
    assert second.connection != first.connection
    assert sent_once(server, "k", SMALL)
    assert counters() == {"retries": 1, "retries_transport": 1, "resumed": 1}


def test_parts_that_stall_hold_up_only_themselves(server, counters, way):
    data = pattern(LARGE)
    server.put("k", data)
    for nth in (2, 3, 5):
        server.faults.add(Fault(faults.stall(1000 * nth), method="GET", nth=nth))
    begun = time.monotonic()
    assert read(way, connect(server, client_options=QUICK), "range", "k", LARGE) == data
    assert time.monotonic() - begun < 2
    assert sent_once(server, "k", LARGE)
    assert counters() == {"retries": 3, "retries_transport": 3, "resumed": 3}


def test_a_body_that_always_stalls_is_a_timeout(server, way):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.stall(100), method="GET", times=None))
    with pytest.raises(exceptions.RequestTimeoutError, match="no byte came within 60 ms") as caught:
        read(way, connect(server, client_options=QUICK, max_retries=1), "range", "k", SMALL)
    assert (caught.value.attempts, caught.value.status) == (2, 206)


def test_a_stall_behind_the_last_byte_does_not_matter(server, counters, sync):
    data = pattern(SMALL)
    server.put("k", data)

    def stall_before_the_end(exchange):
        exchange.answer.wire.chunked = SMALL

    server.faults.add(Fault(faults.hook_after(stall_before_the_end), method="GET"))
    framing = len(b"%x\r\n" % SMALL) + SMALL + 2
    server.faults.add(Fault(faults.stall(framing), method="GET"))
    assert read(sync, connect(server, client_options=QUICK), "range", "k", SMALL) == data
    assert len(server.find("GET", "k")) == 1
    assert counters() == {}


def test_drops_are_progress(server, counters, way):
    """A drip far slower than read_timeout in all, but never silent that long."""
    server.put("k", b"data")
    server.faults.add(Fault(faults.drip(1, 0.15), method="GET", times=None))
    assert ask(way, connect(server, client_options={"read_timeout": "350ms"})) == b"data"
    assert counters() == {}


@pytest.mark.parametrize("at", ["request", "answer"])
def test_an_upload_whose_answer_does_not_come_is_sent_again(server, counters, sync, at):
    data = pattern(SMALL)
    server.faults.add(Fault(faults.stall(at), method="PUT"))
    sync(connect(server, client_options=QUICK), "put", "k", data)
    assert server.get("k").data == data
    assert counters() == {"retries": 1, "retries_transport": 1}


def test_an_upload_that_nobody_reads_is_a_timeout(server, sync):
    fault = server.faults.add(Fault(faults.stall("request"), method="PUT", times=None))
    store = connect(server, client_options=QUICK, max_retries=0)
    with pytest.raises(exceptions.RequestTimeoutError):
        sync(store, "put", "k", bytes(30_000_000), use_multipart=False)
    # The server sees the end of the connection only behind all that was sent before it.
    fault.release()


def test_a_total_deadline_ends_what_makes_progress_too(server, sync):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.drip(100, 0.02), method="GET", times=None))
    options = {"timeout": "100ms", "read_timeout": "5s"}
    with pytest.raises(exceptions.RequestTimeoutError, match="not complete within 100 ms") as caught:
        read(sync, connect(server, client_options=options, max_retries=1), "range", "k", SMALL)
    assert caught.value.attempts == 2


def test_a_total_deadline_is_of_one_request_and_resumes(server, counters, sync):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.drip(500, 0.02), method="GET", times=1))
    assert read(sync, connect(server, client_options={"timeout": "200ms"}), "range", "k", SMALL) == data
    server.wait_idle()
    first, second = server.find("GET", "k")
    # What was on its way when the deadline came is lost, and so asked for again.
    assert 0 < second.range()[0] <= first.body_sent
    assert counters() == {"retries": 1, "retries_transport": 1, "resumed": 1}


def test_a_host_that_does_not_answer_a_connect_is_a_timeout(counters, way, full_backlog):
    store = connect(full_backlog, client_options={"connect_timeout": "80ms"}, max_retries=1)
    begun = time.monotonic()
    with pytest.raises(exceptions.RequestTimeoutError) as caught:
        ask(way, store)
    assert time.monotonic() - begun < 2
    assert (caught.value.attempts, caught.value.status, caught.value.retryable) == (2, None, True)
    assert full_backlog.removeprefix("http://") in str(caught.value)
    assert counters() == {"retries": 1, "retries_connect": 1}


def test_a_put_that_could_not_connect_was_not_sent_and_may_be_repeated(sync, counters, full_backlog):
    store = connect(full_backlog, client_options={"connect_timeout": "50ms"}, max_retries=1)
    with pytest.raises(exceptions.RequestTimeoutError) as caught:
        sync(store, "put", "k", b"data", mode="create")
    assert caught.value.attempts == 2
    assert counters() == {"retries": 1, "retries_connect": 1}


def test_a_handshake_that_does_not_end_is_a_connect_timeout(counters, sync):
    with VerifyingServer(tls=make_certificate()) as server:
        server.faults.add(Fault(faults.stall("accept"), times=None))
        options = {"connect_timeout": "80ms", "root_certificate": server.tls.ca.read_text()}
        with pytest.raises(exceptions.RequestTimeoutError) as caught:
            ask(sync, connect(server, client_options=options, max_retries=1))
    assert caught.value.attempts == 2
    assert counters() == {"retries": 1, "retries_connect": 1}


def test_a_dead_host_does_not_hold_up_another(server, full_backlog):
    server.put("k", b"data")
    dead = connect(full_backlog, client_options={"connect_timeout": "1500ms"}, max_retries=0)
    store = connect(server)

    async def main():
        waiting = [asyncio.create_task(dead.head_async("k")) for _ in range(50)]
        await asyncio.sleep(0.02)
        begun = time.monotonic()
        for _ in range(20):
            assert (await store.head_async("k"))["size"] == 4
        took = time.monotonic() - begun
        return took, await asyncio.gather(*waiting, return_exceptions=True)

    took, failures = asyncio.run(main())
    assert took < 1.4
    assert all(isinstance(failure, exceptions.RequestTimeoutError) for failure in failures)


def test_a_stalled_read_does_not_hold_up_others_of_its_host(server):
    server.put("k", b"data")
    server.put("slow", b"data")
    fault = server.faults.add(Fault(faults.stall("answer"), key="slow", times=None))
    store = connect(server)
    slow = [threading.Thread(target=store.head, args=("slow",)) for _ in range(5)]
    for thread in slow:
        thread.start()
    try:
        fault.wait_hit(5)
        for _ in range(20):
            assert store.head("k")["size"] == 4
        assert all(thread.is_alive() for thread in slow)
    finally:
        fault.release()
        for thread in slow:
            thread.join(5)


def test_retry_timeout_ends_a_part_that_keeps_stalling(server, sync):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.stall(100), method="GET", times=None))
    config = retrying(100, retry_timeout=timedelta(milliseconds=300))
    with pytest.raises(exceptions.RequestTimeoutError) as caught:
        read(sync, connect(server, client_options=QUICK, retry_config=config), "range", "k", SMALL)
    assert 2 <= caught.value.attempts <= 5
