"""An independent verification of AWS Signature Version 4, for headers and presigned URLs.

Written from the rules of the S3 API reference ("Authenticating Requests: Using the Authorization Header" and
"... Using Query Parameters"), not from any client. Pure: what it needs (credentials, region, time) are
arguments. It verifies what stood on the wire: the path is decoded and encoded again by S3's rule, the query
likewise, and headers are taken as they came, duplicates included.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from .errors import S3Error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = [
    "EMPTY_SHA256",
    "UNSIGNED_PAYLOAD",
    "Credential",
    "Verdict",
    "canonical_path",
    "canonical_query",
    "check_payload",
    "split_query",
    "verify",
]

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_SKEW_SECONDS = 15 * 60
MAX_EXPIRES_SECONDS = 7 * 24 * 3600

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64})"
)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SPACES = re.compile(r" {2,}")


@dataclass(slots=True)
class Credential:
    """One key pair that the server knows.

    Attributes:
        access_key: The access key id.
        secret_key: The secret.
        token: The session token that must come with it, or None for a long-lived pair.
        expires: When the token ends, in seconds of the server's clock, or None for never.
    """

    access_key: str
    secret_key: str
    token: str | None = None
    expires: float | None = None


@dataclass(slots=True, frozen=True)
class Verdict:
    """What a right signature says.

    Attributes:
        kind: "header", "presigned" or "anonymous".
        access_key: Whose signature it is; empty when anonymous.
        region: The region of the scope.
        payload: What was signed for the payload: a hex SHA-256 or `UNSIGNED_PAYLOAD`.
    """

    kind: str
    access_key: str
    region: str
    payload: str


@dataclass(slots=True, frozen=True)
class _Claim:
    """What the client says about its signature, wherever it said it."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    token: str | None
    presigned: bool


def canonical_path(raw_path: str) -> str:
    """Decode a path and encode it by S3's rule: every byte but `A-Za-z0-9-._~/`, once.

    Raises:
        S3Error: InvalidURI for a `%` without two hex digits.
    """
    if _BAD_PERCENT.search(raw_path):
        raise S3Error("InvalidURI", "Couldn't parse the specified URI.", elements={"URI": raw_path})
    return quote(unquote_to_bytes(raw_path.encode("latin-1")), safe="/") or "/"


def split_query(raw_query: str) -> list[tuple[bytes, bytes]]:
    """Split and decode a query; `+` is a space; a name without `=` has an empty value.

    Raises:
        S3Error: InvalidURI for a `%` without two hex digits.
    """
    if _BAD_PERCENT.search(raw_query):
        raise S3Error("InvalidURI", "Couldn't parse the specified URI.", elements={"URI": raw_query})
    pairs = []
    for item in raw_query.split("&"):
        if item:
            name, _, value = item.replace("+", " ").partition("=")
            pairs.append(
                (unquote_to_bytes(name.encode("latin-1")), unquote_to_bytes(value.encode("latin-1")))
            )
    return pairs


def canonical_query(pairs: Sequence[tuple[bytes, bytes]]) -> str:
    """Encode and sort a query for the canonical request; the signature itself is left out."""
    encoded = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded if name != "X-Amz-Signature")


@lru_cache(maxsize=256)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(maxsize=4096)
def _parse_time(timestamp: str) -> float | None:
    if not _TIMESTAMP.fullmatch(timestamp):
        return None
    try:
        return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _split_scope(credential: str, code: str) -> tuple[str, str, str, str]:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request":
        raise S3Error(
            code,
            "The Credential is mal-formed; expecting "
            f'"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request". {credential}',
        )
    return parts[0], parts[1], parts[2], parts[3]


def _claim_from_header(authorization: str, headers: Mapping[str, list[str]]) -> _Claim:
    if not authorization.startswith(_ALGORITHM):
        raise S3Error(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise S3Error(
            "AuthorizationHeaderMalformed", f"The authorization header is malformed: {authorization}"
        )
    access_key, date, region, service = _split_scope(match[1], "AuthorizationHeaderMalformed")
    timestamp = (headers.get("x-amz-date") or [""])[0]
    if not timestamp:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    token = headers.get("x-amz-security-token") or headers.get("x-amz-s3session-token")
    return _Claim(
        access_key,
        date,
        region,
        service,
        tuple(match[2].split(";")),
        match[3],
        timestamp,
        token[0] if token else None,
        False,
    )


def _claim_from_query(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[_Claim, int]:
    code = "AuthorizationQueryParametersError"
    query: dict[str, str] = {}
    for name, value in pairs:
        if name.startswith(b"X-Amz-"):
            if name.decode("latin-1") in query:
                raise S3Error(
                    code, f"Query-string authentication parameter given twice: {name.decode('latin-1')}"
                )
            query[name.decode("latin-1")] = value.decode("latin-1")
    needed = (
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-Date",
        "X-Amz-SignedHeaders",
        "X-Amz-Expires",
    )
    missing = [name for name in needed if not query.get(name)]
    if missing:
        raise S3Error(
            code,
            f"Query-string authentication version 4 requires the {', '.join(needed)} parameters; "
            f"missing: {missing}",
        )
    if query["X-Amz-Algorithm"] != _ALGORITHM:
        raise S3Error(code, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    expires = int(query["X-Amz-Expires"]) if query["X-Amz-Expires"].isdigit() else -1
    if not 0 <= expires <= MAX_EXPIRES_SECONDS:
        raise S3Error(code, "X-Amz-Expires must be a number of seconds from 0 to 604800 (one week)")
    access_key, date, region, service = _split_scope(query["X-Amz-Credential"], code)
    claim = _Claim(
        access_key,
        date,
        region,
        service,
        tuple(query["X-Amz-SignedHeaders"].split(";")),
        query["X-Amz-Signature"],
        query["X-Amz-Date"],
        query.get("X-Amz-Security-Token"),
        True,
    )
    return claim, expires


def _check_credential(claim: _Claim, credentials: Mapping[str, Credential], now: float) -> Credential:
    credential = credentials.get(claim.access_key)
    if credential is None or (credential.token is not None and claim.token is None):
        raise S3Error(
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
            elements={"AWSAccessKeyId": claim.access_key},
        )
    if credential.token != claim.token:
        raise S3Error("InvalidToken", "The provided token is malformed or otherwise invalid.")
    if credential.expires is not None and now >= credential.expires:
        raise S3Error("ExpiredToken", "The provided token has expired.")
    return credential


def _check_scope(claim: _Claim, region: str, services: Collection[str]) -> None:
    code = "AuthorizationQueryParametersError" if claim.presigned else "AuthorizationHeaderMalformed"
    if claim.region != region:
        raise S3Error(
            code,
            "The authorization header is malformed; "
            f"the region '{claim.region}' is wrong; expecting '{region}'",
            elements={"Region": region},
            headers={"x-amz-bucket-region": region},
        )
    if claim.service not in services:
        raise S3Error(code, f'The authorization header is malformed; incorrect service "{claim.service}".')
    if claim.timestamp[:8] != claim.date:
        raise S3Error(
            code,
            f'Invalid credential date "{claim.date}". '
            f'This date is not the same as X-Amz-Date: "{claim.timestamp[:8]}".',
        )


def _check_time(claim: _Claim, expires: int, now: float) -> None:
    signed_at = _parse_time(claim.timestamp)
    if signed_at is None:
        raise S3Error(
            "AccessDenied",
            f"AWS authentication requires a valid Date or x-amz-date header; got {claim.timestamp!r}",
        )
    if not claim.presigned:
        if abs(signed_at - now) > MAX_SKEW_SECONDS:
            raise S3Error(
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                elements={
                    "RequestTime": claim.timestamp,
                    "ServerTime": _iso(now),
                    "MaxAllowedSkewMilliseconds": str(MAX_SKEW_SECONDS * 1000),
                },
            )
    elif signed_at - now > MAX_SKEW_SECONDS:
        raise S3Error("AccessDenied", "Request is not valid yet", elements={"ServerTime": _iso(now)})
    elif now > signed_at + expires:
        raise S3Error(
            "AccessDenied",
            "Request has expired",
            elements={
                "X-Amz-Expires": str(expires),
                "Expires": _iso(signed_at + expires),
                "ServerTime": _iso(now),
            },
        )


def _check_signed_headers(claim: _Claim, headers: Mapping[str, list[str]]) -> None:
    code = "AuthorizationQueryParametersError" if claim.presigned else "AuthorizationHeaderMalformed"
    names = claim.signed_headers
    if (
        list(names) != sorted(names)
        or len(set(names)) != len(names)
        or any(name != name.lower() for name in names)
    ):
        raise S3Error(
            code, f"SignedHeaders must be lower-case, sorted and without repetition: {';'.join(names)}"
        )
    must = {name for name in headers if name.startswith("x-amz-")} | {"host"}
    not_signed = sorted(must - set(names))
    if not_signed:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            elements={"HeadersNotSigned": ", ".join(not_signed)},
        )


def _payload_of(claim: _Claim, headers: Mapping[str, list[str]]) -> str:
    declared = headers.get("x-amz-content-sha256")
    if declared is None:
        if claim.presigned:
            return UNSIGNED_PAYLOAD
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    if declared[0].startswith("STREAMING-"):
        raise S3Error(
            "NotImplemented", f"This server does not take chunk-signed or trailer uploads: {declared[0]}"
        )
    if declared[0] != UNSIGNED_PAYLOAD and not _HEX64.fullmatch(declared[0]):
        raise S3Error(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-..., or a valid sha256 value.",
            elements={"ArgumentName": "x-amz-content-sha256", "ArgumentValue": declared[0]},
        )
    return declared[0]


def _canonical_request(
    method: str,
    raw_path: str,
    pairs: Sequence[tuple[bytes, bytes]],
    headers: Mapping[str, list[str]],
    claim: _Claim,
    payload: str,
) -> str:
    lines = [method, canonical_path(raw_path), canonical_query(pairs)]
    for name in claim.signed_headers:
        values = headers.get(name, [""])
        lines.append(f"{name}:{','.join(_SPACES.sub(' ', value.strip()) for value in values)}")
    lines += ["", ";".join(claim.signed_headers), payload]
    return "\n".join(lines)


def _check_signature(canonical: str, claim: _Claim, credential: Credential) -> None:
    scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    to_sign = f"{_ALGORITHM}\n{claim.timestamp}\n{scope}\n{hashed}"
    key = _signing_key(credential.secret_key, claim.date, claim.region, claim.service)
    expected = hmac.digest(key, to_sign.encode(), "sha256").hex()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode("latin-1", "replace")):
        raise S3Error(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
            elements={
                "AWSAccessKeyId": claim.access_key,
                "StringToSign": to_sign,
                "SignatureProvided": claim.signature,
                "CanonicalRequest": canonical,
            },
        )


def verify(
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, list[str]],
    credentials: Mapping[str, Credential],
    *,
    region: str | Callable[[], str],
    now: float,
    services: Collection[str] = ("s3",),
) -> Verdict:
    """Verify a request's signature.

    Args:
        method: The HTTP method.
        raw_path: The path as sent (latin-1), without query.
        raw_query: The query as sent, without `?`.
        headers: All headers: lower-case name to the values in the order in which they came.
        credentials: The known key pairs, by access key.
        region: The region that the scope must name, or a function that gives it.
        now: The server's time, in seconds since 1970.
        services: The service names that the scope may hold.

    Returns:
        Who signed; for a request without a signature a verdict of kind "anonymous" (whether that is allowed
        is not decided here).

    Raises:
        S3Error: With S3's code for the first rule that the request breaks, in S3's order: form, key, token,
        scope, time, signature.
    """
    pairs = split_query(raw_query)
    authorization = headers.get("authorization")
    presigned = any(
        name in {b"X-Amz-Algorithm", b"X-Amz-Signature", b"X-Amz-Credential"} for name, _ in pairs
    )
    if authorization and presigned:
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; "
            "both the X-Amz-Algorithm query and the Authorization header were given",
        )
    if not authorization and not presigned:
        return Verdict("anonymous", "", "", UNSIGNED_PAYLOAD)
    expires = 0
    if authorization:
        claim = _claim_from_header(authorization[0], headers)
    else:
        claim, expires = _claim_from_query(pairs)
    credential = _check_credential(claim, credentials, now)
    _check_scope(claim, region if isinstance(region, str) else region(), services)
    _check_time(claim, expires, now)
    _check_signed_headers(claim, headers)
    payload = _payload_of(claim, headers)
    _check_signature(_canonical_request(method, raw_path, pairs, headers, claim, payload), claim, credential)
    return Verdict("presigned" if claim.presigned else "header", claim.access_key, claim.region, payload)


def check_payload(verdict: Verdict, sha256: str) -> None:
    """Hold the received body's hash against the signed one.

    Raises:
        S3Error: XAmzContentSHA256Mismatch.
    """
    if verdict.payload not in (UNSIGNED_PAYLOAD, sha256):
        raise S3Error(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            elements={"ClientComputedContentSHA256": verdict.payload, "S3ComputedContentSHA256": sha256},
        )
