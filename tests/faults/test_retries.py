"""What is retried, how often, after which waits, and when it ends."""

from __future__ import annotations

import time
from datetime import timedelta
from email.utils import formatdate
from itertools import pairwise

import pytest

from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern, read, retrying
from tests.server import Fault, VerifyingServer, faults

THROTTLES = [
    ("SlowDown", 503),
    ("SlowDownRead", 503),
    ("SlowDownWrite", 503),
    ("Throttling", 400),
    ("ThrottlingException", 400),
    ("ThrottledException", 400),
    ("RequestThrottled", 400),
    ("RequestThrottledException", 400),
    ("TooManyRequestsException", 400),
    ("TooManyRequests", 429),
    ("RequestLimitExceeded", 400),
    ("BandwidthLimitExceeded", 509),
    ("LimitExceededException", 400),
    ("ProvisionedThroughputExceededException", 400),
    ("PriorRequestNotComplete", 400),
    ("ServiceUnavailable", 503),
    ("Busy", 503),
    ("XMinioServerNotInitialized", 503),
    ("AnythingAtAll", 503),
    ("AnythingAtAll", 429),
    ("AnythingAtAll", 509),
]
FAILURES = [
    ("InternalError", 500),
    ("InternalErrors", 500),
    ("RequestTimeout", 400),
    ("RequestTimeoutException", 400),
    ("OperationAborted", 409),
    ("ConditionalRequestConflict", 409),
    *[("AnythingAtAll", status) for status in (408, 499, 500, 502, 504, 520, 521, 522, 523, 524)],
]
FINAL = [
    ("AccessDenied", 403, exceptions.PermissionDeniedError),
    ("InvalidAccessKeyId", 403, exceptions.PermissionDeniedError),
    ("SignatureDoesNotMatch", 403, exceptions.PermissionDeniedError),
    ("AnythingAtAll", 401, exceptions.UnauthenticatedError),
    ("NoSuchKey", 404, exceptions.NotFoundError),
    ("NoSuchBucket", 404, exceptions.NotFoundError),
    ("MethodNotAllowed", 405, exceptions.GenericError),
    ("BucketAlreadyExists", 409, exceptions.AlreadyExistsError),
    ("PreconditionFailed", 412, exceptions.PreconditionError),
    ("NotImplemented", 501, exceptions.GenericError),
    ("AnythingAtAll", 505, exceptions.GenericError),
    ("InvalidRequest", 400, exceptions.GenericError),
    ("KeyTooLongError", 400, exceptions.GenericError),
    ("AnythingAtAll", 418, exceptions.GenericError),
]


def ask(way, store):
    return bytes(way(store, "get_range", "k", start=0, end=4))


@pytest.mark.parametrize(("code", "status"), THROTTLES)
def test_throttles_are_waited_out(server, counters, sync, code, status):
    server.put("k", b"data")
    server.faults.add(Fault(faults.s3_error(code, status=status), times=2))
    assert ask(sync, connect(server)) == b"data"
    assert len(server.requests) == 3
    assert counters() == {"retries": 2, "retries_throttle": 2}


@pytest.mark.parametrize(("code", "status"), THROTTLES)
def test_throttles_without_end_are_a_throttled_error(server, counters, sync, code, status):
    server.faults.add(Fault(faults.s3_error(code, "slower", status=status), times=None))
    with pytest.raises(exceptions.ThrottledError, match="slower") as caught:
        ask(sync, connect(server, max_retries=2))
    error = caught.value
    assert (error.status, error.code, error.attempts, error.retryable) == (status, code, 3, True)
    assert error.request_id == "REQ00000002"
    assert error.host_id == "verifying-server"
    assert (error.operation, error.bucket, error.key) == ("get_range", "bucket", "k")
    assert counters() == {"retries": 2, "retries_throttle": 2}


@pytest.mark.parametrize(("code", "status"), FAILURES)
def test_failures_of_the_server_are_retried(server, counters, sync, code, status):
    server.put("k", b"data")
    server.faults.add(Fault(faults.s3_error(code, status=status), times=2))
    assert ask(sync, connect(server)) == b"data"
    assert len(server.requests) == 3
    assert counters() == {"retries": 2, "retries_server": 2}


@pytest.mark.parametrize(("code", "status"), FAILURES)
def test_failures_without_end_are_an_error(server, sync, code, status):
    server.faults.add(Fault(faults.s3_error(code, status=status), times=None))
    kind = {
        408: exceptions.RequestTimeoutError,
        409: exceptions.AlreadyExistsError,
    }.get(status, exceptions.GenericError)
    if code.startswith("RequestTimeout"):
        kind = exceptions.RequestTimeoutError
    with pytest.raises(kind) as caught:
        ask(sync, connect(server, max_retries=1))
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (status, code, 2)


@pytest.mark.parametrize(("code", "status", "kind"), FINAL)
def test_what_no_repetition_can_mend_is_not_repeated(server, counters, sync, code, status, kind):
    server.faults.add(Fault(faults.s3_error(code, status=status), times=None))
    with pytest.raises(kind) as caught:
        ask(sync, connect(server))
    assert (caught.value.status, caught.value.code, caught.value.attempts) == (status, code, 1)
    assert len(server.requests) == 1
    assert counters() == {}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_page_of_html_is_retried_and_not_quoted(server, way, status):
    server.put("k", b"data")
    server.faults.add(Fault(faults.html_error(status), times=2))
    store = connect(server)
    assert ask(way, store) == b"data"
    server.faults.add(Fault(faults.html_error(status), times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        ask(way, connect(server, max_retries=1))
    assert (caught.value.status, caught.value.code) == (status, None)
    assert "<" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"<Error><Code>Slow",
        b"<Error>",
        b"\x00\xff\xfe",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><Error><Code>&a;</Code></Error>",
        b"<a>" * 20_000,
        b"x" * 1_000_000,
    ],
    ids=["cut", "empty", "binary", "entity", "deep", "large"],
)
def test_junk_in_an_error_document_leaves_the_status_to_tell(server, sync, body):
    server.put("k", b"data")
    server.faults.add(Fault(faults.respond(500, body, {"Content-Type": "application/xml"}), times=1))
    assert ask(sync, connect(server)) == b"data"
    server.faults.add(Fault(faults.respond(403, body, {"Content-Type": "application/xml"}), times=1))
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        ask(sync, connect(server))
    assert caught.value.status == 403
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("method", ["head", "put", "delete", "copy", "list", "delete_many"])
@pytest.mark.parametrize("fault", ["slow_down", "html", "drop"])
def test_every_operation_retries(server, counters, way, method, fault):
    server.put("k", b"data")
    actions = {"slow_down": faults.slow_down(), "html": faults.html_error(500), "drop": faults.drop()}
    server.faults.add(Fault(actions[fault], times=2))
    store = connect(server)
    if method == "head":
        assert way(store, "head", "k")["size"] == 4
    elif method == "put":
        way(store, "put", "k2", b"fresh")
        assert server.get("k2").data == b"fresh"
    elif method == "delete":
        way(store, "delete", "k")
        assert server.keys() == []
    elif method == "copy":
        way(store, "copy", "k", "k2")
        assert server.get("k2").data == b"data"
    elif method == "list":
        assert [meta["path"] for meta in store.list().collect()] == ["k"]
    else:
        way(store, "delete", ["k", "nothing"])
        assert server.keys() == []
    assert len(server.requests) == 3
    kind = {"slow_down": "throttle", "html": "server", "drop": "transport"}[fault]
    assert counters() == {"retries": 2, f"retries_{kind}": 2}


@pytest.mark.parametrize("mode", ["create", {"e_tag": '"x"'}])
def test_a_conditional_put_whose_answer_is_lost_is_not_sent_twice(server, way, mode):
    server.faults.add(Fault(faults.lose_answer(), method="PUT", times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        way(connect(server), "put", "k", b"data", mode=mode)
    assert caught.value.attempts == 1
    assert len(server.find("PUT", "k")) == 1


@pytest.mark.parametrize("action", [faults.lose_answer(), faults.lose_answer(reset=True)], ids=["fin", "rst"])
def test_a_conditional_put_on_a_kept_connection_is_not_sent_twice_either(server, way, action):
    store = connect(server)
    way(store, "put", "other", b"data")
    server.faults.add(Fault(action, method="PUT", key="k"))
    with pytest.raises(exceptions.GenericError):
        way(store, "put", "k", b"data", mode="create")
    assert len(server.find("PUT", "k")) == 1


def test_a_conditional_put_that_was_refused_is_sent_again(server, counters, way):
    server.faults.add(Fault(faults.s3_error("ConditionalRequestConflict"), method="PUT"))
    server.faults.add(Fault(faults.slow_down(), method="PUT", nth=2))
    way(connect(server), "put", "k", b"data", mode="create")
    assert len(server.find("PUT", "k")) == 3
    assert counters() == {"retries": 2, "retries_server": 1, "retries_throttle": 1}


def test_no_retries_can_be_asked_for(server, counters, way):
    server.faults.add(Fault(faults.html_error(500), times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        ask(way, connect(server, max_retries=0))
    assert caught.value.attempts == 1
    assert len(server.requests) == 1
    assert counters() == {}


# Waits.


def gaps(server):
    arrived = [request.arrived for request in server.requests]
    return [later - earlier for earlier, later in pairwise(arrived)]


def test_waits_are_random_up_to_a_bound_that_grows_to_the_largest(server, sync):
    server.put("k", b"data")
    server.faults.add(Fault(faults.html_error(500), times=10))
    config = retrying(10, first_ms=8, most_ms=40)
    assert ask(sync, connect(server, retry_config=config)) == b"data"
    waits = gaps(server)
    bounds = [min(0.040, 0.008 * 2**n) for n in range(10)]
    assert all(wait < bound + 0.5 for wait, bound in zip(waits, bounds, strict=True))
    assert sum(waits) < sum(bounds) + 1
    assert len({round(wait, 3) for wait in waits}) > 2


def test_a_throttle_waits_from_a_second_unless_the_user_says_otherwise(server, sync):
    """The wait is random in [0, 1 s]: that all of these end below 100 ms would be one case in 10^8."""
    server.put("k", b"data")
    store = connect(server, retry_config={"backoff": {"max_backoff": timedelta(milliseconds=300)}})
    server.faults.add(Fault(faults.slow_down(), times=8))
    assert ask(sync, store) == b"data"
    assert 0.1 < max(gaps(server)) < 1


@pytest.mark.parametrize("after", ["0", "junk", "-1", "1.5", "", formatdate(0, usegmt=True)])
def test_a_retry_after_that_asks_for_nothing_costs_nothing(server, way, after):
    server.put("k", b"data")
    server.faults.add(Fault(faults.slow_down(after), times=2))
    begun = time.monotonic()
    assert ask(way, connect(server)) == b"data"
    assert time.monotonic() - begun < 0.9
    assert len(server.requests) == 3


def test_a_retry_after_in_seconds_is_obeyed(server, sync):
    server.put("k", b"data")
    server.faults.add(Fault(faults.slow_down("1"), times=1))
    assert ask(sync, connect(server)) == b"data"
    assert 0.95 <= gaps(server)[0] < 3


def test_a_retry_after_as_a_date_is_obeyed(server, sync):
    server.put("k", b"data")
    server.faults.add(Fault(faults.slow_down(formatdate(time.time() + 2, usegmt=True)), times=1))
    assert ask(sync, connect(server)) == b"data"
    assert 0.9 <= gaps(server)[0] < 4


@pytest.mark.parametrize("after", ["60", "1000000000", "99999999999999999999999", "date"])
def test_a_retry_after_beyond_the_time_for_retries_ends_them_at_once(server, counters, way, after):
    server.put("k", b"data")
    header = formatdate(time.time() + 86400, usegmt=True) if after == "date" else after
    server.faults.add(Fault(faults.slow_down(header), times=None))
    config = retrying(retry_timeout=timedelta(seconds=5))
    begun = time.monotonic()
    with pytest.raises(exceptions.ThrottledError) as caught:
        ask(way, connect(server, retry_config=config))
    assert time.monotonic() - begun < 3
    assert caught.value.attempts == 1
    assert counters() == {}


def test_retries_end_with_the_time_for_them(server, sync):
    server.faults.add(Fault(faults.html_error(500), times=None))
    config = retrying(1000, first_ms=20, most_ms=20, retry_timeout=timedelta(milliseconds=150))
    begun = time.monotonic()
    with pytest.raises(exceptions.GenericError) as caught:
        ask(sync, connect(server, retry_config=config))
    assert time.monotonic() - begun < 3
    assert caught.value.elapsed < 3
    assert 3 <= caught.value.attempts < 60


# The host's budget, and the limiter. What is left of them stays with the host and port as long as the process
# lives, so these tests use an address of their own: another test's server may get the same port.


@pytest.fixture
def lonely_server(request):
    host = f"127.0.1.{1 + abs(hash(request.node.name)) % 250}"
    with VerifyingServer(host=host) as server:
        yield server
        assert not server.errors


@pytest.mark.smoke
def test_a_server_in_trouble_is_not_drowned(lonely_server, counters, sync):
    """A budget of 500 tokens, 5 for each of these retries; each plain success brings one back."""
    server = lonely_server
    server.put("k", b"data")
    fault = server.faults.add(Fault(faults.html_error(500), times=None))
    store = connect(server, retry_config=retrying(1000, first_ms=0, most_ms=0))
    with pytest.raises(exceptions.GenericError) as caught:
        ask(sync, store)
    assert caught.value.attempts == 101
    with pytest.raises(exceptions.GenericError) as caught:
        ask(sync, store)
    assert caught.value.attempts == 1
    assert counters() == {"retries": 100, "retries_server": 100}
    server.faults.remove(fault)
    for _ in range(10):
        assert ask(sync, store) == b"data"
    fault = server.faults.add(Fault(faults.html_error(500), times=None))
    with pytest.raises(exceptions.GenericError) as caught:
        ask(sync, store)
    assert caught.value.attempts == 3


def test_the_budget_of_one_host_is_not_that_of_another(lonely_server, sync):
    server = lonely_server
    server.faults.add(Fault(faults.html_error(500), times=None))
    with pytest.raises(exceptions.GenericError):
        ask(sync, connect(server, retry_config=retrying(1000, first_ms=0, most_ms=0)))
    with VerifyingServer() as other:
        other.put("k", b"data")
        other.faults.add(Fault(faults.html_error(500), times=3))
        assert ask(sync, connect(other)) == b"data"


def test_throttling_cuts_the_requests_in_flight(lonely_server, sync):
    server = lonely_server
    data = pattern(64 * PART)
    server.put("k", data)
    server.faults.add(Fault(faults.slow_down(), method="GET", nth=3))
    store = connect(server, client_options={"concurrency": 8})
    assert read(sync, store, "into", "k", len(data)) == data
    server.wait_idle()
    server.forget()
    server.faults.add(Fault(faults.delay(0.005), method="GET", times=None))
    assert read(sync, store, "into", "k", len(data)) == data
    assert 3 <= server.peak_in_flight <= 5


def test_a_storm_of_throttles_is_survived_without_waste(server, counters, way):
    """Half of all answers are 503: everything arrives, with little more than the requests that it takes."""
    data = pattern(40 * PART)
    server.put("k", data)
    server.faults.add(Fault(faults.slow_down(), method="GET", times=None, probability=0.5, seed=7))
    store = connect(server, max_retries=30)
    assert read(way, store, "into", "k", len(data)) == data
    useful = sum(request.status == 206 for request in server.find("GET", "k"))
    assert useful == 40
    assert len(server.requests) <= 3 * useful
    assert counters()["retries_throttle"] == len(server.requests) - useful
