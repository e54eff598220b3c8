"""Signature Version 2, held against AWS's published examples and botocore as an independent signer."""

from __future__ import annotations

import base64
import hmac
import urllib.parse
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import BASE_CDEF, Native, load
from tests.pure.openssl_failures import count_failures

__all__: list[str] = []

_SOURCES = ["identity/sigv2.c", "identity/sigv4.c", "pure/uri.c", "pure/hash.c"]
_CDEF = (
    BASE_CDEF
    + """
struct s3_query { struct s3_str name; struct s3_str value; };
struct s3_header { struct s3_str name; struct s3_str value; };
struct s3_v2_request {
    struct s3_str method; struct s3_str bucket; struct s3_str path; struct s3_str query;
    struct s3_header *headers; size_t header_count;
};
struct s3_v2_signer;
struct s3_v2_signer *s3i_v2_signer_new(struct s3_str key_id, struct s3_str secret);
void s3i_v2_signer_free(struct s3_v2_signer *signer);
int s3i_v2_sign_headers(const struct s3_v2_signer *signer, const struct s3_v2_request *request,
                        struct s3_buf *authorization);
int s3i_v2_sign_query(const struct s3_v2_signer *signer, const struct s3_v2_request *request, int64_t expires,
                      struct s3_str token, const struct s3_query *extra, size_t extra_count,
                      struct s3_buf *query);
void s3i_uri_add_path(struct s3_buf *out, struct s3_str key);
void s3i_uri_add_query(struct s3_buf *out, struct s3_query *pairs, size_t count);
int s3i_hash_init(void);
enum { S3EXT_OK = 0, S3EXT_INVALID = -1, S3EXT_NO_MEMORY = -2, S3EXT_SYSTEM = -5 };
"""
)

ffi, lib = load("sigv2", _SOURCES, _CDEF)
native = Native(ffi, lib)
assert lib.s3i_hash_init() == lib.S3EXT_OK

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
Pairs = list[tuple[bytes, bytes]]


def signer(key_id: str = KEY_ID, secret: str = SECRET) -> Any:
    made = lib.s3i_v2_signer_new(native.text(key_id.encode()), native.text(secret.encode()))
    assert made != ffi.NULL
    return ffi.gc(made, lib.s3i_v2_signer_free)


class Request:
    """A request in C's terms; keeps its parts alive."""

    def __init__(
        self, method: str, path: bytes, *, bucket: bytes = b"", query: Pairs = (), headers: Pairs = ()
    ):
        self.kept: list[Any] = []
        self.struct = ffi.new("struct s3_v2_request *")
        self.struct.method = self.text(method.encode())
        self.struct.bucket = self.text(bucket)
        self.struct.path = self.text(path)
        pairs = self.pairs(query, "struct s3_query[]")
        self.struct.query = self.text(native.collect(lib.s3i_uri_add_query, pairs, len(pairs)))
        self.struct.headers = self.pairs(headers, "struct s3_header[]")
        self.struct.header_count = len(headers)

    def text(self, data: bytes) -> Any:
        self.kept.append(native.text(data))
        return self.kept[-1]

    def pairs(self, pairs: Pairs, kind: str) -> Any:
        array = ffi.new(kind, len(pairs))
        self.kept.append(array)
        for row, (name, value) in zip(array, pairs, strict=True):
            row.name, row.value = self.text(name), self.text(value)
        return array

    def authorization(self, made: Any) -> str:
        buffer = native.buffer()
        assert lib.s3i_v2_sign_headers(made, self.struct, buffer) == lib.S3EXT_OK
        return native.content(buffer).decode()

    def presigned(self, made: Any, expires: int, token: str = "", extra: Pairs = ()) -> str:
        buffer = native.buffer()
        pairs = self.pairs(extra, "struct s3_query[]")
        code = lib.s3i_v2_sign_query(
            made, self.struct, expires, self.text(token.encode()), pairs, len(pairs), buffer
        )
        assert code == lib.S3EXT_OK
        return native.content(buffer).decode()


def encoded(path: bytes) -> bytes:
    return native.collect(lib.s3i_uri_add_path, native.text(path))


# ---- the examples of AWS ----

# "Examples" of "Signing and authenticating REST requests (AWS signature version 2)", S3 User Guide.
BUCKET = b"/awsexamplebucket1"
EXAMPLES = {
    "get": (
        Request(
            "GET",
            b"/photos/puppy.jpg",
            bucket=BUCKET,
            headers=[(b"date", b"Tue, 27 Mar 2007 19:36:42 +0000")],
        ),
        "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
    ),
    "put": (
        Request(
            "PUT",
            b"/photos/puppy.jpg",
            bucket=BUCKET,
            headers=[
                (b"content-type", b"image/jpeg"),
                (b"content-length", b"94328"),
                (b"date", b"Tue, 27 Mar 2007 21:15:45 +0000"),
            ],
        ),
        "iqRzw+ileNPu1fhspnRs8nOjjIA=",
    ),
    "list": (
        Request(
            "GET",
            b"/",
            bucket=BUCKET,
            query=[(b"prefix", b"photos"), (b"max-keys", b"50"), (b"marker", b"puppy")],
            headers=[(b"user-agent", b"Mozilla/5.0"), (b"date", b"Tue, 27 Mar 2007 19:42:41 +0000")],
        ),
        "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
    ),
    "acl": (
        Request(
            "GET",
            b"/",
            bucket=BUCKET,
            query=[(b"acl", b"")],
            headers=[(b"date", b"Tue, 27 Mar 2007 19:44:46 +0000")],
        ),
        "82ZHiFIjc+WbcwFKGUVEQspPn+0=",
    ),
    "delete": (
        Request(
            "DELETE",
            b"/awsexamplebucket1/photos/puppy.jpg",
            headers=[(b"date", b"Tue, 27 Mar 2007 21:20:26 +0000")],
        ),
        "XbyTlbQdu9Xw5o8P4iMwPktxQd8=",
    ),
    "upload": (
        Request(
            "PUT",
            b"/db-backup.dat.gz",
            bucket=b"/static.example.com",
            headers=[
                (b"x-amz-acl", b"public-read"),
                (b"content-type", b"application/x-download"),
                (b"content-md5", b"4gJE4saaMU4BqNR0kLY+lw=="),
                (b"x-amz-meta-reviewedby", b"joe@example.com"),
                (b"x-amz-meta-reviewedby", b"jane@example.com"),
                (b"x-amz-meta-filechecksum", b"0x02661779"),
                (b"x-amz-meta-checksumalgorithm", b"crc32"),
                (b"content-disposition", b"attachment; filename=database.dat"),
                (b"content-encoding", b"gzip"),
                (b"date", b"Tue, 27 Mar 2007 21:06:08 +0000"),
            ],
        ),
        "jtBQa0Aq+DkULFI8qrpwIjGEx0E=",
    ),
    "buckets": (
        Request("GET", b"/", headers=[(b"date", b"Wed, 28 Mar 2007 01:29:59 +0000")]),
        "qGdzdERIC03wnaRNKh6OqZehG9s=",
    ),
    "unicode": (
        Request(
            "GET",
            b"/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
            headers=[(b"date", b"Wed, 28 Mar 2007 01:49:49 +0000")],
        ),
        "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_aws_header_examples(name: str) -> None:
    request, signature = EXAMPLES[name]
    assert request.authorization(signer()) == f"AWS {KEY_ID}:{signature}"


def test_aws_query_string_example() -> None:
    request = Request("GET", b"/photos/puppy.jpg", bucket=b"/johnsmith")
    assert request.presigned(signer(), 1175139620) == (
        f"AWSAccessKeyId={KEY_ID}&Expires=1175139620&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"
    )


# ---- botocore ----

_SUBRESOURCES = sorted(set(botocore.auth.HmacV1Auth.QSAOfInterest))
names = st.sampled_from(["acl", "uploads", "tagging", "versions", "delete"])
valued = st.sampled_from([name for name in _SUBRESOURCES if name not in {"acl", "uploads", "tagging"}])
text = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, exclude_characters="\x7f"), max_size=12
)
values = text.filter(bool)
queries = st.dictionaries(names, st.just(""), max_size=2).flatmap(
    lambda bare: st.dictionaries(
        valued | st.sampled_from(["prefix", "list-type", "x-id"]), values, max_size=4
    ).map(lambda full: {**full, **bare})
)
header_values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
headers = st.dictionaries(
    st.sampled_from(
        ["content-type", "content-md5", "range", "x-amz-acl", "x-amz-meta-a", "x-amz-meta-b-c", "if-match"]
    ),
    header_values,
    max_size=5,
)
keys = text.map(str.encode)
methods = st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"])
buckets = st.sampled_from(["bucket", "a-b.c9"])
tokens = st.none() | st.just("session/token+=")


def their_request(
    method: str, key: bytes, query: dict[str, str], fields: dict[str, str], bucket: str, *, virtual: bool
) -> AWSRequest:
    """Return what botocore signs: a parameter without value stands without `=`, as it is signed."""
    words = [
        urllib.parse.quote(name, safe="") + (f"={urllib.parse.quote(value, safe='')}" if value else "")
        for name, value in query.items()
    ]
    path = urllib.parse.quote(key, safe="/~")
    host = f"{bucket}.s3.test" if virtual else "s3.test"
    url = f"https://{host}/{path if virtual else f'{bucket}/{path}'}" + (
        f"?{'&'.join(words)}" if words else ""
    )
    request = AWSRequest(method, url, headers=fields)
    request.auth_path = f"/{bucket}/{path}"
    return request


def our_request(
    method: str, key: bytes, query: dict[str, str], fields: dict[str, str], bucket: str, *, virtual: bool
) -> Request:
    return Request(
        method,
        b"/" + encoded(key) if virtual else f"/{bucket}/".encode() + encoded(key),
        bucket=f"/{bucket}".encode() if virtual else b"",
        query=[(name.encode(), value.encode()) for name, value in query.items()],
        headers=[(name.encode(), value.encode()) for name, value in fields.items()],
    )


@given(methods, keys, queries, headers, buckets, st.booleans(), tokens)
def test_headers_are_signed_as_botocore_signs_them(
    method, key, query, fields, bucket, virtual, token
) -> None:
    theirs = their_request(method, key, query, dict(fields), bucket, virtual=virtual)
    botocore.auth.HmacV1Auth(Credentials(KEY_ID, SECRET, token)).add_auth(theirs)
    fields = {**fields, "date": theirs.headers["Date"]}
    if token is not None:
        fields["x-amz-security-token"] = token
    ours = our_request(method, key, query, fields, bucket, virtual=virtual)
    assert ours.authorization(signer()) == theirs.headers["Authorization"]


@given(methods, keys, queries, buckets, st.booleans(), tokens, st.integers(0, 2**33), st.booleans())
def test_urls_are_presigned_as_botocore_presigns_them(
    method, key, query, bucket, virtual, token, expires, payer
) -> None:
    """What is signed is compared, for the two write their queries in another order."""
    fields = {"x-amz-request-payer": "requester"} if payer else {}
    theirs = their_request(method, key, query, fields, bucket, virtual=virtual)
    auth = botocore.auth.HmacV1QueryAuth(Credentials(KEY_ID, SECRET, token), expires=0)
    auth._get_date = lambda: str(expires)
    auth.add_auth(theirs)
    ours = our_request(method, key, {}, {}, bucket, virtual=virtual)
    extra = [*query.items(), *fields.items()]
    signed = ours.presigned(
        signer(), expires, token or "", [(name.encode(), value.encode()) for name, value in extra]
    )
    assert dict(urllib.parse.parse_qsl(signed, keep_blank_values=True)) == dict(
        urllib.parse.parse_qsl(urllib.parse.urlsplit(theirs.url).query, keep_blank_values=True)
    )
    assert "&Signature=" in signed


# ---- by the rules ----


def test_x_amz_date_leaves_the_line_of_the_date_empty() -> None:
    moment = format_datetime(datetime(2007, 3, 27, 21, 20, 26, tzinfo=UTC), usegmt=True)
    request = Request("DELETE", b"/b/k", headers=[(b"date", b"another"), (b"x-amz-date", moment.encode())])
    to_sign = f"DELETE\n\n\n\nx-amz-date:{moment}\n/b/k"
    expected = hmac.digest(SECRET.encode(), to_sign.encode(), "sha1")
    signature = request.authorization(signer()).rpartition(":")[2]
    assert signature == base64.b64encode(expected).decode()


@pytest.mark.parametrize("expires", [-1, -(2**62)])
def test_a_time_before_all_times_is_refused(expires: int) -> None:
    request = Request("GET", b"/b/k")
    empty = native.text(b"")
    assert (
        lib.s3i_v2_sign_query(signer(), request.struct, expires, empty, ffi.NULL, 0, native.buffer())
        == lib.S3EXT_INVALID
    )


def test_a_query_of_its_own_is_refused_for_presigning() -> None:
    request = Request("GET", b"/b/k", query=[(b"acl", b"")])
    empty = native.text(b"")
    code = lib.s3i_v2_sign_query(signer(), request.struct, 1, empty, ffi.NULL, 0, native.buffer())
    assert code == lib.S3EXT_INVALID


def test_every_failing_allocation_gives_an_error_and_keeps_nothing() -> None:
    request = Request("GET", b"/b/k", headers=[(b"date", b"x"), (b"x-amz-a", b"b")])
    token = native.text(b"token")

    def attempt() -> bool:
        made = lib.s3i_v2_signer_new(native.text(b"id"), native.text(b"secret"))
        if made == ffi.NULL:
            return False
        out, query = native.buffer(), native.buffer()
        header = lib.s3i_v2_sign_headers(made, request.struct, out)
        presigned = lib.s3i_v2_sign_query(made, request.struct, 1, token, ffi.NULL, 0, query)
        lib.s3i_v2_signer_free(made)
        lib.s3i_buf_clear(out)
        lib.s3i_buf_clear(query)
        assert {header, presigned} <= {lib.S3EXT_OK, lib.S3EXT_NO_MEMORY}
        return header == presigned == lib.S3EXT_OK

    assert native.torture(attempt) > 5


def test_openssl_without_memory_gives_errors_and_no_wrong_signature() -> None:
    counts = count_failures(
        "sigv2_failing",
        _SOURCES,
        _CDEF,
        """
assert lib.s3i_hash_init() == 0
request = ffi.new("struct s3_v2_request *")
request.method, request.path = text(b"GET"), text(b"/k")
made = lib.s3i_v2_signer_new(text(b"id"), text(b"secret"))
buffer = ffi.new("struct s3_buf *")

def sign():
    lib.s3i_buf_init(buffer, 1 << 16)
    code = lib.s3i_v2_sign_headers(made, request, buffer)
    lib.s3i_buf_clear(buffer)
    return code == 0

def make():
    key = lib.s3i_v2_signer_new(text(b"id"), text(b"s"))
    lib.s3i_v2_signer_free(key)
    return key != ffi.NULL

attempts = {"new": make, "sign": sign}
""",
    )
    assert all(counts.values())
