"""Whether a test exists, by its name: for lists that say which tests hold up what is written elsewhere."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

__all__ = ["missing"]

HERE = Path(__file__).resolve().parent


@cache
def _tests(path):
    """Return the names of the test functions of a file, and of its classes of tests."""
    file = HERE / path
    if not file.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, functions):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.update(f"{node.name}::{each.name}" for each in node.body if isinstance(each, functions))
    return frozenset(name for name in names if name.rpartition("::")[2].startswith("test_"))


def missing(nodes):
    """Return those of some tests that do not exist.

    Args:
        nodes: Such as `faults/test_tls.py::test_trust_is_of_one_store_only`, relative to tests/.
    """
    return [node for node in nodes if node.partition("::")[2] not in _tests(node.partition("::")[0])]
