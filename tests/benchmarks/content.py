"""The bytes of the source's objects, for those who check them; source.c makes the same."""

from __future__ import annotations

__all__ = ["PERIOD", "content"]

PERIOD = 67108859
"""The content repeats after so many bytes."""

_MASK = (1 << 64) - 1


def _splitmix64(n: int) -> int:
    z = (n + 1) * 0x9E3779B97F4A7C15 & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return z ^ z >> 31


def content(start: int, size: int) -> bytes:
    """Return `size` bytes at `start` of any object."""
    result = bytearray()
    while size > 0:
        place = start % PERIOD
        run = min(size, PERIOD - place)
        words = range(place // 8, (place + run + 7) // 8)
        text = b"".join(_splitmix64(word).to_bytes(8, "little") for word in words)
        result += text[place % 8 :][:run]
        start, size = start + run, size - run
    return bytes(result)
