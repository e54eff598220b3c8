"""Session tokens, given out and checked by the server: in headers, in URLs, from a provider."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from s3ext import exceptions
from s3ext._clients import client_for
from tests.radosgw.conftest import connect
from tests.radosgw.test_urls import request


@pytest.fixture(scope="module")
def role(gateway):
    """The ARN of a role that may do everything but delete."""
    keys = {
        "aws_access_key_id": gateway.access_key,
        "aws_secret_access_key": gateway.secret_key,
        "region_name": "us-east-1",
    }
    iam = boto3.client("iam", endpoint_url=gateway.url, **keys)
    tester = {"AWS": ["arn:aws:iam:::user/tester"]}
    trusted = {"Effect": "Allow", "Principal": tester, "Action": ["sts:AssumeRole"]}
    role = f"role-{datetime.now(UTC).timestamp():f}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=policy(trusted))
    allowed = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    denied = {"Effect": "Deny", "Action": ["s3:DeleteObject"], "Resource": ["arn:aws:s3:::*"]}
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=policy(allowed, denied))
    iam.close()
    return f"arn:aws:iam:::role/{role}"


@pytest.fixture(scope="module")
def session(gateway, role):
    """Keys with a token, as S3Credential: those of the role."""
    keys = {
        "aws_access_key_id": gateway.access_key,
        "aws_secret_access_key": gateway.secret_key,
        "region_name": "us-east-1",
    }
    sts = boto3.client("sts", endpoint_url=gateway.sts_url, **keys)
    given = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    sts.close()
    return {
        "access_key_id": given["AccessKeyId"],
        "secret_access_key": given["SecretAccessKey"],
        "token": given["SessionToken"],
        "expires_at": given["Expiration"],
    }


def policy(*statements):
    """Make a policy document; without spaces, which the server does not read."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def connect_with(gateway, bucket, session, **changes):
    keys = {
        "access_key_id": session["access_key_id"],
        "secret_access_key": session["secret_access_key"],
        "session_token": session["token"],
    }
    return connect(gateway, bucket, endpoint=gateway.sts_url, **{**keys, **changes})


def test_calls_with_a_session_token(gateway, bucket, session, way):
    store = connect_with(gateway, bucket, session)
    data = bytes(range(256)) * 24_000
    way(store, "put", "a b/ü+%", b"123")
    way(store, "put", "big", data, chunk_size=5 << 20)
    way(store, "copy", "a b/ü+%", "copy")
    assert way(way(store, "get", "big"), "bytes") == data
    assert way(store, "get_range", "copy", start=1, end=2) == b"2"
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["a b/ü+%", "big", "copy"]


def test_a_role_may_only_do_what_its_policy_says(gateway, bucket, store, session, way):
    way(store, "put", "k", b"kept")
    limited = connect_with(gateway, bucket, session)
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        way(limited, "delete", "k")
    assert (caught.value.status, caught.value.code) == (403, "AccessDenied")
    with pytest.raises(exceptions.PermissionDeniedError, match="AccessDenied"):
        way(limited, "delete", ["k", "l"])
    assert way(way(store, "get", "k"), "bytes") == b"kept"


def test_urls_carry_the_session_token(gateway, bucket, session, way):
    store = connect_with(gateway, bucket, session)
    way(store, "put", "k ü", b"123")
    url = way(store, "sign", "GET", "k ü", timedelta(minutes=5))
    assert request(url) == (200, b"123")
    without = "&".join(part for part in url.split("&") if not part.startswith("X-Amz-Security-Token="))
    assert without != url
    assert request(without)[0] == 403
    assert request(way(store, "sign", "PUT", "new", timedelta(minutes=5)), "PUT", b"1")[0] == 200


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"session_token": None}, exceptions.PermissionDeniedError),
        ({"session_token": "bm90IGEgdG9rZW4="}, exceptions.BaseError),
        ({"secret_access_key": "wrong"}, exceptions.PermissionDeniedError),
        ({"access_key_id": "ASIANOBODY"}, exceptions.PermissionDeniedError),
    ],
    ids=["no token", "wrong token", "wrong secret", "wrong key"],
)
def test_what_does_not_belong_to_the_token_is_refused(gateway, bucket, store, session, way, changes, error):
    way(store, "put", "k", b"1")
    refused = connect_with(gateway, bucket, session, **changes)
    for call, arguments in (("get", ("k",)), ("put", ("k", b"2"))):
        with pytest.raises(error) as caught:
            way(refused, call, *arguments)
        assert caught.value.status in {400, 403}
        assert session["token"] not in str(caught.value)
        assert session["secret_access_key"] not in str(caught.value)
    assert way(way(store, "get", "k"), "bytes") == b"1"


def test_a_provider_gives_keys_with_tokens(gateway, bucket, session, way):
    asked = []

    def provider():
        asked.append(datetime.now(UTC))
        return session

    store = connect(
        gateway,
        bucket,
        endpoint=gateway.sts_url,
        access_key_id=None,
        secret_access_key=None,
        credential_provider=provider,
    )
    way(store, "put", "k", b"1")
    assert way(way(store, "get", "k"), "bytes") == b"1"
    assert len(asked) == 1


def test_keys_without_a_token_work_at_the_same_gateway(gateway, bucket, way):
    store = connect(gateway, bucket, endpoint=gateway.sts_url)
    way(store, "put", "k", b"1")
    way(store, "delete", "k")
    assert way(store.list(), "collect") == []


# ---- by a profile ----


@pytest.fixture
def assumed(gateway, role, tmp_path, monkeypatch):
    """Make a store whose keys come from a profile's role; each of its tokens lasts some seconds."""

    def make(bucket, seconds=900, **changes):
        (tmp_path / "credentials").write_text(
            f"[base]\naws_access_key_id = {gateway.access_key}\n"
            f"aws_secret_access_key = {gateway.secret_key}\n"
        )
        (tmp_path / "credentials").chmod(0o600)
        (tmp_path / "config").write_text(
            f"[profile role]\nrole_arn = {role}\nsource_profile = base\nduration_seconds = {seconds}\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        keys = {"access_key_id": None, "secret_access_key": None, "profile": "role"}
        urls = {"endpoint": gateway.sts_url, "endpoint_url_sts": gateway.sts_url}
        return connect(gateway, bucket, **{**keys, **urls, **changes})

    return make


def test_a_role_is_assumed_by_the_chain(assumed, bucket, way):
    store = assumed(bucket)
    data = bytes(range(256)) * 24_000
    way(store, "put", "big", data, chunk_size=5 << 20)
    assert way(way(store, "get", "big"), "bytes") == data
    with pytest.raises(
        exceptions.PermissionDeniedError, match=r"AccessDenied.*keys of role arn:aws:iam:::role/"
    ):
        way(store, "delete", "big")


def test_tokens_that_expire_in_mid_transfer_are_renewed(gateway, assumed, bucket, way):
    """The server refuses each after four seconds; what is written, and then read, takes longer."""
    store = assumed(bucket, 4)
    part = bytes(5 << 20)
    begun, sent = time.monotonic(), []

    def slowly():
        for _ in range(6):
            yield part
            sent.append(client_for(store._settings, None).provider.expires_at)
            time.sleep(0.7)

    way(store, "put", "k", slowly(), chunk_size=5 << 20)
    assert time.monotonic() - begun > 4
    assert len(set(sent)) > 1
    read = 0
    for piece in way.pieces(way(store, "get", "k").stream(len(part))):
        read += len(piece)
        time.sleep(0.3)
    assert read == 6 * len(part)


def test_the_server_does_refuse_a_token_that_has_expired(gateway, assumed, bucket):
    """What the test before rests on."""
    keys = client_for(assumed(bucket, 2)._settings, None).provider()
    old = connect_with(gateway, bucket, keys)
    old.put("k", b"1")
    while datetime.now(UTC) < keys["expires_at"] + timedelta(seconds=0.5):
        time.sleep(0.05)
    with pytest.raises(exceptions.BaseError) as caught:
        old.put("k", b"2")
    assert caught.value.status in {400, 403}


def test_a_role_that_does_not_exist_is_told_by_the_server(assumed, bucket, role):
    store = assumed(bucket)
    config = Path(os.environ["AWS_CONFIG_FILE"])
    config.write_text(config.read_text().replace(role, f"{role}-not"))
    with pytest.raises(
        exceptions.UnauthenticatedError, match=r"AssumeRole at localhost:\d+ was refused: 4\d\d "
    ):
        store.head("k")
