"""What is given: the values of options, by a caller and by the environment, and which of them count.

Where a value comes from, the strongest first:

    keyword arguments, `config=`, the positional bucket   one level: giving an option twice is an error
    the URL of `from_url`                                 below `config=`; in conflict with keyword arguments
    `credential_provider.config`
    the environment, `AWS_*`, `S3EXT_*`, `HTS_S3_*`       never shown, never pickled; empty counts as unset
    a profile of the shared files                         `_targets.py` says what of it; likewise

`client_options=` given, even empty, shuts out every client option of `AWS_*` variables. A default region from
the environment beats one that was given, as in obstore; an endpoint that was given beats both of the
environment's, unlike in obstore, where AWS_ENDPOINT_URL_S3 would redirect a store whose code names its
endpoint.

Invariants: a secret is in no error; a value is kept as it was given, and parsed apart from that.
"""

from __future__ import annotations

from s3ext._kinds import Certificates, Headers, Mode, Url, milliseconds
from s3ext._options import BY_NAME, CLIENT, CLIENT_KEYS, CONFIG_KEYS, PRESENCE, VARIABLES
from s3ext._paths import shown
from s3ext.exceptions import GenericError, UnknownConfigurationKeyError

# The name is enough for type checkers, and importing typing would cost more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from s3ext._kinds import Text
    from s3ext._options import Option

__all__ = [
    "ENVIRONMENT",
    "Given",
    "Values",
    "canonical_config",
    "from_code",
    "from_environment",
    "from_provider",
    "over_url",
]

_UNKNOWN_KEY = "Configuration key: '{}' is not valid for store 'S3'."
_UNKNOWN_CLIENT_KEY = "Invalid key: {}."
# What says whose keys to use, and may stand in a URL.
_KEYS = frozenset({"access_key_id", "secret_access_key", "session_token", "profile"})
ENVIRONMENT = "environment"
"""The source of what nobody gave in code."""


class Given:
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
    visible = kind.mask(value) if option.secret or isinstance(kind, Url) else shown(value)
    if option.name == "checksum_algorithm":
        text = f"Generic Config error: {visible} is not a valid checksum algorithm for {label}"
    elif option.name == "server_side_encryption":
        text = f"Generic S3 error: Invalid encryption type: {visible} for {label}"
    elif isinstance(kind, Certificates) and reason:
        raise GenericError(f"Generic Config error: failed to parse {label}: {reason}") from None
    elif isinstance(kind, Certificates):
        text = f"No certificates found in `{option.name}` input"
    elif isinstance(kind, Headers):
        text = f"failed to parse {label}"
    else:
        verb = "Failed" if isinstance(kind, Mode) else "failed"
        text = f"Generic Config error: {verb} to parse {visible} as {kind.name} for {label}"
    reason = f": {reason}" if reason else ""
    raise kind.failure(f"{text}{reason}; it must be {kind.expects}") from None


def _render(option: Option, key: str, value: object, source: str) -> Given:
    try:
        return Given(option, key, option.kind.render(value), source)
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
        import difflib  # noqa: PLC0415 - only for this error

        near = difflib.get_close_matches(key.lower(), table, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownConfigurationKeyError(message.format(shown(key)[1:-1]) + hint)
    return option


def _collect(
    given: dict[str, Given],
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


def _items(name: str, values: object) -> Iterable[tuple[object, object]]:
    if values is None:
        return ()
    if not isinstance(values, dict):
        raise TypeError(
            f"{type(values).__name__!r} object is not an instance of 'dict': {name} must be a dict"
        )
    return values.items()


def canonical_config(config: Mapping[str, object] | None) -> dict[str, object]:
    """Give the keys of a `config=` dictionary their canonical names.

    Args:
        config: What the caller gave.

    Raises:
        UnknownConfigurationKeyError: There is no such option.
        GenericError: An option is given twice.
        TypeError: A key is not a str, or a value has the wrong type.
    """
    return {name: value.text for name, value in from_code(config=config).items()}


def over_url(
    named: Mapping[str, str],
    config: Mapping[str, object] | None,
    kwargs: Mapping[str, object],
    *,
    provider: object = None,
) -> dict[str, object]:
    """Lay a `config=` dictionary over what a URL says; keys of both are never mixed.

    Args:
        named: What the URL says.
        config: What the caller gave.
        kwargs: What goes with it as keyword arguments, to be looked at only.
        provider: The credential provider, to be looked at only.

    Raises:
        GenericError: An option is given twice, or keyword arguments or a provider give keys to a URL that has
            some.
        UnknownConfigurationKeyError: There is no such option.
        TypeError: A key is not a str, or a value has the wrong type.
    """
    given, beside = canonical_config(config), canonical_config(kwargs)
    if not _KEYS.isdisjoint(named):
        if clash := sorted(_KEYS & beside.keys()):
            raise GenericError(f"Duplicate keys provided: the URL has some, and {clash[0]} is given as well")
        if not _KEYS.isdisjoint(given):
            named = {name: value for name, value in named.items() if name not in _KEYS}
        elif provider is not None:
            kind = "the name of a profile" if "profile" in named else "keys"
            raise GenericError(
                f"Duplicate keys provided: the URL has {kind}, and credential_provider is given as well"
            )
    return {**named, **given}


def from_code(
    bucket: str | None = None,
    *,
    config: Mapping[str, object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    client_options: Mapping[str, object] | None = None,
) -> dict[str, Given]:
    """Take what a caller gave to a constructor; all of it has the same rank.

    Raises:
        GenericError: An option is given twice, or its value is wrong.
        UnknownConfigurationKeyError: There is no such option.
        TypeError: A key or value has the wrong type.
        ValueError: A value of `default_headers` or `root_certificate` is wrong.
    """
    given: dict[str, Given] = {}
    if bucket is not None:
        given["bucket"] = _render(BY_NAME["bucket"], "bucket", bucket, "")
    _collect(given, _items("config", config), CONFIG_KEYS, _UNKNOWN_KEY)
    _collect(given, _items("kwargs", kwargs), CONFIG_KEYS, _UNKNOWN_KEY)
    _collect(given, _items("client_options", client_options), CLIENT_KEYS, _UNKNOWN_CLIENT_KEY)
    return given


def from_environment(environ: Mapping[str, str], *, client: bool) -> dict[str, Given]:
    """Take the options that the environment sets; AWS's names of client options only if `client`."""
    found: dict[str, tuple[int, Given]] = {}
    for name in environ:
        if not name.startswith(("AWS_", "S3EXT_", "HTS_S3_")):
            continue
        option, rank = VARIABLES.get(name.lower(), (None, 0))
        if option is None or (option.section == CLIENT and not client and not option.ours):
            continue
        value = PRESENCE.get(name) or environ[name]
        if value and (option.name not in found or rank < found[option.name][0]):
            found[option.name] = rank, Given(option, name, value, ENVIRONMENT)
    return {name: given for name, (_, given) in found.items()}


def from_provider(provider: object) -> dict[str, Given]:
    """Take what a credential provider says in its `config` attribute.

    Raises:
        TypeError: It cannot be called, its `config` is no dict of options, or its `refresh_threshold` no
            timedelta.
        GenericError: A value is wrong.
        UnknownConfigurationKeyError: There is no such option.
    """
    if provider is None:
        return {}
    if not callable(provider):
        raise TypeError(
            f"Expected callable object for credential_provider. It is of type {type(provider).__name__!r}."
        )
    threshold = getattr(provider, "refresh_threshold", None)
    if threshold is not None and not hasattr(threshold, "total_seconds"):
        raise TypeError(
            f"credential_provider.refresh_threshold must be a timedelta, not {type(threshold).__name__}: "
            f"{shown(threshold)}"
        )
    given: dict[str, Given] = {}
    config = getattr(provider, "config", None)
    _collect(
        given, _items("credential_provider.config", config), CONFIG_KEYS, _UNKNOWN_KEY, "credential_provider"
    )
    return given


class Values:
    """The values that count, parsed when they are asked for; one method for each type that a kind gives."""

    def __init__(self, given: dict[str, Given], environment: dict[str, Given]) -> None:
        self.given = given
        self.environment = environment
        self.profile: dict[str, Given] = {}
        self._found = {**environment, **given}
        self._parsed = {name: value.parse() for name, value in self._found.items()}

    def add_profile(self, profile: dict[str, Given]) -> None:
        """Add the weakest values: those of a profile of the shared files.

        Raises:
            GenericError: One that counts is wrong.
        """
        self.profile = profile
        for name, value in profile.items():
            if name not in self._found:
                self._found[name] = value
                self._parsed[name] = value.parse()

    def levels(self) -> tuple[dict[str, Given], dict[str, Given], dict[str, Given]]:
        """Return what code, environment and profile give."""
        return self.given, self.environment, self.profile

    def source(self, name: str) -> Given | None:
        return self._found.get(name)

    def get(self, name: str) -> object:
        if name in self._parsed:
            return self._parsed[name]
        option = BY_NAME[name]
        return None if option.default is None else option.kind.parse(option.default)

    def text(self, name: str) -> str | None:
        value = self.get(name)
        assert value is None or isinstance(value, str)
        return value

    def flag(self, name: str) -> bool:
        value = self.get(name)
        assert isinstance(value, bool)
        return value

    def headers(self, name: str) -> tuple[tuple[bytes, bytes], ...]:
        value = self.get(name)
        assert value is None or isinstance(value, tuple)
        return value or ()

    def milliseconds(self, name: str) -> int:
        value = self.get(name)
        assert value is None or isinstance(value, int)
        return 0 if value is None else milliseconds(value)
