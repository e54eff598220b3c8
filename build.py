"""Builds the two extension modules of s3ext; the only build file beside pyproject.toml.

`python build.py` builds them in place. Under pip the classes below are what pyproject.toml names in
`[tool.setuptools.cmdclass]`.

* `s3ext._s3ext` is the C core, in cffi's API mode: every `csrc/<layer>/*.c` plus the glue that cffi generates
  from the text between the cdef marks of `csrc/s3ext.h`, so the header is the only description of the seam.
* `s3ext._buffer` is the hand-written extension, `csrc/python/*.c`; it links to nothing.

Both use CPython's limited API of 3.11, so that one wheel serves every later CPython.

`S3EXT_SANITIZE=address,undefined` or `S3EXT_SANITIZE=thread` builds with sanitizers: it replaces the
optimisation, because an `-O3` left on the command line can optimise the very bug away.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and __spec__ is not None:
    # `python -m build` in this folder finds this file first: make way for the PyPA tool of the same name.
    import runpy

    del sys.path[0]
    runpy.run_module("build", run_name="__main__", alter_sys=True)
    sys.exit()

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from cffi import FFI
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel as _bdist_wheel
from setuptools.command.build_ext import build_ext as _build_ext
from setuptools.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["bdist_wheel", "build_ext", "main"]

ROOT = Path(__file__).resolve().parent
HEADER = "csrc/s3ext.h"
CDEF_MARKS = ("/* cdef: begin */", "/* cdef: end */")
LAYERS = ("base", "pure", "identity", "bytes", "flow", "operations", "face")
HAND_WRITTEN = ("csrc/python/*.c", "csrc/base/time.c")
LIBRARIES = ("libcurl >= 7.76", "libcrypto >= 3.0", "libssl >= 3.0", "expat >= 2.2")
HEADERS = ("curl/curl.h", "openssl/evp.h", "openssl/ssl.h", "expat.h")
LANGUAGE = ("-std=c11", "-pthread", "-fvisibility=hidden")
SANITIZERS = {"address", "leak", "thread", "undefined"}
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

# The full set of .ci/lint less -Wpedantic, -Wcast-qual and -Wmissing-prototypes, which the glue that cffi
# generates cannot meet.
WARNINGS = (
    "-Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes -Wold-style-definition"
    " -Wpointer-arith -Wformat=2 -Wundef -Wvla -Wwrite-strings -Wdouble-promotion -Wnull-dereference"
    " -Wimplicit-fallthrough -Wswitch-enum"
).split()

NEEDS = """\
s3ext cannot be built here: {what}.
It needs a C compiler, Python's headers, pkg-config, libcurl 7.76 (built with OpenSSL), OpenSSL 3 and expat:
  Debian, Ubuntu:  apt-get install gcc python3-dev pkg-config libcurl4-openssl-dev libssl-dev libexpat1-dev
  Fedora, RHEL:    dnf install gcc python3-devel pkgconf-pkg-config libcurl-devel openssl-devel expat-devel
  Alpine:          apk add gcc musl-dev python3-dev pkgconf curl-dev openssl-dev expat-dev"""


def cdef() -> str:
    """Return the part of the public header that cffi reads: the text between the two marks."""
    _, _, rest = (ROOT / HEADER).read_text(encoding="utf-8").partition(CDEF_MARKS[0])
    text, end, _ = rest.partition(CDEF_MARKS[1])
    if not end:
        raise PlatformError(f"{HEADER} lacks its marks {CDEF_MARKS[0]} and {CDEF_MARKS[1]}")
    return text


def files(*patterns: str) -> list[str]:
    """Return the files under the project that match, sorted, relative to it."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts)


def pkg_config(*arguments: str) -> list[str]:
    """Run pkg-config and return the words that it prints.

    Raises:
        PlatformError: there is no pkg-config, or it does not know one of the libraries.
    """
    tool = shutil.which(os.environ.get("PKG_CONFIG", "pkg-config"))
    if tool is None:
        raise PlatformError(NEEDS.format(what="pkg-config was not found"))
    missing = [library for library in LIBRARIES if subprocess.run([tool, "--exists", library]).returncode]
    if missing:
        raise PlatformError(NEEDS.format(what=f"pkg-config does not find {', '.join(missing)}"))
    answer = subprocess.run([tool, *arguments, *LIBRARIES], check=True, capture_output=True, text=True)
    return shlex.split(answer.stdout)


def probe(compiler: list[str], flags: Iterable[str], libraries: Iterable[str]) -> None:
    """Compile and link a file that includes every header, so that what is missing is said in our words.

    Raises:
        PlatformError: no compiler, or a header or library that pkg-config promised is not there.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("".join(f"#include <{header}>\n" for header in ("Python.h", *HEADERS)))
        command = [*compiler, *flags, str(source), "-shared", "-fPIC", "-o", str(Path(folder, "probe.so"))]
        try:
            result = subprocess.run([*command, *libraries], capture_output=True, text=True)
        except FileNotFoundError:
            raise PlatformError(NEEDS.format(what=f"the C compiler {compiler[0]} was not found")) from None
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if "error" in line or "cannot find" in line]
        raise PlatformError(NEEDS.format(what=said[0] if said else f"{compiler[0]} failed"))


def optimisation() -> list[str]:
    """Return the compiler's flags for a release build or, by S3EXT_SANITIZE, for one with sanitizers."""
    chosen = os.environ.get("S3EXT_SANITIZE")
    if not chosen:
        return ["-O3", "-DNDEBUG"]
    if not set(chosen.split(",")) <= SANITIZERS:
        raise PlatformError(f"S3EXT_SANITIZE={chosen!r} is no list out of {','.join(sorted(SANITIZERS))}")
    return f"-O1 -g -UNDEBUG -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize={chosen}".split()


class build_ext(_build_ext):  # noqa: N801 - setuptools finds commands by these names
    """Fills in the sources and flags of the two extensions, and compiles only what is out of date."""

    def finalize_options(self) -> None:
        """Describe the extensions; pyproject.toml only names them."""
        super().finalize_options()
        flags = optimisation()
        sanitizers = [flag for flag in flags if flag.startswith("-fsanitize")]
        version = ("S3EXT_VERSION", f'"{self.distribution.get_version()}"')
        limited = ("_CFFI_NO_LIMITED_API", None) if FREE_THREADED else ("Py_LIMITED_API", "0x030B0000")
        for extension in self.extensions:
            core = extension.name == "s3ext._s3ext"
            patterns = [f"csrc/{layer}/*.c" for layer in LAYERS] if core else HAND_WRITTEN
            extension.sources = files(*patterns)
            extension.depends = ["build.py", *files("csrc/**/*.h")]
            extension.include_dirs = ["csrc"]
            extension.py_limited_api = not FREE_THREADED
            extension.define_macros = [("_GNU_SOURCE", None), version, limited]
            extension.extra_compile_args = [*LANGUAGE, *WARNINGS, *flags]
            extension.extra_link_args = ["-pthread", *sanitizers]

    def get_source_files(self) -> list[str]:
        """Return what goes into the source distribution: a wheel can be built and tested from it alone."""
        return files("build.py", "csrc/**/*", "tests/**/*", "CHANGELOG.md")

    def run(self) -> None:
        """Build, on Linux only."""
        if sys.platform != "linux":
            raise PlatformError(f"s3ext supports Linux only so far; this is {sys.platform}.")
        super().run()

    def build_extension(self, ext: Extension) -> None:
        """Compile what is out of date, in parallel, then link."""
        if ext.name == "s3ext._s3ext":
            flags, libraries = pkg_config("--cflags"), pkg_config("--libs")
            include = [f"-I{folder}" for folder in self.compiler.include_dirs]
            probe(self.compiler.compiler_so, [*flags, *include], libraries)
            ext.extra_compile_args = [*flags, *ext.extra_compile_args]
            ext.extra_link_args = [*ext.extra_link_args, *libraries]
            ext.sources = [*ext.sources, self.emit_glue(ext.name)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ext.extra_objects = list(pool.map(lambda source: self.compile_one(ext, source), ext.sources))
        # The objects stand for the sources now; a link costs little and may be of another kind of build.
        sources, ext.sources, self.force, self.compiler.force = ext.sources, [], True, True
        super().build_extension(ext)
        ext.sources = sources

    def emit_glue(self, name: str) -> str:
        """Write cffi's C for the module, only when it differs, and return its path."""
        ffi = FFI()
        ffi.cdef(cdef())
        ffi.set_source(name, '#include "s3ext.h"\n#include "python/seam.h"')
        path = Path(self.objects(), f"{name}.c")
        path.parent.mkdir(parents=True, exist_ok=True)
        ffi.emit_c_code(str(path))
        return str(path)

    def objects(self) -> str:
        """Return the folder of the object files: one for each kind of build, whoever asked for it."""
        python = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
        return str(Path("build", f"{os.environ.get('S3EXT_SANITIZE') or 'release'}-{python}"))

    def compile_one(self, ext: Extension, source: str) -> str:
        """Compile one file of an extension unless it is up to date, and return its object file."""
        (path,) = self.compiler.object_filenames([source], output_dir=self.objects())
        newest = max(Path(part).stat().st_mtime for part in (source, *ext.depends))
        if not Path(path).exists() or Path(path).stat().st_mtime <= newest:
            self.compiler.compile(
                [source],
                output_dir=self.objects(),
                macros=ext.define_macros,
                include_dirs=ext.include_dirs,
                extra_postargs=ext.extra_compile_args,
            )
        return str(path)


class bdist_wheel(_bdist_wheel):  # noqa: N801 - as above
    """Tags the wheel cp311-abi3."""

    def finalize_options(self) -> None:
        """Ask for the limited API's tag, but on a free-threaded Python, which has none before 3.15."""
        if not FREE_THREADED:
            self.py_limited_api = "cp311"
        super().finalize_options()


def main() -> None:
    """Build both extensions in place."""
    os.chdir(ROOT)
    warnings.filterwarnings("ignore", message=".*ext-modules.*experimental")
    setup(script_args=["--quiet", "build_ext", "--inplace"])


if __name__ == "__main__":
    main()
