r"""From arguments to what goes on the wire, and back from headers to attributes: pure, no I/O, no core.

Everything that can be wrong with an argument is found here, before any request: ranges (obstore's messages),
options, attributes, tags, modes, and whatever would end up in a header (no CR, LF or NUL may).

A "pair block" is what the core takes for headers and query: `name\0value\0name\0value\0`, names of headers in
lower case, values as they are.
"""

from __future__ import annotations

from operator import index

from s3ext import exceptions
from s3ext._ffi import UNKNOWN_SIZE
from s3ext._paths import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from typing import SupportsIndex

__all__ = [
    "METHODS",
    "GetRequest",
    "attributes_of",
    "block",
    "check_range",
    "check_ranges",
    "get_request",
    "put_headers",
    "put_mode",
    "seconds_of",
]

METHODS = frozenset({"GET", "PUT", "POST", "HEAD", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"})
"""The HTTP methods that a URL can be signed for, as in obstore."""

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Attribute names without case and dashes, to the header of a request.
_ATTRIBUTE_HEADERS = {
    "contentdisposition": "content-disposition",
    "contentencoding": "content-encoding",
    "contentlanguage": "content-language",
    "contenttype": "content-type",
    "cachecontrol": "cache-control",
    "storageclass": "x-amz-storage-class",
}
# Headers of an answer, to the names of attributes. The storage class is not among them, as in obstore.
_ATTRIBUTES = {
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
}
_METADATA = "x-amz-meta-"
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


# ---- blocks ----


def block(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Join names and values to a pair block; the values have been checked."""
    return "".join(f"{name}\0{value}\0" for name, value in pairs).encode("utf-8", "surrogateescape")


def _header_value(what: str, value: object) -> str:
    """Return a value that may stand in a header.

    Raises:
        TypeError: It is not a str.
        ValueError: It holds CR, LF or NUL, with which it could forge another header.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}: {shown(value)}")
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError(f"{what} must not hold CR, LF or NUL: {shown(value)}")
    return value


# ---- ranges ----


def check_range(
    start: SupportsIndex, end: SupportsIndex | None, length: SupportsIndex | None
) -> tuple[int, int]:
    """Check a range given by start and either end or length.

    Returns:
        Start and end, the end exclusive.

    Raises:
        ValueError: Neither or both of end and length, or nothing between start and end.
        OverflowError: A number is negative or does not fit 64 bits.
        TypeError: A number is none.
    """
    if length is None:
        if end is None:
            raise ValueError("Either end or length must be non-None.")
        if type(start) is int and type(end) is int and 0 <= start < end < UNKNOWN_SIZE:
            return start, end
        return _range(start, end)
    if end is not None:
        raise ValueError("end and length cannot both be non-None.")
    first, size = index(start), index(length)
    if size < 0:
        _offset("start", first)
        _offset("length", size)
    return _range(first, first + size)


def check_ranges(
    starts: Iterable[SupportsIndex],
    ends: Iterable[SupportsIndex] | None,
    lengths: Iterable[SupportsIndex] | None,
) -> tuple[list[int], list[int]]:
    """Check ranges given by starts and either ends or lengths.

    Returns:
        The starts and the ends, the ends exclusive.

    Raises:
        ValueError: Neither or both of ends and lengths, as many of them as there are no starts, or an empty
            range.
        OverflowError: A number is negative or does not fit 64 bits.
        TypeError: A number is none.
    """
    firsts = list(starts)
    if lengths is None:
        if ends is None:
            raise ValueError("Either ends or lengths must be non-None.")
        lasts = list(ends)
        what = "ends"
    elif ends is not None:
        raise ValueError("ends and lengths cannot both be non-None.")
    else:
        lasts = list(lengths)
        what = "lengths"
    if len(firsts) != len(lasts):
        raise ValueError(
            f"starts and {what} must be of equal number: {len(firsts)} and {len(lasts)} were given"
        )
    check = check_range
    pairs = (
        [check(start, None, length) for start, length in zip(firsts, lasts, strict=True)]
        if ends is None
        else [check(start, end, None) for start, end in zip(firsts, lasts, strict=True)]
    )
    return [start for start, _ in pairs], [end for _, end in pairs]


def _range(start: SupportsIndex, end: SupportsIndex) -> tuple[int, int]:
    first, last = index(start), index(end)
    if 0 <= first < last < UNKNOWN_SIZE:
        return first, last
    _offset("start", first)
    _offset("end", last)
    raise ValueError(f"Invalid range requested, start: {first} end: {last}")


def _offset(what: str, value: SupportsIndex) -> int:
    number = index(value)
    if not 0 <= number < UNKNOWN_SIZE:
        raise OverflowError(f"{what} must be from 0 to 2**64 - 2: {number}")
    return number


# ---- options of get ----


class GetRequest:
    """The options of a get, checked: `kind` is "whole", "range", "offset" or "suffix"."""

    __slots__ = ("end", "head", "headers", "kind", "query", "start")

    def __init__(
        self,
        headers: list[tuple[str, str]],
        query: list[tuple[str, str]],
        kind: str,
        start: int,
        end: int,
        *,
        head: bool,
    ) -> None:
        self.headers = headers
        self.query = query
        self.kind = kind
        self.start = start
        self.end = end
        self.head = head


def get_request(options: Mapping[str, object]) -> GetRequest:
    """Check the options of a get; unknown ones are ignored, as in obstore.

    Args:
        options: `if_match`, `if_none_match` (sent as they are, so with quotes), `if_modified_since`,
            `if_unmodified_since` (datetimes with a time zone), `range`, `version`, `head`.

    Raises:
        ValueError: A range of an unknown form, an empty one, or a value that no header can hold.
        TypeError: A value of the wrong type, or a datetime without a time zone.
        OverflowError: A negative number.
    """
    headers = []
    for option in ("if_match", "if_none_match"):
        value = options.get(option)
        if value is not None:
            headers.append((option.replace("_", "-"), _header_value(option, value)))
    for option in ("if_modified_since", "if_unmodified_since"):
        moment = options.get(option)
        if moment is not None:
            headers.append((option.replace("_", "-"), _http_date(option, moment)))
    query = []
    version = options.get("version")
    if version is not None:
        query.append(("versionId", _header_value("version", version)))
    kind, start, end = _range_option(options.get("range"))
    return GetRequest(headers, query, kind, start, end, head=bool(options.get("head")))


def _range_option(value: object) -> tuple[str, int, int]:
    if value is None:
        return "whole", 0, UNKNOWN_SIZE
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return ("range", *_range(*value))
    if isinstance(value, dict) and len(value) == 1:
        if "offset" in value:
            return "offset", _offset("offset", value["offset"]), UNKNOWN_SIZE
        if "suffix" in value:
            suffix = _offset("suffix", value["suffix"])
            if suffix == 0:
                raise ValueError("Invalid range requested, suffix: 0")
            return "suffix", suffix, UNKNOWN_SIZE
    raise ValueError(
        "Unexpected input for byte range. Expected (start, end), {'offset': n} or {'suffix': n}: "
        f"{shown(value)}"
    )


def _http_date(what: str, value: object) -> str:
    """Write an aware datetime as HTTP's date (RFC 9110, 5.6.7), whatever the locale."""
    from datetime import UTC, datetime  # noqa: PLC0415 - only these options need it

    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be a datetime, not {type(value).__name__}: {shown(value)}")
    if value.utcoffset() is None:
        raise TypeError(f"{what} must have a time zone, as datetime.now(timezone.utc) has: {value!r}")
    moment: datetime = value.astimezone(UTC)
    return (
        f"{_WEEKDAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    )


# ---- options of put ----


def put_mode(mode: object) -> tuple[str, list[tuple[str, str]]]:
    """Check the mode of a put.

    Returns:
        `"overwrite"`, `"create"` or `"update"`, and the headers that make the server see to it.

    Raises:
        ValueError: No such mode.
        GenericError: A mode to update without an ETag.
    """
    if mode is None:
        return "overwrite", []
    if isinstance(mode, str):
        name = mode.lower()
        if name == "overwrite":
            return name, []
        if name == "create":
            return name, [("if-none-match", "*")]
    elif isinstance(mode, dict):
        e_tag = mode.get("e_tag")
        if e_tag is None:
            raise exceptions.GenericError("ETag required for conditional put", operation="put")
        return "update", [("if-match", _header_value("e_tag", e_tag))]
    raise ValueError(f"Unexpected input for PutMode: {mode if isinstance(mode, str) else shown(mode)}")


def put_headers(
    attributes: Mapping[str, str] | None,
    tags: Mapping[str, str] | None,
    default_content_type: str | None = None,
) -> list[tuple[str, str]]:
    """Make the headers of a put from attributes and tags.

    Args:
        attributes: Names of headers, with or without dashes, in any case; any other name is user metadata.
        tags: Tags of the object.
        default_content_type: Content-Type of an object that is given none.

    Raises:
        ValueError: A name or value that no header can hold, or two names for one header.
        TypeError: A name or value that is no str.
    """
    headers: dict[str, str] = {}
    for name, value in (attributes or {}).items():
        lowered = _header_value("a name in attributes", name).lower()
        header = _ATTRIBUTE_HEADERS.get(lowered.replace("-", ""))
        if header is None:
            if not lowered or not _TOKEN.issuperset(lowered):
                raise ValueError(f"attributes: {shown(name)} cannot be the name of a header")
            header = _METADATA + lowered
        if header in headers:
            raise ValueError(f"attributes: {shown(name)} is given twice")
        headers[header] = _header_value(f"attributes[{shown(name)}]", value)
    if default_content_type is not None:
        headers.setdefault("content-type", default_content_type)
    if tags:
        pairs = (f"{_form(key)}={_form(value)}" for key, value in tags.items())
        headers["x-amz-tagging"] = "&".join(pairs)
    return list(headers.items())


def _form(value: object) -> str:
    """Encode a part of a query string; a space as %20, because radosgw takes "+" for itself."""
    if not isinstance(value, str):
        raise TypeError(f"tags must map str to str: {shown(value)}")
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in value.encode())


def attributes_of(headers: bytes) -> dict[str, str]:
    """Return the attributes that a pair block of an answer's headers holds; metadata without its prefix."""
    attributes = {}
    parts = headers.decode("utf-8", "replace").split("\0")
    for name, value in zip(parts[0::2], parts[1::2], strict=False):
        known = _ATTRIBUTES.get(name)
        if known is not None:
            attributes[known] = value
        elif name.startswith(_METADATA):
            attributes[name[len(_METADATA) :]] = value
    return attributes


# ---- other ----


def seconds_of(expires_in: object) -> int:
    """Check how long a signed URL shall be valid.

    Raises:
        TypeError: It is no timedelta.
        ValueError: It is shorter than a second, or does not fit 32 bits.
    """
    from datetime import timedelta  # noqa: PLC0415 - only signing needs it

    if not isinstance(expires_in, timedelta):
        raise TypeError(
            f"expires_in must be a timedelta, not {type(expires_in).__name__}: {shown(expires_in)}"
        )
    seconds = int(expires_in.total_seconds())
    if not 1 <= seconds < 2**32:
        raise ValueError(f"expires_in must be at least a second and fit 32 bits of them: {expires_in!r}")
    return seconds
