"""Encryption and checksums as moto understands them, with boto3 as the witness.

Moto keeps no checksum that comes without boto3's own header, and of parts a wrong one; so what is verified
here is what boto3 has put.
"""

from __future__ import annotations

import pytest

from tests.moto.conftest import BUCKET, client, open_store
from tests.server import checksum

PART = 5 * 1024 * 1024
DATA = bytes(range(251)) * 24_000


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"server_side_encryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
        (
            {
                "server_side_encryption": "aws:kms",
                "sse_kms_key_id": "alias/mine",
                "sse_bucket_key_enabled": True,
            },
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/mine", "BucketKeyEnabled": True},
        ),
    ],
    ids=["AES256", "kms"],
)
def test_the_object_is_encrypted_as_asked(moto, way, options, found):
    way(open_store(moto, **options), "put", "encrypted", b"data")
    head = client("s3", moto).head_object(Bucket=BUCKET, Key="encrypted")
    assert {name: head[name] for name in found} == found


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "crc32", "crc32c", "crc64nvme"])
def test_uploads_with_checksums_are_taken(moto, way, algorithm):
    store = open_store(moto, checksum_algorithm=algorithm)
    way(store, "put", "single", b"123456789")
    way(store, "put", "parts", DATA, chunk_size=PART)
    assert bytes(way(way(store, "get", "single"), "bytes")) == b"123456789"
    assert bytes(way(way(store, "get", "parts"), "bytes")) == DATA


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA1", "CRC32"])
def test_what_boto_has_put_with_a_checksum_is_verified(moto, way, algorithm):
    client("s3", moto).put_object(Bucket=BUCKET, Key="theirs", Body=b"data", ChecksumAlgorithm=algorithm)
    result = way(open_store(moto, verify_checksums=True), "get", "theirs")
    assert bytes(way(result, "bytes")) == b"data"
    assert result.checksum == (algorithm.lower(), checksum(algorithm.lower(), b"data"), True)
