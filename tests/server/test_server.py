"""The verifying server itself: botocore as a client of its S3, raw sockets for its faults."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from urllib.parse import quote

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.server import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    Credential,
    Fault,
    ForwardProxy,
    PatternBody,
    S3Error,
    ServerProcess,
    VerifyingServer,
    checksum,
    faults,
    make_certificate,
    verify,
)

MIB = 1 << 20


def client_of(server, **changes):
    options = {
        "endpoint_url": server.url,
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
        "region_name": REGION,
    } | changes
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": changes.pop("addressing_style", "path")},
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    options.pop("addressing_style", None)
    return boto3.client("s3", config=config, **options)


@pytest.fixture
def s3(server):
    with closing(client_of(server)) as client:
        yield client


@pytest.fixture
def open_server():
    """A server that lets unsigned requests in, for raw sockets."""
    with VerifyingServer(require_auth=False) as server:
        yield server
    assert not server.errors, server.errors


def code_of(caught):
    return caught.value.response["Error"]["Code"]


class UnsignedPayloadAuth(S3SigV4Auth):
    """Signs without the body's hash, which botocore does over https only."""

    def payload(self, request):
        return "UNSIGNED-PAYLOAD"


def signed(server, method, target, body=b"", headers=None, *, region=REGION, signer=S3SigV4Auth):
    """Sign with botocore; return all headers."""
    request = AWSRequest(method, server.url + target, headers=dict(headers or {}), data=body)
    signer(Credentials(ACCESS_KEY, SECRET_KEY), "s3", region).add_auth(request)
    return dict(request.headers.items())


@contextmanager
def http_connection(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        yield connection
    finally:
        connection.close()


def exchange(server, method, target, body=b"", headers=None):
    with http_connection(server) as connection:
        connection.request(method, target, body=body or None, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer


def raw(server, data, *, wait=True):
    """Send bytes; return everything up to the end of the connection, and whether that was a reset."""
    pieces = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(data)
        try:
            while wait and (piece := sock.recv(MIB)):
                pieces.append(piece)
        except ConnectionResetError:
            return b"".join(pieces), True
    return b"".join(pieces), False


def get(key, extra=""):
    return f"GET /bucket/{key} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode()


CLOSE = "Connection: close\r\n"


class TestWithBotocore:
    def test_put_get_head_round_trip_keeps_attributes(self, server, s3):
        key = "a b/+ü%?&=#~!*'();:@$,🎈.txt"
        s3.put_object(Bucket="bucket", Key=key, Body=b"hello", ContentType="text/x", CacheControl="no-cache",
                      Metadata={"colour": "blue"}, Tagging="a=1&b=2", StorageClass="STANDARD_IA")  # fmt: skip
        got = s3.get_object(Bucket="bucket", Key=key)
        assert got["Body"].read() == b"hello"
        assert got["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == (
            "text/x",
            "no-cache",
            {"colour": "blue"},
        )
        assert got["TagCount"] == 2
        head = s3.head_object(Bucket="bucket", Key=key)
        assert (head["ContentLength"], head["StorageClass"]) == (5, "STANDARD_IA")
        assert server.get(key).tagging == "a=1&b=2"
        assert [request.verified for request in server.requests] == [True] * 3
        assert server.connections_opened == 1
        assert server.requests[0].body == b"hello"
        assert server.requests[0].body_sha256 == hashlib.sha256(b"hello").hexdigest()

    @pytest.mark.parametrize("key", ["//", ".", "..", "a/../b", "%2F", "\x01\x1f\x7f", "a" * 1024, " ", "+"])
    def test_odd_keys_round_trip(self, server, s3, key):
        # botocore takes dots out of a path before it sends, not before it signs; so such keys go by hand.
        target = "/bucket/" + quote(key, safe="/")
        assert exchange(server, "PUT", target, b"x", signed(server, "PUT", target, b"x"))[0] == 200
        assert server.keys() == [key]
        assert exchange(server, "GET", target, headers=signed(server, "GET", target))[:2] == (200, b"x")
        listed = s3.list_objects_v2(Bucket="bucket")
        assert [row["Key"] for row in listed["Contents"]] == [key]
        s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "other"}]})

    @pytest.mark.parametrize(
        ("asked", "content", "header"),
        [
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=-30", b"0123456789", "bytes 0-9/10"),
            ("bytes=8-99", b"89", "bytes 8-9/10"),
        ],
    )
    def test_ranges(self, server, s3, asked, content, header):
        server.put("k", b"0123456789")
        got = s3.get_object(Bucket="bucket", Key="k", Range=asked)
        assert (got["Body"].read(), got["ContentRange"]) == (content, header)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206

    @pytest.mark.parametrize("asked", ["bytes=10-", "bytes=-0"])
    def test_unsatisfiable_range_is_416(self, server, s3, asked):
        server.put("k", b"0123456789")
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket="bucket", Key="k", Range=asked)
        assert code_of(caught) == "InvalidRange"
        assert caught.value.response["Error"]["ActualObjectSize"] == "10"

    @pytest.mark.parametrize("asked", ["bytes=4-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"])
    def test_unreadable_range_is_ignored(self, server, s3, asked):
        server.put("k", b"0123456789")
        assert (
            s3.get_object(Bucket="bucket", Key="k", Range=asked)["ResponseMetadata"]["HTTPStatusCode"] == 200
        )

    def test_conditions_of_reads(self, server, s3):
        stored = server.put("k", b"data", modified=1_000_000_000)

        def status(**conditions):
            try:
                return s3.get_object(Bucket="bucket", Key="k", **conditions)["ResponseMetadata"][
                    "HTTPStatusCode"
                ]
            except ClientError as error:
                return error.response["ResponseMetadata"]["HTTPStatusCode"]

        assert status(IfMatch=stored.etag) == 200
        assert status(IfMatch='"other"') == 412
        assert status(IfNoneMatch=stored.etag) == 304
        assert status(IfNoneMatch='"other"') == 200
        assert status(IfModifiedSince=1_000_000_000) == 304
        assert status(IfModifiedSince=999_999_999) == 200
        assert status(IfUnmodifiedSince=999_999_999) == 412
        assert status(IfMatch=stored.etag, IfUnmodifiedSince=999_999_999) == 200
        assert status(IfNoneMatch='"other"', IfModifiedSince=1_000_000_000) == 200

    def test_conditions_of_writes(self, server, s3):
        def code(**conditions):
            try:
                s3.put_object(Bucket="bucket", Key="k", Body=b"x", **conditions)
            except ClientError as error:
                return error.response["Error"]["Code"]
            return "OK"

        assert code(IfMatch='"any"') == "NoSuchKey"
        assert code(IfNoneMatch="*") == "OK"
        assert code(IfNoneMatch="*") == "PreconditionFailed"
        assert code(IfMatch='"any"') == "PreconditionFailed"
        assert code(IfMatch=server.get("k").etag) == "OK"

    def test_listing_pages_cover_everything_once_in_byte_order(self, server, s3):
        keys = sorted(
            [f"d{n % 4}/k {n:03}+" for n in range(40)] + ["é", "zz", "\uffee", "🎈"], key=str.encode
        )
        for key in reversed(keys):
            server.put(key, b"x")
        pages = s3.get_paginator("list_objects_v2").paginate
        for size in (1, 3, 1000):
            rows = [
                row["Key"]
                for page in pages(Bucket="bucket", PaginationConfig={"PageSize": size})
                for row in page["Contents"]
            ]
            assert rows == keys
            both = []
            for page in pages(Bucket="bucket", Delimiter="/", PaginationConfig={"PageSize": size}):
                both += [row["Prefix"] for row in page.get("CommonPrefixes", [])] + [
                    row["Key"] for row in page.get("Contents", [])
                ]
            assert both == ["d0/", "d1/", "d2/", "d3/", "zz", "é", "\uffee", "🎈"]
        after = s3.list_objects_v2(Bucket="bucket", Prefix="d1/", StartAfter="d1/k 021+", MaxKeys=2)
        assert [row["Key"] for row in after["Contents"]] == ["d1/k 025+", "d1/k 029+"]
        assert after["IsTruncated"] is True
        with pytest.raises(ClientError) as caught:
            s3.list_objects_v2(Bucket="bucket", ContinuationToken="d1/k 021+")
        assert code_of(caught) == "InvalidArgument"

    def test_multipart(self, server, s3):
        upload = s3.create_multipart_upload(Bucket="bucket", Key="m", Metadata={"a": "b"})["UploadId"]
        assert list(server.store.uploads) == [upload]
        data = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"tail"]
        parts = []
        for number, piece in enumerate(data, 1):
            etag = s3.upload_part(Bucket="bucket", Key="m", UploadId=upload, PartNumber=number, Body=piece)[
                "ETag"
            ]
            parts.append({"PartNumber": number, "ETag": etag})
        assert len(s3.list_parts(Bucket="bucket", Key="m", UploadId=upload)["Parts"]) == 3
        done = s3.complete_multipart_upload(
            Bucket="bucket", Key="m", UploadId=upload, MultipartUpload={"Parts": parts}
        )
        digest = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in data)).hexdigest()
        assert done["ETag"] == f'"{digest}-3"'
        whole = b"".join(data)
        got = s3.get_object(Bucket="bucket", Key="m", Range=f"bytes={5 * MIB - 3}-{10 * MIB + 1}")
        assert got["Body"].read() == whole[5 * MIB - 3 : 10 * MIB + 2]
        assert got["Metadata"] == {"a": "b"}
        second = s3.get_object(Bucket="bucket", Key="m", PartNumber=2)
        assert (second["Body"].read(), second["PartsCount"]) == (data[1], 3)
        with pytest.raises(ClientError) as caught:
            s3.complete_multipart_upload(
                Bucket="bucket", Key="m", UploadId=upload, MultipartUpload={"Parts": parts}
            )
        assert code_of(caught) == "NoSuchUpload"
        assert (server.store.uploads, server.store.completed) == ({}, [upload])

    def test_multipart_refusals(self, server, s3):
        upload = s3.create_multipart_upload(Bucket="bucket", Key="m")["UploadId"]
        parts = [
            {
                "PartNumber": n,
                "ETag": s3.upload_part(Bucket="bucket", Key="m", UploadId=upload, PartNumber=n, Body=b"x")[
                    "ETag"
                ],
            }
            for n in (1, 2)
        ]

        def code(rows, **more):
            with pytest.raises(ClientError) as caught:
                s3.complete_multipart_upload(
                    Bucket="bucket", Key="m", UploadId=upload, MultipartUpload={"Parts": rows}, **more
                )
            return code_of(caught)

        assert code(parts) == "EntityTooSmall"
        assert code(parts[::-1]) == "InvalidPartOrder"
        assert code([{"PartNumber": 3, "ETag": parts[0]["ETag"]}]) == "InvalidPart"
        assert code([{"PartNumber": 1, "ETag": '"bad"'}]) == "InvalidPart"
        assert [error.code for error in server.take_errors()] == [
            "InvalidPartOrder",
            "InvalidPart",
            "InvalidPart",
        ]
        server.put("m", b"there")
        assert code(parts[:1], IfNoneMatch="*") == "PreconditionFailed"
        s3.abort_multipart_upload(Bucket="bucket", Key="m", UploadId=upload)
        assert server.store.aborted == [upload]
        server.store.min_part_size = 0
        upload = s3.create_multipart_upload(Bucket="bucket", Key="m")["UploadId"]
        for n in (1, 2):
            s3.upload_part(Bucket="bucket", Key="m", UploadId=upload, PartNumber=n, Body=b"x")
        s3.complete_multipart_upload(
            Bucket="bucket", Key="m", UploadId=upload, MultipartUpload={"Parts": parts}
        )
        assert server.get("m").data == b"xx"

    def test_copy_and_part_copy(self, server, s3):
        source = server.put("from +", b"0123456789", headers={"content-type": "text/a"}, metadata={"a": "1"})
        from_there = {"Bucket": "bucket", "Key": "from +"}
        s3.copy_object(Bucket="bucket", Key="to", CopySource=from_there)
        assert (server.get("to").data, server.get("to").metadata) == (source.data, {"a": "1"})
        s3.copy_object(
            Bucket="bucket", Key="to", CopySource=from_there, MetadataDirective="REPLACE", Metadata={"b": "2"}
        )
        assert (server.get("to").metadata, server.get("to").headers) == ({"b": "2"}, {})
        with pytest.raises(ClientError) as caught:
            s3.copy_object(Bucket="bucket", Key="x", CopySource=from_there, CopySourceIfMatch='"no"')
        assert code_of(caught) == "PreconditionFailed"
        with pytest.raises(ClientError) as caught:
            s3.copy_object(Bucket="bucket", Key="from +", CopySource=from_there)
        assert code_of(caught) == "InvalidRequest"
        upload = s3.create_multipart_upload(Bucket="bucket", Key="part")["UploadId"]
        whole = {"Bucket": "bucket", "Key": "part", "UploadId": upload}
        part = s3.upload_part_copy(**whole, PartNumber=1, CopySource=from_there, CopySourceRange="bytes=2-5")
        row = {"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}
        s3.complete_multipart_upload(
            Bucket="bucket", Key="part", UploadId=upload, MultipartUpload={"Parts": [row]}
        )
        assert server.get("part").data == b"2345"

    def test_delete_one_and_many(self, server, s3):
        for n in range(5):
            server.put(f"k<&>{n}", b"x")
        s3.delete_object(Bucket="bucket", Key="k<&>0")
        s3.delete_object(Bucket="bucket", Key="never there")
        rows = [{"Key": f"k<&>{n}"} for n in (1, 2)]
        assert s3.delete_objects(Bucket="bucket", Delete={"Objects": rows})["Deleted"] == rows
        assert server.keys() == ["k<&>3", "k<&>4"]

    def test_bulk_delete_wants_a_right_digest(self, server):
        body = b"<Delete><Object><Key>k</Key></Object></Delete>"
        for headers, code in (
            ({}, b"InvalidRequest"),
            ({"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, b"BadDigest"),
        ):
            status, text, _ = exchange(
                server,
                "POST",
                "/bucket?delete=",
                body,
                signed(server, "POST", "/bucket?delete=", body, headers),
            )
            assert (status, code in text) == (400, True)
        assert [error.code for error in server.take_errors()] == ["BadDigest"]

    def test_versions(self, server, s3):
        server.create_bucket("v", versioned=True)
        first = s3.put_object(Bucket="v", Key="k", Body=b"1")["VersionId"]
        s3.put_object(Bucket="v", Key="k", Body=b"2")
        assert s3.get_object(Bucket="v", Key="k", VersionId=first)["Body"].read() == b"1"
        assert s3.delete_object(Bucket="v", Key="k")["DeleteMarker"] is True
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket="v", Key="k")
        assert code_of(caught) == "NoSuchKey"
        assert s3.get_object(Bucket="v", Key="k", VersionId=first)["Body"].read() == b"1"

    @pytest.mark.parametrize("name", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
    def test_checksums_are_verified_and_given_back(self, server, s3, name):
        value = checksum(name, b"123456789")
        s3.put_object(Bucket="bucket", Key="k", Body=b"123456789", **{f"Checksum{name.upper()}": value})
        head = s3.head_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED")
        assert head[f"Checksum{name.upper()}"] == value
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket="bucket", Key="k", Body=b"12345678", **{f"Checksum{name.upper()}": value})
        assert code_of(caught) == "BadDigest"
        assert [error.code for error in server.take_errors()] == ["BadDigest"]

    def test_checksums_have_the_published_check_values(self):
        # The catalogue of parametrised CRC algorithms: the CRC of the nine digits.
        known = {"crc32": 0xCBF43926, "crc32c": 0xE3069283, "crc64nvme": 0xAE8B14860A799888}
        for name, value in known.items():
            assert int.from_bytes(base64.b64decode(checksum(name, b"123456789")), "big") == value

    def test_buckets(self, server, s3):
        s3.create_bucket(Bucket="new")
        assert [row["Name"] for row in s3.list_buckets()["Buckets"]] == ["bucket", "new"]
        assert s3.head_bucket(Bucket="new")["BucketRegion"] == REGION
        s3.delete_bucket(Bucket="new")
        with pytest.raises(ClientError) as caught:
            s3.list_objects_v2(Bucket="new")
        assert code_of(caught) == "NoSuchBucket"

    def test_customer_keys_are_needed_to_read(self, server, s3):
        key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
        s3.put_object(Bucket="bucket", Key="k", Body=b"x", **key)
        assert s3.get_object(Bucket="bucket", Key="k", **key)["Body"].read() == b"x"
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket="bucket", Key="k")
        assert code_of(caught) == "InvalidRequest"

    def test_base_path(self):
        with VerifyingServer(base_path="/deep/down") as server, closing(client_of(server)) as s3:
            s3.put_object(Bucket="bucket", Key="k", Body=b"x")
            assert server.keys() == ["k"]
            assert server.errors == []

    def test_virtual_hosts(self, server):
        headers = {"Host": f"bucket.localhost:{server.port}"}
        server.put("k", b"x")
        assert exchange(server, "GET", "/k", headers=signed(server, "GET", "/k", headers=headers))[1] == b"x"
        for host, bucket in (
            ("b.s3.us-east-1.amazonaws.com", "b"),
            ("dotted.name.s3.us-east-1.amazonaws.com", "dotted.name"),
            ("s3.us-east-1.amazonaws.com", "k"),
            ("b.s3.dualstack.us-east-1.amazonaws.com", "b"),
            ("b.s3.amazonaws.com", "b"),
        ):
            exchange(server, "HEAD", "/k", headers=signed(server, "HEAD", "/k", headers={"Host": host}))
            assert server.requests[-1].bucket == bucket


class TestSignatures:
    def refused(self, server, code, **changes):
        with closing(client_of(server, **changes)) as s3, pytest.raises(ClientError) as caught:
            s3.get_object(Bucket="bucket", Key="k")
        assert code_of(caught) == code
        assert [error.code for error in server.take_errors()] == [code]
        assert server.requests[-1].verified is False
        return caught.value.response["Error"]

    def test_wrong_secret(self, server):
        error = self.refused(server, "SignatureDoesNotMatch", aws_secret_access_key="wrong")
        assert error["CanonicalRequest"].startswith("GET\n/bucket/k\n\nhost:127.0.0.1")

    def test_unknown_key(self, server):
        self.refused(server, "InvalidAccessKeyId", aws_access_key_id="AKIDUNKNOWN")

    def test_wrong_region_names_the_right_one(self, server):
        # boto3 would learn the region from the answer and succeed; so by hand.
        headers = signed(server, "GET", "/bucket/k", region="eu-west-1")
        status, body, answer = exchange(server, "GET", "/bucket/k", headers=headers)
        assert (status, b"<Code>AuthorizationHeaderMalformed</Code>" in body) == (400, True)
        assert b"<Region>us-east-1</Region>" in body
        assert answer.headers["x-amz-bucket-region"] == REGION
        assert [error.code for error in server.take_errors()] == ["AuthorizationHeaderMalformed"]

    @pytest.mark.parametrize("offset", [-16 * 60, 16 * 60])
    def test_skewed_clock(self, server, offset):
        server.clock_offset = offset
        self.refused(server, "RequestTimeTooSkewed")

    def test_clock_within_fifteen_minutes(self, server, s3):
        server.put("k", b"x")
        server.clock_offset = 14 * 60
        answer = s3.head_object(Bucket="bucket", Key="k")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200

    def test_session_tokens(self, server):
        temporary = {
            "aws_access_key_id": "ASIATEMP",
            "aws_secret_access_key": "secret",
            "aws_session_token": "tok/en+=",
        }
        server.add_credential("ASIATEMP", "secret", "tok/en+=")
        server.put("k", b"x")
        with closing(client_of(server, **temporary)) as s3:
            assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
        self.refused(server, "InvalidToken", **(temporary | {"aws_session_token": "other"}))
        self.refused(server, "InvalidAccessKeyId", **(temporary | {"aws_session_token": None}))
        server.expire_credential("ASIATEMP")
        self.refused(server, "ExpiredToken", **temporary)

    def test_unsigned_request(self, server):
        assert exchange(server, "GET", "/bucket/k")[0] == 403
        assert [error.code for error in server.take_errors()] == ["AccessDenied"]
        server.create_bucket("open", public=True)
        server.put("k", b"x", bucket="open")
        assert exchange(server, "GET", "/open/k")[:2] == (200, b"x")

    def test_wrong_body_hash(self, server):
        headers = signed(server, "PUT", "/bucket/k", b"signed")
        status, body, _ = exchange(server, "PUT", "/bucket/k", b"sent", headers)
        assert (status, b"XAmzContentSHA256Mismatch" in body) == (400, True)
        assert [error.code for error in server.take_errors()] == ["XAmzContentSHA256Mismatch"]
        assert (server.requests[0].applied, server.keys()) == (False, [])

    def test_unsigned_payload(self, server):
        headers = signed(server, "PUT", "/bucket/k", b"1", signer=UnsignedPayloadAuth)
        assert exchange(server, "PUT", "/bucket/k", b"2", headers)[0] == 200

    @pytest.mark.parametrize(
        ("name", "change", "code"),
        [
            ("x-amz-meta-late", lambda value: "1", "AccessDenied"),
            ("Host", lambda value: "other", "SignatureDoesNotMatch"),
            ("X-Amz-Date", lambda value: value.replace("Z", "z"), "AccessDenied"),
            ("X-Amz-Date", lambda value: "20200101T000000Z", "AuthorizationHeaderMalformed"),
            ("Authorization", lambda value: "AWS key:sig", "InvalidRequest"),
            ("Authorization", lambda value: value.replace("/s3/", "/ec2/"), "AuthorizationHeaderMalformed"),
            ("Authorization", lambda value: value[:-1], "AuthorizationHeaderMalformed"),
            (
                "Authorization",
                lambda value: value.replace("SignedHeaders=host;", "SignedHeaders="),
                "AccessDenied",
            ),
        ],
        ids=[
            "unsigned-header",
            "host",
            "bad-date",
            "other-date",
            "v2",
            "service",
            "short",
            "host-not-signed",
        ],
    )
    def test_tampered_headers(self, server, name, change, code):
        headers = signed(server, "GET", "/bucket/k")
        headers[name] = change(headers.get(name, ""))
        assert code.encode() in exchange(server, "GET", "/bucket/k", headers=headers)[1]
        assert [error.code for error in server.take_errors()] == [code]

    def test_missing_body_hash_header(self, server):
        request = AWSRequest("GET", server.url + "/bucket/k", headers={})
        SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(request)
        assert (
            b"InvalidRequest"
            in exchange(server, "GET", "/bucket/k", headers=dict(request.headers.items()))[1]
        )
        assert server.take_errors()[0].code == "InvalidRequest"

    def test_query_added_after_signing(self, server):
        headers = signed(server, "GET", "/bucket?list-type=2")
        assert exchange(server, "GET", "/bucket?list-type=2&prefix=a", headers=headers)[0] == 403
        assert server.take_errors()[0].code == "SignatureDoesNotMatch"

    def test_bucket_of_another_region(self, server):
        server.create_bucket("far", region="eu-west-1")
        status, _, answer = exchange(
            server,
            "GET",
            "/k",
            headers=signed(server, "GET", "/k", headers={"Host": "far.s3.us-east-1.amazonaws.com"}),
        )
        assert (status, answer.headers["x-amz-bucket-region"]) == (301, "eu-west-1")
        assert server.take_errors()[0].code == "PermanentRedirect"

    def test_secret_on_the_wire_is_noticed(self, server):
        headers = signed(server, "GET", "/bucket/k", headers={"x-leak": SECRET_KEY})
        exchange(server, "GET", "/bucket/k", headers=headers)
        assert [error.code for error in server.take_errors()] == ["Secret"]


class TestPublishedExamples:
    """The examples of the S3 API reference, "Signature Calculations": a check that is not botocore's."""

    KEYS = {  # noqa: RUF012 - never changed
        "AKIAIOSFODNN7EXAMPLE": Credential("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    }
    NOW = 1369353600.0

    def verify(self, method, path, query, fields):
        fields = {"host": ["examplebucket.s3.amazonaws.com"], "x-amz-date": ["20130524T000000Z"]} | fields
        return verify(method, path, query, fields, self.KEYS, region="us-east-1", now=self.NOW)

    def authorization(self, names, signature):
        scope = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
        return [f"AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={names},Signature={signature}"]

    def test_get_object(self):
        fields = {
            "range": ["bytes=0-9"],
            "x-amz-content-sha256": [hashlib.sha256(b"").hexdigest()],
            "authorization": self.authorization(
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        }
        assert self.verify("GET", "/test.txt", "", fields).kind == "header"

    def test_put_object(self):
        fields = {
            "date": ["Fri, 24 May 2013 00:00:00 GMT"],
            "x-amz-storage-class": ["REDUCED_REDUNDANCY"],
            "x-amz-content-sha256": [hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()],
            "authorization": self.authorization(
                "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
        }
        assert self.verify("PUT", "/test$file.text", "", fields).access_key == "AKIAIOSFODNN7EXAMPLE"

    def test_list_with_parameters(self):
        fields = {
            "x-amz-content-sha256": [hashlib.sha256(b"").hexdigest()],
            "authorization": self.authorization(
                "host;x-amz-content-sha256;x-amz-date",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        }
        assert self.verify("GET", "/", "max-keys=2&prefix=J", fields).region == "us-east-1"

    def test_presigned(self):
        query = (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256"
            "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
            "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        )
        host = {"host": ["examplebucket.s3.amazonaws.com"]}
        verdict = verify("GET", "/test.txt", query, host, self.KEYS, region="us-east-1", now=self.NOW + 86400)
        assert (verdict.kind, verdict.payload) == ("presigned", "UNSIGNED-PAYLOAD")
        with pytest.raises(S3Error, match="Request has expired"):
            verify("GET", "/test.txt", query, host, self.KEYS, region="us-east-1", now=self.NOW + 86401)


class TestPresigned:
    def url(self, server, method="get_object", expires=60, **parameters):
        with closing(client_of(server)) as s3:
            return s3.generate_presigned_url(
                method, Params={"Bucket": "bucket", "Key": "k +ü"} | parameters, ExpiresIn=expires
            )

    def fetch(self, url, method="GET", data=None):
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data, method=method), timeout=5
            ) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def test_get_and_put(self, server):
        server.put("k +ü", b"x")
        assert self.fetch(self.url(server)) == (200, b"x")
        assert self.fetch(self.url(server, "put_object", ContentType="text/x"), "PUT", b"new")[0] == 403
        assert server.take_errors()[0].code == "SignatureDoesNotMatch"
        target = self.url(server, "put_object").removeprefix(server.url)
        assert exchange(server, "PUT", target, b"new")[0] == 200
        assert server.get("k +ü").data == b"new"
        assert server.requests[-1].auth == "presigned"

    def test_tampered(self, server):
        status, body = self.fetch(self.url(server).replace("Expires=60", "Expires=61"))
        assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
        assert self.fetch(self.url(server), "DELETE")[0] == 403
        assert self.fetch(self.url(server) + "&versionId=1")[0] == 403
        assert [error.code for error in server.take_errors()] == ["SignatureDoesNotMatch"] * 3

    def test_expired(self, server):
        url = self.url(server)
        server.clock_offset = 61
        status, body = self.fetch(url)
        assert (status, b"<Code>AccessDenied</Code><Message>Request has expired" in body) == (403, True)
        server.clock_offset = -16 * 60
        assert b"not valid yet" in self.fetch(url)[1]
        assert [error.code for error in server.take_errors()] == ["AccessDenied"] * 2

    def test_longer_than_a_week(self, server):
        assert b"AuthorizationQueryParametersError" in self.fetch(self.url(server, expires=604801))[1]
        assert server.take_errors()[0].code == "AuthorizationQueryParametersError"


class TestHttp:
    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\nHost: x\r\n\r\n",
            b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 70_000,
        ],
    )
    def test_bad_requests_are_refused_and_noted(self, open_server, data):
        answer, _ = raw(open_server, data)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert [error.code for error in open_server.take_errors()] == ["Wire"]

    def test_doubled_header_is_noted(self, open_server):
        raw(open_server, get("k", "Host: y\r\n" + CLOSE))
        assert "host is there twice" in open_server.take_errors()[0].message

    def test_get_with_a_body_is_noted(self, open_server):
        raw(open_server, get("k", CLOSE + "Content-Length: 2\r\n") + b"ab")
        assert "GET with a body" in open_server.take_errors()[0].message

    def test_keep_alive_and_pipelining(self, open_server):
        open_server.put("k", b"data")
        answer, _ = raw(open_server, get("k") * 3 + get("k", CLOSE))
        assert answer.count(b"\r\n\r\ndata") == 4
        assert open_server.connections_opened == 1
        assert [request.connection for request in open_server.requests] == [1] * 4

    def test_chunked_request(self, open_server):
        head = b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        body = b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\ntrailer: 1\r\n\r\n"
        assert b" 501 " in raw(open_server, head + body)[0]
        assert open_server.take_errors()[0].code == "NotImplemented"
        open_server.allow_chunked = True
        assert b" 200 " in raw(open_server, head + body)[0]
        assert open_server.get("k").data == b"abcdefgh"

    def test_put_without_length(self, open_server):
        answer, _ = raw(open_server, b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 411 ")
        assert open_server.take_errors()[0].code == "MissingContentLength"

    def test_expect_continue(self, open_server):
        with socket.create_connection(("127.0.0.1", open_server.port), timeout=5) as sock:
            sock.sendall(
                b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
            )
            assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"ab")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert open_server.get("k").data == b"ab"

    def test_expect_is_refused_before_the_body(self, server):
        answer, _ = raw(
            server,
            b"PUT /bucket/k HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\nExpect: 100-continue\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert server.take_errors()[0].code == "AccessDenied"

    def test_head_has_no_body(self, open_server):
        open_server.put("k", b"data")
        answer, _ = raw(open_server, b"HEAD /bucket/k HTTP/1.1\r\nHost: x\r\n\r\n" + get("k", CLOSE))
        assert answer.count(b"Content-Length: 4") == 2
        assert answer.count(b"data") == 1

    def test_idle_timeout_and_request_limit(self):
        with VerifyingServer(require_auth=False, idle_timeout=0.05, max_requests_per_connection=2) as server:
            assert raw(server, b"") == (b"", False)
            answer, _ = raw(server, get("k") * 3)
            assert (answer.count(b"HTTP/1.1 404"), answer.count(b"Connection: close")) == (2, 1)

    def test_connections_are_closed_on_demand(self, open_server):
        with socket.create_connection(("127.0.0.1", open_server.port), timeout=5) as sock:
            sock.sendall(get("k"))
            assert sock.recv(1000).startswith(b"HTTP/1.1 404")
            open_server.wait_idle()
            assert open_server.close_idle_connections() == 1
            assert sock.recv(1) == b""
        open_server.wait_idle(connections=0)
        open_server.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", open_server.port), timeout=5)
        open_server.listen_again()
        assert raw(open_server, get("k", CLOSE))[0].startswith(b"HTTP/1.1 404")

    def test_connections_are_reset_on_demand(self, open_server):
        fault = open_server.faults.add(Fault(faults.stall("answer")))
        with half_open(open_server, get("k")) as sock:
            fault.wait_hit()
            assert open_server.close_connections(reset=True) == 1
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        open_server.wait_idle(connections=0)

    def test_pattern_bodies_of_any_size(self, open_server):
        body = PatternBody(5 << 40)
        open_server.put("huge", body)
        at = (4 << 40) + 12345
        assert exchange(
            open_server, "GET", "/bucket/huge", headers={"Range": f"bytes={at}-{at + 3 * MIB - 1}"}
        )[1] == body.read(at, at + 3 * MIB)
        assert body.read(0, 64) != body.read(8 * MIB, 8 * MIB + 64)


def half_open(server, data):
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    sock.sendall(data)
    return sock


def read_until_silence(sock):
    """Read until nothing comes for 0.1 s; the end of the connection fails."""
    sock.settimeout(0.1)
    got = b""
    try:
        while piece := sock.recv(1000):
            got += piece
    except TimeoutError:
        return got
    pytest.fail("the connection has ended")


class TestFaults:
    BODY = bytes(range(256)) * 1024

    @pytest.fixture
    def faulty(self, open_server):
        open_server.put("k", self.BODY)
        open_server.put("small", b"0123456789")
        return open_server

    def hit(self, server, action, data=None, **match):
        """Add a fault for one request, send a request, return (head, body, reset)."""
        fault = server.faults.add(Fault(action, **match))
        answer, reset = raw(server, get("k", CLOSE) if data is None else data)
        assert fault.hits == 1
        head, _, body = answer.partition(b"\r\n\r\n")
        return head, body, reset

    @pytest.mark.parametrize("reset", [False, True])
    @pytest.mark.parametrize("after", [0, 1, 100_000, len(BODY) - 1, len(BODY)])
    def test_cut(self, faulty, after, reset):
        head, body, was_reset = self.hit(faulty, faults.cut(after, reset=reset))
        assert f"Content-Length: {len(self.BODY)}".encode() in head
        assert (body, was_reset) == (self.BODY[:after], reset)
        assert faulty.requests[0].body_sent == after
        assert faulty.requests[0].finished is False

    @pytest.mark.parametrize("reset", [False, True])
    def test_drop_and_lose_answer(self, faulty, reset):
        put = b"PUT /bucket/new HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
        assert self.hit(faulty, faults.drop(reset=reset), put) == (b"", b"", reset)
        assert "new" not in set(faulty.keys())
        assert self.hit(faulty, faults.lose_answer(reset=reset), put) == (b"", b"", reset)
        assert faulty.get("new").data == b"ab"
        assert [request.applied for request in faulty.requests] == [False, True]

    def test_cut_upload(self, faulty):
        put = b"PUT /bucket/new HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"a" * 1000
        assert self.hit(faulty, faults.cut_upload(500), put) == (b"", b"", False)
        assert "new" not in set(faulty.keys())

    def test_cut_head(self, faulty):
        assert self.hit(faulty, faults.cut_head(12)) == (b"HTTP/1.1 200", b"", False)

    @pytest.mark.parametrize("reset", [False, True])
    def test_hang_up(self, faulty, reset):
        head, body, was_reset = self.hit(faulty, faults.hang_up(reset=reset), get("k"))
        assert (b"Connection" in head, body, was_reset) == (False, self.BODY, reset)

    def test_close_politely(self, faulty):
        head, body, _ = self.hit(faulty, faults.close_politely(), get("k"))
        assert (b"Connection: close" in head, body) == (True, self.BODY)

    @pytest.mark.parametrize(
        ("at", "seen"), [("request", 0), ("answer", 0), ("head", 9), (0, None), (5, None)]
    )
    def test_stall_until_released(self, faulty, at, seen):
        fault = faulty.faults.add(Fault(faults.stall(at)))
        with half_open(faulty, get("small", CLOSE)) as sock:
            fault.wait_hit()
            got = read_until_silence(sock)
            assert len(got) == seen if seen is not None else len(got.partition(b"\r\n\r\n")[2]) == at
            fault.release()
            sock.settimeout(5)
            while piece := sock.recv(1000):
                got += piece
            assert got.endswith(b"\r\n\r\n0123456789")

    def test_stall_at_accept_ends_when_the_client_leaves(self, faulty):
        fault = faulty.faults.add(Fault(faults.stall("accept")))
        with half_open(faulty, get("small")) as sock:
            fault.wait_hit()
            sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        faulty.wait_idle(connections=0)
        assert faulty.requests == []

    def test_stall_for_some_seconds_and_delay(self, faulty):
        for action in (faults.stall("answer", 0.1), faults.delay(0.1), faults.stall(3, 0.1)):
            start = time.monotonic()
            assert self.hit(faulty, action, get("small", CLOSE))[1] == b"0123456789"
            assert 0.1 <= time.monotonic() - start < 2

    def test_drip(self, faulty):
        fault = faulty.faults.add(Fault(faults.drip(4, 0.05)))
        pieces = []
        with half_open(faulty, get("small", CLOSE)) as sock:
            while piece := sock.recv(1000):
                pieces.append(piece)
        assert fault.hits == 1
        assert pieces[-2:] == [b"4567", b"89"]
        assert pieces[-3].endswith(b"0123")

    def test_content_length(self, faulty):
        head, body, _ = self.hit(faulty, faults.content_length(delta=5), get("small"))
        assert (b"Content-Length: 15" in head, body) == (True, b"0123456789")
        head, body, _ = self.hit(faulty, faults.content_length(4), get("small", CLOSE))
        assert (b"Content-Length: 4" in head, body) == (True, b"0123456789")
        head, body, _ = self.hit(faulty, faults.content_length(extra=b"rubbish"), get("small", CLOSE))
        assert (b"Content-Length: 10" in head, body) == (True, b"0123456789rubbish")
        head, body, _ = self.hit(faulty, faults.content_length(missing=True), get("small"))
        assert (b"Content-Length" in head, body) == (False, b"0123456789")

    def test_chunks_good_and_bad(self, faulty):
        head, body, _ = self.hit(faulty, faults.chunked(4), get("small", CLOSE))
        assert (b"Transfer-Encoding: chunked" in head, b"Content-Length" in head) == (True, False)
        assert body == b"4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"
        assert self.hit(faulty, faults.chunked(99, bad="size"), get("small"))[1].startswith(b"xyz\r\n")
        assert self.hit(faulty, faults.chunked(99, bad="data"), get("small"))[1].startswith(
            b"5\r\n0123456789"
        )
        assert (
            self.hit(faulty, faults.chunked(99, bad="unterminated"), get("small"))[1]
            == b"a\r\n0123456789\r\n"
        )

    def test_ranges_ignored_or_wrong(self, faulty):
        ask = get("small", CLOSE + "Range: bytes=2-4\r\n")
        head, body, _ = self.hit(faulty, faults.ignore_range(), ask)
        assert (head.startswith(b"HTTP/1.1 200"), body) == (True, b"0123456789")
        for change, value in {
            "shifted": b"bytes 3-5/11",
            "short": b"bytes 2-3/10",
            "total": b"bytes 2-4/11",
            "star": b"bytes 2-4/*",
            "unsatisfied": b"bytes */10",
            "overflow": b"bytes 18446744073709551618-18446744073709551620/18446744073709551626",
            "bytes 0-0/1": b"bytes 0-0/1",
        }.items():
            head, body, _ = self.hit(faulty, faults.content_range(change), ask)
            assert (b"Content-Range: " + value in head, body) == (True, b"234")
        assert b"Content-Range" not in self.hit(faulty, faults.content_range("missing"), ask)[0]
        head, body, _ = self.hit(faulty, faults.byteranges(), ask)
        assert b"multipart/byteranges" in head
        assert b"bytes 2-4/10\r\n\r\n234\r\n--sep--" in body

    def test_canned_answers(self, faulty):
        assert self.hit(faulty, faults.respond(418, b"teapot", {"x-a": "b"}))[:2][1] == b"teapot"
        head, body, _ = self.hit(faulty, faults.slow_down("7"))
        assert (head[:12], b"Retry-After: 7" in head, b"<Code>SlowDown</Code>" in body) == (
            b"HTTP/1.1 503",
            True,
            True,
        )
        assert b"Retry-After" not in self.hit(faulty, faults.slow_down())[0]
        assert b"<html>" in self.hit(faulty, faults.html_error(502))[1]
        assert self.hit(faulty, faults.s3_error("RequestTimeout"))[0].startswith(b"HTTP/1.1 400")
        assert self.hit(faulty, faults.s3_error("Mystery", status=418))[0].startswith(b"HTTP/1.1 418")
        head, _, _ = self.hit(
            faulty, faults.redirect(301, region="eu-west-1", location="http://evil.invalid/")
        )
        assert b"x-amz-bucket-region: eu-west-1" in head
        assert b"Location: http://evil.invalid/" in head
        assert faulty.requests[-1].applied is False

    def test_late_errors(self, faulty):
        copy = (
            b"PUT /bucket/copy HTTP/1.1\r\nHost: x\r\nx-amz-copy-source: /bucket/k\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        head, body, _ = self.hit(faulty, faults.late_error(spaces=4), copy)
        assert head.startswith(b"HTTP/1.1 200")
        assert body.startswith(b"    <?xml")
        assert b"<Code>InternalError</Code>" in body
        assert "copy" not in set(faulty.keys())
        start = time.monotonic()
        assert self.hit(faulty, faults.late_error(spaces=3, every=0.04, apply=True), copy)[1].startswith(
            b"   <?xml"
        )
        assert time.monotonic() - start >= 0.12
        assert faulty.get("copy").data == self.BODY

    def test_headers_changed(self, faulty):
        head, _, _ = self.hit(faulty, faults.set_headers({"etag": '"new"', "DATE": "yesterday"}))
        assert (
            head.count(b'etag: "new"'),
            b"ETag" in head,
            b"DATE: yesterday" in head,
            b"\nDate" in head,
        ) == (1, False, True, False)
        assert b"ETag" not in self.hit(faulty, faults.drop_headers("etag"))[0]
        head, body, _ = self.hit(faulty, faults.header_flood(10_000))
        assert (head.count(b"\r\nx-flood-"), body) == (10_000, self.BODY)
        assert b"a" * 100_000 in self.hit(faulty, faults.huge_header(100_000))[0]
        answer, _ = raw(faulty, get("small", CLOSE))
        assert b"x-flood" not in answer

    def test_informational_answers(self, faulty):
        faulty.faults.add(Fault(faults.informational(50, status=103)))
        answer, _ = raw(faulty, get("small", CLOSE))
        assert answer.count(b"HTTP/1.1 103 Wait\r\n\r\n") == 50
        assert answer.endswith(b"0123456789")

    def test_bodies_where_none_may_be(self, faulty):
        head, body, _ = self.hit(
            faulty, faults.head_body(), b"HEAD /bucket/small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert body == b"0123456789"
        ask = get("small", f"If-None-Match: {faulty.get('small').etag}\r\n" + CLOSE)
        head, body, _ = self.hit(faulty, faults.head_body(b"surprise"), ask)
        assert (head[:12], body) == (b"HTTP/1.1 304", b"surprise")

    def test_bodies_changed(self, faulty):
        listing = b"GET /bucket?list-type=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        head, body, _ = self.hit(faulty, faults.truncate_body(60), listing)
        assert (len(body), b"Content-Length: 60" in head) == (60, True)
        assert self.hit(faulty, faults.replace_body(b""), listing)[1] == b""
        assert self.hit(faulty, faults.replace_body(b"<junk", status=500), listing)[0].startswith(
            b"HTTP/1.1 500"
        )
        assert self.hit(faulty, faults.corrupt(1), get("small", CLOSE))[1] == b"0\xce23456789"

    def test_hook_replaces_the_object_between_two_parts(self, faulty):
        faulty.faults.add(Fault(faults.hook(lambda exchange: exchange.server.put("small", b"other")), nth=2))
        etag = faulty.get("small").etag
        answer, _ = raw(
            faulty, get("small", "Range: bytes=0-1\r\n") + get("small", f"If-Match: {etag}\r\n" + CLOSE)
        )
        assert (b"206 Partial" in answer, b"412 Precondition" in answer) == (True, True)

    def test_matching(self, faulty):
        def statuses(count):
            return [exchange(faulty, "GET", "/bucket/small")[0] for _ in range(count)]

        faulty.faults.add(Fault(faults.slow_down(), method=("GET", "PUT"), key="small", skip=1, times=2))
        faulty.faults.add(Fault(faults.slow_down(), method="GET", key="other"))
        faulty.faults.add(Fault(faults.slow_down(), query="uploadId", times=None))
        faulty.faults.add(Fault(faults.slow_down(), bucket="other", times=None))
        faulty.faults.add(
            Fault(faults.slow_down(), when=lambda request: request.range() == (3, None), times=None)
        )
        assert statuses(5) == [200, 503, 503, 200, 200]
        assert exchange(faulty, "GET", "/bucket/small", headers={"Range": "bytes=3-"})[0] == 503
        assert exchange(faulty, "PUT", "/bucket/small?partNumber=1&uploadId=a", b"x")[0] == 503
        faulty.faults.clear()
        fault = faulty.faults.add(Fault(faults.slow_down(), probability=0.5, seed=4, times=None))
        first = statuses(40)
        assert 5 < first.count(503) < 35
        faulty.faults.remove(fault)
        faulty.faults.add(Fault(faults.slow_down(), probability=0.5, seed=4, times=None))
        assert statuses(40) == first

    def test_faults_do_not_hide_a_wrong_signature(self, server):
        server.faults.add(Fault(faults.respond(200, b"fine")))
        assert exchange(server, "GET", "/bucket/k")[0] == 200
        assert [error.code for error in server.take_errors()] == ["AccessDenied"]

    def test_cut_over_tls_has_no_close_notify(self, tls_server):
        tls_server.require_auth = False
        tls_server.put("k", b"0123456789")
        tls_server.faults.add(Fault(faults.cut(4)))
        context = tls_server.tls.client_context()
        with (
            socket.create_connection(("127.0.0.1", tls_server.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sock,
        ):
            sock.sendall(get("k", "Range: bytes=0-9\r\n"))
            got = sock.read(1000)
            while not got.endswith(b"\r\n\r\n0123"):
                got += sock.read(1000)
            with pytest.raises(ssl.SSLEOFError):
                sock.read(1000)


class TestTls:
    def fetch(self, server, context):
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=5, context=context)
        with closing(connection):
            connection.request("GET", "/bucket/k")
            return connection.getresponse().read()

    def test_large_bodies_both_ways(self, tls_server):
        data = os.urandom(6 * MIB + 17)
        with closing(client_of(tls_server, verify=str(tls_server.tls.ca))) as s3:
            s3.put_object(Bucket="bucket", Key="k", Body=data)
            assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == data
        assert tls_server.connections_opened == 1

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [("wrong-name", "Hostname mismatch"), ("expired", "expired"), ("self-signed", "self-signed")],
    )
    def test_certificates_to_refuse(self, kind, reason):
        with VerifyingServer(tls=make_certificate(kind), require_auth=False) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match=reason):
                self.fetch(server, server.tls.client_context())
            server.wait_idle(connections=0)
            assert (len(server.tls_failures), server.requests, server.errors) == (1, [], [])

    def test_untrusted_authority_is_refused(self, tls_server):
        with pytest.raises(ssl.SSLCertVerificationError):
            self.fetch(tls_server, ssl.create_default_context())


class TestProxy:
    def test_connect_leads_amazon_names_to_the_server(self, tls_server):
        name = "bucket.s3.us-west-2.amazonaws.com"
        tls_server.store.buckets["bucket"].region = "us-west-2"
        tls_server.put("k", b"x")
        with ForwardProxy({f"{name}:443": tls_server.port}, auth=("me", "pass")) as proxy:
            code = base64.b64encode(b"me:pass").decode()
            connection = http.client.HTTPSConnection(
                "127.0.0.1", proxy.port, timeout=5, context=tls_server.tls.client_context()
            )
            with closing(connection):
                connection.set_tunnel(name, 443, {"Proxy-Authorization": f"Basic {code}"})
                request = AWSRequest("GET", f"https://{name}/k", headers={})
                S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-west-2").add_auth(request)
                connection.request("GET", "/k", headers=dict(request.headers.items()))
                assert connection.getresponse().read() == b"x"
            (seen,) = proxy.requests
            assert (seen.method, seen.target, seen.user, seen.status) == ("CONNECT", f"{name}:443", "me", 200)

    @pytest.mark.parametrize(
        ("options", "status"), [({"auth": ("a", "b")}, 407), ({"refuse": 502}, 502), ({}, 502)]
    )
    def test_refusals(self, options, status):
        with ForwardProxy(**options) as proxy:
            connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=5)
            connection.set_tunnel("not-mapped.invalid", 443)
            with closing(connection), pytest.raises(OSError, match=str(status)):
                connection.connect()
            assert proxy.requests[0].status == status

    def test_plain_requests_are_passed_on_in_origin_form(self, open_server):
        open_server.put("k", b"x")
        with ForwardProxy({"s3.invalid:80": open_server.port}) as proxy, http_connection(proxy) as connection:
            for _ in range(2):
                connection.request(
                    "GET", "http://s3.invalid/bucket/k", headers={"Proxy-Authorization": "Basic YTpi"}
                )
                assert connection.getresponse().read() == b"x"
            connection.request("PUT", "http://s3.invalid/bucket/new", body=b"y" * 100_000)
            assert connection.getresponse().read() == b""
        assert [request.target for request in open_server.requests] == [
            "/bucket/k",
            "/bucket/k",
            "/bucket/new",
        ]
        assert "proxy-authorization" not in open_server.requests[0].fields
        assert proxy.requests[0].user == "a"
        assert len(open_server.get("new").data) == 100_000

    @pytest.mark.parametrize("password", [b"right", b"wrong"])
    def test_socks5(self, open_server, password):
        with ForwardProxy(
            {"s3.invalid:80": open_server.port}, kind="socks5", auth=("user", "right")
        ) as proxy:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
                sock.sendall(b"\x05\x01\x02")
                assert sock.recv(2) == b"\x05\x02"
                sock.sendall(b"\x01\x04user\x05" + password)
                if password == b"wrong":
                    assert sock.recv(2) == b"\x01\x01"
                    return
                assert sock.recv(2) == b"\x01\x00"
                sock.sendall(b"\x05\x01\x00\x03\x0as3.invalid\x00\x50")
                assert sock.recv(10)[1] == 0
                sock.sendall(get("k", CLOSE))
                assert sock.recv(1000).startswith(b"HTTP/1.1 404")
            assert proxy.requests[0].target == "s3.invalid:80"


class TestProcesses:
    def test_server_in_a_child_process(self):
        with (
            ServerProcess("--object", "a/k=1000000", "--no-auth") as child,
            urllib.request.urlopen(child.url + "/bucket/a/k", timeout=5) as answer,
        ):
            assert answer.read() == PatternBody(1_000_000).read(0, 1_000_000)
        assert child.record["requests"] == 1
        assert child.record["errors"] == []

    @pytest.mark.fork
    def test_forked_child_does_not_keep_connections_alive(self, open_server):
        with half_open(open_server, get("k")) as sock:
            assert sock.recv(1000).startswith(b"HTTP/1.1 404")
            ready, done = os.pipe(), os.pipe()
            child = os.fork()
            if child == 0:
                os.write(ready[1], b"1")
                os.read(done[0], 1)
                os._exit(0)
            os.read(ready[0], 1)
            open_server.close_connections()
            assert sock.recv(1) == b""
            os.write(done[1], b"1")
            assert os.waitpid(child, 0)[1] == 0
            for end in (*ready, *done):
                os.close(end)

    def test_many_servers_at_once_end_their_threads(self):
        before = threading.active_count()
        servers = [VerifyingServer(require_auth=False).start() for _ in range(8)]
        assert len({server.port for server in servers}) == 8
        assert all(raw(server, get("k", CLOSE))[0].startswith(b"HTTP/1.1 404") for server in servers)
        for server in servers:
            server.stop()
            server.stop()
        assert threading.active_count() == before

    def test_small_requests_are_cheap(self, server):
        """No timing, but the work: a thousand signed requests over four connections, all verified."""
        server.put("k", b"x" * 4096)
        headers = signed(server, "GET", "/bucket/k")

        def work():
            with http_connection(server) as connection:
                for _ in range(250):
                    connection.request("GET", "/bucket/k", headers=headers)
                    assert len(connection.getresponse().read()) == 4096

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.wait_idle()
        assert (len(server.requests), server.connections_opened) == (1000, 4)
        assert all(request.verified and request.finished for request in server.requests)
