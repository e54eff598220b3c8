"""Turns measurements into rows: medians over the rounds, and ratios within each round."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from tests.benchmarks.works import FORMS, PEER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.works import Form

__all__ = ["cpu", "rows", "table"]

Round = dict[tuple[str, str], dict[str, float]]
"""The measurements of one round, by (form's name, client); those of the floor by (its work, "floor")."""


def cpu(form: Form, sample: dict[str, float]) -> float:
    """Return a measurement's client CPU in the unit of its work."""
    if form.work.unit == "s/GB":
        return sample["cpu_s"] / (sample["bytes"] / 1e9)
    if form.work.unit == "ms":
        return sample["cpu_s"] * 1e3
    return sample["cpu_s"] / sample["requests"] * 1e6


def rows(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Return one row for each form and client that every round has, in the order of the works."""
    peers = any(client != "floor" for measured in rounds for _, client in measured)
    found = []
    for form in FORMS:
        names = {"floor": form.floor, **dict.fromkeys(form.clients, form.name)}
        clients = [name for name in names if all((names[name], name) in measured for measured in rounds)]
        if clients != ["floor"] or not peers:
            found += [_row(form, client, rounds) for client in clients]
    return found


def _row(form: Form, client: str, rounds: Sequence[Round]) -> dict[str, Any]:
    samples = [measured[form.floor if client == "floor" else form.name, client] for measured in rounds]
    figures = [cpu(form, sample) for sample in samples]
    row = {
        "form": form.name,
        "title": form.title,
        "client": client,
        "unit": form.work.unit,
        "cpu": statistics.median(figures),
        "cpu_rounds": figures,
    }
    if form.work.operation == "import":
        if client != "floor":
            bare = [cpu(form, measured[form.floor, "floor"]) for measured in rounds]
            row["over_bare"] = statistics.median(map(float.__sub__, figures, bare))
    else:
        row["requests_per_s"] = statistics.median(sample["requests"] / sample["wall_s"] for sample in samples)
        row["mb_per_s"] = statistics.median(sample["bytes"] / sample["wall_s"] / 1e6 for sample in samples)
        row["to_floor"] = _ratio(form, figures, rounds, (form.floor, "floor"))
        peer = f"{form.work.letter}:{form.compare_to or form.style}"
        row["to_peer"] = _ratio(form, figures, rounds, (peer, PEER))
        if form.beside and client != "floor":
            row["to_beside"] = _ratio(form, figures, rounds, (f"{form.work.letter}:{form.beside}", client))
    if all("rss" in sample for sample in samples):
        row["rss_mb"] = statistics.median(sample["rss"] / 1e6 for sample in samples)
    return row


def _ratio(
    form: Form, figures: Sequence[float], rounds: Sequence[Round], other: tuple[str, str]
) -> float | None:
    """Return the median over the rounds of a figure by that of another client in the same round."""
    if not all(other in measured for measured in rounds):
        return None
    others = [cpu(form, measured[other]) for measured in rounds]
    return statistics.median(ours / theirs for ours, theirs in zip(figures, others, strict=True))


COLUMNS = (
    ("client", "client", "{}"),
    ("CPU", "cpu", "{:.3g}"),
    ("unit", "unit", "{}"),
    ("spread", "spread", "{}"),
    ("req/s", "requests_per_s", "{:.0f}"),
    ("MB/s", "mb_per_s", "{:.0f}"),
    ("RSS MB", "rss_mb", "{:.0f}"),
    (f"x {PEER}", "to_peer", "{:.2f}"),
    ("x floor", "to_floor", "{:.2f}"),
    ("x dicts", "to_beside", "{:.2f}"),
    ("over bare", "over_bare", "{:.1f} ms"),
)


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the rows as text: a heading for each form, a line for each client."""
    lines = [[heading for heading, _, _ in COLUMNS]]
    titles = {}
    for row in found:
        titles.setdefault(row["title"], len(lines))
        spread = f"{min(row['cpu_rounds']):.3g}-{max(row['cpu_rounds']):.3g}"
        values = {**row, "spread": spread}
        lines.append([_cell(values.get(name), form) for _, name, form in COLUMNS])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.rjust, cells, widths)) for cells in lines]
    for title, at in reversed(titles.items()):
        text.insert(at, f"\n{title}")
    return "\n".join(text)


def _cell(value: float | str | None, form: str) -> str:
    return "-" if value is None else form.format(value)
