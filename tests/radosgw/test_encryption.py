"""SSE-C and checksums against a real server: the key over https, checksums that Ceph passes over."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from s3ext import exceptions
from tests.python.ways import PART
from tests.radosgw.conftest import connect

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()
DATA = hashlib.shake_128(b"radosgw").digest(2 * PART + 12_345)


def encrypting(gateway, bucket, key=KEY):
    """Make a store with a customer's key, over https."""
    options = {"server_side_encryption": "sse-c", "sse_customer_key_base64": key} if key else {}
    return connect(
        gateway, bucket, endpoint=gateway.tls_url, root_certificate=Path(gateway.ca).read_bytes(), **options
    )


@pytest.mark.parametrize("form", [{"use_multipart": False}, {"chunk_size": PART}], ids=["single", "parts"])
def test_with_its_key_an_object_is_written_and_read(gateway, bucket, boto, way, form):
    store = encrypting(gateway, bucket)
    way(store, "put", "one", DATA, **form)
    assert bytes(way(way(store, "get", "one"), "bytes")) == DATA
    assert bytes(way(store, "get_range", "one", start=PART - 5, length=10)) == DATA[PART - 5 : PART + 5]
    assert b"".join(way.pieces(way(store, "get", "one").stream(PART))) == DATA
    assert way(store, "head", "one")["size"] == len(DATA)
    boto_key = base64.b64decode(KEY)
    found = boto.get_object(Bucket=bucket, Key="one", SSECustomerAlgorithm="AES256", SSECustomerKey=boto_key)
    assert found["Body"].read() == DATA


@pytest.mark.parametrize("key", [None, OTHER], ids=["none", "another"])
def test_without_its_key_an_object_is_not_read(gateway, bucket, way, key):
    way(encrypting(gateway, bucket), "put", "one", b"data")
    with pytest.raises(exceptions.BaseError) as caught:
        way(encrypting(gateway, bucket, key), "get", "one")
    assert caught.value.status in {400, 403}
    assert KEY not in str(caught.value)


def test_a_copy_with_a_key_is_refused_in_the_servers_words(gateway, bucket, boto, way):
    """Ceph 16 cannot do it, whoever asks; the verifying server has the tests of the headers."""
    store = encrypting(gateway, bucket)
    way(store, "put", "one", b"data")
    with pytest.raises(exceptions.GenericError, match="501 NotImplemented"):
        way(store, "copy", "one", "two")
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64decode(KEY)}
    source = {f"CopySource{name}": value for name, value in key.items()}
    with pytest.raises(ClientError, match="NotImplemented"):
        boto.copy_object(Bucket=bucket, Key="two", CopySource=f"{bucket}/one", **key, **source)
    assert bytes(way(way(store, "get", "one"), "bytes")) == b"data"


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "crc32", "crc32c", "crc64nvme"])
def test_checksums_do_no_harm_where_they_are_passed_over(gateway, bucket, way, algorithm):
    store = connect(gateway, bucket, checksum_algorithm=algorithm, verify_checksums=True)
    way(store, "put", "one", b"data")
    way(store, "put", "two", DATA, chunk_size=PART)
    for path, data in (("one", b"data"), ("two", DATA)):
        result = way(store, "get", path)
        assert bytes(way(result, "bytes")) == data
        assert result.checksum is None
