"""What the scripts of these tests begin with: a store on the test's server, and a few measures.

The environment tells the server (`process.run` sets it). Imports nothing heavy: scripts test what an import
of s3ext alone does to a process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from random import Random

import s3ext
from s3ext.store import S3Store
from tests.lifecycle import KEY, SIZE, SLOW

__all__ = [
    "KEY",
    "SIZE",
    "SLOW",
    "check",
    "connect",
    "content",
    "fd_count",
    "fork",
    "gauges",
    "os",
    "rss",
    "s3ext",
    "settled",
    "store",
    "sys",
    "time",
    "until",
]

# A shell that starts the tests in the background has it ignored, and Python leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)

FAILED = 99
PERIOD = 1_048_573


_block = b""


def content(start: int = 0, end: int = SIZE) -> bytes:
    """Return the bytes [start, end) of what tests.server.PatternBody holds."""
    global _block  # noqa: PLW0603 - made when first needed
    _block = _block or Random(0).randbytes(PERIOD)
    place = start % PERIOD
    return (_block * (2 + (end - start) // PERIOD))[place : place + end - start]


def connect(**options):
    """Make a store on the test's server."""
    ca = os.environ.get("LIFECYCLE_CA")
    if ca:
        with open(ca, "rb") as file:  # noqa: PTH123 - pathlib is not light
            options = {"root_certificate": file.read(), **options}
    if "credential_provider" not in options:
        id_, secret = os.environ["LIFECYCLE_KEYS"].split(" ")
        options = {"access_key_id": id_, "secret_access_key": secret, **options}
    options = {"endpoint": os.environ["LIFECYCLE_URL"], **options}
    return S3Store("bucket", region="us-east-1", allow_http=True, **options)


store = connect()


def check(on=store, start: int = 5, end: int = 100_005) -> None:
    """Make sure that a store works."""
    assert on.get_range(KEY, start=start, end=end) == content(start, end)


def fd_count() -> int:
    """Count the open descriptors of this process."""
    return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - as above


def rss() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - as above
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def gauges() -> dict[str, int]:
    """Return those of the engine's statistics that are 0 when nothing is under way."""
    now = s3ext.stats()
    return {name: now[name] for name in ("exchanges_in_flight", "bytes_in_flight", "memory_live")}


def until(condition, seconds: float = 5.0) -> None:
    """Wait until something is so; a sanitizer may take longer.

    Raises:
        AssertionError: It never was.
    """
    end = time.monotonic() + seconds * SLOW
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def settled(seconds: float = 5.0) -> None:
    """Wait until nothing is under way and nothing is held.

    Raises:
        AssertionError: Something is, with the numbers.
    """
    import gc

    end = time.monotonic() + seconds * SLOW
    while any(gauges().values()):
        gc.collect()
        assert time.monotonic() < end, gauges()
        time.sleep(0.01)


def fork(work, ending: str = "os._exit"):
    """Fork, do the work in the child, and let the child end in a way.

    Args:
        work: A function.
        ending: "os._exit", "sys.exit", or "exception".

    Returns:
        What waits for the child; it raises AssertionError when the work failed.
    """
    pid = os.fork()
    if pid:

        def wait() -> None:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status == (1 if ending == "exception" else 0), f"the child ended with status {status}"

        return wait
    try:
        work()
    except SystemExit:  # a child of this child ends
        raise
    except BaseException:  # noqa: BLE001 - whatever it is, the child must not go on
        import traceback

        traceback.print_exc()
        os._exit(FAILED)
    if ending == "os._exit":
        os._exit(0)
    if ending == "sys.exit":
        sys.exit(0)
    sys.excepthook = lambda *_: None
    raise RuntimeError("the end that was asked for")
