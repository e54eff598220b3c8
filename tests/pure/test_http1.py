"""pure/http1: answers cut at every byte, compared with h11, hostile ones by their outcome; written heads."""

from __future__ import annotations

from typing import NamedTuple

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pure.fuzzing import search
from tests.pure.guard import Guard
from tests.pure.native import BASE_CDEF, Native, load

SOURCES = ["pure/http1.c", "pure/http.c"]

ffi, lib = load(
    "http1",
    SOURCES,
    BASE_CDEF
    + """
    bool s3i_http1_write_head(struct s3_buf *out, struct s3_str method, struct s3_str target,
                              const char *const *headers, size_t header_count, bool has_body,
                              uint64_t content_length);
    enum s3_http1_kind {
        S3I_HTTP1_NEED_MORE, S3I_HTTP1_LINE, S3I_HTTP1_BODY, S3I_HTTP1_DONE, S3I_HTTP1_FAILED
    };
    struct s3_http1_event { enum s3_http1_kind kind; struct s3_str data; const char *reason; };
    struct s3_http1 { int status; bool keep_alive; ...; };
    void s3i_http1_begin(struct s3_http1 *parser, bool head_request);
    size_t s3i_http1_feed(struct s3_http1 *parser, struct s3_str data, struct s3_http1_event *event);
    uint64_t s3i_http1_direct(const struct s3_http1 *parser);
    void s3i_http1_took(struct s3_http1 *parser, uint64_t size);
    bool s3i_http1_eof(struct s3_http1 *parser, struct s3_http1_event *event);
    """,
)
native = Native(ffi, lib)

NEED_MORE, LINE, BODY, DONE, FAILED = range(5)
UNTIL_CLOSE = (1 << 64) - 1
LINE_MAX, HEAD_MAX, CHUNK_LINE_MAX = 100 << 10, 256 << 10, 1 << 10
GUARD = Guard(1 << 19)

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For examples that take long to make, longer on a busy machine."""


class Answer(NamedTuple):
    """All that the parser says of some bytes."""

    lines: list[bytes]
    body: bytes
    reason: str | None
    keep_alive: bool
    rest: bytes
    """The bytes that were not consumed."""


class Reader:
    """The parser as a connection uses it: a buffer at the front of which unconsumed bytes stay."""

    def __init__(self, head_request=False):
        self.raw = ffi.new("struct s3_http1 *")
        self.event = ffi.new("struct s3_http1_event *")
        self.lines, self.bodies = [], []
        self.buffer = b""
        lib.s3i_http1_begin(self.raw, head_request)

    def step(self):
        """Feed the buffer once, at the end of readable memory; return the kind of event."""
        start = GUARD.place(self.buffer)
        used = lib.s3i_http1_feed(self.raw, (ffi.cast("const char *", start), len(self.buffer)), self.event)
        kind, data = self.event.kind, self.event.data
        assert used <= len(self.buffer)
        assert (self.event.reason != ffi.NULL) == (kind == FAILED)
        assert (data.data != ffi.NULL) == (kind in {LINE, BODY})
        if kind in {LINE, BODY}:
            # The span ends where the consumed bytes do: nothing of the message is skipped or given twice.
            end = int(ffi.cast("uintptr_t", data.data)) + data.size
            assert data.size > 0
            assert end == start + used
            (self.lines if kind == LINE else self.bodies).append(ffi.buffer(data.data, data.size)[:])
        self.buffer = self.buffer[used:]
        return kind

    def receive(self, data, direct=False):
        """Take bytes that have arrived, the body's past the parser if `direct`; return the kind of event."""
        while data:
            past = lib.s3i_http1_direct(self.raw) if direct and not self.buffer else 0
            if past:
                taken, data = data[:past], data[past:]
                self.bodies.append(taken)
                lib.s3i_http1_took(self.raw, len(taken))
            else:
                self.buffer, data = self.buffer + data, b""
            while (kind := self.step()) in {LINE, BODY}:
                pass
            if kind != NEED_MORE:
                self.buffer += data
                return kind
        return NEED_MORE

    def close(self):
        """Let the peer close; return the kind of event."""
        done = lib.s3i_http1_eof(self.raw, self.event)
        assert done == (self.event.kind == DONE)
        assert self.event.kind in {DONE, FAILED}
        return self.event.kind

    def answer(self):
        reason = ffi.string(self.event.reason).decode() if self.event.reason else None
        return Answer(self.lines, b"".join(self.bodies), reason, self.raw.keep_alive, self.buffer)


def read(data, head_request=False, cuts=(), direct=False):
    """Return the Answer of bytes that arrive cut at these offsets, and then the end of the connection."""
    reader = Reader(head_request)
    kind, at = NEED_MORE, 0
    for cut in (*sorted(cuts), len(data)):
        kind = reader.receive(data[at:cut], direct)
        at = cut
        if kind != NEED_MORE:
            reader.buffer += data[at:]
            break
    if kind == NEED_MORE:
        kind = reader.close()
    final = reader.answer()
    # The end is final, and consumes nothing.
    assert reader.step() == kind
    assert reader.answer() == final
    assert lib.s3i_http1_direct(reader.raw) == 0
    return final


def head(*lines):
    return b"".join(line + b"\r\n" for line in (*lines, b""))


OK = b"HTTP/1.1 200 OK"
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b'5\r\nhello\r\n6;name="a;b"\r\n world\r\n0\r\n\r\n'

VALID = {
    # name: (bytes, whether they answer a HEAD, body, keep_alive)
    "length": (head(OK, b"Content-Length: 5", b'ETag: "1"') + b"hello", False, b"hello", True),
    "length zero": (head(OK, b"Content-Length: 0"), False, b"", True),
    "length in another case": (head(OK, b"content-LENGTH:5") + b"hello", False, b"hello", True),
    "length padded": (head(OK, b"Content-Length: \t 0005 \t") + b"hello", False, b"hello", True),
    "lengths that are equal": (
        head(OK, b"Content-Length: 5", b"Content-Length: 5, 05") + b"hello", False, b"hello", True,
    ),
    "chunked": (head(OK, CHUNKED) + CHUNKS, False, b"hello world", True),
    "chunked in another case": (
        head(OK, b"transfer-encoding:\tCHUNKED ") + CHUNKS, False, b"hello world", True,
    ),
    "chunks of one byte": (head(OK, CHUNKED) + b"1\r\na\r\n01\r\nb\r\n000\r\n\r\n", False, b"ab", True),
    "chunks with upper and lower digits": (
        head(OK, CHUNKED) + b"0a \r\n0123456789\r\nA\t;x\r\nabcdefghij\r\n0;x=y\r\n\r\n",
        False, b"0123456789abcdefghij", True,
    ),
    "chunked and empty": (head(OK, CHUNKED) + b"0\r\n\r\n", False, b"", True),
    "trailers": (
        head(OK, CHUNKED) + b"1\r\na\r\n0\r\nx-amz-checksum: 1\r\n folded\r\nContent-Length: x\r\n\r\n",
        False, b"a", True,
    ),
    "chunked with bare LF": (
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\nTrailer: x\n\n", False, b"hello", True,
    ),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", False, b"hello", True),
    "until close": (head(OK, b"Server: x") + b"hello\r\n\r\n", False, b"hello\r\n\r\n", False),
    "until close and empty": (head(OK), False, b"", False),
    "close": (head(OK, b"Content-Length: 1", b"Connection: close") + b"a", False, b"a", False),
    "close among others": (
        head(OK, b"Content-Length: 1", b"CONNECTION: , x,\tClose ,keep-alive") + b"a", False, b"a", False,
    ),
    "close twice said": (
        head(OK, b"Connection: keep-alive", b"Connection: close", b"Content-Length: 0"), False, b"", False,
    ),
    "closely named": (
        head(OK, b"Content-Length: 0", b'Connection: closed, x-close, "close"'), False, b"", True,
    ),
    "HTTP/1.0": (head(b"HTTP/1.0 200 OK", b"Content-Length: 1") + b"a", False, b"a", False),
    "HTTP/1.0 kept alive": (
        head(b"HTTP/1.0 200 OK", b"Content-Length: 1", b"Connection: Keep-Alive") + b"a", False, b"a", True,
    ),
    "HTTP/1.0 and chunked": (
        head(b"HTTP/1.0 200 OK", CHUNKED, b"Connection: keep-alive") + CHUNKS, False, b"hello world", False,
    ),
    "chunked before length": (
        head(OK, CHUNKED, b"Content-Length: 3") + CHUNKS, False, b"hello world", False,
    ),
    "length before chunked": (
        head(OK, b"Content-Length: 3", CHUNKED) + CHUNKS, False, b"hello world", False,
    ),
    "HEAD": (head(OK, b"Content-Length: 5"), True, b"", True),
    "HEAD chunked": (head(OK, CHUNKED), True, b"", True),
    "HEAD without length": (head(OK), True, b"", True),
    "HEAD closed": (head(OK, b"Connection: close"), True, b"", False),
    "204": (head(b"HTTP/1.1 204 No Content"), False, b"", True),
    "204 with length zero": (head(b"HTTP/1.1 204 No Content", b"Content-Length: 0"), False, b"", True),
    "204 with a length": (head(b"HTTP/1.1 204 No Content", b"Content-Length: 5"), False, b"", False),
    "204 chunked": (head(b"HTTP/1.1 204 No Content", CHUNKED), False, b"", False),
    "304 with a length": (head(b"HTTP/1.1 304 Not Modified", b"Content-Length: 5"), False, b"", True),
    "100 first": (head(b"HTTP/1.1 100 Continue") + head(OK, b"Content-Length: 1") + b"a", False, b"a", True),
    "1xx that speak of bodies and closing": (
        head(b"HTTP/1.1 103 Early Hints", b"Content-Length: 9", b"Connection: close")
        + head(b"HTTP/1.1 102 Processing", CHUNKED)
        + head(OK, b"Content-Length: 1") + b"a",
        False, b"a", True,
    ),
    "1xx with a length before a 204": (
        head(b"HTTP/1.1 103 Early Hints", b"Content-Length: 9") + head(b"HTTP/1.1 204 No Content"),
        False, b"", True,
    ),
    "no reason": (head(b"HTTP/1.1 200", b"Content-Length: 0"), False, b"", True),
    "empty reason": (head(b"HTTP/1.1 200 ", b"Content-Length: 0"), False, b"", True),
    "bytes above ASCII": (
        head(b"HTTP/1.1 200 \xc3\xbc", b"x-amz-meta-\xc3\xbc: \xff\x01", b"Content-Length: 0"),
        False, b"", True,
    ),
    "continued": (head(OK, b"x-a: 1", b"  2", b"\t3", b"Content-Length: 0"), False, b"", True),
}  # fmt: skip


def expected_lines(data):
    """The lines of all heads and trailers of a valid sample, by a reading that knows the samples' shapes."""
    first, _, rest = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = [line + b"\n" for line in (*first.split(b"\n"), b"")]
    if b" 10" in lines[0]:
        lines += expected_lines(rest)
    elif b"chunked" in first.lower() and b"\n0\n" in b"\n" + rest:
        trailers = (b"\n" + rest).partition(b"\n0\n")[2]
        lines += [line + b"\n" for line in trailers.split(b"\n") if line]
    return lines


@pytest.mark.parametrize(("data", "head_request", "body", "keep_alive"), VALID.values(), ids=VALID)
def test_a_valid_answer_gives_its_lines_its_body_and_whether_the_connection_goes_on(
    data, head_request, body, keep_alive
):
    found = read(data, head_request)
    assert found[1:] == (body, None, keep_alive, b"")
    assert [line.replace(b"\r\n", b"\n") for line in found.lines] == expected_lines(data)
    assert b"".join(found.lines) in data or b"chunked" in data.lower()


ENDED = {name: sample[:2] for name, sample in VALID.items() if not name.startswith("until close")}


@pytest.mark.parametrize(("data", "head_request"), ENDED.values(), ids=ENDED)
def test_bytes_after_a_complete_answer_are_left(data, head_request):
    for more in (b"\r\n", b"rubbish", head(OK)):
        assert read(data + more, head_request) == read(data, head_request)._replace(rest=more)


LENGTH = "the answer's Content-Length is no length"
LENGTHS = "the answer has two different Content-Lengths"
CODING = "the answer has a Transfer-Encoding other than chunked"
HEADER = "the answer has a malformed header"
CONTROL = "a line of the answer has a NUL or a bare CR"
FOLD = "the answer continues a line that may not be continued"
STATUS = "the answer's status line is malformed"
NOT_HTTP = "the answer is not HTTP/1.x"
CHUNK = "a chunk of the answer has no valid size"
OVERLONG = "a chunk of the answer is longer than its size"
LONG_LINE = "a line of the answer is too long"
LARGE = "the headers of the answer are too large"
SWITCHED = "the server switched protocols, which nobody asked for"
NOTHING = "the connection was closed before an answer"
IN_HEAD = "the connection was closed within the answer's head"
IN_BODY = "the connection was closed within the answer's body"
IN_TRAILERS = "the connection was closed within the answer's trailers"


def lengths(*values):
    return head(OK, *(b"Content-Length: " + value for value in values)) + b"hello"


def codings(*values):
    return head(OK, *(b"Transfer-Encoding: " + value for value in values)) + CHUNKS


def chunked(data):
    return head(OK, CHUNKED) + data


HOSTILE = {
    # name: (bytes, reason, body bytes given before it failed)
    "length: negative": (lengths(b"-5"), LENGTH, b""),
    "length: plus sign": (lengths(b"+5"), LENGTH, b""),
    "length: hex": (lengths(b"0x5"), LENGTH, b""),
    "length: hex digits": (lengths(b"a"), LENGTH, b""),
    "length: octal-like underscore": (lengths(b"1_0"), LENGTH, b""),
    "length: fraction": (lengths(b"5.0"), LENGTH, b""),
    "length: exponent": (lengths(b"5e0"), LENGTH, b""),
    "length: empty": (lengths(b""), LENGTH, b""),
    "length: white space within": (lengths(b"5 5"), LENGTH, b""),
    "length: rubbish behind": (lengths(b"5 x"), LENGTH, b""),
    "length: other digits": (lengths("\u0665".encode()), LENGTH, b""),
    "length: quoted": (lengths(b'"5"'), LENGTH, b""),
    "length: vertical tab": (lengths(b"\x0b5"), HEADER, b""),
    "length: no-break space": (lengths(b"\xa05"), LENGTH, b""),
    "length: over 63 bits": (lengths(b"9223372036854775808"), LENGTH, b""),
    "length: over 64 bits": (lengths(b"18446744073709551621"), LENGTH, b""),
    "length: different ones": (lengths(b"5", b"6"), LENGTHS, b""),
    "length: different ones, the second empty": (lengths(b"5", b""), LENGTH, b""),
    "length: different ones in a list": (lengths(b"5, 6"), LENGTHS, b""),
    "length: list ending in a comma": (lengths(b"5,"), LENGTH, b""),
    "length: list beginning with a comma": (lengths(b", 5"), LENGTH, b""),
    "length: different in an answer to chunked": (codings(b"chunked\r\nContent-Length: x"), LENGTH, b""),
    "length: space before the colon": (head(OK, b"Content-Length : 5") + b"hello", HEADER, b""),
    "length: tab before the colon": (head(OK, b"Content-Length\t: 5") + b"hello", HEADER, b""),
    "length: control before the colon": (head(OK, b"Content-Length\x0b: 5") + b"hello", HEADER, b""),
    "length: on a continued line": (head(OK, b"Content-Length:", b" 5") + b"hello", LENGTH, b""),
    "length: longer by a continued line": (head(OK, b"Content-Length: 5", b" 0") + b"hello", FOLD, b""),
    "length: hidden after a bare CR": (head(OK, b"x: y\rContent-Length: 5") + b"hello", CONTROL, b""),
    "length: hidden after a NUL": (head(OK, b"x: y\0Content-Length: 5") + b"hello", CONTROL, b""),
    "length: NUL in the value": (lengths(b"5\x00"), CONTROL, b""),
    "length: too short a body": (lengths(b"6"), IN_BODY, b"hello"),
    "length: no body": (head(OK, b"Content-Length: 6"), IN_BODY, b""),
    "length: huge": (lengths(b"9223372036854775807"), IN_BODY, b"hello"),
    "coding: another": (codings(b"gzip"), CODING, b""),
    "coding: identity": (codings(b"identity"), CODING, b""),
    "coding: empty": (codings(b""), CODING, b""),
    "coding: another, then chunked": (codings(b"gzip, chunked"), CODING, b""),
    "coding: chunked, then another": (codings(b"chunked, gzip"), CODING, b""),
    "coding: chunked, then another on its line": (codings(b"chunked", b"identity"), CODING, b""),
    "coding: chunked twice": (codings(b"chunked, chunked"), CODING, b""),
    "coding: chunked on two lines": (codings(b"chunked", b"chunked"), CODING, b""),
    "coding: quoted": (codings(b'"chunked"'), CODING, b""),
    "coding: with a parameter": (codings(b"chunked;q=1"), CODING, b""),
    "coding: with a longer name": (codings(b"xchunked"), CODING, b""),
    "coding: cut by a NUL": (codings(b"chunked\0"), CONTROL, b""),
    "coding: behind a vertical tab": (codings(b"\x0bchunked"), HEADER, b""),
    "coding: space before the colon": (head(OK, b"Transfer-Encoding : chunked") + CHUNKS, HEADER, b""),
    "coding: on a continued line": (head(OK, b"Transfer-Encoding:", b" chunked") + CHUNKS, CODING, b""),
    "coding: continued": (head(OK, CHUNKED, b" , gzip") + CHUNKS, FOLD, b""),
    "chunk: empty size": (chunked(b"\r\nhello"), CHUNK, b""),
    "chunk: only an extension": (chunked(b";x\r\nhello"), CHUNK, b""),
    "chunk: negative": (chunked(b"-1\r\n"), CHUNK, b""),
    "chunk: plus sign": (chunked(b"+1\r\na\r\n"), CHUNK, b""),
    "chunk: prefix 0x": (chunked(b"0x1\r\na\r\n0\r\n\r\n"), CHUNK, b""),
    "chunk: underscore": (chunked(b"1_0\r\n"), CHUNK, b""),
    "chunk: space before": (chunked(b" 1\r\na\r\n"), CHUNK, b""),
    "chunk: space within": (chunked(b"1 0\r\n"), CHUNK, b""),
    "chunk: rubbish behind": (chunked(b"1g\r\na\r\n"), CHUNK, b""),
    "chunk: comma": (chunked(b"1,1\r\na\r\n"), CHUNK, b""),
    "chunk: over 63 bits": (chunked(b"8000000000000000\r\n"), CHUNK, b""),
    "chunk: 17 digits": (chunked(b"00000000000000001\r\na\r\n"), CHUNK, b""),
    "chunk: wraps to a small one": (chunked(b"10000000000000005\r\nhello\r\n"), CHUNK, b""),
    "chunk: bare CR behind the size": (chunked(b"1\ra\r\n0\r\n\r\n"), CONTROL, b""),
    "chunk: bare CR in an extension": (chunked(b"1;a\rb\r\na\r\n"), CONTROL, b""),
    "chunk: NUL in an extension": (chunked(b"1;\0\r\na\r\n"), CONTROL, b""),
    "chunk: extension without end": (chunked(b"1;" + b"x" * CHUNK_LINE_MAX), LONG_LINE, b""),
    "chunk: data too long": (chunked(b"1\r\nab\r\n0\r\n\r\n"), OVERLONG, b"a"),
    "chunk: data too short": (chunked(b"5\r\nhi\r\n0\r\n\r\n"), CHUNK, b"hi\r\n0"),
    "chunk: data without an end": (chunked(b"1\r\na0\r\n\r\n"), OVERLONG, b"a"),
    "chunk: data ends with a bare CR": (chunked(b"1\r\na\r0\r\n\r\n"), OVERLONG, b"a"),
    "chunk: data ends with two CR": (chunked(b"1\r\na\r\r\n0\r\n\r\n"), OVERLONG, b"a"),
    "chunk: closed before any": (chunked(b""), IN_BODY, b""),
    "chunk: closed within a size": (chunked(b"5"), IN_BODY, b""),
    "chunk: closed within its data": (chunked(b"5\r\nhel"), IN_BODY, b"hel"),
    "chunk: closed behind its data": (chunked(b"5\r\nhello\r"), IN_BODY, b"hello"),
    "chunk: closed without the last": (chunked(b"5\r\nhello\r\n"), IN_BODY, b"hello"),
    "chunk: closed behind the last size": (chunked(b"1\r\na\r\n0\r\n"), IN_TRAILERS, b"a"),
    "chunk: closed within the last line": (chunked(b"1\r\na\r\n0\r\n\r"), IN_TRAILERS, b"a"),
    "trailers: closed within": (chunked(b"1\r\na\r\n0\r\nx: y\r\n"), IN_TRAILERS, b"a"),
    "trailers: no colon": (chunked(b"0\r\nrubbish\r\n\r\n"), HEADER, b""),
    "trailers: the next answer's head": (chunked(b"0\r\nHTTP/1.1 200 OK\r\n\r\n"), HEADER, b""),
    "trailers: begin with a continued line": (head(OK, CHUNKED, b"x: y") + b"0\r\n z\r\n\r\n", FOLD, b""),
    "trailers: NUL": (chunked(b"0\r\nx: \0\r\n\r\n"), CONTROL, b""),
    "trailers: without end": (chunked(b"0\r\n" + b"x: y\r\n" * (HEAD_MAX // 6)), LARGE, b""),
    "head: empty": (b"", NOTHING, b""),
    "head: cut in the version": (b"HTTP/1", NOTHING, b""),
    "head: cut in the status line": (b"HTTP/1.1 200 OK\r", NOTHING, b""),
    "head: cut behind the status line": (b"HTTP/1.1 200 OK\r\n", IN_HEAD, b""),
    "head: cut before its last byte": (head(OK, b"Content-Length: 0")[:-1], IN_HEAD, b""),
    "head: cut behind 1xx": (head(b"HTTP/1.1 100 Continue"), NOTHING, b""),
    "head: HTTP/0.9": (b"<html>hello</html>", NOT_HTTP, b""),
    "head: another protocol": (b"SSH-2.0-x\r\n", NOT_HTTP, b""),
    "head: TLS alert": (b"\x15\x03\x01\x00\x02\x02\x16", NOT_HTTP, b""),
    "head: HTTP/2": (b"HTTP/2 200\r\n\r\n", NOT_HTTP, b""),
    "head: HTTP/2.0": (b"HTTP/2.0 200 OK\r\n\r\n", NOT_HTTP, b""),
    "head: HTTP/1": (b"HTTP/1 200 OK\r\n\r\n", NOT_HTTP, b""),
    "head: HTTP/1.": (b"HTTP/1.\r\n\r\n", STATUS, b""),
    "head: HTTP/1. at its end": (b"HTTP/1.\n", STATUS, b""),
    "head: HTTP/1.2": (b"HTTP/1.2 200 OK\r\n\r\n", STATUS, b""),
    "head: HTTP/1.10": (b"HTTP/1.10 200 OK\r\n\r\n", STATUS, b""),
    "head: HTTP/1.01": (b"HTTP/1.01 200 OK\r\n\r\n", STATUS, b""),
    "head: lower case": (b"http/1.1 200 OK\r\n\r\n", NOT_HTTP, b""),
    "head: empty line first": (b"\r\n" + head(OK, b"Content-Length: 0"), NOT_HTTP, b""),
    "head: space first": (b" " + head(OK, b"Content-Length: 0"), NOT_HTTP, b""),
    "head: no status": (b"HTTP/1.1 OK\r\n\r\n", STATUS, b""),
    "head: two digits": (b"HTTP/1.1 20 OK\r\n\r\n", STATUS, b""),
    "head: four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", STATUS, b""),
    "head: status 099": (b"HTTP/1.1 099 OK\r\n\r\n", STATUS, b""),
    "head: negative status": (b"HTTP/1.1 -20 OK\r\n\r\n", STATUS, b""),
    "head: two spaces": (b"HTTP/1.1  200 OK\r\n\r\n", STATUS, b""),
    "head: tab": (b"HTTP/1.1\t200 OK\r\n\r\n", STATUS, b""),
    "head: reason without space": (b"HTTP/1.1 200OK\r\n\r\n", STATUS, b""),
    "head: NUL in the reason": (b"HTTP/1.1 200 O\0K\r\n\r\n", CONTROL, b""),
    "head: bare CR in the reason": (b"HTTP/1.1 200 O\rK\r\n\r\n", CONTROL, b""),
    "head: bare CR behind the status line": (b"HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n", CONTROL, b""),
    "head: CR CR LF": (b"HTTP/1.1 200 OK\r\r\n\r\n", CONTROL, b""),
    "head: CR CR LF for the empty line": (b"HTTP/1.1 200 OK\r\n\r\r\n", CONTROL, b""),
    "head: 101": (head(b"HTTP/1.1 101 Switching Protocols", b"Upgrade: x"), SWITCHED, b""),
    "head: body behind 1xx": (
        head(b"HTTP/1.1 100 C", b"Content-Length: 5") + b"hello" + head(OK),
        NOT_HTTP,
        b"",
    ),
    "header: no colon": (head(OK, b"rubbish"), HEADER, b""),
    "header: no name": (head(OK, b": value"), HEADER, b""),
    "header: white space in the name": (head(OK, b"a b: c"), HEADER, b""),
    "header: another status line": (head(OK, OK), HEADER, b""),
    "header: continues the status line": (head(OK, b" x: y"), FOLD, b""),
    "header: continues Connection": (head(OK, b"Connection: close", b"\t, keep-alive"), FOLD, b""),
    "header: control in Connection": (head(OK, b"Connection: close\x01"), HEADER, b""),
    "header: a line without end": (head(OK)[:-2] + b"x: " + b"y" * LINE_MAX, LONG_LINE, b""),
    "header: many": (head(OK, *[b"x: y"] * (HEAD_MAX // 6 + 1)), LARGE, b""),
    "header: 1xx without end": (head(b"HTTP/1.1 102 Processing") * (HEAD_MAX // 27 + 1), LARGE, b""),
}


@pytest.mark.parametrize(("data", "reason", "body"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_fails_with_what_is_wrong_and_ends_its_connection(data, reason, body):
    found = read(data)
    assert (found.reason, found.body, found.keep_alive) == (reason, body, False)


SAMPLES = {
    **{name: (sample[0], sample[1]) for name, sample in VALID.items()},
    **{name: (sample[0], False) for name, sample in HOSTILE.items() if len(sample[0]) < 1000},
}


@pytest.mark.parametrize(("data", "head_request"), SAMPLES.values(), ids=SAMPLES)
def test_an_answer_is_the_same_wherever_it_is_cut_and_whether_its_body_passes_the_parser(data, head_request):
    whole = read(data, head_request)
    assert read(data, head_request, direct=True) == whole
    assert read(data, head_request, range(len(data))) == whole
    assert read(data, head_request, range(len(data)), direct=True) == whole
    for cut in range(1, len(data)):
        assert read(data, head_request, [cut]) == whole
        assert read(data, head_request, [cut], direct=True) == whole


def test_a_peer_of_another_protocol_is_known_by_its_first_wrong_byte():
    for size in range(len(b"HTTP/1.")):
        reader = Reader()
        assert reader.receive(b"HTTP/1."[:size]) == NEED_MORE
        assert reader.receive(b"x") == FAILED
        assert reader.answer().reason == NOT_HTTP


def test_an_incomplete_line_is_left_to_the_caller():
    reader = Reader()
    assert reader.receive(b"HTTP/1.1 200 OK\r\nContent-Le") == NEED_MORE
    assert (reader.lines, reader.buffer) == ([b"HTTP/1.1 200 OK\r\n"], b"Content-Le")
    assert reader.receive(b"ngth: 2\r\n\r\nh") == NEED_MORE
    assert (reader.lines[1:], reader.buffer) == ([b"Content-Length: 2\r\n", b"\r\n"], b"")
    assert reader.raw.status == 200


def test_the_end_needs_no_further_byte():
    reader = Reader()
    reader.receive(head(OK, b"Content-Length: 2"))
    assert lib.s3i_http1_direct(reader.raw) == 2
    lib.s3i_http1_took(reader.raw, 2)
    reader.buffer = b""
    assert reader.step() == DONE
    assert lib.s3i_http1_feed(reader.raw, (ffi.NULL, 0), reader.event) == 0
    assert reader.event.kind == DONE
    assert reader.raw.keep_alive


def test_no_bytes_say_nothing_in_any_state():
    for data, _head_request in SAMPLES.values():
        reader = Reader()
        for byte in data:
            if reader.receive(bytes([byte])) != NEED_MORE:
                break
            lib.s3i_http1_feed(reader.raw, (ffi.NULL, 0), reader.event)
            if reader.event.kind == DONE:
                break
            assert reader.event.kind == NEED_MORE


def test_a_server_that_closes_after_a_complete_answer_ends_only_the_connection():
    reader = Reader()
    assert reader.receive(head(OK, b"Content-Length: 0")) == DONE
    assert reader.raw.keep_alive
    assert reader.close() == DONE
    assert not reader.raw.keep_alive


@pytest.mark.parametrize(
    ("data", "direct"),
    [
        (b"HTTP/1.1 200 OK\r\n", 0),
        (head(OK), UNTIL_CLOSE),
        (head(OK) + b"hello", UNTIL_CLOSE),
        (head(OK, b"Content-Length: 5"), 5),
        (head(OK, b"Content-Length: 5") + b"he", 3),
        (head(OK, b"Content-Length: 5") + b"hello", 0),
        (head(OK, b"Content-Length: 9223372036854775807"), (1 << 63) - 1),
        (head(OK, CHUNKED), 0),
        (head(OK, CHUNKED) + b"5", 0),
        (head(OK, CHUNKED) + b"5\r\n", 5),
        (head(OK, CHUNKED) + b"5\r\nhel", 2),
        (head(OK, CHUNKED) + b"5\r\nhello", 0),
        (head(OK, CHUNKED) + b"5\r\nhello\r\n7fffffffffffffff;x\r\n", (1 << 63) - 1),
        (head(OK, CHUNKED) + b"5\r\nhello\r\n0\r\n", 0),
    ],
)
def test_how_much_may_be_received_past_the_parser(data, direct):
    reader = Reader()
    reader.receive(data)
    assert lib.s3i_http1_direct(reader.raw) == direct


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_the_limits_are_exact(ending):
    def line(size):
        return b"x: " + b"y" * (size - 3 - len(ending)) + ending

    def answer(*lines):
        return OK + ending + b"".join(lines) + ending

    assert read(answer(line(LINE_MAX))).reason is None
    assert read(answer(line(LINE_MAX + 1))).reason == LONG_LINE
    room = HEAD_MAX - len(answer()) - 2 * LINE_MAX
    assert read(answer(*[line(LINE_MAX)] * 2, line(room))).reason is None
    assert read(answer(*[line(LINE_MAX)] * 2, line(room + 1))).reason == LARGE
    extension = b"1;" + b"x" * (CHUNK_LINE_MAX - 2 - len(ending))
    assert read(chunked(extension + ending + b"a\n0\n\n")).reason is None
    assert read(chunked(extension + b"x" + ending + b"a\n0\n\n")).reason == LONG_LINE


def test_any_number_of_chunks_is_read():
    data = chunked(b"1;ext=" + b"x" * 100 + b"\r\na\r\n") + (b"1;ext=" + b"x" * 100 + b"\r\na\r\n") * 1500
    assert read(data + b"0\r\n\r\n", cuts=range(0, len(data), 60_000)).body == b"a" * 1501


# ---- against h11 ----


class Message(NamedTuple):
    """What an answer says, in terms that both parsers have."""

    heads: list[tuple[int, list[tuple[bytes, bytes]]]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]
    keep_alive: bool
    rest: bytes


def by_h11(data, head_request, closed):
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 17)
    client.send(h11.Request(method="HEAD" if head_request else "GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    if closed:
        client.receive_data(b"")
    heads, body = [], b""
    while True:
        event = client.next_event()
        match event:
            case h11.InformationalResponse() | h11.Response():
                heads.append((event.status_code, list(event.headers)))
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                trailers = list(event.headers)
                break
            case _:
                raise AssertionError(event)
    return Message(
        heads, body, trailers, client.their_state is h11.DONE and not closed, client.trailing_data[0]
    )


def pairs(lines):
    split = (line.rstrip(b"\r\n").partition(b":") for line in lines)
    return [(name.lower(), value.strip(b" \t")) for name, _, value in split]


def by_us(data, head_request, cuts, direct):
    found = read(data, head_request, cuts, direct)
    assert found.reason is None
    heads, lines = [], found.lines
    while lines and lines[0].startswith(b"HTTP/"):
        end = next(at for at, line in enumerate(lines) if line in {b"\r\n", b"\n"})
        heads.append((int(lines[0][9:12]), pairs(lines[1:end])))
        lines = lines[end + 1 :]
    return Message(heads, found.body, pairs(lines), found.keep_alive, found.rest)


names = st.from_regex(rb"[xX]-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
values = st.from_regex(rb"([!-~\x80-\xff]([!-~\x80-\xff \t]{0,20}[!-~\x80-\xff])?)?", fullmatch=True)
spaces = st.sampled_from([b"", b" ", b"\t", b"  "])
headers = st.builds(lambda *parts: b"".join((*parts[:1], b":", *parts[1:])), names, spaces, values, spaces)
reasons = st.sampled_from([b" OK", b" ", b" Not That Found"])
connections = st.sampled_from([b"close", b"keep-alive", b"x, Close", b"upgrade, x", b"CLOSE,keep-alive"])
bodies = st.lists(st.binary(min_size=1, max_size=30), max_size=4)
extensions = st.sampled_from([b"", b";a", b";a=b", b';a="b"', b";a;b=c"])


@st.composite
def heads(draw, status, framing=()):
    lines = draw(st.lists(headers, max_size=4)) + list(framing)
    if draw(st.booleans()) and status >= 200:
        lines.append(b"Connection: " + draw(connections))
    return head(b"HTTP/1.1 %d" % status + draw(reasons), *draw(st.permutations(lines)))


@st.composite
def answers(draw):
    """Bytes of a valid answer, whether it is a HEAD's, and whether it ends with the connection."""
    early = [draw(heads(draw(st.sampled_from([100, 102, 103])))) for _ in range(draw(st.integers(0, 2)))]
    status = draw(st.sampled_from([200, 204, 206, 301, 304, 403, 404, 416, 500, 503]))
    head_request = draw(st.booleans())
    chunks = draw(bodies)
    kind = draw(st.sampled_from(["length", "chunked", "close"]))
    if head_request or status in {204, 304}:
        framing = {"length": [b"Content-Length: 5"], "chunked": [CHUNKED], "close": []}[kind]
        framing = framing if status != 204 else []
        return b"".join(early) + draw(heads(status, framing)), head_request, False
    if kind == "length":
        body = b"".join(chunks)
        start = draw(heads(status, [b"Content-Length: %d" % len(body)]))
    elif kind == "chunked":
        sizes = [
            draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(chunk) + draw(extensions) for chunk in chunks
        ]
        body = b"".join(size + b"\r\n" + chunk + b"\r\n" for size, chunk in zip(sizes, chunks, strict=True))
        trailers = draw(st.lists(headers, max_size=2))
        body += b"0" + draw(extensions) + b"\r\n" + head(*trailers)
        start = draw(heads(status, [CHUNKED]))
    else:
        body = b"".join(chunks)
        start = draw(heads(status))
    return b"".join(early) + start + body, head_request, kind == "close"


@patient
@given(answers(), st.data(), st.booleans())
def test_valid_answers_say_to_h11_what_they_say_to_us(answer, data, direct):
    text, head_request, until_close = answer
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
    for more in (b"", head(OK)):
        found = by_us(text + more, head_request, cuts, direct)
        assert found == by_h11(text + more, head_request, until_close)


# ---- what grows from the samples, with clang and without ----

SEEDS = [
    bytes([head_request | direct << 1, step]) + data
    for data, head_request in SAMPLES.values()
    for direct, step in ((0, 0), (1, 7))
]
TOKENS = [
    b"HTTP/1.1 ", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"Content-Length: ", CHUNKED + b"\r\n",
    b"Connection: close\r\n", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"1\r\na\r\n", b"\n", b"\r", b" ", b",",
    b"7fffffffffffffff", b"9223372036854775807",
]  # fmt: skip


texts = st.sampled_from([data for data, _ in SAMPLES.values()])


@st.composite
def mutants(draw):
    """A sample with some of its pieces dropped, doubled, or replaced by tokens, bytes or other samples."""
    data = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 20)))
        piece = draw(
            st.one_of(
                st.just(b""),
                st.just(data[start:end] * 2),
                st.sampled_from(TOKENS),
                st.binary(max_size=4),
                texts,
            )
        )
        data = data[:start] + piece + data[end:]
    return data


@patient
@given(mutants(), st.booleans(), st.data())
def test_no_answer_depends_on_where_it_is_cut(data, head_request, draw):
    whole = read(data, head_request)
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    assert read(data, head_request, cuts) == whole
    assert read(data, head_request, cuts, direct=True) == whole
    # Nothing is made up: what was given is in the answer, in order, and the rest is what it ended with.
    assert len(b"".join(whole.lines)) + len(whole.body) + len(whole.rest) <= len(data)
    assert data.endswith(whole.rest)


def test_the_fuzz_target_holds_over_the_seeds_and_what_grows_from_them(tmp_path):
    search(tmp_path, "fuzz_http1", SOURCES, SEEDS, TOKENS)


# ---- writing heads ----


def write(method, target, lines, length=None, out=None):
    """Return the head that was written, None when it was refused."""
    strings = [ffi.new("char[]", line) for line in lines]
    out = out or native.buffer()
    done = lib.s3i_http1_write_head(
        out, native.text(method), native.text(target), ffi.new("char *[]", strings), len(strings),
        length is not None, length or 0,
    )  # fmt: skip
    return native.content(out) if done else None


def test_a_head_has_what_it_was_given_and_no_more():
    assert write(b"GET", b"/", []) == b"GET / HTTP/1.1\r\n\r\n"
    assert write(b"GET", b"/a%20b?x=1&y", [b"Host: a:9000", b"X-Empty:", b"x: \xc3\xbc\t."]) == (
        b"GET /a%20b?x=1&y HTTP/1.1\r\nHost: a:9000\r\nX-Empty:\r\nx: \xc3\xbc\t.\r\n\r\n"
    )
    assert write(b"PUT", b"/a", [b"Host: a"], 0) == b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    assert write(b"POST", b"/a?b", [], (1 << 64) - 1).endswith(
        b"\r\nContent-Length: 18446744073709551615\r\n\r\n"
    )


def test_heads_are_appended():
    out = native.buffer()
    write(b"GET", b"/a", [], out=out)
    assert write(b"GET", b"/b", [], out=out) == b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "lines"),
    [
        (b"", b"/", []),
        (b"GET ", b"/", []),
        (b"GET / HTTP/1.1\r\nX:", b"/", []),
        (b"G\0T", b"/", []),
        (b"GET", b"", []),
        (b"GET", b"/a b", []),
        (b"GET", b"/a\tb", []),
        (b"GET", b"/ HTTP/1.1\r\nHost: b\r\n\r\nGET /", []),
        (b"GET", b"/a\r", []),
        (b"GET", b"/a\n", []),
        (b"GET", b"/a\0b", []),
        (b"GET", b"/a\x7f", []),
        (b"GET", b"/\xc3\xbc", []),
        (b"GET", b"/", [b""]),
        (b"GET", b"/", [b"x"]),
        (b"GET", b"/", [b": y"]),
        (b"GET", b"/", [b" x: y"]),
        (b"GET", b"/", [b"x : y"]),
        (b"GET", b"/", [b"\tx: y"]),
        (b"GET", b"/", [b"x: y\r\nHost: b"]),
        (b"GET", b"/", [b"x: y\r"]),
        (b"GET", b"/", [b"x: y\n"]),
        (b"GET", b"/", [b"x: y\n z"]),
        (b"GET", b"/", [b"x\r\n: y"]),
        (b"GET", b"/", [b"Host: a", b"x: y", b"\r\n"]),
        (b"GET", b"/", [b"Content-Length: 5"]),
        (b"GET", b"/", [b"content-length:0"]),
        (b"GET", b"/", [b"TRANSFER-encoding: chunked"]),
    ],
)
def test_what_would_be_another_request_is_refused_and_nothing_of_it_written(method, target, lines):
    out = native.buffer()
    assert write(b"GET", b"/a", [], out=out)
    before = native.content(out)
    assert write(method, target, lines, 5, out) is None
    assert native.content(out) == before
    assert not out.failed
    assert write(b"GET", b"/b", [], out=out) == before + b"GET /b HTTP/1.1\r\n\r\n"


def test_a_head_that_has_no_room_is_not_written_in_part():
    lines = [b"Host: a", b"x: y"]
    full = write(b"PUT", b"/a", lines, 12)
    for size in range(len(full) + 1):
        out = native.buffer(limit=size)
        assert write(b"PUT", b"/a", lines, 12, out) == (full if size == len(full) else None)
        assert out.failed == (size < len(full))
        assert out.size in {0, len(full)}


def test_when_memory_is_short_no_head_is_written():
    def attempt():
        out = ffi.new("struct s3_buf *")
        lib.s3i_buf_init(out, 1 << 16)
        done = write(b"GET", b"/a", [b"x: " + b"y" * 1000] * 3, out=out) is not None
        assert out.failed == (not done)
        assert done or out.size == 0
        lib.s3i_buf_clear(out)
        return done

    assert native.torture(attempt) > 1


tokens = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)


@patient
@given(
    st.from_regex(rb"[A-Z]{1,8}", fullmatch=True),
    st.from_regex(rb"/[!-~]{0,30}", fullmatch=True),
    st.lists(st.tuples(tokens.map(lambda name: b"x" + name), values), max_size=6),
    st.one_of(st.none(), st.integers(0, 10**15)),
)
def test_h11_reads_what_was_written(method, target, fields, length):
    lines = [b"Host: a"] + [name + b": " + value for name, value in fields]
    server = h11.Connection(h11.SERVER)
    server.receive_data(write(method, target, lines, length))
    request = server.next_event()
    assert (request.method, request.target, request.http_version) == (method, target, b"1.1")
    expected = [(b"host", b"a")] + [(name.lower(), value) for name, value in fields]
    if length is not None:
        expected.append((b"content-length", b"%d" % length))
    assert list(request.headers) == expected
    assert server.trailing_data[0] == b""


@given(
    st.binary(max_size=6),
    st.binary(max_size=8),
    st.lists(st.binary(max_size=12).filter(lambda line: b"\0" not in line), max_size=3),
    st.booleans(),
)
def test_a_written_head_has_as_many_lines_as_it_should(method, target, lines, body):
    found = write(method, target, lines, 5 if body else None)
    if found is not None:
        expected = [method + b" " + target + b" HTTP/1.1", *lines, *[b"Content-Length: 5"] * body, b"", b""]
        assert found.split(b"\r\n") == expected
        assert found.count(b"\n") == found.count(b"\r") == len(expected) - 1
        assert found.split(b"\r\n")[0].count(b" ") == 2
