"""Keys in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_TOKEN.

A store takes those that are there when it is made as its own, like keys in code. The chain comes here for a
profile with `credential_source = Environment`, for keys with an AWS_CREDENTIAL_EXPIRATION, and for those that
were set later.
"""

from __future__ import annotations

from s3ext._credentials.keys import Keys, Nothing, parse_moment
from s3ext.exceptions import GenericError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._credentials.context import Context

__all__ = ["find"]

SOURCE = "environment"


def find(context: Context) -> Keys:
    """Take the keys of the environment.

    Raises:
        Nothing: There are none.
        GenericError: There is half a pair, or a moment of expiry that is none.
    """
    key_id, secret = (context.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if not key_id and not secret:
        raise Nothing("AWS_ACCESS_KEY_ID is not set")
    if not key_id or not secret:
        have, lack = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")[:: 1 if key_id else -1]
        raise GenericError(f"AWS_{have} is set, and AWS_{lack} is not")
    token = context.environ.get("AWS_SESSION_TOKEN") or context.environ.get("AWS_TOKEN")
    expiration = context.environ.get("AWS_CREDENTIAL_EXPIRATION")
    try:
        expires_at = parse_moment(expiration) if expiration else None
    except ValueError as error:
        raise GenericError(f"AWS_CREDENTIAL_EXPIRATION is {expiration!r}: {error}") from None
    return Keys(key_id, secret, token, SOURCE, expires_at=expires_at)
