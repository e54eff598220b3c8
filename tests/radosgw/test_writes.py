"""put, copy, rename and delete on a real server: parts, aborts, bulk."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import time

import pytest

from s3ext import exceptions
from tests.python.ways import PART
from tests.radosgw.conftest import connect

BIG = random.Random(13).randbytes(2 * PART + 54321)


def content(boto, bucket, key):
    return boto.get_object(Bucket=bucket, Key=key)["Body"].read()


def uploads(boto, bucket):
    return boto.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def await_no_uploads(boto, bucket):
    """Assert that no upload is left soon: an async put does not wait for its abort."""
    end = time.monotonic() + 5
    while uploads(boto, bucket):
        assert time.monotonic() < end, "an upload was not aborted"
        time.sleep(0.02)


def etag_of_parts(data, size):
    """The ETag of an object that came in parts: the MD5 of their MD5s."""
    digests = [hashlib.md5(data[at : at + size]).digest() for at in range(0, len(data), size)]
    return f'"{hashlib.md5(b"".join(digests)).hexdigest()}-{len(digests)}"'


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_small_put_is_one_request(gateway, bucket, boto, way, unsigned):
    store = connect(gateway, bucket, unsigned_payload=unsigned)
    for data in (b"", b"data", BIG[:PART]):
        answer = way(store, "put", "k", data)
        assert answer == {"e_tag": f'"{hashlib.md5(data).hexdigest()}"', "version": None}
        assert content(boto, bucket, "k") == data


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("size", [PART + 1, 2 * PART, len(BIG)])
def test_a_large_put_goes_up_in_parts(gateway, bucket, boto, way, unsigned, size):
    store = connect(gateway, bucket, unsigned_payload=unsigned)
    way(store, "put", "dir/big", BIG[:size], chunk_size=PART)
    assert content(boto, bucket, "dir/big") == BIG[:size]
    assert way(store, "head", "dir/big")["e_tag"] == etag_of_parts(BIG[:size], PART)
    assert uploads(boto, bucket) == []


@pytest.mark.parametrize("kind", ["file", "path", "chunks"])
def test_files_and_iterators_go_up_in_parts(store, bucket, boto, way, tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(BIG)
    source = {
        "file": lambda: io.BytesIO(BIG),
        "path": lambda: path,
        "chunks": lambda: (BIG[at : at + 777_777] for at in range(0, len(BIG), 777_777)),
    }[kind]()
    way(store, "put", "k", source, chunk_size=PART)
    assert content(boto, bucket, "k") == BIG
    assert way(store, "head", "k")["e_tag"] == etag_of_parts(BIG, PART)


def test_async_iterators_go_up_in_parts(store, bucket, boto):
    async def chunks():
        for at in range(0, len(BIG), 1_000_000):
            yield BIG[at : at + 1_000_000]

    asyncio.run(store.put_async("k", chunks(), chunk_size=PART))
    assert content(boto, bucket, "k") == BIG


def test_what_is_read_in_parts_of_other_sizes_is_the_same(gateway, bucket, way):
    way(connect(gateway, bucket), "put", "k", BIG, chunk_size=PART + 77_777)
    store = connect(gateway, bucket, part_size=1 << 20)
    assert way(way(store, "get", "k"), "bytes") == BIG


def test_an_upload_whose_source_fails_is_aborted(store, bucket, boto, way):
    def broken():
        yield BIG[: PART + 5]
        end = time.monotonic() + 5
        while not uploads(boto, bucket):
            assert time.monotonic() < end, "no upload was begun"
            time.sleep(0.02)
        raise LookupError("source")

    with pytest.raises(LookupError, match="source"):
        way(store, "put", "k", broken(), chunk_size=PART)
    await_no_uploads(boto, bucket)
    assert way(store.list(), "collect") == []


def test_an_upload_with_too_small_parts_is_refused_and_aborted(store, bucket, boto, way):
    with pytest.raises(exceptions.GenericError) as caught:
        way(store, "put", "k", BIG[:100_000], chunk_size=40_000, use_multipart=True)
    assert (caught.value.status, caught.value.code) == (400, "EntityTooSmall")
    await_no_uploads(boto, bucket)


def test_many_writers_at_once_each_get_theirs(store):
    async def all_of_them():
        data = {f"k{number}": bytes([number]) * 1000 * number for number in range(100)}
        await asyncio.gather(*(store.put_async(key, value) for key, value in data.items()))
        results = await asyncio.gather(*map(store.get_async, data))
        return [await result.bytes_async() == data[result.meta["path"]] for result in results]

    assert asyncio.run(all_of_them()) == [True] * 100


# ---- copy and rename ----


def test_a_copy_has_the_sources_bytes_and_attributes(store, bucket, boto, way):
    boto.put_object(Bucket=bucket, Key="a b", Body=b"1", ContentType="text/x", Metadata={"flavour": "mint"})
    way(store, "copy", "a b", "dir/ü+%")
    copied = boto.get_object(Bucket=bucket, Key="dir/ü+%")
    assert (copied["Body"].read(), copied["ContentType"]) == (b"1", "text/x")
    assert copied["Metadata"] == {"flavour": "mint"}
    assert content(boto, bucket, "a b") == b"1"


def test_an_object_of_parts_is_copied(store, bucket, boto, way):
    way(store, "put", "k", BIG, chunk_size=PART)
    way(store, "copy", "k", "l")
    assert content(boto, bucket, "l") == BIG


def test_a_copy_replaces(store, way):
    way(store, "put", "a", b"1")
    way(store, "put", "b", b"2")
    way(store, "copy", "a", "b")
    assert way(way(store, "get", "b"), "bytes") == b"1"


def test_rename_moves(store, way):
    way(store, "put", "a/ü", b"1")
    way(store, "rename", "a/ü", "b c")
    assert way(way(store, "get", "b c"), "bytes") == b"1"
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["b c"]


@pytest.mark.parametrize("call", ["copy", "rename"])
def test_what_is_not_there_is_not_copied(store, way, call):
    way(store, "put", "b", b"kept")
    with pytest.raises(exceptions.NotFoundError) as caught:
        way(store, call, "a", "b")
    assert caught.value.code == "NoSuchKey"
    assert way(way(store, "get", "b"), "bytes") == b"kept"


def test_copies_stay_below_the_stores_prefix(gateway, bucket, store, way):
    inside = connect(gateway, bucket, prefix="p q")
    way(inside, "put", "a", b"1")
    way(inside, "copy", "a", "b")
    way(inside, "rename", "a", "c")
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["p q/b", "p q/c"]


# ---- delete ----


def test_deleting_what_is_not_there_is_no_error(store, way):
    way(store, "put", "k", b"")
    way(store, "delete", "nothing")
    way(store, "delete", ["nothing", "k", "nothing/else"])
    way(store, "delete", [])
    assert way(store.list(), "collect") == []


async def fill(store, keys):
    gate = asyncio.Semaphore(16)

    async def one(key):
        async with gate:
            await store.put_async(key, b"x")

    await asyncio.gather(*map(one, keys))


def test_more_keys_than_one_request_takes_are_deleted(store, way):
    keys = [f"d/{number}<&>\"'%+ ü" for number in range(1005)]
    asyncio.run(fill(store, [*keys[::25], keys[-1], "stays"]))
    way(store, "delete", keys)
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["stays"]


def test_a_thousand_objects_and_more_are_deleted(store):
    keys = [f"d/{number:04}" for number in range(1100)]
    asyncio.run(fill(store, keys))
    assert len(store.list().collect()) == 1100
    store.delete(keys)
    assert store.list().collect() == []


def test_a_store_without_bulk_delete_deletes_one_by_one(gateway, bucket, way):
    store = connect(gateway, bucket, disable_bulk_delete=True)
    keys = [f"d/{number} ü" for number in range(50)]
    asyncio.run(fill(store, keys))
    way(store, "delete", keys[1:])
    assert [meta["path"] for meta in way(store.list(), "collect")] == [keys[0]]
