"""Conditions on a column that holds a JSON object as text: it contains another object.

Postgres has an operator for it. On SQLite each leaf of the wanted object is compared by itself: objects are contained
key by key, everything else must be equal.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, cast, func, literal, true
from sqlalchemy.dialects.postgresql import JSONB

from agent_runner.status.store.rows import dumps


def contains(column: ColumnElement[Any], wanted: Mapping[str, Any], *, sqlite: bool) -> ColumnElement[bool]:
    if not wanted:
        return true()
    if not sqlite:
        return cast(column, JSONB).contains(cast(literal(dumps(wanted)), JSONB))
    return and_(*(_equal(column, path, value) for path, value in _leaves("$", wanted)))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(f"{path}.{json.dumps(key, ensure_ascii=False)}", inner)


def _equal(column: ColumnElement[Any], path: str, value: Any) -> ColumnElement[bool]:
    kind = func.json_type(column, path)
    if isinstance(value, bool) or value is None:
        return kind == {True: "true", False: "false", None: "null"}[value]
    found = func.json_extract(column, path)
    if isinstance(value, str):
        return and_(kind == "text", found == value)
    if isinstance(value, int | float):
        return and_(kind.in_(("integer", "real")), found == _number(value))
    if isinstance(value, Mapping):  # empty: any object contains it
        return kind == "object"
    return func.json(found) == func.json(dumps(value))


def _number(value: int | float) -> int | float:
    """SQLite reads a whole number of more than 64 bits as a float."""
    if isinstance(value, float) or -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
