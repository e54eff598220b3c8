"""The verifying server: its thread and event loop, connections, records, and a request's way through it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import os
import re
import socket
import ssl
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import unquote_to_bytes

from .api import Api, is_directory, xml_response
from .errors import S3Error, error_xml
from .faults import Exchange, Fault, FaultPlan, Step
from .http import (
    BODY_LIMIT,
    BadRequestError,
    Body,
    BytesBody,
    Connection,
    DisconnectError,
    Request,
    Response,
    http_date,
    parse_head,
    send_response,
    store_body,
)
from .signature import UNSIGNED_PAYLOAD, Credential, Verdict, check_payload, verify
from .store import MIN_PART, Bucket, Store, StoredObject

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .tls import Certificate

__all__ = ["ACCESS_KEY", "REGION", "SECRET_KEY", "VerifyingServer", "WireError"]

ACCESS_KEY = "AKIDTESTEXAMPLE00001"
SECRET_KEY = "test/secret+key/for=the/verifying/server"
REGION = "us-east-1"

# Endpoints of AWS: s3.region, s3-region, s3.dualstack.region, s3 alone (us-east-1); each may follow a bucket.
# Access points are buckets called <name>-<account> here.
_AWS_HOST = re.compile(
    r"(?:(?P<bucket>.+)\.)?s3(?:-accesspoint)?(?:-fips)?(?:\.dualstack)?(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d+))?\.amazonaws\.com(?:\.cn)?"
)

# Of S3 Express One Zone: bucket.s3express-zone.region.
_ZONAL_HOST = re.compile(
    r"(?P<bucket>.+)\.s3express-(?P<zone>[a-z0-9-]+)\.(?P<region>[a-z0-9-]+)\.amazonaws\.com"
)

# Refusals of an operation that a right client never gets, whatever its user asks for.
_CLIENT_FAULTS = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "InvalidPart",
        "InvalidPartOrder",
        "InvalidURI",
        "MalformedXML",
        "MethodNotAllowed",
        "NotImplemented",
    }
)

_T = TypeVar("_T")

_live: weakref.WeakSet[VerifyingServer] = weakref.WeakSet()


@dataclass(slots=True, frozen=True)
class WireError:
    """Something that the client did wrong.

    Attributes:
        code: S3's code of the refusal, or "Wire" for a breach of HTTP, or "Secret" for a secret where none
            belongs.
        message: What was wrong; for a wrong signature with the canonical request.
        request: The request, if it could be parsed.
    """

    code: str
    message: str
    request: Request | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message} [{self.request}]"


class VerifyingServer:
    """An S3 server that holds clients to the rules; see the package's text for how tests use it.

    Args:
        buckets: Buckets that are there from the start.
        region: The region of the server and of its buckets.
        tls: A certificate (see `tls.make_certificate`) for https, None for http.
        credentials: The key pairs that it knows; `ACCESS_KEY` and `SECRET_KEY` if not given.
        require_auth: False lets everybody in without a signature (those that are there are verified
            nevertheless).
        min_part_size: For EntityTooSmall; 0 switches it off.
        base_path: A path before everything, which is part of what is signed.
        idle_timeout: Seconds after which a silent kept-alive connection is closed; None for never. S3's is
            some seconds.
        max_requests_per_connection: Then it answers with `Connection: close`.
        allow_chunked: Take requests with `Transfer-Encoding: chunked`, which S3 refuses.
        host: The address to listen on. port: 0 lets the system choose.
        backlog: Of the listening socket.
    """

    def __init__(
        self,
        *,
        buckets: tuple[str, ...] = ("bucket",),
        region: str = REGION,
        tls: Certificate | None = None,
        credentials: tuple[Credential, ...] = (Credential(ACCESS_KEY, SECRET_KEY),),
        require_auth: bool = True,
        min_part_size: int = MIN_PART,
        base_path: str = "",
        idle_timeout: float | None = None,
        max_requests_per_connection: int | None = None,
        allow_chunked: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        backlog: int = 1024,
    ) -> None:
        self.region = region
        self.tls = tls
        self.credentials = {credential.access_key: credential for credential in credentials}
        self.require_auth = require_auth
        self.base_path = base_path.rstrip("/")
        self.idle_timeout = idle_timeout
        self.max_requests_per_connection = max_requests_per_connection
        self.allow_chunked = allow_chunked
        self.host = host
        self.port = port
        self.clock_offset = 0.0
        self.store = Store(self.now, region, min_part_size)
        self.faults = FaultPlan()
        self.requests: list[Request] = []
        self.errors: list[WireError] = []
        self.crashes: list[BaseException] = []
        self.tls_failures: list[str] = []
        self.session_keys: set[str] = set()
        self.session_seconds = 300.0
        self.connections_opened = 0
        self.local_addresses: list[str] = []
        self.peak_connections = 0
        self.peak_in_flight = 0
        self._in_flight = 0
        self._backlog = backlog
        self._api = Api(self.store)
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        for name in buckets:
            self.store.create_bucket(name)

    # For tests: control.

    def start(self) -> Self:
        """Start listening and serving; returns when connections are accepted."""
        self._loop = asyncio.SelectorEventLoop()
        self._listener = self._listen()
        self._thread = threading.Thread(target=self._run, name="verifying-server", daemon=True)
        self._thread.start()
        _live.add(self)
        self._call(self._start_accepting)
        return self

    def stop(self) -> None:
        """Close everything and join the thread; does nothing if it does not run."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self.faults.clear()
        loop.call_soon_threadsafe(lambda: loop.create_task(self._shut_down()))
        thread.join(10)
        assert not thread.is_alive(), "the server's thread does not end"
        self._loop = self._thread = None
        _live.discard(self)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The endpoint: scheme, address, port and base path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.base_path}"

    def now(self) -> float:
        """The server's time: the system's plus `clock_offset` seconds, which tests may change at any time."""
        return time.time() + self.clock_offset

    @property
    def connections_open(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def create_bucket(
        self, name: str, *, region: str | None = None, public: bool = False, versioned: bool = False
    ) -> Bucket:
        """Create a bucket."""
        return self.store.create_bucket(name, region=region, public=public, versioned=versioned)

    def put(
        self,
        key: str,
        data: bytes | Body,
        *,
        bucket: str = "bucket",
        etag: str | None = None,
        headers: dict[str, str] | None = None,
        metadata: dict[str, str] | None = None,
        modified: int | None = None,
    ) -> StoredObject:
        """Put an object straight into the store.

        Args:
            key: The key.
            data: Bytes, or a body such as `PatternBody(5 * 2**40)`.
            bucket: The bucket.
            etag: With quotes; the MD5 for bytes and a made-up one for other bodies if not given.
            headers: content-type and the like, lower-case names.
            metadata: User metadata.
            modified: Seconds since 1970; now if not given.
        """
        body = BytesBody(data) if isinstance(data, bytes) else data
        if etag is None:
            source = data if isinstance(data, bytes) else f"{key} {body.size}".encode()
            etag = f'"{hashlib.md5(source, usedforsecurity=False).hexdigest()}"'
        stamp = int(self.now()) if modified is None else modified
        return self.store.put(
            bucket, StoredObject(key, body, etag, stamp, dict(headers or {}), dict(metadata or {}))
        )

    def get(self, key: str, *, bucket: str = "bucket") -> StoredObject:
        """Return an object of the store (`.data`, `.etag`, `.headers`, `.metadata`, `.tagging`, `.parts`
        ...).

        Raises:
            S3Error: NoSuchBucket, NoSuchKey.
        """
        return self.store.get(bucket, key)

    def keys(self, bucket: str = "bucket") -> list[str]:
        """Return a bucket's keys in S3's order."""
        with self.store.lock:
            return [key for _, key in self.store.bucket(bucket).sorted_keys()]

    def add_credential(
        self, access_key: str, secret_key: str, token: str | None = None, *, expires_in: float | None = None
    ) -> Credential:
        """Make a key pair known; `expires_in` is in seconds of the server's clock (negative: expired)."""
        expires = None if expires_in is None else self.now() + expires_in
        credential = Credential(access_key, secret_key, token, expires)
        self.credentials[access_key] = credential
        return credential

    def expire_credential(self, access_key: str) -> None:
        """Make a key pair expired from now on: requests get ExpiredToken."""
        self.credentials[access_key].expires = self.now() - 1

    def take_errors(self) -> list[WireError]:
        """Return what the client did wrong and forget it."""
        with self.store.lock:
            taken = list(self.errors)
            self.errors.clear()
        return taken

    def find(
        self, method: str | None = None, key: str | None = None, query: str | None = None
    ) -> list[Request]:
        """Return the requests with this method, key and query name, in order of arrival."""
        return [
            request
            for request in list(self.requests)
            if (method is None or request.method == method)
            and (key is None or request.key == key)
            and (query is None or query in request.query)
        ]

    def forget(self) -> None:
        """Forget the recorded requests and errors and the connection counters."""
        self.requests.clear()
        self.errors.clear()
        self.connections_opened = 0
        self.local_addresses.clear()
        self.peak_connections = self.connections_open
        self.peak_in_flight = self._in_flight

    def close_idle_connections(self, *, reset: bool = False) -> int:
        """Close the kept-alive connections on which no request runs, as S3 does in time; return how many."""

        def close() -> int:
            idle = [connection for connection in self._connections if connection.idle and connection.served]
            for connection in idle:
                self._end(connection, reset=reset)
            return len(idle)

        return self._call(close)

    def close_connections(self, *, reset: bool = False) -> int:
        """Close all connections, whatever runs on them; return how many."""

        def close() -> int:
            connections = list(self._connections)
            for connection in connections:
                self._end(connection, reset=reset)
            return len(connections)

        return self._call(close)

    def _end(self, connection: Connection, *, reset: bool) -> None:
        if reset:
            # The cancelled task closes the socket, which with this option sends an RST and no FIN before it.
            connection.linger_not()
            self._connections[connection].cancel()
        else:
            connection.shut()

    def stop_listening(self) -> None:
        """Refuse new connections (ECONNREFUSED); those that are open go on."""

        self._call(self._close_listener)

    def listen_again(self) -> None:
        """Accept connections again, on the same port."""
        if self._listener is None:
            self._listener = self._listen()
            self._call(self._start_accepting)

    def wait_idle(self, timeout: float = 5.0, *, connections: int | None = None) -> None:
        """Wait until no request is in flight and, if given, at most `connections` are open.

        Raises:
            TimeoutError: After `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self._in_flight or (connections is not None and self.connections_open > connections):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self._in_flight} requests in flight, {self.connections_open} connections open"
                )
            time.sleep(0.005)

    # The thread and the connections.

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(self._backlog)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        return listener

    def _run(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _call(self, function: Callable[[], _T]) -> _T:
        """Call a function in the server's thread and return its result."""
        loop = self._loop
        assert loop is not None, "the server does not run"

        async def run() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(10)

    def _start_accepting(self) -> None:
        assert self._loop is not None
        assert self._listener is not None
        # A callback, not a task: one that is cancelled in the wrong moment loses the socket it has accepted.
        self._loop.add_reader(self._listener, self._accept, self._loop, self._listener)

    def _accept(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # Nobody is left, or who came is gone again.
                return
            sock.setblocking(False)
            self.connections_opened += 1
            self.local_addresses.append(sock.getsockname()[0])
            connection = Connection(loop, sock, self.connections_opened)
            task = loop.create_task(self._serve(connection))
            # Also if it is cancelled before it has begun.
            task.add_done_callback(lambda _, connection=connection: self._forget(connection))
            self._connections[connection] = task
            self.peak_connections = max(self.peak_connections, len(self._connections))

    def _forget(self, connection: Connection) -> None:
        connection.close()
        self._connections.pop(connection, None)

    def _close_listener(self) -> None:
        if self._listener is not None:
            assert self._loop is not None
            self._loop.remove_reader(self._listener)
            self._listener.close()
        self._listener = None

    async def _shut_down(self) -> None:
        self._close_listener()
        tasks = list(self._connections.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.get_running_loop().stop()

    async def _serve(self, connection: Connection) -> None:
        """Serve a connection until it ends."""
        try:
            for fault in self.faults.match(None):
                if fault.action.on_accept is not None:
                    await fault.action.on_accept(connection, fault)
            if self.tls is not None:
                await connection.start_tls(self.tls.context())
            while await self._serve_one(connection):
                pass
            await connection.finish()
        except DisconnectError as end:
            await connection.cut(reset=end.reset)
        except ssl.SSLError as error:
            self.tls_failures.append(str(error))
        except OSError:
            # The peer reset the connection; the record of the request says that it was not finished.
            pass
        except Exception as error:  # noqa: BLE001 - a bug of the server must show in the test, not end the thread
            self.errors.append(WireError("ServerBug", repr(error)))
            self.crashes.append(error)
        finally:
            self._forget(connection)

    async def _serve_one(self, connection: Connection) -> bool:
        """Serve one request; return whether the connection goes on."""
        try:
            head = await connection.read_head(self.idle_timeout)
            if head is None:
                return False
            request = parse_head(head)
        except BadRequestError as bad:
            self.errors.append(WireError("Wire", str(bad)))
            answer = Response(
                400,
                {"Content-Type": "application/xml"},
                BytesBody(error_xml("BadRequest", str(bad), {}, "0")),
            )
            answer.wire.close = True
            await send_response(connection, Request("", "", [], {}, "", ""), answer)
            return False
        request.connection = connection.number
        request.index = len(self.requests)
        self.requests.append(request)
        connection.served += 1
        self._in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
        try:
            return await self._exchange(Exchange(self, connection, request), head)
        finally:
            self._in_flight -= 1

    # One request.

    async def _exchange(self, exchange: Exchange, head: bytes) -> bool:
        request, connection = exchange.request, exchange.connection
        refusal: S3Error | None = None
        verdict = Verdict("anonymous", "", "", UNSIGNED_PAYLOAD)
        try:
            self._address(request)
            self._check_secrets(request, head)
            verdict = self._authenticate(request)
        except S3Error as error:
            refusal = error
            self._blame(error, request)
        for problem in request.problems:
            self.errors.append(WireError("Wire", problem, request))
        faults = self.faults.match(request)
        request.faults = [fault.action.name for fault in faults]
        for fault in faults:
            await _step(fault.action.on_head, exchange, fault)
        if refusal is not None and request.header("expect"):
            response = self.error_response(refusal, request)
            response.wire.close = True
            await send_response(connection, request, response)
            return False
        await self._read_body(exchange)
        for fault in faults:
            await _step(fault.action.before, exchange, fault)
        if exchange.response is None:
            exchange.response = self._operate(exchange, verdict, refusal)
        for fault in faults:
            await _step(fault.action.after, exchange, fault)
        return await self._answer(exchange)

    async def _answer(self, exchange: Exchange) -> bool:
        request, response = exchange.request, exchange.answer
        named = {name.lower() for name in response.headers}
        stamp = {
            "Date": http_date(self.now()),
            "Server": "AmazonS3",
            "x-amz-request-id": f"REQ{request.index:08}",
        }
        response.headers = {
            name: value for name, value in stamp.items() if name.lower() not in named
        } | response.headers
        asked = request.header("connection").lower() == "close"
        limit = self.max_requests_per_connection
        if asked or (limit is not None and exchange.connection.served >= limit):
            response.wire.close = True
        try:
            await send_response(exchange.connection, request, response)
        except DisconnectError as end:
            if response.wire.close and not end.reset and request.finished:
                return False
            raise
        return True

    async def _read_body(self, exchange: Exchange) -> None:
        request, connection = exchange.request, exchange.connection
        length = int(request.header("content-length", "0"))
        in_chunks = "transfer-encoding" in request.fields
        if length > BODY_LIMIT:
            raise DisconnectError
        if request.header("expect").lower() == "100-continue" and (length or in_chunks):
            await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if exchange.upload_cut is not None:
            await connection.read_exactly(min(exchange.upload_cut, length))
            raise DisconnectError(reset=exchange.upload_reset)
        if in_chunks:
            exchange.body = await connection.read_chunked()
        elif length:
            exchange.body = await connection.read_exactly(length)
        store_body(request, exchange.body)
        if exchange.body and request.method in ("GET", "HEAD", "DELETE"):
            self.errors.append(WireError("Wire", f"a {request.method} with a body", request))

    def _operate(self, exchange: Exchange, verdict: Verdict, refusal: S3Error | None) -> Response:
        request = exchange.request
        try:
            if refusal is not None:
                raise refusal
            self._check_framing(request)
            try:
                check_payload(verdict, request.body_sha256)
            except S3Error as error:
                request.verified = False
                self._blame(error, request)
                raise
            response = self._handle(exchange)
        except S3Error as error:
            return self.error_response(error, request)
        request.applied = True
        return response

    def _check_session(self, request: Request, verdict: Verdict) -> None:
        """Check which keys a request must be signed with, and how the token comes, in S3 Express."""
        if verdict.kind == "anonymous":
            return
        in_session = verdict.access_key in self.session_keys
        if in_session != ("x-amz-s3session-token" in request.fields):
            raise S3Error(
                "InvalidRequest", "x-amz-s3session-token is for the keys of a session, and no others"
            )
        copying = bool(request.header("x-amz-copy-source"))
        own_keys = "session" in request.query or copying or verdict.kind == "presigned"
        if in_session != (is_directory(request.bucket) and not own_keys):
            raise S3Error("AccessDenied", "The request is signed with the wrong kind of keys")

    def _create_session(self, request: Request) -> Response:
        self.store.bucket(request.bucket)
        number = len(self.session_keys)
        keys = self.add_credential(
            f"ASIASESSION{number:09}",
            f"session/secret+{number}",
            f"session-token-{number}==",
            expires_in=self.session_seconds,
        )
        self.session_keys.add(keys.access_key)
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now() + self.session_seconds))
        inner = (
            f"<Credentials><SessionToken>{keys.token}</SessionToken>"
            f"<SecretAccessKey>{keys.secret_key}</SecretAccessKey><AccessKeyId>{keys.access_key}</AccessKeyId>"
            f"<Expiration>{ends}</Expiration></Credentials>"
        )
        return xml_response("CreateSessionResult", inner)

    def _handle(self, exchange: Exchange) -> Response:
        request = exchange.request
        if request.method == "GET" and "session" in request.query and is_directory(request.bucket):
            return self._create_session(request)
        try:
            return self._api.handle(exchange.request, exchange.body)
        except S3Error as error:
            if error.code in _CLIENT_FAULTS:
                self._blame(error, exchange.request)
            raise

    def _check_framing(self, request: Request) -> None:
        in_chunks = "transfer-encoding" in request.fields
        error: S3Error | None = None
        if in_chunks and not self.allow_chunked:
            error = S3Error(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                elements={"Header": "Transfer-Encoding"},
            )
        elif request.method in ("PUT", "POST") and not in_chunks and "content-length" not in request.fields:
            error = S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")
        if error is not None:
            self._blame(error, request)
            raise error

    def _blame(self, error: S3Error, request: Request) -> None:
        details = "".join(f"\n{name}: {value}" for name, value in error.elements.items())
        self.errors.append(WireError(error.code, error.message + details, request))

    def error_response(self, error: S3Error, request: Request) -> Response:
        """Make the answer for an error, S3's XML and all; without a body for HEAD."""
        headers = {"Content-Type": "application/xml"} | error.headers
        elements = dict(error.elements)
        if error.code.startswith("NoSuch") or error.code == "AccessDenied":
            elements.setdefault("Resource", request.path)
        body = (
            b""
            if request.method == "HEAD"
            else error_xml(error.code, error.message, elements, f"REQ{request.index:08}")
        )
        return Response(error.status, headers, BytesBody(body), code=error.code)

    # Who asks for what.

    def _address(self, request: Request) -> None:
        """Find bucket and key in Host and target."""
        path = request.path
        if self.base_path:
            if not (path + "/").startswith(self.base_path + "/"):
                raise S3Error("InvalidURI", f"The path does not begin with {self.base_path}")
            path = path.removeprefix(self.base_path)
        host = request.header("host").lower()
        host = host if host.endswith("]") else host.rpartition(":")[0] or host
        match = _ZONAL_HOST.fullmatch(host) or _AWS_HOST.fullmatch(host)
        bucket = (
            match["bucket"]
            if match
            else host.removesuffix(".localhost")
            if host.endswith(".localhost")
            else None
        )
        try:
            decoded = unquote_to_bytes(path.encode("latin-1")).decode("utf-8")
        except UnicodeDecodeError as error:
            raise S3Error("InvalidURI", "Couldn't parse the specified URI.") from error
        if bucket:
            request.bucket, request.key = bucket, decoded.removeprefix("/")
        else:
            request.bucket, _, request.key = decoded.removeprefix("/").partition("/")

    def _region_of(self, request: Request) -> str:
        """Return the region that the scope must name: that of the AWS endpoint, else that of the bucket."""
        host = request.header("host").lower().rpartition(":")[0] or request.header("host").lower()
        match = _ZONAL_HOST.fullmatch(host) or _AWS_HOST.fullmatch(host)
        if match is not None:
            return match["region"] or "us-east-1"
        bucket = self.store.buckets.get(request.bucket)
        return bucket.region if bucket else self.region

    def _check_secrets(self, request: Request, head: bytes) -> None:
        for credential in self.credentials.values():
            if credential.secret_key.encode() in head:
                self.errors.append(WireError("Secret", "the secret key is on the wire", request))
            if (
                credential.token
                and "authorization" in request.fields
                and credential.token in unquote_to_bytes(request.target).decode("latin-1")
            ):
                self.errors.append(
                    WireError("Secret", "the session token of a header-signed request is in its URL", request)
                )

    def _authenticate(self, request: Request) -> Verdict:
        verdict = verify(
            request.method,
            request.path,
            request.raw_query,
            request.fields,
            self.credentials,
            region=lambda: self._region_of(request),
            now=self.now(),
            services=("s3express",) if is_directory(request.bucket) else ("s3",),
        )
        self._check_session(request, verdict)
        request.auth, request.access_key = verdict.kind, verdict.access_key
        request.verified = verdict.kind != "anonymous"
        bucket = self.store.buckets.get(request.bucket)
        if not request.verified:
            reading = request.method in ("GET", "HEAD") and bucket is not None and bucket.public
            if self.require_auth and not reading:
                raise S3Error("AccessDenied", "Access Denied")
        elif bucket is not None and verdict.region != bucket.region:
            raise S3Error(
                "PermanentRedirect",
                "The bucket you are attempting to access must be addressed using the specified endpoint. "
                "Please send all future requests to this endpoint.",
                elements={
                    "Endpoint": f"{bucket.name}.s3.{bucket.region}.amazonaws.com",
                    "Bucket": bucket.name,
                },
                headers={"x-amz-bucket-region": bucket.region},
            )
        return verdict


async def _step(step: Step | None, exchange: Exchange, fault: Fault) -> None:
    if step is not None:
        result = step(exchange, fault)
        if inspect.isawaitable(result):
            await result


def _forget_in_child() -> None:
    """Close the sockets that a forked child inherited: the parent's server alone ends connections."""
    for server in list(_live):
        sockets = [connection.sock for connection in list(server._connections)]
        sockets += [server._listener] if server._listener is not None else []
        for sock in sockets:
            with contextlib.suppress(OSError):
                os.close(sock.detach())
    _live.clear()


os.register_at_fork(after_in_child=_forget_in_child)
