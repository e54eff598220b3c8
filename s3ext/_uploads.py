"""put: from whatever the caller gives to one request or a multipart upload.

What may be uploaded, looked at in this order (obstore's): a `str` or `Path` is the name of a local file; then
anything that exports a buffer; an object with `read` and `seek`; an async iterator; an iterator of buffers.
What is both kinds of iterator, as a GetResult is, is taken for the kind that the call is.

Buffers are sent from where they are. Everything else is read into slots, memory of the core's of one part
each, files by `readinto`: with n parts in flight no more is held than n + 1 of them. What fits one part
becomes a single request, unless the caller wants parts (obstore makes parts of every iterator). Parts have
the size that was asked for, but for objects of more than 10,000 of them; where the size is not known
beforehand, it doubles with every 960 parts.

Invariants: a body stays exported until the core is through with it; a file that was opened here is closed
    here.
"""

from __future__ import annotations

import io
import os
from operator import index

from s3ext import exceptions
from s3ext._errors import failure
from s3ext._ffi import NULL, ffi, lib
from s3ext._operations import put_result
from s3ext._paths import shown
from s3ext._requests import block
from s3ext._wait import BEGUN, Abort, Awaited, Begin, Blocking, Operation, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from s3ext._clients import Client
    from s3ext._locks import Limit, Lock
    from s3ext._types import PutResult
    from s3ext._wait import Steps

__all__ = ["CHUNK_SIZE", "MAX_CONCURRENCY", "FedUpload", "Upload", "put", "put_buffer"]

CHUNK_SIZE = 5 * 1024 * 1024
MAX_CONCURRENCY = 12
MAX_PARTS = 10_000
"""Parts of a multipart upload (S3's "Amazon S3 multipart upload limits")."""
MIB = 1024 * 1024

# What the server's answers mean for a conditional put, by the names of the core's codes.
_CLASSES: dict[str, dict[str, type[Exception]]] = {
    "overwrite": {},
    "create": {
        "PRECONDITION": exceptions.AlreadyExistsError,
        "NOT_MODIFIED": exceptions.AlreadyExistsError,
        "ALREADY_EXISTS": exceptions.AlreadyExistsError,
    },
    "update": {
        "PRECONDITION": exceptions.PreconditionError,
        "NOT_FOUND": exceptions.PreconditionError,
    },
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
        lock: The lock that a condition is kept by, and the ETag that is the condition; None for none.

    Raises:
        ValueError: A number is below 1.
    """

    __slots__ = (
        "begin_headers",
        "chunk_size",
        "client",
        "headers",
        "key",
        "lock",
        "mode",
        "multipart",
        "window",
    )

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
        lock: tuple[Lock, str | None] | None = None,
    ) -> None:
        self.client = client
        self.lock = lock
        self.key = key
        self.mode = mode
        self.headers = block(headers) if headers else b""
        # An upload in parts meets its condition at its end.
        self.begin_headers = (
            block(pair for pair in headers if pair[0] != "if-none-match")
            if mode == "create"
            else self.headers
        )
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


def put(upload: Upload, file: object, *, on_loop: bool) -> Steps[PutResult]:
    """Put an object.

    Args:
        upload: How.
        file: What; see the module's text.
        on_loop: Whether this is driven by an event loop.

    Raises:
        ValueError: It is nothing that can be put, or async input in sync use.
        TypeError: It is a file in text mode, or an iterator of something else than buffers.
        FileNotFoundError: There is no such file.
    """
    if type(file) is bytes:
        return (yield from put_buffer(upload, file, len(file)))
    if isinstance(file, (str, os.PathLike)):
        opened = yield Blocking(lambda: open(file, "rb", buffering=0))  # noqa: PTH123, SIM115 - any PathLike; closed below
        try:
            return (yield from _put_source(upload, _File(opened)))
        finally:
            opened.close()
    try:
        view = memoryview(file)  # type: ignore[arg-type] # which this is to find out
    except TypeError:
        return (yield from _put_source(upload, _source_of(file, on_loop=on_loop)))
    if not view.c_contiguous:
        view = memoryview(view.tobytes())
    return (yield from put_buffer(upload, ffi.from_buffer(view), view.nbytes))


def put_buffer(upload: Upload, body: Any, size: int) -> Steps[PutResult]:
    """Send a buffer from where it is: bytes, or what ffi.from_buffer made."""
    if upload.lock is not None:
        lock, etag = upload.lock
        return (
            yield from lock.guard(
                upload.client, upload.key, etag, lambda limit: _send_buffer(upload, body, size, limit), "put"
            )
        )
    return (yield from _send_buffer(upload, body, size))


def _send_buffer(upload: Upload, body: Any, size: int, limit: Limit | None = None) -> Steps[PutResult]:
    client, raw, headers = upload.client, upload.key.encode(), upload.headers
    if upload.in_parts(size):
        # The core takes a NULL body for a fed upload, and an empty buffer may have no address.
        if not size:
            return (yield from _put_source(upload, _Chunks(iter(()))))
        handle = lib.s3ext_op_upload(
            client.handle,
            raw,
            len(raw),
            headers,
            len(headers),
            body,
            size,
            upload.chunk_size,
            upload.window,
            False,  # noqa: FBT003 - cffi takes no keywords; conditions are for single requests here
        )
    else:
        # Under a lock it is no condition of the server's, and may be sent again.
        conditional = upload.mode != "overwrite" and upload.lock is None
        handle = lib.s3ext_op_put(
            client.handle, raw, len(raw), headers, len(headers), body, size, conditional
        )
    operation = Operation(handle, client, body)
    try:
        if limit is not None:
            limit.bind(operation)
        yield operation
        return _finished(upload, operation)
    finally:
        operation.release()


def _put_source(upload: Upload, source: _File | _Chunks) -> Steps[PutResult]:
    """Send what is read piece by piece."""
    size = yield from source.size()
    if size is not None and upload.in_parts(size):
        return (yield from _feed(upload, source, b"", _part_size(size, upload.chunk_size), size))
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
        return (yield from put_buffer(upload, ffi.from_buffer(body), len(body)))
    if last and not upload.multipart:
        return (yield from put_buffer(upload, ffi.from_buffer(staging), filled))
    return (yield from _feed(upload, source, memoryview(staging)[:filled], upload.chunk_size, ended=last))


def _part_size(size: int, chunk_size: int) -> int:
    """Return the size of parts of which 10,000 are enough."""
    if size <= chunk_size * MAX_PARTS:
        return chunk_size
    return -(-size // (MAX_PARTS * MIB)) * MIB


def _feed(
    upload: Upload,
    source: _File | _Chunks,
    begun: bytes | memoryview,
    part_size: int,
    size: int = 0,
    *,
    ended: bool = False,
) -> Steps[PutResult]:
    """Run a multipart upload, part by part as the source gives them.

    Args:
        upload: How.
        source: What.
        begun: The first part, if it was read already.
        part_size: Bytes of a part.
        size: Bytes in all; 0 if that is not known.
        ended: Whether the first part is all.
    """
    fed = FedUpload(upload, part_size, size)
    have_first = ended or len(begun) > 0
    last = False
    try:
        yield from fed.begin()
        while not last:
            room = yield from fed.next_room()
            if room is None:
                break
            if have_first:
                have_first = False
                filled, last = len(begun), ended
                room[:filled] = begun
            else:
                filled, last = yield from source.fill(room)
            fed.push(filled, last=last)
        return (yield from fed.finish())
    except Exception:
        yield from fed.abort()
        raise
    finally:
        fed.release()


class FedUpload:
    """A multipart upload whose parts are filled one after the other.

    The rooms for them are the core's memory, as many as there may be parts in flight. Whoever has one of
    these sees to it that `release` is called in the end: that aborts what was not finished.

    Args:
        upload: How.
        part_size: Bytes of a part.
        size: Bytes in all; 0 if that is not known: then later parts are larger, so that 10,000 are enough.
    """

    __slots__ = ("_capacity", "_operation", "_upload")

    def __init__(self, upload: Upload, part_size: int, size: int = 0) -> None:
        raw, headers = upload.key.encode(), upload.begin_headers
        handle = lib.s3ext_op_upload(
            upload.client.handle,
            raw,
            len(raw),
            headers,
            len(headers),
            NULL,
            size,
            part_size,
            upload.window,
            upload.mode == "create",
        )
        self._upload = upload
        self._operation = Operation(handle, upload.client)
        self._capacity = ffi.new("uint64_t *")

    def begin(self) -> Steps[None]:
        """Let the core begin, which needs no part for that."""
        yield Begin(self._operation)

    def next_room(self) -> Steps[memoryview | None]:
        """Wait for the next part's room; None if the upload has failed, which `finish` then raises.

        Raises:
            MemoryError: There is no memory for it.
        """
        handle, capacity = self._operation.handle, self._capacity
        ready = False
        while self._operation.state == BEGUN:  # else it has ended, or the core did not even take it
            capacity[0] = 0
            slot = lib.s3ext_upload_slot(handle, capacity)
            if slot:
                return memoryview(ffi.buffer(slot, capacity[0]))
            if capacity[0]:
                raise MemoryError(f"no memory for a part of {capacity[0]} bytes")
            if ready:  # and yet no room
                break
            ready = bool(lib.s3ext_upload_wait(handle, 0))
            if not ready:
                yield Slot(self._operation)
        return None

    def push(self, filled: int, *, last: bool) -> None:
        """Send the room's first bytes as the next part; if it has failed meanwhile, `finish` will tell.

        Raises:
            ValueError: There are 10,000 parts already.
        """
        operation = self._operation
        handle = operation.handle
        failed = lib.s3ext_upload_push(handle, filled, last)
        if failed and operation.state == BEGUN and lib.s3ext_upload_slot(handle, self._capacity):
            raise ValueError(f"{shown(self._upload.key)} would have more than {MAX_PARTS:,} parts")

    def finish(self) -> Steps[PutResult]:
        """Wait for the end, after the last part or a failure.

        Raises:
            BaseError: The upload failed.
        """
        yield self._operation
        return _finished(self._upload, self._operation)

    def abort(self) -> Steps[None]:
        """Abort the upload, unless it has ended, and wait for that."""
        yield Abort(self._operation)

    def release(self) -> None:
        """Free the operation; one that has not ended is aborted behind the caller's back. Idempotent."""
        self._operation.release()


def _finished(upload: Upload, operation: Operation) -> PutResult:
    if lib.s3ext_op_result(operation.handle).code:
        raise failure(operation, "put", upload.key, classes=_CLASSES[upload.mode])
    return put_result(operation, upload.key)


# ---- sources ----

TEXT_MODE = "the file is in text mode; open it in binary mode"
_END = object()


def _source_of(file: Any, *, on_loop: bool) -> _File | _Chunks:
    is_async = hasattr(file, "__aiter__") or hasattr(file, "__anext__")
    is_sync = hasattr(file, "__iter__") or hasattr(file, "__next__")
    if hasattr(file, "read") and hasattr(file, "seek") and (is_sync or not is_async):
        if isinstance(file, io.TextIOBase):
            raise TypeError(TEXT_MODE)
        return _File(file)
    if is_async and (on_loop or not is_sync):
        return _AsyncChunks(file.__aiter__() if hasattr(file, "__aiter__") else file)
    if is_sync:
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
            raise TypeError(TEXT_MODE)
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
        view = memoryview(chunk)  # type: ignore[arg-type] # which this is to find out
    except TypeError:
        raise TypeError(f"an iterator for put must give buffers, not {type(chunk).__name__}") from None
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())
