"""S3 options that change a header or a request, as the verifying server sees them."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from s3ext.exceptions import NotSupportedError
from s3ext.store import S3Store
from tests.python.ways import connect
from tests.server import ACCESS_KEY, REGION, SECRET_KEY, VerifyingServer

PAYLOAD = "x-amz-content-sha256"
PAYER = "x-amz-request-payer"


def everything(way, store):
    """Do one request of each kind, and with parts."""
    way(store, "put", "a", b"x")
    way(store, "put", "b", b"x" * 6_000_000, use_multipart=True)
    way(way(store, "get", "a"), "bytes")
    way(store, "get_ranges", "a", starts=[0], ends=[1])
    way(store, "head", "a")
    way(store.list(), "collect")
    way(store, "list_with_delimiter")
    way(store, "copy", "a", "c")
    way(store, "delete", ["a", "b"])
    way(store, "delete", "c")


@pytest.mark.parametrize("value", [True, "true", "requester", "REQUESTER"])
def test_a_requester_who_pays_says_so_in_every_request(server, way, value):
    store = connect(server, request_payer=value)
    everything(way, store)
    assert {request.header(PAYER) for request in server.requests} == {"requester"}
    for request in server.requests:
        assert PAYER in request.header("authorization")
    url = way(store, "sign", "GET", "a", timedelta(minutes=1))
    assert parse_qs(urlsplit(url).query)[PAYER] == ["requester"]


def test_nobody_pays_who_does_not_say_so_or_does_not_sign(way):
    with VerifyingServer(require_auth=False) as server:
        everything(way, connect(server))
        everything(way, connect(server, request_payer=True, skip_signature=True))
        assert {request.header(PAYER) for request in server.requests} == {""}


def test_tags_are_left_out_where_they_are_disabled(server, way):
    for disabled, expected in ((True, ""), (False, "a=b%20c")):
        server.forget()
        store = connect(server, disable_tagging=disabled)
        way(store, "put", "a", b"x", tags={"a": "b c"})
        way(store, "put", "b", b"x" * 6_000_000, tags={"a": "b c"}, use_multipart=True)
        sent = [request.header("x-amz-tagging") for request in server.requests]
        assert sent[:2] == [expected, expected]  # the put, and the beginning of the upload
        assert not any(sent[2:])


@pytest.mark.parametrize("mode", ["create", {"e_tag": '"x"'}])
def test_a_conditional_put_is_refused_where_it_is_disabled(server, way, mode):
    store = connect(server, conditional_put="disabled")
    with pytest.raises(NotSupportedError, match="conditional_put") as caught:
        way(store, "put", "a", b"x", mode=mode)
    assert isinstance(caught.value, NotImplementedError)
    assert server.requests == []
    way(store, "put", "a", b"x", mode="overwrite")


def test_bodies_are_signed_unless_they_are_left_out(server, way):
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    everything(way, connect(server))
    values = {request.header(PAYLOAD) for request in server.requests}
    assert empty in values
    assert "UNSIGNED-PAYLOAD" not in values
    server.forget()
    everything(way, connect(server, unsigned_payload=True))
    bodies = {
        request.header(PAYLOAD)
        for request in server.requests
        if request.method == "PUT" and request.body_length
    }
    assert bodies == {"UNSIGNED-PAYLOAD"}


def test_no_checksum_is_sent_that_nobody_asked_for(server, way):
    everything(way, connect(server))
    for request in server.requests:
        named = [
            name for name, _ in request.headers if "checksum" in name.lower() or name.lower() == "content-md5"
        ]
        assert named == [] or request.method == "POST"
        assert not any("trailer" in name.lower() for name, _ in request.headers)


def test_without_a_signature_there_is_no_header_of_amazons(way):
    with VerifyingServer(require_auth=False) as server:
        everything(way, connect(server, skip_signature=True))
        for request in server.requests:
            assert request.header("authorization") == ""
            assert request.header("x-amz-date") == ""
            assert request.header("x-amz-security-token") == ""


@pytest.mark.parametrize("base", ["", "/base", "/base/deep"])
@pytest.mark.parametrize("virtual", [False, True])
def test_requests_go_to_the_endpoints_path_in_both_styles(way, base, virtual):
    with VerifyingServer(base_path=base) as server:
        host = "bucket.localhost" if virtual else "127.0.0.1"
        store = S3Store(
            "bucket",
            endpoint=f"http://{host}:{server.port}{base}/",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region=REGION,
            allow_http=True,
            virtual_hosted_style_request=virtual,
        )
        everything(way, store)
        assert server.keys() == []
        for request in server.requests:
            assert request.target.startswith(base if virtual else f"{base}/bucket")
        assert not server.errors


def test_a_request_asks_for_no_compression_and_follows_no_old_habits(server, way):
    everything(way, connect(server))
    for request in server.requests:
        assert request.header("accept-encoding") == ""
        assert request.header("expect") == ""
        assert request.header("transfer-encoding") == ""
