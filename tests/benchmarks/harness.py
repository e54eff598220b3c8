"""Builds and starts the source, and runs the clients against it: one process for each measurement."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.works import FLOORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.works import Form

__all__ = ["Bench", "MeasurementError", "build", "running_source", "why_not_importable"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TIMEOUT = 300
"""Seconds after which a measurement is given up."""
SHOW_RSS = "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
"""A statement that prints the highest resident size of its process in KiB, and imports nothing."""


class MeasurementError(Exception):
    """A client's process failed; the text ends with what it wrote."""


def build(folder: Path) -> None:
    """Compile `source` and `floor` into a folder."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
    for name in ("source", "floor"):
        subprocess.run([*compiler, *flags, "-o", str(folder / name), str(HERE / f"{name}.c")], check=True)


@contextlib.contextmanager
def running_source(folder: Path) -> Iterator[int]:
    """Run the source that was built in a folder; gives its port. It ends with the block, or with us."""
    command = [str(folder / "source")]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        port = process.stdout.readline()
        if not port:
            raise RuntimeError("the source did not start")
        try:
            yield int(port)
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def environment(client: str = "") -> dict[str, str]:
    """Return our environment without what would change a client's configuration.

    Only s3ext has to do with the libraries that sanitizers preload; ThreadSanitizer makes obstore crawl.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("AWS_")
        and not name.upper().endswith("_PROXY")
        and (name != "LD_PRELOAD" or client == "s3ext")
    }


def python(*arguments: str, client: str = "") -> str:
    """Run this Python on the project's tree, for a client, and return what it prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(client),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise MeasurementError(f"{shlex.join(arguments)} failed ({done.returncode}):\n{done.stderr}")
    return done.stdout


def why_not_importable(client: str) -> str | None:
    """Return the last line of the error that importing a client ends in, or None."""
    try:
        python("-c", f"import {client}.store", client=client)
    except MeasurementError as error:
        return str(error).strip().splitlines()[-1]
    return None


class Bench:
    """Measurements against a running source.

    Args:
        folder: where `source` and `floor` were built.
        port: of the source.
        scale: 1 does the whole work, 0.1 a tenth of the requests.
        loop: "asyncio" or "uvloop".
    """

    def __init__(self, folder: Path, port: int, scale: float = 1.0, loop: str = "asyncio") -> None:
        self.folder = folder
        self.port = port
        self.scale = scale
        self.loop = loop

    def measure(self, form: Form, client: str) -> dict[str, float]:
        """Do a form of work once. Returns requests, bytes, cpu_s, wall_s and (not for the floor) rss."""
        if form.work.operation == "import":
            return self.import_cost(form, client)
        if client == "floor":
            count = max(round(FLOORS[form.floor] * self.scale), 1)
            command = [str(self.folder / "floor"), str(self.port), form.floor, str(count)]
            done = subprocess.run(
                command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT, check=True
            )
            return json.loads(done.stdout)
        module = "tests.benchmarks.client"
        arguments = (client, form.name, str(self.port), str(self.scale), self.loop)
        return json.loads(python("-m", module, *arguments, client=client))

    def import_cost(self, form: Form, client: str) -> dict[str, float]:
        """Import a client ("floor": nothing) in processes of their own: the median CPU of a process."""
        statement = "pass" if client == "floor" else f"import {client}"
        rss = int(python("-c", f"{statement}\n{SHOW_RSS}", client=client)) * 1024
        used = []
        for _ in range(max(round(form.count * self.scale), 1)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            python("-c", statement, client=client)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return {"requests": 1, "bytes": 0, "cpu_s": statistics.median(used), "wall_s": 0, "rss": rss}
