"""Measure s3ext beside obstore and beside raw sockets in C, against a fast source on this machine.

Every figure comes from a process of its own; clients take turns within each round. What counts is the CPU
that the client's process used, and its ratio to the others in the same round: source and client share the
machine, so wall figures bound nothing. `x obstore` and `x floor` are medians of the ratios of single rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import harness, report
from tests.benchmarks.works import FORMS, PEER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.works import Form

__all__ = ["main"]

CLIENTS = ("floor", PEER, "s3ext")
LOOPS = ("asyncio", "uvloop")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = parse(arguments)
    clients = available(options.client)
    forms = [form for form in FORMS if form.work.letter in options.work]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harness.build(folder)
        with harness.running_source(folder) as port:
            bench = harness.Bench(folder, port, options.scale, options.loop)
            run = Run(bench, forms, clients)
            rounds = [run.round(turn, options.rounds) for turn in range(options.rounds)]
    rows = report.rows(rounds)
    print(report.table(rows))
    if options.json:
        result = {**circumstances(options), "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 1 if run.failed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    letters = sorted({form.work.letter for form in FORMS})
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often all is measured (default: 3)")
    parser.add_argument(
        "--work",
        type=words(letters),
        default=letters,
        help=f"letters out of {','.join(letters)}, default all",
    )
    parser.add_argument(
        "--client", type=words(CLIENTS), default=CLIENTS, help=f"out of {','.join(CLIENTS)}, default all"
    )
    parser.add_argument(
        "--loop", choices=("asyncio", "uvloop"), default="asyncio", help="for the async forms"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 does a tenth of the requests")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows and all figures there, too")
    return parser.parse_args(arguments)


def words(known: Sequence[str]):
    """Return a reader of comma-separated words out of those that are known."""

    def read(text: str) -> list[str]:
        chosen = text.split(",")
        if not set(chosen) <= set(known):
            raise argparse.ArgumentTypeError(f"{text!r} is no list out of {','.join(known)}")
        return chosen

    return read


def available(clients: Sequence[str]) -> list[str]:
    """Return the clients that can be imported, and say why the others cannot."""
    found = []
    for client in clients:
        reason = None if client == "floor" else harness.why_not_importable(client)
        if reason is None:
            found.append(client)
        else:
            print(f"without {client}: {reason}", file=sys.stderr)
    return found


class Run:
    """The rounds of one run. What fails once is told, and not tried again.

    Args:
        bench: does the measurements.
        forms: what to measure.
        clients: with whom.
    """

    def __init__(self, bench: harness.Bench, forms: Sequence[Form], clients: Sequence[str]) -> None:
        self.bench = bench
        self.forms = forms
        self.clients = clients
        self.failed: set[tuple[str, str]] = set()

    def round(self, turn: int, turns: int) -> report.Round:
        """Measure every form with every client once; who is first changes from round to round."""
        measured: report.Round = {}
        first = turn % len(self.clients)
        for form in self.forms:
            for client in [*self.clients[first:], *self.clients[:first]]:
                key = (form.floor if client == "floor" else form.name, client)
                if (
                    key in measured
                    or key in self.failed
                    or (client != "floor" and client not in form.clients)
                ):
                    continue
                progress(f"round {turn + 1}/{turns}: {form.title}: {client}")
                try:
                    measured[key] = self.bench.measure(form, client)
                except harness.MeasurementError as error:
                    self.failed.add(key)
                    print(error, file=sys.stderr)
        progress("")
        return measured


def progress(text: str) -> None:
    """Show a line in place of the last one, to who sits before a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def circumstances(options: argparse.Namespace) -> dict[str, object]:
    """Return what a reader of the figures should know."""
    versions = {}
    for client in (PEER, "s3ext", "uvloop"):
        try:
            versions[client] = metadata.version(client)
        except metadata.PackageNotFoundError:
            versions[client] = None
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
        "rounds": options.rounds,
        "scale": options.scale,
        "loop": options.loop,
    }


if __name__ == "__main__":
    sys.exit(main())
