"""The operations as methods of a store.

Each is there twice, sync and as a coroutine (`_async`), and both drive the same generator (see
`_operations`). An argument that cannot be right raises before any request.

What is raised by all of them, beside what is listed at each:

    NotFoundError            (FileNotFoundError) there is no such object or bucket
    PermissionDeniedError    (PermissionError) the credentials do not allow it
    UnauthenticatedError     there are no usable credentials, or the credential provider failed (its error is
    the
                             cause)
    GenericError             everything else: ThrottledError, RequestTimeoutError, ConnectError, ProtocolError
    InvalidPathError         (ValueError) the path is no valid key
"""

# ruff: noqa: F811 - overloads; `overload` is not that of typing at run time, whose import would cost too much

from __future__ import annotations

from operator import index

from s3ext import _operations as operations
from s3ext import exceptions
from s3ext._clients import client_for
from s3ext._ffi import UNKNOWN_SIZE, ffi
from s3ext._operations import Target, borrowed, writable
from s3ext._paths import join, list_prefix, strip
from s3ext._requests import (
    METHODS,
    block,
    check_range,
    check_ranges,
    get_request,
    put_headers,
    put_mode,
    seconds_of,
)
from s3ext._results import GetResult, ListStream, list_stream
from s3ext._store_base import StoreConfiguration
from s3ext._uploads import CHUNK_SIZE, MAX_CONCURRENCY, Upload
from s3ext._uploads import put as put_steps
from s3ext._wait import run_async, run_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path
    from typing import IO, Literal, SupportsIndex, TypeAlias, overload

    from typing_extensions import Buffer

    from s3ext._bytes import Bytes
    from s3ext._clients import Client
    from s3ext._ffi import CData
    from s3ext._requests import GetRequest
    from s3ext._types import Attributes, GetOptions, ListResult, ObjectMeta, PutMode, PutResult
    from s3ext._wait import Steps

    # Within the class, `list` is the method.
    Pieces: TypeAlias = list[Bytes]
    Texts: TypeAlias = list[str]
    Metas: TypeAlias = Sequence[ObjectMeta]

    HTTPMethod: TypeAlias = Literal[
        "GET", "PUT", "POST", "HEAD", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"
    ]
    PutInput: TypeAlias = (
        IO[bytes]
        | Path
        | str
        | Buffer
        | Iterator[Buffer]
        | Iterable[Buffer]
        | AsyncIterator[Buffer]
        | AsyncIterable[Buffer]
    )
else:

    def overload(function: object) -> object:
        """Mark a signature; that of typing, without importing it."""
        return function


__all__ = ["StoreMethods"]

COALESCE = 1024 * 1024
LIST_CHUNK = 50


class StoreMethods(StoreConfiguration):
    """The operations of a store."""

    __slots__ = ("_client",)

    _client: Client

    def _connected(self) -> Client:
        """Return the client of the core's, made at the first use in a process."""
        try:
            client = self._client
            if client.alive:
                return client
        except AttributeError:
            pass
        client = self._client = client_for(self._settings, self._credential_provider)
        return client

    def _target(self, path: str) -> Target:
        key = join(self._prefix, path)
        return Target(self._connected(), key, strip(self._prefix, key))

    # ---- get ----

    def get(self, path: str, *, options: GetOptions | None = None, into: Buffer | None = None) -> GetResult:
        """Get an object: its metadata now, and its bytes from the result.

        One request brings the metadata and the first part; the result fetches the rest in parallel parts when
        it is asked for. With `into` everything is read at once.

        Args:
            path: The object's path, relative to the store's prefix.
            options: Conditions, a range, a version; see `GetOptions`.
            into: A writable, C-contiguous buffer that the bytes are read into, such as a numpy array; it must
                be large enough. `bytes()` of the result shows it.

        Returns:
            The result.

        Raises:
            PreconditionError: A condition does not hold.
            NotModifiedError: The object has not changed.
            ValueError: A range that is empty, `into` is read-only or too small.
        """
        return run_sync(self._get(path, options, into))

    async def get_async(
        self, path: str, *, options: GetOptions | None = None, into: Buffer | None = None
    ) -> GetResult:
        """Get an object; see `get`."""
        return await run_async(self._get(path, options, into))

    def _get(self, path: str, options: GetOptions | None, into: Buffer | None) -> Steps[GetResult]:
        destination = None if into is None else writable(into)
        if options:
            return _get_with(self._target(path), get_request(options), destination)
        return _get_whole(self._target(path), destination)

    # ---- ranges ----

    def get_range(
        self,
        path: str,
        *,
        start: SupportsIndex,
        end: SupportsIndex | None = None,
        length: SupportsIndex | None = None,
        into: Buffer | None = None,
    ) -> Bytes:
        """Get a range of an object's bytes; a large one in parallel parts.

        Args:
            path: The object's path, relative to the store's prefix.
            start: Offset of the first byte.
            end: Offset behind the last byte; it may be past the object's end.
            length: Number of bytes, instead of `end`.
            into: A writable, C-contiguous buffer of at least so many bytes to read into.

        Returns:
            The bytes, uncopied; a view of `into`, if that is given. They are fewer than asked for where the
            object ends before.

        Raises:
            ValueError: Neither or both of `end` and `length`, an empty range, or `into` is read-only or too
                small.
            OverflowError: A negative number.
            GenericError: The range begins at or behind the object's end (416).
        """
        first, last = check_range(start, end, length)
        key = join(self._prefix, path)
        view = None if into is None else writable(into, last - first)
        return run_sync(operations.get_range(self._connected(), key, first, last, view))

    async def get_range_async(
        self,
        path: str,
        *,
        start: SupportsIndex,
        end: SupportsIndex | None = None,
        length: SupportsIndex | None = None,
        into: Buffer | None = None,
    ) -> Bytes:
        """Get a range of an object's bytes; see `get_range`."""
        first, last = check_range(start, end, length)
        key = join(self._prefix, path)
        view = None if into is None else writable(into, last - first)
        return await run_async(operations.get_range(self._connected(), key, first, last, view))

    def get_ranges(
        self,
        path: str,
        *,
        starts: Sequence[SupportsIndex],
        ends: Sequence[SupportsIndex] | None = None,
        lengths: Sequence[SupportsIndex] | None = None,
        coalesce: int = COALESCE,
        into: Buffer | Sequence[Buffer] | None = None,
    ) -> Pieces:
        """Get many ranges of an object's bytes, with few requests in parallel.

        Args:
            path: The object's path, relative to the store's prefix.
            starts: Offset of the first byte of each.
            ends: Offset behind the last byte of each; it may be past the object's end.
            lengths: Number of bytes of each, instead of `ends`.
            coalesce: Ranges within so many bytes of each other are fetched as one; default 1 MiB.
            into: One writable, C-contiguous buffer that takes the ranges one behind the other, or one for
                each.

        Returns:
            The bytes of each range, in the order of `starts`, uncopied; ranges that were fetched as one share
            memory.

        Raises:
            ValueError: Neither or both of `ends` and `lengths`, not as many as `starts`, an empty range, or
                `into` is read-only or too small.
            OverflowError: A negative number.
            GenericError: A range begins at or behind the object's end (416).
        """
        return run_sync(self._get_ranges(path, starts, ends, lengths, coalesce, into))

    async def get_ranges_async(
        self,
        path: str,
        *,
        starts: Sequence[SupportsIndex],
        ends: Sequence[SupportsIndex] | None = None,
        lengths: Sequence[SupportsIndex] | None = None,
        coalesce: int = COALESCE,
        into: Buffer | Sequence[Buffer] | None = None,
    ) -> Pieces:
        """Get many ranges of an object's bytes; see `get_ranges`."""
        return await run_async(self._get_ranges(path, starts, ends, lengths, coalesce, into))

    def _get_ranges(
        self,
        path: str,
        starts: Sequence[SupportsIndex],
        ends: Sequence[SupportsIndex] | None,
        lengths: Sequence[SupportsIndex] | None,
        coalesce: int,
        into: Buffer | Sequence[Buffer] | None,
    ) -> Steps[Pieces]:
        firsts, lasts = check_ranges(starts, ends, lengths)
        gap = index(coalesce)
        if gap < 0:
            raise OverflowError(f"coalesce must not be negative: {gap}")
        key = join(self._prefix, path)
        places = None if into is None else _places(into, firsts, lasts)
        return operations.get_ranges(self._connected(), key, firsts, lasts, min(gap, UNKNOWN_SIZE), places)

    # ---- head ----

    def head(self, path: str) -> ObjectMeta:
        """Get an object's metadata.

        Args:
            path: The object's path, relative to the store's prefix.

        Returns:
            Path, time of modification, size, ETag and version.
        """
        return run_sync(operations.head(self._target(path)))

    async def head_async(self, path: str) -> ObjectMeta:
        """Get an object's metadata; see `head`."""
        return await run_async(operations.head(self._target(path)))

    # ---- put ----

    def put(
        self,
        path: str,
        file: PutInput,
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        use_multipart: bool | None = None,
        chunk_size: int = CHUNK_SIZE,
        max_concurrency: int = MAX_CONCURRENCY,
    ) -> PutResult:
        """Put an object: in one request, or in parallel parts if it is larger than one.

        Args:
            path: The object's path, relative to the store's prefix.
            file: What to put: a buffer (sent from where it is), the name of a file as str or Path, a binary
                file, or an iterator of buffers; for `put_async` an async iterator too.
            attributes: Content headers, storage class and user metadata.
            tags: Tags of the object.
            mode: `"overwrite"` (default), `"create"` to fail if it exists, or an ETag to fail if it has
                changed, as `{"e_tag": ...}`. The latter two use a single request whatever the size.
            use_multipart: Whether to put in parts; default: if it is larger than `chunk_size`.
            chunk_size: Bytes of a part; default 5 MiB, the least that S3 takes. Larger where 10,000 parts
                would not do.
            max_concurrency: Parts in flight; default 12.

        Returns:
            The ETag, and the version in a versioned bucket.

        Raises:
            AlreadyExistsError: With mode `"create"`, the object exists.
            PreconditionError: With an ETag as mode, the object has changed or is gone.
            FileNotFoundError: There is no file of that name.
            ValueError: `file` or another argument is nothing that can be put.
        """
        upload = self._upload(path, attributes, tags, mode, use_multipart, chunk_size, max_concurrency)
        return run_sync(put_steps(upload, file))

    async def put_async(
        self,
        path: str,
        file: PutInput,
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        use_multipart: bool | None = None,
        chunk_size: int = CHUNK_SIZE,
        max_concurrency: int = MAX_CONCURRENCY,
    ) -> PutResult:
        """Put an object; see `put`. `file` may be an async iterator of buffers."""
        upload = self._upload(path, attributes, tags, mode, use_multipart, chunk_size, max_concurrency)
        return await run_async(put_steps(upload, file))

    def _upload(
        self,
        path: str,
        attributes: Attributes | None,
        tags: dict[str, str] | None,
        mode: PutMode | None,
        use_multipart: bool | None,  # noqa: FBT001 - private, and called with what the caller gave
        chunk_size: int,
        max_concurrency: int,
    ) -> Upload:
        settings = self._settings
        name, headers = put_mode(mode)
        if name != "overwrite" and settings.conditional_put == "disabled":
            raise exceptions.NotSupportedError(
                "conditional puts are disabled by conditional_put", operation="put"
            )
        if attributes or tags or settings.default_content_type is not None:
            sent = None if settings.disable_tagging else tags
            headers += put_headers(attributes, sent, settings.default_content_type)
        return Upload(
            self._connected(),
            join(self._prefix, path),
            name,
            headers,
            multipart=use_multipart,
            chunk_size=chunk_size,
            window=max_concurrency,
        )

    # ---- delete ----

    def delete(self, paths: str | Sequence[str]) -> None:
        """Delete one or many objects. One that does not exist is no error.

        Args:
            paths: A path, or a sequence of them, relative to the store's prefix. Many are deleted in bulk,
                1,000 a request, unless the store has `disable_bulk_delete`.

        Raises:
            GenericError: The server refused a key; others may be gone.
            TypeError: `paths` is neither a str nor a sequence of str.
        """
        run_sync(self._delete(paths))

    async def delete_async(self, paths: str | Sequence[str]) -> None:
        """Delete one or many objects; see `delete`."""
        await run_async(self._delete(paths))

    def _delete(self, paths: str | Sequence[str]) -> Steps[None]:
        if isinstance(paths, str):
            return operations.delete_one(self._connected(), join(self._prefix, paths))
        if not _is_sequence(paths):
            raise TypeError("Expected string path or sequence of string paths.")
        keys = [join(self._prefix, path) for path in paths]
        return operations.delete_many(self._connected(), keys, bulk=not self._settings.disable_bulk_delete)

    # ---- list ----

    def list(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: bool = False,
    ) -> ListStream:
        """List the objects below a prefix, in the order of their keys.

        Args:
            prefix: Whole path segments, relative to the store's prefix: `"a/b"` lists `a/b/c`, not `a/bc`.
            offset: Only objects whose path comes behind this one, which need not exist.
            chunk_size: Objects of a chunk; default 50.
            return_arrow: Chunks are Arrow record batches; not built yet.

        Returns:
            An iterator and async iterator of chunks, with `collect()` and `collect_async()`. No request is
            made before the first chunk is asked for.

        Raises:
            NotSupportedError: `return_arrow` is true.
        """
        if return_arrow:
            raise exceptions.NotSupportedError("return_arrow is not supported yet", operation="list")
        return list_stream(self._connected, self._prefix, self._list_query(prefix, offset), index(chunk_size))

    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: bool = False,
    ) -> ListStream:
        """List the objects below a prefix; the same as `list`, whose result works in both worlds."""
        return StoreMethods.list(
            self, prefix, offset=offset, chunk_size=chunk_size, return_arrow=return_arrow
        )

    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: bool = False
    ) -> ListResult[Metas]:
        """List one level: the objects right below a prefix, and the prefixes there.

        Args:
            prefix: Whole path segments, relative to the store's prefix.
            return_arrow: Objects are an Arrow table; not built yet.

        Returns:
            `objects`, and `common_prefixes`, sorted and without a trailing `/`.

        Raises:
            NotSupportedError: `return_arrow` is true.
        """
        return run_sync(self._list_level(prefix, return_arrow=return_arrow))

    async def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: bool = False
    ) -> ListResult[Metas]:
        """List one level; see `list_with_delimiter`."""
        return await run_async(self._list_level(prefix, return_arrow=return_arrow))

    def _list_level(self, prefix: str | None, *, return_arrow: bool) -> Steps[ListResult[Metas]]:
        if return_arrow:
            raise exceptions.NotSupportedError(
                "return_arrow is not supported yet", operation="list_with_delimiter"
            )
        query = self._list_query(prefix, None, delimiter=True)
        return operations.list_with_delimiter(self._connected(), self._prefix, query)

    def _list_query(self, prefix: str | None, offset: str | None, *, delimiter: bool = False) -> bytes:
        """Make the query that all pages of a listing share.

        Keys are asked for in URL encoding, unlike in obstore: XML cannot carry every key.
        """
        query = [("list-type", "2"), ("encoding-type", "url")]
        if delimiter:
            query.append(("delimiter", "/"))
        within = list_prefix(self._prefix, prefix)
        if within:
            query.append(("prefix", within))
        if offset is not None:
            query.append(("start-after", join(self._prefix, offset, root=True)))
        return block(query)

    # ---- copy ----

    def copy(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Copy an object within the store, on the server, with its attributes.

        Args:
            from_: Path of the source.
            to: Path of the copy.
            overwrite: Whether the copy may replace an object. S3 has no condition for this; False is not
                supported yet.

        Raises:
            NotSupportedError: `overwrite` is False.
            NotFoundError: There is no source.
        """
        run_sync(self._copy(from_, to, overwrite=overwrite))

    async def copy_async(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Copy an object within the store; see `copy`."""
        await run_async(self._copy(from_, to, overwrite=overwrite))

    def rename(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Rename an object: copy it, then delete the source. Not atomic.

        Args:
            from_: Path of the source.
            to: The new path.
            overwrite: Whether an object there may be replaced; False is not supported yet.

        Raises:
            NotSupportedError: `overwrite` is False.
            NotFoundError: There is no source.
        """
        run_sync(self._copy(from_, to, overwrite=overwrite, rename=True))

    async def rename_async(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Rename an object; see `rename`."""
        await run_async(self._copy(from_, to, overwrite=overwrite, rename=True))

    def _copy(self, from_: str, to: str, *, overwrite: bool, rename: bool = False) -> Steps[None]:
        source, key = join(self._prefix, from_), join(self._prefix, to)
        if not overwrite:
            raise exceptions.NotSupportedError(
                "Operation not supported: S3 does not support copy-if-not-exists", operation="copy", key=key
            )
        return (operations.rename if rename else operations.copy)(self._connected(), source, key)

    # ---- sign ----

    @overload
    def sign(self, method: HTTPMethod, paths: str, expires_in: timedelta) -> str: ...  # type: ignore[overload-overlap] # a str is a sequence, too
    @overload
    def sign(self, method: HTTPMethod, paths: Sequence[str], expires_in: timedelta) -> Texts: ...
    def sign(self, method: HTTPMethod, paths: str | Sequence[str], expires_in: timedelta) -> str | Texts:
        """Make a URL that lets whoever has it do one request.

        Args:
            method: HTTP method that the URL is for, in upper case.
            paths: The object's path, or several, relative to the store's prefix.
            expires_in: How long it is valid; S3 takes at most 7 days.

        Returns:
            A URL, or a list of URLs if `paths` is a sequence.

        Raises:
            ValueError: There is no such method, or `expires_in` is shorter than a second.
            TypeError: `expires_in` is no timedelta, or `paths` neither a str nor a sequence of str.
        """
        urls = run_sync(self._sign(method, paths, expires_in))
        return urls[0] if isinstance(paths, str) else urls

    @overload
    async def sign_async(self, method: HTTPMethod, paths: str, expires_in: timedelta) -> str: ...  # type: ignore[overload-overlap] # a str is a sequence, too
    @overload
    async def sign_async(self, method: HTTPMethod, paths: Sequence[str], expires_in: timedelta) -> Texts: ...
    async def sign_async(
        self, method: HTTPMethod, paths: str | Sequence[str], expires_in: timedelta
    ) -> str | Texts:
        """Make a URL that lets whoever has it do one request; see `sign`."""
        urls = await run_async(self._sign(method, paths, expires_in))
        return urls[0] if isinstance(paths, str) else urls

    def _sign(self, method: str, paths: str | Sequence[str], expires_in: timedelta) -> Steps[Texts]:
        if method not in METHODS:
            raise ValueError(f"Unsupported HTTP method {method}")
        seconds = seconds_of(expires_in)
        if isinstance(paths, str):
            keys = [join(self._prefix, paths)]
        elif _is_sequence(paths):
            keys = [join(self._prefix, path) for path in paths]
        else:
            raise TypeError("Expected string path or sequence of string paths.")
        return operations.sign(self._connected(), method, keys, seconds)


# ---- get, in its variants ----


def _get_whole(target: Target, into: CData | None) -> Steps[GetResult]:
    if into is not None:
        found = yield from operations.get_into(target, b"", b"", into)
    else:
        found = yield from operations.get_part(target, b"", b"", 0, UNKNOWN_SIZE)
    return GetResult(target, b"", found, found.meta["size"])


def _get_with(target: Target, request: GetRequest, into: CData | None) -> Steps[GetResult]:
    """Get with options. What needs the object's size first asks for it, and then for that very version."""
    headers, query = block(request.headers), block(request.query)
    start, end = request.start, request.end
    if request.head:
        found = yield from operations.head_range(target, headers, query)
        return GetResult(target, query, found, found.end)
    if request.kind == "suffix" and into is None and start <= target.client.part_size:
        found = yield from operations.get_suffix(target, headers, query, start)
        return GetResult(target, query, found, found.end)
    if request.kind == "suffix" or (request.kind == "offset" and into is not None):
        known = yield from operations.head_range(target, headers, query)
        size = known.meta["size"]
        start = max(0, size - start) if request.kind == "suffix" else start
        end = size
        e_tag = known.meta["e_tag"]
        if e_tag is not None and not any(name == "if-match" for name, _ in request.headers):
            headers += block([("if-match", e_tag)])
        if start >= end:
            # The server says it in its own words.
            into = None
            end = UNKNOWN_SIZE
    if into is None:
        found = yield from operations.get_part(target, headers, query, start, end)
        return GetResult(target, query, found, min(end, found.meta["size"]))
    if request.kind == "whole":
        found = yield from operations.get_into(target, headers, query, into)
        return GetResult(target, query, found, found.end)
    if len(into) < end - start:
        raise ValueError(f"into is too small: it has {len(into)} bytes, and {end - start} are to be read")
    found = yield from operations.get_range_into(target, headers, query, start, end, into)
    return GetResult(target, query, found, found.end)


def _places(into: Buffer | Sequence[Buffer], starts: list[int], ends: list[int]) -> list[tuple[CData, Bytes]]:
    """Find the memory for each range, in one buffer or in one for each.

    Raises:
        ValueError: A buffer is read-only or too small, or there are not as many as ranges.
    """
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    if isinstance(into, (list, tuple)):
        if len(into) != len(sizes):
            raise ValueError(f"into must have a buffer for each range: {len(into)} for {len(sizes)} ranges")
        views = [writable(buffer, size) for buffer, size in zip(into, sizes, strict=True)]
        return [(view, borrowed(view, size)) for view, size in zip(views, sizes, strict=True)]
    total = sum(sizes)
    view = writable(into, total)
    whole, at = borrowed(view, total), 0
    base = ffi.cast("char *", view)
    places = []
    for size in sizes:
        places.append((base + at, whole[at : at + size]))
        at += size
    return places


def _is_sequence(paths: object) -> bool:
    """Tell a sequence from a generator, a set or a dict, without importing collections.abc."""
    return hasattr(paths, "__getitem__") and hasattr(paths, "__len__") and not hasattr(paths, "keys")
