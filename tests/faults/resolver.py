"""Names that resolve as a test wants: a preloaded getaddrinfo for scripts in child processes (resolver.c)."""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from pathlib import Path

from tests.pure.native import cache, run

__all__ = ["Resolver"]

SOURCE = Path(__file__).with_name("resolver.c")


def _build():
    """Return the library, kept under a hash of its text."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = cache() / f"resolver-{digest}"
    library = folder / "resolver.so"
    if not library.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = folder / f"{os.getpid()}.so"
        compiler = shlex.split(os.environ.get("CC", "cc"))
        flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
        run([*compiler, *flags, str(SOURCE), "-o", str(fresh), "-ldl"])
        fresh.replace(library)
    return library


class Resolver:
    """What names resolve to, from now on, in scripts that run with `environment`.

    Args:
        folder: Where its files are kept.
    """

    def __init__(self, folder):
        self.file = folder / "names"
        self.file.touch()
        self.log = folder / "names.log"
        self.names = {}

    @property
    def environment(self):
        preload = f"{os.environ.get('LD_PRELOAD', '')} {_build()}".strip()
        return {"LD_PRELOAD": preload, "RESOLVER": str(self.file)}

    def answer(self, name, *answers, wait=0.0):
        """Let a name resolve to addresses, or to one of NONAME, AGAIN, FAIL, after some seconds."""
        self.names[name] = (wait, answers)
        fresh = self.file.with_suffix(".new")
        lines = [f"{key} {int(wait * 1000)} {' '.join(all_)}\n" for key, (wait, all_) in self.names.items()]
        fresh.write_text("".join(lines))
        fresh.replace(self.file)

    def asked(self):
        """Return the names that were looked up, in order."""
        return self.log.read_text().split() if self.log.exists() else []

    def wait(self, count=1, seconds=10.0):
        """Wait until names have been looked up; the answers to those look-ups stand."""
        end = time.monotonic() + seconds
        while len(self.asked()) < count:
            assert time.monotonic() < end, self.asked()
            time.sleep(0.005)
