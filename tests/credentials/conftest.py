"""Fixtures of the tests of credentials: a home without anything in it, and a server of all services."""

from __future__ import annotations

import os
import random

import pytest

from s3ext._credentials import files, metadata, profiles
from tests.conftest import serve
from tests.credentials.services import Services
from tests.server import VerifyingServer


class Home:
    """A home directory, and the environment that goes with it."""

    def __init__(self, path, monkeypatch):
        self.path = path
        self.monkeypatch = monkeypatch

    def write(self, name, text, mode=0o600):
        """Write a file, as anew: a name, `credentials`, `config`, or another in the home directory."""
        where = self.path / {"credentials": ".aws/credentials", "config": ".aws/config"}.get(name, name)
        where.parent.mkdir(parents=True, exist_ok=True)
        fresh = where.with_name(where.name + ".fresh")
        fresh.write_bytes(text.encode() if isinstance(text, str) else text)
        fresh.chmod(mode)
        fresh.replace(where)
        return str(where)

    def set(self, **variables):
        """Set variables of the environment."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, str(value))


@pytest.fixture
def server():
    """A server that takes small parts; at the end nothing may be wrong."""
    yield from serve(VerifyingServer(min_part_size=0))


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AWS_", "HTS_S3_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(files, "_kept", {})
    monkeypatch.setattr(profiles, "_warned", set())
    monkeypatch.setattr(metadata, "_answered", False)
    return Home(tmp_path, monkeypatch)


@pytest.fixture
def services(server):
    """STS, SSO, a container's agent and an instance's metadata, whose keys are good at `server`."""
    with Services(server) as running:
        yield running


@pytest.fixture
def no_waits(monkeypatch):
    """Waits that are drawn by lot are drawn as short as can be."""
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
