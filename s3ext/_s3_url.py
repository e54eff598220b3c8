"""s3 URLs beyond obstore's: with keys, with a scheme of HTTP, of one object.

    s3[+SCHEME]://[ID[:SECRET[:TOKEN]]@]BUCKET[/PATH][?versionId=VERSION]

This is the form of the htslib S3 plugin (htslib-s3-plugin(7)); `s3a` is another name of `s3`. What each
element is:

| element | rule |
|---|---|
| SCHEME | `http` or `https`, for this store alone; without it what `endpoint` says, else https |
| ID | alone the name of a profile, with SECRET an access key |
| ID, SECRET, TOKEN | percent-decoded; so `/ : @ ? # %` in them are written as `%2F %3A %40 %3F %23 %25` |
| BUCKET | up to the first `/`, `?` or `#`, never decoded; or the ARN of an access point |
| PATH | percent-decoded if it looks encoded, else taken as it is: see below |
| `#` in PATH | part of the key, as for htslib and for AWS's tools |
| VERSION | percent-decoded; no other parameter is known, and a `?` of the key is written as `%3F` |

A path looks encoded if two hexadecimal digits stand behind its last `%` (one with less than two characters
behind it does not count); so `a b+c` and `a%20b%2Bc` are one key. A key with a `%` is best encoded.

Where htslib lets any `@` switch off the variables for region, endpoint and addressing too, here it decides
about credentials only, as a profile or keys given to AWS's tools do.

Invariants: no I/O, no environment. An error never shows what stands before the last `@` or behind a `?` or
`#`, nor what may be a secret that lacks its `@`.
"""

from __future__ import annotations

from s3ext._paths import masked, shown
from s3ext.exceptions import GenericError

__all__ = ["S3Url", "is_beyond_obstore", "parse_s3_url", "refuse", "version_of", "visible"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PLAIN = frozenset({"s3", "s3a"})
_SCHEMES = {"s3": None, "s3a": None, "s3+http": "http", "s3+https": "https"}
_HEX = frozenset("0123456789abcdefABCDEF")
_BUCKET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
_ARN = "arn:"
_INDEX_MARK = "##idx##"


class S3Url:
    """What an s3 URL says.

    Attributes:
        config: Configuration values, under canonical keys: the bucket, and what the URL says of scheme,
            profile or keys.
        key: The path, decoded; `""` if there is none.
        version: The version of the object, or None.
    """

    __slots__ = ("config", "key", "version")

    def __init__(self, config: dict[str, str], key: str, version: str | None) -> None:
        self.config = config
        self.key = key
        self.version = version


def is_beyond_obstore(url: str) -> bool:
    """Tell whether a URL is an s3 URL that means more here than to obstore, which drops the user part.

    What looks like keys whose `/` is not encoded is one as well, so that they get an error that masks them.
    """
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in _PLAIN:
        return bool(mark) and scheme in _SCHEMES
    authority = rest[: _end_of_authority(rest)]
    keys = "@" in authority or (":" in authority and "@" in rest)
    return bool(mark) and (keys or authority.startswith(_ARN))


def parse_s3_url(url: str) -> S3Url:
    """Take an s3 URL apart.

    Args:
        url: A URL, without white space around it.

    Raises:
        GenericError: It is no s3 URL, or breaks a rule of the table at the top.
    """
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in _SCHEMES:
        refuse(url, "is no s3 URL; write s3://<bucket>/<key>")
    end = _end_of_authority(rest)
    user, at, bucket = rest[:end].rpartition("@")
    if not at and ":" in bucket and "@" in rest:
        refuse(url, "has keys that are not encoded; write '/' as %2F, '?' as %3F and '#' as %23 in them")
    if bucket.startswith(_ARN):
        end = _end_of_arn(rest, end)
        bucket = rest[:end].rpartition("@")[2]
    else:
        _check_bucket(url, bucket)
    config = {"bucket": bucket}
    http = _SCHEMES[scheme]
    if http is not None:
        config["scheme"] = http
    if at:
        config |= _credentials(url, user)
    path, question, query = rest[end:].partition("?")
    if _INDEX_MARK in path:
        refuse(url, f"names an index behind {_INDEX_MARK}, which is htslib's own; open the two on their own")
    if path and not path.startswith("/"):
        refuse(url, "has no '/' behind the bucket")
    version = version_of(url, query) if question else None
    return S3Url(config, _key(url, path[1:]), version)


def version_of(url: str, query: str) -> str:
    """Return the version that a query names.

    Raises:
        GenericError: The query is anything but one `versionId=` with a value.
    """
    name, _, value = query.partition("=")
    if name != "versionId" or not value or "&" in value or "#" in value:
        refuse(
            url,
            "has a query other than versionId=<version>; a '?' that belongs to the key is written %3F, and "
            "presigned URLs are for other programs",
        )
    return _decoded(url, value, "version")


def visible(url: str) -> str:
    """Write a URL for an error, without what may be a secret, also one that lacks its `@`."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    keys = ":" in rest[: _end_of_authority(rest)] and not rest.startswith(_ARN)
    return shown(f"{scheme}{mark}***" if keys and "@" not in rest else masked(url))


def refuse(url: str, why: str) -> NoReturn:
    """Raise what a wrong URL gets."""
    raise GenericError(f"Generic URL error: the URL {visible(url)} {why}")


def _end_of_authority(rest: str) -> int:
    return min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))


def _end_of_arn(rest: str, end: int) -> int:
    """Find where an ARN ends, whose resource may have been written with slashes."""
    for resource, slashes in ((":accesspoint", 1), (":outpost", 3)):
        if rest[:end].endswith(resource):
            for _ in range(slashes):
                end += 1 + _end_of_authority(rest[end + 1 :])
    return min(end, len(rest))


def _check_bucket(url: str, bucket: str) -> None:
    if ":" in bucket:
        refuse(url, "has a ':' in its bucket; a port belongs to endpoint=, and keys end with an '@'")
    if not bucket:
        refuse(url, "names no bucket; write s3://<bucket>/<key>")
    if not _BUCKET.issuperset(bucket):
        refuse(url, "has a bucket with a character that none can have; buckets are never percent-decoded")


def _credentials(url: str, user: str) -> dict[str, str]:
    """Read what stands before the `@`."""
    if "@" in user:
        refuse(url, "has two '@' before its path; write one that belongs to a key as %40")
    elements = user.split(":")
    if len(elements) > 3:
        refuse(url, "has more than ID:SECRET:TOKEN before its '@'; write a ':' that belongs to one as %3A")
    names = ("access_key_id", "secret_access_key", "session_token")
    values = {
        name: _decoded(url, element, name) for name, element in zip(names, elements, strict=False) if element
    }
    if not elements[0]:
        refuse(url, "has no ID before its '@'; write ID:SECRET@, a profile's name and @, or neither")
    if len(elements) == 1:
        return {"profile": values["access_key_id"]}
    if not elements[1]:
        refuse(url, "has an ID and a ':' but no SECRET before its '@'")
    return values


def _decoded(url: str, text: str, what: str) -> str:
    """Percent-decode an element in which each `%` has to be one of an escape."""
    if any(len(piece) < 2 or not _HEX.issuperset(piece[:2]) for piece in text.split("%")[1:]):
        refuse(url, f"has a '%' in its {what} that begins no escape; write it as %25")
    decoded = _unquoted(url, text)
    if not decoded.isprintable():
        refuse(url, f"has a control character in its {what}")
    return decoded


def _key(url: str, path: str) -> str:
    last = path.rfind("%", 0, len(path) - 2)
    encoded = last >= 0 and _HEX.issuperset(path[last + 1 : last + 3])
    return _unquoted(url, path) if encoded else path


def _unquoted(url: str, text: str) -> str:
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - slow to import, and only URLs need it

    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        refuse(url, "is not UTF-8 where it is percent-decoded")
