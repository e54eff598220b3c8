"""How extensions in Rust rebuild our store: from the arguments that `__getnewargs_ex__` gives.

They take any object whose class is called S3Store and make a store of their own from its arguments, so these
may hold only what obstore knows, each value in a form that it reads. Our own options travel in the state of a
pickle instead. The judge is obstore itself.
"""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest

from s3ext._options import OPTIONS
from s3ext.store import S3Store
from tests.python.oracle import CERTIFICATE, obstore, without_environment
from tests.python.ways import connect

KEYS = {"access_key_id": "AKID", "secret_access_key": "not/a+secret"}

# A value of each option that is other than its default, in the widest type that we take.
VALUES = {
    **dict.fromkeys(("virtual_hosted_style_request", "imdsv1_fallback", "unsigned_payload"), True),
    **dict.fromkeys(("skip_signature", "disable_tagging", "disable_bulk_delete", "request_payer"), True),
    **dict.fromkeys(("raw_keys", "verify_checksums", "allow_http", "http2_only"), True),
    "allow_invalid_certificates": True,
    **dict.fromkeys(("disable_system_certificates", "http2_keep_alive_while_idle"), True),
    **dict.fromkeys(("http1_only", "randomize_addresses"), False),
    **dict.fromkeys(("connect_timeout", "timeout", "read_timeout", "pool_idle_timeout"), 30),
    **dict.fromkeys(("http2_keep_alive_interval", "http2_keep_alive_timeout"), 2.5),
    **dict.fromkeys(("endpoint", "endpoint_url_s3", "endpoint_url_sts"), "https://host:1/base"),
    **dict.fromkeys(("region", "default_region", "user_agent", "default_content_type"), "text"),
    **dict.fromkeys(("role_session_name", "session_token", "proxy_excludes"), "text"),
    **dict.fromkeys(("root_certificate", "proxy_ca_certificate"), CERTIFICATE),
    "profile": "text",
    "host": "host:1",
    "addressing_style": "virtual",
    **dict.fromkeys(("use_accelerate_endpoint", "use_dualstack_endpoint", "use_fips_endpoint"), True),
    **dict.fromkeys(("use_arn_region", "ignore_configured_endpoint_urls"), True),
    "signature_version": "v2",
    "access_key_id": "other",
    "secret_access_key": "other",
    "metadata_endpoint": "http://host:1",
    "checksum_algorithm": "sha256",
    "copy_if_not_exists": "multipart",
    "conditional_put": "disabled",
    "server_side_encryption": "AES256",
    "pool_max_idle_per_host": 3,
    "http2_max_frame_size": 20000,
    "proxy_url": "http://host:1",
    "default_headers": {"X-One": "1"},
    "scheme": "http",
    "lane": "curl",
    "part_size": 1 << 20,
    "concurrency": 8,
}
OURS = {
    *("profile", "host", "scheme", "addressing_style", "signature_version", "raw_keys", "verify_checksums"),
    *("use_accelerate_endpoint", "use_dualstack_endpoint", "use_fips_endpoint", "use_arn_region"),
    *("ignore_configured_endpoint_urls", "lane", "part_size", "concurrency"),
}
RETRY = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=61),
    "backoff": {"base": 3, "init_backoff": timedelta(milliseconds=5)},
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    without_environment(monkeypatch)
    (tmp_path / "config").write_text("[profile text]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


def make(name):
    """Make a store with an option."""
    return S3Store("b", **{**KEYS, name: VALUES[name]})


def test_the_class_has_the_name_that_extensions_look_for():
    assert type(S3Store("b")).__name__ == "S3Store"


@pytest.mark.parametrize("name", VALUES)
def test_obstore_makes_its_own_store_of_our_arguments(name):
    theirs = obstore()
    positional, keywords = make(name).__getnewargs_ex__()
    made = theirs.S3Store(*positional, **keywords)
    shown = {**made.config, **(made.client_options or {})}
    assert positional == ()
    assert made.config["bucket"] == "b"
    assert (name in shown) is (name not in OURS)


@pytest.mark.parametrize("name", VALUES)
def test_a_pickle_and_a_copy_keep_every_option(name):
    store = make(name)
    for again in (pickle.loads(pickle.dumps(store)), copy.copy(store), copy.deepcopy(store)):
        assert again == store
        assert again._settings == store._settings
        assert {**again.config, **(again.client_options or {})}[name]


@pytest.mark.parametrize("value", ["requester", "REQUESTER"])
def test_a_requester_who_pays_travels_as_a_boolean_and_stays_what_was_given(value):
    """Older versions of obstore's core know no other form."""
    store = S3Store("b", request_payer=value)
    assert store.__getnewargs_ex__()[1]["config"]["request_payer"] == "true"
    for again in (pickle.loads(pickle.dumps(store)), copy.copy(store)):
        assert again == store
        assert again.config["request_payer"] == value


@pytest.mark.parametrize(
    "options",
    [
        {"conditional_put": "dynamo:t"},
        {"copy_if_not_exists": "dynamo:t:500"},
        {"checksum_algorithm": "crc32"},
        {"checksum_algorithm": "sha1"},
    ],
    ids=lambda options: "-".join(map("-".join, options.items())),
)
def test_what_obstore_refuses_is_in_the_arguments_so_that_it_says_so(options):
    theirs = obstore()
    _, keywords = S3Store("b", **KEYS, **options).__getnewargs_ex__()
    assert options.items() <= keywords["config"].items()
    (value,) = options.values()
    with pytest.raises(obstore("exceptions").GenericError, match=value):
        theirs.S3Store(**keywords)


def test_every_option_is_here():
    later = {option.name for option in OPTIONS if option.name not in VALUES}
    retry = {option.name for option in OPTIONS if option.section == "retry"}
    # They mean something only together with others, or are the bucket.
    together = {name for name in later if name.startswith(("container_", "sse_", "web_identity", "role_arn"))}
    assert later - retry - together <= {"bucket", "s3_express"}


def test_arguments_are_plain_and_absent_when_not_given():
    assert S3Store("b").__getnewargs_ex__() == ((), {"config": {"bucket": "b"}})
    _, keywords = S3Store(
        "b", prefix="p", retry_config=RETRY, client_options={"part_size": 1 << 20, "timeout": "30s"}
    ).__getnewargs_ex__()
    assert set(keywords) == {"config", "prefix", "retry_config", "client_options"}
    assert {type(value) for value in keywords.values()} == {dict, str}
    assert keywords["client_options"] == {"timeout": "30s"}


def test_retries_and_prefix_reach_the_other_store():
    theirs = obstore()
    ours = S3Store("b", prefix="p/q", retry_config=RETRY)
    made = theirs.S3Store(**ours.__getnewargs_ex__()[1])
    assert (made.prefix, made.retry_config) == (ours.prefix, ours.retry_config)
    assert made == theirs.S3Store("b", prefix="p/q", retry_config=RETRY)


def provider():
    """Give keys; at the top, so that it can be pickled."""
    return {**KEYS, "expires_at": None}


def test_a_provider_reaches_the_other_store():
    theirs = obstore()
    ours = S3Store("b", credential_provider=provider)
    assert theirs.S3Store(**ours.__getnewargs_ex__()[1]).credential_provider is provider


def test_what_the_environment_said_is_read_anew_by_the_other_store(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from-the-environment")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    assert S3Store("b").__getnewargs_ex__() == ((), {"config": {"bucket": "b"}})


def test_a_subclass_is_rebuilt_as_itself():
    store = Special("b", part_size=1 << 20)
    store.mark = "mine"
    again = pickle.loads(pickle.dumps(store))
    assert (type(again), again.mark) == (Special, "mine")
    assert again == store


class Special(S3Store):
    """A store with an attribute of its own."""


def test_the_other_store_reads_what_ours_wrote(server):
    theirs = obstore()
    ours = connect(server, prefix="p")
    ours.put("k", b"data")
    made = theirs.S3Store(**ours.__getnewargs_ex__()[1])
    assert made.get("k").bytes() == b"data"
    assert server.keys() == ["p/k"]
