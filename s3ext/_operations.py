"""The operations, each written once, as a generator of effects that `_wait` drives in sync and in async use.

A generator makes an operation of the core's, yields it, and finds it done: then it turns the result into
Python objects and frees the operation. What it gets has been checked (`_requests`, `_paths`): keys are the
full keys, UTF-8, store prefix included; headers and query are pair blocks.

Invariants: every operation made here is released in a `finally`, whatever happens, also when the generator is
closed half-way; a buffer that the core may touch is in the operation's `keep` from the start.
"""

from __future__ import annotations

from s3ext import exceptions
from s3ext._bytes import Bytes
from s3ext._errors import failure, plain_failure
from s3ext._ffi import (
    NULL,
    RELEASE_MEMORY,
    SLICE,
    UNKNOWN_SIZE,
    answer,
    ffi,
    lib,
    page_prefixes,
    page_rows,
    text,
    wrap,
)
from s3ext._wait import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from s3ext._clients import Client
    from s3ext._ffi import CData
    from s3ext._settings import Settings
    from s3ext._types import ListResult, ObjectMeta, PutResult
    from s3ext._wait import Steps

__all__ = [
    "Page",
    "Range",
    "Target",
    "borrowed",
    "check_token",
    "get_into",
    "get_part",
    "get_range",
    "get_range_into",
    "get_ranges",
    "get_suffix",
    "head",
    "head_range",
    "list_with_delimiter",
    "page_of",
    "page_operation",
    "put_result",
    "range_operation",
    "sign",
    "writable",
]

URL_BYTES = 4096


class Target:
    """Where an operation goes: an object of a client's bucket.

    Args:
        client: The client.
        key: The full key.
        path: The path that the caller named, relative to the store's prefix and normalised.
    """

    __slots__ = ("client", "key", "path", "raw")

    def __init__(self, client: Client, key: str, path: str) -> None:
        self.client = client
        self.key = key
        self.path = path
        self.raw = key.encode()


# ---- buffers ----


def writable(into: object, least: int | None = None) -> CData:
    """Borrow a buffer to write to; it stays exported as long as the result lives.

    Args:
        into: The caller's buffer.
        least: Bytes that it must have at least; None for any number.

    Raises:
        TypeError: It is no buffer.
        ValueError: It is read-only, not C-contiguous, or too small.
    """
    try:
        view = ffi.from_buffer(into, require_writable=True)
    except (BufferError, ValueError) as error:
        raise ValueError(f"into must be writable and C-contiguous: {error}") from None
    except TypeError:
        raise TypeError(f"into must be a writable buffer, not {type(into).__name__}") from None
    if least is not None and len(view) < least:
        raise ValueError(f"into is too small: it has {len(view)} bytes, and {least} are to be read")
    return view


def borrowed(view: CData, size: int) -> Bytes:
    """Show the first bytes of a borrowed buffer, and keep it exported that long."""
    return Bytes(ffi.buffer(view, size)) if size else Bytes()


# ---- metadata ----


def head(target: Target) -> Steps[ObjectMeta]:
    """Ask for an object's metadata."""
    operation = _head_operation(target, b"", b"")
    try:
        yield operation
        code, _, _, meta, *_ = answer(lib.s3ext_op_answer(operation.handle), target.path)
        if code:
            raise failure(operation, "head", target.key)
        return meta  # type: ignore[no-any-return] # there is a path and no error
    finally:
        operation.release()


def head_range(target: Target, headers: bytes, query: bytes) -> Steps[Range]:
    """Ask for an object's metadata, as a read that gave no bytes."""
    operation = _head_operation(target, headers, query)
    try:
        yield operation
        code, _, _, meta, told, *_ = answer(lib.s3ext_op_answer(operation.handle), target.path)
        if code:
            raise failure(operation, "get", target.key)
        return Range(0, meta["size"], meta, told, Bytes(), 0)
    finally:
        operation.release()


def _head_operation(target: Target, headers: bytes, query: bytes) -> Operation:
    raw = target.raw
    handle = lib.s3ext_op_head(target.client.handle, raw, len(raw), headers, len(headers), query, len(query))
    return Operation(handle, target.client)


# ---- reads ----


class Range:
    """What a read gave: bytes, where they are in the object, and what its headers said.

    Attributes:
        data: The bytes; for `get_part` those of the first part.
        start: Offset of the first byte in the object.
        end: Offset behind the last one.
        meta: The object's metadata.
        headers: Pair block of the answer's headers of interest.
        whole: `data` and the room behind it, which the core may still write to.
        address: Where both begin.
    """

    __slots__ = ("address", "data", "end", "headers", "meta", "start", "whole")

    def __init__(
        self,
        start: int,
        end: int,
        meta: ObjectMeta,
        headers: bytes,
        whole: Bytes,
        size: int,
        address: int = 0,
    ) -> None:
        self.whole = whole
        self.data = whole if size == len(whole) else whole[:size]
        self.address = address
        self.start = start
        self.end = end
        self.meta = meta
        self.headers = headers


def _read(operation: Operation, target: Target, into: CData | None = None) -> Steps[Range]:
    """Run a read and take its bytes."""
    try:
        yield operation
        code, start, end, meta, headers, data, size, capacity, memory = answer(
            lib.s3ext_op_answer(operation.handle), target.path
        )
        if code:
            raise failure(operation, "get", target.key)
        if into is not None:
            return Range(start, end, meta, headers, borrowed(into, end - start), end - start)
        if not data:
            return Range(start, end, meta, headers, Bytes(), 0)
        lib.s3ext_op_take_slices(operation.handle)
        whole = wrap(Bytes, data, max(capacity, size), memory, RELEASE_MEMORY)
        return Range(start, end, meta, headers, whole, size, data)
    finally:
        operation.release()


def get_part(target: Target, headers: bytes, query: bytes, start: int, end: int) -> Steps[Range]:
    """Begin a read: at most one part of [start, end), with the object's size and metadata."""
    raw = target.raw
    handle = lib.s3ext_op_get(
        target.client.handle, raw, len(raw), headers, len(headers), query, len(query), start, end
    )
    return (yield from _read(Operation(handle, target.client), target))


def get_suffix(target: Target, headers: bytes, query: bytes, suffix: int) -> Steps[Range]:
    """Read the last bytes of an object, in one request."""
    raw = target.raw
    handle = lib.s3ext_op_get_suffix(
        target.client.handle, raw, len(raw), headers, len(headers), query, len(query), suffix
    )
    return (yield from _read(Operation(handle, target.client), target))


def get_into(target: Target, headers: bytes, query: bytes, into: CData) -> Steps[Range]:
    """Read a whole object into the caller's memory, in parallel parts."""
    raw = target.raw
    size = len(into)
    handle = lib.s3ext_op_get_into(
        target.client.handle, raw, len(raw), headers, len(headers), query, len(query), into, size
    )
    operation = Operation(handle, target.client, into)
    try:
        yield operation
        code, start, end, meta, told, *_ = answer(lib.s3ext_op_answer(operation.handle), target.path)
        if code:
            known = lib.s3ext_op_result(operation.handle).object_size
            if known != UNKNOWN_SIZE and known > size:
                raise ValueError(f"into is too small: it has {size} bytes, and {target.key} has {known}")
            raise failure(operation, "get", target.key)
        return Range(start, end, meta, told, borrowed(into, end - start), end - start)
    finally:
        operation.release()


def get_range_into(
    target: Target, headers: bytes, query: bytes, start: int, end: int, into: CData
) -> Steps[Range]:
    """Read a range into the caller's memory, in parallel parts, with the object's metadata."""
    operation = range_operation(target, headers, query, start, end, into, into)
    return (yield from _read(operation, target, into))


def range_operation(
    target: Target, headers: bytes, query: bytes, start: int, end: int, into: CData, keep: object
) -> Operation:
    """Make a read of a range in parallel parts; `into` is NULL for memory of the core's."""
    raw = target.raw
    handle = lib.s3ext_op_get_range(
        target.client.handle, raw, len(raw), headers, len(headers), query, len(query), start, end, into
    )
    return Operation(handle, target.client, keep)


def get_range(client: Client, key: str, start: int, end: int, into: CData | None = None) -> Steps[Bytes]:
    """Read a range, and nothing but its bytes: the shortest way through Python."""
    raw = key.encode()
    operation = Operation(
        lib.s3ext_op_get_range(
            client.handle, raw, len(raw), NULL, 0, NULL, 0, start, end, NULL if into is None else into
        ),
        client,
        into,
    )
    try:
        yield operation
        handle = operation.handle
        code, _, _, _, _, data, size, _, memory = answer(lib.s3ext_op_answer(handle), None)
        if code:
            raise failure(operation, "get_range", key)
        if data:
            lib.s3ext_op_take_slices(handle)
            return wrap(Bytes, data, size, memory, RELEASE_MEMORY)
        return Bytes() if into is None else borrowed(into, size)
    finally:
        operation.release()


def get_ranges(
    client: Client,
    key: str,
    starts: Sequence[int],
    ends: Sequence[int],
    gap: int,
    into: Sequence[tuple[CData, Bytes]] | None = None,
) -> Steps[list[Bytes]]:
    """Read many ranges with one call and one wake-up.

    Args:
        client: The client.
        key: The full key.
        starts: Where each begins.
        ends: Where each ends, exclusive.
        gap: Ranges that lie within so many bytes of each other are fetched as one.
        into: A pointer to the memory for each, and the object that shows it; None for memory of the core's.
    """
    if not starts:
        return []
    raw = key.encode()
    pointers = NULL if into is None else [pointer for pointer, _ in into]
    handle = lib.s3ext_op_get_ranges(
        client.handle, raw, len(raw), NULL, 0, NULL, 0, starts, ends, len(starts), gap, pointers
    )
    operation = Operation(handle, client, into)
    try:
        yield operation
        result = lib.s3ext_op_result(operation.handle)
        if result.code:
            raise failure(operation, "get_ranges", key)
        slices = SLICE.iter_unpack(ffi.buffer(result.slices, SLICE.size * result.slice_count))
        if into is not None:
            return [
                view if size == len(view) else view[:size]
                for (_, view), (_, size, _, _) in zip(into, slices, strict=True)
            ]
        lib.s3ext_op_take_slices(operation.handle)
        release = RELEASE_MEMORY
        return [wrap(Bytes, data, size, memory, release) for data, size, _, memory in slices]
    finally:
        operation.release()


# ---- writes ----


def put_result(operation: Operation, key: str) -> PutResult:
    """Make a PutResult from a put that succeeded.

    Raises:
        GenericError: The answer has no ETag.
    """
    result = lib.s3ext_op_result(operation.handle)
    e_tag = text(result.etag, result.etag_size)
    if e_tag is None:
        bucket = operation.client.bucket
        raise exceptions.GenericError(
            f"PUT {bucket}/{key}: ETag Header missing from response", operation="put", bucket=bucket, key=key
        )
    return {"e_tag": e_tag, "version": text(result.version, result.version_size)}


# ---- lists ----


class Page:
    """A page of a listing.

    Attributes:
        objects: The objects, paths relative to the store's prefix: what the page's maker makes of them.
        prefixes: The common prefixes, likewise, without a trailing `/`.
        token: What asks for the next page; None on the last one.
    """

    __slots__ = ("objects", "prefixes", "token")

    def __init__(self, objects: Any, prefixes: list[str], token: str | None) -> None:
        self.objects = objects
        self.prefixes = prefixes
        self.token = token


def page_operation(client: Client, query: bytes, token: str | None) -> Operation:
    """Make a request for a page; `query` is the pair block that all pages share."""
    if token is not None:
        query += f"continuation-token\0{token}\0".encode()
    return Operation(lib.s3ext_op_list(client.handle, query, len(query)), client)


def page_of(
    operation: Operation,
    prefix: str | None,
    name: str,
    make: Callable[[int, int, bool], Any] = page_rows,
    *,
    raw: bool = False,
) -> Page:
    """Turn the result of a request for a page into metadata.

    Args:
        operation: The request, done.
        prefix: The store's prefix.
        name: The operation's name, for errors.
        make: Makes the objects from the result's address, the bytes of a key to skip, and `raw`.
        raw: Whether keys keep a trailing `/`.
    """
    result = lib.s3ext_op_result(operation.handle)
    if result.code:
        raise failure(operation, name)
    address = int(ffi.cast("uintptr_t", result))
    skip = len(prefix.encode()) + 1 if prefix else 0
    return Page(
        make(address, skip, raw),
        page_prefixes(address, skip, raw) if result.prefix_count else [],
        text(result.next_token, result.next_token_size),
    )


def list_with_delimiter(
    client: Client,
    prefix: str | None,
    query: bytes,
    make: Callable[[int, int, bool], Any],
    join: Callable[[list[Any]], Any],
) -> Steps[ListResult[Any]]:
    """List one level.

    Args:
        client: The client.
        prefix: The store's prefix.
        query: The pair block that all pages share.
        make: Makes the objects of a page; see `page_of`.
        join: Makes one of those of all pages.

    Returns:
        The objects, and the common prefixes, sorted and unique.
    """
    pages: list[Any] = []
    prefixes: set[str] = set()
    token: str | None = None
    while True:
        operation = page_operation(client, query, token)
        try:
            yield operation
            page = page_of(operation, prefix, "list_with_delimiter", make, raw=client.settings.raw_keys)
        finally:
            operation.release()
        pages.append(page.objects)
        prefixes.update(page.prefixes)
        if page.token is None:
            return {"common_prefixes": sorted(prefixes), "objects": join(pages)}
        check_token(client, token, page.token)
        token = page.token


def check_token(client: Client, last: str | None, token: str) -> None:
    """Refuse a listing that would never end.

    Raises:
        ProtocolError: The server gave the same token again.
    """
    if token == last:
        raise exceptions.ProtocolError(
            f"LIST {client.bucket} failed: the server repeats its continuation token", bucket=client.bucket
        )


# ---- signing ----


def sign(client: Client, method: str, keys: Sequence[str], seconds: int) -> Steps[list[str]]:
    """Make presigned URLs; only credentials may have to be waited for.

    It takes keys, wherever other requests are not signed, and those of the store rather than of a session.
    """
    if client.settings.skip_signature:
        client = client.beside("sign", _signing)
    client = client.besides_session()
    operation = Operation(lib.s3ext_op_credentials(client.handle), client)
    try:
        yield operation
        if lib.s3ext_op_result(operation.handle).code:
            raise failure(operation, "sign", keys[0] if keys else None)
    finally:
        operation.release()
    return [_presigned(client, method.encode(), key, seconds) for key in keys]


def _signing(settings: Settings) -> Settings:
    return settings.changed(
        skip_signature=False, credentials="static" if settings.credentials == "none" else settings.credentials
    )


def _presigned(client: Client, method: bytes, key: str, seconds: int) -> str:
    raw = key.encode()
    size = ffi.new("size_t *")
    capacity = URL_BYTES
    while True:
        out = ffi.new("char[]", capacity)
        code = lib.s3ext_presign(client.handle, method, raw, len(raw), NULL, 0, seconds, out, capacity, size)
        if code == 0:
            return str(ffi.unpack(out, size[0]).decode())
        # A long session token makes a long URL.
        if capacity > 2**20 or size[0] < capacity:
            raise plain_failure(code, "sign", client.bucket, key)
        capacity = size[0] + 1
