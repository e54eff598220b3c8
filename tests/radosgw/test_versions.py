"""What a real server keeps beside the bytes: versions, tags, attributes; and puts with conditions."""

from __future__ import annotations

import pytest

from s3ext import exceptions
from tests.python.ways import PART
from tests.radosgw.conftest import connect

LARGE = bytes(range(251)) * (2 * PART // 251 + 7)


@pytest.fixture
def versioned(boto, bucket):
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def tags_of(boto, bucket, key):
    answer = boto.get_object_tagging(Bucket=bucket, Key=key)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def test_each_version_is_read_by_its_id(gateway, versioned, way):
    store = connect(gateway, versioned)
    bodies = [b"one", b"two", LARGE]
    versions = [way(store, "put", "k", body)["version"] for body in bodies]
    assert len(set(versions)) == 3
    assert None not in versions
    for version, body in zip(versions, bodies, strict=True):
        result = way(store, "get", "k", options={"version": version})
        assert way(result, "bytes") == body
        assert result.meta["version"] == version
        seen = way(store, "get", "k", options={"version": version, "range": (1, 3)})
        assert way(seen, "bytes") == body[1:3]


def test_a_deleted_object_is_gone_but_for_its_versions(gateway, versioned, way):
    store = connect(gateway, versioned)
    version = way(store, "put", "k", b"data")["version"]
    way(store, "delete", "k")
    with pytest.raises(exceptions.NotFoundError):
        way(store, "head", "k")
    assert way(way(store, "get", "k", options={"version": version}), "bytes") == b"data"


def test_a_version_that_never_was_is_not_found(gateway, versioned, way):
    store = connect(gateway, versioned)
    way(store, "put", "k", b"data")
    with pytest.raises((exceptions.NotFoundError, exceptions.GenericError)) as caught:
        way(store, "get", "k", options={"version": "0123456789abcdef0123456789abcde"})
    assert caught.value.status in {400, 404}


TAGS = {"plain": "value", "a space": "1 + 1 = 2", "ümlaut": "ö/ü", "empty": ""}


def test_tags_arrive_as_they_were_given(boto, store, bucket, way):
    way(store, "put", "k", b"data", tags=TAGS)
    assert tags_of(boto, bucket, "k") == TAGS


def test_tags_can_be_switched_off(boto, gateway, bucket, way):
    way(connect(gateway, bucket, disable_tagging=True), "put", "k", b"data", tags=TAGS)
    assert tags_of(boto, bucket, "k") == {}


ATTRIBUTES = {
    "Content-Type": "image/tiff",
    "Content-Language": "de",
    "Content-Encoding": "zstd",
    "Content-Disposition": 'attachment; filename="a b.tif"',
    "Cache-Control": "max-age=60",
    "owner": "someone",
}


@pytest.mark.parametrize("body", [b"data", LARGE], ids=["one-request", "parts"])
def test_attributes_are_kept_and_given_back(store, way, body):
    way(store, "put", "k", body, attributes=ATTRIBUTES, chunk_size=PART)
    assert way(store, "get", "k").attributes == ATTRIBUTES


def test_create_makes_only_what_is_not_there(store, way):
    way(store, "put", "k", b"first", mode="create")
    with pytest.raises(exceptions.AlreadyExistsError):
        way(store, "put", "k", b"second", mode="create")
    assert way(way(store, "get", "k"), "bytes") == b"first"


def test_update_replaces_only_what_it_knows(store, way):
    """radosgw compares ETags without their quotes, so here they are left out."""
    e_tag = way(store, "put", "k", b"first")["e_tag"].strip('"')
    way(store, "put", "k", b"second", mode={"e_tag": e_tag})
    with pytest.raises(exceptions.PreconditionError):
        way(store, "put", "k", b"third", mode={"e_tag": e_tag})
    assert way(way(store, "get", "k"), "bytes") == b"second"
