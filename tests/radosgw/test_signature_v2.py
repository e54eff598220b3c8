"""Signature Version 2 before a server that checks it: calls of every kind, styles, tokens, URLs, tampering.

That the signature is of version 2, and no other, is read off the wire by a proxy in between.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from s3ext import exceptions
from tests.radosgw.conftest import connect
from tests.radosgw.tampering import Tampering
from tests.radosgw.test_signatures import CALLS, KEYS, more_query, other_key, other_method
from tests.radosgw.test_tokens import role, session  # noqa: F401 - fixtures
from tests.radosgw.test_urls import request

SOON = timedelta(minutes=5)
V2 = {"signature_version": "v2"}


def old(gateway, bucket, style="path", **options):
    endpoint = options.pop("endpoint", gateway.url)
    return connect(gateway, bucket, endpoint=endpoint, addressing_style=style, **V2, **options)


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_all_calls_go_in_both_styles(gateway, bucket, way, style):
    store = old(gateway, bucket, style)
    data = bytes(range(256)) * 24_000
    way(
        store,
        "put",
        "dir/big",
        data,
        attributes={"Content-Type": "text/x", "flavour": "mint"},
        tags={"a": "b c"},
    )
    way(store, "put", "small", b"1", use_multipart=False)
    assert way(way(store, "get", "dir/big"), "bytes") == data
    assert way(store, "get_range", "dir/big", start=5, end=9) == data[5:9]
    assert way(store, "head", "dir/big")["size"] == len(data)
    way(store, "copy", "small", "copy")
    way(store, "rename", "copy", "renamed")
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["dir/big", "renamed", "small"]
    assert way(store, "list_with_delimiter")["common_prefixes"] == ["dir"]
    way(store, "delete", "small")
    way(store, "delete", ["dir/big", "renamed"])
    assert way(store.list(), "collect") == []


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("kind", ["marks around", "looks encoded", "two bytes", "like a query", "longest"])
def test_odd_keys(gateway, bucket, boto, style, kind):
    store = old(gateway, bucket, style)
    for key in KEYS[kind]:
        store.put(key, key.encode())
        assert store.get(key).bytes() == key.encode()
    listed = [entry["Key"] for entry in boto.list_objects_v2(Bucket=bucket)["Contents"]]
    assert sorted(listed) == sorted(KEYS[kind])


def test_a_versions_name_is_signed(gateway, bucket, boto, way):
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = old(gateway, bucket)
    first = way(store, "put", "k", b"1")["version"]
    way(store, "put", "k", b"22")
    assert way(way(store, "get", "k", options={"version": first}), "bytes") == b"1"


def test_nothing_but_version_2_is_on_the_wire(gateway, bucket):
    seen = []

    def note(method, path, headers, body):
        seen.append({name.lower(): value for name, value in headers})
        return method, path, headers, body

    with Tampering(gateway.url, note) as between:
        old(gateway, bucket, endpoint=between.url).put("k", b"0123456789")
    (fields,) = seen
    assert fields["authorization"].startswith(f"AWS {gateway.access_key}:")
    assert "date" in fields
    assert not [name for name in fields if name.startswith("x-amz-")]


def test_the_variable_of_htslib_chooses_version_2(gateway, bucket, monkeypatch):
    monkeypatch.setenv("HTS_S3_V2", "")
    seen = []

    def note(method, path, headers, body):
        seen.extend(value for name, value in headers if name.lower() == "authorization")
        return method, path, headers, body

    with Tampering(gateway.url, note) as between:
        connect(gateway, bucket, endpoint=between.url).put("k", b"1")
        connect(gateway, bucket, endpoint=between.url, signature_version="v4").put("k", b"1")
    assert [value.split()[0] for value in seen] == ["AWS", "AWS4-HMAC-SHA256"]


# ---- what is wrong is refused ----


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "NOBODY"}, "InvalidAccessKeyId"),
    ],
)
def test_wrong_keys_are_refused(gateway, store, bucket, call, change, code):
    store.put("k", b"kept")
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        getattr(old(gateway, bucket, **change), call)(*CALLS[call])
    if call != "head":
        assert caught.value.code == code


@pytest.mark.parametrize("change", [other_key, more_query, other_method])
def test_a_request_changed_on_the_way_is_refused(gateway, bucket, store, change):
    for key in ("k", "l"):
        store.put(key, b"0123456789")
    with Tampering(gateway.url, change) as between:
        tampered = old(gateway, bucket, endpoint=between.url)
        with pytest.raises(exceptions.PermissionDeniedError) as caught:
            tampered.get_range("k", start=2, end=4)
    assert caught.value.code == "SignatureDoesNotMatch"
    assert [meta["path"] for meta in store.list().collect()] == ["k", "l"]


# ---- tokens, URLs, encryption ----


def test_calls_with_a_session_token(gateway, bucket, session, way):  # noqa: F811 - the fixture
    keys = {name: session[name] for name in ("access_key_id", "secret_access_key")}
    store = old(gateway, bucket, endpoint=gateway.sts_url, session_token=session["token"], **keys)
    way(store, "put", "k", b"1")
    assert way(way(store, "get", "k"), "bytes") == b"1"
    with pytest.raises(exceptions.PermissionDeniedError):
        way(store, "delete", "k")  # which the role may not
    without = old(gateway, bucket, endpoint=gateway.sts_url, **keys)
    with pytest.raises(exceptions.PermissionDeniedError):
        way(without, "get", "k")


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("key", ["k", "dir/a b+ü%2F&=?#.bin"])
def test_presigned_urls_do_what_they_are_for(gateway, bucket, way, style, key):
    store = old(gateway, bucket, style)
    urls = {method: way(store, "sign", method, key, SOON) for method in ("PUT", "HEAD", "GET", "DELETE")}
    assert parse_qs(urlsplit(urls["GET"]).query).keys() == {"AWSAccessKeyId", "Expires", "Signature"}
    assert request(urls["PUT"], "PUT", b"0123456789")[0] == 200
    assert request(urls["HEAD"], "HEAD") == (200, b"")
    assert request(urls["GET"]) == (200, b"0123456789")
    assert request(urls["GET"].replace("Expires=1", "Expires=2"))[0] == 403
    assert request(urls["GET"], "DELETE")[0] == 403
    assert request(urls["DELETE"], "DELETE")[0] == 204


def test_a_customers_key_goes_with_version_2(gateway, bucket, way):
    key = base64.b64encode(bytes(range(32))).decode()
    tls = {"endpoint": gateway.tls_url, "root_certificate": Path(gateway.ca).read_bytes()}
    store = old(gateway, bucket, server_side_encryption="sse-c", sse_customer_key_base64=key, **tls)
    way(store, "put", "k", b"sealed")
    assert way(way(store, "get", "k"), "bytes") == b"sealed"
    with pytest.raises(exceptions.BaseError):
        way(old(gateway, bucket, **tls), "get", "k")
