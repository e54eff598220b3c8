"""TLS: certificates that must be refused, records of one byte, ends without a farewell."""

from __future__ import annotations

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern, read, sent_once
from tests.server import SECRET_KEY, Fault, VerifyingServer, faults, make_certificate

BAD = pytest.mark.parametrize("kind", ["expired", "self-signed", "wrong-name"])


def ask(way, store):
    return bytes(way(store, "get_range", "k", start=0, end=4))


def trusting(server):
    return {"root_certificate": server.tls.ca.read_text()}


@pytest.fixture
def secure():
    with VerifyingServer(tls=make_certificate(), min_part_size=0) as server:
        yield server
        server.wait_idle()
        assert not server.errors
        assert not server.store.uploads


@pytest.mark.smoke
@BAD
def test_a_bad_certificate_is_refused_and_not_tried_again(counters, way, kind):
    with VerifyingServer(tls=make_certificate(kind)) as server:
        server.put("k", b"data")
        with pytest.raises(exceptions.ConnectError) as caught:
            ask(way, connect(server, client_options=trusting(server)))
        assert server.requests == []
        assert server.connections_opened == 1
    error = caught.value
    assert isinstance(error, ConnectionError)
    assert (error.attempts, error.status, error.retryable) == (1, None, False)
    assert f"127.0.0.1:{server.port}" in str(error)
    words = {"expired": "expired", "self-signed": "self", "wrong-name": "127.0.0.1"}
    assert words[kind] in str(error)
    assert "root_certificate" in str(error)
    assert counters() == {}


def test_an_authority_that_nobody_named_is_refused(counters, way, secure):
    with pytest.raises(exceptions.ConnectError, match="certificate") as caught:
        ask(way, connect(secure))
    assert caught.value.attempts == 1
    assert counters() == {}


@BAD
def test_any_certificate_will_do_if_the_user_says_so(way, kind):
    with VerifyingServer(tls=make_certificate(kind)) as server:
        server.put("k", b"data")
        assert ask(way, connect(server, client_options={"allow_invalid_certificates": True})) == b"data"


def test_trust_is_of_one_store_only(way, secure):
    """Connections that a trusting store has opened must not serve one that does not trust."""
    secure.put("k", b"data")
    trusts, careless, doubts = (
        connect(secure, client_options=options)
        for options in (trusting(secure), {"allow_invalid_certificates": True}, {})
    )
    for _ in range(2):
        assert ask(way, trusts) == b"data"
        assert ask(way, careless) == b"data"
        with pytest.raises(exceptions.ConnectError):
            ask(way, doubts)


def test_a_name_in_the_certificate_is_what_counts(way, secure):
    secure.put("k", b"data")
    options = trusting(secure)
    assert ask(way, connect(f"https://localhost:{secure.port}", client_options=options)) == b"data"
    with pytest.raises(exceptions.ConnectError, match=r"bucket\.localhost"):
        ask(way, connect(f"https://bucket.localhost:{secure.port}", client_options=options))


def test_http_where_tls_is_spoken_is_an_error(way, secure):
    with pytest.raises(exceptions.GenericError) as caught:
        ask(way, connect(f"http://127.0.0.1:{secure.port}", max_retries=1))
    assert caught.value.attempts <= 2


def test_tls_where_http_is_spoken_is_an_error(server, way):
    """The server waits for the end of a request's head, the client for a handshake."""
    store = connect(
        f"https://127.0.0.1:{server.port}", max_retries=1, client_options={"connect_timeout": "80ms"}
    )
    with pytest.raises(exceptions.RequestTimeoutError) as caught:
        ask(way, store)
    assert caught.value.attempts == 2
    server.take_errors()


@pytest.mark.parametrize("shape", ["range", "stream", "ranges_into"])
def test_ends_without_a_farewell_are_resumed(counters, way, secure, shape):
    data = pattern(5 * PART)
    secure.put("k", data)
    for nth in (1, 3):
        secure.faults.add(Fault(faults.cut(1000 * nth), method="GET", nth=nth))
    assert read(way, connect(secure, client_options=trusting(secure)), shape, "k", len(data)) == data
    assert sent_once(secure, "k", len(data))
    assert counters() == {"retries": 2, "retries_transport": 2, "resumed": 2}


def test_a_body_that_ends_with_its_connection_is_not_cut_short_by_an_attacker(counters, way, secure):
    """Without a length only the farewell of TLS would tell the end; the range does as well."""
    data = pattern(PART - 5)
    secure.put("k", data)
    secure.faults.add(Fault(faults.content_length(missing=True), method="GET", times=None))
    secure.faults.add(Fault(faults.cut(777), method="GET", times=1))
    assert read(way, connect(secure, client_options=trusting(secure)), "whole", "k", len(data)) == data
    assert counters() == {"retries": 1, "retries_transport": 1, "resumed": 1}


@pytest.mark.parametrize("size", [1, 17])
def test_tiny_records_are_put_together(way, secure, size):
    data = pattern(3000)
    secure.put("k", data)
    secure.faults.add(Fault(faults.drip(size, 0), method="GET", times=None))
    assert read(way, connect(secure, client_options=trusting(secure)), "whole", "k", 3000) == data


def test_uploads_over_tls_arrive(way, secure):
    data = pattern(9 * PART + 3)
    store = connect(secure, client_options=trusting(secure))
    secure.faults.add(Fault(faults.slow_down(), method="PUT", part=2))
    way(store, "put", "k", data, use_multipart=True, chunk_size=PART)
    assert read(way, store, "into", "k", len(data)) == data


def test_errors_over_tls_show_no_secret(way, secure):
    secure.faults.add(Fault(faults.s3_error("SignatureDoesNotMatch"), times=None))
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        ask(way, connect(secure, client_options=trusting(secure)))
    assert SECRET_KEY not in repr(caught.value) + str(vars(caught.value))
