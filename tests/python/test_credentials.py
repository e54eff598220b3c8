"""Credential providers: sync and async, refresh, failure, sharing; and that no secret gets out."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from datetime import UTC, datetime, timedelta

import pytest

from s3ext import exceptions
from tests.python.ways import connect
from tests.server import ACCESS_KEY, SECRET_KEY, Fault, faults


def answer(expires_in=None, **changes):
    expires_at = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
    return {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "expires_at": expires_at, **changes}


class Provider:
    """Counts its calls, and remembers their threads and loops."""

    def __init__(self, give=answer):
        self.give = give
        self.calls = 0
        self.threads = []
        self.loops = []

    def called(self):
        self.calls += 1
        self.threads.append(threading.get_ident())
        return self.give()


class SyncProvider(Provider):
    def __call__(self):
        return self.called()


class AsyncProvider(Provider):
    async def __call__(self):
        self.loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        return self.called()


PROVIDERS = pytest.mark.parametrize("kind", [SyncProvider, AsyncProvider])


@PROVIDERS
def test_a_provider_works_in_sync_and_async_calls(server, way, kind):
    server.put("k", b"data")
    provider = kind()
    store = connect(server, credential_provider=provider)
    assert server.requests == []
    assert provider.calls == 0
    assert way(way(store, "get", "k"), "bytes") == b"data"
    assert way(store, "get_range", "k", start=1, end=3) == b"at"
    assert store.sign("GET", "k", timedelta(minutes=5)).startswith(server.url)
    assert provider.calls == 1


@PROVIDERS
def test_one_refresh_serves_all_that_wait(server, kind):
    server.put("k", b"data")
    provider = kind(lambda: time.sleep(0.1) or answer())
    store = connect(server, credential_provider=provider)

    async def main():
        return await asyncio.gather(*[store.head_async("k") for _ in range(64)])

    assert len(asyncio.run(main())) == 64
    assert provider.calls == 1


def test_an_async_provider_runs_in_the_loop_that_used_the_client(server):
    server.put("k", b"data")
    provider = AsyncProvider()
    store = connect(server, credential_provider=provider)

    async def main():
        await store.head_async("k")
        return asyncio.get_running_loop()

    loop = asyncio.run(main())
    assert provider.loops == [loop]


def test_an_async_provider_does_not_need_the_loop_that_a_sync_call_blocks(server):
    server.put("k", b"data")
    server.add_credential("AKIDOLD0000000000001", "old-secret")
    answers = [answer(access_key_id="AKIDOLD0000000000001", secret_access_key="old-secret"), answer()]
    provider = AsyncProvider(lambda: answers.pop(0))
    store = connect(server, credential_provider=provider)

    async def main():
        await store.head_async("k")
        server.expire_credential("AKIDOLD0000000000001")
        begun = time.monotonic()
        assert store.get("k").bytes() == b"data"
        return asyncio.get_running_loop(), time.monotonic() - begun

    loop, took = asyncio.run(main())
    assert provider.loops[0] is loop
    assert provider.loops[1] is not loop
    assert took < 3
    server.take_errors()


def test_a_token_is_sent_and_signed(server, way):
    server.add_credential("AKIDTEMPORARY0000001", "temporary-secret", token="token/of+session=")
    server.put("k", b"data")
    provider = SyncProvider(
        lambda: answer(
            access_key_id="AKIDTEMPORARY0000001",
            secret_access_key="temporary-secret",
            token="token/of+session=",
        )
    )
    assert way(connect(server, credential_provider=provider), "head", "k")["size"] == 4


@PROVIDERS
def test_credentials_that_end_soon_are_fetched_again(server, way, kind):
    server.put("k", b"data")
    provider = kind(lambda: answer(300 - 1))
    store = connect(server, credential_provider=provider)
    end = time.monotonic() + 5
    while provider.calls < 2 and time.monotonic() < end:
        assert way(store, "head", "k")["size"] == 4
        time.sleep(0.02)
    assert provider.calls == 2


def test_credentials_that_last_are_kept(server, way):
    server.put("k", b"data")
    provider = SyncProvider(lambda: answer(301))
    store = connect(server, credential_provider=provider)
    for _ in range(4):
        way(store, "head", "k")
    assert provider.calls == 1


def test_the_provider_says_how_early_it_wants_to_be_asked_again(server, way):
    server.put("k", b"data")
    provider = SyncProvider(lambda: answer(200))
    provider.refresh_threshold = timedelta(seconds=60)
    store = connect(server, credential_provider=provider)
    for _ in range(3):
        way(store, "head", "k")
        time.sleep(0.12)
    assert provider.calls == 1


def test_credentials_that_the_server_takes_back_are_fetched_again(server, way):
    server.put("k", b"data")
    server.add_credential("AKIDOLD0000000000001", "old-secret")
    answers = [
        answer(access_key_id="AKIDOLD0000000000001", secret_access_key="old-secret"),
        answer(),
    ]
    provider = SyncProvider(lambda: answers.pop(0))
    store = connect(server, credential_provider=provider)
    way(store, "head", "k")
    server.expire_credential("AKIDOLD0000000000001")
    assert way(way(store, "get", "k"), "bytes") == b"data"
    assert provider.calls == 2
    server.take_errors()


@PROVIDERS
def test_what_a_provider_raises_is_the_cause_of_the_error(server, way, kind):
    def give():
        raise ZeroDivisionError("of the provider")

    store = connect(server, credential_provider=kind(give))
    with pytest.raises(exceptions.UnauthenticatedError, match="ZeroDivisionError: of the provider") as caught:
        way(store, "head", "k")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert server.requests == []


def test_a_provider_that_recovers_is_asked_again(server, way):
    server.put("k", b"data")
    answers = [ValueError("not yet"), answer()]

    def give():
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    store = connect(server, credential_provider=SyncProvider(give))
    with pytest.raises(exceptions.UnauthenticatedError):
        way(store, "head", "k")
    time.sleep(0.15)
    assert way(store, "head", "k")["size"] == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "NoneType"),
        ("text", "str"),
        ({"access_key_id": "a", "secret_access_key": "hidden"}, "expires_at"),
        ({"secret_access_key": "hidden", "expires_at": None}, "access_key_id"),
        (answer(access_key_id=5), "access_key_id"),
        (answer(secret_access_key=b"hidden"), "secret_access_key"),
        (answer(secret_access_key="hidden\r\nx"), "secret_access_key"),
        (answer(secret_access_key=""), "secret_access_key"),
        (answer(token=5), "token"),
        (answer(expires_at="2030-01-01"), "expires_at"),
        (answer(expires_at=datetime(2030, 1, 1)), "time zone"),  # noqa: DTZ001 - the case
    ],
    ids=range(11),
)
def test_an_answer_that_is_no_credential_is_refused_without_showing_it(server, way, given, message):
    store = connect(server, credential_provider=SyncProvider(lambda: given))
    with pytest.raises(exceptions.UnauthenticatedError, match=message) as caught:
        way(store, "head", "k")
    assert "hidden" not in str(caught.value) + str(caught.value.__cause__)
    assert server.requests == []


def test_any_time_zone_will_do(server, way):
    from zoneinfo import ZoneInfo

    server.put("k", b"data")
    moment = (datetime.now(UTC) + timedelta(hours=1)).astimezone(ZoneInfo("Asia/Tokyo"))
    store = connect(server, credential_provider=SyncProvider(lambda: answer(expires_at=moment)))
    assert way(store, "head", "k")["size"] == 4


def test_a_slow_provider_holds_up_nobody_else(server, way):
    server.put("k", b"data")
    hold = threading.Event()
    slow = connect(server, credential_provider=SyncProvider(lambda: hold.wait(10) and answer()))
    quick = connect(server, credential_provider=SyncProvider())
    waiting = threading.Thread(target=slow.head, args=("k",))
    waiting.start()
    time.sleep(0.1)
    begun = time.monotonic()
    assert way(quick, "head", "k")["size"] == 4
    assert time.monotonic() - begun < 1
    hold.set()
    waiting.join(5)
    assert not waiting.is_alive()


def test_stores_share_the_client_of_one_provider_only(server):
    server.put("k", b"data")
    one, other = SyncProvider(), SyncProvider()
    stores = [connect(server, credential_provider=provider) for provider in (one, one, other)]
    for store in stores:
        store.head("k")
    assert (one.calls, other.calls) == (1, 1)


def test_a_client_goes_with_its_last_store(server):
    server.put("k", b"data")
    provider = SyncProvider()
    store = connect(server, credential_provider=provider)
    store.head("k")
    gone = weakref.ref(store._client)
    del store
    end = time.monotonic() + 3
    while gone() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None


@pytest.mark.fork
def test_a_child_asks_the_provider_itself(server):
    server.put("k", b"data")
    provider = SyncProvider()
    store = connect(server, credential_provider=provider)
    store.head("k")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ok = store.head("k")["size"] == 4 and provider.calls == 2
            os.write(write, b"y" if ok else b"n")
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 1) == b"y"
    os.close(read)
    os.waitpid(child, 0)
    assert provider.calls == 1


def test_half_a_store_without_credentials_says_what_to_give(server, way, monkeypatch):
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    from s3ext.store import S3Store

    store = S3Store("bucket", endpoint=server.url, allow_http=True)
    with pytest.raises(exceptions.UnauthenticatedError, match="access_key_id"):
        way(store, "head", "k")
    assert server.requests == []


def test_no_secret_is_in_an_error(server, way):
    server.faults.add(Fault(faults.s3_error("SignatureDoesNotMatch"), times=100))
    store = connect(server)
    with pytest.raises(exceptions.PermissionDeniedError, match="secret access key right") as caught:
        way(store, "get", "k")
    assert SECRET_KEY not in repr(caught.value) + str(vars(caught.value))
    server.take_errors()
