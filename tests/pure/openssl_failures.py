"""Let OpenSSL itself run out of memory, to walk through the error paths behind its calls.

OpenSSL takes a new allocator only before its first allocation. So each run is a process of its own, which
imports nothing that loads libcrypto before the module under test does.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.pure.native import build

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["count_failures"]

_SUPPORT = """
#include <openssl/crypto.h>
#include <stdlib.h>
static long countdown = -1;
static int fails(void) { return countdown >= 0 && countdown-- == 0; }
static void *take(size_t n, const char *f, int l) { (void)f; (void)l; return fails() ? NULL : malloc(n); }
static void *resize(void *p, size_t n, const char *f, int l)
{ (void)f; (void)l; return fails() ? NULL : realloc(p, n); }
static void give(void *p, const char *f, int l) { (void)f; (void)l; free(p); }
static int openssl_own(void) { return CRYPTO_set_mem_functions(take, resize, give); }
static void openssl_fail_after(long n) { countdown = n; }
static bool openssl_failed(void) { return countdown < 0; }
"""
_CDEF = "int openssl_own(void); void openssl_fail_after(long n); bool openssl_failed(void);"

_BEGIN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(sys.argv[1], sys.argv[2])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
ffi, lib = module.ffi, module.lib
assert lib.openssl_own() == 1, "OpenSSL has allocated already"
kept = []
def text(data):
    block = ffi.new("char[]", data)
    kept.append(block)
    return ffi.new("struct s3_str *", {"data": block, "size": len(data)})[0]
"""
_END = """
for name, attempt in attempts.items():
    live = lib.s3i_alloc_live()
    failures = 0
    while True:
        lib.openssl_fail_after(failures)
        done = attempt()
        failed = lib.openssl_failed()
        lib.openssl_fail_after(-1)
        assert lib.s3i_alloc_live() == live, name
        assert done != failed, (name, failures)
        if done:
            break
        failures += 1
    print(name, failures)
"""


def count_failures(name: str, sources: Sequence[str], cdef: str, script: str) -> dict[str, int]:
    """Let the first, second, ... allocation inside OpenSSL fail, until an attempt needs no more of them.

    Args:
        name: Short name of the module, as for `load`.
        sources: Files of the core, relative to csrc/.
        cdef: Begins with `BASE_CDEF`.
        script: Python text that finds `ffi`, `lib` and `text(bytes)` (a `struct s3_str`), and makes
            `attempts`: a dict of functions by name, each of which gives all memory back and returns whether
            the work was done.

    Returns:
        For each attempt, how often it failed: the number of OpenSSL's allocations in it.

    Raises:
        AssertionError: An attempt crashed, kept memory of the core, succeeded where OpenSSL had failed, or
            failed where it had not.
    """
    path = build(name, sources, cdef + _CDEF, support=_SUPPORT)
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + script + _END, path.stem, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: int(count) for name, count in (line.split() for line in done.stdout.splitlines())}
