"""Keys and prefixes: the rules that a path meets before it becomes an S3 key.

The rules are obstore's. One leading and one trailing `/` are dropped; an empty segment (`a//b`), a segment
that is exactly `.` or `..`, and ASCII control characters are refused; all else, spaces, `%`, `?`, `#`,
backslashes and any other script included, is taken as it is and never percent-decoded. S3 adds a limit: a key
is at most 1,024 bytes of UTF-8, store prefix included
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).

With `raw_keys` no rule is applied and a path is, byte for byte, what stands behind the store's prefix and its
`/`: `a//b`, `../x`, `/a`, `a/` and control characters, NUL included, all name the objects that have just
these keys. So whatever a listing shows can be read. What stays refused is what no server can take: an empty
key, one of more than 1,024 bytes, and a lone surrogate, because keys are UTF-8. The store's own prefix is a
normalised path in either case. A listing's prefix or offset cannot hold NUL, which separates the parameters
of a request within the core.

`join` runs for every operation, so the common case is a handful of C-speed string tests; only what they do
not clear at once goes through the loop of `normalize`, which decides and finds the words for the error.

Invariants: a store prefix that reaches `join`, `list_prefix` or `strip` has been through `normalize`; None
and `""` both mean no prefix. Nothing here does I/O or holds state.
"""

from __future__ import annotations

from s3ext.exceptions import InvalidPathError

__all__ = ["MAX_KEY_BYTES", "join", "key_prefix", "list_prefix", "masked", "normalize", "shown", "strip"]

MAX_KEY_BYTES = 1024

# A character takes at most four bytes of UTF-8: a key of so many characters needs no counting.
_SURELY_SHORT = MAX_KEY_BYTES // 4

_SHOWN_CHARACTERS = 120


def join(prefix: str | None, path: str, *, root: bool = False, raw: bool = False) -> str:
    """Make the key that a path stands for under a store prefix.

    Args:
        prefix: The store's prefix, normalised; None or `""` for none.
        path: What the caller gave.
        root: Whether an empty key is allowed, as the offset of a listing is.
        raw: Whether the path is taken byte for byte.

    Returns:
        The full key. An empty path under a prefix stands for the prefix itself, as in obstore.

    Raises:
        InvalidPathError: The path breaks a rule, or the key is empty or over 1,024 bytes.
        TypeError: The path is not a str.
    """
    # isprintable() is false for control characters and lone surrogates, and for a few harmless characters,
    # which normalize() then lets pass.
    if (
        isinstance(path, str)
        and path
        and path.isprintable()
        and path[0] not in "/."
        and path[-1] != "/"
        and "//" not in path
        and "/." not in path
    ):
        key = f"{prefix}/{path}" if prefix else path
        return key if len(key) <= _SURELY_SHORT else _checked_length(key)
    path = _raw(path) if raw else normalize(path)
    if prefix and raw:
        return _checked_length(f"{prefix}/{path}")
    if prefix:
        return _checked_length(f"{prefix}/{path}" if path else prefix)
    if not path and not root:
        raise InvalidPathError("Could not parse path: the key is empty; give the name of an object")
    return _checked_length(path)


def list_prefix(prefix: str | None, path: str | None, *, raw: bool = False) -> str:
    """Make the `prefix` parameter of a listing, which covers whole segments only.

    Args:
        prefix: The store's prefix, normalised; None or `""` for none.
        path: The prefix to list; None or `""` for everything in the store.
        raw: Whether the path is taken byte for byte, but for a `/` that is added where it ends in none.

    Returns:
        `""`, or a key prefix that ends in `/`.

    Raises:
        InvalidPathError: The path breaks a rule, or the result is over 1,024 bytes.
        TypeError: The path is neither a str nor None.
    """
    if raw:
        path = "" if path is None else path
        key = key_prefix(prefix, path)
        return f"{key}/" if path and not key.endswith("/") else key
    key = join(prefix, "" if path is None else path, root=True)
    return f"{key}/" if key else ""


def key_prefix(prefix: str | None, start: str | None) -> str:
    """Make the `prefix` parameter of a listing that takes its prefix to the character, or its offset.

    Args:
        prefix: The store's prefix, normalised; None or `""` for none.
        start: What the paths to list begin with, as it is; None or `""` for everything in the store.

    Returns:
        A key prefix, which may be empty and may end anywhere.

    Raises:
        InvalidPathError: The result is over 1,024 bytes, or holds a lone surrogate or NUL.
        TypeError: The path is neither a str nor None.
    """
    start = _raw("" if start is None else start)
    if "\0" in start:
        raise InvalidPathError(f"Could not parse path: {shown(start)} holds NUL; list a shorter prefix")
    return _checked_length(f"{prefix}/{start}" if prefix else start)


def strip(prefix: str | None, key: str, *, raw: bool = False) -> str:
    """Make the path, relative to the store, of a key that the server named.

    One trailing `/`, the mark of a directory marker or a common prefix, is dropped as obstore does. A key
    outside the prefix, which no server should send, comes back whole.

    Args:
        prefix: The store's prefix, normalised; None or `""` for none.
        key: The key from an answer.
        raw: Whether the `/` at its end stays.
    """
    if prefix and key.startswith(prefix):
        end = len(prefix)
        if len(key) == end:
            return ""
        if key[end] == "/":
            key = key[end + 1 :]
    return key if raw else key.removesuffix("/")


def _raw(path: str) -> str:
    """Take a path as it is, if UTF-8 can carry it."""
    if not isinstance(path, str):
        raise TypeError(f"a path must be a str, not {type(path).__name__}: {shown(path)}")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise _surrogate(path) from None
    return path


def normalize(path: str) -> str:
    """Apply the path rules to one path; `""` and `/` give `""`, the root.

    Args:
        path: A path or a store prefix, as the caller gave it.

    Returns:
        The path without one leading and one trailing `/`.

    Raises:
        InvalidPathError: The path breaks a rule.
        TypeError: The path is not a str.
    """
    if not isinstance(path, str):
        raise TypeError(f"a path must be a str, not {type(path).__name__}: {shown(path)}")
    bare = path.removeprefix("/")
    if not bare:
        return ""
    bare = bare.removesuffix("/")
    for segment in bare.split("/"):
        if not segment:
            raise InvalidPathError(f"Could not parse path: Path {shown(path)} contained empty path segment")
        if segment in {".", ".."}:
            raise _illegal(path, segment, segment)
    if not bare.isprintable():
        for character in bare:
            if character <= "\x1f" or character == "\x7f":
                raise _illegal(path, character, next(part for part in bare.split("/") if character in part))
            if "\ud800" <= character <= "\udfff":
                raise _surrogate(path)
    return bare


def shown(value: object) -> str:
    """Put a value into words for an error: one line, quoted, escaped, and of bounded length."""
    if not isinstance(value, str):
        text = repr(value)
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    cut = value[:_SHOWN_CHARACTERS]
    escaped = "".join(
        '\\"' if c == '"' else repr(c)[1:-1] if c == "\\" or not c.isprintable() else c for c in cut
    )
    return f'"{escaped}"' if cut == value else f'"{escaped}..."'


def masked(url: str) -> str:
    """Take out of a URL what may be a secret: what is before its last `@`, and behind a `?` or `#`.

    Args:
        url: The URL, with or without a scheme, whatever is wrong with it.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or not scheme.replace("+", "").isalnum():  # A password may hold "://" as well.
        scheme, mark, rest = "", "", url
    _, at, place = rest.rpartition("@")
    end = min((found for found in map(place.find, "?#") if found >= 0), default=len(place))
    hidden = f"{place[end]}***" if end < len(place) else ""
    return f"{scheme}{mark}{'***@' if at else ''}{place[:end]}{hidden}"


def _illegal(path: str, sequence: str, segment: str) -> InvalidPathError:
    return InvalidPathError(
        f"Could not parse path: Error parsing Path {shown(path)}: Encountered illegal character sequence "
        f"{shown(sequence)} whilst parsing path segment {shown(segment)}"
    )


def _surrogate(path: str) -> InvalidPathError:
    return InvalidPathError(
        f"Could not parse path: Path {shown(path)} holds a lone surrogate; UTF-8 cannot carry it"
    )


def _checked_length(key: str) -> str:
    if len(key) > _SURELY_SHORT:
        size = len(key.encode())
        if size > MAX_KEY_BYTES:
            raise InvalidPathError(
                f"Could not parse path: the key {shown(key)} is {size} bytes of UTF-8 long, store prefix "
                f"included; S3 allows {MAX_KEY_BYTES}"
            )
    return key
