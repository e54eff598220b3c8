"""Copies on the server, with a condition or without, whole or in parts; and renames.

S3 copies up to 5 GiB in one request (CopyObject). What is larger, the server refuses; then it is copied in
parts (UploadPartCopy) by one operation of the core's, all of one version of the source: each part has that
for a condition, and before the end the core looks once more, for servers that pass over the condition.

A copy in parts is a new object, to which nothing comes but what is given. So the source's content headers,
its user metadata and its tags are read and given again, which is what CopyObject keeps. What it would keep
and is lost: checksums, and the ETag, which becomes that of an object in parts. Tags that these credentials
may not read are lost without a word, as the server does not tell of them; CopyObject would fail. Storage
class, redirect, ACL, retention and encryption are kept by neither.

`overwrite=False`, by the mode of `copy_if_not_exists`:

    multipart                    always in parts: Complete has a condition (If-None-Match) on every S3
    header:NAME:VALUE            CopyObject with that header, which the server takes for a condition: 412
    header-with-status:N:V:CODE  the same, with another status
    dynamo:TABLE[:TIMEOUT]       CopyObject under a lock, see `_locks`

Invariant: `rename` deletes the source only after a copy that succeeded.
"""

from __future__ import annotations

from s3ext import exceptions
from s3ext._errors import code_name, failure
from s3ext._ffi import NULL, ffi, lib, text
from s3ext._http import leaves, request
from s3ext._locks import NO_LIMIT, lock_of
from s3ext._requests import block
from s3ext._wait import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._clients import Client
    from s3ext._ffi import CData
    from s3ext._locks import Limit
    from s3ext._wait import Steps

__all__ = ["copy", "rename"]

LARGEST = 5 * 1024**3
"""Bytes that CopyObject takes ("Copying, moving, and renaming objects")."""
PART_SIZE = 128 * 1024**2
"""Bytes of a part, more where 10,000 would not do: large enough for few requests, and copied well before one
of them takes too long to be answered."""
WINDOW = 12

_TOO_LARGE = frozenset({"InvalidRequest", "EntityTooLarge"})
_KEPT = frozenset(
    (
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    )
)
_METADATA = "x-amz-meta-"
_EXISTS: dict[str, type[Exception]] = {"PRECONDITION": exceptions.AlreadyExistsError}


def copy(client: Client, source: str, key: str, *, overwrite: bool, name: str = "copy") -> Steps[None]:
    """Copy an object within the bucket.

    Args:
        client: The client.
        source: Full key of the source.
        key: Full key of the copy.
        overwrite: Whether there may be an object already.
        name: What the caller does, for errors.

    Raises:
        AlreadyExistsError: There is one.
        NotSupportedError: No mode says how to find out.
        NotFoundError: There is no source.
        PreconditionError: The source changed while it was copied in parts.
    """
    if overwrite:
        return (yield from _whole(client, source, key, NO_LIMIT, name))
    mode = client.settings.copy_if_not_exists
    word, _, rest = (mode or "").partition(":")
    if word == "multipart":
        return (yield from _in_parts(client, source, key, NO_LIMIT, name, overwrite=False))
    if word == "header":
        header, _, value = rest.partition(":")
        return (yield from _with_header(client, source, key, (header, value), 412, name))
    if word == "header-with-status":
        header, value, status = rest.split(":", 2)
        return (yield from _with_header(client, source, key, (header, value), int(status), name))
    lock = lock_of(mode)
    if lock is None:
        raise exceptions.NotSupportedError(
            "Operation not supported: S3 does not support copy-if-not-exists", operation=name, key=key
        )
    return (
        yield from lock.guard(client, key, None, lambda limit: _whole(client, source, key, limit, name), name)
    )


def rename(client: Client, source: str, key: str, *, overwrite: bool) -> Steps[None]:
    """Copy an object, then delete the source. Onto itself it only looks whether the object exists.

    Raises:
        BaseError: As for `copy`; the source is there then.
    """
    from s3ext._deletes import delete_one  # noqa: PLC0415 - which needs nothing of this

    if source == key:
        # A copy onto itself followed by the delete would lose the object where a server allows such a copy.
        if not overwrite and client.settings.copy_if_not_exists is None:
            yield from copy(client, source, key, overwrite=False, name="rename")  # which says so
        yield from _look(client, source, NO_LIMIT, "rename")
        if not overwrite:
            raise exceptions.AlreadyExistsError(
                f"COPY {client.bucket}/{key} failed: source and destination are the same",
                operation="rename",
                bucket=client.bucket,
                key=key,
            )
        return
    yield from copy(client, source, key, overwrite=overwrite, name="rename")
    yield from delete_one(client, source)


# ---- whole ----


def _copy_operation(client: Client, source: str, key: str, header: tuple[str, str] | None) -> Operation:
    client = client.besides_session()
    raw_source, raw = source.encode(), key.encode()
    headers = b"" if header is None else block([header])
    handle = lib.s3ext_op_copy(
        client.handle, raw_source, len(raw_source), raw, len(raw), headers, len(headers), header is not None
    )
    return Operation(handle, client)


def _whole(client: Client, source: str, key: str, limit: Limit, name: str) -> Steps[None]:
    """Copy in one request, or in parts what is too large for it."""
    operation = limit.bind(_copy_operation(client, source, key, None))
    try:
        yield operation
        result = lib.s3ext_op_result(operation.handle)
        if not result.code:
            return
        error = failure(operation, name, key)
    finally:
        operation.release()
    if not isinstance(error, exceptions.BaseError) or error.code not in _TOO_LARGE:
        raise error
    # S3 says so in words alone. A source that is not too large was refused for another reason.
    known = yield from _look(client, source, limit, name)
    if known.size <= LARGEST:
        raise error
    yield from _in_parts(client, source, key, limit, name, overwrite=True, known=known)


def _with_header(
    client: Client, source: str, key: str, header: tuple[str, str], status: int, name: str
) -> Steps[None]:
    """Copy in one request with a header that makes it fail, in its own way, where there is an object."""
    operation = _copy_operation(client, source, key, (header[0].lower(), header[1]))
    try:
        yield operation
        result = lib.s3ext_op_result(operation.handle)
        if result.code:
            exists = result.http_status == status
            classes = {code_name(result.code): exceptions.AlreadyExistsError} if exists else None
            raise failure(operation, name, key, classes=classes)
    finally:
        operation.release()


# ---- parts ----


class _Source:
    """What a copy in parts has to know of its source."""

    __slots__ = ("attributes", "etag", "size", "tagged")

    def __init__(self, result: CData) -> None:
        self.size = int(result.object_size)
        self.etag = text(result.etag, result.etag_size) or ""
        raw: bytes = ffi.unpack(result.headers, result.headers_size) if result.headers_size else b""
        words = raw.decode("utf-8", "surrogateescape").split("\0")
        headers = dict(zip(words[0::2], words[1::2], strict=False))
        self.tagged = headers.get("x-amz-tagging-count", "0") != "0"
        self.attributes = [
            (header, value)
            for header, value in headers.items()
            if header in _KEPT or header.startswith(_METADATA)
        ]


def _look(client: Client, source: str, limit: Limit, name: str) -> Steps[_Source]:
    """Find out about a source."""
    raw = source.encode()
    handle = lib.s3ext_op_head(client.handle, raw, len(raw), NULL, 0, NULL, 0)
    operation = limit.bind(Operation(handle, client))
    try:
        yield operation
        result = lib.s3ext_op_result(operation.handle)
        if result.code:
            raise failure(operation, name, source)
        return _Source(result)
    finally:
        operation.release()


def _tagging(client: Client, source: str, limit: Limit, name: str) -> Steps[str]:
    """Read a source's tags, in the form of the header that gives tags."""
    from urllib.parse import quote  # noqa: PLC0415 - few objects are this large, and fewer have tags

    answer = yield from request(
        client, "GET", source, query=(("tagging", ""),), limit_ms=limit.left_ms(), name=name, key=source
    )
    try:
        found = leaves(answer.body, "Tagging")
    except ValueError as error:
        raise exceptions.ProtocolError(
            f"COPY {client.bucket}/{source} failed: the source's tags: {error}", operation=name, key=source
        ) from error
    keys, values = ([quote(text, safe="") for tag, text in found if tag == part] for part in ("Key", "Value"))
    return "&".join(map("=".join, zip(keys, values, strict=False)))


def _in_parts(
    client: Client,
    source: str,
    key: str,
    limit: Limit,
    name: str,
    *,
    overwrite: bool,
    known: _Source | None = None,
) -> Steps[None]:
    """Copy as the parts of a multipart upload."""
    if known is None:
        known = yield from _look(client, source, limit, name)
    headers = known.attributes
    if known.tagged and not client.settings.disable_tagging:
        headers.append(("x-amz-tagging", (yield from _tagging(client, source, limit, name))))
    raw_source, raw, sent = source.encode(), key.encode(), block(headers)
    handle = lib.s3ext_op_copy_parts(
        client.handle, client.besides_session().handle, raw_source, len(raw_source), raw, len(raw), sent,
        len(sent), known.etag.encode(), known.size, PART_SIZE, WINDOW, not overwrite,
    )  # fmt: skip
    operation = limit.bind(Operation(handle, client))
    try:
        yield operation
        if lib.s3ext_op_result(operation.handle).code:
            raise failure(operation, name, key, classes=None if overwrite else _EXISTS)
    finally:
        operation.release()
