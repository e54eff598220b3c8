from __future__ import annotations

import asyncio
import hashlib
import random
import urllib.request
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import s3ext
from s3ext.exceptions import NotFoundError, PermissionDeniedError, UnauthenticatedError
from s3ext.store import S3Store
from tests.moto.conftest import client, open_store

MIB = 1 << 20


@pytest.fixture
def store(moto, request) -> S3Store:
    return open_store(moto, prefix=request.node.name.replace("[", "-").rstrip("]"))


def test_what_is_put_is_got_whole_and_in_ranges(store) -> None:
    data = random.Random(1).randbytes(3 * MIB + 17)
    put = store.put("a b/ü%+.bin", data, use_multipart=False)
    assert put["e_tag"] == f'"{hashlib.md5(data).hexdigest()}"'
    result = store.get("a b/ü%+.bin")
    assert result.meta["size"] == len(data)
    assert result.bytes() == data
    assert store.get_range("a b/ü%+.bin", start=5, length=MIB) == data[5 : 5 + MIB]
    assert store.get_ranges("a b/ü%+.bin", starts=[0, 2 * MIB], ends=[9, 2 * MIB + 9]) == [
        data[:9],
        data[2 * MIB : 2 * MIB + 9],
    ]
    array = np.zeros(len(data), dtype=np.uint8)
    store.get("a b/ü%+.bin", into=array)
    assert array.tobytes() == data


def test_a_large_put_goes_up_in_parts(moto, store) -> None:
    data = random.Random(2).randbytes(12 * MIB)
    put = store.put("large", data, chunk_size=5 * MIB)
    assert put["e_tag"].endswith('-3"')
    assert store.get("large").bytes() == data
    assert client("s3", moto).list_multipart_uploads(Bucket="breadth").get("Uploads", []) == []


def test_attributes_and_tags_arrive(moto, store) -> None:
    store.put("k", b"x", attributes={"Content-Type": "text/plain", "flavour": "mint"}, tags={"a b": "c+d"})
    head = client("s3", moto).head_object(Bucket="breadth", Key=f"{store.prefix}/k")
    assert head["ContentType"] == "text/plain"
    assert head["Metadata"] == {"flavour": "mint"}
    tags = client("s3", moto).get_object_tagging(Bucket="breadth", Key=f"{store.prefix}/k")["TagSet"]
    assert tags == [{"Key": "a b", "Value": "c+d"}]
    assert store.get("k").attributes["flavour"] == "mint"


def test_listings_page_and_group(store) -> None:
    keys = sorted([f"n/{i:04}" for i in range(1100)] + ["m/x", "top"])
    asyncio.run(_put_all(store, keys))
    listed = [meta["path"] for page in store.list(chunk_size=300) for meta in page]
    assert sorted(listed) == keys
    assert [meta["path"] for page in store.list("n", offset="n/1097") for meta in page] == [
        "n/1098",
        "n/1099",
    ]
    grouped = store.list_with_delimiter()
    assert grouped["common_prefixes"] == ["m", "n"]
    assert [meta["path"] for meta in grouped["objects"]] == ["top"]
    store.delete(keys)
    assert store.list().collect() == []


async def _put_all(store, keys) -> None:
    gate = asyncio.Semaphore(16)

    async def one(key) -> None:
        async with gate:
            await store.put_async(key, key.encode())

    await asyncio.gather(*map(one, keys))


def test_copy_rename_delete(store) -> None:
    store.put("a+b", b"1")
    store.copy("a+b", "c d")
    store.rename("c d", "e")
    assert store.get("e").bytes() == b"1"
    with pytest.raises(NotFoundError) as caught:
        store.head("c d")
    assert caught.value.status == 404
    store.delete(["a+b", "e", "never there"])
    assert store.list().collect() == []


def test_conditions_are_obeyed(store) -> None:
    etag = store.put("k", b"1")["e_tag"]
    assert store.get("k", options={"if_match": etag}).bytes() == b"1"
    with pytest.raises(s3ext.exceptions.PreconditionError):
        store.get("k", options={"if_match": '"other"'})
    with pytest.raises(s3ext.exceptions.NotModifiedError):
        store.get("k", options={"if_none_match": etag})
    with pytest.raises(s3ext.exceptions.NotModifiedError):
        store.get("k", options={"if_modified_since": datetime.now(UTC) + timedelta(days=1)})


def test_a_signed_url_needs_no_keys(store) -> None:
    store.put("k", b"12345")
    with urllib.request.urlopen(store.sign("GET", "k", timedelta(minutes=5)), timeout=10) as answer:
        assert answer.read() == b"12345"


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_both_address_styles(moto, style) -> None:
    port = moto.endpoint_url.rpartition(":")[2]
    options = {"virtual_hosted_style_request": True} if style == "virtual" else {}
    endpoint = f"http://breadth.localhost:{port}" if style == "virtual" else f"http://localhost:{port}"
    store = S3Store(
        "breadth",
        endpoint=endpoint,
        access_key_id="AKIDMOTO",
        secret_access_key="secret",
        client_options={"allow_http": True},
        **options,
    )
    store.put(f"style/{style}", b"here")
    assert store.get(f"style/{style}").bytes() == b"here"
    assert [meta["path"] for meta in store.list("style").collect() if style in meta["path"]] == [
        f"style/{style}"
    ]


def test_signatures_hold_before_a_server_that_checks_them(strict_moto) -> None:
    server, keys, _ = strict_moto
    store = open_store(server, **keys)
    store.put("dir/a b+ü.bin", b"123")
    assert store.get("dir/a b+ü.bin").bytes() == b"123"
    assert store.get_range("dir/a b+ü.bin", start=1, end=2) == b"2"
    assert store.head("dir/a b+ü.bin")["size"] == 3
    assert [meta["path"] for meta in store.list("dir").collect()] == ["dir/a b+ü.bin"]
    store.copy("dir/a b+ü.bin", "dir/b")
    store.delete(["dir/a b+ü.bin", "dir/b"])
    assert store.list().collect() == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "AKIDNOBODY"}, "InvalidAccessKeyId"),
    ],
)
def test_wrong_keys_are_refused_with_their_code(strict_moto, change, code) -> None:
    server, keys, _ = strict_moto
    with pytest.raises(PermissionDeniedError) as caught:
        open_store(server, **{**keys, **change}).put("k", b"1")
    assert caught.value.code == code
    assert caught.value.status == 403
    assert keys["secret_access_key"] not in str(caught.value)


def test_session_tokens_hold_before_a_server_that_checks_them(strict_moto) -> None:
    server, _, session = strict_moto
    store = open_store(server, **session)
    store.put("with token/ü+", b"123")
    assert store.get("with token/ü+").bytes() == b"123"
    store.delete(["with token/ü+"])
    for change, error, code in (
        ({"secret_access_key": "wrong"}, PermissionDeniedError, "SignatureDoesNotMatch"),
        ({"session_token": "wrong"}, UnauthenticatedError, "InvalidToken"),
    ):
        with pytest.raises(error) as caught:
            open_store(server, **{**session, **change}).put("k", b"1")
        assert caught.value.code == code
        assert session["secret_access_key"] not in str(caught.value)
        assert session["session_token"] not in str(caught.value)
