"""raw_keys: every key that a server holds can be written, listed, read, copied and deleted as it is."""

from __future__ import annotations

import asyncio
import pickle
import urllib.request
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s3ext.exceptions import InvalidPathError
from s3ext.store import S3Store
from tests.python.ways import connect
from tests.server import VerifyingServer

ODD = [
    "/",
    "//",
    "/lead",
    "//lead",
    "trail/",
    "trail//",
    "a//b",
    ".",
    "..",
    "./a",
    "../a",
    "../../a",
    "a/.",
    "a/..",
    "a/../b",
    "a/./b",
    "a/...",
    "a/../",
    "%2e%2e/a",
    "a%2Fb",
    "a+b c",
    "a?b=c&d#e",
    "a\\..\\b",
    "\x01",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\x1f/\x7f",
    "nul\0l",
    "\0",
    "\x85\u2028",
    "e\u0301 \u00e9",
    "\ufffe\uffff",
    "🎈/🎈",
    " ",
    " a ",
    "<a>&amp;",
    "'\"",
    "bucket/a",
    "x" * 1024,
]
"""Keys that no path rule lets through, or that something on the way might change."""

keys = st.text(
    st.one_of(st.sampled_from("/.%ab\0\n"), st.characters(exclude_categories=["Cs"])), min_size=1, max_size=30
)


def paths(metas):
    return [meta["path"] for meta in metas]


@pytest.mark.parametrize("key", ODD, ids=ascii)
def test_a_key_goes_through_every_operation_as_it_is(server, way, key):
    store = connect(server, raw_keys=True)
    way(store, "put", key, b"0123456789")
    assert server.keys() == [key]
    assert paths(way(store.list(), "collect")) == [key]
    assert way(store, "head", key)["path"] == key
    result = way(store, "get", key)
    assert result.meta["path"] == key
    assert way(result, "bytes") == b"0123456789"
    assert way(store, "get_range", key, start=2, end=4) == b"23"
    assert [bytes(each) for each in way(store, "get_ranges", key, starts=[0, 8], lengths=[1, 9])] == [
        b"0",
        b"89",
    ]
    with urllib.request.urlopen(way(store, "sign", "GET", key, timedelta(minutes=1))) as answer:
        assert answer.read() == b"0123456789"
    way(store, "copy", key, "plain")
    way(store, "delete", key)
    assert server.keys() == ["plain"]
    way(store, "rename", "plain", key)
    assert server.keys() == [key]
    if "\0" not in key:  # it is repeated in the answers to multipart uploads, whose XML cannot hold NUL
        way(store, "put", key, b"in parts" * 1_000_000, use_multipart=True)
        assert server.get(key).size == 8_000_000
    way(store, "delete", key)
    assert server.keys() == []


@pytest.mark.parametrize("arrow", [False, True])
def test_what_a_listing_shows_can_be_asked_for(server, way, arrow):
    for key in ODD:
        server.put(key, key.encode())
    store = connect(server, raw_keys=True)
    if arrow:
        column = way(store.list(return_arrow=True), "collect")["path"]
        listed = [value.as_py() for value in column]
    else:
        listed = paths(way(store.list(), "collect"))
    assert listed == sorted(ODD, key=str.encode)
    for path in listed:
        assert way(way(store, "get", path), "bytes") == path.encode()
    way(store, "delete", listed)
    assert server.keys() == []


def test_files_are_opened_by_odd_keys(server):
    store = connect(server, raw_keys=True)
    for key in ("a//b", "../x", "trail/", "\x01\0"):
        with store.open_writer(key) as file:
            file.write(b"line\n")
        assert store.open_reader(key).read() == b"line\n"
    assert server.keys() == sorted(["a//b", "../x", "trail/", "\x01\0"], key=str.encode)


def test_odd_keys_below_a_prefix_are_deleted_by_it(server, way):
    for key in ("a//b", "a//c/", "a/b", "b"):
        server.put(key, b"")
    store = connect(server, raw_keys=True)
    assert way(store, "delete_prefix", "a//") == 2
    assert server.keys() == ["a/b", "b"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(keys, max_size=6, unique=True), st.sampled_from([None, "p", "p/q"]))
@example(["/", "p", "p/", "p//"], "p")
def test_listing_and_reading_agree(names, prefix):
    with VerifyingServer() as server:
        store = connect(server, raw_keys=True, prefix=prefix)
        for name in names:
            store.put(name, name.encode())
        inside = [f"{prefix}/{name}" if prefix else name for name in names]
        assert server.keys() == sorted(inside, key=str.encode)
        listed = paths(store.list().collect())
        assert listed == sorted(names, key=str.encode)
        for path in listed:
            assert store.get(path).bytes() == path.encode()
        assert not server.errors


def test_one_level_is_walked_by_the_prefixes_that_it_shows(server, way):
    names = ["a/b", "a//b", "a//", "a/", "/a", "//", "..//x", ".", "top"]
    for name in names:
        server.put(name, b"")
    store = connect(server, raw_keys=True)

    def walk(prefix):
        level = way(store, "list_with_delimiter", prefix)
        found = paths(level["objects"])
        for each in level["common_prefixes"]:
            assert each.endswith("/")
            found += walk(each)
        return found

    assert sorted(walk(None)) == sorted(names)
    assert way(store, "list_with_delimiter", "a/")["common_prefixes"] == ["a//"]
    assert paths(way(store, "list_with_delimiter", "a")["objects"]) == ["a/", "a/b"]


def test_prefixes_and_offsets_are_taken_as_they_are(server, way):
    for name in ("p/a//b", "p/a//c", "p/a/c", "p//a", "p/", "p"):
        server.put(name, b"")
    store = connect(server, raw_keys=True, prefix="p")
    assert paths(way(store.list(), "collect")) == ["", "/a", "a//b", "a//c", "a/c"]
    assert paths(way(store.list("a/"), "collect")) == ["a//b", "a//c", "a/c"]
    assert paths(way(store.list("a//"), "collect")) == ["a//b", "a//c"]
    assert paths(way(store.list("/"), "collect")) == ["/a"]
    assert paths(way(store.list("a//b", whole_segments=False), "collect")) == ["a//b"]
    assert paths(way(store.list(offset="a//b"), "collect")) == ["a//c", "a/c"]
    assert way(store, "head", "")["path"] == ""


def test_keys_survive_virtual_hosting_and_an_endpoint_with_a_path(way):
    with VerifyingServer(base_path="/base") as server:
        for options in ({}, {"virtual_hosted_style_request": True}):
            host = "bucket.localhost" if options else "127.0.0.1"
            store = S3Store(
                "bucket",
                endpoint=f"http://{host}:{server.port}/base",
                access_key_id=next(iter(server.credentials)),
                secret_access_key=next(iter(server.credentials.values())).secret_key,
                allow_http=True,
                raw_keys=True,
                **options,
            )
            for key in ("/../x", "..", "//", "../../up", "a/./b"):
                way(store, "put", key, b"x")
                assert server.keys() == [key]
                way(store, "delete", key)
        assert not server.errors


@pytest.mark.parametrize(
    ("path", "words"), [("", "empty"), ("a\udcff", "surrogate"), ("é" * 513, "1026 bytes")]
)
def test_what_no_server_takes_is_refused_before_any_request(server, way, path, words):
    store = connect(server, raw_keys=True)
    for call in (("head", path), ("put", path, b""), ("copy", "a", path), ("delete", [path])):
        with pytest.raises(InvalidPathError, match=words):
            way(store, *call)
    with pytest.raises(TypeError):
        way(store, "head", b"a")
    assert server.requests == []


def test_a_listing_cannot_begin_at_nul(server):
    store = connect(server, raw_keys=True)
    for given_ in ({"prefix": "a\0"}, {"offset": "a\0"}, {"prefix": "a\0", "whole_segments": False}):
        with pytest.raises(InvalidPathError, match="holds NUL"):
            store.list(**given_)
    with pytest.raises(InvalidPathError, match="holds NUL"):
        store.list_with_delimiter("\0")
    assert server.requests == []


def test_without_the_option_the_rules_hold(server):
    for store in (connect(server), connect(server, raw_keys=False)):
        for key in ("a//b", "..", "a\nb", "\0"):
            with pytest.raises(InvalidPathError):
                store.head(key)
    assert server.requests == []


def test_the_option_survives_pickling_and_makes_another_store(server):
    store = connect(server, raw_keys=True)
    again = pickle.loads(pickle.dumps(store))
    again.put("a//b", b"x")
    assert again == store != connect(server)
    assert server.keys() == ["a//b"]
    assert "raw_keys" not in store.__getnewargs_ex__()[1]["config"]


def test_many_at_once(server):
    store = connect(server, raw_keys=True)

    async def main():
        await asyncio.gather(*(store.put_async(key, key.encode()) for key in ODD))
        results = await asyncio.gather(*(store.get_async(key) for key in ODD))
        return [bytes(await result.bytes_async()) for result in results]

    assert asyncio.run(main()) == [key.encode() for key in ODD]
