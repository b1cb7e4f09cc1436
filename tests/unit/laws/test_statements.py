"""Every statement that moves an execution is made from an edge of the state machine: there is no other place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EDGES = ROOT / "status" / "store" / "edges.py"
MOVES = {"step", "phase", "fence"}
TABLE = "executions"


def moved(source: str) -> Iterator[tuple[int, str]]:
    """(line, column) for each of the moving columns that a call in this source sets.

    Seen are `values(step=...)`, `values({"step": ...})`, `values(**{"step": ...})` and raw SQL. What is inserted into
    another table than that of executions has columns of its own.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            if TABLE not in ast.unparse(node.func.value):
                continue
            for keyword in node.keywords:
                if keyword.arg in MOVES:
                    yield node.lineno, str(keyword.arg)
                elif keyword.arg is None:
                    yield from ((node.lineno, key) for key in keys(keyword.value))
            for given in node.args:
                yield from ((node.lineno, key) for key in keys(given))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.lower().split()
            if words[:2] == ["update", TABLE]:
                yield from ((node.lineno, column) for column in MOVES if column in words)


def keys(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        for key in node.keys:
            if isinstance(key, ast.Constant) and key.value in MOVES:
                yield str(key.value)


@pytest.mark.parametrize("folder", ["app", "tasks", "clients", "status"])
def test_no_statement_leaves_the_table(folder: str) -> None:
    """The head of status/phases.py is true: step, phase and fence are written by `take` and `started` alone."""
    strays = [
        f"{file.relative_to(ROOT)}:{line} sets {column}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        if file != EDGES
        for line, column in moved(file.read_text())
    ]
    assert strays == []


@pytest.mark.parametrize(
    "stray",
    [
        'update(executions).where(x).values(step="settled")',
        "update(executions).values(fence=E.fence + 1)",
        'update(executions).values({"phase": 3})',
        'update(executions).values(**{"phase": 3})',
        "executions.update().values(phase=3)",
        'text("update executions set phase = 3")',
    ],
)
def test_a_stray_statement_is_seen(stray: str) -> None:
    """The test above can fail."""
    assert list(moved(stray))
