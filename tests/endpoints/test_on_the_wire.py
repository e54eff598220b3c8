"""Requests to AWS's hosts, led to the verifying server: each arrives where it should, rightly signed."""

from __future__ import annotations

import pytest

from s3ext import exceptions
from s3ext.store import S3Store
from tests.server import ACCESS_KEY, SECRET_KEY, ForwardProxy, VerifyingServer, make_certificate

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
