"""Bodies that break off, lie or do not end: the right bytes or an error, never short data."""

from __future__ import annotations

import re

import pytest

from s3ext import exceptions
from tests.faults.tools import ETAG_SHAPE, PART, SHAPES, connect, pattern, read, sent_once
from tests.server import Fault, PatternBody, faults

SMALL = PART - 1537
LARGE = 9 * PART + 4321
MIB = 1024 * 1024
RUBBISH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"

RESETS = pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])


def ranges_of(server, key="k"):
    return [request.range() for request in server.find("GET", key)]


@RESETS
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", ["none", "one", "middle", "all_but_one"])
def test_a_body_that_breaks_off_is_resumed_where_it_stopped(server, counters, sync, shape, place, reset):
    data = pattern(SMALL)
    stored = server.put("k", data)
    after = {"none": 0, "one": 1, "middle": SMALL // 2, "all_but_one": SMALL - 1}[place]
    fault = server.faults.add(Fault(faults.cut(after, reset=reset), method="GET"))
    assert read(sync, connect(server), shape, "k", SMALL) == data
    assert fault.hits == 1
    first, second = server.find("GET", "k")
    assert first.range()[0] == 0
    assert second.range()[0] == after
    assert second.range()[1] == min(first.range()[1], SMALL - 1) or after == 0
    assert second.header("if-match") == stored.etag
    assert sent_once(server, "k", SMALL)
    resumed = {"resumed": 1} if after else {}
    assert counters() == {"retries": 1, "retries_transport": 1} | resumed


@pytest.mark.smoke
@RESETS
@pytest.mark.parametrize("shape", SHAPES)
def test_each_part_that_breaks_off_is_resumed(server, counters, way, shape, reset):
    data = pattern(LARGE)
    stored = server.put("k", data)
    for nth in (1, 2, 4):
        server.faults.add(Fault(faults.cut(1000 * nth, reset=reset), method="GET", nth=nth))
    assert read(way, connect(server), shape, "k", LARGE) == data
    assert sent_once(server, "k", LARGE)
    assert all(request.header("if-match") == stored.etag for request in server.find("GET", "k")[1:])
    assert counters() == {"retries": 3, "retries_transport": 3, "resumed": 3}


def test_a_suffix_that_breaks_off_is_resumed(server, counters, way):
    data = pattern(SMALL)
    stored = server.put("k", data)
    server.faults.add(Fault(faults.cut(100), method="GET"))
    result = way(connect(server), "get", "k", options={"range": {"suffix": 1000}})
    assert bytes(way(result, "bytes")) == data[-1000:]
    first, second = server.find("GET", "k")
    assert first.range() == (-1000, None)
    assert second.range() == (SMALL - 900, SMALL - 1)
    assert second.header("if-match") == stored.etag
    assert counters() == {"retries": 1, "retries_transport": 1, "resumed": 1}


def test_a_body_may_break_off_again_and_again(server, counters, way):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.cut(7000), method="GET", times=None))
    assert read(way, connect(server), "whole", "k", SMALL) == data
    assert sent_once(server, "k", SMALL)
    assert [start for start, _ in ranges_of(server)] == list(range(0, SMALL, 7000))
    tries = len(ranges_of(server)) - 1
    assert counters() == {"retries": tries, "retries_transport": tries, "resumed": tries}


@pytest.mark.parametrize("shape", SHAPES)
def test_short_data_is_never_returned(server, counters, way, shape):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.cut(100), method="GET", times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        read(way, connect(server, max_retries=3), shape, "k", SMALL)
    assert caught.value.attempts == 4
    assert caught.value.key == "k"
    assert caught.value.retryable
    assert "127.0.0.1" in str(caught.value)
    assert [start for start, _ in ranges_of(server)] == [0, 100, 200, 300]
    assert counters() == {"retries": 3, "retries_transport": 3, "resumed": 3}


def test_a_transfer_that_makes_progress_is_not_given_up(server, counters, sync):
    body = PatternBody(4 * MIB + 1000)
    server.put("k", body)
    server.faults.add(Fault(faults.cut(MIB), method="GET", times=None))
    store = connect(server, max_retries=1, part_size=8 * MIB)
    assert read(sync, store, "range", "k", body.size) == body.read(0, body.size)
    assert sent_once(server, "k", body.size)
    assert counters()["resumed"] == 4


def test_without_an_etag_a_broken_body_starts_again(server, counters, way):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.drop_headers("ETag"), method="GET", times=None))
    server.faults.add(Fault(faults.cut(100), method="GET"))
    assert read(way, connect(server), "range", "k", SMALL) == data
    assert [start for start, _ in ranges_of(server)] == [0, 0]
    assert not any(request.header("if-match") for request in server.find("GET", "k"))
    assert counters() == {"retries": 1, "retries_transport": 1}


@pytest.mark.parametrize("shape", SHAPES)
def test_parts_without_an_etag_are_held_together_by_their_date(server, way, shape):
    data = pattern(LARGE)
    server.put("k", data, modified=1_700_000_000)
    server.faults.add(Fault(faults.drop_headers("ETag"), method="GET", times=None))
    assert read(way, connect(server), shape, "k", LARGE) == data


@pytest.mark.parametrize("shape", ["range", "into", "ranges"])
def test_without_an_etag_a_replaced_object_shows_by_its_date(server, way, shape):
    server.put("k", pattern(LARGE), modified=1_700_000_000)
    server.faults.add(Fault(faults.drop_headers("ETag"), method="GET", times=None))
    replace = faults.hook(lambda exchange: server.put("k", pattern(LARGE, 1), modified=1_700_000_100))
    server.faults.add(Fault(replace, method="GET", nth=2))
    with pytest.raises(exceptions.PreconditionError, match="changed while it was read"):
        read(way, connect(server), shape, "k", LARGE)


# Lengths.


def test_a_length_that_is_too_large_is_no_short_data(server, counters, way):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.content_length(delta=1), method="GET", times=None))
    with pytest.raises(exceptions.ProtocolError, match="contradict"):
        read(way, connect(server), "range", "k", SMALL)
    assert len(server.find("GET", "k")) == 2
    assert counters() == {"retries": 1, "retries_transport": 1}


def test_a_length_that_is_too_small_is_refused(server, way):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.content_length(delta=-1), method="GET", times=None))
    with pytest.raises(exceptions.ProtocolError) as caught:
        read(way, connect(server), "range", "k", SMALL)
    assert (caught.value.attempts, caught.value.status) == (2, 206)


def test_one_wrong_length_costs_one_more_request(server, counters, way):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.content_length(delta=-1), method="GET"))
    assert read(way, connect(server), "whole", "k", SMALL) == data
    assert ranges_of(server) == [(0, PART - 1)] * 2
    assert counters() == {"retries": 1, "retries_transport": 1}


@pytest.mark.parametrize("value", ["many", "-5", "1, 2", "99999999999999999999999999"])
def test_a_length_that_is_no_number_is_refused(server, way, value):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.set_headers({"Content-Length": value}), method="GET", times=None))
    with pytest.raises(exceptions.GenericError):
        read(way, connect(server, max_retries=2), "range", "k", SMALL)
    assert 1 <= len(server.find("GET", "k")) <= 3


@pytest.mark.parametrize("shape", SHAPES)
def test_bodies_in_chunks_are_counted(server, counters, way, shape):
    data = pattern(LARGE)
    server.put("k", data)
    server.faults.add(Fault(faults.chunked(5000), method="GET", times=None))
    assert read(way, connect(server), shape, "k", LARGE) == data
    assert counters() == {}


@pytest.mark.parametrize("bad", ["size", "data"])
def test_chunks_that_are_wrong_once_are_asked_again(server, way, bad):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.chunked(5000, bad=bad), method="GET"))
    assert read(way, connect(server), "range", "k", SMALL) == data
    assert len(server.find("GET", "k")) == 2


@pytest.mark.parametrize("bad", ["size", "data"])
def test_chunks_that_are_always_wrong_are_an_error(server, way, bad):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.chunked(5000, bad=bad), method="GET", times=None))
    with pytest.raises(exceptions.GenericError):
        read(way, connect(server, max_retries=2), "range", "k", SMALL)
    assert len(server.find("GET", "k")) in (2, 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_bytes_are_enough_even_if_the_last_chunk_is_missing(server, counters, way, shape):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.chunked(5000, bad="unterminated"), method="GET", times=None))
    assert read(way, connect(server), shape, "k", SMALL) == data
    assert len(server.find("GET", "k")) == 1
    assert counters() == {}


def test_a_body_that_ends_with_its_connection_is_counted(server, counters, way):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.content_length(missing=True), method="GET", times=None))
    assert read(way, connect(server), "whole", "k", SMALL) == data
    server.faults.add(Fault(faults.cut(999), method="GET", nth=1))
    assert read(way, connect(server), "whole", "k", SMALL) == data
    assert counters() == {"retries": 1, "retries_transport": 1, "resumed": 1}


def test_rubbish_after_a_body_goes_with_its_connection(server, counters, way):
    data = pattern(SMALL)
    server.put("k", data)

    def add_rubbish(exchange):
        exchange.answer.wire.declared_length = exchange.answer.size
        exchange.answer.set_body(exchange.answer.body_bytes() + RUBBISH)

    server.faults.add(Fault(faults.hook_after(add_rubbish), method="GET", times=None))
    store = connect(server)
    for _ in range(5):
        assert read(way, store, "range", "k", SMALL) == data
        assert way(store, "head", "k")["size"] == SMALL
    assert counters() == {}
    assert server.connections_opened >= 5


# Content-Range.


@pytest.mark.parametrize(
    "change", ["shifted", "short", "missing", "unsatisfied", "overflow", "junk", "unit", "bytes 0-0/1"]
)
@pytest.mark.parametrize("shape", ["range", "whole", "into", "ranges_into"])
def test_a_wrong_content_range_is_tried_once_more_and_then_refused(server, counters, sync, change, shape):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.content_range(change), method="GET", times=None))
    with pytest.raises(exceptions.ProtocolError) as caught:
        read(sync, connect(server), shape, "k", SMALL)
    assert (caught.value.attempts, caught.value.status, caught.value.code) == (2, 206, None)
    assert counters() == {"retries": 1, "retries_transport": 1}
    assert len(server.find("GET", "k")) == 2


@pytest.mark.parametrize("change", ["shifted", "missing", "overflow", "star"])
def test_one_wrong_content_range_costs_one_more_request(server, counters, way, change):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.content_range(change), method="GET"))
    assert read(way, connect(server), "whole", "k", SMALL) == data
    assert len(server.find("GET", "k")) == 2
    assert counters() == {"retries": 1, "retries_transport": 1}


def test_a_wrong_content_range_of_a_later_part_is_refused(server, way):
    server.put("k", pattern(LARGE))
    server.faults.add(Fault(faults.content_range("shifted"), method="GET", skip=2, times=None))
    with pytest.raises(exceptions.BaseError) as caught:
        read(way, connect(server), "into", "k", LARGE)
    assert isinstance(caught.value, exceptions.ProtocolError | exceptions.PreconditionError)


def test_another_total_in_a_later_part_is_another_object(server, way):
    server.put("k", pattern(LARGE))
    server.faults.add(Fault(faults.content_range("total"), method="GET", nth=3))
    with pytest.raises(exceptions.PreconditionError, match="changed while it was read"):
        read(way, connect(server), "range", "k", LARGE)


def test_a_range_within_an_object_needs_no_total(server, way):
    data = pattern(SMALL)
    server.put("k", data)
    server.faults.add(Fault(faults.content_range("star"), method="GET", times=None))
    assert bytes(way(connect(server), "get_range", "k", start=10, end=500)) == data[10:500]


@pytest.mark.parametrize("shape", ["whole", "into", "stream"])
def test_a_whole_object_needs_its_total(server, way, shape):
    server.put("k", pattern(LARGE))
    server.faults.add(Fault(faults.content_range("star"), method="GET", times=None))
    with pytest.raises(exceptions.ProtocolError):
        read(way, connect(server), shape, "k", LARGE)


def test_an_answer_of_several_ranges_is_refused(server, way):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.byteranges(), method="GET", times=None))
    with pytest.raises(exceptions.ProtocolError):
        read(way, connect(server), "range", "k", SMALL)
    assert len(server.find("GET", "k")) == 2


@pytest.mark.parametrize("status", [204, 206, 299])
def test_another_success_than_the_one_asked_for_is_refused(server, way, status):
    server.put("k", b"data")
    server.faults.add(
        Fault(faults.respond(status, b"" if status == 204 else b"data"), method="GET", times=None)
    )
    with pytest.raises(exceptions.ProtocolError) as caught:
        way(connect(server), "get_range", "k", start=0, end=4)
    assert caught.value.status == status


# Servers without ranges.


@pytest.mark.parametrize("shape", SHAPES)
def test_a_server_without_ranges_is_read_once_and_remembered(server, counters, way, shape):
    data = pattern(LARGE)
    server.put("k", data)
    server.faults.add(Fault(faults.ignore_range(), method="GET", times=None))
    store = connect(server)
    assert read(way, store, "whole", "k", LARGE) == data
    assert [request.status for request in server.find("GET", "k")] == [200]
    server.forget()
    assert read(way, store, shape, "k", LARGE) == data
    assert len(server.find("GET", "k")) <= (3 if shape.startswith("ranges") else 1)
    assert counters() == {}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_wanted_bytes_are_cut_out_of_a_whole_answer(server, way, shape):
    data = pattern(LARGE)
    server.put("k", data)
    server.faults.add(Fault(faults.ignore_range(), method="GET", times=None))
    assert read(way, connect(server), shape, "k", LARGE) == data
    store = connect(server)
    assert bytes(way(store, "get_range", "k", start=77, end=1234)) == data[77:1234]
    assert bytes(way(store, "get_range", "k", start=LARGE - 5, end=LARGE + 99)) == data[-5:]
    suffix = way(store, "get", "k", options={"range": {"suffix": 99}})
    assert bytes(way(suffix, "bytes")) == data[-99:]
    offset = way(store, "get", "k", options={"range": {"offset": LARGE - 321}})
    assert bytes(way(offset, "bytes")) == data[-321:]


def test_a_whole_answer_that_breaks_off_goes_on_behind_what_came(server, counters, way):
    data = pattern(LARGE)
    server.put("k", data)
    server.faults.add(Fault(faults.ignore_range(), method="GET", times=None))
    server.faults.add(Fault(faults.cut(100_000), method="GET", nth=1))
    assert read(way, connect(server), "whole", "k", LARGE) == data
    assert ranges_of(server)[1][0] == 100_000
    assert counters() == {"retries": 1, "retries_transport": 1, "resumed": 1}


def test_a_server_may_stop_honouring_ranges_in_the_middle(server, way):
    data = pattern(LARGE)
    server.put("k", data)
    server.faults.add(Fault(faults.ignore_range(), method="GET", skip=2, times=None))
    assert read(way, connect(server), "range", "k", LARGE) == data


@pytest.mark.parametrize("shape", ["range", "whole", "into"])
def test_a_whole_answer_of_unknown_length_is_refused(server, way, shape):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.ignore_range(), method="GET", times=None))
    server.faults.add(Fault(faults.chunked(5000), method="GET", times=None))
    with pytest.raises(exceptions.GenericError, match="unknown size") as caught:
        read(way, connect(server), shape, "k", SMALL)
    assert type(caught.value) is exceptions.GenericError
    assert (caught.value.attempts, caught.value.status) == (1, 200)


def test_a_range_behind_the_end_of_a_whole_answer_is_an_error(server, way):
    server.put("k", b"short")
    server.faults.add(Fault(faults.ignore_range(), method="GET", times=None))
    server.faults.add(Fault(faults.respond(200, b"short", {"ETag": '"x"'}), method="GET", times=None))
    with pytest.raises(exceptions.GenericError):
        way(connect(server), "get_range", "k", start=100, end=200)


# Objects that change.


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_replaced_between_parts_is_an_error_not_a_mixture(server, counters, way, shape):
    server.put("k", pattern(LARGE))
    replace = faults.hook(lambda exchange: server.put("k", pattern(LARGE, 1)))
    server.faults.add(Fault(replace, method="GET", nth=2))
    with pytest.raises(exceptions.PreconditionError) as caught:
        read(way, connect(server), shape, "k", LARGE)
    assert (caught.value.status, caught.value.code) == (412, "PreconditionFailed")
    assert caught.value.attempts == 1
    assert counters() == {}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_replaced_before_a_body_is_resumed_is_an_error(server, way, shape):
    server.put("k", pattern(SMALL))
    server.faults.add(Fault(faults.cut(500), method="GET", nth=1))
    replace = faults.hook(lambda exchange: server.put("k", pattern(SMALL, 1)))
    server.faults.add(Fault(replace, method="GET", nth=2))
    with pytest.raises(exceptions.PreconditionError) as caught:
        read(way, connect(server), shape, "k", SMALL)
    assert (caught.value.status, caught.value.attempts) == (412, 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_another_etag_is_noticed_where_the_server_ignores_conditions(server, way, shape):
    server.put("k", pattern(LARGE))
    other = faults.set_headers({"ETag": '"00000000000000000000000000000000"'})
    server.faults.add(Fault(other, method="GET", nth=3))
    with pytest.raises(exceptions.PreconditionError, match="another ETag"):
        read(way, connect(server), shape, "k", LARGE)


def test_a_stream_ends_with_the_error_after_right_bytes(server, way):
    data = pattern(LARGE)
    server.put("k", data)
    replace = faults.hook(lambda exchange: server.put("k", pattern(LARGE, 1)))
    server.faults.add(Fault(replace, method="GET", when=lambda request: request.range()[0] >= 4 * PART))
    result = way(connect(server), "get", "k")
    stream = result.stream(PART)
    got = bytearray()

    def take_all():
        for piece in stream:
            got.extend(piece)

    async def take_all_async():
        async for piece in stream:
            got.extend(piece)

    with pytest.raises(exceptions.PreconditionError):
        take_all() if way.runner is None else way.runner.run(take_all_async())
    assert data.startswith(got)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_that_shrinks_to_nothing_is_not_taken_for_an_empty_one(server, way, shape):
    """A server without conditions answers 416, which an empty object does, too."""
    server.put("k", pattern(LARGE))
    gone = faults.s3_error("InvalidRange")
    server.faults.add(Fault(gone, method="GET", skip=1, times=None))
    with pytest.raises(exceptions.PreconditionError) as caught:
        read(way, connect(server), shape, "k", LARGE)
    assert (caught.value.status, caught.value.code) == (416, "InvalidRange")


def test_an_object_that_is_deleted_between_parts_is_not_found(server, way):
    server.put("k", pattern(LARGE))
    server.faults.add(Fault(faults.s3_error("NoSuchKey"), method="GET", skip=1, times=None))
    with pytest.raises(exceptions.NotFoundError) as caught:
        read(way, connect(server), "range", "k", LARGE)
    assert caught.value.code == "NoSuchKey"


# Empty objects, ranges behind the end.


def test_an_empty_object_is_read_whole(server, counters, way):
    stored = server.put("k", b"")
    store = connect(server)
    result = way(store, "get", "k")
    assert bytes(way(result, "bytes")) == b""
    assert result.meta["size"] == 0
    assert result.meta["e_tag"] == stored.etag
    assert result.range == (0, 0)
    assert way.pieces(way(store, "get", "k").stream()) == []
    assert way(store, "get", "k", into=bytearray(4)).range == (0, 0)
    assert [request.status for request in server.find("GET", "k")] == [416, 200] * 3
    assert counters() == {}


def test_a_range_of_an_empty_object_is_an_error(server, way):
    server.put("k", b"")
    with pytest.raises(exceptions.GenericError) as caught:
        way(connect(server), "get_range", "k", start=0, end=10)
    assert (caught.value.status, caught.value.code) == (416, "InvalidRange")


def test_a_range_behind_the_end_is_an_error(server, way):
    server.put("k", b"data")
    store = connect(server)
    with pytest.raises(exceptions.GenericError) as caught:
        way(store, "get_range", "k", start=4, end=10)
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (416, "InvalidRange", 1)
    with pytest.raises(exceptions.GenericError):
        way(store, "get_ranges", "k", starts=[0, 400], ends=[2, 410])
    assert bytes(way(store, "get_range", "k", start=2, end=10)) == b"ta"


# Contents that tempt.


def test_a_body_that_looks_like_an_error_is_data(server, counters, way):
    data = b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>"
    server.put("k", data)
    assert read(way, connect(server), "whole", "k", len(data)) == data
    assert counters() == {}


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
def test_stored_encodings_come_back_byte_for_byte(server, way, encoding):
    data = b"\x1f\x8b\x08not really compressed" + pattern(500)
    server.put("k", data, headers={"content-encoding": encoding})
    result = way(connect(server), "get", "k")
    assert result.attributes["Content-Encoding"] == encoding
    assert bytes(way(result, "bytes")) == data
    assert bytes(way(connect(server), "get_range", "k", start=3, end=20)) == data[3:20]
    assert not any(request.header("accept-encoding") for request in server.requests)


def test_etags_are_given_back_as_they_came(server, way):
    stored = server.put("k", b"data")
    assert re.fullmatch(ETAG_SHAPE, stored.etag)
    assert way(connect(server), "head", "k")["e_tag"] == stored.etag
