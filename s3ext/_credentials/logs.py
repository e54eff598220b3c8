"""The log of credentials, `s3ext.credentials`: which source has answered, at level DEBUG. No secrets."""

from __future__ import annotations

import sys

__all__ = ["note"]


def note(text: str, *values: object) -> None:
    """Write a line, in a program that has loaded logging; to load it is its choice.

    Args:
        text: The line, with `%s` for each value.
        values: The values.
    """
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("s3ext.credentials").debug(text, *values)
