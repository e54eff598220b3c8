"""From codes to exceptions: the only module that does it.

The class comes from the core's table (`s3ext_code_python`); the text is one line that says what was tried, on
what, what the server answered, and how often:

    GET bucket/key failed: 404 NoSuchKey: The specified key does not exist. (host, attempts=1, request id ...)

and, where a usual mistake is behind it, ends in a hint. Nothing secret can be in it: the core writes none
into its records, and nothing else goes in but names.
"""

from __future__ import annotations

from s3ext import exceptions
from s3ext._ffi import ffi, lib, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3ext._wait import Operation

__all__ = ["code_name", "failure", "plain_failure", "refused_delete"]

_VERBS = {
    "get": "GET",
    "get_range": "GET",
    "get_ranges": "GET",
    "head": "HEAD",
    "put": "PUT",
    "delete": "DELETE",
    "list": "LIST",
    "list_with_delimiter": "LIST",
    "copy": "COPY",
    "rename": "COPY",
    "sign": "SIGN",
}

# By S3's own code, or else by the name in the core's table.
_HINTS = {
    "CREDENTIALS": "give access_key_id and secret_access_key, a credential_provider, or skip_signature=True "
    "for a public bucket",
    "CONNECT": "is the endpoint right, and does a server listen there?",
    "RESOLVE": "is the endpoint's host name right?",
    "TLS": "for a private authority give its certificate as client_options={'root_certificate': ...}",
    "PROXY": "the proxy comes from proxy_url or from the environment (https_proxy, no_proxy)",
    "REGION": "give the bucket's region as region=...",
    "SignatureDoesNotMatch": "is the secret access key right?",
    "InvalidAccessKeyId": "is the access key id meant for this endpoint?",
    "RequestTimeTooSkewed": "is this machine's clock right?",
    "RequestExpired": "is this machine's clock right?",
    "NoSuchBucket": "are the bucket's name and the endpoint right?",
    "ExpiredToken": "the session token has expired: give new credentials, or a credential_provider that "
    "renews them",
    "InvalidToken": "is the session token whole, and that of this access key?",
    "EntityTooSmall": "chunk_size must be at least 5 MiB here",
    "InvalidObjectState": "the object is archived: it must be restored before it can be read",
}
_HINTS["ExpiredTokenException"] = _HINTS["TokenRefreshRequired"] = _HINTS["ExpiredToken"]

_SSE_C = "a form of Server Side Encryption"
"""Part of what S3 says of an object whose key the request lacks."""

CREDENTIAL_CODES = frozenset({"CREDENTIALS", "UNAUTHENTICATED"})
_ABOUT_KEYS = CREDENTIAL_CODES | {"PERMISSION_DENIED"}

_classes: dict[int, type[Exception]] = {}


def code_name(code: int) -> str:
    """Return the name of a code in the core's table, such as `"NOT_FOUND"`."""
    return text(lib.s3ext_code_name(code)) or "UNKNOWN"


def failure(
    operation: Operation,
    name: str,
    key: str | None = None,
    *,
    classes: Mapping[str, type[Exception]] | None = None,
) -> Exception:
    """Make the exception for an operation that has ended with a code.

    Args:
        operation: The operation, done and not yet freed.
        name: What the caller asked for, such as `"get"`.
        key: The key that it was about, store prefix included.
        classes: Exceptions to the core's table, by the code's name: what a conditional put makes of a 412.

    Returns:
        The exception, to be raised by the caller.
    """
    view = ffi.new("struct s3ext_error_view *")
    lib.s3ext_op_error(operation.handle, view)
    code = int(view.code)
    label = code_name(code)
    kind = (classes or {}).get(label) or _class_of(code)
    s3_code = text(view.s3_code) or None
    request_id = text(view.request_id) or None
    status = int(view.http_status) or None
    attempts = int(view.attempts)
    bucket = operation.client.bucket

    target = bucket if key is None else f"{bucket}/{key}"
    answer = " ".join(str(part) for part in (status, s3_code) if part)
    said = text(view.message) or text(lib.s3ext_code_text(code)) or label
    cause = operation.client.provider_error if label in CREDENTIAL_CODES else None
    by_chain = operation.client.settings.sources is not None
    if by_chain and label == "CREDENTIALS" and isinstance(cause, exceptions.BaseError):
        said = str(cause)  # The core keeps its beginning only, and the chain's end is as telling.
    details = [text(view.host) or operation.client.host, f"attempts={attempts}"]
    if request_id:
        details.append(f"request id {request_id}")
    source = getattr(operation.client.provider, "source", None)
    if by_chain and label in _ABOUT_KEYS and source:
        details.append(f"keys of {source}")
    operation.end_export()
    line = f"{_VERBS.get(name, name)} {target} failed: "
    line += f"{answer}: {said}" if answer else said
    line += f" ({', '.join(details)})"
    hint = _hint(operation, name, label, status, s3_code, said)
    if hint:
        line += f"; {hint}"

    if not issubclass(kind, exceptions.BaseError):
        return kind(line)
    error = kind(
        line,
        status=status,
        code=s3_code,
        request_id=request_id,
        host_id=text(view.host_id) or None,
        operation=name,
        bucket=bucket,
        key=key,
        attempts=attempts,
        elapsed=int(lib.s3ext_op_result(operation.handle).elapsed_ms) / 1000,
        retryable=bool(lib.s3ext_code_retryable(code)),
    )
    error.__cause__ = cause
    return error


def refused_delete(
    bucket: str, key: str, code: str, message: str, operation: Operation | None = None
) -> exceptions.GenericError:
    """Make the exception for one key that a bulk delete did not delete.

    Args:
        bucket: The bucket.
        key: The key, store prefix included.
        code: What the server gave as the reason, such as `"AccessDenied"`.
        message: The same in words.
        operation: The bulk delete, done and not yet freed.
    """
    result = None if operation is None else lib.s3ext_op_result(operation.handle)
    return exceptions.GenericError(
        f"DeleteObjects request failed for key {key}: {message} (code: {code})",
        status=None if result is None else int(result.http_status) or None,
        code=code,
        operation="delete",
        bucket=bucket,
        key=key,
        attempts=1 if result is None else int(result.attempts),
        elapsed=0.0 if result is None else int(result.elapsed_ms) / 1000,
    )


def plain_failure(code: int, name: str = "", bucket: str | None = None, key: str | None = None) -> Exception:
    """Make the exception for a code that came without an operation, as after the core's shutdown.

    Args:
        code: The code.
        name: What the caller asked for; default: nothing in particular.
        bucket: The bucket that it was about.
        key: The key that it was about.
    """
    said = text(lib.s3ext_code_text(code)) or code_name(code)
    kind = _class_of(code)
    if not issubclass(kind, exceptions.BaseError):
        return kind(said)
    line = f"{_VERBS.get(name, name)} {bucket}/{key} failed: {said}" if name else said
    return kind(
        line, operation=name or None, bucket=bucket, key=key, retryable=bool(lib.s3ext_code_retryable(code))
    )


def _hint(
    operation: Operation, name: str, label: str, status: int | None, s3_code: str | None, said: str
) -> str | None:
    """Return what the usual mistake behind an error is, None if there is no usual one.

    Args:
        operation: The operation that failed.
        name: What the caller asked for.
        label: The code's name in the core's table.
        status: The answer's HTTP status.
        s3_code: The answer's code; an answer to HEAD has none.
        said: The message.
    """
    client = operation.client
    if s3_code == "AccessDenied" or (status == 403 and s3_code is None):
        if client.settings.skip_signature:
            return "the request is not signed, because of skip_signature"
        # S3 has no code of its own for this.
        payer = client.settings.request_payer
        return None if payer else "if the bucket is a requester-pays one, give request_payer=True"
    if s3_code == "InvalidRequest" and _SSE_C in said:
        return "give server_side_encryption='sse-c' and the key as sse_customer_key_base64"
    if name == "head" and status == 400 and label != "REGION":
        return "an answer to HEAD brings no reason; expired session tokens and missing keys of SSE-C look so"
    # What a provider said is in the message.
    ours = label == "CREDENTIALS" and client.provider is not None
    return None if ours else _HINTS.get(s3_code or "") or _HINTS.get(label)


def _class_of(code: int) -> type[Exception]:
    kind = _classes.get(code)
    if kind is None:
        name = text(lib.s3ext_code_python(code)) or ""
        builtin = {"ValueError": ValueError, "MemoryError": MemoryError}
        kind = getattr(exceptions, name, None) or builtin.get(name, exceptions.GenericError)
        _classes[code] = kind
    return kind
