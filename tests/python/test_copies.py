"""copy and rename: conditions in every mode, copies in parts, and that a source is never lost."""

from __future__ import annotations

import random

import pytest

import s3ext
from s3ext import _copies, exceptions
from tests.python.ways import connect
from tests.server import Fault, faults

SIZE = 1_000_003
DATA = random.Random(11).randbytes(SIZE)
PART = 300_000
FOUR = -(-SIZE // PART)

# Modes that need nothing but the server, and what it is told to do for the last of them.
MODES = [
    "multipart",
    "header:cf-copy-destination-if-none-match:*",
    "header-with-status: If-None-Match : * : 412",
]


@pytest.fixture
def small_limit(server, monkeypatch):
    """A server and a client for which an object of 500 kB is too large for CopyObject."""
    server.store.max_copy_size = 500_000
    server.store.min_part_size = 0
    monkeypatch.setattr(_copies, "LARGEST", 500_000)
    monkeypatch.setattr(_copies, "PART_SIZE", PART)


def uploads_of(server):
    return list(server.store.uploads)


# ---- overwrite=False ----


def test_without_a_mode_a_conditional_copy_is_not_supported(server, store, way):
    server.put("a", b"1")
    for method in ("copy", "rename"):
        for target in ("b", "a"):
            with pytest.raises(exceptions.NotSupportedError, match="copy-if-not-exists"):
                way(store, method, "a", target, overwrite=False)
    assert server.keys() == ["a"]
    assert server.requests == []


@pytest.mark.parametrize("mode", MODES)
def test_a_conditional_copy_copies_where_nothing_is(server, way, mode):
    server.put("dir/a b+ü", DATA, headers={"content-type": "text/x"}, metadata={"flavour": "mint"})
    way(connect(server, copy_if_not_exists=mode), "copy", "dir/a b+ü", "to", overwrite=False)
    copied = server.get("to")
    assert copied.data == DATA
    assert copied.headers["content-type"] == "text/x"
    assert copied.metadata == {"flavour": "mint"}
    assert uploads_of(server) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["copy", "rename"])
def test_a_conditional_copy_replaces_nothing_and_keeps_the_source(server, way, mode, method):
    server.put("a", b"new")
    server.put("b", b"old")
    store = connect(server, copy_if_not_exists=mode)
    with pytest.raises(exceptions.AlreadyExistsError) as caught:
        way(store, method, "a", "b", overwrite=False)
    assert isinstance(caught.value, FileExistsError)
    assert (caught.value.status, caught.value.key) == (412, "b")
    assert (server.get("a").data, server.get("b").data) == (b"new", b"old")
    assert uploads_of(server) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_conditional_rename_moves(server, way, mode):
    server.put("a", b"1")
    way(connect(server, copy_if_not_exists=mode), "rename", "a", "b", overwrite=False)
    assert server.keys() == ["b"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["copy", "rename"])
def test_a_missing_source_is_not_found(server, way, mode, method):
    store = connect(server, copy_if_not_exists=mode)
    with pytest.raises(exceptions.NotFoundError):
        way(store, method, "none", "b", overwrite=False)
    assert server.keys() == []
    assert uploads_of(server) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_conditional_copy_onto_itself_finds_the_object(server, way, mode):
    server.put("a", b"1")
    store = connect(server, copy_if_not_exists=mode)
    with pytest.raises(exceptions.AlreadyExistsError):
        way(store, "rename", "a", "a", overwrite=False)
    assert server.keys() == ["a"]


@pytest.mark.parametrize("status", [409, 422])
def test_a_header_may_come_with_a_status_of_its_own(server, way, status):
    server.put("a", b"1")
    refuse = faults.s3_error("PreconditionFailed", "it is there", status=status)
    server.faults.add(Fault(refuse, method="PUT", key="b", times=3))
    store = connect(server, copy_if_not_exists=f"header-with-status:X-Test:value:{status}")
    with pytest.raises(exceptions.AlreadyExistsError) as caught:
        way(store, "copy", "a", "b", overwrite=False)
    assert caught.value.status == status
    assert server.find("PUT", "b")[0].header("x-test") == "value"


def test_another_status_than_the_modes_is_what_it_is(server, way):
    server.put("a", b"1")
    server.faults.add(Fault(faults.s3_error("PreconditionFailed"), method="PUT", key="b"))
    store = connect(server, copy_if_not_exists="header-with-status:x-test:value:418")
    with pytest.raises(exceptions.PreconditionError):
        way(store, "copy", "a", "b", overwrite=False)


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_conditional_copy_whose_answer_is_lost_is_not_sent_again(server, way, mode):
    server.put("a", b"1")
    server.faults.add(Fault(faults.lose_answer(), method="PUT", key="b"))
    with pytest.raises(exceptions.ConnectError):
        way(connect(server, copy_if_not_exists=mode), "copy", "a", "b", overwrite=False)
    assert len(server.find("PUT", "b")) == 1


def test_a_completed_conditional_copy_whose_answer_is_lost_is_found(server, way):
    server.put("a", DATA)
    server.faults.add(Fault(faults.lose_answer(), method="POST", key="b", query="uploadId"))
    way(connect(server, copy_if_not_exists="multipart"), "rename", "a", "b", overwrite=False)
    assert server.get("b").data == DATA
    assert server.keys() == ["b"]


def test_an_equal_object_of_somebody_else_is_not_taken_for_the_copy(server, way):
    """Complete fails, and an object with the very ETag is there: the upload that is still open tells."""
    server.put("a", DATA)
    store = connect(server, copy_if_not_exists="multipart", retry_config={"max_retries": 0})
    way(store, "copy", "a", "b", overwrite=False)
    server.faults.add(Fault(faults.drop(), method="POST", key="b", query="uploadId", times=5))
    with pytest.raises(exceptions.BaseError):
        way(store, "rename", "a", "b", overwrite=False)
    assert server.keys() == ["a", "b"]
    assert uploads_of(server) == []


# ---- parts ----


@pytest.mark.usefixtures("small_limit")
def test_what_is_too_large_for_one_request_is_copied_in_parts(server, store, way):
    put = s3ext.put(
        store,
        "dir/a b+ü",
        DATA,
        use_multipart=False,
        attributes={"Content-Type": "text/x", "Cache-Control": "no-store", "flavour": "mint"},
        tags={"a b": "c&d=e", "ü": ""},
    )
    way(store, "copy", "dir/a b+ü", "to")
    copied = server.get("to")
    assert copied.data == DATA
    assert copied.parts == (PART, PART, PART, SIZE - 3 * PART)
    assert copied.headers == server.get("dir/a b+ü").headers
    assert copied.metadata == {"flavour": "mint"}
    assert sorted(copied.tagging.split("&")) == sorted(server.get("dir/a b+ü").tagging.split("&"))
    parts = server.find("PUT", "to", "uploadId")
    assert len(parts) == FOUR
    assert {part.header("x-amz-copy-source-if-match") for part in parts} == {put["e_tag"]}
    assert uploads_of(server) == []


@pytest.mark.usefixtures("small_limit")
def test_what_fits_one_request_takes_one(server, store, way):
    server.put("a", DATA[:500_000])
    way(store, "copy", "a", "b")
    assert [request.method for request in server.requests] == ["PUT"]


@pytest.mark.usefixtures("small_limit")
def test_a_large_rename_deletes_the_source_when_all_parts_are_there(server, store, way):
    server.put("a", DATA)
    way(store, "rename", "a", "b")
    assert server.keys() == ["b"]
    assert server.get("b").data == DATA


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("mode", ["multipart"])
def test_a_large_conditional_copy_has_its_condition(server, way, mode):
    server.put("a", DATA)
    store = connect(server, copy_if_not_exists=mode)
    way(store, "copy", "a", "b", overwrite=False)
    assert server.get("b").data == DATA
    with pytest.raises(exceptions.AlreadyExistsError):
        way(store, "rename", "a", "b", overwrite=False)
    assert server.keys() == ["a", "b"]
    assert uploads_of(server) == []


@pytest.mark.usefixtures("small_limit")
def test_parts_come_from_one_version_of_the_source(server, store, way):
    server.put("a", DATA)
    fault = faults.hook(lambda _: server.put("a", DATA[::-1]))
    server.faults.add(Fault(fault, method="PUT", key="b", part=3))
    with pytest.raises(exceptions.PreconditionError, match="changed while it was copied"):
        way(store, "rename", "a", "b")
    assert server.keys() == ["a"]
    assert uploads_of(server) == []


@pytest.mark.usefixtures("small_limit")
def test_a_part_that_failed_is_copied_again(server, store, way):
    server.put("a", DATA)
    fault = server.faults.add(Fault(faults.slow_down(retry_after=0), method="PUT", key="b", part=2))
    late = server.faults.add(Fault(faults.late_error("InternalError"), method="PUT", key="b", part=4))
    way(store, "copy", "a", "b")
    assert fault.hits == late.hits == 1
    assert server.get("b").data == DATA


@pytest.mark.usefixtures("small_limit")
def test_a_part_that_keeps_failing_ends_the_copy_and_the_upload(server, way):
    server.put("a", DATA)
    server.faults.add(Fault(faults.late_error("AccessDenied"), method="PUT", key="b", part=2, times=9))
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        way(connect(server), "rename", "a", "b")
    assert caught.value.code == "AccessDenied"
    assert server.keys() == ["a"]
    assert uploads_of(server) == []
    assert len(server.store.aborted) == 1


@pytest.mark.usefixtures("small_limit")
def test_tags_are_not_asked_for_where_the_store_has_none(server, way):
    store = connect(server, disable_tagging=True)
    server.put("a", DATA)
    object.__setattr__(server.get("a"), "tagging", "a=b")
    way(store, "copy", "a", "b")
    assert server.find("GET", "a", "tagging") == []
    assert server.get("b").tagging == ""


@pytest.mark.usefixtures("small_limit")
def test_a_refusal_that_is_not_about_the_size_stands(server, store, way):
    server.put("a", b"small")
    with pytest.raises(exceptions.GenericError, match="illegal"):
        way(store, "copy", "a", "a")
    assert server.get("a").data == b"small"


def test_an_empty_object_is_copied_in_a_part(server, way):
    server.put("a", b"")
    way(connect(server, copy_if_not_exists="multipart"), "copy", "a", "b", overwrite=False)
    assert server.get("b").data == b""
    (part,) = server.find("PUT", "b", "partNumber")
    assert part.header("x-amz-copy-source-range") == ""


# ---- sources are kept ----


@pytest.mark.parametrize(
    "fault",
    [
        faults.s3_error("AccessDenied"),
        faults.late_error("AccessDenied"),
        faults.late_error("NoSuchKey"),
        faults.replace_body(b""),
        faults.replace_body(b"<html>fine</html>"),
    ],
)
def test_a_rename_whose_copy_failed_keeps_the_source(server, way, fault):
    server.put("a", b"1")
    server.faults.add(Fault(fault, method="PUT", key="b", times=99))
    store = connect(server, retry_config={"max_retries": 1})
    with pytest.raises((exceptions.BaseError, FileNotFoundError)):
        way(store, "rename", "a", "b")
    assert "a" in server.keys()  # noqa: SIM118 - a method of the server's
    assert server.find("DELETE") == []


def test_a_rename_that_cannot_delete_says_so_and_leaves_both(server, store, way):
    server.put("a", b"1")
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="DELETE", times=9))
    with pytest.raises(exceptions.PermissionDeniedError, match="DELETE"):
        way(store, "rename", "a", "b")
    assert server.keys() == ["a", "b"]
