"""Encryption by the server: which headers go with which request, and that the key shows nowhere."""

from __future__ import annotations

import base64
import hashlib
import logging
import pickle
import urllib.parse
import urllib.request
from datetime import timedelta

import pytest

import s3ext
from s3ext import exceptions
from tests.python.ways import PART, connect
from tests.server import ACCESS_KEY, REGION, SECRET_KEY, Fault, VerifyingServer, faults

KEY = bytes(range(32))
KEY_TEXT = base64.b64encode(KEY).decode()
KEY_MD5 = base64.b64encode(hashlib.md5(KEY, usedforsecurity=False).digest()).decode()
HEADER = "x-amz-server-side-encryption"
SOURCE = "x-amz-copy-source-server-side-encryption"
CUSTOMER = {
    f"{HEADER}-customer-algorithm": "AES256",
    f"{HEADER}-customer-key": KEY_TEXT,
    f"{HEADER}-customer-key-md5": KEY_MD5,
}
COPIED = {name.replace(HEADER, SOURCE): value for name, value in CUSTOMER.items()}
SSE_C = {"server_side_encryption": "sse-c", "sse_customer_key_base64": KEY_TEXT}
OTHER_KEY = {**SSE_C, "sse_customer_key_base64": base64.b64encode(bytes(32)).decode()}

MODES = {
    "AES256": ({"server_side_encryption": "AES256"}, {HEADER: "AES256"}),
    "kms of the bucket": ({"server_side_encryption": "aws:kms"}, {HEADER: "aws:kms"}),
    "kms": (
        {
            "server_side_encryption": "aws:kms",
            "sse_kms_key_id": "arn:aws:kms:us-east-1:1:key/2",
            "sse_bucket_key_enabled": True,
        },
        {
            HEADER: "aws:kms",
            f"{HEADER}-aws-kms-key-id": "arn:aws:kms:us-east-1:1:key/2",
            f"{HEADER}-bucket-key-enabled": "true",
        },
    ),
    "dsse": (
        {
            "server_side_encryption": "aws:kms:dsse",
            "sse_kms_key_id": "alias/mine",
            "sse_bucket_key_enabled": "no",
        },
        {
            HEADER: "aws:kms:dsse",
            f"{HEADER}-aws-kms-key-id": "alias/mine",
            f"{HEADER}-bucket-key-enabled": "false",
        },
    ),
}


@pytest.fixture
def server():
    """A server that takes small parts."""
    with VerifyingServer(min_part_size=0) as server:
        yield server
        assert not server.errors


def sent(request):
    """Return the encryption headers of a request."""
    return {name: request.header(name) for name in request.fields if "server-side-encryption" in name}


def kinds(server):
    """Return the kinds of requests that came, and the encryption headers of each."""
    found = {}
    for request in server.requests:
        kind = request.method if request.key else "bucket"
        if "uploads" in request.query:
            kind = "create"
        elif "partNumber" in request.query:
            kind = "part copy" if request.header("x-amz-copy-source") else "part"
        elif "uploadId" in request.query:
            kind = "complete" if request.method == "POST" else "abort"
        elif request.header("x-amz-copy-source"):
            kind = "copy"
        found.setdefault(kind, []).append(sent(request))
        assert request.verified
        signed = request.header("authorization").partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert set(sent(request)) <= set(signed)
    assert all(headers == all_headers[0] for all_headers in found.values() for headers in all_headers)
    return {kind: headers[0] for kind, headers in found.items()}


def use(store, way):
    """Do every operation that there is."""
    way(store, "put", "one", b"0123456789")
    way(store, "put", "parts", b"x" * 3000, chunk_size=1000)
    way(store, "put", "fed", iter([b"x" * 1500, b"y" * 1500]), chunk_size=1000)
    assert bytes(way(store, "get", "one").bytes()) == b"0123456789"
    assert bytes(way(store, "get_range", "one", start=2, end=5)) == b"234"
    assert [bytes(piece) for piece in way(store, "get_ranges", "one", starts=[0, 7], lengths=[2, 2])] == [
        b"01",
        b"78",
    ]
    assert way(store, "head", "one")["size"] == 10
    assert bytes(way(store, "get", "one", options={"range": {"suffix": 3}}).bytes()) == b"789"
    way(store, "copy", "one", "copied")
    way(store, "rename", "copied", "renamed")
    assert bytes(way(store, "get", "renamed").bytes()) == b"0123456789"
    assert len(store.list().collect()) == 4
    way(store, "delete", ["one", "parts", "fed", "renamed"])


@pytest.mark.parametrize("mode", MODES)
def test_what_makes_an_object_names_the_encryption_and_nothing_else_does(server, way, mode):
    options, headers = MODES[mode]
    use(connect(server, **options), way)
    found = kinds(server)
    for kind in ("PUT", "create", "copy"):
        assert found.pop(kind) == headers
    assert {"GET", "HEAD", "part", "complete", "bucket"} <= set(found)
    assert not any(found.values())


def test_without_the_option_no_header_is_sent(server, way):
    use(connect(server), way)
    assert not any(kinds(server).values())


def test_a_customers_key_goes_with_every_request_that_touches_the_bytes(server, way):
    use(connect(server, **SSE_C), way)
    found = kinds(server)
    for kind in ("PUT", "GET", "HEAD", "create", "part"):
        assert found.pop(kind) == CUSTOMER
    assert found.pop("copy") == {**CUSTOMER, **COPIED}
    assert {"complete", "bucket"} <= set(found)
    assert not any(found.values())


def test_large_objects_are_read_and_streamed_with_the_key(server, way):
    data = bytes(range(256)) * (3 * PART // 256)
    store = connect(server, **SSE_C)
    way(store, "put", "big", data, use_multipart=False)
    assert bytes(way(store, "get", "big").bytes()) == data
    assert b"".join(way.pieces(way(store, "get", "big").stream(PART))) == data
    into = bytearray(len(data))
    way(store, "get", "big", into=into)
    assert into == data
    assert set(kinds(server)) == {"PUT", "GET"}


def test_a_copy_in_parts_has_the_key_for_source_and_target(server, way):
    store = connect(server, copy_if_not_exists="multipart", **SSE_C)
    way(store, "put", "source", b"0123456789")
    server.forget()
    way(store, "copy", "source", "target", overwrite=False)
    found = kinds(server)
    assert found["create"] == CUSTOMER
    assert found["part copy"] == {**CUSTOMER, **COPIED}
    assert bytes(way(store, "get", "target").bytes()) == b"0123456789"


def test_an_upload_is_looked_for_with_the_key_when_complete_is_lost(server, way):
    fault = server.faults.add(
        Fault(faults.lose_answer(), method="POST", key="big", query="uploadId", times=100)
    )
    store = connect(server, retry_config={"max_retries": 1}, **SSE_C)
    way(store, "put", "big", b"x" * 3000, chunk_size=1000)
    assert fault.hits
    assert sent(server.find("HEAD", "big")[0]) == CUSTOMER


def test_with_a_checksum_the_key_goes_with_complete_too(server, way):
    """AWS, CompleteMultipartUpload: required "when the object was created using a checksum algorithm"."""
    store = connect(server, checksum_algorithm="crc32c", **SSE_C)
    way(store, "put", "big", b"x" * 3000, chunk_size=1000)
    assert kinds(server)["complete"] == CUSTOMER


def test_the_wrong_key_and_no_key_say_so(server, way):
    way(connect(server, **SSE_C), "put", "one", b"data")
    with pytest.raises(exceptions.PermissionDeniedError):
        way(connect(server, **OTHER_KEY), "get", "one")
    with pytest.raises(exceptions.GenericError, match="give server_side_encryption='sse-c'") as missing:
        way(connect(server), "get", "one")
    assert missing.value.status == 400


def test_another_key_for_another_store_of_the_same_bucket(server, way):
    stores = [connect(server, **SSE_C), connect(server, **OTHER_KEY), connect(server)]
    for number, store in enumerate(stores):
        way(store, "put", f"key-{number}", b"data")
        assert bytes(way(store, "get", f"key-{number}").bytes()) == b"data"
    assert len({store._connected() for store in stores}) == 3


def test_retries_carry_the_key_again(server, way):
    way(connect(server, **SSE_C), "put", "one", b"data")
    fault = server.faults.add(Fault(faults.s3_error("InternalError"), method="GET", key="one"))
    assert bytes(way(connect(server, **SSE_C), "get", "one").bytes()) == b"data"
    assert fault.hits == 1
    assert [sent(request) for request in server.find("GET", "one")] == [CUSTOMER, CUSTOMER]


def test_the_headers_of_the_options_replace_default_ones(server, way):
    store = connect(server, default_headers={HEADER: "aws:kms"}, server_side_encryption="AES256")
    way(store, "put", "one", b"data")
    assert sent(server.find("PUT", "one")[0]) == {HEADER: "AES256"}


def test_a_presigned_url_does_not_hold_the_key_and_works_with_its_headers(server):
    store = connect(server, **SSE_C)
    store.put("one", b"data")
    url = s3ext.sign(store, "GET", "one", timedelta(minutes=1))
    assert KEY_TEXT not in url
    assert urllib.parse.quote(KEY_TEXT, safe="") not in url
    assert "customer" not in s3ext.sign(store, "DELETE", "one", timedelta(minutes=1))
    with pytest.raises(OSError, match="403"):
        urllib.request.urlopen(url)
    assert {error.code for error in server.take_errors()} == {"SignatureDoesNotMatch"}
    request = urllib.request.Request(url, headers=CUSTOMER)
    assert urllib.request.urlopen(request).read() == b"data"
    url = s3ext.sign(store, "PUT", "two", timedelta(minutes=1))
    request = urllib.request.Request(url, b"more", CUSTOMER, method="PUT")
    assert urllib.request.urlopen(request).status == 200
    assert bytes(store.get("two").bytes()) == b"more"


def test_the_key_shows_nowhere(server, way, caplog):
    caplog.set_level(logging.DEBUG)
    store = connect(server, **SSE_C)
    settings = store._settings
    texts = [repr(store), str(store), repr(store.config), repr(settings), repr(store._connected())]
    for code in ("AccessDenied", "InvalidRequest", "InternalError"):
        server.faults.add(Fault(faults.s3_error(code), method="GET", key="one", times=20))
        with pytest.raises(exceptions.BaseError) as caught:
            way(connect(server, retry_config={"max_retries": 0}, **SSE_C), "get", "one")
        texts += [str(caught.value), repr(caught.value), repr(vars(caught.value))]
        server.faults.clear()
    for text in [*texts, caplog.text]:
        assert KEY_TEXT not in text
        assert repr(KEY) not in text
    assert store.config["sse_customer_key_base64"] == KEY_TEXT
    assert pickle.loads(pickle.dumps(store)).config["sse_customer_key_base64"] == KEY_TEXT


def test_a_key_over_http_is_for_other_servers_than_aws():
    store = s3ext.store.S3Store(
        "bucket",
        endpoint="http://s3.us-east-1.amazonaws.com",
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        region=REGION,
        allow_http=True,
        **SSE_C,
    )
    with pytest.raises(exceptions.GenericError, match="needs an https endpoint"):
        store.get("key")
