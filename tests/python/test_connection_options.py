"""Client options that change what connections are made and kept, seen from the server's side.

HTTP/2 is spoken by nginx, which passes requests on to the verifying server as they are; so signatures are
checked there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest

import s3ext
from s3ext.exceptions import GenericError, ProtocolError
from s3ext.store import S3Store
from tests.server import ACCESS_KEY, SECRET_KEY, VerifyingServer, make_certificate

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx, the server that speaks HTTP/2")


def has_http2():
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        s3ext.show_versions()
    return "http2" in shown.getvalue()


needs_http2 = pytest.mark.skipif(not has_http2(), reason="this libcurl was built without HTTP/2")

CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    log_format plain '$server_protocol $connection $request_method $status';
    access_log {folder}/access.log plain;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    client_max_body_size 64m;
    server {{
        listen 127.0.0.1:{clear} http2;
        listen 127.0.0.1:{secure} ssl http2;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection "";
            proxy_request_buffering off; proxy_buffering off;
        }}
    }}
}}
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class Front:
    """An nginx in front of a verifying server."""

    def __init__(self, folder, upstream):
        self.folder = folder
        self.certificate = make_certificate()
        self.clear, self.secure = free_ports(2)
        text = CONFIGURATION.format(
            folder=folder,
            clear=self.clear,
            secure=self.secure,
            certificate=self.certificate.certificate,
            key=self.certificate.key,
            upstream=upstream,
        )
        (folder / "nginx.conf").write_text(text)
        self.process = subprocess.Popen(
            [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.secure), 1).close()
            except OSError:
                assert self.process.poll() is None, (folder / "error.log").read_text()
                assert time.monotonic() < end, "nginx does not serve"
                time.sleep(0.02)
            else:
                return

    def store(self, *, secure, **client_options):
        options = {"root_certificate": self.certificate.ca.read_text()} if secure else {"allow_http": True}
        return S3Store(
            "bucket",
            endpoint=f"{'https' if secure else 'http'}://127.0.0.1:{self.secure if secure else self.clear}",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={**options, **client_options},
            retry_config={"max_retries": 0},
        )

    def log(self, count):
        """Wait for so many lines; return them as (protocol, connection, method, status)."""
        end = time.monotonic() + 5
        while True:
            lines = (self.folder / "access.log").read_text().splitlines()
            if len(lines) >= count or time.monotonic() > end:
                return [tuple(line.split()) for line in lines]
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def front(tmp_path, server):
    front = Front(tmp_path, server.port)
    yield front
    front.stop()


DATA = bytes(range(256)) * 4096


def write(store):
    """Do every kind of request with a body."""
    store.put("a", DATA)
    store.put("b", DATA * 12, chunk_size=5 << 20)


def read(store):
    """Do the other kinds, and some at the same time."""
    data = DATA
    assert bytes(store.get("a").bytes()) == data
    assert bytes(store.get_range("b", start=1 << 20, end=3 << 20)) == data * 2
    assert {meta["path"] for page in store.list() for meta in page} == {"a", "b"}
    store.copy("a", "c")
    store.delete(["b", "c"])

    async def many():
        bodies = await asyncio.gather(
            *(store.get_range_async("a", start=n * 1000, length=1000) for n in range(200))
        )
        assert [bytes(body) for body in bodies] == [data[n * 1000 : n * 1000 + 1000] for n in range(200)]

    asyncio.run(many())


@needs_nginx
@needs_http2
@pytest.mark.parametrize(
    ("secure", "options", "protocol"),
    [
        (True, {}, "HTTP/1.1"),
        (True, {"http1_only": False}, "HTTP/2.0"),
        (True, {"http2_only": True}, "HTTP/2.0"),
        (False, {"http2_only": True}, "HTTP/2.0"),
    ],
    ids=["tls", "tls-agreed", "tls-only", "clear-only"],
)
def test_every_kind_of_request_goes_by_the_version_that_was_asked_for(front, secure, options, protocol):
    store = front.store(secure=secure, **options)
    write(store)
    read(store)
    lines = front.log(200)
    assert {line[0] for line in lines} == {protocol}
    assert {line[2] for line in lines} >= {"GET", "PUT", "POST"}  # PUT is a copy too, POST a bulk delete


@needs_nginx
@needs_http2
def test_requests_share_a_connection_of_http_2(front):
    store = front.store(secure=True, http1_only=False)
    write(store)
    read(store)
    connections = {line[1] for line in front.log(200)}
    write(front.store(secure=True))
    read(front.store(secure=True))
    assert len(connections) < len({line[1] for line in front.log(400)} - connections)


@needs_http2
def test_a_server_of_tls_that_does_not_agree_to_http_2_is_refused_when_nothing_else_will_do(tls_server):
    store = S3Store(
        "bucket",
        endpoint=tls_server.url,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"http2_only": True, "root_certificate": tls_server.tls.ca.read_text()},
        retry_config={"max_retries": 0},
    )
    with pytest.raises(ProtocolError, match="does not speak HTTP/2"):
        store.head("a")


@needs_http2
def test_a_server_without_http_2_is_named_when_nothing_else_will_do(server):
    store = S3Store(
        "bucket",
        endpoint=server.url,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"allow_http": True, "http2_only": True},
        retry_config={"max_retries": 0},
    )
    with pytest.raises(GenericError, match="HTTP/2"):
        store.head("a")
    assert server.take_errors()


def test_two_versions_that_exclude_each_other_are_refused():
    with pytest.raises(GenericError, match="http1_only and http2_only"):
        S3Store("bucket", client_options={"http1_only": True, "http2_only": True})


def connect(server, **client_options):
    return S3Store(
        "bucket",
        endpoint=server.url,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"allow_http": True, **client_options},
    )


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_no_more_idle_connections_are_kept_than_were_asked_for(server, limit):
    server.put("a", b"x" * 1000)
    store = connect(server, pool_max_idle_per_host=limit)

    async def burst():
        await asyncio.gather(*(store.get_range_async("a", start=0, length=10) for _ in range(40)))

    asyncio.run(burst())
    server.wait_idle()
    end = time.monotonic() + 5
    while server.connections_open > limit and time.monotonic() < end:
        time.sleep(0.01)
    assert server.connections_open <= limit
    assert server.peak_connections > 3


def test_without_a_limit_connections_are_kept(server):
    server.put("a", b"x" * 1000)
    store = connect(server)
    for _ in range(5):
        store.head("a")
    assert server.connections_opened == 1


@pytest.mark.skipif(shutil.which("ss") is None, reason="there is no ss, which shows the timers of sockets")
def test_idle_connections_are_probed_as_often_as_was_asked_for(server):
    server.put("a", b"x")
    connect(server, http2_keep_alive_interval="7s").head("a")
    shown = subprocess.run(
        ["ss", "-tnoH", "state", "established", "dst", f"127.0.0.1:{server.port}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    timers = re.findall(r"timer:\(keepalive,(\d+)(\.\d+)?(sec|ms)", shown)
    assert timers, shown
    assert all(unit == "ms" or int(seconds) <= 7 for seconds, _, unit in timers), shown


SEVERAL = [f"127.0.0.{n}" for n in range(2, 10)]

RESOLVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

/* Eight addresses for many.test, always in the same order. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node == NULL || strcmp(node, "many.test") != 0) {
        return real(node, service, hints, out);
    }
    struct addrinfo **end = out;
    for (int n = 2; n < 10; n++) {
        char address[] = "127.0.0.0";
        address[8] = (char)('0' + n);
        struct addrinfo mine = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
        int failed = real(address, service, &mine, end);
        if (failed) {
            return failed;
        }
        end = &(*end)->ai_next;
    }
    return 0;
}
"""

PROGRAM = """
import asyncio, sys
from s3ext.store import S3Store
store = S3Store("bucket", endpoint=sys.argv[1], access_key_id=sys.argv[2], secret_access_key=sys.argv[3],
    client_options={"allow_http": True, "randomize_addresses": sys.argv[4] == "true"})
async def main():
    await store.head_async("a")
    await asyncio.gather(*(store.get_range_async("a", start=0, length=10) for _ in range(64)))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def resolver(tmp_path_factory):
    """A library to preload, whose getaddrinfo knows a host of eight addresses."""
    folder = tmp_path_factory.mktemp("resolver")
    (folder / "resolver.c").write_text(RESOLVER)
    library = folder / "resolver.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(folder / "resolver.c"), "-ldl"], check=True
    )
    return library


@pytest.mark.parametrize("spread", [True, False])
def test_connections_spread_over_all_addresses_of_a_host(resolver, spread):
    with VerifyingServer(host="0.0.0.0") as server:
        server.put("a", b"x" * 1000)
        preload = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), str(resolver))))
        arguments = (f"http://many.test:{server.port}", ACCESS_KEY, SECRET_KEY, str(spread).lower())
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={**os.environ, "LD_PRELOAD": preload, "NO_PROXY": "*"},
            timeout=60,
            check=True,
        )
        used = Counter(server.local_addresses)
        assert not server.take_errors()
    if spread:
        assert len(used) >= 5, used
        assert set(used) <= set(SEVERAL)
    else:
        assert set(used) == {SEVERAL[0]}
