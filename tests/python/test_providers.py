"""Credential providers of every kind, and those that hang, end in another way, or answer with junk.

What a provider that works does is in test_credentials.py.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import pickle
import threading
import time
import traceback
import types
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from s3ext import _clients, _providers, exceptions
from s3ext.store import S3Store
from tests.python.ways import connect
from tests.server import ACCESS_KEY, SECRET_KEY, Fault, faults

KEY, SECRET, TOKEN = "AKIDCANARY0000000001", "canary+secret/which=nobody+may/see", "canary//token+of=session"


def answer(expires_in=None, **changes):
    expires_at = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
    return {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "expires_at": expires_at, **changes}


def in_threads(*works):
    """Run functions in threads of their own; what they returned or raised, in their order."""
    outcomes = [None] * len(works)

    def run(number, work):
        try:
            outcomes[number] = work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return outcomes


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


async def when(condition):
    """Let the loop turn until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads and other loops make it so
            await asyncio.sleep(0.005)


# ---- kinds ----


class Methods:
    """A bound method of each kind, and a callable object."""

    def plain(self):
        return answer()

    async def slow(self):
        await asyncio.sleep(0)
        return answer()

    def __call__(self):
        return answer()

    @staticmethod
    def static():
        return answer()

    @classmethod
    async def of_class(cls):
        return answer()


class Awaitable:
    """What is no coroutine, but can be awaited."""

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return answer()


@types.coroutine
def by_generator():
    yield from asyncio.sleep(0).__await__()
    return answer()


async def with_arguments(expires_in, **changes):
    return answer(expires_in, **changes)


KINDS = {
    "function": answer,
    "bound method": Methods().plain,
    "async method": Methods().slow,
    "object": Methods(),
    "static method": Methods.static,
    "class method": Methods.of_class,
    "partial": functools.partial(answer, 1000),
    "async partial": functools.partial(with_arguments, 1000),
    "lambda of a coroutine": lambda: with_arguments(None),
    "awaitable": Awaitable,
    "coroutine by a generator": by_generator,
    "mapping": lambda: types.MappingProxyType(answer()),
    "more keys": lambda: answer(provider="test", account_id=5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_can_be_called_can_be_a_provider(server, way, kind):
    server.put("k", b"data")
    assert way(connect(server, credential_provider=KINDS[kind]), "head", "k")["size"] == 4


async def yielding():
    yield answer()


JUNK = {
    "async generator": (yielding, "not async_generator .return the credentials, do not yield them."),
    "generator": (lambda: (answer() for _ in [0]), "not generator .return the credentials"),
    "a number": (lambda: 5, "not int"),
    "a list": (lambda: [("access_key_id", SECRET)], "not list"),
    "a tuple": (lambda: (KEY, SECRET, None), "not tuple"),
    "bytes": (SECRET.encode, "not bytes"),
    "a class": (lambda: dict, "lacks access_key_id|not type|keys"),
    "an awaitable of junk": (lambda: with_arguments_of(None), "not NoneType"),
    "a coroutine function": (lambda: with_arguments, "not function"),
    "an empty mapping": (dict, "lacks access_key_id"),
    "keys in capitals": (lambda: {"AccessKeyId": KEY, "SecretAccessKey": SECRET}, "lacks access_key_id"),
    "a secret of bytes": (lambda: answer(secret_access_key=SECRET.encode()), "must be a str, not bytes"),
    "a token of a number": (lambda: answer(token=5), "token must be a str, not int"),
    "a secret with a break": (
        lambda: answer(secret_access_key=f"{SECRET}\r\nx"),
        "holds characters that no key",
    ),
    "a key id of blanks": (lambda: answer(access_key_id=""), "is empty"),
    "an expiry of text": (lambda: answer(expires_at="2030-01-01"), "expires_at must be a datetime or None"),
    "an expiry of a number": (lambda: answer(expires_at=time.time() + 100), "expires_at must be a datetime"),
    "an expired key": (lambda: answer(-1), "have expired"),
    "a key of long ago": (lambda: answer(expires_at=datetime.min.replace(tzinfo=UTC)), "have expired"),
}


async def with_arguments_of(given):
    return given


@pytest.mark.parametrize("kind", JUNK)
def test_junk_is_one_clear_error_for_all_and_the_next_answer_may_be_good(server, kind):
    server.put("k", b"data")
    junk, message = JUNK[kind]
    bad, gate = True, threading.Event()

    def give():
        gate.wait(10)
        return junk() if bad else answer()

    store = connect(server, credential_provider=give)
    waiting = [lambda: store.head("k")] * 4
    threading.Timer(0.1, gate.set).start()
    errors = in_threads(*waiting)
    for error in errors:
        assert isinstance(error, exceptions.UnauthenticatedError)
        assert SECRET not in everything_about(error)
    assert len({str(error) for error in errors}) == 1
    with pytest.raises(exceptions.UnauthenticatedError, match=message):
        store.head("k")
    assert server.requests == []
    bad = False
    assert store.head("k")["size"] == 4


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"refresh_threshold": 300}, TypeError, "refresh_threshold must be a timedelta, not int: 300"),
        ({"refresh_threshold": "5m"}, TypeError, 'refresh_threshold must be a timedelta, not str: "5m"'),
        ({"config": ["region"]}, TypeError, "credential_provider.config must be a dict"),
        ({"config": {"regoin": "x"}}, exceptions.UnknownConfigurationKeyError, "Did you mean 'region'"),
        ({"config": {"region": 5}}, TypeError, "region must be of type str"),
    ],
)
def test_attributes_that_cannot_be_right_are_refused_when_the_store_is_made(attributes, error, message):
    provider = functools.partial(answer)
    vars(provider).update(attributes)
    with pytest.raises(error, match=message):
        S3Store("bucket", credential_provider=provider)


def test_what_cannot_be_called_is_refused_when_the_store_is_made():
    with pytest.raises(TypeError, match=r"Expected callable object for credential_provider\."):
        S3Store("bucket", credential_provider=answer())


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError(SECRET)


RAISED = {
    "an error": ValueError("no\nluck"),
    "one without words": ZeroDivisionError(),
    "one that cannot be printed": UnspeakableError(),
    "exit": SystemExit(3),
    "an interrupt": KeyboardInterrupt(),
    "a time-out of its own": TimeoutError("of the provider"),
    "a cancellation": asyncio.CancelledError(),
    "the end of an iteration": StopAsyncIteration(),
}


@pytest.mark.parametrize("kind", RAISED)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync provider", "async provider"])
def test_whatever_a_provider_raises_ends_those_who_wait_and_nothing_else(server, way, is_async, kind):
    raised = [RAISED[kind]]

    def give():
        if raised:
            raise raised[0]
        return answer()

    async def give_later():
        return give()

    server.put("k", b"data")
    store = connect(server, credential_provider=give_later if is_async else give)
    # In a loop of ours these two would end it, as they do whatever coroutine raises them.
    ends_loops = is_async and kind in {"exit", "an interrupt"}
    head = store.head if ends_loops else functools.partial(way, store, "head")
    with pytest.raises(exceptions.UnauthenticatedError, match=type(raised[0]).__name__) as caught:
        head("k")
    if not isinstance(raised[0], StopAsyncIteration | asyncio.CancelledError):
        assert repr(caught.value.__cause__) == repr(raised[0])  # asyncio replaces time-outs
    raised.clear()
    assert way(store, "head", "k")["size"] == 4


# ---- many who wait ----


@pytest.mark.parametrize("is_async", [False, True], ids=["sync provider", "async provider"])
def test_200_that_wait_in_threads_and_loops_are_served_by_one_call(server, is_async):
    server.put("k", b"data")
    calls = []
    ready = threading.Event()

    def give():
        calls.append(threading.get_ident())
        ready.wait(20)
        return answer()

    async def give_later():
        calls.append(threading.get_ident())
        await when(ready.is_set)
        return answer()

    store = connect(server, credential_provider=give_later if is_async else give)
    begun = []

    def one():
        begun.append(1)
        return store.head("k")["size"]

    def loop():
        async def main():
            begun.extend([1] * 50)
            return [
                meta["size"] for meta in await asyncio.gather(*[store.head_async("k") for _ in range(50)])
            ]

        return asyncio.run(main())

    def let_go():
        until(lambda: len(begun) == 200 and calls)
        time.sleep(0.2)
        ready.set()

    outcomes = in_threads(*[one] * 100, loop, loop, let_go)
    assert outcomes == [4] * 100 + [[4] * 50] * 2 + [None]
    assert len(calls) == 1


@pytest.mark.parametrize("is_async", [False, True], ids=["sync provider", "async provider"])
def test_a_failure_is_the_same_for_all_who_wait(server, is_async):
    gate = threading.Event()

    def give():
        gate.wait(20)
        raise ValueError("no keys today")

    async def give_later():
        await asyncio.to_thread(give)

    store = connect(server, credential_provider=give_later if is_async else give)

    async def main():
        asyncio.get_running_loop().call_later(0.2, gate.set)
        tasks = [store.head_async("k") for _ in range(20)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert {type(outcome) for outcome in outcomes} == {exceptions.UnauthenticatedError}
    assert len({str(outcome) for outcome in outcomes}) == 1
    assert len({outcome.__cause__ for outcome in outcomes}) == 1


def test_an_async_provider_serves_several_loops_and_threads(server):
    """Each renewal in turn is caused by another loop, while the earlier ones are closed."""
    server.put("k", b"data")
    loops = []

    async def give():
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        key = f"AKIDGENERATION{len(loops):06}"
        server.add_credential(key, SECRET_KEY)
        return answer(access_key_id=key)

    store = connect(server, credential_provider=give)
    used = []

    async def main():
        used.append(asyncio.get_running_loop())
        await asyncio.gather(*[store.head_async("k") for _ in range(8)])

    for _ in range(3):
        assert in_threads(lambda: asyncio.run(main())) == [None]
        server.expire_credential(f"AKIDGENERATION{len(loops):06}")
    store.head("k")
    assert loops[:3] == used
    assert len(loops) == 4
    server.take_errors()


# ---- keys that do not last ----


def test_keys_that_end_within_the_margin_cause_no_storm(server):
    server.put("k", b"data")
    calls = []

    def give():
        calls.append(time.monotonic())
        return answer(200)

    store = connect(server, credential_provider=give)
    end = time.monotonic() + 2
    sent = 0
    while time.monotonic() < end:
        store.head("k")
        sent += 1
    # At 0, then after 0.1, 0.2, 0.4 and 0.8 s.
    assert 3 <= len(calls) <= 5
    assert sent > 20 * len(calls)


def test_a_renewal_ahead_of_time_that_fails_disturbs_nobody(server, way):
    server.put("k", b"data")
    calls = []

    def give():
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no luck")
        return answer(100)

    store = connect(server, credential_provider=give)
    end = time.monotonic() + 10
    while len(calls) < 3 and time.monotonic() < end:
        assert way(store, "head", "k")["size"] == 4
    assert len(calls) == 3


# ---- those that hang ----


@pytest.fixture
def impatient(monkeypatch):
    """Calls that are given up after a second; what is returned makes the later ones patient again."""
    patience = _providers.PATIENCE
    monkeypatch.setattr(_providers, "PATIENCE", 1.0)
    return lambda: monkeypatch.setattr(_providers, "PATIENCE", patience)


class Hanging:
    """A provider that hangs until it is let go, as long as it is to."""

    def __init__(self, *, is_async=False):
        self.calls = 0
        self.hangs = True
        self.gate = threading.Event()
        self.ended = 0
        self.is_async = is_async

    def __call__(self):
        self.calls += 1
        if self.is_async:
            return self.later()
        if self.hangs:
            self.gate.wait(60)
        self.ended += 1
        return answer()

    async def later(self):
        try:
            await asyncio.sleep(60 if self.hangs else 0)
        finally:
            self.ended += 1
        return answer()


@pytest.fixture(params=[False, True], ids=["sync provider", "async provider"])
def hanging(request):
    hanging = Hanging(is_async=request.param)
    yield hanging
    hanging.gate.set()


def test_one_that_hangs_is_one_error_in_time_and_holds_up_nobody_else(server, impatient, hanging):
    server.put("k", b"data")
    store, quick = connect(server, credential_provider=hanging), connect(server, credential_provider=answer)

    def in_a_loop():
        async def main():
            tasks = [store.head_async("k") for _ in range(10)]
            return await asyncio.gather(*tasks, return_exceptions=True)

        return asyncio.run(main())

    def look_on():
        until(lambda: hanging.calls)
        begun = time.monotonic()
        assert quick.head("k")["size"] == 4
        return time.monotonic() - begun

    begun = time.monotonic()
    *threads, tasks, took = in_threads(*[lambda: store.head("k")] * 10, in_a_loop, look_on)
    assert 0.9 < time.monotonic() - begun < 10
    assert took < 0.9
    errors = [*threads, *tasks]
    assert {type(error) for error in errors} == {exceptions.UnauthenticatedError}
    assert len({str(error) for error in errors}) == 1
    assert "TimeoutError: it did not answer within 1 s" in str(errors[0])
    assert isinstance(errors[0].__cause__, TimeoutError)
    hanging.hangs = False
    impatient()
    assert store.head("k")["size"] == 4
    assert hanging.calls == 2


def test_what_one_says_too_late_counts_no_more(server, impatient):
    server.put("k", b"data")
    gates = [threading.Event(), threading.Event()]
    gates[1].set()
    calls = []

    def give():
        number = len(calls)
        calls.append(number)
        gates[number].wait(20)
        return answer(access_key_id=ACCESS_KEY if number else KEY)  # that of the first is unknown there

    store = connect(server, credential_provider=give)
    with pytest.raises(exceptions.UnauthenticatedError, match="did not answer"):
        store.head("k")
    impatient()
    assert store.head("k")["size"] == 4
    gates[0].set()
    until(lambda: not [each for each in threading.enumerate() if each.name == "s3ext-refresh"])
    assert store.head("k")["size"] == 4
    assert calls == [0, 1]


def test_several_that_hang_are_not_joined_by_more_until_one_returns(server, monkeypatch):
    monkeypatch.setattr(_providers, "PATIENCE", 0.05)
    server.put("k", b"data")
    hanging = Hanging()
    store = connect(server, credential_provider=hanging)
    for _ in range(_providers.HANGING_MOST):
        with pytest.raises(exceptions.UnauthenticatedError, match=r"did not answer within 0\.05 s"):
            store.head("k")
    for _ in range(3):
        with pytest.raises(exceptions.UnauthenticatedError, match="4 earlier calls have not returned"):
            store.head("k")
    assert hanging.calls == _providers.HANGING_MOST
    monkeypatch.setattr(_providers, "PATIENCE", 60.0)
    hanging.hangs = False
    hanging.gate.set()
    until(lambda: hanging.ended == _providers.HANGING_MOST)
    assert store.head("k")["size"] == 4


def test_an_async_one_that_hangs_is_cancelled(server, impatient):
    hanging = Hanging(is_async=True)
    store = connect(server, credential_provider=hanging)

    async def main():
        with pytest.raises(exceptions.UnauthenticatedError, match="did not answer"):
            await store.head_async("k")
        await when(lambda: hanging.ended)

    asyncio.run(main())
    with pytest.raises(exceptions.UnauthenticatedError, match="did not answer"):
        store.head("k")
    until(lambda: hanging.ended == 2)


def test_a_client_goes_while_its_provider_hangs(server):
    hanging = Hanging()
    store = connect(server, credential_provider=hanging)

    async def use(on):
        task = asyncio.ensure_future(on.head_async("k"))
        await when(lambda: hanging.calls)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(use(store))
    gone = weakref.ref(store._client)
    del store
    until(lambda: gc.collect() is not None and gone() is None)
    hanging.gate.set()


# ---- loops that end or stop ----


def test_who_waits_elsewhere_is_served_when_the_loop_of_the_provider_ends(server):
    server.put("k", b"data")
    store = None
    loops = []

    async def give():
        loops.append(asyncio.get_running_loop())
        if len(loops) == 1:
            await asyncio.sleep(60)
        return answer()

    store = connect(server, credential_provider=give)
    waiting = threading.Thread(target=lambda: got.append(store.head("k")["size"]))
    got = []

    async def main():
        task = asyncio.ensure_future(store.head_async("k"))
        await when(lambda: loops)
        waiting.start()
        await asyncio.sleep(0.2)
        task.cancel()

    asyncio.run(main())
    waiting.join(10)
    assert got == [4]
    assert len(loops) == 2


def test_a_sync_call_in_the_loop_that_its_provider_runs_in_is_served(server, monkeypatch):
    """It blocks the loop in the middle of the provider, and waits for what that one would say."""
    monkeypatch.setattr(_providers, "LOOP_PATIENCE", 0.3)
    server.put("k", b"data")
    loops = []
    blocked = threading.Event()

    async def give():
        loops.append(asyncio.get_running_loop())
        await when(lambda: len(loops) > 1 or blocked.is_set())
        await asyncio.sleep(0.05)
        return answer()

    store = connect(server, credential_provider=give)

    async def main():
        task = asyncio.ensure_future(store.head_async("k"))
        await when(lambda: loops)
        blocked.set()
        size = store.head("k")["size"]
        return size, (await task)["size"]

    assert asyncio.run(main()) == (4, 4)
    assert len(loops) == 2
    assert loops[0] is not loops[1]


# ---- canaries ----


class Canary:
    """A provider that keeps nothing secret, and gives what is."""

    def __call__(self):
        return {"access_key_id": KEY, "secret_access_key": SECRET, "token": TOKEN, "expires_at": None}


class BadCanary(Canary):
    """The same, and something that cannot be right."""

    def __call__(self):
        return {**super().__call__(), "expires_at": "never"}


class AsyncCanary:
    async def __call__(self):
        return Canary()()


def everything_about(error):
    """All that a program can print of an exception: its causes, and the variables of all frames."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    texts = ["".join(report.format())]
    while error is not None:
        texts += [str(error), repr(error), repr(vars(error)), repr(error.args)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("kind", [Canary, BadCanary, AsyncCanary])
def test_no_secret_of_a_provider_gets_out(server, way, caplog, capfd, kind):
    caplog.set_level(logging.NOTSET)
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
    server.add_credential(KEY, SECRET, token=TOKEN)
    server.put("k", b"data")
    store = connect(server, credential_provider=kind(), retry_config={"max_retries": 0})
    seen = []
    for action in ("AccessDenied", "SignatureDoesNotMatch", "InvalidToken", "SlowDown", None):
        server.faults.clear()
        if action:
            server.faults.add(Fault(faults.s3_error(action), times=None))
        try:
            way(store, "head", "k")
        except exceptions.BaseError as error:
            seen.append(everything_about(error))
    assert len(seen) == (5 if kind is BadCanary else 4)
    client = store._client
    seen += [
        repr(each) for each in (store, store.config, store._settings, client, client.settings, client.call)
    ]
    seen += [str(store), repr({name: getattr(client, name, None) for name in _clients.Client.__slots__[1:]})]
    dumped = pickle.dumps(store)
    again = pickle.loads(dumped)
    assert again.credential_provider.__class__ is kind
    printed = capfd.readouterr()
    text = "\n".join([*seen, caplog.text, printed.out, printed.err])
    files = [Path(f"/proc/self/{name}").read_bytes() for name in ("cmdline", "comm", "environ")]
    for canary in (SECRET, TOKEN):
        assert canary not in text
        assert not any(canary.encode() in each for each in (dumped, *files))
    server.take_errors()
