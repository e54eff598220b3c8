"""The operations as functions that take the store first, as in obstore, and what tells about s3ext itself.

Each only calls the method of its name, where arguments, results and errors are described; `open` takes a URL.
The `_async` functions return what is to be awaited, but for `list_async`, whose result is an async iterator.
"""

# ruff: noqa: F811 - overloads; `overload` is not that of typing at run time, whose import would cost too much

from __future__ import annotations

from s3ext._ffi import ffi, lib, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Coroutine, Iterable, Sequence
    from datetime import timedelta
    from io import BufferedReader, TextIOWrapper
    from typing import Any, Literal, SupportsIndex, Unpack, overload

    from typing_extensions import Buffer

    from s3ext._arrow import ArrowBatch, ArrowTable
    from s3ext._bytes import Bytes
    from s3ext._files import (
        AsyncReadableFile,
        AsyncWritableFile,
        ReadableFile,
        WritableFile,
    )
    from s3ext._methods import (
        HTTPMethod,
        MetaList,
        PutInput,
        ReadBinary,
        ReadText,
        StoreMethods,
        WriteBinary,
        WriteText,
    )
    from s3ext._open import ObjectWriter
    from s3ext._results import GetResult, ListStream
    from s3ext._types import (
        Attributes,
        ClientConfig,
        GetOptions,
        ListResult,
        ObjectMeta,
        OpenUrlOptions,
        PutMode,
        PutResult,
        RetryConfig,
        S3Config,
        S3CredentialProvider,
        S3Keywords,
    )
else:

    def overload(function: object) -> object:
        """Mark a signature; that of typing, without importing it."""
        return function


__all__ = [
    "copy",
    "copy_async",
    "delete",
    "delete_async",
    "delete_prefix",
    "delete_prefix_async",
    "get",
    "get_async",
    "get_range",
    "get_range_async",
    "get_ranges",
    "get_ranges_async",
    "head",
    "head_async",
    "list_async",
    "list_objects",
    "list_with_delimiter",
    "list_with_delimiter_async",
    "open_reader",
    "open_reader_async",
    "open_url",
    "open_writer",
    "open_writer_async",
    "parse_scheme",
    "put",
    "put_async",
    "rename",
    "rename_async",
    "show_versions",
    "sign",
    "sign_async",
    "stats",
]

CHUNK_SIZE = 5 * 1024 * 1024
MAX_CONCURRENCY = 12
COALESCE = 1024 * 1024
LIST_CHUNK = 50
READ_BUFFER = 1024 * 1024
WRITE_BUFFER = 10 * 1024 * 1024


def get(
    store: StoreMethods, path: str, *, options: GetOptions | None = None, into: Buffer | None = None
) -> GetResult:
    """Get an object; see `S3Store.get`."""
    return store.get(path, options=options, into=into)


def get_async(
    store: StoreMethods, path: str, *, options: GetOptions | None = None, into: Buffer | None = None
) -> Coroutine[Any, Any, GetResult]:
    """Get an object; see `S3Store.get`."""
    return store.get_async(path, options=options, into=into)


def get_range(
    store: StoreMethods,
    path: str,
    *,
    start: SupportsIndex,
    end: SupportsIndex | None = None,
    length: SupportsIndex | None = None,
    into: Buffer | None = None,
) -> Bytes:
    """Get a range of an object's bytes; see `S3Store.get_range`."""
    return store.get_range(path, start=start, end=end, length=length, into=into)


def get_range_async(
    store: StoreMethods,
    path: str,
    *,
    start: SupportsIndex,
    end: SupportsIndex | None = None,
    length: SupportsIndex | None = None,
    into: Buffer | None = None,
) -> Coroutine[Any, Any, Bytes]:
    """Get a range of an object's bytes; see `S3Store.get_range`."""
    return store.get_range_async(path, start=start, end=end, length=length, into=into)


def get_ranges(
    store: StoreMethods,
    path: str,
    *,
    starts: Sequence[SupportsIndex],
    ends: Sequence[SupportsIndex] | None = None,
    lengths: Sequence[SupportsIndex] | None = None,
    coalesce: int = COALESCE,
    into: Buffer | Sequence[Buffer] | None = None,
) -> list[Bytes]:
    """Get many ranges of an object's bytes; see `S3Store.get_ranges`."""
    return store.get_ranges(path, starts=starts, ends=ends, lengths=lengths, coalesce=coalesce, into=into)


def get_ranges_async(
    store: StoreMethods,
    path: str,
    *,
    starts: Sequence[SupportsIndex],
    ends: Sequence[SupportsIndex] | None = None,
    lengths: Sequence[SupportsIndex] | None = None,
    coalesce: int = COALESCE,
    into: Buffer | Sequence[Buffer] | None = None,
) -> Coroutine[Any, Any, list[Bytes]]:
    """Get many ranges of an object's bytes; see `S3Store.get_ranges`."""
    return store.get_ranges_async(
        path, starts=starts, ends=ends, lengths=lengths, coalesce=coalesce, into=into
    )


def head(store: StoreMethods, path: str) -> ObjectMeta:
    """Get an object's metadata; see `S3Store.head`."""
    return store.head(path)


def head_async(store: StoreMethods, path: str) -> Coroutine[Any, Any, ObjectMeta]:
    """Get an object's metadata; see `S3Store.head`."""
    return store.head_async(path)


def put(
    store: StoreMethods,
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
    """Put an object; see `S3Store.put`."""
    return store.put(
        path,
        file,
        attributes=attributes,
        tags=tags,
        mode=mode,
        use_multipart=use_multipart,
        chunk_size=chunk_size,
        max_concurrency=max_concurrency,
    )


def put_async(
    store: StoreMethods,
    path: str,
    file: PutInput,
    *,
    attributes: Attributes | None = None,
    tags: dict[str, str] | None = None,
    mode: PutMode | None = None,
    use_multipart: bool | None = None,
    chunk_size: int = CHUNK_SIZE,
    max_concurrency: int = MAX_CONCURRENCY,
) -> Coroutine[Any, Any, PutResult]:
    """Put an object; see `S3Store.put`."""
    return store.put_async(
        path,
        file,
        attributes=attributes,
        tags=tags,
        mode=mode,
        use_multipart=use_multipart,
        chunk_size=chunk_size,
        max_concurrency=max_concurrency,
    )


@overload
def open_url(url: str, mode: ReadBinary = "rb", **options: Unpack[OpenUrlOptions]) -> BufferedReader: ...
@overload
def open_url(url: str, mode: WriteBinary, **options: Unpack[OpenUrlOptions]) -> ObjectWriter: ...
@overload
def open_url(url: str, mode: ReadText | WriteText, **options: Unpack[OpenUrlOptions]) -> TextIOWrapper: ...
@overload
def open_url(url: str, mode: str, **options: Unpack[OpenUrlOptions]) -> Any: ...
def open_url(
    url: str,
    mode: str = "rb",
    *,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    block_size: int | None = None,
    config: S3Config | None = None,
    client_options: ClientConfig | None = None,
    retry_config: RetryConfig | None = None,
    credential_provider: S3CredentialProvider | None = None,
    **kwargs: Unpack[S3Keywords],
) -> Any:
    """Open the object that a URL names, as Python's `open` opens a file.

    Args:
        url: `s3://bucket/key`, or `s3[+SCHEME]://[ID[:SECRET[:TOKEN]]@]bucket/key[?versionId=VERSION]` with
            each element percent-encoded, as htslib has it: an ID alone is the name of a profile, `s3+http`
            allows http. Or an https URL as for `S3Store.from_url`. The key is taken to the letter
            (`raw_keys`), and percent-decoded if it looks encoded. Where htslib lets any `@` switch off the
            variables of the environment for region, endpoint and addressing, here they count.
        mode: As for `S3Store.open`, and so are `buffering`, `encoding`, `errors`, `newline` and `block_size`.
        buffering: See `mode`.
        encoding: See `mode`.
        errors: See `mode`.
        newline: See `mode`.
        block_size: See `mode`.
        config: S3 options, as for `S3Store.from_url`.
        client_options: Options of connections and requests.
        retry_config: How failed requests are retried.
        credential_provider: A callable, sync or async, that returns an `S3Credential`.
        **kwargs: S3 options.

    Returns:
        A file; see `S3Store.open`.

    Raises:
        GenericError: The URL names no object, breaks a rule of such URLs, or an option is wrong; and what
            `S3Store` and `S3Store.open` raise. No error shows what may be a secret in the URL.
        FileNotFoundError: There is no such object.

    Example:
        >>> with s3ext.open("s3://bucket/log.txt", "w") as file:
        ...     file.write("hello")
        >>> s3ext.open("s3://bucket/log.txt", "r").read()
        'hello'
    """
    from s3ext import _open  # noqa: PLC0415 - keeps `import s3ext` light

    return _open.open_url(
        url,
        mode,
        file={
            "buffering": buffering,
            "encoding": encoding,
            "errors": errors,
            "newline": newline,
            "block_size": block_size,
        },
        store={
            "client_options": client_options,
            "retry_config": retry_config,
            "credential_provider": credential_provider,
        },
        config=config,
        kwargs=kwargs,
    )


def open_reader(
    store: StoreMethods, path: str, *, buffer_size: int = READ_BUFFER, size: int | None = None
) -> ReadableFile:
    """Open an object as a binary file to read; see `S3Store.open_reader`."""
    return store.open_reader(path, buffer_size=buffer_size, size=size)


def open_reader_async(
    store: StoreMethods, path: str, *, buffer_size: int = READ_BUFFER, size: int | None = None
) -> Coroutine[Any, Any, AsyncReadableFile]:
    """Open an object as a binary file to read; see `S3Store.open_reader`."""
    return store.open_reader_async(path, buffer_size=buffer_size, size=size)


def open_writer(
    store: StoreMethods,
    path: str,
    *,
    attributes: Attributes | None = None,
    buffer_size: int = WRITE_BUFFER,
    tags: dict[str, str] | None = None,
    max_concurrency: int = MAX_CONCURRENCY,
) -> WritableFile:
    """Open a binary file to write; see `S3Store.open_writer`."""
    return store.open_writer(
        path, attributes=attributes, buffer_size=buffer_size, tags=tags, max_concurrency=max_concurrency
    )


def open_writer_async(
    store: StoreMethods,
    path: str,
    *,
    attributes: Attributes | None = None,
    buffer_size: int = WRITE_BUFFER,
    tags: dict[str, str] | None = None,
    max_concurrency: int = MAX_CONCURRENCY,
) -> AsyncWritableFile:
    """Open a binary file to write; see `S3Store.open_writer`."""
    return store.open_writer_async(
        path, attributes=attributes, buffer_size=buffer_size, tags=tags, max_concurrency=max_concurrency
    )


def delete(store: StoreMethods, paths: str | Iterable[str]) -> None:
    """Delete one or many objects; see `S3Store.delete`."""
    store.delete(paths)


def delete_async(
    store: StoreMethods, paths: str | Iterable[str] | AsyncIterable[str]
) -> Coroutine[Any, Any, None]:
    """Delete one or many objects; see `S3Store.delete`."""
    return store.delete_async(paths)


def delete_prefix(
    store: StoreMethods, prefix: str | None, *, everything: bool = False, whole_segments: bool = True
) -> int:
    """Delete all objects below a prefix; see `S3Store.delete_prefix`."""
    return store.delete_prefix(prefix, everything=everything, whole_segments=whole_segments)


def delete_prefix_async(
    store: StoreMethods, prefix: str | None, *, everything: bool = False, whole_segments: bool = True
) -> Coroutine[Any, Any, int]:
    """Delete all objects below a prefix; see `S3Store.delete_prefix`."""
    return store.delete_prefix_async(prefix, everything=everything, whole_segments=whole_segments)


@overload
def list_objects(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: Literal[False] = False,
    whole_segments: bool = True,
) -> ListStream[MetaList]: ...
@overload
def list_objects(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: Literal[True],
    whole_segments: bool = True,
) -> ListStream[ArrowBatch]: ...
@overload
def list_objects(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: bool,
    whole_segments: bool = True,
) -> ListStream[MetaList] | ListStream[ArrowBatch]: ...
def list_objects(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: bool = False,
    whole_segments: bool = True,
) -> ListStream[MetaList] | ListStream[ArrowBatch]:
    """List the objects below a prefix; see `S3Store.list`."""
    return store.list(
        prefix,
        offset=offset,
        chunk_size=chunk_size,
        return_arrow=return_arrow,
        whole_segments=whole_segments,
    )


@overload
def list_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: Literal[False] = False,
    whole_segments: bool = True,
) -> ListStream[MetaList]: ...
@overload
def list_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: Literal[True],
    whole_segments: bool = True,
) -> ListStream[ArrowBatch]: ...
@overload
def list_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: bool,
    whole_segments: bool = True,
) -> ListStream[MetaList] | ListStream[ArrowBatch]: ...
def list_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = LIST_CHUNK,
    return_arrow: bool = False,
    whole_segments: bool = True,
) -> ListStream[MetaList] | ListStream[ArrowBatch]:
    """List the objects below a prefix; see `S3Store.list`."""
    return store.list_async(
        prefix,
        offset=offset,
        chunk_size=chunk_size,
        return_arrow=return_arrow,
        whole_segments=whole_segments,
    )


@overload
def list_with_delimiter(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: Literal[False] = False,
    whole_segments: bool = True,
) -> ListResult[Sequence[ObjectMeta]]: ...
@overload
def list_with_delimiter(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: Literal[True],
    whole_segments: bool = True,
) -> ListResult[ArrowTable]: ...
@overload
def list_with_delimiter(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: bool,
    whole_segments: bool = True,
) -> ListResult[Sequence[ObjectMeta]] | ListResult[ArrowTable]: ...
def list_with_delimiter(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: bool = False,
    whole_segments: bool = True,
) -> ListResult[Sequence[ObjectMeta]] | ListResult[ArrowTable]:
    """List one level; see `S3Store.list_with_delimiter`."""
    return store.list_with_delimiter(prefix, return_arrow=return_arrow, whole_segments=whole_segments)


@overload
def list_with_delimiter_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: Literal[False] = False,
    whole_segments: bool = True,
) -> Coroutine[Any, Any, ListResult[Sequence[ObjectMeta]]]: ...
@overload
def list_with_delimiter_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: Literal[True],
    whole_segments: bool = True,
) -> Coroutine[Any, Any, ListResult[ArrowTable]]: ...
@overload
def list_with_delimiter_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: bool,
    whole_segments: bool = True,
) -> Coroutine[Any, Any, ListResult[Sequence[ObjectMeta]] | ListResult[ArrowTable]]: ...
def list_with_delimiter_async(
    store: StoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: bool = False,
    whole_segments: bool = True,
) -> Coroutine[Any, Any, ListResult[Sequence[ObjectMeta]] | ListResult[ArrowTable]]:
    """List one level; see `S3Store.list_with_delimiter`."""
    return store.list_with_delimiter_async(prefix, return_arrow=return_arrow, whole_segments=whole_segments)


def copy(store: StoreMethods, from_: str, to: str, *, overwrite: bool = True) -> None:
    """Copy an object within the store; see `S3Store.copy`."""
    store.copy(from_, to, overwrite=overwrite)


def copy_async(
    store: StoreMethods, from_: str, to: str, *, overwrite: bool = True
) -> Coroutine[Any, Any, None]:
    """Copy an object within the store; see `S3Store.copy`."""
    return store.copy_async(from_, to, overwrite=overwrite)


def rename(store: StoreMethods, from_: str, to: str, *, overwrite: bool = True) -> None:
    """Rename an object; see `S3Store.rename`."""
    store.rename(from_, to, overwrite=overwrite)


def rename_async(
    store: StoreMethods, from_: str, to: str, *, overwrite: bool = True
) -> Coroutine[Any, Any, None]:
    """Rename an object; see `S3Store.rename`."""
    return store.rename_async(from_, to, overwrite=overwrite)


@overload
def sign(store: StoreMethods, method: HTTPMethod, paths: str, expires_in: timedelta) -> str: ...  # type: ignore[overload-overlap] # a str is a sequence, too
@overload
def sign(
    store: StoreMethods, method: HTTPMethod, paths: Sequence[str], expires_in: timedelta
) -> list[str]: ...
def sign(
    store: StoreMethods, method: HTTPMethod, paths: str | Sequence[str], expires_in: timedelta
) -> str | list[str]:
    """Make a presigned URL, or several; see `S3Store.sign`."""
    return store.sign(method, paths, expires_in)


@overload
def sign_async(  # type: ignore[overload-overlap] # a str is a sequence, too
    store: StoreMethods, method: HTTPMethod, paths: str, expires_in: timedelta
) -> Coroutine[Any, Any, str]: ...
@overload
def sign_async(
    store: StoreMethods, method: HTTPMethod, paths: Sequence[str], expires_in: timedelta
) -> Coroutine[Any, Any, list[str]]: ...
def sign_async(
    store: StoreMethods, method: HTTPMethod, paths: str | Sequence[str], expires_in: timedelta
) -> Coroutine[Any, Any, str | list[str]]:
    """Make a presigned URL, or several; see `S3Store.sign`."""
    return store.sign_async(method, paths, expires_in)


def parse_scheme(url: str) -> str:
    """Tell which kind of store a URL names; see `s3ext.store.parse_scheme`."""
    from s3ext.store import parse_scheme as parse  # noqa: PLC0415 - keeps `import s3ext` light

    return parse(url)


def stats() -> dict[str, int]:
    """Return the counters of the core since the process began (since the fork, in a child).

    Returns:
        `operations` finished, `requests` begun (`requests_direct` of them on the direct lane), `retries` and
        their causes (`retries_throttle`, `_server`, `_connect`, `_transport`, `_other`), bodies `resumed`,
        `bytes_received` and `bytes_sent` of bodies, `connections_opened`; and as they are now:
        `exchanges_in_flight`, `bytes_in_flight` admitted for parts, `memory_cached` for reuse, `memory_live`
        in results not yet released, in bytes.
    """
    counters = ffi.new("struct s3ext_stats *")
    lib.s3ext_stats_get(counters)
    return {name: int(getattr(counters, name)) for name, _ in ffi.typeof(counters).item.fields}


def show_versions() -> None:
    """Print the versions of s3ext and of the libraries that it runs on, for a bug report."""
    import platform  # noqa: PLC0415 - keeps `import s3ext` light

    versions = ffi.new("struct s3ext_versions *")
    lib.s3ext_versions_get(versions)
    features = [name for name in ("http2", "threadsafe") if getattr(versions, f"curl_{name}")]
    lines = {
        "s3ext": text(versions.core),
        "libcurl": f"{text(versions.curl)} ({', '.join([text(versions.tls) or 'no TLS', *features])})",
        "libcrypto": text(versions.openssl),
        "expat": text(versions.expat),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "cffi": _cffi_version(),
        "platform": platform.platform(),
    }
    for name, value in lines.items():
        print(f"{name:10} {value}")  # noqa: T201 - that is what it is for


def _cffi_version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - keeps `import s3ext` light

    return version("cffi")
