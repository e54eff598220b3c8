"""Checksums as they are named and written on the wire: against the definitions, through zlib and hashlib."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import BASE_CDEF, load

__all__: list[str] = []

_CDEF = (
    BASE_CDEF
    + """
enum s3_checksum { S3I_CHECKSUM_NONE, S3I_CHECKSUM_SHA256, S3I_CHECKSUM_SHA1, S3I_CHECKSUM_CRC32,
                   S3I_CHECKSUM_CRC32C, S3I_CHECKSUM_CRC64NVME, S3I_CHECKSUM_KINDS };
struct s3_checksum_names { struct s3_str header, algorithm, element; };
const struct s3_checksum_names *s3i_checksum_names(enum s3_checksum kind);
bool s3i_checksum_is_crc(enum s3_checksum kind);
uint64_t s3i_checksum_crc(enum s3_checksum kind, uint64_t crc, struct s3_str data);
uint64_t s3i_checksum_combine(enum s3_checksum kind, uint64_t first, uint64_t second, uint64_t second_size);
void s3i_checksum_write_crc(enum s3_checksum kind, uint64_t crc, char *text);
void s3i_checksum_write(const uint8_t *digest, size_t size, char *text);
"""
)

ffi, lib = load("checksum", ["pure/checksum.c", "pure/crc.c", "pure/hash.c"], _CDEF)

NAMES = ["", "SHA256", "SHA1", "CRC32", "CRC32C", "CRC64NVME"]
CRCS = [3, 4, 5]
# Of "123456789", from the catalogue of parametrised CRC algorithms.
CHECKS = {3: (0xCBF43926, 4), 4: (0xE3069283, 4), 5: (0xAE8B14860A799888, 8)}


def crc(kind: int, data: bytes, before: int = 0) -> int:
    found: int = lib.s3i_checksum_crc(kind, before, (ffi.from_buffer(data), len(data)))
    return found


def text(slice_: object) -> str:
    return bytes(ffi.buffer(slice_.data, slice_.size)).decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", range(1, len(NAMES)))
def test_names(kind: int) -> None:
    names = lib.s3i_checksum_names(kind)
    assert text(names.header) == f"x-amz-checksum-{NAMES[kind].lower()}"
    assert text(names.algorithm) == NAMES[kind]
    assert text(names.element) == f"Checksum{NAMES[kind]}"
    assert lib.s3i_checksum_is_crc(kind) == (kind in CRCS)


def test_none_has_no_name() -> None:
    assert text(lib.s3i_checksum_names(0).header) == ""
    assert not lib.s3i_checksum_is_crc(0)


@pytest.mark.parametrize("kind", CRCS)
def test_a_crc_is_written_big_endian_in_base64(kind: int) -> None:
    value, size = CHECKS[kind]
    assert crc(kind, b"123456789") == value
    out = ffi.new("char[48]", b"x" * 47)
    lib.s3i_checksum_write_crc(kind, value, out)
    assert ffi.string(out) == base64.b64encode(value.to_bytes(size, "big"))


@given(st.binary(max_size=400))
def test_crc32_is_the_one_of_zlib(data: bytes) -> None:
    out = ffi.new("char[48]")
    lib.s3i_checksum_write_crc(3, crc(3, data), out)
    assert ffi.string(out) == base64.b64encode(zlib.crc32(data).to_bytes(4, "big"))


@pytest.mark.parametrize("name", ["sha256", "sha1"])
def test_a_digest_is_written_in_base64(name: str) -> None:
    digest = hashlib.new(name, b"data").digest()
    out = ffi.new("char[48]", b"x" * 47)
    lib.s3i_checksum_write(ffi.from_buffer(digest), len(digest), out)
    assert ffi.string(out) == base64.b64encode(digest)


@given(st.sampled_from(CRCS), st.binary(max_size=2000), st.binary(max_size=2000))
def test_those_of_parts_combine_to_that_of_the_whole(kind: int, first: bytes, second: bytes) -> None:
    whole = crc(kind, first + second)
    assert lib.s3i_checksum_combine(kind, crc(kind, first), crc(kind, second), len(second)) == whole
    assert crc(kind, second, crc(kind, first)) == whole


def test_digests_have_no_crc() -> None:
    for kind in (0, 1, 2):
        assert crc(kind, b"data", 7) == 0
        assert lib.s3i_checksum_combine(kind, 1, 2, 3) == 0
