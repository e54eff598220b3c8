"""Locks in a DynamoDB table: moto answers as the protocol of object_store 0.12 needs it."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from tests.moto.conftest import client


def lock(path, etag, generation, **condition):
    """Make the arguments of a PutItem that takes a lock."""
    item = {
        "path": {"S": path},
        "etag": {"S": etag},
        "generation": {"N": str(generation)},
        "timeout": {"N": "20000"},
        "ttl": {"N": str(int(time.time()) + 3600)},
    }
    return {"Item": item, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **condition}


NEW = {
    "ConditionExpression": "attribute_not_exists(#pk)",
    "ExpressionAttributeNames": {"#pk": "path"},
}


def next_of(generation):
    return {
        "ConditionExpression": "attribute_exists(#pk) AND generation = :g",
        "ExpressionAttributeNames": {"#pk": "path"},
        "ExpressionAttributeValues": {":g": {"N": str(generation)}},
    }


def test_a_lock_is_taken_once_and_taken_over_by_one(strict_moto, table):
    server, keys, _ = strict_moto
    dynamo = client("dynamodb", server, keys)
    dynamo.put_item(TableName=table, **lock("a b/ü", "*", 0, **NEW))
    with pytest.raises(ClientError) as held:
        dynamo.put_item(TableName=table, **lock("a b/ü", "*", 0, **NEW))
    assert held.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert held.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert held.value.response["Item"]["generation"] == {"N": "0"}
    assert held.value.response["Item"]["timeout"] == {"N": "20000"}
    dynamo.put_item(TableName=table, **lock("a b/ü", "*", 1, **next_of(0)))
    with pytest.raises(ClientError) as late:
        dynamo.put_item(TableName=table, **lock("a b/ü", "*", 1, **next_of(0)))
    assert late.value.response["Item"]["generation"] == {"N": "1"}
    # Another ETag is another lock.
    dynamo.put_item(TableName=table, **lock("a b/ü", '"abc"', 0, **NEW))


def test_wrong_keys_take_no_lock(strict_moto, table):
    server, keys, _ = strict_moto
    dynamo = client("dynamodb", server, {**keys, "secret_access_key": "wrong"})
    with pytest.raises(ClientError) as refused:
        dynamo.put_item(TableName=table, **lock("k", "*", 0, **NEW))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    dynamo = client("dynamodb", server, keys)
    assert dynamo.scan(TableName=table)["Items"] == []
