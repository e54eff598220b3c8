"""Listings as Arrow: the columns, who can read them, and memory that outlives the listing."""

from __future__ import annotations

import gc
import importlib
import resource
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3ext import _arrow
from s3ext._arrow import RecordBatch, Table
from s3ext._ffi import ArrowRows, arrow_join, arrow_rows, arrow_stream
from tests.python.pages import Page, entries
from tests.python.ways import connect
from tests.server import Fault, faults

COLUMNS = ["path", "last_modified", "size", "e_tag", "version"]


def peer(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture
def bare(monkeypatch):
    """As where arro3-core is not installed."""
    monkeypatch.setattr(_arrow, "ARRO3", None)


@pytest.fixture
def pyarrow():
    return peer("pyarrow")


def batch_of(objects, skip=0, *, raw=False):
    page = Page(objects)
    return arrow_rows(RecordBatch, page.address, skip, raw)


def some(count, start=0):
    return [(b"k/%05d" % number, b"tag" if number % 3 else None, number, number * 1_000_001)
            for number in range(start, start + count)]  # fmt: skip


def fill(server, count):
    for number in range(count):
        server.put(f"dir/{number:05}" + "\u00e9" * (number % 3), b"x" * (number % 5))


def rows(pyarrow, batch):
    made = pyarrow.record_batch(batch)
    made.validate(full=True)
    return made.to_pylist()


def test_the_columns_are_those_of_obstore(pyarrow):
    schema = pyarrow.schema(batch_of([]))
    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("path", "string", False),
        ("last_modified", "timestamp[us, tz=UTC]", False),
        ("size", "uint64", False),
        ("e_tag", "string", True),
        ("version", "string", True),
    ]
    assert pyarrow.schema(Table([])) == schema


@pytest.mark.parametrize(
    ("count", "chunk"), [(0, 50), (7, 50), (50, 50), (51, 50), (2300, 999), (1200, 5000), (3, 0)]
)
@pytest.mark.usefixtures("bare")
def test_chunks_are_the_same_as_those_of_dicts(server, store, way, pyarrow, count, chunk):
    fill(server, count)
    batches = way.pieces(store.list("dir", chunk_size=chunk, return_arrow=True))
    assert [rows(pyarrow, batch) for batch in batches] == way.pieces(store.list("dir", chunk_size=chunk))


@pytest.mark.usefixtures("bare")
def test_collect_makes_one_batch_of_what_remains(server, store, way, pyarrow):
    fill(server, 2100)
    metas = store.list().collect()
    stream = store.list(chunk_size=30, return_arrow=True)
    assert rows(pyarrow, next(stream)) == metas[:30]
    assert rows(pyarrow, way(stream, "collect")) == metas[30:]
    nothing = way(stream, "collect")
    assert (len(nothing), rows(pyarrow, nothing)) == (0, [])


@pytest.mark.usefixtures("bare")
def test_one_level_is_a_table_of_all_pages(server, way, pyarrow):
    for number in range(1100):
        server.put(f"p/{number:04}", b"")
        server.put(f"p/{number:04}/x", b"")
    store = connect(server, prefix="p")
    level = way(store, "list_with_delimiter", return_arrow=True)
    plain = way(store, "list_with_delimiter")
    assert level["common_prefixes"] == plain["common_prefixes"]
    table = level["objects"]
    assert pyarrow.table(table).to_pylist() == plain["objects"]
    assert (len(table), table.num_rows, table.num_columns, table.column_names) == (1100, 1100, 5, COLUMNS)
    assert sum(map(len, table.to_batches())) == 1100
    nothing = way(store, "list_with_delimiter", "nowhere", return_arrow=True)["objects"]
    assert (pyarrow.table(nothing).num_rows, len(nothing)) == (0, 0)


def test_where_arro3_is_installed_its_classes_are_returned(server, store, way):
    core = peer("arro3.core")
    fill(server, 3)
    (batch,) = way.pieces(store.list(return_arrow=True))
    assert isinstance(batch, core.RecordBatch)
    assert batch["path"][1].as_py() == "dir/00001\u00e9"
    assert isinstance(way(store.list(return_arrow=True), "collect"), core.RecordBatch)
    table = way(store, "list_with_delimiter", "dir", return_arrow=True)["objects"]
    assert isinstance(table, core.Table)
    assert (table.num_rows, table.column_names) == (3, COLUMNS)


def test_the_schema_is_that_of_obstore():
    core, obstore = peer("arro3.core"), peer("obstore.store")
    store = obstore.MemoryStore()
    store.put("k", b"x")
    (theirs,) = store.list(return_arrow=True)
    assert core.RecordBatch.from_arrow(batch_of([])).schema == theirs.schema


def test_without_arro3_the_module_can_be_imported():
    script = (
        "import sys; sys.modules['arro3'] = sys.modules['arro3.core'] = None\n"
        "from s3ext import _arrow; assert _arrow.ARRO3 is None"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_listing_of_dicts_does_not_import_arrow():
    script = "import sys, s3ext.store; assert not {'s3ext._arrow', 'arro3', 'typing'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def module(name):
    return importlib.import_module(name)


def read_with_duckdb(batch):  # which finds it by the name that the query gives
    query = "SELECT path FROM batch ORDER BY path"
    return [path for (path,) in module("duckdb").sql(query).fetchall()]


READERS = {
    "pyarrow": lambda batch: module("pyarrow").record_batch(batch).column("path").to_pylist(),
    "pyarrow table": lambda batch: module("pyarrow").table(batch).column("path").to_pylist(),
    "polars": lambda batch: module("polars").DataFrame(batch)["path"].to_list(),
    "arro3.core": lambda batch: module("arro3.core").RecordBatch.from_arrow(batch)["path"].to_pylist(),
    "duckdb": read_with_duckdb,
}
TABLE_READERS = {
    "pyarrow": READERS["pyarrow table"],
    "polars": READERS["polars"],
    "arro3.core": lambda table: module("arro3.core").Table.from_arrow(table)["path"].to_pylist(),
    "duckdb": read_with_duckdb,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_batch_and_slices_of_it_are_read_by(reader):
    peer(reader.partition(" ")[0])
    batch = batch_of(some(100))
    paths = [f"k/{number:05}" for number in range(100)]
    assert READERS[reader](batch) == paths
    assert READERS[reader](batch[13:77]) == paths[13:77]
    assert READERS[reader](batch[13:77][5:6]) == paths[18:19]
    assert READERS[reader](batch[50:50]) == []


@pytest.mark.parametrize("reader", TABLE_READERS)
def test_a_table_is_read_by(reader):
    peer(reader)
    table = Table([batch_of(some(10)), batch_of(some(20, 10))[5:], batch_of([])])
    assert TABLE_READERS[reader](table) == [f"k/{number:05}" for number in [*range(10), *range(15, 30)]]


def test_duckdb_sees_numbers_times_and_nulls():
    duckdb = peer("duckdb")
    batch = batch_of(some(10))[2:8]
    query = "SELECT sum(size), max(epoch_us(last_modified)), count(e_tag), count(version) FROM batch"
    assert duckdb.sql(query).fetchall() == [(27, 7_000_007, 4, 0)]
    assert batch.num_rows == 6


@settings(max_examples=200, deadline=None)
@given(entries, st.integers(0, 6), st.booleans())
def test_a_page_becomes_columns(objects, skip, raw):
    pyarrow = peer("pyarrow")
    wanted = [
        # Arrow's text is always UTF-8.
        {**meta, "path": meta["path"].encode("utf-8", "surrogateescape").decode("utf-8", "replace")}
        for meta in Page(objects).metas(skip, raw=raw)
    ]
    assert rows(pyarrow, batch_of(objects, skip, raw=raw)) == wanted


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(entries, st.integers(0, 20), st.integers(0, 20)), max_size=5))
def test_batches_are_joined(pieces):
    pyarrow = peer("pyarrow")
    batches = [batch_of(objects)[start:end] for objects, start, end in pieces]
    wanted = [row for batch in batches for row in rows(pyarrow, batch)]
    assert rows(pyarrow, arrow_join(RecordBatch, batches)) == wanted
    assert pyarrow.table(Table(batches)).to_pylist() == wanted


def test_keys_that_are_no_utf8_are_listed(server, store, pyarrow):
    body = (
        b"<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType><Contents><Key>a%FF%2Fb"
        b"</Key><Size>1</Size><LastModified>2024-01-02T03:04:05Z</LastModified></Contents></ListBucketResult>"
    )
    server.put("k", b"")
    server.faults.add(Fault(faults.replace_body(body, status=200), method="GET", times=2))
    assert store.list().collect()[0]["path"] == "a\udcff/b"
    batch = pyarrow.record_batch(store.list(return_arrow=True).collect())
    assert batch.column("path").to_pylist() == ["a\ufffd/b"]


def test_a_batch_says_what_it_is():
    batch = batch_of(some(3))
    assert (len(batch), batch.num_rows, batch.num_columns, batch.column_names) == (3, 3, 5, COLUMNS)
    assert repr(batch) == "RecordBatch(3 rows: path, last_modified, size, e_tag, version)"
    assert repr(Table([batch, batch])) == "Table(6 rows: path, last_modified, size, e_tag, version)"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda batch: batch[0],
        lambda batch: batch[::2],
        lambda batch: batch["path"],
        lambda batch: RecordBatch(),
        lambda batch: ArrowRows(),
        lambda batch: object.__new__(RecordBatch),
        lambda batch: arrow_rows(int, 1, 0, False),
        lambda batch: arrow_rows(RecordBatch, 0, 0, False),
        lambda batch: arrow_rows(RecordBatch),
        lambda batch: arrow_join(int, [batch]),
        lambda batch: arrow_join(RecordBatch, [batch, 5]),
        lambda batch: arrow_join(RecordBatch, (batch,)),
        lambda batch: arrow_join(RecordBatch),
        lambda batch: arrow_stream([batch, None]),
        arrow_stream,
        lambda batch: batch.__arrow_c_array__(1, 2),
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises((TypeError, ValueError)):
        wrong(batch_of(some(3)))


def test_a_requested_schema_is_passed_over(pyarrow):
    batch = batch_of(some(3))
    schema = batch.__arrow_c_schema__()
    for capsules in (batch.__arrow_c_array__(schema), batch.__arrow_c_array__(requested_schema=None)):
        assert pyarrow.RecordBatch._import_from_c_capsule(*capsules).num_rows == 3
    assert Table([batch]).__arrow_c_stream__(requested_schema=schema)


def test_more_text_than_arrow_has_offsets_for_is_an_error():
    text = b"x" * (1 << 24)
    page = Page([(text, None, 1, 1)])
    page._kept = (*page._kept, [page._kept[1][0]] * 128)
    from s3ext._ffi import ffi

    same = ffi.new("struct s3ext_list_entry[]", page._kept[2])
    page._result.objects, page._result.object_count = same, 128
    with pytest.raises(OverflowError, match="smaller chunks"):
        arrow_rows(RecordBatch, page.address, 0, False)


def test_the_columns_outlive_the_listing_the_batch_and_one_another(pyarrow):
    batch = batch_of(some(1000))
    made = pyarrow.record_batch(batch[100:900])
    column = made.column("path")
    stream = Table([batch]).__arrow_c_stream__()
    del batch, made
    gc.collect()
    fresh = [batch_of(some(1000, 7)) for _ in range(20)]
    assert column.to_pylist() == [f"k/{number:05}" for number in range(100, 900)]
    reader = pyarrow.RecordBatchReader._import_from_c_capsule(stream)
    assert reader.read_all().num_rows == sum(map(len, fresh)) // 20


def test_columns_are_released_on_any_thread(pyarrow):
    held = [[pyarrow.record_batch(batch[index:]) for index in range(20)] for batch in [batch_of(some(100))]]
    columns = [made.column("path") for made in held.pop()]
    barrier = threading.Barrier(len(columns))

    def drop(index):
        barrier.wait()
        assert columns[index][0].as_py() == f"k/{index:05}"
        columns[index] = None

    threads = [threading.Thread(target=drop, args=(index,)) for index in range(len(columns))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert columns == [None] * 20


def test_nothing_is_kept_of_what_was_dropped(pyarrow):
    objects = [(b"k" * 1000, b"t", 1, 1)] * 1000
    page = Page(objects)

    def use():
        batch = arrow_rows(RecordBatch, page.address, 0, False)
        batch.__arrow_c_schema__()
        batch.__arrow_c_array__()
        Table([batch, batch[5:]]).__arrow_c_stream__()
        pyarrow.RecordBatchReader._import_from_c_capsule(batch.__arrow_c_stream__()).schema  # noqa: B018 - not read to its end
        pyarrow.record_batch(arrow_join(RecordBatch, [batch, batch])).column("size")

    for _ in range(20):
        use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):  # of 1 MB and more each; a sanitizer keeps 256 MB of what was freed
        use()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000


SCRIPT = """
import os, sys
from s3ext._arrow import RecordBatch, Table
from s3ext._ffi import arrow_rows
from tests.python.pages import Page

page = Page([(b"k", b"t", 1, 1)] * 100)
batch = arrow_rows(RecordBatch, page.address, 0, False)
capsules = [batch.__arrow_c_array__(), Table([batch]).__arrow_c_stream__(), batch.__arrow_c_schema__()]
try:
    import pyarrow
    capsules.append(pyarrow.record_batch(batch).column("path"))
except ImportError:
    pass
child = os.fork()
if "drop" in sys.argv:
    del batch, capsules
if child and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
    sys.exit("the child failed")
# What is left is dropped while the interpreter ends.
"""


@pytest.mark.fork
@pytest.mark.parametrize("when", ["drop", "exit"])
def test_memory_is_given_back_after_a_fork_and_at_exit(when):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", SCRIPT, when],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
