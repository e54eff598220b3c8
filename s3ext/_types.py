"""The types that users name in their own signatures: configurations, credentials, options and results.

They are importable at run time. `s3ext.store` and `s3ext` load this module only when one of the names is
asked for, because importing typing takes longer than importing all the rest of the package's Python.

The keys of `S3Config` and `ClientConfig` are the canonical names of the option table in `_options.py`, where
each is explained; a test holds the two together.
"""

# ruff: noqa: PYI051, TC003 - literals beside str help editors; the types must be there for get_type_hints()

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, NotRequired, Protocol, TypeAlias, TypedDict, TypeVar

__all__ = [
    "Attribute",
    "Attributes",
    "BackoffConfig",
    "ClientConfig",
    "GetOptions",
    "ListChunkType",
    "ListResult",
    "ObjectMeta",
    "OffsetRange",
    "PutMode",
    "PutResult",
    "RetryConfig",
    "S3ChecksumAlgorithm",
    "S3Config",
    "S3Credential",
    "S3CredentialProvider",
    "S3EncryptionAlgorithm",
    "S3Keywords",
    "S3Regions",
    "SuffixRange",
    "UpdateVersion",
]

S3Regions: TypeAlias = Literal[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
]
"""Regions of AWS, for completion in editors; any other str is a region too."""

S3ChecksumAlgorithm: TypeAlias = Literal[
    "SHA256", "sha256", "CRC64NVME", "crc64nvme", "SHA1", "sha1", "CRC32", "crc32", "CRC32C", "crc32c"
]
"""Checksums that S3 verifies on upload."""

S3EncryptionAlgorithm: TypeAlias = Literal["AES256", "aws:kms", "aws:kms:dsse", "sse-c"]
"""Values of `server_side_encryption`."""


class S3Keywords(TypedDict, total=False):
    """S3 options as keyword arguments of a store, whose constructor names `bucket` by itself."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    region: S3Regions | str
    default_region: S3Regions | str
    endpoint: str
    endpoint_url_s3: str
    aws_endpoint_url_s3: str
    virtual_hosted_style_request: bool | str
    s3_express: bool | str
    imdsv1_fallback: bool | str
    metadata_endpoint: str
    unsigned_payload: bool | str
    checksum_algorithm: S3ChecksumAlgorithm | str
    container_credentials_relative_uri: str
    container_credentials_full_uri: str
    container_authorization_token_file: str
    web_identity_token_file: str
    role_arn: str
    role_session_name: str
    endpoint_url_sts: str
    sts_endpoint: str
    skip_signature: bool | str
    copy_if_not_exists: Literal["multipart"] | str
    conditional_put: str
    disable_tagging: bool | str
    disable_bulk_delete: bool | str
    request_payer: bool | str
    server_side_encryption: S3EncryptionAlgorithm | str
    sse_kms_key_id: str
    sse_bucket_key_enabled: bool | str
    sse_customer_key_base64: str
    raw_keys: bool | str


class S3Config(S3Keywords, total=False):
    """S3 options of a store: what `config=` takes and `.config` shows."""

    bucket: str


class ClientConfig(TypedDict, total=False):
    """Options of connections and requests: what `client_options=` takes.

    Durations are timedeltas, numbers of seconds, or text such as `"30s"`, `"2h 37min"` or `"250ms"`.
    """

    allow_http: bool | str
    allow_invalid_certificates: bool | str
    disable_system_certificates: bool | str
    root_certificate: str | bytes
    connect_timeout: str | timedelta | float
    timeout: str | timedelta | float
    read_timeout: str | timedelta | float
    pool_idle_timeout: str | timedelta | float
    pool_max_idle_per_host: str | int
    http1_only: bool | str
    http2_only: bool | str
    http2_keep_alive_interval: str | timedelta | float
    http2_keep_alive_timeout: str | timedelta | float
    http2_keep_alive_while_idle: bool | str
    http2_max_frame_size: str | int
    proxy_url: str
    proxy_ca_certificate: str | bytes
    proxy_excludes: str
    randomize_addresses: bool | str
    user_agent: str
    default_content_type: str
    default_headers: Mapping[str, str] | Mapping[str, bytes] | Mapping[str, str | bytes]
    lane: Literal["auto", "curl", "direct"]
    part_size: str | int
    concurrency: str | int


class BackoffConfig(TypedDict, total=False):
    """Waits between retries: a random time up to `init_backoff * base**n`, at most `max_backoff`."""

    init_backoff: timedelta
    """Default 100 ms. Where it is not set, waits after a throttle count from at least 1 s."""
    max_backoff: timedelta
    """Default 15 s."""
    base: int | float
    """Default 2; above 1."""


class RetryConfig(TypedDict, total=False):
    """How failed requests are retried."""

    backoff: BackoffConfig
    max_retries: int
    """Default 10; 0 for none."""
    retry_timeout: timedelta
    """Time after the first failure in which retries may start. Default 180 s."""


class S3Credential(TypedDict):
    """What a credential provider returns."""

    access_key_id: str
    secret_access_key: str
    token: NotRequired[str | None]
    expires_at: datetime | None
    """With a time zone; None if the credential never expires."""


class S3CredentialProvider(Protocol):
    """A callable that gives credentials, at once or as a coroutine.

    It may have two attributes: `config`, a dict of S3 options that any other place overrides but the
    environment, and `refresh_threshold`, a timedelta: with less than that left (default 300 s), it is called
    again.
    """

    def __call__(self) -> S3Credential | Coroutine[Any, Any, S3Credential]:
        """Return credentials."""


class OffsetRange(TypedDict):
    """All bytes from an offset."""

    offset: int


class SuffixRange(TypedDict):
    """The last bytes."""

    suffix: int


class GetOptions(TypedDict, total=False):
    """Options of get; unknown keys are ignored."""

    if_match: str | None
    """ETags, with their quotes, one of which the object must have."""
    if_none_match: str | None
    """ETags, with their quotes, none of which the object may have."""
    if_modified_since: datetime | None
    if_unmodified_since: datetime | None
    range: tuple[int, int] | Sequence[int] | OffsetRange | SuffixRange
    """Start and end (exclusive), or a dict."""
    version: str | None
    head: bool


class ObjectMeta(TypedDict):
    """What is known of an object."""

    path: str
    last_modified: datetime
    size: int
    """Bytes."""
    e_tag: str | None
    """With its quotes."""
    version: str | None


class PutResult(TypedDict):
    """What a put gives back."""

    e_tag: str | None
    version: str | None


class UpdateVersion(TypedDict, total=False):
    """The version of an object that a put is to replace."""

    e_tag: str | None
    version: str | None


PutMode: TypeAlias = Literal["create", "overwrite"] | UpdateVersion
"""What a put does with an object that exists."""

Attribute: TypeAlias = (
    Literal[
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Cache-Control",
        "Storage-Class",
    ]
    | str
)
"""A header of an object, or the name of user metadata."""

Attributes: TypeAlias = dict[Attribute, str]
"""Attributes of an object."""

ListChunkType = TypeVar("ListChunkType", covariant=True)  # noqa: PLC0105 - obstore's name
"""What a listing gives: a list of ObjectMeta or a record batch."""


class ListResult(TypedDict, Generic[ListChunkType]):
    """One level of a listing."""

    common_prefixes: Sequence[str]
    """The "directories", sorted, without a `/` at the end."""
    objects: ListChunkType
