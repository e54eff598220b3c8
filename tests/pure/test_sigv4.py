"""Signature Version 4, held against AWS's published examples and botocore as an independent signer."""

from __future__ import annotations

import hashlib
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import BASE_CDEF, Native, load
from tests.pure.openssl_failures import count_failures

__all__: list[str] = []

_SOURCES = ["identity/sigv4.c", "pure/uri.c", "pure/hash.c"]
_CDEF = (
    BASE_CDEF
    + """
struct s3_query { struct s3_str name; struct s3_str value; };
struct s3_header { struct s3_str name; struct s3_str value; };
struct s3_sign_request {
    struct s3_str method; struct s3_str path; struct s3_str query;
    struct s3_header *headers; size_t header_count; struct s3_str payload_hash;
};
struct s3_signer;
struct s3_signer *s3i_signer_new(struct s3_str key_id, struct s3_str secret, struct s3_str region,
                                 struct s3_str service, int64_t epoch);
void s3i_signer_free(struct s3_signer *signer);
void s3i_buf_fixed(struct s3_buf *buf, char *memory, size_t capacity);
bool s3i_signer_valid(const struct s3_signer *signer, int64_t epoch);
void s3i_amz_date(char *out, int64_t epoch);
int s3i_sign_headers(const struct s3_signer *signer, const struct s3_sign_request *request, int64_t epoch,
                     struct s3_buf *authorization);
int s3i_sign_query(const struct s3_signer *signer, const struct s3_sign_request *request, int64_t epoch,
                   uint32_t expires_seconds, struct s3_str token, const struct s3_query *extra,
                   size_t extra_count, struct s3_buf *query);
void s3i_uri_add_path(struct s3_buf *out, struct s3_str key);
void s3i_uri_add_query(struct s3_buf *out, struct s3_query *pairs, size_t count);
int s3i_hash_init(void);
enum { S3EXT_OK = 0, S3EXT_INVALID = -1, S3EXT_NO_MEMORY = -2, S3EXT_SYSTEM = -5 };
"""
)

ffi, lib = load("sigv4", _SOURCES, _CDEF)
native = Native(ffi, lib)
assert lib.s3i_hash_init() == lib.S3EXT_OK

EMPTY_HASH = hashlib.sha256(b"").hexdigest()
EPOCH = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp())
DAY = 86400
Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Identity:
    """Who signs, and for what scope. The defaults are those of AWS's S3 examples."""

    key_id: str = "AKIAIOSFODNN7EXAMPLE"
    secret: str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    token: str | None = None
    region: str = "us-east-1"
    service: str = "s3"

    def signer(self, epoch: int = EPOCH) -> Any:
        texts = (self.key_id, self.secret, self.region, self.service)
        made = lib.s3i_signer_new(*(native.text(text.encode()) for text in texts), epoch)
        assert made != ffi.NULL
        return ffi.gc(made, lib.s3i_signer_free)

    def botocore(self) -> Credentials:
        return Credentials(self.key_id, self.secret, self.token)


@dataclass
class Request:
    """A request in Python's terms; `c()` makes the struct and keeps its parts alive."""

    method: str = "GET"
    path: bytes = b"/"
    query: Pairs = field(default_factory=list)
    headers: Pairs = field(default_factory=list)
    payload_hash: str = EMPTY_HASH
    kept: list[Any] = field(default_factory=list)

    def c(self) -> Any:
        struct = ffi.new("struct s3_sign_request *")
        struct.method = self._text(self.method.encode())
        struct.path = self._text(native.collect(lib.s3i_uri_add_path, native.text(self.path)))
        pairs = self.pairs(self.query, "struct s3_query[]")
        struct.query = self._text(native.collect(lib.s3i_uri_add_query, pairs, len(pairs)))
        struct.headers = self.pairs(self.headers, "struct s3_header[]")
        struct.header_count = len(self.headers)
        struct.payload_hash = self._text(self.payload_hash.encode())
        return struct

    def pairs(self, pairs: Pairs, kind: str) -> Any:
        array = ffi.new(kind, len(pairs))
        self.kept.append(array)
        for row, (name, value) in zip(array, pairs, strict=True):
            row.name = self._text(name)
            row.value = self._text(value)
        return array

    def _text(self, data: bytes) -> Any:
        text = native.text(data)
        self.kept.append(text)
        return text

    def url(self, scheme: str, host: str) -> str:
        """Return the URL with path and query encoded by urllib, the query in the order given."""
        query = "&".join("=".join(urllib.parse.quote(part, safe="") for part in pair) for pair in self.query)
        path = urllib.parse.quote(self.path, safe="/")
        return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def authorization(signer: Any, request: Request, epoch: int = EPOCH) -> str:
    buffer = native.buffer()
    assert lib.s3i_sign_headers(signer, request.c(), epoch, buffer) == lib.S3EXT_OK
    return native.content(buffer).decode()


def presigned(
    signer: Any, request: Request, epoch: int, expires: int, token: str | None, extra: Pairs
) -> str:
    buffer = native.buffer()
    pairs = request.pairs(extra, "struct s3_query[]")
    text = native.text((token or "").encode())
    struct = request.c()
    code = lib.s3i_sign_query(signer, struct, epoch, expires, text, pairs, len(pairs), buffer)
    assert code == lib.S3EXT_OK
    return native.content(buffer).decode()


# "Examples: Signature Calculations" of "Authenticating Requests: Using the Authorization Header (AWS
# Signature Version 4)", Amazon S3 API Reference.
_AWS_HOST = b"examplebucket.s3.amazonaws.com"
_AWS_PUT_HASH = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
AWS_EXAMPLES = {
    "get-object-range": (
        Request("GET", b"/test.txt", headers=[(b"range", b"bytes=0-9")]),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put-object": (
        Request(
            "PUT",
            b"/test$file.text",
            headers=[
                (b"date", b"Fri, 24 May 2013 00:00:00 GMT"),
                (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
            ],
            payload_hash=_AWS_PUT_HASH,
        ),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get-bucket-lifecycle": (
        Request("GET", query=[(b"lifecycle", b"")]),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "get-bucket-list-objects": (
        Request("GET", query=[(b"prefix", b"J"), (b"max-keys", b"2")]),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.mark.parametrize("name", AWS_EXAMPLES)
def test_aws_header_examples(name: str) -> None:
    example, signature = AWS_EXAMPLES[name]
    own = [
        (b"host", _AWS_HOST),
        (b"x-amz-content-sha256", example.payload_hash.encode()),
        (b"x-amz-date", b"20130524T000000Z"),
    ]
    request = Request(
        example.method, example.path, example.query, own + example.headers, example.payload_hash
    )
    names = ";".join(sorted(name.decode() for name, _ in request.headers))
    assert authorization(Identity().signer(), request) == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_aws_put_example_hashes_its_body() -> None:
    assert hashlib.sha256(b"Welcome to Amazon S3.").hexdigest() == _AWS_PUT_HASH


def test_aws_presigned_example() -> None:
    """The example of "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"."""
    request = Request("GET", b"/test.txt", headers=[(b"host", _AWS_HOST)], payload_hash="UNSIGNED-PAYLOAD")
    assert presigned(Identity().signer(), request, EPOCH, 86400, None, []) == (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


# What follows is generated, and signed by botocore too.

visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
words = st.text(visible, min_size=1, max_size=12)
identities = st.builds(
    Identity,
    key_id=words,
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80),
    token=st.none() | st.text(visible, min_size=1, max_size=60),
    region=words,
    service=words | st.just("s3"),
)
epochs = st.integers(0, int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()))
origins = st.tuples(
    st.sampled_from(["http", "https"]),
    st.sampled_from(
        ["s3.amazonaws.com", "b.s3.eu-west-1.amazonaws.com", "localhost:9000", "127.0.0.1:8080", "h:1"]
    ),
)
key_parts = st.sampled_from([b"/", b"//", b".", b"..", b"/./", b"/../", b"%2F", b"+", b" ", b"~", b"?", b"#"])
paths = st.lists(key_parts | st.binary(max_size=5), max_size=10).map(lambda parts: b"/" + b"".join(parts))
query_names = st.sampled_from([b"uploads", b"prefix", b"Prefix", b"a", b"a-", b""]) | st.binary(max_size=6)
queries = st.lists(st.tuples(query_names, st.binary(max_size=10)), max_size=6)
methods = st.sampled_from(["GET", "PUT", "HEAD", "POST", "DELETE"])

name_characters = st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-_.")
header_names = st.builds(
    str.__add__, st.sampled_from(["x-amz-meta-", "a", "if-", "z"]), st.text(name_characters, max_size=6)
)
# Characters that Python's str.split takes for white space are left out but for the space itself.
value_words = st.text(visible | st.sampled_from("\u00e9\u6f22\U0001f600"), max_size=8)
header_values = st.lists(value_words, max_size=5).map(lambda found: " ".join(found).strip(" ")) | st.builds(
    lambda one, spaces, two: one + " " * spaces + two, words, st.integers(1, 5), words
)
# Few names, so that some repeat.
headers = st.lists(
    st.tuples(header_names | st.sampled_from(["x-amz-meta-one", "range"]), header_values), max_size=6
)


def at(epoch: int) -> Any:
    """Let botocore sign at that second."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=epoch)
    return mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment)


@given(
    identities, epochs, methods, origins, paths, queries, headers,
    st.none() | st.binary(max_size=40),
)  # fmt: skip
def test_headers_are_signed_as_botocore_signs_them(
    identity: Identity,
    epoch: int,
    method: str,
    origin: tuple[str, str],
    path: bytes,
    query: Pairs,
    sent: list[tuple[str, str]],
    body: bytes | None,
) -> None:
    """A body of None stands for an unsigned payload, which botocore takes over https only."""
    scheme, host = origin
    unsigned = body is None and scheme == "https"
    payload_hash = "UNSIGNED-PAYLOAD" if unsigned else hashlib.sha256(body or b"").hexdigest()
    request = Request(method, path, query, payload_hash=payload_hash)
    theirs = AWSRequest(method, request.url(scheme, host), data=body or b"")
    for name, value in sent:
        theirs.headers.add_header(name, value)
    theirs.context["client_config"] = SimpleNamespace(s3={"payload_signing_enabled": not unsigned})
    auth = botocore.auth.S3SigV4Auth(identity.botocore(), identity.service, identity.region)
    with at(epoch):
        auth.add_auth(theirs)

    request.headers = [(name.encode(), value.encode()) for name, value in sent]
    request.headers += [
        (b"x-amz-date", theirs.headers["X-Amz-Date"].encode()),
        (b"x-amz-content-sha256", payload_hash.encode()),
        (b"host", host.encode()),
    ]
    if identity.token is not None:
        request.headers.append((b"x-amz-security-token", identity.token.encode()))
    assert authorization(identity.signer(epoch), request, epoch) == theirs.headers["Authorization"]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(
    identities, epochs, methods, origins, paths, headers, st.integers(0, 2**32 - 1),
    st.dictionaries(texts | st.sampled_from(["versionId", "response-content-type"]), texts, max_size=5),
)  # fmt: skip
def test_presigned_queries_are_signed_as_botocore_signs_them(
    identity: Identity,
    epoch: int,
    method: str,
    origin: tuple[str, str],
    path: bytes,
    sent: list[tuple[str, str]],
    expires: int,
    extra: dict[str, str],
) -> None:
    host = origin[1]
    request = Request(method, path, payload_hash="UNSIGNED-PAYLOAD")
    theirs = AWSRequest(method, request.url(*origin), params=dict(extra))
    for name, value in sent:
        theirs.headers.add_header(name, value)
    auth = botocore.auth.S3SigV4QueryAuth(
        identity.botocore(), identity.service, identity.region, expires=expires
    )
    with at(epoch):
        auth.add_auth(theirs)
    *their_pairs, their_signature = urllib.parse.urlsplit(theirs.url).query.split("&")

    request.headers = [(name.encode(), value.encode()) for name, value in sent] + [(b"host", host.encode())]
    pairs = [(name.encode(), value.encode()) for name, value in extra.items()]
    query = presigned(identity.signer(epoch), request, epoch, expires, identity.token, pairs)
    *our_pairs, our_signature = query.split("&")
    assert our_pairs == sorted(their_pairs, key=lambda pair: pair.split("=", 1))
    assert our_signature == their_signature


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_in_key_and_query_is_signed_as_botocore_signs_it(byte: int) -> None:
    data = bytes([byte])
    request = Request("GET", b"/a" + data + b"b", query=[(data, data), (b"a", data * 2), (data, b"")])
    theirs = AWSRequest("GET", request.url("https", "h"))
    with at(EPOCH):
        botocore.auth.S3SigV4Auth(Identity().botocore(), "s3", "us-east-1").add_auth(theirs)
    request.headers = [
        (b"host", b"h"),
        (b"x-amz-content-sha256", EMPTY_HASH.encode()),
        (b"x-amz-date", b"20130524T000000Z"),
    ]
    assert authorization(Identity().signer(), request) == theirs.headers["Authorization"]


def signature_with(value: bytes) -> str:
    request = Request(headers=[(b"host", b"h"), (b"x-amz-meta-a", value), (b"x-amz-meta-b", b"b")])
    return authorization(Identity().signer(), request)


def test_runs_of_spaces_count_as_one_and_outer_ones_not() -> None:
    assert signature_with(b"a b c") == signature_with(b"a  b     c")
    assert signature_with(b"a b c") != signature_with(b"ab c")
    assert signature_with(b"") != signature_with(b"a")


def test_repeated_headers_keep_their_order() -> None:
    one = Request(headers=[(b"z", b"1"), (b"host", b"h"), (b"z", b"2")])
    same = Request(headers=[(b"z", b"1,2"), (b"host", b"h")])
    other = Request(headers=[(b"z", b"2"), (b"z", b"1"), (b"host", b"h")])
    signer = Identity().signer()
    assert authorization(signer, one) == authorization(signer, same)
    assert authorization(signer, one) != authorization(signer, other)
    assert "SignedHeaders=host;z," in authorization(signer, one)


@pytest.mark.parametrize("size", [3000, *range(3740, 3780), 4096, 100_000])
def test_requests_around_and_beyond_the_stack_buffer_are_signed(size: int) -> None:
    token = "t" * size
    request = Request(headers=[(b"host", b"h"), (b"x-amz-security-token", token.encode())])
    request.headers += [(b"x-amz-content-sha256", EMPTY_HASH.encode()), (b"x-amz-date", b"20130524T000000Z")]
    theirs = AWSRequest("GET", "https://h/")
    with at(EPOCH):
        botocore.auth.S3SigV4Auth(Identity(token=token).botocore(), "s3", "us-east-1").add_auth(theirs)
    assert authorization(Identity().signer(), request) == theirs.headers["Authorization"]


def test_a_scope_longer_than_the_request_is_signed() -> None:
    identity = Identity(region="r" * 9000)
    theirs = AWSRequest("GET", "https://h/")
    with at(EPOCH):
        botocore.auth.S3SigV4Auth(identity.botocore(), "s3", identity.region).add_auth(theirs)
    request = Request(headers=[(b"host", b"h"), (b"x-amz-content-sha256", EMPTY_HASH.encode())])
    request.headers.append((b"x-amz-date", b"20130524T000000Z"))
    assert authorization(identity.signer(), request) == theirs.headers["Authorization"]


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_the_date_is_the_one_of_datetime(epoch: int) -> None:
    out = ffi.new("char[17]")
    lib.s3i_amz_date(out, epoch)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch)
    expected = f"{moment.year:04}{moment.month:02}{moment.day:02}T{moment:%H%M%S}Z"
    assert ffi.string(out).decode() == expected


@pytest.mark.parametrize("epoch", [-(2**63), 2**63 - 1])
def test_a_date_far_out_stays_inside_its_field(epoch: int) -> None:
    out = ffi.new("char[17]", b"x" * 16)
    lib.s3i_amz_date(out, epoch)
    assert len(ffi.string(out)) == 16


@given(st.integers(-(10**9), 10**11), st.integers(-2 * DAY, 2 * DAY))
def test_a_signer_holds_for_its_utc_day_only(epoch: int, later: int) -> None:
    signer = Identity().signer(epoch)
    assert lib.s3i_signer_valid(signer, epoch)
    assert lib.s3i_signer_valid(signer, epoch + later) == (epoch // DAY == (epoch + later) // DAY)


def test_threads_may_share_a_signer() -> None:
    signer = Identity().signer()
    requests = [Request(path=b"/%d" % i, headers=[(b"host", b"h")]) for i in range(16)]
    alone = [authorization(signer, request) for request in requests]

    def sign(number: int) -> bool:
        return all(authorization(signer, requests[number]) == alone[number] for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(sign, range(16)))
    assert len(set(alone)) == 16


def test_a_presigned_request_with_a_query_of_its_own_is_refused() -> None:
    request = Request(headers=[(b"host", b"h")], query=[(b"versionId", b"1")])
    buffer = native.buffer()
    code = lib.s3i_sign_query(
        Identity().signer(), request.c(), EPOCH, 60, native.text(b""), ffi.NULL, 0, buffer
    )
    assert code == lib.S3EXT_INVALID
    assert buffer.size == 0


def test_an_answer_longer_than_its_buffer_is_an_error() -> None:
    signer = Identity().signer()
    request = Request(headers=[(b"host", b"h")])
    struct = request.c()
    token = native.text(b"token")
    buffer = ffi.new("struct s3_buf *")
    memory = ffi.new("char[500]")

    whole = len(authorization(signer, request))
    for size in range(whole + 1):
        lib.s3i_buf_fixed(buffer, memory, size)
        code = lib.s3i_sign_headers(signer, struct, EPOCH, buffer)
        assert code == (lib.S3EXT_OK if size == whole else lib.S3EXT_NO_MEMORY)
    whole = len(presigned(signer, request, EPOCH, 60, "token", []))
    for size in range(whole + 1):
        lib.s3i_buf_fixed(buffer, memory, size)
        code = lib.s3i_sign_query(signer, struct, EPOCH, 60, token, ffi.NULL, 0, buffer)
        assert code == (lib.S3EXT_OK if size == whole else lib.S3EXT_NO_MEMORY)


def test_freeing_nothing_is_allowed() -> None:
    live = lib.s3i_alloc_live()
    lib.s3i_signer_free(ffi.NULL)
    assert lib.s3i_alloc_live() == live


def test_every_failing_allocation_of_a_signer_gives_none_and_keeps_nothing() -> None:
    texts = [native.text(text) for text in (b"id", b"secret", b"region", b"s3")]

    def attempt() -> bool:
        signer = lib.s3i_signer_new(*texts, EPOCH)
        lib.s3i_signer_free(signer)
        return bool(signer != ffi.NULL)

    # The signer, "AWS4" + secret, four keys on the way and the one that stays.
    assert native.torture(attempt) == 7


@pytest.mark.parametrize(("size", "least"), [(10, 1), (10_000, 2)], ids=["stack", "heap"])
def test_every_failing_allocation_of_a_signature_is_an_error(size: int, least: int) -> None:
    signer = Identity().signer()
    request = Request(headers=[(b"host", b"h"), (b"x-amz-security-token", b"t" * size)])
    struct = request.c()
    token = native.text(b"t" * size)

    def sign_headers(buffer: Any) -> int:
        return int(lib.s3i_sign_headers(signer, struct, EPOCH, buffer))

    def sign_query(buffer: Any) -> int:
        return int(lib.s3i_sign_query(signer, struct, EPOCH, 60, token, ffi.NULL, 0, buffer))

    for sign in (sign_headers, sign_query):

        def attempt(sign: Any = sign) -> bool:
            buffer = native.buffer()
            code = sign(buffer)
            lib.s3i_buf_clear(buffer)
            assert code in {lib.S3EXT_OK, lib.S3EXT_NO_MEMORY}
            return bool(code == lib.S3EXT_OK)

        assert native.torture(attempt) >= least


def test_openssl_without_memory_gives_errors_and_no_wrong_signature() -> None:
    counts = count_failures(
        "sigv4_failing",
        _SOURCES,
        _CDEF,
        """
assert lib.s3i_hash_init() == 0
texts = [text(part) for part in (b"id", b"secret", b"region", b"s3")]
headers = ffi.new("struct s3_header[1]", [{"name": text(b"host"), "value": text(b"h")}])
request = ffi.new("struct s3_sign_request *")
request.method, request.path, request.payload_hash = text(b"GET"), text(b"/key"), text(b"UNSIGNED-PAYLOAD")
request.headers, request.header_count = headers, 1
signer = lib.s3i_signer_new(*texts, 0)
out = ffi.new("struct s3_buf *")
def make():
    made = lib.s3i_signer_new(*texts, 0)
    lib.s3i_signer_free(made)
    return made != ffi.NULL
def into_buffer(sign):
    lib.s3i_buf_init(out, 1000)
    code = sign()
    lib.s3i_buf_clear(out)
    return code == 0
attempts = {
    "signer": make,
    "headers": lambda: into_buffer(lambda: lib.s3i_sign_headers(signer, request, 0, out)),
    "query": lambda: into_buffer(
        lambda: lib.s3i_sign_query(signer, request, 0, 60, text(b""), ffi.NULL, 0, out)),
}
""",
    )
    assert counts.keys() == {"signer", "headers", "query"}
    assert min(counts.values()) > 0
