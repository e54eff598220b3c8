"""Uploads that go wrong half-way: retried part by part, else ended with an error and without remains."""

from __future__ import annotations

import asyncio
import io
import time

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern
from tests.server import Action, Fault, Response, VerifyingServer, faults
from tests.server.errors import error_xml
from tests.server.http import BytesBody, send_response

PARTS = 7
SIZE = (PARTS - 1) * PART + 321
DATA = pattern(SIZE)

KINDS = ("buffer", "file", "chunks")


def chunks_of(data, size=10_000):
    return (data[at : at + size] for at in range(0, len(data), size))


def upload(way, store, kind="buffer", data=DATA, key="k", **options):
    """Upload in parts of PART bytes, from one of the KINDS of sources."""
    source = {"buffer": lambda: data, "file": lambda: io.BytesIO(data), "chunks": lambda: chunks_of(data)}[
        kind
    ]()
    return way(store, "put", key, source, use_multipart=True, chunk_size=PART, **options)


def parts_sent(server):
    return [request.part for request in server.find("PUT", query="partNumber")]


@pytest.fixture
def server(fresh_server):
    """Every request on a connection of its own, so that each failure is one that our own retries see."""
    return fresh_server


@pytest.fixture
def aborted(server):
    """Assert that the upload was begun, never completed, and aborted."""

    def check(count=1):
        server.wait_idle()
        assert server.store.completed == []
        assert len(server.store.aborted) == count
        assert not server.store.uploads
        assert server.keys() == []

    return check


# Parts.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("action", "cause"),
    [
        (faults.slow_down(), "throttle"),
        (faults.html_error(502), "server"),
        (faults.s3_error("RequestTimeout"), "server"),
        (faults.drop(), "transport"),
        (faults.drop(reset=True), "transport"),
        (faults.cut_upload(1000), "transport"),
        (faults.cut_upload(1000, reset=True), "transport"),
        (faults.lose_answer(), "transport"),
    ],
    ids=["throttle", "html", "timeout", "drop", "reset", "cut", "cut_reset", "lost"],
)
def test_a_part_that_fails_is_sent_again(server, counters, way, kind, action, cause):
    server.faults.add(Fault(action, method="PUT", part=3, times=2))
    server.faults.add(Fault(action, method="PUT", part=PARTS, times=1))
    result = upload(way, connect(server), kind)
    assert b"".join(server.get("k").body.views(0, SIZE)) == DATA
    assert result["e_tag"] == server.get("k").etag
    assert sorted(parts_sent(server)) == sorted([*range(1, PARTS + 1), 3, 3, PARTS])
    assert counters() == {"retries": 3, f"retries_{cause}": 3}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("action", "error", "status", "attempts"),
    [
        (faults.s3_error("AccessDenied"), exceptions.PermissionDeniedError, 403, 1),
        (faults.slow_down(), exceptions.ThrottledError, 503, 3),
        (faults.html_error(500), exceptions.GenericError, 500, 3),
        (faults.drop(), exceptions.GenericError, None, 3),
        (faults.s3_error("NoSuchUpload"), exceptions.NotFoundError, 404, 1),
        (faults.drop_headers("ETag"), exceptions.ProtocolError, 200, 2),
    ],
    ids=["denied", "throttle", "html", "drop", "no_upload", "no_etag"],
)
def test_a_part_that_cannot_be_sent_aborts_the_upload(
    server, aborted, way, kind, action, error, status, attempts
):
    server.faults.add(Fault(action, method="PUT", part=4, times=None))
    with pytest.raises(error) as caught:
        upload(way, connect(server, max_retries=2), kind)
    assert (caught.value.status, caught.value.attempts) == (status, attempts)
    assert caught.value.key == "k"
    assert caught.value.operation == "put"
    aborted()


def test_parts_that_all_fail_are_one_error(server, aborted, way):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", times=None))
    with pytest.raises(exceptions.PermissionDeniedError):
        upload(way, connect(server))
    aborted()


# An answer before the body was read.


def early(code="AccessDenied", status=403, wait=0.0):
    """Refuse after the head and hang up, leaving the body unread for a while."""

    async def on_head(exchange, fault):
        body = BytesBody(error_xml(code, "not yours", {}, "EARLY"))
        response = Response(status, {"Content-Type": "application/xml"}, body, code=code)
        response.wire.close = True
        try:
            await send_response(exchange.connection, exchange.request, response)
        except faults.DisconnectError:
            await asyncio.sleep(wait)
            await exchange.connection.finish()
            raise

    return Action("early", on_head=on_head)


@pytest.mark.parametrize("wait", [0.0, 0.02])
@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_an_early_refusal_of_a_put_is_understood(server, way, size, wait):
    server.faults.add(Fault(early(wait=wait), method="PUT", times=None))
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        way(connect(server), "put", "k", bytes(size), use_multipart=False)
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (403, "AccessDenied", 1)
    assert server.keys() == []


def test_an_early_refusal_of_a_part_aborts_the_upload(server, aborted, way):
    server.faults.add(Fault(early(wait=0.01), method="PUT", part=2, times=None))
    with pytest.raises(exceptions.PermissionDeniedError):
        upload(way, connect(server))
    aborted()


def test_an_early_throttle_of_a_put_is_waited_out(server, counters, way):
    data = pattern(3_000_000)
    server.faults.add(Fault(early("SlowDown", 503, wait=0.01), method="PUT", times=2))
    way(connect(server), "put", "k", data, use_multipart=False)
    assert server.get("k").data == data
    assert counters() == {"retries": 2, "retries_throttle": 2}


# Create.


@pytest.mark.parametrize(
    ("action", "cause"),
    [(faults.slow_down(), "throttle"), (faults.html_error(500), "server"), (faults.drop(), "transport")],
    ids=["throttle", "html", "drop"],
)
def test_a_create_that_fails_is_sent_again(server, counters, way, action, cause):
    server.faults.add(Fault(action, method="POST", query="uploads", times=2))
    upload(way, connect(server))
    assert counters() == {"retries": 2, f"retries_{cause}": 2}
    assert server.get("k").body.size == SIZE


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (faults.s3_error("AccessDenied"), exceptions.PermissionDeniedError),
        (faults.s3_error("NoSuchBucket"), exceptions.NotFoundError),
        (faults.respond(200, b""), exceptions.ProtocolError),
        (faults.respond(200, b"<InitiateMultipartUploadResult/>"), exceptions.ProtocolError),
        (faults.respond(200, b"<Error><Code>AccessDenied</Code></Error>"), exceptions.PermissionDeniedError),
    ],
    ids=["denied", "bucket", "empty", "no_id", "late"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_create_that_is_refused_is_an_error_before_any_part(server, way, kind, action, error):
    server.faults.add(Fault(action, method="POST", query="uploads", times=None))
    with pytest.raises(error):
        upload(way, connect(server), kind)
    assert parts_sent(server) == []
    assert server.find("DELETE") == []


# Complete.


def complete(action, **options):
    return Fault(action, method="POST", query="uploadId", **options)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "action",
    [
        faults.lose_answer(),
        faults.lose_answer(reset=True),
        faults.replace_body(b""),
        faults.truncate_body(60),
        faults.late_error("InternalError", apply=True),
        faults.cut(10),
        faults.replace_body(b"", status=500),
    ],
    ids=["lost", "reset", "empty", "truncated", "late", "cut", "status"],
)
def test_a_complete_that_was_done_although_its_answer_was_bad_is_a_success(server, way, action):
    server.faults.add(complete(action, times=1))
    result = upload(way, connect(server))
    assert result["e_tag"] == server.get("k").etag
    assert [request.status for request in server.find("HEAD", "k")] == [200]
    assert len(server.find("POST", query="uploadId")) == 2
    assert len(server.store.completed) == 1
    assert server.find("DELETE") == []


def test_an_upload_that_is_gone_and_left_another_object_is_an_error(server, way):
    def replace(exchange):
        server.put("k", b"somebody else's")

    server.faults.add(complete(faults.lose_answer(), times=1))
    server.faults.add(complete(faults.hook(replace), nth=2))
    with pytest.raises(exceptions.NotFoundError) as caught:
        upload(way, connect(server))
    assert (caught.value.key, caught.value.code, caught.value.attempts) == ("k", "NoSuchUpload", 2)
    assert server.get("k").data == b"somebody else's"


def test_an_upload_that_is_gone_and_left_nothing_is_an_error(server, way):
    server.faults.add(complete(faults.drop(), times=1))
    server.faults.add(complete(faults.s3_error("NoSuchUpload"), skip=1, times=None))
    with pytest.raises(exceptions.NotFoundError):
        upload(way, connect(server))
    assert server.keys() == []


def test_an_older_object_is_not_taken_for_the_one_that_was_sent(server, way):
    server.put("k", b"old")
    server.faults.add(complete(faults.s3_error("NoSuchUpload"), times=None))
    with pytest.raises(exceptions.NotFoundError) as caught:
        upload(way, connect(server))
    assert (caught.value.code, caught.value.attempts) == ("NoSuchUpload", 1)


def test_a_complete_that_libcurl_repeats_is_a_success(way):
    """Kept-alive connections: the repetition on another connection finds no upload any more."""
    with VerifyingServer(min_part_size=0) as server:
        server.faults.add(complete(faults.lose_answer(), times=1))
        result = upload(way, connect(server))
        assert result["e_tag"] == server.get("k").etag
        assert not server.errors


@pytest.mark.parametrize("action", [faults.lose_answer(), faults.replace_body(b"")], ids=["lost", "empty"])
def test_a_complete_whose_answers_never_come_is_looked_up(server, way, action):
    """No retries are left to learn NoSuchUpload by, so the object itself has to tell."""
    server.faults.add(complete(action, times=None))
    result = upload(way, connect(server, max_retries=0))
    assert result["e_tag"] == server.get("k").etag
    assert len(server.find("POST", query="uploadId")) == 1


@pytest.mark.parametrize(
    ("action", "error", "attempts"),
    [
        (faults.s3_error("AccessDenied"), exceptions.PermissionDeniedError, 1),
        (faults.slow_down(), exceptions.ThrottledError, 3),
        (faults.html_error(500), exceptions.GenericError, 3),
        (faults.drop(), exceptions.GenericError, 3),
        (faults.respond(200, b""), exceptions.ProtocolError, 2),
        (faults.late_error("AccessDenied"), exceptions.PermissionDeniedError, 1),
        (faults.late_error("InternalError"), exceptions.GenericError, 3),
    ],
    ids=["denied", "throttle", "html", "drop", "empty", "late_final", "late"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_that_fails_aborts_the_upload(server, aborted, way, kind, action, error, attempts):
    server.faults.add(complete(action, times=None))
    with pytest.raises(error) as caught:
        upload(way, connect(server, max_retries=2), kind)
    assert caught.value.attempts == attempts
    aborted()


def test_an_object_that_was_there_before_is_not_taken_for_the_upload(server, way):
    """Complete is never done, the same object is there from before: the upload must still be aborted."""
    store = connect(server, max_retries=1)
    upload(way, store)
    server.store.completed.clear()
    server.faults.add(complete(faults.drop(), times=None))
    upload(way, store)
    assert b"".join(server.get("k").body.views(0, SIZE)) == DATA
    server.wait_idle()
    assert not server.store.uploads
    assert len(server.store.aborted) == 1


def test_a_complete_with_an_empty_etag_still_tells_the_right_one(server, way):
    body = b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"
    server.faults.add(complete(faults.replace_body(body)))
    assert upload(way, connect(server))["e_tag"] == server.get("k").etag


# Abort.


def test_an_abort_that_fails_is_tried_again(server, aborted, way):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", part=2, times=None))
    server.faults.add(Fault(faults.slow_down(), method="DELETE", times=2))
    with pytest.raises(exceptions.PermissionDeniedError):
        upload(way, connect(server))
    aborted()
    assert len(server.find("DELETE")) == 3


def test_an_abort_that_is_refused_names_the_upload(server, way):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="PUT", part=2, times=None))
    server.faults.add(Fault(faults.s3_error("MethodNotAllowed", status=405), method="DELETE", times=None))
    with pytest.raises(exceptions.PermissionDeniedError, match="could not be aborted") as caught:
        upload(way, connect(server))
    (upload_id,) = server.store.uploads
    assert upload_id in str(caught.value)
    server.store.uploads.clear()


@pytest.mark.parametrize("kind", ["file", "chunks"])
def test_a_source_that_fails_aborts_the_upload(server, aborted, way, kind):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 3 * PART:
                raise ZeroDivisionError("the source")
            return super().read(size)

        def readinto(self, room):
            if self.tell() > 3 * PART:
                raise ZeroDivisionError("the source")
            return super().readinto(room)

    def broken():
        for count, chunk in enumerate(chunks_of(DATA)):
            if count * 10_000 > 3 * PART:
                raise ZeroDivisionError("the source")
            yield chunk

    source = Broken(DATA) if kind == "file" else broken()
    with pytest.raises(ZeroDivisionError, match="the source"):
        way(connect(server), "put", "k", source, use_multipart=True, chunk_size=PART)
    end = time.monotonic() + 5
    while len(server.store.aborted) < len(server.find("POST")) and time.monotonic() < end:
        time.sleep(0.01)
    # A source may fail before anything was sent.
    aborted(len(server.find("POST")))


def test_a_cancelled_upload_is_aborted(server, aborted):
    fault = server.faults.add(Fault(faults.stall("answer"), method="PUT", part=3, times=None))
    store = connect(server)

    async def main():
        task = asyncio.create_task(store.put_async("k", DATA, use_multipart=True, chunk_size=PART))
        await asyncio.to_thread(fault.wait_hit)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    end = time.monotonic() + 5
    while server.store.uploads and time.monotonic() < end:
        time.sleep(0.01)
    fault.release()
    aborted()


@pytest.mark.parametrize("window", [1, 2, 12])
def test_uploads_survive_a_storm(server, window, way):
    server.faults.add(Fault(faults.slow_down(), method="PUT", times=None, probability=0.3, seed=1))
    server.faults.add(Fault(faults.lose_answer(), method="PUT", times=None, probability=0.2, seed=2))
    upload(way, connect(server, max_retries=30), max_concurrency=window)
    assert b"".join(server.get("k").body.views(0, SIZE)) == DATA
    assert len(server.store.completed) == 1
