"""Connections that cannot be made, go away while idle, or must not be used again."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

import s3ext
from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern, read, retrying
from tests.server import Fault, VerifyingServer, faults, make_certificate


def ask(way, store):
    return bytes(way(store, "get_range", "k", start=0, end=4))


@pytest.fixture
def closed_port():
    """A port of this machine on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


@pytest.mark.smoke
def test_a_refused_connection_is_an_error_with_cause_host_and_attempts(counters, way, closed_port):
    with pytest.raises(exceptions.ConnectError) as caught:
        ask(way, connect(f"http://127.0.0.1:{closed_port}", max_retries=2))
    error = caught.value
    assert isinstance(error, ConnectionError)
    assert (error.status, error.code, error.attempts, error.retryable) == (None, None, 3, True)
    assert f"127.0.0.1:{closed_port}" in str(error)
    assert "attempts=3" in str(error)
    assert "onnection refused" in str(error) or "connect to" in str(error)
    assert counters() == {"retries": 2, "retries_connect": 2}


def test_a_server_that_comes_back_is_served(server, counters, sync):
    server.put("k", b"data")
    server.stop_listening()
    threading.Timer(0.15, server.listen_again).start()
    store = connect(server, retry_config=retrying(1000, first_ms=10, most_ms=20))
    assert ask(sync, store) == b"data"
    changes = counters()
    assert changes["retries"] == changes["retries_connect"] > 0


def test_an_unknown_host_is_looked_up_twice(counters, way):
    with pytest.raises(exceptions.ConnectError) as caught:
        ask(way, connect("http://nowhere.invalid:80"))
    assert (caught.value.attempts, caught.value.status, caught.value.retryable) == (2, None, True)
    assert "nowhere.invalid" in str(caught.value)
    assert counters() == {"retries": 1, "retries_connect": 1}


def test_an_unknown_host_does_not_hold_up_others(server):
    server.put("k", b"data")
    store, lost = connect(server), connect("http://nowhere.invalid")

    async def main():
        waiting = [asyncio.create_task(lost.head_async("k")) for _ in range(10)]
        begun = time.monotonic()
        for _ in range(10):
            await store.head_async("k")
        took = time.monotonic() - begun
        return took, await asyncio.gather(*waiting, return_exceptions=True)

    took, failures = asyncio.run(main())
    assert took < 1
    assert all(isinstance(failure, exceptions.ConnectError) for failure in failures)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_a_connection_closed_at_accept_is_tried_again(counters, sync, reset):
    closes = [2]

    with VerifyingServer() as server:
        server.put("k", b"data")

        async def on_accept(connection, fault):
            closes[0] -= 1
            connection.close(reset=reset)

        server.faults.add(Fault(faults.Action("close", on_accept=on_accept), times=2))
        assert ask(sync, connect(server)) == b"data"
        assert len(server.requests) == 1
    assert closes == [0]
    assert counters()["retries"] == 2


# Keep-alive.


def test_connections_are_kept_and_used_again(server, sync):
    server.put("k", b"data")
    store = connect(server)
    for _ in range(20):
        ask(sync, store)
        store.head("k")
        store.put("other", b"x")
    assert server.connections_opened == 1


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_idle_connections_that_the_server_closed_surface_nowhere(tls, reset, way):
    with VerifyingServer(tls=make_certificate() if tls else None) as server:
        server.put("k", b"data")
        trust = {"root_certificate": server.tls.ca.read_text()} if tls else {}
        store = connect(server, client_options=trust)
        for pause in (0, 0.03, 0):
            ask(way, store)
            assert server.close_idle_connections(reset=reset) >= 1
            time.sleep(pause)
            assert ask(way, store) == b"data"
        assert not server.errors


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_a_hundred_requests_at_once_after_all_idle_connections_were_closed(server, reset):
    server.put("k", b"data")
    store = connect(server)

    async def crowd():
        return await asyncio.gather(*[store.get_range_async("k", start=0, end=4) for _ in range(100)])

    async def main():
        for _ in range(3):
            server.wait_idle()
            assert [bytes(data) for data in await crowd()] == [b"data"] * 100
            opened = server.connections_opened
            closed = server.close_idle_connections(reset=reset)
            assert [bytes(data) for data in await crowd()] == [b"data"] * 100
            # A closed connection costs another one at most.
            assert server.connections_opened - opened <= max(closed, 100)

    asyncio.run(main())


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_an_answer_that_hangs_up_costs_the_next_request_nothing(server, way, reset):
    server.put("k", b"data")
    server.faults.add(Fault(faults.hang_up(reset=reset), times=None))
    store = connect(server)
    for _ in range(10):
        assert ask(way, store) == b"data"
    assert sum(request.status == 206 for request in server.requests) == 10


def test_a_polite_close_is_honoured(server, counters, way):
    server.put("k", b"data")
    server.faults.add(Fault(faults.close_politely(), times=None))
    store = connect(server)
    for _ in range(10):
        assert ask(way, store) == b"data"
    assert server.connections_opened == 10
    assert counters() == {}


def test_few_requests_for_each_connection_are_enough(counters, way):
    data = pattern(30 * PART)
    with VerifyingServer(max_requests_per_connection=3) as server:
        server.put("k", data)
        store = connect(server)
        for shape in ("range", "into", "ranges", "stream"):
            assert read(way, store, shape, "k", len(data)) == data
        assert not server.errors
    assert counters() == {}


def test_a_server_that_closes_idle_connections_early_surfaces_nowhere(way):
    with VerifyingServer(idle_timeout=0.01) as server:
        server.put("k", b"data")
        store = connect(server)
        for pause in (0.0, 0.009, 0.01, 0.011, 0.015, 0.02, 0.0):
            time.sleep(pause)
            assert ask(way, store) == b"data"
            way(store, "put", "p", b"data")


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_all_connections_lost_in_the_middle_are_made_again(server, counters, way, reset):
    data = pattern(24 * PART)
    server.put("k", data)
    server.faults.add(Fault(faults.drip(16_384, 0.004), method="GET", times=None))
    killer = faults.hook(lambda exchange: None)
    fault = server.faults.add(Fault(killer, method="GET", nth=12))

    def kill():
        fault.wait_hit()
        server.close_connections(reset=reset)

    thread = threading.Thread(target=kill)
    thread.start()
    assert read(way, connect(server), "into", "k", len(data)) == data
    thread.join(5)
    assert counters()["retries_transport"] >= 1


def test_descriptors_do_not_grow_with_failures(server, closed_port):
    server.put("k", b"data")

    def count():
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    def storm():
        lost = connect(f"http://127.0.0.1:{closed_port}", max_retries=3)
        server.faults.add(Fault(faults.cut(2), method="GET", times=20, probability=0.7))
        store = connect(server, max_retries=30)
        for _ in range(20):
            ask(lambda on, method, *args, **kwargs: getattr(on, method)(*args, **kwargs), store)
            with pytest.raises(exceptions.ConnectError):
                lost.head("k")

    storm()
    server.close_idle_connections()
    before = count()
    for _ in range(3):
        storm()
    server.close_idle_connections()
    server.wait_idle(connections=0)
    assert count() <= before + 4


def test_the_counters_of_work_under_way_return_to_nothing(server, way):
    server.put("k", pattern(9 * PART))
    server.faults.add(Fault(faults.cut(1000), method="GET", times=None, probability=0.5, seed=3))
    for _ in range(5):
        read(way, connect(server, max_retries=50), "into", "k", 9 * PART)
    stats = s3ext.stats()
    assert (stats["exchanges_in_flight"], stats["bytes_in_flight"]) == (0, 0)
