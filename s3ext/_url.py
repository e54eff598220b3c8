"""URLs: which store a URL names, and what a configured endpoint says.

A store URL becomes configuration values and a prefix:

| URL | what it gives |
|---|---|
| `s3://<bucket>[/p]`, `s3a://<bucket>[/p]` | bucket |
| `https://s3.<region>.amazonaws.com/<bucket>[/p]`, also `s3-<region>` | bucket, region |
| `https://s3.amazonaws.com/<bucket>[/p]` | bucket |
| `https://<bucket>.s3.<region>.amazonaws.com[/p]`, also `s3-<region>` | bucket, region, virtual hosting |
| `https://<bucket>.s3.amazonaws.com[/p]` | bucket, virtual hosting |
| these with `s3.dualstack.<region>`, `s3-fips[.dualstack].<region>`, `.amazonaws.com.cn` | also endpoint |
| `https://<bucket>.s3-accelerate[.dualstack].amazonaws.com[/p]` | bucket, endpoint, virtual hosting |
| `https://<account>[.<jurisdiction>].r2.cloudflarestorage.com/<bucket>[/p]` | bucket, endpoint, region |
| any other `http[s]://<host>[:<port>]/<bucket>[/p]` | bucket, endpoint |
| `s3[+http[s]]://[<id>[:<secret>[:<token>]]@]<bucket>[/p]` | see `_s3_url` |

A bucket with dots in a host name turns to path style, because no wildcard certificate covers such a name.

URLs are read as the WHATWG standard says (https://url.spec.whatwg.org/), since obstore reads them so: tabs
and line breaks vanish, a backslash is a slash in http URLs, dot segments are resolved, also as `%2e`.
urllib.parse follows other rules; only its percent-decoding is used. User, port, query and fragment are
ignored, but not with a custom endpoint, where the port counts and the rest is refused. That is for stores,
and so for prefixes; a URL of one object (`parse_object_url`) drops nothing, and its path is a key to the
letter, but for the dot segments of http URLs.

Invariants: no I/O, no environment; errors never show the user part or the query of a URL.
"""

from __future__ import annotations

from s3ext._paths import masked, normalize, shown
from s3ext._s3_url import S3Url, is_beyond_obstore, parse_s3_url, refuse, version_of, visible
from s3ext.exceptions import GenericError, InvalidPathError

__all__ = [
    "Endpoint",
    "StoreLocation",
    "parse_endpoint",
    "parse_object_url",
    "parse_scheme",
    "parse_store_url",
    "regional_host",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "s3+http": "s3",
    "s3+https": "s3",
    "gs": "gcs",
    "file": "local",
    "memory": "memory",
    "az": "azure",
    "adl": "azure",
    "azure": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "http": "http",
    "https": "http",
}
# Schemes whose URLs the standard reads with leniency: any number of slashes, backslashes too.
_SPECIAL = frozenset({"http", "https", "ftp", "ws", "wss", "file"})
_AZURE_HOSTS = (
    "blob.core.windows.net",
    "dfs.core.windows.net",
    "blob.fabric.microsoft.com",
    "dfs.fabric.microsoft.com",
)
_NO_VERSION = (
    "names a version, which only an object has; s3ext.open reads it, and get() with the option version"
)
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_HOST_CHARACTERS = _LETTERS | _DIGITS | frozenset("-._")
# "Forbidden host code points" of the standard, without those that end a host anyway.
_FORBIDDEN_IN_HOST = frozenset("\0\t\n\r #/<>?@[\\]^|")
# Hosts of AWS that name no region: the region they stand for, and whether they follow from the region alone.
_GLOBAL_SERVICES = {"s3": ("", True), "s3-accelerate": ("", False), "s3-external-1": ("us-east-1", True)}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
_MAX_PORT_DIGITS = 5
_MAX_HOST = 253


class _Parts:
    """A URL taken apart. `host` is None where there is no authority; `path` is still encoded."""

    __slots__ = ("extras", "host", "path", "port", "query", "scheme")

    def __init__(
        self, scheme: str, host: str | None, port: int | None, path: str, extras: str, query: str
    ) -> None:
        self.scheme = scheme
        self.query = query
        self.host = host
        self.port = port
        self.path = path
        self.extras = extras


class StoreLocation:
    """What a store URL names.

    Attributes:
        config: Configuration values, under canonical keys, all strings.
        prefix: The prefix, normalised; None if the URL has no path.
    """

    __slots__ = ("config", "prefix")

    def __init__(self, config: dict[str, str], prefix: str | None) -> None:
        self.config = config
        self.prefix = prefix


class Endpoint:
    """An endpoint URL, checked.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: Host name in lower case, or an address; an IPv6 address stands in brackets.
        port: Port number; the scheme's own if the URL names none.
        path: `""`, or a path that begins with `/`, does not end with one, and is percent-encoded.
    """

    __slots__ = ("host", "path", "port", "scheme")

    def __init__(self, scheme: str, host: str, port: int, path: str) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path

    @property
    def authority(self) -> str:
        """The host, and the port unless it is the scheme's own: what the Host header says."""
        return self.host if self.port == _DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"


def parse_scheme(url: str) -> str:
    """Tell which kind of store a URL names.

    Args:
        url: A URL.

    Returns:
        `"s3"`, `"gcs"`, `"azure"`, `"http"`, `"local"` or `"memory"`, as `obstore.parse_scheme` does.

    Raises:
        GenericError: No kind of store knows this URL, or its path cannot be a prefix.
        ValueError: This is not a URL.
        TypeError: The URL is not a str.
    """
    url = _tidied(url)
    if is_beyond_obstore(url):
        parse_store_url(url)
        return "s3"
    parts = _split(url)
    kind = _kind(parts)
    if kind in {"s3", "http"}:
        path = parts.path
        if parts.scheme == "https" and kind == "s3":
            path = path.removeprefix("/").partition("/")[2]
        _prefix(path)
    return kind


def parse_store_url(url: str) -> StoreLocation:
    """Take the configuration and the prefix from a store URL; the table at the top says which.

    Args:
        url: A URL of an S3 bucket or of a place in one.

    Returns:
        The values that the URL gives.

    Raises:
        GenericError: The URL names no S3 bucket, or its path cannot be a prefix.
        ValueError: This is not a URL.
        TypeError: The URL is not a str.
    """
    url = _tidied(url)
    if is_beyond_obstore(url):
        named = parse_s3_url(url)
        if named.version is not None:
            refuse(url, _NO_VERSION)
        return StoreLocation(named.config, _normalized(named.key))
    parts = _split(url)
    if parts.query.startswith("versionId="):
        refuse(url, _NO_VERSION)
    if parts.scheme in {"s3", "s3a"} and parts.host:
        return StoreLocation({"bucket": parts.host}, _prefix(parts.path))
    config, path = _locate(parts)
    return StoreLocation(config, _prefix(path))


def parse_object_url(url: str) -> S3Url:
    """Take configuration, key and version from the URL of an object.

    Args:
        url: A URL as for `parse_store_url`, whose path is the key, or `...?versionId=` of one of its
            versions.

    Raises:
        GenericError: The URL names no S3 object, or says what would have to be dropped.
        ValueError: This is not a URL.
        TypeError: The URL is not a str.
    """
    url = _tidied(url)
    if _SCHEMES.get(url.partition(":")[0].lower()) == "s3":
        named = parse_s3_url(url)
    else:
        parts = _split(url)
        version = version_of(url, parts.query) if parts.extras == "query" else None
        if parts.extras and version is None:
            refuse(url, f"has a {parts.extras}; leave it out")
        parts.extras = ""
        config, path = _locate(parts)
        named = S3Url(config, _text(path.removeprefix("/")), version)
    if not named.key:
        refuse(url, "names a bucket, but no object in it")
    return named


def parse_endpoint(text: str, key: str = "endpoint") -> Endpoint:
    """Check an endpoint URL and take it apart.

    Args:
        text: `http[s]://<host>[:<port>][/<path>]`.
        key: The option's name, for the error.

    Returns:
        The endpoint.

    Raises:
        GenericError: The URL is not such a URL. User, query and fragment are refused rather than dropped.
    """
    if not text.isascii() or not text.isprintable() or not {" ", "\\"}.isdisjoint(text):
        _refuse(
            key,
            text,
            "holds a character that no URL may hold; percent-encode it, give the xn-- form of a host",
        )
    scheme, slashes, rest = text.partition("://")
    if not slashes or scheme.lower() not in _DEFAULT_PORTS or rest.startswith("/"):
        _refuse(key, text, "is not an http or https URL; write https://<host>[:<port>][/<path>]")
    try:
        parts = _split(text)
    except ValueError as error:
        _refuse(key, text, f"is not a URL ({error}); write https://<host>[:<port>][/<path>]")
    if parts.extras:
        _refuse(key, text, f"has a {parts.extras}; leave it out")
    host = parts.host or ""
    if not all(host.removesuffix(".").split(".")) or parts.port == 0:
        _refuse(key, text, "has a host with an empty label, or port 0")
    path = rest.partition("/")[2].rstrip("/")
    if path and any(part.lower().replace("%2e", ".") in {"", ".", ".."} for part in path.split("/")):
        _refuse(key, text, "has an empty, '.' or '..' segment in its path")
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    return Endpoint(parts.scheme, host, port, f"/{path}" if path else "")


def regional_host(authority: str, region: str) -> tuple[str, bool]:
    """See whether an endpoint is AWS's, and whether it moves with the region.

    Args:
        authority: `host[:port]` of an endpoint.
        region: The region in use.

    Returns:
        The authority, with `{region}` for the region where the host names it, and whether it is AWS's.
    """
    suffix = ".amazonaws.com.cn" if authority.endswith(".cn") else ".amazonaws.com"
    if not authority.endswith(suffix):
        return authority, False
    labels = authority.removesuffix(suffix).split(".")
    found = _service(labels)
    if found is None or found[1] != region:
        return authority, True
    count = found[0]
    bucket, service = labels[: len(labels) - count], labels[len(labels) - count :]
    moved = [label.replace(region, "{region}") for label in service]
    return ".".join((*bucket, *moved)) + suffix, True


def _refuse(key: str, text: str, why: str) -> NoReturn:
    raise GenericError(f"Generic Config error: {key} {shown(masked(text))} {why}")


def _kind(parts: _Parts) -> str:
    kind = _SCHEMES.get(parts.scheme)
    if kind is None or (kind not in {"local", "memory"} and not parts.host):
        raise GenericError(f"Generic URL error: Unable to recognise URL {shown(_safe(parts))}")
    host = parts.host or ""
    if parts.scheme == "https":
        if host.endswith(("amazonaws.com", ".amazonaws.com.cn", "r2.cloudflarestorage.com")):
            return "s3"
        if host.endswith(_AZURE_HOSTS):
            return "azure"
    return kind


def _locate(parts: _Parts) -> tuple[dict[str, str], str]:
    """Read the host of an http URL: the configuration, and the path behind the bucket."""
    if _kind(parts) not in {"s3", "http"}:
        raise GenericError(
            f"Generic S3 error: Unknown url scheme cannot be parsed into storage location: {parts.scheme}"
        )
    host = parts.host or ""
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        location = _amazon(parts, host)
    elif host.endswith(".r2.cloudflarestorage.com"):
        location = _cloudflare(parts, host)
    else:
        location = _custom(parts, host)
    if location is None:
        raise GenericError(
            f"Generic S3 error: URL did not match any known pattern for scheme: {_safe(parts)}; "
            f"write s3://<bucket>/<prefix> and give the region or the endpoint as options"
        )
    if not location[0]["bucket"]:
        raise GenericError(f"Generic S3 error: Missing bucket name: the URL {_safe(parts)} names none")
    return location


def _amazon(parts: _Parts, host: str) -> tuple[dict[str, str], str] | None:
    """Read a host of AWS: `[<bucket>.]<service>[.dualstack][.<region>].amazonaws.com[.cn]`."""
    suffix = ".amazonaws.com.cn" if host.endswith(".cn") else ".amazonaws.com"
    labels = host.removesuffix(suffix).split(".")
    found = _service(labels) if all(labels) else None
    if found is None:
        return None
    count, region, usual = found
    bucket = ".".join(labels[: len(labels) - count])
    service = ".".join(labels[len(labels) - count :]) + suffix
    accelerated = service.startswith("s3-accelerate")
    if accelerated and (not bucket or "." in bucket):
        return None
    virtual = bool(bucket) and "." not in bucket
    path = parts.path
    if not bucket:
        bucket, _, path = path.removeprefix("/").partition("/")
    config = {"bucket": bucket}
    if region:
        config["region"] = region
    if virtual:
        config["virtual_hosted_style_request"] = "true"
    if not usual or suffix == ".amazonaws.com.cn" or parts.scheme == "http":
        config["endpoint"] = f"{parts.scheme}://{host if virtual else service}"
    return config, path


def _service(labels: list[str]) -> tuple[int, str, bool] | None:
    """Find the service in the labels of a host.

    Returns:
        How many labels at the end belong to the service, the region (`""` for none), and whether the endpoint
        follows from region and bucket alone; None if this is no endpoint for objects.
    """
    last = labels[-1]
    if last in _GLOBAL_SERVICES:
        region, usual = _GLOBAL_SERVICES[last]
        return 1, region, usual
    odd = last.startswith(("s3-website-", "s3-fips-"))
    if last.startswith("s3-") and last[-1] in _DIGITS and last.count("-") >= 3 and not odd:
        return 1, last.removeprefix("s3-"), True
    match labels[-3:]:
        case [*_, "s3-accelerate", "dualstack"]:
            return 2, "", False
        case ["s3" | "s3-fips", "dualstack", region]:
            return 3, region, False
        case [*_, "s3" | "s3-fips" as service, region] if region != "dualstack":
            return 2, region, service == "s3"
    return None


def _cloudflare(parts: _Parts, host: str) -> tuple[dict[str, str], str] | None:
    labels = host.removesuffix(".r2.cloudflarestorage.com").split(".")
    if len(labels) > 2 or not all(labels):
        return None
    bucket, _, path = parts.path.removeprefix("/").partition("/")
    return {"bucket": bucket, "region": "auto", "endpoint": f"{parts.scheme}://{host}"}, path


def _custom(parts: _Parts, host: str) -> tuple[dict[str, str], str] | None:
    if f".{host.rstrip('.')}".endswith((".amazonaws.com", ".amazonaws.com.cn", ".cloudflarestorage.com")):
        return None
    if parts.extras:
        raise GenericError(
            f"Generic S3 error: the URL {_safe(parts)} has a {parts.extras}; leave it out (keys are options)"
        )
    bucket, _, path = parts.path.removeprefix("/").partition("/")
    port = "" if parts.port is None else f":{parts.port}"
    return {"bucket": bucket, "endpoint": f"{parts.scheme}://{host}{port}"}, path


def _prefix(path: str) -> str | None:
    """Decode the path of a URL and normalise it; None if nothing is left."""
    return _normalized(_text(path))


def _text(path: str) -> str:
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - slow to import, and only URLs need it

    try:
        return unquote_to_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise GenericError(
            f"Generic URL error: Path {shown(path)} contained non-unicode characters: {error}"
        ) from None


def _normalized(text: str) -> str | None:
    try:
        return normalize(text) or None
    except InvalidPathError as error:
        reason = str(error).removeprefix("Could not parse path: ")
        raise GenericError(f"Generic URL error: {reason}") from None


def _tidied(url: str) -> str:
    """Take away what the standard takes away: white space around a URL, tabs and line breaks in it."""
    if not isinstance(url, str):
        raise TypeError(f"a URL must be a str, not {type(url).__name__}: {shown(url)}")
    return url.strip("".join(map(chr, range(0x21)))).translate({9: None, 10: None, 13: None})


def _split(url: str) -> _Parts:
    """Take a tidy URL apart, as the standard's parser does for an absolute URL."""
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if not colon or scheme[:1] not in _LETTERS or not set(scheme) <= _LETTERS | _DIGITS | frozenset("+-."):
        raise ValueError(
            f"relative URL without a base: {visible(url)} has no scheme; write s3://<bucket>/<prefix>"
        )
    rest, hash_mark, _ = rest.partition("#")
    rest, question, query = rest.partition("?")
    extras = "query" if question else "fragment" if hash_mark else ""
    special = scheme in _SPECIAL
    if special:
        rest = "//" + rest.replace("\\", "/").lstrip("/")
    if not rest.startswith("//"):
        return _Parts(scheme, None, None, rest, extras, query)
    authority, slash, path = rest[2:].partition("/")
    _, user, authority = authority.rpartition("@")
    if scheme in {"file", "memory"}:
        return _Parts(scheme, authority, None, slash + path, extras, query)
    host, port = _host_and_port(authority, special=special, required=special or bool(user))
    return _Parts(scheme, host, port, _without_dots(slash + path), "user" if user else extras, query)


def _host_and_port(authority: str, *, special: bool, required: bool) -> tuple[str, int | None]:
    if authority.startswith("["):
        inside, bracket, port = authority[1:].partition("]")
        host = _ipv6(inside) if bracket else ""
        if not host or (port and not port.startswith(":")):
            raise ValueError(f"invalid IPv6 address in {shown(authority)}")
        colon, port = port[:1], port[1:]
    else:
        host, colon, port = authority.partition(":")
        host = _domain(host) if special else _opaque_host(host)
    if not host and (required or colon):
        raise ValueError("empty host: the URL names no host")
    if not port:
        return host, None
    if not set(port) <= _DIGITS or len(port.lstrip("0")) > _MAX_PORT_DIGITS or int(port) > _MAX_PORT:
        # Not shown: it may be a secret, of keys whose "@" is missing.
        raise ValueError(f"invalid port number: it must be 0 to {_MAX_PORT}")
    return host, int(port)


def _ipv6(text: str) -> str:
    from ipaddress import IPv6Address  # noqa: PLC0415 - slow to import, and rarely needed

    try:
        address = IPv6Address(text)
    except ValueError:
        return ""
    return "" if address.scope_id else f"[{address.compressed}]"


def _domain(host: str) -> str:
    """Check a host name of http; names outside ASCII are refused, because no IDNA table is at hand."""
    host = host.lower()
    if not set(host) <= _HOST_CHARACTERS:
        raise ValueError(f"invalid domain character in host {shown(host)}")
    if len(host) > _MAX_HOST:
        raise ValueError(f"the host {shown(host)} is longer than {_MAX_HOST} characters")
    return host


def _opaque_host(host: str) -> str:
    """Check the bucket of an s3 URL, which keeps its case; what is not printable ASCII is percent-encoded."""
    if not _FORBIDDEN_IN_HOST.isdisjoint(host):
        raise ValueError(f"invalid domain character in {shown(host)}")
    return "".join(
        character if " " < character < "\x7f" else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in host
    )


def _without_dots(path: str) -> str:
    """Resolve `.` and `..` in an encoded path."""
    done: list[str] = []
    segments = path.split("/")[1:]
    for index, segment in enumerate(segments):
        plain = segment.lower().replace("%2e", ".")
        if plain == ".." and done:
            done.pop()
        if plain not in {".", ".."}:
            done.append(segment)
        elif index == len(segments) - 1:
            done.append("")
    return "".join(f"/{segment}" for segment in done)


def _safe(parts: _Parts) -> str:
    """Write a URL again without user and query, which may hold secrets."""
    if parts.host is None:  # Without an authority the user, if that was meant, stands in the path.
        return f"{parts.scheme}:{masked(parts.path)}"
    return f"{parts.scheme}://{parts.host}{parts.path}"
