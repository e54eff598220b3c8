"""Fixtures of the fault tests; what they check at the end holds for every test."""

from __future__ import annotations

import time

import pytest

import s3ext
from tests.conftest import serve
from tests.faults.tools import Counters
from tests.python.ways import Way
from tests.server import SECRET_KEY, VerifyingServer


@pytest.fixture(autouse=True, params=["direct", "curl"])
def lane(request, monkeypatch):
    """Run every test on both lanes, its child processes included.

    The direct lane is what `auto` chooses wherever it can serve: what it cannot do (HTTP/2, proxies that
    forward) is the other one's in either run.
    """
    monkeypatch.setenv("S3EXT_LANE", "curl" if request.param == "curl" else "auto")
    return request.param


@pytest.fixture
def sync():
    """Sync calls only, where the way makes no difference."""
    return Way("sync")


def check_uploads(server):
    """Assert that no upload is left; an abort has time to come."""
    end = time.monotonic() + 2
    server.wait_idle()
    while server.store.uploads and time.monotonic() < end:
        time.sleep(0.01)
    assert not server.store.uploads, "an upload was not aborted"


@pytest.fixture
def server():
    """A server that takes small parts; at the end nothing may be wrong and no upload be left."""
    yield from serve(VerifyingServer(min_part_size=0), check_uploads)


@pytest.fixture
def fresh_server():
    """The same, but every request comes on a connection of its own.

    On a connection that was used before and dies without an answer libcurl repeats a request by itself,
    which no counter shows.
    """
    yield from serve(VerifyingServer(min_part_size=0, max_requests_per_connection=1), check_uploads)


@pytest.fixture
def counters():
    """Return the changes of the core's retry counters since the test began."""
    return Counters()


@pytest.fixture(autouse=True)
def nothing_left(caplog, capfd):
    """Demand that no slot and no memory is held at the end, and that no secret was logged or printed."""
    caplog.set_level(0)
    yield
    end = time.monotonic() + 2
    while any(left := [s3ext.stats()[name] for name in ("exchanges_in_flight", "bytes_in_flight")]):
        assert time.monotonic() < end, f"still in flight: {left[0]} exchanges, {left[1]} bytes"
        time.sleep(0.005)
    printed = capfd.readouterr()
    for text in (caplog.text, printed.out, printed.err):
        assert SECRET_KEY not in text
        assert "Signature=" not in text
