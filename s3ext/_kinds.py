"""Kinds of option values: how each is written, checked, read, and shown without its secrets.

A value is kept in two forms: rendered, as `.config` gives it back (a string, but for headers and
certificates), and parsed, as the settings use it. What both forms are is the kind's business; which option
has which kind is said in `_options.py`.

Invariants: no I/O; no kind ever puts a value into an error by itself, only a reason, so that the one who
raises can mask it. `datetime` and `binascii` are imported where they are needed, to keep `import s3ext`
fast.
"""

# ruff: noqa: PLC0415 - see the last sentence above

from __future__ import annotations

from s3ext._paths import masked, shown
from s3ext.exceptions import GenericError

# The name is enough for type checkers, and importing typing would cost more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import TypeAlias

    # A rendered value.
    Text: TypeAlias = str | bytes | dict[str, bytes]

__all__ = [
    "MASK",
    "Base",
    "Base64Key",
    "CertificateText",
    "Certificates",
    "Choice",
    "Count",
    "Duration",
    "Flag",
    "Headers",
    "Kind",
    "Latin",
    "Mode",
    "Path",
    "Payer",
    "Proxy",
    "Secret",
    "Span",
    "Url",
    "Whole",
    "format_duration",
    "milliseconds",
    "parse_duration",
    "timedelta_ns",
]

MASK = "***"

_NS = 1_000_000_000
_MAX_U64 = 2**64 - 1
# C counts milliseconds in signed integers; longer than this is for ever.
_LONGEST_MS = 2**53

# Lengths in nanoseconds and spellings of humantime, the format of obstore's durations. A month has 30.44 days
# and a year 365.25 (https://docs.rs/humantime/latest/humantime/fn.parse_duration.html).
_MONTH_NS = 2_630_016 * _NS
_YEAR_NS = 31_557_600 * _NS
_UNITS = {
    spelling: length
    for spellings, length in (
        ("nanos nsec ns", 1),
        ("usec us µs", 1_000),
        ("millis msec ms", 1_000_000),
        ("seconds second secs sec s", _NS),
        ("minutes minute mins min m", 60 * _NS),
        ("hours hour hrs hr h", 3_600 * _NS),
        ("days day d", 86_400 * _NS),
        ("weeks week wks wk w", 7 * 86_400 * _NS),
        ("months month M", _MONTH_NS),
        ("years year yrs yr y", _YEAR_NS),
    )
    for spelling in spellings.split()
}


# ---- durations ----


def parse_duration(text: str) -> int:
    """Read a duration in the format of humantime.

    Args:
        text: Such as `"30s"`, `"2h 37min"` or `"1.5s"`; a number needs a unit, but for `"0"`. A fraction may
            have any number of digits; what is less than a nanosecond is dropped.

    Returns:
        Nanoseconds.

    Raises:
        ValueError: The text is not a duration, or one of more than 2^64 - 1 seconds.
    """
    if text == "0":
        return 0
    total = 0
    place = 0
    while True:
        number, place = _digits(text, place)
        fraction = ""
        if text[place : place + 1] == ".":
            fraction, place = _digits(text, place + 1)
            number = number if fraction else ""
        end = place
        while end < len(text) and text[end].isalpha():
            end += 1
        unit = _UNITS.get(text[place:end], 0)
        if not number or not unit:
            raise ValueError("it is no sequence of numbers with units")
        total += int(number) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        place = end + len(text[end:]) - len(text[end:].lstrip())
        if place == len(text):
            break
    if total // _NS > _MAX_U64:
        raise ValueError("it is longer than 2^64 - 1 seconds")
    return total


def _digits(text: str, place: int) -> tuple[str, int]:
    """Take digits and the blanks around them, even between them; give back the digits and where they end."""
    found = ""
    while place < len(text) and (text[place].isspace() or "0" <= text[place] <= "9"):
        found += text[place].strip()
        place += 1
    return found, place


def format_duration(nanoseconds: int) -> str:
    """Write a duration as humantime does: `"1m 1s 500ms"`; zero is `"0s"`.

    Args:
        nanoseconds: The length, at least 0.
    """
    words = []
    rest = nanoseconds
    for unit, length in (("year", _YEAR_NS), ("month", _MONTH_NS), ("day", _UNITS["day"])):
        count, rest = divmod(rest, length)
        if count:
            words.append(f"{count}{unit}{'s' if count > 1 else ''}")
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words) or "0s"


def timedelta_ns(value: timedelta) -> int:
    return ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1_000


def milliseconds(nanoseconds: int) -> int:
    """Round up, because what is not zero must not become zero, which means no limit."""
    return min(-(-nanoseconds // 1_000_000), _LONGEST_MS)


# ---- kinds of values ----


class Kind:
    """How the values of an option are written and read.

    `render` takes what the caller gave and makes what `.config` shows; it raises TypeError for a wrong type.
    `parse` makes the value that Settings holds. Both raise ValueError, with the reason, for a wrong value.

    Attributes:
        name: The kind, for errors and documentation.
        expects: What a right value looks like.
        failure: The class of the exception for a wrong value.
    """

    name = "text"
    expects = "printable ASCII characters"
    failure: type[Exception] = GenericError
    accepted = "str"

    def render(self, value: object) -> Text:
        if isinstance(value, str):
            return str(value)
        raise TypeError

    def parse(self, text: Text) -> object:
        """Read text that becomes part of a header, a URL or a file name."""
        assert isinstance(text, str)
        if not text.isascii() or not text.isprintable():
            raise ValueError("it holds a control character or a character outside ASCII")
        return text

    def foreign(self, text: Text) -> Text:
        """Write a rendered value as obstore takes it, where that is another way."""
        return text

    def mask(self, text: object) -> str:
        """Make the repr of a value that may hold a secret."""
        return repr(text)


class Secret(Kind):
    name = "secret text"

    def mask(self, text: object) -> str:  # noqa: ARG002 - nothing of it may be seen
        return repr(MASK)


class Base64Key(Secret):
    name = "base64 key"
    expects = "32 bytes in base64"

    def parse(self, text: Text) -> object:
        from binascii import Error, a2b_base64

        assert isinstance(text, str)
        try:
            key = a2b_base64(text, strict_mode=True)
        except (Error, ValueError):
            raise ValueError("it is not base64") from None
        if len(key) != 32:
            raise ValueError("it does not have 32 bytes")
        return text


class Latin(Kind):
    """Text of a header that people write, such as User-Agent; UTF-8 on the wire, as obstore sends it."""

    name = "header text"
    expects = "printable characters of Latin-1"

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        if any(not c.isprintable() or c > "\xff" for c in text if c != "\t"):
            raise ValueError("it holds a control character or a character outside Latin-1")
        return text


class Path(Kind):
    name = "path"
    expects = "a path without control characters"

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        if not text.isprintable():
            raise ValueError("it holds a control character")
        return text


class Flag(Kind):
    name = "boolean"
    expects = "True or False, or one of 1, true, on, yes, y, 0, false, off, no, n in any case"
    accepted = "bool, str"
    _words: Mapping[str, bool] = {
        **dict.fromkeys(("1", "true", "on", "yes", "y"), True),
        **dict.fromkeys(("0", "false", "off", "no", "n"), False),
    }

    def render(self, value: object) -> Text:
        if isinstance(value, bool) or (isinstance(value, int) and value in {0, 1}):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        return super().render(value)

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        try:
            return self._words[text.lower()]
        except KeyError:
            raise ValueError from None


class Payer(Flag):
    expects = "True, False, or 'requester'"

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        return True if text.lower() == "requester" else super().parse(text)

    def foreign(self, text: Text) -> Text:
        """Spell it as a boolean, which older versions of obstore's core take alone."""
        assert isinstance(text, str)
        return "true" if text.lower() == "requester" else text


class Duration(Kind):
    name = "Duration"
    expects = "a timedelta, a number of seconds, or text such as '30s', '2h 37min' or '250ms'"
    accepted = "str, timedelta, int, float"

    def render(self, value: object) -> Text:
        from datetime import timedelta

        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, timedelta):
            length = timedelta_ns(value)
        elif isinstance(value, int):
            length = value * _NS
        elif isinstance(value, float) and value - value == 0:
            length = round(value * _NS)
        elif isinstance(value, float):
            return str(value)
        else:
            return super().render(value)
        return format_duration(length) if length >= 0 else f"-{format_duration(-length)}"

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        length = parse_duration(text)
        if length == 0:
            raise ValueError("a time of zero can never be kept; leave the option out for the default")
        return length


class Whole(Kind):
    name = "usize"
    accepted = "int, str"

    def __init__(self, least: int = 0, most: int = _MAX_U64) -> None:
        self._least = least
        self._most = most
        self.expects = f"a whole number from {least:,} to {most:,}" if most < _MAX_U64 else "a whole number"

    def render(self, value: object) -> Text:
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, int) else super().render(value)

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        # int() would also take spaces, underscores and the digits of other scripts.
        digits = text.removeprefix("+")
        if not digits.isascii() or not digits.isdigit():
            raise ValueError
        number = int(digits) if len(digits) <= 40 else self._most + 1
        if not self._least <= number <= self._most:
            raise ValueError("it is out of range")
        return number


class Choice(Kind):
    def __init__(self, name: str, values: tuple[str, ...], *, fold: bool = False) -> None:
        self.name = name
        self.expects = f"one of {', '.join(values)}"
        self._values = values
        self._fold = fold

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        value = text.lower() if self._fold else text
        if value not in self._values:
            raise ValueError
        return value


class Mode(Kind):
    """A mode with parameters after colons, blanks around each ignored: `header:<name>:<value>`."""

    def __init__(self, name: str, words: tuple[str, ...], *, header: bool) -> None:
        self.name = name
        self._words = words
        self._header = header
        forms = [*words, "dynamo:<table>[:<milliseconds>]"]
        if header:
            forms += ["header:<name>:<value>", "header-with-status:<name>:<value>:<status>"]
        self.expects = f"one of {', '.join(forms)}"

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        if not text.isascii() or not text.isprintable():
            raise ValueError("it holds a control character or a character outside ASCII")
        word, colon, rest = text.strip().partition(":")
        word = word.strip()
        if not colon and word in self._words:
            return word
        parts: tuple[str, ...]
        number = ""
        if word == "dynamo":
            table, mark, number = rest.partition(":")
            parts = (table, number) if mark else (table,)
            number = number if mark else "0"
        elif self._header and word == "header":
            name, _, value = rest.partition(":")
            parts, number = (name, value), "0"
        elif self._header and word == "header-with-status":
            name, _, rest = rest.partition(":")
            value, _, number = rest.partition(":")
            parts = (name, value, number)
        else:
            raise ValueError
        parts = tuple(part.strip() for part in parts)
        if not all(parts) or not number.strip().isdigit() or len(number) > 9:
            raise ValueError
        return ":".join((word, *parts))


class Headers(Kind):
    name = "headers"
    expects = "a dict of header names to str or bytes, without line breaks"
    accepted = "dict[str, str | bytes]"
    failure = ValueError
    _token = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
    # The core sets these itself; two of them, or another value, would break the request.
    _ours = frozenset(
        (
            "connection",
            "content-length",
            "expect",
            "host",
            "range",
            "transfer-encoding",
            "x-amz-content-sha256",
            "x-amz-date",
            "x-amz-security-token",
        )
    )
    _hidden = frozenset({"authorization", "proxy-authorization", "cookie", "x-amz-security-token"})

    def render(self, value: object) -> Text:
        if not isinstance(value, dict):
            raise TypeError
        headers: dict[str, bytes] = {}
        for name, content in value.items():
            if not isinstance(name, str) or not isinstance(content, str | bytes):
                raise TypeError
            if isinstance(content, str) and any(character > "\xff" for character in content):
                raise ValueError(f"failed to parse header value of {shown(name)}: it is not Latin-1")
            headers[name.lower()] = content.encode() if isinstance(content, str) else bytes(content)
        return headers

    def parse(self, text: Text) -> object:
        assert isinstance(text, dict)
        for name, content in text.items():
            if not name or not set(name) <= self._token:
                raise ValueError(f"invalid HTTP header name {shown(name)}")
            if name in self._ours:
                raise ValueError(f"the header {name} belongs to the request itself")
            if any((byte < 0x20 and byte != 9) or byte == 0x7F for byte in content):
                raise ValueError(f"failed to parse header value of {name}: it holds a control character")
        return tuple(sorted((name.encode(), content.strip(b" \t")) for name, content in text.items()))

    def mask(self, text: object) -> str:
        if not isinstance(text, dict):
            return repr(MASK)
        return repr({name: MASK if name in self._hidden else content for name, content in text.items()})


class Certificates(Kind):
    """PEM, shown as bytes. What is between the marks is checked as far as that needs no TLS library."""

    name = "certificates"
    expects = "one or more PEM-encoded certificates"
    accepted = "str, bytes"
    failure = ValueError
    _begin = b"-----BEGIN CERTIFICATE-----"
    _end = b"-----END CERTIFICATE-----"

    def render(self, value: object) -> Text:
        if isinstance(value, bytes):
            return bytes(value)
        text = super().render(value)
        assert isinstance(text, str)
        return text.encode()

    def parse(self, text: Text) -> object:
        """Check the certificates; no reason in the ValueError means that there are none."""
        pem = text.encode() if isinstance(text, str) else text
        assert isinstance(pem, bytes)
        _, *blocks = pem.split(self._begin)
        if not blocks or b"\0" in pem:
            raise ValueError
        for number, block in enumerate(blocks, 1):
            body, mark, _ = block.partition(self._end)
            if not mark:
                raise ValueError(f"the certificate {number} has no end")
            if not _is_der(body):
                raise ValueError(f"the certificate {number} is not one in base64")
        return pem


class CertificateText(Certificates):
    """PEM, shown as str: obstore takes `proxy_ca_certificate` in no other form."""

    def render(self, value: object) -> Text:
        pem = super().render(value)
        assert isinstance(pem, bytes)
        try:
            return pem.decode()
        except UnicodeDecodeError:
            raise ValueError from None


def _is_der(text: bytes) -> bool:
    """Tell whether base64 holds one DER sequence, of just its length, as a certificate is (X.690, 8.1)."""
    from binascii import Error, a2b_base64

    try:
        der = a2b_base64(b"".join(text.split()), strict_mode=True)
    except (Error, ValueError):
        return False
    if len(der) < 2 or der[0] != 0x30:
        return False
    count = der[1] & 0x7F if der[1] > 0x7F else 0
    size = int.from_bytes(der[2 : 2 + count]) if count else der[1]
    return len(der) == 2 + count + size


class Url(Kind):
    """A URL, or a host, which somebody may take for the place for a password."""

    def mask(self, text: object) -> str:
        return repr(masked(str(text)))


class Proxy(Url):
    name = "proxy URL"
    expects = "[http|https|socks4|socks4a|socks5|socks5h]://[user:password@]<host>[:<port>]"
    _schemes = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})

    def parse(self, text: Text) -> object:
        assert isinstance(text, str)
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("it holds a character that no URL may hold")
        scheme, mark, rest = text.partition("://")
        if not mark:
            scheme, rest = "http", text
        user, _, place = rest.rpartition("@")
        if not set("/?#@").isdisjoint(user):
            raise ValueError(
                "its user or password holds '/', '?', '#' or '@', which has to be percent-encoded"
            )
        host, _, path = place.partition("/")
        if scheme.lower() not in self._schemes or not host or host.startswith(":") or path:
            raise ValueError
        port = host.rpartition("]")[2].rpartition(":")
        if port[1] and not (port[2].isdigit() and 0 < int(port[2][:6]) < 65536):
            raise ValueError("its port is not a number from 1 to 65,535")
        return f"{scheme.lower()}://{rest.removesuffix('/')}"


class Count(Kind):
    """`max_retries`; the type rules of RetryConfig are obstore's, stricter than those of other options."""

    name = "count"
    accepted = "int"
    expects = "a whole number from 0"

    def parse(self, text: object) -> object:
        if not isinstance(text, int):
            raise TypeError
        if not 0 <= text < 2**63:
            raise OverflowError
        return int(text)


class Span(Kind):
    name = "timedelta"
    accepted = "timedelta"
    expects = "a timedelta, not negative"

    def parse(self, text: object) -> object:
        from datetime import timedelta

        if not isinstance(text, timedelta):
            raise TypeError
        if text < timedelta(0):
            raise ValueError
        return text


class Base(Kind):
    name = "number"
    accepted = "int, float"
    expects = "a number above 1"

    def parse(self, text: object) -> object:
        if isinstance(text, bool) or not isinstance(text, int | float):
            raise TypeError
        if not 1 < text < 2**31:
            raise ValueError
        return float(text)
