"""Settings: what a configuration means, typed and resolved; what a C client is made from.

Invariants: immutable; equal settings mean equal requests, so they may share one client; a repr never shows a
secret. The fields follow the core's `struct s3ext_client_config`, where the core has them.
"""

from __future__ import annotations

from s3ext._kinds import MASK
from s3ext.exceptions import GenericError

# The name is enough for type checkers, and importing typing would cost more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from s3ext._credentials.sources import Sources

__all__ = ["FIELDS", "Settings"]

FIELDS = (
    "access_key_id",
    "allow_http",
    "backoff_base",
    "base_path",
    "bucket",
    "bucket_in_host",
    "ca_pem",
    "checksum_algorithm",
    "concurrency",
    "conditional_put",
    "copy_if_not_exists",
    "connect_timeout_ms",
    "credentials",
    "default_content_type",
    "default_headers",
    "disable_bulk_delete",
    "disable_tagging",
    "express_session",
    "first_byte_timeout_ms",
    "host",
    "http_version",
    "init_backoff_ms",
    "init_backoff_set",
    "lane",
    "max_backoff_ms",
    "max_retries",
    "part_size",
    "pool_idle_timeout_ms",
    "pool_max_idle",
    "probe_ms",
    "proxy_ca_pem",
    "proxy_excludes",
    "proxy_url",
    "randomize_addresses",
    "raw_keys",
    "region",
    "region_may_change",
    "request_payer",
    "retry_timeout_ms",
    "scheme",
    "secret_access_key",
    "server_side_encryption",
    "service",
    "session_token",
    "signature_v2",
    "skip_signature",
    "sources",
    "sse_bucket_key_enabled",
    "sse_customer_key_base64",
    "sse_kms_key_id",
    "stall_timeout_ms",
    "system_certificates",
    "total_timeout_ms",
    "unanswered_ms",
    "unsigned_payload",
    "user_agent",
    "verify_checksums",
    "verify_tls",
)


class Settings:
    """What a configuration means: typed, resolved and immutable. Equal settings may share one C client.

    Times are milliseconds, 0 for no limit; sizes are bytes.

    Attributes:
        scheme: `"https"` or `"http"`.
        host: `host[:port]`; `{region}` in it stands for the region.
        base_path: Path of the endpoint, encoded: `""` or `"/base"`.
        bucket: Name of the bucket, or the ARN of an access point.
        bucket_in_host: Virtual-hosted style: the host names the bucket, the path does not.
        region: Region to sign for.
        service: That requests are signed for: `"s3"`, but for directory buckets and some access points.
        express_session: Requests are signed with the keys of a session of S3 Express.
        region_may_change: The endpoint is AWS's, and a wrong region can be corrected from its answers.
        credentials: `"provider"`, `"static"`, `"none"` (skip_signature without keys) or `"chain"`.
        sources: Where the chain looks for keys; None where it is not needed.
        access_key_id: Static key, or None. Also kept with skip_signature, for presigned URLs.
        secret_access_key: Its secret, or None.
        session_token: Its token, or None.
        signature_v2: Signatures are of version 2.
        skip_signature: Requests are not signed.
        unsigned_payload: Bodies are not part of signatures.
        checksum_algorithm: Of uploads: `"sha256"`, `"sha1"`, `"crc32"`, `"crc32c"`, `"crc64nvme"` or None.
        verify_checksums: Whether whole objects that are read are compared with their checksum.
        server_side_encryption: `"AES256"`, `"aws:kms"`, `"aws:kms:dsse"`, `"sse-c"` or None.
        sse_kms_key_id: Key of KMS, or None for the bucket's.
        sse_bucket_key_enabled: Whether KMS uses a bucket key, or None for what the bucket says.
        sse_customer_key_base64: Key of SSE-C, or None. Secret.
        request_payer: Send `x-amz-request-payer: requester`.
        disable_bulk_delete: Delete one by one.
        disable_tagging: Send no tags.
        raw_keys: Paths are keys, byte for byte.
        conditional_put: `"etag"`, `"disabled"` or `"dynamo:..."`.
        copy_if_not_exists: The mode as the options keep it, such as `"multipart"`; None for none.
        allow_http: Whether `http` is allowed; `check_request` looks at it.
        verify_tls: Whether certificates are verified.
        system_certificates: Whether the system's certificates are trusted.
        ca_pem: More trusted certificates, PEM, or None.
        proxy_ca_pem: The same, given for an https proxy; they count for both.
        connect_timeout_ms: For making a connection.
        first_byte_timeout_ms: From the request to the first byte of the answer.
        stall_timeout_ms: Between two bytes.
        total_timeout_ms: For a request, body included.
        pool_idle_timeout_ms: For which an idle connection is kept.
        pool_max_idle: Idle connections kept for a host, -1 for no limit.
        probe_ms: Silence after which a connection is probed.
        unanswered_ms: For which what was sent may stay unacknowledged.
        http_version: 1 or 2, or 0 for 2 where TLS agrees on it.
        randomize_addresses: Connections spread over all addresses of a host.
        user_agent: User-Agent, or None for the default.
        default_headers: Pairs of name (lower case) and value, sorted; sent and signed with every request.
        default_content_type: Content-Type of uploads that name none, or None.
        proxy_url: Proxy, or None for what the environment says (`_proxies`). May hold a password.
        proxy_excludes: Hosts that bypass it, or None.
        lane: `"auto"`, `"curl"` or `"direct"`.
        part_size: Of parallel reads.
        concurrency: Requests in flight for one host.
        max_retries: Retries of a request.
        retry_timeout_ms: From the first failure.
        init_backoff_ms: First wait, at most.
        max_backoff_ms: Longest wait.
        backoff_base: Factor from wait to wait.
        init_backoff_set: Whether the caller chose an init_backoff other than the default.
    """

    __slots__ = (*FIELDS, "_hash", "_key")

    _key: tuple[object, ...]
    _hash: int
    scheme: str
    host: str
    base_path: str
    bucket: str
    bucket_in_host: bool
    region: str
    region_may_change: bool
    credentials: str
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None
    signature_v2: bool
    skip_signature: bool
    unsigned_payload: bool
    checksum_algorithm: str | None
    verify_checksums: bool
    server_side_encryption: str | None
    sse_kms_key_id: str | None
    sse_bucket_key_enabled: bool | None
    sse_customer_key_base64: str | None
    request_payer: bool
    disable_bulk_delete: bool
    disable_tagging: bool
    raw_keys: bool
    conditional_put: str
    copy_if_not_exists: str | None
    express_session: bool
    service: str
    allow_http: bool
    verify_tls: bool
    system_certificates: bool
    ca_pem: bytes | None
    proxy_ca_pem: bytes | None
    connect_timeout_ms: int
    first_byte_timeout_ms: int
    stall_timeout_ms: int
    total_timeout_ms: int
    pool_idle_timeout_ms: int
    pool_max_idle: int
    probe_ms: int
    unanswered_ms: int
    http_version: int
    randomize_addresses: bool
    user_agent: str | None
    default_headers: tuple[tuple[bytes, bytes], ...]
    default_content_type: str | None
    proxy_url: str | None
    proxy_excludes: str | None
    lane: str
    part_size: int
    concurrency: int
    max_retries: int
    retry_timeout_ms: int
    init_backoff_ms: int
    max_backoff_ms: int
    backoff_base: float
    init_backoff_set: bool
    sources: Sources | None

    def __init__(self, values: Mapping[str, object]) -> None:
        # The values once more, as one tuple: settings are keys of a dict, and hashed for every operation.
        values = {**values, "_key": tuple(values[name] for name in FIELDS)}
        for name in (*FIELDS, "_key"):
            object.__setattr__(self, name, values[name])
        object.__setattr__(self, "_hash", hash(self._key))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"settings cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"settings cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Settings) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        hidden = {
            "secret_access_key",
            "session_token",
            "sse_customer_key_base64",
            "default_headers",
            "proxy_url",
        }
        shown_values = (
            f"{name}={MASK if name in hidden and getattr(self, name) else repr(getattr(self, name))}"
            for name in FIELDS
        )
        return f"Settings({', '.join(shown_values)})"

    def changed(self, **values: object) -> Settings:
        """Return settings that differ in some fields."""
        return Settings({**{name: getattr(self, name) for name in FIELDS}, **values})

    def check_request(self) -> None:
        """Make sure that requests can be sent at all; to be called before the first one.

        A store whose requests must fail can be made, as in obstore.

        Raises:
            GenericError: The endpoint is http, without allow_http, or although a customer's key would go to
                AWS.
        """
        if self.scheme == "http" and not self.allow_http:
            raise GenericError(
                f"Generic S3 error: the endpoint http://{self.host} has no TLS; "
                f'allow it with client_options={{"allow_http": True}} or AWS_ALLOW_HTTP=true',
                bucket=self.bucket,
            )
        # The customer's key would go in the clear. S3 refuses that, but only when it has the key already.
        if self.server_side_encryption == "sse-c" and self.scheme == "http" and self.region_may_change:
            raise GenericError(
                f"Generic S3 error: server_side_encryption='sse-c' needs an https endpoint at AWS, "
                f"not http://{self.host}",
                bucket=self.bucket,
            )
