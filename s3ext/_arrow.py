"""Listings as Arrow: record batches and tables that every Arrow library takes, without depending on any.

What obstore returns with `return_arrow=True` are arro3's classes, and it cannot do so without arro3. Where
arro3-core is installed the same classes are returned here, so that a program that uses their methods goes on.
Elsewhere it is the two classes below: they can be measured, and be given to whatever speaks the Arrow
PyCapsule interface (https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html), such as
`pyarrow.record_batch(batch)`, `polars.DataFrame(batch)`, or `SELECT * FROM batch` in duckdb. Nothing is
copied on the way.

The columns are path (utf8), last_modified (timestamp[us, UTC]), size (uint64), e_tag (utf8, nullable) and
version (utf8, nullable). Bytes of a key that are no UTF-8 are shown as U+FFFD, because Arrow's text is always
valid. The memory is C's (csrc/python/arrow.c) and outlives the listing.

This module is loaded when Arrow is asked for.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module

from s3ext._ffi import ArrowRows, arrow_join, arrow_rows, arrow_schema, arrow_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    class ArrowBatch(Protocol):
        """What a record batch can do, whoever made it."""

        @property
        def num_rows(self) -> int: ...
        @property
        def num_columns(self) -> int: ...
        @property
        def column_names(self) -> Sequence[str]: ...
        def __arrow_c_schema__(self) -> object: ...
        def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...

    class ArrowTable(Protocol):
        """What a table can do, whoever made it."""

        @property
        def num_rows(self) -> int: ...
        @property
        def num_columns(self) -> int: ...
        @property
        def column_names(self) -> Sequence[str]: ...
        def __arrow_c_schema__(self) -> object: ...
        def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


__all__ = ["COLUMNS", "RecordBatch", "Table", "chunk_of", "page_batch", "table_of"]

COLUMNS = ("path", "last_modified", "size", "e_tag", "version")
"""The names of the columns."""


class RecordBatch(ArrowRows):
    """Objects of a listing as an Arrow record batch.

    It has `__arrow_c_schema__`, `__arrow_c_array__` and `__arrow_c_stream__`; `len()` counts its rows, and a
    slice of it shares its memory.

    Example:
        >>> for batch in store.list("logs", return_arrow=True):
        ...     frame = polars.DataFrame(batch)
    """

    __slots__ = ()

    @property
    def num_rows(self) -> int:
        """Number of objects."""
        return len(self)

    @property
    def num_columns(self) -> int:
        """Number of columns: 5."""
        return len(COLUMNS)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in their order."""
        return list(COLUMNS)

    def __repr__(self) -> str:
        return f"RecordBatch({len(self)} rows: {', '.join(COLUMNS)})"


class Table:
    """Objects of a listing as an Arrow table: batches of the same columns.

    It has `__arrow_c_schema__` and `__arrow_c_stream__`; `len()` counts its rows.

    Args:
        batches: The batches; there may be none.
    """

    __slots__ = ("_batches",)

    def __init__(self, batches: list[RecordBatch]) -> None:
        self._batches = batches

    @property
    def num_rows(self) -> int:
        """Number of objects."""
        return sum(map(len, self._batches))

    @property
    def num_columns(self) -> int:
        """Number of columns: 5."""
        return len(COLUMNS)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in their order."""
        return list(COLUMNS)

    def to_batches(self) -> list[RecordBatch]:
        """Return the batches, one for each page of the listing."""
        return list(self._batches)

    def __len__(self) -> int:
        return self.num_rows

    def __arrow_c_schema__(self) -> object:
        """Return the schema, in a capsule."""
        return arrow_schema()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the batches as a stream, in a capsule.

        Args:
            requested_schema: Passed over, as the interface allows: the columns are what they are.
        """
        return arrow_stream(self._batches)

    def __repr__(self) -> str:
        return f"Table({self.num_rows} rows: {', '.join(COLUMNS)})"


def _find_arro3() -> Any:
    try:
        return import_module("arro3.core")
    except ImportError:
        return None


ARRO3 = _find_arro3()
"""The module arro3.core, or None."""

page_batch = partial(arrow_rows, RecordBatch)
"""Makes a batch of a page; see `page_rows` of `s3ext._ffi`."""


def chunk_of(pieces: list[RecordBatch]) -> Any:
    """Make the batch that a chunk of a listing is from the pieces of pages that it consists of.

    Raises:
        OverflowError: It would have 2 GiB of text or more.
    """
    batch = pieces[0] if len(pieces) == 1 else arrow_join(RecordBatch, pieces)
    return batch if ARRO3 is None else ARRO3.RecordBatch.from_arrow(batch)


def table_of(pieces: list[RecordBatch]) -> Any:
    """Make a table of the batches of all pages."""
    table = Table([piece for piece in pieces if len(piece)])
    return table if ARRO3 is None else ARRO3.Table.from_arrow(table)
