"""The caller's memory while it is sent: nobody may take it away, and it comes back when that is over."""

from __future__ import annotations

import array
import asyncio
import gc
import mmap
import threading

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern
from tests.server import Fault, faults

SIZE = 4 * PART + 5


@pytest.fixture(params=[False, True], ids=["single", "multipart"])
def upload(request, server, way):
    """Put a buffer, doing something while the upload stands still half-way."""

    def upload(data, meanwhile):
        fault = server.faults.add(Fault(faults.stall("answer"), method="PUT", times=None))
        store = connect(server)
        failures = []

        def act():
            try:
                fault.wait_hit(timeout=5)
                meanwhile()
            except BaseException as error:  # noqa: BLE001 - for the main thread to judge
                failures.append(error)
            finally:
                server.faults.remove(fault)

        thread = threading.Thread(target=act)
        thread.start()
        try:
            way(store, "put", "k", data, use_multipart=request.param, chunk_size=PART)
        finally:
            thread.join(10)
        assert failures == []

    return upload


RESIZES = {
    "append": lambda data: data.append(1),
    "clear": lambda data: data.clear(),
    "delete": lambda data: data.__delitem__(slice(0, 100)),
    "extend": lambda data: data.extend(bytes(10)),
}


@pytest.mark.parametrize("resize", RESIZES.values(), ids=RESIZES)
def test_a_buffer_cannot_be_resized_while_it_is_sent(server, upload, resize):
    data = bytearray(pattern(SIZE))

    def meanwhile():
        with pytest.raises(BufferError):
            resize(data)

    upload(data, meanwhile)
    assert b"".join(server.get("k").body.views(0, SIZE)) == pattern(SIZE)
    resize(data)


def test_arrays_and_maps_cannot_be_resized_or_closed_while_they_are_sent(server, upload, tmp_path):
    numbers = array.array("B", pattern(SIZE))

    def grow():
        with pytest.raises(BufferError):
            numbers.append(1)

    upload(numbers, grow)
    numbers.append(1)
    path = tmp_path / "file"
    path.write_bytes(pattern(SIZE))
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)

        def close():
            with pytest.raises(BufferError):
                mapped.close()

        upload(mapped, close)
        mapped.close()
    assert b"".join(server.get("k").body.views(0, SIZE)) == pattern(SIZE)


def test_a_view_that_is_released_while_it_is_sent_does_no_harm(server, upload):
    view = memoryview(bytearray(pattern(SIZE)))
    upload(view, view.release)
    assert b"".join(server.get("k").body.views(0, SIZE)) == pattern(SIZE)


@pytest.mark.parametrize("multipart", [False, True])
def test_a_buffer_can_be_resized_after_an_upload_that_failed(server, way, multipart):
    data = bytearray(pattern(SIZE))
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", times=None))

    def status():
        try:
            way(connect(server), "put", "k", data, use_multipart=multipart, chunk_size=PART)
        except exceptions.PermissionDeniedError as error:
            return error.status

    assert status() == 403
    gc.collect()  # frames of the error may have met in a cycle
    data.append(1)


@pytest.mark.parametrize("multipart", [False, True])
def test_a_buffer_stays_exported_until_a_cancelled_upload_has_ended(server, multipart):
    data = bytearray(pattern(SIZE))
    fault = server.faults.add(Fault(faults.stall("answer"), method="PUT", times=None))
    store = connect(server)

    async def main():
        put = store.put_async("k", data, use_multipart=multipart, chunk_size=PART)
        task = asyncio.create_task(put)
        while not fault.hits:  # noqa: ASYNC110 - the server's thread changes it
            await asyncio.sleep(0.005)
        with pytest.raises(BufferError):
            data.append(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while True:
            try:
                data.append(1)
            except BufferError:
                await asyncio.sleep(0.01)
            else:
                return

    asyncio.run(asyncio.wait_for(main(), 10))
    server.faults.remove(fault)


def test_pieces_of_an_iterator_may_be_reused_by_the_caller_once_the_next_is_asked_for(server, way):
    """The usual loop over one buffer: what was yielded is copied or sent before the source goes on."""
    data = pattern(SIZE)
    scratch = bytearray(1000)

    def pieces():
        for at in range(0, SIZE, 1000):
            piece = data[at : at + 1000]
            scratch[: len(piece)] = piece
            yield memoryview(scratch)[: len(piece)]
            scratch[:] = bytes(1000)

    way(connect(server), "put", "k", pieces(), chunk_size=PART)
    assert b"".join(server.get("k").body.views(0, SIZE)) == data
