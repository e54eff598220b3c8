"""`s3ext demo`: a data set goes into S3 and comes out again, verified byte for byte, with what it cost.

    source --put_async--> S3 --list--> --get_range in threads--> SHA-256
                                       --get_range_async-------> SHA-256

Only the public API is used, as a program of a user's would. A read is cut into pieces of 8 MiB, which are
read in parallel, each straight into its place in the object's buffer. Pieces are handed out in order, so that
at most as many buffers live as there are pieces under way.

What a phase costs is measured over this process alone (the server is another one), and without what only the
demonstration does: making data up, buffers, hashing, drawing. That work runs inside `Phase.aside`.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import os
import random
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

import s3ext
from s3ext.store import S3Store
from s3ext.testing import serve

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine, Iterable, Iterator

    from s3ext.store import S3Config

__all__ = ["run"]

_SEED = 20_260_401
_SMALLEST, _LARGEST = 4 << 10, 32 << 20
_PIECE = 8 << 20
_DRAW_SECONDS = 0.1


@dataclass(slots=True)
class Item:
    """One object: its key, its size in bytes, its SHA-256 once it is known, and where its bytes come from."""

    key: str
    size: int
    sha256: bytes | None = None
    file: Path | None = None

    def content(self) -> bytes | Path:
        """Return what to put: the file, or bytes made up from the key, and note their SHA-256."""
        if self.file is not None:
            with self.file.open("rb") as opened:
                self.sha256 = hashlib.file_digest(opened, "sha256").digest()
            return self.file
        data = random.Random(f"{_SEED}/{self.key}").randbytes(self.size)  # noqa: S311 - repeatable, not secret
        self.sha256 = hashlib.sha256(data).digest()
        return data


@dataclass(slots=True)
class Landing:
    """An object being read: its buffer, and how many pieces are still to come."""

    item: Item
    buffer: bytearray
    missing: int

    def check(self) -> None:
        """Compare the SHA-256 of what came with what is known, or learn it.

        Raises:
            RuntimeError: They differ.
        """
        digest = hashlib.sha256(self.buffer).digest()
        if self.item.sha256 is None:
            self.item.sha256 = digest
        elif self.item.sha256 != digest:
            raise RuntimeError(f"{self.item.key}: the bytes read are not those expected (SHA-256 differs)")


Piece = tuple[Landing, int, int]


@dataclass(slots=True)
class Phase:
    """One row of the table: a step of the demo and what it has cost so far."""

    name: str
    progress: Progress
    task: TaskID
    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    requests: int = 0
    retries: int = 0
    peak_rss: int = 0
    beside: float = 0.0
    drawn: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave the processor time of this block, on this thread, out of the account."""
        start = time.thread_time()
        try:
            yield
        finally:
            with self.lock:
                self.beside += time.thread_time() - start

    def advance(self, count: int, *, objects: int = 0) -> None:
        """Count bytes and objects that are through, and draw the bar if it is time to."""
        with self.aside():
            with self.lock:
                self.bytes += count
                self.objects += objects
                draw = time.monotonic() - self.drawn > _DRAW_SECONDS
                self.drawn = time.monotonic() if draw else self.drawn
            self.progress.advance(self.task, count)
            if draw:
                self.progress.refresh()


class Show:
    """The progress bars while the phases run, and the table after them."""

    def __init__(self) -> None:
        self.console = Console()
        self.progress = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self.console,
            auto_refresh=False,  # a drawing thread's processor time would land in the account
        )
        self.phases: list[Phase] = []

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Phase]:
        """Measure the block as one phase, which moves `total` bytes."""
        task = self.progress.add_task(name, total=total, visible=total > 0)
        phase = Phase(name, self.progress, task)
        before, cpu, start = s3ext.stats(), _cpu_seconds(), time.perf_counter()
        yield phase
        phase.seconds = time.perf_counter() - start
        phase.cpu_seconds = _cpu_seconds() - cpu - phase.beside
        after = s3ext.stats()
        phase.requests = after["requests"] - before["requests"]
        phase.retries = after["retries"] - before["retries"]
        phase.peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        self.progress.refresh()
        self.phases.append(phase)

    def table(self) -> None:
        """Print the phases as a table."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("", no_wrap=True)
        for name in ("objects", "MB", "MB/s", "requests", "retries", "CPU s/GB", "peak RSS"):
            table.add_column(name, justify="right", no_wrap=True)
        for phase in self.phases:
            moved = phase.bytes / 1e6
            table.add_row(
                phase.name,
                f"{phase.objects:,}",
                f"{moved:,.1f}" if moved else "",
                f"{moved / phase.seconds:,.0f}" if moved else "",
                f"{phase.requests:,}",
                f"{phase.retries:,}",
                f"{phase.cpu_seconds / moved * 1e3:.2f}" if moved else "",
                f"{phase.peak_rss / 1e6:,.0f} MB",
            )
        self.console.print(table)

    def say(self, *lines: str) -> None:
        """Print lines of text."""
        for line in lines:
            self.console.print(line, soft_wrap=True, highlight=False)


def run(options: argparse.Namespace) -> None:
    """Run the demo.

    Args:
        options: `source` (a folder, an s3:// URL or None), `size` in bytes, `concurrency`, and for a URL
            `endpoint_url`, `region` and `anonymous`.

    Raises:
        BaseError: S3 refused or failed.
        OSError: A file could not be read.
        RuntimeError: What was read is not what was written.
    """
    show = Show()
    source: str | None = options.source
    if source is not None and "://" in source:
        store = _remote_store(options)
        with show.progress:
            items = _list(show, store, options.size)
            if not items:
                raise FileNotFoundError(
                    f"{store!r} holds no object of at most {options.size:,} bytes (--size)"
                )
            _read_back(show, store, items, options.concurrency)
        outcome = [f"{len(items):,} objects read twice; both readings have the same SHA-256."]
    else:
        items = _made_up(options.size) if source is None else _files(Path(source))
        show.say("starting an S3 server (moto) on this machine ...")
        with serve() as server, show.progress:
            store = _local_store(server.endpoint_url, server.bucket("s3ext-demo"))
            _write(show, store, items, options.concurrency)
            _compare(items, _list(show, store))
            _read_back(show, store, items, options.concurrency)
        outcome = [
            f"{len(items):,} objects written, listed and read back twice; every SHA-256 is right.",
            "The embedded server (moto, in Python) bounds the MB/s, not the client.",
        ]
    show.table()
    show.say(*outcome, "CPU is the client's, without what the demo adds: making data, hashing, drawing.")


def _remote_store(options: argparse.Namespace) -> S3Store:
    config: S3Config = {}
    if options.endpoint_url:
        config["endpoint"] = options.endpoint_url
    if options.region:
        config["region"] = options.region
    if options.anonymous:
        config["skip_signature"] = True
    plain = (options.endpoint_url or "").lower().startswith("http://")
    return S3Store.from_url(
        options.source, config=config, client_options={"allow_http": True} if plain else None
    )


def _local_store(endpoint_url: str, bucket: str) -> S3Store:
    # The user's own settings are for other servers.
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}
    try:
        return S3Store(
            bucket,
            endpoint=endpoint_url,
            access_key_id="demo",
            secret_access_key="demo",  # noqa: S106 - the embedded server takes any
            client_options={"allow_http": True, "proxy_excludes": "127.0.0.1"},
        )
    finally:
        os.environ.update(hidden)


def _made_up(total: int) -> list[Item]:
    """Return objects of 4 KiB to 32 MiB, `total` bytes in all, their sizes spread evenly on a log scale."""
    rng = random.Random(_SEED)  # noqa: S311 - repeatable, not secret
    items: list[Item] = []
    left = total
    while left:
        size = int(math.exp(rng.uniform(math.log(_SMALLEST), math.log(_LARGEST))))
        wanted = (_SMALLEST, _LARGEST)[len(items)] if len(items) < 2 else size
        items.append(Item(f"part-{len(items) % 10}/object-{len(items):05}.bin", min(wanted, left)))
        left -= items[-1].size
    return items


def _files(folder: Path) -> list[Item]:
    """Return the regular files below a folder, by their relative paths."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    if not found:
        raise FileNotFoundError(f"{folder} holds no files")
    return [Item(path.relative_to(folder).as_posix(), path.stat().st_size, file=path) for path in found]


def _write(show: Show, store: S3Store, items: list[Item], concurrency: int) -> None:
    """Put every item, `concurrency` at a time."""
    with show.phase("put_async", sum(item.size for item in items)) as phase:
        queue = iter(items)

        async def work() -> None:
            for item in queue:
                with phase.aside():
                    content = item.content()
                await store.put_async(item.key, content)
                del content
                phase.advance(item.size, objects=1)

        asyncio.run(_in_parallel([work() for _ in range(concurrency)]))


def _list(show: Show, store: S3Store, limit: float = math.inf) -> list[Item]:
    """List the store, until the objects listed have `limit` bytes; larger ones are passed over."""
    items: list[Item] = []
    left = limit
    with show.phase("list", 0) as phase:
        for meta in itertools.chain.from_iterable(store.list()):
            if meta["size"] <= left:
                items.append(Item(meta["path"], meta["size"]))
                left -= meta["size"]
            elif meta["size"] <= limit:
                break
        phase.objects = len(items)
    return items


def _compare(items: list[Item], listed: list[Item]) -> None:
    """Check that what is listed is what was written."""
    written = {item.key: item.size for item in items}
    found = {item.key: item.size for item in listed}
    if written != found or len(found) != len(listed):
        differs = sorted(key for key in written.keys() | found.keys() if written.get(key) != found.get(key))
        raise RuntimeError(f"the listing differs from what was written: {', '.join(differs[:5])}")


def _read_back(show: Show, store: S3Store, items: list[Item], concurrency: int) -> None:
    """Read every item twice, with threads and with asyncio, and check each against its SHA-256."""
    total = sum(item.size for item in items)
    with show.phase("get_range", total) as phase:
        _read_sync(phase, store, items, concurrency)
    with show.phase("get_range_async", total) as phase:
        asyncio.run(_read_async(phase, store, items, concurrency))


def _pieces(phase: Phase, items: Iterable[Item]) -> Iterator[Piece]:
    """Cut each item into the ranges to read; an empty object is one empty range."""
    for item in items:
        starts = range(0, max(item.size, 1), _PIECE)
        with phase.aside():
            landing = Landing(item, bytearray(item.size), len(starts))
        for start in starts:
            yield landing, start, min(start + _PIECE, item.size)


def _landed(phase: Phase, landing: Landing, size: int, wanted: int) -> None:
    """Note that a piece of `size` bytes has come, and check the object after its last one.

    Raises:
        RuntimeError: Another size was wanted, or the object's SHA-256 differs.
    """
    if size != wanted:
        raise RuntimeError(f"{landing.item.key}: {size} bytes came where {wanted} were to be read")
    with phase.lock:
        landing.missing -= 1
        whole = landing.missing == 0
    if whole:
        with phase.aside():
            landing.check()
    phase.advance(size, objects=whole)


def _read_sync(phase: Phase, store: S3Store, items: list[Item], concurrency: int) -> None:
    pieces = _pieces(phase, items)
    lock = threading.Lock()
    stop = threading.Event()

    def take() -> Piece | None:
        with lock:
            return None if stop.is_set() else next(pieces, None)

    def work() -> None:
        while piece := take():
            landing, start, end = piece
            if start == end:
                got = store.get(landing.item.key).bytes()
            else:
                into = memoryview(landing.buffer)[start:end]
                got = store.get_range(landing.item.key, start=start, end=end, into=into)
            _landed(phase, landing, len(got), end - start)

    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(concurrency)]:
                worker.result()
        finally:
            stop.set()  # an error or Ctrl-C: the others end after the piece that they are at


async def _read_async(phase: Phase, store: S3Store, items: list[Item], concurrency: int) -> None:
    pieces = _pieces(phase, items)

    async def work() -> None:
        for landing, start, end in pieces:
            if start == end:
                got = await (await store.get_async(landing.item.key)).bytes_async()
            else:
                into = memoryview(landing.buffer)[start:end]
                got = await store.get_range_async(landing.item.key, start=start, end=end, into=into)
            _landed(phase, landing, len(got), end - start)

    await _in_parallel([work() for _ in range(concurrency)])


async def _in_parallel(workers: Iterable[Coroutine[None, None, None]]) -> None:
    """Run coroutines side by side; the first error ends all and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _cpu_seconds() -> float:
    """Return the processor time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
