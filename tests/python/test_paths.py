"""The rules of paths, against a table, against a plain model, and against obstore."""

from __future__ import annotations

import pathlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3ext._paths import MAX_KEY_BYTES, join, list_prefix, normalize, shown, strip
from s3ext.exceptions import InvalidPathError
from tests.python.oracle import obstore, outcome

pytestmark = pytest.mark.smoke

GOOD = {
    "": "",
    "/": "",
    "a": "a",
    "/a": "a",
    "a/": "a",
    "/a/": "a",
    "a/b/c": "a/b/c",
    "...": "...",
    ".a": ".a",
    "a/.hidden": "a/.hidden",
    "a/b..": "a/b..",
    "a b": "a b",
    "a%20b": "a%20b",
    "a?b#c\\d": "a?b#c\\d",
    "données/été 🎈": "données/été 🎈",
    "a\xa0b\u2028c\xadd": "a\xa0b\u2028c\xadd",  # not printable for Python, and fine as a key
}
BAD = [
    "//",
    "///",
    "//a",
    "a//",
    "a//b",
    ".",
    "..",
    "./a",
    "a/.",
    "a/..",
    "a/./b",
    "a/../b",
    "/..",
    "../",
    "a\x00b",
    "a\nb",
    "\r",
    "\x7f",
    "a/\x1f/b",
    "\ud800",
    "a/b\udfff",
]

# Every character that has a rule, and some that have none.
paths = st.text(st.sampled_from("ab/./\\%? é\x00\n\x1f\x7f\x80🎈"), max_size=8)
good_segments = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1
).filter(lambda text: text not in {".", ".."})
good_paths = (
    st.lists(good_segments, min_size=1, max_size=4).map("/".join).filter(lambda p: len(p.encode()) < 500)
)


def model(path):
    """The rules, written as plainly as can be; None for a path that is refused."""
    bare = path[1:] if path[:1] == "/" else path
    if not bare:
        return ""
    bare = bare[:-1] if bare[-1] == "/" else bare
    for segment in bare.split("/"):
        if segment in {"", ".", ".."} or any(
            ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in segment
        ):
            return None
    return bare


@pytest.mark.parametrize("path", GOOD)
def test_a_path_is_normalised(path):
    assert normalize(path) == GOOD[path]


@pytest.mark.parametrize("path", BAD)
def test_a_bad_path_is_refused_everywhere(path):
    for function in (
        normalize,
        lambda p: join(None, p),
        lambda p: join("x", p),
        lambda p: list_prefix("x", p),
    ):
        with pytest.raises(InvalidPathError, match=r"^Could not parse path: ") as caught:
            function(path)
        assert isinstance(caught.value, ValueError)
        assert str(caught.value).isprintable()


@given(paths)
@example("a//b")
@example("/./")
def test_normalize_and_join_agree_with_the_model(path):
    expected = model(path)
    if expected is None:
        for prefix in (None, "", "x/y"):
            with pytest.raises(InvalidPathError):
                join(prefix, path, root=True)
    else:
        assert normalize(path) == expected
        assert join(None, path, root=True) == expected
        assert join("x/y", path) == (f"x/y/{expected}" if expected else "x/y")


@given(paths)
@example("/")
@example("a/")
def test_normalize_agrees_with_obstore(path):
    store, error = outcome(obstore().S3Store, "b", prefix=path)
    theirs = (store.prefix, None) if store is not None else (None, {"ValueError": "InvalidPathError"}[error])
    assert outcome(normalize, path) == theirs


def test_the_words_of_obstore_are_kept():
    with pytest.raises(
        InvalidPathError, match=r'^Could not parse path: Path "a//b" contained empty path segment$'
    ):
        normalize("a//b")
    with pytest.raises(
        InvalidPathError, match=r'illegal character sequence "\.\." whilst parsing path segment'
    ):
        normalize("a/../b")
    with pytest.raises(InvalidPathError, match=r'sequence "\\n" whilst parsing path segment "b\\nc"'):
        normalize("a/b\nc")


@pytest.mark.parametrize("path", ["", "/"])
def test_an_empty_key_is_refused_but_under_a_prefix_it_is_the_prefix(path):
    for prefix in (None, ""):
        with pytest.raises(InvalidPathError, match="the key is empty"):
            join(prefix, path)
        assert join(prefix, path, root=True) == ""
    assert join("a/b", path) == "a/b"


@pytest.mark.parametrize("path", [b"a", pathlib.PurePosixPath("a"), 1, None])
def test_only_str_is_a_path(path):
    with pytest.raises(TypeError, match=rf"^a path must be a str, not {type(path).__name__}: "):
        join("x", path)


@pytest.mark.parametrize("character", ["a", "é", "€", "🎈"])
def test_a_key_has_at_most_1024_bytes_of_utf8_with_the_prefix(character):
    size = len(character.encode())
    fits = "p" * (MAX_KEY_BYTES % size) + character * (MAX_KEY_BYTES // size)
    assert len(fits.encode()) == MAX_KEY_BYTES
    assert join(None, fits) == fits
    for prefix, path in ((None, "p" + fits), ("p", fits)):
        with pytest.raises(
            InvalidPathError, match=r"bytes of UTF-8 long, store prefix included; S3 allows 1024"
        ):
            join(prefix, path)


def test_a_prefix_at_the_limit_leaves_no_room():
    prefix = "p" * MAX_KEY_BYTES
    assert join(prefix, "") == prefix
    with pytest.raises(InvalidPathError):
        join(prefix, "a")
    with pytest.raises(InvalidPathError):
        join("p" * (MAX_KEY_BYTES + 1), "")


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        (None, None, ""),
        (None, "", ""),
        (None, "/", ""),
        (None, "a", "a/"),
        (None, "a/b/", "a/b/"),
        ("x", None, "x/"),
        ("x", "", "x/"),
        ("x/y", "a", "x/y/a/"),
    ],
)
def test_a_listing_covers_whole_segments(prefix, path, expected):
    assert list_prefix(prefix, path) == expected


@pytest.mark.parametrize(
    ("prefix", "key", "expected"),
    [
        (None, "a/b", "a/b"),
        ("", "a/b", "a/b"),
        ("a", "a/b", "b"),
        ("a/b", "a/b", ""),
        ("a", "a/", ""),
        ("a", "ab/c", "ab/c"),
        ("a", "b", "b"),
        (None, "dir/", "dir"),
        ("a", "a/dir/", "dir"),
        (None, "odd//", "odd/"),
        (None, "/odd", "/odd"),
    ],
)
def test_a_listed_key_loses_the_prefix_and_one_slash_at_its_end(prefix, key, expected):
    assert strip(prefix, key) == expected


@given(st.none() | good_paths, good_paths)
def test_strip_undoes_join(prefix, path):
    assert strip(prefix, join(prefix, path)) == path


@given(st.text() | st.binary() | st.integers())
def test_values_in_errors_are_on_one_line_and_of_bounded_length(value):
    text = shown(value)
    assert len(text) < 1500
    assert "\n" not in text
    text.encode()
    if isinstance(value, str) and value.isprintable() and len(value) < 50 and not {'"', "\\"} & set(value):
        assert text == f'"{value}"'
