"""Copies in parts, conditional ones, odd keys in bulk deletes and whole prefixes, on a real server."""

from __future__ import annotations

import asyncio
import random

import pytest

from s3ext import _copies, exceptions
from tests.python.ways import PART
from tests.radosgw.conftest import connect

BIG = random.Random(17).randbytes(2 * PART + 54_321)


def uploads(boto, bucket):
    return boto.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def keys(boto, bucket):
    pages = boto.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def body(boto, bucket, key):
    return boto.get_object(Bucket=bucket, Key=key)["Body"].read()


@pytest.fixture
def in_parts(monkeypatch):
    """Whatever the server thinks: what is larger than a part is too large for one request."""
    monkeypatch.setattr(_copies, "PART_SIZE", PART)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, len(BIG)])
def test_a_copy_in_parts_is_the_same_object(gateway, bucket, boto, way, size):
    store = connect(gateway, bucket, copy_if_not_exists="multipart")
    attributes = {"Content-Type": "text/x", "Cache-Control": "no-store", "flavour": "mint"}
    # Ceph passes over the tags of a multipart upload, so here they can only be read.
    tags = {"a b": "c+d", "ü": "1"}
    way(store, "put", "dir/a b+ü", BIG[:size], attributes=attributes, tags=tags, use_multipart=False)
    way(store, "copy", "dir/a b+ü", "to", overwrite=False)
    found = boto.get_object(Bucket=bucket, Key="to")
    assert found["Body"].read() == BIG[:size]
    assert (found["ContentType"], found["CacheControl"]) == ("text/x", "no-store")
    assert found["Metadata"] == {"flavour": "mint"}
    assert uploads(boto, bucket) == []


@pytest.mark.usefixtures("in_parts")
def test_a_source_that_is_replaced_meanwhile_is_noticed(gateway, bucket, boto, monkeypatch):
    store = connect(gateway, bucket)
    store.put("a", BIG)
    look = _copies._look

    def look_and_replace(*arguments):
        known = yield from look(*arguments)
        boto.put_object(Bucket=bucket, Key="a", Body=BIG[::-1])
        return known

    monkeypatch.setattr(_copies, "_look", look_and_replace)
    store = connect(gateway, bucket, copy_if_not_exists="multipart")
    with pytest.raises(exceptions.PreconditionError):
        store.rename("a", "b", overwrite=False)
    assert keys(boto, bucket) == ["a"]
    assert uploads(boto, bucket) == []


def test_a_missing_source_leaves_no_upload(gateway, bucket, boto, way):
    store = connect(gateway, bucket, copy_if_not_exists="multipart")
    with pytest.raises(exceptions.NotFoundError):
        way(store, "copy", "none", "b", overwrite=False)
    assert uploads(boto, bucket) == []


def test_copy_and_rename_replace(store, bucket, boto, way):
    way(store, "put", "a", b"new", attributes={"Content-Type": "text/x"})
    way(store, "put", "b", b"old")
    way(store, "copy", "a", "b")
    assert body(boto, bucket, "b") == b"new"
    way(store, "rename", "a", "c")
    assert keys(boto, bucket) == ["b", "c"]
    assert boto.head_object(Bucket=bucket, Key="c")["ContentType"] == "text/x"


# ---- deletes ----

ODD = ["d/a\ufffe", "d/a\uffffb"]


def test_keys_that_xml_cannot_carry_are_deleted_with_the_others(store, bucket, boto, way):
    for key in [*ODD, "d/plain", "e"]:
        way(store, "put", key, b"x")
    way(store, "delete", [*ODD, "d/plain"])
    assert keys(boto, bucket) == ["e"]


def test_a_prefix_is_deleted_whatever_is_below_it(gateway, bucket, boto, way):
    store = connect(gateway, bucket, raw_keys=True)
    below = [*ODD, "d/\x01", "d/tab\t", "d/<&>", "d/", "d/dir/", "d/a//b", "d/ü 🦆+%"]
    others = ["d", "dx", "e/d/x"]
    for key in [*below, *others]:
        way(store, "put", key, b"x")
    assert way(store, "delete_prefix", "d") == len(below)
    assert sorted(keys(boto, bucket)) == others


def test_many_objects_are_deleted_and_counted(store, bucket, boto):
    async def fill():
        await asyncio.gather(*(store.put_async(f"many/{number:04}", b"") for number in range(1234)))

    asyncio.run(fill())
    assert store.delete_prefix("many") == 1234
    assert keys(boto, bucket) == []
