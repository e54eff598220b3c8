"""`credential_process`: a program of the user's that prints keys as JSON.

(AWS SDKs and tools, "Process credential provider".) It is run without a shell. What it says on standard error
is nobody's business but its own and may hold secrets, so it is thrown away, and an error shows no more than
the program's name and how it ended.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
from time import monotonic

from s3ext._credentials.keys import Keys, from_document
from s3ext.exceptions import GenericError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._credentials.files import Entry

__all__ = ["run"]

SECONDS = 50.0
"""How long it may take; whoever waits for keys gives up after 60."""
LIMIT = 1024 * 1024


def run(entry: Entry, name: str) -> Keys:
    """Run the program that a profile names.

    Args:
        entry: The key credential_process.
        name: Name of the profile.

    Raises:
        GenericError: It cannot be run, fails, takes too long, or prints no keys.
    """
    source = f"credential_process of profile {name!r} in {entry.where}"
    try:
        words = shlex.split(entry.text)
    except ValueError as error:
        raise GenericError(f"{source}: the command cannot be split into words: {error}") from None
    program = os.path.basename(words[0]) if words else ""  # noqa: PTH119 - it need not be a path
    try:
        # A session of its own, so that all that it started can be ended with it.
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "there is no command"
        raise GenericError(f"{source}: {program!r} cannot be run: {reason}") from None
    try:
        printed = _printed(process, monotonic() + SECONDS)
    finally:
        _end(process)
    if printed is None:
        raise GenericError(f"{source}: {program!r} did not end within {SECONDS:g} s, or printed over 1 MiB")
    if process.returncode:
        raise GenericError(
            f"{source}: {program!r} ended with status {process.returncode}; run it by hand to see why"
        )
    try:
        said = json.loads(printed)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise GenericError(f"{source}: {program!r} printed no JSON object")
    if said.get("Version") != 1:
        raise GenericError(f"{source}: {program!r} printed no keys of Version 1")
    return from_document(said, source, "SessionToken")


def _printed(process: subprocess.Popen[bytes], end: float) -> bytes | None:
    """Read what a process prints, until it has ended; None if it takes too long or prints too much."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    pieces: list[bytes] = []
    while poll.poll(max(0.0, end - monotonic()) * 1000):
        piece = os.read(descriptor, 64 * 1024)
        if not piece:
            try:
                process.wait(max(0.0, end - monotonic()))
            except subprocess.TimeoutExpired:
                return None
            return b"".join(pieces)
        pieces.append(piece)
        if sum(map(len, pieces)) > LIMIT:
            return None
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:  # noqa: SIM105 - contextlib is not loaded
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
