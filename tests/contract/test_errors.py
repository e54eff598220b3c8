"""What an error tells: its class, its attributes, its one line with a hint, and all of it in another process.

The tree of classes itself is held by tests/python/test_exceptions.py.
"""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from s3ext import exceptions
from s3ext.exceptions import (
    AlreadyExistsError,
    BaseError,
    ConnectError,
    GenericError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    ProtocolError,
    RequestTimeoutError,
    ThrottledError,
    UnauthenticatedError,
)
from tests.faults.tools import PART, connect, pattern
from tests.python.ways import Way
from tests.server import Fault, VerifyingServer, faults

ATTRIBUTES = (
    "status",
    "code",
    "request_id",
    "host_id",
    "operation",
    "bucket",
    "key",
    "attempts",
    "elapsed",
    "retryable",
)


@pytest.fixture(params=["sync", "async"])
def way(request):
    way = Way(request.param)
    yield way
    way.close()


def fail(server, way, method="get", *args, **options):
    """Have a call fail, and return the error; refusals that the server made on purpose are taken away."""
    store = connect(server, max_retries=options.pop("max_retries", 0), **options)
    with pytest.raises(BaseError) as caught:
        way(store, method, *(args or ("k",)))
    server.take_errors()
    return caught.value


def refuse(server, status, code, message="words of the server", **match):
    server.faults.add(Fault(faults.s3_error(code, message, status=status), times=None, **match))


# Classes.

CLASSES = [
    (400, "InvalidArgument", GenericError),
    (401, "AnyCode", UnauthenticatedError),
    (403, "AccessDenied", PermissionDeniedError),
    (404, "NoSuchKey", NotFoundError),
    (405, "MethodNotAllowed", GenericError),
    (409, "BucketNotEmpty", AlreadyExistsError),
    (412, "PreconditionFailed", PreconditionError),
    (416, "InvalidRange", GenericError),
    (500, "InternalError", GenericError),
    (503, "SlowDown", ThrottledError),
    (429, "TooManyRequests", ThrottledError),
]
CALLS = {
    "get": ("get", "k"),
    "put": ("put", "k", b"data"),
    "copy": ("copy", "k", "k2"),
    "delete": ("delete", "k"),
    "delete_many": ("delete", ["k", "k2"]),
    "list_with_delimiter": ("list_with_delimiter",),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "code", "kind"), CLASSES)
def test_a_status_has_one_class_in_every_operation(server, way, call, status, code, kind):
    refuse(server, status, code)
    error = fail(server, way, *CALLS[call])
    assert type(error) is kind
    assert (error.status, error.code) == (status, code)


@pytest.mark.parametrize("ending", ["collect", "iteration"])
@pytest.mark.parametrize(("status", "code", "kind"), CLASSES)
def test_a_listing_has_the_class_of_the_status(server, way, ending, status, code, kind):
    refuse(server, status, code)
    stream = connect(server, max_retries=0).list("some")
    with pytest.raises(BaseError) as caught:
        way(stream, "collect") if ending == "collect" else way.pieces(stream)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.operation == "list"
    assert caught.value.bucket == "bucket"


def test_not_modified_is_its_own_class(server, way):
    e_tag = connect(server).put("k", b"data")["e_tag"]
    store = connect(server)
    with pytest.raises(NotModifiedError) as caught:
        way(store, "get", "k", options={"if_none_match": e_tag})
    assert caught.value.status == 304


@pytest.mark.parametrize(
    ("mode", "status", "code", "kind"),
    [
        ("create", 412, "PreconditionFailed", AlreadyExistsError),
        ("create", 304, "NotModified", AlreadyExistsError),
        ({"e_tag": '"x"'}, 412, "PreconditionFailed", PreconditionError),
        ({"e_tag": '"x"'}, 404, "NoSuchKey", PreconditionError),
    ],
)
def test_a_conditional_put_has_classes_of_its_own(server, way, mode, status, code, kind):
    refuse(server, status, code, method="PUT")
    store = connect(server)
    with pytest.raises(kind) as caught:
        way(store, "put", "k", b"data", mode=mode)
    assert (type(caught.value), caught.value.status) == (kind, status)


def test_an_object_that_changes_while_it_is_read_is_a_precondition_error(server, way):
    server.put("k", pattern(4 * PART))
    store = connect(server)
    result = way(store, "get", "k")
    server.put("k", pattern(4 * PART, seed=1))
    with pytest.raises(PreconditionError) as caught:
        way(result, "bytes")
    assert caught.value.key == "k"
    assert caught.value.bucket == "bucket"


def test_a_deadline_is_a_timeout_error(server, way):
    server.put("k", b"data")
    server.faults.add(Fault(faults.stall("answer"), times=None))
    error = fail(server, way, client_options={"read_timeout": 0.2})
    assert type(error) is RequestTimeoutError
    assert isinstance(error, TimeoutError)
    assert error.retryable
    assert 0.1 < error.elapsed < 20


def test_nobody_listening_is_a_connection_error(way):
    with VerifyingServer() as server:
        url = server.url
    store = connect(url, max_retries=0)
    with pytest.raises(ConnectError) as caught:
        way(store, "get", "k")
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.status is None
    assert "does a server listen there?" in str(caught.value)


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_is_a_connection_error(server, way, reset):
    server.put("k", b"data")
    server.faults.add(Fault(faults.drop(reset=reset), times=None))
    error = fail(server, way)
    assert type(error) is ConnectError
    assert isinstance(error, ConnectionError)
    assert error.retryable


def test_an_answer_that_is_not_what_was_asked_for_is_a_protocol_error(server, way):
    server.put("k", pattern(1000))
    server.faults.add(Fault(faults.content_range("start"), times=None))
    store = connect(server, max_retries=0)
    with pytest.raises(ProtocolError) as caught:
        way(store, "get_range", "k", start=10, end=20)
    assert isinstance(caught.value, GenericError)


# Attributes.


def test_an_error_has_every_attribute(server, way):
    refuse(server, 404, "NoSuchKey", "it is not here")
    error = fail(server, way, "get", "some/k", prefix="within")
    assert {name for name in ATTRIBUTES if not hasattr(error, name)} == set()
    assert (error.status, error.code) == (404, "NoSuchKey")
    assert (error.operation, error.bucket, error.key) == ("get", "bucket", "within/some/k")
    assert error.request_id.startswith("REQ")
    assert error.host_id == "verifying-server"
    assert error.attempts == 1
    assert 0 <= error.elapsed < 30
    assert error.retryable is False


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (("get", "k"), "get"),
        (("head", "k"), "head"),
        (("put", "k", b"data"), "put"),
        (("copy", "k", "k2"), "copy"),
        (("rename", "k", "k2"), "rename"),
        (("delete", "k"), "delete"),
        (("delete", ["k"]), "delete"),
        (("list_with_delimiter",), "list_with_delimiter"),
    ],
)
def test_an_error_names_the_operation(server, way, call, name):
    refuse(server, 403, "AccessDenied")
    error = fail(server, way, *call)
    assert error.operation == name
    assert error.bucket == "bucket"


def test_attempts_are_counted_and_a_passing_cause_is_retryable(server, way):
    refuse(server, 500, "InternalError")
    error = fail(server, way, max_retries=2)
    assert error.attempts == 3
    assert error.retryable is True
    assert error.elapsed > 0


def test_a_key_that_a_bulk_delete_refused_is_in_the_error(server, way):
    server.faults.add(
        Fault(
            faults.respond(
                200,
                b"<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
                b"<Message>nope</Message></Error></DeleteResult>",
            ),
            method="POST",
        )
    )
    error = fail(server, way, "delete", ["a", "b"])
    assert type(error) is GenericError
    assert (error.operation, error.bucket, error.key, error.code) == ("delete", "bucket", "b", "AccessDenied")
    assert (error.status, error.attempts) == (200, 1)
    assert "nope" in str(error)


# The text.


def test_the_message_is_one_line_with_what_where_and_why(server, way):
    refuse(server, 404, "NoSuchKey", "the first line\nand a second")
    error = fail(server, way, "get", "some/k")
    text = str(error)
    assert len(text.splitlines()) == 1
    assert text.startswith("GET bucket/some/k failed: 404 NoSuchKey: the first line")
    assert error.request_id in text
    assert "attempts=1" in text
    assert f"127.0.0.1:{server.port}" in text


SSE_C = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided "
    "to retrieve the object."
)


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (400, "AuthorizationHeaderMalformed", "", "region=..."),
        (301, "PermanentRedirect", "", "region=..."),
        (403, "RequestTimeTooSkewed", "", "is this machine's clock right?"),
        (403, "AccessDenied", "", "give request_payer=True"),
        (400, "ExpiredToken", "", "the session token has expired"),
        (400, "TokenRefreshRequired", "", "the session token has expired"),
        (400, "InvalidToken", "", "is the session token whole"),
        (403, "SignatureDoesNotMatch", "", "is the secret access key right?"),
        (403, "InvalidAccessKeyId", "", "meant for this endpoint?"),
        (404, "NoSuchBucket", "", "are the bucket's name and the endpoint right?"),
        (403, "InvalidObjectState", "", "must be restored"),
        (400, "InvalidRequest", SSE_C, "sse_customer_key_base64"),
    ],
)
def test_a_usual_mistake_has_a_hint_at_the_end(server, way, status, code, message, hint):
    refuse(server, status, code, message or "words of the server")
    text = str(fail(server, way))
    assert hint in text.rpartition("; ")[2]
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"request_payer": True}, None), ({"skip_signature": True}, "because of skip_signature")],
)
def test_the_hint_at_a_refusal_looks_at_the_configuration(server, way, options, hint):
    refuse(server, 403, "AccessDenied")
    text = str(fail(server, way, **options))
    assert "request_payer=True" not in text
    assert text.endswith(hint) if hint else text.endswith(")")


def test_the_wrong_region_is_named_with_the_right_one(server, way):
    server.create_bucket("far", region="eu-south-1")
    server.put("k", b"data", bucket="far")
    text = str(fail(server, way, bucket="far"))
    assert "eu-south-1" in text
    assert text.endswith("give the bucket's region as region=...")


def test_a_head_that_is_refused_without_a_reason_says_what_it_may_be(server, way):
    server.faults.add(Fault(faults.respond(400), times=None))
    text = str(fail(server, way, "head", "k"))
    assert "expired session tokens" in text


def test_what_a_provider_said_is_not_followed_by_the_advice_to_have_one(server, way):
    def provider():
        raise LookupError("the vault is closed")

    error = fail(server, way, credential_provider=provider)
    assert type(error) is UnauthenticatedError
    assert "the vault is closed" in str(error)
    assert "credential_provider" not in str(error)
    assert isinstance(error.__cause__, LookupError)


# Elsewhere.


def state(error):
    return type(error), str(error), {name: getattr(error, name) for name in ATTRIBUTES}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize(("status", "code", "kind"), CLASSES)
def test_a_raised_error_is_the_same_after_a_copy(server, again, status, code, kind):
    refuse(server, status, code)
    error = fail(server, Way("sync"))
    error.add_note("seen before")
    other = again(error)
    assert other is not error
    assert state(other) == state(error)
    assert other.__notes__ == ["seen before"]


def raise_in_worker(url, name):
    """Run in another process."""
    connect(url, max_retries=0).get(name)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_error_comes_out_of_a_worker_process_whole(server, method):
    error = fail(server, Way("sync"), "get", "missing")
    with (
        ProcessPoolExecutor(1, mp_context=get_context(method)) as pool,
        pytest.raises(NotFoundError) as caught,
    ):
        pool.submit(raise_in_worker, server.url, "missing").result(60)
    there = caught.value
    assert (there.status, there.code, there.bucket, there.key) == (404, "NoSuchKey", "bucket", "missing")
    assert there.request_id not in {None, error.request_id}
    assert str(there).startswith("GET bucket/missing failed: 404 NoSuchKey")
    assert isinstance(there, FileNotFoundError)


# The mapping of obspec, which goes by names.


@pytest.mark.parametrize(
    "name",
    [
        "NotFoundError",
        "InvalidPathError",
        "NotSupportedError",
        "AlreadyExistsError",
        "PreconditionError",
        "NotModifiedError",
        "PermissionDeniedError",
        "UnauthenticatedError",
    ],
)
def test_obspec_maps_our_exceptions_to_its_own(name):
    obspec = pytest.importorskip("obspec.exceptions", reason="obspec is not installed")
    ours = getattr(exceptions, name)("what happened", status=404)
    theirs = obspec.map_exception(ours)
    assert type(theirs) is getattr(obspec, name)
    assert str(theirs) == "what happened"


def test_every_name_that_obspec_knows_is_covered():
    obspec = pytest.importorskip("obspec.exceptions", reason="obspec is not installed")
    builtins = {"FileNotFoundError", "NotImplementedError"}  # which obstore raises; ours derive from them
    known = set(obspec._name_mapping) - builtins
    assert known <= set(exceptions.__all__)


@pytest.mark.parametrize("name", ["GenericError", "ThrottledError", "RequestTimeoutError", "ChecksumError"])
def test_obspec_leaves_an_exception_that_it_does_not_know(name):
    obspec = pytest.importorskip("obspec.exceptions", reason="obspec is not installed")
    ours = getattr(exceptions, name)("what happened")
    assert obspec.map_exception(ours) is ours


def test_a_generic_check_with_obspec_works_on_a_store(server):
    obspec = pytest.importorskip("obspec.exceptions", reason="obspec is not installed")
    error = fail(server, Way("sync"), "head", "missing")
    assert isinstance(obspec.map_exception(error), obspec.NotFoundError)
