"""Running scripts in child processes, with time limits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.lifecycle import KEY, SIZE, SLOW
from tests.server import ACCESS_KEY, SECRET_KEY, PatternBody

if TYPE_CHECKING:
    from types import TracebackType

    from tests.server import VerifyingServer

__all__ = ["SLOW", "Script", "run"]

ROOT = Path(__file__).resolve().parents[2]


class Script:
    """A script that runs in a child process, after `from tests.lifecycle.prelude import *`.

    Args:
        server: The server that it talks to; the object KEY is put there.
        body: The script.
        flags: The interpreter's options.
        limit: Seconds after which it is a hang, and a failure.
        environment: More of it.
    """

    def __init__(
        self,
        server: VerifyingServer,
        body: str,
        *flags: str,
        limit: float = 8,
        environment: dict[str, str] | None = None,
    ) -> None:
        if KEY not in {*server.keys()}:
            server.put(KEY, PatternBody(SIZE))
        self.limit = limit * SLOW
        self.seconds = 0.0
        self._begun = time.monotonic()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-X",
                "faulthandler",
                *flags,
                "-c",
                "from tests.lifecycle.prelude import *\n" + textwrap.dedent(body),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "LIFECYCLE_URL": server.url,
                "LIFECYCLE_CA": str(server.tls.ca) if server.tls else "",
                "LIFECYCLE_KEYS": f"{ACCESS_KEY} {SECRET_KEY}",
                **(environment or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that what it forked can be ended with it
        )

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def interrupt(self) -> None:
        """Send it SIGINT."""
        self.process.send_signal(signal.SIGINT)

    def end(self, status: int = 0, stderr: str = "") -> str:
        """Wait for its end, expect a status and nothing (or just this) on stderr; the rest of its output."""
        try:
            output, errors = self.process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            # A hang: faulthandler shows the stacks of all threads, in the processes that it forked as well.
            os.killpg(self.process.pid, signal.SIGABRT)
            output, errors = self.process.communicate(timeout=10)
        self.seconds = time.monotonic() - self._begun
        assert (self.process.returncode, errors) == (status, stderr), (
            f"status {self.process.returncode} after {self.seconds:.2f} s:\n{output}\n{errors}"
        )
        return output

    def kill(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def run(server: VerifyingServer, body: str, *flags: str, limit: float = 8, status: int = 0) -> Script:
    """Run a script to its end; see `Script`."""
    with Script(server, body, *flags, limit=limit) as script:
        script.end(status)
    return script
