"""put: from whatever the caller gives to one request or a multipart upload.

What may be uploaded, looked at in this order (obstore's): a `str` or `Path` is the name of a local file; then
anything that exports a buffer; an object with `read` and `seek`; an async iterator; an iterator of buffers.

Buffers are sent from where they are. Everything else is read into slots, memory of the core's of one part
each, files by `readinto`. What fits one part becomes a single request, unless the caller wants parts.

Invariants: a body stays exported until the core is through with it; a file that was opened here is closed
    here.
"""

from __future__ import annotations

import os
from operator import index

from s3ext import exceptions
from s3ext._errors import failure
from s3ext._ffi import NULL, ffi, lib
from s3ext._operations import put_result
from s3ext._paths import shown
from s3ext._requests import block
from s3ext._wait import Awaited, Begin, Blocking, Operation, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from s3ext._clients import Client
    from s3ext._types import PutResult
    from s3ext._wait import Steps

__all__ = ["CHUNK_SIZE", "MAX_CONCURRENCY", "Upload", "put"]

CHUNK_SIZE = 5 * 1024 * 1024
MAX_CONCURRENCY = 12
MAX_PARTS = 10_000
"""Parts of a multipart upload (S3's "Amazon S3 multipart upload limits")."""
MIB = 1024 * 1024

# What the server's answers mean for a conditional put, by the names of the core's codes.
_CREATE = dict.fromkeys(("PRECONDITION", "NOT_MODIFIED", "ALREADY_EXISTS"), exceptions.AlreadyExistsError)
_UPDATE = dict.fromkeys(("PRECONDITION", "NOT_FOUND"), exceptions.PreconditionError)
_CLASSES: dict[str, dict[str, type[Exception]]] = {
    "overwrite": {},
    "create": dict(_CREATE),
    "update": dict(_UPDATE),
}


class Upload:
    """How to put: where, with which headers, and in which parts.

    Args:
        client: The client.
        key: The full key.
        mode: `"overwrite"`, `"create"` or `"update"`.
        headers: Headers of the request that makes the object.
        multipart: True for a multipart upload, False for a single request, None to decide by size.
        chunk_size: Bytes of a part.
        window: Parts in flight.

    Raises:
        ValueError: A number is below 1.
    """

    __slots__ = ("chunk_size", "client", "headers", "key", "mode", "multipart", "window")

    def __init__(
        self,
        client: Client,
        key: str,
        mode: str,
        headers: list[tuple[str, str]],
        *,
        multipart: bool | None,
        chunk_size: int,
        window: int,
    ) -> None:
        self.client = client
        self.key = key
        self.mode = mode
        self.headers = block(headers) if headers else b""
        # Conditions are for single requests, as in obstore.
        self.multipart = False if mode != "overwrite" else multipart
        self.chunk_size = index(chunk_size)
        self.window = index(max_of_window(window))
        if self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1: {chunk_size}")

    def in_parts(self, size: int) -> bool:
        """Tell whether so many bytes go in parts."""
        return size > self.chunk_size if self.multipart is None else self.multipart


def max_of_window(window: int) -> int:
    """Check the number of parts in flight.

    Raises:
        ValueError: It is below 1.
    """
    if window < 1:
        raise ValueError(f"max_concurrency must be at least 1: {window}")
    return min(window, MAX_PARTS)


def put(upload: Upload, file: object) -> Steps[PutResult]:
    """Put an object.

    Args:
        upload: How.
        file: What; see the module's text.

    Raises:
        ValueError: It is nothing that can be put, or async input in sync use.
        FileNotFoundError: There is no such file.
    """
    if type(file) is bytes:
        return (yield from _put_buffer(upload, file, len(file)))
    if isinstance(file, (str, os.PathLike)):
        opened = yield Blocking(lambda: open(file, "rb", buffering=0))  # noqa: PTH123, SIM115 - any PathLike; closed below
        try:
            return (yield from _put_source(upload, _File(opened)))
        finally:
            opened.close()
    try:
        view = memoryview(file)  # type: ignore[arg-type]
    except TypeError:
        return (yield from _put_source(upload, _source_of(file)))
    if not view.c_contiguous:
        view = memoryview(view.tobytes())
    return (yield from _put_buffer(upload, ffi.from_buffer(view), view.nbytes))


def _put_buffer(upload: Upload, body: Any, size: int) -> Steps[PutResult]:
    """Send a buffer from where it is: bytes, or what ffi.from_buffer made."""
    client, raw, headers = upload.client, upload.key.encode(), upload.headers
    if upload.in_parts(size):
        # The core takes a NULL body for a fed upload, and an empty buffer may have no address.
        if not size:
            return (yield from _put_source(upload, _Chunks(iter(()))))
        handle = lib.s3ext_op_upload(
            client.handle, raw, len(raw), headers, len(headers), body, size, upload.chunk_size, upload.window
        )
    else:
        handle = lib.s3ext_op_put(
            client.handle, raw, len(raw), headers, len(headers), body, size, upload.mode != "overwrite"
        )
    operation = Operation(handle, client, body)
    try:
        yield operation
        return _finished(upload, operation)
    finally:
        operation.release()


def _put_source(upload: Upload, source: _File | _Chunks) -> Steps[PutResult]:
    """Send what is read piece by piece."""
    size = yield from source.size()
    if size is not None and upload.in_parts(size):
        return (yield from _feed(upload, source, b"", _part_size(size, upload.chunk_size)))
    # At most one part, all there is for a single request, or it remains to be seen.
    staging = bytearray(upload.chunk_size if size is None else size)
    filled, last = yield from source.fill(memoryview(staging))
    if upload.multipart is False:
        pieces = [staging[:filled]]
        while not last:
            more = bytearray(upload.chunk_size)
            filled, last = yield from source.fill(memoryview(more))
            pieces.append(more[:filled])
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return (yield from _put_buffer(upload, ffi.from_buffer(body), len(body)))
    if last and not upload.multipart:
        return (yield from _put_buffer(upload, ffi.from_buffer(staging), filled))
    return (yield from _feed(upload, source, memoryview(staging)[:filled], upload.chunk_size, ended=last))


def _part_size(size: int, chunk_size: int) -> int:
    """Return the size of parts of which 10,000 are enough."""
    if size <= chunk_size * MAX_PARTS:
        return chunk_size
    return -(-size // (MAX_PARTS * MIB)) * MIB


def _feed(
    upload: Upload, source: _File | _Chunks, begun: bytes | memoryview, part_size: int, *, ended: bool = False
) -> Steps[PutResult]:
    """Run a multipart upload, part by part as the source gives them.

    Args:
        upload: How.
        source: What.
        begun: The first part, if it was read already.
        part_size: Bytes of a part.
        ended: Whether the first part is all.
    """
    raw, headers = upload.key.encode(), upload.headers
    handle = lib.s3ext_op_upload(
        upload.client.handle, raw, len(raw), headers, len(headers), NULL, 0, part_size, upload.window
    )
    operation = Operation(handle, upload.client)
    capacity = ffi.new("uint64_t *")
    have_first = ended or len(begun) > 0
    last = False
    try:
        yield Begin(operation)
        while not last:
            slot = lib.s3ext_upload_slot(operation.handle, capacity)
            if not slot:
                yield Slot(operation)
                if lib.s3ext_op_wait(operation.handle, 0):
                    break
                continue
            room = memoryview(ffi.buffer(slot, capacity[0]))
            if have_first:
                have_first = False
                filled, last = len(begun), ended
                room[:filled] = begun
            else:
                filled, last = yield from source.fill(room)
            if lib.s3ext_upload_push(operation.handle, filled, last):
                break
        yield operation
        return _finished(upload, operation)
    finally:
        operation.release()


def _finished(upload: Upload, operation: Operation) -> PutResult:
    if lib.s3ext_op_result(operation.handle).code:
        raise failure(operation, "put", upload.key, classes=_CLASSES[upload.mode])
    return put_result(operation, upload.key)


# ---- sources ----

_END = object()


def _source_of(file: object) -> _File | _Chunks:
    if hasattr(file, "read") and hasattr(file, "seek"):
        return _File(file)
    if hasattr(file, "__aiter__") or hasattr(file, "__anext__"):
        return _AsyncChunks(file.__aiter__() if hasattr(file, "__aiter__") else file)
    if hasattr(file, "__iter__") or hasattr(file, "__next__"):
        return _Chunks(iter(file) if hasattr(file, "__iter__") else file)
    raise ValueError(f"Unexpected input for PutInput: {shown(file)}")


class _File:
    """A source that reads a binary file from where it stands."""

    __slots__ = ("_ahead", "_file")

    def __init__(self, file: Any) -> None:
        self._file = file
        self._ahead = b""

    def size(self) -> Steps[int | None]:
        """Return how many bytes are left in the file; None if it cannot say."""
        left: int | None = yield Blocking(self._size)
        return left

    def _size(self) -> int | None:
        try:
            here = self._file.tell()
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(here)
            return max(0, int(end) - int(here))
        except (OSError, TypeError, AttributeError):
            return None

    def fill(self, room: memoryview) -> Steps[tuple[int, bool]]:
        """Read until the room is full or the file ends; how much, and whether it ended."""
        filled, last = yield Blocking(lambda: self._fill(room))
        return filled, last

    def _fill(self, room: memoryview) -> tuple[int, bool]:
        filled = len(self._ahead)
        room[:filled] = self._ahead
        self._ahead = b""
        while filled < len(room):
            count = self._read_into(room[filled:])
            if not count:
                return filled, True
            filled += count
        # Full: an empty last part is avoided by looking whether there is more.
        self._ahead = self._read(1)
        return filled, not self._ahead

    def _read_into(self, room: memoryview) -> int:
        readinto = getattr(self._file, "readinto", None)
        if readinto is not None:
            count = readinto(room)
            if count is None:
                raise BlockingIOError("the file is in non-blocking mode and has nothing to read")
            return int(count)
        data = self._read(len(room))
        room[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if isinstance(data, str):
            raise TypeError("the file is in text mode; open it in binary mode")
        return bytes(data or b"")


class _Chunks:
    """A source that takes buffers from an iterator."""

    __slots__ = ("_chunk", "_chunks")

    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")

    def size(self) -> Steps[int | None]:
        """Return None: an iterator does not say how much it will give."""
        return None
        yield  # as in _next

    def fill(self, room: memoryview) -> Steps[tuple[int, bool]]:
        """Copy until the room is full or the iterator ends; how much, and whether it ended."""
        filled = 0
        while True:
            if not len(self._chunk):
                chunk = yield from self._next()
                if chunk is _END:
                    return filled, True
                self._chunk = _bytes_of(chunk)
            elif filled == len(room):
                return filled, False
            else:
                count = min(len(room) - filled, len(self._chunk))
                room[filled : filled + count] = self._chunk[:count]
                self._chunk = self._chunk[count:]
                filled += count

    def _next(self) -> Steps[object]:
        """Return the next chunk, _END at the end."""
        return next(self._chunks, _END)
        yield  # makes this a generator, as that of _AsyncChunks has to be one


class _AsyncChunks(_Chunks):
    """A source that takes buffers from an async iterator."""

    __slots__ = ()

    def _next(self) -> Steps[object]:
        try:
            return (yield Awaited(self._chunks.__anext__))
        except StopAsyncIteration:
            return _END


def _bytes_of(chunk: object) -> memoryview:
    """Show a chunk's bytes.

    Raises:
        TypeError: It is no buffer.
    """
    try:
        view = memoryview(chunk)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"an iterator for put must give buffers, not {type(chunk).__name__}") from None
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
