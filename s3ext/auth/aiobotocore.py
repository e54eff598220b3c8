"""What an aiobotocore session finds, as a credential provider: `Boto3CredentialProvider` without blocking.

It works with async calls, and with sync ones too, for which it runs in a loop of its own. obstore has no such
provider.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from s3ext.auth import missing

try:
    from aiobotocore.session import get_session  # type: ignore[import-untyped]
except ImportError as error:
    raise missing(__name__, error) from None

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

    from s3ext.store import S3Config, S3Credential

__all__ = ["AiobotocoreCredentialProvider"]


class AiobotocoreCredentialProvider:
    """The credentials of an aiobotocore session.

    The session is asked for them at each call, since what it finds may belong to the loop that it was found
    in; it keeps them itself.

    Args:
        session: A session of aiobotocore; default a new one.
        ttl: How long each answer counts; default 30 minutes. The session renews keys that expire when it is
            asked then.

    Attributes:
        config: Options for the store: the session's region, if it has one.
        session: As given.
        ttl: As given.
    """

    config: S3Config
    session: AioSession
    ttl: timedelta

    def __init__(self, session: AioSession | None = None, *, ttl: timedelta = timedelta(minutes=30)) -> None:
        self.session = get_session() if session is None else session
        region = self.session.get_config_variable("region")
        self.config = {} if region is None else {"region": region}
        self.ttl = ttl

    async def __call__(self) -> S3Credential:
        """Return the session's credentials as they are now.

        Raises:
            ValueError: The session finds no credentials.
        """
        expires_at = datetime.now(UTC) + self.ttl
        credentials = await self.session.get_credentials()
        if credentials is None:
            raise ValueError(
                "Received None from session.get_credentials: aiobotocore finds no credentials in the "
                "environment, the shared files (AWS_PROFILE) or the machine's metadata"
            )
        frozen = await credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires_at,
        }
