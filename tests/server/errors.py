"""S3's own errors: their codes, statuses and XML.

The table holds the codes that the server can give; statuses and texts are those of the S3 API reference,
"Error responses".
"""

from __future__ import annotations

__all__ = ["STATUS", "S3Error", "error_xml", "xml_text"]

STATUS: dict[str, int] = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BadRequest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ConditionalRequestConflict": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "ExpiredToken": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidToken": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedXML": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NotImplemented": 501,
    "OperationAborted": 409,
    "PermanentRedirect": 301,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "TemporaryRedirect": 307,
    "XAmzContentSHA256Mismatch": 400,
}


class S3Error(Exception):
    """A refusal with S3's code.

    Args:
        code: S3's code, a row of `STATUS`.
        message: S3's message.
        elements: Further elements of the XML, by name, in order.
        headers: Further headers of the answer.
        status: The HTTP status, if not the code's own.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        elements: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.elements = elements or {}
        self.headers = headers or {}
        self.status = status if status is not None else STATUS[code]


def xml_text(value: str) -> str:
    """Escape a value for XML as S3 does: control characters become references, also those XML 1.0 forbids."""
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    if value.isprintable():
        return value
    return "".join(f"&#x{ord(char):x};" if ord(char) < 0x20 or char == "\x7f" else char for char in value)


def error_xml(code: str, message: str, elements: dict[str, str], request_id: str) -> bytes:
    """Render S3's error document."""
    inner = "".join(f"<{name}>{xml_text(value)}</{name}>" for name, value in elements.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{xml_text(message)}</Message>{inner}"
        f"<RequestId>{request_id}</RequestId><HostId>verifying-server</HostId></Error>"
    ).encode()
