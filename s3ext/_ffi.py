"""The seam: the only module that imports the compiled extensions, and the only one where types end.

Importing it starts the core: libcurl and OpenSSL are initialised here, on the importing thread, because doing
it on a background thread can dead-lock a child that is forked meanwhile. It also sees to the two ends of a
process: at exit the core's threads are stopped, and the child of a fork drops everything that it inherited.

What C structures mean is written in csrc/s3ext.h. The `struct` formats below read arrays of them in bulk, an
order of magnitude faster than a cffi attribute at a time; `_checked` compares each with what C says at
import.
"""

from __future__ import annotations

import atexit
import os
from struct import Struct

try:
    from s3ext._buffer import (
        ArrowRows,
        Buffer,
        answer,
        arrow_join,
        arrow_rows,
        arrow_schema,
        arrow_stream,
        page_prefixes,
        page_rows,
        wrap,
    )
    from s3ext._s3ext import ffi, lib
except ImportError as error:
    raise ImportError(
        f"the compiled part of s3ext cannot be loaded ({error}); in a checkout, build it with "
        "`python build.py`, otherwise reinstall s3ext (its libraries are libcurl, OpenSSL 3 and expat)"
    ) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    # A value of cffi's: a pointer or a structure of the core.
    CData: TypeAlias = Any

__all__ = [
    "COMPLETION",
    "COMPLETIONS",
    "FAILURE",
    "NULL",
    "RELEASE_MEMORY",
    "SLICE",
    "UNKNOWN_SIZE",
    "ArrowRows",
    "Buffer",
    "answer",
    "arrow_join",
    "arrow_rows",
    "arrow_schema",
    "arrow_stream",
    "at_exit",
    "at_fork",
    "ffi",
    "lib",
    "page_prefixes",
    "page_rows",
    "text",
    "wrap",
]

NULL: CData = ffi.NULL

UNKNOWN_SIZE = 2**64 - 1
"""UINT64_MAX: "to the end of the object" in a request, "not known" in a result."""

EXIT_MS = 2000
"""How long the core may take to stop at exit; the promise is that a process ends within 3 s."""

_forked: list[Callable[[], None]] = []
_exiting: list[Callable[[], None]] = []


def at_fork(drop: Callable[[], None]) -> None:
    """Have a function called in the child of every fork, to forget what belongs to the parent."""
    _forked.append(drop)


def at_exit(stop: Callable[[], None]) -> None:
    """Have a function called at interpreter exit once the core has shut down."""
    _exiting.append(stop)


def text(pointer: CData, size: int = -1) -> str | None:
    """Return C's text as a str; None for NULL.

    Args:
        pointer: A `char *`, NUL-ended if no size is given.
        size: Bytes of text; default: up to the NUL.
    """
    if not pointer:
        return None
    raw: bytes = ffi.string(pointer) if size < 0 else ffi.unpack(pointer, size)
    return raw.decode("utf-8", "replace")


def _checked(layout: str, name: str) -> Struct:
    """Return a `struct` reader of a C structure, after a look whether C agrees with its size."""
    reader = Struct(layout)
    if reader.size != ffi.sizeof(name):
        raise ImportError(f"s3ext was built for another platform: {name} has {ffi.sizeof(name)} bytes")
    return reader


SLICE = _checked("@PQQP0Q", "struct s3ext_slice")
FAILURE = _checked("@IIIIII", "struct s3ext_delete_failure")
COMPLETION = _checked("@Qii", "struct s3ext_completion")
COMPLETIONS: CData = ffi.typeof("struct s3ext_completion[]")

RELEASE_MEMORY = int(ffi.cast("uintptr_t", ffi.addressof(lib, "s3ext_memory_release")))
"""Address of the function that gives a result's memory back, for `wrap`."""


def _start() -> None:
    message = ffi.new("char[]", 512)
    if lib.s3ext_init(message, 512) != 0:
        raise ImportError(f"s3ext cannot start: {text(message)}")


def _exit() -> None:
    lib.s3ext_shutdown(EXIT_MS)
    for stop in _exiting:
        stop()


def _after_fork_in_child() -> None:
    for drop in _forked:
        drop()


_start()
atexit.register(_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
