"""put: every kind of input, single requests and parts, conditions, attributes and tags, failures."""

from __future__ import annotations

import array
import io
import mmap
import random
import time

import numpy as np
import pytest

from s3ext import exceptions
from tests.python.ways import PART
from tests.server import Fault, faults

BIG = random.Random(8).randbytes(2 * PART + 54321)


def uploads(server):
    """Count the requests that made parts."""
    return len(server.find("PUT", query="partNumber"))


def test_a_buffer_is_put_in_one_request(server, store, way):
    answer = way(store, "put", "k", b"data")
    assert answer == {"e_tag": server.get("k").etag, "version": None}
    assert server.get("k").data == b"data"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0123",
        bytearray(b"0123"),
        memoryview(b"0123"),
        memoryview(b"0.1.2.3.4.")[::2],
        array.array("i", [1, 2, 3]),
        np.arange(24, dtype=np.uint8).reshape(4, 6),
        np.arange(24, dtype=np.float64).reshape(4, 6)[:, ::2],
        np.zeros(0, dtype=np.int16),
        mmap.mmap(-1, 100),
    ],
    ids=lambda data: f"{type(data).__name__}-{memoryview(data).nbytes}",
)
def test_anything_with_the_buffer_protocol_is_put_as_its_bytes(server, store, way, data):
    way(store, "put", "k", data)
    assert server.get("k").data == memoryview(data).tobytes()


@pytest.mark.parametrize("multipart", [None, True, False])
@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, len(BIG)])
def test_the_size_decides_on_parts_unless_the_caller_does(server, store, way, size, multipart):
    way(store, "put", "k", BIG[:size], use_multipart=multipart, chunk_size=PART)
    assert server.get("k").data == BIG[:size]
    parts = max(1, -(-size // PART)) if multipart or (multipart is None and size > PART) else 0
    assert uploads(server) == parts


class Dribble(io.RawIOBase):
    """A file without readinto of its own, which gives less than was asked for."""

    def __init__(self, data):
        self.inner = io.BytesIO(data)

    def read(self, size=-1):
        return self.inner.read(min(size, 1_000_000) if size >= 0 else size)

    def seek(self, *arguments):
        return self.inner.seek(*arguments)

    def tell(self):
        return self.inner.tell()

    readinto = None


class Endless(Dribble):
    """One that cannot say how long it is."""

    def seek(self, *arguments):
        raise OSError("not seekable")


@pytest.mark.parametrize("multipart", [None, True, False])
@pytest.mark.parametrize("size", [0, 5, PART, len(BIG)])
@pytest.mark.parametrize(
    "kind", ["str", "Path", "file", "BytesIO", "dribble", "endless", "chunks", "generator"]
)
def test_files_and_iterators_are_put(server, store, way, tmp_path, kind, size, multipart):
    data = BIG[:size]
    path = tmp_path / "file"
    path.write_bytes(data)
    cuts = [data[at : at + 777_777] for at in range(0, size, 777_777)]
    with path.open("rb") as file:
        source = {
            "str": lambda: str(path),
            "Path": lambda: path,
            "file": lambda: file,
            "BytesIO": lambda: io.BytesIO(data),
            "dribble": lambda: Dribble(data),
            "endless": lambda: Endless(data),
            "chunks": lambda: [*cuts, b""],
            "generator": lambda: (bytearray(cut) for cut in cuts),
        }[kind]()
        way(store, "put", "k", source, use_multipart=multipart, chunk_size=PART)
    assert server.get("k").data == data
    if multipart is None:
        assert uploads(server) == (3 if size > PART else 0)
    else:
        assert (uploads(server) > 0) == multipart


def test_a_file_is_put_from_where_it_stands(server, store, way):
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    way(store, "put", "k", file)
    assert server.get("k").data == b"456789"


@pytest.mark.parametrize("size", [0, 5, len(BIG)])
def test_async_iterators_are_put_by_put_async_only(server, store, way, size):
    async def chunks():
        for at in range(0, size, 1_000_000):
            yield BIG[:size][at : at + 1_000_000]

    if way.name == "sync":
        with pytest.raises(ValueError, match="Use 'put_async'"):
            store.put("k", chunks())
        assert server.keys() == []
    else:
        way(store, "put", "k", chunks(), chunk_size=PART)
        assert server.get("k").data == BIG[:size]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (5, ValueError),
        (None, ValueError),
        ([1, 2], TypeError),
        (["text"], TypeError),
        (io.StringIO("text"), TypeError),
        ("/no/such/file", FileNotFoundError),
    ],
)
def test_what_cannot_be_put_is_refused_before_any_request(server, store, way, source, error):
    with pytest.raises(error):
        way(store, "put", "k", source)
    assert server.requests == []


def test_numbers_below_one_are_refused(server, store, way):
    for arguments in ({"chunk_size": 0}, {"max_concurrency": 0}, {"chunk_size": -5}):
        with pytest.raises(ValueError, match="at least 1"):
            way(store, "put", "k", b"", **arguments)
    assert server.requests == []


def test_a_failing_source_aborts_the_upload_and_its_error_comes_out(server, store, way):
    def chunks():
        yield BIG
        raise ZeroDivisionError("of the source")

    with pytest.raises(ZeroDivisionError, match="of the source"):
        way(store, "put", "k", chunks(), chunk_size=PART)
    assert server.keys() == []
    end = time.monotonic() + 5
    while server.store.uploads and time.monotonic() < end:
        if way.runner is not None:
            way.runner.run(__import__("asyncio").sleep(0.01))
        time.sleep(0.01)
    assert not server.store.uploads


@pytest.mark.parametrize(
    "source", [lambda: BIG, lambda: io.BytesIO(BIG), lambda: iter([BIG])], ids=["buffer", "file", "iterator"]
)
def test_a_failing_part_aborts_the_upload(server, store, way, source):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", part=2, times=100))
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        way(store, "put", "k", source(), chunk_size=PART)
    assert (caught.value.operation, caught.value.key) == ("put", "k")
    server.wait_idle(5)
    assert server.keys() == []
    assert not server.store.uploads


def test_parts_in_flight_are_bounded(server, store, way):
    server.faults.add(Fault(faults.delay(0.02), method="PUT", times=100))
    way(store, "put", "k", iter([BIG]), chunk_size=PART, max_concurrency=1)
    assert server.peak_in_flight == 1


# ---- modes ----


def test_create_puts_only_what_is_not_there(server, store, way):
    way(store, "put", "k", b"first", mode="create")
    with pytest.raises(exceptions.AlreadyExistsError) as caught:
        way(store, "put", "k", b"second", mode="CREATE")
    assert isinstance(caught.value, FileExistsError)
    assert server.get("k").data == b"first"
    way(store, "put", "k", b"third", mode="overwrite")
    assert server.get("k").data == b"third"


def test_update_puts_only_over_the_version_that_is_known(server, store, way):
    e_tag = way(store, "put", "k", b"first")["e_tag"]
    newer = way(store, "put", "k", b"second", mode={"e_tag": e_tag})["e_tag"]
    with pytest.raises(exceptions.PreconditionError):
        way(store, "put", "k", b"third", mode={"e_tag": e_tag, "version": None})
    with pytest.raises(exceptions.PreconditionError):
        way(store, "put", "missing", b"x", mode={"e_tag": newer})
    with pytest.raises(exceptions.GenericError, match="ETag required"):
        way(store, "put", "k", b"x", mode={"version": "1"})
    assert server.get("k").data == b"second"


def test_conditional_puts_are_single_requests(server, store, way):
    way(store, "put", "k", iter([BIG, b"end"]), mode="create", chunk_size=PART)
    assert server.get("k").data == BIG + b"end"
    assert len(server.requests) == 1


@pytest.mark.parametrize("mode", ["zz", 5, ["create"]])
def test_other_modes_are_refused(server, store, way, mode):
    with pytest.raises(ValueError, match="Unexpected input for PutMode"):
        way(store, "put", "k", b"", mode=mode)
    assert server.requests == []


# ---- attributes and tags ----


@pytest.mark.parametrize("size", [4, len(BIG)])
def test_attributes_come_back(server, store, way, size):
    given = {
        "Content-Type": "text/plain; charset=utf-8",
        "contentdisposition": 'attachment; filename="a b.txt"',
        "CACHE-CONTROL": "no-cache",
        "Content-Language": "de",
        "Content-Encoding": "identity",
        "My-Key": "my value",
    }
    way(store, "put", "k", BIG[:size], attributes=given, chunk_size=PART)
    assert way(store, "get", "k").attributes == {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Disposition": 'attachment; filename="a b.txt"',
        "Cache-Control": "no-cache",
        "Content-Language": "de",
        "Content-Encoding": "identity",
        "my-key": "my value",
    }


def test_tags_are_form_encoded(server, store, way):
    way(store, "put", "k", b"", tags={"a b": "c&d=e", "é": "+/"})
    assert server.requests[-1].header("x-amz-tagging") == "a+b=c%26d%3De&%C3%A9=%2B%2F"


@pytest.mark.parametrize(
    "attributes",
    [
        {"Content-Type": "a\r\nx-evil: 1"},
        {"key\nx": "v"},
        {"bad name": "v"},
        {"": "v"},
        {"Content-Type": "a", "content_type": "b", "contenttype": "c"},
    ],
)
def test_attributes_that_no_header_can_hold_are_refused(server, store, way, attributes):
    with pytest.raises(ValueError, match="attributes"):
        way(store, "put", "k", b"", attributes=attributes)
    assert server.requests == []


def test_values_of_the_wrong_type_are_refused(server, store, way):
    with pytest.raises(TypeError):
        way(store, "put", "k", b"", attributes={"Content-Type": 5})
    with pytest.raises(TypeError):
        way(store, "put", "k", b"", tags={"a": 1})
    assert server.requests == []


def test_a_buffer_stays_exported_no_longer_than_the_put(server, store, way):
    data = bytearray(b"0123")
    way(store, "put", "k", data)
    data.append(4)
    assert len(data) == 5
