"""open_reader and open_writer, sync and async: what they read and write, their requests and errors."""

from __future__ import annotations

import asyncio
import csv
import gc
import gzip
import io
import itertools
import json
import os
import pickle
import random
import tarfile
import threading
import time
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import s3ext
from s3ext import Bytes, exceptions
from tests.python.ways import PART, connect
from tests.server import Fault, faults

BIG = random.Random(9).randbytes(3 * PART + 4321)
LINES = b"".join(b"line %d %s\n" % (number, b"x" * (number % 97)) for number in range(20_000)) + b"last"


class Files:
    """Opens and calls files in sync or async code alike."""

    def __init__(self, way, store):
        self.way, self.store = way, store

    def reader(self, path, **options):
        return self.way(self.store, "open_reader", path, **options)

    def writer(self, path, **options):
        name = "open_writer" if self.way.name == "sync" else "open_writer_async"
        return getattr(self.store, name)(path, **options)

    def do(self, file, method, *arguments):
        """Call a method, and await what it gives if that is to be awaited."""
        outcome = getattr(file, method)(*arguments)
        return self.way.runner.run(outcome) if asyncio.iscoroutine(outcome) else outcome

    def closed(self, file):
        return self.do(file, "closed")

    def write_all(self, path, pieces, **options):
        """Write pieces and close, in a block."""
        if self.way.name == "sync":
            with self.store.open_writer(path, **options) as file:
                return [file.write(piece) for piece in pieces]

        async def write():
            async with self.store.open_writer_async(path, **options) as file:
                return [await file.write(piece) for piece in pieces]

        return self.way.runner.run(write())


@pytest.fixture
def files(way, store):
    return Files(way, store)


# ---- readers ----


def test_a_read_gives_as_many_bytes_as_were_asked_for(server, files):
    server.put("k", BIG)
    file = files.reader("k", buffer_size=1000)
    at = 0
    for size in (3, 3, 999, 1000, 1001, 0, 5000, 1, 2 * PART, 7):
        data = files.do(file, "read", size)
        assert isinstance(data, Bytes)
        assert data == BIG[at : at + size]
        at += size
        assert files.do(file, "tell") == at
    assert files.do(file, "read") == BIG[at:]
    assert files.do(file, "read", 5) == b""
    assert files.do(file, "read", -1) == b""


@pytest.mark.parametrize("size", [None, -1, -7])
def test_all_that_follows_is_read_by_default(server, files, size):
    server.put("k", b"0123456789")
    file = files.reader("k")
    files.do(file, "seek", 4)
    assert files.do(file, "read", size) == b"456789"
    files.do(file, "seek", 4)
    assert files.do(file, "readall") == b"456789"


def test_small_reads_share_requests_and_large_ones_go_past_the_buffer(server, files):
    server.put("k", BIG)
    file = files.reader("k", buffer_size=100_000)
    for _ in range(100):
        files.do(file, "read", 1000)
    assert [request.range() for request in server.find("GET", "k")] == [(0, 99_999)]
    server.forget()
    assert files.do(file, "read", 2 * PART) == BIG[100_000 : 100_000 + 2 * PART]
    assert sum(request.body_length == 0 for request in server.requests) == len(server.find("GET", "k"))
    # Nothing beyond what was asked for.
    assert max(request.range()[1] for request in server.find("GET", "k")) == 100_000 + 2 * PART - 1


def test_seeking_within_the_buffer_costs_nothing(server, files):
    server.put("k", LINES)
    file = files.reader("k")
    files.do(file, "read", 10)
    for at in (500, 0, 20_000, 3):
        assert files.do(file, "seek", at) == at
        assert files.do(file, "read", 5) == LINES[at : at + 5]
    assert len(server.find("GET", "k")) == 1


def test_positions_are_as_in_files(server, files):
    server.put("k", b"0123456789")
    file = files.reader("k")
    assert files.do(file, "seek", -3, os.SEEK_END) == 7
    assert files.do(file, "read", 2) == b"78"
    assert files.do(file, "seek", -4, os.SEEK_CUR) == 5
    assert files.do(file, "read", 1) == b"5"
    assert files.do(file, "seek", 100) == 100
    assert files.do(file, "read", 5) == b""
    assert files.do(file, "tell") == 100
    assert files.do(file, "seek", 0) == 0
    for wrong in [(-1,), (-11, os.SEEK_END), (-1, os.SEEK_CUR)]:
        with pytest.raises(OSError, match="must not be negative: -1") as caught:
            files.do(file, "seek", *wrong)
        assert isinstance(caught.value, ValueError)
    for whence in (3, -1, "0"):
        with pytest.raises(OSError, match="whence must be 0, 1 or 2"):
            files.do(file, "seek", 0, whence)
    assert files.do(file, "tell") == 0
    assert file.seekable()
    assert file.size == 10


def test_lines_are_read_with_their_ends(server, files):
    server.put("k", LINES)
    file = files.reader("k", buffer_size=300)  # shorter than some lines
    wanted = LINES.splitlines(keepends=True)
    assert [files.do(file, "readline") for _ in range(500)] == wanted[:500]
    assert files.do(file, "readline", 4) == wanted[500][:4]
    assert files.do(file, "readline", 0) == b""
    assert files.do(file, "readline") == wanted[500][4:]
    file = files.reader("k")
    assert files.do(file, "readlines") == wanted
    assert files.do(file, "readline") == b""
    files.do(file, "seek", 0)
    assert files.do(file, "readlines", 20) == wanted[:3]
    files.do(file, "seek", 0)
    assert files.way.pieces(file) == wanted


@pytest.mark.parametrize("make", [bytearray, lambda n: np.zeros(n // 2, dtype=np.int16)])
@pytest.mark.parametrize("size", [10, 5000, 2 * PART])
def test_a_read_goes_straight_into_memory(server, files, size, make):
    server.put("k", BIG)
    file = files.reader("k", buffer_size=1000)
    assert files.do(file, "read", 7) == BIG[:7]
    room = make(size)
    assert files.do(file, "readinto", room) == size
    assert bytes(room) == BIG[7 : 7 + size]
    files.do(file, "seek", -4, os.SEEK_END)
    assert files.do(file, "readinto", room) == 4
    assert bytes(room)[:4] == BIG[-4:]
    assert bytes(room)[4:] == BIG[11 : 7 + size]
    assert files.do(file, "readinto", room) == 0
    assert files.do(file, "readinto", bytearray()) == 0
    for wrong in (b"read-only", memoryview(bytearray(10))[::2]):
        with pytest.raises(TypeError, match="writable and C-contiguous"):
            files.do(file, "readinto", wrong)


def test_memory_that_was_read_into_is_free_again(server, files):
    server.put("k", BIG)
    file = files.reader("k", buffer_size=1000)
    room = bytearray(100_000)
    files.do(file, "readinto", room)
    room.append(1)
    assert len(room) == 100_001


def test_a_small_piece_does_not_keep_the_buffer_alive(server, files):
    server.put("k", BIG)
    file = files.reader("k")
    live = s3ext.stats()["memory_live"]
    pieces = []
    for at in range(0, 2 * PART, PART // 4):
        files.do(file, "seek", at)
        pieces.append(files.do(file, "read", 100))
    gc.collect()
    assert s3ext.stats()["memory_live"] - live <= 2 * 1024 * 1024


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    buffer_size=st.integers(1, 300),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("read"), st.integers(-1, 400)),
            st.tuples(st.just("readline"), st.integers(-1, 40)),
            st.tuples(st.just("seek"), st.integers(0, 700), st.just(0)),
            st.tuples(st.just("seek"), st.integers(0, 100), st.just(1)),
            st.tuples(st.just("seek"), st.integers(-500, 10), st.just(2)),
            st.tuples(st.just("tell")),
        ),
        max_size=25,
    ),
)
def test_whatever_is_done_to_a_reader_it_does_as_a_file_in_memory(server, store, buffer_size, steps):
    data = b"".join(b"%d %s\n" % (number, b"y" * (number * 7 % 31)) for number in range(30))
    server.put("k", data)
    file, model = store.open_reader("k", buffer_size=buffer_size), io.BytesIO(data)
    for name, *arguments in steps:
        assert getattr(file, name)(*arguments) == getattr(model, name)(*arguments)


def test_the_metadata_is_asked_for_once_and_every_read_is_of_that_version(server, files):
    server.put("k", BIG)
    etag = server.get("k").etag
    file = files.reader("k", buffer_size=10)
    assert [request.method for request in server.requests] == ["HEAD"]
    files.do(file, "read", 5)
    files.do(file, "read", 50_000)
    assert {request.header("if-match") for request in server.find("GET", "k")} == {etag}
    server.put("k", BIG[::-1])
    with pytest.raises(exceptions.PreconditionError):
        files.do(file, "read", 50_000)
    # What is in the buffer still is of the old version, and the position did not move.
    assert files.do(file, "tell") == 50_005


def test_with_a_size_the_first_read_tells_the_version(server, files):
    server.put("k", BIG)
    file = files.reader("k", buffer_size=10, size=len(BIG))
    assert server.requests == []
    files.do(file, "read", 5)
    server.put("k", BIG[::-1])
    with pytest.raises(exceptions.PreconditionError):
        files.do(file, "read", 50)


def test_a_size_that_is_too_large_is_an_os_error_that_says_so(server, files):
    server.put("k", b"x" * 1000)
    file = files.reader("k", size=5000)
    with pytest.raises(OSError, match=r"range 0 to 5000 .*it ends at 1000: the size .* too large"):
        files.do(file, "read")
    files.do(file, "seek", 2000)
    with pytest.raises(OSError, match=r"range 2000 to 5000 .*too large") as caught:
        files.do(file, "read", 10)
    assert caught.value.__cause__ is None or caught.value.__cause__.status == 416


@pytest.mark.parametrize("options", [{"buffer_size": 0}, {"buffer_size": -1}, {"size": -1}])
def test_numbers_that_make_no_sense_are_refused(server, files, options):
    with pytest.raises(ValueError, match="must"):
        files.reader("k", **options)
    assert server.requests == []


def test_what_is_not_there_cannot_be_opened(files):
    with pytest.raises(FileNotFoundError):
        files.reader("missing")
    with pytest.raises(exceptions.InvalidPathError):
        files.reader("a//b")


def test_an_empty_object_is_read_without_a_request(server, files):
    server.put("k", b"")
    file = files.reader("k")
    assert (files.do(file, "read"), files.do(file, "readline"), files.do(file, "readlines")) == (b"", b"", [])
    assert [request.method for request in server.requests] == ["HEAD"]


def test_a_closed_reader_reads_nothing(server, files):
    server.put("k", b"data")
    file = files.reader("k")
    assert not file.closed
    file.close()
    file.close()
    assert file.closed
    for method, *arguments in [("read",), ("readline",), ("seek", 0), ("tell",), ("readinto", bytearray(1))]:
        with pytest.raises(ValueError, match="closed file"):
            files.do(file, method, *arguments)


def test_a_block_closes_a_reader(server, store):
    server.put("k", b"data")
    with store.open_reader("k") as file:
        assert file.read() == b"data"
    assert file.closed

    async def read():
        async with await store.open_reader_async("k") as file:
            assert await file.read() == b"data"
        return file.closed

    assert asyncio.run(read())


def test_tasks_and_threads_share_a_reader(server, store):
    server.put("k", LINES)
    wanted = sorted(LINES.splitlines(keepends=True))

    async def tasks():
        file = await store.open_reader_async("k", buffer_size=5000)

        async def some():
            return [line async for line in file]

        return list(itertools.chain(*await asyncio.gather(*(some() for _ in range(5)))))

    assert sorted(map(bytes, asyncio.run(tasks()))) == wanted
    file, found = store.open_reader("k", buffer_size=5000), []
    threads = [threading.Thread(target=lambda: found.extend(iter(file.readline, b""))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bytes, found)) == wanted


# ---- readers as files ----


def test_a_reader_is_a_file_to_pythons_modules(server, store):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("stored", LINES, zipfile.ZIP_STORED)
        archive.writestr("deflated é", LINES, zipfile.ZIP_DEFLATED)
        archive.comment = b"a comment"
    server.put("zip", packed.getvalue())
    with store.open_reader("zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["stored", "deflated é"]
        assert archive.read("stored") == archive.read("deflated é") == LINES
        assert archive.comment == b"a comment"
        with archive.open("stored") as member:
            assert member.read(11) + member.readline() == LINES[: LINES.index(b"\n", 11) + 1]
    server.put("gz", gzip.compress(LINES))
    with store.open_reader("gz") as file, gzip.open(file) as unpacked:
        assert unpacked.read() == LINES
    server.put("text", "é1,b\nc,d\n".encode())
    with io.TextIOWrapper(store.open_reader("text"), encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["é1", "b"], ["c", "d"]]
    assert not zipfile.is_zipfile(store.open_reader("text"))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("member")
        member.size = len(LINES)
        archive.addfile(member, io.BytesIO(LINES))
    server.put("tar", packed.getvalue())
    with tarfile.open(fileobj=io.BufferedReader(store.open_reader("tar"))) as archive:
        assert archive.extractfile("member").read() == LINES


def test_what_insists_on_bytes_takes_a_wrapped_reader(server, store):
    value = {"a": [1, "é"]}
    server.put("json", json.dumps(value).encode())
    server.put("pickle", pickle.dumps(value))
    assert json.load(io.TextIOWrapper(store.open_reader("json"))) == value
    assert pickle.load(store.open_reader("pickle")) == value
    buffered = io.BufferedReader(store.open_reader("json"), 3)
    assert type(buffered.read(5)) is bytes
    assert buffered.seek(-1, os.SEEK_END) == len(json.dumps(value).encode()) - 1


def test_numpy_loads_from_a_reader(server, store):
    array = np.arange(100_000, dtype=np.float32).reshape(100, 1000)
    for save, name in ((np.save, "npy"), (np.savez_compressed, "npz")):
        packed = io.BytesIO()
        save(packed, array)
        server.put(name, packed.getvalue())
    assert (np.load(store.open_reader("npy")) == array).all()
    assert (np.load(store.open_reader("npz"))["arr_0"] == array).all()


def test_pyarrow_reads_from_a_reader(server, store):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    server.put("k", BIG)
    with pyarrow.PythonFile(store.open_reader("k")) as file:
        assert file.size() == len(BIG)
        file.seek(1000)
        assert file.read(5000) == BIG[1000:6000]
        assert file.read_buffer(100) == BIG[6000:6100]


def test_a_reader_has_the_manners_of_a_file(server, store):
    server.put("dir/k", b"data")
    file = store.open_reader("dir/k")
    assert isinstance(file, io.BufferedIOBase)
    assert (file.readable(), file.writable(), file.seekable(), file.isatty()) == (True, False, True, False)
    assert (file.name, file.mode) == ("dir/k", "rb")
    assert repr(file) == "ReadableFile('dir/k', size=4)"
    for refused in (file.fileno, file.truncate, file.detach, lambda: file.write(b"")):
        with pytest.raises(io.UnsupportedOperation):
            refused()
    assert (file.read1(2), file.read1(), file.read1(5)) == (b"da", b"ta", b"")
    file.seek(1)
    room = bytearray(10)
    assert (file.readinto1(room), room[:3]) == (3, b"ata")


def test_a_reader_is_put_as_another_object(server, store, way):
    server.put("from", BIG)
    file = store.open_reader("from")
    assert file.read(10) == BIG[:10]
    way(store, "put", "to", file)
    assert server.get("to").data == BIG[10:]

    async def copy():
        await store.put_async("lines", await store.open_reader_async("to"))

    server.put("to", LINES)
    asyncio.run(copy())
    assert server.get("lines").data == LINES


# ---- writers ----


def until(condition, seconds=5.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def parts(server):
    return [request.body_length for request in server.find("PUT", query="partNumber")]


def test_less_than_a_buffer_is_one_request(server, files):
    assert files.write_all("k", [b"some ", bytearray(b"bytes"), memoryview(b" here")]) == [5, 5, 5]
    assert server.get("k").data == b"some bytes here"
    assert [request.method for request in server.requests] == ["PUT"]
    files.write_all("empty", [])
    assert server.get("empty").data == b""


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, len(BIG)])
@pytest.mark.parametrize("piece", [777_777, 100_000_000])
def test_more_goes_in_parts_of_a_buffer(server, files, size, piece):
    pieces = [BIG[at : min(size, at + piece)] for at in range(0, size, piece)]
    files.write_all("k", pieces, buffer_size=PART, attributes={"Content-Type": "a/b"}, tags={"t": "v"})
    stored = server.get("k")
    assert stored.data == BIG[:size]
    assert stored.headers["content-type"] == "a/b"
    whole, rest = divmod(size, PART)
    assert sorted(parts(server), reverse=True) == (
        [] if size < PART else [PART] * whole + [rest] * (rest > 0)
    )
    begun = server.find("POST", "k", query="uploads") or server.find("PUT", "k")
    assert begun[0].header("x-amz-tagging") == "t=v"


def test_parts_are_sent_while_more_is_written(server, store):
    with store.open_writer("k", buffer_size=PART) as file:
        file.write(BIG[: 2 * PART])
        until(lambda: len(parts(server)) == 2)
        assert server.keys() == []


@pytest.mark.parametrize("most", [1, 3])
def test_parts_in_flight_are_bounded(server, files, most):
    server.faults.add(Fault(faults.delay(0.05), method="PUT", times=100))
    files.write_all("k", [BIG[:PART]] * 6, buffer_size=PART, max_concurrency=most)
    assert server.get("k").data == BIG[:PART] * 6
    assert server.peak_in_flight <= most


def test_a_block_that_raises_leaves_nothing_behind(server, files):
    def pieces():
        yield BIG[: 2 * PART]
        raise ZeroDivisionError

    for least in (PART, 100_000_000):
        with pytest.raises(ZeroDivisionError):
            files.write_all("k", pieces(), buffer_size=least)
        # The abort is not only under way.
        assert (server.keys(), server.store.uploads) == ([], {})


def test_a_part_that_fails_ends_the_upload_and_the_writer(server, files):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", part=1, times=100))
    file = files.writer("k", buffer_size=PART, max_concurrency=1)
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        files.do(file, "write", BIG)
    assert (caught.value.operation, caught.value.key) == ("put", "k")
    assert (server.keys(), server.store.uploads) == ([], {})
    assert files.closed(file)
    for method, *arguments in [("write", b"x"), ("close",), ("flush",)]:
        with pytest.raises(OSError, match=r"Writer already closed\. It has failed: .*AccessDenied"):
            files.do(file, method, *arguments)


def test_a_failure_at_the_end_comes_out_of_close(server, files):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", times=100))
    for size in (5, PART + 5):
        file = files.writer("k", buffer_size=PART, max_concurrency=12)
        files.do(file, "write", BIG[:size])
        with pytest.raises(exceptions.PermissionDeniedError):
            files.do(file, "close")
        assert files.closed(file)
    assert (server.keys(), server.store.uploads) == ([], {})


def test_a_writer_is_closed_once(server, files):
    file = files.writer("k")
    assert not files.closed(file)
    files.do(file, "write", b"data")
    files.do(file, "flush")
    assert server.requests == []
    assert files.do(file, "tell") == 4
    files.do(file, "close")
    assert files.closed(file)
    assert server.get("k").data == b"data"
    for method, *arguments in [("close",), ("write", b"x"), ("flush",)]:
        with pytest.raises(OSError, match=r"Writer already closed\.$"):
            files.do(file, method, *arguments)
    assert len(server.requests) == 1


def test_a_writer_that_was_closed_in_its_block_stays_so(server, store):
    with store.open_writer("k") as file:
        file.write(b"data")
        file.close()
    assert server.get("k").data == b"data"
    with pytest.raises(OSError, match="already closed"), file:
        pass


@pytest.mark.parametrize("size", [5, 2 * PART])
def test_a_writer_that_is_dropped_makes_no_object(server, files, size):
    file = files.writer("k", buffer_size=PART)
    files.do(file, "write", BIG[:size])
    if size > PART:
        until(lambda: server.store.uploads)
    with pytest.warns(ResourceWarning, match='"k" was not closed: nothing is written'):  # noqa: PT031 - both drop it
        del file
        gc.collect()
    until(lambda: not server.store.uploads)
    assert server.keys() == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files.write_all("other", [b"x"])
        gc.collect()


def test_a_cancelled_write_aborts_the_upload(server, store):
    server.faults.add(Fault(faults.stall("head"), method="PUT", times=100))

    async def write():
        file = store.open_writer_async("k", buffer_size=PART, max_concurrency=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(file.write(BIG), 0.2)
        assert await file.closed()
        with pytest.raises(OSError, match="interrupted"):
            await file.write(b"more")
        await asyncio.to_thread(until, lambda: not server.store.uploads)

    asyncio.run(asyncio.wait_for(write(), 10))
    assert server.keys() == []


def test_tasks_share_a_writer(server, store):
    async def write():
        async with store.open_writer_async("k", buffer_size=PART) as file:
            await asyncio.gather(*(file.write(bytes([number]) * 1_000_000) for number in range(20)))

    asyncio.run(write())
    data = server.get("k").data
    assert sorted(data[at : at + 1_000_000] for at in range(0, 20_000_000, 1_000_000)) == [
        bytes([number]) * 1_000_000 for number in range(20)
    ]


@pytest.mark.parametrize("wrong", ["text", 5, None, [1]])
def test_only_buffers_can_be_written(files, wrong):
    file = files.writer("k")
    with pytest.raises(TypeError, match="buffer of bytes"):
        files.do(file, "write", wrong)
    files.do(file, "close")


def test_buffers_of_every_shape_are_written_as_their_bytes(server, files):
    arrays = [np.arange(24, dtype=np.float64).reshape(4, 6)[:, ::2], np.zeros(0), np.arange(5, dtype=">i4")]
    files.write_all("k", arrays)
    assert server.get("k").data == b"".join(array.tobytes() for array in arrays)


def test_arguments_are_checked_before_anything_is_sent(server, files):
    for options in ({"buffer_size": 0}, {"max_concurrency": 0}, {"attributes": {"a b": "c"}}):
        with pytest.raises(ValueError):
            files.writer("k", **options)
    with pytest.raises(exceptions.InvalidPathError):
        files.writer("a//b")
    assert server.requests == []


def test_a_writer_is_a_file_to_pythons_modules(server, store):
    with store.open_writer("zip") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", LINES)
    assert zipfile.ZipFile(io.BytesIO(server.get("zip").data)).read("one") == LINES
    with store.open_writer("gz") as file, gzip.open(file, "wb") as packed:
        packed.write(LINES)
    assert gzip.decompress(server.get("gz").data) == LINES
    with io.TextIOWrapper(store.open_writer("text"), encoding="utf-8") as file:
        json.dump({"a": "é"}, file, ensure_ascii=False)
    assert server.get("text").data == '{"a": "é"}'.encode()
    file = store.open_writer("lines")
    file.writelines([b"a\n", b"b\n"])
    assert (file.readable(), file.writable(), file.seekable(), file.mode) == (False, True, False, "wb")
    assert not file.closed
    for refused in (file.read, lambda: file.seek(0), file.fileno):
        with pytest.raises(io.UnsupportedOperation):
            refused()
    file.close()
    assert file.closed
    assert server.get("lines").data == b"a\nb\n"


def test_a_store_with_a_prefix_opens_files_below_it(server, way):
    store = connect(server, prefix="some/dir")
    files = Files(way, store)
    files.write_all("k", [b"data"])
    assert server.keys() == ["some/dir/k"]
    file = files.reader("k")
    assert (file.name, files.do(file, "read")) == ("k", b"data")
