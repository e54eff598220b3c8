"""Forks, signals, cancellation, ends of processes, leaks and crowds of threads.

Everything happens in child processes with time limits (see `process`), against a verifying server in pytest's
process: what the client does to its connections is in the server's records.
"""

from __future__ import annotations

__all__ = ["KEY", "SIZE"]

KEY = "k"
SIZE = 3_000_000
"""The object that scripts find on their server: SIZE bytes of PatternBody's content."""
