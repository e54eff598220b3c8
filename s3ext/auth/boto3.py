"""What boto3 finds, as credential providers: of a session (profiles, SSO, roles, instances), and of STS.

Both work with sync and async calls of a store. Botocore renews what it can by itself, when it is asked; a
provider here is asked when the keys that it gave near their `expires_at`, and when the server no longer takes
them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from s3ext.auth import missing

try:
    import boto3  # type: ignore[import-untyped]
    import boto3.session  # type: ignore[import-untyped]
except ImportError as error:
    raise missing(__name__, error) from None

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NotRequired, TypedDict, Unpack

    import botocore.credentials  # type: ignore[import-untyped]
    import botocore.session  # type: ignore[import-untyped]

    from s3ext.store import S3Config, S3Credential

    class PolicyDescriptor(TypedDict):
        """A managed policy for the session."""

        arn: NotRequired[str]

    class Tag(TypedDict):
        """A tag of the session."""

        Key: str
        Value: str

    class ProvidedContext(TypedDict):
        """What a trusted provider asserts about the session."""

        ProviderArn: NotRequired[str]
        ContextAssertion: NotRequired[str]

    class AssumeRole(TypedDict):
        """The arguments of STS's AssumeRole (AWS, "AssumeRole")."""

        RoleArn: str
        RoleSessionName: str
        PolicyArns: NotRequired[Sequence[PolicyDescriptor]]
        Policy: NotRequired[str]
        DurationSeconds: NotRequired[int]
        Tags: NotRequired[Sequence[Tag]]
        TransitiveTagKeys: NotRequired[Sequence[str]]
        ExternalId: NotRequired[str]
        SerialNumber: NotRequired[str]
        TokenCode: NotRequired[str]
        SourceIdentity: NotRequired[str]
        ProvidedContexts: NotRequired[Sequence[ProvidedContext]]


__all__ = ["Boto3CredentialProvider", "StsCredentialProvider"]


class Boto3CredentialProvider:
    """The credentials of a boto3 session.

    Args:
        session: A session of boto3 or botocore; default a new one of boto3.
        ttl: How long each answer counts; default 30 minutes. Botocore renews keys that expire when it is
            asked then.

    Attributes:
        config: Options for the store: the session's region, if it is one of boto3 and has one.
        credentials: Those of botocore, frozen anew for each answer.
        ttl: As given.

    Raises:
        ValueError: The session finds no credentials.
    """

    config: S3Config
    credentials: botocore.credentials.Credentials
    ttl: timedelta

    def __init__(
        self,
        session: boto3.session.Session | botocore.session.Session | None = None,
        *,
        ttl: timedelta = timedelta(minutes=30),
    ) -> None:
        used = boto3.Session() if session is None else session
        credentials = used.get_credentials()
        if credentials is None:
            raise ValueError(
                "Received None from session.get_credentials: boto3 finds no credentials in the environment, "
                "the shared files (AWS_PROFILE) or the machine's metadata"
            )
        self.config = _config(used)
        self.credentials = credentials
        self.ttl = ttl

    def __call__(self) -> S3Credential:
        """Return the session's credentials as they are now."""
        expires_at = datetime.now(UTC) + self.ttl
        frozen = self.credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires_at,
        }


class StsCredentialProvider:
    """Credentials of a role: each answer is a new session of STS's AssumeRole.

    Args:
        session: The boto3 session that assumes the role; default a new one.
        **kwargs: The arguments of AssumeRole: `RoleArn`, `RoleSessionName`, `DurationSeconds` and others.

    Attributes:
        config: Options for the store: the session's region, if it has one.
        session: As given.
        kwargs: As given.
    """

    config: S3Config
    session: boto3.session.Session
    kwargs: AssumeRole

    def __init__(
        self,
        session: boto3.session.Session | None = None,
        **kwargs: Unpack[AssumeRole],
    ) -> None:
        if session is None:
            session = boto3.Session()
        self.config = _config(session)
        self.session = session
        self.kwargs = kwargs

    def __call__(self) -> S3Credential:
        """Assume the role.

        Raises:
            ValueError: The answer's time of expiry has no time zone.
        """
        found = self.session.client("sts").assume_role(**self.kwargs)["Credentials"]
        expires_at: datetime = found["Expiration"]
        if expires_at.tzinfo is None:
            raise ValueError("the Expiration in the answer of STS has no time zone")
        return {
            "access_key_id": found["AccessKeyId"],
            "secret_access_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expires_at": expires_at,
        }


def _config(session: object) -> S3Config:
    if isinstance(session, boto3.Session) and session.region_name is not None:
        return {"region": session.region_name}
    return {}
