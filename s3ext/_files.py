"""Objects as files: readers that fetch what is read, and writers that upload what was written.

All forms share all but the driving: `Content` knows an object's bytes, `Writing` an upload that grows; each
has generators of effects (see `_wait`), and methods that answer at once where nothing has to be waited for.

    made by               reads                             writes
    open_reader, _writer  ReadableFile                      WritableFile
      ..._async           AsyncReadableFile                 AsyncWritableFile
    open                  see `_open`

The sync classes are files in Python's sense, so that zipfile, `io.TextIOWrapper`, numpy, pandas and pyarrow
take them. What the readers here read is `Bytes`, as everywhere, and obstore's writers have their own mind
about being closed; what `open` gives does as Python's files do, to the letter.

Invariants: a reader reads one version of the object, whose ETag is sent with every request; a position moves
only when a read has succeeded. An upload that was begun is completed by `close`, and aborted by anything
else: an exception, a failed write, or the loss of the writer. In the child of a fork a reader goes on; a
writer is the parent's.
"""

from __future__ import annotations

import io
import os
from operator import index
from threading import RLock
from warnings import warn
from weakref import WeakSet

from s3ext._bytes import Bytes
from s3ext._errors import failure
from s3ext._ffi import NULL, RELEASE_MEMORY, SLICE, at_fork, ffi, lib, text, wrap
from s3ext._operations import get_part, head, head_range, range_operation
from s3ext._paths import shown
from s3ext._requests import block
from s3ext._uploads import FedUpload, put_buffer
from s3ext._wait import run_async, run_sync
from s3ext.exceptions import BaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Lock
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from s3ext._ffi import CData
    from s3ext._operations import Target
    from s3ext._uploads import Upload
    from s3ext._wait import Operation, Steps

__all__ = [
    "CLOSED_FILE",
    "AsyncReadableFile",
    "AsyncWritableFile",
    "Content",
    "ReadableFile",
    "SyncReader",
    "WritableFile",
    "Writing",
    "begun_content",
    "content_of",
]

UNSATISFIABLE = 416
CLOSED_FILE = "I/O operation on closed file."

_forks = 0
_readers: WeakSet[SyncReader | AsyncReadableFile] = WeakSet()


def _note_fork() -> None:
    global _forks  # noqa: PLW0603 - a counter
    _forks += 1
    for reader in list(_readers):
        reader.renew()


at_fork(_note_fork)


# ---- reading ----


def content_of(target: Target, buffer_size: int, size: int | None) -> Steps[Content]:
    """Look at an object that is to be read.

    Args:
        target: The object.
        buffer_size: Bytes that are fetched at least.
        size: The object's size, if the caller knows it; then nothing is asked now.

    Raises:
        ValueError: `buffer_size` is below 1, or `size` negative.
        NotFoundError: There is no such object.
    """
    if index(buffer_size) < 1:
        raise ValueError(f"buffer_size must be at least 1: {buffer_size}")
    if size is not None:
        if index(size) < 0:
            raise ValueError(f"size must not be negative: {size}")
        return Content(target, index(size), index(buffer_size), None, size_given=True)
    meta = yield from head(target)
    return Content(target, meta["size"], index(buffer_size), meta["e_tag"], size_given=False)


def begun_content(target: Target, query: bytes, least: int, most: int) -> Steps[Content]:
    """Read the beginning of an object, which tells its size and version as well.

    Args:
        target: The object.
        query: Pair block that names a version, or an empty one.
        least: Bytes that are fetched at least; so many now.
        most: Up to so many are fetched where reading goes on.

    Raises:
        NotFoundError: There is no such object.
    """
    try:
        first = yield from get_part(target, b"", query, 0, least)
    except BaseError as error:
        if error.status != UNSATISFIABLE:
            raise
        # An empty object has no range that could be asked for.
        first = yield from head_range(target, b"", query)
    meta = first.meta
    content = Content(target, meta["size"], least, meta["e_tag"], size_given=False, most=most, query=query)
    content.begin_with(first.data)
    return content


class Content:
    """The bytes of an object, and where in them a reader stands: one buffer is here, the rest is fetched.

    What has to be fetched comes with what follows it, so that small reads share requests: `buffer_size`
    bytes, and twice as many, up to `most`, each time that reading goes on where the last request ended.

    This is the place for a cache that knows more than the last buffer: nobody else knows what is here.

    Args:
        target: The object.
        size: Its size.
        buffer_size: Bytes that are fetched at least.
        e_tag: Its ETag; None if it is not known yet.
        size_given: Whether it was the caller who knew the size.
        most: Bytes that are fetched at least where reading goes on and on; default always `buffer_size`.
        query: Pair block of every request: which version is read.
    """

    __slots__ = (
        "_ahead",
        "_most",
        "_pin",
        "_query",
        "_reach",
        "_size_given",
        "_window",
        "at",
        "buffer_size",
        "size",
        "target",
    )

    def __init__(
        self,
        target: Target,
        size: int,
        buffer_size: int,
        e_tag: str | None,
        *,
        size_given: bool,
        most: int = 0,
        query: bytes = b"",
    ) -> None:
        self.target = target
        self.size = size
        self.buffer_size = buffer_size
        self.at = 0
        self._most = max(most, buffer_size)
        self._window = buffer_size
        # Where the last request ended.
        self._reach = 0
        self._query = query
        self._size_given = size_given
        self._pin = b""
        self._pin_to(e_tag)
        # Where the buffer begins, and its bytes. Both at once: a fork may come between.
        self._ahead = (0, Bytes())

    def begin_with(self, data: Bytes) -> None:
        """Take the object's beginning for the buffer."""
        self._ahead = (0, data)
        self._reach = len(data)

    # What can be had at once, or None; written for speed, because most reads are this.

    def take(self, size: int | None) -> Bytes | None:
        """Read so many bytes, if all of them are in the buffer."""
        begin, ahead = self._ahead
        if size is None or size < 0:
            return None
        place = self.at - begin
        if not 0 <= place <= len(ahead) - size:
            return None
        data = ahead._cut(place, place + size)  # noqa: SLF001 - it is one of ours
        self.at += size
        return data

    def take_line(self, size: int | None) -> Bytes | None:
        """Read a line of at most so many bytes, if its end is in the buffer."""
        begin, ahead = self._ahead
        place = self.at - begin
        if (size is not None and size >= 0) or place < 0:
            return None
        end = ahead.find(b"\n", place) + 1
        if not end:
            return None
        self.at = begin + end
        return ahead._cut(place, end)  # noqa: SLF001 - as above

    # What may have to be fetched.

    def read(self, size: int | None) -> Steps[Bytes]:
        """Read so many bytes; fewer where the object ends."""
        start, end = self.at, self.end_of(size)
        if start >= end:
            return Bytes()
        data = yield from self._range(start, end)
        self.at = end
        return data

    def read_rest(self) -> Steps[bytes]:
        """Read all that follows, as bytes."""
        start, end = self.at, self.size
        have = self._held(start, end)
        at = start + len(have)
        rest = (yield from self._fetch(at, end)) if at < end else Bytes()
        self.at = max(start, end)
        return b"".join((have, rest))

    def read_some(self, size: int | None) -> Steps[Bytes]:
        """Read at most so many bytes, of the buffer or of a new one."""
        start, end = self.at, min(self.end_of(size), self.at + self.buffer_size)
        if start >= end:
            return Bytes()
        if not len(self._held(start, end)):
            yield from self._fill(start, self._widened(start))
        some = self._held(start, end)
        self.at = start + len(some)
        return some._cut(0, len(some))  # noqa: SLF001 - as above

    def read_into(self, room: memoryview) -> Steps[int]:
        """Read as many bytes as there is room for, straight to where they go; fewer where the object ends."""
        start, end = self.at, self.end_of(len(room))
        if start >= end:
            return 0
        room = room[: end - start]
        have = self._held(start, end)
        done = len(have)
        room[:done] = have
        if done < end - start:
            at, window = start + done, self._widened(start + done)
            if end - at < window:
                yield from self._fill(at, window)
                room[done:] = self._held(at, end)
            else:
                yield from self._fetch(at, end, ffi.from_buffer(room[done:], require_writable=True))
        self.at = end
        return end - start

    def read_line(self, size: int | None) -> Steps[Bytes]:
        """Read a line, its end included, of at most so many bytes."""
        start, end = self.at, self.end_of(size)
        pieces: list[Bytes] = []
        while start < end:
            piece = self._held(start, end)
            if not len(piece):
                yield from self._fill(start, self._widened(start))
                continue
            found = piece.find(b"\n") + 1
            pieces.append(piece[:found] if found else piece)
            start += len(pieces[-1])
            if found:
                break
        self.at = max(self.at, start)
        return Bytes(b"".join(pieces))

    def end_of(self, size: int | None) -> int:
        """Return where a read of so many bytes ends; None and negative numbers mean all."""
        count = -1 if size is None else index(size)
        return self.size if count < 0 else min(self.size, self.at + count)

    def seek(self, offset: int, whence: int) -> int:
        """Go somewhere; behind the end there is nothing to read, but it is no error.

        Raises:
            UnsupportedOperation: (OSError, ValueError) It is before the start, or there is no such `whence`.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}.get(whence)
        if base is None:
            raise io.UnsupportedOperation(f"whence must be 0, 1 or 2: {shown(whence)}")
        at = base + index(offset)
        if at < 0:
            raise io.UnsupportedOperation(f"a position must not be negative: {at}")
        self.at = at
        return at

    def forget(self) -> None:
        """Let go of the buffer."""
        self._ahead = (0, Bytes())

    def _held(self, start: int, end: int) -> Bytes:
        """Show as much of [start, end) from its start on as is in the buffer; it may be nothing."""
        begin, ahead = self._ahead
        return ahead[start - begin : end - begin] if begin <= start else Bytes()

    def _range(self, start: int, end: int) -> Steps[Bytes]:
        """Return the bytes [start, end), which are in the object: through the buffer, or past it."""
        have = self._held(start, end)
        at = start + len(have)
        window = self._widened(at) if at < end else self._window
        if end - at < window:
            if at < end:
                yield from self._fill(at, window)
            more = self._held(at, end)
            return Bytes(b"".join((have, more))) if len(have) else more._cut(0, len(more))  # noqa: SLF001
        if not len(have):
            return (yield from self._fetch(start, end))
        whole = bytearray(end - start)
        whole[: len(have)] = have
        yield from self._fetch(at, end, ffi.from_buffer(memoryview(whole)[len(have) :]))
        return Bytes(whole)

    def _widened(self, start: int) -> int:
        """Choose how much a request at `start` shall bring at least."""
        self._window = min(2 * self._window, self._most) if start == self._reach else self.buffer_size
        return self._window

    def _fill(self, start: int, window: int) -> Steps[None]:
        end = min(self.size, start + window)
        self._ahead = (start, (yield from self._fetch(start, end)))

    def _fetch(self, start: int, end: int, into: CData | None = None) -> Steps[Bytes]:
        """Ask the server for a range, all of which has to be there."""
        operation = range_operation(
            self.target, self._pin, self._query, start, end, NULL if into is None else into, into
        )
        try:
            yield operation
            result = lib.s3ext_op_result(operation.handle)
            if result.code:
                raise self._failure(operation, start, end)
            if not self._pin:
                self._pin_to(text(result.etag, result.etag_size))
            if result.range_end < end:
                raise self._too_short(start, end, f"it ends at {result.range_end}")
            self._reach = end
            if into is not None:
                return Bytes()
            data, size, _, memory = SLICE.unpack_from(ffi.buffer(result.slices, SLICE.size))
            lib.s3ext_op_take_slices(operation.handle)
            return wrap(Bytes, data, size, memory, RELEASE_MEMORY)
        finally:
            operation.release()

    def _pin_to(self, e_tag: str | None) -> None:
        if e_tag is not None:
            self._pin = block([("if-match", e_tag)])

    def _failure(self, operation: Operation, start: int, end: int) -> Exception:
        error = failure(operation, "get_range", self.target.key)
        if self._size_given and getattr(error, "status", None) == UNSATISFIABLE:
            short = self._too_short(start, end, "it ends before")
            short.__cause__ = error
            return short
        return error

    def _too_short(self, start: int, end: int, found: str) -> OSError:
        why = ": the size given to open_reader is too large" if self._size_given else ""
        return OSError(f"the range {start} to {end} of {shown(self.target.key)} cannot be read, {found}{why}")


def _room_of(buffer: Buffer) -> memoryview:
    """Show memory that is to be read into as bytes.

    Raises:
        TypeError: It is no writable, C-contiguous buffer.
    """
    view = memoryview(buffer)
    if view.readonly or not view.c_contiguous:
        raise TypeError("readinto() needs a writable and C-contiguous buffer")
    return view.cast("B") if view.nbytes else memoryview(bytearray())


class _Closed:
    """The lock of a closed file, which nobody gets: so that no call has to look whether it is closed."""

    def __enter__(self) -> None:
        raise ValueError(CLOSED_FILE)

    def __exit__(self, *_: object) -> None:
        pass


_CLOSED = _Closed()


class SyncReader(io.IOBase):
    """What sync readers have in common.

    They may be used by several threads, and in the child of a fork.
    """

    mode = "rb"

    def __init__(self, content: Content) -> None:
        self._content = content
        self._lock: RLock | _Closed = RLock()
        _readers.add(self)

    @property
    def size(self) -> int:
        """Bytes of the object, or what was given as its size."""
        return self._content.size

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into memory: as much as it has room for, or as there is.

        Args:
            buffer: Any writable, C-contiguous buffer.

        Returns:
            Bytes that were read.
        """
        room = _room_of(buffer)
        with self._lock:
            return run_sync(self._content.read_into(room))

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, which costs nothing; it may be behind the end.

        Args:
            offset: Bytes from what `whence` says.
            whence: `os.SEEK_SET` (default), `os.SEEK_CUR` or `os.SEEK_END`.

        Returns:
            The position, from the start.

        Raises:
            UnsupportedOperation: (OSError, ValueError) It is before the start, or there is no such `whence`.
        """
        with self._lock:
            return self._content.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        with self._lock:
            return self._content.at

    def seekable(self) -> bool:
        """Return True."""
        with self._lock:
            return True

    def readable(self) -> bool:
        """Return True."""
        with self._lock:
            return True

    def close(self) -> None:
        """Let go of the buffer; nothing can be read any more, unlike in obstore."""
        self._lock = _CLOSED
        self._content.forget()
        super().close()

    def renew(self) -> None:
        """Have a new lock, in the child of a fork: a thread that is not there may hold the old one."""
        if self._lock is not _CLOSED:
            self._lock = RLock()


class ReadableFile(SyncReader, io.BufferedIOBase):
    """An object as a binary file to read: `S3Store.open_reader` makes it.

    Every read gives as many bytes as were asked for, unless the object ends. Small ones come from a buffer,
    of which one is read ahead; large ones are read in parallel parts, past the buffer.

    It may be used by several threads, and in the child of a fork.

    Example:
        >>> with store.open_reader("data.zip") as file:
        ...     names = zipfile.ZipFile(file).namelist()
    """

    @property
    def name(self) -> str:
        """The object's path."""
        return self._content.target.path

    def read(self, size: int | None = -1, /) -> Bytes:  # type: ignore[override] # bytes in all but name
        """Read.

        Args:
            size: Bytes to read; default: all that follow.

        Returns:
            So many bytes; fewer where the object ends.

        Raises:
            PreconditionError: The object was replaced since the file was opened.
            OSError: The object is smaller than the size that was given.
            ValueError: The file is closed.
            BaseError: It could not be read; see `S3Store.get_range`.
        """
        with self._lock:
            data = self._content.take(size)
            return run_sync(self._content.read(size)) if data is None else data

    def read1(self, size: int = -1, /) -> Bytes:  # type: ignore[override] # as above
        """Read with one request at most: what is in the buffer, or a new one.

        Args:
            size: Bytes to read at most; default: a buffer.
        """
        with self._lock:
            return run_sync(self._content.read_some(size))

    def readall(self) -> Bytes:
        """Read all that follows."""
        return self.read()

    def readinto1(self, buffer: Buffer, /) -> int:
        """Read into memory with one request at most; see `read1`."""
        room = _room_of(buffer)
        data = self.read1(len(room))
        room[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1, /) -> Bytes:  # type: ignore[override] # as above
        """Read a line, up to and with its line feed.

        Args:
            size: Bytes to read at most; default: no limit.

        Returns:
            The line; nothing at the end.
        """
        with self._lock:
            line = self._content.take_line(size)
            return run_sync(self._content.read_line(size)) if line is None else line

    def readlines(self, hint: int | None = -1, /) -> list[Bytes]:  # type: ignore[override] # as above
        """Read lines.

        Args:
            hint: No more lines are read after so many bytes; default: all.
        """
        lines: list[Bytes] = []
        left = hint if hint is not None and hint > 0 else self.size + 1
        while left > 0 and len(line := self.readline()):
            lines.append(line)
            left -= len(line)
        return lines

    if TYPE_CHECKING:
        # Iteration is that of io.IOBase, in C, and gives what readline does.
        def __next__(self) -> Bytes: ...  # type: ignore[override] # as above

    def __repr__(self) -> str:
        return f"ReadableFile({self.name!r}, size={self.size})"


class AsyncReadableFile:
    """An object as a binary file to read in async code: `S3Store.open_reader_async` makes it.

    It reads as `ReadableFile` does. Several tasks may use it.

    Example:
        >>> async with await store.open_reader_async("log.txt") as file:
        ...     async for line in file:
        ...         print(line.decode())
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._lock = _new_lock()
        self._closed = False
        _readers.add(self)

    @property
    def name(self) -> str:
        """The object's path."""
        return self._content.target.path

    @property
    def size(self) -> int:
        """Bytes of the object, or what was given as its size."""
        return self._content.size

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    async def read(self, size: int | None = -1, /) -> Bytes:
        """Read; see `ReadableFile.read`."""
        lock = self._turn()
        data = None if lock.locked() else self._content.take(size)
        if data is not None:
            return data
        async with lock:
            return await run_async(self._content.read(size))

    async def readall(self) -> Bytes:
        """Read all that follows."""
        return await self.read()

    async def readinto(self, buffer: Buffer, /) -> int:
        """Read into memory; see `ReadableFile.readinto`."""
        room = _room_of(buffer)
        async with self._turn():
            return await run_async(self._content.read_into(room))

    async def readline(self, size: int | None = -1, /) -> Bytes:
        """Read a line; see `ReadableFile.readline`."""
        lock = self._turn()
        line = None if lock.locked() else self._content.take_line(size)
        if line is not None:
            return line
        async with lock:
            return await run_async(self._content.read_line(size))

    async def readlines(self, hint: int | None = -1, /) -> list[Bytes]:
        """Read lines; see `ReadableFile.readlines`."""
        lines: list[Bytes] = []
        left = hint if hint is not None and hint > 0 else self.size + 1
        while left > 0 and len(line := await self.readline()):
            lines.append(line)
            left -= len(line)
        return lines

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position; see `ReadableFile.seek`."""
        async with self._turn():
            return self._content.seek(offset, whence)

    async def tell(self) -> int:
        """Return the position."""
        async with self._turn():
            return self._content.at

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Let go of the buffer; nothing can be read any more. Not to be awaited, as in obstore."""
        self._content.forget()
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Bytes:
        line = await self.readline()
        if not len(line):
            raise StopAsyncIteration
        return line

    def __repr__(self) -> str:
        return f"AsyncReadableFile({self.name!r}, size={self.size})"

    def _turn(self) -> Lock:
        if self._closed:
            raise ValueError(CLOSED_FILE)
        return self._lock

    def renew(self) -> None:
        """Have a new lock, in the child of a fork."""
        self._lock = _new_lock()


def _new_lock() -> Lock:
    from asyncio import Lock  # noqa: PLC0415 - loaded only where it is used

    return Lock()


# ---- writing ----


class Writing:
    """An object that is being written: up to a buffer it is here, then it is an upload in parts.

    Args:
        upload: How to put; its `chunk_size` is the size of the buffer and of the parts.
    """

    __slots__ = ("_born", "_fed", "_filled", "_open", "_room", "_staged", "_upload", "_why", "written")

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._staged = bytearray()
        self._fed: FedUpload | None = None
        self._room: memoryview | None = None
        self._filled = 0
        self._open = True
        self._why = ""
        self._born = _forks
        self.written = 0

    @property
    def key(self) -> str:
        """The object's key."""
        return self._upload.key

    @property
    def url(self) -> str:
        """The object's URL."""
        return f"s3://{self._upload.client.bucket}/{self._upload.key}"

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        return not self._open

    @property
    def why(self) -> str:
        """A sentence that says why it is closed, with a space before it; `""` after `close`."""
        return self._why

    def check(self) -> None:
        """Make sure that it can be written to.

        Raises:
            OSError: It is closed, has failed, or is that of the parent of this process.
        """
        if self._born != _forks:
            raise OSError(
                f"the writer of {shown(self.key)} was opened before a fork, by the parent of this process; "
                "only the parent can go on with it"
            )
        if not self._open:
            raise OSError(f"Writer already closed.{self._why}")

    def take(self, view: memoryview) -> bool:
        """Write at once what needs no waiting for; False if it has to go through `write`."""
        size = len(view)
        if self._fed is None:
            if len(self._staged) + size >= self._upload.chunk_size:
                return False
            self._staged += view
        else:
            room, filled = self._room, self._filled
            if room is None or filled + size >= len(room):
                return False
            room[filled : filled + size] = view
            self._filled = filled + size
        self.written += size
        return True

    def write(self, view: memoryview) -> Steps[None]:
        """Write, part by part. A failure is the end: what was written is aborted."""
        try:
            if self._fed is None:
                self._fed = FedUpload(self._upload, self._upload.chunk_size)
                yield from self._fed.begin()
                staged, self._staged = self._staged, bytearray()
                yield from self._feed(self._fed, memoryview(staged))
                del staged
            yield from self._feed(self._fed, view)
            self.written += len(view)
        except GeneratorExit:
            self._end(" It was interrupted while writing.")
            raise
        except BaseException as error:
            yield from self.abort(f" It has failed: {error}")
            raise

    def _feed(self, fed: FedUpload, view: memoryview) -> Steps[None]:
        while len(view):
            if self._room is None:
                self._room, self._filled = (yield from fed.next_room()), 0
                if self._room is None:
                    yield from fed.finish()  # which raises why there is none
                    raise OSError(f"the upload of {shown(self.key)} ended too early")
            count = min(len(self._room) - self._filled, len(view))
            self._room[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == len(self._room):
                self._room = None
                fed.push(self._filled, last=False)

    def close(self) -> Steps[None]:
        """Make the object of what was written."""
        fed, room, staged = self._fed, self._room, self._staged
        self._open = False
        self._room, self._staged = None, bytearray()
        try:
            if fed is None:
                yield from put_buffer(self._upload, ffi.from_buffer(staged), len(staged))
                return
            fed.push(0 if room is None else self._filled, last=True)
            yield from fed.finish()
        finally:
            self._end("")

    def abort(self, why: str = "") -> Steps[None]:
        """Make nothing of it, and wait until the server has forgotten it, too."""
        try:
            if self._fed is not None and self._born == _forks:
                yield from self._fed.abort()
        finally:
            self._end(why)

    def _end(self, why: str) -> None:
        self._open = False
        self._why = why
        self._room, self._staged = None, bytearray()
        if self._fed is not None:
            self._fed.release()

    # An operation of an event loop is known to the loop's queue, too, and would not end with this object.
    def __del__(self) -> None:
        if self._open and self._born == _forks:
            self._end("")
            warn(
                f"the writer of {shown(self.key)} was not closed: nothing is written",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


class _IsClosed(int):
    """Whether a writer is closed: obstore has the method `closed()`, Python's files an attribute."""

    __slots__ = ()

    def __call__(self) -> bool:
        return bool(self)

    def __repr__(self) -> str:
        return repr(bool(self))


def _bytes_of(buffer: object) -> memoryview:
    """Show what is to be written as bytes.

    Raises:
        TypeError: It is no buffer.
    """
    try:
        view = memoryview(buffer)  # type: ignore[arg-type] # which this is to find out
    except TypeError:
        raise TypeError(f"write() needs a buffer of bytes, not {type(buffer).__name__}") from None
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


class WritableFile(io.BufferedIOBase):
    """A binary file to write that becomes an object when it is closed: `S3Store.open_writer` makes it.

    Less than a buffer is put in one request; more goes in parts of a buffer, several at a time, while it is
    written. As a context manager it makes no object if the block raises; one that is never closed makes none
    either.

    Example:
        >>> with store.open_writer("log.txt") as file:
        ...     file.write(b"hello")
    """

    mode = "wb"

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._lock = RLock()

    @property
    def closed(self) -> _IsClosed:  # type: ignore[override] # as true or false as a bool
        """Whether it is closed; to be looked at, or to be called as in obstore."""
        return _IsClosed(self._writing.closed)

    def _check(self) -> None:
        """Make sure that it can be written to; see `Writing.check`."""
        self._writing.check()

    def write(self, buffer: Buffer, /) -> int:
        """Write.

        Args:
            buffer: Bytes; they are copied.

        Returns:
            How many, which is all of them.

        Raises:
            OSError: The file is closed, has failed before, or was opened by the parent of this process.
            BaseError: A part could not be put; the upload is aborted then. See `S3Store.put`.
        """
        view = _bytes_of(buffer)
        self._check()
        with self._lock:
            self._check()
            if not self._writing.take(view):
                run_sync(self._writing.write(view))
        return len(view)

    def writelines(self, lines: Iterable[Buffer], /) -> None:
        """Write one buffer after the other; nothing comes between them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Do nothing, as in obstore: there is no object before `close`."""
        self._check()

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._writing.written

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Make the object of what was written.

        Raises:
            OSError: It is closed already.
            BaseError: It could not be put; see `S3Store.put`.
        """
        self._check()
        with self._lock:
            self._check()
            run_sync(self._writing.close())

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writing.closed:
            return
        if kind is None:
            self.close()
        else:
            run_sync(self._writing.abort())

    # Files of Python's close themselves here, and half of an object would be one.
    def __del__(self) -> None:
        pass

    def __repr__(self) -> str:
        return f"WritableFile({self._writing.key!r}, written={self._writing.written})"


class AsyncWritableFile:
    """A binary file to write in async code: `S3Store.open_writer_async` makes it.

    It writes as `WritableFile` does, in the event loop that it was first used in.

    Example:
        >>> async with store.open_writer_async("log.txt") as file:
        ...     await file.write(b"hello")
    """

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._lock = _new_lock()

    async def closed(self) -> bool:
        """Return whether it is closed."""
        return self._writing.closed

    async def write(self, buffer: Buffer, /) -> int:
        """Write; see `WritableFile.write`. A cancelled write is the end of the upload."""
        view = _bytes_of(buffer)
        self._writing.check()
        async with self._lock:
            self._writing.check()
            if not self._writing.take(view):
                await run_async(self._writing.write(view))
        return len(view)

    async def flush(self) -> None:
        """Do nothing, as in obstore: there is no object before `close`."""
        self._writing.check()

    async def tell(self) -> int:
        """Return how many bytes were written."""
        return self._writing.written

    async def close(self) -> None:
        """Make the object of what was written; see `WritableFile.close`."""
        self._writing.check()
        async with self._lock:
            self._writing.check()
            await run_async(self._writing.close())

    async def __aenter__(self) -> Self:
        self._writing.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writing.closed:
            return
        if kind is None:
            await self.close()
        else:
            await run_async(self._writing.abort())

    def __repr__(self) -> str:
        return f"AsyncWritableFile({self._writing.key!r}, written={self._writing.written})"
