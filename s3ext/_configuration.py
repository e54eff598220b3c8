"""The configuration: what the options of a store mean, worked out in one place.

`parse_config` runs once for each store, at its construction, without any I/O, and gives a `Configuration`:
the immutable `Settings` that the C client is made from, and the strings that the caller gave, which is what a
store shows and pickles. The options are in the table of `_options.py`; which of the values given counts is
the business of `_given.py`.

Invariants: a secret is in no error and in no repr; values are stored as they were given and parsed apart from
that, so that `.config` gives back `"YES"` for `"YES"`. Imports here are light: `import s3ext` must stay fast,
so `datetime` and `_url` are imported where they are first needed.
"""

# ruff: noqa: PLC0415 - see the last sentence above

from __future__ import annotations

import os

from s3ext._given import ENVIRONMENT, Values, from_code, from_environment, from_provider
from s3ext._kinds import milliseconds, parse_duration, timedelta_ns
from s3ext._options import BY_NAME, CLIENT, RETRY_KEYS, S3
from s3ext._paths import shown
from s3ext._settings import FIELDS, Settings
from s3ext.exceptions import GenericError

# The name is enough for type checkers, and importing typing would cost more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3ext._kinds import Text
    from s3ext._options import Option
    from s3ext._types import FullRetry, RetryConfig

__all__ = ["Configuration", "MaskedDict", "collect", "parse_config"]

# C counts retries in signed integers; more than this are without end.
_MOST_RETRIES = 2**31 - 1

_KEY_PAIR = ("access_key_id", "secret_access_key")

# Keys of the environment that have it end, and are the chain's business (botocore's EnvProvider).
_EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"

# Options of encryption, and the modes that they belong to.
_ENCRYPTION = {
    "sse_kms_key_id": ("aws:kms", "aws:kms:dsse"),
    "sse_bucket_key_enabled": ("aws:kms", "aws:kms:dsse"),
    "sse_customer_key_base64": ("sse-c",),
}


class MaskedDict(dict[str, object]):
    """A dict whose repr shows `***` for secrets; it equals the plain dict, and every value can be read."""

    __slots__ = ()

    def __repr__(self) -> str:
        words = (
            f"{key!r}: {BY_NAME[key].kind.mask(value) if key in BY_NAME else repr(value)}"
            for key, value in self.items()
        )
        return f"{{{', '.join(words)}}}"

    def copy(self) -> MaskedDict:
        """Return a copy that masks its secrets too."""
        return MaskedDict(self)

    def __or__(self, other: object) -> MaskedDict:  # type: ignore[override] # no other type of keys
        """Return both together, masked too."""
        return MaskedDict({**self, **other}) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: object) -> MaskedDict:  # type: ignore[override] # as above
        """Return both together, masked too; these come first."""
        return MaskedDict({**other, **self}) if isinstance(other, dict) else NotImplemented


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
        retry_config: FullRetry | None,
        *,
        reads_environment: bool,
    ) -> None:
        self.settings = settings
        self.config = config
        self.client_options = client_options
        self.retry_config = retry_config
        self.reads_environment = reads_environment

    def foreign(self) -> tuple[dict[str, Text], dict[str, Text]]:
        """Take the options that obstore has, in its spelling: S3 options and client options.

        Values that obstore refuses, such as `dynamo:` modes or crc32, are among them: a program that makes a
        store of its own from ours shall rather fail by name than write without what was asked for.
        """
        config, client = (
            {
                option.obstore_name: option.kind.foreign(text)
                for option, text in ((BY_NAME[name], text) for name, text in values.items())
                if not option.ours
            }
            for values in (self.config, self.client_options or {})
        )
        return config, client

    def own(self) -> dict[str, Text]:
        """Take what `foreign` leaves out or writes in another way."""
        return {
            name: text
            for name, text in {**self.config, **(self.client_options or {})}.items()
            if BY_NAME[name].ours or BY_NAME[name].kind.foreign(text) != text
        }


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
        ValueError: A value of `default_headers`, `root_certificate` or `retry_config` is wrong.
        TypeError: A key or value has the wrong type.
        OverflowError: max_retries is negative or too large.
    """
    environ = os.environ if environ is None else environ
    values = collect(
        bucket,
        config=config,
        client_options=client_options,
        credential_provider=credential_provider,
        kwargs=kwargs,
        environ=environ,
    )
    given = values.given
    retry = _parse_retry(retry_config)
    settings = _resolve(values, retry, environ, has_provider=credential_provider is not None)
    shown_client = {name: value.text for name, value in given.items() if value.option.section == CLIENT}
    return Configuration(
        settings,
        {name: value.text for name, value in given.items() if value.option.section == S3},
        shown_client if shown_client or client_options is not None else None,
        None if retry_config is None else retry,
        reads_environment=client_options is None,
    )


def collect(
    bucket: str | None = None,
    *,
    config: Mapping[str, object] | None = None,
    client_options: Mapping[str, object] | None = None,
    credential_provider: object = None,
    kwargs: Mapping[str, object] | None = None,
    environ: Mapping[str, str],
) -> Values:
    """Collect all that is given for a store, with who gave it; see `parse_config`."""
    from s3ext._targets import add_profile

    given = from_code(bucket, config=config, kwargs=kwargs, client_options=client_options)
    for name, value in from_provider(credential_provider).items():
        given.setdefault(name, value)
    values = Values(given, from_environment(environ, client=client_options is None))
    add_profile(values, environ, has_provider=credential_provider is not None)
    return values


def _resolve(values: Values, retry: FullRetry, environ: Mapping[str, str], *, has_provider: bool) -> Settings:
    from s3ext._targets import target_of

    bucket = _bucket(values)
    idle = values.get("pool_max_idle_per_host")
    resolved: dict[str, object] = {
        "bucket": bucket,
        **target_of(values, bucket),
        "signature_v2": values.text("signature_version") == "v2",
        "express_session": values.flag("s3_express") and not values.flag("skip_signature"),
        **_credentials(values, environ, has_provider=has_provider),
        **_retry_settings(retry),
        **_encryption(values),
        "verify_tls": not values.flag("allow_invalid_certificates"),
        "system_certificates": not values.flag("disable_system_certificates"),
        "ca_pem": values.get("root_certificate"),
        "default_headers": values.headers("default_headers"),
        "connect_timeout_ms": values.milliseconds("connect_timeout"),
        "first_byte_timeout_ms": values.milliseconds("read_timeout"),
        "stall_timeout_ms": values.milliseconds("read_timeout"),
        "total_timeout_ms": values.milliseconds("timeout"),
        "pool_idle_timeout_ms": values.milliseconds("pool_idle_timeout"),
        "pool_max_idle": -1 if idle is None else idle,
        "probe_ms": values.milliseconds("http2_keep_alive_interval"),
        "unanswered_ms": values.milliseconds("http2_keep_alive_timeout"),
        "http_version": _http_version(values),
        "proxy_ca_pem": values.get("proxy_ca_certificate"),
        "allow_http": _allow_http(values),
    }
    for name in FIELDS:
        if name not in resolved:
            resolved[name] = values.get(name)
    if not resolved["skip_signature"]:
        for header, _ in values.headers("default_headers"):
            if header == b"authorization":
                raise ValueError(
                    "failed to parse default_headers: the header authorization is the signature's; "
                    "set skip_signature=True to send another"
                )
    return Settings(resolved)


def _encryption(values: Values) -> dict[str, object]:
    """Take the options that belong to a mode of encryption, and refuse those that do not go together.

    What the environment holds for another mode than code asks for harms nobody, and counts for nothing.
    """
    mode = values.source("server_side_encryption")
    asked = None if mode is None else mode.text
    found: dict[str, object] = {}
    for name, modes in _ENCRYPTION.items():
        given = values.source(name)
        found[name] = values.get(name) if asked in modes else None
        if given is None or asked in modes:
            continue
        if mode is not None and given.source == ENVIRONMENT != mode.source:
            continue
        have = "none is set" if mode is None else f"{mode.label} is {mode.text!r}"
        raise GenericError(
            f"Generic S3 error: {given.label} goes with server_side_encryption="
            f"{' or '.join(map(repr, modes))}, but {have}"
        )
    if asked == "sse-c" and found["sse_customer_key_base64"] is None:
        raise GenericError(
            "Generic S3 error: Missing customer key: server_side_encryption='sse-c' needs "
            "sse_customer_key_base64, 32 bytes in base64"
        )
    return found


def _http_version(values: Values) -> int:
    only_1, only_2 = values.source("http1_only"), values.source("http2_only")
    if not values.flag("http2_only"):
        return 1 if values.flag("http1_only") else 0
    if only_1 is not None and only_2 is not None and values.flag("http1_only"):
        raise GenericError(
            f"Generic Config error: {only_1.label} and {only_2.label} are both true: "
            f"no version of HTTP is left"
        )
    return 2


def _bucket(values: Values) -> str:
    bucket = values.text("bucket")
    if not bucket:
        raise GenericError(
            "Generic S3 error: Missing bucket name: give it as the first argument, as bucket=, "
            "or in AWS_BUCKET"
        )
    if bucket.startswith("arn:"):
        return bucket
    if "/" in bucket or " " in bucket or bucket in {".", ".."}:
        raise GenericError(
            f"Generic S3 error: Invalid bucket name {shown(bucket)}: it must have no slash and no space; "
            f"a path within the bucket goes into prefix="
        )
    return bucket


def _allow_http(values: Values) -> bool:
    given = values.source("allow_http")
    if values.get("scheme") == "http" and (given is None or given.source == ENVIRONMENT):
        return True
    return values.flag("allow_http")


def _credentials(values: Values, environ: Mapping[str, str], *, has_provider: bool) -> dict[str, object]:
    """Choose the source of credentials: a provider, static keys, none, or the chain.

    Key, secret and token come from one place: what code gives is never filled up from the environment. A
    profile that was asked for in code comes before the environment's keys, and these have no say in the chain
    then.
    """
    skip = values.flag("skip_signature")
    found: dict[str, object] = {
        "access_key_id": None,
        "secret_access_key": None,
        "session_token": None,
        "sources": None,
        "credentials": "none" if skip else "chain",
    }
    in_code = any(name in values.given for name in _KEY_PAIR)
    table = values.given if in_code else {} if values.text("profile") else values.environment
    key, secret, token = (table.get(name) for name in (*_KEY_PAIR, "session_token"))
    half = (key or secret) if key is None or secret is None else None
    # Half a pair that just happens to be in the environment harms nobody who does not use it.
    if half is not None and not (half.source == ENVIRONMENT and (skip or has_provider)):
        missing = "SecretAccessKey" if secret is None else "AccessKeyId"
        other = "secret_access_key" if secret is None else "access_key_id"
        beside = "" if half.source == ENVIRONMENT else "; what the environment has goes with no key of code"
        raise GenericError(
            f"Generic S3 error: Missing {missing}: {half.label} is set; give {other} too, or neither{beside}"
        )
    alone = None if in_code or has_provider or skip else values.given.get("session_token")
    if alone is not None and alone.text:
        raise GenericError(
            f"Generic S3 error: Missing AccessKeyId: {alone.label} is set; give access_key_id and "
            f"secret_access_key with it"
        )
    by_chain = not in_code and not skip and environ.get(_EXPIRATION)
    if has_provider:
        found["credentials"] = "provider"
    elif key is not None and secret is not None and not by_chain:
        if not key.text or not secret.text:
            empty = secret if key.text else key
            raise GenericError(f"Generic S3 error: {empty.label} is empty; give a key pair or none")
        found["access_key_id"] = key.text
        found["secret_access_key"] = secret.text
        found["session_token"] = None if token is None else token.text or None
        found["credentials"] = "none" if skip else "static"
        if not in_code:
            from s3ext._credentials.logs import note

            note("credentials from the environment: %s", key.key)
    elif not skip:
        from s3ext._credentials.sources import sources_of

        found["sources"] = sources_of(values, environ)
    return found


def _parse_retry(retry_config: object) -> FullRetry:
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
    for name, option in RETRY_KEYS.items():
        values = given if name in {"max_retries", "retry_timeout"} else backoff or {}
        if name in values:
            found[name] = _retry_value(option, values[name])
    return {
        "backoff": {name: found[name] for name in ("init_backoff", "max_backoff", "base")},  # type: ignore[typeddict-item] # its kind saw to it
        "max_retries": found["max_retries"],  # type: ignore[typeddict-item] # its kind saw to it
        "retry_timeout": found["retry_timeout"],  # type: ignore[typeddict-item] # its kind saw to it
    }


def _retry_value(option: Option, value: object) -> object:
    where = f"retry_config: {option.name} must be {option.kind.expects}"
    try:
        return option.kind.parse(value)  # type: ignore[arg-type] # those of retries take anything
    except (TypeError, OverflowError, ValueError) as error:
        kind = type(value).__name__
        raise type(error)(f"{where} (of type {option.kind.accepted}), not {kind}: {shown(value)}") from None


def _retry_settings(retry: FullRetry) -> dict[str, object]:
    backoff = retry["backoff"]
    return {
        "max_retries": min(retry["max_retries"], _MOST_RETRIES),
        "retry_timeout_ms": milliseconds(timedelta_ns(retry["retry_timeout"])),
        "init_backoff_ms": milliseconds(timedelta_ns(backoff["init_backoff"])),
        "max_backoff_ms": milliseconds(timedelta_ns(backoff["max_backoff"])),
        "backoff_base": float(backoff["base"]),
        # A store shows its retry_config filled up with defaults; one that is made from that must be no other.
        "init_backoff_set": timedelta_ns(backoff["init_backoff"])
        != parse_duration(BY_NAME["init_backoff"].default or ""),
    }
