"""`Bytes`: what reads return, a read-only buffer with some of the methods of `bytes`.

The bytes themselves stay where they are: in the memory that the socket wrote into, or in the object that was
given. `Buffer`, the base class in C, knows who owns them; this class adds the methods: obstore's, and what
readers of file formats (zipfile, numpy) do with what they read: `decode`, `hex`, `find`, `rfind`,
`startswith`, `endswith`. Slices and the results of `removeprefix` and `removesuffix` share the memory, and so
keep all of it alive.
"""

from __future__ import annotations

import operator

from s3ext._ffi import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self, SupportsIndex

    from typing_extensions import Buffer as SupportsBuffer

__all__ = ["Bytes"]

SHOWN = 128
"""Bytes that repr() shows in full; of more it shows the beginning and the size."""
BEGINNING = 64


class Bytes(Buffer):
    r"""Bytes that are not copied: a buffer to hand to `memoryview`, numpy, a file or a decoder.

    It compares equal to any buffer of the same bytes, has no order, and cannot be a key of a dict.

    Args:
        buf: any C-contiguous, one-dimensional buffer of unsigned bytes; default empty. It is not copied: as
            long as this object or a view of it lives, so does `buf`, and a bytearray cannot be resized.

    Raises:
        TypeError: `buf` is not a buffer.
        BufferError: its items are not unsigned bytes.
        ValueError: it is not contiguous, or not one-dimensional.

    Example:
        >>> b = Bytes(b"abc")
        >>> b[0], b[1:], bytes(b)
        (97, Bytes(b"bc"), b'abc')
    """

    __slots__ = ("__weakref__",)

    if TYPE_CHECKING:
        # At run time iteration goes through __getitem__, which type checkers do not take for iterable.
        def __iter__(self) -> Iterator[int]: ...

    def __repr__(self) -> str:
        # All of it, as obstore does, would take seconds for what is read in milliseconds, and some show what
        # they never look at: asyncio.Runner does with a task's result.
        size = len(self)
        if size > SHOWN:
            return f'Bytes(b"{_quoted(bytes(self[:BEGINNING]))}"... {size} bytes)'
        return f'Bytes(b"{_quoted(bytes(self))}")'

    def __getnewargs__(self) -> tuple[bytes]:
        return (bytes(self),)

    def __add__(self, other: SupportsBuffer) -> Bytes:
        return _joined(self, other)

    def __radd__(self, other: SupportsBuffer) -> Bytes:
        # bytes and bytearray can add any buffer, and the sum has the class of the first, but Python asks here
        # before it asks them.
        return NotImplemented if isinstance(other, bytes | bytearray) else _joined(other, self)

    def __mul__(self, count: SupportsIndex) -> Bytes:
        try:
            times = operator.index(count)
        except TypeError:
            return NotImplemented
        return NotImplemented if times < 0 else Bytes(bytes(self) * times)

    def removeprefix(self, prefix: SupportsBuffer, /) -> Self:
        """Return the bytes without a prefix, or all of them if they do not start with it.

        Args:
            prefix: a buffer of bytes.

        Raises:
            TypeError: `prefix` is not a buffer.
        """
        start = Bytes(prefix)
        return self[len(start) :] if self[: len(start)] == start else self[:]

    def removesuffix(self, suffix: SupportsBuffer, /) -> Self:
        """Return the bytes without a suffix, or all of them if they do not end with it.

        Args:
            suffix: a buffer of bytes.

        Raises:
            TypeError: `suffix` is not a buffer.
        """
        end = Bytes(suffix)
        rest = max(len(self) - len(end), 0)
        return self[:rest] if self[rest:] == end else self[:]

    def isalnum(self) -> bool:
        """Return True if there are bytes and all are ASCII letters or digits."""
        return bytes(self).isalnum()

    def isalpha(self) -> bool:
        """Return True if there are bytes and all are ASCII letters."""
        return bytes(self).isalpha()

    def isascii(self) -> bool:
        """Return True if all bytes are ASCII; so is the empty sequence."""
        return bytes(self).isascii()

    def isdigit(self) -> bool:
        """Return True if there are bytes and all are ASCII digits."""
        return bytes(self).isdigit()

    def islower(self) -> bool:
        """Return True if there is a lower-case ASCII letter and no upper-case one."""
        return bytes(self).islower()

    def isspace(self) -> bool:
        """Return True if there are bytes and all are ASCII white space."""
        return bytes(self).isspace()

    def isupper(self) -> bool:
        """Return True if there is an upper-case ASCII letter and no lower-case one."""
        return bytes(self).isupper()

    def lower(self) -> Bytes:
        """Return a copy with the ASCII letters in lower case."""
        return Bytes(bytes(self).lower())

    def upper(self) -> Bytes:
        """Return a copy with the ASCII letters in upper case."""
        return Bytes(bytes(self).upper())

    def to_bytes(self) -> bytes:
        """Return a copy as `bytes`."""
        return bytes(self)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the bytes as text.

        Args:
            encoding: a codec's name.
            errors: what is done about bytes that are none; see `bytes.decode`.

        Raises:
            UnicodeDecodeError: the bytes are no such text.
        """
        return str(self, encoding, errors)

    def hex(self, sep: str = "", bytes_per_sep: int = 1) -> str:
        """Return two hexadecimal digits for each byte; see `bytes.hex`."""
        view = memoryview(self)
        return view.hex(sep, bytes_per_sep) if sep else view.hex()

    def rfind(self, sub: SupportsBuffer, start: int = 0, end: int | None = None, /) -> int:
        """Return the highest index of a buffer's bytes within a slice, -1 if they are not there."""
        return bytes(self).rfind(Bytes(sub), start, end)

    def startswith(self, prefix: SupportsBuffer | tuple[SupportsBuffer, ...], /) -> bool:
        """Return whether the bytes begin with those of a buffer, or of any buffer of a tuple."""
        prefixes = prefix if isinstance(prefix, tuple) else (prefix,)
        return any(self[: len(start)] == start for start in map(Bytes, prefixes))

    def endswith(self, suffix: SupportsBuffer | tuple[SupportsBuffer, ...], /) -> bool:
        """Return whether the bytes end with those of a buffer, or of any buffer of a tuple."""
        suffixes = suffix if isinstance(suffix, tuple) else (suffix,)
        return any(self[max(len(self) - len(end), 0) :] == end for end in map(Bytes, suffixes))


# Users import it from the package: so pickles and tracebacks name it there.
Bytes.__module__ = "s3ext"


def _quoted(raw: bytes) -> str:
    """Write bytes as in a literal in double quotes."""
    # bytes chooses its quotes by the content. repr() of a piece that has a single quote (added at its end)
    # and no double one is in double quotes: b"...'".
    return r"\"".join(repr(piece + b"'")[2:-2] for piece in raw.split(b'"'))


def _joined(first: SupportsBuffer, second: SupportsBuffer) -> Bytes:
    """Return two buffers of bytes one after the other, or NotImplemented, which makes Python's TypeError."""
    try:
        return Bytes(b"".join((Bytes(first), Bytes(second))))
    except (TypeError, ValueError, BufferError):
        return NotImplemented  # type: ignore[no-any-return] # special only in the methods of operators
