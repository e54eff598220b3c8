"""The options: one table that says of each its name, spellings, environment variables, kind and default.

Keyword arguments, `config=`, `client_options=`, `retry_config=`, the environment, `.config`, pickling, the
typed dictionaries and the README's table all follow it. What of them counts is said in `_given.py`, what it
means in `_configuration.py`, how a value is written in `_kinds.py`.

Effects: `NOW` is built. `HARMLESS` is accepted and without effect so far, and no result is wrong for that.
"""

from __future__ import annotations

from s3ext._kinds import (
    Base,
    Base64Key,
    Certificates,
    CertificateText,
    Choice,
    Count,
    Duration,
    Flag,
    Headers,
    Kind,
    Latin,
    Mode,
    Path,
    Payer,
    Proxy,
    Secret,
    Span,
    Url,
    Whole,
)

# The name is enough for type checkers, and importing typing would cost more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BY_NAME",
    "CLIENT",
    "CLIENT_KEYS",
    "CONFIG_KEYS",
    "HARMLESS",
    "NOW",
    "OPTIONS",
    "PRESENCE",
    "RETRY",
    "RETRY_KEYS",
    "S3",
    "VARIABLES",
    "Option",
]

NOW = "now"
HARMLESS = "harmless"

S3 = "s3"
CLIENT = "client"
RETRY = "retry"


class Option:
    """One row of the table.

    Attributes:
        name: The canonical name, as `.config` shows it.
        section: `"s3"`, `"client"` or `"retry"`.
        kind: How values are written and read.
        aliases: Every spelling that keyword arguments and `config=` take, in lower case, the canonical first.
        environment: Every environment variable, the strongest first.
        default: The default, as one would write it; None if the option is off or has none.
        effect: `NOW` or `HARMLESS`, see the top of this file.
        ours: Whether obstore lacks the option; such options are not in `__getnewargs_ex__`.
        obstore_name: The spelling that obstore takes.
        doc: What the option does.
        differs: Where obstore does something else.
    """

    __slots__ = (
        "aliases",
        "default",
        "differs",
        "doc",
        "effect",
        "environment",
        "kind",
        "name",
        "obstore_name",
        "ours",
        "section",
    )

    def __init__(
        self,
        section: str,
        name: str,
        kind: Kind,
        doc: str,
        *,
        aliases: Iterable[str] = (),
        environment: tuple[str, ...] | None = None,
        default: str | None = None,
        effect: str = NOW,
        ours: bool = False,
        obstore_name: str = "",
        differs: str = "",
    ) -> None:
        self.section = section
        self.name = name
        self.kind = kind
        self.doc = doc
        self.differs = differs
        self.default = default
        self.effect = effect
        self.ours = ours
        self.obstore_name = obstore_name or name
        # The AWS_ names of obstore are its config keys in upper case, so spellings and variables are one
        # list.
        short = (name, *aliases)
        self.aliases = short if ours else tuple(spelling for key in short for spelling in (key, f"aws_{key}"))
        if environment is None:
            environment = tuple(key.upper() for key in self.aliases if key.startswith("aws_"))
        self.environment = environment

    @property
    def secret(self) -> bool:
        """Whether no part of the value may be shown."""
        return isinstance(self.kind, Secret)

    def __repr__(self) -> str:
        return f"<option {self.section}.{self.name}>"


_TEXT = Kind()
_URL = Url()
_SECRET = Secret()
_FLAG = Flag()
_DURATION = Duration()
_WHOLE = Whole()

OPTIONS: tuple[Option, ...] = (
    Option(S3, "access_key_id", _TEXT, "Access key. Goes with secret_access_key."),
    Option(S3, "secret_access_key", _SECRET, "Secret of the access key."),
    Option(
        S3,
        "session_token",
        _SECRET,
        "Token of temporary keys; empty means none.",
        aliases=("token",),
        differs="Empty is a token.",
    ),
    Option(
        S3,
        "profile",
        _TEXT,
        "Profile of AWS's files or s3cfg to take keys from; stronger than keys of the environment.",
        ours=True,
        environment=(),
    ),
    Option(S3, "region", _TEXT, "Region of the bucket.", default="us-east-1"),
    Option(S3, "default_region", _TEXT, "Region to use where none is set; the environment's comes first."),
    Option(S3, "bucket", _TEXT, "Name of the bucket. Required.", aliases=("bucket_name",)),
    Option(
        S3,
        "endpoint",
        _URL,
        "URL of the server, with the bucket in its host name for virtual hosting; a path is kept."
        " Default: AWS.",
        aliases=("endpoint_url",),
        environment=("AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    ),
    Option(
        S3,
        "endpoint_url_s3",
        _URL,
        "Like endpoint, and stronger; but an endpoint in code is stronger than this one in the environment.",
        obstore_name="aws_endpoint_url_s3",
        differs="Only as `aws_endpoint_url_s3`; the variable beats an endpoint in code.",
    ),
    Option(
        S3,
        "host",
        _URL,
        "Server as `<host>[:<port>]`, where no endpoint is named.",
        ours=True,
        environment=("HTS_S3_HOST",),
    ),
    Option(
        S3,
        "scheme",
        Choice("scheme", ("https", "http"), fold=True),
        "Scheme of requests; http implies allow_http. `s3+http://` and `s3+https://` URLs set it. An"
        " endpoint must agree with it. Default: the endpoint's, else https.",
        ours=True,
        environment=(),
    ),
    Option(
        S3,
        "virtual_hosted_style_request",
        _FLAG,
        "Name the bucket in the host, not in the path.",
        default="false",
    ),
    Option(
        S3,
        "addressing_style",
        Choice("addressing style", ("auto", "path", "virtual"), fold=True),
        "Where the bucket is named: path, virtual (before the host), or auto: virtual where it fits.",
        ours=True,
        environment=("HTS_S3_ADDRESS_STYLE",),
    ),
    Option(
        S3,
        "use_accelerate_endpoint",
        _FLAG,
        "Use transfer acceleration.",
        default="false",
        ours=True,
        environment=(),
    ),
    Option(
        S3,
        "use_dualstack_endpoint",
        _FLAG,
        "Use endpoints with IPv6.",
        default="false",
        ours=True,
        environment=("AWS_USE_DUALSTACK_ENDPOINT",),
    ),
    Option(
        S3,
        "use_fips_endpoint",
        _FLAG,
        "Use endpoints that meet FIPS 140.",
        default="false",
        ours=True,
        environment=("AWS_USE_FIPS_ENDPOINT",),
    ),
    Option(
        S3,
        "use_arn_region",
        _FLAG,
        "Take the region from an access point's ARN. One in code must agree, unless this is in code.",
        default="true",
        ours=True,
        environment=("AWS_S3_USE_ARN_REGION",),
    ),
    Option(
        S3,
        "ignore_configured_endpoint_urls",
        _FLAG,
        "Ignore endpoint URLs of the environment and of profiles.",
        default="false",
        ours=True,
        environment=("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",),
    ),
    Option(
        S3,
        "signature_version",
        Choice("signature version", ("v4", "v2"), fold=True),
        "Version of the signature: v4, or v2 for servers that know no other. HTS_S3_V2 of any value is v2.",
        default="v4",
        ours=True,
        environment=("HTS_S3_V2",),
    ),
    Option(
        S3,
        "s3_express",
        _FLAG,
        "The bucket is a directory bucket of S3 Express One Zone; its name tells the zone.",
        default="false",
    ),
    Option(
        S3,
        "imdsv1_fallback",
        _FLAG,
        "Fall back to version 1 of the instance metadata service.",
        default="false",
    ),
    Option(
        S3,
        "metadata_endpoint",
        _URL,
        "URL of the instance metadata service.",
        default="http://169.254.169.254",
    ),
    Option(
        S3,
        "unsigned_payload",
        _FLAG,
        "Leave bodies out of the signature, which saves hashing them.",
        default="false",
    ),
    Option(
        S3,
        "checksum_algorithm",
        Choice("checksum algorithm", ("sha256", "crc64nvme", "sha1", "crc32", "crc32c"), fold=True),
        "Checksum to send with uploads: sha256, sha1, crc32, crc32c or crc64nvme.",
        differs="No sha1, crc32, crc32c.",
    ),
    Option(
        S3,
        "verify_checksums",
        _FLAG,
        "Compare whole objects that are read with the checksum that the server keeps of them.",
        default="false",
        ours=True,
        environment=("S3EXT_VERIFY_CHECKSUMS",),
    ),
    Option(
        S3,
        "container_credentials_relative_uri",
        _URL,
        "Path of the container credentials (ECS).",
    ),
    Option(
        S3,
        "container_credentials_full_uri",
        _URL,
        "URL of the container credentials (EKS Pod Identity and others).",
    ),
    Option(
        S3,
        "container_authorization_token_file",
        Path(),
        "File with the token for the container credentials.",
    ),
    Option(
        S3,
        "web_identity_token_file",
        Path(),
        "File with the web identity token, with role_arn.",
    ),
    Option(S3, "role_arn", _TEXT, "Role to assume with the web identity token."),
    Option(
        S3,
        "role_session_name",
        _TEXT,
        "Session name for role_arn.",
        default="WebIdentitySession",
    ),
    Option(
        S3,
        "endpoint_url_sts",
        _URL,
        "URL of the token service. Default: https://sts.{region}.amazonaws.com.",
        aliases=("sts_endpoint",),
        differs="No `sts_endpoint`.",
    ),
    Option(S3, "skip_signature", _FLAG, "Do not sign requests and use no credentials.", default="false"),
    Option(
        S3,
        "copy_if_not_exists",
        Mode("S3CopyIfNotExists", ("multipart",), header=True),
        "How copy(overwrite=False) is done: multipart, header:, header-with-status: or dynamo:.",
        differs="No `dynamo:`.",
    ),
    Option(
        S3,
        "conditional_put",
        Mode("S3PutConditional", ("etag", "disabled"), header=False),
        "How put with a mode is done: etag, disabled or dynamo:.",
        default="etag",
        differs="No `dynamo:`.",
    ),
    Option(S3, "disable_tagging", _FLAG, "Send no tags with uploads.", default="false"),
    Option(
        S3,
        "disable_bulk_delete",
        _FLAG,
        "Delete objects one by one, for servers without DeleteObjects.",
        default="false",
    ),
    Option(
        S3,
        "request_payer",
        Payer(),
        "Agree to pay for requests to a requester-pays bucket.",
        aliases=("requester_pays",),
        default="false",
        differs="No `requester_pays`.",
    ),
    Option(
        S3,
        "server_side_encryption",
        Choice("encryption type", ("AES256", "aws:kms", "aws:kms:dsse", "sse-c")),
        "Encryption of uploads: AES256, aws:kms, aws:kms:dsse or sse-c.",
    ),
    Option(
        S3,
        "sse_kms_key_id",
        _TEXT,
        "KMS key, with aws:kms or aws:kms:dsse.",
        differs="Taken without such a mode.",
    ),
    Option(
        S3,
        "sse_bucket_key_enabled",
        _FLAG,
        "Use a bucket key with KMS.",
        differs="Taken without such a mode.",
    ),
    Option(
        S3,
        "sse_customer_key_base64",
        Base64Key(),
        "Key of 256 bits, with sse-c.",
        differs="Taken without `sse-c`.",
    ),
    Option(
        S3,
        "raw_keys",
        _FLAG,
        "Take keys byte for byte, and list them so: `a//b`, `../x`, `a/`, control characters; not a prefix.",
        default="false",
        ours=True,
        environment=(),
    ),
    Option(CLIENT, "allow_http", _FLAG, "Allow endpoints without TLS.", default="false"),
    Option(
        CLIENT,
        "allow_invalid_certificates",
        _FLAG,
        "Accept any certificate, of an https proxy too. Dangerous.",
        default="false",
    ),
    Option(
        CLIENT,
        "disable_system_certificates",
        _FLAG,
        "Trust only root_certificate.",
        default="false",
    ),
    Option(
        CLIENT,
        "root_certificate",
        Certificates(),
        "PEM certificates to trust as well; several may follow each other.",
        environment=(),
    ),
    Option(CLIENT, "connect_timeout", _DURATION, "Time to make a connection in.", default="5s"),
    Option(
        CLIENT,
        "timeout",
        _DURATION,
        "Time for a whole request, body included. Default: no limit.",
        differs="30 s.",
    ),
    Option(
        CLIENT,
        "read_timeout",
        _DURATION,
        "Time in which at least something must arrive: the first byte, and then the next.",
        default="30s",
        differs="No limit.",
    ),
    Option(
        CLIENT,
        "pool_idle_timeout",
        _DURATION,
        "Time that an idle connection is kept.",
        default="15s",
        differs="90 s.",
    ),
    Option(
        CLIENT,
        "pool_max_idle_per_host",
        _WHOLE,
        "Idle connections to keep for each host. Default: no limit.",
    ),
    Option(
        CLIENT,
        "http1_only",
        _FLAG,
        "Use HTTP/1.1 only; else HTTP/2 where the server agrees to it in TLS.",
        default="true",
    ),
    Option(
        CLIENT,
        "http2_only",
        _FLAG,
        "Use HTTP/2 only, without TLS too (prior knowledge).",
        default="false",
    ),
    Option(
        CLIENT,
        "http2_keep_alive_interval",
        _DURATION,
        "Silence after which the kernel probes a connection, of any version of HTTP.",
        default="15s",
        differs="Pings of HTTP/2; off.",
    ),
    Option(
        CLIENT,
        "http2_keep_alive_timeout",
        _DURATION,
        "Time after which a connection ends when what was sent, or a probe, is not acknowledged."
        " Default: the system's.",
        differs="Of pings of HTTP/2.",
    ),
    Option(
        CLIENT,
        "http2_keep_alive_while_idle",
        _FLAG,
        "Accepted; idle connections are always probed.",
        default="false",
        effect=HARMLESS,
        differs="Decides about pings of HTTP/2.",
    ),
    Option(
        CLIENT,
        "http2_max_frame_size",
        Whole(0, 2**32 - 1),
        "Accepted; libcurl chooses the size of frames.",
        effect=HARMLESS,
        differs="Sets it.",
    ),
    Option(
        CLIENT,
        "proxy_url",
        Proxy(),
        "Proxy to use, HTTP or SOCKS. Default: that of http_proxy, https_proxy, all_proxy and no_proxy.",
    ),
    Option(
        CLIENT,
        "proxy_ca_certificate",
        CertificateText(),
        "PEM certificates to trust for an https proxy, and for the server too.",
        environment=(),
        differs="str only.",
    ),
    Option(CLIENT, "proxy_excludes", _TEXT, "Hosts that bypass proxy_url, as in NO_PROXY."),
    Option(
        CLIENT,
        "randomize_addresses",
        _FLAG,
        "Spread connections over all addresses of a host.",
        default="true",
    ),
    Option(
        CLIENT,
        "user_agent",
        Latin(),
        "User-Agent header. Default: `s3ext/<version>`.",
        differs="`object_store/<version>`.",
    ),
    Option(CLIENT, "default_content_type", Latin(), "Content-Type of uploads that name none."),
    Option(
        CLIENT,
        "default_headers",
        Headers(),
        "Headers to send, signed, with every request.",
        environment=(),
        differs="Unsigned in listings.",
    ),
    Option(
        CLIENT,
        "lane",
        Choice("lane", ("auto", "curl", "direct"), fold=True),
        "Who speaks HTTP: we (`direct`, HTTP/1.1 over libcurl's connections) or libcurl (`curl`); `auto`: "
        "we, but for HTTP/2 and http proxies of http.",
        default="auto",
        ours=True,
        environment=("S3EXT_LANE",),
    ),
    Option(
        CLIENT,
        "part_size",
        Whole(64 * 1024, 5 * 1024**3),
        "Size of the parallel parts of large reads, bytes.",
        default="8388608",
        ours=True,
        environment=("S3EXT_PART_SIZE",),
    ),
    Option(
        CLIENT,
        "concurrency",
        Whole(1, 10_000),
        "Requests in flight for one host, in the whole process.",
        default="64",
        ours=True,
        environment=("S3EXT_CONCURRENCY",),
    ),
    Option(RETRY, "max_retries", Count(), "Retries of a request.", default="10", environment=()),
    Option(
        RETRY,
        "retry_timeout",
        Span(),
        "Time after the first failure in which retries may start.",
        default="180s",
        environment=(),
        differs="Since the first attempt.",
    ),
    Option(
        RETRY,
        "init_backoff",
        Span(),
        "First wait, at most; after a throttle 1 s, unless this is other than the default.",
        default="100ms",
        environment=(),
        differs="At least this; the same after a throttle.",
    ),
    Option(RETRY, "max_backoff", Span(), "Longest wait.", default="15s", environment=()),
    Option(
        RETRY,
        "base",
        Base(),
        "Factor from wait to wait.",
        default="2",
        environment=(),
        differs="1 or less panics later.",
    ),
)

CONFIG_KEYS = {key: option for option in OPTIONS if option.section != RETRY for key in option.aliases}
CLIENT_KEYS = {option.name: option for option in OPTIONS if option.section == CLIENT}
RETRY_KEYS = {option.name: option for option in OPTIONS if option.section == RETRY}
BY_NAME = {option.name: option for option in OPTIONS}
PRESENCE = {"HTS_S3_V2": "v2"}
"""Variables that say something by being there: what they say, whatever their value."""
# Option and rank among the variables of the option; the lowest rank wins.
VARIABLES = {
    name.lower(): (option, rank) for option in OPTIONS for rank, name in enumerate(option.environment)
}
