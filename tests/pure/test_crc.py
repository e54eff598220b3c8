"""The three CRCs: against zlib, a bitwise reference and their own table path."""

from __future__ import annotations

import random
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import load

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

_CDEF = """
uint32_t s3i_crc32(uint32_t crc, const void *data, size_t size);
uint32_t s3i_crc32c(uint32_t crc, const void *data, size_t size);
uint64_t s3i_crc64nvme(uint64_t crc, const void *data, size_t size);
uint32_t s3i_crc32_scalar(uint32_t crc, const void *data, size_t size);
uint32_t s3i_crc32c_scalar(uint32_t crc, const void *data, size_t size);
uint64_t s3i_crc64nvme_scalar(uint64_t crc, const void *data, size_t size);
uint32_t s3i_crc32_combine(uint32_t first, uint32_t second, uint64_t second_size);
uint32_t s3i_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_size);
uint64_t s3i_crc64nvme_combine(uint64_t first, uint64_t second, uint64_t second_size);
void *malloc(size_t size);
void free(void *block);
"""

ffi, lib = load("crc", ["pure/crc.c"], _CDEF)


@dataclass(frozen=True)
class Model:
    """One CRC: its functions, its width in bits, and the facts that identify it.

    Args:
        name: As in S3's checksum headers.
        polynomial: Reflected.
        width: In bits.
        check: The CRC of "123456789", from the catalogue of parametrised CRC algorithms.
    """

    name: str
    polynomial: int
    width: int
    check: int

    def function(self, suffix: str = "") -> Callable[..., int]:
        found: Callable[..., int] = getattr(lib, f"s3i_{self.name}{suffix}")
        return found

    def of(self, data: bytes, crc: int = 0) -> int:
        return self.function()(crc, ffi.from_buffer(data), len(data))

    def scalar(self, data: bytes, crc: int = 0) -> int:
        return self.function("_scalar")(crc, ffi.from_buffer(data), len(data))

    def combine(self, first: int, second: int, size: int) -> int:
        return self.function("_combine")(first, second, size)

    def bitwise(self, data: bytes) -> int:
        """Return the CRC by its definition: one bit at a time."""
        ones = (1 << self.width) - 1
        register = ones
        for byte in data:
            register ^= byte
            for _ in range(8):
                register = (register >> 1) ^ (self.polynomial if register & 1 else 0)
        return register ^ ones


MODELS = [
    Model("crc32", 0xEDB88320, 32, 0xCBF43926),
    Model("crc32c", 0x82F63B78, 32, 0xE3069283),
    Model("crc64nvme", 0x9A6C9329AC4BC9B5, 64, 0xAE8B14860A799888),
]
by_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
models = st.sampled_from(MODELS)
CODES = st.integers(0, 2**32 - 1)

RANDOM = random.Random(20260101).randbytes(1 << 16)


@by_model
def test_the_check_value(model: Model) -> None:
    assert model.of(b"123456789") == model.check
    assert model.scalar(b"123456789") == model.check
    assert model.bitwise(b"123456789") == model.check


@by_model
def test_no_bytes_change_nothing(model: Model) -> None:
    assert model.of(b"") == 0
    assert model.function()(model.check, ffi.NULL, 0) == model.check


@given(st.binary(max_size=400))
def test_crc32_is_the_one_of_zlib(data: bytes) -> None:
    assert lib.s3i_crc32(0, ffi.from_buffer(data), len(data)) == zlib.crc32(data)


def test_crc32_of_much_is_the_one_of_zlib() -> None:
    assert lib.s3i_crc32(0, ffi.from_buffer(RANDOM), len(RANDOM)) == zlib.crc32(RANDOM)


@given(models, st.binary(max_size=400))
def test_any_bytes_give_the_crc_of_the_definition(model: Model, data: bytes) -> None:
    assert model.of(data) == model.scalar(data) == model.bitwise(data)


@by_model
def test_every_size_gives_the_crc_of_the_definition(model: Model) -> None:
    for size in range(300):
        data = RANDOM[size : 2 * size]
        assert model.of(data) == model.bitwise(data), size


@by_model
def test_fast_and_table_path_agree_at_every_size_and_alignment(model: Model) -> None:
    """The block ends where the bytes end, so that a sanitizer sees a read beyond them."""
    fast, scalar = model.function(), model.function("_scalar")
    for size in [*range(280), 511, 512, 513, *range(1020, 1030), 1279, 1280, 1281, 4095, 4096, 4097]:
        for offset in range(17):
            block = ffi.gc(lib.malloc(offset + size), lib.free)
            start = ffi.cast("char *", block) + offset
            ffi.memmove(start, RANDOM, size)
            assert fast(0, start, size) == scalar(0, start, size), (size, offset)


@given(models, st.lists(st.integers(0, 300), max_size=12))
def test_pieces_give_the_crc_of_the_whole(model: Model, sizes: list[int]) -> None:
    crc, table_crc, at = 0, 0, 0
    for size in sizes:
        crc = model.of(RANDOM[at : at + size], crc)
        table_crc = model.scalar(RANDOM[at : at + size], table_crc)
        at += size
    assert crc == table_crc == model.of(RANDOM[:at])


@given(models, st.binary(max_size=300), st.binary(max_size=300))
def test_combine_gives_the_crc_of_the_whole(model: Model, first: bytes, second: bytes) -> None:
    assert model.combine(model.of(first), model.of(second), len(second)) == model.of(first + second)


@by_model
def test_combine_of_large_parts(model: Model) -> None:
    """Zeros by doubling up to 16 MiB, then one direct run over as many."""
    size, crc = 1, model.of(b"\0")
    while size < 1 << 24:
        crc = model.combine(crc, crc, size)
        size *= 2
    assert crc == model.of(bytes(size))


@given(models, CODES, CODES, CODES, st.integers(0, 2**63), st.integers(0, 2**63 - 1))
def test_combine_is_associative_up_to_the_largest_sizes(
    model: Model, a: int, b: int, c: int, b_size: int, c_size: int
) -> None:
    left = model.combine(model.combine(a, b, b_size), c, c_size)
    assert left == model.combine(a, model.combine(b, c, c_size), b_size + c_size)


@by_model
def test_combine_with_nothing_changes_nothing(model: Model) -> None:
    assert model.combine(model.check, 0, 0) == model.check
    assert model.combine(0, model.check, 9) == model.check


def test_threads_may_be_the_first_users_together() -> None:
    fresh_ffi, fresh = load("crc_first_use", ["pure/crc.c"], _CDEF)
    barrier = threading.Barrier(8)
    results: list[int] = []

    def work() -> None:
        barrier.wait()
        results.append(fresh.s3i_crc64nvme(0, fresh_ffi.from_buffer(RANDOM), len(RANDOM)))

    threads: list[Any] = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [MODELS[2].scalar(RANDOM)] * 8
