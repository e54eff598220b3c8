"""`open`: objects as files, as Python's own `open` gives them.

    mode            what it gives
    rb              io.BufferedReader, over a RawObject; that alone with buffering=0
    r, rt           io.TextIOWrapper over these
    wb, xb          ObjectWriter
    w, wt, x, xt    TextWriter over it

Reading begins with one request, for the object's beginning; it tells size and version too, and a
FileNotFoundError comes from it. What follows is fetched when it is read, `block_size` bytes at least; where
reading goes on, twice as many each time, up to READ_MOST. So looking here and there costs little and a scan
few requests, and no more than that is ever fetched ahead; read() without a size asks for all that follows.

Writing puts less than a part in one request when the file is closed, and more in parts, several at a time.
HTS_S3_PART_SIZE (MiB, htslib's variable) is the size of parts where `block_size` says nothing; less than 5,
S3's own limit, is 5. Unlike in htslib parts still become larger where 10,000 would not be enough.

Invariants: what cannot be is refused before any request; the clients of the last few URLs stay, so that
opening many objects one after the other uses the same connections and credentials.
"""

from __future__ import annotations

import io
import os
from collections import deque
from operator import index

from s3ext._files import CLOSED_FILE, SyncReader, WritableFile, Writing, begun_content
from s3ext._given import canonical_config, over_url
from s3ext._paths import shown
from s3ext._requests import block, get_request
from s3ext._uploads import MAX_CONCURRENCY
from s3ext._url import parse_object_url
from s3ext._wait import run_sync
from s3ext.exceptions import GenericError, NotSupportedError
from s3ext.store import S3Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, NoReturn, TypeAlias

    from s3ext._clients import Client
    from s3ext._methods import StoreMethods

    Opened: TypeAlias = "io.BufferedReader | RawObject | ObjectWriter | io.TextIOWrapper"

__all__ = ["ObjectWriter", "RawObject", "TextWriter", "open_object", "open_url"]

READ_LEAST = 128 * 1024
READ_MOST = 32 * 1024 * 1024
"""Enough for a few parallel parts of the usual size."""
FRONT = 64 * 1024
"""Bytes of the buffer from which small reads are served in C."""
PART_SIZE = 10 * 1024 * 1024
MIB = 1024 * 1024
PART_MIB = (5, 5 * 1024)
"""The least and the most that S3 takes as a part."""

_recent: deque[Client] = deque(maxlen=16)


# ---- the files ----


class RawObject(SyncReader, io.RawIOBase):
    """An object as a raw file to read: what is below the buffers of `open`; alone with `buffering=0`.

    A read gives all that was asked for, unless the object ends.
    """

    @property
    def name(self) -> str:
        """The object's URL."""
        return f"s3://{self._content.target.client.bucket}/{self._content.target.key}"

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, fewer where the object ends; default, and None: all that follow."""
        data = super().read(-1 if size is None else size)
        assert data is not None  # which is said by files that would have to wait
        return data

    def readall(self) -> bytes:
        """Read all that follows, in parallel parts."""
        with self._lock:
            return run_sync(self._content.read_rest())

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle a RawObject, an open file; pickle its URL, and open that again")

    def __repr__(self) -> str:
        return f"RawObject({self.name!r}, size={self.size})"


class ObjectWriter(WritableFile):
    """A binary file to write that becomes an object when it is closed: `open` makes it.

    It differs from `WritableFile` where obstore differs from Python's files: to close it twice is to close it
    once, and what is asked of a closed one raises ValueError.

    The object appears as a whole, at `close`. It does not if anything fails, if a `with` block raises, or if
    the file is never closed; then a ResourceWarning says so.
    """

    def __init__(self, writing: Writing, mode: str) -> None:
        super().__init__(writing)
        self.mode = mode

    @property
    def name(self) -> str:
        """The object's URL."""
        return self._writing.url

    @property
    def closed(self) -> bool:  # type: ignore[override] # what the base class has can be called, too
        """Whether it is closed."""
        return self._writing.closed

    def _check(self) -> None:
        if self._writing.closed:
            raise ValueError(f"{CLOSED_FILE}{self._writing.why}")
        super()._check()

    def writable(self) -> bool:
        """Return True."""
        self._check()
        return True

    def readable(self) -> bool:
        """Return False."""
        self._check()
        return False

    def seekable(self) -> bool:
        """Return False: an upload goes forward only."""
        self._check()
        return False

    def tell(self) -> int:
        """Return how many bytes were written."""
        self._check()
        return super().tell()

    def close(self) -> None:
        """Make the object of what was written, if that was not done before.

        Raises:
            FileExistsError: In mode `x`, there is such an object already.
            BaseError: It could not be put; see `S3Store.put`.
        """
        if not self._writing.closed:
            super().close()

    def abort(self) -> None:
        """Make nothing of it, and be closed."""
        if not self._writing.closed:
            run_sync(self._writing.abort())

    def __repr__(self) -> str:
        return f"ObjectWriter({self.name!r}, written={self._writing.written})"


class TextWriter(io.TextIOWrapper):
    """The text layer on an `ObjectWriter`, which loses no text without losing the object."""

    buffer: ObjectWriter  # pyright: ignore[reportIncompatibleMethodOverride] # which knows it as a property

    def close(self) -> None:
        """Make the object of what was written; none if not all of it can be written."""
        try:
            if not self.closed:
                self.flush()
        except BaseException:
            self.buffer.abort()
            raise
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.buffer.abort()
        self.close()

    # Python's would close it, and part of a text would become the object.
    def __del__(self) -> None:
        pass


# ---- opening ----


def open_url(
    url: str,
    mode: str,
    *,
    file: Mapping[str, Any],
    store: Mapping[str, Any],
    config: Mapping[str, object] | None,
    kwargs: Mapping[str, object],
) -> Opened:
    """Open the object that a URL names; see `s3ext.open`.

    Args:
        url: The URL.
        mode: The mode.
        file: The options of the file.
        store: Arguments of the store's that are no options.
        config: Options of the store's as a dictionary.
        kwargs: The same as keyword arguments.
    """
    named = parse_object_url(url)
    options = over_url(named.config, config, kwargs, provider=store.get("credential_provider"))
    # A URL is of one object, whatever the rules of paths say about its key.
    if "raw_keys" not in canonical_config(kwargs):
        options.setdefault("raw_keys", "true")
    opened = S3Store(config=options, **store, **kwargs)  # type: ignore[arg-type] # they are looked up
    client = opened._connected()  # noqa: SLF001 - one of ours
    if client not in _recent:
        _recent.append(client)
    return open_object(opened, named.key, mode, version=named.version, **file)


def open_object(
    store: StoreMethods,
    path: str,
    mode: str,
    *,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    block_size: int | None,
    version: str | None,
) -> Opened:
    """Open an object; see `S3Store.open` for the arguments and what is raised."""
    kind, binary = _parse_mode(mode)
    if binary:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"a file in binary mode has no {name}: mode is {mode!r}")
        if buffering == 1:
            _warn_of_lines()
    elif buffering == 0:
        raise ValueError("text cannot be unbuffered; buffering=0 goes with the mode 'rb'")
    elif newline not in {None, "", "\n", "\r", "\r\n"}:
        raise ValueError(f"illegal newline value: {newline!r}")
    if kind == "r":
        opened = _reader(store, path, buffering, block_size, version)
        if isinstance(opened, RawObject) or binary:
            return opened
        return io.TextIOWrapper(opened, io.text_encoding(encoding, 3), errors, newline, buffering == 1)
    if version is not None:
        raise ValueError(f"a version can only be read; the mode is {mode!r}")
    if buffering == 0:
        raise ValueError("an upload goes in parts and cannot be unbuffered; leave buffering out")
    writer = _writer(store, path, kind, block_size)
    if binary:
        return writer
    return TextWriter(writer, io.text_encoding(encoding, 3), errors, newline, buffering == 1)


def _warn_of_lines() -> None:
    """Warn as Python's `open` does."""
    import warnings  # noqa: PLC0415 - few files are opened so

    warnings.warn(
        "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used",
        RuntimeWarning,
        stacklevel=4,
    )


def _parse_mode(mode: object) -> tuple[str, bool]:
    """Return one of `r`, `w`, `x`, and whether the file is a binary one.

    Raises:
        TypeError: The mode is not a str.
        ValueError: There is no such mode.
        UnsupportedOperation: (OSError, ValueError) Objects cannot be opened so.
    """
    if not isinstance(mode, str):
        raise TypeError(f"mode must be a str, not {type(mode).__name__}: {shown(mode)}")
    kinds = set("rwxa").intersection(mode)
    if len(kinds) != 1 or not set("rwxabt+").issuperset(mode) or len(set(mode)) != len(mode):
        raise ValueError(f"invalid mode: {shown(mode)}; it must be r, w or x, and may be followed by b or t")
    if "b" in mode and "t" in mode:
        raise ValueError(f"invalid mode: {shown(mode)} is both binary and text")
    if "a" in mode or "+" in mode:
        raise io.UnsupportedOperation(
            f"mode {shown(mode)}: an object can be read, or written anew as a whole, but not changed"
        )
    return kinds.pop(), "b" in mode


def _reader(
    store: StoreMethods, path: str, buffering: int, block_size: int | None, version: str | None
) -> io.BufferedReader | RawObject:
    least = READ_LEAST if block_size is None else index(block_size)
    if least < 1:
        raise ValueError(f"block_size must be at least 1: {block_size}")
    query = block(get_request({"version": version}).query)
    raw = RawObject(run_sync(begun_content(store._target(path), query, least, READ_MOST)))  # noqa: SLF001 - one of ours
    if buffering == 0:
        return raw
    return io.BufferedReader(raw, buffering if buffering > 1 else FRONT)


def _writer(store: StoreMethods, path: str, kind: str, block_size: int | None) -> ObjectWriter:
    part = _part_size() if block_size is None else index(block_size)
    upload = store._upload(  # noqa: SLF001 - one of ours
        path, None, None, "create" if kind == "x" else None, None, part, MAX_CONCURRENCY
    )
    if upload.lock is not None:
        raise NotSupportedError("mode x needs conditions that the server keeps; conditional_put is a lock")
    return ObjectWriter(Writing(upload), f"{kind}b")


def _part_size() -> int:
    """Return the bytes of a part.

    Raises:
        GenericError: HTS_S3_PART_SIZE is no such size.
    """
    text = os.environ.get("HTS_S3_PART_SIZE", "").strip()
    if not text:
        return PART_SIZE
    least, most = PART_MIB
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise GenericError(
            f"Generic Config error: HTS_S3_PART_SIZE must be a whole number of MiB, at most {most}: "
            f"{shown(text)}"
        )
    return max(least, int(text)) * MIB
