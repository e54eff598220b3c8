"""delete: of any iterable, of any key, of a whole prefix."""

from __future__ import annotations

import asyncio
import gc
import itertools
from xml.etree import ElementTree as ET

import pytest

import s3ext
from s3ext import exceptions
from tests.python.ways import connect
from tests.server import NAMESPACE, Fault, faults

COUNT = 2345

# Valid keys of S3 that no document of XML 1.0 can hold.
ODD = ["a\ufffe", "a\uffffb", "\x01", "x\x1f/y", "\x0bz"]
# And others that look odd, but that it can.
CARRIED = ["tab\t", "line\nfeed", "return\r", "del\x7f", "<&>'\"", "\u0085", "\U0001fffe", "ü/🦆", "a+b %"]


def fill(server, keys):
    for key in keys:
        server.put(key, b"x")


def bulk(server):
    """Return the keys of each bulk delete."""
    names = []
    for request in server.find("POST", query="delete"):
        document = ET.fromstring(request.body)
        names.append([key.text for key in document.iter(f"{{{NAMESPACE}}}Key")])
    return names


# ---- iterables ----

MAKERS = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "dict": dict.fromkeys,
    "generator": lambda keys: (key for key in keys),
    "iterator": iter,
    "map": lambda keys: map(str, keys),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("count", [0, 1, 1000, COUNT])
def test_any_iterable_is_deleted(server, store, way, kind, count):
    keys = [f"d/{number:05}" for number in range(count)]
    fill(server, [*keys, "stays"])
    way(store, "delete", MAKERS[kind](keys))
    assert server.keys() == ["stays"]
    sizes = sorted((len(names) for names in bulk(server)), reverse=True)
    assert sizes == [1000] * (count // 1000) + [count % 1000] * (count % 1000 > 0)


@pytest.mark.parametrize("bulk_delete", [True, False])
def test_async_iterables_are_deleted(server, bulk_delete):
    store = connect(server, disable_bulk_delete=not bulk_delete)
    keys = [f"d/{number}" for number in range(1205 if bulk_delete else 45)]
    fill(server, [*keys, "stays"])

    async def paths():
        for key in keys:
            await asyncio.sleep(0)
            yield key

    asyncio.run(store.delete_async(paths()))
    assert server.keys() == ["stays"]
    assert len(server.requests) == (2 if bulk_delete else 45)


def test_async_iterables_are_for_async_calls(server, store):
    async def paths():
        yield "a"

    given = paths()
    with pytest.raises(ValueError, match="Use 'delete_async'"):
        store.delete(given)
    asyncio.run(given.aclose())
    assert server.requests == []


@pytest.mark.parametrize("paths", [5, None, b"abc", bytearray(b"x"), 1.5])
def test_what_is_no_iterable_of_paths_is_refused(server, store, way, paths):
    with pytest.raises(TypeError, match="Expected string path or sequence of string paths"):
        way(store, "delete", paths)
    assert server.requests == []


@pytest.mark.parametrize("wrong", [5, b"a"])
def test_a_sequence_is_checked_before_anything_is_deleted(server, store, way, wrong):
    fill(server, ["a"])
    with pytest.raises(TypeError):
        way(store, "delete", ["a", wrong])
    with pytest.raises(exceptions.InvalidPathError):
        way(store, "delete", ["a", "../b"])
    assert server.keys() == ["a"]
    assert server.requests == []


@pytest.mark.parametrize("kind", ["path", "error"])
def test_what_an_iterator_raises_comes_when_the_rest_has_ended(server, store, way, kind):
    keys = [f"d/{number}" for number in range(1500)]
    fill(server, keys)

    def paths():
        yield from keys[:1200]
        if kind == "path":
            yield "../up"
        raise LookupError("no more")

    with pytest.raises(exceptions.InvalidPathError if kind == "path" else LookupError):
        way(store, "delete", paths())
    assert len(server.keys()) == 500
    server.wait_idle()


def test_an_endless_iterator_is_taken_as_the_requests_go(server, store):
    taken = itertools.count()

    def paths():
        for number in taken:
            yield f"d/{number}"

    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="POST", query="delete", skip=3, times=99))
    with pytest.raises(exceptions.PermissionDeniedError):
        store.delete(paths())
    assert next(taken) < 20_000


def test_paths_are_relative_to_the_prefix_and_duplicates_do_no_harm(server, way):
    fill(server, ["p/a", "a"])
    way(connect(server, prefix="p"), "delete", iter(["a", "a"]))
    assert server.keys() == ["a"]


# ---- refusals ----


def refuse(*keys):
    rows = "".join(
        f"<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>no</Message></Error>" for key in keys
    )
    return faults.replace_body(f'<DeleteResult xmlns="{NAMESPACE}">{rows}</DeleteResult>'.encode())


@pytest.mark.parametrize("kind", ["list", "generator"])
def test_the_first_refused_key_is_told(server, store, way, kind):
    keys = [f"d/{number}" for number in range(1500)]
    server.faults.add(Fault(refuse("d/3", "d/7"), method="POST", query="delete", nth=1))
    with pytest.raises(
        exceptions.GenericError, match="DeleteObjects request failed for key d/3: no"
    ) as caught:
        way(store, "delete", MAKERS[kind](keys))
    assert (caught.value.code, caught.value.key) == ("AccessDenied", "d/3")


# ---- odd keys ----


def test_keys_that_xml_cannot_carry_go_alone_in_the_same_call(server, way):
    store = connect(server, raw_keys=True)
    fill(server, [*ODD, *CARRIED, "plain", "stays"])
    way(store, "delete", [*ODD, *CARRIED, "plain"])
    assert server.keys() == ["stays"]
    (names,) = bulk(server)
    assert len(names) == len(CARRIED) + 1
    assert sorted(request.key for request in server.find("DELETE")) == sorted(ODD)


def test_a_call_of_odd_keys_alone_sends_no_bulk_delete(server, way):
    fill(server, ODD[:2])
    way(connect(server), "delete", ODD[:2])
    assert server.keys() == []
    assert bulk(server) == []


# ---- prefixes ----


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 5003])
def test_a_prefix_is_deleted_and_counted(server, store, way, count):
    keys = [f"a/b/{number:05}" for number in range(count)]
    others = ["a", "a/b", "a/bc", "a/bc/d", "z"]
    fill(server, [*keys, *others])
    assert way(store, "delete_prefix", "a/b") == count
    assert server.keys() == others


def test_the_functions_of_the_module_do_the_same(server, store):
    fill(server, ["a/1", "b/1", "c"])
    assert s3ext.delete_prefix(store, "a") == 1
    assert asyncio.run(s3ext.delete_prefix_async(store, "b")) == 1
    assert server.keys() == ["c"]


@pytest.mark.parametrize("prefix", ["", None, "/"])
@pytest.mark.parametrize("store_prefix", [None, "p"])
def test_an_empty_prefix_has_to_be_meant(server, way, prefix, store_prefix):
    fill(server, ["p/a", "p/b/c", "q"])
    store = connect(server, prefix=store_prefix)
    with pytest.raises(ValueError, match="everything=True"):
        way(store, "delete_prefix", prefix)
    assert server.requests == []
    assert way(store, "delete_prefix", prefix, everything=True) == (2 if store_prefix else 3)
    assert server.keys() == (["q"] if store_prefix else [])


def test_a_prefix_may_be_taken_to_the_character(server, store, way):
    fill(server, ["logs/2024-10/x", "logs/2024-11.gz", "logs/2023"])
    assert way(store, "delete_prefix", "logs/2024-1", whole_segments=False) == 2
    assert server.keys() == ["logs/2023"]


def test_every_key_below_a_prefix_goes_whatever_it_is_called(server, store, way):
    keys = [f"d/{key}" for key in [*ODD, *CARRIED, "", "dir/", "a//b", "../x", "."]]
    fill(server, keys)
    assert way(store, "delete_prefix", "d") == len(keys)
    assert server.keys() == []


def test_a_prefix_is_deleted_one_by_one_where_the_store_says_so(server, way):
    fill(server, [f"d/{number}" for number in range(50)])
    assert way(connect(server, disable_bulk_delete=True), "delete_prefix", "d") == 50
    assert server.keys() == []
    assert len(server.find("DELETE")) == 50


def test_a_listing_that_fails_ends_the_deletion_and_is_told(server, way):
    fill(server, [f"d/{number:04}" for number in range(2500)])
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="GET", query="continuation-token"))
    with pytest.raises(exceptions.PermissionDeniedError, match="LIST"):
        way(connect(server), "delete_prefix", "d")
    assert len(server.keys()) == 1500


@pytest.mark.parametrize("method", ["delete", "delete_prefix"])
def test_a_delete_that_fails_ends_the_rest(server, way, method):
    keys = [f"d/{number:05}" for number in range(12_000)]
    fill(server, keys)
    server.faults.add(Fault(refuse("d/00001"), method="POST", query="delete", nth=1))
    with pytest.raises(exceptions.GenericError, match="d/00001"):
        way(connect(server), method, keys if method == "delete" else "d")
    assert len(bulk(server)) < 12
    server.wait_idle()


def test_only_some_pages_are_held_at_a_time(server, store):
    fill(server, [f"d/{number:05}" for number in range(8000)])
    in_flight = []
    server.faults.add(
        Fault(faults.hook(lambda exchange: in_flight.append(exchange.server._in_flight)), times=99)
    )
    assert store.delete_prefix("d") == 8000
    assert max(in_flight) <= 6
    gc.collect()
    assert s3ext.stats()["exchanges_in_flight"] == 0


def test_a_deletion_can_be_cancelled(server):
    fill(server, [f"d/{number:05}" for number in range(3000)])
    store = connect(server)
    fault = server.faults.add(Fault(faults.stall("answer"), method="POST", query="delete", times=9))

    async def cancelled():
        await asyncio.wait_for(store.delete_prefix_async("d"), 0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    fault.release()
