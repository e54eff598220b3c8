"""The types that users name in their own signatures: configurations, credentials, options and results.

They are importable at run time. `s3ext.store` and `s3ext` load this module only when one of the names is
asked for, because importing typing takes longer than importing all the rest of the package's Python.

The keys of `S3Config` and `ClientConfig` are the canonical names of the option table in `_options.py`; a test
holds the two together.
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
    "FullBackoff",
    "FullRetry",
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
    "S3Options",
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


class S3Options(TypedDict, total=False):
    """S3 options of a store, but for the bucket.

    Flags are bools or text such as `"true"` and `"no"`.
    """

    access_key_id: str
    """Access key; it goes with `secret_access_key`."""
    secret_access_key: str
    """Secret of the access key."""
    session_token: str
    """Token of temporary keys."""
    profile: str
    """Profile of AWS's files or of s3cfg to take keys from."""
    region: S3Regions | str
    """Region of the bucket; default `"us-east-1"`."""
    default_region: S3Regions | str
    """Region where nothing else says one; that of the environment comes first."""
    endpoint: str
    """URL of the server; default AWS. With virtual hosting the bucket is in its host name."""
    endpoint_url_s3: str
    """Like `endpoint`, and stronger."""
    aws_endpoint_url_s3: str
    """`endpoint_url_s3`, as obstore spells it."""
    host: str
    """Server as `"<host>[:<port>]"`, where no endpoint is named."""
    scheme: Literal["https", "http"] | str
    """Scheme of requests; default the endpoint's, else `"https"`."""
    virtual_hosted_style_request: bool | str
    """Whether the bucket is named in the host; default False: in the path."""
    addressing_style: Literal["auto", "path", "virtual"] | str
    """Where the bucket is named: in the path (default), before the endpoint's host, or there if it fits."""
    use_accelerate_endpoint: bool | str
    """Whether transfer acceleration is used; default False."""
    use_dualstack_endpoint: bool | str
    """Whether endpoints with IPv6 are used; default False."""
    use_fips_endpoint: bool | str
    """Whether endpoints that meet FIPS 140 are used; default False."""
    use_arn_region: bool | str
    """Whether the region of an access point's ARN replaces another one; default True."""
    ignore_configured_endpoint_urls: bool | str
    """Whether endpoint URLs of the environment and of profiles are ignored; default False."""
    signature_version: Literal["v4", "v2"] | str
    """Version of the signature; default `"v4"`."""
    s3_express: bool | str
    """Whether this is a directory bucket of S3 Express One Zone; default False."""
    imdsv1_fallback: bool | str
    """Whether version 1 of the instance metadata service will do; default False."""
    metadata_endpoint: str
    """URL of the instance metadata service; default `"http://169.254.169.254"`."""
    unsigned_payload: bool | str
    """Whether bodies are left out of the signature, which saves hashing them; default False."""
    checksum_algorithm: S3ChecksumAlgorithm | str
    """Checksum that goes with uploads; default none."""
    verify_checksums: bool | str
    """Whether whole objects that are read are compared with their checksum; default False."""
    container_credentials_relative_uri: str
    """Path of the credentials of a container of ECS."""
    container_credentials_full_uri: str
    """URL of the credentials of a container."""
    container_authorization_token_file: str
    """File whose content authorises the request for them."""
    web_identity_token_file: str
    """File with a web identity token, with `role_arn`."""
    role_arn: str
    """Role to assume with that token."""
    role_session_name: str
    """Name of its session; default `"WebIdentitySession"`."""
    endpoint_url_sts: str
    """URL of the token service; default `https://sts.{region}.amazonaws.com`."""
    sts_endpoint: str
    """`endpoint_url_sts`, as obstore's documentation spells it."""
    skip_signature: bool | str
    """Whether requests go unsigned, for public buckets; default False."""
    copy_if_not_exists: Literal["multipart"] | str
    """How `copy(overwrite=False)` is done: `"multipart"`, `"header:NAME:VALUE"`,
    `"header-with-status:NAME:VALUE:STATUS"` or `"dynamo:TABLE[:TIMEOUT_MS]"`; default: it is not."""
    conditional_put: Literal["etag", "disabled"] | str
    """How puts with the mode `"create"` or an ETag are done: `"etag"` (default), `"disabled"` or
    `"dynamo:TABLE[:TIMEOUT_MS]"`."""
    disable_tagging: bool | str
    """Whether tags are left out of uploads, for servers that know none; default False."""
    disable_bulk_delete: bool | str
    """Whether many objects are deleted one by one, for servers without DeleteObjects; default False."""
    request_payer: bool | Literal["requester", "REQUESTER"] | str
    """Whether the requester agrees to pay; default False."""
    server_side_encryption: S3EncryptionAlgorithm | str
    """How S3 encrypts what is uploaded; default: as the bucket says."""
    sse_kms_key_id: str
    """Key of KMS, with the encryption `"aws:kms"` or `"aws:kms:dsse"`."""
    sse_bucket_key_enabled: bool | str
    """Whether KMS is asked for one key for the whole bucket."""
    sse_customer_key_base64: str
    """Key of 256 bits, in base64, with the encryption `"sse-c"`; reads need it too."""
    raw_keys: bool | str
    """Whether keys are taken byte for byte, without the rules of paths; default False."""


class S3Config(S3Options, total=False):
    """S3 options of a store: what `config=` takes and `.config` shows."""

    bucket: str
    """Name of the bucket."""


class ClientConfig(TypedDict, total=False):
    """Options of connections and requests: what `client_options=` takes.

    Durations are timedeltas, numbers of seconds, or text such as `"30s"`, `"2h 37min"` or `"250ms"`.
    """

    allow_http: bool | str
    """Whether an endpoint may be without TLS; default False."""
    allow_invalid_certificates: bool | str
    """Whether any certificate will do, which makes TLS worthless; default False."""
    disable_system_certificates: bool | str
    """Whether only `root_certificate` is trusted; default False."""
    root_certificate: str | bytes
    """Certificates that are trusted as well, PEM, one after the other."""
    connect_timeout: str | timedelta | float
    """Time in which a connection must be made; default 5 s."""
    timeout: str | timedelta | float
    """Time for a whole request, its body included; default: no limit."""
    read_timeout: str | timedelta | float
    """Time in which something must arrive, the first byte or the next; default 30 s."""
    pool_idle_timeout: str | timedelta | float
    """Time that a connection is kept without use; default 15 s."""
    pool_max_idle_per_host: str | int
    """Connections that are kept without use, for each host; default: no limit."""
    http1_only: bool | str
    """Whether HTTP/2 is never offered; default True."""
    http2_only: bool | str
    """Whether HTTP/2 is spoken from the start; default False."""
    http2_keep_alive_interval: str | timedelta | float
    """Silence after which a connection is probed."""
    http2_keep_alive_timeout: str | timedelta | float
    """Time after which a connection whose probe goes unanswered ends."""
    http2_keep_alive_while_idle: bool | str
    """Whether connections without use are probed too."""
    http2_max_frame_size: str | int
    """Accepted for obstore's sake; bytes of a frame of HTTP/2."""
    proxy_url: str
    """Proxy for all requests, HTTP or SOCKS; default: that of the environment."""
    proxy_ca_certificate: str | bytes
    """Certificates that are trusted for a proxy over https, PEM."""
    proxy_excludes: str
    """Hosts that are reached without the proxy, as in `NO_PROXY`."""
    randomize_addresses: bool | str
    """Whether connections spread over all addresses of a host; default True."""
    user_agent: str
    """The User-Agent header; default `s3ext/<version>`."""
    default_content_type: str
    """Content-Type of uploads that name none."""
    default_headers: Mapping[str, str] | Mapping[str, bytes] | Mapping[str, str | bytes]
    """Headers of every request; they are signed."""
    lane: Literal["auto", "curl", "direct"]
    """Who carries requests: libcurl, the core's own HTTP/1.1, or what fits best (`"auto"`, the default)."""
    part_size: str | int
    """Bytes of the parallel parts of a large read; default 8 MiB."""
    concurrency: str | int
    """Requests in flight for a host, in the whole process; default 64."""


class S3Keywords(S3Options, ClientConfig, total=False):
    """What a store's constructor takes as keyword arguments; `bucket` is a parameter of its own."""


class OpenOptions(TypedDict, total=False):
    """What `S3Store.open` takes as keyword arguments."""

    buffering: int
    """0 to read without a buffer, 1 for text by lines; else the bytes of the buffer."""
    encoding: str | None
    """Encoding of text."""
    errors: str | None
    """What is done about what is no such text."""
    newline: str | None
    """How line ends are read and written."""
    block_size: int | None
    """Bytes that a request brings at least, or bytes of a part."""
    version: str | None
    """The version to read."""


class OpenUrlOptions(S3Keywords, total=False):
    """What `s3ext.open` takes as keyword arguments: options of files, and those of stores."""

    buffering: int
    """As for `S3Store.open`; and so on."""
    encoding: str | None
    errors: str | None
    newline: str | None
    block_size: int | None
    config: S3Config | None
    client_options: ClientConfig | None
    retry_config: RetryConfig | None
    credential_provider: S3CredentialProvider | None


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
    """How long to wait before each retry."""
    max_retries: int
    """Default 10; 0 for none."""
    retry_timeout: timedelta
    """Time after the first failure in which retries may start. Default 180 s."""


class FullBackoff(TypedDict):
    """A BackoffConfig with every key."""

    init_backoff: timedelta
    """First wait, at most."""
    max_backoff: timedelta
    """Longest wait."""
    base: int | float
    """Factor from wait to wait."""


class FullRetry(TypedDict):
    """A RetryConfig with every key."""

    backoff: FullBackoff
    """How long to wait before each retry."""
    max_retries: int
    """Retries of a request."""
    retry_timeout: timedelta
    """Time after the first failure in which retries may start."""


class S3Credential(TypedDict):
    """What a credential provider returns."""

    access_key_id: str
    """Access key."""
    secret_access_key: str
    """Its secret."""
    token: NotRequired[str | None]
    """Token of temporary keys."""
    expires_at: datetime | None
    """With a time zone; None if the credential never expires."""


class S3CredentialProvider(Protocol):
    """A callable that gives credentials, at once or as a coroutine or other awaitable.

    It is called on a thread of its own, once for all requests that wait, and has 60 s for its answer; an
    awaitable is run in the event loop that last used the store, or in a loop of that thread. What it raises,
    an answer that is no credential or has expired, and an answer that is late are an UnauthenticatedError for
    those who wait; the next request calls it again.

    It may have two attributes: `config`, a dict of S3 options that any other place overrides but the
    environment, and `refresh_threshold`, a timedelta: with less than that left (default 300 s), it is called
    again.
    """

    def __call__(self) -> S3Credential | Coroutine[Any, Any, S3Credential]:
        """Return credentials."""
        ...  # pyright takes a text alone for a body that returns None


class OffsetRange(TypedDict):
    """All bytes from an offset."""

    offset: int
    """First byte that is wanted."""


class SuffixRange(TypedDict):
    """The last bytes."""

    suffix: int
    """Number of bytes, from the end."""


class GetOptions(TypedDict, total=False):
    """Options of get; unknown keys are ignored."""

    if_match: str | None
    """ETags, with their quotes, one of which the object must have."""
    if_none_match: str | None
    """ETags, with their quotes, none of which the object may have."""
    if_modified_since: datetime | None
    """Time with a time zone; the object must have changed since."""
    if_unmodified_since: datetime | None
    """Time with a time zone; the object must not have changed since."""
    range: tuple[int, int] | Sequence[int] | OffsetRange | SuffixRange
    """Start and end (exclusive), or a dict."""
    version: str | None
    """Version of the object, in a versioned bucket."""
    head: bool
    """Whether only the metadata is wanted."""


class ObjectMeta(TypedDict):
    """What is known of an object."""

    path: str
    """Relative to the store's prefix."""
    last_modified: datetime
    """In UTC."""
    size: int
    """Bytes of the whole object."""
    e_tag: str | None
    """With its quotes."""
    version: str | None
    """In a versioned bucket; None in listings."""


class PutResult(TypedDict):
    """What a put gives back."""

    e_tag: str | None
    """With its quotes."""
    version: str | None
    """In a versioned bucket."""


class UpdateVersion(TypedDict, total=False):
    """The version of an object that a put is to replace."""

    e_tag: str | None
    """With its quotes, as a PutResult or an ObjectMeta has it; S3 needs it."""
    version: str | None
    """Accepted for obstore's sake; S3 does not look at it."""


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
    """The objects of the level."""
