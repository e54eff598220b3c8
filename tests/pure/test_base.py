"""csrc/base: buffers and their ceilings, error texts, calendar time, lists, the allocation shim, slices."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.native import BASE_CDEF, CSRC, Native, load

ffi, lib = load(
    "base",
    [],
    BASE_CDEF
    + """
    void s3i_buf_fixed(struct s3_buf *buf, char *memory, size_t capacity);
    void s3i_buf_reset(struct s3_buf *buf);
    bool s3i_buf_reserve(struct s3_buf *buf, size_t size);
    void s3i_buf_add(struct s3_buf *buf, struct s3_str text);
    void s3i_buf_add_char(struct s3_buf *buf, char byte);
    void s3i_buf_add_u64(struct s3_buf *buf, uint64_t number);
    void s3i_buf_terminate(struct s3_buf *buf);

    struct s3_error {
        int32_t code, http_status;
        uint32_t attempts, reserved;
        char s3_code[64], request_id[64], host_id[128], host[256], message[512];
    };
    const char *s3i_error_name(int code);
    const char *s3i_error_text(int code);
    const char *s3i_error_python(int code);
    bool s3i_error_retryable(int code);
    void s3i_error_clear(struct s3_error *error);
    void s3i_error_text_copy(char *field, size_t capacity, struct s3_str text);
    int set_error(struct s3_error *error, int code, const char *text);

    struct s3_utc { int year, month, day, hour, minute, second; };
    struct s3_utc s3i_utc_from_epoch(int64_t seconds);
    int64_t s3i_utc_to_epoch(struct s3_utc utc);
    int64_t s3i_now_ms(void);
    int64_t s3i_wall_seconds(void);
    int64_t s3i_wall_ms(void);

    struct s3_list { struct s3_list *next, *previous; };
    void s3i_list_init(struct s3_list *node);
    bool s3i_list_empty(const struct s3_list *list);
    void s3i_list_remove(struct s3_list *node);
    void s3i_list_append(struct s3_list *list, struct s3_list *node);
    void s3i_list_prepend(struct s3_list *list, struct s3_list *node);
    struct s3_list *s3i_list_pop(struct s3_list *list);
    size_t walk_and_remove(struct s3_list *list, struct s3_list **seen, size_t capacity);

    void *s3i_calloc(size_t count, size_t size);
    void *s3i_realloc_array(void *block, size_t count, size_t size);
    char *s3i_strdup(struct s3_str text);
    void s3i_free_secret(void *block, size_t size);
    bool s3i_alloc_failure_pending(void);

    bool s3i_str_equal(struct s3_str a, struct s3_str b);
    bool s3i_str_equal_nocase(struct s3_str a, struct s3_str b);
    bool s3i_str_starts(struct s3_str text, struct s3_str prefix);
    struct s3_str s3i_str_trim(struct s3_str text);
    """,
    support="""
    static int set_error(struct s3_error *error, int code, const char *text)
    {
        return s3i_error_set(error, code, "%s", text);
    }

    static size_t walk_and_remove(struct s3_list *list, struct s3_list **seen, size_t capacity)
    {
        size_t count = 0;
        S3I_LIST_EACH (node, list) {
            if (count < capacity) {
                seen[count] = node;
            }
            count++;
            s3i_list_remove(node);
        }
        return count;
    }
    """,
)
native = Native(ffi, lib)
SIZE_MAX = 2**64 - 1

# ---- buf ----


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 100, 255, 256, 257, 1000, 5000])
def test_a_buffer_takes_all_up_to_its_ceiling_and_nothing_more(limit):
    buffer = native.buffer(limit)
    for _ in range(limit):
        lib.s3i_buf_add_char(buffer, b"x")
    assert (buffer.size, buffer.failed) == (limit, False)
    lib.s3i_buf_add_char(buffer, b"y")
    assert (buffer.size, buffer.failed, buffer.starved) == (limit, True, False)
    assert native.content(buffer) == b"x" * limit
    assert buffer.capacity <= limit


def test_after_a_failure_even_what_fits_is_dropped():
    buffer = native.buffer(10)
    lib.s3i_buf_add(buffer, native.text(b"12345678901"))
    lib.s3i_buf_add(buffer, native.text(b"1"))
    assert (buffer.size, buffer.failed) == (0, True)
    lib.s3i_buf_reset(buffer)
    lib.s3i_buf_add(buffer, native.text(b"1"))
    assert (native.content(buffer), buffer.failed) == (b"1", False)


def test_without_memory_a_buffer_is_starved_until_it_is_reset():
    buffer = native.buffer(1000)
    lib.s3i_alloc_fail_after(0)
    lib.s3i_buf_add_char(buffer, b"x")
    assert (buffer.size, buffer.failed, buffer.starved) == (0, True, True)
    lib.s3i_buf_reset(buffer)
    lib.s3i_buf_add_char(buffer, b"x")
    assert (native.content(buffer), buffer.failed, buffer.starved) == (b"x", False, False)


def test_a_buffer_that_cannot_grow_keeps_what_it_has():
    buffer = native.buffer(1000)
    lib.s3i_buf_add(buffer, native.text(b"a" * 256))
    lib.s3i_alloc_fail_after(0)
    lib.s3i_buf_add_char(buffer, b"x")
    assert (native.content(buffer), buffer.starved) == (b"a" * 256, True)


@pytest.mark.parametrize("size", [1, SIZE_MAX, SIZE_MAX - 4, 2**63])
def test_sizes_that_would_wrap_are_refused(size):
    buffer = native.buffer(5)
    lib.s3i_buf_add(buffer, native.text(b"12345"))
    assert not lib.s3i_buf_reserve(buffer, size)
    assert native.content(buffer) == b"12345"


def test_a_fixed_buffer_never_allocates_or_leaves_its_memory():
    memory = ffi.new("char[]", b"........")
    buffer = ffi.new("struct s3_buf *")
    live = lib.s3i_alloc_live()
    lib.s3i_buf_fixed(buffer, memory, 4)
    lib.s3i_buf_add(buffer, native.text(b"abcd"))
    assert not buffer.failed
    lib.s3i_buf_terminate(buffer)
    assert (buffer.failed, buffer.starved) == (True, False)
    assert ffi.buffer(memory, 8)[:] == b"abcd...."
    lib.s3i_buf_clear(buffer)
    assert buffer.data == memory
    assert lib.s3i_alloc_live() == live


def test_the_terminating_nul_is_not_counted_but_needs_room():
    buffer = native.buffer(4)
    lib.s3i_buf_add(buffer, native.text(b"abc"))
    lib.s3i_buf_terminate(buffer)
    assert (buffer.size, ffi.string(buffer.data)) == (3, b"abc")
    lib.s3i_buf_add_char(buffer, b"d")
    lib.s3i_buf_terminate(buffer)
    assert buffer.failed


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_written_as_python_writes_them(number):
    assert native.collect(lib.s3i_buf_add_u64, number) == str(number).encode()


@given(st.integers(0, 600), st.lists(st.binary(max_size=200), max_size=12))
def test_a_buffer_is_its_appends_until_one_does_not_fit(limit, pieces):
    buffer = native.buffer(limit)
    expected = b""
    for piece in pieces:
        lib.s3i_buf_add(buffer, native.text(piece))
        if len(expected) + len(piece) > limit:
            assert buffer.failed
            break
        expected += piece
    assert native.content(buffer) == expected


# ---- error ----


def copied(text, capacity):
    field = ffi.new("char[]", b"?" * (capacity + 1))
    lib.s3i_error_text_copy(field, capacity, native.text(text))
    assert field[capacity] == b"?"
    return ffi.string(field)


@given(st.text(max_size=40), st.integers(1, 64))
def test_a_text_that_is_cut_stays_utf8_and_loses_less_than_a_character(text, capacity):
    whole = text.encode()
    clean = re.sub(rb"[\x00-\x1f\x7f]", b" ", whole)
    got = copied(whole, capacity)
    assert clean.startswith(got)
    got.decode()
    if len(whole) < capacity:
        assert got == clean
    else:
        assert capacity - 1 - len(got) < 4


@given(st.binary(max_size=100), st.integers(1, 64))
def test_bytes_that_are_no_utf8_are_cut_inside_the_field(data, capacity):
    got = copied(data, capacity)
    assert len(got) < capacity
    assert not re.search(rb"[\x01-\x1f\x7f]", got)


@pytest.mark.parametrize("character", ["é", "€", "𐍈"])
def test_a_character_at_the_border_is_kept_whole_or_dropped(character):
    size = len(character.encode())
    for room in range(1, 12):
        assert copied((character * 10).encode(), room + 1).decode() == character * (room // size)


def test_the_first_error_wins():
    error = ffi.new("struct s3_error *")
    assert lib.set_error(error, -7, b"first") == -7
    assert lib.set_error(error, -2, b"second") == -7
    assert (error.code, ffi.string(error.message)) == (-7, b"first")
    lib.s3i_error_clear(error)
    assert (error.code, ffi.string(error.message)) == (0, b"")


def test_an_error_without_a_record_is_only_its_code():
    assert lib.set_error(ffi.NULL, -7, b"nobody hears") == -7


@pytest.mark.parametrize("length", [510, 511, 512, 575, 576, 2000])
def test_a_long_message_is_cut_to_the_record(length):
    error = ffi.new("struct s3_error *")
    lib.set_error(error, -7, ("€" * length).encode())
    message = ffi.string(error.message).decode()
    assert set(message) == {"€"}
    assert len(message.encode()) == 510


def test_the_table_answers_for_every_code_and_for_none():
    rows = re.findall(
        r"X\((\w+),\s*(-?\d+),\s*([01]), \"(\w*)\",\s*\"(.+?)\"\)", (CSRC / "base/error.h").read_text()
    )
    assert len(rows) >= 28
    assert [int(value) for _, value, *_ in rows] == list(range(0, -len(rows), -1))
    for name, value, retryable, python, text in rows:
        assert ffi.string(lib.s3i_error_name(int(value))).decode() == name
        assert ffi.string(lib.s3i_error_text(int(value))).decode() == text
        assert ffi.string(lib.s3i_error_python(int(value))).decode() == python
        assert lib.s3i_error_retryable(int(value)) == (retryable == "1")
    for value in (1, 17, -1000, -(2**31)):
        assert ffi.string(lib.s3i_error_name(value)) == b"UNKNOWN"
        assert not lib.s3i_error_retryable(value)


# ---- time ----

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = int((datetime(1, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())
LAST = int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - EPOCH).total_seconds())


def check_time(seconds):
    expected = EPOCH + timedelta(seconds=seconds)
    utc = lib.s3i_utc_from_epoch(seconds)
    assert (utc.year, utc.month, utc.day) == (expected.year, expected.month, expected.day)
    assert (utc.hour, utc.minute, utc.second) == (expected.hour, expected.minute, expected.second)
    assert lib.s3i_utc_to_epoch(utc) == seconds


@given(st.integers(FIRST, LAST))
def test_times_are_those_of_datetime(seconds):
    check_time(seconds)


@pytest.mark.parametrize(
    "year", [1, 4, 100, 400, 1582, 1600, 1699, 1700, 1900, 1969, 1970, 2000, 2038, 2100, 9999]
)
def test_every_day_of_telling_years_is_that_of_datetime(year):
    start = int((datetime(year, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())
    for day in range(365):
        check_time(start + day * 86400)
        check_time(start + day * 86400 + 86399)


@pytest.mark.parametrize("seconds", [FIRST, LAST, -1, 0, -86400, 951782400, 2**31 - 1, 2**31, -(2**31)])
def test_the_edges_are_those_of_datetime(seconds):
    check_time(seconds)


def test_the_clocks_run():
    before = datetime.now(UTC).timestamp()
    seconds, milliseconds = lib.s3i_wall_seconds(), lib.s3i_wall_ms()
    after = datetime.now(UTC).timestamp()
    assert int(before) <= seconds <= after
    assert before * 1000 - 1 <= milliseconds <= after * 1000 + 1
    assert lib.s3i_now_ms() <= lib.s3i_now_ms()


# ---- list ----


class List:
    def __init__(self, count):
        self.head = ffi.new("struct s3_list *")
        self.nodes = ffi.new("struct s3_list[]", count)
        lib.s3i_list_init(self.head)
        for index in range(count):
            lib.s3i_list_init(ffi.addressof(self.nodes, index))

    def node(self, index):
        return ffi.addressof(self.nodes, index)

    def walk(self, step):
        found, node = [], getattr(self.head, step)
        while node != self.head:
            found.append(node - self.nodes)
            node = getattr(node, step)
        return found


@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "prepend", "remove", "pop"]), st.integers(0, 5)), max_size=40
    )
)
def test_a_list_is_like_a_deque(steps):
    list_, model = List(6), []
    for action, index in steps:
        if action == "pop":
            node = lib.s3i_list_pop(list_.head)
            assert (node == ffi.NULL) == (not model)
            if model:
                assert node == list_.node(model.pop(0))
        elif action == "remove":
            lib.s3i_list_remove(list_.node(index))  # harmless for one that is in no list
            model = [item for item in model if item != index]
        elif index not in model:
            getattr(lib, f"s3i_list_{action}")(list_.head, list_.node(index))
            model.insert(len(model) if action == "append" else 0, index)
        assert list_.walk("next") == model
        assert list_.walk("previous") == model[::-1]
        assert lib.s3i_list_empty(list_.head) == (not model)


def test_a_walk_may_remove_where_it_stands():
    list_ = List(4)
    for index in range(4):
        lib.s3i_list_append(list_.head, list_.node(index))
    seen = ffi.new("struct s3_list *[4]")
    assert lib.walk_and_remove(list_.head, seen, 4) == 4
    assert [node - list_.nodes for node in seen] == [0, 1, 2, 3]
    assert lib.s3i_list_empty(list_.head)


# ---- alloc ----


def test_blocks_are_counted_until_they_are_freed():
    live = lib.s3i_alloc_live()
    blocks = [lib.s3i_malloc(0), lib.s3i_calloc(0, 0), lib.s3i_realloc_array(ffi.NULL, 0, 0)]
    assert ffi.NULL not in blocks
    assert lib.s3i_alloc_live() == live + 3
    blocks[2] = lib.s3i_realloc_array(blocks[2], 10, 10)
    assert lib.s3i_alloc_live() == live + 3
    lib.s3i_free_secret(blocks.pop(), 100)
    for block in [*blocks, ffi.NULL]:
        lib.s3i_free(block)
    lib.s3i_free_secret(ffi.NULL, 10)
    assert lib.s3i_alloc_live() == live


@pytest.mark.parametrize(("count", "size"), [(2**33, 2**33), (SIZE_MAX, 2), (3, SIZE_MAX // 2), (2**63, 2)])
def test_products_that_wrap_are_refused(count, size):
    live = lib.s3i_alloc_live()
    block = lib.s3i_malloc(8)
    assert lib.s3i_realloc_array(block, count, size) == ffi.NULL
    lib.s3i_free(block)  # the old block was left alone
    assert lib.s3i_alloc_live() == live


def test_the_chosen_allocation_fails_once():
    lib.s3i_alloc_fail_after(1)
    first = lib.s3i_malloc(1)
    assert lib.s3i_alloc_failure_pending()
    assert lib.s3i_calloc(1, 1) == ffi.NULL
    assert not lib.s3i_alloc_failure_pending()
    third = lib.s3i_malloc(1)
    assert ffi.NULL not in (first, third)
    lib.s3i_free(first)
    lib.s3i_free(third)


@given(st.binary(max_size=50))
def test_a_copied_slice_ends_in_nul(data):
    block = lib.s3i_strdup(native.text(data))
    assert ffi.buffer(block, len(data) + 1)[:] == data + b"\0"
    lib.s3i_free(block)


# ---- str ----


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_slices_compare_as_bytes_do(left, right):
    a, b = native.text(left), native.text(right)
    assert lib.s3i_str_equal(a, b) == (left == right)
    assert lib.s3i_str_starts(a, b) == left.startswith(right)


@given(st.text("aAbBzZ-@[`{", max_size=6), st.text("aAbBzZ-@[`{", max_size=6))
def test_only_ascii_letters_compare_without_case(left, right):
    equal = lib.s3i_str_equal_nocase(native.text(left.encode()), native.text(right.encode()))
    assert equal == (left.lower() == right.lower())


@given(st.text("a \t\n", max_size=8))
def test_spaces_and_tabs_are_trimmed(text):
    source = native.text(text.encode())
    trimmed = lib.s3i_str_trim(source)
    got = ffi.buffer(trimmed.data, trimmed.size)[:] if trimmed.size else b""
    assert got == text.strip(" \t").encode()


def test_nobody_waits_by_the_wall_clock():
    """Deadlines of condition variables and joins are of the wall clock, unless they are told otherwise."""
    waits = re.compile(
        r"\b(?:pthread_cond_timedwait|pthread_timedjoin_np|sem_timedwait|pthread_mutex_timedlock)\("
    )
    clock = re.compile(r"\b(?:CLOCK_REALTIME|gettimeofday|time\(NULL\))")
    sources = {str(path.relative_to(CSRC)): path.read_text() for path in CSRC.rglob("*.[ch]")}
    assert {name for name, source in sources.items() if waits.search(source)} == set()
    assert {name for name, source in sources.items() if clock.search(source)} == {"base/time.c"}
