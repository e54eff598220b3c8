"""Pages of listings made by hand, for what turns them into Python objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from s3ext._ffi import ffi

__all__ = ["Page", "entries"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Page:
    """A result of the core's with some objects, and the same as common prefixes.

    Args:
        objects: Key, ETag (None for none), size and time in microseconds of each.
    """

    def __init__(self, objects):
        self.objects = objects
        text = bytearray(b"before")
        rows = []
        for key, tag, size, modified in objects:
            rows.append((len(text), len(key), len(text) + len(key), len(tag or b""), size, modified))
            text += key + (tag or b"") + b"between"
        self._kept = (ffi.new("char[]", bytes(text)), ffi.new("struct s3ext_list_entry[]", rows))
        self._result = ffi.new("struct s3ext_result *")
        self._result.text, self._result.text_size = self._kept[0], len(text)
        self._result.objects = self._result.prefixes = self._kept[1]
        self._result.object_count = self._result.prefix_count = len(rows)
        self.address = int(ffi.cast("uintptr_t", self._result))

    def path(self, key, skip, *, raw):
        key = key[skip:]
        return (key if raw else key.removesuffix(b"/")).decode("utf-8", "surrogateescape")

    def metas(self, skip=0, *, raw=False):
        """Return what the objects are in Python."""
        return [
            {
                "path": self.path(key, skip, raw=raw),
                "last_modified": EPOCH + timedelta(microseconds=modified),
                "size": size,
                "e_tag": tag.decode("utf-8", "replace") if tag else None,
                "version": None,
            }
            for key, tag, size, modified in self.objects
        ]


_keys = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=10).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"", b"/", b"a/", b"a//", b"\xff", b"dir/\x01"]),
)

entries = st.lists(
    st.tuples(
        _keys,
        st.one_of(st.none(), st.binary(max_size=40), st.just(b'"9b2cf535f27731c974343645a3985328"')),
        st.integers(0, 2**64 - 1),
        st.integers(-62135596800000000, 253402300799999999),
    ),
    max_size=20,
)
"""Objects of a page, the oddest included."""
