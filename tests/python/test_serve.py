"""`s3ext.testing.serve`: it serves, and it never outlives the program that started it."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from s3ext.testing import serve


def listens(endpoint_url):
    try:
        socket.create_connection((urlsplit(endpoint_url).hostname, urlsplit(endpoint_url).port), 2).close()
    except OSError:
        return False
    return True


def ends(endpoint_url, seconds=10):
    deadline = time.monotonic() + seconds
    while listens(endpoint_url) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not listens(endpoint_url)


def test_a_bucket_can_be_made_written_and_read():
    with serve() as server:
        assert server.bucket("data") == "data"
        url = f"{server.endpoint_url}/data/key"
        headers = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request",
            "Content-Type": "application/octet-stream",
        }
        put = urllib.request.Request(url, data=b"hello", headers=headers, method="PUT")
        with urllib.request.urlopen(put) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            assert answer.read() == b"hello"


def test_a_bucket_may_be_made_again_and_a_bad_name_is_refused():
    with serve() as server:
        assert server.bucket("data") == server.bucket("data")
        with pytest.raises(urllib.error.HTTPError, match="400"):
            server.bucket("-")


def test_the_server_ends_with_the_block_even_after_an_error():
    with pytest.raises(ZeroDivisionError), serve() as server:
        raise ZeroDivisionError
    assert not listens(server.endpoint_url)


@pytest.mark.parametrize("forks", [False, True])
def test_the_server_ends_when_its_parent_is_killed(forks):
    # A fork that lives on keeps the pipe to the server open; the server must not count on it alone.
    fork = "if os.fork() == 0: time.sleep(20); os._exit(0)" if forks else ""
    script = f"""
import os, time
from s3ext.testing import serve
with serve() as server:
    {fork}
    print(server.endpoint_url, flush=True)
    time.sleep(20)
"""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            endpoint_url = parent.stdout.readline().strip()
            assert listens(endpoint_url)
            parent.send_signal(signal.SIGKILL)
            assert ends(endpoint_url)
        finally:
            parent.kill()


def test_without_moto_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install 's3ext\[demo\]'"), serve():
        pass


def test_a_server_that_does_not_come_up_in_time_is_an_error():
    with pytest.raises(TimeoutError, match=r"not ready within 0\.001 s"), serve(timeout=0.001):
        pass
