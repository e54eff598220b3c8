"""What type checkers are to say of a program that uses s3ext; `test_typing.py` runs them over it.

Every function here must be right in the eyes of mypy --strict and of pyright. What must be wrong is on a line
that ends in `# wrong`, and they must say so. Nothing here is ever run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, assert_type

import obspec

import s3ext
from s3ext import (
    Attributes,
    Bytes,
    GetOptions,
    GetResult,
    ListResult,
    ObjectMeta,
    ObjectWriter,
    PutResult,
)
from s3ext.auth.aiobotocore import AiobotocoreCredentialProvider
from s3ext.auth.boto3 import Boto3CredentialProvider, StsCredentialProvider
from s3ext.auth.earthdata import NasaEarthdataAsyncCredentialProvider, NasaEarthdataCredentialProvider
from s3ext.exceptions import BaseError, NotFoundError
from s3ext.store import (
    BackoffConfig,
    ClientConfig,
    RetryConfig,
    S3ChecksumAlgorithm,
    S3Config,
    S3Credential,
    S3CredentialProvider,
    S3EncryptionAlgorithm,
    S3Regions,
    S3Store,
    from_url,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


class SyncStore(
    obspec.Copy,
    obspec.Delete,
    obspec.Get,
    obspec.GetRange,
    obspec.GetRanges,
    obspec.Head,
    obspec.List,
    obspec.ListWithDelimiter,
    obspec.Put,
    obspec.Rename,
    Protocol,
):
    """Every sync protocol of obspec."""


class AsyncStore(
    obspec.CopyAsync,
    obspec.DeleteAsync,
    obspec.GetAsync,
    obspec.GetRangeAsync,
    obspec.GetRangesAsync,
    obspec.HeadAsync,
    obspec.ListAsync,
    obspec.ListWithDelimiterAsync,
    obspec.PutAsync,
    obspec.RenameAsync,
    Protocol,
):
    """Every async protocol of obspec."""


class Special(S3Store):
    """A subclass keeps its type."""


def obspec_takes_a_store(store: S3Store) -> tuple[SyncStore, AsyncStore]:
    return store, store


def obspec_takes_its_results(store: S3Store) -> tuple[obspec.GetResult, obspec.GetResultAsync]:
    return store.get("k"), store.get("k")


def stores_are_made() -> None:
    region: S3Regions = "eu-central-1"
    checksum: S3ChecksumAlgorithm = "CRC64NVME"
    encryption: S3EncryptionAlgorithm = "aws:kms"
    config: S3Config = {
        "bucket": "b",
        "region": region,
        "checksum_algorithm": checksum,
        "server_side_encryption": encryption,
        "skip_signature": True,
    }
    client: ClientConfig = {
        "timeout": timedelta(seconds=30),
        "connect_timeout": "4 seconds",
        "default_headers": {"x-one": "1"},
        "root_certificate": b"",
    }
    backoff: BackoffConfig = {"base": 2, "init_backoff": timedelta(seconds=1)}
    retry: RetryConfig = {"max_retries": 3, "backoff": backoff}
    store = S3Store(config=config, client_options=client, retry_config=retry)
    assert_type(store, S3Store)
    assert_type(S3Store("b", prefix="p", region="anywhere", allow_http=True, part_size=1 << 20), S3Store)
    assert_type(Special.from_url("s3://b/p"), Special)
    assert_type(from_url("s3://b/p", region="eu-west-1"), S3Store)
    assert_type(store.prefix, "str | None")
    again = S3Store(
        config=store.config,
        prefix=store.prefix,
        client_options=store.client_options,
        retry_config=store.retry_config,
        credential_provider=store.credential_provider,
    )
    assert_type(again == store, bool)


def providers_are_functions() -> None:
    def sync_provider() -> S3Credential:
        return {"access_key_id": "a", "secret_access_key": "s", "expires_at": datetime.now(UTC)}

    async def async_provider() -> S3Credential:
        return {"access_key_id": "a", "secret_access_key": "s", "token": None, "expires_at": None}

    providers: list[S3CredentialProvider] = [sync_provider, async_provider]
    S3Store("b", credential_provider=providers[0])
    S3Store("b", credential_provider=sync_provider)
    S3Store("b", credential_provider=async_provider)
    S3Store("b", credential_provider=Boto3CredentialProvider(ttl=timedelta(minutes=5)))
    S3Store("b", credential_provider=StsCredentialProvider(RoleArn="arn", RoleSessionName="name"))
    S3Store("b", credential_provider=AiobotocoreCredentialProvider())
    S3Store("b", credential_provider=NasaEarthdataCredentialProvider("https://x", auth=("user", "password")))
    S3Store("b", credential_provider=NasaEarthdataAsyncCredentialProvider("https://x", auth="token"))


def results_have_types(store: S3Store) -> None:
    options: GetOptions = {"range": (0, 10), "if_match": '"x"'}
    result = store.get("k", options=options)
    assert_type(result, GetResult)
    assert_type(result.bytes(), Bytes)
    assert_type(result.range, tuple[int, int])
    assert_type(result.meta, ObjectMeta)
    assert_type(result.attributes, Attributes)
    pieces: Iterator[bytes] = result.stream()
    views = [memoryview(piece) for piece in store.get_ranges("k", starts=[0, 5], lengths=[1, 1])]
    views.append(memoryview(store.get_range("k", start=0, end=5)))
    store.get("k", options={"range": {"offset": 5}})
    store.get("k", options={"range": {"suffix": 5}})
    assert_type(store.head("k"), ObjectMeta)
    assert_type(store.head("k")["e_tag"], "str | None")
    metas: list[ObjectMeta] = [meta for chunk in store.list() for meta in chunk]
    metas += store.list("p", offset="o", chunk_size=5).collect()
    level = store.list_with_delimiter()
    assert_type(level, "ListResult[Sequence[ObjectMeta]]")
    assert_type(level["objects"][0]["path"], str)
    names: Sequence[str] = level["common_prefixes"]
    print(pieces, views, metas, names)


def everything_can_be_put(store: S3Store) -> None:
    attributes: Attributes = {"Content-Type": "text/plain", "mine": "x"}
    put: PutResult = store.put("k", b"data", attributes=attributes, tags={"a": "b"}, mode="create")
    store.put("k", bytearray(5), mode={"e_tag": put["e_tag"], "version": put["version"]})
    store.put("k", memoryview(b"data"))
    store.put("k", Path("file"))
    store.put("k", [b"some", b"pieces"], chunk_size=1 << 23, max_concurrency=4)
    store.put("k", store.get("other"))
    store.put("k", store.get_range("other", start=0, end=5))
    with Path("file").open("rb") as file:
        store.put("k", file)


def objects_are_opened_as_files(store: S3Store) -> None:
    assert_type(store.open("k"), BufferedReader)
    assert_type(store.open("k", "rb", block_size=1 << 20, version="v"), BufferedReader)
    assert_type(store.open("k", "xb"), ObjectWriter)
    assert_type(s3ext.open("s3://b/k", "w", encoding="utf-8", newline=""), TextIOWrapper)
    assert_type(s3ext.open("s3+http://b/k", "r", region="eu-west-1", profile="p"), TextIOWrapper)
    with s3ext.open("s3://b/k", "wb", config={"region": "r"}) as file:
        file.write(b"data")
    store.put("k", s3ext.open("s3://b/k"))


def the_rest(store: S3Store) -> None:
    store.delete("k")
    store.delete(["k", "k2"])
    store.copy("k", "k2", overwrite=False)
    store.rename("k", "k2")
    assert_type(store.sign("GET", "k", timedelta(hours=1)), str)
    assert_type(store.sign("GET", ["k", "k2"], timedelta(hours=1)), list[str])
    try:
        store.head("k")
    except NotFoundError as error:
        assert_type(error.status, "int | None")
        assert_type(error.errno, "int | None")
    except BaseError as error:
        assert_type(error.retryable, bool)
        assert_type(error.elapsed, float)


async def every_call_has_its_twin(store: S3Store) -> None:
    result = await store.get_async("k")
    assert_type(await result.bytes_async(), Bytes)
    pieces: AsyncIterator[bytes] = result.stream()
    assert_type([len(chunk) async for chunk in store.list()], list[int])
    assert_type(await store.list().collect_async(), list[ObjectMeta])
    assert_type(await store.put_async("k", pieces), PutResult)
    assert_type(await store.get_range_async("k", start=0, length=5), Bytes)
    assert_type(await store.get_ranges_async("k", starts=[0], ends=[5]), list[Bytes])
    assert_type(await store.head_async("k"), ObjectMeta)
    assert_type(await store.sign_async("GET", "k", timedelta(hours=1)), str)
    await store.copy_async("k", "k2")
    await store.rename_async("k", "k2")
    await store.delete_async(["k"])


def functions_take_the_store_first(store: S3Store) -> None:
    assert_type(s3ext.get(store, "k"), GetResult)
    assert_type(s3ext.get_range(store, "k", start=0, end=5), Bytes)
    assert_type(s3ext.head(store, "k"), ObjectMeta)
    assert_type(s3ext.put(store, "k", b"data"), PutResult)
    assert_type(s3ext.list(store).collect(), list[ObjectMeta])
    assert_type(s3ext.sign(store, "GET", "k", timedelta(hours=1)), str)
    level: ListResult[Sequence[ObjectMeta]] = s3ext.list_with_delimiter(store)
    print(level)


def mistakes_are_found(store: S3Store) -> None:
    S3Store("b", "p")  # wrong
    S3Store("b", regoin="eu-west-1")  # wrong
    S3Store("b", config={"skip_signatur": True})  # wrong
    S3Store("b", client_options={"timeout": []})  # wrong
    S3Store("b", credential_provider=lambda: 5)  # wrong
    store.get(b"k")  # wrong
    store.get("k", options={"range": "0-5"})  # wrong
    store.get_range("k", start="0", end=5)  # wrong
    store.put("k", 5)  # wrong
    store.put("k", b"", mode="append")  # wrong
    store.sign("get", "k", timedelta(hours=1))  # wrong
    store.head("k")["etag"]  # wrong
    store.open("k", encodin="utf-8")  # wrong
    store.open("k", "wb").read(5).decode(5)  # wrong
