"""Wrong regions, redirects and clocks: what is corrected, once, and what never leaves for another host.

AWS's names are led by a CONNECT proxy to the verifying server, which shows a certificate for them. What is
learnt of a bucket is known to the whole process: so each test has buckets of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from datetime import timedelta

import pytest

from s3ext import exceptions
from s3ext.store import S3Store
from tests.faults.tools import PART, connect, pattern, read, retrying
from tests.server import (
    ACCESS_KEY,
    SECRET_KEY,
    Fault,
    ForwardProxy,
    VerifyingServer,
    faults,
    make_certificate,
)

TOKEN = "canary/session+token=="
NUMBERS = itertools.count(1)


class Cloud:
    """A verifying server that answers to AWS's names, behind a proxy.

    Attributes:
        west: A new bucket in us-west-2.
        ireland: A new bucket in eu-west-1.
    """

    def __init__(self, server, proxy):
        self.server = server
        self.proxy = proxy
        number = next(NUMBERS)
        self.west, self.ireland = f"west-{number}", f"ireland-{number}"
        server.create_bucket(self.west, region="us-west-2")
        server.create_bucket(self.ireland, region="eu-west-1")

    def store(self, bucket, region, **options):
        client = {"proxy_url": self.proxy.url, "root_certificate": self.server.tls.ca.read_text()}
        return S3Store(
            bucket,
            region=region,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options=client | {"part_size": PART},
            retry_config=retrying(),
            **options,
        )

    def hosts(self):
        return [request.header("host") for request in self.server.requests]


@pytest.fixture
def cloud():
    with VerifyingServer(tls=make_certificate(), min_part_size=0) as server:
        with ForwardProxy({"*.amazonaws.com:443": server.port}) as proxy:
            yield Cloud(server, proxy)
        server.wait_idle()
        assert {error.code for error in server.take_errors()} <= {
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
        }


STYLES = pytest.mark.parametrize("virtual", [False, True], ids=["path", "virtual"])


@pytest.mark.smoke
@STYLES
def test_a_wrong_region_is_corrected_once_and_remembered(cloud, counters, way, virtual):
    cloud.server.put("k", b"data", bucket=cloud.west)
    store = cloud.store(cloud.west, "us-east-1", virtual_hosted_style_request=virtual)
    for _ in range(3):
        assert bytes(way(way(store, "get", "k"), "bytes")) == b"data"
    assert [request.status for request in cloud.server.requests] == [301, 206, 206, 206]
    bucket = f"{cloud.west}." if virtual else ""
    east, west = f"{bucket}s3.us-east-1.amazonaws.com", f"{bucket}s3.us-west-2.amazonaws.com"
    assert cloud.hosts() == [east, west, west, west]
    assert counters() == {"retries": 1, "retries_other": 1}


@STYLES
@pytest.mark.parametrize("operation", ["put", "upload", "list", "head", "delete", "copy", "delete_many"])
def test_every_operation_corrects_the_region(cloud, counters, way, virtual, operation):
    cloud.server.put("k", b"data", bucket=cloud.ireland)
    store = cloud.store(cloud.ireland, "us-east-1", virtual_hosted_style_request=virtual)
    if operation == "put":
        way(store, "put", "new", b"fresh")
        assert cloud.server.get("new", bucket=cloud.ireland).data == b"fresh"
    elif operation == "upload":
        data = pattern(3 * PART + 1)
        way(store, "put", "new", data, use_multipart=True, chunk_size=PART)
        assert b"".join(cloud.server.get("new", bucket=cloud.ireland).body.views(0, len(data))) == data
    elif operation == "list":
        assert [meta["path"] for meta in store.list().collect()] == ["k"]
    elif operation == "head":
        assert way(store, "head", "k")["size"] == 4
    elif operation == "copy":
        way(store, "copy", "k", "k2")
        assert cloud.server.keys(cloud.ireland) == ["k", "k2"]
    else:
        way(store, "delete", "k" if operation == "delete" else ["k", "other"])
        assert cloud.server.keys(cloud.ireland) == []
    assert counters() == {"retries": 1, "retries_other": 1}
    assert all("eu-west-1" in host for host in cloud.hosts()[1:])


@pytest.mark.smoke
def test_all_stores_of_a_bucket_know_what_one_has_learnt(cloud, counters, way):
    """In both styles, with other options, made before and afterwards."""
    cloud.server.put("k", b"data", bucket=cloud.west)
    before = cloud.store(cloud.west, "us-east-1", unsigned_payload=True)
    first = cloud.store(cloud.west, "eu-west-1")
    assert bytes(way(first, "get_range", "k", start=0, end=4)) == b"data"
    after = cloud.store(cloud.west, "us-east-1", virtual_hosted_style_request=True)
    for store in (before, after):
        assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    assert [request.status for request in cloud.server.requests] == [301, 206, 206, 206]
    assert "us-west-2" in after.sign("GET", "k", timedelta(minutes=1))
    assert counters() == {"retries": 1, "retries_other": 1}
    # What the store shows is what it was given.
    assert after.config["region"] == "us-east-1"


def test_what_is_learnt_of_a_bucket_is_no_news_of_another(cloud, way):
    for bucket in (cloud.west, cloud.ireland):
        cloud.server.put("k", b"data", bucket=bucket)
        store = cloud.store(bucket, "us-east-1")
        assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    assert [request.status for request in cloud.server.requests] == [301, 206, 301, 206]


def test_a_bucket_that_moved_is_found_again(cloud, way):
    """Deleted, and made anew in another region: all stores follow, at the price of one answer."""
    cloud.server.put("k", b"data", bucket=cloud.west)
    stores = [cloud.store(cloud.west, region) for region in ("us-east-1", "us-west-2")]
    for region in ("us-west-2", "eu-west-1", "us-west-2"):
        cloud.server.store.bucket(cloud.west).region = region
        for store in stores:
            assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    assert [request.status for request in cloud.server.requests] == [301, 206, 206] * 3


def test_a_custom_endpoint_takes_no_lesson(cloud, server, way):
    """A bucket of the same name elsewhere is another one."""
    cloud.server.put("k", b"data", bucket=cloud.west)
    way(cloud.store(cloud.west, "us-east-1"), "get_range", "k", start=0, end=4)
    server.create_bucket(cloud.west)
    server.put("k", b"mine", bucket=cloud.west)
    assert bytes(way(connect(server, cloud.west), "get_range", "k", start=0, end=4)) == b"mine"


@pytest.mark.fork
def test_a_child_knows_what_its_parent_has_learnt(cloud, sync):
    cloud.server.put("k", b"data", bucket=cloud.west)
    store = cloud.store(cloud.west, "us-east-1")
    sync(store, "get_range", "k", start=0, end=4)
    child = os.fork()
    if child == 0:
        try:
            same = bytes(store.get_range("k", start=0, end=4)) == b"data"
            other = cloud.store(cloud.west, "eu-west-1", unsigned_payload=True)
            same = same and bytes(other.get_range("k", start=0, end=4)) == b"data"
        finally:
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [request.status for request in cloud.server.requests] == [301, 206, 206, 206]


def test_a_crowd_corrects_the_region_together(cloud):
    cloud.server.put("k", b"data", bucket=cloud.west)
    store = cloud.store(cloud.west, "eu-west-1")

    async def main():
        return await asyncio.gather(*[store.get_range_async("k", start=0, end=4) for _ in range(12)])

    assert [bytes(data) for data in asyncio.run(main())] == [b"data"] * 12
    assert sum(request.status == 206 for request in cloud.server.requests) == 12


def test_the_region_of_an_error_document_is_taken_too(cloud, way):
    cloud.server.put("k", b"data", bucket=cloud.west)
    wrong = faults.s3_error("AuthorizationHeaderMalformed", elements={"Region": "us-west-2"})
    cloud.server.faults.add(Fault(wrong, times=1))
    assert bytes(way(cloud.store(cloud.west, "us-east-1"), "get_range", "k", start=0, end=4)) == b"data"
    assert cloud.hosts()[-1] == "s3.us-west-2.amazonaws.com"


def test_a_region_is_corrected_once_for_a_request(cloud, way):
    """A server that sends clients in circles."""
    regions = iter(["us-west-2", "eu-west-1"] * 50)

    def elsewhere(exchange):
        exchange.response = exchange.server.error_response(
            faults.S3Error("PermanentRedirect", "elsewhere", headers={"x-amz-bucket-region": next(regions)}),
            exchange.request,
        )

    cloud.server.faults.add(Fault(faults.hook(elsewhere), times=None))
    with pytest.raises(exceptions.GenericError, match="region") as caught:
        way(cloud.store(cloud.west, "us-east-1"), "get_range", "k", start=0, end=4)
    assert (caught.value.status, caught.value.attempts) == (301, 2)


@pytest.mark.parametrize(
    "region",
    ["evil.example/", "x@evil.example", "a" * 100, "us-west-2.evil.example", "US-WEST-2", "a b", "%0d%0a"],
)
def test_a_region_that_is_none_does_not_become_a_host(cloud, way, region):
    cloud.server.faults.add(Fault(faults.redirect(301, region=region), times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        way(cloud.store(cloud.west, "us-east-1"), "get_range", "k", start=0, end=4)
    assert (caught.value.status, caught.value.attempts) == (301, 1)
    assert set(cloud.hosts()) == {"s3.us-east-1.amazonaws.com"}
    assert all(request.target == "s3.us-east-1.amazonaws.com:443" for request in cloud.proxy.requests)


@pytest.mark.parametrize("virtual", [False, True], ids=["path", "virtual"])
def test_a_custom_endpoint_names_the_region_and_is_not_corrected(server, counters, way, virtual):
    server.create_bucket("west", region="us-west-2")
    endpoint = f"http://west.localhost:{server.port}" if virtual else server.url
    store = connect(endpoint, "west", virtual_hosted_style_request=virtual)
    with pytest.raises(exceptions.GenericError, match="us-west-2") as caught:
        way(store, "get_range", "k", start=0, end=4)
    assert caught.value.code in ("PermanentRedirect", "AuthorizationHeaderMalformed")
    assert "'us-east-1'" in str(caught.value)
    assert len(server.requests) == 1
    assert counters() == {}
    server.take_errors()


def test_a_head_names_the_region_without_a_document(server, way):
    server.create_bucket("west", region="us-west-2")
    with pytest.raises(exceptions.GenericError, match="us-west-2"):
        way(connect(server, "west"), "head", "k")
    server.take_errors()


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", ["get", "put", "delete", "list"])
def test_a_redirect_is_never_followed(server, counters, sync, status, operation):
    """The wire log of the other host is the proof: not even a connection."""
    server.add_credential("AKIDTOKEN00000000001", "token-secret", token=TOKEN)
    with VerifyingServer() as attacker:
        location = f"{attacker.url}/bucket/k"
        server.faults.add(Fault(faults.redirect(status, location=location), times=None))
        store = connect(
            server,
            access_key_id="AKIDTOKEN00000000001",
            secret_access_key="token-secret",
            session_token=TOKEN,
        )
        act = {
            "get": lambda: store.get("k"),
            "put": lambda: store.put("k", b"data"),
            "delete": lambda: store.delete("k"),
            "list": lambda: store.list().collect(),
        }[operation]
        with pytest.raises(exceptions.GenericError) as caught:
            act()
        assert (caught.value.status, caught.value.attempts) == (status, 1)
        assert attacker.requests == []
        assert attacker.connections_opened == 0
    assert len(server.requests) == 1
    assert counters() == {}


@pytest.mark.parametrize("region", [None, "us-west-2"])
def test_a_redirect_from_aws_leads_to_aws_only(cloud, way, region):
    cloud.server.put("k", b"data", bucket=cloud.west)
    with VerifyingServer() as attacker:
        action = faults.redirect(307, location=f"{attacker.url}/{cloud.west}/k", region=region)
        cloud.server.faults.add(Fault(action, times=1))
        store = cloud.store(cloud.west, "us-east-1")
        if region is None:
            with pytest.raises(exceptions.GenericError):
                way(store, "get_range", "k", start=0, end=4)
        else:
            assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
        assert attacker.connections_opened == 0
    assert {request.target.partition(":")[0] for request in cloud.proxy.requests} <= {
        "s3.us-east-1.amazonaws.com",
        "s3.us-west-2.amazonaws.com",
    }


def test_a_redirect_to_itself_is_no_loop(server, way):
    server.faults.add(Fault(faults.redirect(307, location=f"{server.url}/bucket/k"), times=None))
    with pytest.raises(exceptions.GenericError):
        way(connect(server), "get_range", "k", start=0, end=4)
    assert len(server.requests) == 1


# Clocks.


@pytest.mark.smoke
@pytest.mark.parametrize("offset", [-3600, 3600, 86_400 * 400])
def test_a_clock_that_is_wrong_is_learnt_once(server, counters, way, offset):
    server.put("k", b"data", modified=1_700_000_000)
    server.clock_offset = offset
    store = connect(server)
    for _ in range(3):
        assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    assert way(store, "head", "k")["size"] == 4
    way(store, "put", "new", b"fresh")
    assert [request.status for request in server.requests] == [403, 206, 206, 206, 200, 200]
    assert counters() == {"retries": 1, "retries_other": 1}
    assert {error.code for error in server.take_errors()} == {"RequestTimeTooSkewed"}


def test_a_head_learns_the_clock_without_a_document(server, counters, way):
    server.put("k", b"data")
    server.clock_offset = 3600
    assert way(connect(server), "head", "k")["size"] == 4
    assert counters() == {"retries": 1, "retries_other": 1}
    server.take_errors()


def test_a_clock_that_jumps_is_learnt_again(server, way):
    server.put("k", b"data")
    store = connect(server)
    for offset in (0, 7200, -7200):
        server.clock_offset = offset
        assert bytes(way(store, "get_range", "k", start=0, end=4)) == b"data"
    server.take_errors()


def test_a_crowd_learns_the_clock_together(server):
    server.put("k", b"data")
    server.clock_offset = 3600
    store = connect(server)

    async def main():
        return await asyncio.gather(*[store.get_range_async("k", start=0, end=4) for _ in range(40)])

    assert [bytes(data) for data in asyncio.run(main())] == [b"data"] * 40
    server.take_errors()


@pytest.mark.parametrize("date", ["yesterday", "", "Mon, 99 Foo 2026 25:61:61 GMT"])
def test_a_date_that_is_none_teaches_nothing(server, counters, way, date):
    server.put("k", b"data")
    server.clock_offset = 3600
    server.faults.add(Fault(faults.set_headers({"Date": date}), times=None))
    with pytest.raises(exceptions.PermissionDeniedError, match="clock right") as caught:
        way(connect(server), "get_range", "k", start=0, end=4)
    assert (caught.value.status, caught.value.code) == (403, "RequestTimeTooSkewed")
    assert len(server.requests) == 1
    assert counters() == {}
    server.take_errors()


def test_a_server_that_lies_about_its_clock_is_believed_once(server, counters, way):
    server.put("k", b"data")
    lie = faults.s3_error("RequestTimeTooSkewed", headers={"Date": "Thu, 01 Jan 1970 00:00:00 GMT"})
    server.faults.add(Fault(lie, times=None))
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        way(connect(server), "get_range", "k", start=0, end=4)
    assert caught.value.attempts == 2
    assert counters() == {"retries": 1, "retries_other": 1}
    server.take_errors()


def test_a_refusal_with_the_right_time_is_not_about_the_clock(server, counters, way):
    server.faults.add(Fault(faults.s3_error("AccessDenied"), times=None))
    with pytest.raises(exceptions.PermissionDeniedError):
        way(connect(server), "get_range", "k", start=0, end=4)
    assert len(server.requests) == 1
    assert counters() == {}


def test_every_attempt_is_signed_anew(server, sync):
    server.put("k", b"data")
    server.faults.add(Fault(faults.slow_down("1"), times=1))
    assert bytes(sync(connect(server), "get_range", "k", start=0, end=4)) == b"data"
    first, second = server.requests
    assert first.header("x-amz-date") < second.header("x-amz-date")
    assert first.header("authorization") != second.header("authorization")
    assert all(request.verified for request in server.requests)


def test_parts_go_on_when_the_clock_is_learnt_in_the_middle(server, way):
    data = pattern(9 * PART)
    server.put("k", data)
    store = connect(server)

    def jump(exchange):
        server.clock_offset = 3600

    server.faults.add(Fault(faults.hook_after(jump), method="GET", nth=2))
    begun = time.monotonic()
    assert read(way, store, "into", "k", len(data)) == data
    assert time.monotonic() - begun < 3
    server.take_errors()
