"""Names that cannot be resolved, or slowly, or to addresses of which some are dead."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.faults.resolver import Resolver
from tests.lifecycle import KEY, SIZE
from tests.lifecycle.process import SLOW, Script
from tests.server import PatternBody, VerifyingServer

HOST = "storage.test"
QUICK_RETRIES = """
from datetime import timedelta
from s3ext.exceptions import BaseError
def quick(max_retries=1):
    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=20)}
    return {"max_retries": max_retries, "backoff": backoff}
def retries():
    return {name: count for name, count in s3ext.stats().items() if "retries" in name and count}
"""


@pytest.fixture
def resolver(tmp_path):
    return Resolver(tmp_path)


@pytest.fixture
def houses():
    """Start servers on 127.0.1.1 and the next addresses, all on one port."""
    with contextlib.ExitStack() as stack:

        def start(count, **options):
            first = stack.enter_context(VerifyingServer(host="127.0.1.1", **options))
            rest = [
                VerifyingServer(host=f"127.0.1.{n}", port=first.port, **options) for n in range(2, count + 1)
            ]
            servers = [first, *map(stack.enter_context, rest)]
            for server in servers:
                server.put(KEY, PatternBody(SIZE))
            return servers

        yield start


@contextlib.contextmanager
def deaf(family, address, port):
    """Keep an address from answering those who connect: its backlog is full."""
    with socket.socket(family) as listener, contextlib.ExitStack() as clients:
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            client = clients.enter_context(socket.socket(family))
            client.setblocking(False)
            client.connect_ex((address, port))
        time.sleep(0.02)
        yield


def run(server, resolver, body, *, port=None, limit=15):
    environment = {**resolver.environment, "LIFECYCLE_URL": f"http://{HOST}:{port or server.port}"}
    with Script(server, QUICK_RETRIES + body, limit=limit, environment=environment) as script:
        return script.end()


BOTH_WAYS = """
import asyncio
check()
async def main():
    assert (await store.head_async(KEY))["size"] == SIZE
asyncio.run(main())
assert not retries(), retries()
"""


def test_an_address_that_refuses_is_passed_over(resolver, houses):
    """One of four; no error comes of it, and no retry."""
    servers = houses(3, max_requests_per_connection=1)
    resolver.answer(HOST, *[f"127.0.1.{number}" for number in (4, 3, 2, 1)])
    run(servers[0], resolver, BOTH_WAYS)
    assert sum(server.connections_opened for server in servers) == 2
    assert all(not server.errors for server in servers)


def test_an_address_that_does_not_answer_is_passed_over(resolver, houses):
    (server,) = houses(1)
    resolver.answer(HOST, "127.0.1.2", "127.0.1.1")
    with deaf(socket.AF_INET, "127.0.1.2", server.port):
        run(
            server,
            resolver,
            "store = connect(connect_timeout='4s')\ncheck(store)\nassert not retries()",
        )


def test_a_dead_ipv6_address_costs_little(resolver, houses):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    (server,) = houses(1)
    resolver.answer(HOST, "::1", "127.0.1.1")
    body = f"""
begun = time.monotonic()
check()
assert time.monotonic() - begun < 0.5 * {SLOW}, time.monotonic() - begun
assert not retries()
"""
    with deaf(socket.AF_INET6, "::1", server.port):
        run(server, resolver, body)


@pytest.mark.parametrize("answer", ["NONAME", "AGAIN", "FAIL"])
def test_a_name_that_does_not_resolve_is_looked_up_twice(resolver, server, answer):
    resolver.answer(HOST, answer)
    run(
        server,
        resolver,
        """
try:
    store.head(KEY)
    raise AssertionError("there is no such host")
except ConnectionError as error:
    assert (error.attempts, error.retryable) == (2, True)
    assert "storage.test" in str(error)
assert retries() == {"retries": 1, "retries_connect": 1}, retries()
""",
    )
    assert resolver.asked() == [HOST] * 2
    assert server.requests == []


def test_a_name_that_resolves_at_the_second_look_up_is_found(resolver, houses):
    (server,) = houses(1)
    resolver.answer(HOST, "AGAIN", wait=0.3)
    environment = {**resolver.environment, "LIFECYCLE_URL": f"http://{HOST}:{server.port}"}
    with Script(server, "print('go', flush=True)\ncheck()", environment=environment) as script:
        assert script.line() == "go"
        resolver.wait()
        resolver.answer(HOST, "127.0.1.1")
        script.end()
    assert resolver.asked() == [HOST] * 2


def test_a_slow_look_up_is_waited_for(resolver, houses):
    (server,) = houses(1)
    resolver.answer(HOST, "127.0.1.1", wait=1)
    run(server, resolver, "check()\nassert not retries()")
    assert resolver.asked() == [HOST]


def test_a_look_up_that_takes_too_long_is_a_timeout_and_holds_nobody_up(resolver, server):
    """Not other hosts, sync or on the I/O thread; and not the end of the process."""
    resolver.answer(HOST, "127.0.1.1", wait=30)
    body = f"""
import asyncio, threading
near = connect(endpoint={server.url!r})
def slow():
    lost = connect(connect_timeout="500ms", retry_config=quick())
    begun = time.monotonic()
    try:
        lost.head(KEY)
    except TimeoutError as error:
        assert error.attempts == 2, error
        outcomes.append(time.monotonic() - begun)
async def slow_async():
    lost = connect(connect_timeout="500ms", retry_config=quick())
    waiting = [asyncio.create_task(lost.head_async(KEY)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for _ in range(10):
        begun = time.monotonic()
        await near.head_async(KEY)
        check(near)
        assert time.monotonic() - begun < 0.3 * {SLOW}
        await asyncio.sleep(0.1)
    for failure in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(failure, TimeoutError), failure
outcomes = []
thread = threading.Thread(target=slow)
thread.start()
asyncio.run(slow_async())
thread.join()
assert len(outcomes) == 1 and 0.9 < outcomes[0] < 3 * {SLOW}, outcomes
"""
    begun = time.monotonic()
    run(server, resolver, body, port=server.port)
    assert time.monotonic() - begun < 6 * SLOW


def test_an_answer_that_changes_is_used_for_new_connections_once_it_is_looked_up_again(resolver, houses):
    """libcurl keeps an answer for a minute, each reactor for itself."""
    first, second = houses(2)
    resolver.answer(HOST, "127.0.1.1")
    environment = {**resolver.environment, "LIFECYCLE_URL": f"http://{HOST}:{first.port}"}
    body = """
import asyncio
check()
print("moved?", flush=True)
sys.stdin.readline()
asyncio.run(store.head_async(KEY))
check()
"""
    with Script(first, body, environment=environment) as script:
        assert script.line() == "moved?"
        resolver.answer(HOST, "127.0.1.2")
        script.process.stdin.write("\n")
        script.process.stdin.flush()
        script.end()
    # The sync caller keeps its connection to the old address, the I/O thread makes its first one.
    assert len(first.requests) == 2
    assert [request.method for request in second.requests] == ["HEAD"]
