"""Where we differ from obstore on purpose: what obstore does, and what we do where no other test says so.

README's table of differences leads here; `tests/test_readme.py` says which row is held by which tests. A new
release of obstore that changes one of these fails its test, and then the row has to go or to change.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

import s3ext
from s3ext import exceptions
from s3ext.store import S3Store
from tests.python.oracle import obstore, without_environment
from tests.python.ways import PART, connect
from tests.server import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    Fault,
    ForwardProxy,
    PatternBody,
    VerifyingServer,
    faults,
    make_certificate,
)

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "session+token/of=a/test"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    without_environment(monkeypatch)


def quick(max_retries=2, **changes):
    backoff = {
        "init_backoff": timedelta(milliseconds=5),
        "max_backoff": timedelta(milliseconds=20),
        "base": 2,
    }
    return {
        "max_retries": max_retries,
        "retry_timeout": timedelta(seconds=20),
        "backoff": backoff,
        **changes,
    }


def theirs(server, **options):
    """Make a store of obstore's for a verifying server."""
    if "credential_provider" not in options:
        options = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, **options}
    client = {"allow_http": True} | options.pop("client_options", {})
    options = {"region": REGION, "endpoint": server.url, "retry_config": quick()} | options
    return obstore().S3Store("bucket", client_options=client, **options)


def errors():
    return obstore("exceptions")


# ---- reading ----


@pytest.mark.skipif(
    os.environ.get("S3EXT_SANITIZE") == "thread",
    reason="obstore stalls in large bodies under ThreadSanitizer",
)
def test_obstore_reads_large_objects_in_one_request(server):
    server.put("k", PatternBody(8 * PART))
    store = theirs(server)
    assert len(store.get_range("k", start=0, end=8 * PART)) == len(store.get("k").bytes()) == 8 * PART
    assert len(server.requests) == 2
    with pytest.raises(TypeError):
        store.get_range("k", start=0, end=3, into=bytearray(3))


def test_obstore_mixes_the_bytes_of_an_object_that_changes(server):
    server.put("k", b"0" * 2_000_000)
    change = faults.hook_after(lambda exchange: server.put("k", b"1" * 2_000_000))
    server.faults.add(Fault(change, method="GET", nth=1))
    first, second = theirs(server).get_ranges("k", starts=[0, 1_000_000], lengths=[9, 9], coalesce=0)
    assert {bytes(first), bytes(second)} == {b"0" * 9, b"1" * 9}
    assert not any(request.header("if-match") for request in server.requests)


def test_obstore_refuses_a_whole_answer_to_a_range(server):
    server.put("k", b"0123456789")
    server.faults.add(Fault(faults.ignore_range(), times=None))
    with pytest.raises(errors().GenericError, match="non-partial response"):
        theirs(server).get_range("k", start=5, end=7)


def test_obstore_gives_a_broken_body_without_an_etag_up(server):
    server.put("k", bytes(1000))
    server.faults.add(Fault(faults.drop_headers("ETag"), method="GET", times=None))
    server.faults.add(Fault(faults.cut(100), method="GET"))
    with pytest.raises(errors().GenericError):
        theirs(server).get("k").bytes()
    assert len(server.requests) == 1


# ---- time and retries ----


def test_obstore_ends_a_whole_request_after_its_default(server):
    """Its default of 30 s is in its documentation; that it counts the whole request is shown here by 1 s."""
    server.put("k", bytes(20))
    server.faults.add(Fault(faults.drip(1, 0.1), method="GET", times=None))
    options = {"timeout": "1s"}
    with pytest.raises(errors().GenericError):
        theirs(server, client_options=options, retry_config=quick(0)).get_range("k", start=0, end=20)


def test_obstore_ignores_retry_after(server):
    server.put("k", b"data")
    server.faults.add(Fault(faults.slow_down("3"), times=1))
    begun = time.monotonic()
    assert theirs(server).get_range("k", start=0, end=4) == b"data"
    assert time.monotonic() - begun < 2


def test_obstore_waits_at_least_the_first_back_off(server):
    """Decorrelated jitter: from init_backoff up, never less, and the same after a throttle."""
    server.put("k", b"data")
    server.faults.add(Fault(faults.slow_down(), times=6))
    theirs(server, retry_config=quick(6)).get_range("k", start=0, end=4)
    arrived = [request.arrived for request in server.requests]
    waits = [later - earlier for earlier, later in pairwise(arrived)]
    assert all(0.004 < wait < 0.9 for wait in waits)


def test_obstore_counts_the_time_for_retries_from_the_first_attempt(server):
    server.put("k", b"data")
    server.faults.add(Fault(faults.delay(0.8), times=1))
    server.faults.add(Fault(faults.html_error(500), times=1))
    config = quick(5, retry_timeout=timedelta(seconds=0.5))
    with pytest.raises(errors().GenericError):
        theirs(server, retry_config=config).get_range("k", start=0, end=4)
    assert len(server.requests) == 1


def test_the_time_for_retries_counts_from_the_first_failure(server, way):
    server.put("k", b"data")
    server.faults.add(Fault(faults.delay(0.8), times=1))
    server.faults.add(Fault(faults.html_error(500), times=1))
    store = connect(server, retry_config=quick(5, retry_timeout=timedelta(seconds=0.5)))
    assert way(store, "get_range", "k", start=0, end=4) == b"data"
    assert len(server.requests) == 2


def test_obstore_retries_501(server):
    server.faults.add(Fault(faults.s3_error("NotImplemented", status=501), times=None))
    with pytest.raises(errors().GenericError):
        theirs(server).head("k")
    assert len(server.requests) == 3


def test_obstore_sends_a_conditional_put_again_whose_answer_was_lost(server):
    """And so its own first try makes the second fail."""
    server.faults.add(Fault(faults.lose_answer(), method="PUT", times=1))
    with pytest.raises(errors().AlreadyExistsError):
        theirs(server).put("k", b"data", mode="create")
    assert [request.status for request in server.find("PUT", "k")][1:] == [412]
    assert server.get("k").data == b"data"


def test_obstore_takes_a_conflict_of_creators_for_an_object_that_exists(server):
    server.faults.add(Fault(faults.s3_error("ConditionalRequestConflict"), method="PUT"))
    with pytest.raises(errors().AlreadyExistsError):
        theirs(server).put("k", b"data", mode="create")
    assert server.keys() == []


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "AccessDenied"])
def test_obstore_finds_two_codes_inside_a_copy_s_200(server, code):
    server.faults.add(Fault(faults.late_error(code), method="PUT", times=None))
    if code == "AccessDenied":
        theirs(server).copy("k", "copied")
        assert server.keys() == []
    else:
        with pytest.raises(errors().GenericError):
            theirs(server).copy("k", "copied")
        assert len(server.requests) == 3


# ---- elsewhere ----


def test_obstore_follows_redirects_with_the_session_token(server):
    server.add_credential("AKIDTOKEN00000000001", "token-secret", token=TOKEN)
    keys = {"access_key_id": "AKIDTOKEN00000000001", "secret_access_key": "token-secret", "token": TOKEN}
    with VerifyingServer() as other:
        server.faults.add(Fault(faults.redirect(307, location=f"{other.url}/bucket/k"), times=None))
        with pytest.raises(errors().BaseError):
            theirs(server, **keys).get_range("k", start=0, end=4)
        assert [request.header("x-amz-security-token") for request in other.requests] == [TOKEN]
        other.take_errors()


def test_obstore_signs_no_redirect_anew(server):
    server.put("new", b"data")
    server.faults.add(Fault(faults.redirect(307, location=f"{server.url}/bucket/new"), key="old"))
    with pytest.raises(errors().PermissionDeniedError):
        theirs(server).get_range("old", start=0, end=4)
    old, new = server.requests
    assert old.header("authorization") == new.header("authorization")
    assert [error.code for error in server.take_errors()] == ["SignatureDoesNotMatch"]


def test_obstore_does_not_correct_the_region(server):
    server.faults.add(Fault(faults.redirect(301, region="eu-west-1"), times=None))
    with pytest.raises(errors().GenericError, match="incorrectly configured region"):
        theirs(server).head("k")
    assert len(server.requests) == 1


def test_obstore_reads_no_files(monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\nendpoint_url = https://profile.test\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store = obstore().S3Store("b", access_key_id="AK", secret_access_key="SK")
    url = obstore("").sign(store, "GET", "k", timedelta(minutes=1))
    assert url.startswith("https://s3.us-east-1.amazonaws.com/b/k?")
    assert "%2Fus-east-1%2Fs3%2F" in url


def test_obstore_knows_no_arns():
    arn = "arn:aws:s3:us-west-2:123456789012:accesspoint/p"
    store = obstore().S3Store(arn, access_key_id="AK", secret_access_key="SK", region="us-west-2")
    url = obstore("").sign(store, "GET", "k", timedelta(minutes=1))
    assert url.startswith(f"https://s3.us-west-2.amazonaws.com/{arn}/k?")


def test_obstore_does_not_learn_the_clock(server):
    server.put("k", b"data")
    server.clock_offset = 3600
    with pytest.raises(errors().PermissionDeniedError):
        theirs(server).get_range("k", start=0, end=4)
    assert [error.code for error in server.take_errors()] == ["RequestTimeTooSkewed"]


# ---- processes and signals ----


def script(server, body, **options):
    """Run a script with a store of obstore's in a child process."""
    environment = {"URL": server.url, "KEY": ACCESS_KEY, "SECRET": SECRET_KEY, "REGION": REGION}
    beginning = """
        import os, signal, sys, time
        import obstore
        from obstore.store import S3Store
        store = S3Store("bucket", region=os.environ["REGION"], endpoint=os.environ["URL"],
                        access_key_id=os.environ["KEY"], secret_access_key=os.environ["SECRET"],
                        client_options={"allow_http": True})
    """
    code = textwrap.dedent(beginning) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=ROOT,
        **options,
    )


@pytest.mark.fork
def test_obstore_does_not_work_in_a_child_of_a_process_that_used_it(server):
    obstore()
    server.put("k", b"data")
    done = script(
        server,
        """
        store.head("k")
        pid = os.fork()
        if pid == 0:
            store.head("k")
            os._exit(0)
        end = time.monotonic() + 2
        while time.monotonic() < end and os.waitpid(pid, os.WNOHANG)[0] == 0:
            time.sleep(0.02)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            print("it hung")
        except (ProcessLookupError, ChildProcessError):
            print("it ended")
        """,
    )
    assert done.stdout == "it hung\n", done.stderr


def test_obstore_sees_ctrl_c_when_the_request_is_over(server):
    obstore()
    server.put("k", b"data")
    server.faults.add(Fault(faults.delay(1.5), times=1))
    done = script(
        server,
        """
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        begun = time.monotonic()
        try:
            store.head("k")
        except KeyboardInterrupt:
            pass
        print(time.monotonic() - begun > 1.2)
        """,
    )
    assert done.stdout == "True\n", done.stderr


# ---- credentials ----


def soon(calls, seconds=60, slow=0.6):
    """Make a provider of keys that end soon; from the second call on it takes its time."""

    def provider():
        calls.append(time.monotonic())
        if len(calls) > 1:
            time.sleep(slow)
        return {
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "expires_at": datetime.now(UTC) + timedelta(seconds=seconds),
        }

    return provider


def test_obstore_waits_for_new_keys_while_the_old_ones_are_good(server):
    server.put("k", b"data")
    calls = []
    store = theirs(server, credential_provider=soon(calls))
    store.head("k")
    time.sleep(0.15)
    begun = time.monotonic()
    store.head("k")
    assert time.monotonic() - begun > 0.5
    assert len(calls) == 2


def test_good_keys_are_used_while_new_ones_are_fetched(server, way):
    server.put("k", b"data")
    calls = []
    store = connect(server, credential_provider=soon(calls))
    way(store, "head", "k")
    end = time.monotonic() + 5
    while len(calls) < 2:
        assert time.monotonic() < end
        begun = time.monotonic()
        way(store, "head", "k")
        assert time.monotonic() - begun < 0.5
        time.sleep(0.02)
    begun = time.monotonic()
    way(store, "head", "k")
    assert time.monotonic() - begun < 0.5


def test_obstore_renews_keys_that_do_not_last_ten_times_a_second(server):
    server.put("k", b"data")
    calls = []
    store = theirs(server, credential_provider=soon(calls, slow=0))
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        store.head("k")
    assert 7 <= len(calls) <= 16


def test_keys_that_have_expired_are_waited_for(server, way):
    server.put("k", b"data")
    calls = []
    store = connect(server, credential_provider=soon(calls, seconds=0.5, slow=0.3))
    way(store, "head", "k")
    time.sleep(max(0.0, calls[0] + 0.6 - time.monotonic()))
    seen = len(server.requests)
    way(store, "head", "k")
    assert len(calls) >= 2
    assert server.requests[seen].arrived - calls[1] > 0.25


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_obstore_needs_a_loop_for_an_async_provider(server):
    async def provider():
        return {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "expires_at": None}

    with pytest.raises(errors().UnauthenticatedError, match="no running event loop"):
        theirs(server, credential_provider=provider).head("k")


# ---- errors ----


def test_obstore_s_exceptions_have_no_builtin_bases(server):
    tree = [
        value
        for value in vars(errors()).values()
        if isinstance(value, type) and issubclass(value, errors().BaseError)
    ]
    assert len(tree) > 10
    assert all(not issubclass(kind, (OSError, ValueError, NotImplementedError)) for kind in tree)
    with pytest.raises(FileNotFoundError) as caught:
        theirs(server).head("missing")
    assert type(caught.value) is FileNotFoundError
    assert not any(hasattr(caught.value, name) for name in ("status", "code", "request_id", "attempts"))


def test_obstore_has_one_class_for_errors_of_listings(server):
    server.faults.add(Fault(faults.s3_error("NoSuchBucket"), times=None))
    store = theirs(server)
    for call in (lambda: store.list().collect(), store.list_with_delimiter):
        with pytest.raises(errors().GenericError, match="404"):
            call()


# ---- paths and listings ----


@pytest.mark.parametrize("key", ["a//b", "a\x01b", "a/../b"])
def test_obstore_cannot_list_a_bucket_with_an_odd_key(server, key):
    server.put(key, b"")
    server.put("fine", b"")
    with pytest.raises(errors().InvalidPathError, match="invalid path"):
        theirs(server).list().collect()


@pytest.mark.parametrize("key", ["a//b", "a\x01b", "/a", "a/../b"])
def test_a_bucket_with_an_odd_key_is_listed(server, way, key):
    server.put(key, b"")
    server.put("fine", b"")
    listed = way(connect(server).list(), "collect")
    assert {meta["path"] for meta in listed} == {key, "fine"}
    assert dict(server.requests[0].query)["encoding-type"] == "url"


def test_obstore_takes_an_empty_path_and_long_keys_to_the_server(server):
    store = theirs(server)
    assert store.head("")["path"] == ""
    with pytest.raises(FileNotFoundError):
        store.head("k" * 1025)
    assert len(server.requests) == 2


def test_obstore_refuses_bad_paths_by_builtin_errors(server):
    store = theirs(server)
    for path in ("a//b", "a\0", "\ud800"):
        with pytest.raises(ValueError) as caught:
            store.head(path)
        assert not isinstance(caught.value, errors().BaseError)
        with pytest.raises(exceptions.InvalidPathError):
            connect(server).head(path)
    assert server.requests == []


def test_obstore_deletes_one_object_in_bulk(server):
    server.put("a", b"")
    theirs(server).delete("a")
    assert [(request.method, request.key) for request in server.requests] == [("POST", "")]


def test_one_object_is_deleted_by_one_delete(server, way):
    server.put("a", b"")
    way(connect(server), "delete", "a")
    assert [(request.method, request.key) for request in server.requests] == [("DELETE", "a")]


def test_obstore_deletes_what_it_renames_onto_itself(server):
    """Where the server allows a copy onto itself, as this one is made to do."""
    server.put("a", b"data")
    copied = b"<CopyObjectResult><ETag>&quot;x&quot;</ETag></CopyObjectResult>"
    server.faults.add(Fault(faults.respond(200, copied, {"Content-Type": "application/xml"}), method="PUT"))
    theirs(server).rename("a", "a")
    assert server.keys() == []


# ---- arguments ----


def test_obstore_ignores_ranges_without_an_end_and_sends_an_empty_suffix(server):
    server.put("k", b"0123456789")
    store = theirs(server)
    assert [bytes(body) for body in store.get_ranges("k", starts=[0, 2], ends=[1])] == [b"0"]
    with pytest.raises(errors().GenericError, match="416"):
        store.get("k", options={"range": {"suffix": 0}})


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (np.arange(20, dtype=np.uint8)[::2], True),
        (np.arange(20, dtype=np.int32), True),
        (np.arange(20, dtype=np.uint8).reshape(4, 5), False),
    ],
    ids=["strided", "wide", "two-dimensional"],
)
def test_obstore_takes_buffers_other_than_plain_bytes_for_iterators(server, data, refused):
    if refused:
        with pytest.raises(BufferError):
            theirs(server).put("k", data)
        assert len(server.store.aborted) == 1
    else:
        theirs(server).put("k", data)
        assert len(server.find("POST", "k")) == 2


def test_obstore_takes_one_time_zone_only(server):
    moment = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    with pytest.raises(ValueError, match=r"datetime\.timezone\.utc"):
        theirs(server).get("k", options={"if_modified_since": moment})


# ---- configuration ----


@pytest.mark.parametrize("option", [{"timeout": 5}, {"pool_max_idle_per_host": 3}])
def test_obstore_takes_no_numbers_for_options(option):
    store_class = obstore().S3Store
    with pytest.raises(TypeError):
        store_class("b", client_options=option)
    assert S3Store("b", client_options=option).client_options is not None


@pytest.mark.parametrize(
    ("name", "refused"),
    [("AWS_SKIP_SIGNATURE", True), ("AWS_REGION", False), ("AWS_SESSION_TOKEN", False)],
)
def test_obstore_takes_empty_variables_for_values(server, monkeypatch, name, refused):
    server.put("k", b"data")
    monkeypatch.setenv(name, "")
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "endpoint": server.url}
    with pytest.raises(errors().GenericError):
        obstore().S3Store("bucket", **keys, client_options={"allow_http": True}).head("k")
    assert bool(server.take_errors()) != refused
    assert S3Store("bucket", **keys, allow_http=True).head("k")["size"] == 4


def test_obstore_says_builder_error_where_http_is_not_allowed(server):
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "endpoint": server.url}
    with pytest.raises(errors().GenericError, match="builder error") as caught:
        obstore().S3Store("bucket", **keys).head("k")
    assert "allow_http" not in str(caught.value)
    with pytest.raises(exceptions.GenericError, match="allow_http"):
        S3Store("bucket", **keys).head("k")
    assert server.connections_opened == 0


SHOW = """
from obstore.store import S3Store
print(S3Store("b", access_key_id="a", secret_access_key="hunter2").config)
try:
    S3Store("b", allow_http=True).config
except BaseException as error:
    print(type(error).__name__)
"""


def test_obstore_s_config_panics_over_client_options_and_shows_secrets():
    obstore()
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "hunter2" in done.stdout
    assert done.stdout.endswith("PanicException\n")


def test_obstore_does_not_sign_default_headers_of_listings(server):
    headers = {"x-amz-test": "1"}
    with pytest.raises(errors().GenericError, match="403"):
        theirs(server, client_options={"default_headers": headers}).list().collect()
    assert [error.code for error in server.take_errors()] == ["AccessDenied"]


@pytest.mark.parametrize("operation", ["list", "head", "put", "delete", "get"])
def test_default_headers_are_signed_with_every_request(server, way, operation):
    server.put("k", b"data")
    store = connect(server, default_headers={"x-amz-test": "1"})
    if operation == "list":
        assert len(way(store.list(), "collect")) == 1
    else:
        way(store, operation, "k", *[b"data"] * (operation == "put"))
    (request,) = server.requests
    assert request.header("x-amz-test") == "1"
    assert "x-amz-test" in request.header("authorization")


def test_obstore_takes_the_last_of_two_client_options():
    options = {"timeout": "5s", "TIMEOUT": "6s"}
    assert obstore().S3Store("b", client_options=options).client_options == {"timeout": "6s"}
    with pytest.raises(exceptions.GenericError, match="Duplicate key"):
        S3Store("b", client_options=options)


# ---- functions ----


ARGUMENTS = {
    "copy": ("a", "b"),
    "delete": ("a",),
    "get": ("a",),
    "get_range": ("a",),
    "get_ranges": ("a",),
    "head": ("a",),
    "list_with_delimiter": (),
    "put": ("a", b""),
    "rename": ("a", "b"),
    "sign": ("GET", "a", timedelta(minutes=1)),
}


def test_obstore_s_functions_return_futures(server):
    server.put("k", b"data")

    async def main():
        future = obstore("").head_async(theirs(server), "k")
        assert isinstance(future, asyncio.Future)
        await future

    asyncio.run(main())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_our_functions_return_coroutines_where_no_loop_runs(server, name):
    ranges = {"get_range": {"start": 0, "end": 1}, "get_ranges": {"starts": [0], "ends": [1]}}
    call = getattr(s3ext, f"{name}_async")
    coroutine = call(connect(server), *ARGUMENTS[name], **ranges.get(name, {}))
    assert asyncio.iscoroutine(coroutine)
    coroutine.close()
    assert server.requests == []


def test_obstore_has_functions_where_we_have_methods_too():
    names = [f"{name}{end}" for name in ("sign", "open_reader", "open_writer") for end in ("", "_async")]
    assert all(hasattr(obstore(""), name) for name in names)
    assert not any(hasattr(obstore().S3Store, name) for name in names)
    assert all(hasattr(s3ext, name) and hasattr(S3Store, name) for name in names)


def test_obstore_knows_other_stores():
    module = obstore()
    for name in ("GCSStore", "AzureStore", "HTTPStore", "LocalStore", "MemoryStore"):
        assert hasattr(module, name)
        assert not hasattr(s3ext.store, name)


def test_obstore_copies_bytes_alone_where_it_must_not_overwrite(server):
    """It asks for nothing but the bytes: what begins the copy says nothing of the source's headers."""
    server.put("k", b"data", headers={"content-type": "image/tiff"}, metadata={"a": "1"})
    part = faults.respond(200, b"<CopyPartResult><ETag>&quot;e&quot;</ETag></CopyPartResult>")
    server.faults.add(Fault(part, method="PUT", times=None))
    server.faults.add(Fault(faults.respond(412), method="POST", query="uploadId", times=None))
    with pytest.raises(errors().AlreadyExistsError):
        theirs(server, copy_if_not_exists="multipart").copy("k", "k2", overwrite=False)
    begun = server.requests[0]
    assert (begun.method, "uploads" in begun.query) == ("POST", True)
    assert begun.header("content-type") != "image/tiff"
    assert not begun.header("x-amz-meta-a")
    server.take_errors()


def test_obstore_takes_no_locks():
    for option in ("conditional_put", "copy_if_not_exists"):
        with pytest.raises(errors().BaseError, match="dynamo"):
            obstore().S3Store("bucket", **{option: "dynamo:table"})


def test_obstore_signs_sessions_for_s3():
    bucket = "data--usw2-az1--x-s3"
    with (
        VerifyingServer(buckets=(bucket,), tls=make_certificate(), require_auth=False) as server,
        ForwardProxy({"*.amazonaws.com:443": server.port}) as proxy,
    ):
        store = obstore().S3Store(
            bucket,
            region="us-west-2",
            s3_express=True,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"proxy_url": proxy.url, "allow_invalid_certificates": True},
            retry_config=quick(0),
        )
        with pytest.raises(errors().BaseError):
            store.head("k")
        assert "/s3/aws4_request" in server.find("GET", query="session")[0].header("authorization")
        server.take_errors()


def test_obstore_copies_in_one_request_whatever_the_size(server):
    server.put("k", PatternBody(2_000_000))
    server.faults.add(Fault(faults.s3_error("InvalidRequest"), method="PUT", times=None))
    with pytest.raises(errors().GenericError):
        theirs(server).copy("k", "k2")
    assert [request.method for request in server.requests] == ["PUT"]


def test_obstore_deletes_no_iterables(server):
    with pytest.raises(TypeError):
        theirs(server).delete(path for path in ("a", "b"))
    assert server.requests == []


def test_obstore_writes_spaces_in_tags_as_plus(server):
    theirs(server).put("k", b"", tags={"a b": "c d"})
    assert server.requests[0].header("x-amz-tagging") == "a+b=c+d"


def test_obstore_s_readers_give_less_than_was_asked_for(server):
    server.put("k", b"0123456789")
    reader = obstore("").open_reader(theirs(server), "k", buffer_size=4)
    assert [len(reader.read(3)), len(reader.read(3))] == [3, 1]


def test_obstore_s_readers_mix_the_bytes_of_an_object_that_changes(server):
    server.put("k", b"0" * 8)
    reader = obstore("").open_reader(theirs(server), "k", buffer_size=4)
    first = bytes(reader.read(4))
    server.put("k", b"1" * 8)
    assert first + bytes(reader.read(4)) == b"00001111"


def test_obstore_puts_every_iterator_in_parts(server):
    theirs(server).put("k", iter([b"a", b"b"]))
    assert [request.method for request in server.requests] == ["POST", "PUT", "POST"]


def test_obstore_shows_all_of_its_bytes():
    assert len(repr(obstore("").Bytes(bytes(100_000)))) > 100_000


@contextmanager
def container_agent(server):
    """Serve keys as the agent of a container does; the URL of it."""

    class Container(BaseHTTPRequestHandler):
        def do_GET(self):
            keys = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": TOKEN}
            body = json.dumps({**keys, "Expiration": "2099-01-01T00:00:00Z"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server.add_credential(ACCESS_KEY, SECRET_KEY, token=TOKEN)
    with HTTPServer(("127.0.0.1", 0), Container) as container:
        Thread(target=container.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{container.server_port}/keys"
        container.shutdown()


def in_a_container(module, server, url, token):
    """Make a store that gets its keys from a container's agent."""
    server.put("k", b"data")
    return module.S3Store(
        "bucket",
        endpoint=server.url,
        region=REGION,
        container_credentials_full_uri=url,
        container_authorization_token_file=str(token),
        client_options={"allow_http": True},
    )


def test_obstore_panics_at_a_container_s_token_that_ends_its_line(server, tmp_path):
    (tmp_path / "token").write_text("token")
    with container_agent(server) as url:
        store = in_a_container(obstore(), server, url, tmp_path / "token")
        assert bytes(store.get("k").bytes()) == b"data"
        (tmp_path / "token").write_text("token\n")
        with pytest.raises(BaseException, match=r"InvalidHeaderValue"):
            in_a_container(obstore(), server, url, tmp_path / "token").get("k")
        store = in_a_container(s3ext.store, server, url, tmp_path / "token")
        assert bytes(store.get("k").bytes()) == b"data"


def test_obstore_takes_no_http_for_sts(server, tmp_path):
    (tmp_path / "token").write_text("token")
    store = obstore().S3Store(
        "bucket",
        endpoint=server.url,
        region=REGION,
        role_arn="arn",
        web_identity_token_file=str(tmp_path / "token"),
        endpoint_url_sts=server.url,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )
    with pytest.raises(Exception, match="builder error"):
        store.get("k")


def test_obstore_knows_no_files_of_credentials(server, tmp_path, monkeypatch):
    """It goes on to ask the instance."""
    text = f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    (tmp_path / "credentials").write_text(text)
    (tmp_path / "credentials").chmod(0o600)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    server.put("k", b"data")
    options = {"endpoint": server.url, "region": REGION, "client_options": {"allow_http": True}}
    options["metadata_endpoint"] = "http://127.0.0.1:9"
    options["retry_config"] = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
    with pytest.raises(Exception, match=r"http://127\.0\.0\.1:9/latest/api/token"):
        obstore().S3Store("bucket", **options).get("k")
    assert bytes(S3Store("bucket", **options).get("k").bytes()) == b"data"
