"""What `get` and `list` return: results and streams that fetch what is missing when it is asked for.

All of them work in sync and in async code, whichever they came from. What they fetch ahead runs on the core's
I/O thread; a stream that is dropped half-read cancels that and gives back its memory, for the generator
inside it releases its operations when it is closed or collected.
"""

from __future__ import annotations

from collections import deque

from s3ext._bytes import Bytes
from s3ext._errors import failure
from s3ext._ffi import NULL, RELEASE_MEMORY, SLICE, ffi, lib, wrap
from s3ext._operations import check_token, page_of, page_operation, range_operation
from s3ext._requests import attributes_of, block
from s3ext._wait import Begin, Item, run_async, run_sync, step_async, step_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from s3ext._clients import Client
    from s3ext._operations import Range, Target
    from s3ext._types import Attributes, ObjectMeta
    from s3ext._wait import Operation, Steps

__all__ = ["BytesStream", "GetResult", "ListStream", "list_stream"]

MIN_CHUNK = 10 * 1024 * 1024
"""Bytes of a stream's pieces unless the caller says otherwise, as in obstore."""
READ_AHEAD_BYTES = 64 * 1024 * 1024
READ_AHEAD = (2, 4)
"""Fewest and most requests of a stream that are under way at a time."""
UNIT = 1024 * 1024
"""Pieces are not cut smaller than this, however small a chunk the caller allows."""


class GetResult:
    """An object's metadata, and its bytes, which can be taken once: whole, or as a stream.

    The first part of the bytes (8 MiB unless `part_size` says otherwise) has come with the metadata; the rest
    is fetched when it is asked for, from the same version of the object: if that was replaced meanwhile,
    reading raises PreconditionError.

    Example:
        >>> result = store.get("data.bin")
        >>> result.meta["size"]
        3
        >>> bytes(result.bytes())
        b'abc'
    """

    __slots__ = ("__weakref__", "_first", "_headers", "_query", "_target", "meta", "range")

    meta: ObjectMeta
    """The object's metadata; `size` is that of the whole object."""
    range: tuple[int, int]
    """The range of bytes that this result stands for, the end exclusive."""

    def __init__(self, target: Target, query: bytes, first: Range, end: int) -> None:
        self._target = target
        self._query = query
        self._first: Range | None = first
        self.meta = first.meta
        self.range = (first.start, end)
        self._headers = first.headers

    @property
    def attributes(self) -> Attributes:
        """The object's attributes: content headers by their names, user metadata by its own."""
        return attributes_of(self._headers)

    def bytes(self) -> Bytes:
        """Return all bytes of the range.

        Returns:
            The bytes, uncopied: what the socket wrote into.

        Raises:
            ValueError: They were taken already.
            PreconditionError: The object was replaced since the result was made.
            BaseError: They could not be read; see `S3Store.get`.
        """
        first = self._take()
        if first.end == self.range[1]:
            return first.data
        return run_sync(self._rest(first))

    async def bytes_async(self) -> Bytes:
        """Return all bytes of the range; see `bytes`."""
        first = self._take()
        if first.end == self.range[1]:
            return first.data
        return await run_async(self._rest(first))

    def buffer(self) -> Bytes:
        """Return all bytes of the range; another name of `bytes`."""
        return self.bytes()

    async def buffer_async(self) -> Bytes:
        """Return all bytes of the range; another name of `bytes_async`."""
        return await self.bytes_async()

    def stream(self, min_chunk_size: int = MIN_CHUNK) -> BytesStream:
        """Return the bytes piece by piece; a few requests are under way ahead of what was read.

        Args:
            min_chunk_size: Least bytes of a piece, but for the last one; default 10 MiB.

        Returns:
            An iterator and async iterator of `bytes`.

        Raises:
            ValueError: The bytes were taken already, or the size is below 1.
        """
        if min_chunk_size < 1:
            raise ValueError(f"min_chunk_size must be at least 1: {min_chunk_size}")
        return BytesStream(_stream(self._target, self._query, self._take(), self.range[1], min_chunk_size))

    def __iter__(self) -> BytesStream:
        return self.stream()

    def __aiter__(self) -> BytesStream:
        return self.stream()

    def __repr__(self) -> str:
        start, end = self.range
        return f"GetResult(path={self.meta['path']!r}, range=({start}, {end}), size={self.meta['size']})"

    def _take(self) -> Range:
        first, self._first = self._first, None
        if first is None:
            raise ValueError("Result has already been disposed.")
        return first

    def _rest(self, first: Range) -> Steps[Bytes]:
        """Read what follows the first part: behind it if there is room, else into memory for all."""
        start, end = self.range
        size, done = end - start, len(first.data)
        if len(first.whole) >= size:
            whole, address = first.whole, ffi.cast("char *", first.address)
            keep: object = whole
        else:
            fresh = bytearray(size)
            keep = address = ffi.from_buffer(fresh, require_writable=True)
            ffi.memmove(address, first.data, done)
            whole = Bytes(fresh)
        operation = range_operation(
            self._target, _pin(first.meta), self._query, first.end, end, address + done, keep
        )
        try:
            yield operation
            result = lib.s3ext_op_result(operation.handle)
            if result.code:
                raise failure(operation, "get", self._target.key)
            return whole if len(whole) == size else whole[:size]
        finally:
            operation.release()


def _pin(meta: ObjectMeta) -> bytes:
    """Make the condition that further requests meet the same object."""
    e_tag = meta["e_tag"]
    return b"" if e_tag is None else block([("if-match", e_tag)])


class BytesStream:
    """The bytes of an object, piece by piece: an iterator and an async iterator of `bytes`."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps[None]) -> None:
        self._steps = steps

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return step_sync(self._steps)  # type: ignore[no-any-return]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await step_async(self._steps)  # type: ignore[no-any-return]


def _stream(target: Target, query: bytes, first: Range, end: int, least: int) -> Steps[None]:
    """Hand out a range in pieces of at least `least` bytes, reading ahead.

    What follows the first part is read in units of whole pieces; the first unit makes up for what the first
    part has too much, so that all other pieces lie within a unit and are copied once.
    """
    piece = max(least, UNIT)
    unit = piece * -(-target.client.part_size // piece)
    window = min(max(READ_AHEAD_BYTES // unit, READ_AHEAD[0]), READ_AHEAD[1])
    headers = _pin(first.meta)
    view, rest = memoryview(first.data), memoryview(b"")
    at = first.end
    step = unit - len(view) % piece
    del first
    ahead: deque[Operation] = deque()
    try:
        while True:
            new = []
            while at < end and len(ahead) < window:
                stop = min(end, at + step)
                ahead.append(range_operation(target, headers, query, at, stop, NULL, None))
                new.append(ahead[-1])
                at, step = stop, unit
            if new:
                yield Begin(*new)
            if rest:
                need = piece - len(rest)
                view, rest = memoryview(b"".join((rest, view[:need]))), view[need:]
                if len(view) == piece or not ahead:
                    yield Item(view.obj)
                    view, rest = rest, memoryview(b"")
            place = 0
            while len(view) - place >= piece or (not ahead and place < len(view)):
                yield Item(bytes(view[place : place + piece]))
                place += piece
            if not ahead:
                return
            rest = view[place:]
            view = memoryview((yield from _unit(ahead, target)))
    finally:
        for operation in ahead:
            operation.release()


def _unit(ahead: deque[Operation], target: Target) -> Steps[Bytes]:
    """Wait for the oldest request of a stream and take its bytes."""
    operation = ahead[0]
    yield operation
    result = lib.s3ext_op_result(operation.handle)
    if result.code:
        raise failure(operation, "get", target.key)
    data, size, _, memory = SLICE.unpack_from(ffi.buffer(result.slices, SLICE.size))
    lib.s3ext_op_take_slices(operation.handle)
    ahead.popleft().release()
    return wrap(Bytes, data, size, memory, RELEASE_MEMORY)


class ListStream:
    """A listing, chunk by chunk: an iterator and an async iterator of lists of ObjectMeta.

    Nothing is asked before the first chunk is; from then on one page is fetched ahead.

    Example:
        >>> for chunk in store.list("logs"):
        ...     for meta in chunk:
        ...         print(meta["path"], meta["size"])
    """

    __slots__ = ("_chunk_size", "_convert", "_ended", "_metas", "_place", "_steps")

    def __init__(
        self, steps: Steps[None], chunk_size: int, convert: Callable[[list[ObjectMeta]], Any] | None = None
    ) -> None:
        self._steps = steps
        self._chunk_size = max(1, chunk_size)
        self._convert = convert
        self._metas: list[ObjectMeta] = []
        self._place = 0
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[ObjectMeta]:
        while self._wants(self._chunk_size):
            try:
                self._add(step_sync(self._steps))
            except StopIteration:
                self._ended = True
        chunk = self._cut(self._chunk_size)
        if not chunk:
            raise StopIteration("stream exhausted")
        return self._converted(chunk)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[ObjectMeta]:
        while self._wants(self._chunk_size):
            try:
                self._add(await step_async(self._steps))
            except StopAsyncIteration:
                self._ended = True
        chunk = self._cut(self._chunk_size)
        if not chunk:
            raise StopAsyncIteration("stream exhausted")
        return self._converted(chunk)

    def collect(self) -> list[ObjectMeta]:
        """Return the rest of the listing in one list; an empty one if there is nothing left."""
        while self._wants(None):
            try:
                self._add(step_sync(self._steps))
            except StopIteration:
                self._ended = True
        return self._converted(self._cut(None))

    async def collect_async(self) -> list[ObjectMeta]:
        """Return the rest of the listing in one list; see `collect`."""
        while self._wants(None):
            try:
                self._add(await step_async(self._steps))
            except StopAsyncIteration:
                self._ended = True
        return self._converted(self._cut(None))

    def _wants(self, size: int | None) -> bool:
        return not self._ended and (size is None or len(self._metas) - self._place < size)

    def _add(self, metas: list[ObjectMeta]) -> None:
        if self._place:
            del self._metas[: self._place]
            self._place = 0
        self._metas += metas

    def _cut(self, size: int | None) -> list[ObjectMeta]:
        start = self._place
        self._place = len(self._metas) if size is None else min(start + size, len(self._metas))
        return self._metas[start : self._place]

    def _converted(self, chunk: list[ObjectMeta]) -> list[ObjectMeta]:
        return chunk if self._convert is None else self._convert(chunk)


def list_stream(
    client: Callable[[], Client],
    prefix: str | None,
    query: bytes,
    chunk_size: int,
    convert: Callable[[list[ObjectMeta]], Any] | None = None,
) -> ListStream:
    """Make a listing.

    Args:
        client: Gives the client, when the first page is asked for.
        prefix: The store's prefix.
        query: The pair block that all pages share.
        chunk_size: Objects of a chunk.
        convert: Makes a chunk of another kind.
    """
    return ListStream(_pages(client, prefix, query), chunk_size, convert)


def _pages(client_of: Callable[[], Client], prefix: str | None, query: bytes) -> Steps[None]:
    """Hand out the objects of page after page, the next one under way."""
    client = client_of()
    operation = page_operation(client, query, None)
    token: str | None = None
    try:
        while True:
            yield operation
            page = page_of(operation, prefix, "list")
            operation.release()
            if page.token is not None:
                check_token(client, token, page.token)
                token = page.token
                operation = page_operation(client, query, token)
                yield Begin(operation)
            yield Item(page.objects)
            if page.token is None:
                return
    finally:
        operation.release()
