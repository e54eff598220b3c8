"""What a store is apart from its operations: its configuration.

A store is made in `__new__`, as obstore's is: a subclass may have an `__init__` of its own, and pickling
needs no more than the arguments. It does no I/O. It never changes, but for attributes of its own that a user
adds.

`__getnewargs_ex__` is more than pickling: extensions in Rust take any object whose class is called S3Store
and build their own store from these arguments. So they hold nothing but what obstore knows, as plain
dictionaries; options of ours travel in the state, and `__setstate__` parses the configuration again with
them.

Invariants: `_settings` follows from the other fields and the environment at the time of parsing; a repr never
shows a secret; a pickle holds the secrets that were given in code, in clear, and none from the environment.
"""

from __future__ import annotations

from s3ext._configuration import MaskedDict, parse_config
from s3ext._given import over_url
from s3ext._paths import join, normalize

__all__ = ["StoreConfiguration"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self, SupportsIndex, Unpack

    from s3ext._configuration import Configuration
    from s3ext._settings import Settings
    from s3ext._types import ClientConfig, RetryConfig, S3Config, S3CredentialProvider, S3Keywords


class StoreConfiguration:
    """The configuration half of S3Store.

    Args:
        bucket: Name of the bucket.
        prefix: Prefix within the bucket for all operations; it is normalised like a path.
        config: S3 options.
        client_options: Options of connections and requests; given, even empty, they shut out those of `AWS_*`
            environment variables.
        retry_config: How failed requests are retried.
        credential_provider: A callable, sync or async, that returns an `S3Credential`. Without it and
            without keys, these are looked for where AWS's tools do, at the first request.
        **kwargs: S3 options, as in `config`.

    Raises:
        GenericError: A value is wrong, an option is given twice, the bucket or half of a key pair is missing.
        UnknownConfigurationKeyError: There is no such option.
        InvalidPathError: The prefix breaks a rule of paths.
        ValueError: A value of `default_headers`, `root_certificate` or `retry_config` is wrong.
        TypeError: An argument has the wrong type.
        OverflowError: `max_retries` is negative or too large.
    """

    __slots__ = ("_configuration", "_credential_provider", "_prefix")

    _configuration: Configuration
    _credential_provider: S3CredentialProvider | None
    _prefix: str | None

    def __new__(
        cls,
        bucket: str | None = None,
        *,
        prefix: str | None = None,
        config: S3Config | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: S3CredentialProvider | None = None,
        **kwargs: Unpack[S3Keywords],
    ) -> Self:
        """Make a store; see the class for the arguments."""
        self = super().__new__(cls)
        self._prefix = None if prefix is None else normalize(prefix)
        join(None, self._prefix or "", root=True)  # the prefix alone must fit into a key
        self._credential_provider = credential_provider
        self._configuration = parse_config(
            bucket,
            config=config,
            client_options=client_options,
            retry_config=retry_config,
            credential_provider=credential_provider,
            kwargs=kwargs,
        )
        return self

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        config: S3Config | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: S3CredentialProvider | None = None,
        **kwargs: Unpack[S3Config],
    ) -> Self:
        """Make a store from a URL, whose path becomes the prefix.

        Args:
            url: `s3://bucket/prefix`, an https URL of AWS or Cloudflare R2, or
                `http[s]://host[:port]/bucket/prefix` of any other server. Keys may stand in it, as in
                `s3://ID:SECRET:TOKEN@bucket/prefix` (each percent-encoded), or the name of a profile, as in
                `s3://profile@bucket/prefix`; `s3+http://` allows http for this store. htslib lets any `@`
                switch off the variables of the environment for region, endpoint and addressing, too; here, as
                with AWS's tools, they count.
            config: S3 options; they replace what the URL says, keys and profile as a whole.
            client_options: Options of connections and requests.
            retry_config: How failed requests are retried.
            credential_provider: A callable, sync or async, that returns an `S3Credential`.
            **kwargs: S3 options; one that the URL gives too is an error.

        Raises:
            GenericError: The URL names no S3 bucket, names a version, or a keyword argument is also in the
                URL. What may be a secret in it is not shown.
            ValueError: This is not a URL.
        """
        from s3ext._url import parse_store_url  # noqa: PLC0415 - few programs open stores by URL

        location = parse_store_url(url)
        # It refuses "prefix" as well, which would only collide below.
        merged = over_url(location.config, config, kwargs, provider=credential_provider)
        return cls(
            prefix=location.prefix,
            config=merged,  # type: ignore[arg-type] # its keys are looked up
            client_options=client_options,
            retry_config=retry_config,
            credential_provider=credential_provider,
            **kwargs,
        )

    @property
    def prefix(self) -> str | None:
        """The prefix of all operations, normalised; None if there is none."""
        return self._prefix

    @property
    def config(self) -> S3Config:
        """The S3 options that were given in code: canonical keys, strings. None comes from the environment.

        The dictionary is a new one each time. Its repr masks secrets; each can be read by its key.
        """
        return MaskedDict(self._configuration.config)  # type: ignore[return-value] # not just any dict

    @property
    def client_options(self) -> ClientConfig | None:
        """The client options that were given in code, None if none were; strings, but for headers and PEM."""
        options = self._configuration.client_options
        if options is None:
            return None
        copies = {key: dict(value) if isinstance(value, dict) else value for key, value in options.items()}
        return MaskedDict(copies)  # type: ignore[return-value] # not just any dict

    @property
    def retry_config(self) -> RetryConfig | None:
        """The retry options, filled up with defaults; None if none were given."""
        retry = self._configuration.retry_config
        return None if retry is None else {**retry, "backoff": {**retry["backoff"]}}

    @property
    def credential_provider(self) -> S3CredentialProvider | None:
        """The credential provider that was given."""
        return self._credential_provider

    @property
    def _settings(self) -> Settings:
        """What the configuration means; what the C client is made from."""
        return self._configuration.settings

    def __repr__(self) -> str:
        bucket = self._configuration.settings.bucket
        prefix = "" if self._prefix is None else f', prefix="{self._prefix}"'
        return f'S3Store(bucket="{bucket}"{prefix})'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoreConfiguration):
            return NotImplemented
        mine, others = self._configuration, other._configuration
        return (
            self._prefix == other._prefix
            and mine.config == others.config
            and mine.client_options == others.client_options
            and mine.retry_config == others.retry_config
            and bool(self._credential_provider == other._credential_provider)
        )

    # Credential providers need not be hashable, and obstore's stores are not.
    __hash__ = None  # type: ignore[assignment] # object has one

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, object]]:
        """Return the arguments that make this store again, restricted to what obstore knows."""
        configuration = self._configuration
        config, client_options = configuration.foreign()
        arguments: dict[str, object] = {"config": config}
        if self._prefix is not None:
            arguments["prefix"] = self._prefix
        if configuration.client_options is not None and (
            client_options or not configuration.reads_environment
        ):
            arguments["client_options"] = client_options
        if configuration.retry_config is not None:
            arguments["retry_config"] = self.retry_config
        if self._credential_provider is not None:
            arguments["credential_provider"] = self._credential_provider
        return (), arguments

    def __getstate__(self) -> dict[str, object] | None:
        """Return what the arguments leave out: options of ours, and attributes that a user added."""
        configuration = self._configuration
        state: dict[str, object] = {}
        if options := configuration.own():
            state["options"] = options
        if configuration.reads_environment and configuration.client_options:
            state["reads_environment"] = True
        if attributes := getattr(self, "__dict__", None):
            state["attributes"] = dict(attributes)
        return state or None

    def __setstate__(self, state: Mapping[str, object]) -> None:
        """Take the state in; the store has just been made and nobody has used it yet."""
        options = state.get("options", {})
        assert isinstance(options, dict)
        reads_environment = "reads_environment" in state
        if options or reads_environment:
            before = self._configuration
            # Client options given as keyword arguments leave those of the environment in force.
            self._configuration = parse_config(
                config={**before.config, **(before.client_options or {}), **options},
                client_options=None if reads_environment else before.client_options and {},
                retry_config=self.retry_config,
                credential_provider=self._credential_provider,
            )
        attributes = state.get("attributes")
        if isinstance(attributes, dict):
            self.__dict__.update(attributes)

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[object, ...]:
        """Refuse the protocols 0 and 1, which know no keyword arguments of a constructor."""
        if protocol.__index__() < 2:
            raise TypeError(f"a store needs pickle protocol 2 or newer, not {protocol.__index__()}")
        return super().__reduce_ex__(protocol)
