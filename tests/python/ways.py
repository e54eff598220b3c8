"""Calling a store in sync and in async code alike, so that every test of an operation is a test of both."""

from __future__ import annotations

import asyncio

from s3ext.store import S3Store
from tests.server import ACCESS_KEY, REGION, SECRET_KEY

__all__ = ["PART", "Way", "connect"]

PART = 5 * 1024 * 1024
"""Part size of the stores of these tests: reads beyond twice of it are split."""


def connect(server, bucket="bucket", **options):
    """Make a store for a verifying server."""
    if "credential_provider" not in options and not options.get("skip_signature"):
        options = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, **options}
    return S3Store(bucket, endpoint=server.url, region=REGION, allow_http=True, part_size=PART, **options)


class Way:
    """Sync or async calls: `way(store, "get", path)`."""

    def __init__(self, name):
        self.name = name
        self.runner = asyncio.Runner() if name == "async" else None

    def __call__(self, on, method, *args, **kwargs):
        if self.runner is None:
            return getattr(on, method)(*args, **kwargs)
        return self.runner.run(getattr(on, f"{method}_async")(*args, **kwargs))

    def pieces(self, stream):
        if self.runner is None:
            return list(stream)

        async def all_of_it():
            return [piece async for piece in stream]

        return self.runner.run(all_of_it())

    def close(self):
        if self.runner is not None:
            self.runner.close()
