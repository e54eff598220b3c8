"""head, get, get_range, get_ranges, delete, copy, rename and sign, in sync and in async calls."""

from __future__ import annotations

import array
import gc
import random
from datetime import UTC, datetime, timedelta, timezone
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

import s3ext
from s3ext import exceptions
from tests.python.ways import PART, connect
from tests.server import Fault, faults

BIG = random.Random(7).randbytes(3 * PART + 12345)


# ---- head ----


def test_head_tells_size_etag_and_time_of_modification(server, store, way):
    server.put("dir/k", b"12345", modified=datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC).timestamp())
    assert way(store, "head", "dir/k") == {
        "path": "dir/k",
        "last_modified": datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC),
        "size": 5,
        "e_tag": server.get("dir/k").etag,
        "version": None,
    }


def test_a_missing_object_is_a_file_not_found_error_that_says_what_was_missing(store, way):
    with pytest.raises(FileNotFoundError, match="bucket/no/such failed: 404") as caught:
        way(store, "head", "no/such")
    error = caught.value
    assert isinstance(error, exceptions.NotFoundError)
    assert (error.status, error.operation, error.bucket, error.key) == (404, "head", "bucket", "no/such")
    assert error.attempts == 1
    assert not error.retryable


def test_the_servers_code_and_request_id_are_in_the_error(store, way):
    with pytest.raises(exceptions.NotFoundError) as caught:
        way(store, "get", "no/such")
    assert caught.value.code == "NoSuchKey"
    assert caught.value.request_id
    assert f"request id {caught.value.request_id}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refused_key_is_a_permission_error(server, way):
    store = connect(server, access_key_id="AKIDNOBODY0000000000")
    with pytest.raises(PermissionError) as caught:
        way(store, "get", "k")
    assert isinstance(caught.value, exceptions.PermissionDeniedError)
    assert caught.value.code == "InvalidAccessKeyId"
    assert "test/secret" not in str(caught.value)
    server.take_errors()


def test_paths_are_checked_before_any_request(server, store, way):
    for path in ("", "a//b", "../a", "a\x01", "k" * 1025):
        for method in ("head", "get", "delete"):
            with pytest.raises(exceptions.InvalidPathError):
                way(store, method, path)
    with pytest.raises(TypeError):
        way(store, "head", 5)
    assert server.requests == []


# ---- get ----


def test_get_brings_bytes_and_metadata_in_one_request(server, store, way):
    server.put("k", b"hello")
    result = way(store, "get", "k")
    assert result.meta["size"] == 5
    assert result.range == (0, 5)
    body = way(result, "bytes")
    assert isinstance(body, s3ext.Bytes)
    assert body == b"hello"
    assert len(server.requests) == 1


def test_a_body_can_be_taken_once_and_the_metadata_stays(server, store, way):
    server.put("k", b"hello")
    result = way(store, "get", "k")
    way(result, "buffer")
    for take in ("bytes", "buffer"):
        with pytest.raises(ValueError, match="already been disposed"):
            way(result, take)
    with pytest.raises(ValueError, match="already been disposed"):
        result.stream()
    assert result.meta["path"] == "k"
    assert result.attributes is not None


def test_an_empty_object_is_read(server, store, way):
    server.put("empty", b"")
    result = way(store, "get", "empty")
    assert (result.meta["size"], result.range, way(result, "bytes")) == (0, (0, 0), b"")
    assert way.pieces(way(store, "get", "empty").stream()) == []


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, len(BIG)])
def test_objects_around_the_part_size_are_read_whole(server, store, way, size):
    server.put("big", BIG[:size])
    result = way(store, "get", "big")
    assert result.range == (0, size)
    assert way(result, "bytes") == BIG[:size]
    etag = server.get("big").etag
    assert all(request.header("if-match") == etag for request in server.find("GET", "big")[1:])


def test_a_result_got_in_one_way_can_be_read_in_the_other(server, store, way):
    import asyncio

    server.put("big", BIG)
    result = way(store, "get", "big")
    if way.name == "async":
        assert result.bytes() == BIG
    else:
        assert asyncio.run(result.bytes_async()) == BIG


def test_an_object_replaced_between_the_parts_is_an_error(server, store, way):
    server.put("big", BIG)
    result = way(store, "get", "big")
    server.put("big", BIG[::-1])
    with pytest.raises(exceptions.PreconditionError):
        way(result, "bytes")


@pytest.mark.parametrize("least", [1, 1024 * 1024, 3_000_000, 10 * 1024 * 1024, 100_000_000])
def test_a_stream_gives_pieces_of_at_least_the_size_asked_for(server, store, way, least):
    server.put("big", BIG)
    pieces = way.pieces(way(store, "get", "big").stream(least))
    assert all(type(piece) is bytes for piece in pieces)
    assert b"".join(pieces) == BIG
    assert all(len(piece) >= least for piece in pieces[:-1])


def test_iterating_a_result_streams_it(server, store, way):
    server.put("big", BIG)
    assert b"".join(way.pieces(way(store, "get", "big"))) == BIG


def test_a_stream_reads_in_turns_sync_and_async(server, store):
    import asyncio

    server.put("big", BIG)
    stream = store.get("big").stream(1024 * 1024)

    async def two():
        return [await anext(stream), await anext(stream)]

    pieces = [next(stream), *asyncio.run(two()), next(stream), *asyncio.run(two()), *stream]
    assert b"".join(pieces) == BIG


def test_a_stream_dropped_half_read_gives_its_memory_back(server, store, way):
    server.put("big", BIG)
    before = s3ext.stats()["memory_live"]
    stream = way(store, "get", "big").stream(1024 * 1024)
    assert next(stream) == BIG[: 1024 * 1024]
    del stream
    gc.collect()
    assert s3ext.stats()["memory_live"] <= before


def test_a_result_keeps_no_memory_after_its_bytes_are_gone(server, store, way):
    server.put("big", BIG)
    before = s3ext.stats()["memory_live"]
    body = way(way(store, "get", "big"), "bytes")
    assert len(body) == len(BIG)
    del body
    gc.collect()
    assert s3ext.stats()["memory_live"] <= before


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ((2, 5), 2, 5),
        ([2, 500], 2, 10),
        ({"offset": 7}, 7, 10),
        ({"suffix": 3}, 7, 10),
        ({"suffix": 300}, 0, 10),
    ],
)
def test_get_takes_a_range(server, store, way, wanted, start, end):
    server.put("k", b"0123456789")
    result = way(store, "get", "k", options={"range": wanted})
    assert result.range == (start, end)
    assert result.meta["size"] == 10
    assert way(result, "bytes") == b"0123456789"[start:end]


def test_a_long_suffix_is_read_in_parts(server, store, way):
    server.put("big", BIG)
    result = way(store, "get", "big", options={"range": {"suffix": 2 * PART + 100}})
    assert result.range == (len(BIG) - 2 * PART - 100, len(BIG))
    assert way(result, "bytes") == BIG[-2 * PART - 100 :]


def test_a_long_range_is_streamed(server, store, way):
    server.put("big", BIG)
    result = way(store, "get", "big", options={"range": (1000, 3 * PART)})
    assert b"".join(way.pieces(result.stream(1024))) == BIG[1000 : 3 * PART]


@pytest.mark.parametrize("wanted", [(5, 5), (5, 2), {"suffix": 0}, {"begin": 3}, "0-5", 7, (1, 2, 3)])
def test_a_range_that_makes_no_sense_is_refused(server, store, way, wanted):
    with pytest.raises(ValueError):
        way(store, "get", "k", options={"range": wanted})
    assert server.requests == []


def test_a_range_behind_the_end_is_the_servers_error(server, store, way):
    server.put("k", b"0123456789")
    with pytest.raises(exceptions.GenericError) as caught:
        way(store, "get", "k", options={"range": {"offset": 10}})
    assert caught.value.status == 416


def test_conditions_decide(server, store, way):
    server.put("k", b"data", modified=datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    etag = server.get("k").etag
    assert way(way(store, "get", "k", options={"if_match": etag}), "bytes") == b"data"
    with pytest.raises(exceptions.PreconditionError):
        way(store, "get", "k", options={"if_match": '"other"'})
    with pytest.raises(exceptions.NotModifiedError):
        way(store, "get", "k", options={"if_none_match": etag})
    east = timezone(timedelta(hours=5))
    with pytest.raises(exceptions.NotModifiedError):
        way(store, "get", "k", options={"if_modified_since": datetime(2024, 6, 1, tzinfo=east)})
    with pytest.raises(exceptions.PreconditionError):
        way(store, "get", "k", options={"if_unmodified_since": datetime(2023, 6, 1, tzinfo=UTC)})
    assert server.requests[-2].header("if-modified-since") == "Fri, 31 May 2024 19:00:00 GMT"


def test_values_that_could_forge_headers_are_refused(server, store, way):
    for options in ({"if_match": '"a"\r\nx-evil: 1'}, {"if_none_match": "a\0b"}, {"version": "v\n1"}):
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            way(store, "get", "k", options=options)
    with pytest.raises(TypeError, match="time zone"):
        way(store, "get", "k", options={"if_modified_since": datetime(2024, 1, 1)})  # noqa: DTZ001 - the case
    assert server.requests == []


def test_get_with_head_brings_no_bytes(server, store, way):
    server.put("k", b"data")
    result = way(store, "get", "k", options={"head": True})
    assert result.meta["size"] == 4
    assert way(result, "bytes") == b""
    assert [request.method for request in server.requests] == ["HEAD"]


def test_a_version_is_asked_for(server, way):
    server.create_bucket("versioned", versioned=True)
    store = connect(server, "versioned")
    first = way(store, "put", "k", b"one")["version"]
    way(store, "put", "k", b"two!")
    result = way(store, "get", "k", options={"version": first})
    assert (way(result, "bytes"), result.meta["version"]) == (b"one", first)


# ---- into ----


def test_get_reads_into_the_callers_memory(server, store, way):
    server.put("big", BIG)
    destination = np.zeros(len(BIG) + 100, dtype=np.uint8)
    result = way(store, "get", "big", into=destination)
    body = way(result, "bytes")
    assert body == BIG
    assert destination[: len(BIG)].tobytes() == BIG
    assert not destination[len(BIG) :].any()
    destination[0] ^= 255
    assert body[0] == destination[0]


@pytest.mark.parametrize(
    ("wanted", "start", "end"), [((3, 8), 3, 8), ({"offset": 4}, 4, 10), ({"suffix": 2}, 8, 10)]
)
def test_get_reads_a_range_into_the_callers_memory(server, store, way, wanted, start, end):
    server.put("k", b"0123456789")
    destination = bytearray(10)
    result = way(store, "get", "k", options={"range": wanted}, into=destination)
    assert way(result, "bytes") == b"0123456789"[start:end]
    assert destination.startswith(b"0123456789"[start:end])


@pytest.mark.parametrize(
    "destination", [b"0123456789", memoryview(b"0123456789"), np.zeros((10, 10))[:, ::2], bytearray(3)]
)
def test_memory_that_cannot_take_the_bytes_is_refused(server, store, way, destination):
    server.put("k", b"0123456789")
    calls = [("get_range", {"start": 0, "end": 10}), ("get_ranges", {"starts": [0], "ends": [10]})]
    for method, ranges in calls:
        with pytest.raises(ValueError, match="into"):
            way(store, method, "k", into=destination, **ranges)
    assert server.requests == []
    with pytest.raises(ValueError, match="into"):
        way(store, "get", "k", into=destination)


def test_a_small_buffer_says_both_sizes(server, store, way):
    server.put("k", b"0123456789")
    destination = bytearray(b"untouched")
    with pytest.raises(ValueError, match=r"9 bytes.*has 10"):
        way(store, "get", "k", into=destination)
    assert destination == b"untouched"
    with pytest.raises(TypeError, match="into"):
        way(store, "get", "k", into="text")


def test_a_destination_cannot_be_resized_while_its_view_lives(server, store, way):
    server.put("k", b"0123456789")
    destination = bytearray(10)
    body = way(store, "get_range", "k", start=0, end=10, into=destination)
    with pytest.raises(BufferError):
        destination.append(1)
    del body
    destination.append(1)


# ---- ranges ----


def test_get_range_by_end_or_length(server, store, way):
    server.put("k", b"0123456789")
    assert way(store, "get_range", "k", start=2, end=5) == b"234"
    assert way(store, "get_range", "k", start=2, length=3) == b"234"
    assert way(store, "get_range", "k", start=8, length=30) == b"89"
    assert way(store, "get_range", "k", start=np.int64(2), end=np.uint8(5)) == b"234"


def test_a_large_range_is_read_in_parts(server, store, way):
    server.put("big", BIG)
    assert way(store, "get_range", "big", start=100, end=len(BIG) + 5) == BIG[100:]
    assert len(server.find("GET", "big")) > 1


def test_get_range_into_an_array_of_any_type(server, store, way):
    numbers = array.array("i", range(1000))
    server.put("k", numbers.tobytes())
    destination = np.zeros((10, 10), dtype=np.int32)
    body = way(store, "get_range", "k", start=400, length=400, into=destination)
    assert destination.ravel().tolist() == list(range(100, 200))
    assert len(body) == 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 1}, "Either end or length must be non-None."),
        ({"start": 1, "end": 2, "length": 1}, "end and length cannot both be non-None."),
        ({"start": 2, "end": 2}, "Invalid range requested, start: 2 end: 2"),
        ({"start": 2, "end": 1}, "Invalid range requested, start: 2 end: 1"),
        ({"start": 2, "length": 0}, "Invalid range requested, start: 2 end: 2"),
    ],
)
def test_bad_ranges_are_refused_in_obstores_words(server, store, way, arguments, message):
    with pytest.raises(ValueError, match=message):
        way(store, "get_range", "k", **arguments)
    plural = {f"{name}s": [value] for name, value in arguments.items()}
    with pytest.raises(ValueError):
        way(store, "get_ranges", "k", **plural)
    assert server.requests == []


def test_numbers_out_of_range_are_overflow_errors(server, store, way):
    for arguments in ({"start": -1, "end": 2}, {"start": 1, "length": -2}, {"start": 0, "end": 2**64}):
        with pytest.raises(OverflowError):
            way(store, "get_range", "k", **arguments)
    with pytest.raises(TypeError):
        way(store, "get_range", "k", start=0.5, end=3)
    with pytest.raises(OverflowError):
        way(store, "get_ranges", "k", starts=[0], ends=[1], coalesce=-1)
    assert server.requests == []


def test_a_range_that_begins_at_the_end_is_the_servers_error(server, store, way):
    server.put("k", b"0123456789")
    with pytest.raises(exceptions.GenericError) as caught:
        way(store, "get_range", "k", start=10, end=12)
    assert (caught.value.status, caught.value.operation) == (416, "get_range")


def test_ranges_come_in_input_order_and_near_ones_in_one_request(server, store, way):
    server.put("big", BIG)
    starts, ends = [3 * PART, 0, 50, 20, 3 * PART + 10], [3 * PART + 5, 10, 60, 55, 4 * PART]
    bodies = way(store, "get_ranges", "big", starts=starts, ends=ends)
    assert bodies == [BIG[start:end] for start, end in zip(starts, ends, strict=True)]
    assert len(server.requests) == 2
    assert all(isinstance(body, s3ext.Bytes) for body in bodies)


def test_ranges_without_coalescing_are_requests_of_their_own(server, store, way):
    server.put("k", b"0123456789")
    bodies = way(store, "get_ranges", "k", starts=[0, 4, 8], lengths=[1, 1, 1], coalesce=0)
    assert bodies == [b"0", b"4", b"8"]
    assert len(server.requests) == 3


def test_no_ranges_are_no_request(server, store, way):
    assert way(store, "get_ranges", "k", starts=[], ends=[]) == []
    assert server.requests == []
    with pytest.raises(ValueError, match="of equal number: 1 and 2"):
        way(store, "get_ranges", "k", starts=[0], ends=[1, 2])


def test_ranges_are_read_into_one_buffer_or_one_for_each(server, store, way):
    server.put("k", b"0123456789")
    packed = bytearray(6)
    bodies = way(store, "get_ranges", "k", starts=[7, 0, 4], ends=[10, 1, 6], into=packed)
    assert packed == b"789045"
    assert bodies == [b"789", b"0", b"45"]
    apart = [bytearray(3), np.zeros(1, dtype=np.uint8), bytearray(5)]
    bodies = way(store, "get_ranges", "k", starts=[7, 0, 8], ends=[10, 1, 12], into=apart)
    assert bodies == [b"789", b"0", b"89"]
    assert bytes(apart[2]) == b"89\0\0\0"
    with pytest.raises(ValueError, match="a buffer for each range"):
        way(store, "get_ranges", "k", starts=[7, 0], ends=[10, 1], into=apart)


# ---- delete ----


def test_delete_takes_one_path_or_many(server, store, way):
    for key in ("a", "b", "c", "d"):
        server.put(key, b"x")
    way(store, "delete", "a")
    way(store, "delete", ["b", "c", "missing"])
    assert server.keys() == ["d"]
    way(store, "delete", [])
    way(store, "delete", (path for path in ["d"]))
    assert server.keys() == []
    with pytest.raises(TypeError, match="sequence of string paths"):
        way(store, "delete", 5)


def test_many_keys_are_deleted_a_thousand_a_request(server, store, way):
    keys = [f"dir/{number:05} é&<" for number in range(2500)]
    for key in keys:
        server.put(key, b"")
    server.put("stays", b"")
    way(store, "delete", keys)
    assert server.keys() == ["stays"]
    assert len(server.requests) == 3


def test_without_bulk_delete_each_key_is_a_request(server, way):
    for number in range(50):
        server.put(f"k{number}", b"")
    way(connect(server, disable_bulk_delete=True), "delete", [f"k{number}" for number in range(50)])
    assert server.keys() == []
    assert [request.method for request in server.requests] == ["DELETE"] * 50


def test_a_key_that_the_server_does_not_delete_is_an_error(server, store, way):
    refusal = b"<Error><Key>b</Key><Code>AccessDenied</Code><Message>nope</Message></Error>"
    body = b"<DeleteResult>" + refusal + b"</DeleteResult>"
    server.faults.add(Fault(faults.replace_body(body), method="POST"))
    with pytest.raises(exceptions.GenericError, match=r"failed for key b: nope \(code: AccessDenied\)"):
        way(store, "delete", ["a", "b"])


# ---- copy, rename ----


def test_copy_and_rename(server, store, way):
    server.put("from/é b", b"data", metadata={"k": "v"})
    way(store, "copy", "from/é b", "to")
    assert server.get("to").data == b"data"
    way(store, "rename", "to", "moved")
    assert sorted(server.keys()) == ["from/é b", "moved"]
    with pytest.raises(FileNotFoundError):
        way(store, "copy", "missing", "to")
    with pytest.raises(exceptions.NotSupportedError, match="copy-if-not-exists"):
        way(store, "copy", "moved", "to", overwrite=False)


def test_renaming_onto_itself_loses_nothing(server, store, way):
    server.put("k", b"data")
    way(store, "rename", "k", "k")
    assert server.get("k").data == b"data"
    with pytest.raises(FileNotFoundError):
        way(store, "rename", "missing", "missing")


def test_an_error_inside_a_200_of_a_copy_is_an_error(server, store, way):
    server.put("k", b"data")
    server.faults.add(Fault(faults.late_error("AccessDenied"), method="PUT", key="to"))
    with pytest.raises(exceptions.BaseError) as caught:
        way(store, "copy", "k", "to")
    assert caught.value.code == "AccessDenied"
    assert server.keys() == ["k"]


# ---- store prefix ----


def test_every_operation_stays_within_the_stores_prefix(server, way):
    store = connect(server, prefix="/base/dir/")
    way(store, "put", "k", b"data")
    assert server.keys() == ["base/dir/k"]
    assert way(store, "head", "k")["path"] == "k"
    assert way(way(store, "get", "/k/"), "bytes") == b"data"
    way(store, "copy", "k", "k2")
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["k", "k2"]
    way(store, "delete", ["k", "k2"])
    assert server.keys() == []


# ---- sign ----


def test_signed_urls_let_anyone_in(server, store, way):
    server.put("dir/é +&.txt", b"data")
    url = way(store, "sign", "GET", "dir/é +&.txt", timedelta(minutes=5))
    with urlopen(url) as answer:
        assert answer.read() == b"data"
    urls = way(store, "sign", "PUT", ["a", "b"], timedelta(minutes=5))
    for url in urls:
        with urlopen(Request(url, data=b"new", method="PUT", headers={"content-type": ""})) as answer:
            assert answer.status == 200
    assert server.get("b").data == b"new"
    with pytest.raises(HTTPError):
        urlopen(urls[0])
    server.take_errors()


def test_signing_refuses_what_makes_no_sense(server, store, way):
    with pytest.raises(ValueError, match="Unsupported HTTP method get"):
        way(store, "sign", "get", "k", timedelta(minutes=5))
    with pytest.raises(TypeError, match="timedelta"):
        way(store, "sign", "GET", "k", 300)
    with pytest.raises(ValueError, match="at least a second"):
        way(store, "sign", "GET", "k", timedelta(0))
    assert server.requests == []


def test_a_public_bucket_needs_no_credentials_but_a_signed_url_does(server, way):
    server.create_bucket("open", public=True)
    server.put("k", b"data", bucket="open")
    store = connect(server, "open", skip_signature=True)
    assert way(way(store, "get", "k"), "bytes") == b"data"
    with pytest.raises(exceptions.UnauthenticatedError):
        way(store, "sign", "GET", "k", timedelta(minutes=5))


# ---- module functions ----


def test_every_operation_is_a_function_too(server, store):
    import asyncio

    s3ext.put(store, "k", b"0123456789")
    assert s3ext.get(store, "k").bytes() == b"0123456789"
    assert s3ext.get_range(store, "k", start=1, end=3) == b"12"
    assert s3ext.get_ranges(store, "k", starts=[0], lengths=[1]) == [b"0"]
    assert s3ext.head(store, "k")["size"] == 10
    assert [meta["path"] for meta in s3ext.list(store).collect()] == ["k"]
    assert s3ext.list_with_delimiter(store)["common_prefixes"] == []
    s3ext.copy(store, "k", "k2")
    s3ext.rename(store, "k2", "k3")
    assert s3ext.sign(store, "GET", "k", timedelta(hours=1)).startswith("http")
    s3ext.delete(store, "k3")

    async def main():
        await s3ext.put_async(store, "k", b"9876543210")
        assert (await s3ext.get_async(store, "k")).bytes() == b"9876543210"
        assert await s3ext.get_range_async(store, "k", start=1, end=3) == b"87"
        assert await s3ext.get_ranges_async(store, "k", starts=[0], lengths=[1]) == [b"9"]
        assert (await s3ext.head_async(store, "k"))["size"] == 10
        assert [[meta["path"] for meta in chunk] async for chunk in s3ext.list_async(store)] == [["k"]]
        assert (await s3ext.list_with_delimiter_async(store))["objects"][0]["path"] == "k"
        await s3ext.copy_async(store, "k", "k2")
        await s3ext.rename_async(store, "k2", "k3")
        assert (await s3ext.sign_async(store, "GET", "k", timedelta(hours=1))).startswith("http")
        await s3ext.delete_async(store, ["k", "k3"])

    asyncio.run(main())
    assert server.keys() == []


def test_all_that_the_package_names_is_there():
    assert all(hasattr(s3ext, name) for name in s3ext.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        s3ext.nonsense  # noqa: B018 - looking is what fails


def test_counters_count(server, store):
    server.put("k", b"data")
    before = s3ext.stats()
    store.get_range("k", start=0, end=4)
    after = s3ext.stats()
    assert after["operations"] == before["operations"] + 1
    assert after["requests"] == before["requests"] + 1
    assert after["bytes_received"] == before["bytes_received"] + 4


def test_versions_are_shown(capsys):
    s3ext.show_versions()
    shown = capsys.readouterr().out
    assert "libcurl" in shown
    assert "OpenSSL" in shown
