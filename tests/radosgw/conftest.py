"""Fixtures of the tests against radosgw: the cluster, a bucket for each test, stores."""

from __future__ import annotations

import itertools
import os

import boto3
import pytest
from botocore.config import Config

from s3ext.store import S3Store
from tests.python.ways import PART, Way
from tests.radosgw.cluster import Cluster, missing_programs

BUCKETS = itertools.count(1)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """The cluster's description; the first test of the run that needs it starts it, whatever the worker."""
    if missing := missing_programs():
        pytest.skip(
            f"not installed: {', '.join(missing)} (Debian: radosgw ceph-mon ceph-osd ceph-common ceph-base)"
        )
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with Cluster(shared) as cluster:
        yield cluster.description


@pytest.fixture(scope="session")
def boto(gateway):
    """Another client, to prepare and to look."""
    client = boto3.client(
        "s3",
        endpoint_url=gateway.url,
        aws_access_key_id=gateway.access_key,
        aws_secret_access_key=gateway.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    yield client
    client.close()


def new_bucket(boto):
    name = f"bucket-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{next(BUCKETS)}"
    boto.create_bucket(Bucket=name)
    return name


@pytest.fixture
def bucket(boto):
    """The name of a new bucket."""
    return new_bucket(boto)


def connect(gateway, bucket, **options):
    """Make a store; any option may be given otherwise, and what is None is left out."""
    defaults = {
        "endpoint": gateway.url,
        "access_key_id": gateway.access_key,
        "secret_access_key": gateway.secret_key,
        "region": "us-east-1",
        "allow_http": True,
        "part_size": PART,
    }
    given = {name: value for name, value in {**defaults, **options}.items() if value is not None}
    return S3Store(bucket, **given)


@pytest.fixture
def store(gateway, bucket):
    """A store on the bucket."""
    return connect(gateway, bucket)


@pytest.fixture(params=["sync", "async"])
def way(request):
    """Sync calls in one run of the test, async ones in the other."""
    way = Way(request.param)
    yield way
    way.close()
