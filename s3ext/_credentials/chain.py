"""The chain."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._settings import Settings

__all__ = ["Chain"]


class Chain:
    """The credential provider of a store that was given none."""

    source: str | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self) -> dict[str, object]:
        raise NotImplementedError
