"""What a source of credentials answers, and how moments are written in those answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from s3ext.exceptions import GenericError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3ext._credentials.files import Signature

__all__ = ["Keys", "Nothing", "from_document", "parse_moment"]

# RFC 3339, section 5.6, with a few things that are written in its place: `UTC` at the end (the cache of
# `aws sso login` once did), no zone, an offset without its colon, a comma before the fraction (ISO 8601).
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))? ?(?:([Zz]|UTC)|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


class Nothing(Exception):  # noqa: N818 - it is no error: the next source is asked
    """A source has no credentials; its text says why, in a few words."""


class Keys:
    """The keys of one source.

    Attributes:
        key_id: The access key's id.
        secret: The secret access key.
        token: The session token, or None.
        expires_at: When they end, with its time zone; None for never.
        source: Where they come from, without secrets: `"profile 'x' in /home/me/.aws/credentials:3"`.
        path: The file that they stand in and that may be replaced; None if they stand in none.
        signature: What the file looked like when it was read.

    Raises:
        GenericError: One holds a character that no key has; it says which, and no value.
    """

    __slots__ = ("expires_at", "key_id", "path", "secret", "signature", "source", "token")

    def __init__(
        self,
        key_id: str,
        secret: str,
        token: str | None,
        source: str,
        *,
        expires_at: datetime | None = None,
        path: str | None = None,
        signature: Signature | None = None,
    ) -> None:
        for name, text in (("key id", key_id), ("secret", secret), ("token", token or "")):
            if not text.isascii() or not text.isprintable() or " " in text:
                raise GenericError(f"the {name} of {source} holds characters that no key has")
        self.key_id = key_id
        self.secret = secret
        self.token = token or None
        self.expires_at = expires_at
        self.source = source
        self.path = path
        self.signature = signature

    def same_as(self, other: Keys | None) -> bool:
        """Tell whether these are the keys of another answer again."""
        mine = (self.key_id, self.secret, self.token)
        return other is not None and mine == (other.key_id, other.secret, other.token)

    def __repr__(self) -> str:
        return f"Keys({self.source}, expires_at={self.expires_at})"


def parse_moment(text: str) -> datetime:
    """Read a moment of RFC 3339: `2026-11-30T12:00:00.5Z`, `2026-11-30 13:00:00+01:00`.

    `T`, `t` or a space stands between date and time, `Z`, `z` or an offset at the end. Without a zone it is
    UTC, as all that writes such files means it (htslib refuses such a moment, and never refreshes). A leap
    second is the second after it.

    Raises:
        ValueError: It is none.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise ValueError("it is no moment of RFC 3339, such as 2026-11-30T12:00:00Z")
    date, hour, minute, second, fraction, _, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    zone = timezone(-offset if sign == "-" else offset) if offset else UTC
    leap = second == "60"
    moment = datetime.fromisoformat(f"{date}T{hour}:{minute}:{'59' if leap else second}").replace(tzinfo=zone)
    try:
        return moment + timedelta(seconds=leap, microseconds=int((fraction or "0")[:6].ljust(6, "0")))
    except OverflowError:  # The leap second at the end of the year 9999.
        raise ValueError("it is later than any moment that can be counted") from None


def from_document(said: Mapping[str, object], source: str, token: str = "Token") -> Keys:  # noqa: S107 - a name
    """Take keys out of a JSON object in the form of containers, instances and processes.

    Args:
        said: The object: AccessKeyId, SecretAccessKey, a token, Expiration.
        source: Where it comes from.
        token: The name of the token in it.

    Raises:
        GenericError: One is missing or no text; it says which, and no value.
    """
    words: list[str] = []
    for name, needed in (
        ("AccessKeyId", True),
        ("SecretAccessKey", True),
        (token, False),
        ("Expiration", False),
    ):
        value = said.get(name)
        if value is None and not needed:
            value = ""
        if not isinstance(value, str) or (needed and not value):
            raise GenericError(f"the answer of {source} has no {name}, or one that is no text")
        words.append(value)
    key_id, secret, session, expiration = words
    try:
        expires_at = parse_moment(expiration) if expiration else None
    except ValueError as error:
        raise GenericError(f"the answer of {source} has an Expiration of {expiration!r}: {error}") from None
    return Keys(key_id, secret, session, source, expires_at=expires_at)
