"""`dynamo:TABLE`: conditional puts and copies under locks of DynamoDB; on moto, and on a server for time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from botocore.exceptions import ClientError

import s3ext
from s3ext import _locks, exceptions
from s3ext.store import S3Store
from tests.moto.conftest import BUCKET, client, make_table, moto, open_store, strict_moto, table
from tests.python.ways import connect
from tests.server import Fault, faults

__all__ = ["moto", "strict_moto", "table"]

CREATE = "create"


@pytest.fixture
def locked(strict_moto, table, request):
    """A store under a prefix of its own, and its table."""
    server, keys, _ = strict_moto
    name = request.node.name.translate({ord(mark): "-" for mark in "[]:*"})
    return Locked(server, keys, table, name)


class Locked:
    """Stores that share a table, and a look at it."""

    def __init__(self, server, keys, table, prefix):
        self.server, self.keys, self.table, self.prefix = server, keys, table, prefix
        self.dynamo = client("dynamodb", server, keys)

    def store(self, timeout=None, **options):
        mode = f"dynamo:{self.table}" if timeout is None else f"dynamo:{self.table}:{timeout}"
        given = {"conditional_put": mode, "copy_if_not_exists": mode, **self.keys, **options}
        return open_store(self.server, prefix=self.prefix, **given)

    def hold(self, path, etag="*", generation=0, timeout=300):
        item = {
            "path": {"S": f"{self.prefix}/{path}"},
            "etag": {"S": etag},
            "generation": {"N": str(generation)},
            "timeout": {"N": str(timeout)},
            "ttl": {"N": str(int(time.time()) + 3600)},
        }
        self.dynamo.put_item(TableName=self.table, Item=item)

    def lock(self, path, etag="*"):
        key = {"path": {"S": f"{self.prefix}/{path}"}, "etag": {"S": etag}}
        return self.dynamo.get_item(TableName=self.table, Key=key).get("Item")


# ---- create ----


def test_a_create_takes_a_lock_as_object_store_does(locked, way):
    before = int(time.time())
    way(locked.store(), "put", "dir/a b+ü", b"1", mode=CREATE)
    lock = locked.lock("dir/a b+ü")
    ttl = int(lock.pop("ttl")["N"])
    assert before + 3600 <= ttl <= int(time.time()) + 3600
    assert lock == {
        "path": {"S": f"{locked.prefix}/dir/a b+ü"},
        "etag": {"S": "*"},
        "generation": {"N": "0"},
        "timeout": {"N": "20000"},
    }
    assert way(way(locked.store(), "get", "dir/a b+ü"), "bytes") == b"1"


def test_a_create_of_what_is_there_takes_no_lock(locked, way):
    store = locked.store()
    way(store, "put", "k", b"1")
    with pytest.raises(exceptions.AlreadyExistsError) as caught:
        way(store, "put", "k", b"2", mode=CREATE)
    assert caught.value.key == f"{locked.prefix}/k"
    assert locked.lock("k") is None
    assert way(way(store, "get", "k"), "bytes") == b"1"


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_of_many_creators_one_wins(locked, kind):
    count = 6
    outcomes = []

    def note(number, error):
        outcomes.append((number, type(error).__name__))

    def create(number):
        try:
            locked.store(timeout=2000).put("k", b"%d" % number, mode=CREATE)
        except exceptions.BaseError as error:
            note(number, error)
        else:
            note(number, None)

    async def create_async(store, number):
        try:
            await store.put_async("k", b"%d" % number, mode=CREATE)
        except exceptions.BaseError as error:
            note(number, error)
        else:
            note(number, None)

    async def create_all():
        store = locked.store(timeout=2000)
        await asyncio.gather(*(create_async(store, number) for number in range(count)))

    if kind == "tasks":
        asyncio.run(create_all())
    else:
        threads = [threading.Thread(target=create, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(name for _, name in outcomes) == ["AlreadyExistsError"] * (count - 1) + ["NoneType"]
    (winner,) = (number for number, name in outcomes if name == "NoneType")
    assert locked.store().get("k").bytes() == b"%d" % winner


def test_the_lock_of_a_holder_that_died_is_taken_over_after_three_time_outs(locked, way):
    locked.hold("k", generation=5, timeout=300)
    begun = time.monotonic()
    way(locked.store(timeout=1500), "put", "k", b"1", mode=CREATE)
    assert 0.9 <= time.monotonic() - begun < 10
    lock = locked.lock("k")
    assert (lock["generation"], lock["timeout"]) == ({"N": "6"}, {"N": "1500"})
    assert way(way(locked.store(), "get", "k"), "bytes") == b"1"


def test_a_lock_that_was_renewed_is_waited_for_anew(locked, way):
    locked.hold("k", generation=5, timeout=300)
    renewal = threading.Timer(0.5, locked.hold, ("k", "*", 6, 300))
    renewal.start()
    begun = time.monotonic()
    way(locked.store(timeout=1500), "put", "k", b"1", mode=CREATE)
    renewal.join()
    assert time.monotonic() - begun >= 1.8
    assert locked.lock("k")["generation"] == {"N": "7"}


def test_who_waits_hears_at_once_when_the_holder_has_written(locked, way):
    locked.hold("k", timeout=20_000)
    writer = threading.Timer(0.3, locked.store().put, ("k", b"theirs"))
    writer.start()
    begun = time.monotonic()
    with pytest.raises(exceptions.AlreadyExistsError):
        way(locked.store(), "put", "k", b"mine", mode=CREATE)
    writer.join()
    assert time.monotonic() - begun < 10
    assert locked.lock("k")["generation"] == {"N": "0"}
    assert way(way(locked.store(), "get", "k"), "bytes") == b"theirs"


@pytest.mark.parametrize("kind", ["file", "chunks"])
def test_files_and_iterators_are_put_under_a_lock(locked, way, tmp_path, kind):
    data = b"0123456789" * 700_000
    (tmp_path / "file").write_bytes(data)
    source = tmp_path / "file" if kind == "file" else iter([data[:1000], data[1000:]])
    way(locked.store(), "put", "k", source, mode=CREATE, attributes={"Content-Type": "text/x"})
    found = locked.store().get("k")
    assert found.attributes["Content-Type"] == "text/x"
    assert found.bytes() == data
    assert locked.lock("k") is not None


# ---- update ----


def test_an_update_replaces_the_version_it_knows(locked, way):
    store = locked.store()
    first = way(store, "put", "k", b"1")
    second = way(store, "put", "k", b"2", mode=first)
    assert locked.lock("k", first["e_tag"])["generation"] == {"N": "0"}
    assert way(way(store, "get", "k"), "bytes") == b"2"
    with pytest.raises(exceptions.PreconditionError):
        way(store, "put", "k", b"3", mode=first)
    way(store, "put", "k", b"4", mode=second)
    assert way(way(store, "get", "k"), "bytes") == b"4"


def test_an_update_of_what_is_gone_fails(locked, way):
    with pytest.raises(exceptions.PreconditionError, match="not found"):
        way(locked.store(), "put", "k", b"1", mode={"e_tag": '"abc"'})
    with pytest.raises(exceptions.GenericError, match="ETag required"):
        way(locked.store(), "put", "k", b"1", mode={"version": "1"})


def test_of_two_updates_one_wins(locked):
    etag = locked.store().put("k", b"0")

    async def update(store, data):
        return await store.put_async("k", data, mode=etag)

    async def both():
        store = locked.store(timeout=2000)
        return await asyncio.gather(update(store, b"1"), update(store, b"2"), return_exceptions=True)

    outcomes = asyncio.run(both())
    assert sum(isinstance(outcome, exceptions.PreconditionError) for outcome in outcomes) == 1
    (won,) = (number for number, outcome in enumerate(outcomes, 1) if isinstance(outcome, dict))
    assert locked.store().get("k").bytes() == b"%d" % won


# ---- copy ----


@pytest.mark.parametrize("method", ["copy", "rename"])
def test_a_conditional_copy_is_done_under_a_lock(locked, way, method):
    store = locked.store()
    way(store, "put", "a", b"1")
    way(store, method, "a", "b", overwrite=False)
    assert locked.lock("b")["generation"] == {"N": "0"}
    assert sorted(meta["path"] for meta in store.list().collect()) == (
        ["a", "b"] if method == "copy" else ["b"]
    )
    way(store, "put", "c", b"2")
    with pytest.raises(exceptions.AlreadyExistsError):
        way(store, method, "c", "b", overwrite=False)
    assert way(way(store, "get", "c"), "bytes") == b"2"
    assert way(way(store, "get", "b"), "bytes") == b"1"


def test_of_many_renames_to_one_name_one_wins_and_no_source_is_lost(locked):
    store = locked.store(timeout=2000)
    for number in range(4):
        store.put(f"from{number}", b"%d" % number)

    async def all_of_them():
        moves = (store.rename_async(f"from{number}", "to", overwrite=False) for number in range(4))
        return await asyncio.gather(*moves, return_exceptions=True)

    outcomes = asyncio.run(all_of_them())
    (winner,) = (number for number, outcome in enumerate(outcomes) if outcome is None)
    assert all(isinstance(outcome, exceptions.AlreadyExistsError) for outcome in outcomes if outcome)
    assert store.get("to").bytes() == b"%d" % winner
    left = {meta["path"] for meta in store.list().collect()}
    assert left == {"to"} | {f"from{number}" for number in range(4) if number != winner}


# ---- what goes wrong ----


def test_wrong_keys_take_no_lock(locked, way):
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        way(locked.store(secret_access_key="wrong"), "put", "k", b"1", mode=CREATE)
    assert locked.keys["secret_access_key"] not in str(caught.value)
    assert locked.lock("k") is None


def test_keys_with_a_session_token_take_locks(locked, strict_moto, way):
    way(locked.store(**strict_moto[2]), "put", "k", b"1", mode=CREATE)
    assert locked.lock("k") is not None


def test_a_table_that_is_not_there_is_named(locked, way):
    store = locked.store(conditional_put="dynamo:no-such-table")
    with pytest.raises(exceptions.GenericError, match="no-such-table") as caught:
        way(store, "put", "k", b"1", mode=CREATE)
    assert caught.value.code == "ResourceNotFoundException"
    assert caught.value.status == 400


def test_a_table_of_another_form_is_an_error(strict_moto, way):
    server, keys, _ = strict_moto
    dynamo = client("dynamodb", server, keys)
    name = f"{make_table(server, keys)}-other"
    dynamo.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    store = open_store(server, conditional_put=f"dynamo:{name}", **keys)
    with pytest.raises(exceptions.GenericError, match="ValidationException"):
        way(store, "put", "other-form", b"1", mode=CREATE)


def test_a_lock_that_says_nothing_of_its_holder_is_an_error(locked, way):
    key = {"path": {"S": f"{locked.prefix}/k"}, "etag": {"S": "*"}}
    locked.dynamo.put_item(TableName=locked.table, Item=key)
    with pytest.raises(exceptions.GenericError, match="Failed to extract lease"):
        way(locked.store(), "put", "k", b"1", mode=CREATE)


def test_the_other_client_sees_our_lock(locked):
    """What object_store would send after us is refused, with what it needs to go on."""
    locked.store().put("k", b"1", mode=CREATE)
    item = {name: value for name, value in locked.lock("k").items() if name != "ttl"}
    with pytest.raises(ClientError) as refused:
        locked.dynamo.put_item(
            TableName=locked.table,
            Item={**item, "ttl": {"N": "1"}},
            ConditionExpression="attribute_not_exists(#pk)",
            ExpressionAttributeNames={"#pk": "path"},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert refused.value.response["Item"]["generation"] == {"N": "0"}


# ---- time ----


@pytest.fixture
def granted(monkeypatch):
    """Locks are always had: what the write makes of its time is to be seen, on a server without tables."""

    def take(*_):
        return None
        yield  # makes this a generator

    monkeypatch.setattr(_locks.Lock, "_take", take)


@pytest.mark.usefixtures("granted")
def test_a_put_that_takes_too_long_is_given_up(server, way):
    fault = server.faults.add(Fault(faults.stall("answer"), method="PUT", key="k", times=9))
    store = connect(server, conditional_put="dynamo:t:400")
    begun = time.monotonic()
    with pytest.raises(exceptions.RequestTimeoutError, match="conditional operation in 400 milliseconds"):
        way(store, "put", "k", b"1", mode=CREATE)
    assert 0.35 < time.monotonic() - begun < 5
    fault.release()


@pytest.mark.usefixtures("granted")
def test_retries_end_with_the_lock(server, way):
    server.faults.add(Fault(faults.s3_error("InternalError"), method="PUT", key="k", times=999))
    store = connect(server, conditional_put="dynamo:t:400")
    with pytest.raises(exceptions.RequestTimeoutError, match="in 400 milliseconds"):
        way(store, "put", "k", b"1", mode=CREATE)


@pytest.mark.usefixtures("granted")
def test_a_put_under_a_lock_has_no_condition_and_may_be_sent_again(server, way):
    server.faults.add(Fault(faults.lose_answer(), method="PUT", key="k"))
    etag = way(connect(server, conditional_put="dynamo:t"), "put", "k", b"1", mode=CREATE)
    way(connect(server, conditional_put="dynamo:t"), "put", "k", b"2", mode=etag)
    assert len(server.find("PUT", "k")) == 3
    for request in server.find("PUT", "k"):
        assert not request.header("if-none-match")
        assert not request.header("if-match")


@pytest.mark.usefixtures("granted")
def test_another_time_out_than_the_locks_stays_what_it_is(server, way):
    server.faults.add(Fault(faults.stall("answer", 2), method="PUT", key="k", times=9))
    options = {"client_options": {"read_timeout": "200ms"}, "retry_config": {"max_retries": 0}}
    store = S3Store(
        "bucket",
        endpoint=server.url,
        conditional_put="dynamo:t",
        access_key_id="AKIDTESTEXAMPLE00001",
        secret_access_key="test/secret+key/for=the/verifying/server",
        client_options={"allow_http": True, **options["client_options"]},
        retry_config=options["retry_config"],
    )
    with pytest.raises(exceptions.RequestTimeoutError) as caught:
        way(store, "put", "k", b"1", mode=CREATE)
    assert "conditional operation" not in str(caught.value)


@pytest.mark.usefixtures("granted")
def test_a_copy_that_takes_too_long_is_given_up_and_no_source_is_lost(server, way):
    server.put("a", b"1")
    fault = server.faults.add(Fault(faults.stall("request"), method="PUT", key="b", times=9))
    store = connect(server, copy_if_not_exists="dynamo:t:300")
    with pytest.raises(exceptions.RequestTimeoutError, match="in 300 milliseconds"):
        way(store, "rename", "a", "b", overwrite=False)
    assert "a" in server.keys()  # noqa: SIM118 - a method of the server's
    fault.release()


def test_a_wait_for_a_lock_can_be_cancelled(locked):
    locked.hold("k", timeout=20_000)

    async def wait_a_little():
        await asyncio.wait_for(locked.store().put_async("k", b"1", mode=CREATE), 0.5)

    with pytest.raises(TimeoutError):
        asyncio.run(wait_a_little())
    assert locked.lock("k")["generation"] == {"N": "0"}


# ---- where the table is ----


@pytest.mark.parametrize(
    ("options", "scheme", "host", "path"),
    [
        ({"region": "eu-west-1"}, "https", "dynamodb.eu-west-1.amazonaws.com", ""),
        ({"region": "cn-north-1"}, "https", "dynamodb.cn-north-1.amazonaws.com.cn", ""),
        (
            {"region": "eu-west-1", "virtual_hosted_style_request": True},
            "https",
            "dynamodb.eu-west-1.amazonaws.com",
            "",
        ),
        (
            {"region": "eu-west-1", "endpoint": "https://s3.eu-west-1.amazonaws.com"},
            "https",
            "dynamodb.eu-west-1.amazonaws.com",
            "",
        ),
        ({"endpoint": "http://localhost:4566/base", "allow_http": True}, "http", "localhost:4566", "/base"),
    ],
)
def test_the_table_is_at_the_configured_endpoint_or_that_of_the_region(options, scheme, host, path):
    store = S3Store(BUCKET, access_key_id="a", secret_access_key="b", unsigned_payload=True, **options)
    found = _locks._settings(store._settings)
    assert (found.scheme, found.host, found.base_path) == (scheme, host, path)
    assert (found.service, found.unsigned_payload, found.bucket_in_host) == ("dynamodb", False, True)


@pytest.mark.parametrize("mode", ["dynamo:t", "dynamo: t : 500 "])
def test_a_mode_names_table_and_time_out(mode):
    lock = _locks.lock_of(S3Store("b", conditional_put=mode)._settings.conditional_put)
    assert (lock.table, lock.timeout_ms) == ("t", 500 if "500" in mode else 20_000)
    assert _locks.lock_of("etag") is None
    assert s3ext.__version__
