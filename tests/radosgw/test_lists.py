"""list and list_with_delimiter on a real server: pages, levels, offsets."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.radosgw.conftest import connect, new_bucket
from tests.radosgw.test_writes import fill

FLAT = [f"n/{number:04} ü" for number in range(1100)]
DEEP = [f"m/{number:02}/{letter}" for number in range(30) for letter in "ab"]
KEYS = sorted([*FLAT, *DEEP, "m", "top+", "o/%2F", "o/.x"], key=str.encode)


@pytest.fixture(scope="module")
def crowd(gateway, boto):
    """A store whose bucket has more keys than a page."""
    store = connect(gateway, new_bucket(boto))
    asyncio.run(fill(store, KEYS))
    return store


def paths(metas):
    return [meta["path"] for meta in metas]


def test_all_pages_are_listed_in_order(crowd, way):
    chunks = way.pieces(crowd.list(chunk_size=300))
    assert [path for chunk in chunks for path in paths(chunk)] == KEYS
    assert [len(chunk) for chunk in chunks] == [300, 300, 300, len(KEYS) - 900]


def test_a_listed_object_has_its_metadata(crowd, way):
    (meta,) = [meta for meta in way(crowd.list("o"), "collect") if meta["path"] == "o/.x"]
    head = way(crowd, "head", "o/.x")
    # HTTP's dates have whole seconds, a listing's have milliseconds.
    assert {**meta, "last_modified": meta["last_modified"].replace(microsecond=0)} == head
    assert meta["e_tag"] == f'"{hashlib.md5(b"x").hexdigest()}"'


@pytest.mark.parametrize(
    ("prefix", "offset"),
    [("n", None), ("n", "n/1097"), ("m", None), (None, "n/0999 ü"), ("m/07", None), ("n", "z"), ("x", None)],
)
def test_prefixes_and_offsets(crowd, way, prefix, offset):
    expected = [
        key
        for key in KEYS
        if (prefix is None or key.startswith(f"{prefix}/")) and (offset is None or key > offset)
    ]
    assert paths(way(crowd.list(prefix, offset=offset), "collect")) == expected


def test_one_level_at_a_time(crowd, way):
    top = way(crowd, "list_with_delimiter")
    assert top["common_prefixes"] == ["m", "n", "o"]
    assert paths(top["objects"]) == ["m", "top+"]
    middle = way(crowd, "list_with_delimiter", "m")
    assert middle["common_prefixes"] == [f"m/{number:02}" for number in range(30)]
    assert middle["objects"] == []
    flat = way(crowd, "list_with_delimiter", "n")
    assert (flat["common_prefixes"], paths(flat["objects"])) == ([], FLAT)


def test_more_prefixes_than_a_page(gateway, bucket, way):
    store = connect(gateway, bucket)
    keys = [f"p{number:04}/x" for number in range(1010)]
    asyncio.run(fill(store, keys))
    level = way(store, "list_with_delimiter")
    assert level["common_prefixes"] == [key[:-2] for key in keys]
    assert level["objects"] == []


def test_an_empty_bucket_lists_nothing(store, way):
    assert way(store.list(), "collect") == []
    assert way(store, "list_with_delimiter") == {"common_prefixes": [], "objects": []}


def test_keys_that_xml_cannot_hold_are_listed(store, bucket, boto, way):
    keys = ["bell\x07", "nul-\x01/x", "cr\rlf\n", "\ufffe"]
    for key in keys:
        boto.put_object(Bucket=bucket, Key=key, Body=b"")
    assert sorted(paths(way(store.list(), "collect"))) == sorted(keys)
