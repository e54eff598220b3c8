"""Both lanes before the same hostile answers: what libcurl takes for an answer, ours takes for the same.

Each example is the bytes of one answer, sensible or not, in pieces. Each lane asks for it, and then for
another object over whatever connection is left. Where both give bytes, they are the same; what ours refuses
and libcurl does not is marked in the tables below (RFC 9112 is stricter there: `csrc/pure/http1.h`), and
nothing is taken that libcurl refuses.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import s3ext
from s3ext import exceptions
from tests.faults.tools import connect, pattern

BODY = pattern(3000)
GOOD = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4\r\n\r\ngood"


@pytest.fixture(autouse=True)
def lane():
    """Every test here asks on both lanes by itself."""


class Script:
    """A server that answers `/bucket/odd` with the bytes that it is told, then closes; all else is GOOD."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.pieces = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        head = b""
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(65536):
                head += data
                while b"\r\n\r\n" in head:
                    request, _, head = head.partition(b"\r\n\r\n")
                    if b"/odd" not in request.partition(b"\r\n")[0]:
                        peer.sendall(GOOD)
                        continue
                    for piece in self.pieces:
                        peer.sendall(piece)
                    peer.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


@pytest.fixture(scope="module")
def script():
    made = Script()
    yield made
    made.close()


@pytest.fixture(scope="module")
def stores(script):
    """One store for each lane, which keeps its connections from example to example.

    libcurl gives up after five that the server has ended, which is a failure to be retried.
    """
    return {
        name: connect(script.url, max_retries=1, client_options={"lane": name, "timeout": "10s"})
        for name in ("direct", "curl")
    }


class Answer(NamedTuple):
    """What came of an answer.

    Attributes:
        data: The bytes, or None.
        kind: The exception's class, or None.
    """

    data: bytes | None
    kind: type | None


def ask(store):
    """Ask for the odd object, then for a good one, which must come as it is."""
    try:
        found = Answer(bytes(store.get("odd").bytes()), None)
    except exceptions.BaseError as error:
        found = Answer(None, type(error))
    assert bytes(store.get_range("good", start=0, end=4)) == b"good"
    return found


def chunks(body, sizes, *, end=b"0\r\n\r\n", style=b"%x"):
    """Return a body in chunks of these sizes, the last one as long as it takes."""
    made, place = [], 0
    for size in [*sizes, len(body)]:
        piece = body[place : place + size]
        place += len(piece)
        if piece:
            made.append(style % len(piece) + b"\r\n" + piece + b"\r\n")
    return b"".join(made) + end


STATUS_LINES = {
    b"HTTP/1.1 200 OK": False,
    b"HTTP/1.0 200 OK": False,
    b"HTTP/1.1 200": True,
    b"HTTP/1.1  200 OK": True,
    b"HTTP/1.2 200 OK": True,
    b"HTTP/3 200 OK": True,
    b"http/1.1 200 OK": True,
    b"HTTP/1.1 2000 OK": True,
    b"ICY 200 OK": True,
    b"HTTP/1.1 404 Not Found": False,
    b"HTTP/1.1 503 Slow Down": False,
}
"""Each with whether ours may refuse what libcurl takes."""

EXTRA_LINES = {
    b'ETag: "x"': False,
    b"X-Long: " + b"y" * 5000: False,
    b"Connection: close": False,
    b"Connection: keep-alive, Upgrade": False,
    b"Content-Length: 3000": False,
    b"Content-Length: 2999": True,
    b"Content-Length: 3001": True,
    b"Content-Length: +3000": True,
    b"Content-Length: 0x10": True,
    b"Content-Length:": True,
    b"Content-Length: 99999999999999999999": True,
    b"Content-Length : 3000": True,
    b"Transfer-Encoding: gzip": True,
    b"Transfer-Encoding: chunked, chunked": True,
    b"Transfer-Encoding: identity": True,
    b" folded": True,
    b"no colon": True,
    b"X: a\rb": True,
    b"X: a\0b": True,
    b": nameless": True,
}


SIZES = [b"%x", b"%X", b"000%x", b"%x;name=value"]
ENDS = [b"0\r\n\r\n"] * 3 + [b"", b"0\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n\r\nmore"]
INTERIM = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n"]


@st.composite
def answers(draw):
    """Draw the pieces of an answer, and whether ours may be stricter than libcurl with it."""
    line = draw(st.sampled_from([b"HTTP/1.1 200 OK"] * 6 + list(STATUS_LINES)))
    extra = draw(st.lists(st.sampled_from(list(EXTRA_LINES)), max_size=2))
    strict = STATUS_LINES[line] or any(EXTRA_LINES[each] for each in extra)
    framing = draw(st.sampled_from(["length", "chunked", "close", "both"]))
    body = BODY
    if framing in {"chunked", "both"}:
        sizes = draw(st.lists(st.integers(1, 2000), max_size=3))
        style = draw(st.sampled_from([*SIZES, b"%x ", b"-%x", b"+%x", b"0x%x", b"%xg"]))
        end = draw(st.sampled_from(ENDS))
        strict |= style not in SIZES
        body = chunks(BODY, sizes, end=end, style=style)
    lines = [line, *extra]
    if framing in {"length", "both"}:
        lines.append(b"Content-Length: 3000")
    if framing in {"chunked", "both"}:
        lines.append(b"Transfer-Encoding: chunked")
    interim = draw(st.sampled_from([b""] * 4 + INTERIM))
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    tail = draw(st.sampled_from([b""] * 4 + [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]))
    whole = interim + end.join(lines) + end + end + body + tail
    whole = whole[: draw(st.sampled_from([len(whole)] * 5 + [len(whole) // 2, 10, 60, 0]))]
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    return pieces, strict


def complete(answer):
    """Tell whether the final head of an answer ends within it."""
    for interim in INTERIM:
        answer = answer.removeprefix(interim)
    return b"\n\r\n" in answer or b"\n\n" in answer


def simple(*lines, body=BODY, strict=False):
    return [b"\r\n".join(lines) + b"\r\n\r\n" + body], strict


@example(simple(b"HTTP/1.1 200 OK", b"Content-Length: 3000"))
@example(simple(b"HTTP/1.1 200 OK", b"Content-Length: 3000", b"Content-Length: 3000"))
@example(simple(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", body=chunks(BODY, [1, 1000])))
@example(simple(b"HTTP/1.1 200 OK", b"Content-Length: 3000", body=BODY[:-1]))
@example(simple(b"HTTP/1.1 200 OK", b"Content-Length: 3000", body=BODY + GOOD))
@example(([b""], False))
@settings(max_examples=150, deadline=None)
@given(answers())
def test_both_lanes_take_the_same_bytes_for_an_answer(script, stores, answer):
    script.pieces, strict = answer
    ours, curls = ask(stores["direct"]), ask(stores["curl"])
    if ours.data is not None and curls.data is not None:
        assert ours.data == curls.data
    elif strict:
        assert ours.kind is not None
    elif curls.kind is exceptions.ProtocolError and not complete(b"".join(script.pieces)):
        # Of a head that breaks off libcurl says that nothing is wrong; ours that the connection broke.
        assert ours.kind in {exceptions.ProtocolError, exceptions.ConnectError}
    else:
        assert ours == curls


def test_each_lane_counts_its_connections(script, stores):
    script.pieces = simple(b"HTTP/1.1 200 OK", b"Content-Length: 3000")[0]
    for store in stores.values():
        ask(store)
        before = s3ext.stats()["connections_opened"]
        for _ in range(5):
            assert bytes(store.get_range("good", start=0, end=4)) == b"good"
        assert s3ext.stats()["connections_opened"] == before
