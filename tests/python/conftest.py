"""Fixtures for the tests of the Python layer."""

from __future__ import annotations

import pytest

from tests.python.ways import connect


@pytest.fixture
def store(server):
    """A store on the verifying server's bucket."""
    return connect(server)
