"""What is mended rather than waited out, and what must hold nobody up.

Older keys, damaged bodies, objects that became shorter; the hash of a large body; connections that nobody
uses; connections that are never made.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import re
import signal
import socket
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern, retrying
from tests.lifecycle.process import SLOW, Script
from tests.server import Fault, ForwardProxy, VerifyingServer, faults

LARGE = 9 * PART + 4321
DENIALS = ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AnythingAtAll"]
DAMAGES = ["BadDigest", "XAmzContentSHA256Mismatch"]


# Objects that became shorter.


@pytest.mark.parametrize("first", ["whole", "stream"])
@pytest.mark.parametrize("nth", [2, 4])
def test_a_later_part_behind_the_end_means_that_the_object_was_modified(server, way, first, nth):
    server.put("k", pattern(LARGE))
    gone = faults.s3_error("InvalidRange")
    result = way(connect(server), "get", "k")
    server.faults.add(Fault(gone, method="GET", skip=nth - 2, times=None))
    with pytest.raises(exceptions.PreconditionError) as caught:
        way(result, "bytes") if first == "whole" else way.pieces(result.stream(PART))
    assert (caught.value.status, caught.value.code, caught.value.key) == (416, "InvalidRange", "k")


def test_a_piece_behind_the_end_after_another_was_answered_means_that_the_object_was_modified(server, way):
    """All pieces are asked for at once, before there is an ETag to pin."""
    server.put("k", pattern(LARGE))
    late = Fault(faults.delay(0.2), method="GET", when=lambda request: request.range()[0] == 8 * PART)
    server.faults.add(late)
    gone = faults.s3_error("InvalidRange")
    server.faults.add(Fault(gone, method="GET", when=lambda request: request.range()[0] == 8 * PART))
    with pytest.raises(exceptions.PreconditionError) as caught:
        way(connect(server), "get_ranges", "k", starts=[0, 8 * PART], ends=[10, 8 * PART + 10], coalesce=0)
    assert (caught.value.status, caught.value.code) == (416, "InvalidRange")
    assert not any(request.header("if-match") for request in server.find("GET", "k"))


def test_a_condition_of_the_callers_own_does_not_make_a_wrong_range_a_modified_object(server, way):
    stored = server.put("k", b"data")
    options = {"range": (100, 200), "if_match": stored.etag}
    with pytest.raises(exceptions.GenericError) as caught:
        way(connect(server), "get", "k", options=options)
    assert caught.value.status == 416
    assert not isinstance(caught.value, exceptions.PreconditionError)


# Keys that were older than the newest.


class Rotation:
    """Gives a new key pair at each call; the first `brief` of them are near their end.

    While such keys are used, the next are asked for.
    """

    def __init__(self, server, brief):
        self.server = server
        self.brief = brief
        self.calls = 0

    def __call__(self):
        self.calls += 1
        name = f"AKIDROTATION{self.calls:08}"
        self.server.add_credential(name, f"canary-secret-{self.calls}")
        lifetime = timedelta(minutes=1) if self.calls <= self.brief else timedelta(hours=9)
        return {
            "access_key_id": name,
            "secret_access_key": f"canary-secret-{self.calls}",
            "token": None,
            "expires_at": datetime.now(UTC) + lifetime,
        }


def keys_used(server):
    used = (
        re.search(r"AKIDROTATION(\d+)/", request.header("authorization"))
        for request in server.find("GET", "k")
    )
    return [int(match[1]) for match in used]


def prepare(server, way, brief=1):
    """Make a store whose next request is signed with the first keys while the second ones are fetched."""
    provider = Rotation(server, brief)
    store = connect(server, credential_provider=provider)
    way(store, "head", "k")
    time.sleep(0.15)  # the provider is not asked again at once
    assert provider.calls == 1
    return provider, store


@pytest.mark.parametrize("code", DENIALS)
def test_a_refusal_of_older_keys_is_tried_again_with_the_newest(server, counters, way, code):
    server.put("k", b"data")
    provider, store = prepare(server, way)
    server.faults.add(Fault(faults.delay(0.3), method="GET"))
    server.faults.add(Fault(faults.s3_error(code, status=403), method="GET"))
    assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    assert keys_used(server) == [1, 2]
    assert counters() == {"retries": 1, "retries_other": 1}
    assert provider.calls == 2


@pytest.mark.parametrize("code", DENIALS)
def test_a_refusal_of_the_newest_keys_stands(server, counters, way, code):
    server.put("k", b"data")
    _, store = prepare(server, way)
    server.faults.add(Fault(faults.delay(0.3), method="GET"))
    server.faults.add(Fault(faults.s3_error(code, status=403), method="GET", times=None))
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        way(store, "get_range", "k", start=0, end=4)
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (403, code, 2)
    assert keys_used(server) == [1, 2]
    assert counters() == {"retries": 1, "retries_other": 1}


def test_each_newer_pair_of_keys_is_tried_once(server, sync):
    server.put("k", b"data")
    _, store = prepare(server, sync, brief=3)
    # Keys that end soon are renewed after 100 ms, then 200, then 400: before each answer is there.
    server.faults.add(Fault(faults.delay(0.7), method="GET", times=None))
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="GET", times=None))
    with pytest.raises(exceptions.PermissionDeniedError):
        sync(store, "get_range", "k", start=0, end=4)
    assert keys_used(server) == [1, 2, 3, 4]


def test_expired_tokens_are_replaced_by_keys_that_are_there_however_often(server, sync):
    server.put("k", b"data")
    _, store = prepare(server, sync, brief=4)
    server.faults.add(Fault(faults.delay(0.3), method="GET", times=4))
    server.faults.add(Fault(faults.s3_error("ExpiredToken"), method="GET", times=4))
    assert bytes(sync(store, "get_range", "k", start=0, end=4)) == b"data"
    assert keys_used(server) == [1, 2, 3, 4, 5]


# Bodies that were damaged on their way.


@pytest.mark.parametrize("mode", ["overwrite", "create"])
@pytest.mark.parametrize("code", DAMAGES)
def test_a_damaged_body_is_sent_once_more(server, counters, way, code, mode):
    server.faults.add(Fault(faults.s3_error(code, status=400), method="PUT"))
    way(connect(server), "put", "k", b"data", mode=mode)
    assert server.get("k").data == b"data"
    assert len(server.find("PUT", "k")) == 2
    assert counters() == {"retries": 1, "retries_transport": 1}


@pytest.mark.parametrize("code", DAMAGES)
def test_a_body_that_is_always_refused_as_damaged_is_an_error(server, way, code):
    server.faults.add(Fault(faults.s3_error(code, status=400), method="PUT", times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        way(connect(server), "put", "k", b"data")
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (400, code, 2)


# Large bodies are hashed in steps: what else wants a turn does not wait for the end.

HUGE = 4 << 30
AT_ONCE = 0.2 * SLOW
"""Seconds; the best of a few tries counts, because the machine may be busy with other things."""


@pytest.fixture
def huge_body():
    """A body of 4 GiB that takes no memory: every page of it is the system's one page of zeros."""
    return mmap.mmap(-1, HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)


class TimeIsUpError(Exception):
    """What the signal's handler raises."""


def interrupted_put(store, body):
    """Put until a signal comes, and return how long after it the put ended."""

    def handler(number, frame):
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        due = time.monotonic() + 0.1
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeIsUpError):
            store.put("k", body, use_multipart=False)
        return time.monotonic() - due
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_ends_a_put_whose_body_is_being_hashed(server, huge_body):
    store = connect(server)
    assert min(interrupted_put(store, huge_body) for _ in range(3)) < AT_ONCE
    assert server.requests == []


@pytest.mark.fork
def test_a_fork_does_not_wait_for_the_hash_of_a_body(server, huge_body):
    async def main():
        task = asyncio.create_task(connect(server).put_async("k", huge_body, use_multipart=False))
        await asyncio.sleep(0.1)
        took = []
        for _ in range(3):
            began = time.monotonic()
            child = os.fork()
            if child == 0:
                os._exit(0)
            took.append(time.monotonic() - began)
            assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - it has ended by now
        assert not task.done()
        assert server.requests == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return min(took)

    assert asyncio.run(main()) < AT_ONCE


def test_a_small_request_does_not_wait_for_the_hash_of_a_large_body(server, huge_body):
    store = connect(server)

    async def main():
        large = asyncio.create_task(store.put_async("k", huge_body, use_multipart=False))
        await asyncio.sleep(0.05)
        await store.put_async("small", bytes(PART))
        await store.put_async("middle", bytes(16 * PART))
        assert not large.done()
        assert server.find("PUT", "k") == []
        large.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large

    asyncio.run(main())


def test_a_body_of_many_steps_is_signed_right(server, way):
    body = Random(1).randbytes(20 * 1024 * 1024 + 77)
    way(connect(server), "put", "k", body, use_multipart=False)
    assert server.get("k").data == body


# Connections that nobody uses are let go. In processes of their own: no other test has used their reactors.

CROWD_OF_TWO = """
    import asyncio, socket, stat, threading
    from datetime import timedelta

    store = connect(client_options={"pool_idle_timeout": timedelta(seconds=1)})

    def is_connection(number):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                return False
            copy = socket.socket(fileno=os.dup(number))
        except OSError:  # closed meanwhile
            return False
        with copy:
            return copy.family == socket.AF_INET  # libcurl and asyncio have pairs of local ones

    def sockets():
        return sum(is_connection(int(number)) for number in os.listdir("/proc/self/fd"))

    def crowd():
        threads = [threading.Thread(target=store.head, args=(KEY,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
"""


def let_two_meet(server, script):
    """Run a script whose crowd has two requests under way at the same time, and so a connection for each."""
    both = server.faults.add(Fault(faults.stall("answer"), method="HEAD", times=2))
    with Script(server, textwrap.dedent(CROWD_OF_TWO) + textwrap.dedent(script), limit=20) as child:
        both.wait_hit(2)
        both.release()
        child.end()


def test_idle_connections_are_closed_when_another_caller_passes_by(server):
    let_two_meet(
        server,
        """
        crowd()
        assert sockets() == 2
        end = time.monotonic() + 10
        while sockets() > 1 and time.monotonic() < end:
            check(store)
            time.sleep(0.1)
        assert sockets() == 1
        opened = s3ext.stats()["connections_opened"]
        check(store)
        assert s3ext.stats()["connections_opened"] == opened  # the one in use was kept
        """,
    )


def test_idle_connections_of_callers_are_closed_by_the_io_thread(server):
    let_two_meet(
        server,
        """
        crowd()
        asyncio.run(store.get_range_async(KEY, start=0, end=4))
        assert sockets() == 3
        until(lambda: sockets() <= 1, seconds=10)
        check(store)
        """,
    )


def test_connections_within_their_idle_time_are_kept(server):
    let_two_meet(
        server,
        """
        store = connect()
        crowd()
        for _ in range(4):
            check(store)
            time.sleep(0.6)
        assert sockets() == 2
        """,
    )


# Connections that are never made.

CALLS = {
    "get": lambda store: store.get_async("k"),
    "put": lambda store: store.put_async("k", b"data"),
    "conditional put": lambda store: store.put_async("k", b"data", mode="create"),
    "list": lambda store: store.list().collect_async(),
}


@pytest.fixture
def silent_port():
    """A port that takes every connection and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        taken = []

        def take_all():
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=take_all)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


async def failures_of(call, store, count):
    outcomes = await asyncio.gather(*(call(store) for _ in range(count)), return_exceptions=True)
    assert all(isinstance(outcome, exceptions.BaseError) for outcome in outcomes), outcomes
    return outcomes


@pytest.mark.parametrize("call", CALLS)
def test_many_connections_that_are_not_made_in_time_use_up_all_their_attempts(counters, silent_port, call):
    """They are not counted against the host's budget, which would last for 50 of them."""
    limits = {"connect_timeout": timedelta(milliseconds=300), "concurrency": 128}
    store = connect(f"https://127.0.0.1:{silent_port}", max_retries=3, client_options=limits)
    errors = asyncio.run(failures_of(CALLS[call], store, 120))
    assert {(type(error), error.attempts) for error in errors} == {(exceptions.RequestTimeoutError, 4)}
    assert counters() == {"retries": 360, "retries_connect": 360}


@pytest.mark.parametrize("call", CALLS)
def test_a_tls_connection_through_a_proxy_that_is_not_made_in_time_is_tried_again(silent_port, call):
    """What was sent is the proxy's CONNECT: the server has seen nothing."""
    with ForwardProxy({"silent.test:443": silent_port}) as proxy:
        limits = {"connect_timeout": timedelta(milliseconds=300), "proxy_url": proxy.url}
        store = connect("https://silent.test", max_retries=2, client_options=limits)
        (error,) = asyncio.run(failures_of(CALLS[call], store, 1))
        assert (type(error), error.attempts) == (exceptions.RequestTimeoutError, 3)
        assert [request.status for request in proxy.requests] == [200] * 3


def test_a_failure_that_the_hosts_budget_makes_final_says_so(sync):
    host = "127.0.2.7"  # no other test's: what is left of the budget stays with the host and port
    with VerifyingServer(host=host) as server:
        server.faults.add(Fault(faults.html_error(500), times=None))
        store = connect(server, retry_config=retrying(1000, first_ms=0, most_ms=0))
        with pytest.raises(exceptions.GenericError, match="not tried again: too many requests") as caught:
            sync(store, "get_range", "k", start=0, end=4)
        assert caught.value.attempts == 101
        with pytest.raises(exceptions.GenericError) as caught:
            sync(connect(server, max_retries=0), "get_range", "k", start=0, end=4)
        assert "not tried again" not in str(caught.value)
