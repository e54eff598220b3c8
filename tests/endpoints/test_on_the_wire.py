"""Requests to AWS's hosts, led to the verifying server: each arrives where it should, rightly signed."""

from __future__ import annotations

import pytest

from s3ext import exceptions
from s3ext.store import S3Store
from tests.server import ACCESS_KEY, REGION, SECRET_KEY, ForwardProxy, VerifyingServer, make_certificate

ARN = "arn:aws:s3:us-west-2:123456789012:accesspoint/data"
POINT = "data-123456789012"


@pytest.fixture
def cloud():
    with VerifyingServer(tls=make_certificate(), min_part_size=0) as server:
        for bucket in ("mine", POINT):
            server.create_bucket(bucket, region="us-west-2")
        with ForwardProxy({"*.amazonaws.com:443": server.port}) as proxy:
            server.proxy_url = proxy.url
            yield server
        server.wait_idle()
        assert server.take_errors() == []


def connect(cloud, bucket, **options):
    """Make a store; certificates name other hosts than all of these."""
    return S3Store(
        bucket,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"proxy_url": cloud.proxy_url, "allow_invalid_certificates": True},
        **options,
    )


def every_call(store, way):
    data = bytes(range(256)) * 1000
    way(store, "put", "dir/a b+ü", data, chunk_size=100_000, use_multipart=True)
    assert way(way(store, "get", "dir/a b+ü"), "bytes") == data
    way(store, "copy", "dir/a b+ü", "copied=1")
    assert way(store, "head", "copied=1")["size"] == len(data)
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["copied=1", "dir/a b+ü"]
    way(store, "delete", ["copied=1", "dir/a b+ü"])
    assert way(store.list(), "collect") == []


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({}, "s3.us-west-2.amazonaws.com"),
        ({"addressing_style": "virtual"}, "mine.s3.us-west-2.amazonaws.com"),
        ({"addressing_style": "auto"}, "mine.s3.us-west-2.amazonaws.com"),
        ({"use_fips_endpoint": True}, "s3-fips.us-west-2.amazonaws.com"),
        (
            {"use_dualstack_endpoint": True, "addressing_style": "virtual"},
            "mine.s3.dualstack.us-west-2.amazonaws.com",
        ),
    ],
)
def test_every_call_arrives_at_the_host_asked_for(cloud, way, options, host):
    every_call(connect(cloud, "mine", region="us-west-2", **options), way)
    assert {request.header("host") for request in cloud.requests} == {host}


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({}, f"{POINT}.s3-accesspoint.us-west-2.amazonaws.com"),
        (
            {"use_fips_endpoint": True, "use_dualstack_endpoint": True},
            f"{POINT}.s3-accesspoint-fips.dualstack.us-west-2.amazonaws.com",
        ),
    ],
)
def test_every_call_goes_through_an_access_point(cloud, way, options, host):
    every_call(connect(cloud, ARN, **options), way)
    assert {request.header("host") for request in cloud.requests} == {host}
    copies = {request.header("x-amz-copy-source") for request in cloud.requests} - {None, ""}
    assert copies == {
        "arn%3Aaws%3As3%3Aus-west-2%3A123456789012%3Aaccesspoint/data/object/dir/a%20b%2B%C3%BC"
    }


def test_an_error_names_the_access_point(cloud, way):
    with pytest.raises(exceptions.NotFoundError, match=r"accesspoint/data/none failed: 404"):
        way(connect(cloud, ARN), "get", "none")


# ---- servers of one's own, from files and variables alone ----


@pytest.fixture
def server():
    with VerifyingServer(min_part_size=0) as server:
        yield server
        server.wait_idle()
        assert server.take_errors() == []


def write(path, text):
    """Write a file that nobody else may read; there is a warning for others."""
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_a_profile_leads_to_its_server(server, monkeypatch, tmp_path, way):
    """Keys, region, endpoint and style of one profile; code names nothing but the bucket."""
    config = write(
        tmp_path / "config",
        f"[profile dev]\nservices = mine\ns3 =\n  addressing_style = virtual\n"
        f"[services mine]\ns3 =\n  endpoint_url = http://localhost:{server.port}\n",
    )
    credentials = write(
        tmp_path / "credentials",
        f"[dev]\nregion = {REGION}\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n",
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", config)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", credentials)
    monkeypatch.setenv("AWS_PROFILE", "dev")
    every_call(S3Store("bucket", allow_http=True), way)
    assert {request.header("host") for request in server.requests} == {f"bucket.localhost:{server.port}"}


@pytest.mark.parametrize(("style", "host"), [("auto", "127.0.0.1"), ("path", "localhost")])
def test_htslibs_variables_lead_to_their_server(server, monkeypatch, way, style, host):
    monkeypatch.setenv("HTS_S3_HOST", f"{host}:{server.port}")
    monkeypatch.setenv("HTS_S3_ADDRESS_STYLE", style)
    store = S3Store.from_url(
        "s3+http://bucket", access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, region=REGION
    )
    every_call(store, way)
    assert {request.header("host") for request in server.requests} == {f"{host}:{server.port}"}


def test_s3cfg_leads_to_its_server(server, monkeypatch, tmp_path, way):
    s3cfg = write(
        tmp_path / "s3cfg",
        f"[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\n"
        f"host_base = localhost:{server.port}\n"
        f"host_bucket = %(bucket)s.localhost:{server.port}\nbucket_location = US\n",
    )
    monkeypatch.setenv("HTS_S3_S3CFG", s3cfg)
    every_call(S3Store.from_url("s3+http://bucket"), way)
    assert {request.header("host") for request in server.requests} == {f"bucket.localhost:{server.port}"}
