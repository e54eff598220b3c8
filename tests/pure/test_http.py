"""pure/http: each parser by example, against a model in Python, and at the end of readable memory."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.guard import Guard
from tests.pure.native import load

ffi, lib = load(
    "http",
    ["pure/http.c"],
    """
    struct s3_str { const char *data; size_t size; };
    struct s3_buf { char *data; size_t size, capacity, limit; bool fixed, failed, starved; };
    void s3i_buf_init(struct s3_buf *buf, size_t limit);
    void s3i_buf_clear(struct s3_buf *buf);
    int s3i_http_status(struct s3_str line);
    bool s3i_http_header(struct s3_str line, struct s3_str *name, struct s3_str *value);
    bool s3i_http_next_element(struct s3_str *list, struct s3_str *element);
    bool s3i_http_number(struct s3_str text, uint64_t *number);
    struct s3_content_range { uint64_t first, last, total; bool total_known; };
    bool s3i_http_content_range(struct s3_str text, struct s3_content_range *range);
    bool s3i_http_unsatisfied_range(struct s3_str text, uint64_t *total);
    bool s3i_http_date(struct s3_str text, int64_t *epoch);
    bool s3i_iso_time(struct s3_str text, int64_t *epoch_us);
    void s3i_http_add_date(struct s3_buf *out, int64_t epoch);
    bool s3i_http_retry_after(struct s3_str text, int64_t now, int64_t *wait_ms);
    struct s3_headers { struct s3_buf pairs; size_t count; };
    void s3i_headers_init(struct s3_headers *headers, size_t limit);
    void s3i_headers_clear(struct s3_headers *headers);
    void s3i_headers_reset(struct s3_headers *headers);
    bool s3i_headers_add(struct s3_headers *headers, struct s3_str name, struct s3_str value);
    struct s3_str s3i_headers_find(const struct s3_headers *headers, struct s3_str name);
    void s3i_alloc_fail_after(long count);
    long s3i_alloc_live(void);
    """,
)

TOP = (1 << 64) - 1
GUARD = Guard()
OTHER_GUARD = Guard()


def slice_of(data, guard=GUARD):
    """Return a slice of the bytes that ends where memory ends."""
    return (ffi.cast("const char *", guard.place(data)), len(data))


def bytes_of(string):
    return None if string.data == ffi.NULL else ffi.buffer(string.data, string.size)[:]


def parsed(function, kind, data, *arguments):
    """Return what a parser wrote, or None when it refused; it may not write before it has understood."""
    out = ffi.new(f"{kind} *")
    before = ffi.buffer(out)[:]
    if function(slice_of(data), *arguments, out):
        return out[0]
    assert ffi.buffer(out)[:] == before
    return None


def content_range(data):
    found = parsed(lib.s3i_http_content_range, "struct s3_content_range", data)
    return found and (found.first, found.last, found.total if found.total_known else None)


def number(data):
    return parsed(lib.s3i_http_number, "uint64_t", data)


def http_date(data):
    return parsed(lib.s3i_http_date, "int64_t", data)


def iso_time(data):
    return parsed(lib.s3i_iso_time, "int64_t", data)


def retry_after(data, now=0):
    return parsed(lib.s3i_http_retry_after, "int64_t", data, now)


def header(data):
    name, value = ffi.new("struct s3_str *"), ffi.new("struct s3_str *")
    if not lib.s3i_http_header(slice_of(data), name, value):
        return None
    return bytes_of(name), bytes_of(value) or b""


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 206 Partial Content\r\n", 206),
        (b"HTTP/1.1 206 Partial Content", 206),
        (b"HTTP/1.0 200 OK\n", 200),
        (b"HTTP/1.1 503 \r\n", 503),
        (b"HTTP/1.1 503\r\n", 503),
        (b"HTTP/2 200", 200),
        (b"HTTP/1.1 999 x", 999),
        (b"HTTP/1.1 099 x", -1),
        (b"HTTP/1.1 20 OK", -1),
        (b"HTTP/1.1 2000 OK", -1),
        (b"HTTP/1.1 20x OK", -1),
        (b"HTTP/1.1  200 OK", -1),
        (b"HTTP/1. 200 OK", -1),
        (b"HTTP/ 200 OK", -1),
        (b"http/1.1 200 OK", -1),
        (b" HTTP/1.1 200 OK", -1),
        (b"HTTP/1.1", -1),
        (b"ICY 200 OK", -1),
        (b"\r\n", -1),
        (b"", -1),
    ],
)
def test_status_lines(line, status):
    assert lib.s3i_http_status(slice_of(line)) == status


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'ETag: "abc"\r\n', (b"ETag", b'"abc"')),
        (b"a:b", (b"a", b"b")),
        (b"a: \t b c \t\r\n", (b"a", b"b c")),
        (b"a:\r\n", (b"a", b"")),
        (b"a:b:c\n", (b"a", b"b:c")),
        (b"a: \xc3\xa4\xff", (b"a", b"\xc3\xa4\xff")),
        (b"a: b\tc", (b"a", b"b\tc")),
        (b": b\r\n", None),
        (b"a b\r\n", None),
        (b"a : b\r\n", None),
        (b" a: b\r\n", None),
        (b"\ta: b\r\n", None),
        (b"a\x00: b", None),
        (b"a\x80: b", None),
        (b"a: b\x00c", None),
        (b"a: b\rc\r\n", None),
        (b"a: b\nc: d\r\n", None),
        (b"a: b\x7f", None),
        (b"a: b\r", None),
        (b"\r\n", None),
        (b"", None),
    ],
)
def test_header_lines(line, expected):
    assert header(line) == expected


@given(st.from_regex(rb"[!-9;-~]+", fullmatch=True), st.from_regex(rb"[ -~\x80-\xff]*", fullmatch=True))
def test_every_name_and_value_without_controls_comes_through(name, value):
    assert header(name + b": " + value + b"\r\n") == (name, value.strip(b" \t"))


def elements(data):
    """Return the elements of a list; the slice that is taken from ends where memory ends."""
    rest, element = ffi.new("struct s3_str *", slice_of(data)), ffi.new("struct s3_str *")
    found = []
    while lib.s3i_http_next_element(rest, element):
        found.append(bytes_of(element))
    assert rest.data == ffi.NULL
    return found


@given(st.from_regex(rb"[a-c, \t\"]*", fullmatch=True))
def test_a_list_is_split_at_its_commas(data):
    assert elements(data) == [element.strip(b" \t") for element in data.split(b",")]


def test_a_list_of_nothing_has_no_elements():
    nothing, element = ffi.new("struct s3_str *"), ffi.new("struct s3_str *")
    assert not lib.s3i_http_next_element(nothing, element)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", 0),
        (b"007", 7),
        (b"18446744073709551615", TOP),
        (b"000000000000000000000000018446744073709551615", TOP),
        (b"18446744073709551616", None),
        (b"18446744073709551620", None),
        (b"99999999999999999999999999999999", None),
        (b"", None),
        (b"+1", None),
        (b"-1", None),
        (b" 1", None),
        (b"1 ", None),
        (b"1e3", None),
        (b"0x10", None),
        (b"1,2", None),
        ("\u0661".encode(), None),
    ],
)
def test_numbers(text, expected):
    assert number(text) == expected


@given(st.integers(0, 1 << 70))
def test_numbers_up_to_64_bits_are_read_and_larger_ones_refused(value):
    assert number(str(value).encode()) == (value if value <= TOP else None)


@given(st.one_of(st.binary(max_size=30), st.from_regex(rb"[0-9 +\-x]{1,25}", fullmatch=True)))
def test_only_digits_are_a_number(data):
    model = int(data) if re.fullmatch(rb"[0-9]+", data) and int(data) <= TOP else None
    assert number(data) == model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"bytes 0-0/1", (0, 0, 1)),
        (b"bytes 5-9/10", (5, 9, 10)),
        (b"Bytes 5-9/10", (5, 9, 10)),
        (b"bytes 5-9/*", (5, 9, None)),
        (b"bytes 0-18446744073709551614/18446744073709551615", (0, TOP - 1, TOP)),
        (b"bytes 0-18446744073709551614/*", (0, TOP - 1, None)),
        (b"bytes 0-18446744073709551615/*", None),
        (b"bytes 0-18446744073709551616/*", None),
        (b"bytes 18446744073709551616-18446744073709551617/18446744073709551618", None),
        (b"bytes 0-9/9", None),
        (b"bytes 0-9/0", None),
        (b"bytes 5-4/10", None),
        (b"bytes */10", None),
        (b"bytes 5-*/10", None),
        (b"bytes 5-/10", None),
        (b"bytes -5/10", None),
        (b"bytes 0-1", None),
        (b"bytes 0-1/", None),
        (b"bytes 0-1/10,", None),
        (b"bytes 0-1/**", None),
        (b"bytes=0-1/10", None),
        (b"bytes 0 - 1/10", None),
        (b"bytes  0-1/10", None),
        (b"items 0-1/10", None),
        (b"0-1/10", None),
        (b"bytes", None),
        (b"", None),
    ],
)
def test_content_ranges(text, expected):
    assert content_range(text) == expected


limits = st.one_of(st.integers(0, 300), st.integers(TOP - 3, TOP + 3), st.integers(0, 1 << 65))


@given(limits, limits, st.one_of(st.none(), limits))
def test_content_ranges_against_the_model(first, last, total):
    fits = first <= last < TOP and (total is None or last < total <= TOP)
    text = f"bytes {first}-{last}/{'*' if total is None else total}".encode()
    assert content_range(text) == ((first, last, total) if fits else None)


@given(st.from_regex(rb"bytes [0-9*\-/]{0,12}", fullmatch=True))
def test_near_misses_of_content_ranges_against_the_grammar(text):
    match = re.fullmatch(rb"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)", text)
    expected = None
    if match:
        first, last = int(match[1]), int(match[2])
        total = None if match[3] == b"*" else int(match[3])
        if first <= last and (total is None or last < total):
            expected = (first, last, total)
    assert content_range(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"bytes */0", 0),
        (b"bytes */18446744073709551615", TOP),
        (b"bytes */18446744073709551616", None),
        (b"bytes */*", None),
        (b"bytes */", None),
        (b"bytes 0-1/2", None),
        (b"bytes */1 ", None),
        (b"", None),
    ],
)
def test_unsatisfied_ranges(text, expected):
    assert parsed(lib.s3i_http_unsatisfied_range, "uint64_t", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        (b"Sun Nov  6 08:49:37 1994", 784111777),
        (b"Sun Nov 16 08:49:37 1994", 784975777),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Wed, 31 Dec 1969 23:59:59 GMT", -1),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),
        (b"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800),
        (b"Thu, 29 Feb 2023 00:00:00 GMT", None),
        (b"Thu, 29 Feb 1900 00:00:00 GMT", None),
        (b"Thu, 00 Feb 2023 00:00:00 GMT", None),
        (b"Thu, 31 Apr 2023 00:00:00 GMT", None),
        (b"Thu, 01 Feb 2023 24:00:00 GMT", None),
        (b"Thu, 01 Feb 2023 23:60:00 GMT", None),
        (b"Thu, 01 Feb 2023 23:59:61 GMT", None),
        (b"Thu, 1 Feb 2023 23:59:00 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:37 UTC", None),
        (b"Sun, 06 Nov 1994 08:49:37 +0000", None),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"Sun, 06 Nov 1994 08:49:37 GMT ", None),
        (b" Sun, 06 Nov 1994 08:49:37 GMT", None),
        (b"Xun, 06 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 94 08:49:37 GMT", None),
        (b"Sun, 06 Foo 1994 08:49:37 GMT", None),
        (b"Sun, 06-Nov-94 08:49:37 GMT", None),
        (b"Sun Nov 6 08:49:37 1994", None),
        (b"Sun Nov  6 08:49:37 1994 GMT", None),
        (b"784111777", None),
        (b"", None),
    ],
)
def test_http_dates(text, expected):
    assert http_date(text) == expected


four_digit_years = st.datetimes(timezones=st.just(dt.UTC)).map(lambda moment: moment.replace(microsecond=0))


def epoch_of(moment):
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1)


@given(four_digit_years)
def test_imf_and_asctime_dates_against_the_standard_library(moment):
    assert http_date(email.utils.format_datetime(moment, usegmt=True).encode()) == epoch_of(moment)
    asctime = f"{time.asctime(moment.timetuple())[:20]}{moment.year:04}"
    assert http_date(asctime.encode()) == epoch_of(moment)


@given(st.integers(-31536000, 3124223999))
def test_dates_with_two_digit_years_against_the_standard_library(epoch):
    moment = dt.datetime.fromtimestamp(epoch, tz=dt.UTC)
    text = moment.strftime("%A, %d-%b-%y %H:%M:%S GMT")
    assert http_date(text.encode()) == email.utils.parsedate_to_datetime(text).timestamp() == epoch


def add_date(epoch):
    out = ffi.new("struct s3_buf *")
    lib.s3i_buf_init(out, 100)
    lib.s3i_http_add_date(out, epoch)
    text = None if out.failed else ffi.buffer(out.data, out.size)[:]
    lib.s3i_buf_clear(out)
    return text


@given(four_digit_years)
def test_dates_are_written_as_the_standard_library_writes_them_and_read_back(moment):
    text = add_date(epoch_of(moment))
    assert text == email.utils.format_datetime(moment, usegmt=True).encode()
    assert http_date(text) == epoch_of(moment)


def test_a_date_that_does_not_fit_four_digits_fails_the_buffer():
    assert add_date(-62167219200) == b"Sat, 01 Jan 0000 00:00:00 GMT"
    assert add_date(253402300799) == b"Fri, 31 Dec 9999 23:59:59 GMT"
    for epoch in (-62167219201, 253402300800, -(1 << 63), (1 << 63) - 1):
        assert add_date(epoch) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"2009-10-12T17:50:30.000Z", 1255369830000000),
        (b"2009-10-12T17:50:30Z", 1255369830000000),
        (b"2009-10-12t17:50:30.5z", 1255369830500000),
        (b"2009-10-12T17:50:30.123456789Z", 1255369830123456),
        (b"2009-10-12T19:50:30+02:00", 1255369830000000),
        (b"2009-10-12T19:50:30+0200", 1255369830000000),
        (b"2009-10-12T12:20:30-05:30", 1255369830000000),
        (b"1969-12-31T23:59:59.999999Z", -1),
        (b"2009-10-12T17:50:30", None),
        (b"2009-10-12T17:50:30.Z", None),
        (b"2009-10-12T17:50Z", None),
        (b"2009-10-12 17:50:30Z", None),
        (b"2009-10-12", None),
        (b"2009-02-30T00:00:00Z", None),
        (b"2009-00-30T00:00:00Z", None),
        (b"2009-10-12T17:50:30+24:00", None),
        (b"2009-10-12T17:50:30+02:60", None),
        (b"2009-10-12T17:50:30+2:00", None),
        (b"2009-10-12T17:50:30Zx", None),
        (b"+009-10-12T17:50:30Z", None),
        (b"", None),
    ],
)
def test_iso_times(text, expected):
    assert iso_time(text) == expected


@given(
    st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31)),  # noqa: DTZ001 - the test adds the zone
    st.integers(-1439, 1439),
)
def test_iso_times_with_offsets_against_the_standard_library(moment, minutes):
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    aware = moment.replace(tzinfo=zone)
    start = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert iso_time(aware.isoformat().encode()) == (aware - start) // dt.timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", 0),
        (b"2", 2_000),
        (b" 2\t", 2_000),
        (b"60", 60_000),
        (b"61", 60_000),
        (b"1000000000", 60_000),
        (b"9" * 100, 60_000),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 37_000),
        (b"Sun, 06 Nov 1994 08:49:00 GMT", 0),
        (b"Sun, 06 Nov 1994 08:00:00 GMT", 0),
        (b"Sun, 06 Nov 2094 08:49:37 GMT", 60_000),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"2 s", None),
        (b"", None),
    ],
)
def test_retry_after(text, expected):
    assert retry_after(text, 784111740) == expected


@pytest.mark.parametrize("now", [-(1 << 63), (1 << 63) - 1])
def test_retry_after_with_a_date_never_overflows(now):
    expected = 60_000 if now < 0 else 0
    assert retry_after(b"Sun, 06 Nov 1994 08:49:37 GMT", now) == expected


waits = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    four_digit_years.map(lambda m: email.utils.format_datetime(m, True)),
).map(str.encode)


@given(waits, st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_wait_that_is_accepted_is_at_most_a_minute(text, now):
    wait = retry_after(text, now)
    assert wait is None or 0 <= wait <= 60_000


fuzz = st.one_of(
    st.binary(max_size=64),
    st.from_regex(
        rb"(HTTP/1\.1 |bytes |Sun, |Sunday, |Sun Nov |20)[0-9A-Za-z:,\-/* .+]{0,40}", fullmatch=True
    ),
)


@given(fuzz, st.data())
def test_no_parser_reads_past_the_end_of_any_bytes(data, draw):
    for cut in {len(data), draw.draw(st.integers(0, len(data)))}:
        piece = data[:cut]
        assert -1 <= lib.s3i_http_status(slice_of(piece)) <= 999
        for function in (header, number, content_range, http_date, iso_time, retry_after):
            function(piece)
        parsed(lib.s3i_http_unsatisfied_range, "uint64_t", piece)


class Headers:
    """A struct s3_headers with a face of Python."""

    def __init__(self, limit=1 << 16):
        self.raw = ffi.new("struct s3_headers *")
        lib.s3i_headers_init(self.raw, limit)

    def add(self, name, value):
        return lib.s3i_headers_add(self.raw, slice_of(name), slice_of(value, OTHER_GUARD))

    def find(self, name):
        return bytes_of(lib.s3i_headers_find(self.raw, slice_of(name)))

    def pairs(self):
        parts = (
            ffi.buffer(self.raw.pairs.data, self.raw.pairs.size)[:].split(b"\0") if self.raw.count else [b""]
        )
        return list(zip(parts[::2], parts[1::2], strict=False))


@pytest.fixture
def headers():
    made = Headers()
    yield made
    lib.s3i_headers_clear(made.raw)
    assert lib.s3i_alloc_live() == 0


def test_headers_with_a_meaning_are_kept_in_lower_case(headers):
    kept = [
        b"Content-Type", b"CONTENT-range", b"Cache-Control", b"ETag", b"Last-Modified", b"x-amz-meta-Foo",
        b"X-Amz-Request-Id", b"Date", b"Retry-After", b"Location", b"Server", b"Expires", b"Age",
    ]  # fmt: skip
    for name in kept:
        assert headers.add(name, name + b" value")
    for name in (
        b"Connection",
        b"Transfer-Encoding",
        b"Contents",
        b"content-",
        b"x-amz-",
        b"dates",
        b"",
        b"Set-Cookie",
    ):
        assert headers.add(name, b"x")
    assert headers.pairs() == [(name.lower(), name + b" value") for name in kept]
    assert headers.raw.count == len(kept)


def test_the_first_value_under_a_name_is_found(headers):
    assert headers.find(b"etag") is None
    headers.add(b"ETag", b"")
    headers.add(b"x-amz-meta-a", b"1")
    headers.add(b"X-AMZ-META-A", b"2")
    headers.add(b"x-amz-meta-ab", b"3")
    assert headers.find(b"etag") == b""
    assert headers.find(b"x-amz-meta-a") == b"1"
    assert headers.find(b"x-amz-meta-ab") == b"3"
    assert headers.find(b"x-amz-meta-") is None
    assert headers.find(b"") is None


def test_a_reset_forgets_the_headers(headers):
    headers.add(b"etag", b"1")
    lib.s3i_headers_reset(headers.raw)
    assert headers.find(b"etag") is None
    headers.add(b"etag", b"2")
    assert headers.find(b"etag") == b"2"


def test_a_nul_is_refused_because_it_would_shift_the_pairs(headers):
    assert not headers.add(b"etag", b"a\0b")
    assert not headers.add(b"x-amz-\0b", b"a")
    assert headers.raw.count == 0


def test_headers_over_the_ceiling_are_refused_whole():
    small = Headers(limit=300)
    assert small.add(b"etag", b"0" * 280)
    assert not small.add(b"etag", b"1" * 10)
    assert small.find(b"etag") == b"0" * 280
    assert small.raw.count == 1
    lib.s3i_headers_clear(small.raw)
    assert lib.s3i_alloc_live() == 0


def test_when_memory_is_short_a_header_is_refused_and_the_others_stay():
    failed = 0
    for countdown in range(20):
        made = Headers()
        lib.s3i_alloc_fail_after(countdown)
        added = [made.add(b"x-amz-meta-%d" % i, b"v" * 200) for i in range(10)]
        lib.s3i_alloc_fail_after(-1)
        failed += not all(added)
        kept = added.index(False) if not all(added) else 10
        assert made.raw.count == kept
        assert made.pairs() == [(b"x-amz-meta-%d" % i, b"v" * 200) for i in range(kept)]
        lib.s3i_headers_clear(made.raw)
        assert lib.s3i_alloc_live() == 0
        if all(added):
            break
    assert failed >= 3


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=30)), max_size=10))
def test_any_headers_are_found_again_by_their_names(pairs):
    made = Headers()
    first = {}
    for name, value in pairs:
        full = b"x-amz-n" + name
        if made.add(full, value):
            first.setdefault(full.lower(), value)
        else:
            assert b"\0" in full + value
    for name, value in first.items():
        assert made.find(name) == value
    lib.s3i_headers_clear(made.raw)
    assert lib.s3i_alloc_live() == 0
