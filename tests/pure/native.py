"""Compile C files of the core into throw-away cffi modules, so that tests call private functions directly.

`load` builds the named files of csrc/ with `S3EXT_TEST` defined (failing allocations, scalar paths) and
assertions on. A build is kept in a private folder below the system's temporary folder under a hash of all
that went into it: parallel test processes and later runs share it, and an edit of a source makes a new one.

The environment variable `S3EXT_SANITIZE` (for instance `address,undefined`) builds with those sanitizers, and
then their runtimes have to be preloaded into the Python process.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cffi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BASE_CDEF", "CSRC", "Native", "build", "cache", "load", "run"]

CSRC = Path(__file__).resolve().parents[2] / "csrc"
"""The folder of the C sources."""

_PACKAGES = ("libcrypto", "libssl", "expat", "libcurl")
_KEEP_SECONDS = 24 * 3600

_blocks: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""For each slice that a test holds, the block that it points into."""


BASE_CDEF = """
struct s3_str { const char *data; size_t size; };
struct s3_buf { char *data; size_t size, capacity, limit; bool fixed, failed, starved; };
void s3i_buf_init(struct s3_buf *buf, size_t limit);
void s3i_buf_clear(struct s3_buf *buf);
void s3i_alloc_fail_after(long count);
long s3i_alloc_live(void);
void *s3i_malloc(size_t size);
void s3i_free(void *block);
void *malloc(size_t size);
void free(void *block);
"""
"""Declarations that `Native` needs in the cdef of its module."""


def load(
    name: str,
    sources: Sequence[str],
    cdef: str,
    headers: Sequence[str] | None = None,
    support: str = "",
) -> tuple[Any, Any]:
    """Build C sources (or find an earlier build of the same text) and import them.

    Args:
        name: Short name of the module, a Python identifier; appears in the build's file names.
        sources: Files of the core, relative to csrc/ ("pure/uri.c"). Every csrc/base/*.c is added.
        cdef: The declarations that tests see, in cffi's language.
        headers: Headers to include, relative to csrc/. Default: the header of the same name of each source
            that has one. Every csrc/base/*.h is added.
        support: C text after the includes, for what only the test needs.

    Returns:
        cffi's `(ffi, lib)` of the module.

    Raises:
        RuntimeError: The compiler or pkg-config failed; the message holds what they printed.
    """
    path = build(name, sources, cdef, headers, support)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is not a module")
    imported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(imported)
    return imported.ffi, imported.lib


def build(
    name: str,
    sources: Sequence[str],
    cdef: str,
    headers: Sequence[str] | None = None,
    support: str = "",
) -> Path:
    """Do the first half of `load`: return the file of the module, whose stem is the module's name."""
    files = [*sorted(str(path.relative_to(CSRC)) for path in CSRC.glob("base/*.c")), *sources]
    if headers is None:
        headers = [str(Path(source).with_suffix(".h")) for source in sources]
        headers = [header for header in headers if (CSRC / header).exists()]
    base = sorted(str(path.relative_to(CSRC)) for path in CSRC.glob("base/*.h"))
    preamble = "".join(f'#include "{header}"\n' for header in dict.fromkeys([*base, *headers])) + support

    command = [*shlex.split(os.environ.get("CC", "cc")), *_flags(), *(str(CSRC / file) for file in files)]
    libraries = shlex.split(run(["pkg-config", "--cflags", "--libs", *_PACKAGES]))
    key = _key([*command, *libraries, preamble, cdef], [CSRC / file for file in files])
    module = f"_native_{name}_{key}"
    folder = cache() / module
    if not folder.exists():
        _compile(folder, module, preamble, cdef, command, libraries)
    return folder / f"{module}.so"


class Native:
    """The slices and buffers of a module whose cdef begins with `BASE_CDEF`.

    Args:
        ffi: The module's ffi, as `load` returns it.
        lib: The module's lib.
    """

    def __init__(self, ffi: Any, lib: Any) -> None:
        self.ffi = ffi
        self.lib = lib

    def text(self, data: bytes) -> Any:
        """Return a `struct s3_str` of a copy in a heap block of exactly that size, so that sanitizers see
        an over-read; the copy lives as long as the result. No bytes give a NULL slice."""
        result = self.ffi.new("struct s3_str *")
        if data:
            block = self.ffi.gc(self.lib.malloc(len(data)), self.lib.free)
            self.ffi.memmove(block, data, len(data))
            result.data = block
            result.size = len(data)
            _blocks[result[0]] = block
        return result[0]

    def buffer(self, limit: int = 1 << 20) -> Any:
        """Return an empty `struct s3_buf *` with a ceiling in bytes, cleared when it is collected."""
        result = self.ffi.gc(self.ffi.new("struct s3_buf *"), self.lib.s3i_buf_clear)
        self.lib.s3i_buf_init(result, limit)
        return result

    def content(self, buffer: Any) -> bytes:
        """Return the bytes of a `struct s3_buf *`."""
        return bytes(self.ffi.buffer(buffer.data, buffer.size)) if buffer.size else b""

    def collect(self, function: Callable[..., object], *arguments: Any) -> bytes:
        """Call `function(buffer, *arguments)` and return what it appended.

        Raises:
            MemoryError: The buffer failed.
        """
        buffer = self.buffer()
        function(buffer, *arguments)
        if buffer.failed:
            raise MemoryError
        return self.content(buffer)

    def torture(self, attempt: Callable[[], bool]) -> int:
        """Let the first, second, ... allocation of an attempt fail, until an attempt needs no more of them.

        Args:
            attempt: Does the work, gives back all memory, and returns whether the work was done.

        Returns:
            How many attempts failed: the number of allocations that one attempt makes.

        Raises:
            AssertionError: An attempt kept memory, or one whose allocation failed was done all the same.
        """
        live = self.lib.s3i_alloc_live()
        failures = 0
        while True:
            self.lib.s3i_alloc_fail_after(failures)
            try:
                done = attempt()
                if done:  # the failure must be still to come: this allocation has to meet it
                    assert self.lib.s3i_malloc(1) == self.ffi.NULL
            finally:
                self.lib.s3i_alloc_fail_after(-1)
            assert self.lib.s3i_alloc_live() == live
            if done:
                return failures
            failures += 1


def _flags() -> list[str]:
    sanitizers = os.environ.get("S3EXT_SANITIZE", "")
    if sanitizers:
        # Without recovery a finding of UBSan ends the process, as one of ASan does, and so fails the run.
        optimise = ["-O1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    else:
        optimise = ["-O2"]
    return [
        *optimise,
        *("-g", "-std=c11", "-D_GNU_SOURCE", "-DS3EXT_TEST", f"-I{CSRC}"),
        *("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
        f"-I{sysconfig.get_path('include')}",
    ]


def _key(texts: Sequence[str], sources: Sequence[Path]) -> str:
    """Hash what a build is made from; headers include one another, so that all of them count."""
    digest = hashlib.sha256()
    for text in (*texts, cffi.__version__, str(sysconfig.get_config_var("SOABI"))):
        digest.update(text.encode() + b"\0")
    for path in (*sources, *sorted(CSRC.rglob("*.h"))):
        digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cache() -> Path:
    """Return the folder of builds, which only this user can write to: what lies in it is loaded as code."""
    folder = Path(tempfile.gettempdir()) / f"s3ext-native-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022 or folder.is_symlink():
        raise RuntimeError(f"{folder} is not a private folder of this user")
    for old in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process may tidy up or finish at the same time
            if time.time() - old.stat().st_mtime > _KEEP_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    return folder


def _compile(
    folder: Path, module: str, preamble: str, cdef: str, command: Sequence[str], libraries: Sequence[str]
) -> None:
    """Compile in a folder of our own and rename it into place, so that no other process sees half a build."""
    ffi = cffi.FFI()
    ffi.cdef(cdef)
    ffi.set_source(module, preamble)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        result = Path(scratch) / "result"
        result.mkdir()
        glue = Path(scratch) / f"{module}.c"
        ffi.emit_c_code(str(glue))
        run([*command, str(glue), "-o", str(result / f"{module}.so"), *libraries])
        try:
            result.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was first, with the same text
                raise


def run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
    return done.stdout
