"""`Bytes` and its base class in C: the methods of obstore's Bytes, and when the memory is given back."""

from __future__ import annotations

import array
import copy
import gc
import pickle
import shlex
import subprocess
import sys
import sysconfig
import time
import weakref

import cffi
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3ext import Bytes
from s3ext._buffer import Buffer, wrap
from tests.lifecycle import SLOW

pytestmark = pytest.mark.smoke

SOURCE = """
#include <stdlib.h>
struct block { int releases; int size; unsigned char data[64]; };
void release(void *owner) { struct block *block = owner; block->releases++; block->data[0] = 0xDD; }
"""


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """A C library with one release function, which counts its calls in the owner and spoils the memory."""
    folder = tmp_path_factory.mktemp("native")
    (folder / "owner.c").write_text(SOURCE)
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", "owner.so", "owner.c"], cwd=folder, check=True)
    ffi = cffi.FFI()
    ffi.cdef("struct block { int releases; int size; unsigned char data[64]; }; void release(void *);")
    return ffi, ffi.dlopen(str(folder / "owner.so"))


@pytest.fixture
def block(native):
    """Sixteen bytes of C memory, 0 to 15, that count how often they were given back."""
    ffi, _ = native
    made = ffi.new("struct block *", {"size": 16})
    made.data[0:16] = list(range(16))
    return made


@pytest.fixture
def wrapped(native, block):
    """Makes an object of a type that shows the block."""
    ffi, library = native

    def make(kind=Bytes):
        start = int(ffi.cast("uintptr_t", block)) + ffi.offsetof("struct block", "data")
        owner = int(ffi.cast("uintptr_t", block))
        return wrap(kind, start, block.size, owner, int(ffi.cast("uintptr_t", library.release)))

    return make


# -- the methods, with obstore's Bytes as the oracle ---------------------------------------------------------

OPERATIONS = {
    "repr": lambda make, a, b, n: repr(make(a)),
    "str": lambda make, a, b, n: str(make(a)),
    "bool": lambda make, a, b, n: bool(make(a)),
    "bytes": lambda make, a, b, n: bytes(make(a)),
    "to_bytes": lambda make, a, b, n: make(a).to_bytes(),
    "len": lambda make, a, b, n: len(make(a)),
    "iterate": lambda make, a, b, n: list(make(a)),
    "reversed": lambda make, a, b, n: list(reversed(make(a))),
    "index": lambda make, a, b, n: make(a)[n],
    "index by bool": lambda make, a, b, n: make(a)[True],
    "index by None": lambda make, a, b, n: make(a)[None],
    "index by str": lambda make, a, b, n: make(a)["1"],
    "add": lambda make, a, b, n: make(a) + make(b),
    "add bytes": lambda make, a, b, n: make(a) + b,
    "add bytearray": lambda make, a, b, n: make(a) + bytearray(b),
    "add to bytes": lambda make, a, b, n: a + make(b),
    "add to bytearray": lambda make, a, b, n: bytearray(a) + make(b),
    "add an int": lambda make, a, b, n: make(a) + n,
    "add None": lambda make, a, b, n: make(a) + None,
    "add an array of shorts": lambda make, a, b, n: make(a) + array.array("H", [1]),
    "multiply": lambda make, a, b, n: make(a) * n,
    "multiply by bool": lambda make, a, b, n: make(a) * True,
    "multiply by float": lambda make, a, b, n: make(a) * 1.5,
    "multiply from the left": lambda make, a, b, n: n * make(a),
    "equal": lambda make, a, b, n: make(a) == make(b),
    "equal to bytes": lambda make, a, b, n: make(a) == b,
    "equal from bytes": lambda make, a, b, n: a == make(b),
    "equal to a copy": lambda make, a, b, n: make(a) == bytearray(a),
    "equal to a strided view": lambda make, a, b, n: make(a[::2]) == memoryview(a)[::2],
    "equal to an array of chars": lambda make, a, b, n: make(a) == array.array("b", [c % 128 for c in a]),
    "equal to an int": lambda make, a, b, n: make(a) == n,
    "equal to None": lambda make, a, b, n: make(a) == None,  # noqa: E711 - that is the case
    "unequal": lambda make, a, b, n: make(a) != make(b),
    "unequal to an int": lambda make, a, b, n: make(a) != n,
    "less": lambda make, a, b, n: make(a) < make(b),
    "less or equal to bytes": lambda make, a, b, n: make(a) <= b,
    "greater": lambda make, a, b, n: make(a) > make(b),
    "hash": lambda make, a, b, n: hash(make(a)),
    "contains": lambda make, a, b, n: make(b) in make(a),
    "contains a part of itself": lambda make, a, b, n: memoryview(a)[1:-1] in make(a),
    "contains an int": lambda make, a, b, n: n in make(a),
    "contains a str": lambda make, a, b, n: "a" in make(a),
    "contains shorts": lambda make, a, b, n: array.array("H", [1]) in make(a),
    "removeprefix": lambda make, a, b, n: make(a).removeprefix(b),
    "removeprefix that is there": lambda make, a, b, n: make(a + b).removeprefix(make(a)),
    "removeprefix of a str": lambda make, a, b, n: make(a).removeprefix("a"),
    "removesuffix": lambda make, a, b, n: make(a).removesuffix(b),
    "removesuffix that is there": lambda make, a, b, n: make(a + b).removesuffix(make(b)),
    "removesuffix of an int": lambda make, a, b, n: make(a).removesuffix(n),
    "isalnum": lambda make, a, b, n: make(a).isalnum(),
    "isalpha": lambda make, a, b, n: make(a).isalpha(),
    "isascii": lambda make, a, b, n: make(a).isascii(),
    "isdigit": lambda make, a, b, n: make(a).isdigit(),
    "islower": lambda make, a, b, n: make(a).islower(),
    "isspace": lambda make, a, b, n: make(a).isspace(),
    "isupper": lambda make, a, b, n: make(a).isupper(),
    "lower": lambda make, a, b, n: make(a).lower(),
    "upper": lambda make, a, b, n: make(a).upper(),
    "upper with an argument": lambda make, a, b, n: make(a).upper(1),
    "pickle": lambda make, a, b, n: pickle.loads(pickle.dumps(make(a))),
    "deepcopy": lambda make, a, b, n: copy.deepcopy(make(a)),
    "no argument": lambda make, a, b, n: make(),
    "by keyword": lambda make, a, b, n: make(buf=a),
    "two arguments": lambda make, a, b, n: make(a, b),
    "unknown keyword": lambda make, a, b, n: make(data=a),
    "of itself": lambda make, a, b, n: make(make(a)),
    "of a bytearray": lambda make, a, b, n: make(bytearray(a)),
    "of chars": lambda make, a, b, n: make(memoryview(a).cast("c")),
    "of signed chars": lambda make, a, b, n: make(array.array("b", [1, -1])),
    "of shorts": lambda make, a, b, n: make(array.array("H", [1])),
    "of a strided view": lambda make, a, b, n: make(memoryview(b"abcd")[::2]),
    "of two dimensions": lambda make, a, b, n: make(memoryview(b"abcd").cast("B", (2, 2))),
    "of a str": lambda make, a, b, n: make("a"),
    "of an int": lambda make, a, b, n: make(n),
    "of None": lambda make, a, b, n: make(None),
    "a method it lacks": lambda make, a, b, n: make(a).split(b),
    "an attribute of one's own": lambda make, a, b, n: setattr(make(a), "mine", 1),
    "format": lambda make, a, b, n: memoryview(make(a)).format,
    "read-only": lambda make, a, b, n: memoryview(make(a)).readonly,
    "shape": lambda make, a, b, n: memoryview(make(a)).shape,
}

texts = st.one_of(st.binary(max_size=12), st.text("aAzZ09 \t\v'\"\\", max_size=8).map(str.encode))


def outcome(operation, make, *arguments):
    """What an operation does, in a form that can be compared between two classes named Bytes."""
    try:
        value = operation(make, *arguments)
    except Exception as error:  # noqa: BLE001 - which one is raised is the outcome
        return type(error).__name__
    if isinstance(value, make):
        return "Bytes", type(value).__name__, bytes(value)
    return type(value).__name__, value


@pytest.fixture(scope="module")
def oracle():
    return pytest.importorskip("obstore", reason="the oracle, obstore, is not installed").Bytes


@pytest.mark.parametrize("name", OPERATIONS)
@given(a=texts, b=texts, n=st.integers(-15, 15))
@example(a=b"", b=b"", n=0)
@example(a=b"abc", b=b"c", n=-3)
@example(a=b"\"'\\\n\r\t\x00\x7f\x80\xff", b=b'"', n=9)
def test_each_operation_does_what_obstore_does(name, oracle, a, b, n):
    operation = OPERATIONS[name]
    assert outcome(operation, Bytes, a, b, n) == outcome(operation, oracle, a, b, n)


# -- what obstore's has not ----------------------------------------------------------------------------------

MORE = {
    "decode": lambda a, b, n: a.decode("latin-1"),
    "decode as UTF-8": lambda a, b, n: a.decode(),
    "decode with replacement": lambda a, b, n: a.decode("ascii", "replace"),
    "hex": lambda a, b, n: a.hex(),
    "hex with separators": lambda a, b, n: a.hex("-", 2),
    "find": lambda a, b, n: a.find(b),
    "find from": lambda a, b, n: a.find(b[:1], n),
    "find between": lambda a, b, n: a.find(b[:1], n, 7),
    "find backwards": lambda a, b, n: a.find(b[:1], 2, n),
    "rfind": lambda a, b, n: a.rfind(b[:1]),
    "rfind between": lambda a, b, n: a.rfind(b[:1], 1, n),
    "startswith": lambda a, b, n: a.startswith(b),
    "startswith its start": lambda a, b, n: a.startswith(bytes(a)[:2]),
    "startswith one of many": lambda a, b, n: a.startswith((b, bytes(a)[:2])),
    "startswith none": lambda a, b, n: a.startswith(()),
    "endswith": lambda a, b, n: a.endswith(b),
    "endswith its end": lambda a, b, n: a.endswith(bytes(a)[-2:]),
    "endswith one of many": lambda a, b, n: a.endswith((b, bytes(a)[1:])),
}


@pytest.mark.parametrize("name", MORE)
@given(a=texts, b=texts, n=st.integers(-15, 15))
@example(a=b"", b=b"", n=0)
@example(a=b"", b=b"", n=3)
@example(a=b"abcabc", b=b"abcd", n=3)
def test_more_methods_do_what_those_of_bytes_do(name, a, b, n):
    def run(make, *arguments):
        return MORE[name](make(a), *arguments)

    assert outcome(run, Bytes, b, n) == outcome(run, bytes, b, n)


@pytest.mark.parametrize("method", ["find", "rfind", "startswith", "endswith"])
@pytest.mark.parametrize("wrong", ["text", 5, None, array.array("H", [1])])
def test_what_is_looked_for_is_bytes(method, wrong):
    with pytest.raises((TypeError, BufferError)):
        getattr(Bytes(b"abc"), method)(wrong)


def test_the_repr_of_much_is_short_and_tells_how_much():
    assert repr(Bytes(b"x" * 128)) == f'Bytes(b"{"x" * 128}")'
    assert repr(Bytes(b"x" * 129)) == f'Bytes(b"{"x" * 64}"... 129 bytes)'
    much = Bytes(bytes(64 * 1024 * 1024))
    begun = time.perf_counter()
    assert repr(much).endswith('\\x00"... 67108864 bytes)')
    assert time.perf_counter() - begun < 0.05 * SLOW


bounds = st.none() | st.integers(-20, 20)


@given(data=st.binary(max_size=16), key=st.builds(slice, bounds, bounds, bounds))
def test_slices_like_obstore(oracle, data, key):
    def operation(make, data):
        return make(data)[key]

    assert outcome(operation, Bytes, data) == outcome(operation, oracle, data)


@given(data=st.binary(max_size=16), cuts=st.lists(st.builds(slice, bounds, bounds, bounds), max_size=4))
def test_a_slice_of_slices_is_that_of_bytes(data, cuts):
    ours = Bytes(data)
    for cut in cuts:
        if cut.step != 0:
            ours, data = ours[cut], data[cut]
    assert (ours, len(ours), list(ours)) == (data, len(data), list(data))


def test_an_index_beyond_all_integers_is_out_of_range():
    with pytest.raises(IndexError):
        Bytes(b"abc")[2**70]


def test_the_class_says_that_it_comes_from_the_package():
    assert (Bytes.__module__, Bytes.__qualname__, Bytes.__hash__) == ("s3ext", "Bytes", None)


def test_a_pickle_of_a_view_holds_only_its_bytes():
    assert len(pickle.dumps(Bytes(bytes(100_000))[:10])) < 200


# -- memory of other Python objects --------------------------------------------------------------------------


def test_a_memoryview_is_of_the_object_itself():
    ours = Bytes(b"abc")
    view = memoryview(ours)
    assert view.obj is ours
    assert (view.itemsize, view.ndim, view.c_contiguous, view.tobytes()) == (1, 1, True, b"abc")


def test_nothing_is_copied_from_the_exporter():
    memory = bytearray(b"abc")
    ours = Bytes(memory)
    view, part = ours[1:], memoryview(ours)
    memory[1] = ord("X")
    assert (ours, view, part) == (b"aXc", b"Xc", b"aXc")


def test_the_exporter_is_held_until_the_last_view_is_gone():
    memory = bytearray(b"abcdef")
    ours = Bytes(memory)
    view = memoryview(ours[2:][1:])
    del ours
    with pytest.raises(BufferError):
        memory.append(1)
    view.release()
    memory.append(1)
    assert memory == b"abcdef\x01"


@pytest.mark.parametrize(
    "refuse", [lambda view: memoryview(view)[::2], lambda view: memoryview(view).cast("h")]
)
def test_a_refused_exporter_is_let_go(refuse):
    memory = bytearray(b"abcdef")
    with refuse(memory) as view:
        for attempt in (Bytes, Bytes(b"").__contains__, Bytes(b"").removeprefix):
            with pytest.raises((ValueError, BufferError)):
                attempt(view)
        assert (Bytes(b"a") == view) is False
    memory.append(1)
    assert len(memory) == 7


def test_a_memoryview_can_be_added_to():
    assert outcome(lambda make: memoryview(b"ab") + make(b"c"), Bytes) == ("Bytes", "Bytes", b"abc")


def test_writing_is_refused():
    ours = Bytes(bytearray(b"abc"))
    with pytest.raises(TypeError):
        ours[0] = 1
    with pytest.raises(TypeError):
        memoryview(ours)[0] = 1
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    with pytest.raises(ValueError, match="read-only"):
        numpy.frombuffer(ours, "u1")[0] = 1


def test_a_step_copies():
    memory = bytearray(b"abcd")
    ours = Bytes(memory)[::2]
    memory.append(1)
    assert ours == b"ac"


def test_a_loop_of_slices_builds_no_chain():
    data = Bytes(bytes(300_000))
    rest, count = data, 0
    while rest:
        rest, count = rest[1:], count + 1
    assert count == 300_000
    assert sys.getrefcount(data) < 5


def test_empty_slices_hold_nothing():
    memory = bytearray(b"abc")
    parts = [Bytes(memory)[3:], Bytes(memory)[:0], Bytes(memory)[2:1:-1][1:]]
    memory.append(1)
    assert [bytes(part) for part in parts] == [b"", b"", b""]


def test_subclasses_keep_their_class_in_slices_and_their_attributes_in_pickles():
    ours = Marked(b"abc")
    ours.mark = 5
    again = pickle.loads(pickle.dumps(ours))
    assert (type(ours[1:]), type(again), again.mark, again) == (Marked, Marked, 5, b"abc")


class Marked(Bytes):
    """A subclass with a __dict__, at the top of the module so that it can be pickled."""


class Holder(bytearray):
    """An exporter that can refer to what is made of it."""


def test_a_cycle_through_the_exporter_is_collected():
    memory = Holder(b"abc")
    memory.ours = Bytes(memory)
    memory.view = memoryview(memory.ours)
    memory.part = memory.ours[1:]
    gone = weakref.ref(memory.ours)
    del memory
    assert gone() is not None
    gc.collect()
    assert gone() is None


def test_a_view_that_outlives_the_collector_s_clearing_still_shows_its_bytes():
    seen = []

    class Reader:
        """Reads a slice while the cycle that both belong to is taken apart."""

        def __init__(self, part):
            self.part = part

        def __del__(self):
            seen.append(bytes(self.part))

    memory = Holder(b"abcdef")
    memory.ours = Bytes(memory)
    memory.reader = Reader(memory.ours[3:])
    del memory
    gc.collect()
    assert seen == [b"def"]


def test_the_type_and_module_can_be_loaded_twice_and_collected():
    code = (
        "import gc, importlib.util, weakref\n"
        "spec = importlib.util.spec_from_file_location('s3ext._buffer', {path!r})\n"
        "made = [importlib.util.module_from_spec(spec) for _ in range(2)]\n"
        "for module in made: spec.loader.exec_module(module)\n"
        "assert made[0].Buffer is not made[1].Buffer\n"
        "gone = weakref.ref(made[1].Buffer)\n"
        "del module, made[1]\n"
        "gc.collect()\n"
        "assert gone() is None\n"
        "try: made[0].wrap(bytes, 1, 1, 1, 1)\n"
        "except TypeError: print('refused')\n"
    ).format(path=sys.modules["s3ext._buffer"].__file__)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("refused", "")


# -- memory that C code owns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Buffer, Bytes, Marked])
def test_native_memory_is_given_back_once_when_the_object_dies(wrapped, block, kind):
    ours = wrapped(kind)
    assert type(ours) is kind
    assert (block.releases, bytes(ours)) == (0, bytes(range(16)))
    del ours
    gc.collect()
    assert block.releases == 1


@pytest.mark.parametrize(
    "derive",
    [
        memoryview,
        lambda ours: memoryview(ours)[3:],
        lambda ours: ours[:],
        lambda ours: ours[2:][1:9],
        lambda ours: memoryview(ours[2:]),
        Bytes,
        lambda ours: Bytes(memoryview(ours)[5:]),
        lambda ours: ours.removeprefix(b"\x00"),
        lambda ours: ours.removesuffix(b"\x00"),
    ],
)
def test_a_view_keeps_native_memory(wrapped, block, derive):
    ours = wrapped()
    view = derive(ours)
    shown = bytes(view)
    del ours
    gc.collect()
    assert (block.releases, bytes(view)) == (0, shown)
    del view
    assert block.releases == 1


@pytest.mark.parametrize(
    "derive", [lambda ours: ours[::2], lambda ours: ours + b"", lambda ours: ours.upper()]
)
def test_a_copy_does_not_keep_native_memory(wrapped, block, derive):
    view = derive(wrapped())
    assert block.releases == 1
    assert view[0] == 0


def test_numpy_keeps_native_memory(wrapped, block):
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    values = numpy.frombuffer(wrapped(), "<u4")[1:]
    assert (block.releases, values[0]) == (0, 0x07060504)
    del values
    assert block.releases == 1


def test_a_resurrected_object_keeps_its_memory(wrapped, block):
    saved = []

    class Stubborn(Bytes):
        def __del__(self):
            saved.append(self)

    ours = wrapped(Stubborn)
    del ours
    assert (block.releases, saved[0]) == (0, bytes(range(16)))
    saved.clear()
    assert block.releases == 1


def test_native_memory_in_a_cycle_is_given_back_once(wrapped, block):
    ours = wrapped(Marked)
    ours.view = memoryview(ours)
    ours.part = ours[4:]
    del ours
    assert block.releases == 0
    gc.collect()
    assert block.releases == 1


def test_a_weak_reference_dies_with_the_object(wrapped, block):
    ours = wrapped()
    reference = weakref.ref(ours)
    assert reference() is ours
    del ours
    assert (reference(), block.releases) == (None, 1)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((bytes, 1, 1, 1, 1), TypeError),
        ((5, 1, 1, 1, 1), TypeError),
        ((Bytes, 1, 1, 1), TypeError),
        ((Bytes, 1, 1, 1, 1, 1), TypeError),
        ((Bytes, "1", 1, 1, 1), TypeError),
        ((Bytes, 1, None, 1, 1), TypeError),
        ((Bytes, 1, -1, 1, 1), ValueError),
        ((Bytes, 0, 1, 1, 1), ValueError),
        ((Bytes, 1, 1, 1, 0), ValueError),
        ((Bytes, 2**64, 1, 1, 1), OverflowError),
        ((Bytes, 1, 2**63, 1, 1), OverflowError),
    ],
)
def test_wrap_refuses_what_it_cannot_show(arguments, error):
    with pytest.raises(error):
        wrap(*arguments)


def test_native_memory_may_be_empty_and_without_an_address(native, block):
    ffi, library = native
    release = int(ffi.cast("uintptr_t", library.release))
    ours = wrap(Bytes, 0, 0, int(ffi.cast("uintptr_t", block)), release)
    assert (bytes(ours), ours[:], b"" in ours, b"a" in ours) == (b"", b"", True, False)
    del ours
    assert block.releases == 1


def test_objects_do_not_leak(wrapped, block):
    def round_trip():
        for _ in range(2000):
            ours = wrapped()
            _ = ours[1:][1:], memoryview(ours), ours[::3], ours == b"a", b"a" in ours, Bytes(bytearray(5))

    round_trip()
    gc.collect()
    before = len(gc.get_objects()), sys.getrefcount(Bytes), sys.getrefcount(Buffer)
    round_trip()
    gc.collect()
    after = len(gc.get_objects()), sys.getrefcount(Bytes), sys.getrefcount(Buffer)
    assert all(abs(new - old) < 50 for new, old in zip(after, before, strict=True))
    assert block.releases == 4000
