"""Fixtures for the tests of the Python layer."""

from __future__ import annotations

import pytest

from tests.python.ways import Way, connect


@pytest.fixture(params=["sync", "async"])
def way(request):
    """Sync calls in one run of the test, async ones in the other."""
    way = Way(request.param)
    yield way
    way.close()


@pytest.fixture
def store(server):
    """A store on the verifying server's bucket."""
    return connect(server)
