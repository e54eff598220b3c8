"""Short-lived keys: when they end, how they are renewed, and that no transfer notices."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3ext._credentials import chain as chain_module
from s3ext._credentials import files
from s3ext._credentials.chain import Chain
from s3ext._credentials.keys import parse_moment
from s3ext.exceptions import GenericError, UnauthenticatedError
from tests.credentials.tools import PART, chain_of, connect, section
from tests.faults.tools import pattern
from tests.lifecycle import SLOW
from tests.server import Fault, faults

SIZE = 20 * PART + 11

# ---- moments ----

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1))  # noqa: DTZ001 - the zone comes beside it
ZONES = st.one_of(
    st.just(("Z", UTC)),
    st.just(("z", UTC)),
    st.just(("", UTC)),
    st.just(("UTC", UTC)),
    st.tuples(st.sampled_from("+-"), st.integers(0, 23), st.integers(0, 59), st.sampled_from([":", ""])).map(
        lambda zone: (
            f"{zone[0]}{zone[1]:02}{zone[3]}{zone[2]:02}",
            timezone((1 if zone[0] == "+" else -1) * timedelta(hours=zone[1], minutes=zone[2])),
        )
    ),
)


@settings(max_examples=200, deadline=None)
@given(MOMENTS, ZONES, st.sampled_from("Tt "), st.integers(0, 9))
def test_every_moment_of_rfc_3339_is_read(moment, zone, between, digits):
    fraction = f".{moment.microsecond:06}000"[: digits + 1] if digits else ""
    text = f"{moment:%Y-%m-%d}{between}{moment:%H:%M:%S}{fraction}{zone[0]}"
    kept = int(f"{moment.microsecond:06}000"[:digits].ljust(9, "0")[:6])
    assert parse_moment(text) == moment.replace(microsecond=kept, tzinfo=zone[1])


def test_a_leap_second_is_the_one_after_it():
    assert parse_moment("2016-12-31T23:59:60Z") == datetime(2017, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00+25:00",
        "2026-01-01T00:00:00.Z",
        "1764460800",
        "9999-12-31T23:59:60Z",
        "2026-01-01T00:00:00 EST",
        "\uff12026-01-01T00:00:00Z",
    ],
)
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(ValueError):
        parse_moment(text)


# ---- the chain by itself, with a clock of the test's ----


class Clock:
    """Stands for `datetime` in the chain."""

    def __init__(self, monkeypatch):
        self.time = datetime.now(UTC)
        monkeypatch.setattr(chain_module, "datetime", self)

    def now(self, zone):
        return self.time.astimezone(zone)

    def go(self, **duration):
        self.time += timedelta(**duration)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def looked(monkeypatch):
    """How often a profile was looked up."""
    seen = []
    true = files.Profile.__init__

    def note(self, name, places):
        seen.append(name)
        true(self, name, places)

    monkeypatch.setattr(files.Profile, "__init__", note)
    return seen


def stamp(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def lay(home, name, ends=None):
    more = {} if ends is None else {"expiry_time": stamp(ends)}
    return home.write("credentials", section("default", (name, "canary", "canary-token"), **more))


def soon(chain, clock):
    """The end that lets the core ask in a minute."""
    return clock.time + chain.refresh_threshold + timedelta(seconds=60)


@pytest.fixture
def chain(server):
    return Chain(connect(server)._settings)


def test_keys_of_a_file_are_looked_at_in_their_last_minute_and_held_when_they_are_the_same(
    home, chain, clock, looked, no_waits
):
    ends = clock.time + timedelta(minutes=10)
    lay(home, "A1", ends)
    assert chain()["expires_at"] == min(ends, soon(chain, clock))
    assert len(looked) == 1
    clock.go(minutes=5)
    for _ in range(3):  # Due, but the file is the same.
        assert chain()["access_key_id"] == "A1"
        clock.go(seconds=70)
    assert len(looked) == 1
    clock.go(seconds=50)  # 40 s are left.
    assert chain()["access_key_id"] == "A1"
    assert len(looked) == 2
    for wait in (0.25, 0.5, 1.0, 2.0, 2.5, 2.5):
        assert chain()["access_key_id"] == "A1"
        clock.go(seconds=wait - 0.01)
        count = len(looked)
        assert chain()["access_key_id"] == "A1"
        assert len(looked) == count
        clock.go(seconds=0.02)
        assert chain()["access_key_id"] == "A1"
        assert len(looked) == count + 1
    later = clock.time + timedelta(hours=1)
    lay(home, "A2", later)  # Held or not, a new file is seen.
    assert chain() == {
        "access_key_id": "A2",
        "secret_access_key": "canary",
        "token": "canary-token",
        "expires_at": soon(chain, clock),
    }
    assert chain.expires_at == later


@pytest.mark.parametrize("change", ["replaced", "rewritten"])
@pytest.mark.parametrize("life", [None, timedelta(hours=12)], ids=["no end", "a far one"])
def test_a_file_that_changes_is_noticed_long_before_the_end(home, chain, clock, change, life):
    path = lay(home, "A1", life and clock.time + life)
    first = chain()
    assert chain.expires_at == (life and clock.time + life)
    assert first["expires_at"] == soon(chain, clock)
    clock.go(seconds=61)  # Then the core asks.
    assert chain()["access_key_id"] == "A1"
    if change == "replaced":
        lay(home, "A2")
    else:
        text = Path(path).read_text()
        Path(path).write_text(text.replace("A1", "A22"))
    clock.go(seconds=61)
    assert chain()["access_key_id"] in {"A2", "A22"}


def test_the_last_good_keys_are_used_until_they_end(home, chain, clock):
    ends = clock.time + timedelta(minutes=10)
    path = lay(home, "A1", ends)
    chain()
    clock.go(minutes=9, seconds=30)
    home.write("credentials", "[default]\nhalf written\n")
    assert chain()["access_key_id"] == "A1"
    Path(path).unlink()
    clock.go(seconds=28)
    assert chain()["access_key_id"] == "A1"
    lay(home, "A0", clock.time - timedelta(hours=1))
    assert chain()["access_key_id"] == "A1"
    Path(path).unlink()
    clock.go(seconds=3)
    with pytest.raises(UnauthenticatedError, match="profile: there is no profile 'default'"):
        chain()
    lay(home, "A1", ends)
    with pytest.raises(UnauthenticatedError, match=rf"the keys of profile 'default' in {path}:2 ended at 20"):
        chain()
    lay(home, "A2", ends + timedelta(hours=1))
    assert chain()["access_key_id"] == "A2"


def test_keys_that_were_refused_are_asked_for_whatever_was_held(home, chain, clock, looked):
    lay(home, "A1", clock.time + timedelta(hours=1))
    for _ in range(3):
        chain()
    assert len(looked) == 1
    chain.note_refusal()
    chain()
    assert len(looked) == 2
    home.write("credentials", "half written\n")
    assert chain()["access_key_id"] == "A1"
    chain.note_refusal()
    with pytest.raises(GenericError, match="before any"):  # What was refused is not good any more.
        chain()


def test_keys_with_a_short_life_are_asked_for_twice_in_it(home, server, services, clock, no_waits):
    services.life = timedelta(minutes=4)
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    chain = Chain(connect(server)._settings)
    for _ in range(80):
        services.life = clock.time + timedelta(minutes=4) - datetime.now(UTC)
        chain()
        clock.go(seconds=9)
    assert len(services.requests) == 6


def test_whoever_has_answered_is_asked_again_and_nobody_else(home, server, chain, services):
    lay(home, "A1")
    chain()
    home.write("credentials", "")
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    chain.note_refusal()
    with pytest.raises(UnauthenticatedError, match="profile: there is no profile"):
        chain()
    assert not services.requests


def test_a_service_that_fails_is_asked_more_and_more_rarely(home, server, services, clock, no_waits):
    services.life = timedelta(minutes=10)
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    chain = Chain(connect(server)._settings)
    first = chain()["access_key_id"]
    services.answers["/container"] = 404, ""
    clock.go(minutes=6)
    services.requests.clear()
    for _ in range(170):
        assert chain()["access_key_id"] == first
        clock.go(seconds=1)
    assert 12 <= len(services.requests) <= 18
    del services.answers["/container"]
    clock.go(seconds=31)
    assert chain()["access_key_id"] != first


def test_workers_are_not_due_at_one_time(home, server):
    store = connect(server)
    due = {Chain(store._settings).refresh_threshold for _ in range(20)}
    assert len(due) > 10
    assert all(timedelta(minutes=5) <= threshold <= timedelta(minutes=6) for threshold in due)


# ---- on the wire ----


def lay_keys(home, services, **more):
    """Write the keys that the server takes next."""
    home.write("credentials", section("default", services.keys()[:3], **more))


@pytest.mark.smoke
def test_an_upload_whose_keys_in_a_file_end_in_the_middle_is_completed(home, server, services, way):
    data = pattern(SIZE)
    lay_keys(home, services)

    def renew(_):
        lay_keys(home, services)
        server.expire_credential(services.given[0])

    server.faults.add(Fault(faults.hook(renew), method="PUT", part=9, times=1))
    store = connect(server)
    way(store, "put", "k", data, use_multipart=True, chunk_size=PART, max_concurrency=3)
    assert b"".join(server.get("k").body.views(0, SIZE)) == data
    assert len(services.given) == 2
    assert {error.code for error in server.take_errors()} <= {"ExpiredToken"}
    # Parts that were under way may still come with the old keys, in any order; the end does not.
    assert services.given[1] in server.requests[-1].header("authorization")
    assert any(services.given[1] in request.header("authorization") for request in server.find("PUT"))


def test_a_read_in_a_thousand_parts_whose_keys_end_in_the_middle_goes_on(home, server, services, way):
    size = 1000 * PART - 5
    data = Random(0).randbytes(size)
    server.put("k", data)
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    server.faults.add(Fault(faults.hook_after(lambda _: services.expire()), method="GET", nth=300))
    server.faults.add(Fault(faults.hook_after(lambda _: services.expire()), method="GET", nth=700))
    store = connect(server)
    assert bytes(way(store, "get_range", "k", start=0, end=size)) == data
    assert len(services.requests) == 3
    assert {error.code for error in server.take_errors()} == {"ExpiredToken"}


def test_keys_near_their_end_are_renewed_while_requests_go_on(home, server, services):
    services.life = timedelta(seconds=5)
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    store = connect(server)
    store.put("k", b"1")
    assert len(services.requests) == 1
    services.life = timedelta(hours=1)
    until = time.monotonic() + 20 * SLOW
    while len(services.requests) < 2 and time.monotonic() < until:
        store.put("k", b"2")
    assert len(services.requests) == 2
    while services.given[1] not in server.requests[-1].header("authorization") and time.monotonic() < until:
        store.put("k", b"3")
    assert services.given[1] in server.requests[-1].header("authorization")
    assert chain_of(store).provider.expires_at > datetime.now(UTC) + timedelta(minutes=50)
    store.put("k", b"4")
    assert len(services.requests) == 2


@pytest.mark.parametrize("expired", [False, True], ids=["first", "expired"])
def test_200_that_wait_on_a_loop_are_served_by_one_answer(home, server, services, expired):
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    server.put("k", b"data")
    store = connect(server)
    if expired:
        store.head("k")
        services.expire()

    def slowly(_):
        time.sleep(0.2)
        return 200, services.document()

    services.answers["/container"] = slowly
    services.requests.clear()

    async def main():
        return await asyncio.gather(*[store.get_range_async("k", start=0, end=4) for _ in range(200)])

    assert [bytes(data) for data in asyncio.run(main())] == [b"data"] * 200
    assert len(services.requests) == 1
    assert {error.code for error in server.take_errors()} <= {"ExpiredToken"}


def test_200_threads_that_wait_are_served_by_one_answer(home, server, services):
    server.put("k", b"data")
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    store, got, release = connect(server), [], threading.Event()

    def when_all_wait(_):
        release.wait(10 * SLOW)
        return 200, services.document()

    services.answers["/container"] = when_all_wait
    started = threading.Barrier(201)

    def read():
        started.wait()
        got.append(bytes(store.get_range("k", start=0, end=4)))

    threads = [threading.Thread(target=read) for _ in range(200)]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.2)
    release.set()
    for thread in threads:
        thread.join(30 * SLOW)
    assert got == [b"data"] * 200
    assert len(services.requests) == 1


def test_all_who_wait_are_told_when_there_are_no_keys(home, server, services):
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    services.answers["/container"] = 404, ""
    store = connect(server)

    async def main():
        calls = [store.head_async("k") for _ in range(50)]
        return await asyncio.gather(*calls, return_exceptions=True)

    for error in asyncio.run(main()):
        assert isinstance(error, UnauthenticatedError)
        assert re.search("container credentials at 127.0.0.1:.* were refused with status 404", str(error))


def test_keys_that_have_ended_already_are_an_error_that_says_so(home, server, services):
    lay_keys(home, services, expiry_time="2020-01-01 00:00:00+01:00")
    with pytest.raises(UnauthenticatedError, match=r"credentials:2 ended at 2020-01-01 00:00:00\+01:00"):
        connect(server).head("k")
    lay_keys(home, services, expiry_time=stamp(datetime.now(UTC) + timedelta(hours=1)))
    connect(server).put("k", b"1")
