"""The options of get, and the conditions, attributes and versions of put, on a server that keeps to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from s3ext import exceptions
from tests.python.ways import PART, connect

DATA = bytes(range(256)) * 4
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ZONES = [
    UTC,
    timezone(timedelta(hours=-11, minutes=-30)),
    timezone(timedelta(hours=14)),
    ZoneInfo("Asia/Tokyo"),
]


@pytest.fixture
def e_tag(server):
    """The ETag of the object "k", which was modified at noon."""
    server.put("k", DATA, modified=NOON.timestamp())
    return server.get("k").etag


def get(way, store, options):
    """Get the object's bytes with options."""
    result = way(store, "get", "k", options=options)
    return bytes(way(result, "bytes"))


# ---- conditions ----


@pytest.mark.parametrize("form", ["{}", '"other", {}', "*"])
def test_if_match_holds_for_the_objects_etag(store, way, e_tag, form):
    assert get(way, store, {"if_match": form.format(e_tag)}) == DATA


def test_if_match_of_another_etag_is_a_precondition_error(store, way, e_tag):
    with pytest.raises(exceptions.PreconditionError) as caught:
        get(way, store, {"if_match": e_tag.replace(e_tag[1], "f" if e_tag[1] != "f" else "0", 1)})
    assert (caught.value.status, caught.value.operation, caught.value.key) == (412, "get", "k")


def test_if_none_match_of_the_objects_etag_is_not_modified(store, way, e_tag):
    for value in (e_tag, f'"other", {e_tag}', "*"):
        with pytest.raises(exceptions.NotModifiedError) as caught:
            get(way, store, {"if_none_match": value})
        assert caught.value.status == 304
    assert get(way, store, {"if_none_match": '"other"'}) == DATA


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_dates_are_moments_whatever_their_time_zone(store, way, e_tag, zone):
    before, at, after = ((NOON + shift).astimezone(zone) for shift in (-SECOND, 0 * SECOND, SECOND))
    assert get(way, store, {"if_modified_since": before}) == DATA
    for moment in (at, after):
        with pytest.raises(exceptions.NotModifiedError):
            get(way, store, {"if_modified_since": moment})
        assert get(way, store, {"if_unmodified_since": moment}) == DATA
    with pytest.raises(exceptions.PreconditionError):
        get(way, store, {"if_unmodified_since": before})


def test_a_date_without_a_time_zone_or_that_is_none_is_refused(server, store, way, e_tag):
    for option in ("if_modified_since", "if_unmodified_since"):
        for wrong in (datetime(2024, 1, 1), "Mon, 01 Jan 2024 12:00:00 GMT", 1704110400, NOON.date()):  # noqa: DTZ001 - the case
            with pytest.raises(TypeError, match=option):
                get(way, store, {option: wrong})
    assert server.requests == []


def test_an_etag_outweighs_a_date(store, way, e_tag):
    """As HTTP has it (RFC 9110, 13.2.2)."""
    assert get(way, store, {"if_match": e_tag, "if_unmodified_since": NOON - SECOND}) == DATA
    assert get(way, store, {"if_none_match": '"x"', "if_modified_since": NOON + SECOND}) == DATA


def test_conditions_go_with_ranges_and_every_later_part(server, store, way):
    server.put("k", bytes(3 * PART))
    e_tag = server.get("k").etag
    result = way(store, "get", "k", options={"if_match": e_tag, "range": {"offset": 5}})
    assert len(way(result, "bytes")) == 3 * PART - 5
    assert {request.header("if-match") for request in server.requests} == {e_tag}
    assert len(server.find("GET", "k")) > 1


# ---- ranges ----


@pytest.mark.parametrize(
    ("option", "header", "start", "end"),
    [
        ((2, 5), "bytes=2-4", 2, 5),
        ([2, 5], "bytes=2-4", 2, 5),
        ((1000, 5000), "bytes=1000-4999", 1000, 1024),
        ({"suffix": 24}, "bytes=-24", 1000, 1024),
        ({"suffix": 5000}, "bytes=-5000", 0, 1024),
    ],
)
def test_ranges_are_asked_for_in_one_request(server, store, way, e_tag, option, header, start, end):
    result = way(store, "get", "k", options={"range": option})
    assert (result.range, result.meta["size"]) == ((start, end), 1024)
    assert way(result, "bytes") == DATA[start:end]
    assert result.range == (start, end)
    assert [request.header("range") for request in server.requests] == [header]


def test_a_range_may_begin_somewhere_and_go_to_the_end(server, store, way, e_tag):
    for offset in (0, 1, 1023):
        result = way(store, "get", "k", options={"range": {"offset": offset}})
        assert result.range == (offset, 1024)
        assert way(result, "bytes") == DATA[offset:]
    assert len(server.requests) == 3


@pytest.mark.parametrize("option", [(1024, 1025), {"offset": 1024}, {"offset": 10**15}])
def test_what_is_not_in_the_object_is_the_servers_error(store, way, e_tag, option):
    with pytest.raises(exceptions.GenericError, match="InvalidRange") as caught:
        get(way, store, {"range": option})
    assert caught.value.status == 416


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ((5, 5), ValueError),
        ((5, 2), ValueError),
        ((-5, 2), OverflowError),
        ((1, 2, 3), ValueError),
        ((1, "2"), TypeError),
        ({"suffix": 0}, ValueError),
        ({"suffix": -1}, OverflowError),
        ({"offset": -1}, OverflowError),
        ({"offset": 1, "suffix": 1}, ValueError),
        ({"start": 1}, ValueError),
        ({}, ValueError),
        (7, ValueError),
        ("0-5", ValueError),
    ],
)
def test_ranges_that_are_none_are_refused(server, store, way, e_tag, option, error):
    with pytest.raises(error):
        get(way, store, {"range": option})
    assert server.requests == []


def test_a_stream_takes_any_least_size_but_a_negative_one(store, way, e_tag):
    result = way(store, "get", "k")
    with pytest.raises(ValueError, match="must not be negative"):
        result.stream(-1)
    assert way.pieces(result.stream(0)) == [DATA]


# ---- head, version, what is unknown ----


def test_head_brings_the_metadata_alone(server, store, way):
    way(store, "put", "k", DATA, attributes={"Content-Type": "a/b", "mine": "x"})
    result = way(store, "get", "k", options={"head": True})
    assert (result.meta["size"], result.meta["e_tag"]) == (1024, server.get("k").etag)
    assert result.attributes == {"Content-Type": "a/b", "mine": "x"}
    assert way(result, "bytes") == b""
    assert [request.method for request in server.requests] == ["PUT", "HEAD"]
    assert get(way, store, {"head": False}) == DATA
    with pytest.raises(exceptions.NotModifiedError):
        way(store, "get", "k", options={"head": True, "if_none_match": result.meta["e_tag"]})
    with pytest.raises(exceptions.NotFoundError):
        way(store, "get", "missing", options={"head": True})


def test_none_and_unknown_options_are_ignored(server, store, way, e_tag):
    names = ("if_match", "if_none_match", "if_modified_since", "if_unmodified_since", "range", "version")
    assert get(way, store, dict.fromkeys(names)) == DATA
    assert get(way, store, {"unknown": object()}) == DATA
    assert get(way, store, {}) == DATA


@pytest.mark.parametrize("option", ["if_match", "if_none_match", "version"])
def test_text_is_text(server, store, way, e_tag, option):
    for wrong in (5, b"x", ["x"]):
        with pytest.raises(TypeError, match=option):
            get(way, store, {option: wrong})
    assert server.requests == []


@pytest.fixture
def versioned(server):
    """A store on a bucket with versions."""
    server.create_bucket("versioned", versioned=True)
    return connect(server, "versioned")


def test_versions_are_in_results_and_can_be_read(server, versioned, way):
    puts = [way(versioned, "put", "k", data) for data in (b"one", b"two!")]
    first, second = (put["version"] for put in puts)
    assert first
    assert second
    assert first != second
    assert way(versioned, "head", "k")["version"] == second
    assert way(versioned, "get", "k").meta["version"] == second
    for version, data in ((first, b"one"), (second, b"two!")):
        result = way(versioned, "get", "k", options={"version": version})
        assert (result.meta["version"], result.meta["size"]) == (version, len(data))
        assert way(result, "bytes") == data
        head = way(versioned, "get", "k", options={"version": version, "head": True})
        assert (head.meta["version"], head.meta["size"]) == (version, len(data))
    assert [meta["version"] for meta in way(versioned.list(), "collect")] == [None]


def test_every_part_of_a_version_is_of_that_version(server, versioned, way):
    data = DATA * (3 * PART // len(DATA))
    version = way(versioned, "put", "k", data, use_multipart=True, chunk_size=PART)["version"]
    assert version == way(versioned, "head", "k")["version"]
    way(versioned, "put", "k", b"newer")
    server.forget()
    assert way(way(versioned, "get", "k", options={"version": version}), "bytes") == data
    assert way.pieces(way(versioned, "get", "k", options={"version": version}).stream(1024)) != []
    suffix = way(versioned, "get", "k", options={"version": version, "range": {"suffix": 2 * PART}})
    assert way(suffix, "bytes") == data[-2 * PART :]
    assert {request.query.get("versionId") for request in server.requests} == {version}


def test_a_version_that_is_not_there_is_not_found(versioned, way):
    way(versioned, "put", "k", b"one")
    with pytest.raises(exceptions.NotFoundError, match="NoSuchVersion"):
        way(versioned, "get", "k", options={"version": "nonsense"})


def test_without_versions_there_is_none(store, way):
    assert way(store, "put", "k", b"data")["version"] is None
    assert way(store, "get", "k").meta["version"] is None


# ---- modes, attributes and tags of a put, together ----

GIVEN = {
    "Content-Type": "text/plain",
    "Content-Disposition": "inline",
    "Content-Encoding": "identity",
    "Content-Language": "de",
    "Cache-Control": "no-cache",
    "mine": "x",
}


@pytest.mark.parametrize("spelling", [str, str.lower, str.upper, lambda name: name.replace("-", "")])
def test_every_attribute_is_known_in_any_case_with_or_without_dashes(server, store, way, spelling):
    given = {spelling(name): value for name, value in GIVEN.items()}
    way(store, "put", "k", b"data", attributes={**given, spelling("Storage-Class"): "STANDARD_IA"})
    assert way(store, "get", "k").attributes == GIVEN
    assert server.requests[0].header("x-amz-storage-class") == "STANDARD_IA"


@pytest.mark.parametrize("multipart", [False, True])
def test_attributes_and_tags_go_with_the_request_that_makes_the_object(server, store, way, multipart):
    way(store, "put", "k", b"data", attributes=GIVEN, tags={"a": "b c", "d": ""}, use_multipart=multipart)
    made = server.requests[0]
    assert made.method == ("POST" if multipart else "PUT")
    assert made.header("x-amz-tagging") == "a=b%20c&d="
    assert way(store, "get", "k").attributes == GIVEN


def test_modes_go_with_attributes_and_tags(server, store, way):
    first = way(store, "put", "k", b"one", mode="create", attributes={"mine": "1"}, tags={"t": "1"})
    with pytest.raises(exceptions.AlreadyExistsError) as caught:
        way(store, "put", "k", b"two", mode="create", attributes={"mine": "2"})
    assert (caught.value.status, isinstance(caught.value, FileExistsError)) == (412, True)
    second = way(store, "put", "k", b"three", mode={"e_tag": first["e_tag"]}, attributes={"mine": "3"})
    with pytest.raises(exceptions.PreconditionError):
        way(store, "put", "k", b"four", mode={"e_tag": first["e_tag"]}, attributes={"mine": "4"})
    assert server.get("k").data == b"three"
    assert way(store, "get", "k").attributes["mine"] == "3"
    way(store, "put", "k", b"five", mode="overwrite")
    assert "mine" not in way(store, "get", "k").attributes
    with pytest.raises(exceptions.PreconditionError):
        way(store, "put", "missing", b"x", mode={"e_tag": second["e_tag"]})
    tagged = server.requests[0]
    assert (tagged.header("if-none-match"), tagged.header("x-amz-tagging")) == ("*", "t=1")


def test_a_version_in_a_mode_changes_nothing(versioned, way):
    """S3 has no condition on versions; what a put returns can be given as it is."""
    first = way(versioned, "put", "k", b"one")
    second = way(versioned, "put", "k", b"two", mode=first)
    with pytest.raises(exceptions.PreconditionError):
        way(versioned, "put", "k", b"three", mode=first)
    assert way(versioned, "head", "k")["e_tag"] == second["e_tag"]


def test_tags_are_not_sent_where_that_is_disabled(server, way):
    way(connect(server, disable_tagging=True), "put", "k", b"", tags={"a": "b"}, attributes={"mine": "x"})
    assert server.requests[0].header("x-amz-tagging") == ""
    assert server.get("k").data == b""


def test_a_default_content_type_is_sent_where_none_is_given(server, way):
    store = connect(server, client_options={"default_content_type": "a/b"})
    way(store, "put", "k", b"")
    assert way(store, "get", "k").attributes["Content-Type"] == "a/b"
    way(store, "put", "k", b"", attributes={"content-type": "c/d"})
    assert way(store, "get", "k").attributes["Content-Type"] == "c/d"


def test_conditional_puts_can_be_disabled(server, way):
    store = connect(server, conditional_put="disabled")
    for mode in ("create", {"e_tag": '"x"'}):
        with pytest.raises(NotImplementedError, match="conditional_put"):
            way(store, "put", "k", b"", mode=mode)
    way(store, "put", "k", b"", mode="overwrite")
    assert len(server.requests) == 1
