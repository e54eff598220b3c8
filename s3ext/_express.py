"""S3 Express One Zone: sessions, and what its buckets do otherwise.

A directory bucket is reached at a host of its zone. Most requests are signed with keys that CreateSession
gives for five minutes; those that name a source to copy from, and presigned URLs, with the store's own keys
(AWS, "CreateSession", "CopyObject", "UploadPartCopy"). Its listings are in no order, and know no start-after.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from struct import Struct

from s3ext._ffi import ffi, page_rows
from s3ext._http import leaves, request
from s3ext._wait import run_sync
from s3ext.exceptions import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from s3ext._clients import Client

__all__ = ["SessionProvider", "behind"]

LIFE = timedelta(minutes=5)
"""How long a session lasts. Its time of expiry in the answer would be read by a clock that may be wrong."""

_ENTRY = Struct("@IIIIQq")
_FIELDS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


class SessionProvider:
    """The credential provider of a client whose requests belong to a session.

    Args:
        client: A client of the same bucket with the store's own credentials, which makes the sessions.
    """

    __slots__ = ("client",)

    refresh_threshold = timedelta(seconds=60)

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(self) -> dict[str, object]:
        """Begin a session.

        Raises:
            BaseError: The server refuses it, or there are no credentials.
        """
        begun = datetime.now(UTC)
        answer = run_sync(request(self.client, "GET", query=(("session", ""),), name="create_session"))
        key_id, secret, token = _keys(answer.body, self.client.bucket)
        return {
            "access_key_id": key_id,
            "secret_access_key": secret,
            "token": token,
            "expires_at": begun + LIFE,
        }


def _keys(document: bytes, bucket: str) -> list[str]:
    try:
        found = dict(leaves(document, "CreateSessionResult"))
        return [found[name] for name in _FIELDS]
    except (KeyError, ValueError):  # Whose words might show a key.
        raise ProtocolError(
            f"CREATE_SESSION {bucket} failed: the answer holds no session",
            operation="create_session",
            bucket=bucket,
        ) from None


def behind(offset: str, make: Callable[[int, int, bool], Any] = page_rows) -> Callable[[int, int, bool], Any]:
    """Wrap what makes the objects of a page, to leave out those that do not come behind a key.

    Args:
        offset: The full key.
        make: What makes them; see `_operations.page_of`.
    """
    last = offset.encode()

    def made(address: int, skip: int, raw: bool) -> Any:  # noqa: FBT001 - as `make` is called
        result = ffi.cast("struct s3ext_result *", address)
        if result.object_count:
            words = bytes(ffi.buffer(result.text, result.text_size))
            entries = ffi.buffer(ffi.cast("char *", result.objects), result.object_count * _ENTRY.size)
            kept = b"".join(
                entries[number * _ENTRY.size : (number + 1) * _ENTRY.size]
                for number, (at, size, *_) in enumerate(_ENTRY.iter_unpack(entries))
                if words[at : at + size] > last
            )
            entries[: len(kept)] = kept
            result.object_count = len(kept) // _ENTRY.size
        return make(address, skip, raw)

    return made
