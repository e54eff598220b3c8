"""client_options and retry_config on the wire: what each key changes, as the server or the proxy sees it.

Keys that have tests elsewhere are not repeated here; `tests/contract/test_coverage.py` says where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

import s3ext
from s3ext.exceptions import ConnectError, GenericError
from s3ext.store import S3Store
from tests.faults.tools import retrying
from tests.server import (
    ACCESS_KEY,
    SECRET_KEY,
    Fault,
    ForwardProxy,
    VerifyingServer,
    authority,
    faults,
    make_certificate,
)

KEYS = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}


def connect(server, retry_config=None, **client_options):
    """Make a store with no other client options than these."""
    url = server if isinstance(server, str) else server.url
    if url.startswith("http:"):
        client_options.setdefault("allow_http", True)
    return S3Store(
        "bucket",
        endpoint=url,
        **KEYS,
        client_options=client_options,
        retry_config=retry_config or retrying(0),
    )


# ---- TLS and plain HTTP ----


def test_nothing_is_sent_over_http_unless_it_is_allowed(server, way):
    store = S3Store("bucket", endpoint=server.url, **KEYS)
    for call in (("head", "a"), ("put", "a", b""), ("delete", "a")):
        with pytest.raises(GenericError, match="allow_http"):
            way(store, *call)
    assert server.connections_opened == 0
    for allowed in (True, "true"):
        way(connect(server, allow_http=allowed), "put", "a", b"")
    assert server.keys() == ["a"]


SYSTEM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

/* The system's certificates are those of the variable S3EXT_TEST_SYSTEM. */
int X509_STORE_load_file(void *store, const char *path)
{
    int (*real)(void *, const char *);
    (void)path;
    *(void **)&real = dlsym(dlopen("libcrypto.so.3", RTLD_LAZY | RTLD_NOLOAD), "X509_STORE_load_file");
    return real(store, getenv("S3EXT_TEST_SYSTEM"));
}
"""

PROGRAM = """
import json, sys
from s3ext.store import S3Store
endpoint, key, secret, options = sys.argv[1:]
store = S3Store("bucket", endpoint=endpoint, access_key_id=key, secret_access_key=secret,
    client_options=json.loads(options), retry_config={"max_retries": 0})
try:
    store.put("a", b"x")
    print("ok")
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """A library to preload, with which another file holds the system's certificates."""
    folder = tmp_path_factory.mktemp("system")
    (folder / "system.c").write_text(SYSTEM)
    library = folder / "system.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "system.c"), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "ok"),
        ({"disable_system_certificates": True}, "ConnectError"),
        ({"disable_system_certificates": True, "root_certificate": "own"}, "ok"),
        ({"disable_system_certificates": True, "root_certificate": "other"}, "ConnectError"),
        ({"root_certificate": "other"}, "ok"),
        ({"disable_system_certificates": True, "allow_invalid_certificates": True}, "ok"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "default",
)
def test_the_systems_certificates_count_unless_they_are_disabled(tls_server, system, options, expected):
    import json

    from tests.python.oracle import CERTIFICATE

    pem = {"own": tls_server.tls.ca.read_text(), "other": CERTIFICATE}
    options = {name: pem.get(value, value) for name, value in options.items()}
    preload = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), str(system))))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tls_server.url, ACCESS_KEY, SECRET_KEY, json.dumps(options)],
        env={
            **os.environ,
            "LD_PRELOAD": preload,
            "S3EXT_TEST_SYSTEM": str(tls_server.tls.ca),
            "NO_PROXY": "*",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == expected


def test_several_root_certificates_are_all_trusted(tls_server, way):
    from tests.python.oracle import CERTIFICATE

    bundle = f"# others too\n{CERTIFICATE}{tls_server.tls.ca.read_text()}"
    for form in (bundle, bundle.encode()):
        way(connect(tls_server, root_certificate=form), "put", "a", b"")
    with pytest.raises(ConnectError):
        way(connect(tls_server, root_certificate=CERTIFICATE), "head", "a")


# ---- connections ----


def test_an_idle_connection_is_used_within_its_time_and_not_after(server, way):
    store = connect(server, pool_idle_timeout="1s")
    way(store, "put", "a", b"")
    way(store, "head", "a")
    assert server.connections_opened == 1
    time.sleep(2.1)
    way(store, "head", "a")
    assert server.connections_opened == 2
    patient = connect(server, pool_idle_timeout="60s", user_agent="another client")
    way(patient, "head", "a")
    opened = server.connections_opened
    time.sleep(2.1)
    way(patient, "head", "a")
    assert server.connections_opened == opened


def sockets_to(port):
    """Give this process's own ends of the connections to a port."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # of what is closed meanwhile, or is not connected
            # A copy of what is no socket would never be closed.
            if not str(path.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(path.name))) as found:
                peer = found.getpeername()
                if isinstance(peer, tuple) and peer[1] == port:
                    yield found


@pytest.mark.parametrize(
    ("options", "level", "name", "expected"),
    [
        ({"http2_keep_alive_timeout": "7s"}, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 7000),
        ({}, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0),
        ({"http2_keep_alive_interval": "9s"}, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 9),
        ({"http2_keep_alive_interval": "9s"}, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 9),
        ({}, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
        ({}, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ({}, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ],
)
def test_the_kernel_is_told_how_to_watch_a_connection(server, options, level, name, expected):
    store = connect(server, **options)
    store.put("a", b"")
    values = [found.getsockopt(level, name) for found in sockets_to(server.port)]
    assert values == [expected]


@pytest.mark.parametrize(
    "options",
    [{"http2_max_frame_size": 20_000}, {"http2_keep_alive_while_idle": True}],
    ids=lambda options: next(iter(options)),
)
def test_what_changes_nothing_is_taken_and_harmless(server, way, options):
    way(connect(server, **options), "put", "a", b"x")
    assert server.get("a").data == b"x"


@pytest.mark.parametrize(
    ("options", "direct"),
    [
        ({}, True),
        ({"lane": "direct"}, True),
        ({"lane": "curl"}, False),
        ({"lane": "auto", "http1_only": False}, False),
    ],
    ids=["default", "direct", "curl", "http2"],
)
def test_the_lane_that_is_asked_for_carries_the_requests(server, way, monkeypatch, options, direct):
    monkeypatch.delenv("S3EXT_LANE", raising=False)
    before = s3ext.stats()
    way(connect(server, **options), "put", "a", b"x")
    after = s3ext.stats()
    assert after["requests"] - before["requests"] == 1
    assert after["requests_direct"] - before["requests_direct"] == direct


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"http1_only": False}, "HTTP/2 is allowed"),
        ({"http2_only": True}, "HTTP/2 is allowed"),
        ({"proxy_url": "http://127.0.0.1:9"}, "no http proxy"),
    ],
    ids=["either", "http2", "proxy"],
)
def test_a_lane_that_cannot_serve_is_an_error_that_says_why(server, way, options, why):
    store = connect(server, lane="direct", **options)
    with pytest.raises(GenericError, match=why):
        way(store, "put", "a", b"x")
    assert server.requests == []


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_are_in_flight_for_a_host_than_was_asked_for(most):
    # The limit belongs to the host for as long as the process lives: each one here has its own.
    with VerifyingServer(host=f"127.0.7.{most}") as server:
        server.put("a", b"0123456789")
        server.faults.add(Fault(faults.delay(0.02), method="GET", times=None))
        store = connect(server, concurrency=most)

        async def many():
            await asyncio.gather(*(store.get_range_async("a", start=n % 9, length=1) for n in range(12)))

        asyncio.run(many())
        assert server.peak_in_flight == most


# ---- headers ----


def everything(way, store):
    """Do one request of each kind."""
    way(store, "put", "a", b"x")
    way(store, "put", "b", b"x" * 6_000_000, use_multipart=True)
    way(way(store, "get", "a"), "bytes")
    way(store, "head", "a")
    way(store.list(), "collect")
    way(store, "copy", "a", "c")
    way(store, "delete", ["a", "b"])
    way(store, "delete", "c")


def test_every_request_names_its_user_agent(server, way):
    everything(way, connect(server, user_agent="my programme/1 é"))
    assert len(server.requests) >= 10
    for request in server.requests:
        assert request.header("user-agent").encode("latin-1") == "my programme/1 é".encode()
    server.forget()
    way(connect(server), "put", "a", b"")
    assert server.requests[0].header("user-agent") == f"s3ext/{s3ext.__version__}"


def test_default_headers_are_in_every_request_and_signed(server, way):
    everything(way, connect(server, default_headers={"X-Trace": b"a b\xe9", "x-amz-meta-by": "me"}))
    for request in server.requests:
        assert request.header("x-trace").encode("latin-1") == b"a b\xe9"
        signed = request.header("authorization").partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert {"x-trace", "x-amz-meta-by"} <= set(signed)
    assert not server.errors


def test_an_upload_that_names_no_content_type_gets_the_default(server, way):
    store = connect(server, default_content_type="text/x-test")
    way(store, "put", "plain", b"x")
    way(store, "put", "parts", b"x" * 6_000_000, use_multipart=True)
    way(store, "put", "named", b"x", attributes={"Content-Type": "a/b"})
    way(store, "put", "other", b"x", attributes={"Cache-Control": "no-store"})
    for key, expected in (("plain", "text/x-test"), ("parts", "text/x-test"), ("named", "a/b")):
        assert way(store, "get", key).attributes["Content-Type"] == expected
    assert way(store, "get", "other").attributes == {
        "Content-Type": "text/x-test",
        "Cache-Control": "no-store",
    }
    reads = [request for request in server.requests if request.method == "GET"]
    assert not any(request.header("content-type") for request in reads)


# ---- proxies ----


@pytest.fixture(params=[False, True], ids=["http", "https"])
def target(request):
    with VerifyingServer(tls=make_certificate() if request.param else None) as server:
        server.put("k", b"data")
        yield server
        assert not server.errors


def through(target, proxy, **client_options):
    if target.tls:
        client_options["root_certificate"] = target.tls.ca.read_text()
    return connect(target, proxy_url=proxy.url, **client_options)


def test_a_proxy_over_tls_is_trusted_by_its_own_certificates(target, way):
    with ForwardProxy(tls=make_certificate()) as proxy:
        store = through(target, proxy, proxy_ca_certificate=authority().read_text())
        assert way(store, "get_range", "k", start=0, end=4) == b"data"
        assert {request.method for request in proxy.requests} == {"CONNECT" if target.tls else "GET"}


@pytest.mark.parametrize("kind", ["good", "expired", "wrong-name", "self-signed"])
def test_a_proxy_over_tls_that_is_not_trusted_gets_no_request(server, way, kind):
    with ForwardProxy(tls=make_certificate(kind)) as proxy:
        options = {} if kind == "good" else {"proxy_ca_certificate": authority().read_text()}
        with pytest.raises(ConnectError) as caught:
            way(through(server, proxy, **options), "head", "k")
        assert proxy.requests == []
    assert caught.value.attempts == 1
    assert server.requests == []


def test_a_proxy_whose_certificate_is_of_no_interest_is_used(server, way):
    server.put("k", b"data")
    with ForwardProxy(tls=make_certificate("expired")) as proxy:
        store = through(server, proxy, allow_invalid_certificates=True)
        assert way(store, "get_range", "k", start=0, end=4) == b"data"
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_a_proxy_of_socks_is_told_the_name_or_the_address(way, target, scheme):
    with ForwardProxy({f"*:{target.port}": target.port}, kind=scheme[:6]) as proxy:
        options = {"root_certificate": target.tls.ca.read_text()} if target.tls else {}
        url = f"{target.url.partition(':')[0]}://localhost:{target.port}"
        store = connect(url, proxy_url=f"{scheme}://127.0.0.1:{proxy.port}", **options)
        assert way(store, "get_range", "k", start=0, end=4) == b"data"
        (request,) = proxy.requests
    host = request.target.rpartition(":")[0]
    assert host in ({"localhost"} if scheme in {"socks4a", "socks5h"} else {"127.0.0.1", "::1"})


@pytest.mark.parametrize(
    ("excludes", "excluded"),
    [
        ("localhost", True),
        ("example.org, localhost", True),
        ("*", True),
        (".localhost", True),
        ("ocalhost", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_hosts_are_excluded_as_in_no_proxy(way, server, excludes, excluded):
    server.put("k", b"data")
    with ForwardProxy() as proxy:
        store = connect(f"http://localhost:{server.port}", proxy_url=proxy.url, proxy_excludes=excludes)
        assert way(store, "get_range", "k", start=0, end=4) == b"data"
        assert len(proxy.requests) == (0 if excluded else 1)


def test_addresses_are_excluded_by_their_network(way, server):
    server.put("k", b"data")
    with ForwardProxy() as proxy:
        for excludes, expected in (("10.0.0.0/8", 1), ("127.0.0.0/8", 1)):
            store = connect(server, proxy_url=proxy.url, proxy_excludes=excludes)
            assert way(store, "get_range", "k", start=0, end=4) == b"data"
            assert len(proxy.requests) == expected


# ---- retries ----


def waits(server):
    return [later - earlier for earlier, later in pairwise(request.arrived for request in server.requests)]


def fails(count):
    return Fault(faults.html_error(500), times=count)


@pytest.mark.parametrize("most", [0, 1, 4])
def test_a_request_is_retried_as_often_as_was_asked_for(server, way, most):
    server.faults.add(fails(None))
    with pytest.raises(GenericError) as caught:
        way(connect(server, retrying(most)), "head", "a")
    assert caught.value.attempts == most + 1 == len(server.requests)


def test_the_first_wait_has_its_bound(server, sync_way):
    """A wait is random up to 400 ms: that of eight none reached 60 ms would be one case in 10^6."""
    server.put("a", b"")
    for milliseconds in (1, 400):
        server.forget()
        server.faults.add(fails(8))
        config = retrying(8, first_ms=milliseconds, most_ms=milliseconds)
        sync_way(connect(server, config), "head", "a")
        assert (max(waits(server)) > 0.06) is (milliseconds == 400)


def test_no_wait_is_longer_than_the_longest(server, sync_way):
    server.put("a", b"")
    server.faults.add(fails(8))
    sync_way(connect(server, retrying(8, first_ms=5_000, most_ms=5)), "head", "a")
    assert max(waits(server)) < 1


def test_the_base_is_what_waits_grow_by(server, sync_way):
    """From the second one on waits are random up to 300 ms; that ten are all below 50 ms is one in 10^7."""
    server.put("a", b"")
    for base in (2, 1000):
        server.forget()
        server.faults.add(fails(11))
        config = retrying(11, first_ms=1, most_ms=300)
        config["backoff"]["base"] = base
        # With a base of 2 the bounds of five waits are 1, 2, 4, 8 and 16 ms.
        sync_way(connect(server, config), "head", "a")
        first = waits(server)[:5]
        assert sum(first) < 1 if base == 2 else max(waits(server)) > 0.05


@pytest.fixture
def sync_way():
    from tests.python.ways import Way

    way = Way("sync")
    yield way
    way.close()
