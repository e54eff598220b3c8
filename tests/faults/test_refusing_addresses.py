"""Hosts of several addresses of which some refuse: the next one is tried at once.

libcurl 7.88 by itself waits up to half of the connect time-out before it does.
"""

import pytest

from tests.faults.test_names import HOST, houses, resolver, run  # noqa: F401

BOTH_WAYS = """
import asyncio
begun = time.monotonic()
for _ in range(12):
    check()
async def main():
    for _ in range(12):
        assert (await store.head_async(KEY))["size"] == SIZE
asyncio.run(main())
assert not retries(), retries()
assert time.monotonic() - begun < 3, time.monotonic() - begun
"""


@pytest.mark.parametrize("alive", [1, 3])
def test_addresses_that_refuse_are_passed_over(resolver, houses, alive):  # noqa: F811
    """Of four, one or three refuse; every request makes a connection of its own and nothing is retried."""
    servers = houses(alive, max_requests_per_connection=1)
    resolver.answer(HOST, *[f"127.0.1.{number}" for number in (4, 3, 2, 1)])
    run(servers[0], resolver, BOTH_WAYS, limit=100)
    assert sum(server.connections_opened for server in servers) == 24
    assert all(not server.errors for server in servers)
