"""What a configuration says of the sources of credentials, for a store that was given no keys.

It is part of the settings: stores that ask the same sources share a client. So it is compared by value, holds
no secret, and is written down when the store is made: a later change of the environment moves no store.
"""

from __future__ import annotations

from s3ext._credentials.files import choose_profile, places_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from s3ext._credentials.files import Places
    from s3ext._given import Values

__all__ = ["Sources", "sources_of"]

# Each is the option of this name.
_OPTIONS = (
    "web_identity_token_file",
    "role_arn",
    "role_session_name",
    "endpoint_url_sts",
    "container_credentials_relative_uri",
    "container_credentials_full_uri",
    "container_authorization_token_file",
    "metadata_endpoint",
    "imdsv1_fallback",
    "ignore_configured_endpoint_urls",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
)


class Sources:
    """Where to look.

    Attributes:
        profile: Name of the profile.
        profile_from: Who named it: `"profile"` (the option), a variable, or `""` for nobody.
        places: The files.
        web_identity_token_file: The option, as all that follow.
        role_arn: Role for the web identity.
        role_session_name: Name of its session.
        endpoint_url_sts: URL of the token service, or None for AWS's.
        container_credentials_relative_uri: Path at the agent of ECS.
        container_credentials_full_uri: URL of another agent.
        container_authorization_token_file: File with the token for it.
        metadata_endpoint: URL of the instance metadata service, or None for the usual one.
        imdsv1_fallback: Whether version 1 of it will do.
        ignore_configured_endpoint_urls: Whether AWS's services are asked at AWS's own URLs, whatever
            variables and profiles say.
        use_dualstack_endpoint: Whether those URLs are the ones with IPv6.
        use_fips_endpoint: Whether they are the ones that meet FIPS 140.
    """

    __slots__ = ("places", "profile", "profile_from", *_OPTIONS)

    profile: str
    profile_from: str
    places: Places
    web_identity_token_file: str | None
    role_arn: str | None
    role_session_name: str
    endpoint_url_sts: str | None
    container_credentials_relative_uri: str | None
    container_credentials_full_uri: str | None
    container_authorization_token_file: str | None
    metadata_endpoint: str | None
    imdsv1_fallback: bool
    ignore_configured_endpoint_urls: bool
    use_dualstack_endpoint: bool
    use_fips_endpoint: bool

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, values[name])

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"sources cannot be changed: {name}")

    def _key(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Sources) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<sources profile={self.profile!r}>"


def sources_of(values: Values, environ: Mapping[str, str]) -> Sources:
    """Take what options and environment say.

    Args:
        values: The options.
        environ: The environment, for files and the name of the profile.
    """
    profile, profile_from = choose_profile(values.text("profile"), environ)
    found = {name: values.get(name) for name in _OPTIONS}
    if values.source("metadata_endpoint") is None:
        found["metadata_endpoint"] = None  # other ways of saying it come before its default
    if found["ignore_configured_endpoint_urls"] and "endpoint_url_sts" not in values.given:
        found["endpoint_url_sts"] = None
    return Sources({**found, "profile": profile, "profile_from": profile_from, "places": places_of(environ)})
