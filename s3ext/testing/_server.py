"""Runs moto's S3 server in a child process.

This file is both halves. `serve` starts this very file as a script, without s3ext, and the child's `main`
serves on a port that the system chose and prints it. A pipe ties the two: the parent holds its writing end,
and the child ends when that closes, so a parent that is killed leaves no server behind. A copy of the writing
end in a fork of the parent would keep the pipe open, so the child also looks whether its parent is the same.

The server is for tests and demonstrations: it holds objects in memory, and checks neither signatures nor
checksums.
"""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, Request, build_opener

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server", "serve"]

_STOP_SECONDS = 5.0


class Server:
    """An S3 server that runs while the block of `serve` does.

    Attributes:
        endpoint_url: Where it listens, e.g. `http://127.0.0.1:43211`.
    """

    __slots__ = ("_process", "endpoint_url")

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.endpoint_url = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def bucket(self, name: str) -> str:
        """Make a bucket, or keep the one that is there.

        Args:
            name: The bucket's name.

        Returns:
            The name.

        Raises:
            OSError: The server refused; `urllib.error.HTTPError` with its answer.
        """
        # moto takes requests without credentials. No proxy of the environment's can reach our loopback.
        request = Request(f"{self.endpoint_url}/{name}", method="PUT")  # noqa: S310 - our own http URL
        with build_opener(ProxyHandler({})).open(request, timeout=30):
            return name


@contextmanager
def serve(*, timeout: float = 60.0) -> Iterator[Server]:
    """Start an S3 server on a free port of the loopback interface; it ends with the block.

        with s3ext.testing.serve() as server:
            store = S3Store(server.bucket("data"), endpoint=server.endpoint_url, ...)

    Args:
        timeout: Seconds to wait for the server to be ready. Default: 60; it takes 1 to 4.

    Yields:
        The running server.

    Raises:
        ImportError: moto is not installed; the extra `s3ext[demo]` or `s3ext[test]` brings it.
        TimeoutError: The server was not ready in time.
        RuntimeError: The server ended before it was ready.
    """
    if importlib.util.find_spec("moto") is None:
        raise ImportError("the S3 server for tests is moto's: pip install 's3ext[demo]'", name="moto")
    # A sanitizer or profiler that is preloaded into the program is not meant for the server.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    process = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__)), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    try:
        yield Server(process, _await_port(process, timeout))
    finally:
        _stop(process)


def _await_port(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Return the port that the child prints once it listens."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"the S3 server was not ready within {timeout:g} s")
        chunk = os.read(process.stdout.fileno(), 64)
        if not chunk:
            raise RuntimeError(f"the S3 server ended before it was ready, with status {process.wait()}")
        line += chunk
    return int(line)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the child, gently first, and reap it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def main(parent: int) -> None:
    """Serve until the standard input closes or `parent`, a process id, is no longer our parent."""
    # Ctrl-C goes to every process of the terminal: the parent decides when the server ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE", str(64 << 20))  # bytes before a temporary file
    import logging  # noqa: PLC0415 - only in the child

    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow, and an extra

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it prints a line for every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)  # noqa: T201 - the message to the parent
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], 1.0)[0]:
            break
    # Requests may still be under way on other threads; nothing of theirs is worth waiting for.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
