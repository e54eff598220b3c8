"""Proxies that refuse, fail or go away, and their passwords, which nobody may see."""

from __future__ import annotations

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern, read
from tests.server import Fault, ForwardProxy, VerifyingServer, faults, make_certificate

USER, PASSWORD = "canary-user", "canary-proxy-password"

KINDS = pytest.mark.parametrize("kind", ["http", "socks5"])
SCHEMES = pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])


@pytest.fixture
def serve():
    """Make servers over http or https, and look after them."""
    servers = []

    def make(tls):
        server = VerifyingServer(tls=make_certificate() if tls else None).start()
        servers.append(server)
        server.put("k", b"data")
        return server

    yield make
    for server in servers:
        server.stop()
        assert not server.errors


def through(server, proxy, login="", **options):
    scheme, _, rest = proxy.url.partition("://")
    client = {"proxy_url": f"{scheme}://{login}{rest}"}
    if server.tls:
        client["root_certificate"] = server.tls.ca.read_text()
    return connect(server, client_options=client, **options)


def ask(way, store):
    return bytes(way(store, "get_range", "k", start=0, end=4))


def shows_nothing(error):
    text = f"{error} {error!r} {vars(error)} {error.__cause__!r} {error.__context__!r}"
    return PASSWORD not in text and "Y2FuYXJ5" not in text


@KINDS
@SCHEMES
def test_a_proxy_carries_requests(serve, way, kind, tls):
    server = serve(tls)
    with ForwardProxy(kind=kind, auth=(USER, PASSWORD)) as proxy:
        store = through(server, proxy, f"{USER}:{PASSWORD}@")
        assert ask(way, store) == b"data"
        way(store, "put", "new", b"fresh")
        assert {request.user for request in proxy.requests} == {USER}
        assert PASSWORD not in repr(store)
        assert not any(request.header("proxy-authorization") for request in server.requests)


@pytest.mark.parametrize("login", ["", f"{USER}:wrong-{PASSWORD}@"], ids=["none", "wrong"])
def test_a_proxy_that_wants_another_login_is_an_error(serve, counters, way, login):
    server = serve(True)
    with ForwardProxy(auth=(USER, PASSWORD)) as proxy:
        with pytest.raises(exceptions.ConnectError) as caught:
            ask(way, through(server, proxy, login))
        assert "407" in str(caught.value)
        assert (caught.value.attempts, caught.value.retryable) == (1, False)
        assert shows_nothing(caught.value)
    assert server.requests == []
    assert counters() == {}


@pytest.mark.parametrize("status", [403, 502, 503])
def test_a_proxy_that_makes_no_tunnel_is_an_error(serve, way, status):
    server = serve(True)
    with ForwardProxy(refuse=status) as proxy:
        with pytest.raises(exceptions.ConnectError) as caught:
            ask(way, through(server, proxy, f"{USER}:{PASSWORD}@"))
        assert str(status) in str(caught.value)
        assert shows_nothing(caught.value)
        assert len(proxy.requests) == caught.value.attempts
    assert server.requests == []


def test_a_plain_proxy_that_wants_a_login_is_an_error(serve, way):
    server = serve(False)
    with ForwardProxy(auth=(USER, PASSWORD)) as proxy:
        with pytest.raises(exceptions.BaseError) as caught:
            ask(way, through(server, proxy, f"{USER}:wrong@"))
        assert caught.value.status == 407
        assert shows_nothing(caught.value)
    assert server.requests == []


@SCHEMES
def test_a_proxy_that_hangs_up_is_an_error(serve, way, tls):
    server = serve(tls)
    with ForwardProxy(refuse=-1) as proxy:
        with pytest.raises(exceptions.GenericError) as caught:
            ask(way, through(server, proxy, f"{USER}:{PASSWORD}@", max_retries=1))
        assert shows_nothing(caught.value)
        assert caught.value.status is None


@KINDS
@SCHEMES
def test_a_proxy_that_is_not_there_is_an_error(serve, way, kind, tls):
    server = serve(tls)
    with ForwardProxy(kind=kind) as proxy:
        store = through(server, proxy, f"{USER}:{PASSWORD}@", max_retries=1)
    with pytest.raises(exceptions.ConnectError) as caught:
        ask(way, store)
    assert shows_nothing(caught.value)
    assert str(proxy.port) in str(caught.value)


def test_an_unknown_proxy_is_an_error(serve, way):
    server = serve(False)
    store = connect(server, client_options={"proxy_url": f"http://{USER}:{PASSWORD}@nowhere.invalid:3128"})
    with pytest.raises(exceptions.ConnectError) as caught:
        ask(way, store)
    assert shows_nothing(caught.value)


@SCHEMES
@pytest.mark.parametrize("url", ["http://u:{}/x@127.0.0.1:9", "u:{}@127.0.0.1:x", "ftp://u:{}@127.0.0.1:9"])
def test_a_proxy_of_the_environment_that_cannot_be_is_not_shown(serve, monkeypatch, way, tls, url):
    """libcurl itself would."""
    server = serve(tls)
    monkeypatch.setenv("all_proxy", url.format(PASSWORD))
    with pytest.raises(
        exceptions.ConnectError, match="the URL of the proxy is none that libcurl takes"
    ) as caught:
        ask(way, connect(server))
    assert shows_nothing(caught.value)


@SCHEMES
def test_faults_behind_a_proxy_are_mended_as_without_one(serve, counters, way, tls):
    server = serve(tls)
    data = pattern(5 * PART)
    server.put("k", data)
    with ForwardProxy() as proxy:
        for nth in (1, 3):
            server.faults.add(Fault(faults.cut(1000 * nth), method="GET", nth=nth))
        server.faults.add(Fault(faults.slow_down(), method="GET", nth=5))
        assert read(way, through(server, proxy), "into", "k", len(data)) == data
    assert counters()["resumed"] >= 2


def test_hosts_that_are_excluded_go_without_the_proxy(serve, way):
    server = serve(False)
    with ForwardProxy(refuse=502) as proxy:
        options = {"proxy_url": proxy.url, "proxy_excludes": "127.0.0.1,example.org"}
        assert ask(way, connect(server, client_options=options)) == b"data"
        assert proxy.requests == []


def test_the_environment_may_name_a_proxy(serve, way, monkeypatch):
    server = serve(True)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ForwardProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        trust = {"root_certificate": server.tls.ca.read_text()}
        assert ask(way, connect(server, client_options=trust)) == b"data"
        assert [request.method for request in proxy.requests] == ["CONNECT"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        fresh = connect(server, client_options=trust | {"user_agent": "another client"})
        assert ask(way, fresh) == b"data"
        assert len(proxy.requests) == 1
