"""The configuration: one table of options, and the one place where they are parsed.

`OPTIONS` says of every option its name, spellings, environment variables, kind, default, effect and meaning.
Keyword arguments, `config=`, `client_options=`, `retry_config=`, the environment, `.config`, pickling, the
typed dictionaries and the README's table all follow it. `parse_config` runs once for each store, at its
construction, without any I/O, and gives a `Configuration`: the immutable `Settings` that the C client is made
from, and the strings that the caller gave, which is what a store shows and pickles.

Where a value comes from, the strongest first:

    keyword arguments, `config=`, the positional bucket   one level: giving an option twice is an error
    the URL of `from_url`                                 below `config=`; in conflict with keyword arguments
    `credential_provider.config`
    the environment, `AWS_*` and `S3EXT_*`                never shown, never pickled; empty counts as unset

`client_options=` given, even empty, shuts out every client option of `AWS_*` variables. A default region from
the environment beats one that was given, as in obstore; an endpoint that was given beats both of the
environment's, unlike in obstore, where AWS_ENDPOINT_URL_S3 would redirect a store whose code names its
endpoint.

Effects: `NOW` is built. `HARMLESS` is accepted and without effect so far, and no result is wrong for that.
`LATER` is not built: a value that asks for something raises NotSupportedError. `CHAIN` is a source of
credentials that is not built: given in code, it raises where nothing stronger (keys, a provider,
skip_signature) makes it moot; from the environment, the first request does.

Invariants: a secret is in no error and in no repr; values are stored as they were given and parsed apart from
that, so that `.config` gives back `"YES"` for `"YES"`. Imports here are light: `import s3ext` must stay fast,
so `datetime` and `difflib` are imported where they are first needed.
"""

# ruff: noqa: PLC0415 - see the last sentence above

from __future__ import annotations

import os

from s3ext._kinds import (
    Base,
    Base64Key,
    Certificates,
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
    Whole,
    parse_duration,
    timedelta_ns,
)
from s3ext._paths import shown
from s3ext._settings import FIELDS, Settings
from s3ext.exceptions import GenericError, NotSupportedError, UnknownConfigurationKeyError

# The name is enough for type checkers, and importing typing would cost more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from s3ext._kinds import Text
    from s3ext._types import RetryConfig

__all__ = [
    "CHAIN",
    "HARMLESS",
    "LATER",
    "NOW",
    "OPTIONS",
    "Configuration",
    "MaskedDict",
    "Option",
    "Settings",
    "canonical_config",
    "parse_config",
]

NOW = "now"
HARMLESS = "harmless"
LATER = "later"
CHAIN = "chain"

# C counts milliseconds and retries in signed integers; longer than this is for ever.
_LONGEST_MS = 2**53
_MOST_RETRIES = 2**31 - 1

_TEXT = Kind()
_SECRET = Secret()
_FLAG = Flag()
_DURATION = Duration()
_WHOLE = Whole()


# ---- the table ----


class Option:
    """One row of the table.

    Attributes:
        name: The canonical name, as `.config` shows it.
        section: `"s3"`, `"client"` or `"retry"`.
        kind: How values are written and read.
        aliases: Every spelling that keyword arguments and `config=` take, in lower case, the canonical first.
        environment: Every environment variable, the strongest first.
        default: The default, as one would write it; None if the option is off or has none.
        effect: `NOW`, `HARMLESS`, `LATER` or `CHAIN`, see the top of this file.
        inert: Of a `LATER` option, the values, of a mode the first words, that ask for nothing unbuilt.
        ours: Whether obstore lacks the option; such options are not in `__getnewargs_ex__`.
        obstore_name: The spelling that obstore takes.
        doc: What the option does.
    """

    __slots__ = (
        "aliases",
        "default",
        "doc",
        "effect",
        "environment",
        "inert",
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
        inert: tuple[object, ...] = (),
        ours: bool = False,
        obstore_name: str = "",
    ) -> None:
        self.section = section
        self.name = name
        self.kind = kind
        self.doc = doc
        self.default = default
        self.effect = effect
        self.inert = inert
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


_S3 = "s3"
_CLIENT = "client"
_RETRY = "retry"

OPTIONS: tuple[Option, ...] = (
    Option(_S3, "access_key_id", _TEXT, "Access key. Goes with secret_access_key."),
    Option(_S3, "secret_access_key", _SECRET, "Secret of the access key."),
    Option(_S3, "session_token", _SECRET, "Token of temporary keys; empty means none.", aliases=("token",)),
    Option(_S3, "region", _TEXT, "Region of the bucket.", default="us-east-1"),
    Option(_S3, "default_region", _TEXT, "Region to use where none is set; the environment's comes first."),
    Option(_S3, "bucket", _TEXT, "Name of the bucket. Required.", aliases=("bucket_name",)),
    Option(
        _S3,
        "endpoint",
        _TEXT,
        "URL of the server, with the bucket in its host name for virtual hosting; a path is kept."
        " Default: AWS.",
        aliases=("endpoint_url",),
        environment=("AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    ),
    Option(
        _S3,
        "endpoint_url_s3",
        _TEXT,
        "Like endpoint, and stronger; but an endpoint in code is stronger than this one in the environment.",
        obstore_name="aws_endpoint_url_s3",
    ),
    Option(
        _S3,
        "virtual_hosted_style_request",
        _FLAG,
        "Name the bucket in the host, not in the path.",
        default="false",
    ),
    Option(
        _S3, "s3_express", _FLAG, "Use S3 Express One Zone.", default="false", effect=LATER, inert=(False,)
    ),
    Option(
        _S3,
        "imdsv1_fallback",
        _FLAG,
        "Fall back to version 1 of the instance metadata service.",
        default="false",
        effect=HARMLESS,
    ),
    Option(
        _S3,
        "metadata_endpoint",
        _TEXT,
        "URL of the instance metadata service.",
        default="http://169.254.169.254",
        effect=HARMLESS,
    ),
    Option(
        _S3,
        "unsigned_payload",
        _FLAG,
        "Leave bodies out of the signature, which saves hashing them.",
        default="false",
    ),
    Option(
        _S3,
        "checksum_algorithm",
        Choice("checksum algorithm", ("sha256", "crc64nvme", "sha1", "crc32", "crc32c"), fold=True),
        "Checksum to send with uploads.",
        effect=LATER,
    ),
    Option(
        _S3,
        "container_credentials_relative_uri",
        _TEXT,
        "Path of the container credentials (ECS).",
        effect=CHAIN,
    ),
    Option(
        _S3,
        "container_credentials_full_uri",
        _TEXT,
        "URL of the container credentials (EKS), with container_authorization_token_file.",
        effect=CHAIN,
    ),
    Option(
        _S3,
        "container_authorization_token_file",
        Path(),
        "File with the token for container_credentials_full_uri.",
        effect=CHAIN,
    ),
    Option(
        _S3,
        "web_identity_token_file",
        Path(),
        "File with the web identity token, with role_arn.",
        effect=CHAIN,
    ),
    Option(_S3, "role_arn", _TEXT, "Role to assume with the web identity token.", effect=CHAIN),
    Option(
        _S3,
        "role_session_name",
        _TEXT,
        "Session name for role_arn.",
        default="WebIdentitySession",
        effect=HARMLESS,
    ),
    Option(
        _S3,
        "endpoint_url_sts",
        _TEXT,
        "URL of the token service. Default: https://sts.{region}.amazonaws.com.",
        aliases=("sts_endpoint",),
        effect=HARMLESS,
    ),
    Option(_S3, "skip_signature", _FLAG, "Do not sign requests and use no credentials.", default="false"),
    Option(
        _S3,
        "copy_if_not_exists",
        Mode("S3CopyIfNotExists", ("multipart",), header=True),
        "How copy(overwrite=False) is done; without it, such a copy raises NotSupportedError.",
        effect=LATER,
        inert=("multipart", "header", "header-with-status"),
    ),
    Option(
        _S3,
        "conditional_put",
        Mode("S3PutConditional", ("etag", "disabled"), header=False),
        "How put with a mode is done.",
        default="etag",
        effect=LATER,
        inert=("etag", "disabled"),
    ),
    Option(_S3, "disable_tagging", _FLAG, "Send no tags with uploads.", default="false"),
    Option(
        _S3,
        "disable_bulk_delete",
        _FLAG,
        "Delete objects one by one, for servers without DeleteObjects.",
        default="false",
    ),
    Option(
        _S3,
        "request_payer",
        Payer(),
        "Agree to pay for requests to a requester-pays bucket.",
        aliases=("requester_pays",),
        default="false",
    ),
    Option(
        _S3,
        "server_side_encryption",
        Choice("encryption type", ("AES256", "aws:kms", "aws:kms:dsse", "sse-c")),
        "Encryption of uploads.",
        effect=LATER,
    ),
    Option(_S3, "sse_kms_key_id", _TEXT, "KMS key, with aws:kms or aws:kms:dsse.", effect=LATER),
    Option(_S3, "sse_bucket_key_enabled", _FLAG, "Use a bucket key with KMS.", effect=LATER),
    Option(_S3, "sse_customer_key_base64", Base64Key(), "Key of 256 bits, with sse-c.", effect=LATER),
    Option(
        _S3,
        "raw_keys",
        _FLAG,
        "Take keys byte for byte, without the path rules.",
        default="false",
        effect=LATER,
        inert=(False,),
        ours=True,
        environment=(),
    ),
    Option(_CLIENT, "allow_http", _FLAG, "Allow endpoints without TLS.", default="false"),
    Option(
        _CLIENT, "allow_invalid_certificates", _FLAG, "Accept any certificate. Dangerous.", default="false"
    ),
    Option(
        _CLIENT,
        "disable_system_certificates",
        _FLAG,
        "Trust only root_certificate.",
        default="false",
        effect=LATER,
        inert=(False,),
    ),
    Option(
        _CLIENT,
        "root_certificate",
        Certificates(),
        "PEM certificates to trust as well; several may follow each other.",
        environment=(),
    ),
    Option(_CLIENT, "connect_timeout", _DURATION, "Time to make a connection in.", default="5s"),
    Option(_CLIENT, "timeout", _DURATION, "Time for a whole request, body included. Default: no limit."),
    Option(
        _CLIENT,
        "read_timeout",
        _DURATION,
        "Time in which at least something must arrive: the first byte, and then the next.",
        default="30s",
    ),
    Option(_CLIENT, "pool_idle_timeout", _DURATION, "Time that an idle connection is kept.", default="15s"),
    Option(
        _CLIENT,
        "pool_max_idle_per_host",
        _WHOLE,
        "Idle connections to keep for each host. Default: no limit.",
        effect=HARMLESS,
    ),
    Option(
        _CLIENT,
        "http1_only",
        _FLAG,
        "Use HTTP/1.1 only.",
        default="true",
        effect=LATER,
        inert=(True,),
    ),
    Option(
        _CLIENT,
        "http2_only",
        _FLAG,
        "Use HTTP/2 only.",
        default="false",
        effect=LATER,
        inert=(False,),
    ),
    Option(_CLIENT, "http2_keep_alive_interval", _DURATION, "Time between HTTP/2 pings.", effect=HARMLESS),
    Option(
        _CLIENT, "http2_keep_alive_timeout", _DURATION, "Time to answer an HTTP/2 ping in.", effect=HARMLESS
    ),
    Option(
        _CLIENT,
        "http2_keep_alive_while_idle",
        _FLAG,
        "Ping idle HTTP/2 connections too.",
        default="false",
        effect=HARMLESS,
    ),
    Option(
        _CLIENT,
        "http2_max_frame_size",
        Whole(0, 2**32 - 1),
        "Largest HTTP/2 frame, bytes.",
        effect=HARMLESS,
    ),
    Option(
        _CLIENT,
        "proxy_url",
        Proxy(),
        "Proxy to use, HTTP or SOCKS. Default: as libcurl finds it in the environment.",
    ),
    Option(
        _CLIENT,
        "proxy_ca_certificate",
        Certificates(),
        "PEM certificates to trust for an https proxy.",
        effect=LATER,
        environment=(),
    ),
    Option(_CLIENT, "proxy_excludes", _TEXT, "Hosts that bypass proxy_url, as in NO_PROXY."),
    Option(
        _CLIENT,
        "randomize_addresses",
        _FLAG,
        "Spread connections over all addresses of a host.",
        default="true",
        effect=HARMLESS,
    ),
    Option(_CLIENT, "user_agent", Latin(), "User-Agent header. Default: s3ext/<version>."),
    Option(_CLIENT, "default_content_type", Latin(), "Content-Type of uploads that name none."),
    Option(
        _CLIENT,
        "default_headers",
        Headers(),
        "Headers to send, signed, with every request.",
        environment=(),
    ),
    Option(
        _CLIENT,
        "lane",
        Choice("lane", ("auto", "curl", "direct"), fold=True),
        "How requests are carried: by libcurl, by the core's own HTTP/1.1, or as fits best.",
        default="auto",
        ours=True,
        environment=("S3EXT_LANE",),
    ),
    Option(
        _CLIENT,
        "part_size",
        Whole(64 * 1024, 5 * 1024**3),
        "Size of the parallel parts of large reads, bytes.",
        default="8388608",
        ours=True,
        environment=("S3EXT_PART_SIZE",),
    ),
    Option(
        _CLIENT,
        "concurrency",
        Whole(1, 10_000),
        "Requests in flight for one host, in the whole process.",
        default="64",
        ours=True,
        environment=("S3EXT_CONCURRENCY",),
    ),
    Option(_RETRY, "max_retries", Count(), "Retries of a request.", default="10", environment=()),
    Option(
        _RETRY,
        "retry_timeout",
        Span(),
        "Time after the first failure in which retries may start.",
        default="180s",
        environment=(),
    ),
    Option(
        _RETRY,
        "init_backoff",
        Span(),
        "First wait, at most; after a throttle at most 1 s, unless this is other than the default.",
        default="100ms",
        environment=(),
    ),
    Option(_RETRY, "max_backoff", Span(), "Longest wait.", default="15s", environment=()),
    Option(_RETRY, "base", Base(), "Factor from wait to wait.", default="2", environment=()),
)

_CONFIG_KEYS = {key: option for option in OPTIONS if option.section != _RETRY for key in option.aliases}
_CLIENT_KEYS = {option.name: option for option in OPTIONS if option.section == _CLIENT}
_RETRY_KEYS = {option.name: option for option in OPTIONS if option.section == _RETRY}
_BY_NAME = {option.name: option for option in OPTIONS}
# Option and rank among the variables of the option; the lowest rank wins.
_VARIABLES = {
    name.lower(): (option, rank) for option in OPTIONS for rank, name in enumerate(option.environment)
}


# ---- what was given ----


class _Given:
    """A value and where it comes from."""

    __slots__ = ("key", "option", "source", "text")

    def __init__(self, option: Option, key: str, text: Text, source: str = "") -> None:
        self.option = option
        self.key = key
        self.text = text
        self.source = source

    @property
    def label(self) -> str:
        """The option as the caller knows it."""
        return f"{self.key} ({self.source})" if self.source else self.key

    def parse(self) -> object:
        try:
            return self.option.kind.parse(self.text)
        except ValueError as error:
            _refuse(self.option, self.label, self.text, str(error))


def _refuse(option: Option, label: str, value: object, reason: str) -> NoReturn:
    """Raise what a wrong value gets, in the words of obstore where it has words for it."""
    kind = option.kind
    masked = option.secret or isinstance(kind, Proxy)
    visible = kind.mask(value) if masked else shown(value)
    if option.name == "checksum_algorithm":
        text = f"Generic Config error: {visible} is not a valid checksum algorithm for {label}"
    elif option.name == "server_side_encryption":
        text = f"Generic S3 error: Invalid encryption type: {visible} for {label}"
    elif isinstance(kind, Certificates):
        text = f"No certificates found in `{option.name}` input"
        reason = ""
    elif isinstance(kind, Headers):
        text = f"failed to parse {label}"
    else:
        verb = "Failed" if isinstance(kind, Mode) else "failed"
        text = f"Generic Config error: {verb} to parse {visible} as {kind.name} for {label}"
    reason = f": {reason}" if reason else ""
    raise kind.failure(f"{text}{reason}; it must be {kind.expects}") from None


def _render(option: Option, key: str, value: object, source: str) -> _Given:
    try:
        return _Given(option, key, option.kind.render(value), source)
    except TypeError:
        visible = "" if option.secret else f": {shown(value)}"
        raise TypeError(
            f"{type(value).__name__!r} object is not an instance of 'str': {key} must be of type "
            f"{option.kind.accepted}{visible}"
        ) from None
    except ValueError as error:
        _refuse(option, key, value, str(error))


def _lookup(key: object, table: Mapping[str, Option], message: str) -> Option:
    if not isinstance(key, str):
        raise TypeError(f"{type(key).__name__!r} object is not an instance of 'str': {shown(key)} is no key")
    option = table.get(key.lower())
    if option is None:
        import difflib

        near = difflib.get_close_matches(key.lower(), table, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownConfigurationKeyError(message.format(shown(key)[1:-1]) + hint)
    return option


def _collect(
    given: dict[str, _Given],
    values: Iterable[tuple[object, object]],
    table: Mapping[str, Option],
    message: str,
    source: str = "",
) -> None:
    for key, value in values:
        option = _lookup(key, table, message)
        if option.name in given:
            raise GenericError(
                f"Duplicate key aws_{option.name} provided: as {given[option.name].key!r} and as {key!r}"
            )
        given[option.name] = _render(option, str(key), value, source)


_UNKNOWN_KEY = "Configuration key: '{}' is not valid for store 'S3'."
_UNKNOWN_CLIENT_KEY = "Invalid key: {}."
_FROM_ENVIRONMENT = "environment"


def _items(name: str, values: object) -> Iterable[tuple[object, object]]:
    if values is None:
        return ()
    if not isinstance(values, dict):
        raise TypeError(
            f"{type(values).__name__!r} object is not an instance of 'dict': {name} must be a dict"
        )
    return values.items()


def canonical_config(config: Mapping[str, object] | None) -> dict[str, object]:
    """Give the keys of a `config=` dictionary their canonical names; `from_url` lays it over the URL's.

    Args:
        config: What the caller gave.

    Raises:
        UnknownConfigurationKeyError: There is no such option.
        GenericError: An option is given twice.
        TypeError: A key is not a str, or a value has the wrong type.
    """
    given: dict[str, _Given] = {}
    _collect(given, _items("config", config), _CONFIG_KEYS, _UNKNOWN_KEY)
    return {name: value.text for name, value in given.items()}


def _environment(environ: Mapping[str, str], *, client: bool) -> dict[str, _Given]:
    """Take the options that the environment sets; AWS's names of client options only if `client`."""
    found: dict[str, tuple[int, _Given]] = {}
    for name in environ:
        if not name.startswith(("AWS_", "S3EXT_")):
            continue
        option, rank = _VARIABLES.get(name.lower(), (None, 0))
        if option is None or (option.section == _CLIENT and not client and not option.ours):
            continue
        value = environ[name]
        if value and (option.name not in found or rank < found[option.name][0]):
            found[option.name] = rank, _Given(option, name, value, _FROM_ENVIRONMENT)
    return {name: given for name, (_, given) in found.items()}


class MaskedDict(dict[str, object]):
    """A dict whose repr shows `***` for secrets; it equals the plain dict, and every value can be read."""

    __slots__ = ()

    def __repr__(self) -> str:
        words = (
            f"{key!r}: {_BY_NAME[key].kind.mask(value) if key in _BY_NAME else repr(value)}"
            for key, value in self.items()
        )
        return f"{{{', '.join(words)}}}"

    def copy(self) -> MaskedDict:
        """Return a copy that masks its secrets too."""
        return MaskedDict(self)


class Configuration:
    """A parsed configuration.

    Attributes:
        settings: What it means.
        config: The S3 options that were given, not the environment's: canonical names and strings.
        client_options: The client options that were given; None if there were none, not even an empty dict.
        retry_config: The retry options, filled up with defaults; None if none were given.
        reads_environment: Whether client options of `AWS_*` variables count, for lack of `client_options=`.
    """

    __slots__ = ("client_options", "config", "reads_environment", "retry_config", "settings")

    def __init__(
        self,
        settings: Settings,
        config: dict[str, Text],
        client_options: dict[str, Text] | None,
        retry_config: RetryConfig | None,
        *,
        reads_environment: bool,
    ) -> None:
        self.settings = settings
        self.config = config
        self.client_options = client_options
        self.retry_config = retry_config
        self.reads_environment = reads_environment

    def split(self, *, ours: bool) -> tuple[dict[str, Text], dict[str, Text]]:
        """Take the options of s3ext alone, or those that obstore has, in its spelling.

        Args:
            ours: Which of the two.

        Returns:
            S3 options and client options.
        """
        config, client = (
            {
                _BY_NAME[name].obstore_name: text
                for name, text in values.items()
                if _BY_NAME[name].ours == ours
            }
            for values in (self.config, self.client_options or {})
        )
        return config, client


def parse_config(
    bucket: str | None = None,
    *,
    config: Mapping[str, object] | None = None,
    client_options: Mapping[str, object] | None = None,
    retry_config: RetryConfig | None = None,
    credential_provider: object = None,
    kwargs: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Parse the configuration of a store.

    Args:
        bucket: The positional bucket.
        config: The `config=` of the constructor.
        client_options: The `client_options=` of the constructor.
        retry_config: The `retry_config=` of the constructor.
        credential_provider: A callable, or None; its `config` attribute is read.
        kwargs: Further keyword arguments of the constructor.
        environ: The environment; default `os.environ` as it is now.

    Returns:
        The configuration.

    Raises:
        GenericError: A value is wrong, an option is given twice, the bucket or half of a key pair is missing.
        UnknownConfigurationKeyError: There is no such option.
        NotSupportedError: The option, or this value of it, is not supported yet.
        ValueError: A value of `default_headers`, `root_certificate` or `retry_config` is wrong.
        TypeError: A key or value has the wrong type.
        OverflowError: max_retries is negative or too large.
    """
    given: dict[str, _Given] = {}
    if bucket is not None:
        given["bucket"] = _render(_BY_NAME["bucket"], "bucket", bucket, "")
    _collect(given, _items("config", config), _CONFIG_KEYS, _UNKNOWN_KEY)
    _collect(given, _items("kwargs", kwargs), _CONFIG_KEYS, _UNKNOWN_KEY)
    _collect(given, _items("client_options", client_options), _CLIENT_KEYS, _UNKNOWN_CLIENT_KEY)
    for name, value in _provider_config(credential_provider).items():
        given.setdefault(name, value)
    variables = _environment(os.environ if environ is None else environ, client=client_options is None)
    values = _Values(given, variables)
    retry = _parse_retry(retry_config)
    settings = _resolve(values, retry, has_provider=credential_provider is not None)
    shown_client = {name: value.text for name, value in given.items() if value.option.section == _CLIENT}
    return Configuration(
        settings,
        {name: value.text for name, value in given.items() if value.option.section == _S3},
        shown_client if shown_client or client_options is not None else None,
        None if retry_config is None else retry,
        reads_environment=client_options is None,
    )


def _provider_config(provider: object) -> dict[str, _Given]:
    if provider is None:
        return {}
    if not callable(provider):
        raise TypeError(
            f"Expected callable object for credential_provider. It is of type {type(provider).__name__!r}."
        )
    given: dict[str, _Given] = {}
    config = getattr(provider, "config", None)
    _collect(
        given, _items("credential_provider.config", config), _CONFIG_KEYS, _UNKNOWN_KEY, "credential_provider"
    )
    return given


class _Values:
    """The values that count, parsed when they are asked for; one method for each type that a kind gives."""

    def __init__(self, given: dict[str, _Given], environment: dict[str, _Given]) -> None:
        self.given = given
        self.environment = environment
        self._found = {**environment, **given}
        self._parsed = {name: value.parse() for name, value in self._found.items()}

    def source(self, name: str) -> _Given | None:
        return self._found.get(name)

    def present(self) -> Iterable[tuple[_Given, object]]:
        return ((value, self._parsed[name]) for name, value in self._found.items())

    def get(self, name: str) -> object:
        if name in self._parsed:
            return self._parsed[name]
        option = _BY_NAME[name]
        return None if option.default is None else option.kind.parse(option.default)

    def text(self, name: str) -> str | None:
        value = self.get(name)
        assert value is None or isinstance(value, str)
        return value

    def flag(self, name: str) -> bool:
        value = self.get(name)
        assert isinstance(value, bool)
        return value

    def whole(self, name: str) -> int:
        value = self.get(name)
        assert isinstance(value, int)
        return value

    def milliseconds(self, name: str) -> int:
        value = self.get(name)
        assert value is None or isinstance(value, int)
        return 0 if value is None else _milliseconds(value)


def _milliseconds(nanoseconds: int) -> int:
    """Round up, because what is not zero must not become zero, which means no limit."""
    return min(-(-nanoseconds // 1_000_000), _LONGEST_MS)


def _resolve(values: _Values, retry: RetryConfig, *, has_provider: bool) -> Settings:
    bucket = _bucket(values)
    region = _region(values)
    resolved: dict[str, object] = {
        "bucket": bucket,
        "region": region,
        **_target(values, bucket, region),
        **_credentials(values, has_provider=has_provider),
        **_retry_settings(retry),
        "verify_tls": not values.flag("allow_invalid_certificates"),
        "system_certificates": not values.flag("disable_system_certificates"),
        "ca_pem": values.get("root_certificate"),
        "default_headers": values.get("default_headers") or (),
        "connect_timeout_ms": values.milliseconds("connect_timeout"),
        "first_byte_timeout_ms": values.milliseconds("read_timeout"),
        "stall_timeout_ms": values.milliseconds("read_timeout"),
        "total_timeout_ms": values.milliseconds("timeout"),
        "pool_idle_timeout_ms": values.milliseconds("pool_idle_timeout"),
    }
    for name in FIELDS:
        if name not in resolved:
            resolved[name] = values.get(name)
    if not resolved["skip_signature"]:
        for name, _ in values.get("default_headers") or ():  # type: ignore[attr-defined]
            if name == b"authorization":
                raise ValueError(
                    "failed to parse default_headers: the header authorization is the signature's; "
                    "set skip_signature=True to send another"
                )
    _refuse_unbuilt(values, str(resolved["credentials"]))
    return Settings(resolved)


def _bucket(values: _Values) -> str:
    bucket = values.text("bucket")
    if not bucket:
        raise GenericError(
            "Generic S3 error: Missing bucket name: give it as the first argument, as bucket=, "
            "or in AWS_BUCKET"
        )
    if "/" in bucket or " " in bucket or bucket in {".", ".."}:
        raise GenericError(
            f"Generic S3 error: Invalid bucket name {shown(bucket)}: it must have no slash and no space; "
            f"a path within the bucket goes into prefix="
        )
    return bucket


def _region(values: _Values) -> str:
    default = values.environment.get("default_region") or values.given.get("default_region")
    region = values.text("region") if values.source("region") else default.text if default else None
    if region is None:
        region = values.text("region")
    assert isinstance(region, str)
    plain = region.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum() and len(region) <= 63):
        raise GenericError(
            f"Generic Config error: failed to parse {shown(region)} as region: it must be 1 to 63 letters, "
            f"digits, '-', '_' or '.', such as us-east-1 or auto"
        )
    return region


def _target(values: _Values, bucket: str, region: str) -> dict[str, object]:
    """Work out where requests go."""
    virtual = values.flag("virtual_hosted_style_request")
    for table in (values.given, values.environment):
        given = table.get("endpoint_url_s3") or table.get("endpoint")
        if given is not None:
            from s3ext._url import parse_endpoint, regional_host

            endpoint = parse_endpoint(str(given.text), given.label)
            host, amazon = regional_host(endpoint.authority, region)
            return {
                "scheme": endpoint.scheme,
                "host": host,
                "base_path": endpoint.path,
                "bucket_in_host": virtual,
                "region_may_change": amazon,
            }
    host = "s3.{region}.amazonaws.com.cn" if region.startswith("cn-") else "s3.{region}.amazonaws.com"
    if virtual:
        plain = bucket.replace("-", "").replace("_", "").replace(".", "")
        if not (plain.isalnum() and plain == plain.lower()) or not all(bucket.split(".")):
            raise GenericError(
                f"Generic S3 error: the bucket {shown(bucket)} cannot be part of a host name; "
                f"leave out virtual_hosted_style_request"
            )
        host = f"{bucket}.{host}"
    return {
        "scheme": "https",
        "host": host,
        "base_path": "",
        "bucket_in_host": virtual,
        "region_may_change": True,
    }


def _credentials(values: _Values, *, has_provider: bool) -> dict[str, object]:
    """Choose the source of credentials: a provider, static keys, none, or what the machine offers."""
    skip = values.flag("skip_signature")
    found: dict[str, object] = {
        "access_key_id": None,
        "secret_access_key": None,
        "session_token": None,
        "unbuilt_source": None,
        "credentials": "none" if skip else "chain",
    }
    key, secret = values.source("access_key_id"), values.source("secret_access_key")
    half = (key or secret) if key is None or secret is None else None
    # Half a pair that just happens to be in the environment harms nobody who does not use it.
    if half is not None and not (half.source == _FROM_ENVIRONMENT and (skip or has_provider)):
        missing = "SecretAccessKey" if secret is None else "AccessKeyId"
        other = "secret_access_key" if secret is None else "access_key_id"
        raise GenericError(
            f"Generic S3 error: Missing {missing}: {half.label} is set; give {other} too, or neither"
        )
    if has_provider:
        found["credentials"] = "provider"
    elif key is not None and secret is not None:
        if not key.text or not secret.text:
            empty = secret if key.text else key
            raise GenericError(f"Generic S3 error: {empty.label} is empty; give a key pair or none")
        found["access_key_id"] = key.text
        found["secret_access_key"] = secret.text
        found["session_token"] = values.text("session_token") or None
        found["credentials"] = "none" if skip else "static"
    elif not skip:
        sources = [value.key for value, _ in values.present() if value.option.effect == CHAIN]
        found["unbuilt_source"] = sources[0] if sources else None
    return found


def _refuse_unbuilt(values: _Values, credentials: str) -> None:
    for given, value in values.present():
        option = given.option
        if option.effect == LATER:
            asked = value.partition(":")[0] if isinstance(value, str) else value
            if asked in option.inert:
                continue
        elif option.effect != CHAIN or credentials != "chain" or given.source == _FROM_ENVIRONMENT:
            continue
        visible = option.kind.mask(given.text)
        raise NotSupportedError(
            f"the option {given.label} is not supported yet (given {visible}); leave it out"
        )


def _parse_retry(retry_config: object) -> RetryConfig:
    """Fill up a RetryConfig with defaults; keys that it does not have are ignored, as in obstore."""
    from datetime import timedelta

    if retry_config is not None and not isinstance(retry_config, dict):
        raise TypeError(
            f"retry_config must be a dict, not {type(retry_config).__name__}: {shown(retry_config)}"
        )
    given = dict(retry_config or {})
    backoff = given.pop("backoff", None)
    if backoff is not None and not isinstance(backoff, dict):
        raise TypeError(
            f"retry_config['backoff'] must be a dict, not {type(backoff).__name__}: {shown(backoff)}"
        )
    found: dict[str, object] = {
        "max_retries": 10,
        "retry_timeout": timedelta(seconds=180),
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=15),
        "base": 2.0,
    }
    for name, option in _RETRY_KEYS.items():
        values = given if name in {"max_retries", "retry_timeout"} else backoff or {}
        if name in values:
            found[name] = _retry_value(option, values[name])
    return {
        "backoff": {name: found[name] for name in ("init_backoff", "max_backoff", "base")},  # type: ignore[typeddict-item]
        "max_retries": found["max_retries"],  # type: ignore[typeddict-item]
        "retry_timeout": found["retry_timeout"],  # type: ignore[typeddict-item]
    }


def _retry_value(option: Option, value: object) -> object:
    where = f"retry_config: {option.name} must be {option.kind.expects}"
    try:
        return option.kind.parse(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError, ValueError) as error:
        kind = type(value).__name__
        raise type(error)(f"{where} (of type {option.kind.accepted}), not {kind}: {shown(value)}") from None


def _retry_settings(retry: RetryConfig) -> dict[str, object]:
    backoff = retry["backoff"]
    return {
        "max_retries": min(retry["max_retries"], _MOST_RETRIES),
        "retry_timeout_ms": _milliseconds(timedelta_ns(retry["retry_timeout"])),
        "init_backoff_ms": _milliseconds(timedelta_ns(backoff["init_backoff"])),
        "max_backoff_ms": _milliseconds(timedelta_ns(backoff["max_backoff"])),
        "backoff_base": float(backoff["base"]),
        # A store shows its retry_config filled up with defaults; one that is made from that must be no other.
        "init_backoff_set": timedelta_ns(backoff["init_backoff"])
        != parse_duration(_BY_NAME["init_backoff"].default or ""),
    }
