"""get, get_range, get_ranges and head on a real server: ranges, parts, pinning, conditions."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from s3ext import exceptions
from tests.python.ways import PART
from tests.radosgw.conftest import connect, new_bucket

BIG = random.Random(11).randbytes(3 * PART + 4321)


@pytest.fixture(scope="module")
def held(gateway, boto):
    """A store whose bucket has "big" (sixteen million bytes), "ten" and "empty"; not to be changed."""
    bucket = new_bucket(boto)
    for key, data in (("big", BIG), ("ten", b"0123456789"), ("empty", b"")):
        boto.put_object(Bucket=bucket, Key=key, Body=data)
    return connect(gateway, bucket)


@pytest.mark.parametrize(("key", "data"), [("big", BIG), ("ten", b"0123456789"), ("empty", b"")])
def test_an_object_is_got_whole(held, way, key, data):
    result = way(held, "get", key)
    meta = result.meta
    assert (meta["path"], meta["size"], result.range) == (key, len(data), (0, len(data)))
    assert meta["e_tag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert abs(datetime.now(UTC) - meta["last_modified"]) < timedelta(minutes=10)
    assert way(result, "bytes") == data
    assert way(held, "head", key) == meta
    assert b"".join(way.pieces(way(held, "get", key).stream(1_000_000))) == data


def test_an_object_is_read_into_an_array(held, way):
    array = np.zeros(len(BIG), dtype=np.uint8)
    result = way(held, "get", "big", into=array)
    assert array.tobytes() == BIG
    assert result.bytes() == BIG
    small = bytearray(10)
    way(held, "get", "ten", into=small)
    assert small == b"0123456789"


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (0, len(BIG)), (len(BIG) - 1, len(BIG)), (PART - 1, PART + 1), (7, 2 * PART + 7), (9, 10**10)],
)
def test_a_range_is_got_into_new_memory_and_the_callers(held, way, start, end):
    assert way(held, "get_range", "big", start=start, end=end) == BIG[start:end]
    if end <= len(BIG):
        target = bytearray(end - start)
        way(held, "get_range", "big", start=start, length=end - start, into=target)
        assert target == BIG[start:end]


@pytest.mark.parametrize("coalesce", [0, 1 << 20])
def test_many_ranges_are_got(held, way, coalesce):
    choose = random.Random(12)
    starts = [choose.randrange(len(BIG)) for _ in range(60)]
    ends = [min(len(BIG), start + choose.randrange(1, 100_000)) for start in starts]
    expected = [BIG[start:end] for start, end in zip(starts, ends, strict=True)]
    assert way(held, "get_ranges", "big", starts=starts, ends=ends, coalesce=coalesce) == expected
    array = np.zeros(sum(map(len, expected)), dtype=np.uint8)
    way(held, "get_ranges", "big", starts=starts, ends=ends, coalesce=coalesce, into=array)
    assert array.tobytes() == b"".join(expected)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ((2, 5), 2, 5),
        ((2, 500), 2, 10),
        ({"offset": 7}, 7, 10),
        ({"suffix": 3}, 7, 10),
        ({"suffix": 300}, 0, 10),
    ],
)
def test_get_takes_ranges_offsets_and_suffixes(held, way, wanted, start, end):
    result = way(held, "get", "ten", options={"range": wanted})
    assert (result.range, result.meta["size"]) == ((start, end), 10)
    assert way(result, "bytes") == b"0123456789"[start:end]


@pytest.mark.parametrize(
    ("wanted", "start"),
    [({"offset": 100}, 100), ({"suffix": len(BIG) - 5}, 5), ({"suffix": 10}, len(BIG) - 10)],
)
def test_large_offsets_and_suffixes_are_got_in_parts(held, way, wanted, start):
    result = way(held, "get", "big", options={"range": wanted})
    assert result.range == (start, len(BIG))
    assert way(result, "bytes") == BIG[start:]


def test_a_range_behind_the_end_is_refused_by_the_server(held, way):
    for call, arguments in (
        ("get_range", {"start": 10, "end": 12}),
        ("get_ranges", {"starts": [10], "ends": [12]}),
        ("get", {"options": {"range": {"offset": 10}}}),
    ):
        with pytest.raises(exceptions.GenericError) as caught:
            way(held, call, "ten", **arguments)
        assert (caught.value.status, caught.value.code) == (416, "InvalidRange")


def test_an_empty_object_has_no_range(held, way):
    with pytest.raises(exceptions.GenericError) as caught:
        way(held, "get_range", "empty", start=0, end=1)
    assert caught.value.status == 416


@pytest.mark.parametrize("call", ["get", "head"])
def test_what_is_not_there_is_not_found(held, way, call):
    with pytest.raises(exceptions.NotFoundError) as caught:
        way(held, call, "no/such")
    assert (caught.value.status, caught.value.key) == (404, "no/such")
    assert caught.value.code == ("NoSuchKey" if call == "get" else None)


# ---- conditions ----


def test_etag_conditions(held, way):
    etag = way(held, "head", "ten")["e_tag"]
    for options in ({"if_match": etag}, {"if_none_match": '"other"'}):
        assert way(way(held, "get", "ten", options=options), "bytes") == b"0123456789"
        ranged = way(held, "get", "ten", options={**options, "range": (1, 3)})
        assert way(ranged, "bytes") == b"12"
    with pytest.raises(exceptions.PreconditionError) as caught:
        way(held, "get", "ten", options={"if_match": '"other"'})
    assert caught.value.status == 412
    with pytest.raises(exceptions.NotModifiedError) as unchanged:
        way(held, "get", "ten", options={"if_none_match": etag})
    assert unchanged.value.status == 304


def test_date_conditions(held, way):
    before, after = (datetime.now(UTC) + timedelta(days=days) for days in (-2, -1))
    modified = way(held, "head", "ten")["last_modified"]
    for options in ({"if_modified_since": before}, {"if_unmodified_since": modified}):
        assert way(way(held, "get", "ten", options=options), "bytes") == b"0123456789"
    with pytest.raises(exceptions.NotModifiedError):
        way(held, "get", "ten", options={"if_modified_since": modified})
    with pytest.raises(exceptions.PreconditionError):
        way(held, "get", "ten", options={"if_unmodified_since": after})


def test_get_with_head_brings_no_body(held, way):
    result = way(held, "get", "ten", options={"head": True})
    assert result.meta == way(held, "head", "ten")


def test_an_object_replaced_between_its_parts_is_an_error(store, way):
    way(store, "put", "k", BIG)
    result = way(store, "get", "k")
    stream = way(store, "get", "k").stream(PART)
    way(store, "put", "k", BIG[::-1])
    with pytest.raises(exceptions.PreconditionError):
        way(result, "bytes")
    with pytest.raises(exceptions.PreconditionError):
        way.pieces(stream)
    assert way(way(store, "get", "k"), "bytes") == BIG[::-1]


def test_one_connection_serves_many_requests(held, way):
    """The server keeps connections; what comes over them must not be mixed up."""
    for start in range(200):
        assert way(held, "get_range", "big", start=start * 1000, length=100) == BIG[start * 1000 :][:100]
