"""raw_keys on a real server: odd keys are listed, read, copied and deleted as another client wrote them."""

from __future__ import annotations

import pytest

from tests.radosgw.conftest import connect

ODD = [
    "/",
    "//lead",
    "trail/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a\nb",
    "\x01",
    "%2e%2e/a",
    "é/🎈 +?#",
]


def paths(metas):
    return [meta["path"] for meta in metas]


def test_what_another_client_wrote_is_listed_read_copied_and_deleted(gateway, bucket, boto, way):
    store = connect(gateway, bucket, raw_keys=True)
    for key in ODD:
        way(store, "put", key, key.encode())
    listed = paths(way(store.list(), "collect"))
    assert listed == sorted(ODD, key=str.encode)
    for key in listed:
        assert way(way(store, "get", key), "bytes") == key.encode()
        way(store, "copy", key, f"copy/{key}")
        way(store, "delete", key)
    copies = paths(way(store.list("copy/"), "collect"))
    assert copies == sorted((f"copy/{key}" for key in ODD), key=str.encode)
    assert paths(way(store.list(), "collect")) == copies


@pytest.mark.parametrize("key", ["a//b", "trail/", "é/🎈 +?#", "a\nb"])
def test_both_clients_name_the_same_object(gateway, bucket, boto, way, key):
    store = connect(gateway, bucket, raw_keys=True)
    boto.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    assert way(way(store, "get", key), "bytes") == b"theirs"
    way(store, "put", key, b"ours")
    assert boto.get_object(Bucket=bucket, Key=key)["Body"].read() == b"ours"


def test_parts_of_an_odd_key_are_put_together(gateway, bucket, way):
    store = connect(gateway, bucket, raw_keys=True)
    way(store, "put", "a/../b//", b"x" * 6_000_000, use_multipart=True)
    assert way(store, "head", "a/../b//")["size"] == 6_000_000
