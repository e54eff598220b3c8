"""Fixtures of the tests against moto: as it is, with its IAM checks on, and with a table of locks."""

from __future__ import annotations

import itertools
import json
import urllib.request

import boto3
import pytest
from botocore.config import Config

from s3ext.store import S3Store
from s3ext.testing import serve

BUCKET = "breadth"
PLAIN = {"access_key_id": "AKIDMOTO", "secret_access_key": "secret"}
TABLES = itertools.count(1)


def client(service, server, keys=PLAIN):
    """Another client, to prepare and to look; for any service of moto's."""
    return boto3.client(
        service,
        endpoint_url=server.endpoint_url,
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        aws_session_token=keys.get("session_token"),
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def open_store(server, **options) -> S3Store:
    """Make a store on the bucket; any option may be given otherwise."""
    keys = {**PLAIN, "region": "us-east-1"}
    client_options = {"allow_http": True}
    return S3Store(BUCKET, endpoint=server.endpoint_url, client_options=client_options, **{**keys, **options})


@pytest.fixture(scope="session")
def moto():
    """Moto as it is: it takes any signature."""
    with serve() as server:
        server.bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def strict_moto():
    """Moto that checks header signatures: the server, the keys of a user, and keys with a session token.

    It answers presigned URLs and public objects with 500.
    """
    with serve() as server:
        server.bucket(BUCKET)
        keys, session = _make_keys(server)
        # From now on it checks.
        request = urllib.request.Request(
            f"{server.endpoint_url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()
        yield server, keys, session


def _make_keys(server):
    """Make a user and a role that may do everything; return keys of both."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    anyone = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    iam, sts = client("iam", server), client("sts", server)
    iam.create_user(UserName="tester")
    iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=_policy(everything))
    key = iam.create_access_key(UserName="tester")["AccessKey"]
    role = iam.create_role(RoleName="tester", AssumeRolePolicyDocument=_policy(anyone))["Role"]
    iam.put_role_policy(RoleName="tester", PolicyName="all", PolicyDocument=_policy(everything))
    given = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="tester")["Credentials"]
    keys = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
    session = {
        "access_key_id": given["AccessKeyId"],
        "secret_access_key": given["SecretAccessKey"],
        "session_token": given["SessionToken"],
    }
    return keys, session


def _policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


# ---- tables of locks: what conditional operations by way of `dynamo:TABLE` need ----


def make_table(server, keys):
    """Make a table as object_store 0.12 wants it: a hash key `path`, a range key `etag`, both strings."""
    name = f"locks-{next(TABLES)}"
    client("dynamodb", server, keys).create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "path", "KeyType": "HASH"},
            {"AttributeName": "etag", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "path", "AttributeType": "S"},
            {"AttributeName": "etag", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.fixture
def table(strict_moto):
    """The name of a new table in the moto that checks signatures, at the same endpoint as its buckets."""
    server, keys, _ = strict_moto
    return make_table(server, keys)
