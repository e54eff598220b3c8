"""list and list_with_delimiter: chunks, pages, prefixes, offsets, odd keys, read-ahead."""

from __future__ import annotations

import gc
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3ext import exceptions
from s3ext._ffi import page_prefixes, page_rows
from tests.python.pages import Page, entries
from tests.python.ways import connect
from tests.server import Fault, VerifyingServer, faults


def fill(server, count, prefix="dir/"):
    keys = [f"{prefix}{number:05}" for number in range(count)]
    for key in keys:
        server.put(key, b"x")
    return keys


def paths(metas):
    return [meta["path"] for meta in metas]


def test_nothing_is_asked_before_the_first_chunk(server, store, way):
    fill(server, 3)
    stream = store.list()
    assert server.requests == []
    assert len(way(stream, "collect")) == 3
    assert way(stream, "collect") == []


def test_an_object_is_listed_with_its_metadata(server, store, way):
    server.put("k", b"12345", modified=datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC).timestamp())
    assert way(store.list(), "collect") == [
        {
            "path": "k",
            "last_modified": datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC),
            "size": 5,
            "e_tag": server.get("k").etag,
            "version": None,
        }
    ]


@pytest.mark.parametrize(
    ("count", "chunk"), [(0, 50), (1, 50), (50, 50), (51, 50), (2500, 50), (2500, 999), (5, 0)]
)
def test_chunks_have_exactly_the_size_asked_for(server, store, way, count, chunk):
    keys = fill(server, count)
    chunks = way.pieces(store.list(chunk_size=chunk))
    assert [key for chunk in chunks for key in paths(chunk)] == keys
    assert all(len(piece) == max(1, chunk) for piece in chunks[:-1])
    assert all(piece for piece in chunks)
    assert len(server.requests) == max(1, -(-count // 1000))


def test_a_prefix_is_of_whole_segments(server, store, way):
    for key in ("a/b/c", "a/b/d/e", "a/bc", "a/b", "x"):
        server.put(key, b"")
    assert paths(way(store.list("a/b"), "collect")) == ["a/b/c", "a/b/d/e"]
    assert paths(way(store.list("a/b/"), "collect")) == ["a/b/c", "a/b/d/e"]
    assert paths(way(store.list(""), "collect")) == ["a/b", "a/b/c", "a/b/d/e", "a/bc", "x"]
    assert way(store.list("nothing"), "collect") == []


def test_an_offset_is_exclusive_and_relative_to_the_stores_prefix(server, way):
    for key in ("p/a", "p/b", "p/c", "q"):
        server.put(key, b"")
    store = connect(server, prefix="p")
    assert paths(way(store.list(offset="a"), "collect")) == ["b", "c"]
    assert paths(way(store.list(offset="aa"), "collect")) == ["b", "c"]
    assert paths(way(store.list(), "collect")) == ["a", "b", "c"]


def test_one_level_is_listed(server, store, way):
    for key in ("a/1", "a/2", "b/1/2", "top", "z/"):
        server.put(key, b"")
    level = way(store, "list_with_delimiter")
    assert level["common_prefixes"] == ["a", "b", "z"]
    assert paths(level["objects"]) == ["top"]
    level = way(connect(server, prefix="b"), "list_with_delimiter", "1")
    assert (level["common_prefixes"], paths(level["objects"])) == ([], ["1/2"])


def test_one_level_of_many_pages(server, store, way):
    for number in range(1200):
        server.put(f"d{number:04}/x", b"")
        server.put(f"o{number:04}", b"")
    level = way(store, "list_with_delimiter")
    assert level["common_prefixes"] == [f"d{number:04}" for number in range(1200)]
    assert len(level["objects"]) == 1200


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=8, unique=True
    )
)
def test_odd_keys_are_listed_as_they_are(keys):
    with VerifyingServer() as server:
        for key in keys:
            server.put(key, b"")
        listed = connect(server).list().collect()
        assert not server.errors
    assert [meta["path"] for meta in listed] == [
        key.removesuffix("/") for key in sorted(keys, key=str.encode)
    ]


def test_the_next_page_is_fetched_ahead(server, store, way):
    fill(server, 2500)
    stream = store.list(chunk_size=10)
    next(stream)
    end = time.monotonic() + 5
    while len(server.requests) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(server.requests) == 2
    assert sum(map(len, way.pieces(stream))) == 2490


def test_a_listing_dropped_half_read_is_cancelled(server, store):
    fill(server, 2500)
    server.faults.add(Fault(faults.stall("answer"), query="continuation-token"))
    stream = store.list(chunk_size=10)
    next(stream)
    del stream
    gc.collect()
    server.wait_idle(5)


def test_a_missing_bucket_is_an_error_of_its_class(server, way):
    store = connect(server, "nowhere")
    with pytest.raises(FileNotFoundError) as caught:
        way(store.list(), "collect")
    assert (caught.value.code, caught.value.operation) == ("NoSuchBucket", "list")
    with pytest.raises(FileNotFoundError):
        way(store, "list_with_delimiter")


def test_a_failing_page_is_an_error_after_what_came_before(server, store, way):
    fill(server, 1500)
    server.faults.add(Fault(faults.s3_error("AccessDenied"), query="continuation-token"))
    stream = store.list(chunk_size=100)
    got = []
    with pytest.raises(exceptions.PermissionDeniedError):  # noqa: PT012 - what came before counts
        if way.name == "sync":
            got.extend(stream)
        else:

            async def take():
                async for chunk in stream:
                    got.append(chunk)  # noqa: PERF401 - what came before the error counts

            way.runner.run(take())
    assert sum(map(len, got)) == 1000


def test_a_server_that_repeats_its_token_is_found_out(server, store, way):
    fill(server, 10)
    body = (
        b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>true</IsTruncated>'
        b"<NextContinuationToken>same</NextContinuationToken></ListBucketResult>"
    )
    server.faults.add(Fault(faults.replace_body(body, status=200), method="GET", times=100))
    with pytest.raises(exceptions.ProtocolError, match="token"):
        way(store.list(), "collect")
    with pytest.raises(exceptions.ProtocolError, match="token"):
        way(store, "list_with_delimiter")


def test_a_bad_prefix_is_refused_at_the_call(store):
    for prefix in ("a//b", "..", 5):
        with pytest.raises((ValueError, TypeError)):
            store.list(prefix)


def test_a_prefix_may_be_taken_to_the_character(server, way):
    for key in ("2024-1", "2024-10/x", "2024-11", "2024-2"):
        server.put(f"p/logs/{key}", b"")
    for key in ("p/lo", "p", "q/logs/2024-1"):
        server.put(key, b"")
    store = connect(server, prefix="p")
    for prefix, wanted in (
        ("logs/2024-1", ["logs/2024-1", "logs/2024-10/x", "logs/2024-11"]),
        ("logs/2024-10/", ["logs/2024-10/x"]),
        ("lo", ["lo", "logs/2024-1", "logs/2024-10/x", "logs/2024-11", "logs/2024-2"]),
        ("", ["lo", "logs/2024-1", "logs/2024-10/x", "logs/2024-11", "logs/2024-2"]),
        (None, ["lo", "logs/2024-1", "logs/2024-10/x", "logs/2024-11", "logs/2024-2"]),
        ("x", []),
    ):
        assert paths(way(store.list(prefix, whole_segments=False), "collect")) == wanted
    level = way(store, "list_with_delimiter", "logs/2024-1", whole_segments=False)
    assert (level["common_prefixes"], paths(level["objects"])) == (
        ["logs/2024-10"],
        ["logs/2024-1", "logs/2024-11"],
    )


def test_a_prefix_to_the_character_may_be_odd(server, store, way):
    keys = ["a//b", "b//c/", "c/../b", "d/./x", "/lead", "ctl\x01\x7f", "a b+c%", "\u00e9\u4f60"]
    for key in keys:
        server.put(key, b"")
    for key in keys:
        assert paths(way(store.list(key[:-1], whole_segments=False), "collect")) == [key.removesuffix("/")]
    for prefix in ("\ud800", "a" * 1025, 5):
        with pytest.raises((ValueError, TypeError)):
            store.list(prefix, whole_segments=False)


def test_a_collected_listing_is_what_remains(server, store, way):
    keys = fill(server, 1234)
    stream = store.list(chunk_size=7)
    assert paths(next(stream)) == keys[:7]
    assert paths(way(stream, "collect")) == keys[7:]
    assert way.pieces(stream) == []


@settings(max_examples=300, deadline=None)
@given(entries, st.integers(0, 6), st.booleans())
def test_a_page_becomes_rows(objects, skip, raw):
    page = Page(objects)
    assert page_rows(page.address, skip, raw) == page.metas(skip, raw=raw)
    assert page_prefixes(page.address, skip, raw) == [meta["path"] for meta in page.metas(skip, raw=raw)]


def test_rows_are_of_their_own():
    page = Page([(b"a", b"t", 1, 0), (b"b", None, 2, 1)])
    first, second = page_rows(page.address, 0, False)
    first["path"] = first["more"] = "changed"
    assert list(second) == ["path", "last_modified", "size", "e_tag", "version"]
    assert page_rows(page.address, 0, False) == page.metas()
    assert second["last_modified"].tzinfo is UTC


@pytest.mark.parametrize("modified", [-62135596800000001, 253402300800000000, -(2**63), 2**63 - 1])
def test_a_time_beyond_the_calendar_is_an_error(modified):
    page = Page([(b"a", None, 1, modified)])
    with pytest.raises(ValueError, match="1 to 9999"):
        page_rows(page.address, 0, False)


@pytest.mark.parametrize("arguments", [(), (1, 2), (0, 0, False), (1, -1, False), ("x", 0, False)])
def test_what_is_no_page_is_refused(arguments):
    for function in (page_rows, page_prefixes):
        with pytest.raises((TypeError, ValueError)):
            function(*arguments)
