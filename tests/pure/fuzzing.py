"""Building and running a libFuzzer target from C sources: a short search that every run of the tests repeats."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.pure.native import CSRC

__all__ = ["search"]

FLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-g",
    "-O1",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
    f"-I{CSRC}",
)
LIBRARIES = ("-lexpat", "-lcrypto")
# libFuzzer's limit of memory is off, because it reads ru_maxrss, which a process inherits from the one that started
# it, here pytest. A single allocation is limited instead; and a leak is AddressSanitizer's to find.
OPTIONS = ("-max_len=4096", "-timeout=10", "-rss_limit_mb=0", "-malloc_limit_mb=64")


def search(folder, target, sources, seeds, tokens=()):
    """Let the target tests/pure/TARGET.c search for `S3EXT_FUZZ_SECONDS` (3) from the seeds; assert that it held.

    An input that breaks it is left in `folder`.
    """
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang, whose libFuzzer drives the target, is not installed")
    # Runtimes of sanitizers that are preloaded into this process would be the wrong ones for the target.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

    def run(*command):
        return subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )

    program = folder / target
    files = [
        CSRC.parent / f"tests/pure/{target}.c",
        *sorted(CSRC.glob("base/*.c")),
        *(CSRC / name for name in sources),
    ]
    built = run(clang, *FLAGS, *map(str, files), "-o", str(program), *LIBRARIES)
    if "libclang_rt.fuzzer" in built.stderr:
        pytest.skip("clang has no libFuzzer runtime")
    assert built.returncode == 0, built.stderr
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    words = folder / "words"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in tokens))
    seconds = os.environ.get("S3EXT_FUZZ_SECONDS", "3")
    done = run(str(program), f"-max_total_time={seconds}", *OPTIONS, f"-dict={words}", str(corpus))
    assert done.returncode == 0, done.stderr[-4000:]
