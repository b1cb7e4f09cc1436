"""The database's clock and two expressions that SQLite and Postgres spell differently.

The database's clock decides about deadlines, so the clocks of the processes do not matter. A test passes its own time
as `:now`, which `coalesce(:now, ...)` prefers.
"""

from typing import Any

from sqlalchemy import Float, bindparam, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

FOREVER = 9e15
"""The deadline that never passes; a number, because SQLite's min() of a NULL is NULL."""


class epoch(FunctionElement[float]):  # noqa: N801 - reads as SQL
    """Seconds since 1970 by the database's clock, at the statement and not at the transaction's start."""

    type = Float()
    inherit_cache = True
    name = "epoch"


@compiles(epoch, "postgresql")
def _epoch_postgres(element: epoch, compiler: SQLCompiler, **kw: Any) -> str:
    return "(extract(epoch from clock_timestamp())::double precision)"


@compiles(epoch, "sqlite")
def _epoch_sqlite(element: epoch, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class earliest(FunctionElement[float]):  # noqa: N801
    """The least of several columns, none of them NULL."""

    type = Float()
    inherit_cache = True
    name = "earliest"


class latest(FunctionElement[float]):  # noqa: N801
    """The greatest of several columns, none of them NULL."""

    type = Float()
    inherit_cache = True
    name = "latest"


def _is_called(element: type[FunctionElement[float]], **names: str) -> None:
    """Sets the SQL name of the function for each dialect."""
    for dialect, name in names.items():

        def written(found: FunctionElement[float], compiler: SQLCompiler, _name: str = name, **kw: Any) -> str:
            return f"{_name}({compiler.process(found.clauses, **kw)})"

        compiles(element, dialect)(written)


_is_called(earliest, postgresql="least", sqlite="min")
_is_called(latest, postgresql="greatest", sqlite="max")


NOW: ColumnElement[float] = func.coalesce(bindparam("now", type_=Float(), required=True), epoch())
"""Every statement that uses it is executed with `now`: None in production."""
