"""Every exception that s3ext raises on its own account.

The names and their places are obstore's (`obstore.exceptions`); what is marked `+` is ours and derives from a
class that obstore has, so that code written for obstore catches it. Builtin bases, in brackets, let code that
knows nothing of S3 stores catch the usual `FileNotFoundError` and its kin; they have its `errno`, too.

    BaseError (Exception)
    ├── GenericError                       what has no class of its own
    │   ├── + ThrottledError               the server asked to slow down until the retries were used up
    │   ├── + RequestTimeoutError          (TimeoutError) connect, first byte, stall or total deadline
    │   ├── + ConnectError                 (ConnectionError) name lookup, connect, TLS, connection lost
    │   ├── + ProtocolError                an answer that is not HTTP or not S3
    │   └── + ChecksumError                bytes that do not match their checksum
    ├── NotFoundError                      (FileNotFoundError) 404
    ├── AlreadyExistsError                 (FileExistsError) 409, or a failed "create only" condition
    ├── PreconditionError                  412, or an object that changed while it was read
    ├── NotModifiedError                   304
    ├── PermissionDeniedError              (PermissionError) 403
    ├── UnauthenticatedError               401, or no usable credentials
    ├── NotSupportedError                  (NotImplementedError)
    ├── InvalidPathError                   (ValueError) a key or prefix that the path rules refuse
    ├── UnknownConfigurationKeyError       (ValueError) an option that does not exist
    └── JoinError                          kept for its name; never raised

Invariants: `str(exc)` is one readable line; every class pickles with all its attributes; no attribute and no
message ever holds a secret.
"""

from __future__ import annotations

from errno import EACCES, EEXIST, ENOENT, ETIMEDOUT

__all__ = [
    "AlreadyExistsError",
    "BaseError",
    "ChecksumError",
    "ConnectError",
    "GenericError",
    "InvalidPathError",
    "JoinError",
    "NotFoundError",
    "NotModifiedError",
    "NotSupportedError",
    "PermissionDeniedError",
    "PreconditionError",
    "ProtocolError",
    "RequestTimeoutError",
    "ThrottledError",
    "UnauthenticatedError",
    "UnknownConfigurationKeyError",
]


class BaseError(Exception):
    """The root of all s3ext exceptions.

    Args:
        *args: The message; other positional arguments are what the builtin base takes.
        status: HTTP status of the last answer; None if there was none.
        code: S3 error code of the last answer, such as `"NoSuchKey"`.
        request_id: `x-amz-request-id` of the last answer.
        host_id: `x-amz-id-2` of the last answer.
        operation: Name of the operation, such as `"get"`.
        bucket: Bucket that the operation was about.
        key: Key that the operation was about, store prefix included.
        attempts: How many requests were tried; 0 if none was sent.
        elapsed: Seconds from the start of the operation to the error.
        retryable: Whether the same call may succeed later without any change.
    """

    def __init__(
        self,
        *args: object,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        host_id: str | None = None,
        operation: str | None = None,
        bucket: str | None = None,
        key: str | None = None,
        attempts: int = 0,
        elapsed: float = 0.0,
        retryable: bool = False,
    ) -> None:
        # A class with an OSError base gets its arguments parsed there: two of them would become errno and
        # text.
        super().__init__(*args)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.host_id = host_id
        self.operation = operation
        self.bucket = bucket
        self.key = key
        self.attempts = attempts
        self.elapsed = elapsed
        self.retryable = retryable

    def __str__(self) -> str:
        """Return the message on one line; line breaks that a server or a name brought become spaces."""
        return " ".join(super().__str__().splitlines())


class GenericError(BaseError):
    """An error that has no class of its own, as in obstore."""


class ThrottledError(GenericError):
    """The server kept asking to slow down (429, 503 SlowDown) until the retries were used up."""


class RequestTimeoutError(GenericError, TimeoutError):
    """A deadline passed: connect, first byte, stall or total."""

    errno: int | None = ETIMEDOUT


class ConnectError(GenericError, ConnectionError):
    """No connection could be made, or it broke and could not be made again."""


class ProtocolError(GenericError):
    """An answer broke the rules of HTTP or of S3, such as a Content-Range other than the one asked for."""


class ChecksumError(GenericError):
    """The bytes received or stored do not match their checksum."""


class NotFoundError(BaseError, FileNotFoundError):
    """The object or bucket does not exist (404)."""

    errno: int | None = ENOENT


class AlreadyExistsError(BaseError, FileExistsError):
    """The object exists already (409, or a "create only" condition that failed)."""

    errno: int | None = EEXIST


class PreconditionError(BaseError):
    """A condition of the request does not hold (412), or the object changed while it was read."""


class NotModifiedError(BaseError):
    """The object has not changed (304)."""


class PermissionDeniedError(BaseError, PermissionError):
    """The credentials do not allow this (403)."""

    errno: int | None = EACCES


class UnauthenticatedError(BaseError):
    """There are no usable credentials, or the server does not know them (401)."""


class NotSupportedError(BaseError, NotImplementedError):
    """The option or operation is not supported."""


class InvalidPathError(BaseError, ValueError):
    """A key or prefix that the path rules refuse; always raised before any I/O."""


class UnknownConfigurationKeyError(BaseError, ValueError):
    """A configuration key that no option has; the message suggests the nearest one."""


class JoinError(BaseError):
    """Kept because obstore has it; s3ext never raises it."""
