"""The process that is measured: does one form of work with one client and prints what it cost, as JSON.

    python -m tests.benchmarks.client CLIENT FORM PORT SCALE LOOP

CPU is user and system time of this process around the measured part alone, after a warm-up with the same
calls. The memory is the highest resident size of the process up to its end.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.content import content
from tests.benchmarks.works import FORMS, MIB

__all__ = ["main", "peak_rss"]

BATCH = 256
"""Ranges in one call of get_ranges."""


def peak_rss() -> int:
    """Return the highest resident size of this process, in bytes; rusage would count the parent's too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def open_store(client: str, port: int, *, unsigned: bool = False):
    """Return the client's store of the source's bucket."""
    module = importlib.import_module(f"{client}.store")
    return module.S3Store(
        "bucket",
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        unsigned_payload=unsigned,
        client_options={"allow_http": True},
    )


def expect(size: int, wanted: int) -> None:
    """Raise when an answer is not as long as it should be."""
    if size != wanted:
        raise AssertionError(f"{size} bytes came, not {wanted}")


class Upload:
    """One object, put in parts from memory; `do` ignores where requests begin."""

    def __init__(self, form, store, size: int) -> None:
        self.store = store
        self.data = memoryview(bytes(range(256)) * (size // 256))
        self.bytes = size

    def verify(self) -> None:
        self.put(self.data[: 16 * MIB])

    def do(self, _: list[int]) -> None:
        self.put(self.data)

    def put(self, data) -> None:
        result = self.store.put("upload", data, use_multipart=True, chunk_size=8 * MIB)
        if not result["e_tag"].endswith('-2"'):  # whatever their number, the source says two
            raise AssertionError(f"the upload ended with {result}")

    def close(self) -> None:
        """There is nothing to end."""


class Listing:
    """A list of as many keys as there are starts, in one form or the other."""

    bytes = 0

    def __init__(self, form, store, _: int) -> None:
        self.store = store
        self.options = {"return_arrow": True} if form.style == "arrow" else {}

    def verify(self) -> None:
        last = self.store.list("keys-1000").collect()[-1]["path"]
        if last != "keys-1000/00000999-4096":
            raise AssertionError(f"the last key is {last}")

    def do(self, starts: list[int]) -> None:
        found = 0
        for chunk in self.store.list(f"keys-{len(starts)}", chunk_size=1000, **self.options):
            found += chunk.num_rows if self.options else len(chunk)
        if found != len(starts):
            raise AssertionError(f"{found} keys were listed, not {len(starts)}")

    def close(self) -> None:
        """There is nothing to end."""


class Requests:
    """The single request of a work, as a call of a start offset; in a sync and in an async form."""

    def __init__(self, store, work, object_size: int) -> None:
        self.store = store
        self.size = object_size if work.size == work.object_size else work.size
        self.object_size = object_size
        self.key = f"object-{object_size}"
        self.call = getattr(self, f"{work.operation}_sync")
        self.call_async = getattr(self, f"{work.operation}_async")

    def range_sync(self, start: int):
        body = self.store.get_range(self.key, start=start, length=self.size)
        expect(len(body), self.size)
        return body

    async def range_async(self, start: int):
        body = await self.store.get_range_async(self.key, start=start, length=self.size)
        expect(len(body), self.size)
        return body

    def get_sync(self, _: int):
        body = self.store.get(self.key).bytes()
        expect(len(body), self.size)
        return body

    async def get_async(self, _: int):
        result = await self.store.get_async(self.key)
        body = await result.bytes_async()
        expect(len(body), self.size)
        return body

    def head_sync(self, _: int):
        expect(self.store.head(self.key)["size"], self.object_size)
        return b""

    async def head_async(self, _: int):
        expect((await self.store.head_async(self.key))["size"], self.object_size)
        return b""


class Run:
    """A form with all that it needs; `do` does some of its requests."""

    def __init__(self, form, store, object_size: int, loop: str) -> None:
        self.form = form
        self.requests = Requests(store, form.work, object_size)
        self.bytes = self.requests.size if form.work.operation != "head" else 0
        self.do = getattr(self, f"do_{form.style}")
        self.runner = None
        self.pool = None
        self.destination = None
        if form.style == "async":
            factory = importlib.import_module("uvloop").new_event_loop if loop == "uvloop" else None
            self.runner = asyncio.Runner(loop_factory=factory)
        elif form.style == "threads":
            self.pool = ThreadPoolExecutor(form.in_flight)
        elif form.style == "into":
            self.destination = importlib.import_module("numpy").full(object_size, 1, "u1")

    def close(self) -> None:
        """End what runs."""
        if self.runner is not None:
            self.runner.close()
        if self.pool is not None:
            self.pool.shutdown()

    def do_sync(self, starts: list[int]) -> None:
        call = self.requests.call
        for start in starts:
            call(start)

    do_whole = do_sync

    def do_async(self, starts: list[int]) -> None:
        left = iter(starts)
        call = self.requests.call_async

        async def worker() -> None:
            for start in left:
                await call(start)

        async def workers() -> None:
            await asyncio.gather(*(worker() for _ in range(self.form.in_flight)))

        self.runner.run(workers())

    def do_threads(self, starts: list[int]) -> None:
        left = iter(starts)
        call = self.requests.call

        def worker() -> None:
            for start in left:
                call(start)

        for future in [self.pool.submit(worker) for _ in range(self.form.in_flight)]:
            future.result()

    def do_get_ranges(self, starts: list[int]) -> None:
        requests = self.requests
        for at in range(0, len(starts), BATCH):
            batch = starts[at : at + BATCH]
            lengths = [requests.size] * len(batch)
            bodies = requests.store.get_ranges(requests.key, starts=batch, lengths=lengths, coalesce=0)
            expect(sum(map(len, bodies)), sum(lengths))

    def do_into(self, starts: list[int]) -> None:
        requests = self.requests
        for start in starts:
            requests.store.get_range(requests.key, start=start, length=requests.size, into=self.destination)

    def verify(self) -> None:
        """Compare pieces of a few answers with what the source serves."""
        if self.destination is not None:
            self.do([0])
            for place in (0, self.requests.size // 3, self.requests.size - 1000):
                self.compare(self.destination, place, place)
            return
        for start in (0, (self.requests.object_size - self.requests.size) // 3):
            self.compare(self.requests.call(start), 0, start)

    def compare(self, body, place: int, start: int) -> None:
        """Compare up to 1,000 bytes at a place of a body with those of the object at a start."""
        piece = bytes(memoryview(body)[place : place + 1000])
        if piece != content(start, len(piece)):
            raise AssertionError(f"wrong bytes at {start} of {self.requests.key}")


OTHERS = {"put": Upload, "list": Listing}
"""What does a work that is no single request, by its operation."""


def starts_of(form, object_size: int, count: int) -> list[int]:
    """Return where the requests begin: parts in order, small ranges at random places that never touch."""
    size = form.work.size
    if form.work.operation != "range":
        return [0] * count
    if size >= MIB:
        return [index * size % object_size for index in range(count)]
    places = object_size // (2 * size) - 1
    rng = random.Random(count)
    return [rng.randrange(places) * 2 * size + 13 for _ in range(count)]


def main(arguments: list[str]) -> None:
    """Do the work that the arguments name, and print its cost."""
    client, name, port, scale, loop = arguments
    form = next(form for form in FORMS if form.name == name)
    object_size = form.work.object_size
    if form.work.unit == "s/GB":
        object_size = max(round(object_size * float(scale)) // (8 * MIB), 1) * 8 * MIB
    count = max(round(form.count * float(scale)), form.in_flight)
    if form.work.size >= MIB:
        count = object_size // min(form.work.size, object_size)
    store = open_store(client, int(port), unsigned=form.style == "unsigned")
    if form.work.operation in OTHERS:
        run = OTHERS[form.work.operation](form, store, object_size)
    else:
        run = Run(form, store, object_size, loop)
    if form.style == "whole":
        run.requests.store.head(run.requests.key)  # The memory of one that came before would be used again.
    else:
        run.verify()
        if form.style != "into" and form.work.operation != "put":
            run.do(starts_of(form, object_size, max(count // 10, 2 * form.in_flight)))
    starts = starts_of(form, object_size, count)
    wall, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    run.do(starts)
    used, passed = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - wall
    run.close()
    cost = {
        "requests": count,
        "bytes": count * run.bytes,
        "cpu_s": used.ru_utime + used.ru_stime - usage.ru_utime - usage.ru_stime,
        "wall_s": passed,
        "rss": peak_rss(),
    }
    print(json.dumps(cost), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
    # obstore's threads now and then abort the interpreter's shutdown; how clients end is not measured here.
    os._exit(0)
