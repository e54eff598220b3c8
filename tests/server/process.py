"""The server in a child process, for tests that fork, exit or measure the client's process."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .server import REGION, VerifyingServer
from .store import PatternBody
from .tls import make_certificate

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ServerProcess", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Run a server until standard input ends; print its description, then its record: a line of JSON each."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.server", description="A verifying S3 server; it ends when standard input ends."
    )
    parser.add_argument("--bucket", action="append", default=[], help="a bucket to make (default: bucket)")
    parser.add_argument(
        "--object",
        action="append",
        default=[],
        metavar="KEY=SIZE",
        help="a patterned object in the first bucket",
    )
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", action="store_true", help="serve https with a throw-away certificate")
    parser.add_argument("--no-auth", action="store_true", help="let unsigned requests in")
    options = parser.parse_args(arguments)
    certificate = make_certificate() if options.tls else None
    buckets = tuple(options.bucket) or ("bucket",)
    server = VerifyingServer(
        buckets=buckets,
        region=options.region,
        port=options.port,
        tls=certificate,
        require_auth=not options.no_auth,
    )
    for item in options.object:
        key, _, size = item.rpartition("=")
        server.put(key, PatternBody(int(size)), bucket=buckets[0])
    with server:
        print(json.dumps({"url": server.url, "ca": str(certificate.ca) if certificate else None}), flush=True)
        sys.stdin.read()
        record = {
            "requests": len(server.requests),
            "connections_opened": server.connections_opened,
            "peak_connections": server.peak_connections,
            "errors": [str(error) for error in server.errors],
            "unfinished": sum(not request.finished for request in server.requests),
        }
        print(json.dumps(record), flush=True)
    return 0


class ServerProcess:
    """`python -m tests.server` as a context manager.

    Args:
        arguments: The command's options.

    Attributes:
        url: The endpoint, once started.
        ca: The PEM file to trust, with --tls.
        record: After `stop`: requests, connections_opened, peak_connections, errors, unfinished.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.url = ""
        self.ca: str | None = None
        self.record: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it and wait until it serves."""
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "tests.server", *self.arguments]
        self._process = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        description = json.loads(self._process.stdout.readline())
        self.url, self.ca = description["url"], description["ca"]
        return self

    def stop(self) -> dict[str, Any]:
        """End it and return its record."""
        process, self._process = self._process, None
        if process is not None:
            try:
                output, _ = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise
            self.record = json.loads(output)
        return self.record

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
