"""Every statement that moves an execution is made from an edge of the state machine: there is no other place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EDGES = ROOT / "status" / "store" / "edges.py"
MOVES = {"step", "phase", "fence"}
TABLE = "executions"


WRITES = re.compile(rf'\b(update|into)\s+"?{TABLE}\b', re.IGNORECASE)
SETTERS = {"values", "ordered_values", "on_conflict_do_update"}


def moved(source: str) -> Iterator[tuple[int, str]]:
    """(line, column) for each of the moving columns that this source sets, or might.

    Seen are what is given to `values(...)` and its like, by name, in a dict, by the column, in a list of pairs, and raw
    SQL, in pieces too. Passed over is what is plainly for another table.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SETTERS:
            if not _of_another_table(node.func.value):
                yield from ((node.lineno, column) for given in given_to(node) for column in MOVES & {given})
        elif isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            said = ast.unparse(node)
            if WRITES.search(said):
                yield from ((node.lineno, column) for column in MOVES if re.search(rf"\b{column}\b", said))


def given_to(call: ast.Call) -> Iterator[str]:
    for node in (*call.args, *(keyword.value for keyword in call.keywords)):
        for inner in ast.walk(node):
            match inner:
                case ast.Dict():
                    yield from (named(key) for key in inner.keys)
                case ast.Tuple(elts=[first, _]):
                    yield named(first)
                case ast.Call(func=ast.Name(id="dict")):
                    yield from (keyword.arg or "" for keyword in inner.keywords)
    yield from (keyword.arg or "" for keyword in call.keywords)


def named(key: ast.AST | None) -> str:
    """The column that a key stands for: `"step"`, `E.step`, `executions.c.step`."""
    match key:
        case ast.Constant(value=str(text)):
            return text
        case ast.Attribute(attr=name):
            return name
    return ""


def _of_another_table(statement: ast.AST) -> bool:
    """`insert(x)` or `update(x)` of a table that is named there; not what only a variable names."""
    tables = [
        ast.unparse(call.args[0])
        for call in ast.walk(statement)
        if isinstance(call, ast.Call) and call.args and ast.unparse(call.func).endswith(("insert", "update"))
    ]
    return bool(tables) and TABLE not in tables


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
        'text("with x as (select 1) UPDATE executions SET phase = 3")',
        'text("insert into executions (id, step) values (1, 2)")',
        'text(f"update executions set {a} = 1, fence = 2")',
        "update(executions).values({E.phase: 3})",
        'update(executions).ordered_values((E.step, "settled"))',
        "update(executions).values(**dict(fence=1))",
        'update(executions).values(**({"fence": 1} if x else {}))',
        "statement.values(step=1)",
        'upsert(executions).values(id=1).on_conflict_do_update(set_={"step": 1})',
        'insert(executions).values([{"step": "running"}])',
    ],
)
def test_a_stray_statement_is_seen(stray: str) -> None:
    """The test above can fail."""
    assert list(moved(stray))
