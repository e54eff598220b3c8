"""sign: for every method, with everything that a URL can carry, and with keys that nothing else uses."""

from __future__ import annotations

import http.client
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from s3ext import exceptions
from tests.python.ways import connect
from tests.server import ACCESS_KEY, SECRET_KEY
from tests.server.signature import verify

MINUTES = timedelta(minutes=5)
METHODS = ["GET", "PUT", "POST", "HEAD", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"]
OWN = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
]


def verdict(server, method, url):
    """Return what the server's rules say of a URL."""
    parts = urlsplit(url)
    return verify(
        method,
        parts.path,
        parts.query,
        {"host": [parts.netloc]},
        server.credentials,
        region=server.region,
        now=server.now(),
    )


def request(method, url):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request(method, f"{parts.path}?{parts.query}", headers={"Host": parts.netloc})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("method", METHODS)
def test_a_url_is_signed_for_its_method(server, store, way, method):
    url = way(store, "sign", method, "dir/a b+ü%2F", MINUTES)
    assert verdict(server, method, url).kind == "presigned"
    assert " " not in url
    assert "/dir/a%20b%2B%C3%BC%252F?" in url
    other = "DELETE" if method != "DELETE" else "GET"
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        verdict(server, other, url)


def test_nothing_but_the_host_is_signed_and_the_signature_is_last(store, way):
    query = parse_qsl(urlsplit(way(store, "sign", "PUT", "k", MINUTES)).query)
    assert sorted(name for name, _ in query) == OWN
    assert query[-1][0] == "X-Amz-Signature"
    assert dict(query)["X-Amz-SignedHeaders"] == "host"
    assert dict(query)["X-Amz-Expires"] == "300"


@pytest.mark.parametrize(
    "options",
    [
        {"server_side_encryption": "AES256"},
        {"server_side_encryption": "aws:kms", "sse_kms_key_id": "key"},
        {
            "server_side_encryption": "sse-c",
            "sse_customer_key_base64": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        },
        {"checksum_algorithm": "crc32c"},
        {"unsigned_payload": True},
        {"client_options": {"default_headers": {"x-amz-meta-a": "b"}}},
    ],
)
def test_headers_are_not_in_urls(server, way, options):
    client_options = {"allow_http": True, **options.pop("client_options", {})}
    from s3ext.store import S3Store

    store = S3Store(
        "bucket", endpoint=server.url, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY,
        client_options=client_options, **options,
    )  # fmt: skip
    url = way(store, "sign", "PUT", "k", MINUTES)
    assert sorted(dict(parse_qsl(urlsplit(url).query))) == OWN
    assert "MDEyMzQ1" not in url


def test_the_consent_to_pay_and_the_session_token_are(server, way):
    server.add_credential("ASIATOKEN00000000001", "token/secret", "a token+/=&")
    store = connect(
        server, access_key_id="ASIATOKEN00000000001", secret_access_key="token/secret",
        session_token="a token+/=&", request_payer=True,
    )  # fmt: skip
    server.put("k", b"data")
    url = way(store, "sign", "GET", "k", MINUTES)
    query = dict(parse_qsl(urlsplit(url).query))
    assert query["x-amz-request-payer"] == "requester"
    assert query["X-Amz-Security-Token"] == "a token+/=&"
    assert request("GET", url) == (200, b"data")


@pytest.mark.parametrize("token", [None, "token+="])
def test_keys_sign_urls_where_requests_are_not_signed(server, way, token):
    server.add_credential("ASIASIGNING000000001", "signing/secret", token)
    server.put("k", b"data")
    server.create_bucket("open", public=True)
    options = {"access_key_id": "ASIASIGNING000000001", "secret_access_key": "signing/secret"}
    if token:
        options["session_token"] = token
    store = connect(server, skip_signature=True, **options)
    url = way(store, "sign", "GET", "k", MINUTES)
    assert request("GET", url) == (200, b"data")
    with pytest.raises(exceptions.PermissionDeniedError):
        way(store, "get", "k")
    assert [found.auth for found in server.requests] == ["presigned", "anonymous"]
    server.take_errors()


def test_a_provider_signs_urls_where_requests_are_not_signed(server, way):
    def provider():
        return {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "expires_at": None}

    server.put("k", b"data")
    store = connect(server, skip_signature=True, credential_provider=provider)
    assert request("GET", way(store, "sign", "GET", "k", MINUTES)) == (200, b"data")


def test_without_keys_no_url_is_signed(server, way):
    store = connect(server, skip_signature=True)
    with pytest.raises(exceptions.UnauthenticatedError):
        way(store, "sign", "GET", "k", MINUTES)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (timedelta(seconds=1), 1),
        (timedelta(seconds=1, milliseconds=999), 1),
        (timedelta(days=7), 604_800),
        (timedelta(days=30), 2_592_000),
    ],
)
def test_a_url_is_valid_for_whole_seconds_and_longer_than_s3_takes_if_asked(store, way, expires_in, seconds):
    url = way(store, "sign", "GET", "k", expires_in)
    assert dict(parse_qsl(urlsplit(url).query))["X-Amz-Expires"] == str(seconds)


@pytest.mark.parametrize("expires_in", [timedelta(0), timedelta(seconds=-5), timedelta(days=99_999)])
def test_a_time_that_no_url_can_have_is_refused(store, way, expires_in):
    with pytest.raises(ValueError, match="expires_in"):
        way(store, "sign", "GET", "k", expires_in)


@pytest.mark.parametrize("paths", [("a", "b"), ["a"], []])
def test_a_sequence_gives_a_list(store, way, paths):
    urls = way(store, "sign", "GET", paths, MINUTES)
    assert isinstance(urls, list)
    assert [urlsplit(url).path for url in urls] == [f"/bucket/{path}" for path in paths]


@pytest.mark.parametrize("paths", [5, {"a"}, iter("a")])
def test_what_is_no_sequence_is_refused(store, way, paths):
    with pytest.raises(TypeError, match="Expected string path or sequence"):
        way(store, "sign", "GET", paths, MINUTES)
