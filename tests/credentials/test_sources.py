"""Each source on the wire: what it is asked, what it answers, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from s3ext import exceptions
from s3ext._clients import client_for
from s3ext._credentials import container, metadata, process
from s3ext._credentials import services as services_of_aws
from s3ext.exceptions import UnauthenticatedError
from tests.credentials.services import refusal
from tests.credentials.tools import connect, run_script, section, source_of

ROLE = "arn:aws:iam::123456789012:role/r"
WEB = "canary-web-token"


def refused(store, words):
    """Ask a store for something, and look at why there are no keys."""
    with pytest.raises(UnauthenticatedError, match=words) as caught:
        store.head("k")
    assert "canary" not in str(caught.value)
    return caught.value


# ---- web identity ----


@pytest.mark.parametrize("where", ["code", "environment"])
def test_web_identity_by_options_and_variables(home, server, services, where):
    values = {"web_identity_token_file": home.write("web", f"{WEB}\n"), "role_arn": ROLE}
    values |= {"endpoint_url_sts": f"{services.url}/base", "role_session_name": "mine"}
    options = values if where == "code" else {}
    if where == "environment":
        home.set(**{f"AWS_{name.upper()}": value for name, value in values.items()})
    assert source_of(connect(server, **options)) == f"web identity, role {ROLE}"
    (asked,) = services.requests
    assert (asked.method, asked.path, asked.query) == ("POST", "/base", {})
    assert asked.form == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "mine",
        "DurationSeconds": "3600",
        "WebIdentityToken": WEB,
    }
    assert "authorization" not in asked.headers


def test_the_token_of_web_identity_is_read_anew_for_each_exchange(home, server, services):
    home.set(
        AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", "one"),
        AWS_ROLE_ARN=ROLE,
        AWS_ENDPOINT_URL_STS=services.url,
    )
    store = connect(server)
    store.put("k", b"1")
    home.write("web", "two")
    services.expire()
    store.put("k", b"2")
    assert [request.form["WebIdentityToken"] for request in services.requests] == ["one", "two"]
    assert services.requests[0].form["RoleSessionName"] == "WebIdentitySession"
    server.take_errors()


def test_web_identity_of_a_profile(home, server, services):
    token = home.write("web", WEB)
    path = home.write(
        "config",
        f"[profile p]\nweb_identity_token_file = {token}\nrole_arn = {ROLE}\nrole_session_name = s\n"
        "services = x\n"
        f"[services x]\nsts =\n  endpoint_url = {services.url}\n",
    )
    assert source_of(connect(server, profile="p")) == f"web identity of profile 'p' in {path}:2, role {ROLE}"
    assert services.requests[0].form["RoleSessionName"] == "s"


@pytest.mark.parametrize(
    ("contents", "words"), [(None, "is not there"), ("\n", "is empty")], ids=["missing", "empty"]
)
def test_a_web_identity_without_its_token(home, server, services, contents, words):
    path = f"{home.path}/web" if contents is None else home.write("web", contents)
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=path, AWS_ROLE_ARN=ROLE, AWS_ENDPOINT_URL_STS=services.url)
    refused(connect(server), f"web identity: the token's file {path} {words}")
    assert not services.requests


def test_what_sts_refuses_is_told_without_the_token(home, server, services):
    home.set(
        AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB),
        AWS_ROLE_ARN=ROLE,
        AWS_ENDPOINT_URL_STS=services.url,
    )
    services.answers["AssumeRoleWithWebIdentity"] = refusal(400, "InvalidIdentityToken", f"bad token {WEB}!")
    error = refused(connect(server), r"refused: 400 InvalidIdentityToken bad token \*\*\*!")
    assert (error.__cause__.status, error.__cause__.code) == (400, "InvalidIdentityToken")
    services.answers["AssumeRoleWithWebIdentity"] = 200, "<canary/>"
    refused(connect(server), "AssumeRoleWithWebIdentity holds no keys")


def test_http_for_sts_must_be_allowed(home, tls_server, services):
    home.set(
        AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB),
        AWS_ROLE_ARN=ROLE,
        AWS_ENDPOINT_URL_STS=services.url,
    )
    store = connect(tls_server, client_options={"allow_http": False})
    refused(store, f"endpoint_url_sts is {services.url}, and secrets would go in clear; .*allow_http")
    assert not services.requests


def test_without_an_endpoint_sts_is_that_of_the_region(home, server):
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB), AWS_ROLE_ARN=ROLE)
    home.set(https_proxy="http://127.0.0.1:9")
    refused(connect(server), r"POST sts\.us-east-1\.amazonaws\.com failed")
    refused(connect(server, proxy_url="http://127.0.0.1:10"), r"127.0.0.1|proxy")


@pytest.mark.parametrize("kind", ["web identity", "role", "login", "container"])
def test_a_service_that_does_not_answer_is_named_with_its_source(home, server, services, kind):
    nobody = "http://127.0.0.1:9"
    words = r"HEAD bucket/k failed: .*{}.*: (POST|GET) 127\.0\.0\.1:9 failed"
    if kind == "web identity":
        home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB), AWS_ROLE_ARN=ROLE)
        refused(connect(server, endpoint_url_sts=nobody), words.format(f"web identity, role {ROLE}"))
    elif kind == "role":
        home.write("credentials", section("base", services.keys()[:3]))
        home.write("config", role(services))
        found = rf"role {ROLE} of profile 'r' in .*/config:2, by profile 'base'"
        refused(connect(server, profile="r", endpoint_url_sts=nobody), words.format(found))
    elif kind == "login":
        lay_login(home, services, SESSION)
        home.set(AWS_ENDPOINT_URL_SSO=nobody)
        refused(connect(server, profile="p"), words.format("login of profile 'p'"))
    else:
        store = connect(server, container_credentials_full_uri=f"{nobody}/x")
        refused(store, words.format("container credentials"))


@pytest.mark.parametrize("where", ["variable", "profile"])
def test_configured_urls_of_services_may_be_ignored(home, server, services, where):
    if where == "variable":
        home.set(AWS_ENDPOINT_URL_STS=services.url)
    else:
        home.write(
            "config", f"[default]\nservices = s\n[services s]\nsts =\n  endpoint_url = {services.url}\n"
        )
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB), AWS_ROLE_ARN=ROLE)
    home.set(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true", https_proxy="http://127.0.0.1:9")
    refused(connect(server), r"POST sts\.us-east-1\.amazonaws\.com failed")
    assert not services.requests
    connect(server, endpoint_url_sts=services.url).put("k", b"data")
    assert services.requests


@pytest.mark.parametrize("where", ["variable", "profile"])
def test_the_general_endpoint_url_is_that_of_the_token_service_too_unless_there_is_one_for_it(
    home, server, services, where
):
    """As with AWS's tools; what code gives as the endpoint is the store's alone."""
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB), AWS_ROLE_ARN=ROLE)
    if where == "variable":
        home.set(AWS_ENDPOINT_URL=f"{services.url}/general")
    else:
        home.write("config", f"[default]\nendpoint_url = {services.url}/general\n")
    connect(server).put("k", b"data")
    home.set(AWS_ENDPOINT_URL_STS=f"{services.url}/own")
    connect(server).put("k", b"data")
    connect(server, endpoint_url_sts=f"{services.url}/code").put("k", b"data")
    assert [request.path for request in services.requests] == ["/general", "/own", "/code"]


def test_the_general_endpoint_url_is_that_of_logins_too(home, server, services):
    lay_login(home, services, SESSION, left=timedelta(minutes=1), **REFRESH)
    config = (home.path / ".aws/config").read_text()
    for name in ("AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC"):
        home.monkeypatch.delenv(name, raising=False)
    assert services.url not in config
    home.set(AWS_ENDPOINT_URL=services.url)
    assert source_of(connect(server, profile="p")).startswith("login of profile 'p'")
    assert [request.path for request in services.requests] == ["/token", "/federation/credentials"]


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_the_switches_of_endpoints_are_those_of_the_token_service_too(home, server, variable):
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", WEB), AWS_ROLE_ARN=ROLE)
    home.set(https_proxy="http://127.0.0.1:9")
    home.set(**{variable: "true"})
    host = "sts-fips.us-east-1.amazonaws.com" if "FIPS" in variable else "sts.us-east-1.api.aws"
    refused(connect(server), rf"POST {host} failed")


@pytest.mark.parametrize("dualstack", [False, True])
@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize(
    "region",
    ["eu-west-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1"],
)
def test_hosts_of_the_services_are_botocore_s(region, fips, dualstack):
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    for service, name in (("sts", "sts"), ("sso", "portal.sso"), ("sso-oidc", "oidc")):
        client = session.create_client(
            service,
            region_name=region,
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(use_fips_endpoint=fips, use_dualstack_endpoint=dualstack),
        )
        theirs = client._ruleset_resolver.construct_endpoint(
            operation_model=client.meta.service_model.operation_model(
                client.meta.service_model.operation_names[0]
            ),
            call_args={},
            request_context={},
        )
        assert services_of_aws.amazon_url(name, region, fips=fips, dualstack=dualstack) == theirs.url


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", "sts.us-iso-east-1.c2s.ic.gov"),
        ("eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_the_token_service_is_that_of_the_partition(region, host):
    assert services_of_aws.amazon_url("sts", region) == f"https://{host}"


# ---- AssumeRole ----


def role(services, name="r", source="source_profile = base", **more):
    lines = "".join(f"{key} = {value}\n" for key, value in more.items())
    return f"[profile {name}]\nrole_arn = {ROLE}\n{source}\n{lines}"


def test_a_role_is_assumed_with_the_keys_of_another_profile(home, server, services):
    """STS is the verifying server here: it checks the signature, with service "sts"."""
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    base = services.keys()
    home.write("credentials", section("base", base[:3]))
    path = home.write(
        "config", role(services, external_id="x:1", duration_seconds="900", role_session_name="mine")
    )
    source = source_of(connect(server, profile="r"))
    assert (
        source
        == f"role {ROLE} of profile 'r' in {path}:2, by profile 'base' in {home.path}/.aws/credentials:2"
    )
    (asked,) = services.requests
    assert asked.form == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "mine",
        "ExternalId": "x:1",
        "DurationSeconds": "900",
    }
    assert f"Credential={base[0]}/" in asked.headers["authorization"]
    assert "/us-east-1/sts/aws4_request" in asked.headers["authorization"]
    assert asked.headers["x-amz-security-token"] == base[2]


def test_botocore_signs_the_same_request_in_the_same_way(home, server, services):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    home.set(AWS_ENDPOINT_URL_STS=services.url)
    base = services.keys()
    home.write("credentials", section("base", base[:3]))
    home.write("config", role(services))
    source_of(connect(server, profile="r"))
    (asked,) = services.requests
    signed = asked.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    again = AWSRequest("POST", services.url + "/", {name: asked.headers[name] for name in signed}, asked.body)
    again.context["timestamp"] = asked.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(*base[:3]), "sts", "us-east-1")
    canonical = signer.canonical_request(again)
    expected = signer.signature(signer.string_to_sign(again, canonical), again)
    assert asked.headers["authorization"].endswith(f"Signature={expected}")


def test_roles_in_a_row(home, server, services):
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    home.write("credentials", section("base", services.keys()[:3]))
    home.write("config", role(services, "one", "source_profile = two") + role(services, "two"))
    source_of(connect(server, profile="one"))
    first, second = services.requests
    assert f"Credential={services.given[1]}/" in second.headers["authorization"]
    assert f"Credential={services.given[0]}/" in first.headers["authorization"]


def test_a_profile_may_be_its_own_source_with_keys_of_its_own(home, server, services):
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    home.write("config", role(services, "r", "source_profile = r"))
    home.write("credentials", section("r", services.keys()[:3]))
    assert source_of(connect(server, profile="r")).startswith(f"role {ROLE}")


@pytest.mark.parametrize("name", ["Environment", "EcsContainer", "Ec2InstanceMetadata"])
def test_a_role_is_assumed_with_the_keys_of_the_machine(home, server, services, name):
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    home.write("config", role(services, "r", f"credential_source = {name}"))
    words = {
        "Environment": "AWS_ACCESS_KEY_ID is not set",
        "EcsContainer": "_FULL_URI are not set",
        "Ec2InstanceMetadata": "switched off",
    }
    refused(connect(server, profile="r"), f"config:3: credential_source {name} has no keys: .*{words[name]}")
    key_id, secret, token, _ = services.keys()
    home.set(AWS_ACCESS_KEY_ID=key_id, AWS_SECRET_ACCESS_KEY=secret, AWS_SESSION_TOKEN=token)
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=services.url)
    source = source_of(connect(server, profile="r"))
    assert source.rpartition(", by ")[2].startswith(
        {"Environment": "environment", "EcsContainer": "container", "Ec2InstanceMetadata": "instance"}[name]
    )
    assert f"Credential={services.given[-2]}/" in services.find("AssumeRole")[0].headers["authorization"]


WRONG_ROLES = {
    "ring": (
        role(None, "r", "source_profile = s") + role(None, "s", "source_profile = r"),
        "profiles r -> s -> r are in a ring",
    ),
    "ring of one": (role(None, "r", "source_profile = r"), "profiles r -> r are in a ring"),
    "no source": (role(None, "r", ""), "needs one of source_profile and credential_source, not none"),
    "two sources": (
        role(None, "r", "source_profile = s\ncredential_source = Environment"),
        "needs one of source_profile and credential_source, not both",
    ),
    "unknown profile": (
        role(None, "r", "source_profile = nobody"),
        "source_profile 'nobody', which is in no",
    ),
    "without keys": (
        role(None, "r", "source_profile = s") + "[profile s]\nregion = r\n",
        "its source_profile 's' has no keys",
    ),
    "unknown source": (
        role(None, "r", "credential_source = Moon"),
        "config:3: credential_source is 'Moon'; it must be Environment",
    ),
    "mfa": (
        role(None, "r", "source_profile = s", mfa_serial="arn:aws:iam::1:mfa/me"),
        "config:4: the role of profile 'r' needs a code of an MFA device, and nobody can be asked",
    ),
    "duration": (
        role(None, "r", "source_profile = base", duration_seconds="long"),
        "config:4: duration_seconds is 'long'; it must be a whole number",
    ),
}


@pytest.mark.parametrize("case", WRONG_ROLES)
def test_a_role_that_cannot_be_assumed(home, server, services, case):
    config, words = WRONG_ROLES[case]
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    home.write("credentials", section("base", ("A", "canary")))
    home.write("config", config)
    refused(connect(server, profile="r"), words)
    assert not services.requests


def test_a_role_that_is_refused(home, server, services):
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    home.write("credentials", section("base", services.keys()[:3]))
    path = home.write("config", role(services))
    services.answers["AssumeRole"] = refusal(
        403, "AccessDenied", "User is not authorized to perform: sts:AssumeRole"
    )
    refused(
        connect(server, profile="r"), rf"role {ROLE} of profile 'r' in {path}:2.*403 AccessDenied User is not"
    )


def test_a_role_of_moto_s_sts(home, server):
    """Another server's idea of STS."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        home.set(AWS_ENDPOINT_URL_STS=f"http://{host}:{port}")
        home.write("credentials", section("base", ("A", "S")))
        home.write("config", role(None))
        store = connect(server, profile="r")
        keys = client_for(store._settings, None).provider()
        assert keys["access_key_id"].startswith("ASIA")
        assert timedelta(minutes=50) < keys["expires_at"] - datetime.now(UTC) < timedelta(minutes=70)
        home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://{host}:{port}")
        home.write("config", "")
        chain = client_for(connect(server)._settings, None).provider
        assert chain()["token"]
        assert chain.source == "instance metadata, role 'default-role'"
    finally:
        moto.stop()


# ---- credential_process ----

PROGRAM = """\
import json, os, sys, time
print("canary on stderr", file=sys.stderr)
open(sys.argv[1] + ".ran", "a").write("x")
exec(open(sys.argv[1]).read())
"""


def lay_process(home, does, more=""):
    """Write a program, and a profile that runs it."""
    home.write("program dir/program.py", PROGRAM)
    home.write("does", does)
    command = f'{sys.executable} "{home.path}/program dir/program.py" {home.path}/does{more}'
    return home.write("config", f"[profile p]\ncredential_process = {command}\n")


def test_a_program_gives_keys(home, server, services):
    document = {"Version": 1, **services.document("SessionToken")}
    path = lay_process(home, f"print({json.dumps(document)!r})")
    store = connect(server, profile="p")
    assert source_of(store) == f"credential_process of profile 'p' in {path}:2"
    assert (home.path / "does.ran").read_text() == "x"
    document = {"Version": 1, **services.document("SessionToken")}
    home.write("does", f"print({json.dumps(document)!r})")
    server.expire_credential(services.given[0])
    store.put("k", b"2")
    assert (home.path / "does.ran").read_text() == "xx"
    server.take_errors()


PROGRAMS = {
    "status": ("sys.exit(3)", "'python[^']*' ended with status 3"),
    "signal": ("os.kill(os.getpid(), 9)", "ended with status -9"),
    "no json": ("print('canary')", "printed no JSON object"),
    "list": ("print([1])", "printed no JSON object"),
    "version": ("print(json.dumps({'Version': 'canary'}))", "printed no keys of Version 1"),
    "no secret": (
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'A', 'SecretAccessKey': None}))",
        "has no SecretAccessKey",
    ),
    "expiration": (
        (
            "print(json.dumps({'Version': 1, 'AccessKeyId': 'A', 'SecretAccessKey': 'canary',"
            " 'Expiration': 'soon'}))"
        ),
        "an Expiration of 'soon'",
    ),
    "expired": (
        (
            "print(json.dumps({'Version': 1, 'AccessKeyId': 'A', 'SecretAccessKey': 'canary',"
            " 'Expiration': '2020-01-01T00:00:00Z'}))"
        ),
        r"ended at 2020-01-01 00:00:00\+00:00",
    ),
    "too much": ("print('x' * (1 << 21)); time.sleep(30)", "or printed over 1 MiB"),
    "hangs": ("time.sleep(30)", "did not end within 1 s"),
    "lingers": ("sys.stdout.flush(); os.close(1); time.sleep(30)", "did not end within 1 s"),
    "child": ("if os.fork() == 0: time.sleep(30)\nos._exit(0)", "did not end within 1 s"),
}


@pytest.mark.timeout(25)
@pytest.mark.parametrize("case", PROGRAMS)
def test_a_program_that_gives_none(home, server, monkeypatch, case, capfd):
    monkeypatch.setattr(process, "SECONDS", 1.0 if "1 s" in PROGRAMS[case][1] else 30.0)
    does, words = PROGRAMS[case]
    path = lay_process(home, does)
    refused(connect(server, profile="p"), rf"profile 'p' in {path}:2.*{words}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/none/program secret-argument", "'program' cannot be run: No such file or directory"),
        ('program "half', "cannot be split into words: No closing quotation"),
        ("sh -c 'echo $0'", "printed no JSON object"),
    ],
)
def test_a_command_that_is_none(home, server, command, words):
    home.write("config", f"[profile p]\ncredential_process = {command}\n")
    error = refused(connect(server, profile="p"), words)
    assert "secret-argument" not in str(error)


def test_no_shell_runs_the_command(home, server):
    lay_process(home, "sys.exit(0)", f" ; touch {home.path}/made && $(touch {home.path}/made)")
    refused(connect(server, profile="p"), "printed no JSON object")
    assert (home.path / "does.ran").exists()
    assert not (home.path / "made").exists()


# ---- SSO ----

SESSION = "[profile p]\nsso_session = my session\nsso_account_id = 012345678901\nsso_role_name = reader\n"
SESSION += "[sso-session my session]\nsso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n"
LEGACY = SESSION.replace("sso_session = my session\n", "").replace("[sso-session my session]\n", "")


def lay_login(home, services, config=SESSION, *, left=timedelta(hours=2), **more):
    """Write a profile and what `aws sso login` leaves."""
    home.set(AWS_ENDPOINT_URL_SSO=services.url, AWS_ENDPOINT_URL_SSO_OIDC=services.url)
    home.write(
        "config", config.replace("[sso-session my", '[sso-session "my').replace("session]", 'session"]')
    )
    name = "my session" if config is SESSION else "https://x.awsapps.com/start"
    kept = {
        "accessToken": "canary-login",
        "expiresAt": f"{datetime.now(UTC) + left:%Y-%m-%dT%H:%M:%SZ}",
        **more,
    }
    return home.write(f".aws/sso/cache/{hashlib.sha1(name.encode()).hexdigest()}.json", json.dumps(kept))


@pytest.mark.parametrize("config", [SESSION, LEGACY], ids=["session", "legacy"])
def test_a_login_gives_keys(home, server, services, config):
    lay_login(home, services, config)
    assert source_of(connect(server, profile="p")) == "login of profile 'p', role reader"
    (asked,) = services.requests
    assert asked.path == "/federation/credentials"
    assert asked.query == {"role_name": "reader", "account_id": "012345678901"}
    assert asked.headers["x-amz-sso_bearer_token"] == "canary-login"
    assert "authorization" not in asked.headers


REFRESH = {"clientId": "canary-id", "clientSecret": "canary-client", "refreshToken": "canary-refresh"}


def test_a_login_near_its_end_is_renewed_and_written_back(home, server, services):
    path = lay_login(home, services, left=timedelta(minutes=3), startUrl="kept", **REFRESH)
    source_of(connect(server, profile="p"))
    renewal, asked = services.requests
    assert (renewal.method, renewal.path) == ("POST", "/token")
    assert json.loads(renewal.body) == {"grantType": "refresh_token", **REFRESH}
    assert asked.headers["x-amz-sso_bearer_token"] == "canary-new-login"
    kept = json.loads(Path(path).read_text())
    assert (kept["accessToken"], kept["refreshToken"], kept["startUrl"]) == (
        "canary-new-login",
        "canary-new-refresh",
        "kept",
    )
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert len(list(Path(path).parent.iterdir())) == 1
    del asked
    services.requests.clear()
    source_of(connect(server, profile="p", user_agent="another client"))
    assert [request.path for request in services.requests] == ["/federation/credentials"]


def test_a_login_that_cannot_be_renewed_is_used_to_its_end(home, server, services):
    services.answers["/token"] = 400, {"error": "invalid_grant"}
    lay_login(home, services, left=timedelta(minutes=3), **REFRESH)
    source_of(connect(server, profile="p"))
    assert services.requests[-1].headers["x-amz-sso_bearer_token"] == "canary-login"


HINT = "log in: aws sso login --profile p"


@pytest.mark.parametrize("case", ["expired", "refused", "never", "broken", "renewal refused"])
def test_who_has_to_log_in_is_told_how(home, server, services, case):
    left = timedelta(minutes=-1) if case in {"expired", "renewal refused"} else timedelta(hours=1)
    path = lay_login(home, services, left=left, **(REFRESH if case == "renewal refused" else {}))
    services.answers["/token"] = 400, {"error": "invalid_grant"}
    services.answers["/federation/credentials"] = 401, {"message": "Session token not found or invalid"}
    words = {
        "expired": "the login has expired",
        "renewal refused": "the login has expired",
        "refused": "the token of the login was refused",
        "never": "nobody has logged in",
        "broken": f"{path} holds no token",
    }[case]
    if case == "never":
        Path(path).unlink()
    elif case == "broken":
        Path(path).write_text('{"accessToken": "canary"}')
    refused(connect(server, profile="p"), f"{words}; {HINT}")


def test_a_login_whose_token_is_no_header(home, server, services):
    lay_login(home, services, accessToken="canary\nx-forged: 1")
    refused(connect(server, profile="p"), "the token of the login holds characters that no header may hold")
    assert not services.requests


@pytest.mark.parametrize("missing", ["sso_start_url", "sso_region", "sso_account_id", "sso_role_name"])
def test_a_profile_without_all_of_its_login(home, server, services, missing):
    config = "".join(line for line in SESSION.splitlines(keepends=True) if not line.startswith(missing))
    lay_login(home, services, config)
    refused(connect(server, profile="p"), f"profile 'p' has no {missing}")


def test_other_ways_a_login_may_be_wrong(home, server, services):
    lay_login(home, services, SESSION.replace("sso_session = my session", "sso_session = other"))
    refused(connect(server, profile="p"), r"config:2: there is no \[sso-session other\]")
    lay_login(home, services, LEGACY.replace("eu-west-1", "evil.example/"))
    refused(connect(server, profile="p"), "the sso_region 'evil.example/' is none")
    lay_login(home, services, LEGACY)
    services.answers["/federation/credentials"] = 403, {"message": "canary"}
    refused(connect(server, profile="p"), "role reader of account 012345678901 was refused with status 403")
    services.answers["/federation/credentials"] = 200, {"roleCredentials": {"accessKeyId": "canary"}}
    refused(connect(server, profile="p"), "AWS_ENDPOINT_URL_SSO holds no keys")


# ---- containers ----


def test_a_container_by_a_path(home, server, services, monkeypatch):
    monkeypatch.setattr(container, "AGENT", services.url)
    home.set(
        AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/container?id=a%2Fb&x", AWS_CONTAINER_CREDENTIALS_FULL_URI="x"
    )
    source_of(connect(server))
    (asked,) = services.requests
    assert (asked.path, asked.query) == ("/container", {"id": "a/b"})
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("form", ["file", "inline", "both"])
def test_a_container_s_token_with_its_line_ends(home, server, services, form):
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    if form != "inline":
        home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=home.write("token", "canary-token 1\r\n\n"))
    if form != "file":
        home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN="canary-token 1\n" if form == "inline" else "other")
    store = connect(server)
    source_of(store)
    home.write("token", "canary-token 2\n")
    services.expire()
    store.put("k", b"2")
    second = "canary-token 1" if form == "inline" else "canary-token 2"
    assert [request.headers["authorization"] for request in services.requests] == ["canary-token 1", second]
    server.take_errors()


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("http://169.254.170.2/x", True),
        ("http://169.254.170.23/v1/credentials", True),
        ("http://[fd00:ec2::23]/v1/credentials", True),
        ("http://127.9.9.9:1/x", True),
        ("http://[::1]:1/x", True),
        ("http://localhost:1/x", True),
        ("https://example.com/x", True),
        ("http://example.com/x", False),
        ("http://169.254.169.254/x", False),
        ("http://127.0.0.1.example.com/x", False),
        ("http://2130706433/x", False),
    ],
)
def test_which_hosts_a_container_s_url_may_name(uri, allowed):
    from urllib.parse import urlsplit

    parts = urlsplit(uri)
    if allowed:
        container._check_host(parts.scheme, parts.hostname, "it")
    else:
        with pytest.raises(
            exceptions.GenericError, match=r"it names the host '.*' without TLS; only loopback"
        ):
            container._check_host(parts.scheme, parts.hostname, "it")


CONTAINERS = {
    "host": ({"FULL_URI": "http://user:canary@10.0.0.1/x"}, None, "names the host '10.0.0.1' without TLS"),
    "no url": ({"FULL_URI": "http://[canary"}, None, "container_credentials_full_uri is not a URL"),
    "user": ({"FULL_URI": "http://user:canary@127.0.0.1/x"}, None, "has a user"),
    "relative": ({"RELATIVE_URI": "@evil.example/x"}, None, "must be a path that begins with '/'"),
    "status": ({}, (404, "canary"), "container credentials at 127.0.0.1:.* were refused with status 404"),
    "no json": ({}, (200, "canary"), "is no JSON object"),
    "list": ({}, (200, ["canary"]), "is no JSON object"),
    "no secret": ({}, (200, {"AccessKeyId": "A", "SecretAccessKey": ""}), "has no SecretAccessKey"),
    "number": ({}, (200, {"AccessKeyId": "A", "SecretAccessKey": 1}), "has no SecretAccessKey, or one that"),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_a_container_that_gives_no_keys(home, server, services, case):
    variables, answer, words = CONTAINERS[case]
    variables = variables or {"FULL_URI": f"{services.url}/container"}
    home.set(**{f"AWS_CONTAINER_CREDENTIALS_{name}": value for name, value in variables.items()})
    services.answers["/container"] = answer
    refused(connect(server), words)


@pytest.mark.parametrize("token", ["can\r\nary: x", "caf\u00e9"])
def test_a_container_s_token_that_is_no_header(home, server, services, token):
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN=token)
    refused(connect(server), "AWS_CONTAINER_AUTHORIZATION_TOKEN holds characters that no header may hold")
    home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=f"{home.path}/none")
    refused(connect(server, user_agent="other"), f"the container's token {home.path}/none is not there")
    assert not services.requests


# ---- instances ----

ROLES = "/latest/meta-data/iam/security-credentials/"


def at_instance(home, services):
    home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=services.url)


def test_an_instance_gives_keys_by_version_2(home, server, services):
    at_instance(home, services)
    assert source_of(connect(server)) == "instance metadata, role 'my-role'"
    token, *others = services.requests
    assert (token.method, token.path) == ("PUT", "/latest/api/token")
    assert token.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "600"
    assert [request.path for request in others] == [ROLES, f"{ROLES}my-role"]
    assert [request.headers["x-aws-ec2-metadata-token"] for request in others] == ["canary-imds-token"] * 2


@pytest.mark.parametrize("status", [403, 404, 405])
def test_version_1_only_when_asked_for(home, server, services, status):
    at_instance(home, services)
    services.answers["/latest/api/token"] = status, "canary"
    refused(connect(server), rf"gives no token \(status {status}; imdsv1_fallback=True would try version 1")
    assert len(services.requests) == 1
    source_of(connect(server, imdsv1_fallback=True))
    assert all("x-aws-ec2-metadata-token" not in request.headers for request in services.requests)


def test_a_token_of_an_instance_that_is_no_header(home, server, services):
    at_instance(home, services)
    services.answers["/latest/api/token"] = 200, "canary\r\nx-forged: 1"
    refused(connect(server), "the token of 127.0.0.1:.* holds characters that no header may hold")
    assert len(services.requests) == 1


def test_a_busy_instance_is_asked_again(home, server, services, no_waits):
    at_instance(home, services)
    left = [503, 429, 500, 503]
    services.answers["/latest/api/token"] = lambda _: (left.pop(), "") if left else (200, "canary-imds-token")
    source_of(connect(server))
    assert len(services.find("/latest/api/token")) == 5


def test_an_instance_that_stays_busy(home, server, services, no_waits):
    at_instance(home, services)
    services.answers["/latest/api/token"] = 503, ""
    refused(connect(server), r"gives no token \(status 503")
    assert len(services.requests) == metadata.TRIES


@pytest.mark.parametrize("roles", [(404, ""), (200, "\n")])
def test_an_instance_without_a_role(home, server, services, roles):
    at_instance(home, services)
    services.answers[ROLES] = roles
    refused(connect(server), "instance metadata: the instance has no role")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            (200, {"Code": "AssumeRoleUnauthorizedAccess"}),
            r"role 'my-role': there are no keys for it \(status 200\)",
        ),
        ((404, {}), r"there are no keys for it \(status 404\)"),
        ((200, "canary"), "is no JSON object"),
        ((400, "canary"), "answered with status 400"),
    ],
)
def test_a_role_of_an_instance_without_keys(home, server, services, answer, words):
    at_instance(home, services)
    services.answers[f"{ROLES}my-role"] = answer
    refused(connect(server), words)


@pytest.mark.parametrize(
    ("variables", "config", "options", "url"),
    [
        ({}, "", {}, metadata.IPV4),
        ({"ENDPOINT_MODE": "IPv6"}, "", {}, metadata.IPV6),
        ({"ENDPOINT_MODE": "ipv4"}, "ec2_metadata_service_endpoint_mode = IPv6", {}, metadata.IPV4),
        ({}, "ec2_metadata_service_endpoint_mode = IPv6", {}, metadata.IPV6),
        ({"ENDPOINT": "http://e"}, "ec2_metadata_service_endpoint = http://c", {}, "http://e"),
        ({"ENDPOINT_MODE": "IPv6"}, "ec2_metadata_service_endpoint = http://c", {}, "http://c"),
        ({"ENDPOINT": "http://e"}, "", {"metadata_endpoint": "http://o"}, "http://o"),
    ],
)
def test_where_the_metadata_is(home, server, monkeypatch, variables, config, options, url):
    home.set(AWS_EC2_METADATA_DISABLED="")
    home.set(**{f"AWS_EC2_METADATA_SERVICE_{name}": value for name, value in variables.items()})
    home.write("config", f"[default]\n{config}\n")
    asked = []

    def note(context, url, label, **more):
        asked.append((url, more["connect_ms"], more["local"]))
        raise exceptions.GenericError(label)

    monkeypatch.setattr(services_of_aws, "service_client", note)
    with pytest.raises(UnauthenticatedError):
        connect(server, **options).head("k")
    assert asked == [(url, 1000, True)]


def test_the_metadata_of_another_mode(home, server):
    home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE="IPv5")
    refused(connect(server), "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is 'IPv5'; it must be IPv4 or IPv6")


def test_an_instance_is_asked_without_a_proxy(home, server, services):
    at_instance(home, services)
    home.set(http_proxy="http://127.0.0.1:9", no_proxy=server.url.partition("://")[2].partition(":")[0])
    home.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=services.url.replace("127.0.0.1", "localhost"))
    assert source_of(connect(server)).startswith("instance metadata")


@pytest.mark.fork
def test_workers_that_begin_together_are_all_served(home, services, server):
    """Processes; each asks an instance that turns half of its requests away."""
    at_instance(home, services)
    turn = iter(range(10_000))

    def half(request):
        if next(turn) % 2:
            return 503, ""
        return 200, "canary-imds-token"

    services.answers["/latest/api/token"] = half
    out = run_script(
        f"""
        import os
        from s3ext.store import S3Store
        children = []
        for number in range(8):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    S3Store("bucket", endpoint={server.url!r}, allow_http=True).put(str(number), b"1")
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        print(sum(os.waitpid(child, 0)[1] == 0 for child in children))
        """
    )
    assert out.strip() == "8"
    assert len(server.keys()) == 8


def test_workers_that_start_together_do_not_ask_together(home, server, services, monkeypatch):
    """Each draws a wait before its first request, and no two the same."""
    home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=services.url)
    waits = []
    monkeypatch.setattr(metadata, "sleep", lambda wait: waits.append((wait, len(services.requests))))
    for number in range(20):
        store = connect(server, user_agent=f"worker {number}")
        client_for(store._settings, None).provider()
    assert [asked for _, asked in waits] == [3 * number for number in range(20)]
    drawn = [wait for wait, _ in waits]
    assert 0 <= min(drawn) < max(drawn) - metadata.START_SECONDS / 4
    assert max(drawn) <= metadata.START_SECONDS
    assert len(set(drawn)) == 20


@pytest.mark.fork
def test_processes_that_start_together_arrive_one_after_the_other(home, server, services):
    home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=services.url)
    out = run_script(
        f"""
        import os, random, time
        from s3ext._clients import client_for
        from s3ext._credentials import metadata
        from s3ext.store import S3Store
        store = S3Store("bucket", endpoint={server.url!r}, region="us-east-1", allow_http=True)
        reader, writer = os.pipe()
        children = []
        for _ in range(8):
            child = os.fork()
            if child == 0:
                draw = []
                metadata.sleep = lambda wait: (draw.append(wait), time.sleep(wait))
                client_for(store._settings, None).provider()
                os.write(writer, f"{{draw[0]!r}}\\n".encode())
                os._exit(0)
            children.append(child)
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        os.close(writer)
        print(os.read(reader, 4096).decode())
        """
    )
    drawn = {float(word) for word in out.split()}
    assert len(drawn) == 8
    assert max(drawn) - min(drawn) > metadata.START_SECONDS / 10
    assert len(services.find("/latest/api/token")) == 8
