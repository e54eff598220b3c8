"""Checksums: sent with uploads if asked for and not otherwise, and verified with `verify_checksums`."""

from __future__ import annotations

import base64
import hashlib
import io
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace

import pytest

from s3ext import exceptions
from tests.faults.tools import retrying
from tests.python.ways import PART, connect
from tests.server import Fault, StoredObject, VerifyingServer, checksum, faults
from tests.server.http import BytesBody
from tests.server.store import Part

ALGORITHMS = ["sha256", "sha1", "crc32", "crc32c", "crc64nvme"]
CRCS = ["crc32", "crc32c", "crc64nvme"]
DIGESTS = ["sha256", "sha1"]
DATA = bytes(range(251)) * 12
CHUNK = 1000
SIZES = [1000, 1000, 1000, 12]
QUICK = {"retry_config": retrying(2)}

by_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.fixture
def server():
    """A server that takes small parts."""
    with VerifyingServer(min_part_size=0) as server:
        yield server
        assert not server.errors


def sums(request):
    """Return the checksum headers of a request."""
    prefix = "x-amz-checksum-"
    return {name.removeprefix(prefix): request.header(name) for name in request.fields if prefix in name}


def parts_of(data=DATA):
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]


def composite(algorithm, parts):
    digests = b"".join(base64.b64decode(checksum(algorithm, part)) for part in parts)
    return f"{checksum(algorithm, digests)}-{len(parts)}"


# ---- uploads ----


@by_algorithm
@pytest.mark.parametrize("unsigned", [False, True], ids=["signed", "unsigned"])
@pytest.mark.parametrize("data", [b"", b"123456789", DATA], ids=["empty", "small", "3 KB"])
def test_a_single_put_carries_the_checksum(server, way, algorithm, unsigned, data):
    store = connect(server, checksum_algorithm=algorithm, unsigned_payload=unsigned)
    way(store, "put", "one", data)
    (request,) = server.find("PUT", "one")
    assert sums(request) == {algorithm: checksum(algorithm, data)}
    assert server.get("one").checksums == {algorithm: checksum(algorithm, data)}


@by_algorithm
def test_large_bodies_are_hashed_in_steps_to_the_same_checksum(way, algorithm):
    with VerifyingServer() as server:
        data = hashlib.shake_128(b"large").digest(1_500_001)
        way(connect(server, checksum_algorithm=algorithm), "put", "one", data, use_multipart=False)
        assert server.get("one").checksums == {algorithm: checksum(algorithm, data)}
        assert not server.errors


def test_without_signature_the_checksum_goes_all_the_same(way):
    with VerifyingServer(require_auth=False) as server:
        way(connect(server, checksum_algorithm="crc32", skip_signature=True), "put", "one", DATA)
        (request,) = server.find("PUT", "one")
        assert sums(request) == {"crc32": base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()}


SOURCES = {
    "bytes": lambda: DATA,
    "file": lambda: io.BytesIO(DATA),
    "iterator": lambda: iter([DATA[:1500], DATA[1500:1600], DATA[1600:]]),
}


@by_algorithm
@pytest.mark.parametrize("source", SOURCES)
def test_an_upload_in_parts_carries_checksums_throughout(server, way, algorithm, source):
    store = connect(server, checksum_algorithm=algorithm)
    way(store, "put", "big", SOURCES[source](), chunk_size=CHUNK)
    (create,) = server.find("POST", "big", "uploads")
    (complete,) = server.find("POST", "big", "uploadId")
    wanted = {"algorithm": algorithm.upper()} | ({"type": "FULL_OBJECT"} if algorithm in CRCS else {})
    assert sums(create) == wanted
    uploaded = sorted(server.find("PUT", "big"), key=lambda request: request.part)
    assert [sums(request) for request in uploaded] == [
        {algorithm: checksum(algorithm, part)} for part in parts_of()
    ]
    listed = [node.text for node in ET.fromstring(complete.body).iter() if "Checksum" in node.tag]
    assert listed == [checksum(algorithm, part) for part in parts_of()]
    stored = server.get("big")
    assert stored.data == DATA
    if algorithm in CRCS:
        assert sums(complete) == {algorithm: checksum(algorithm, DATA), "type": "FULL_OBJECT"}
        assert (stored.checksums, stored.checksum_type) == (
            {algorithm: checksum(algorithm, DATA)},
            "FULL_OBJECT",
        )
    else:
        assert sums(complete) == {}
        assert stored.checksums == {algorithm: composite(algorithm, parts_of())}
        assert stored.checksum_type == "COMPOSITE"


def test_no_checksum_is_sent_that_was_not_asked_for(server, way):
    store = connect(server)
    way(store, "put", "one", DATA)
    way(store, "put", "big", DATA, chunk_size=CHUNK)
    way(store, "copy", "one", "copied")
    way(store, "get", "one").bytes()
    way(store, "head", "one")
    store.list().collect()
    assert not any(sums(request) for request in server.requests)
    assert not any("<Checksum" in request.body.decode() for request in server.find("POST", "big"))


def test_a_copy_makes_none_either(server, way):
    store = connect(server, checksum_algorithm="sha256", copy_if_not_exists="multipart")
    way(store, "put", "one", DATA)
    server.forget()
    way(store, "copy", "one", "two")
    way(store, "copy", "one", "three", overwrite=False)
    assert not any(sums(request) for request in server.requests)


def test_servers_that_know_no_checksums_are_sent_no_elements(server, way):
    drop = faults.drop_headers("x-amz-checksum-crc32c", "x-amz-checksum-algorithm", "x-amz-checksum-type")
    server.faults.add(Fault(drop, key="big", times=100))
    way(connect(server, checksum_algorithm="crc32c"), "put", "big", DATA, chunk_size=CHUNK)
    (complete,) = server.find("POST", "big", "uploadId")
    assert b"Checksum" not in complete.body
    assert sums(complete) == {"crc32c": checksum("crc32c", DATA), "type": "FULL_OBJECT"}


def test_servers_that_know_only_composite_ones_are_not_sent_the_whole_objects(server, way):
    server.faults.add(Fault(faults.drop_headers("x-amz-checksum-type"), key="big", query="uploads"))
    way(connect(server, checksum_algorithm="crc32c"), "put", "big", DATA, chunk_size=CHUNK)
    (complete,) = server.find("POST", "big", "uploadId")
    assert sums(complete) == {}
    assert complete.body.count(b"<ChecksumCRC32C>") == len(SIZES)


@by_algorithm
@pytest.mark.parametrize("chunk", [None, CHUNK], ids=["single", "parts"])
def test_a_bad_digest_is_tried_once_more(server, way, algorithm, chunk):
    fault = server.faults.add(Fault(faults.s3_error("BadDigest"), method="PUT", key="one"))
    store = connect(server, checksum_algorithm=algorithm, **QUICK)
    way(store, "put", "one", DATA, **({"chunk_size": chunk} if chunk else {}))
    assert fault.hits == 1
    assert server.get("one").data == DATA


@by_algorithm
@pytest.mark.parametrize("chunk", [None, CHUNK], ids=["single", "parts"])
def test_a_body_that_is_damaged_on_its_way_is_refused(server, way, algorithm, chunk):
    def damage(exchange):
        exchange.body[len(exchange.body) // 2] ^= 1

    fault = server.faults.add(Fault(faults.hook(damage), method="PUT", key="one", times=100))
    store = connect(server, checksum_algorithm=algorithm, unsigned_payload=True, **QUICK)
    with pytest.raises(exceptions.GenericError, match="did not match the calculated checksum") as caught:
        way(store, "put", "one", DATA, **({"chunk_size": chunk} if chunk else {}))
    assert caught.value.code == "BadDigest"
    assert fault.hits >= 2
    assert server.keys() == []
    assert not server.store.uploads
    assert {error.code for error in server.take_errors()} <= {"BadDigest"}


@pytest.mark.parametrize("chunk", [None, CHUNK], ids=["single", "parts"])
def test_an_answer_that_names_another_checksum_is_a_checksum_error(server, way, chunk):
    other = {"x-amz-checksum-sha1": checksum("sha1", b"other")}
    server.faults.add(Fault(faults.set_headers(other), method="PUT", key="one", times=100))
    with pytest.raises(exceptions.ChecksumError):
        way(
            connect(server, checksum_algorithm="sha1", **QUICK),
            "put",
            "one",
            DATA,
            **({"chunk_size": chunk} if chunk else {}),
        )
    assert not server.store.uploads


@pytest.mark.parametrize("algorithm", CRCS)
def test_a_part_that_the_server_spoils_is_found_by_the_whole_objects_checksum(server, way, algorithm):
    def spoil(exchange):
        (upload,) = server.store.uploads.values()
        upload.parts[2] = replace(upload.parts[2], body=BytesBody(b"y" * CHUNK))

    fault = Fault(faults.hook(spoil), method="POST", key="big", query="uploadId", times=1)
    server.faults.add(fault)
    store = connect(server, checksum_algorithm=algorithm, **QUICK)
    with pytest.raises(exceptions.GenericError, match="did not match the calculated checksum"):
        way(store, "put", "big", DATA, chunk_size=CHUNK)
    assert fault.hits == 1
    assert server.keys() == []
    assert not server.store.uploads
    assert {error.code for error in server.take_errors()} == {"BadDigest"}


# ---- reading ----


def stored(server, way, algorithm, chunk, data=DATA):
    way(
        connect(server, checksum_algorithm=algorithm),
        "put",
        "one",
        data,
        use_multipart=bool(chunk),
        chunk_size=chunk or PART,
    )
    server.forget()


def readings(store, way, data):
    """Read the object in every way that is verified: bytes, a stream, into memory."""
    for shape in ("bytes", "stream", "into"):
        if shape == "into":
            into = bytearray(len(data))
            result = way(store, "get", "one", into=into)
            assert into == data
        else:
            result = way(store, "get", "one")
            assert result.checksum is not None
            assert result.checksum[2] is False
        if shape == "stream":
            assert b"".join(way.pieces(result.stream(1000))) == data
        else:
            assert bytes(way(result, "bytes")) == data
        yield shape, result.checksum


@by_algorithm
@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one byte", "3 KB"])
def test_what_is_read_is_verified(server, way, algorithm, data):
    stored(server, way, algorithm, None, data)
    for _, found in readings(connect(server, verify_checksums=True), way, data):
        assert found == (algorithm, checksum(algorithm, data), True)
    assert all(sums(request) == {"mode": "ENABLED"} for request in server.requests)


@by_algorithm
def test_objects_in_parts_are_verified(server, way, algorithm):
    stored(server, way, algorithm, CHUNK)
    value = checksum(algorithm, DATA) if algorithm in CRCS else composite(algorithm, parts_of())
    for _, found in readings(connect(server, verify_checksums=True), way, DATA):
        assert found == (algorithm, value, True)


@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
def test_large_objects_are_verified_over_all_their_parts(server, way, algorithm):
    data = hashlib.shake_128(b"large").digest(4 * PART + 77)
    stored(server, way, algorithm, None, data)
    for _, found in readings(connect(server, verify_checksums=True), way, data):
        assert found == (algorithm, checksum(algorithm, data), True)


@pytest.mark.parametrize("algorithm", ["crc32c", "sha256", "sha1"])
@pytest.mark.parametrize("sizes", [[5, 9, 5], [9, 5, 9, 2], [4, 8, 2]], ids=str)
def test_composite_checksums_of_uneven_parts_stay_unverified(server, way, algorithm, sizes):
    """[9, 5, 9, 2] could be even parts of 9 by all but the parts between."""
    uneven(server, algorithm, sizes)
    data = server.get("one").data
    for _, found in readings(connect(server, verify_checksums=True), way, data):
        assert found == (algorithm, server.get("one").checksums[algorithm], False)


def uneven(server, algorithm, sizes):
    """Store an object of parts of these sizes, by the server's own means."""
    draft = StoredObject("one", BytesBody(), "", 1)
    upload = server.store.create_upload("bucket", draft, algorithm, "COMPOSITE")
    wanted = []
    for number, size in enumerate(sizes, 1):
        data = hashlib.shake_128(bytes([number])).digest(size)
        part_sums = {algorithm: checksum(algorithm, data)}
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        server.store.put_part(upload, Part(number, BytesBody(data), etag, 1, part_sums))
        wanted.append((number, etag, part_sums))
    server.store.complete(upload, wanted)


def test_objects_without_a_checksum_are_read_and_say_so(server, way):
    server.put("one", DATA)
    result = way(connect(server, verify_checksums=True), "get", "one")
    assert result.checksum is None
    assert bytes(way(result, "bytes")) == DATA


def test_without_the_option_nothing_is_asked(server, way):
    stored(server, way, "crc32", None)
    result = way(connect(server), "get", "one")
    assert result.checksum is None
    assert bytes(way(result, "bytes")) == DATA
    assert [sums(request) for request in server.requests] == [{}]


def test_ranges_are_not_verified(server, way):
    stored(server, way, "crc32", None)
    store = connect(server, verify_checksums=True)
    server.faults.add(Fault(faults.corrupt(0), method="GET", key="one", times=100))
    wrong = bytes([DATA[2] ^ 0xFF])
    assert bytes(way(store, "get_range", "one", start=2, end=3)) == wrong
    assert bytes(way(store, "get_ranges", "one", starts=[2], ends=[3])[0]) == wrong
    for wanted in ((2, 3), {"offset": 3000}, {"suffix": 2}):
        result = way(store, "get", "one", options={"range": wanted})
        assert result.checksum is None
        assert bytes(way(result, "bytes"))
    assert not any(sums(request) for request in server.requests)


def test_a_checksum_that_comes_with_the_bytes_counts_first(server, way):
    stored(server, way, "crc32", None)
    extra = {"x-amz-checksum-crc32": checksum("crc32", DATA), "x-amz-checksum-type": "FULL_OBJECT"}
    server.faults.add(Fault(faults.set_headers(extra), method="GET", key="one"))
    server.faults.add(Fault(faults.drop_headers("x-amz-checksum-crc32"), method="HEAD", key="one"))
    result = way(connect(server, verify_checksums=True), "get", "one")
    assert bytes(way(result, "bytes")) == DATA
    assert result.checksum == ("crc32", checksum("crc32", DATA), True)


@pytest.mark.parametrize("size", [len(DATA), 3 * PART])
def test_two_requests_at_a_time_bring_bytes_and_checksum(server, way, size):
    stored(server, way, "crc32", None, bytes(size))
    way(connect(server, verify_checksums=True), "get", "one")
    assert sorted(request.method for request in server.requests) == ["GET", "HEAD"]


def read(store, way, shape, size, piece, got=None):
    """Read the object in one way; what a stream gives before it fails goes into `got`."""
    got = [] if got is None else got
    if shape == "into":
        way(store, "get", "one", into=bytearray(size))
    elif shape == "bytes":
        way(way(store, "get", "one"), "bytes")
    elif way.runner is None:
        got.extend(way(store, "get", "one").stream(piece))
    else:
        way.runner.run(extend(got, way(store, "get", "one").stream(piece)))


async def extend(got, stream):
    async for part in stream:
        got.append(part)


@by_algorithm
@pytest.mark.parametrize("chunk", [None, CHUNK], ids=["single", "parts"])
@pytest.mark.parametrize("shape", ["bytes", "stream", "into"])
def test_wrong_bytes_are_a_checksum_error(server, way, algorithm, chunk, shape):
    stored(server, way, algorithm, chunk)
    fault = server.faults.add(Fault(faults.corrupt(len(DATA) - 1), method="GET", key="one"))
    store = connect(server, verify_checksums=True)
    with pytest.raises(exceptions.ChecksumError, match=f"{algorithm.upper()} checksum") as caught:
        read(store, way, shape, len(DATA), 1000)
    assert fault.hits == 1
    error = caught.value
    assert (error.operation, error.bucket, error.key, error.retryable) == ("get", "bucket", "one", True)
    assert ("must not be trusted" in str(error)) == (shape == "into")


@pytest.mark.parametrize("which", [0, 1, 3], ids=["first", "second", "last"])
@pytest.mark.parametrize("shape", ["bytes", "stream", "into"])
def test_one_wrong_byte_in_any_part_of_a_large_object_is_found(server, way, which, shape):
    data = hashlib.shake_128(b"large").digest(4 * PART + 77)
    stored(server, way, "crc32", None, data)
    begin = which * PART
    server.faults.add(
        Fault(
            faults.corrupt(5),
            method="GET",
            key="one",
            when=lambda request: (request.range() or (0,))[0] == begin,
        )
    )
    store = connect(server, verify_checksums=True)
    got = []
    with pytest.raises(exceptions.ChecksumError):
        read(store, way, shape, len(data), PART, got)
    assert sum(map(len, got)) < len(data)


def test_the_checksum_of_another_version_is_not_taken(server, way):
    stored(server, way, "crc32", None)
    another = {"ETag": '"another"', "x-amz-checksum-crc32": "AAAAAA=="}
    server.faults.add(Fault(faults.set_headers(another), method="HEAD", key="one"))
    result = way(connect(server, verify_checksums=True), "get", "one")
    assert bytes(way(result, "bytes")) == DATA
    assert result.checksum == ("crc32", checksum("crc32", DATA), True)
    assert [request.header("if-match") for request in server.find("HEAD", "one")] == [
        "",
        server.get("one").etag,
    ]


def test_an_object_that_is_replaced_before_its_checksum_is_asked_for_is_refused(server, way):
    stored(server, way, "crc32", None)
    server.faults.add(Fault(faults.set_headers({"ETag": '"another"'}), method="HEAD", key="one"))
    replace_it = faults.hook(lambda _: server.put("one", b"other"))
    server.faults.add(Fault(replace_it, method="HEAD", key="one", skip=1))
    with pytest.raises(exceptions.PreconditionError):
        way(connect(server, verify_checksums=True), "get", "one")


def test_conditions_hold_for_the_question_too(server, way):
    stored(server, way, "crc32", None)
    store = connect(server, verify_checksums=True)
    with pytest.raises(exceptions.NotModifiedError):
        way(store, "get", "one", options={"if_none_match": server.get("one").etag})
    with pytest.raises(exceptions.NotFoundError):
        way(store, "get", "two")


def test_where_the_checksum_cannot_be_had_the_read_fails(server, way):
    stored(server, way, "crc32", None)
    server.faults.add(Fault(faults.s3_error("AccessDenied"), method="HEAD", key="one", times=100))
    with pytest.raises(exceptions.PermissionDeniedError):
        way(connect(server, verify_checksums=True), "get", "one")


def test_a_version_is_verified_by_its_own_checksum(way):
    with VerifyingServer() as server:
        server.store.create_bucket("versions", versioned=True)
        store = connect(server, "versions", checksum_algorithm="crc32", verify_checksums=True)
        first = way(store, "put", "one", b"first")
        way(store, "put", "one", b"second")
        result = way(store, "get", "one", options={"version": first["version"]})
        assert bytes(way(result, "bytes")) == b"first"
        assert result.checksum == ("crc32", checksum("crc32", b"first"), True)
        assert not server.errors


def test_with_a_customers_key_too(server, way):
    key = {"server_side_encryption": "sse-c", "sse_customer_key_base64": base64.b64encode(bytes(32)).decode()}
    store = connect(server, checksum_algorithm="sha256", verify_checksums=True, **key)
    way(store, "put", "one", DATA, chunk_size=CHUNK)
    result = way(store, "get", "one")
    assert bytes(way(result, "bytes")) == DATA
    assert result.checksum == ("sha256", composite("sha256", parts_of()), True)
