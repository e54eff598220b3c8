"""Presigned URLs, used by a client that has no keys: good ones, expired ones, ones that were changed."""

from __future__ import annotations

import http.client
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from s3ext import exceptions
from tests.radosgw.conftest import connect

SOON = timedelta(minutes=5)
KEYS = ["k", "dir/a b+ü%2F&=?#.bin", "~-._!$&'()*,;=:@", "🦆" * 100]


def request(url, method="GET", body=None, headers=None):
    """Do one request; return its status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    connection.request(method, f"{parts.path}?{parts.query}", body, {"Host": parts.netloc, **(headers or {})})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("unsigned", [False, True])
def test_signed_urls_do_what_they_are_for(gateway, bucket, way, key, unsigned):
    store = connect(gateway, bucket, unsigned_payload=unsigned)
    urls = {method: way(store, "sign", method, key, SOON) for method in ("PUT", "HEAD", "GET", "DELETE")}
    assert request(urls["PUT"], "PUT", b"0123456789")[0] == 200
    assert way(way(store, "get", key), "bytes") == b"0123456789"
    assert request(urls["HEAD"], "HEAD") == (200, b"")
    assert request(urls["GET"]) == (200, b"0123456789")
    assert request(urls["GET"], headers={"Range": "bytes=2-3"}) == (206, b"23")
    assert request(urls["DELETE"], "DELETE")[0] == 204
    with pytest.raises(exceptions.NotFoundError):
        way(store, "head", key)


def test_many_urls_are_signed_at_once(gateway, bucket, way):
    store = connect(gateway, bucket, prefix="p q")
    for key in KEYS:
        way(store, "put", key, key.encode())
    for key, url in zip(KEYS, way(store, "sign", "GET", KEYS, timedelta(days=7)), strict=True):
        assert request(url) == (200, key.encode())


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_urls_name_the_bucket_in_both_styles(gateway, bucket, way, style):
    port = urlsplit(gateway.url).port
    host = "localhost" if style == "path" else f"{bucket}.localhost"
    store = connect(
        gateway, bucket, endpoint=f"http://{host}:{port}", virtual_hosted_style_request=style == "virtual"
    )
    url = way(store, "sign", "PUT", "k ü", SOON)
    assert urlsplit(url).netloc == f"{host}:{port}"
    assert request(url, "PUT", b"1")[0] == 200
    assert way(way(store, "get", "k ü"), "bytes") == b"1"


def test_an_expired_url_is_refused(store):
    store.put("k", b"1")
    url = store.sign("GET", "k", timedelta(seconds=1))
    time.sleep(2.1)
    status, content = request(url)
    assert status == 403
    assert b"<Code>AccessDenied</Code>" in content


CHANGES = {
    "key": lambda url: url.replace("/k?", "/l?"),
    "expiry": lambda url: url.replace("X-Amz-Expires=300", "X-Amz-Expires=301"),
    "signature": lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
    "more": lambda url: f"{url}&acl",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_url_is_refused(store, way, change):
    for key in ("k", "l"):
        way(store, "put", key, b"1")
    url = way(store, "sign", "GET", "k", SOON)
    assert url.rpartition("&")[2].startswith("X-Amz-Signature=")
    changed = CHANGES[change](url)
    assert changed != url
    status, content = request(changed)
    assert (status, b"<Code>SignatureDoesNotMatch</Code>" in content) == (403, True)


@pytest.mark.parametrize(("signed", "used"), [("GET", "DELETE"), ("PUT", "GET"), ("HEAD", "PUT")])
def test_a_url_is_for_one_method(store, way, signed, used):
    way(store, "put", "k", b"kept")
    assert request(way(store, "sign", signed, "k", SOON), used, b"new" if used == "PUT" else None)[0] == 403
    assert way(way(store, "get", "k"), "bytes") == b"kept"


def test_a_url_names_the_key_and_never_the_secret(gateway, store):
    query = parse_qs(urlsplit(store.sign("GET", "k", SOON)).query)
    assert query["X-Amz-Credential"][0].startswith(f"{gateway.access_key}/")
    assert gateway.secret_key not in store.sign("GET", "k", SOON)


# ---- virtual hosts in header signatures ----


@pytest.mark.parametrize("prefix", [None, "p ü"])
def test_all_calls_go_to_virtual_hosts(gateway, bucket, boto, way, prefix):
    endpoint = f"http://{bucket}.localhost:{urlsplit(gateway.url).port}"
    store = connect(gateway, bucket, endpoint=endpoint, virtual_hosted_style_request=True, prefix=prefix)
    way(store, "put", "a b/ü+", b"123")
    way(store, "copy", "a b/ü+", "k")
    assert way(store, "get_range", "k", start=1, end=2) == b"2"
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["a b/ü+", "k"]
    assert way(store, "list_with_delimiter")["common_prefixes"] == ["a b"]
    way(store, "put", "parts", bytes(6 << 20), chunk_size=5 << 20)
    way(store, "delete", ["a b/ü+", "k"])
    root = f"{prefix}/" if prefix else ""
    assert [entry["Key"] for entry in boto.list_objects_v2(Bucket=bucket)["Contents"]] == [f"{root}parts"]


def test_keys_sign_urls_where_requests_are_not_signed(gateway, bucket, way):
    way(connect(gateway, bucket), "put", "k", b"data")
    store = connect(gateway, bucket, skip_signature=True)
    assert request(way(store, "sign", "GET", "k", SOON)) == (200, b"data")
    with pytest.raises(exceptions.PermissionDeniedError):
        way(store, "head", "k")
