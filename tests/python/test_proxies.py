from __future__ import annotations

import pytest

from s3ext._proxies import proxy_of
from s3ext.store import S3Store
from tests.server import ACCESS_KEY, REGION, SECRET_KEY, ForwardProxy


class Settings:
    def __init__(self, scheme="http", proxy_url=None, proxy_excludes=None) -> None:
        self.scheme, self.proxy_url, self.proxy_excludes = scheme, proxy_url, proxy_excludes


@pytest.mark.parametrize(
    ("settings", "environ", "expected"),
    [
        (Settings(), {}, ("", None)),
        (Settings(), {"http_proxy": "http://p"}, ("http://p", None)),
        (Settings(), {"HTTP_PROXY": "http://p"}, ("http://p", None)),
        (Settings(), {"http_proxy": "http://low", "HTTP_PROXY": "http://up"}, ("http://low", None)),
        (Settings(), {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, ("", None)),
        (Settings(), {"http_proxy": "http://p", "REQUEST_METHOD": "GET"}, ("http://p", None)),
        (Settings(), {"https_proxy": "http://p"}, ("", None)),
        (Settings("https"), {"HTTPS_PROXY": "http://p", "REQUEST_METHOD": "GET"}, ("http://p", None)),
        (Settings("https"), {"ALL_PROXY": "socks5://p"}, ("socks5://p", None)),
        (Settings("https"), {"https_proxy": "", "all_proxy": "http://a"}, ("http://a", None)),
        (Settings(), {"no_proxy": "a,b"}, ("", "a,b")),
        (Settings(), {"NO_PROXY": "c"}, ("", "c")),
        (Settings(proxy_excludes="x"), {"no_proxy": "a"}, ("", "x")),
        (Settings(proxy_url="http://m"), {"http_proxy": "http://p", "no_proxy": "a"}, ("http://m", "a")),
    ],
)
def test_the_environment_is_read_by_curls_rules(settings, environ, expected) -> None:
    assert proxy_of(settings, environ) == expected


def test_a_client_keeps_the_proxy_that_it_was_made_with(server, monkeypatch) -> None:
    server.put("k", b"1")
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "region": REGION}

    def store(agent: str) -> S3Store:
        options = {"allow_http": True, "user_agent": agent}
        return S3Store("bucket", endpoint=server.url, client_options=options, **keys)

    with ForwardProxy({}) as proxy:
        direct = store("direct")
        assert direct.get("k").bytes() == b"1"
        monkeypatch.setenv("http_proxy", proxy.url)
        assert direct.get("k").bytes() == b"1"
        assert len(proxy.requests) == 0
        assert store("proxied").get("k").bytes() == b"1"
        assert len(proxy.requests) == 1
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert store("excluded").get("k").bytes() == b"1"
        assert len(proxy.requests) == 1
