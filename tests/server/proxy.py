"""A forward proxy for tests: plain HTTP, CONNECT, and SOCKS, over TLS if wanted, in a thread of its own.

It can lead names such as `bucket.s3.us-west-2.amazonaws.com:443` to a test server's port, so that clients
speak to AWS's names and nothing leaves the machine: what is not mapped is refused (502) unless it is on
127.0.0.1.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fnmatch
import ipaddress
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from .tls import Certificate

__all__ = ["ForwardProxy", "ProxyRequest"]

_ERRORS = {
    407: "Proxy Authentication Required",
    403: "Forbidden",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


@dataclass(slots=True)
class ProxyRequest:
    """What a client asked of the proxy.

    Attributes:
        method: "CONNECT", "SOCKS4", "SOCKS5", or the method of a plain request.
        target: `host:port` for tunnels, the whole URL for plain requests, as sent.
        headers: Lower-case names; empty for SOCKS.
        user: The user name that came with it, or "".
        status: What the proxy answered itself (200 for an open tunnel, 0 for a plain request that was passed
            on).
    """

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    user: str = ""
    status: int = 0


class _RefusedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ForwardProxy:
    """The proxy; a context manager.

    Args:
        mapping: Patterns of `host:port` (shell wildcards) to a port on 127.0.0.1, or to an (address, port).
        kind: "http" (plain and CONNECT), "socks4" (4a too) or "socks5".
        auth: User and password that it wants, or None; not with socks4, which has no passwords.
        refuse: A status (407, 502, 503 ...) with which every request is refused; 0 refuses none, -1 closes
            without an answer.
        tls: A certificate, for clients that speak TLS to the proxy itself.
    """

    def __init__(
        self,
        mapping: Mapping[str, int | tuple[str, int]] | None = None,
        *,
        kind: Literal["http", "socks4", "socks5"] = "http",
        auth: tuple[str, str] | None = None,
        refuse: int = 0,
        tls: Certificate | None = None,
    ) -> None:
        self.mapping = dict(mapping or {})
        self.kind = kind
        self.auth = auth
        self.refuse = refuse
        self.tls = tls
        self.port = 0
        self.requests: list[ProxyRequest] = []
        self.connections_opened = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The proxy's URL, without user and password; socks4a and socks5h, so that it resolves the names."""
        scheme = {"http": "http" if self.tls is None else "https", "socks4": "socks4a", "socks5": "socks5h"}
        return f"{scheme[self.kind]}://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start listening and serving."""
        self._loop = asyncio.SelectorEventLoop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener, ready), name="forward-proxy", daemon=True
        )
        self._thread.start()
        ready.wait(10)
        return self

    def stop(self) -> None:
        """Close everything and join the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        assert not thread.is_alive(), "the proxy's thread does not end"
        self._loop = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(
            asyncio.start_server(
                self._on_connection,
                sock=listener,
                limit=256 * 1024,
                ssl=None if self.tls is None else self.tls.context(),
            )
        )
        ready.set()
        try:
            loop.run_forever()
            server.close()
            for task in self._tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            for writer in self._writers:
                writer.transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            loop.close()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_opened += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # Those over TLS take a while to close; what is left of them at the end is aborted.
        self._writers.add(writer)
        try:
            if self.kind == "socks5":
                await self._serve_socks(reader, writer)
            elif self.kind == "socks4":
                await self._serve_socks4(reader, writer)
            else:
                await self._serve_http(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The client went away or sent no request; there is nobody left to tell.
            pass
        except asyncio.CancelledError:
            # Only `stop` cancels. Ending quietly keeps asyncio's own stream callback from reporting it.
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    # HTTP.

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: _Upstream | None = None
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                request, lines = _parse(head)
                self.requests.append(request)
                if not await self._admit(request, writer):
                    return
                if request.method == "CONNECT":
                    await self._tunnel(request, reader, writer)
                    return
                upstream = await self._pass_on(request, lines, reader, writer, upstream)
                if upstream is None:
                    return
        finally:
            if upstream is not None:
                upstream.close()

    async def _admit(self, request: ProxyRequest, writer: asyncio.StreamWriter) -> bool:
        if self.refuse < 0:
            return False
        if self.refuse:
            return await _refuse(request, writer, self.refuse)
        scheme, _, code = request.headers.get("proxy-authorization", "").partition(" ")
        given = base64.b64decode(code).decode() if scheme.lower() == "basic" else ""
        request.user = given.partition(":")[0]
        if self.auth is not None and given != ":".join(self.auth):
            return await _refuse(request, writer, 407)
        return True

    async def _tunnel(
        self, request: ProxyRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = request.target.rpartition(":")
        try:
            up_reader, up_writer = await self._connect(host.strip("[]"), int(port))
        except _RefusedError as refused:
            await _refuse(request, writer, refused.status)
            return
        request.status = 200
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _pump_both(reader, writer, up_reader, up_writer)

    async def _pass_on(
        self,
        request: ProxyRequest,
        lines: list[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: _Upstream | None,
    ) -> _Upstream | None:
        parts = urlsplit(request.target)
        if parts.scheme != "http" or parts.hostname is None:
            await _refuse(request, writer, 502)
            return None
        address = (parts.hostname, parts.port or 80)
        if upstream is None or upstream.address != address or upstream.answers.done():
            if upstream is not None:
                upstream.close()
            try:
                up_reader, up_writer = await self._connect(*address)
            except _RefusedError as refused:
                await _refuse(request, writer, refused.status)
                return None
            upstream = _Upstream(address, up_writer, asyncio.ensure_future(_pump(up_reader, writer)))
        origin = "/" + request.target.split("/", 3)[3] if request.target.count("/") > 2 else "/"
        kept = [
            line
            for line in lines[1:]
            if not line.lower().startswith((b"proxy-authorization:", b"proxy-connection:"))
        ]
        upstream.writer.write(
            b"\r\n".join([f"{request.method} {origin} HTTP/1.1".encode(), *kept]) + b"\r\n\r\n"
        )
        left = int(request.headers.get("content-length", "0"))
        while left:
            data = await reader.read(min(left, 256 * 1024))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            upstream.writer.write(data)
            await upstream.writer.drain()
            left -= len(data)
        return upstream

    # SOCKS5 (RFC 1928, RFC 1929).

    async def _serve_socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = ProxyRequest("SOCKS5", "")
        self.requests.append(request)
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self.auth is not None else 0
        if version != 5 or wanted not in methods:
            request.status = 407
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if wanted and not await self._socks_password(request, reader, writer):
            request.status = 407
            return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        request.target = f"{host}:{port}"
        try:
            up_reader, up_writer = await self._connect(host, port)
        except _RefusedError as refused:
            request.status = refused.status
            writer.write(b"\x05\x05\x00\x01" + bytes(6))
            return
        request.status = 200
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await _pump_both(reader, writer, up_reader, up_writer)

    async def _serve_socks4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS 4, and 4a: an address 0.0.0.x says that the host's name follows."""
        request = ProxyRequest("SOCKS4", "")
        self.requests.append(request)
        if await reader.readexactly(2) != b"\x04\x01":  # version 4, connect
            return
        port = int.from_bytes(await reader.readexactly(2), "big")
        address = await reader.readexactly(4)
        request.user = (await reader.readuntil(b"\0"))[:-1].decode()
        if address[:3] == bytes(3) and address[3]:
            host = (await reader.readuntil(b"\0"))[:-1].decode()
        else:
            host = str(ipaddress.ip_address(address))
        request.target = f"{host}:{port}"
        try:
            up_reader, up_writer = await self._connect(host, port)
        except _RefusedError as refused:
            request.status = refused.status
            writer.write(b"\x00\x5b" + bytes(6))
            return
        request.status = 200
        writer.write(b"\x00\x5a" + bytes(6))
        await _pump_both(reader, writer, up_reader, up_writer)

    async def _socks_password(
        self, request: ProxyRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        await reader.readexactly(1)
        user = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        request.user = user
        right = (user, password) == self.auth
        writer.write(b"\x01\x00" if right else b"\x01\x01")
        return right

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.refuse:
            raise _RefusedError(502)
        name = f"{host}:{port}"
        for pattern, target in self.mapping.items():
            if fnmatch.fnmatchcase(name, pattern):
                host, port = ("127.0.0.1", target) if isinstance(target, int) else target
                break
        else:
            if host not in ("127.0.0.1", "localhost", "::1"):
                raise _RefusedError(502)
        try:
            return await asyncio.open_connection(host, port)
        except OSError as error:
            raise _RefusedError(502) from error


@dataclass(slots=True)
class _Upstream:
    address: tuple[str, int]
    writer: asyncio.StreamWriter
    answers: asyncio.Future[None]

    def close(self) -> None:
        self.answers.cancel()
        self.writer.close()


def _parse(head: bytes) -> tuple[ProxyRequest, list[bytes]]:
    lines = head[:-4].split(b"\r\n")
    method, target, _ = lines[0].decode("latin-1").split(" ", 2)
    pairs = (line.decode("latin-1").partition(":") for line in lines[1:])
    return ProxyRequest(method, target, {name.lower(): value.strip() for name, _, value in pairs}), lines


async def _refuse(request: ProxyRequest, writer: asyncio.StreamWriter, status: int) -> bool:
    request.status = status
    challenge = 'Proxy-Authenticate: Basic realm="test"\r\n' if status == 407 else ""
    reason = _ERRORS.get(status, "Refused")
    writer.write(
        f"HTTP/1.1 {status} {reason}\r\n{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    await writer.drain()
    return False


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way to the end, then end the other side."""
    with contextlib.suppress(OSError):
        while data := await reader.read(256 * 1024):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()  # TLS cannot end one way alone


async def _pump_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    try:
        await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
    finally:
        up_writer.close()
