"""async-tiff reads cloud-optimised GeoTIFFs through our store, as through one of obstore.

It knows nothing of s3ext: it calls `get_range_async` and `get_ranges_async` from threads of its own, where no
event loop runs, and takes what they return by the buffer protocol.
"""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest

from s3ext.store import S3Store
from tests.python.ways import connect

async_tiff = pytest.importorskip("async_tiff", reason="async-tiff is not installed")
tifffile = pytest.importorskip("tifffile", reason="tifffile, which writes the images, is not installed")

TILE = 128
SHAPE = (512, 640)


def image(compression=None):
    """Make a tiled TIFF with an overview of half the size: the array, and the file."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    array = (rows * 7 + columns * 13 + (rows * columns) % 97).astype(np.uint16)
    file = io.BytesIO()
    kind = {"tile": (TILE, TILE), "compression": compression, "photometric": "minisblack"}
    with tifffile.TiffWriter(file) as writer:
        writer.write(array, **kind)
        writer.write(array[::2, ::2], subfiletype=1, **kind)
    return array, file.getvalue()


def tiles(array):
    """Cut an array into whole tiles, by column and row."""
    rows, columns = array.shape
    return {
        (x, y): array[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
        for y in range(rows // TILE)
        for x in range(columns // TILE)
    }


async def pixels(tile):
    return np.asarray(await tile.decode()).reshape(TILE, TILE)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_tile_is_that_of_the_array(server, compression):
    array, file = image(compression)
    server.put("some dir/é x.tif", file)
    store = connect(server, prefix="some dir")
    levels = [array, array[::2, ::2]]

    async def read():
        tiff = await async_tiff.TIFF.open("é x.tif", store=store)
        assert [(ifd.image_height, ifd.image_width) for ifd in tiff.ifds] == [level.shape for level in levels]
        for number, level in enumerate(levels):
            for place, cut in tiles(level).items():
                assert np.array_equal(await pixels(await tiff.fetch_tile(*place, number)), cut), place

    asyncio.run(read())
    ranges = [request for request in server.requests if request.method == "GET"]
    assert {request.status for request in ranges} == {206}
    assert {request.key for request in ranges} == {"some dir/é x.tif"}
    assert all(request.verified for request in ranges)


def test_many_tiles_come_in_one_call_and_near_ones_in_one_request(server):
    array, file = image()
    server.put("k.tif", file)
    wanted = tiles(array)

    async def read():
        tiff = await async_tiff.TIFF.open("k.tif", store=connect(server))
        server.forget()
        found = await tiff.fetch_tiles(list(wanted), 0)
        return await asyncio.gather(*map(pixels, found))

    for cut, tile in zip(wanted.values(), asyncio.run(read()), strict=True):
        assert np.array_equal(tile, cut)
    assert len(server.find("GET", "k.tif")) == 1


def test_a_file_smaller_than_the_first_read_is_opened(server):
    array, file = image("zlib")
    server.put("k.tif", file)

    async def read():
        tiff = await async_tiff.TIFF.open("k.tif", store=connect(server), prefetch=1 << 20)
        return await pixels(await tiff.fetch_tile(1, 2, 0))

    assert np.array_equal(asyncio.run(read()), tiles(array)[1, 2])
    asked = server.find("GET", "k.tif")[0]
    assert asked.range() == (0, (1 << 20) - 1)
    assert asked.body_sent == len(file)


def test_many_readers_share_a_loop_and_a_store(server):
    array, file = image("zlib")
    server.put("k.tif", file)
    store = connect(server)
    wanted = tiles(array)

    async def one(place):
        tiff = await async_tiff.TIFF.open("k.tif", store=store)
        return await pixels(await tiff.fetch_tile(*place, 0))

    async def read():
        return await asyncio.gather(*map(one, wanted))

    for cut, tile in zip(wanted.values(), asyncio.run(read()), strict=True):
        assert np.array_equal(tile, cut)


def test_a_missing_file_is_told(server):
    async def read():
        await async_tiff.TIFF.open("missing.tif", store=connect(server))

    with pytest.raises(
        Exception, match=r"NotFoundError: GET bucket/missing\.tif failed: 404 NoSuchKey"
    ) as caught:
        asyncio.run(read())
    assert type(caught.value).__module__.startswith("async_tiff")


def test_a_credential_provider_is_asked_from_its_threads_too(server):
    array, file = image()
    server.put("k.tif", file)
    calls = []

    async def provider():
        calls.append(asyncio.get_running_loop())
        return {**keys, "expires_at": None}

    plain = connect(server)
    keys = {name: plain.config[name] for name in ("access_key_id", "secret_access_key")}
    store = connect(server, credential_provider=provider)

    async def read():
        tiff = await async_tiff.TIFF.open("k.tif", store=store)
        return await pixels(await tiff.fetch_tile(0, 0, 0))

    assert np.array_equal(asyncio.run(read()), tiles(array)[0, 0])
    assert len(calls) == 1


# Its own store is made anew from ours, as by every extension that knows pyo3-object_store.


@pytest.mark.parametrize(
    ("arguments", "prefix"),
    [
        ({"region": "eu-west-1"}, None),
        ({"prefix": "a/b", "skip_signature": True, "timeout": "30s", "allow_http": True}, "a/b"),
        ({"access_key_id": "a", "secret_access_key": "s", "endpoint": "https://h:1/base"}, None),
        ({"concurrency": 8, "part_size": 1 << 20, "lane": "curl", "retry_config": {"max_retries": 2}}, None),
    ],
)
def test_its_own_store_can_be_made_from_ours(arguments, prefix):
    theirs = pytest.importorskip("async_tiff.store", reason="async-tiff is not installed")
    ours = S3Store("b", **arguments)
    positional, keywords = ours.__getnewargs_ex__()
    made = theirs.S3Store(*positional, **keywords)
    assert made.config["bucket"] == "b"
    assert made.prefix == prefix
    assert made.retry_config == ours.retry_config
    assert not {"concurrency", "part_size", "lane"} & (set(made.config) | set(made.client_options or {}))


def test_its_own_store_made_from_ours_reads_what_ours_does(server):
    theirs = pytest.importorskip("async_tiff.store", reason="async-tiff is not installed")
    array, file = image("zlib")
    server.put("p/k.tif", file)
    ours = connect(server, prefix="p")
    positional, keywords = ours.__getnewargs_ex__()
    made = theirs.S3Store(*positional, **keywords)

    async def read(store):
        tiff = await async_tiff.TIFF.open("k.tif", store=store)
        return await pixels(await tiff.fetch_tile(3, 1, 0))

    for store in (ours, made):
        assert np.array_equal(asyncio.run(read(store)), tiles(array)[3, 1])
