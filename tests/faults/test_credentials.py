"""Credentials that expire or are refused while requests run: one refresh for all, and then on as before."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern, read
from tests.server import Fault, faults

SIZE = 9 * PART + 11


class Provider:
    """Gives key pairs that the server knows, a new one at each call; the earlier ones expire."""

    def __init__(self, server, delay=0.0):
        self.server = server
        self.delay = delay
        self.calls = 0
        self.most_at_once = 0
        self.running = 0
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            self.calls += 1
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
            number = self.calls
        time.sleep(self.delay)
        name = f"AKIDGENERATION{number:06}"
        self.server.add_credential(name, f"canary-secret-{number}", token=f"canary/token+{number}=")
        with self.lock:
            self.running -= 1
        return {
            "access_key_id": name,
            "secret_access_key": f"canary-secret-{number}",
            "token": f"canary/token+{number}=",
            "expires_at": None,
        }

    def expire(self):
        """Make the server refuse the newest key pair."""
        self.server.expire_credential(f"AKIDGENERATION{self.calls:06}")


@pytest.fixture
def provider(server):
    provider = Provider(server)
    yield provider
    assert provider.most_at_once <= 1
    assert {error.code for error in server.take_errors()} <= {"ExpiredToken"}


@pytest.mark.parametrize("operation", ["get", "put", "list", "delete", "copy", "delete_many", "head"])
def test_an_expired_token_is_renewed_once_and_the_request_goes_on(server, counters, way, provider, operation):
    server.put("k", b"data")
    store = connect(server, credential_provider=provider)
    way(store, "head", "k")
    provider.expire()
    if operation == "get":
        assert bytes(way(way(store, "get", "k"), "bytes")) == b"data"
    elif operation == "put":
        way(store, "put", "new", b"fresh")
    elif operation == "list":
        assert len(store.list().collect()) == 1
    elif operation == "copy":
        way(store, "copy", "k", "k2")
    elif operation == "head":
        assert way(store, "head", "k")["size"] == 4
    else:
        way(store, "delete", "k" if operation == "delete" else ["k"])
    assert provider.calls == 2
    assert counters() == {"retries": 1, "retries_other": 1}
    way(store, "put", "more", b"x")
    assert provider.calls == 2


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"]
)
def test_all_codes_for_it_are_known(server, way, provider, code):
    server.put("k", b"data")
    server.faults.add(Fault(faults.s3_error(code, status=400), times=1))
    store = connect(server, credential_provider=provider)
    assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    assert provider.calls == 2


def test_64_that_wait_are_served_by_one_refresh(server, provider):
    server.put("k", b"data")
    store = connect(server, credential_provider=provider, client_options={"concurrency": 64})

    async def main():
        await store.head_async("k")
        provider.expire()
        provider.delay = 0.1
        return await asyncio.gather(*[store.get_range_async("k", start=0, end=4) for _ in range(64)])

    assert [bytes(data) for data in asyncio.run(main())] == [b"data"] * 64
    assert provider.calls == 2


def test_64_threads_that_wait_are_served_by_one_refresh(server, provider):
    server.put("k", b"data")
    provider.delay = 0.1
    store = connect(server, credential_provider=provider)
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(bytes(store.get_range("k", start=0, end=4))))
        for _ in range(64)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got == [b"data"] * 64
    assert provider.calls == 1


@pytest.mark.smoke
def test_an_upload_whose_token_expires_in_the_middle_is_completed(server, way, provider):
    data = pattern(SIZE)
    expire = faults.hook(lambda exchange: provider.expire())
    server.faults.add(Fault(expire, method="PUT", part=4, times=1))
    store = connect(server, credential_provider=provider)
    way(store, "put", "k", data, use_multipart=True, chunk_size=PART, max_concurrency=3)
    assert b"".join(server.get("k").body.views(0, SIZE)) == data
    assert provider.calls == 2
    assert len(server.store.completed) == 1


@pytest.mark.parametrize("shape", ["range", "into", "stream", "ranges"])
def test_a_read_whose_token_expires_in_the_middle_goes_on(server, way, provider, shape):
    data = pattern(SIZE)
    server.put("k", data)
    expire = faults.hook_after(lambda exchange: provider.expire())
    server.faults.add(Fault(expire, method="GET", nth=2))
    server.faults.add(Fault(faults.cut(500), method="GET", nth=4))
    assert read(way, connect(server, credential_provider=provider), shape, "k", SIZE) == data
    assert provider.calls == 2


def test_keys_that_are_always_refused_are_an_error_after_few_tries(server, way, provider):
    server.faults.add(Fault(faults.s3_error("ExpiredToken"), times=None))
    with pytest.raises(exceptions.UnauthenticatedError) as caught:
        way(connect(server, credential_provider=provider), "get_range", "k", start=0, end=4)
    assert (caught.value.status, caught.value.code) == (400, "ExpiredToken")
    assert caught.value.attempts == len(server.requests) == 3
    assert provider.calls <= 3


def test_static_keys_that_expire_are_an_error_at_once(server, counters, way):
    server.add_credential("AKIDSTATIC0000000001", "canary-secret", token="canary-token")
    store = connect(
        server,
        access_key_id="AKIDSTATIC0000000001",
        secret_access_key="canary-secret",
        session_token="canary-token",
    )
    server.expire_credential("AKIDSTATIC0000000001")
    with pytest.raises(exceptions.UnauthenticatedError) as caught:
        way(store, "get_range", "k", start=0, end=4)
    assert (caught.value.code, caught.value.attempts) == ("ExpiredToken", 1)
    assert counters() == {}
    server.take_errors()


def test_a_provider_that_fails_at_the_refresh_is_the_cause(server, way, provider):
    server.put("k", b"data")
    failing = []

    def give():
        if failing:
            raise ZeroDivisionError("no more keys")
        return provider()

    store = connect(server, credential_provider=give)
    way(store, "head", "k")
    provider.expire()
    failing.append(True)
    with pytest.raises(exceptions.UnauthenticatedError, match="no more keys") as caught:
        way(store, "get_range", "k", start=0, end=4)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_bad_request_that_is_not_about_keys_stays_one(server, way, provider):
    server.faults.add(Fault(faults.respond(400), method="HEAD", times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        way(connect(server, credential_provider=provider), "head", "k")
    assert caught.value.status == 400
    assert provider.calls <= 3
