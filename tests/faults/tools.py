"""What the fault tests share: stores that retry quickly, counters, and readings of the server's records."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import s3ext
from s3ext.store import S3Store
from tests.server import ACCESS_KEY, REGION, SECRET_KEY

__all__ = ["ETAG_SHAPE", "PART", "SHAPES", "Counters", "connect", "pattern", "read", "retrying", "sent_once"]

PART = 64 * 1024
"""Part size of the stores here, the least allowed: an object of a few hundred KiB has many parts."""

ETAG_SHAPE = r'"[0-9a-f]{32}(-\d+)?"'

SHAPES = ("range", "ranges", "whole", "stream", "into", "range_into", "ranges_into")
"""The ways to read an object, for `read`."""

_COUNTED = (
    "retries",
    "retries_throttle",
    "retries_server",
    "retries_connect",
    "retries_transport",
    "retries_other",
    "resumed",
)


@cache
def pattern(size, seed=0):
    """Make bytes in which no two places are alike."""
    block = b"".join(
        (seed * 1_000_003 + n * 2_654_435_761).to_bytes(8, "big")[-4:] for n in range(size // 4 + 1)
    )
    return block[:size]


def retrying(max_retries=10, *, first_ms=1, most_ms=4, retry_timeout=timedelta(seconds=30)):
    """Make a retry_config whose waits are short."""
    return {
        "max_retries": max_retries,
        "retry_timeout": retry_timeout,
        "backoff": {
            "init_backoff": timedelta(milliseconds=first_ms),
            "max_backoff": timedelta(milliseconds=most_ms),
            "base": 2,
        },
    }


def connect(server, bucket="bucket", *, max_retries=10, **options):
    """Make a store for a server, with static keys unless the options say otherwise."""
    if "credential_provider" not in options and not options.get("skip_signature"):
        options = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY} | options
    settings = {"endpoint": getattr(server, "url", server), "region": REGION, "part_size": PART}
    settings |= {"retry_config": retrying(max_retries)} | options
    client = {"allow_http": True} | settings.pop("client_options", {})
    client["part_size"] = settings.pop("part_size")
    return S3Store(bucket, client_options=client, **settings)


def read(way, store, shape, key, size):
    """Read an object of `size` bytes in one of the SHAPES, and return its bytes."""
    cuts = [0, size // 3, size // 2, size]
    if shape == "range":
        return bytes(way(store, "get_range", key, start=0, end=size))
    if shape == "ranges":
        return b"".join(map(bytes, way(store, "get_ranges", key, starts=cuts[:-1], ends=cuts[1:])))
    if shape == "whole":
        return bytes(way(way(store, "get", key), "bytes"))
    if shape == "stream":
        return b"".join(way.pieces(way(store, "get", key).stream(PART)))
    into = bytearray(size)
    if shape == "into":
        way(store, "get", key, into=into)
    elif shape == "range_into":
        way(store, "get_range", key, start=0, end=size, into=into)
    else:
        way(store, "get_ranges", key, starts=cuts[:-1], ends=cuts[1:], into=into)
    return bytes(into)


class Counters:
    """What the core counted since the last look."""

    def __init__(self):
        self.start = s3ext.stats()

    def __call__(self):
        """Return the retry counters that changed, by their names, and begin anew."""
        now = s3ext.stats()
        changes = {name: now[name] - self.start[name] for name in _COUNTED if now[name] != self.start[name]}
        self.start = now
        return changes


def sent_once(server, key, size):
    """Tell whether the answers held every byte of an object once, by what the server put on the wire."""
    server.wait_idle()
    spans = sorted(
        (request.range()[0], request.range()[0] + request.body_sent)
        for request in server.find("GET", key)
        if request.status == 206 and request.body_sent
    )
    ends = [0, *(end for _, end in spans)]
    return [start for start, _ in spans] == ends[:-1] and ends[-1] == size
