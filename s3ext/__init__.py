"""Fast S3 for Python: a C core on libcurl, with the API of obstore.

    import s3ext
    from s3ext.store import S3Store

    store = S3Store("bucket", region="eu-central-1")
    store.put("hello.txt", b"hello")
    bytes(store.get("hello.txt").bytes())
    bytes(s3ext.get_range(store, "hello.txt", start=0, end=4))

Every operation is a method of the store and, as in obstore, a function here that takes the store first; each
exists with `_async` at its end as well. What is nowhere here is imported when it is used: `import s3ext`
loads the C core and little else.
"""

from __future__ import annotations

from s3ext import exceptions
from s3ext._bytes import Bytes
from s3ext._functions import (
    copy,
    copy_async,
    delete,
    delete_async,
    delete_prefix,
    delete_prefix_async,
    get,
    get_async,
    get_range,
    get_range_async,
    get_ranges,
    get_ranges_async,
    head,
    head_async,
    list_async,
    list_with_delimiter,
    list_with_delimiter_async,
    open_reader,
    open_reader_async,
    open_writer,
    open_writer_async,
    parse_scheme,
    put,
    put_async,
    rename,
    rename_async,
    show_versions,
    sign,
    sign_async,
    stats,
)
from s3ext._functions import list_objects as list  # noqa: A004 - obstore's name
from s3ext._functions import open_url as open  # noqa: A004 - what it is

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext import store
    from s3ext._files import AsyncReadableFile, AsyncWritableFile, ReadableFile, WritableFile
    from s3ext._open import ObjectWriter
    from s3ext._results import BytesStream, GetResult, ListStream
    from s3ext._types import (
        Attribute,
        Attributes,
        GetOptions,
        ListResult,
        ObjectMeta,
        OffsetRange,
        PutMode,
        PutResult,
        SuffixRange,
        UpdateVersion,
    )

__all__ = [
    "AsyncReadableFile",
    "AsyncWritableFile",
    "Attribute",
    "Attributes",
    "Bytes",
    "BytesStream",
    "GetOptions",
    "GetResult",
    "ListResult",
    "ListStream",
    "ObjectMeta",
    "ObjectWriter",
    "OffsetRange",
    "PutMode",
    "PutResult",
    "ReadableFile",
    "SuffixRange",
    "UpdateVersion",
    "WritableFile",
    "copy",
    "copy_async",
    "delete",
    "delete_async",
    "delete_prefix",
    "delete_prefix_async",
    "exceptions",
    "get",
    "get_async",
    "get_range",
    "get_range_async",
    "get_ranges",
    "get_ranges_async",
    "head",
    "head_async",
    "list",
    "list_async",
    "list_with_delimiter",
    "list_with_delimiter_async",
    "open",
    "open_reader",
    "open_reader_async",
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
    "store",
]

__version__ = "0.1.0"

_RESULTS = frozenset({"BytesStream", "GetResult", "ListStream"})
_FILES = frozenset({"AsyncReadableFile", "AsyncWritableFile", "ReadableFile", "WritableFile"})


def __getattr__(name: str) -> object:
    """Load a part of the package when it is first asked for."""
    if name == "store":
        import s3ext.store  # noqa: PLC0415 - that is what this function is for

        return s3ext.store
    if name in _RESULTS:
        from s3ext import _results  # noqa: PLC0415 - the same

        return getattr(_results, name)
    if name == "ObjectWriter":
        from s3ext import _open  # noqa: PLC0415 - the same

        return _open.ObjectWriter
    if name in _FILES:
        from s3ext import _files  # noqa: PLC0415 - the same

        return getattr(_files, name)
    if name in __all__:
        from s3ext import _types  # noqa: PLC0415 - the same; it imports typing

        return getattr(_types, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
