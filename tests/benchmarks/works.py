"""What is measured: the works, and the forms (idioms) that each is done in."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLOORS", "FORMS", "MIB", "PEER", "Form", "Work"]

KIB = 1 << 10
MIB = 1 << 20
BIG = 1 << 30

PEER = "obstore"
"""The client that ratios are taken against."""


@dataclass(frozen=True)
class Work:
    """One kind of request, many times."""

    letter: str
    title: str
    operation: str
    """"range", "get" (a whole object), "head", "put" (one object in parts), "list" or "import"."""
    size: int = 0
    """Bytes of each answer's body."""
    object_size: int = 0
    unit: str = "us/request"
    """How client CPU is given: "us/request", "us/key", "s/GB" (10^9 bytes) or "ms"."""


@dataclass(frozen=True)
class Form:
    """A way to do a work. What is done at scale 1 is `count` requests."""

    work: Work
    style: str
    """"async", "threads", "sync", "get_ranges" (256 ranges a call), "whole" or "into" (one call for all),
    "unsigned" or "signed" (an upload), "dicts" or "arrow" (a list)."""
    count: int
    in_flight: int = 1
    floor: str = ""
    """The name of the same work in floor.c."""
    clients: tuple[str, ...] = ("obstore", "s3ext")
    compare_to: str = ""
    """The style whose figure for the peer is compared with; empty: the same."""
    beside: str = ""
    """A style of the work whose figure for the same client is compared with, too; empty: none."""

    @property
    def name(self) -> str:
        """The form's name on the command line of a client: letter and style."""
        return f"{self.work.letter}:{self.style}"

    @property
    def title(self) -> str:
        """What the table calls the form."""
        flight = f", {self.in_flight} in flight" if self.in_flight > 1 else ""
        return f"{self.work.letter} {self.work.title}, {STYLES[self.style]}{flight}"


STYLES = {
    "async": "async",
    "threads": "threads",
    "sync": "sync, one at a time",
    "get_ranges": "get_ranges of 256",
    "whole": "get().bytes()",
    "into": "one get_range(into=)",
    "unsigned": "unsigned_payload",
    "signed": "payload signed",
    "dicts": "dicts, chunks of 1,000",
    "arrow": "return_arrow, chunks of 1,000",
    "import": "where the floor is a bare interpreter",
}

_PARTS = Work("a", "1 GiB in 8 MiB parts", "range", 8 * MIB, BIG, "s/GB")
_WHOLE = Work("a", "1 GiB", "get", BIG, BIG, "s/GB")
_RANGES = Work("b", "64 KiB ranges", "range", 64 * KIB, BIG)
_OBJECTS = Work("c", "16 KiB objects", "get", 16 * KIB, 16 * KIB)
_TINY = Work("d", "4 KiB ranges", "range", 4 * KIB, BIG)
_HEADS = Work("e", "HEAD", "head", 0, 16 * KIB)
_UPLOAD = Work("f", "upload of 1 GiB in parts of 8 MiB", "put", BIG, BIG, "s/GB")
_LIST = Work("g", "list of 1,000,000 keys", "list", unit="us/key")
_IMPORT = Work("h", "import", "import", unit="ms")

FORMS = (
    Form(_PARTS, "async", 128, 8, "a"),
    Form(_PARTS, "threads", 128, 8, "a"),
    Form(_WHOLE, "whole", 1, 1, "a"),
    Form(_WHOLE, "into", 1, 1, "a", clients=("s3ext",), compare_to="async"),
    Form(_RANGES, "async", 8000, 32, "b"),
    Form(_RANGES, "threads", 8000, 32, "b"),
    Form(_RANGES, "get_ranges", 8192, 1, "b"),
    Form(_OBJECTS, "async", 8000, 32, "c"),
    Form(_OBJECTS, "threads", 8000, 32, "c"),
    Form(_TINY, "sync", 6000, 1, "d"),
    Form(_HEADS, "async", 8000, 32, "e"),
    Form(_HEADS, "sync", 6000, 1, "e1"),
    Form(_UPLOAD, "unsigned", 1, 1, "f"),
    Form(_UPLOAD, "signed", 1, 1, "f"),
    Form(_LIST, "dicts", 1_000_000, 1, "g"),
    Form(_LIST, "arrow", 1_000_000, 1, "g", beside="dicts"),
    Form(_IMPORT, "import", 10),
)

FLOORS = {"a": 128, "b": 16000, "c": 20000, "d": 10000, "e": 20000, "e1": 10000, "f": 128, "g": 1000}
"""Requests of the floor at scale 1, by the names of its works."""
