"""Digests and HMAC, held against hashlib and hmac."""

from __future__ import annotations

import base64
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import BASE_CDEF, Native, load
from tests.pure.openssl_failures import count_failures

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

_CDEF = (
    BASE_CDEF
    + """
enum s3_hash_kind { S3I_HASH_SHA256, S3I_HASH_SHA1, S3I_HASH_MD5 };
int s3i_hash_init(void);
int s3i_hash_once(enum s3_hash_kind kind, struct s3_str data, uint8_t *digest);
struct s3_hash;
struct s3_hash *s3i_hash_new(enum s3_hash_kind kind);
void s3i_hash_free(struct s3_hash *hash);
int s3i_hash_update(struct s3_hash *hash, struct s3_str data);
int s3i_hash_final(struct s3_hash *hash, uint8_t *digest);
struct s3_hmac_key;
struct s3_hmac_key *s3i_hmac_key_new(enum s3_hash_kind kind, struct s3_str key);
void s3i_hmac_key_free(struct s3_hmac_key *key);
int s3i_hmac(const struct s3_hmac_key *key, struct s3_str data, uint8_t *digest);
void s3i_hash_add_hex(struct s3_buf *out, const uint8_t *digest, size_t size);
void s3i_hash_add_base64(struct s3_buf *out, const uint8_t *digest, size_t size);
enum { S3EXT_OK = 0, S3EXT_NO_MEMORY = -2, S3EXT_SYSTEM = -5 };
"""
)

ffi, lib = load("hash", ["pure/hash.c"], _CDEF)
native = Native(ffi, lib)
assert lib.s3i_hash_init() == lib.S3EXT_OK

KINDS = {
    lib.S3I_HASH_SHA256: hashlib.sha256,
    lib.S3I_HASH_SHA1: hashlib.sha1,
    lib.S3I_HASH_MD5: hashlib.md5,
}
kinds = st.sampled_from(list(KINDS))
by_kind = pytest.mark.parametrize("kind", KINDS, ids=["sha256", "sha1", "md5"])


def digest_of(function: Callable[..., int], *arguments: Any, size: int) -> bytes:
    digest = ffi.new("uint8_t[32]")
    assert function(*arguments, digest) == lib.S3EXT_OK
    return bytes(digest)[:size]


def once(kind: int, data: bytes) -> bytes:
    return digest_of(lib.s3i_hash_once, kind, native.text(data), size=KINDS[kind]().digest_size)


HMACS = {lib.S3I_HASH_SHA256: "sha256", lib.S3I_HASH_SHA1: "sha1"}
by_hmac = pytest.mark.parametrize("kind", HMACS, ids=HMACS.get)


def hmac_key(kind: int, key: bytes) -> Any:
    made = lib.s3i_hmac_key_new(kind, native.text(key))
    assert made != ffi.NULL
    return ffi.gc(made, lib.s3i_hmac_key_free)


@given(kinds, st.binary(max_size=300))
def test_a_digest_is_the_one_of_hashlib(kind: int, data: bytes) -> None:
    assert once(kind, data) == KINDS[kind](data).digest()


@by_kind
def test_a_digest_of_no_bytes(kind: int) -> None:
    assert once(kind, b"") == KINDS[kind]().digest()


@given(kinds, st.lists(st.binary(max_size=200), max_size=8))
def test_a_digest_may_be_fed_in_pieces(kind: int, pieces: list[bytes]) -> None:
    state = ffi.gc(lib.s3i_hash_new(kind), lib.s3i_hash_free)
    for piece in pieces:
        assert lib.s3i_hash_update(state, native.text(piece)) == lib.S3EXT_OK
    expected = KINDS[kind](b"".join(pieces))
    assert digest_of(lib.s3i_hash_final, state, size=expected.digest_size) == expected.digest()


def hmac_of(kind: int, made: Any, data: bytes) -> bytes:
    return digest_of(lib.s3i_hmac, made, native.text(data), size=KINDS[kind]().digest_size)


@by_hmac
@pytest.mark.parametrize("size", [*range(70), 127, 128, 129, 1000])
def test_hmac_with_keys_of_every_size_is_the_one_of_the_library(kind: int, size: int) -> None:
    key = bytes(i % 256 for i in range(size))
    made = hmac_key(kind, key)
    for data in (b"", b"x", b"message" * 50):
        assert hmac_of(kind, made, data) == hmac.digest(key, data, HMACS[kind])


@given(
    st.sampled_from(list(HMACS)),
    st.binary(max_size=100),
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
)
def test_a_key_signs_any_number_of_messages(kind: int, key: bytes, messages: list[bytes]) -> None:
    made = hmac_key(kind, key)
    for message in messages:
        assert hmac_of(kind, made, message) == hmac.digest(key, message, HMACS[kind])


def test_threads_may_share_a_key() -> None:
    made = hmac_key(lib.S3I_HASH_SHA256, b"shared")

    def sign(number: int) -> bool:
        data = str(number).encode() * 20
        return all(
            hmac_of(lib.S3I_HASH_SHA256, made, data) == hmac.digest(b"shared", data, "sha256")
            for _ in range(50)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(sign, range(32)))


@given(st.binary(max_size=70))
def test_hex_and_base64_are_those_of_python(data: bytes) -> None:
    assert native.collect(lib.s3i_hash_add_hex, data, len(data)) == data.hex().encode()
    assert native.collect(lib.s3i_hash_add_base64, data, len(data)) == base64.b64encode(data)


def test_freeing_nothing_is_allowed() -> None:
    live = lib.s3i_alloc_live()
    lib.s3i_hash_free(ffi.NULL)
    lib.s3i_hmac_key_free(ffi.NULL)
    assert lib.s3i_alloc_live() == live


def test_without_the_algorithms_everything_says_so() -> None:
    fresh_ffi, fresh = load("hash_uninitialised", ["pure/hash.c"], _CDEF)
    digest = fresh_ffi.new("uint8_t[32]")
    text = Native(fresh_ffi, fresh).text(b"x")
    long_key = Native(fresh_ffi, fresh).text(b"x" * 100)
    for kind in KINDS:
        assert fresh.s3i_hash_once(kind, text, digest) == lib.S3EXT_SYSTEM
        assert fresh.s3i_hash_new(kind) == fresh_ffi.NULL
    for kind in HMACS:
        assert fresh.s3i_hmac_key_new(kind, text) == fresh_ffi.NULL
        assert fresh.s3i_hmac_key_new(kind, long_key) == fresh_ffi.NULL
    assert fresh.s3i_alloc_live() == 0


def test_every_failing_allocation_gives_nothing_and_keeps_nothing() -> None:
    text = native.text(b"key")

    def attempt() -> bool:
        state = lib.s3i_hash_new(lib.S3I_HASH_SHA256)
        key = lib.s3i_hmac_key_new(lib.S3I_HASH_SHA256, text)
        done = bool(state != ffi.NULL) and bool(key != ffi.NULL)
        lib.s3i_hash_free(state)
        lib.s3i_hmac_key_free(key)
        return done

    assert native.torture(attempt) == 2


def test_openssl_without_memory_gives_errors_and_no_wrong_digest() -> None:
    counts = count_failures(
        "hash_failing",
        ["pure/hash.c"],
        _CDEF,
        """
assert lib.s3i_hash_init() == 0
message, digest = text(b"x" * 100), ffi.new("uint8_t[32]")
key = lib.s3i_hmac_key_new(0, message)
attempts = {
    "once": lambda: lib.s3i_hash_once(0, message, digest) == 0,
    "new": lambda: [made := lib.s3i_hash_new(0), lib.s3i_hash_free(made)][0] != ffi.NULL,
    "key": lambda: [made := lib.s3i_hmac_key_new(0, message), lib.s3i_hmac_key_free(made)][0] != ffi.NULL,
    "hmac": lambda: lib.s3i_hmac(key, message, digest) == 0,
}
""",
    )
    assert counts.keys() == {"once", "new", "key", "hmac"}
    assert min(counts.values()) > 0
