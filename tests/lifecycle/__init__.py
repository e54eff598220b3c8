"""Forks, signals, cancellation, ends of processes, leaks and crowds of threads.

Everything happens in child processes with time limits (see `process`), against a verifying server in pytest's
process: what the client does to its connections is in the server's records.
"""

from __future__ import annotations

import os

__all__ = ["KEY", "SIZE", "SLOW"]

KEY = "k"
SIZE = 3_000_000
"""The object that scripts find on their server: SIZE bytes of PatternBody's content."""

SLOW = {"": 1, "thread": 10}.get(os.environ.get("S3EXT_SANITIZE", ""), 5)
"""By how much a sanitizer may stretch time limits, in all tests; .ci/sanitize says which one runs."""
