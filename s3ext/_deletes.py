"""Deletes: of one object, of many from any iterable, and of all below a prefix.

Many go in bulk, 1,000 to a request, several requests at a time, or each on its own where the store says so. A
key that XML 1.0 cannot carry goes on its own in any case: some servers refuse the whole document for it.

A sequence is checked as a whole before the first request. Any other iterable is taken a thousand at a time as
the requests go, so that it may be of any length. Missing objects are no error. Everything that was begun is
waited for, then the first failure is raised.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from s3ext._errors import failure, refused_delete
from s3ext._ffi import FAILURE, NULL, ffi, lib, text
from s3ext._wait import Awaited, Begin, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from s3ext._clients import Client
    from s3ext._wait import Steps

__all__ = ["delete_from", "delete_many", "delete_one", "delete_prefix"]

BULK = 1000
"""Keys of one DeleteObjects request, by S3's limit."""
BULK_IN_FLIGHT = 4
SINGLE_IN_FLIGHT = 20

_KEY = Struct("@IIIIQq")
"""An entry of a listing: where the key is, how long it is, and what does not matter here."""

# XML 1.0, 2.2 "Char"; what UTF-8 cannot carry is no key.
_NOT_IN_XML = frozenset(map(chr, range(0x20))) - frozenset("\t\n\r") | {"\ufffe", "\uffff"}


def delete_one(client: Client, key: str) -> Steps[None]:
    """Delete an object; one that does not exist is no error."""
    operation = _single_operation(client, key)
    try:
        yield operation
        _check(operation, key)
    finally:
        operation.release()


def delete_many(client: Client, keys: Iterable[str]) -> Steps[None]:
    """Delete objects; the keys are taken as the requests go, and what raises there is like a failure."""
    run = _Run(client)
    try:
        try:
            for key in keys:
                yield from run.take(key)
                if run.failed is not None:
                    break
        except Exception as error:  # noqa: BLE001 - raised when what was begun has ended
            run.failed = run.failed or error
        yield from run.finish()
    finally:
        run.release()


def delete_from(client: Client, paths: AsyncIterator[str], key_of: Callable[[str], str]) -> Steps[None]:
    """Delete objects as an async iterator names them; see `delete_many`."""
    run = _Run(client)
    try:
        try:
            while run.failed is None:
                path = yield Awaited(paths.__anext__)
                yield from run.take(key_of(path))
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001 - as above
            run.failed = run.failed or error
        yield from run.finish()
    finally:
        run.release()


def delete_prefix(client: Client, query: bytes) -> Steps[int]:
    """Delete all objects that a listing finds, while it goes on.

    Args:
        client: The client.
        query: The pair block that the pages of the listing share.

    Returns:
        How many objects were deleted.
    """
    from s3ext._operations import check_token, page_operation  # noqa: PLC0415 - which needs this module

    run = _Run(client)
    count = 0
    token: str | None = None
    page = page_operation(client, query, None)
    try:
        while run.failed is None:
            yield page
            result = lib.s3ext_op_result(page.handle)
            if result.code:
                run.failed = failure(page, "list")
                break
            keys = list(_listed(page))
            following = text(result.next_token, result.next_token_size)
            page.release()
            if following is not None:
                check_token(client, token, following)
                token = following
                page = page_operation(client, query, token)
                yield Begin(page)
            for key in keys:
                yield from run.take(key)
            count += len(keys)
            if following is None:
                break
        yield from run.finish()
    finally:
        page.release()
        run.release()
    return count


def _listed(page: Operation) -> Iterator[str]:
    """Give the full keys of a page, as they are."""
    result = lib.s3ext_op_result(page.handle)
    if result.object_count:
        words: bytes = ffi.unpack(result.text, result.text_size)
        rows = ffi.buffer(ffi.cast("char *", result.objects), result.object_count * _KEY.size)
        for at, size, *_ in _KEY.iter_unpack(rows):
            yield words[at : at + size].decode()


class _Run:
    """A delete under way: keys not sent yet, and requests not ended yet.

    Attributes:
        failed: The first failure.
    """

    __slots__ = ("_bulk", "_client", "_keys", "_under_way", "failed")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._bulk = not client.settings.disable_bulk_delete
        self._keys: list[str] = []
        self._under_way: deque[tuple[Operation, str | None]] = deque()
        self.failed: Exception | None = None

    def take(self, key: str) -> Steps[None]:
        """Take a key, and send what there is when it makes a request; waits while too much is under way."""
        if not self._bulk or not (key.isprintable() or _NOT_IN_XML.isdisjoint(key)):
            yield from self._begin(_single_operation(self._client, key), key, SINGLE_IN_FLIGHT)
            return
        self._keys.append(key)
        if len(self._keys) == BULK:
            yield from self._send()

    def _send(self) -> Steps[None]:
        keys, self._keys = self._keys, []
        if keys:
            yield from self._begin(_bulk_operation(self._client, keys), None, BULK_IN_FLIGHT)

    def _begin(self, operation: Operation, key: str | None, most: int) -> Steps[None]:
        self._under_way.append((operation, key))
        yield Begin(operation)
        if len(self._under_way) >= most:
            yield from self._end_first()

    def finish(self) -> Steps[None]:
        """Send the rest, unless something failed, wait for all, and raise the first failure."""
        if self.failed is None:
            yield from self._send()
        while self._under_way:
            yield from self._end_first()
        if self.failed is not None:
            raise self.failed

    def _end_first(self) -> Steps[None]:
        operation, key = self._under_way[0]
        yield operation
        try:
            _check(operation, key)
        except Exception as error:  # noqa: BLE001 - raised when the others have ended
            self.failed = self.failed or error
        finally:
            operation.release()
            self._under_way.popleft()

    def release(self) -> None:
        """Let go of everything."""
        for operation, _ in self._under_way:
            operation.release()
        # The exception refers to this frame's generator, which refers to this.
        self.failed = None


def _single_operation(client: Client, key: str) -> Operation:
    raw = key.encode()
    return Operation(lib.s3ext_op_delete(client.handle, raw, len(raw), NULL, 0, NULL, 0), client)


def _bulk_operation(client: Client, keys: list[str]) -> Operation:
    names = "\0".join((*keys, "")).encode()
    return Operation(lib.s3ext_op_delete_many(client.handle, names, len(names), len(keys)), client)


def _check(operation: Operation, key: str | None) -> None:
    """Raise for a delete that failed, or for the first key that a bulk delete refused."""
    result = lib.s3ext_op_result(operation.handle)
    if result.code:
        raise failure(operation, "delete", key)
    if result.failure_count:
        words: bytes = ffi.unpack(result.text, result.text_size)
        row = FAILURE.unpack_from(ffi.buffer(result.failures, FAILURE.size))
        refused, code, message = (
            words[at : at + size].decode("utf-8", "replace")
            for at, size in zip(row[0::2], row[1::2], strict=True)
        )
        raise refused_delete(operation.client.bucket, refused, code, message, operation)
