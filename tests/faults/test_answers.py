"""Answers that are not what they seem: errors inside 200, floods of headers, bodies where none may be."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern
from tests.server import Fault, VerifyingServer, faults

SIZE = 3 * PART + 5


def put_in_parts(way, store, key="k", data=None):
    data = pattern(SIZE) if data is None else data
    return way(store, "put", key, data, chunk_size=PART, use_multipart=True)


def copy(way, store):
    way(store, "copy", "k", "k2")


def delete_many(way, store):
    way(store, "delete", ["k", "other"])


OPERATIONS = {
    "copy": (copy, {"method": "PUT", "key": "k2"}),
    "complete": (put_in_parts, {"method": "POST", "query": "uploadId"}),
    "delete_many": (delete_many, {"method": "POST", "query": "delete"}),
}
LATE = pytest.mark.parametrize("operation", OPERATIONS)


def asked(server, operation):
    match = OPERATIONS[operation][1]
    return server.find(match["method"], match.get("key"), match.get("query"))


# Errors inside a 200 answer.


@LATE
@pytest.mark.parametrize("spaces", [0, 3, 5000])
@pytest.mark.parametrize(
    ("code", "kind"),
    [("InternalError", "server"), ("SlowDown", "throttle"), ("OperationAborted", "server")],
)
def test_an_error_inside_a_success_is_retried(server, counters, sync, operation, code, kind, spaces):
    server.put("k", b"data")
    act, match = OPERATIONS[operation]
    server.faults.add(Fault(faults.late_error(code, spaces=spaces), times=2, **match))
    act(sync, connect(server))
    assert [request.status for request in asked(server, operation)] == [200] * 3
    assert counters() == {"retries": 2, f"retries_{kind}": 2}
    if operation == "copy":
        assert server.get("k2").data == b"data"
    elif operation == "delete_many":
        assert server.keys() == []
    else:
        assert server.get("k").body.size == SIZE


@LATE
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", exceptions.PermissionDeniedError),
        ("NoSuchKey", exceptions.NotFoundError),
        ("SomethingNew", exceptions.GenericError),
    ],
)
def test_a_final_error_inside_a_success_is_raised(server, counters, way, operation, code, kind):
    server.put("k", b"data")
    act, match = OPERATIONS[operation]
    server.faults.add(Fault(faults.late_error(code), times=None, **match))
    with pytest.raises(kind) as caught:
        act(way, connect(server))
    assert (caught.value.code, caught.value.attempts) == (code, 1)
    assert caught.value.status == 200
    assert counters() == {}


@LATE
def test_a_late_error_without_end_is_raised(server, way, operation):
    server.put("k", b"data")
    act, match = OPERATIONS[operation]
    server.faults.add(Fault(faults.late_error("InternalError"), times=None, **match))
    with pytest.raises(exceptions.GenericError) as caught:
        act(way, connect(server, max_retries=2))
    assert (caught.value.code, caught.value.attempts) == ("InternalError", 3)
    assert caught.value.retryable


@LATE
def test_spaces_that_keep_a_connection_alive_are_no_stall(server, counters, sync, operation):
    """White space comes for longer than read_timeout, but never pauses that long."""
    server.put("k", b"data")
    act, match = OPERATIONS[operation]
    late = faults.late_error("InternalError", spaces=14, every=0.05)
    server.faults.add(Fault(late, times=1, **match))
    begun = time.monotonic()
    act(sync, connect(server, client_options={"read_timeout": "400ms"}))
    assert time.monotonic() - begun > 0.6
    assert counters() == {"retries": 1, "retries_server": 1}


@LATE
@pytest.mark.parametrize(
    "body",
    [b"", b"   ", b"<", b"not XML", b"<?xml version='1.0'?><Other/>", b"\x00\x01"],
    ids=["empty", "spaces", "cut", "text", "other", "binary"],
)
def test_a_success_that_is_no_result_is_tried_once_more_and_refused(server, counters, sync, operation, body):
    server.put("k", b"data")
    act, match = OPERATIONS[operation]
    server.faults.add(Fault(faults.respond(200, body), times=None, **match))
    with pytest.raises(exceptions.GenericError) as caught:
        act(sync, connect(server))
    assert caught.value.attempts == 2
    assert len(asked(server, operation)) == 2
    assert counters() == {"retries": 1, "retries_transport": 1}


@LATE
@pytest.mark.parametrize(
    "body", [b"<Error>", b"<Error/>", b" <Error><Code/></Error>"], ids=["cut", "empty", "blank"]
)
def test_an_error_without_a_code_inside_a_success_is_retried(server, counters, sync, operation, body):
    server.put("k", b"data")
    act, match = OPERATIONS[operation]
    server.faults.add(Fault(faults.respond(200, body), times=2, **match))
    act(sync, connect(server))
    assert counters() == {"retries": 2, "retries_server": 2}


@LATE
def test_one_success_that_is_no_result_costs_one_more_request(server, sync, operation):
    server.put("k", b"data")
    act, match = OPERATIONS[operation]
    server.faults.add(Fault(faults.respond(200, b""), times=1, **match))
    act(sync, connect(server))
    assert len(asked(server, operation)) == 2


def test_a_document_that_breaks_off_is_asked_for_again(server, counters, way):
    for n in range(30):
        server.put(f"k{n}", b"")
    server.faults.add(Fault(faults.cut(300), method="GET"))
    store = connect(server)
    assert len(store.list().collect()) == 30
    assert counters() == {"retries": 1, "retries_transport": 1}


def test_keys_that_a_bulk_delete_could_not_delete_are_an_error(server, way):
    for key in ("a", "b", "c"):
        server.put(key, b"data")
    partly = (
        b"<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
        b"<Message>not yours</Message></Error></DeleteResult>"
    )
    server.faults.add(Fault(faults.respond(200, partly), method="POST"))
    with pytest.raises(exceptions.GenericError, match="not yours") as caught:
        way(connect(server), "delete", ["a", "b", "c"])
    assert (caught.value.code, caught.value.key) == ("AccessDenied", "b")


def test_a_put_without_an_etag_in_its_answer_is_an_error(server, way):
    server.faults.add(Fault(faults.drop_headers("ETag"), method="PUT", times=None))
    with pytest.raises(exceptions.ProtocolError) as caught:
        way(connect(server), "put", "k", b"data")
    assert caught.value.attempts == 2


# Lists.


def page(token=None, keys=("a",), truncated=None):
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"e"</ETag><Size>1</Size></Contents>'
        for key in keys
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    cut = str(bool(token) if truncated is None else truncated).lower()
    return f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{entries}{more}</ListBucketResult>".encode()


def test_a_list_whose_pages_repeat_their_token_ends_in_an_error(server, way):
    server.faults.add(Fault(faults.respond(200, page("again")), method="GET", times=None))
    with pytest.raises(exceptions.GenericError):
        connect(server).list().collect()
    assert len(server.requests) <= 4


def test_a_list_that_goes_on_without_a_token_is_an_error(server, sync):
    server.faults.add(Fault(faults.respond(200, page(truncated=True)), method="GET", times=None))
    with pytest.raises(exceptions.GenericError):
        connect(server).list().collect()
    assert len(server.requests) <= 2


def test_a_page_without_end_is_refused_in_bounded_memory(server, sync):
    server.faults.add(Fault(faults.respond(200, b" " * 80_000_000), method="GET", times=None))
    with pytest.raises(exceptions.GenericError):
        connect(server).list().collect()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE l [<!ENTITY a 'aaaaa'><!ENTITY b '&a;&a;&a;'>]><ListBucketResult>&b;</ListBucketResult>",
        b"<!DOCTYPE l [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><ListBucketResult><Prefix>&x;</Prefix></ListBucketResult>",
        b"<ListBucketResult>" + b"<a>" * 100_000,
        b"<ListBucketResult><Contents><Size>99999999999999999999999</Size></Contents></ListBucketResult>",
    ],
    ids=["laughs", "external", "deep", "number"],
)
def test_hostile_pages_are_refused(server, sync, body):
    server.faults.add(Fault(faults.respond(200, body), method="GET", times=None))
    begun = time.monotonic()
    with pytest.raises(exceptions.ProtocolError) as caught:
        connect(server).list().collect()
    assert time.monotonic() - begun < 2
    assert "root:" not in str(caught.value)


# Heads.


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(faults.header_flood(20_000), id="many"),
        pytest.param(faults.huge_header(2_000_000), id="huge"),
        pytest.param(faults.informational(100_000), id="1xx"),
    ],
)
def test_floods_of_headers_are_refused(server, counters, sync, flood):
    server.put("k", b"data")
    server.faults.add(Fault(flood, times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        sync(connect(server, max_retries=2), "get_range", "k", start=0, end=4)
    assert caught.value.attempts == 2
    assert counters() == {"retries": 1, "retries_transport": 1}
    server.faults.clear()
    assert bytes(sync(connect(server), "get_range", "k", start=0, end=4)) == b"data"


@pytest.mark.parametrize("size", [1000, 20_000, 90_000])
def test_a_long_header_is_no_flood(server, way, size):
    server.put("k", b"data")
    server.faults.add(Fault(faults.huge_header(size), times=None))
    server.faults.add(Fault(faults.header_flood(100), times=None))
    assert bytes(way(connect(server), "get_range", "k", start=0, end=4)) == b"data"


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_answers_are_skipped(server, counters, way, status, count):
    server.put("k", b"data")
    server.faults.add(Fault(faults.informational(count, status=status), times=None))
    store = connect(server)
    assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    assert way(store, "head", "k")["size"] == 4
    way(store, "put", "k2", b"fresh")
    assert server.get("k2").data == b"fresh"
    assert counters() == {}


@pytest.mark.parametrize("data", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"], ids=["own", "http"])
def test_a_body_after_a_head_does_not_reach_the_next_request(server, way, data):
    server.put("k", b"right")
    server.put("other", b"data")
    server.faults.add(Fault(faults.head_body(data), method="HEAD", times=None))
    store = connect(server)
    for _ in range(3):
        way(store, "head", "k")
        time.sleep(0.01)
        assert bytes(way(store, "get_range", "other", start=0, end=4)) == b"data"


def test_a_body_after_204_does_not_reach_the_next_request(server, way):
    server.put("other", b"data")
    server.faults.add(Fault(faults.head_body(b"rubbish"), method="DELETE", times=None))
    store = connect(server)
    for _ in range(3):
        way(store, "delete", "k")
        time.sleep(0.01)
        assert bytes(way(store, "get_range", "other", start=0, end=4)) == b"data"


def test_a_head_without_a_length_is_an_error(server, way):
    server.put("k", b"data")
    server.faults.add(Fault(faults.content_length(missing=True), method="HEAD", times=None))
    with pytest.raises(exceptions.GenericError, match="Content-Length"):
        way(connect(server), "head", "k")


@pytest.mark.parametrize("after", [0, 1, 9, 40])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_a_head_that_breaks_off_is_asked_for_again(server, counters, way, after, reset):
    server.put("k", b"data")
    server.faults.add(Fault(faults.cut_head(after, reset=reset), method="GET"))
    assert bytes(way(connect(server), "get_range", "k", start=0, end=4)) == b"data"
    assert len(server.requests) == 2
    assert counters() == {"retries": 1, "retries_transport": 1}


def test_what_is_not_http_is_refused(sync):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                client.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" * 3)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    store = connect(f"http://127.0.0.1:{listener.getsockname()[1]}", max_retries=2)
    with pytest.raises(exceptions.ProtocolError) as caught:
        sync(store, "get_range", "k", start=0, end=4)
    assert (caught.value.attempts, caught.value.status) == (2, None)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.parametrize(
    "name", ["x-amz-request-id", "ETag", "Last-Modified", "x-amz-version-id", "Content-Type"]
)
def test_odd_values_in_headers_do_no_harm(server, way, name):
    server.put("k", b"data")
    server.faults.add(Fault(faults.set_headers({name: '"\xff\xfe %s %n \t"'}), times=None))
    assert bytes(way(way(connect(server), "get", "k"), "bytes")) == b"data"


def test_a_server_on_ipv6_is_served_alike(way):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with VerifyingServer(host="::1") as server:
        server.put("k", b"data")
        assert bytes(way(connect(server), "get_range", "k", start=0, end=4)) == b"data"
        assert not server.errors
