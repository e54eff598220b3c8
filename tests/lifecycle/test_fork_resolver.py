"""Forks while libcurl's own threads are inside getaddrinfo, by a resolver that takes its time."""

from __future__ import annotations

import time

import pytest

from tests.faults.resolver import Resolver
from tests.lifecycle.process import SLOW, Script

pytestmark = pytest.mark.fork

HOST = "storage.test"
SECONDS = 2.0

# The parent's request stands in its look-up when the child is made. The child's own look-ups take as long.
SCRIPT = """
import asyncio, threading
from s3ext.exceptions import BaseError
far, near = connect(endpoint={far!r}), connect(endpoint={near!r})
{warm}
outcomes = []
def one():
    try:
        assert far.get_range(KEY, start=5, end=100_005) == content(5, 100_005)
        outcomes.append("sync")
    except BaseError as error:
        outcomes.append(repr(error))
async def many():
    sizes = await asyncio.gather(*[far.head_async(KEY) for _ in range(3)])
    assert [meta["size"] for meta in sizes] == [SIZE] * 3
    outcomes.append("async")
threads = [threading.Thread(target=one), threading.Thread(target=lambda: asyncio.run(many()))]
for thread in threads[{which}]:
    thread.start()
print("started", flush=True)
sys.stdin.readline()
def work():
    begun = time.monotonic()
    check(near)
    asyncio.run(near.head_async(KEY))
    assert time.monotonic() - begun < 1 * {slow}, time.monotonic() - begun
    if {child_resolves}:
        check(connect(endpoint={far!r}, part_size=1_000_000))
        check(far)
wait = fork(work, {ending!r})
forked = time.monotonic()
check(near)
assert time.monotonic() - forked < 1 * {slow}
wait()
for thread in threads[{which}]:
    thread.join()
assert outcomes and set(outcomes) <= {{"sync", "async"}}, outcomes
assert s3ext.stats()["retries"] == 0
check(far)
settled()
"""

WHICH = {"sync": "0:1", "io-thread": "1:2", "both": "0:2"}


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("ending", ["os._exit", "sys.exit"])
@pytest.mark.parametrize("which", WHICH)
def test_a_fork_during_a_look_up(server, tmp_path, which, ending, warm):
    """The child works at once and ends; the parent's request ends well when the answer comes."""
    resolver = Resolver(tmp_path)
    resolver.answer(HOST, "127.0.0.1", wait=SECONDS)
    body = SCRIPT.format(
        far=f"http://{HOST}:{server.port}",
        near=server.url,
        warm="check(near); asyncio.run(near.head_async(KEY))" if warm else "",
        which=WHICH[which],
        ending=ending,
        slow=SLOW,
        child_resolves=which == "both",
    )
    with Script(server, body, limit=25, environment=resolver.environment) as script:
        assert script.line() == "started"
        resolver.wait(2 if which == "both" else 1)
        time.sleep(0.05)
        script.process.stdin.write("\n")
        script.process.stdin.flush()
        script.end()
    assert resolver.asked().count(HOST) >= 1


@pytest.mark.parametrize("ending", ["os._exit", "sys.exit"])
def test_a_child_ends_at_once_although_its_parent_looks_a_name_up(server, tmp_path, ending):
    """And so does the parent, whose look-up would take half a minute: it is left behind, not waited for."""
    resolver = Resolver(tmp_path)
    resolver.answer(HOST, "127.0.0.1", wait=30)
    body = f"""
import threading
far = connect(endpoint="http://{HOST}:{server.port}", connect_timeout="60s")
def one():
    try:
        far.head(KEY)
    except BaseException:
        pass
threading.Thread(target=one, daemon=True).start()
print("started", flush=True)
sys.stdin.readline()
begun = time.monotonic()
fork(lambda: None, {ending!r})()
assert time.monotonic() - begun < 1 * {SLOW}, time.monotonic() - begun
check()
"""
    with Script(server, body, limit=10, environment=resolver.environment) as script:
        assert script.line() == "started"
        resolver.wait()
        begun = time.monotonic()
        script.process.stdin.write("\n")
        script.process.stdin.flush()
        script.end()
        assert time.monotonic() - begun < 4 * SLOW
