"""A pytest plugin that runs obstore's own tests on s3ext, test bodies untouched.

Before anything is collected it puts modules named `obstore`, `obstore.store` and `obstore.exceptions` into
`sys.modules`, which hand out what s3ext has under the same name. Stores that s3ext does not have become
`S3Store`s on a fresh bucket of a verifying server:

    MemoryStore(), LocalStore(folder)    keys as given, a bucket for each store (each folder)
    HTTPStore.from_url(url, options...)  the options as given; `.url` is kept, no request is ever sent

The fixtures that obstore's tests expect from a MinIO container are the verifying server's here, and so is
AWS: the public bucket that some tests read is made on a server that `AWS_ENDPOINT_URL` names, so that the
tests' own configurations stay as they are. A test also fails here if the client did wrong on the wire.

`S3EXT_SHIM_TARGET=obstore` leaves the package `obstore` as it is, and replaces only the stores: what fails
then too is S3's nature or the server's, not ours.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
from types import ModuleType

import pytest

from tests.server import ACCESS_KEY, REGION, SECRET_KEY, VerifyingServer

PUBLIC = "ookla-open-data"
"""The bucket of AWS that obstore's tests read without a signature."""

PUBLIC_KEY = "parquet/performance/type=fixed/year=2024/quarter=1/2024-01-01_performance_fixed_tiles.parquet"
TARGET = os.environ.get("S3EXT_SHIM_TARGET", "s3ext")


class Bench:
    """The servers of the test that runs, and the stores made on them."""

    def __init__(self):
        self.server = None
        self.count = 0
        self.folders = {}

    def store(self, bucket=None, **options):
        """Make a store on a fresh bucket."""
        if bucket is None:
            self.count += 1
            bucket = f"fresh-{self.count}"
            self.server.create_bucket(bucket)
        client_options = {"allow_http": True, **options.pop("client_options", {})}
        return target("store").S3Store(bucket, config=self.config(), client_options=client_options, **options)

    def config(self):
        return {
            "endpoint": self.server.url,
            "region": REGION,
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
        }


bench = Bench()


def memory_store():
    """Stand in for `MemoryStore()`."""
    return bench.store()


def local_store(folder):
    """Stand in for `LocalStore(folder)`."""
    if folder not in bench.folders:
        bench.folders[folder] = bench.store()
    return bench.folders[folder]


class HTTPStore:
    """Stand in for `HTTPStore`: an S3 store that is made from the same options, and pickled with them."""

    def __init__(self, url, store):
        self.url = url
        self.store = store

    @classmethod
    def from_url(cls, url, **options):
        return cls(url, target("store").S3Store("bucket", **options))


def target(name):
    """Import a module of the package under test."""
    return importlib.import_module(f"{TARGET}.{name}" if name else TARGET)


class Alias(ModuleType):
    """A module that hands out another's names, some of them replaced."""

    def __init__(self, name, module, **replaced):
        super().__init__(name)
        self.__dict__.update(replaced)
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: a coroutine, which this plugin runs in a loop of its own")
    stands_in = {"MemoryStore": memory_store, "LocalStore": local_store, "HTTPStore": HTTPStore}
    if TARGET == "obstore":
        vars(target("store")).update(stands_in)
        return
    store = Alias("obstore.store", target("store"), **stands_in)
    exceptions = Alias("obstore.exceptions", target("exceptions"))
    package = Alias("obstore", target(""), store=store, exceptions=exceptions, __path__=[])
    sys.modules.update({"obstore": package, "obstore.store": store, "obstore.exceptions": exceptions})


def pytest_pyfunc_call(pyfuncitem):
    """Run tests that are coroutines; obstore has pytest-asyncio for that."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def verifying_server(monkeypatch):
    """The server behind every store of a test."""
    with VerifyingServer(buckets=("test-bucket", "bucket", PUBLIC), require_auth=False) as server:
        server.put(PUBLIC_KEY, b"PAR1", bucket=PUBLIC)
        bench.server, bench.folders = server, {}
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        yield server
        assert not server.errors, "the client did wrong on the wire:\n" + "\n".join(map(str, server.errors))


@pytest.fixture
def minio_bucket(verifying_server):
    """Configuration and client options of a bucket that is empty and takes requests."""
    config = {"bucket": "test-bucket", "virtual_hosted_style_request": False, **bench.config()}
    return config, {"allow_http": True}


@pytest.fixture
def minio_store(minio_bucket):
    """A store on that bucket."""
    return target("store").S3Store(config=minio_bucket[0], client_options=minio_bucket[1])
