"""s3ext.open: what it gives does what Python's own files do, and asks for no more than it has to."""

from __future__ import annotations

import csv
import errno
import gc
import gzip
import io
import json
import os
import pickle
import random
import time
import traceback
import warnings
import zipfile
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import s3ext
from s3ext import exceptions
from tests.python.oracle import without_environment
from tests.python.ways import PART, connect
from tests.server import ACCESS_KEY, REGION, SECRET_KEY, Fault, faults

KIB = 1024
LEAST = 128 * KIB
BIG = random.Random(4).randbytes(3 * PART + 4321)
LINES = b"".join(b"line %d %s\n" % (number, b"x" * (number % 97)) for number in range(20_000)) + b"last"
KEYS = f"{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    without_environment(monkeypatch)


@pytest.fixture
def opened(server, monkeypatch):
    """Open a key of the server's bucket by its URL; the environment says where the server is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_REGION", REGION)
    return lambda key, *arguments, **options: s3ext.open(
        f"s3+http://{KEYS}bucket/{key}", *arguments, **options
    )


def ranges(server, key="k"):
    return [request.range() for request in server.find("GET", key)]


def until(condition, seconds=5.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


# ---- against Python's own files ----

TEXT = "".join(
    f"{number}\u00e9\u20ac {'y' * (number * 7 % 31)}{end}"
    for number, end in enumerate(["\n", "\r\n", "\r"] * 20)
)
CONTENT = b"".join(b"%d %s\n" % (number, b"y" * (number * 7 % 41)) for number in range(60)) + bytes(
    range(256)
)
SIZES = st.one_of(st.none(), st.integers(-1, 300), st.just(5000))
OFFSETS = st.integers(-40, 2500)


def outcome(function, *arguments):
    """Call something: what it returns, or which builtin error it raises."""
    try:
        return function(*arguments)
    except (ValueError, OSError) as error:  # UnsupportedOperation is both
        return (
            ValueError
            if isinstance(error, (ValueError, io.UnsupportedOperation)) or error.errno == errno.EINVAL
            else error
        )
    except TypeError:
        return TypeError


class BinaryFile(RuleBasedStateMachine):
    """A file of ours beside one of Python's with the same bytes."""

    def __init__(self, open_ours, path):
        super().__init__()
        self.ours = open_ours()
        self.model = open(path, "rb")  # noqa: PTH123, SIM115 - the very one; closed below

    def teardown(self):
        self.model.close()
        self.ours.close()

    def both(self, method, *arguments):
        ours, model = (outcome(getattr(file, method), *arguments) for file in (self.ours, self.model))
        assert ours == model
        assert type(ours) is type(model)

    @rule(size=SIZES, method=st.sampled_from(["read", "readline", "readlines"]))
    def read(self, method, size):
        self.both(method, size)

    @rule(offset=OFFSETS, whence=st.sampled_from([0, 0, 0, 1, 2, 7]))
    def seek(self, offset, whence):
        self.both("seek", offset, whence)

    @rule(back=st.integers(0, 1500))
    def seek_from_the_end(self, back):
        self.both("seek", -back, os.SEEK_END)

    @rule(size=st.integers(0, 300), method=st.sampled_from(["readinto", "readinto1"]))
    def read_into(self, size, method):
        # How much readinto1 gives is the buffer's business.
        rooms = bytearray(size), bytearray(size)
        counts = [
            outcome(getattr(file, method), room)
            for file, room in zip((self.ours, self.model), rooms, strict=True)
        ]
        if method == "readinto1" and counts[0] != counts[1]:
            assert min(counts) > 0
            least = min(counts)
            assert rooms[0][:least] == rooms[1][:least]
            for file, count in zip((self.ours, self.model), counts, strict=True):
                file.seek(least - count, os.SEEK_CUR)
        else:
            assert counts[0] == counts[1]
            assert rooms[0] == rooms[1]

    @rule(size=st.integers(-1, 300))
    def read1(self, size):
        data = outcome(self.ours.read1, size)
        if isinstance(data, bytes):
            assert size < 0 or len(data) <= size
            assert data == self.model.read(len(data))
            assert data or size == 0 or self.model.read(1) == b""
        else:
            assert data is outcome(self.model.read1, size)

    @rule(size=st.integers(0, 300))
    def peek(self, size):
        at = outcome(self.model.tell)
        ahead = outcome(self.ours.peek, size)
        if isinstance(ahead, bytes):
            assert self.model.read(len(ahead)) == ahead
            assert ahead or self.model.read(1) == b""
            self.model.seek(at)
        else:
            assert ahead is at is ValueError

    @rule()
    def next_line(self):
        assert next(self.ours, None) == next(self.model, None)

    next_line = precondition(lambda self: not self.model.closed)(next_line)

    @rule(
        method=st.sampled_from(["tell", "readable", "writable", "seekable", "isatty", "flush", "__enter__"])
    )
    def ask(self, method):
        ours, model = (outcome(getattr(file, method)) for file in (self.ours, self.model))
        assert (ours == model) or method == "__enter__"

    @rule(method=st.sampled_from(["write", "truncate", "writelines", "readinto"]))
    def what_cannot_be(self, method):
        self.both(method, b"x")

    @rule(closing=st.integers(0, 9))
    def close(self, closing):
        if closing == 0:
            self.both("close")
        assert self.ours.closed == self.model.closed


class TextFile(RuleBasedStateMachine):
    """The same for text; how it is encoded and where its lines end is drawn."""

    def __init__(self, open_ours, path, options):
        super().__init__()
        self.ours = open_ours(options)
        self.model = open(path, "r", **options)  # noqa: PTH123, SIM115, UP015 - the very one; closed below
        self.places = [(0, 0)]

    def teardown(self):
        self.model.close()
        self.ours.close()

    @rule(size=SIZES, method=st.sampled_from(["read", "readline"]))
    def read(self, method, size):
        ours, model = (outcome(getattr(file, method), size) for file in (self.ours, self.model))
        assert ours == model
        if isinstance(ours, str):
            assert self.ours.newlines == self.model.newlines

    @rule()
    def next_line(self):
        assert next(self.ours, None) == next(self.model, None)

    @rule()
    def note(self):
        places = [outcome(file.tell) for file in (self.ours, self.model)]
        if isinstance(places[0], int):
            self.places.append(tuple(places))
        else:
            assert places[0] == places[1] or OSError in map(type, places)

    @rule(number=st.integers(0, 100))
    def go_back(self, number):
        for file, place in zip((self.ours, self.model), self.places[number % len(self.places)], strict=True):
            file.seek(place)


FEW = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("buffering", [-1, 64])
@pytest.mark.parametrize("block_size", [None, 37])
def test_a_binary_file_does_what_pythons_does(server, opened, tmp_path, buffering, block_size):
    server.put("k", CONTENT)
    (tmp_path / "k").write_bytes(CONTENT)
    run_state_machine_as_test(
        lambda: BinaryFile(lambda: opened("k", buffering=buffering, block_size=block_size), tmp_path / "k"),
        settings=FEW,
    )


@pytest.mark.parametrize("newline", [None, "", "\n", "\r\n"])
def test_a_text_file_does_what_pythons_does(server, opened, tmp_path, newline):
    data = TEXT.encode()
    server.put("k", data)
    (tmp_path / "k").write_bytes(data)
    options = {"encoding": "utf-8", "newline": newline}
    run_state_machine_as_test(
        lambda: TextFile(lambda o: opened("k", "r", block_size=41, **o), tmp_path / "k", options),
        settings=FEW,
    )


@settings(parent=FEW)
@given(
    pieces=st.lists(
        st.one_of(st.binary(max_size=99), st.sampled_from([PART - 1, PART, PART + 1]).map(lambda n: BIG[:n])),
        max_size=4,
    ),
    end=st.sampled_from(["close", "close", "raise", "drop"]),
)
def test_what_is_written_is_there_whole_or_not_at_all(server, opened, pieces, end):
    server.put("k", b"before")
    model = io.BytesIO()
    file = opened("k", "wb", block_size=PART)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if end == "drop":
                for piece in pieces:
                    file.write(piece)
                file = None
                gc.collect()
            else:
                with file:
                    for piece in pieces:
                        assert file.write(piece) == model.write(piece)
                        assert file.tell() == model.tell()
                        file.flush()
                        assert server.get("k").data == b"before"
                    if end == "raise":
                        1 / 0  # noqa: B018 - for what it raises
    except ZeroDivisionError:
        pass
    assert server.get("k").data == (model.getvalue() if end == "close" else b"before")
    until(lambda: not server.store.uploads)


# ---- what is asked for ----


def test_opening_asks_for_the_beginning_which_tells_size_and_version(server, opened):
    server.put("k", BIG)
    with opened("k") as file:
        assert file.raw.size == len(BIG)
        assert file.read(10) == BIG[:10]
        assert file.seek(-5, os.SEEK_END) == len(BIG) - 5
    assert [request.method for request in server.requests] == ["GET"]
    assert ranges(server) == [(0, LEAST - 1)]


def test_a_scan_asks_for_twice_as_much_each_time_and_never_for_more_than_that(server, opened, monkeypatch):
    monkeypatch.setattr("s3ext._open.READ_MOST", 16 * LEAST)
    server.put("k", BIG)
    with opened("k") as file:
        assert b"".join(iter(lambda: file.read(1000), b"")) == BIG
    asked = sorted(ranges(server))
    assert [(end - start + 1) // LEAST for start, end in asked[:6]] == [1, 2, 4, 8, 16, 16]
    assert max(end - start + 1 for start, end in asked) == 16 * LEAST
    assert [start for start, _ in asked[1:]] == [end + 1 for _, end in asked[:-1]]
    assert asked[-1][1] == len(BIG) - 1


def test_reading_here_and_there_asks_for_little(server, opened):
    server.put("k", BIG)
    places = random.Random(1).sample(range(1, len(BIG) // LEAST - 1), 20)
    with opened("k") as file:
        for place in places:
            file.seek(place * LEAST + 5)
            assert file.read(100) == BIG[place * LEAST + 5 :][:100]
    assert {end - start + 1 for start, end in ranges(server)} == {LEAST}
    assert len(ranges(server)) == 21


def test_the_size_of_requests_can_be_chosen(server, opened):
    server.put("k", BIG)
    with opened("k", block_size=1000, buffering=0) as file:
        assert file.read(900) == BIG[:900]
        file.seek(50_000)
        assert file.read(10) == BIG[50_000:50_010]
    assert ranges(server) == [(0, 999), (50_000, 50_999)]


def test_all_is_read_in_parallel_parts(server, opened):
    server.put("k", BIG)
    with opened("k", part_size=PART) as file:
        assert file.read(3) == BIG[:3]
        assert file.read() == BIG[3:]
    assert len(ranges(server)) >= 3
    assert max(end - start + 1 for start, end in ranges(server)) <= PART


def test_a_large_read_goes_into_memory_of_the_callers(server, opened):
    server.put("k", BIG)
    array = np.zeros(len(BIG) - 10, dtype=np.uint8)
    with opened("k") as file:
        file.seek(10)
        assert file.readinto(array) == len(array)
    assert bytes(array) == BIG[10:]


def test_one_version_is_read_and_a_replaced_object_is_an_error(server, opened):
    server.put("k", BIG)
    etag = server.get("k").etag
    with opened("k") as file:
        file.seek(5_000_000)
        file.read(10)
        assert [request.header("if-match") for request in server.find("GET", "k")] == ["", etag]
        server.put("k", BIG[::-1])
        file.seek(9_000_000)
        with pytest.raises(exceptions.PreconditionError):
            file.read(10)
        assert file.tell() == 9_000_000


def test_a_version_of_the_url_is_read_and_not_written(server, opened):
    server.create_bucket("versioned", versioned=True)
    store = connect(server, "versioned")
    first = store.put("k", BIG)["version"]
    store.put("k", b"second")
    url = f"s3+http://{KEYS}versioned/k?versionId={first}"
    with s3ext.open(url) as file:
        assert file.read(100) + file.read() == BIG
    assert {request.query["versionId"] for request in server.find("GET", "k")} == {first}
    with store.open("k", version=first) as file:
        assert file.read(5) == BIG[:5]
    with pytest.raises(ValueError, match="a version can only be read; the mode is 'wb'"):
        s3ext.open(url, "wb")
    with pytest.raises(exceptions.NotFoundError):
        s3ext.open(f"s3+http://{KEYS}versioned/k?versionId=00000000")


def test_an_empty_object_is_read(server, opened):
    server.put("k", b"")
    for mode, nothing in (("rb", b""), ("r", "")):
        with opened("k", mode) as file:
            assert (file.read(), file.readline(), file.readlines()) == (nothing, nothing, [])


def test_what_is_not_there_is_an_error_of_opening(opened):
    for mode in ("rb", "r"):
        with pytest.raises(FileNotFoundError) as caught:
            opened("missing", mode)
        assert caught.value.errno == errno.ENOENT


def test_a_read_that_fails_can_be_tried_again(server, opened):
    server.put("k", BIG)
    with opened("k", retry_config={"max_retries": 0}) as file:
        file.seek(1_000_000)
        server.faults.add(Fault(faults.s3_error("AccessDenied"), method="GET", times=1))
        with pytest.raises(PermissionError) as caught:
            file.read(7)
        assert caught.value.errno == errno.EACCES
        assert file.read(7) == BIG[1_000_000:1_000_007]


def test_many_are_opened_over_one_connection(server, opened):
    for number in range(10):
        server.put(f"k{number}", b"data")
    for number in range(10):
        with opened(f"k{number}") as file:
            assert file.read() == b"data"
    assert server.connections_opened == 1


@pytest.mark.parametrize("key", ["a//b", "../x", "/a", "a/", "dir/", "a#b", "50%", "\u00e9 +", "a@b:c"])
def test_a_key_is_taken_to_the_letter(server, opened, key):
    with opened(key, "wb") as file:
        file.write(b"data")
    assert server.keys() == [key]
    with opened(quote(key), "rb") as file:
        assert file.read() == b"data"
        assert file.name == f"s3://bucket/{key}"


# ---- writing ----


def test_less_than_a_part_is_one_request(server, opened):
    with opened("k", "wb") as file:
        assert file.write(b"some ") == 5
        file.writelines([bytearray(b"by"), memoryview(b"tes")])
        assert server.requests == []
    assert server.get("k").data == b"some bytes"
    assert [request.method for request in server.requests] == ["PUT"]
    opened("empty", "wb").close()
    assert server.get("empty").data == b""


def test_more_goes_in_parts_and_appears_at_the_end(server, opened):
    with opened("k", "wb", block_size=PART) as file:
        file.write(BIG)
        until(lambda: len(server.find("PUT", query="partNumber")) == 3)
        assert server.keys() == []
    assert server.get("k").data == BIG
    assert server.store.uploads == {}


@pytest.mark.parametrize(("size", "expected"), [("5", 5), ("1", 5), ("0", 5), ("7", 7), ("", 10), (None, 10)])
def test_htslib_s_variable_is_the_size_of_parts(server, opened, monkeypatch, size, expected):
    if size is not None:
        monkeypatch.setenv("HTS_S3_PART_SIZE", size)
    with opened("k", "wb") as file:
        file.write(bytes(11 * 1024 * KIB))
    sent = [request.body_length for request in server.find("PUT", query="partNumber")]
    assert max(sent) == expected * 1024 * KIB
    assert sum(sent) == 11 * 1024 * KIB


@pytest.mark.parametrize("size", ["x", "-5", "5.5", "5121", "9" * 30])
def test_a_size_of_parts_that_makes_no_sense_is_named(server, opened, monkeypatch, size):
    monkeypatch.setenv("HTS_S3_PART_SIZE", size)
    with pytest.raises(
        exceptions.GenericError, match="HTS_S3_PART_SIZE must be a whole number of MiB, at most 5120"
    ):
        opened("k", "wb")
    with opened("k", "wb", block_size=PART) as file:
        file.write(b"what code says counts")
    assert server.get("k").data == b"what code says counts"


@pytest.mark.parametrize("mode", ["wb", "w"])
@pytest.mark.parametrize("size", [5, 2 * PART])
def test_a_block_that_raises_leaves_nothing_behind(server, opened, mode, size):
    data = "x" * size if mode == "w" else b"x" * size
    with pytest.raises(ZeroDivisionError), opened("k", mode, block_size=PART) as file:  # noqa: PT012 - a block
        file.write(data)
        raise ZeroDivisionError
    # The abort is not only under way.
    assert (server.keys(), server.store.uploads) == ([], {})
    assert file.closed
    with pytest.raises(ValueError, match="closed file"):
        file.write(data)


@pytest.mark.parametrize("mode", ["wb", "w"])
@pytest.mark.parametrize("size", [5, 2 * PART])
def test_a_file_that_is_dropped_makes_no_object(server, opened, mode, size):
    file = opened("k", mode, block_size=PART)
    file.write("x" * size if mode == "w" else b"x" * size)
    if size > PART:
        until(lambda: server.store.uploads)
    with pytest.warns(ResourceWarning, match='"k" was not closed: nothing is written'):  # noqa: PT031 - both drop it
        del file
        gc.collect()
    until(lambda: not server.store.uploads)
    assert server.keys() == []


def test_text_that_cannot_be_encoded_leaves_nothing_behind(server, opened):
    with pytest.raises(UnicodeEncodeError), opened("k", "w", encoding="ascii") as file:  # noqa: PT012 - a block
        file.write("fine\n")
        file.write("\u00e9")
    assert (server.keys(), server.store.uploads) == ([], {})


def test_text_whose_last_piece_cannot_be_sent_leaves_nothing_behind(server, opened):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", times=100))
    file = opened("k", "w", encoding="utf-8", block_size=PART)
    file.write("x" * (2 * PART))
    with pytest.raises(PermissionError):
        file.close()
    assert file.closed
    assert (server.keys(), server.store.uploads) == ([], {})


def test_a_part_that_fails_ends_the_file(server, opened):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", part=1, times=100))
    file = opened("k", "wb", block_size=PART)
    with pytest.raises(PermissionError):  # noqa: PT012 - one of them
        for _ in range(50):
            file.write(BIG)
    assert file.closed
    with pytest.raises(ValueError, match=r"I/O operation on closed file\. It has failed: .*AccessDenied"):
        file.write(b"x")
    file.close()
    assert (server.keys(), server.store.uploads) == ([], {})


@pytest.mark.parametrize("size", [5, 2 * PART])
@pytest.mark.parametrize("mode", ["xb", "x"])
def test_what_exists_is_not_created_again(server, opened, mode, size):
    data = b"y" * size
    with opened("k", mode, block_size=PART) as file:
        file.write(data if mode == "xb" else data.decode())
    assert server.get("k").data == data
    file = opened("k", mode, block_size=PART)
    file.write(b"z" * size if mode == "xb" else "z" * size)
    with pytest.raises(FileExistsError) as caught:
        file.close()
    assert caught.value.errno == errno.EEXIST
    assert file.closed
    assert server.get("k").data == data
    assert server.store.uploads == {}
    # The condition is that of the request which makes the object.
    created = server.find("PUT", query="partNumber") + server.find("POST", query="uploads")
    assert not any(request.header("if-none-match") for request in created)


def test_a_lock_cannot_keep_the_condition_of_a_file(opened):
    with pytest.raises(NotImplementedError, match="conditional_put is a lock"):
        opened("k", "xb", conditional_put="dynamo:table")


def test_a_closed_writer_is_as_pythons(server, opened, tmp_path):
    for mode, data in (("wb", b"data"), ("w", "data")):
        files = opened("k", mode), open(tmp_path / "k", mode)  # noqa: PTH123, SIM115 - the very one
        for file in files:
            assert (file.writable(), file.readable(), file.closed) == (True, False, False)
            assert file.write(data) == 4
            for refused in (file.read, file.readline, lambda file=file: next(file)):
                with pytest.raises(io.UnsupportedOperation):
                    refused()
            file.close()
            file.close()
            assert file.closed
            for method, *arguments in [
                ("write", data),
                ("flush",),
                ("tell",),
                ("writable",),
                ("__enter__",),
                ("seekable",),
            ]:
                with pytest.raises(ValueError, match="closed file"):
                    getattr(file, method)(*arguments)
    assert server.get("k").data == b"data"


def test_an_upload_has_no_place_to_go_back_to(opened):
    with opened("k", "wb") as file:
        assert (file.seekable(), file.mode, file.name) == (False, "wb", "s3://bucket/k")
        for refused in (lambda: file.seek(0), file.truncate, file.detach, file.fileno):
            with pytest.raises(io.UnsupportedOperation):
                refused()
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError, match="buffer of bytes"):
                file.write(wrong)


# ---- modes and options ----


def test_what_is_given_are_files_of_pythons(server, opened):
    server.put("k", b"data")
    assert type(opened("k")) is type(opened("k", "br")) is io.BufferedReader
    for mode in ("r", "rt", "tr"):
        assert type(opened("k", mode)) is io.TextIOWrapper
    assert isinstance(opened("k", buffering=0), io.RawIOBase)
    assert repr(opened("k")) == "<_io.BufferedReader name='s3://bucket/k'>"
    assert repr(opened("k", buffering=0)) == "RawObject('s3://bucket/k', size=4)"
    assert (opened("k").name, opened("k").mode, opened("k").isatty()) == ("s3://bucket/k", "rb", False)
    for mode, cls in (
        ("wb", io.BufferedIOBase),
        ("xb", io.BufferedIOBase),
        ("w", io.TextIOBase),
        ("xt", io.TextIOBase),
    ):
        with opened("new", mode) as file:
            assert isinstance(file, cls)
            file.write(b"" if "b" in mode else "")
        connect(server).delete("new")
    with opened("new", "w", buffering=1, newline="\r\n", encoding="utf-16-le") as file:
        assert file.line_buffering
        file.write("a\n")
    assert server.get("new").data == "a\r\n".encode("utf-16-le")
    for file in (opened("k"), opened("k", buffering=0), opened("k", "r")):
        with pytest.raises(io.UnsupportedOperation):
            file.fileno()


@pytest.mark.parametrize("mode", ["a", "ab", "r+", "rb+", "w+", "+wb", "x+b", "at"])
def test_objects_are_not_changed_in_place(server, opened, mode):
    with pytest.raises(io.UnsupportedOperation, match="not changed"):
        opened("k", mode)
    assert server.requests == []


@pytest.mark.parametrize("mode", ["", "b", "rw", "rr", "rbt", "R", "U", "r ", "wx", "bb"])
def test_a_mode_that_is_none_is_refused_as_by_python(server, opened, tmp_path, mode):
    with pytest.raises(ValueError, match="mode"):
        open(tmp_path / "k", mode)  # noqa: PTH123, SIM115 - the very one
    with pytest.raises(ValueError, match="invalid mode"):
        opened("k", mode)
    assert server.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "rb", "encoding": "utf-8"}, "binary mode has no encoding"),
        ({"mode": "wb", "errors": "ignore"}, "binary mode has no errors"),
        ({"mode": "rb", "newline": ""}, "binary mode has no newline"),
        ({"mode": "r", "newline": "x"}, "illegal newline value"),
        ({"mode": "r", "buffering": 0}, "text cannot be unbuffered"),
        ({"mode": "w", "buffering": 0}, "text cannot be unbuffered"),
        ({"mode": "wb", "buffering": 0}, "an upload goes in parts"),
        ({"mode": "rb", "block_size": 0}, "block_size must be at least 1"),
        ({"mode": "wb", "block_size": 0}, "at least 1"),
    ],
)
def test_arguments_are_checked_before_anything_is_asked(server, opened, options, message):
    with pytest.raises(ValueError, match=message):
        opened("k", **options)
    assert server.requests == []


def test_only_a_str_is_a_mode_and_options_are_those_of_stores(server, opened):
    for wrong in (None, b"rb", 4):
        with pytest.raises(TypeError, match="mode must be a str"):
            opened("k", wrong)
    with pytest.raises(exceptions.UnknownConfigurationKeyError):
        opened("k", regoin="r")
    with pytest.raises(exceptions.InvalidPathError):
        opened("a//b", raw_keys=False)
    assert server.requests == []


def test_a_store_opens_what_is_below_its_prefix(server):
    store = connect(server, prefix="some/dir")
    with store.open("k", "w") as file:
        file.write("data")
    assert server.keys() == ["some/dir/k"]
    with store.open("k", "r") as file:
        assert (file.read(), file.name) == ("data", "s3://bucket/some/dir/k")
    with pytest.raises(exceptions.InvalidPathError):
        store.open("a//b")


def test_a_profile_of_the_url_gives_the_keys(server, monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = other\naws_secret_access_key = other\n"
        f"[my prof]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n",
        encoding="utf-8",
    )
    (tmp_path / "credentials").chmod(0o600)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("HTS_S3_HOST", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("AWS_REGION", REGION)
    # Of the environment's keys neither counts.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    with s3ext.open("s3+http://my%20prof@bucket/k", "wb") as file:
        file.write(b"data")
    for _ in range(3):
        with s3ext.open("s3+http://my prof@bucket/k") as file:
            assert file.read() == b"data"
    assert server.connections_opened == 1


def test_nothing_that_is_opened_shows_a_secret(server, opened, caplog):
    caplog.set_level(0)
    server.put("k", BIG)
    shown = []
    for mode in ("rb", "r", "wb"):
        file = opened("k", mode)
        shown += [
            repr(file),
            str(file.name),
            repr(getattr(file, "raw", file)),
            repr(getattr(file, "buffer", file)),
        ]
        if mode == "wb":
            file.abort()
        for refused in (
            lambda: opened("none"),
            lambda: opened("k", "a"),
            lambda: opened("k", no_such_option=1),
        ):
            with pytest.raises(Exception) as caught:
                refused()
            shown.append("".join(traceback.format_exception(caught.value)))
            shown.append(repr(caught.value))
    with pytest.warns(ResourceWarning) as warned:  # noqa: PT031 - both drop it
        opened("k", "wb").write(b"x")
        gc.collect()
    shown += [str(warning.message) for warning in warned]
    shown.append(caplog.text)
    for text in shown:
        assert SECRET_KEY not in text
        assert quote(SECRET_KEY, safe="") not in text


# ---- Python's modules ----


def test_pythons_modules_take_what_is_opened(server, opened):
    with opened("zip", "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", LINES)
    with opened("zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("one") == LINES
    with opened("gz", "wb") as file, gzip.open(file, "wt", encoding="utf-8") as packed:
        packed.write("a\u00e9\n" * 1000)
    with opened("gz") as file, gzip.open(file, "rt", encoding="utf-8") as unpacked:
        assert unpacked.read() == "a\u00e9\n" * 1000
    value = {"a": [1, "\u00e9"]}
    with opened("json", "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
    for mode in ("rb", "r"):
        with opened("json", mode, **({"encoding": "utf-8"} if mode == "r" else {})) as file:
            assert json.load(file) == value
    with opened("pickle", "wb") as file:
        pickle.dump(value, file)
    with opened("pickle") as file:
        assert pickle.load(file) == value
    with opened("csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "b,c"], ["\u00e9", "2"]])
    with opened("csv", "r", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b,c"], ["\u00e9", "2"]]
    with opened("lines", "wb") as file:
        file.write(LINES)
    with opened("lines") as file:
        assert list(file) == LINES.splitlines(keepends=True)
    with opened("npy", "wb") as file:
        np.save(file, np.arange(1000))
    with opened("npy") as file:
        assert (np.load(file) == np.arange(1000)).all()


def test_what_is_opened_is_put_as_another_object(server, opened):
    server.put("from", BIG)
    with opened("from") as file:
        file.seek(10)
        connect(server).put("to", file)
    assert server.get("to").data == BIG[10:]


def test_buffers_of_odd_sizes_are_as_python_has_them(opened, server, tmp_path):
    """Any negative size is the default; lines are no matter of binary files, which is a warning."""
    server.put("k", b"data")
    path = tmp_path / "k"
    path.write_bytes(b"data")
    for open_it in (lambda **more: opened("k", "rb", **more), lambda **more: path.open("rb", **more)):
        with open_it(buffering=-5) as file:
            assert file.read() == b"data"
        with pytest.warns(RuntimeWarning, match="line buffering"), open_it(buffering=1) as file:
            assert file.read() == b"data"


def test_an_unbuffered_file_is_read_whole_and_not_pickled(opened, server):
    server.put("k", b"data")
    with opened("k", buffering=0) as file:
        assert (file.read(1), file.read(None), file.read(), file.read(0)) == (b"d", b"ata", b"", b"")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="cannot pickle a RawObject, an open file"):
                pickle.dumps(file, protocol)
