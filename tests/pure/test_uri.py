"""Percent-encoding and canonical queries, held against urllib and botocore."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import BASE_CDEF, Native, load

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__: list[str] = []

_CDEF = (
    BASE_CDEF
    + """
struct s3_query { struct s3_str name; struct s3_str value; };
void s3i_uri_add_path(struct s3_buf *out, struct s3_str key);
void s3i_uri_add_component(struct s3_buf *out, struct s3_str text);
void s3i_uri_add_decoded(struct s3_buf *out, struct s3_str text);
void s3i_uri_add_query(struct s3_buf *out, struct s3_query *pairs, size_t count);
"""
)

ffi, lib = load("uri", ["pure/uri.c"], _CDEF)
native = Native(ffi, lib)

EVERY_BYTE = bytes(range(256))
# Bytes that decide something are drawn as often as all others together.
special = st.sampled_from(
    [b"%", b"/", b"&", b"=", b"+", b" ", b".", b"~", b"-", b"\0", b"\xff", b"%4", b"%2f"]
)
binary = st.binary(max_size=40) | st.lists(special | st.binary(max_size=2), max_size=20).map(b"".join)


def path(data: bytes) -> bytes:
    return native.collect(lib.s3i_uri_add_path, native.text(data))


def component(data: bytes) -> bytes:
    return native.collect(lib.s3i_uri_add_component, native.text(data))


def decoded(data: bytes) -> bytes:
    return native.collect(lib.s3i_uri_add_decoded, native.text(data))


def query_of(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[Any, list[Any]]:
    """Return a `struct s3_query[]` and what must live as long."""
    texts = [(native.text(name), native.text(value)) for name, value in pairs]
    array = ffi.new("struct s3_query[]", len(pairs))
    for row, (name, value) in zip(array, texts, strict=True):
        row.name = name
        row.value = value
    return array, texts


def query(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    array, kept = query_of(pairs)
    result = native.collect(lib.s3i_uri_add_query, array, len(pairs))
    assert len(kept) == len(pairs)
    return result


@pytest.mark.parametrize("byte", EVERY_BYTE)
def test_every_byte_is_encoded_as_urllib_does(byte: int) -> None:
    data = bytes([byte])
    assert path(data) == urllib.parse.quote(data, safe="/").encode()
    assert component(data) == urllib.parse.quote(data, safe="").encode()


@given(binary)
def test_texts_are_encoded_as_urllib_does(data: bytes) -> None:
    assert path(data) == urllib.parse.quote(data, safe="/").encode()
    assert component(data) == urllib.parse.quote(data, safe="").encode()


def test_dots_and_double_slashes_of_a_path_stay() -> None:
    assert path(b"//a/./../b//") == b"//a/./../b//"


@given(binary)
def test_decoding_is_what_urllib_does(data: bytes) -> None:
    assert decoded(data) == urllib.parse.unquote_to_bytes(data)


@given(binary)
def test_decoding_undoes_encoding(data: bytes) -> None:
    assert decoded(path(data)) == data
    assert decoded(component(data)) == data


@pytest.mark.parametrize("digits", ["41", "6A", "6a", "fF", "00"])
def test_hex_digits_of_both_cases_are_decoded(digits: str) -> None:
    assert decoded(b"x%" + digits.encode() + b"y") == b"x" + bytes.fromhex(digits) + b"y"


@pytest.mark.parametrize("text", [b"%", b"%4", b"%4g", b"%g4", b"%%", b"% 1", b"%@1", b"%1`", b"%/1", b"%1:"])
def test_a_percent_sign_without_two_digits_stays(text: bytes) -> None:
    assert decoded(text) == text


def test_an_escape_is_decoded_once_only() -> None:
    assert decoded(b"%2541") == b"%41"


@given(st.lists(st.tuples(binary, binary), max_size=12))
def test_query_is_sorted_by_encoded_name_and_then_value(pairs: list[tuple[bytes, bytes]]) -> None:
    encoded = sorted(
        (urllib.parse.quote(name, safe=""), urllib.parse.quote(value, safe="")) for name, value in pairs
    )
    assert query(pairs) == "&".join(f"{name}={value}" for name, value in encoded).encode()


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=12))
def test_query_is_the_canonical_one_of_botocore(pairs: list[tuple[str, str]]) -> None:
    request = AWSRequest("GET", "https://host/", params=pairs)
    expected = SigV4Auth(Credentials("a", "b"), "s3", "r").canonical_query_string(request)
    assert query([(name.encode(), value.encode()) for name, value in pairs]) == expected.encode()


def test_each_pair_of_bytes_is_in_the_order_of_its_encoded_form() -> None:
    pairs = [(bytes([byte]), b"") for byte in reversed(EVERY_BYTE)]
    names = sorted(urllib.parse.quote(name, safe="") for name, _ in pairs)
    assert query(pairs) == "&".join(f"{name}=" for name in names).encode()


def test_a_name_sorts_before_the_longer_one_that_it_begins() -> None:
    assert query([(b"ab", b""), (b"a-", b""), (b"a", b"2"), (b"a", b"10"), (b"a", b"")]) == (
        b"a=&a=10&a=2&a-=&ab="
    )


def test_no_pairs_give_no_query() -> None:
    assert query([]) == b""


@pytest.mark.parametrize("add", [lib.s3i_uri_add_path, lib.s3i_uri_add_component], ids=["path", "component"])
def test_a_text_may_fill_a_buffer_to_its_ceiling_but_not_pass_it(add: Any) -> None:
    text = native.text(b"a\xff" * 100)
    enough = native.buffer(limit=400)
    add(enough, text)
    assert not enough.failed
    assert enough.size == 400
    short = native.buffer(limit=399)
    add(short, text)
    assert short.failed
    assert short.size == 0


def test_every_failing_allocation_marks_the_buffer_as_failed() -> None:
    array, kept = query_of([(b"name", b"\xff" * 300), (b"other", b"y" * 3000)])
    text = native.text(b"%41" * 2000)

    def attempt() -> bool:
        buffer = native.buffer()
        lib.s3i_uri_add_query(buffer, array, len(kept))
        lib.s3i_uri_add_path(buffer, text)
        lib.s3i_uri_add_decoded(buffer, text)
        done = not buffer.failed
        lib.s3i_buf_clear(buffer)
        return done

    assert native.torture(attempt) >= 3
