"""Fixtures for all tests: the verifying server, plain and over TLS, and the two ways to call a store.

The servers fail a test that leaves something in `server.errors`, so that no test passes while the client is
wrong on the wire. A test that provokes refusals takes them away with `server.take_errors()`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.lifecycle import SLOW
from tests.server import VerifyingServer, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.python.ways import Way

# No test may find keys that it did not lay out: not those of who runs it, nor those of the machine.
for variable in [name for name in os.environ if name.startswith(("AWS_", "HTS_S3_"))]:
    del os.environ[variable]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "HTS_S3_S3CFG"):
    os.environ[variable] = os.devnull + "/none"

if SLOW > 1:
    # The time limit of an example is for code without sanitizers.
    settings.register_profile("sanitized", deadline=None)
    settings.load_profile("sanitized")


def serve(
    server: VerifyingServer, check: Callable[[VerifyingServer], None] = lambda _: None
) -> Iterator[VerifyingServer]:
    """Give a server to a test, and look at it when the test is through.

    Args:
        server: The server, not started.
        check: What to look at while it still runs, beside its errors.
    """
    with server:
        yield server
        check(server)
    assert not server.errors, "the client did wrong on the wire:\n" + "\n".join(map(str, server.errors))


@pytest.fixture
def server() -> Iterator[VerifyingServer]:
    """A server of its own for the test, over http, with the bucket "bucket"."""
    yield from serve(VerifyingServer())


@pytest.fixture
def tls_server() -> Iterator[VerifyingServer]:
    """The same over https; the client must trust `tls_server.tls.ca`."""
    yield from serve(VerifyingServer(tls=make_certificate()))


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """Sync calls in one run of the test, async ones in the other."""
    from tests.python.ways import Way  # here, because tests of C alone need no built s3ext

    way = Way(request.param)
    yield way
    way.close()
