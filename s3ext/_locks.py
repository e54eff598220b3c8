"""Locks in a DynamoDB table, for conditional writes to servers that have no conditions of their own.

The protocol is that of object_store 0.12 (`DynamoCommit`), so that programs of both kinds can share a table:
a hash key `path` and a range key `etag`, both strings.

    HEAD: does the condition hold? --no--> AlreadyExistsError, PreconditionError
      | yes                                   ^ no
      v                                       |
    PutItem {path, etag, generation 0, ...} --taken--> HEAD every 100 ms, until `timeout` x 3 have passed
      | got it                                          |
      v                                                 v
    the write, within `timeout`              PutItem with generation + 1, if it is still that generation

A lock is never given back. It stands for "this version of this path has been replaced", and the table's time
to live (attribute `ttl`) clears it away; so a path that was deleted can be created again at once only after
that, or after a wait of three time-outs.

Invariants: whoever holds the lock writes within its time-out, counted from before the lock was asked for, or
not at all; what DynamoDB answered is never retried as if the lock could not have been taken.
"""

from __future__ import annotations

from time import monotonic, time

from s3ext import exceptions
from s3ext._errors import code_name, failure
from s3ext._ffi import NULL, lib, text
from s3ext._http import request
from s3ext._wait import Operation, Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from s3ext._clients import Client
    from s3ext._settings import Settings
    from s3ext._wait import Steps

    Result = TypeVar("Result")

__all__ = ["Limit", "Lock", "lock_of"]

TIMEOUT_MS = 20_000
SKEW_RATE = 3
"""How much faster another machine's clock may run."""
TTL_SECONDS = 3600
TEST_SECONDS = 0.1
NEW = "*"
"""The ETag of an object that must not be there yet."""

_CONFLICT = "ConditionalCheckFailedException"
_CLASSES: dict[str, type[exceptions.BaseError]] = {
    "AccessDeniedException": exceptions.PermissionDeniedError,
    "InvalidSignatureException": exceptions.PermissionDeniedError,
    "SignatureDoesNotMatch": exceptions.PermissionDeniedError,
    "UnrecognizedClientException": exceptions.UnauthenticatedError,
    "ExpiredTokenException": exceptions.UnauthenticatedError,
    "MissingAuthenticationTokenException": exceptions.UnauthenticatedError,
}


class Limit:
    """The time within which a write must be done; a time-out of 0 means none.

    Args:
        begun: When it began, by the monotonic clock.
        timeout_ms: How long it lasts.
    """

    __slots__ = ("_end", "timeout_ms")

    def __init__(self, begun: float = 0.0, timeout_ms: int = 0) -> None:
        self._end = begun + timeout_ms / 1000
        self.timeout_ms = timeout_ms

    def left_ms(self) -> int:
        """Return what is left, for a request that is about to begin: 0 where there is no limit.

        Raises:
            RequestTimeoutError: Nothing is.
        """
        if not self.timeout_ms:
            return 0
        left = self._end - monotonic()
        if left <= 0:
            raise self.error()
        return int(left * 1000) + 2  # so that the time is over, by this clock too, when the core says so

    def bind(self, operation: Operation) -> Operation:
        """Give an operation what is left, and no more."""
        left = self.left_ms()
        if left:
            lib.s3ext_op_limit(operation.handle, left)
        return operation

    def is_over(self) -> bool:
        """Tell whether the time is over."""
        return bool(self.timeout_ms) and monotonic() >= self._end

    def error(self) -> exceptions.RequestTimeoutError:
        """Make the exception for what was not done in time, in object_store's words."""
        return exceptions.RequestTimeoutError(
            f"Failed to perform conditional operation in {self.timeout_ms} milliseconds", retryable=True
        )


NO_LIMIT = Limit()


class Lock:
    """A table of locks.

    Args:
        table: Its name.
        timeout_ms: How long a lock is held at most; writers of other settings may share the table.
    """

    __slots__ = ("table", "timeout_ms")

    def __init__(self, table: str, timeout_ms: int = TIMEOUT_MS) -> None:
        self.table = table
        self.timeout_ms = timeout_ms

    def guard(
        self,
        client: Client,
        key: str,
        etag: str | None,
        act: Callable[[Limit], Steps[Result]],
        name: str,
    ) -> Steps[Result]:
        """Do a write to an object, if nobody else has done one.

        Args:
            client: The client of the object's bucket.
            key: The full key.
            etag: The ETag that the object must have; None if there must be no object.
            act: The write, to be done within the limit that it is given.
            name: What the caller does, for errors.

        Raises:
            AlreadyExistsError: There is an object, and none was to be.
            PreconditionError: The object is another one, or is gone.
            RequestTimeoutError: The write took longer than the lock lasts. It may have been done.
            GenericError: The table does not do what it should, or there is none.
        """
        yield from _check(client, key, etag, name)
        stale: int | None = None
        while True:
            begun = monotonic()
            holder = yield from self._take(client, key, etag, stale, name)
            if holder is None:
                limit = Limit(begun, self.timeout_ms)
                try:
                    return (yield from act(limit))
                except exceptions.RequestTimeoutError as error:
                    if limit.is_over():
                        raise limit.error() from error
                    raise
            generation, timeout_ms = holder
            seen = monotonic()
            while True:
                yield from _check(client, key, etag, name)
                if (monotonic() - seen) * 1000 > timeout_ms * SKEW_RATE:
                    break
                yield Pause(TEST_SECONDS)
            stale = generation

    def _take(
        self, client: Client, key: str, etag: str | None, stale: int | None, name: str
    ) -> Steps[tuple[int, int] | None]:
        """Try to take a lock, or to take it over from the holder of a generation.

        Returns:
            None if it was taken, else generation and time-out of the lock as another holds it.
        """
        import json  # noqa: PLC0415 - only these locks need it

        item: dict[str, dict[str, str]] = {
            "path": {"S": key},
            "etag": {"S": NEW if etag is None else etag},
            "generation": {"N": "0" if stale is None else str(stale + 1)},
            "timeout": {"N": str(self.timeout_ms)},
            "ttl": {"N": str(int(time()) + TTL_SECONDS)},
        }
        asked: dict[str, object] = {
            "TableName": self.table,
            "ConditionExpression": "attribute_not_exists(#pk)",
            "ExpressionAttributeNames": {"#pk": "path"},
            "Item": item,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if stale is not None:
            asked["ConditionExpression"] = "attribute_exists(#pk) AND generation = :g"
            asked["ExpressionAttributeValues"] = {":g": {"N": str(stale)}}
        answer = yield from request(
            client.beside("dynamodb", _settings),
            "POST",
            headers=(
                ("content-type", "application/x-amz-json-1.0"),
                ("x-amz-target", "DynamoDB_20120810.PutItem"),
            ),
            body=json.dumps(asked).encode(),
            repeatable=False,
            expected=(400,),
            name=name,
            key=key,
        )
        if answer.status != 400:
            return None
        try:
            said = json.loads(answer.body)
        except ValueError:
            said = {}
        return self._holder(said if isinstance(said, dict) else {}, client.bucket, key, name)

    def _holder(self, said: Mapping[str, Any], bucket: str, key: str, name: str) -> tuple[int, int]:
        """Find who holds a lock in a refusal.

        Raises:
            BaseError: It was refused for another reason.
        """
        code = str(said.get("__type", "")).rpartition("#")[2]
        if code != _CONFLICT:
            message = said.get("message") or said.get("Message") or "the request was refused"
            raise _CLASSES.get(code, exceptions.GenericError)(
                f"LOCK {bucket}/{key} in the DynamoDB table {self.table} failed: 400 {code}: {message}",
                status=400,
                code=code or None,
                operation=name,
                bucket=bucket,
                key=key,
                attempts=1,
            )
        try:
            lock = said["Item"]
            return int(lock["generation"]["N"]), int(lock["timeout"]["N"])
        except (KeyError, TypeError, ValueError):
            raise exceptions.GenericError(
                "Failed to extract lease from conflict ReturnValuesOnConditionCheckFailure response",
                code=code,
                operation=name,
                bucket=bucket,
                key=key,
            ) from None


def lock_of(mode: str | None) -> Lock | None:
    """Return the table that a mode names, as the options keep it: `dynamo:<table>[:<milliseconds>]`."""
    word, _, rest = (mode or "").partition(":")
    if word != "dynamo":
        return None
    table, mark, timeout = rest.partition(":")
    return Lock(table, int(timeout)) if mark else Lock(table)


def _settings(settings: Settings) -> Settings:
    """Work out the settings of the service that goes with a store's.

    An endpoint of one's own serves both, as in object_store. AWS has an endpoint for each.
    """
    host = settings.host
    plain = host.lower()
    amazon = next((end for end in (".amazonaws.com", ".amazonaws.com.cn") if plain.endswith(end)), None)
    return settings.changed(
        service="dynamodb",
        host=f"dynamodb.{settings.region}{amazon}" if amazon else host,
        base_path="" if amazon else settings.base_path,
        bucket_in_host=True,
        region_may_change=False,
        express_session=False,
        signature_v2=False,
        request_payer=False,
        unsigned_payload=False,
    )


def _check(client: Client, key: str, etag: str | None, name: str) -> Steps[None]:
    """Make sure that a condition holds.

    Raises:
        AlreadyExistsError: There is an object, and none was to be.
        PreconditionError: The object is another one, or is gone.
    """
    raw = key.encode()
    operation = Operation(lib.s3ext_op_head(client.handle, raw, len(raw), NULL, 0, NULL, 0), client)
    try:
        yield operation
        result = lib.s3ext_op_result(operation.handle)
        about: dict[str, Any] = {"operation": name, "bucket": client.bucket, "key": key}
        if result.code:
            if code_name(result.code) != "NOT_FOUND":
                raise failure(operation, name, key)
            if etag is not None:
                raise exceptions.PreconditionError(f"Object at location {key} not found", status=404, **about)
        elif etag is None:
            raise exceptions.AlreadyExistsError(
                f"Object at location {key} already exists", status=200, **about
            )
        elif text(result.etag, result.etag_size) != etag:
            raise exceptions.PreconditionError(
                f"Object at location {key}: its ETag is not {etag}", status=200, **about
            )
    finally:
        operation.release()
