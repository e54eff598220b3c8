"""HTTP/1.1 on raw sockets: connections, requests, answers, and the ways in which an answer can go wrong.

A `Connection` owns its socket and does non-blocking I/O through the loop's `sock_*` calls, over TLS with an
`ssl.MemoryBIO` pair, so that the server decides about every byte, record, FIN and RST. Parsing is strict:
what a client should not send becomes an entry in `Request.problems`, and ends the connection where the
framing is in doubt.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import hashlib
import re
import select
import socket
import ssl
import struct
import termios
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = [
    "BadRequestError",
    "Body",
    "BytesBody",
    "Connection",
    "DisconnectError",
    "Request",
    "Response",
    "Wire",
    "http_date",
    "parse_head",
    "send_response",
    "store_body",
]

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 6 * 1024**3
KEPT_BODY = 64 * 1024
SMALL_BODY = 64 * 1024

REASONS = {
    100: "Continue",
    103: "Early Hints",
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    304: "Not Modified",
    307: "Temporary Redirect",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    412: "Precondition Failed",
    416: "Requested Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Slow Down",
    504: "Gateway Timeout",
}

# Headers that a request must not carry twice.
SINGLE_HEADERS = frozenset(
    [
        "authorization",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "range",
        "transfer-encoding",
        "user-agent",
        "x-amz-content-sha256",
        "x-amz-copy-source",
        "x-amz-date",
        "x-amz-security-token",
    ]
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_TARGET = re.compile(r"[^\x21-\x7e]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class DisconnectError(Exception):
    """The connection ends now: by the peer, or by a fault.

    Args:
        reset: End it with RST instead of FIN (faults only).
    """

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("reset" if reset else "closed")
        self.reset = reset


class BadRequestError(Exception):
    """The request cannot be parsed; answer 400 and close."""


class Body(Protocol):
    """The bytes of an answer."""

    size: int

    def views(self, start: int, stop: int) -> Iterator[memoryview]:
        """Give the bytes [start, stop) as views, without copying large ones."""


class BytesBody:
    """A body in one piece of memory."""

    __slots__ = ("data", "size")

    def __init__(self, data: bytes | bytearray | memoryview = b"") -> None:
        self.data = data
        self.size = len(data)

    def views(self, start: int, stop: int) -> Iterator[memoryview]:
        """Give the bytes [start, stop)."""
        if stop > start:
            yield memoryview(self.data)[start:stop]


@dataclass(slots=True)
class Request:
    """One request as it came, and what became of it. `server.requests` holds these.

    Attributes:
        method: The method.
        target: The request target exactly as sent.
        headers: Names and values as sent, in order.
        connection: The number of its connection, from 1.
        index: Its number on the server, from 0, by arrival of its head.
        arrived: `time.monotonic()` when its head was complete.
        path: The target's path as sent. raw_query: its query as sent, without `?`.
        fields: Lower-case header name to its values.
        query: Decoded query, last value wins. bucket, key: what the target and Host name ("" if none).
        body: The body if it was at most 64 KiB, else empty. body_length, body_sha256: of the body that was
            received.
        auth: "header", "presigned", "anonymous", or "" while not verified. verified: whether the signature
            was right.
        access_key: Who signed it.
        problems: What the client did wrong.
        status: The final status that was sent (0: none). code: S3's error code of the answer, or "".
        faults: Names of the faults that applied.
        applied: Whether the operation was done on the store.
        finished: Whether the whole answer was sent.
        body_sent: Bytes of the answer's body that were handed to the kernel.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    fields: dict[str, list[str]]
    path: str
    raw_query: str
    connection: int = 0
    index: int = 0
    arrived: float = field(default_factory=time.monotonic)
    query: dict[str, str] = field(default_factory=dict)
    bucket: str = ""
    key: str = ""
    body: bytes | bytearray = b""
    body_length: int = 0
    body_sha256: str = ""
    auth: str = ""
    verified: bool = False
    access_key: str = ""
    problems: list[str] = field(default_factory=list)
    status: int = 0
    code: str = ""
    faults: list[str] = field(default_factory=list)
    applied: bool = False
    finished: bool = False
    body_sent: int = 0

    def header(self, name: str, default: str = "") -> str:
        """Return a header's first value, by name in any case."""
        values = self.fields.get(name.lower())
        return values[0] if values else default

    @property
    def part(self) -> int | None:
        """The part number in the query, or None."""
        value = self.query.get("partNumber", "")
        return int(value) if value.isdigit() else None

    def range(self) -> tuple[int, int | None] | None:
        """Return the Range header: (first, last), (first, None), (-n, None) for a suffix; or None."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.header("range"))
        if match is None or not (match[1] or match[2]):
            return None
        if not match[1]:
            return -int(match[2]), None
        return int(match[1]), int(match[2]) if match[2] else None

    def __str__(self) -> str:
        return f"#{self.index} {self.method} {self.target}"


@dataclass(slots=True)
class Wire:
    """How an answer is put on the wire, where it differs from a right one. Faults set these.

    Attributes:
        delay: Seconds before the first byte.
        declared_length: Content-Length to declare instead of the body's. If larger, the connection is closed
            after the body.
        no_length: Neither Content-Length nor chunks: the end of the connection ends the body.
        chunked: Send chunks of this size. bad_chunk: "size" (a size that is no number), "data" (data longer
            than its size), "unterminated" (closed without the last chunk), or "".
        trailing: Bytes sent after the body.
        body_anyway: Send the body even for HEAD, 204 and 304.
        head_stop: Cut within the head after this many bytes. head_stall: Called within the head.
        cut_at: Cut after this many bytes behind the head (chunk framing counts). reset: cut with RST.
        stall_at: Call `stall` after this many bytes behind the head.
        piece, pause: Send in pieces of this many bytes, with a pause in seconds after each; only up to
            `slow_until` bytes if that is set.
        before: Raw bytes sent before the head (1xx answers, spaces).
        close: Close after the answer, and say so. hang_up: close after the answer without having said so.
        headers_last: Further raw header lines (bytes with CRLF), sent as they are.
    """

    delay: float = 0.0
    declared_length: int | None = None
    no_length: bool = False
    chunked: int = 0
    bad_chunk: str = ""
    trailing: bytes = b""
    body_anyway: bool = False
    head_stop: int | None = None
    cut_at: int | None = None
    reset: bool = False
    stall_at: int | None = None
    stall: Callable[[], Awaitable[None]] | None = None
    piece: int = 0
    pause: float = 0.0
    slow_until: int | None = None
    head_stall: Callable[[], Awaitable[None]] | None = None
    before: bytes = b""
    close: bool = False
    hang_up: bool = False
    headers_last: bytes = b""

    def is_plain(self) -> bool:
        """Tell whether the body needs no care about single bytes."""
        return (
            self.cut_at is None
            and self.stall_at is None
            and self.head_stop is None
            and self.head_stall is None
            and not (self.piece or self.chunked or self.trailing or self.delay or self.before)
        )


@dataclass(slots=True)
class Response:
    """An answer: status, headers (in order), the body and the part of it that is sent, and how."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=BytesBody)
    start: int = 0
    stop: int | None = None
    code: str = ""
    wire: Wire = field(default_factory=Wire)

    @property
    def size(self) -> int:
        """The length of the body that is sent."""
        return (self.body.size if self.stop is None else self.stop) - self.start

    def set_body(self, data: bytes) -> None:
        """Replace the body."""
        self.body = BytesBody(data)
        self.start, self.stop = 0, None

    def body_bytes(self) -> bytes:
        """Return the body that is sent, as bytes."""
        return b"".join(self.body.views(self.start, self.start + self.size))


def http_date(moment: float) -> str:
    """Format seconds since 1970 as an HTTP date, whatever the locale."""
    t = time.gmtime(moment)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


class Connection:
    """One accepted connection, plain or TLS; used by its own task only, but for `close` and `abort`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, number: int) -> None:
        self.loop = loop
        self.sock = sock
        self.number = number
        self.idle = False
        self.served = 0
        self.tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._buffer = bytearray()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the server's side of the handshake."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._feed_tls()
            except ssl.SSLError:
                with contextlib.suppress(OSError, DisconnectError):
                    await self._flush_tls()
                raise
        self.tls = tls
        await self._flush_tls()

    async def _flush_tls(self) -> None:
        data = self._outgoing.read()
        if data:
            await self._send_raw(data)

    async def _feed_tls(self) -> None:
        await self._flush_tls()
        data = await self.loop.sock_recv(self.sock, 256 * 1024)
        if not data:
            raise DisconnectError
        self._incoming.write(data)

    async def _receive(self, size: int) -> bytes:
        """Receive at most `size` bytes; empty at the end."""
        if self.tls is None:
            return await self.loop.sock_recv(self.sock, size)
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                try:
                    await self._feed_tls()
                except DisconnectError:
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    async def _send_raw(self, data: bytes | memoryview) -> None:
        try:
            await self.loop.sock_sendall(self.sock, data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise DisconnectError from error

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it.

        Raises:
            DisconnectError: The peer is gone.
        """
        if self.tls is None:
            await self._send_raw(memoryview(data))
            return
        view = memoryview(data)
        for start in range(0, len(view), 256 * 1024):
            self.tls.write(view[start : start + 256 * 1024])
            await self._flush_tls()

    async def read_head(self, patience: float | None = None) -> bytes | None:
        """Read up to the empty line.

        Args:
            patience: Seconds of silence before the first byte after which the connection is given up; None
                waits for ever.

        Returns:
            The head without its end, or None if the peer closed before sending anything.
        """
        searched = 0
        self.idle = not self._buffer
        while True:
            end = self._buffer.find(b"\r\n\r\n", searched)
            if end >= 0:
                head = bytes(self._buffer[:end])
                del self._buffer[: end + 4]
                return head
            if len(self._buffer) > HEAD_LIMIT:
                raise BadRequestError("the head is larger than 64 KiB")
            searched = max(0, len(self._buffer) - 3)
            if self.idle and patience is not None:
                try:
                    data = await asyncio.wait_for(self._receive(256 * 1024), patience)
                except TimeoutError:
                    return None
            else:
                data = await self._receive(256 * 1024)
            self.idle = False
            if not data:
                if self._buffer:
                    raise DisconnectError
                return None
            self._buffer += data

    async def _fill(self) -> None:
        data = await self._receive(256 * 1024)
        if not data:
            raise DisconnectError
        self._buffer += data

    async def read_exactly(self, size: int) -> bytearray:
        """Read a body of known length into fresh memory."""
        body = bytearray(size)
        view = memoryview(body)
        got = min(size, len(self._buffer))
        view[:got] = memoryview(self._buffer)[:got]
        del self._buffer[:got]
        while got < size:
            if self.tls is None:
                count = await self.loop.sock_recv_into(self.sock, view[got:])
            else:
                data = await self._receive(min(size - got, 256 * 1024))
                count = len(data)
                view[got : got + count] = data
            if count == 0:
                raise DisconnectError
            got += count
        return body

    async def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise BadRequestError("a chunk's size line is larger than 64 KiB")
            await self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def read_chunked(self) -> bytearray:
        """Read a chunked body, with its trailers, which are ignored."""
        body = bytearray()
        while True:
            line = (await self._read_line()).split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", line):
                raise BadRequestError(f"bad chunk size {line!r}")
            size = int(line, 16)
            if size == 0:
                while await self._read_line():
                    pass
                return body
            if len(body) + size > BODY_LIMIT:
                raise BadRequestError("the chunked body is too large")
            body += await self.read_exactly(size)
            if await self._read_line():
                raise BadRequestError("a chunk is longer than its size")

    def peer_is_gone(self) -> bool:
        """Tell whether the peer has closed its side, even with unread data before the end."""
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLRDHUP)
        return any(event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    async def drain(self, limit: float = 2.0) -> None:
        """Wait until the peer's kernel has all that was sent, at most `limit` seconds."""
        queued = array.array("i", [0])
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, queued)
            if queued[0] == 0:
                return
            await asyncio.sleep(0.001)

    async def finish(self) -> None:
        """Close with FIN: nothing that was sent is lost to an RST for unread data."""
        try:
            if self.tls is not None:
                with contextlib.suppress(ssl.SSLError):
                    self.tls.unwrap()
                await self._flush_tls()
            self.sock.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + 1.0
            while (left := deadline - time.monotonic()) > 0:
                if not await asyncio.wait_for(self.loop.sock_recv(self.sock, 256 * 1024), left):
                    break
        except (OSError, DisconnectError, TimeoutError):
            pass
        finally:
            self.close()

    async def cut(self, *, reset: bool) -> None:
        """End the connection when what was sent has arrived: by RST, or by FIN without TLS close-notify."""
        with contextlib.suppress(OSError):
            if reset:
                await self.drain()
            else:
                self.sock.shutdown(socket.SHUT_WR)
                # Data that the peer has sent and nobody read would turn the close into an RST.
                with contextlib.suppress(BlockingIOError):
                    while self.sock.recv(256 * 1024):
                        pass
        self.close(reset=reset)

    def close(self, *, reset: bool = False) -> None:
        """Close the socket; with RST if asked."""
        if reset:
            self.linger_not()
        with contextlib.suppress(OSError):
            self.sock.close()

    def linger_not(self) -> None:
        """Make the coming close an RST."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def shut(self) -> None:
        """End the connection from outside its task, which wakes up and closes the socket."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


def _parse_target(request: Request) -> None:
    target = request.target
    if _BAD_TARGET.search(target):
        raise BadRequestError(f"the target holds bytes that are not printable ASCII: {target!r}")
    if target.lower().startswith(("http://", "https://")):
        target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
    if not target.startswith("/"):
        raise BadRequestError(f"the target is not a path: {target!r}")
    if "#" in target:
        request.problems.append("the target holds a fragment")
    request.path, _, request.raw_query = target.partition("?")
    for item in request.raw_query.split("&"):
        if item:
            name, _, value = item.replace("+", " ").partition("=")
            request.query[unquote_to_bytes(name).decode("utf-8", "replace")] = unquote_to_bytes(value).decode(
                "utf-8", "replace"
            )


def parse_head(block: bytes) -> Request:
    """Parse a request's head.

    Raises:
        BadRequestError: The framing or the request line cannot be trusted.
    """
    lines = block.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1" or not _TOKEN.fullmatch(words[0]):
        raise BadRequestError(f"bad request line {lines[0][:200]!r}")
    headers: list[tuple[str, str]] = []
    fields: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
            raise BadRequestError(f"bad header line {line[:200]!r}")
        value = value.strip(" \t")
        headers.append((name, value))
        fields.setdefault(name.lower(), []).append(value)
    request = Request(words[0], words[1], headers, fields, "", "")
    _parse_target(request)
    if "host" not in fields:
        raise BadRequestError("no Host header")
    request.problems += [
        f"header {name} is there twice"
        for name, values in fields.items()
        if len(values) > 1 and name in SINGLE_HEADERS
    ]
    lengths = fields.get("content-length", [])
    if lengths and "transfer-encoding" in fields:
        raise BadRequestError("both Content-Length and Transfer-Encoding")
    if len(set(lengths)) > 1 or (lengths and not lengths[0].isdigit()):
        raise BadRequestError(f"bad Content-Length {lengths}")
    encoding = fields.get("transfer-encoding", ["chunked"])
    if encoding != ["chunked"]:
        raise BadRequestError(f"unknown Transfer-Encoding {encoding}")
    return request


def store_body(request: Request, body: bytearray) -> None:
    """Note a received body in the record."""
    request.body_length = len(body)
    request.body_sha256 = hashlib.sha256(body).hexdigest()
    request.body = body if len(body) <= KEPT_BODY else b""


def _render_head(request: Request, response: Response) -> bytes:
    wire = response.wire
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Other')}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    named = {name.lower() for name in response.headers}
    if wire.chunked:
        lines.append("Transfer-Encoding: chunked")
    elif not wire.no_length and "content-length" not in named and response.status not in (204, 304):
        length = response.size if wire.declared_length is None else wire.declared_length
        lines.append(f"Content-Length: {length}")
    if wire.close and "connection" not in named:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1") + wire.headers_last + b"\r\n"


def _in_chunks(response: Response) -> Iterator[memoryview]:
    wire = response.wire
    first = True
    for view in response.body.views(response.start, response.start + response.size):
        for at in range(0, len(view), wire.chunked):
            piece = view[at : at + wire.chunked]
            size = b"%x\r\n" % len(piece)
            if first and wire.bad_chunk == "size":
                size = b"xyz\r\n"
            elif first and wire.bad_chunk == "data":
                size = b"%x\r\n" % max(len(piece) // 2, 1)
            first = False
            yield memoryview(size)
            yield piece
            yield memoryview(b"\r\n")
    if wire.bad_chunk != "unterminated":
        yield memoryview(b"0\r\n\r\n")


def _body_views(request: Request, response: Response) -> Iterator[memoryview]:
    bodyless = request.method == "HEAD" or response.status in (204, 304)
    if not bodyless or response.wire.body_anyway:
        if response.wire.chunked:
            yield from _in_chunks(response)
        else:
            yield from response.body.views(response.start, response.start + response.size)
    if response.wire.trailing:
        yield memoryview(response.wire.trailing)


class _CarefulSender:
    """Sends byte by byte what the wire plan asks for: cuts, stalls, drips."""

    def __init__(self, connection: Connection, wire: Wire) -> None:
        self.connection = connection
        self.wire = wire
        self.sent = 0
        self.stall_at = wire.stall_at

    async def check(self) -> None:
        """Stall or cut if this is the place."""
        wire = self.wire
        if self.stall_at is not None and self.sent >= self.stall_at:
            self.stall_at = None
            if wire.stall is not None:
                await wire.stall()
        if wire.cut_at is not None and self.sent >= wire.cut_at:
            raise DisconnectError(reset=wire.reset)

    async def send(self, view: memoryview) -> None:
        """Send a view in the pieces that the plan allows."""
        at = 0
        while at < len(view):
            await self.check()
            size = len(view) - at
            slow = self.wire.slow_until is None or self.sent < self.wire.slow_until
            if slow and self.wire.piece:
                size = min(size, self.wire.piece)
            for stop in (self.stall_at, self.wire.cut_at):
                if stop is not None:
                    size = min(size, stop - self.sent)
            await self.connection.send(view[at : at + size])
            at += size
            self.sent += size
            if slow and self.wire.pause:
                await asyncio.sleep(self.wire.pause)


async def send_response(connection: Connection, request: Request, response: Response) -> None:
    """Send an answer as its wire plan says.

    Raises:
        DisconnectError: The peer went away, or the plan says that the connection ends here.
    """
    wire = response.wire
    head = _render_head(request, response)
    request.status, request.code = response.status, response.code
    if wire.is_plain():
        views = _body_views(request, response)
        if response.size <= SMALL_BODY:
            await connection.send(b"".join([head, *views]))
            if request.method != "HEAD":
                request.body_sent = response.size
        else:
            await connection.send(head)
            for view in views:
                await connection.send(view)
                request.body_sent += len(view)
    else:
        await _send_with_care(connection, request, response, head)
    request.finished = True
    bodyless = request.method == "HEAD" or response.status in (204, 304)
    short = wire.declared_length is not None and wire.declared_length > response.size and not bodyless
    if wire.no_length or wire.close or wire.hang_up or short or wire.bad_chunk:
        raise DisconnectError(reset=wire.reset)


async def _send_with_care(connection: Connection, request: Request, response: Response, head: bytes) -> None:
    wire = response.wire
    if wire.delay:
        await asyncio.sleep(wire.delay)
    if wire.before:
        await connection.send(wire.before)
    if wire.head_stop is not None:
        await connection.send(head[: wire.head_stop])
        raise DisconnectError(reset=wire.reset)
    if wire.head_stall is not None:
        await connection.send(head[:9])
        await wire.head_stall()
        head = head[9:]
    await connection.send(head)
    sender = _CarefulSender(connection, wire)
    try:
        for view in _body_views(request, response):
            await sender.send(view)
        await sender.check()
        if wire.stall_at is not None and sender.stall_at is not None and wire.stall is not None:
            await wire.stall()
    finally:
        request.body_sent = sender.sent
    if wire.cut_at is not None:
        raise DisconnectError(reset=wire.reset)
