"""The fault plan: which requests go wrong, and how.

A `Fault` says when (a match, how often) and holds an `Action` that says how. Several faults may hit one
request; they act in the order in which they were added. Actions are made by the functions of this module:

Before the operation (it is not done):
    drop(reset=False)               close without answering
    cut_upload(after, reset=False)  close after `after` bytes of the request's body were read
    respond(status, body=b"", headers=None)
    s3_error(code, message="", status=None, headers=None, elements=None)
    slow_down(retry_after=None)     503 SlowDown; html_error(status=500): an HTML page
    redirect(status=307, location=None, region=None)
    late_error(code="InternalError", spaces=3, every=0.0, apply=False)
                                    200, spaces, then an <Error>, as for copy and complete
Around the operation (it is done):
    hook(function), hook_after(function)   call function(exchange) before or after the operation
    lose_answer(reset=False)        do the operation, then close without answering
    delay(seconds), stall(at, seconds=None), drip(size, every)
The answer's framing:
    cut(after, reset=False), cut_head(after, reset=False), hang_up(reset=False), close_politely()
    content_length(value=None, delta=0, extra=b"", missing=False), chunked(size=65536, bad="")
    informational(count, status=100), header_flood(count), huge_header(size), raw_header(line),
    head_body(data)
The answer's content:
    ignore_range(), content_range(change), byteranges()
    set_headers(headers), drop_headers(*names), replace_body(data, status=None), truncate_body(keep),
    corrupt(offset)

`stall(at)`: "accept" (before anything is read), "request" (after the request's head), "answer" (before the
answer), "head" (within the answer's head), or a number of body bytes. It lasts `seconds`, or until
`fault.release()`, or until the client closes. Numbers of bytes count what follows the answer's head.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Literal

from .errors import S3Error, error_xml
from .http import Body, BytesBody, Connection, DisconnectError, Request, Response

if TYPE_CHECKING:
    from .server import VerifyingServer

__all__ = [
    "Action",
    "Exchange",
    "Fault",
    "FaultPlan",
    "byteranges",
    "chunked",
    "close_politely",
    "content_length",
    "content_range",
    "corrupt",
    "cut",
    "cut_head",
    "cut_upload",
    "delay",
    "drip",
    "drop",
    "drop_headers",
    "hang_up",
    "head_body",
    "header_flood",
    "hook",
    "hook_after",
    "html_error",
    "huge_header",
    "ignore_range",
    "informational",
    "late_error",
    "lose_answer",
    "raw_header",
    "redirect",
    "replace_body",
    "respond",
    "s3_error",
    "set_headers",
    "slow_down",
    "stall",
    "truncate_body",
]


@dataclass(slots=True)
class Exchange:
    """One request on its way through the server; what hooks get.

    Attributes:
        server: The server.
        connection: The connection.
        request: The request; its body is there from the hook "before" on.
        response: The answer. Set by an action "before", it stands for the operation, which is then not done.
        body: The request's body, once read.
        upload_cut: Close after so many bytes of the request's body. upload_reset: by RST.
    """

    server: VerifyingServer
    connection: Connection
    request: Request
    response: Response | None = None
    body: bytearray = field(default_factory=bytearray)
    upload_cut: int | None = None
    upload_reset: bool = False

    @property
    def answer(self) -> Response:
        """The answer; there after the operation."""
        assert self.response is not None, "the operation has not been done yet"
        return self.response


Step = Callable[[Exchange, "Fault"], Awaitable[None] | None]


@dataclass(slots=True, frozen=True)
class Action:
    """What a fault does, and when.

    Attributes:
        name: For records.
        on_accept: Called for a new connection, before TLS. It never sees a request.
        on_head: After the request's head, before its body is read.
        before: Before the operation. May set `exchange.response`.
        after: After the operation. May change `exchange.response`.
    """

    name: str
    on_accept: Callable[[Connection, Fault], Awaitable[None]] | None = None
    on_head: Step | None = None
    before: Step | None = None
    after: Step | None = None


@dataclass(eq=False)
class Fault:
    """An action and the requests that it hits.

    Args:
        action: What happens.
        method: The method, or several.
        bucket: The bucket's name.
        key: The key, or a pattern that is searched in it.
        query: Names that the query must hold ("uploadId"), or "name=value".
        without_query: Names that it must not hold.
        part: The part number in the query.
        when: A predicate on the request.
        skip: How many matching requests pass first.
        nth: Only the n-th matching request, from 1: short for skip=n-1, times=1.
        times: How many requests are hit; None for all.
        probability: With which a matching request is hit, by `seed`.
        seed: Of the random numbers.
    """

    action: Action
    method: str | Collection[str] | None = None
    bucket: str | None = None
    key: str | re.Pattern[str] | None = None
    query: Collection[str] = ()
    without_query: Collection[str] = ()
    part: int | None = None
    when: Callable[[Request], bool] | None = None
    skip: int = 0
    nth: int | None = None
    times: int | None = 1
    probability: float = 1.0
    seed: int = 0
    hits: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.nth is not None:
            self.skip, self.times = self.nth - 1, 1
        if isinstance(self.query, str):
            self.query = (self.query,)
        if isinstance(self.without_query, str):
            self.without_query = (self.without_query,)
        self._random = Random(self.seed)
        self._changed = threading.Condition()
        self._released = threading.Event()

    def _fits(self, request: Request) -> bool:
        methods = (self.method,) if isinstance(self.method, str) else self.method
        wanted = (item.partition("=") for item in self.query)
        return (
            (methods is None or request.method in methods)
            and self.bucket in (None, request.bucket)
            and self._fits_key(request.key)
            and self.part in (None, request.part)
            and all(
                name in request.query and (not equals or request.query[name] == value)
                for name, equals, value in wanted
            )
            and not any(name in request.query for name in self.without_query)
            and (self.when is None or self.when(request))
        )

    def _fits_key(self, key: str) -> bool:
        if isinstance(self.key, re.Pattern):
            return self.key.search(key) is not None
        return self.key in (None, key)

    def take(self, request: Request | None) -> bool:
        """Tell whether this request (None: a new connection) is hit, and count it."""
        if (self.action.on_accept is not None) != (request is None):
            return False
        if request is not None and not self._fits(request):
            return False
        with self._changed:
            self.seen += 1
            if self.seen <= self.skip or (self.times is not None and self.hits >= self.times):
                return False
            if self.probability < 1.0 and self._random.random() >= self.probability:
                return False
            self.hits += 1
            self._changed.notify_all()
            return True

    def wait_hit(self, count: int = 1, timeout: float = 10.0) -> None:
        """Wait until the fault has hit `count` times.

        Raises:
            TimeoutError: After `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.hits >= count, timeout):
                raise TimeoutError(f"the fault {self.action.name} was hit {self.hits} times, not {count}")

    def release(self) -> None:
        """End all its stalls, those to come included."""
        self._released.set()

    async def hold(self, connection: Connection, seconds: float | None) -> None:
        """Stall.

        Raises:
            DisconnectError: The peer has closed meanwhile.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._released.is_set():
            if connection.peer_is_gone():
                raise DisconnectError
            if deadline is not None and time.monotonic() >= deadline:
                return
            left = 0.01 if deadline is None else min(0.01, max(deadline - time.monotonic(), 0))
            await asyncio.sleep(left)


class FaultPlan:
    """The faults of a server; used from the tests' threads and the server's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault and return it."""
        with self._lock:
            self._faults = [*self._faults, fault]
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault away and end its stalls."""
        fault.release()
        with self._lock:
            self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        """Take all faults away and end their stalls."""
        for fault in self._faults:
            self.remove(fault)

    def match(self, request: Request | None) -> list[Fault]:
        """Return the faults that hit a request; None for a new connection."""
        return [fault for fault in self._faults if fault.take(request)]


def _answering(name: str, make: Callable[[Exchange], Response]) -> Action:
    def before(exchange: Exchange, fault: Fault) -> None:
        exchange.response = make(exchange)

    return Action(name, before=before)


def _changing(name: str, change: Callable[[Response], None]) -> Action:
    def after(exchange: Exchange, fault: Fault) -> None:
        change(exchange.answer)

    return Action(name, after=after)


# Before the operation.


def drop(*, reset: bool = False) -> Action:
    """Close without answering; the operation is not done."""

    def before(exchange: Exchange, fault: Fault) -> None:
        raise DisconnectError(reset=reset)

    return Action("drop", before=before)


def cut_upload(after: int, *, reset: bool = False) -> Action:
    """Close after `after` bytes of the request's body."""

    def on_head(exchange: Exchange, fault: Fault) -> None:
        exchange.upload_cut, exchange.upload_reset = after, reset

    return Action("cut_upload", on_head=on_head)


def respond(status: int, body: bytes | Body = b"", headers: dict[str, str] | None = None) -> Action:
    """Answer this instead of doing the operation."""
    content = BytesBody(body) if isinstance(body, bytes) else body
    return _answering(f"respond {status}", lambda exchange: Response(status, dict(headers or {}), content))


def s3_error(
    code: str,
    message: str = "injected",
    *,
    status: int | None = None,
    headers: dict[str, str] | None = None,
    elements: dict[str, str] | None = None,
) -> Action:
    """Answer an S3 error instead of doing the operation; codes unknown to the server need `status`."""

    def make(exchange: Exchange) -> Response:
        error = S3Error(code, message, elements=elements, headers=headers, status=status)
        return exchange.server.error_response(error, exchange.request)

    return _answering(f"s3_error {code}", make)


def slow_down(retry_after: str | None = None) -> Action:
    """Answer 503 SlowDown, with `Retry-After: retry_after` if given."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return s3_error("SlowDown", "Please reduce your request rate.", headers=headers)


def html_error(status: int = 500) -> Action:
    """Answer what a proxy in front of S3 would: an HTML page."""
    page = b"<html><head><title>Error</title></head><body><h1>Something broke</h1><br></body></html>"
    return respond(status, page, {"Content-Type": "text/html"})


def redirect(status: int = 307, *, location: str | None = None, region: str | None = None) -> Action:
    """Answer a redirect: with `Location`, with `x-amz-bucket-region`, or both."""
    headers = {} if location is None else {"Location": location}
    headers |= {} if region is None else {"x-amz-bucket-region": region}
    code = "PermanentRedirect" if status == 301 else "TemporaryRedirect"
    return s3_error(code, "The bucket must be addressed elsewhere.", status=status, headers=headers)


def late_error(
    code: str = "InternalError", *, spaces: int = 3, every: float = 0.0, apply: bool = False
) -> Action:
    """Answer 200, then white space, then an error document, as S3 does for copy and complete.

    Args:
        code: The error's code.
        spaces: How many spaces come first.
        every: Seconds between two spaces.
        apply: Do the operation nevertheless.
    """

    def make(exchange: Exchange) -> Response:
        document = error_xml(code, "We encountered an internal error. Please try again.", {}, "LATE")
        response = Response(
            200, {"Content-Type": "application/xml"}, BytesBody(b" " * spaces + document), code=code
        )
        if every:
            response.wire.piece, response.wire.pause, response.wire.slow_until = 1, every, spaces
        return response

    def after(exchange: Exchange, fault: Fault) -> None:
        exchange.response = make(exchange)

    return Action("late_error", after=after) if apply else _answering("late_error", make)


# Around the operation.


def hook(function: Callable[[Exchange], None]) -> Action:
    """Call a function before the operation, in the server's thread: to replace an object, say."""
    return Action("hook", before=lambda exchange, fault: function(exchange))


def hook_after(function: Callable[[Exchange], None]) -> Action:
    """Call a function after the operation, before the answer is sent; it may change `exchange.answer`."""
    return Action("hook_after", after=lambda exchange, fault: function(exchange))


def lose_answer(*, reset: bool = False) -> Action:
    """Do the operation, then close without answering."""

    def after(exchange: Exchange, fault: Fault) -> None:
        raise DisconnectError(reset=reset)

    return Action("lose_answer", after=after)


def delay(seconds: float) -> Action:
    """Wait before the answer."""

    def change(response: Response) -> None:
        response.wire.delay += seconds

    return _changing("delay", change)


def stall(at: Literal["accept", "request", "answer", "head"] | int, seconds: float | None = None) -> Action:
    """Stop for `seconds`, or until `fault.release()`; see the module's text for `at`."""
    name = f"stall {at}"
    if at == "accept":

        async def on_accept(connection: Connection, fault: Fault) -> None:
            await fault.hold(connection, seconds)

        return Action(name, on_accept=on_accept)

    async def hold(exchange: Exchange, fault: Fault) -> None:
        await fault.hold(exchange.connection, seconds)

    if at == "request":
        return Action(name, on_head=hold)
    if at == "answer":
        return Action(name, after=hold)

    if at == "head":

        def in_the_head(exchange: Exchange, fault: Fault) -> None:
            exchange.answer.wire.head_stall = lambda: fault.hold(exchange.connection, seconds)

        return Action(name, after=in_the_head)
    position = int(at)

    def after(exchange: Exchange, fault: Fault) -> None:
        exchange.answer.wire.stall_at = position
        exchange.answer.wire.stall = lambda: fault.hold(exchange.connection, seconds)

    return Action(name, after=after)


def drip(size: int, every: float) -> Action:
    """Send the body in pieces of `size` bytes, `every` seconds apart; 0 seconds over TLS: small records."""

    def change(response: Response) -> None:
        response.wire.piece, response.wire.pause = size, every

    return _changing("drip", change)


# The answer's framing.


def cut(after: int, *, reset: bool = False) -> Action:
    """Close after `after` bytes of the answer's body, by FIN, or by RST once those bytes have arrived."""

    def change(response: Response) -> None:
        response.wire.cut_at, response.wire.reset = after, reset

    return _changing("cut", change)


def cut_head(after: int, *, reset: bool = False) -> Action:
    """Close after `after` bytes of the answer's head."""

    def change(response: Response) -> None:
        response.wire.head_stop, response.wire.reset = after, reset

    return _changing("cut_head", change)


def hang_up(*, reset: bool = False) -> Action:
    """Answer in full, promise keep-alive, and close."""

    def change(response: Response) -> None:
        response.wire.hang_up, response.wire.reset = True, reset

    return _changing("hang_up", change)


def close_politely() -> Action:
    """Answer in full, with `Connection: close`, and close."""

    def change(response: Response) -> None:
        response.wire.close = True

    return _changing("close_politely", change)


def content_length(
    value: int | None = None, *, delta: int = 0, extra: bytes = b"", missing: bool = False
) -> Action:
    """Declare another length.

    Args:
        value: The length, whatever the body's is; None for the body's own.
        delta: Added to it.
        extra: Bytes sent after the body: rubbish that a keep-alive client would read as the next answer.
        missing: No Content-Length at all: the body ends with the connection.
    """

    def change(response: Response) -> None:
        response.wire.declared_length = (response.size if value is None else value) + delta
        response.wire.trailing = extra
        response.wire.no_length = missing

    return _changing("content_length", change)


def chunked(size: int = 65536, *, bad: Literal["", "size", "data", "unterminated"] = "") -> Action:
    """Send the body in chunks; `bad` makes them wrong, see `http.Wire.bad_chunk`."""

    def change(response: Response) -> None:
        response.wire.chunked, response.wire.bad_chunk = size, bad

    return _changing(f"chunked {bad}", change)


def informational(count: int = 1, *, status: int = 100) -> Action:
    """Send 1xx answers before the final one."""

    def change(response: Response) -> None:
        response.wire.before += (f"HTTP/1.1 {status} Wait\r\n\r\n".encode()) * count

    return _changing("informational", change)


def header_flood(count: int = 10_000) -> Action:
    """Add so many headers to the answer."""
    return raw_header(b"".join(b"x-flood-%d: %d\r\n" % (n, n) for n in range(count)))


def huge_header(size: int = 100_000) -> Action:
    """Add one header with a value of `size` bytes."""
    return raw_header(b"x-huge: " + b"a" * size + b"\r\n")


def raw_header(line: bytes) -> Action:
    """Add raw header lines, with their CRLF."""

    def change(response: Response) -> None:
        response.wire.headers_last += line

    return _changing("raw_header", change)


def head_body(data: bytes | None = None) -> Action:
    """Send a body where none may be: with HEAD, 204 and 304; the object's own, or `data`."""

    def change(response: Response) -> None:
        response.wire.body_anyway = True
        if data is not None:
            response.set_body(data)

    return _changing("head_body", change)


# The answer's content.


def ignore_range() -> Action:
    """Answer a range request with 200 and the whole object."""

    def change(response: Response) -> None:
        if response.status == 206:
            response.status, response.start, response.stop = 200, 0, None
            response.headers.pop("Content-Range", None)

    return _changing("ignore_range", change)


_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def content_range(change: str) -> Action:
    """Lie in Content-Range.

    Args:
        change: "shifted" (both ends 1 later), "short" (last 1 earlier), "total" (size 1 larger), "missing",
            "star" (`/*`), "unsatisfied" (`*/size`), "overflow" (numbers beyond 64 bits), "junk", "unit" (not
            bytes), or the header's whole value.
    """

    def apply(response: Response) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            return
        first, last, total = (int(number) for number in match.groups())
        values = {
            "shifted": f"bytes {first + 1}-{last + 1}/{total + 1}",
            "short": f"bytes {first}-{last - 1}/{total}",
            "total": f"bytes {first}-{last}/{total + 1}",
            "star": f"bytes {first}-{last}/*",
            "unsatisfied": f"bytes */{total}",
            "overflow": f"bytes {first + 2**64}-{last + 2**64}/{total + 2**64}",
            "junk": "bytes one-two/three",
            "unit": f"lines {first}-{last}/{total}",
        }
        if change == "missing":
            del response.headers["Content-Range"]
        else:
            response.headers["Content-Range"] = values.get(change, change)

    return _changing(f"content_range {change}", apply)


def byteranges() -> Action:
    """Answer a range request as multipart/byteranges."""

    def change(response: Response) -> None:
        inner = response.headers.pop("Content-Range", "bytes 0-0/1")
        part = f"--sep\r\nContent-Type: application/octet-stream\r\nContent-Range: {inner}\r\n\r\n".encode()
        response.set_body(part + response.body_bytes() + b"\r\n--sep--\r\n")
        response.headers["Content-Type"] = "multipart/byteranges; boundary=sep"

    return _changing("byteranges", change)


def set_headers(headers: dict[str, str]) -> Action:
    """Set headers of the answer: ETag, Date, Content-Encoding ..."""

    def change(response: Response) -> None:
        for name, value in headers.items():
            _pop_header(response, name)
            response.headers[name] = value

    return _changing("set_headers", change)


def drop_headers(*names: str) -> Action:
    """Leave headers of the answer out."""

    def change(response: Response) -> None:
        for name in names:
            _pop_header(response, name)

    return _changing("drop_headers", change)


def _pop_header(response: Response, name: str) -> None:
    for present in list(response.headers):
        if present.lower() == name.lower():
            del response.headers[present]


def replace_body(data: bytes, *, status: int | None = None) -> Action:
    """Do the operation, then answer with another body (junk XML, nothing) and perhaps another status."""

    def change(response: Response) -> None:
        response.set_body(data)
        response.status = status or response.status

    return _changing("replace_body", change)


def truncate_body(keep: int) -> Action:
    """Answer with the first `keep` bytes of the body and the fitting length: XML that ends too early."""

    def change(response: Response) -> None:
        response.set_body(response.body_bytes()[:keep])

    return _changing("truncate_body", change)


def corrupt(offset: int) -> Action:
    """Flip all bits of one byte of the body that is sent."""

    def change(response: Response) -> None:
        data = bytearray(response.body_bytes())
        data[offset] ^= 0xFF
        response.set_body(bytes(data))

    return _changing("corrupt", change)
