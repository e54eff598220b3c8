"""What the sources share while the chain looks for keys once."""

from __future__ import annotations

from s3ext._credentials.files import Profile, profile_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3ext._credentials.sources import Sources
    from s3ext._settings import Settings

__all__ = ["Context"]


class Context:
    """One search.

    Args:
        settings: The store's settings: how to connect, and its sources.
        environ: The environment as it is now, for what is a secret or may change: keys, tokens, switches.

    Attributes:
        sources: Where to look.
    """

    __slots__ = ("_profiles", "environ", "settings", "sources")

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        assert settings.sources is not None
        self.settings = settings
        self.sources: Sources = settings.sources
        self.environ = environ
        self._profiles: dict[str, Profile] = {}

    def profile(self, name: str | None = None) -> Profile:
        """Return a profile, read once for all of this search.

        Args:
            name: Its name; default: the store's.

        Raises:
            GenericError: A file cannot be read, or a line that matters is malformed.
        """
        name = self.sources.profile if name is None else name
        found = self._profiles.get(name)
        if found is None:
            found = self._profiles[name] = profile_of(name, self.sources.places)
        return found
