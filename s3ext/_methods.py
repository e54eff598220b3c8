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
from s3ext._deletes import delete_from, delete_many, delete_one, delete_prefix
from s3ext._ffi import UNKNOWN_SIZE, ffi, page_rows
from s3ext._operations import Target, borrowed, writable
from s3ext._paths import join, key_prefix, list_prefix, strip
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
from s3ext._results import GetResult, ListStream, get_verified, joined, list_stream
from s3ext._store_base import StoreConfiguration
from s3ext._uploads import CHUNK_SIZE, MAX_CONCURRENCY, Upload
from s3ext._uploads import put as put_steps
from s3ext._wait import run_async, run_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
    from datetime import timedelta
    from io import BufferedReader, TextIOWrapper
    from pathlib import Path
    from typing import IO, Any, Literal, SupportsIndex, TypeAlias, Unpack, overload

    from typing_extensions import Buffer

    from s3ext._arrow import ArrowBatch, ArrowTable
    from s3ext._bytes import Bytes
    from s3ext._clients import Client
    from s3ext._ffi import CData
    from s3ext._files import (
        AsyncReadableFile,
        AsyncWritableFile,
        ReadableFile,
        WritableFile,
    )
    from s3ext._open import ObjectWriter
    from s3ext._requests import GetRequest
    from s3ext._types import (
        Attributes,
        GetOptions,
        ListResult,
        ObjectMeta,
        OpenOptions,
        PutMode,
        PutResult,
    )
    from s3ext._wait import Steps

    # Within the class, `list` is the method.
    Pieces: TypeAlias = list[Bytes]
    Texts: TypeAlias = list[str]
    Metas: TypeAlias = Sequence[ObjectMeta]
    MetaList: TypeAlias = list[ObjectMeta]

    ReadBinary: TypeAlias = Literal["rb", "br"]
    WriteBinary: TypeAlias = Literal["wb", "bw", "xb", "bx"]
    ReadText: TypeAlias = Literal["r", "rt", "tr"]
    WriteText: TypeAlias = Literal["w", "wt", "tw", "x", "xt", "tx"]
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
READ_BUFFER = 1024 * 1024
WRITE_BUFFER = 10 * 1024 * 1024


class StoreMethods(StoreConfiguration):
    """The operations of a store."""

    __slots__ = ("_client",)

    _client: Client

    def _connected(self) -> Client:
        """Return the client, made at the first use."""
        try:
            return self._client
        except AttributeError:
            client = self._client = client_for(self._settings, self._credential_provider)
            return client

    def _key(self, path: str) -> str:
        """Make the full key of a path."""
        return join(self._prefix, path, raw=self._configuration.settings.raw_keys)

    def _target(self, path: str) -> Target:
        key = self._key(path)
        return Target(self._connected(), key, strip(self._prefix, key, raw=self._settings.raw_keys))

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
        key = self._key(path)
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
        key = self._key(path)
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
        key = self._key(path)
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
        return run_sync(put_steps(upload, file, on_loop=False))

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
        return await run_async(put_steps(upload, file, on_loop=True))

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
        lock = None
        if name != "overwrite" and settings.conditional_put.startswith("dynamo:"):
            from s3ext._locks import lock_of  # noqa: PLC0415 - few stores need it

            # The lock is the condition, and the put a plain one.
            table = lock_of(settings.conditional_put)
            assert table is not None
            lock = table, dict(headers).get("if-match")
            headers = []
        if name != "overwrite" and settings.conditional_put == "disabled":
            raise exceptions.NotSupportedError(
                "conditional puts are disabled by conditional_put", operation="put"
            )
        if attributes or tags or settings.default_content_type is not None:
            sent = None if settings.disable_tagging else tags
            headers += put_headers(attributes, sent, settings.default_content_type)
        return Upload(
            self._connected(),
            self._key(path),
            name,
            headers,
            multipart=use_multipart,
            chunk_size=chunk_size,
            window=max_concurrency,
            lock=lock,
        )

    # ---- files ----

    @overload
    def open(self, path: str, mode: ReadBinary = "rb", **options: Unpack[OpenOptions]) -> BufferedReader: ...
    @overload
    def open(self, path: str, mode: WriteBinary, **options: Unpack[OpenOptions]) -> ObjectWriter: ...
    @overload
    def open(
        self, path: str, mode: ReadText | WriteText, **options: Unpack[OpenOptions]
    ) -> TextIOWrapper: ...
    @overload
    def open(self, path: str, mode: str, **options: Unpack[OpenOptions]) -> Any: ...
    def open(
        self,
        path: str,
        mode: str = "rb",
        *,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        block_size: int | None = None,
        version: str | None = None,
    ) -> Any:
        """Open an object as Python's `open` opens a file.

        Args:
            path: The object's path, relative to the store's prefix.
            mode: `"rb"` (default), `"wb"`, `"xb"`, or without `b` (with or without `t`) for text. Objects
                cannot be appended to or changed.
            buffering: 0 to read without a buffer of io's, 1 for text by lines; else the bytes of that buffer.
            encoding: Of text; default as for `open`.
            errors: What is done about what is no such text, as for `open`.
            newline: How line ends are read and written, as for `open`.
            block_size: Reading: bytes that a request brings at least, default 128 KiB; where reading goes on
                it becomes 32 MiB. Writing: bytes of a part, default HTS_S3_PART_SIZE (MiB), else 10 MiB; less
                than that in all is one request.
            version: The version to read.

        Returns:
            Reading: a file of the version that the object has now. Writing: a file that becomes the object,
            as a whole, when it is closed; none if a `with` block raises, and none, with a ResourceWarning, if
            it is never closed. Flushing sends nothing. With `x` closing raises FileExistsError where there is
            an object already.

        Raises:
            FileNotFoundError: There is no such object.
            UnsupportedOperation: (OSError, ValueError) Objects cannot be opened in this mode.
            ValueError: There is no such mode, or another argument does not go with it.
            GenericError: HTS_S3_PART_SIZE is no size of a part.
        """
        from s3ext._open import open_object  # noqa: PLC0415 - for those who want files

        return open_object(
            self,
            path,
            mode,
            buffering=buffering,
            encoding=encoding,
            errors=errors,
            newline=newline,
            block_size=block_size,
            version=version,
        )

    def open_reader(
        self, path: str, *, buffer_size: int = READ_BUFFER, size: int | None = None
    ) -> ReadableFile:
        """Open an object as a binary file to read.

        Args:
            path: The object's path, relative to the store's prefix.
            buffer_size: Bytes that a request brings at least, and that are kept for the next reads; default
                1 MiB.
            size: The object's size, if it is known: no request is made then before the first read. A smaller
                one cuts the object off, a larger one is an OSError when what is not there is read.

        Returns:
            A file as of `open(..., "rb")`, of the version that the object has now.

        Raises:
            ValueError: `buffer_size` is below 1, or `size` negative.
        """
        from s3ext._files import ReadableFile, content_of  # noqa: PLC0415 - for those who want files

        return ReadableFile(run_sync(content_of(self._target(path), buffer_size, size)))

    async def open_reader_async(
        self, path: str, *, buffer_size: int = READ_BUFFER, size: int | None = None
    ) -> AsyncReadableFile:
        """Open an object as a binary file whose methods are awaited; see `open_reader`."""
        from s3ext._files import AsyncReadableFile, content_of  # noqa: PLC0415 - as above

        return AsyncReadableFile(await run_async(content_of(self._target(path), buffer_size, size)))

    def open_writer(
        self,
        path: str,
        *,
        attributes: Attributes | None = None,
        buffer_size: int = WRITE_BUFFER,
        tags: dict[str, str] | None = None,
        max_concurrency: int = MAX_CONCURRENCY,
    ) -> WritableFile:
        """Open a binary file to write, which becomes an object when it is closed.

        Args:
            path: The object's path, relative to the store's prefix.
            attributes: Content headers, storage class and user metadata.
            buffer_size: Bytes that are kept here until they are sent; less than that in all is one request,
                more is put in parts of that size. Default 10 MiB.
            tags: Tags of the object.
            max_concurrency: Parts in flight; default 12. No more of them is in memory.

        Returns:
            A file as of `open(..., "wb")`. Nothing is written unless it is closed, and nothing if a `with`
            block ends in an exception.

        Raises:
            ValueError: A number is below 1, or an attribute is none.
        """
        from s3ext._files import WritableFile, Writing  # noqa: PLC0415 - as above

        return WritableFile(
            Writing(self._upload(path, attributes, tags, None, None, buffer_size, max_concurrency))
        )

    def open_writer_async(
        self,
        path: str,
        *,
        attributes: Attributes | None = None,
        buffer_size: int = WRITE_BUFFER,
        tags: dict[str, str] | None = None,
        max_concurrency: int = MAX_CONCURRENCY,
    ) -> AsyncWritableFile:
        """Open a binary file whose methods are awaited; see `open_writer`. Not to be awaited itself."""
        from s3ext._files import AsyncWritableFile, Writing  # noqa: PLC0415 - as above

        return AsyncWritableFile(
            Writing(self._upload(path, attributes, tags, None, None, buffer_size, max_concurrency))
        )

    # ---- delete ----

    def delete(self, paths: str | Iterable[str]) -> None:
        """Delete one or many objects. One that does not exist is no error.

        Args:
            paths: A path, or an iterable of any number of them, relative to the store's prefix. Many are
                deleted in bulk, 1,000 a request, unless the store has `disable_bulk_delete`. A list or tuple
                is checked as a whole before anything is deleted; what an iterator gives, as it comes.

        Raises:
            GenericError: The server refused a key; others may be gone.
            TypeError: `paths` is neither a str nor an iterable of str.
            ValueError: `paths` is an async iterable; `delete_async` takes it.
        """
        run_sync(self._delete(paths))

    async def delete_async(self, paths: str | Iterable[str] | AsyncIterable[str]) -> None:
        """Delete one or many objects; see `delete`. `paths` may be an async iterable."""
        begin = None if isinstance(paths, str) else getattr(paths, "__aiter__", None)
        if begin is None:
            await run_async(self._delete(paths))
        else:
            await run_async(delete_from(self._connected(), begin(), self._key))

    def _delete(self, paths: Any) -> Steps[None]:
        if isinstance(paths, str):
            return delete_one(self._connected(), self._key(paths))
        if isinstance(paths, (bytes, bytearray, memoryview)) or not hasattr(paths, "__iter__"):
            if hasattr(paths, "__aiter__"):
                raise ValueError("Async input not allowed in 'delete'. Use 'delete_async'.")
            raise TypeError("Expected string path or sequence of string paths.")
        keys = map(self._key, paths)
        return delete_many(self._connected(), [*keys] if _is_sequence(paths) else keys)

    def delete_prefix(
        self, prefix: str | None, *, everything: bool = False, whole_segments: bool = True
    ) -> int:
        """Delete all objects below a prefix: lists them and deletes them in bulk meanwhile. Not in obstore.

        Args:
            prefix: Relative to the store's prefix. Whole path segments: `"a/b"` deletes `a/b/c`, neither
                `a/b` nor `a/bc`.
            everything: Must be True for an empty prefix, which deletes all that the store has.
            whole_segments: False takes the prefix as it is, to the character; see `list`.

        Returns:
            How many objects were deleted. In a versioned bucket their versions stay.

        Raises:
            ValueError: The prefix is empty, and `everything` is not True.
            GenericError: The server refused a key; others are gone.
        """
        return run_sync(self._delete_prefix(prefix, everything=everything, whole_segments=whole_segments))

    async def delete_prefix_async(
        self, prefix: str | None, *, everything: bool = False, whole_segments: bool = True
    ) -> int:
        """Delete all objects below a prefix; see `delete_prefix`."""
        steps = self._delete_prefix(prefix, everything=everything, whole_segments=whole_segments)
        return await run_async(steps)

    def _delete_prefix(self, prefix: str | None, *, everything: bool, whole_segments: bool) -> Steps[int]:
        if not everything and (prefix is None or prefix in {"", "/"}):
            raise ValueError(
                "the prefix is empty: this would delete every object of the store; "
                "give everything=True if that is meant"
            )
        query = self._list_query(prefix, None, whole_segments=whole_segments)
        return delete_prefix(self._connected(), query)

    # ---- list ----

    @overload
    def list(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: Literal[False] = False,
        whole_segments: bool = True,
    ) -> ListStream[MetaList]: ...
    @overload
    def list(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: Literal[True],
        whole_segments: bool = True,
    ) -> ListStream[ArrowBatch]: ...
    @overload
    def list(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: bool,
        whole_segments: bool = True,
    ) -> ListStream[MetaList] | ListStream[ArrowBatch]: ...
    def list(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: bool = False,
        whole_segments: bool = True,
    ) -> ListStream[MetaList] | ListStream[ArrowBatch]:
        """List the objects below a prefix, in the order of their keys.

        Args:
            prefix: Relative to the store's prefix. Whole path segments: `"a/b"` lists `a/b/c`, not `a/bc`.
            offset: Only objects whose path comes behind this one, which need not exist.
            chunk_size: Objects of a chunk; default 50.
            return_arrow: Chunks are Arrow record batches instead of lists of ObjectMeta: arro3's where
                arro3-core is installed, else `s3ext._arrow.RecordBatch`, which every Arrow library takes.
            whole_segments: False takes the prefix as it is, to the character: `"logs/2024-1"` lists
                `logs/2024-10/x` and `logs/2024-11.gz`.

        Returns:
            An iterator and async iterator of chunks, with `collect()` and `collect_async()`. No request is
            made before the first chunk is asked for.

        Raises:
            InvalidPathError: The prefix or the offset breaks a rule for paths.
        """
        query = self._list_query(prefix, offset, whole_segments=whole_segments)
        make: Callable[[int, int, bool], Any] = page_rows
        together: Callable[[Any], Any] = joined
        if return_arrow:
            from s3ext._arrow import chunk_of, page_batch  # noqa: PLC0415 - for those who want it

            make, together = page_batch, chunk_of
        if offset is not None and self._settings.service == "s3express":
            from s3ext._express import behind  # noqa: PLC0415 - few stores are of this kind

            make = behind(self._offset(offset), make)
        return list_stream(self._connected, self._prefix, query, index(chunk_size), make, together)

    @overload
    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: Literal[False] = False,
        whole_segments: bool = True,
    ) -> ListStream[MetaList]: ...
    @overload
    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: Literal[True],
        whole_segments: bool = True,
    ) -> ListStream[ArrowBatch]: ...
    @overload
    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: bool,
        whole_segments: bool = True,
    ) -> ListStream[MetaList] | ListStream[ArrowBatch]: ...
    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = LIST_CHUNK,
        return_arrow: bool = False,
        whole_segments: bool = True,
    ) -> ListStream[MetaList] | ListStream[ArrowBatch]:
        """List the objects below a prefix; the same as `list`, whose result works in both worlds."""
        return StoreMethods.list(
            self,
            prefix,
            offset=offset,
            chunk_size=chunk_size,
            return_arrow=return_arrow,
            whole_segments=whole_segments,
        )

    @overload
    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: Literal[False] = False, whole_segments: bool = True
    ) -> ListResult[Metas]: ...
    @overload
    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: Literal[True], whole_segments: bool = True
    ) -> ListResult[ArrowTable]: ...
    @overload
    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: bool, whole_segments: bool = True
    ) -> ListResult[Metas] | ListResult[ArrowTable]: ...
    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: bool = False, whole_segments: bool = True
    ) -> ListResult[Metas] | ListResult[ArrowTable]:
        """List one level: the objects right below a prefix, and the prefixes there.

        Args:
            prefix: Relative to the store's prefix; whole path segments.
            return_arrow: Objects are an Arrow table: arro3's where arro3-core is installed, else
                `s3ext._arrow.Table`, which every Arrow library takes.
            whole_segments: False takes the prefix as it is, to the character; see `list`.

        Returns:
            `objects`, and `common_prefixes`, sorted and without a trailing `/`.

        Raises:
            InvalidPathError: The prefix breaks a rule for paths.
        """
        return run_sync(self._list_level(prefix, arrow=return_arrow, whole_segments=whole_segments))

    @overload
    async def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: Literal[False] = False, whole_segments: bool = True
    ) -> ListResult[Metas]: ...
    @overload
    async def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: Literal[True], whole_segments: bool = True
    ) -> ListResult[ArrowTable]: ...
    @overload
    async def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: bool, whole_segments: bool = True
    ) -> ListResult[Metas] | ListResult[ArrowTable]: ...
    async def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: bool = False, whole_segments: bool = True
    ) -> ListResult[Metas] | ListResult[ArrowTable]:
        """List one level; see `list_with_delimiter`."""
        return await run_async(self._list_level(prefix, arrow=return_arrow, whole_segments=whole_segments))

    def _list_level(
        self, prefix: str | None, *, arrow: bool, whole_segments: bool
    ) -> Steps[ListResult[Metas] | ListResult[ArrowTable]]:
        query = self._list_query(prefix, None, delimiter=True, whole_segments=whole_segments)
        if not arrow:
            return operations.list_with_delimiter(self._connected(), self._prefix, query, page_rows, joined)
        from s3ext._arrow import page_batch, table_of  # noqa: PLC0415 - for those who want it

        return operations.list_with_delimiter(self._connected(), self._prefix, query, page_batch, table_of)

    def _list_query(
        self, prefix: str | None, offset: str | None, *, delimiter: bool = False, whole_segments: bool = True
    ) -> bytes:
        """Make the query that all pages of a listing share.

        Keys are asked for in URL encoding, unlike in obstore: XML cannot carry every key.
        """
        query = [("list-type", "2"), ("encoding-type", "url")]
        if delimiter:
            query.append(("delimiter", "/"))
        raw = self._settings.raw_keys
        if whole_segments:
            within = list_prefix(self._prefix, prefix, raw=raw)
        else:
            within = key_prefix(self._prefix, prefix)
        if within:
            query.append(("prefix", within))
        # Listings of S3 Express are in no order, and cannot start anywhere.
        if offset is not None and self._settings.service != "s3express":
            query.append(("start-after", self._offset(offset)))
        return block(query)

    def _offset(self, offset: str) -> str:
        if self._settings.raw_keys:
            return key_prefix(self._prefix, offset)
        return join(self._prefix, offset, root=True)

    # ---- copy ----

    def copy(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Copy an object within the store, on the server, with its attributes.

        Args:
            from_: Path of the source.
            to: Path of the copy.
            overwrite: Whether the copy may replace an object. S3 has several ways not to, of which the
                store's `copy_if_not_exists` chooses one.

        Raises:
            AlreadyExistsError: With `overwrite=False`, there is an object already.
            NotSupportedError: `overwrite` is False, and the store has no `copy_if_not_exists`.
            NotFoundError: There is no source.
            PreconditionError: The source, too large for one request, changed while it was copied.
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
            overwrite: Whether an object there may be replaced; see `copy`.

        Raises:
            AlreadyExistsError: With `overwrite=False`, there is an object already.
            NotSupportedError: `overwrite` is False, and the store has no `copy_if_not_exists`.
            NotFoundError: There is no source.
            BaseError: Whatever made the copy fail. The source is there then.
        """
        run_sync(self._copy(from_, to, overwrite=overwrite, rename=True))

    async def rename_async(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Rename an object; see `rename`."""
        await run_async(self._copy(from_, to, overwrite=overwrite, rename=True))

    def _copy(self, from_: str, to: str, *, overwrite: bool, rename: bool = False) -> Steps[None]:
        source, key = self._key(from_), self._key(to)
        from s3ext import _copies as copies  # noqa: PLC0415 - few programs copy

        return (copies.rename if rename else copies.copy)(self._connected(), source, key, overwrite=overwrite)

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
            expires_in: How long it is valid, in whole seconds; S3 takes at most 7 days, and no URL outlives
                the session token that it was signed with.

        Returns:
            A URL, or a list of URLs if `paths` is a sequence. It carries the session token and the consent
            to pay, if there are any; headers of encryption cannot be in it, so that objects of SSE-C are out
            of its reach. Keys sign it with `skip_signature`, too.

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
            keys = [self._key(paths)]
        elif _is_sequence(paths):
            keys = [self._key(path) for path in paths]
        else:
            raise TypeError("Expected string path or sequence of string paths.")
        return operations.sign(self._connected(), method, keys, seconds)


# ---- get, in its variants ----


def _get_whole(target: Target, into: CData | None) -> Steps[GetResult]:
    if target.client.settings.verify_checksums:
        return (yield from get_verified(target, b"", b"", into))
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
    if request.kind == "whole" and target.client.settings.verify_checksums:
        return (yield from get_verified(target, headers, query, into))
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
