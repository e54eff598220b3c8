"""What obstore's own tests taught us to look at, on a real wire, sync and async.

Each is about something that its users rely on and that our other tests do not ask in this form.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

import s3ext
from s3ext import Bytes
from s3ext.exceptions import AlreadyExistsError, BaseError, GenericError, UnauthenticatedError
from s3ext.store import S3Store
from tests.python.oracle import CERTIFICATE
from tests.python.ways import PART, Way, connect

LINE = b"all work and no play makes jack a dull boy\n"
NAMES = ["café", "naïve/über.txt", "Ωμέγα", "日本語/ファイル", "emoji 🎈.bin"]


@pytest.fixture(params=["sync", "async"])
def way(request):
    way = Way(request.param)
    yield way
    way.close()


@pytest.fixture
def store(server):
    return connect(server)


# Streams.


@pytest.mark.parametrize("size", [0, 1, 100, PART, 3 * PART + 1])
def test_a_stream_without_a_least_size_gives_every_byte_once(server, store, way, size):
    data = (LINE * (size // len(LINE) + 1))[:size]
    server.put("k", data)
    assert b"".join(way.pieces(way(store, "get", "k").stream(min_chunk_size=0))) == data


def test_a_stream_of_one_object_is_put_as_another(server, store):
    data = LINE * 400_000
    server.put("from", data)

    async def copy():
        result = await store.get_async("from")
        await store.put_async("to", result.stream(min_chunk_size=0))

    asyncio.run(copy())
    assert server.get("to").data == data


def test_a_result_itself_is_put_as_another_object(server, store, way):
    data = LINE * 300_000
    server.put("from", data)
    way(store, "put", "to", way(store, "get", "from"))
    assert server.get("to").data == data


# Puts.


@pytest.mark.parametrize("multipart", [False, True, None])
def test_an_iterator_is_put_whole_however_it_is_sent(server, store, way, multipart):
    way(store, "put", "k", itertools.repeat(LINE, 5), use_multipart=multipart)
    assert server.get("k").data == LINE * 5
    posts = [request for request in server.requests if request.method == "POST"]
    assert bool(posts) is (multipart is True)  # so little needs no parts, unless they are asked for


def test_an_async_iterator_is_put_in_one_request_if_told_so(server, store):
    async def pieces():
        for _ in range(5):
            yield LINE

    asyncio.run(store.put_async("k", pieces(), use_multipart=False))
    assert server.get("k").data == LINE * 5
    assert [request.method for request in server.requests] == ["PUT"]


def test_one_small_part_may_be_all_there_is(server, store, way):
    way(store, "put", "k", b"foo", use_multipart=True)
    assert server.get("k").data == b"foo"
    assert len(server.store.completed) == 1


def test_overwriting_is_what_a_put_does_unless_told_otherwise(server, store, way):
    for mode in (None, "overwrite", "OVERWRITE"):
        way(store, "put", "k", b"old")
        way(store, "put", "k", b"new", mode=mode)
        assert server.get("k").data == b"new"
    with pytest.raises(AlreadyExistsError) as caught:
        way(store, "put", "k", b"newer", mode="create")
    assert isinstance(caught.value, FileExistsError)
    assert server.get("k").data == b"new"


# Names beyond ASCII.


def test_names_in_any_script_go_through_every_operation(server, store, way):
    for name in NAMES:
        way(store, "put", name, name.encode())
    assert server.keys() == sorted(NAMES, key=str.encode)
    for name in NAMES:
        assert way(store, "head", name)["path"] == name
        assert way(way(store, "get", name), "bytes") == name.encode()
        way(store, "copy", name, f"copy of {name}")
        way(store, "rename", f"copy of {name}", f"moved/{name}")
    listed = [meta["path"] for meta in way(store.list(), "collect")]
    assert listed == sorted([*NAMES, *(f"moved/{name}" for name in NAMES)], key=str.encode)
    assert way(store, "list_with_delimiter", "moved")["common_prefixes"] == ["moved/naïve", "moved/日本語"]
    way(store, "delete", listed)
    assert server.keys() == []


# Prefixes.


def test_a_store_with_a_prefix_puts_lists_signs_and_deletes_within_it(server, way):
    server.put("outside", b"stays")
    store = connect(server, prefix="some/prefix/")
    names = ["one.txt", "nested/two.txt"]
    for name in names:
        way(store, "put", name, name.encode())
    assert [meta["path"] for meta in way(store.list(), "collect")] == sorted(names)
    urls = way(store, "sign", "GET", names, timedelta(hours=1))
    assert isinstance(urls, list)
    for name, url in zip(names, urls, strict=True):
        assert f"/bucket/some/prefix/{name}?" in url
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == name.encode()
    assert way(store, "delete", names) is None
    assert server.keys() == ["outside"]


# Configuration.


@pytest.mark.parametrize(
    "twice",
    [
        {"config": {"skip_signature": True}, "skip_signature": True},
        {"config": {"AWS_SKIP_SIGNATURE": True}, "skip_signature": True},
        {"config": {"aws_skip_signature": True, "skip_signature": True}},
        {"aws_skip_signature": True, "SKIP_SIGNATURE": True},
        {"config": {"bucket": "b"}},
    ],
)
def test_an_option_given_twice_is_refused_in_every_spelling(twice):
    with pytest.raises(BaseError, match="Duplicate key"):
        S3Store("b", **twice)


def test_a_store_is_made_again_from_what_it_shows():
    store = S3Store.from_url(
        "s3://b/data/type=a/year=2024",
        region="us-west-2",
        skip_signature=True,
        client_options={"timeout": timedelta(seconds=30), "root_certificate": CERTIFICATE},
        retry_config={"max_retries": 2, "backoff": {"init_backoff": timedelta(seconds=1)}},
    )
    again = S3Store(
        config=store.config,
        prefix=store.prefix,
        client_options=store.client_options,
        retry_config=store.retry_config,
    )
    assert again == store == pickle.loads(pickle.dumps(store))
    assert again != S3Store("b")


@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize("count", [1, 2])
def test_certificates_are_text_or_bytes_one_or_many(kind, count):
    store = S3Store("b", client_options={"root_certificate": kind(CERTIFICATE * count)})
    assert pickle.loads(pickle.dumps(store)) == store


def test_a_certificate_of_the_proxy_is_taken():
    store = S3Store(
        "b", client_options={"proxy_url": "https://proxy:8080", "proxy_ca_certificate": CERTIFICATE}
    )
    assert store.client_options["proxy_ca_certificate"] == CERTIFICATE


def test_what_holds_no_certificate_is_refused():
    with pytest.raises(ValueError, match="No certificates found"):
        S3Store("b", client_options={"root_certificate": b"not a certificate"})


def test_a_certificate_that_is_not_base64_is_refused_when_the_store_is_made():
    junk = CERTIFICATE.replace("MII", "!!!")
    with pytest.raises(BaseError, match="root_certificate"):
        S3Store("b", client_options={"root_certificate": junk})


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_provider_whose_answer_lacks_a_key_is_an_error_not_a_wait(server, way, kind):
    def answer():
        return {"access_key_id": "a", "expires_at": datetime.now(UTC)}

    async def answer_later():
        return answer()

    store = connect(server, credential_provider=answer if kind == "sync" else answer_later)
    with pytest.raises(UnauthenticatedError, match="secret_access_key"):
        way(store.list(), "collect")
    assert server.requests == []


# Bytes.


def test_any_byte_can_be_read_back_from_its_repr():
    for value in range(256):
        data = Bytes(bytes([value]))
        assert eval(repr(data), {"Bytes": Bytes}) == data == bytes([value])


# Attributes.


def test_user_metadata_comes_back_under_a_lower_case_name(store, way):
    way(store, "put", "k", b"", attributes={"My-Own": "Value", "Content-Type": "text/plain"})
    attributes = way(store, "get", "k").attributes
    assert attributes["my-own"] == "Value"
    assert attributes["Content-Type"] == "text/plain"


# Readers and writers.


def test_a_reader_reads_lines_pieces_and_all(server, store):
    server.put("k", LINE * 1000)
    assert s3ext.open_reader(store, "k").readline() == LINE
    assert s3ext.open_reader(store, "k").read() == LINE * 1000
    assert s3ext.open_reader(store, "k").read(20) == LINE[:20]
    assert isinstance(s3ext.open_reader(store, "k").read(5), Bytes)


def test_an_async_reader_reads_lines_pieces_and_all(server, store):
    server.put("k", LINE * 1000)

    async def read():
        file = await s3ext.open_reader_async(store, "k")
        assert await file.readline() == LINE
        assert await file.read() == LINE * 999
        file = await s3ext.open_reader_async(store, "k")
        return await file.read(20)

    assert asyncio.run(read()) == LINE[:20]


def test_a_reader_that_is_told_the_size_does_not_ask_for_it(server, store):
    server.put("k", b"x" * 1000)
    file = s3ext.open_reader(store, "k", size=1000)
    assert file.size == 1000
    assert file.read() == b"x" * 1000
    assert [request.method for request in server.requests] == ["GET"]


def test_a_size_that_is_too_small_cuts_and_one_that_is_too_large_is_an_error(server, store):
    server.put("k", b"x" * 1000)
    assert s3ext.open_reader(store, "k", size=500).read() == b"x" * 500
    with pytest.raises(OSError, match="range"):
        s3ext.open_reader(store, "k", size=5000).read()
    server.put("empty", b"")
    assert s3ext.open_reader(store, "empty", size=0).read() == b""


def test_reading_past_the_end_gives_what_is_there(server, store):
    server.put("k", b"short")
    assert s3ext.open_reader(store, "k").read(20) == b"short"


def test_a_writer_writes_what_it_was_given(server, store):
    with s3ext.open_writer(store, "sync") as file:
        for _ in range(50):
            file.write(LINE)

    async def write():
        async with s3ext.open_writer_async(store, "async") as file:
            for _ in range(50):
                await file.write(LINE)

    asyncio.run(write())
    assert server.get("sync").data == server.get("async").data == LINE * 50


# Arrow.


@pytest.fixture
def arrow():
    return pytest.importorskip("arro3.core", reason="arro3-core is not installed")


def test_a_listing_comes_in_record_batches(server, store, way, arrow):
    for number in range(25):
        server.put(f"{number:02}-é", b"x" * number)
    batches = way.pieces(store.list(return_arrow=True, chunk_size=10))
    assert [batch.num_rows for batch in batches] == [10, 10, 5]
    assert all(isinstance(batch, arrow.RecordBatch) for batch in batches)
    whole = way(store.list(return_arrow=True), "collect")
    assert whole.num_rows == 25
    assert whole["path"][3].as_py() == "03-é"
    assert whole["size"][3].as_py() == 3


def test_one_level_comes_as_a_table(server, store, way, arrow):
    for name in ("a/one", "a/two", "b/three"):
        server.put(name, b"foo")
    top = way(store, "list_with_delimiter", return_arrow=True)
    assert top["common_prefixes"] == ["a", "b"]
    assert isinstance(top["objects"], arrow.Table)
    assert top["objects"].num_rows == 0
    level = way(store, "list_with_delimiter", "a", return_arrow=True)
    assert [path.as_py() for path in level["objects"]["path"]] == ["a/one", "a/two"]


# Deletes.


def test_deleting_what_is_not_there_is_no_error(server, store, way):
    server.put("there", b"")
    way(store, "delete", "never was")
    way(store, "delete", ["there", "never was"])
    assert server.keys() == []


# The module's functions.


def test_a_store_of_another_library_is_refused_by_name():
    with pytest.raises((TypeError, ValueError, AttributeError)):
        s3ext.get(object(), "k")


def test_errors_are_caught_as_programs_for_obstore_do_it(store, way):
    with pytest.raises(FileNotFoundError):
        way(store, "head", "missing")
    way(store, "put", "empty", b"")
    with pytest.raises(GenericError, match="416"):
        way(store, "get_range", "empty", start=0, end=1)
