"""s3ext.auth: providers on boto3, aiobotocore, requests and aiohttp, held against obstore's and in use."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta

import boto3
import botocore.session
import pytest
from aiobotocore.session import get_session
from botocore.credentials import RefreshableCredentials
from moto import mock_aws

from s3ext import exceptions
from s3ext.auth.aiobotocore import AiobotocoreCredentialProvider
from s3ext.auth.boto3 import Boto3CredentialProvider, StsCredentialProvider
from s3ext.auth.earthdata import (
    DEFAULT_EARTHDATA_HOST,
    NasaEarthdataAsyncCredentialProvider,
    NasaEarthdataCredentialProvider,
)
from s3ext.store import S3Store
from tests.python.earthdata_server import CODE, PASSWORD, TOKEN, USER, EarthdataServer
from tests.python.oracle import obstore, without_environment
from tests.python.ways import connect
from tests.server import ACCESS_KEY, SECRET_KEY

KEY, SECRET, SESSION = "AKIDCANARY0000000001", "canary+secret/which=nobody+may/see", "canary//session+token=="
CANARIES = (SECRET, SESSION, PASSWORD, TOKEN, CODE)
ROLE = {"RoleArn": "arn:aws:iam::123456789012:role/reader", "RoleSessionName": "test"}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No set-up of the machine's: no variables, no files."""
    without_environment(monkeypatch)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("EARTHDATA_HOST", "EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("no_proxy", "*")


def shape(answer):
    return {name: type(value) for name, value in answer.items()}


def parameters(kind):
    """Names, kinds and defaults of a constructor's arguments."""
    found = inspect.signature(kind).parameters.values()
    return [(each.name, each.kind, each.default) for each in found]


def everything_about(error):
    texts = ["".join(traceback.TracebackException.from_exception(error).format())]
    while error is not None:
        texts += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


# ---- boto3 ----


def session(token=None, region="eu-central-1"):
    return boto3.Session(ACCESS_KEY, SECRET_KEY, token, region_name=region)


@pytest.mark.parametrize("name", ["Boto3CredentialProvider", "StsCredentialProvider"])
def test_the_arguments_are_obstores(name):
    theirs = getattr(obstore("auth.boto3"), name)
    assert parameters(globals()[name]) == parameters(theirs)


@pytest.mark.parametrize("region", ["eu-central-1", None])
@pytest.mark.parametrize("token", ["token", None])
def test_a_session_of_boto3_gives_what_it_gives_obstore(region, token):
    given, ttl = session(token, region), timedelta(minutes=7)
    ours = Boto3CredentialProvider(given, ttl=ttl)
    theirs = obstore("auth.boto3").Boto3CredentialProvider(given, ttl=ttl)
    assert (ours.config, ours.ttl, ours.credentials) == (theirs.config, theirs.ttl, theirs.credentials)
    mine, reference = ours(), theirs()
    assert abs(mine.pop("expires_at") - reference.pop("expires_at")) < timedelta(seconds=5)
    assert mine == reference


def test_a_session_of_botocore_has_no_region_to_give():
    given = botocore.session.get_session()
    given.set_credentials(KEY, SECRET)
    given.set_config_variable("region", "eu-central-1")
    provider = Boto3CredentialProvider(given)
    assert provider.config == {}
    assert provider()["access_key_id"] == KEY


def test_the_default_session_is_made_as_boto3_does(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    provider = Boto3CredentialProvider()
    assert provider.config == {"region": "sa-east-1"}
    assert provider()["access_key_id"] == KEY
    assert provider.ttl == timedelta(minutes=30)


def test_a_session_without_credentials_is_refused_at_once():
    with pytest.raises(ValueError, match=r"Received None from session\.get_credentials"):
        Boto3CredentialProvider()
    with pytest.raises(ValueError, match=r"Received None from session\.get_credentials"):
        obstore("auth.boto3").Boto3CredentialProvider()


def test_a_store_takes_keys_and_region_from_boto3(server, way):
    server.create_bucket("west", region="eu-west-1")
    provider = Boto3CredentialProvider(session(region="eu-west-1"))
    store = S3Store("west", endpoint=server.url, allow_http=True, credential_provider=provider)
    assert store.config["region"] == "eu-west-1"
    way(store, "put", "k", b"data")
    assert "/eu-west-1/s3/" in server.requests[0].header("authorization")
    given = S3Store("west", endpoint=server.url, region="us-east-1", credential_provider=provider)
    assert given.config["region"] == "us-east-1"


def test_keys_that_boto3_renews_are_taken_when_the_server_wants_others(server, way):
    server.put("k", b"data")
    generation = []

    def metadata():
        generation.append(len(generation) + 1)
        key = f"AKIDGENERATION{generation[-1]:06}"
        server.add_credential(key, SECRET, token=SESSION)
        end = datetime.now(UTC) + timedelta(seconds=2000 if len(generation) > 1 else 500)
        return {
            "access_key": key,
            "secret_key": SECRET,
            "token": SESSION,
            "expiry_time": end.isoformat(),
        }

    given = botocore.session.get_session()
    given._credentials = RefreshableCredentials.create_from_metadata(metadata(), metadata, "test")
    store = connect(server, credential_provider=Boto3CredentialProvider(given))
    assert way(store, "head", "k")["size"] == 4
    # 500 s are less than botocore's mandatory margin, so it had renewed them before it gave any.
    assert generation == [1, 2]
    assert [request.header("authorization").count("GENERATION000002") for request in server.requests] == [1]


@pytest.fixture
def sts(monkeypatch):
    """AWS's STS, in this process."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


def test_a_role_gives_what_it_gives_obstore(sts):
    ours = StsCredentialProvider(**ROLE, DurationSeconds=900)
    theirs = obstore("auth.boto3").StsCredentialProvider(**ROLE, DurationSeconds=900)
    assert (ours.config, ours.kwargs) == (theirs.config, theirs.kwargs)
    assert isinstance(ours.session, boto3.Session)
    mine, reference = ours(), theirs()
    assert shape(mine) == shape(reference)
    assert mine["access_key_id"].startswith("ASIA")
    assert abs(mine["expires_at"] - datetime.now(UTC) - timedelta(seconds=900)) < timedelta(seconds=60)
    assert ours()["access_key_id"] != mine["access_key_id"]


def test_a_store_works_with_the_keys_of_a_role(sts, server, way):
    server.put("k", b"data")

    class Role(StsCredentialProvider):
        def __call__(self):
            answer = super().__call__()
            keys = answer["access_key_id"], answer["secret_access_key"]
            server.add_credential(*keys, token=answer["token"])
            return answer

    store = connect(server, credential_provider=Role(**ROLE))
    assert way(store, "head", "k")["size"] == 4
    assert server.requests[0].header("x-amz-security-token")


def test_an_expiry_of_sts_without_a_time_zone_is_refused():
    class Client:
        def assume_role(self, **arguments):
            assert arguments == ROLE
            moment = datetime(2030, 1, 1)  # noqa: DTZ001 - the case
            return {"Credentials": {"Expiration": moment, "SecretAccessKey": SECRET}}

    class Session:
        def client(self, name):
            assert name == "sts"
            return Client()

    with pytest.raises(ValueError, match="time zone") as caught:
        StsCredentialProvider(Session(), **ROLE)()
    assert SECRET not in everything_about(caught.value)


# ---- aiobotocore ----


def test_a_session_of_aiobotocore_gives_its_keys_in_any_loop(server, way, monkeypatch):
    server.put("k", b"data")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    provider = AiobotocoreCredentialProvider()
    assert provider.config == {"region": "us-east-1"}
    assert provider.ttl == timedelta(minutes=30)
    for _ in range(2):  # the second store in a new loop, where the session was used before
        store = S3Store("bucket", endpoint=server.url, allow_http=True, credential_provider=provider)
        assert way(store, "head", "k")["size"] == 4
    answer = asyncio.run(provider())
    assert shape(answer) == shape(Boto3CredentialProvider(boto3.Session())())


def test_a_session_of_aiobotocore_without_keys_is_an_error(server, way):
    provider = AiobotocoreCredentialProvider(get_session(), ttl=timedelta(minutes=1))
    assert provider.config == {}
    with pytest.raises(exceptions.UnauthenticatedError, match="aiobotocore finds no credentials") as caught:
        way(connect(server, credential_provider=provider), "head", "k")
    assert isinstance(caught.value.__cause__, ValueError)
    assert server.requests == []


# ---- Earthdata ----


@pytest.fixture
def earthdata():
    keys = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY, "sessionToken": ""}
    with EarthdataServer(keys) as earthdata:
        yield earthdata


EARTHDATA = pytest.mark.parametrize(
    "kind", [NasaEarthdataCredentialProvider, NasaEarthdataAsyncCredentialProvider], ids=["sync", "async"]
)


def ask(provider):
    """Call a provider, of either kind, as no store does."""
    answer = provider()
    return asyncio.run(_awaited(answer)) if inspect.isawaitable(answer) else answer


async def _awaited(awaitable):
    return await awaitable


@EARTHDATA
def test_the_arguments_of_earthdata_are_obstores(kind):
    assert parameters(kind) == parameters(getattr(obstore("auth.earthdata"), kind.__name__))
    assert obstore("auth.earthdata").DEFAULT_EARTHDATA_HOST == DEFAULT_EARTHDATA_HOST


@EARTHDATA
@pytest.mark.parametrize("auth", [TOKEN, (USER, PASSWORD)], ids=["token", "password"])
def test_a_login_gives_keys_that_a_store_uses(server, way, earthdata, kind, auth):
    server.put("k", b"data")
    provider = kind(earthdata.url, host="127.0.0.1", auth=auth)
    assert provider.config == {"region": "us-west-2"}
    store = connect(server, credential_provider=provider)
    for _ in range(3):
        assert way(store, "head", "k")["size"] == 4
    expected = {
        "token": [("localhost", "/s3credentials", "Bearer")],
        "password": [
            ("localhost", "/s3credentials", ""),
            ("127.0.0.1", "/oauth/authorize", "Basic"),
            ("localhost", "/redirect", ""),
            ("localhost", "/s3credentials", ""),
        ],
    }
    assert earthdata.seen == expected["token" if isinstance(auth, str) else "password"]


def test_a_login_gives_what_it_gives_obstore(earthdata):
    given = {"host": "127.0.0.1", "auth": (USER, PASSWORD)}
    mine = NasaEarthdataCredentialProvider(earthdata.url, **given)()
    theirs = obstore("auth.earthdata").NasaEarthdataCredentialProvider(earthdata.url, **given)
    reference = theirs()
    theirs.close()
    assert abs(mine.pop("expires_at") - reference.pop("expires_at")) < timedelta(seconds=5)
    assert mine == reference


@pytest.mark.filterwarnings("ignore:aiohttp_retry not installed:RuntimeWarning")
def test_the_async_provider_of_obstore_belongs_to_one_loop(earthdata):
    theirs = obstore("auth.earthdata").NasaEarthdataAsyncCredentialProvider
    with pytest.raises(RuntimeError, match="no running event loop"):
        theirs(earthdata.url, auth=TOKEN)

    async def made():
        return theirs(earthdata.url, auth=TOKEN)

    provider = asyncio.run(made())
    with pytest.raises(RuntimeError, match="loop"):
        ask(provider)
    asyncio.run(provider.close())


@EARTHDATA
def test_keys_of_earthdata_that_end_soon_are_fetched_again(server, way, earthdata, kind):
    server.put("k", b"data")
    earthdata.ttl = 100
    store = connect(server, credential_provider=kind(earthdata.url, host="127.0.0.1", auth=TOKEN))
    assert way(store, "head", "k")["size"] == 4
    assert way(store, "head", "k")["size"] == 4
    end = datetime.now(UTC) + timedelta(seconds=5)
    while len(earthdata.seen) < 2 and datetime.now(UTC) < end:
        way(store, "head", "k")
    assert len(earthdata.seen) >= 2


@EARTHDATA
@pytest.mark.parametrize("source", ["token", "password", "netrc"])
def test_what_is_not_given_comes_from_the_environment(monkeypatch, tmp_path, earthdata, kind, source):
    monkeypatch.setenv("EARTHDATA_HOST", "127.0.0.1")
    provider = kind(earthdata.url)
    if source == "token":
        monkeypatch.setenv("EARTHDATA_TOKEN", TOKEN)
    elif source == "password":
        monkeypatch.setenv("EARTHDATA_USERNAME", USER)
        monkeypatch.setenv("EARTHDATA_PASSWORD", PASSWORD)
    else:
        netrc = tmp_path / "NETRC"
        netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
        netrc.chmod(0o600)
    assert ask(provider)["access_key_id"] == ACCESS_KEY
    assert not any(canary.encode() in pickle.dumps(provider) for canary in CANARIES)
    assert ask(pickle.loads(pickle.dumps(provider)))["access_key_id"] == ACCESS_KEY


REFUSALS = {
    "token": ({"auth": "wrong.token"}, {}, "the token is not accepted"),
    "page": ({"auth": (USER, "wrong-password")}, {}, "user name and password are not accepted"),
    "status": ({"auth": (USER, "wrong-password")}, {"refusal": "status"}, "is not accepted"),
    "nothing": ({}, {}, "there is no token or password: give auth="),
    "elsewhere": (
        {"auth": (USER, PASSWORD), "host": "urs.example"},
        {},
        "the login is at 127.0.0.1, not at host='urs.example'",
    ),
    "no keys": ({"auth": TOKEN}, {"body": f'{{"secretAccessKey": "{SECRET}"}}'}, "holds no credentials"),
    "no JSON": ({"auth": TOKEN}, {"body": f"{SECRET} {TOKEN}"}, "holds no credentials"),
    "a list": ({"auth": TOKEN}, {"body": f'["{SECRET}"]'}, "holds no credentials"),
}


@EARTHDATA
@pytest.mark.parametrize("case", REFUSALS)
def test_a_login_that_fails_says_why_and_shows_nothing(server, way, caplog, earthdata, kind, case):
    caplog.set_level(0)
    arguments, changes, message = REFUSALS[case]
    for name, value in changes.items():
        setattr(earthdata, name, value)
    provider = kind(earthdata.url, **{"host": "127.0.0.1", **arguments})
    with pytest.raises(exceptions.UnauthenticatedError, match=message) as caught:
        way(connect(server, credential_provider=provider), "head", "k")
    assert isinstance(caught.value.__cause__, exceptions.BaseError)
    shown = "\n".join([everything_about(caught.value), caplog.text, repr(provider), str(provider)])
    for secret in (*CANARIES, "wrong.token", "wrong-password"):
        assert secret not in shown
    if case in {"elsewhere", "nothing"}:
        assert "Basic" not in {kind for _, _, kind in earthdata.seen}
    assert server.requests == []


@EARTHDATA
def test_a_busy_data_centre_is_asked_again(monkeypatch, earthdata, kind):
    monkeypatch.setattr("s3ext.auth.earthdata._PAUSES", (0.01, 0.01))
    provider = kind(earthdata.url, host="127.0.0.1", auth=TOKEN)
    earthdata.busy = 2
    assert ask(provider)["access_key_id"] == ACCESS_KEY
    earthdata.busy = 3
    with pytest.raises(exceptions.GenericError, match="answers 503") as caught:
        ask(provider)
    assert caught.value.status == 503


@EARTHDATA
def test_a_data_centre_that_is_not_there_is_an_error(kind):
    with pytest.raises(
        exceptions.GenericError, match=r"http://127.0.0.1/keys cannot be reached \("
    ) as caught:
        ask(kind("http://127.0.0.1:9/keys?canary=1", auth=TOKEN))
    assert TOKEN not in everything_about(caught.value)
    assert "canary" not in str(caught.value)


@EARTHDATA
def test_the_proxy_of_the_environment_is_used(monkeypatch, earthdata, kind):
    monkeypatch.setenv("http_proxy", earthdata.login)
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    with pytest.raises(exceptions.UnauthenticatedError):
        ask(kind("http://centre.example/s3credentials", auth=TOKEN, host="127.0.0.1"))
    assert [host for host, *_ in earthdata.seen] == ["centre.example"]
    monkeypatch.setenv("no_proxy", "centre.example,localhost")
    assert ask(kind(earthdata.url, auth=TOKEN))["access_key_id"] == ACCESS_KEY
    with pytest.raises(exceptions.GenericError, match="cannot be reached"):
        ask(kind("http://centre.example/s3credentials", auth=TOKEN))


@EARTHDATA
def test_no_login_is_made_over_http_that_began_over_https(monkeypatch, kind):
    """The redirect of a data centre that was tampered with."""
    from s3ext.auth.earthdata import _Answer

    steps = kind("https://centre.example/keys", host="127.0.0.1", auth=(USER, PASSWORD))._steps()
    assert next(steps).auth is None
    with pytest.raises(exceptions.GenericError, match="no place to log in"):
        steps.send(_Answer(302, "http://localhost/authorize", b""))


@EARTHDATA
def test_a_provider_that_was_closed_gives_nothing(earthdata, kind):
    provider = kind(earthdata.url, host="127.0.0.1", auth=TOKEN)

    async def closed():
        async with provider:
            pass

    if kind is NasaEarthdataCredentialProvider:
        with provider:
            pass
    else:
        asyncio.run(closed())
    with pytest.raises(ValueError, match="credential provider was closed"):
        ask(provider)
    assert earthdata.seen == []


def test_a_session_given_is_used_and_left_open(earthdata):
    import aiohttp
    import requests

    given = {"host": "127.0.0.1", "auth": (USER, PASSWORD)}
    with requests.Session() as plain:
        provider = NasaEarthdataCredentialProvider(earthdata.url, session=plain, **given)
        assert provider.session is plain
        provider()
        first = len(earthdata.seen)
        provider()  # its cookie is remembered: no login is needed
        assert len(earthdata.seen) == first + 1

    async def main():
        async with aiohttp.ClientSession() as session:
            provider = NasaEarthdataAsyncCredentialProvider(earthdata.url, session=session, **given)
            await provider()
            before = len(earthdata.seen)
            await provider()
            assert not session.closed
            return len(earthdata.seen) - before

    assert asyncio.run(main()) == 1


# ---- optional imports ----


@pytest.mark.parametrize(
    ("module", "library", "code"),
    [
        ("boto3", "boto3", ""),
        ("aiobotocore", "aiobotocore", ""),
        ("earthdata", "requests", "module.NasaEarthdataCredentialProvider('https://x')"),
        ("earthdata", "aiohttp", "module.NasaEarthdataAsyncCredentialProvider('https://x')"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_the_extra(module, library, code):
    script = f"""
import importlib, sys
sys.modules[{library!r}] = None
try:
    module = importlib.import_module("s3ext.auth.{module}")
    {code or "pass"}
except ImportError as error:
    print(error)
    assert error.name == {library!r}, error.name
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == f"s3ext.auth.{module} needs {library}: pip install 's3ext[auth]'\n"


def test_nothing_of_it_is_imported_with_s3ext():
    heavy = "{'aiobotocore', 'aiohttp', 'boto3', 'requests'}"
    script = f"import sys, s3ext.store, s3ext.auth; print(sorted({heavy} & {{*sys.modules}}))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
