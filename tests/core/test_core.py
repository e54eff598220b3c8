"""The core's threads and its failing paths, by programs in C: plain, and under each sanitizer.

A program is one file of this folder with a `main`; it is linked with every file of csrc/ (built with
`S3EXT_TEST`) and with server.c, a small S3 look-alike that runs inside it. It ends with status 0, or says
which check did not hold. Leaks count under AddressSanitizer. ThreadSanitizer runs without suppressions:
libcurl and OpenSSL are not built with it, but nothing of theirs is shared between threads without our locks.

In a run under `S3EXT_SANITIZE` only that kind is built; otherwise all three.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pure.native import CSRC, cache, run

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
LAYERS = ("base", "pure", "identity", "bytes", "flow", "operations", "face")
LANGUAGE = ("-std=c11", "-D_GNU_SOURCE", "-DS3EXT_TEST", "-UNDEBUG", "-g", "-pthread", f"-I{CSRC}")
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Wvla", "-Werror")
PACKAGES = ("libcurl", "libcrypto", "libssl", "expat")
WRAPPED = ("epoll_create1", "eventfd", "epoll_ctl", "socket", "pthread_create")
SECONDS = 100

SLOW = ("-O1", "-fno-omit-frame-pointer")
KINDS = {
    "plain": ("-O2",),
    "address": (*SLOW, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": (*SLOW, "-fsanitize=thread"),
}
BY_ENVIRONMENT = {"address,undefined": ["address"], "thread": ["thread"]}

PROGRAMS = {
    "gate": (),
    "memory": (),
    "inbox": (),
    "admission": (),
    "credentials": (),
    "queue": (),
    "engine": (),
    "torture": (),
    "failures": tuple(f"-Wl,--wrap={name}" for name in WRAPPED),
}

ON_LANES = {"queue", "engine", "torture", "failures"}
"""Those that send requests: they run on both lanes."""


def chosen_kinds() -> list[object]:
    names = BY_ENVIRONMENT.get(os.environ.get("S3EXT_SANITIZE", ""), list(KINDS))
    marks = {"plain": (), "address": pytest.mark.sanitizer, "thread": pytest.mark.sanitizer}
    return [pytest.param(name, marks=marks[name]) for name in names]


def build_in(folder: Path, compile_command: list[str], libraries: list[str]) -> None:
    """Build all programs of one kind."""
    sources = [path for layer in LAYERS for path in sorted(CSRC.glob(f"{layer}/*.c"))]
    objects = {path: folder / f"{path.parent.name}-{path.stem}.o" for path in [*sources, HERE / "server.c"]}

    def compile_one(path: Path) -> None:
        run([*compile_command, "-c", str(path), "-o", str(objects[path])])

    def link(name: str) -> None:
        parts = [str(HERE / f"{name}.c"), *map(str, objects.values())]
        run([*compile_command, *PROGRAMS[name], *parts, "-o", str(folder / name), *libraries])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, objects))
        list(pool.map(link, PROGRAMS))
    for path in objects.values():
        path.unlink()


def build(kind: str) -> Path:
    """Return the folder of the programs of a kind; kept under a hash of all that goes into them."""
    command = [*shlex.split(os.environ.get("CC", "cc")), *KINDS[kind], *LANGUAGE, *WARNINGS]
    libraries = shlex.split(run(["pkg-config", "--cflags", "--libs", *PACKAGES]))
    digest = hashlib.sha256(repr((command, libraries, PROGRAMS)).encode())
    for path in sorted([*CSRC.rglob("*.[ch]"), *HERE.glob("*.[ch]")]):
        digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    folder = cache() / f"programs-{kind}-{digest.hexdigest()[:16]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            result = Path(scratch, "result")
            result.mkdir()
            build_in(result, command, libraries)
            try:
                result.rename(folder)
            except OSError:
                if not folder.exists():  # else another process was first, with the same text
                    raise
    return folder


@pytest.fixture(scope="module", params=chosen_kinds())
def start(request) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """Run a program of the kind by its name, on a lane."""
    folder = build(request.param)
    # What .ci/sanitize preloads and sets is for Python; a program has its own sanitizer inside.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("SAN_OPTIONS")}
    environment.pop("LD_PRELOAD", None)
    environment["ASAN_OPTIONS"] = "detect_leaks=1"
    environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
    environment["TSAN_OPTIONS"] = f"history_size=7:suppressions={HERE / 'threads.supp'}"

    def start(name: str, lane: str) -> subprocess.CompletedProcess[str]:
        environment["S3EXT_LANE"] = lane
        return subprocess.run(
            [folder / name], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    return start


@pytest.mark.parametrize(
    ("name", "lane"),
    [(name, lane) for name in PROGRAMS for lane in (("direct", "curl") if name in ON_LANES else ("direct",))],
)
def test_the_program_finds_nothing_wrong(start, name, lane):
    done = start(name, lane)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_every_program_is_run():
    helpers = {"server"}
    assert {path.stem for path in HERE.glob("*.c")} == {*PROGRAMS, *helpers}
