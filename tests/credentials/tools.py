"""What the tests of credentials share: stores without keys, and files with them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from s3ext._clients import client_for
from s3ext.store import S3Store
from tests.faults.tools import PART, retrying
from tests.lifecycle import SLOW
from tests.server import REGION

__all__ = ["PART", "chain_of", "connect", "run_script", "section", "source_of"]

ROOT = Path(__file__).resolve().parents[2]


def connect(server, bucket="bucket", **options):
    """Make a store that is given no keys, unless the options hold them."""
    client = {"allow_http": True, "part_size": PART, **options.pop("client_options", {})}
    return S3Store(
        bucket,
        endpoint=server.url,
        region=REGION,
        retry_config=retrying(),
        client_options=client,
        **options,
    )


def chain_of(store):
    """Return the chain of a store; it must be in use, or nothing but this keeps it."""
    return client_for(store._settings, store.credential_provider)


def source_of(store):
    """Ask the store for something, and say where its keys came from."""
    client = client_for(store._settings, store.credential_provider)
    store.put("k", b"data")
    return client.provider.source


def run_script(body):
    """Run a script in a process of its own, and return what it prints; it must end well, and in time."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30 * SLOW,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def section(name, keys, **more):
    """Write a section with keys; `keys` as `Services.keys` gives them."""
    words = dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), keys, strict=False))
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in {**words, **more}.items())
