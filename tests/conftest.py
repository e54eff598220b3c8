"""Fixtures for all tests: the verifying server, plain and over TLS.

Both fail a test that leaves something in `server.errors`, so that no test passes while the client is wrong on
the wire. A test that provokes refusals takes them away with `server.take_errors()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server import VerifyingServer, make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator


def _serve(server: VerifyingServer) -> Iterator[VerifyingServer]:
    with server:
        yield server
    assert not server.errors, "the client did wrong on the wire:\n" + "\n".join(map(str, server.errors))


@pytest.fixture
def server() -> Iterator[VerifyingServer]:
    """A server of its own for the test, over http, with the bucket "bucket"."""
    yield from _serve(VerifyingServer())


@pytest.fixture
def tls_server() -> Iterator[VerifyingServer]:
    """The same over https; the client must trust `tls_server.tls.ca`."""
    yield from _serve(VerifyingServer(tls=make_certificate()))
