"""What `get` and `list` return: results and streams that fetch what is missing when it is asked for.

All of them work in sync and in async code, whichever they came from. What they fetch ahead runs on the core's
I/O thread; a stream that is dropped half-read cancels that and gives back its memory, for the generator
inside it releases its operations when it is closed or collected.
"""

from __future__ import annotations

from collections import deque

from s3ext import exceptions
from s3ext._bytes import Bytes
from s3ext._checksums import MODE, ask, checked_stream, find_verification
from s3ext._errors import failure
from s3ext._ffi import NULL, RELEASE_MEMORY, SLICE, UNKNOWN_SIZE, ffi, lib, page_rows, wrap
from s3ext._operations import check_token, get_into, get_part, page_of, page_operation, range_operation
from s3ext._requests import attributes_of, block
from s3ext._wait import Begin, Item, run_async, run_sync, step_async, step_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, Self, TypeVar

    from s3ext._checksums import Verification
    from s3ext._clients import Client
    from s3ext._ffi import CData
    from s3ext._operations import Range, Target
    from s3ext._types import Attributes, ObjectMeta
    from s3ext._wait import Operation, Steps

    Chunk = TypeVar("Chunk")
else:
    Chunk = None

    class Generic:
        """As much of typing.Generic as is needed at run time, without the import of typing."""

        __slots__ = ()

        def __class_getitem__(cls, parameters: object) -> type:
            return cls


__all__ = ["BytesStream", "GetResult", "ListStream", "joined", "list_stream"]

MIN_CHUNK = 10 * 1024 * 1024
"""Bytes of a stream's pieces unless the caller says otherwise, as in obstore."""
READ_AHEAD_BYTES = 64 * 1024 * 1024
READ_AHEAD = (2, 4)
"""Fewest and most requests of a stream that are under way at a time."""
UNIT = 1024 * 1024
"""Pieces are not cut smaller than this, however small a chunk the caller allows."""
UNSATISFIABLE = 416
REPLACED = {"GENERIC": exceptions.PreconditionError}


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

    __slots__ = ("__weakref__", "_first", "_headers", "_query", "_target", "_verification", "meta", "range")

    meta: ObjectMeta
    """The object's metadata; `size` is that of the whole object."""
    range: tuple[int, int]
    """The range of bytes that this result stands for, the end exclusive."""

    def __init__(
        self,
        target: Target,
        query: bytes,
        first: Range,
        end: int,
        verification: Verification | None = None,
    ) -> None:
        self._verification = verification
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

    @property
    def checksum(self) -> tuple[str, str, bool] | None:
        """What the bytes are compared with: algorithm, value in base64, and whether they were found right.

        None without `verify_checksums`, for ranges, and where the server keeps no checksum of the object. The
        last is False until all bytes were read, and stays so for a composite checksum (`<digest>-<parts>`) of
        parts of different sizes, from which nothing can be told.
        """
        kept = self._verification
        return None if kept is None else (kept.algorithm, kept.value, kept.verified)

    def bytes(self) -> Bytes:
        """Return all bytes of the range.

        Returns:
            The bytes, uncopied: what the socket wrote into.

        Raises:
            ValueError: They were taken already.
            PreconditionError: The object was replaced since the result was made.
            ChecksumError: With `verify_checksums`, they are not those that the server has a checksum of.
            BaseError: They could not be read; see `S3Store.get`.
        """
        first = self._take()
        if first.end == self.range[1] and self._verification is None:
            return first.data
        return run_sync(self._rest(first))

    async def bytes_async(self) -> Bytes:
        """Return all bytes of the range; see `bytes`."""
        first = self._take()
        if first.end == self.range[1] and self._verification is None:
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
            min_chunk_size: Least bytes of a piece, but for the last one; default 10 MiB. 0 leaves it to
                s3ext: pieces of 1 MiB.

        Returns:
            An iterator and async iterator of `bytes`. With `verify_checksums` it holds back its last piece
            until all are verified; wrong bytes are a ChecksumError in place of it.

        Raises:
            ValueError: The bytes were taken already, or the size is negative.
        """
        if min_chunk_size < 0:
            raise ValueError(f"min_chunk_size must not be negative: {min_chunk_size}")
        steps = _stream(self._target, self._query, self._take(), self.range[1], min_chunk_size)
        return BytesStream(steps if self._verification is None else checked_stream(steps, self._verification))

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
        """Read what follows the first part, if anything does, and verify the whole, if that was asked for."""
        whole = first.data if first.end == self.range[1] else (yield from self._join(first))
        if self._verification is not None and not self._verification.verified:
            yield from self._verification.check(whole)
        return whole

    def _join(self, first: Range) -> Steps[Bytes]:
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
                raise _rest_failure(operation, self._target)
            return whole if len(whole) == size else whole[:size]
        finally:
            operation.release()


def get_verified(target: Target, headers: bytes, query: bytes, into: CData | None) -> Steps[GetResult]:
    """Get a whole object and find out what its bytes must come to; what goes `into` is compared at once."""
    asked = ask(target, headers, query)
    try:
        yield Begin(asked)
        if into is None:
            found = yield from get_part(target, headers + MODE, query, 0, UNKNOWN_SIZE)
        else:
            found = yield from get_into(target, headers + MODE, query, into)
        verification = yield from find_verification(target, query, found, asked)
    finally:
        asked.release()
    if into is not None and verification is not None:
        yield from verification.check(found.data, "; what is in `into` must not be trusted")
    return GetResult(target, query, found, found.meta["size"], verification)


def _pin(meta: ObjectMeta) -> bytes:
    """Make the condition that further requests meet the same object."""
    e_tag = meta["e_tag"]
    return b"" if e_tag is None else block([("if-match", e_tag)])


def _rest_failure(operation: Operation, target: Target) -> Exception:
    """Make the exception for a later part; a range that is none any more (416) means a shorter object."""
    shrunk = lib.s3ext_op_result(operation.handle).http_status == UNSATISFIABLE
    return failure(operation, "get", target.key, classes=REPLACED if shrunk else None)


class BytesStream:
    """The bytes of an object, piece by piece: an iterator and an async iterator of `bytes`."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps[None]) -> None:
        self._steps = steps

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        piece: bytes = step_sync(self._steps)
        return piece

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece: bytes = await step_async(self._steps)
        return piece


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
        raise _rest_failure(operation, target)
    data, size, _, memory = SLICE.unpack_from(ffi.buffer(result.slices, SLICE.size))
    lib.s3ext_op_take_slices(operation.handle)
    ahead.popleft().release()
    return wrap(Bytes, data, size, memory, RELEASE_MEMORY)


class ListStream(Generic[Chunk]):
    """A listing, chunk by chunk: an iterator and async iterator of lists of ObjectMeta, or of Arrow batches.

    Nothing is asked before the first chunk is; from then on one page is fetched ahead.

    Example:
        >>> for chunk in store.list("logs"):
        ...     for meta in chunk:
        ...         print(meta["path"], meta["size"])
    """

    __slots__ = ("_chunk_size", "_count", "_ended", "_join", "_pages", "_place", "_steps")

    def __init__(self, steps: Steps[None], chunk_size: int, join: Callable[[list[Any]], Chunk]) -> None:
        self._steps = steps
        self._chunk_size = max(1, chunk_size)
        self._join = join
        # What came and was not handed out: `count` objects, from `place` of the first page on.
        self._pages: deque[Any] = deque()
        self._place = 0
        self._count = 0
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        while self._wants(self._chunk_size):
            try:
                self._add(step_sync(self._steps))
            except StopIteration:
                self._ended = True
        if not self._count:
            raise StopIteration("stream exhausted")
        return self._cut(self._chunk_size)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while self._wants(self._chunk_size):
            try:
                self._add(await step_async(self._steps))
            except StopAsyncIteration:
                self._ended = True
        if not self._count:
            raise StopAsyncIteration("stream exhausted")
        return self._cut(self._chunk_size)

    def collect(self) -> Chunk:
        """Return the rest of the listing in one chunk; an empty one if there is nothing left."""
        while self._wants(None):
            try:
                self._add(step_sync(self._steps))
            except StopIteration:
                self._ended = True
        return self._cut(self._count)

    async def collect_async(self) -> Chunk:
        """Return the rest of the listing in one chunk; see `collect`."""
        while self._wants(None):
            try:
                self._add(await step_async(self._steps))
            except StopAsyncIteration:
                self._ended = True
        return self._cut(self._count)

    def _wants(self, size: int | None) -> bool:
        return not self._ended and (size is None or self._count < size)

    def _add(self, page: Any) -> None:
        if len(page):
            self._pages.append(page)
            self._count += len(page)

    def _cut(self, size: int) -> Chunk:
        """Take up to so many objects, in as few pieces as they lie in."""
        pieces = []
        pages = self._pages
        size = min(size, self._count)
        self._count -= size
        while size:
            place, page = self._place, pages[0]
            end = min(place + size, len(page))
            pieces.append(page if end - place == len(page) else page[place:end])
            size -= end - place
            self._place = end
            if end == len(page):
                pages.popleft()
                self._place = 0
        return self._join(pieces)


def joined(pages: list[list[ObjectMeta]]) -> list[ObjectMeta]:
    """Make one list of several."""
    return pages[0] if len(pages) == 1 else [meta for page in pages for meta in page]


def list_stream(
    client: Callable[[], Client],
    prefix: str | None,
    query: bytes,
    chunk_size: int,
    make: Callable[[int, int, bool], Any] = page_rows,
    join: Callable[[list[Any]], Chunk] = joined,  # type: ignore[assignment] # belongs to the default of `make`
) -> ListStream[Chunk]:
    """Make a listing.

    Args:
        client: Gives the client, when the first page is asked for.
        prefix: The store's prefix.
        query: The pair block that all pages share.
        chunk_size: Objects of a chunk.
        make: Makes the objects of a page; see `page_of`. They have a length and can be sliced.
        join: Makes a chunk of slices of them.
    """
    return ListStream(_pages(client, prefix, query, make), chunk_size, join)


def _pages(
    client_of: Callable[[], Client], prefix: str | None, query: bytes, make: Callable[[int, int, bool], Any]
) -> Steps[None]:
    """Hand out the objects of page after page, the next one under way."""
    client = client_of()
    operation = page_operation(client, query, None)
    token: str | None = None
    try:
        while True:
            yield operation
            page = page_of(operation, prefix, "list", make, raw=client.settings.raw_keys)
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
