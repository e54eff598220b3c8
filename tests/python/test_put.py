"""put: every kind of input, single requests and parts, conditions, attributes and tags, failures."""

from __future__ import annotations

import array
import asyncio
import io
import mmap
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from s3ext import _wait, exceptions
from tests.lifecycle import SLOW
from tests.python.ways import PART, connect
from tests.server import ACCESS_KEY, SECRET_KEY, Fault, VerifyingServer, faults

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024

BIG = random.Random(8).randbytes(2 * PART + 54321)


def until(condition, seconds=5.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


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
        (io.StringIO("text" * PART), TypeError),
        ("/no/such/file", FileNotFoundError),
        (Path(), IsADirectoryError),
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
        until(lambda: server.store.uploads)
        raise ZeroDivisionError("of the source")

    with pytest.raises(ZeroDivisionError, match="of the source"):
        way(store, "put", "k", chunks(), chunk_size=PART)
    # The abort has been, and not only begun.
    assert (server.keys(), server.store.uploads) == ([], {})
    assert [request.method for request in server.requests][-1] == "DELETE"


@pytest.mark.parametrize("first", [BIG, b"little"])
def test_a_failing_async_source_aborts_the_upload_before_its_error_comes_out(server, store, first):
    async def chunks():
        yield first
        if first is BIG:
            await asyncio.to_thread(until, lambda: server.store.uploads)
        raise ZeroDivisionError("of the source")

    async def put():
        with pytest.raises(ZeroDivisionError, match="of the source"):
            await store.put_async("k", chunks(), chunk_size=PART)
        return server.keys(), dict(server.store.uploads)

    assert asyncio.run(put()) == ([], {})
    assert len(server.store.aborted) == (first is BIG)


def test_an_abort_that_the_server_does_not_answer_is_not_waited_for_for_ever(server, store, way, monkeypatch):
    def chunks():
        yield BIG
        until(lambda: server.store.uploads)
        raise ZeroDivisionError

    monkeypatch.setattr(_wait, "ABORT_SECONDS", 0.3)
    fault = server.faults.add(Fault(faults.stall("head"), method="DELETE"))
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        way(store, "put", "k", chunks(), chunk_size=PART)
    assert 0.2 < time.monotonic() - begun < 5
    # On a busy machine the parts in flight may take all of that time to end, and the abort follows them.
    until(lambda: fault.hits == 1)
    fault.release()


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


# ---- parts and memory ----


def part_sizes(server):
    """Return the sizes of the parts, by their numbers."""
    sent = {request.part: request.body_length for request in server.find("PUT", query="partNumber")}
    return [sent[number + 1] for number in range(len(sent))]


@pytest.fixture
def small_parts():
    """A server that takes parts of any size, and a store on it."""
    with VerifyingServer(min_part_size=1) as server:
        yield server, connect(server)
        assert not server.errors


def test_parts_keep_their_size_where_the_objects_is_known(small_parts, tmp_path, way):
    server, store = small_parts
    path = tmp_path / "file"
    path.write_bytes(bytes(1000 * 1000))
    way(store, "put", "k", path, chunk_size=1000)
    assert part_sizes(server) == [1000] * 1000


def test_parts_of_unknown_number_grow(small_parts, way):
    server, store = small_parts
    data = BIG[: 960 * 1000 + 960 * 2000 + 5000]
    way(store, "put", "k", iter([data]), chunk_size=1000)
    assert part_sizes(server) == [1000] * 960 + [2000] * 960 + [4000, 1000]
    assert server.get("k").data == data


@pytest.mark.parametrize("kind", ["buffer", "file"])
def test_ten_thousand_parts_are_enough_for_any_size(small_parts, way, kind):
    server, store = small_parts
    data = BIG + BIG[:1000]
    way(store, "put", "k", data if kind == "buffer" else io.BytesIO(data), chunk_size=1000)
    assert server.get("k").data == data
    assert len(part_sizes(server)) <= 10_000


def test_parts_of_unknown_number_reach_the_largest_object_and_never_exceed_the_largest_part():
    """The rule of `slot_size_locked` in op_write.c, in figures: 5 TiB of parts of at most 5 GiB."""
    sizes = [min(PART << (number // 960), 5 * 1024**3) for number in range(10_000)]
    assert sum(sizes) >= 5 * 1024**4
    assert max(sizes) <= 5 * 1024**3


@pytest.mark.slow
def test_more_than_ten_thousand_parts_are_refused_and_aborted(small_parts):
    server, store = small_parts
    with pytest.raises(ValueError, match=r"more than 10,000 parts"):
        store.put("k", iter([bytes(2_000_000)]), chunk_size=1)
    assert (server.keys(), server.store.uploads) == ([], {})


MEMORY = """
import asyncio, os, sys
from tests.lifecycle.prelude import *
kind, path, most, chunk, size = sys.argv[1:3] + [int(number) for number in sys.argv[3:]]
on = connect(unsigned_payload=True)
piece = os.urandom(1_000_000)

def pieces():
    for at in range(0, size, len(piece)):
        yield bytes(piece)

async def pieces_later():
    for piece in pieces():
        yield piece

def work(name, size):
    options = {"chunk_size": chunk, "max_concurrency": most}
    if kind == "file":
        on.put(name, path, **options)
    elif kind == "async-file":
        asyncio.run(on.put_async(name, open(path, "rb"), **options))
    elif kind == "iterator":
        on.put(name, pieces(), **options)
    elif kind == "async-iterator":
        asyncio.run(on.put_async(name, pieces_later(), **options))
    else:
        with on.open_writer(name, buffer_size=chunk, max_concurrency=most) as file:
            for part in pieces():
                file.write(part)

on.put("warm", iter([b"x"]), use_multipart=True)
asyncio.run(on.put_async("warm", iter([b"x"]), use_multipart=True))
asyncio.run(on.put_async("warm", open(s3ext.__file__, "rb")))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
idle = rss()
work("k", size)
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
print(peak - idle)
"""


def growth(server, kind, path, *numbers):
    """Upload in a process of its own, and return by how much its memory grew at most."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, kind, str(path), *map(str, numbers)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LIFECYCLE_URL": server.url,
            "LIFECYCLE_KEYS": f"{ACCESS_KEY} {SECRET_KEY}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("kind", ["file", "async-file", "iterator", "async-iterator", "writer"])
@pytest.mark.parametrize("most", [2, 8])
def test_the_memory_of_an_upload_is_bounded(server, tmp_path, kind, most):
    """By the parts in flight and two more, though the source is faster than the server."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        for _ in range(24):
            file.write(BIG[:PART])
    server.faults.add(Fault(faults.delay(0.05), method="PUT", times=1000))
    assert growth(server, kind, path, most, PART, 24 * PART) <= ((most + 2) * PART + 8 * MIB) * SLOW
    assert len(server.get("k").data) >= 24 * PART


@pytest.mark.slow
def test_the_memory_of_an_upload_whose_parts_grow_is_bounded_by_the_larger_ones(small_parts):
    server, _ = small_parts
    server.faults.add(Fault(faults.delay(0.2), method="PUT", skip=900, times=1000))
    most, small = 128, 256 * 1024
    bound = ((most + 2) * 2 * small + 8 * MIB) * SLOW
    assert growth(server, "iterator", "", most, small, 350 * MIB) <= bound
    assert part_sizes(server)[958:962] == [small] * 2 + [2 * small] * 2


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
    assert server.requests[-1].header("x-amz-tagging") == "a%20b=c%26d%3De&%C3%A9=%2B%2F"


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
