"""The order of the chain, and what it says: who answers, and why nobody does."""

from __future__ import annotations

import copy
import os
import pickle
import time
from datetime import timedelta

import pytest

from s3ext._clients import client_for
from s3ext._credentials.chain import STEPS, Chain
from s3ext.exceptions import GenericError, UnauthenticatedError
from s3ext.store import S3Store
from tests.credentials.tools import connect, run_script, section, source_of
from tests.server import REGION, VerifyingServer

WEB, ROLE = "canary-web-token", "arn:aws:iam::123456789012:role/r"


def lay_environment(home, services):
    name, secret, token, _ = services.keys()
    home.set(AWS_ACCESS_KEY_ID=name, AWS_SECRET_ACCESS_KEY=secret, AWS_SESSION_TOKEN=token)


def lay_web_identity(home, services):
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB), AWS_ROLE_ARN=ROLE)
    home.set(AWS_ENDPOINT_URL_STS=services.url)


def lay_profile(home, services):
    home.write("credentials", section("default", services.keys()[:3]))


def lay_s3cfg(home, services):
    name, secret, token, _ = services.keys()
    home.write(".s3cfg", f"[default]\naccess_key = {name}\nsecret_key = {secret}\naccess_token = {token}\n")


def lay_awssecret(home, services):
    services.server.add_credential("AKIAAWSSECRET", "canary-awssecret")
    home.write(".awssecret", "AKIAAWSSECRET canary-awssecret\n")


def lay_container(home, services):
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")


def lay_metadata(home, services):
    home.set(AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=services.url)


# In the order of the issue; keys of the environment are none of the chain's business, but come first.
ORDER = [
    (lay_environment, None),
    (lay_web_identity, "web identity, role "),
    (lay_profile, "profile 'default' in "),
    (lay_s3cfg, "profile 'default' in "),
    (lay_awssecret, ".awssecret"),
    (lay_container, "container credentials at 127.0.0.1:"),
    (lay_metadata, "instance metadata, role 'my-role'"),
]


@pytest.mark.parametrize("first", range(len(ORDER)), ids=[lay.__name__ for lay, _ in ORDER])
def test_the_first_source_that_is_there_answers(home, server, services, first):
    for lay, _ in ORDER[first:]:
        lay(home, services)
    store = connect(server)
    said = ORDER[first][1]
    if said is None:
        assert store._settings.credentials == "static"
        store.put("k", b"data")
    else:
        assert said in source_of(store)
    asked = {request.path for request in services.requests}
    assert asked == {
        lay_web_identity: {"/"},
        lay_container: {"/container"},
        lay_metadata: {
            "/latest/api/token",
            "/latest/meta-data/iam/security-credentials/",
            "/latest/meta-data/iam/security-credentials/my-role",
        },
    }.get(ORDER[first][0], set())


def test_every_step_is_named_when_none_has_keys(home, server, way):
    with pytest.raises(UnauthenticatedError) as caught:
        way(connect(server), "head", "k")
    text = str(caught.value)
    places = [text.index(f"{step.name}: ") for step in STEPS]
    assert places == sorted(places)
    for words in (
        "AWS_ACCESS_KEY_ID is not set",
        f"there is no profile 'default' in {home.path}/.aws/credentials, {home.path}/.aws/config",
        "skip_signature=True for a public bucket",
        "AWS_EC2_METADATA_DISABLED",
    ):
        assert words in text
    assert isinstance(caught.value.__cause__, UnauthenticatedError)
    assert (caught.value.operation, caught.value.bucket, caught.value.key) == ("head", "bucket", "k")


def test_a_profile_in_code_shuts_out_what_is_nobody_s_profile(home, server, services):
    for lay in (lay_environment, lay_web_identity, lay_profile, lay_awssecret):
        lay(home, services)
    home.write("config", "[profile bare]\nregion = eu-west-1\n")
    with pytest.raises(UnauthenticatedError) as caught:
        connect(server, profile="bare").head("k")
    assert "environment: not asked, because of profile='bare'" in str(caught.value)
    assert "profile 'bare' says nothing of keys" in str(caught.value)
    assert not services.requests
    lay_container(home, services)
    assert source_of(connect(server, profile="bare")).startswith("container")


def test_a_profile_in_code_is_stronger_than_keys_of_the_environment(home, server, services):
    lay_environment(home, services)
    lay_profile(home, services)
    home.write("credentials", section("default", ("AKNOBODY", "x")) + section("mine", services.keys()[:3]))
    home.set(AWS_PROFILE="default")
    path = home.path / ".aws/credentials"
    assert source_of(connect(server, profile="mine")) == f"profile 'mine' in {path}:5"


@pytest.mark.parametrize("way_to_ask", ["code", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_that_is_in_no_file_is_an_error_and_nobody_else_s_keys_are_taken(
    home, server, services, way_to_ask
):
    lay_profile(home, services)
    lay_container(home, services)
    options = {"profile": "nobody"} if way_to_ask == "code" else {}
    if not options:
        home.set(**{way_to_ask: "nobody"})
    label = "profile" if options else way_to_ask
    with pytest.raises(
        UnauthenticatedError, match=rf"no profile 'nobody' \({label}\) in .*{home.path}/.s3cfg"
    ):
        connect(server, **options).head("k")
    assert not services.requests


@pytest.mark.parametrize(
    "options", [{"access_key_id": "A", "secret_access_key": "c"}, {"skip_signature": True}]
)
def test_a_profile_in_code_that_is_in_no_file_is_an_error_whoever_gives_keys(home, server, options):
    with pytest.raises(GenericError, match=rf"no profile 'nobody' \(profile\) in {home.path}/.aws/cred"):
        connect(server, profile="nobody", **options)
    with pytest.raises(GenericError, match=r"no profile 'nobody' \(profile\)"):
        connect(server, profile="nobody", credential_provider=dict)
    home.write("config", "[profile nobody]\n")
    connect(server, profile="nobody", **options)


def test_keys_before_any_section_of_s3cfg_are_those_of_every_profile(home, server, services):
    name, secret, token, _ = services.keys()
    path = home.write(".s3cfg", f"access_key = {name}\nsecret_key = {secret}\naccess_token = {token}\n")
    assert source_of(connect(server, profile="bar")) == f"profile 'bar' in {path}:1"
    home.set(AWS_PROFILE="bar")
    assert source_of(connect(server, user_agent="other")) == f"profile 'bar' in {path}:1"


def test_keys_in_code_ask_nobody(home, server, services):
    home.write("credentials", "no section\n")
    lay_container(home, services)
    name, secret, token, _ = services.keys()
    home.set(AWS_PROFILE="nobody")
    store = connect(server, access_key_id=name, secret_access_key=secret, token=token)
    store.put("k", b"data")
    assert not services.requests


def test_without_signatures_nobody_is_asked(home, server, services):
    home.write("credentials", "no section\n")
    lay_container(home, services)
    store = connect(server, skip_signature=True)
    with pytest.raises(Exception, match="403"):
        store.get("k")
    assert client_for(store._settings, None).provider is None
    assert not services.requests
    server.take_errors()


def test_no_file_is_read_and_nobody_asked_when_a_store_is_made(home, server, services):
    home.write("credentials", "no section\n")
    os.mkfifo(home.path / ".s3cfg")
    lay_container(home, services)
    connect(server)
    assert not services.requests


def test_the_environment_counts_as_it_was_when_the_store_was_made(home, server, services):
    lay_profile(home, services)
    store = connect(server)
    home.set(AWS_SHARED_CREDENTIALS_FILE="/dev/null/none", AWS_PROFILE="nobody")
    assert source_of(store).startswith("profile 'default'")
    other = connect(server)
    with pytest.raises(UnauthenticatedError, match="no profile 'nobody'"):
        other.head("k")
    assert source_of(store).startswith("profile 'default'")


def test_stores_with_the_same_sources_share_a_client_and_its_chain(home, server, services):
    lay_container(home, services)
    one, other = connect(server), connect(server, prefix="p")
    one.put("k", b"1")
    other.put("k", b"2")
    assert client_for(one._settings, None) is client_for(other._settings, None)
    assert len(services.requests) == 1


def test_errors_about_keys_say_whose_they_were(home, server, services):
    path = home.write("credentials", section("default", ("AKNOBODY", "canary-wrong")))
    with pytest.raises(Exception, match=rf"keys of profile 'default' in {path}:2") as caught:
        connect(server).put("k", b"data")
    assert "canary" not in str(caught.value)
    server.take_errors()


def test_keys_of_the_environment_with_an_end_are_the_chain_s_and_read_again(home, server, services):
    lay_environment(home, services)
    home.set(AWS_CREDENTIAL_EXPIRATION="2099-01-01T00:00:00Z")
    store = connect(server)
    assert source_of(store) == "environment"
    services.expire()
    lay_environment(home, services)
    store.put("k", b"again")
    server.take_errors()
    home.set(AWS_CREDENTIAL_EXPIRATION="tomorrow")
    with pytest.raises(UnauthenticatedError, match=r"AWS_CREDENTIAL_EXPIRATION is 'tomorrow': .*RFC 3339"):
        connect(server, user_agent="other").head("k")


# ---- copies, forks ----


def test_copies_make_a_chain_of_their_own_and_hold_no_secret(home, server, services):
    lay_profile(home, services)
    store = connect(server)
    source_of(store)
    kept = pickle.dumps(store)
    assert b"canary" not in kept
    for again in (pickle.loads(kept), copy.deepcopy(store)):
        assert again == store
        assert again.credential_provider is None
        assert bytes(again.get("k").bytes()) == b"data"
    chain = Chain(store._settings)
    with pytest.raises(TypeError, match="makes its own"):
        pickle.dumps(chain)


@pytest.mark.fork
def test_the_child_of_a_fork_asks_for_itself(home, server, services):
    lay_container(home, services)
    out = run_script(
        f"""
        import os
        from s3ext._clients import client_for
        from s3ext.store import S3Store
        store = S3Store("bucket", endpoint={server.url!r}, region="us-east-1", allow_http=True)
        store.put("parent", b"1")
        chain = client_for(store._settings, None).provider
        chain._lock.acquire()  # as if another thread was just asking
        child = os.fork()
        if child == 0:
            store.put("child", b"2")
            os._exit(0)
        chain._lock.release()
        assert os.waitpid(child, 0)[1] == 0
        store.put("parent", b"3")
        print("done")
        """
    )
    assert "done" in out
    assert len(services.find("/container")) == 2
    assert server.keys() == ["child", "parent"]


# ---- a broken source ends the search ----


def half(home, services):
    path = home.write("credentials", "[other]\naws_secret_access_key = x\n[default]\naws_access_key_id = A\n")
    return f"{path}:4: profile 'default' has no aws_secret_access_key"


def half_secret(home, services):
    path = home.write("credentials", "[default]\naws_secret_access_key = canary\naws_access_key_id =\n")
    return f"{path}:2: profile 'default' has no aws_access_key_id"


def two_files(home, services):
    home.write("config", "[default]\naws_secret_access_key = canary\n")
    path = home.write("credentials", "[default]\naws_access_key_id = A\n")
    return f"{path}:2: profile 'default' has no aws_secret_access_key"


def malformed(home, services):
    path = home.write("credentials", "[default]\ncanary\n")
    return f"{path}:2: the line, in [default], is no 'key = value'"


def bad_expiry(home, services):
    path = home.write("credentials", section("default", services.keys()[:2], expiry_time="tomorrow"))
    return f"{path}:4: the expiry_time of profile 'default' is 'tomorrow': it is no moment of RFC 3339"


def directory(home, services):
    (home.path / ".aws/credentials").mkdir(parents=True)
    return f"{home.path}/.aws/credentials cannot be read: it is no regular file"


def pipe(home, services):
    os.mkfifo(home.path / ".awssecret")
    return f"{home.path}/.awssecret cannot be read: it is no regular file"


def awssecret(home, services):
    home.write(".awssecret", "only-one")
    return f"{home.path}/.awssecret must hold two words, id and secret; it has 1"


def s3cfg(home, services):
    path = home.write(".s3cfg", "[default]\nsecret_key = canary\n")
    return f"{path}:2: profile 'default' has no access_key"


def no_role(home, services):
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB))
    return "web_identity_token_file is set, and role_arn (AWS_ROLE_ARN) is not"


def strange(home, services):
    path = home.write("credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = c\n  anary\n")
    return f"the secret of profile 'default' in {path}:2 holds characters that no key has"


BROKEN = [
    strange,
    half,
    half_secret,
    two_files,
    malformed,
    bad_expiry,
    directory,
    pipe,
    awssecret,
    s3cfg,
    no_role,
]


@pytest.mark.parametrize("lay", BROKEN, ids=lambda lay: lay.__name__)
def test_a_broken_source_is_an_error_with_its_place_and_nobody_else_is_asked(home, server, services, lay):
    lay_container(home, services)
    said = lay(home, services)
    with pytest.raises(UnauthenticatedError) as caught:
        connect(server).head("k")
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)
    assert not services.requests


# ---- other ----


def test_who_may_read_the_secrets_is_looked_at_once(home, server, services):
    path = home.write("credentials", section("default", services.keys()[:3]), 0o644)
    store = connect(server)
    client = client_for(store._settings, None)
    with pytest.warns(
        UserWarning, match=f"every user of this machine may read the keys in {path}: chmod 600"
    ):
        client.provider()
    client.provider.begin_anew()
    client.provider()


def test_the_log_tells_the_source_where_there_is_a_log(home, server, services, caplog):
    caplog.set_level("DEBUG", "s3ext.credentials")
    lay_profile(home, services)
    source_of(connect(server))
    assert "credentials from profile 'default' in " in caplog.text
    lay_environment(home, services)
    connect(server)
    assert "credentials from the environment: AWS_ACCESS_KEY_ID" in caplog.text
    assert "canary" not in caplog.text


def test_a_store_without_keys_imports_little_until_it_is_used(home):
    out = run_script(
        """
        import sys
        from s3ext.store import S3Store
        S3Store("b")
        heavy = {"asyncio", "json", "urllib.parse", "configparser", "logging", "re", "subprocess"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert out.strip() == "[]"


def test_off_the_cloud_the_search_ends_soon(home, server):
    """No more than one try at the instance's metadata, whose port refuses here."""
    home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(UnauthenticatedError, match=r"instance metadata: no connection to 127.0.0.1:9"):
        connect(server).head("k")
    assert time.monotonic() - begun < 5


# ---- together with other things ----


def test_urls_are_signed_with_keys_of_the_chain(home, server, services, way):
    lay_container(home, services)
    store = connect(server)
    url = way(store, "sign", "GET", "k", timedelta(minutes=5))
    assert services.given[0] in url
    assert len(services.requests) == 1


def test_sessions_of_s3_express_begin_with_keys_of_the_chain(home, services):
    with VerifyingServer(buckets=("b--use1-az4--x-s3",), min_part_size=0) as server:
        services.server = server
        lay_container(home, services)
        store = connect(server, "b--use1-az4--x-s3", s3_express=True)
        store.put("k", b"data")
        assert bytes(store.get("k").bytes()) == b"data"
        assert len(services.requests) == 1
        assert not server.errors


def test_a_store_by_url_may_have_a_profile(home, server, services):
    lay_profile(home, services)
    home.write("credentials", section("mine", services.keys()[:3]))
    store = S3Store.from_url(
        f"{server.url}/bucket", profile="mine", region=REGION, client_options={"allow_http": True}
    )
    assert source_of(store).startswith("profile 'mine'")
