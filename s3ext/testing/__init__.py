"""Helps to test programs that use S3: an S3 server in a process of its own."""

from __future__ import annotations

from s3ext.testing._server import Server, serve

__all__ = ["Server", "serve"]
