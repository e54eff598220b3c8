"""S3 Express One Zone: sessions, zonal hosts, and listings without order."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from urllib.request import urlopen

import pytest

from s3ext import _copies, exceptions
from s3ext.store import S3Store
from tests.python.ways import PART, connect
from tests.server import (
    ACCESS_KEY,
    SECRET_KEY,
    Fault,
    ForwardProxy,
    VerifyingServer,
    faults,
    make_certificate,
)

BUCKET = "data--use1-az4--x-s3"
HOST = f"{BUCKET}.s3express-use1-az4.us-east-1.amazonaws.com"


@pytest.fixture
def bucket(server):
    """A directory bucket on the server, which checks who signs what with which keys."""
    server.create_bucket(BUCKET)
    return BUCKET


@pytest.fixture
def store(server, bucket):
    return connect(server, bucket, s3_express=True)


def sessions(server):
    return server.find("GET", query="session")


def test_all_operations_go_in_one_session(server, store, way):
    data = bytes(range(256)) * 100_000
    way(store, "put", "dir/a b+ü", data, chunk_size=PART)
    assert way(way(store, "get", "dir/a b+ü"), "bytes") == data
    assert way(store, "get_range", "dir/a b+ü", start=1, end=3) == data[1:3]
    assert way(store, "head", "dir/a b+ü")["size"] == len(data)
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["dir/a b+ü"]
    assert way(store, "list_with_delimiter")["common_prefixes"] == ["dir"]
    way(store, "delete", ["dir/a b+ü"])
    assert server.keys(BUCKET) == []
    (session,) = sessions(server)
    assert session.access_key == ACCESS_KEY
    others = {request.access_key for request in server.requests if request is not session}
    assert others == server.session_keys
    assert all("x-amz-security-token" not in request.fields for request in server.requests)


def test_copies_are_signed_with_the_stores_own_keys(server, bucket, way):
    server.put("a", b"1", bucket=BUCKET)
    store = connect(server, bucket, s3_express=True, copy_if_not_exists="multipart")
    way(store, "copy", "a", "b")
    way(store, "rename", "b", "c")
    way(store, "copy", "a", "d", overwrite=False)
    with pytest.raises(exceptions.AlreadyExistsError):
        way(store, "rename", "a", "d", overwrite=False)
    assert server.keys(BUCKET) == ["a", "c", "d"]
    copies = [request for request in server.requests if request.header("x-amz-copy-source")]
    assert {request.access_key for request in copies} == {ACCESS_KEY}


def test_large_copies_too(server, store, way, monkeypatch):
    monkeypatch.setattr(_copies, "LARGEST", 1000)
    monkeypatch.setattr(_copies, "PART_SIZE", 900)
    server.store.max_copy_size = 1000
    server.store.min_part_size = 0
    server.put("a", b"12345" * 500, bucket=BUCKET)
    way(store, "copy", "a", "b")
    assert server.get("b", bucket=BUCKET).data == b"12345" * 500


def test_a_session_is_renewed_before_it_ends(server, bucket, way):
    """One that has less than a minute left is used, and a new one asked for beside."""
    store = connect(server, bucket, s3_express=True)
    way(store, "put", "k", b"1")
    way(store, "put", "k", b"2")
    assert len(sessions(server)) == 1
    for key in server.session_keys:
        server.expire_credential(key)
    way(store, "put", "k", b"3")
    assert len(sessions(server)) == 2
    assert server.get("k", bucket=BUCKET).data == b"3"
    assert {error.code for error in server.take_errors()} == {"ExpiredToken"}


def test_a_session_lasts_five_minutes_and_is_renewed_in_the_last(monkeypatch, server, bucket):
    from s3ext import _express

    monkeypatch.setattr(_express, "LIFE", timedelta(seconds=60))
    store = connect(server, bucket, s3_express=True)
    assert store._connected().provider.refresh_threshold == timedelta(seconds=60)
    store.put("k", b"1")
    import time

    time.sleep(0.15)
    store.put("k", b"2")
    end = time.monotonic() + 5
    while len(sessions(server)) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_stores_share_a_session_and_many_requests_make_one(server, bucket):
    async def puts(stores):
        await asyncio.gather(*(s.put_async(f"k{n}", b"1") for n, s in enumerate(stores * 10)))

    asyncio.run(puts([connect(server, bucket, s3_express=True) for _ in range(3)]))
    assert len(sessions(server)) == 1
    gc.collect()


def test_session_tokens_of_the_stores_own_keys_go_where_they_always_do(server, bucket, way):
    server.add_credential("ASIAOWNTOKEN00000001", "own/secret", "own-token==")
    store = connect(
        server,
        bucket,
        s3_express=True,
        access_key_id="ASIAOWNTOKEN00000001",
        secret_access_key="own/secret",
        session_token="own-token==",
    )
    way(store, "put", "k", b"1")
    (session,) = sessions(server)
    assert session.header("x-amz-security-token") == "own-token=="


def test_a_provider_gives_the_keys_that_make_sessions(server, bucket, way):
    calls = []

    def provider():
        calls.append(1)
        return {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "expires_at": None}

    store = connect(server, bucket, s3_express=True, credential_provider=provider)
    assert store.credential_provider is provider
    way(store, "put", "k", b"1")
    way(store, "copy", "k", "l")
    assert len(calls) == 1
    assert len(sessions(server)) == 1


def test_a_session_that_is_refused_says_why(server, way):
    store = connect(server, BUCKET, s3_express=True)
    with pytest.raises(exceptions.UnauthenticatedError, match=r"NoSuchBucket|NotFound") as caught:
        way(store, "get", "k")
    assert isinstance(caught.value.__cause__, exceptions.NotFoundError)


@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b"<CreateSessionResult><Credentials/></CreateSessionResult>"]
)
def test_an_answer_that_holds_no_session_is_refused(server, store, way, body):
    server.faults.add(Fault(faults.replace_body(body), query="session", times=99))
    with pytest.raises(exceptions.UnauthenticatedError, match="holds no session"):
        way(store, "get", "k")


def test_without_signatures_there_are_no_sessions(server, bucket, way):
    server.store.buckets[bucket].public = True
    server.put("k", b"1", bucket=bucket)
    store = connect(server, bucket, s3_express=True, skip_signature=True)
    assert way(way(store, "get", "k"), "bytes") == b"1"
    assert sessions(server) == []


def test_an_offset_of_a_listing_is_kept_here(server, bucket, way):
    for number in range(1500):
        server.put(f"p/k{number:04}", b"x", bucket=BUCKET)
    store = connect(server, bucket, s3_express=True, prefix="p")
    found = [meta["path"] for meta in way(store.list(offset="k1490"), "collect")]
    assert sorted(found) == [f"k{number}" for number in range(1491, 1500)]
    assert found != sorted(found)
    arrow = way(store.list(offset="k1490", return_arrow=True), "collect")
    assert sorted(arrow["path"].to_pylist() if hasattr(arrow, "column_names") else []) in ([], sorted(found))
    assert arrow.num_rows == len(found)
    assert not any("start-after" in request.query for request in server.requests)


def test_a_prefix_of_a_directory_bucket_is_deleted(server, store, way):
    for number in range(1100):
        server.put(f"d/{number}", b"x", bucket=BUCKET)
    assert way(store, "delete_prefix", "d") == 1100
    assert server.keys(BUCKET) == []


def test_urls_are_signed_with_the_stores_own_keys(server, store, way):
    server.put("k", b"data", bucket=BUCKET)
    with urlopen(way(store, "sign", "GET", "k", timedelta(minutes=5))) as answer:
        assert answer.read() == b"data"
    assert sessions(server) == []


def test_the_host_is_that_of_the_zone(way):
    with VerifyingServer(buckets=(BUCKET,), tls=make_certificate()) as server:
        with ForwardProxy({"*.amazonaws.com:443": server.port}) as proxy:
            store = S3Store(
                BUCKET,
                s3_express=True,
                region="us-east-1",
                access_key_id=ACCESS_KEY,
                secret_access_key=SECRET_KEY,
                client_options={"proxy_url": proxy.url, "allow_invalid_certificates": True},
            )
            way(store, "put", "dir/k", b"1")
            assert way(store.list(), "collect")[0]["path"] == "dir/k"
            way(store, "copy", "dir/k", "l")
        assert {request.header("host") for request in server.requests} == {HOST}
        assert server.requests[0].target == "/?session="
        assert server.errors == []


@pytest.mark.parametrize(
    "name", ["data", "data--x-s3", "--use1-az4--x-s3", "data--use1-az4--x-s4", "--x-s3", "a----x-s3"]
)
def test_a_bucket_has_to_name_its_zone(name):
    with pytest.raises(
        exceptions.GenericError, match=rf"^Generic S3 error: Invalid Zone suffix for bucket '{name}'$"
    ):
        S3Store(name, s3_express=True)


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        (BUCKET, "use1-az4"),
        ("my-data--usw2-az1--x-s3", "usw2-az1"),
        ("ap--use1-az4--xa-s3", "use1-az4"),
        ("a--b--z--x-s3", "z"),
    ],
)
def test_the_zone_is_what_stands_before_the_suffix(name, zone):
    settings = S3Store(name, s3_express=True, region="eu-west-1")._settings
    assert settings.host == f"{name}.s3express-{zone}.{{region}}.amazonaws.com"
    assert (settings.service, settings.bucket_in_host) == ("s3express", True)
