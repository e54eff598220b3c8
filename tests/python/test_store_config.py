"""A store as an object: making, showing, comparing, copying and pickling it, with obstore beside it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3ext._store_base import StoreConfiguration
from s3ext.exceptions import GenericError, InvalidPathError, UnknownConfigurationKeyError
from s3ext.store import S3Store, from_url
from tests.python.oracle import CERTIFICATE, obstore, outcome, without_environment

pytestmark = pytest.mark.smoke

KEYS = {"access_key_id": "AK", "secret_access_key": "hunter2", "session_token": "hunter3"}
RETRY = {"max_retries": 3, "backoff": {"base": 3}}


class Provider:
    """A provider that can be pickled and compared."""

    config = {"region": "eu-west-3"}  # noqa: RUF012 - as a user may write it

    def __init__(self, name="p"):
        self.name = name

    def __call__(self):
        raise AssertionError("nothing may call it at construction")

    def __eq__(self, other):
        return isinstance(other, Provider) and self.name == other.name

    __hash__ = None


class Sub(S3Store):
    """A subclass with an `__init__` of its own, as contract 1.1 allows."""

    def __init__(self, *args, **kwargs):
        self.seen = args, sorted(kwargs)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    without_environment(monkeypatch)


# ---- construction ----


def test_only_the_bucket_may_be_positional():
    assert (
        S3Store("b")
        == S3Store(bucket="b")
        == S3Store(config={"bucket": "b"})
        == S3Store(None, bucket_name="b")
    )
    for function, args in (
        (S3Store, ("b", "c")),
        (S3Store.from_url, ("s3://b", "c")),
        (from_url, ("s3://b", "c")),
    ):
        with pytest.raises(TypeError, match="positional argument"):
            function(*args)
    with pytest.raises(TypeError, match="multiple values"):
        S3Store("b", bucket="b")


def test_a_store_needs_a_bucket():
    for arguments in ({}, {"bucket": ""}, {"config": {}}):
        with pytest.raises(GenericError, match="Missing bucket name"):
            S3Store(**arguments)


def test_class_and_module_have_the_names_that_others_look_for():
    assert S3Store.__name__ == "S3Store"
    assert S3Store.__module__ == "s3ext.store"
    assert issubclass(S3Store, StoreConfiguration)


@pytest.mark.parametrize(
    ("prefix", "shown"), [(None, None), ("", ""), ("/", ""), ("/a/b/", "a/b"), ("a b", "a b")]
)
def test_the_prefix_is_normalised(prefix, shown):
    assert S3Store("b", prefix=prefix).prefix == shown
    assert obstore().S3Store("b", prefix=prefix).prefix == shown


@pytest.mark.parametrize("prefix", ["a//b", "..", "a\n", "é" * 513])
def test_a_bad_prefix_is_refused(prefix):
    with pytest.raises(InvalidPathError, match="Could not parse path: "):
        S3Store("b", prefix=prefix)


@pytest.mark.parametrize("prefix", [1, b"a"])
def test_a_prefix_must_be_str(prefix):
    with pytest.raises(TypeError, match="a path must be a str"):
        S3Store("b", prefix=prefix)


def test_properties_give_back_what_was_given():
    provider = Provider()
    store = S3Store(
        "b",
        prefix="p",
        config={"AWS_SKIP_SIGNATURE": "YES"},
        request_payer=True,
        client_options={"timeout": timedelta(seconds=61.5), "default_headers": {"X-A": "1"}},
        retry_config=RETRY,
        credential_provider=provider,
    )
    assert store.config == {
        "bucket": "b",
        "skip_signature": "YES",
        "request_payer": "true",
        "region": "eu-west-3",
    }
    assert store.client_options == {"timeout": "1m 1s 500ms", "default_headers": {"x-a": b"1"}}
    assert store.retry_config["max_retries"] == 3
    assert store.retry_config["retry_timeout"] == timedelta(minutes=3)
    assert store.credential_provider is provider


@pytest.mark.parametrize(
    "name", ["prefix", "config", "client_options", "retry_config", "credential_provider"]
)
def test_properties_cannot_be_set(name):
    with pytest.raises(AttributeError):
        setattr(S3Store("b"), name, None)


def test_changing_what_a_property_returned_does_not_change_the_store():
    store = S3Store("b", client_options={"default_headers": {"a": "1"}}, retry_config={})
    store.config["bucket"] = "other"
    store.client_options["default_headers"]["a"] = b"2"
    store.client_options["timeout"] = "5s"
    store.retry_config["max_retries"] = 99
    store.retry_config["backoff"]["base"] = 99
    assert store == S3Store("b", client_options={"default_headers": {"a": "1"}}, retry_config={})


def test_changing_what_was_given_does_not_change_the_store():
    headers, retry = {"a": "1"}, {"backoff": {"base": 3}}
    store = S3Store("b", client_options={"default_headers": headers}, retry_config=retry)
    headers["a"] = "2"
    retry["backoff"]["base"] = 9
    assert store.client_options == {"default_headers": {"a": b"1"}}
    assert store.retry_config["backoff"]["base"] == 3


# ---- repr and equality ----


@pytest.mark.parametrize("prefix", [None, "", "x/y"])
def test_repr_is_obstores(prefix):
    for cls in (S3Store, Sub):
        assert repr(cls("b", prefix=prefix)) == repr(obstore().S3Store("b", prefix=prefix))
    assert str(S3Store("b", prefix="x/y")) == 'S3Store(bucket="b", prefix="x/y")'


def test_a_bucket_from_the_environment_is_shown_by_repr_where_obstore_panics(monkeypatch):
    monkeypatch.setenv("AWS_BUCKET", "env")
    store = S3Store()
    assert repr(store) == 'S3Store(bucket="env")'
    assert store.config == {}


def test_no_repr_shows_a_secret():
    store = S3Store("b", **KEYS, client_options={"proxy_url": "http://u:hunter4@h"})
    for shown in (store, store.config, store.client_options, store._settings):
        assert "hunter" not in repr(shown)
        assert "hunter" not in str(shown)
    assert store.config["secret_access_key"] == "hunter2"
    assert store.config == {"bucket": "b", **KEYS}


DIFFERENT = [
    {"prefix": "p"},
    {"region": "r"},
    {"client_options": {}},
    {"client_options": {"timeout": "5s"}},
    {"client_options": {"lane": "curl"}},
    {"retry_config": {}},
    {"retry_config": RETRY},
    {"credential_provider": Provider()},
    {"credential_provider": Provider("q")},
    {"bucket": "c"},
]


@pytest.mark.parametrize("one", range(len(DIFFERENT)))
def test_stores_are_equal_when_they_were_given_the_same(one):
    first = S3Store(**{"bucket": "b", **DIFFERENT[one]})
    for index, arguments in enumerate(DIFFERENT):
        second = S3Store(**{"bucket": "b", **arguments})
        assert (first == second) == (index == one)
        assert (first != second) == (index != one)


def test_equality_has_no_eye_for_spelling_subclass_or_environment(monkeypatch):
    store = S3Store("b", region="r", skip_signature=True)
    assert store == Sub("b", AWS_REGION="r", skip_signature="true")
    assert Sub("b", AWS_REGION="r", skip_signature="true") == store
    monkeypatch.setenv("AWS_REGION", "other")
    assert store == S3Store("b", region="r", skip_signature=True)


@pytest.mark.parametrize("other", [1, None, "S3Store", object()], ids=["int", "None", "str", "object"])
def test_nothing_else_equals_a_store(other):
    assert S3Store("b") != other
    assert (S3Store("b") == other) is False


def test_stores_cannot_be_hashed():
    with pytest.raises(TypeError, match="unhashable type"):
        hash(S3Store("b"))


# ---- subclasses and attributes ----


def test_a_subclass_gets_its_own_instances_from_urls_and_its_init_is_called():
    store = Sub.from_url("s3://b/p", region="r")
    assert type(store) is Sub
    assert (store.prefix, store._settings.region) == ("p", "r")
    assert store.seen == (
        (),
        ["client_options", "config", "credential_provider", "prefix", "region", "retry_config"],
    )


def test_attributes_may_be_added():
    store = S3Store("b")
    store.mine = 1
    assert store.__dict__ == {"mine": 1}


# ---- from_url ----

URL = "https://bkt.s3.us-west-2.amazonaws.com/p"
FROM_URL = [
    ({}, {"bucket": "bkt", "region": "us-west-2", "virtual_hosted_style_request": "true"}),
    (
        {"config": {"aws_region": "r"}},
        {"bucket": "bkt", "region": "r", "virtual_hosted_style_request": "true"},
    ),
    (
        {"config": {"AWS_BUCKET_NAME": "x", "virtual_hosted_style_request": False}},
        {"bucket": "x", "region": "us-west-2", "virtual_hosted_style_request": "false"},
    ),
    (
        {"default_region": "q"},
        {
            "bucket": "bkt",
            "region": "us-west-2",
            "virtual_hosted_style_request": "true",
            "default_region": "q",
        },
    ),
    (
        {"credential_provider": Provider()},
        {"bucket": "bkt", "region": "us-west-2", "virtual_hosted_style_request": "true"},
    ),
]


@pytest.mark.parametrize("index", range(len(FROM_URL)))
def test_config_and_provider_are_laid_over_and_under_the_url(index):
    arguments, config = FROM_URL[index]
    store = S3Store.from_url(URL, **arguments)
    assert store.config == config
    assert store.prefix == "p"
    assert obstore().S3Store.from_url(URL, **arguments).config == config


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"region": "us-west-2"}, "GenericError"),
        ({"bucket": "bkt"}, "GenericError"),
        ({"virtual_hosted_style_request": True}, "GenericError"),
        ({"config": {"region": "r"}, "region": "r"}, "GenericError"),
        ({"prefix": "x"}, "UnknownConfigurationKeyError"),
        ({"foo": "x"}, "UnknownConfigurationKeyError"),
    ],
    ids=repr,
)
def test_keywords_that_contradict_the_url_are_refused(arguments, error):
    for cls in (S3Store, obstore().S3Store):
        assert outcome(cls.from_url, URL, **arguments) == (None, error)
    assert outcome(from_url, URL, **arguments) == (None, error)


def test_a_config_given_twice_is_still_refused_over_a_url():
    with pytest.raises(GenericError, match="Duplicate key aws_region"):
        S3Store.from_url(URL, config={"region": "a", "aws_region": "b"})


def test_an_endpoint_in_the_url_is_not_redirected_by_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://env")
    assert S3Store.from_url("https://minio.example/b")._settings.host == "minio.example"


# ---- pickling ----

STORES = {
    "bucket": lambda: S3Store("b"),
    "prefix": lambda: S3Store("b", prefix="x/y"),
    "empty prefix": lambda: S3Store("b", prefix=""),
    "keys": lambda: S3Store("b", **KEYS, region="r"),
    "client": lambda: S3Store(
        "b", client_options={"timeout": "5s", "default_headers": {"A": "1"}, "root_certificate": CERTIFICATE}
    ),
    "empty client": lambda: S3Store("b", client_options={}),
    "client keyword": lambda: S3Store("b", allow_http=True),
    "our client option": lambda: S3Store("b", client_options={"lane": "curl", "timeout": "5s"}),
    "our keyword": lambda: S3Store("b", part_size=65536),
    "both keywords": lambda: S3Store("b", part_size=65536, allow_http=True),
    "our config": lambda: S3Store("b", raw_keys=False),
    "retry": lambda: S3Store("b", retry_config=RETRY),
    "provider": lambda: S3Store("b", credential_provider=Provider()),
    "s3 endpoint": lambda: S3Store("b", aws_endpoint_url_s3="https://h", **KEYS),
    "url": lambda: S3Store.from_url("https://b.s3.dualstack.us-west-2.amazonaws.com/p"),
    "minio": lambda: from_url("http://localhost:9000/b/p", client_options={"allow_http": True}),
    "subclass": lambda: Sub("b", prefix="x", lane="curl"),
}


def ways():
    yield pytest.param(copy.copy, id="copy")
    yield pytest.param(copy.deepcopy, id="deepcopy")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pytest.param(
            lambda store, p=protocol: pickle.loads(pickle.dumps(store, p)), id=f"pickle-{protocol}"
        )


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("way", [*ways()])
def test_a_copy_is_the_same_store(name, way, monkeypatch):
    store = STORES[name]()
    monkeypatch.setenv("AWS_CONNECT_TIMEOUT", "7s")
    same_now = STORES[name]()
    again = way(store)
    assert type(again) is type(store)
    assert again == store
    for what in ("config", "client_options", "retry_config", "prefix"):
        assert getattr(again, what) == getattr(store, what), what
    assert repr(again) == repr(store)
    # The environment is read where the copy is made.
    assert again._settings == same_now._settings


@pytest.mark.parametrize("protocol", [0, 1])
def test_the_first_two_protocols_are_refused_as_by_obstore(protocol):
    with pytest.raises(TypeError, match="protocol 2 or newer"):
        pickle.dumps(S3Store("b"), protocol)
    assert outcome(pickle.dumps, obstore().S3Store("b"), protocol) == (None, "TypeError")


def test_added_attributes_are_copied():
    store = S3Store("b")
    store.mine = [1]
    again = pickle.loads(pickle.dumps(store))
    assert again.mine == [1]
    assert copy.deepcopy(store).mine is not store.mine


def test_a_provider_that_cannot_be_pickled_fails_in_pickle():
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(S3Store("b", credential_provider=lambda: None))


def test_keys_from_the_environment_are_not_in_the_pickle(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "EK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    store = S3Store("b")
    assert store._settings.secret_access_key == "hunter2"
    data = pickle.dumps(store)
    assert b"hunter2" not in data
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    assert pickle.loads(data)._settings.secret_access_key == "hunter3"


def test_keys_given_in_code_are_in_the_pickle():
    assert b"hunter2" in pickle.dumps(S3Store("b", **KEYS))


# ---- __getnewargs_ex__, the protocol between libraries ----


@pytest.mark.parametrize("name", [name for name in STORES if name != "subclass"])
def test_obstore_makes_the_same_store_of_our_arguments(name):
    store = STORES[name]()
    args, kwargs = store.__getnewargs_ex__()
    assert args == ()
    assert type(kwargs["config"]) is dict
    theirs = obstore().S3Store(*args, **kwargs)
    assert theirs.prefix == store.prefix
    ours = {"lane", "part_size", "concurrency", "raw_keys"}
    assert theirs.config == {key: value for key, value in store.config.items() if key not in ours}
    client = {key: value for key, value in (store.client_options or {}).items() if key not in ours}
    assert (theirs.client_options or {}) == client
    assert theirs.retry_config == store.retry_config
    assert theirs.credential_provider == store.credential_provider


@pytest.mark.parametrize("name", ["bucket", "prefix", "keys", "retry", "provider", "empty client"])
def test_our_arguments_are_those_of_obstore(name):
    store = STORES[name]()
    _, kwargs = store.__getnewargs_ex__()
    assert obstore().S3Store(**kwargs).__getnewargs_ex__() == ((), kwargs)


# A store of ours and one of obstore's, given the same.
options = st.fixed_dictionaries(
    {},
    optional={
        "region": st.sampled_from(["eu-west-1", "auto", "x_y.1"]),
        "default_region": st.sampled_from(["eu-west-1", "auto"]),
        "endpoint": st.sampled_from(
            ["https://h", "http://h:9000/", "https://h:443/base/", "https://[::1]:9000"]
        ),
        "virtual_hosted_style_request": st.booleans() | st.sampled_from(["YES", "off"]),
        "unsigned_payload": st.booleans(),
        "request_payer": st.sampled_from(["requester", "true", "no"]),
        "session_token": st.just("T"),
        "disable_tagging": st.sampled_from(["1", "0"]),
        "conditional_put": st.just("etag"),
    },
)
clients = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.sampled_from(["30s", timedelta(seconds=90)]),
        "allow_http": st.booleans(),
        "pool_max_idle_per_host": st.just("3"),
        "user_agent": st.just("me/1"),
        "default_headers": st.sampled_from([{}, {"X-A": "1"}]),
    },
)


@given(options, clients, st.sampled_from([None, "", "p/q"]))
def test_a_store_shows_what_obstore_shows(config, client_options, prefix):
    arguments = {
        **config,
        "access_key_id": "AK",
        "secret_access_key": "SK",
        "client_options": client_options,
        "prefix": prefix,
    }
    mine, theirs = S3Store("b", **arguments), obstore().S3Store("b", **arguments)
    assert mine.config == theirs.config
    assert mine.client_options == theirs.client_options
    assert mine.prefix == theirs.prefix
    arguments = theirs.__getnewargs_ex__()[1]
    if config.get("request_payer") == "requester":
        arguments["config"]["request_payer"] = "true"
    assert mine.__getnewargs_ex__() == ((), arguments)


@given(options)
def test_requests_go_where_obstores_go(config):
    theirs = obstore().S3Store("b", access_key_id="AK", secret_access_key="SK", **config)
    found = S3Store("b", access_key_id="AK", secret_access_key="SK", **config)._settings
    path = found.base_path if found.bucket_in_host else f"{found.base_path}/b"
    url = obstore("").sign(theirs, "GET", "k", timedelta(minutes=1))
    base = url.partition("?")[0]
    # obstore puts two slashes behind an endpoint that ends in one, when the host names the bucket.
    base = base.replace("//k", "/k") if base.count("//") > 1 else base
    assert base == f"{found.scheme}://{found.host.format(region=found.region)}{path}/k"
    assert f"%2F{found.region}%2Fs3%2F" in url


# ---- what a store costs ----


def test_making_a_store_imports_nothing_heavy():
    code = (
        "import sys; from s3ext.store import S3Store; "
        "S3Store('b', prefix='p', region='r', client_options={'timeout': 5}, retry_config={}); "
        "heavy = {'asyncio', 'dataclasses', 'difflib', 'inspect', 'json', 're', 'typing', 'urllib'}; "
        "print(*heavy & {*sys.modules})"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout.split() == []


def test_an_unknown_key_names_the_nearest_one():
    with pytest.raises(UnknownConfigurationKeyError, match="Did you mean 'skip_signature'"):
        S3Store("b", skip_signatur=True)


def test_types_come_with_the_module():
    from s3ext import _types, store

    for name in (
        "S3Config",
        "ClientConfig",
        "RetryConfig",
        "BackoffConfig",
        "S3Credential",
        "S3CredentialProvider",
    ):
        assert getattr(store, name) is getattr(_types, name)
        assert name in store.__all__
    with pytest.raises(AttributeError, match="has no attribute 'GCSStore'"):
        _ = store.GCSStore
