"""Statements that are written with SQLAlchemy Core, compiled once for each dialect, and executed by the driver.

    @ready
    def by_id() -> Select: return select(executions).where(E.id == bindparam("id"))

    row = connection.one(by_id(), id="aex-1")

A variant of a statement is an argument of its function. Values are parameters: what is compiled never depends on them.
"""

import functools
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, ParamSpec, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Dialect,
    Double,
    Float,
    Integer,
    LargeBinary,
    String,
    bindparam,
)
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter, ClauseElement
from sqlalchemy.sql.visitors import cloned_traverse
from sqlalchemy.types import NullType

P = ParamSpec("P")
Row = Any
"""A named tuple of a statement's columns."""


def text_of(name: str) -> ColumnElement[str]:
    """A parameter that is text."""
    return bindparam(name, type_=String(), required=True)


def number(name: str) -> ColumnElement[int]:
    """A parameter that is a whole number."""
    return bindparam(name, type_=BigInteger(), required=True)


def seconds(name: str) -> ColumnElement[float]:
    """A parameter that is a time or a duration."""
    return bindparam(name, type_=Double(), required=True)


PLAIN = (String, Integer, Float, LargeBinary, Boolean, NullType)
"""Their values need no conversion: `Float` is never a Decimal here, a `Boolean` is true or false."""
VARIANTS = 64
"""The most variants of one statement that are kept."""


class Text:
    """The SQL of one statement for one dialect."""

    __slots__ = ("_constants", "_made", "_names", "_read", "sql")

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None, dialect: Dialect) -> None:
        statement = cloned_traverse(statement, {}, {"bindparam": _written_out if columns is None else _not_required})
        compiled = statement.compile(dialect=dialect, column_keys=columns, compile_kwargs={"render_postcompile": True})
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        required = {bind.key for bind in compiled.binds.values() if not bind.unique} | set(columns or ())
        written = {compiled.bind_names[bind] for bind in compiled.literal_execute_params}
        self._constants = {
            name: value for name, value in compiled.params.items() if name not in required and name not in written
        }
        names = compiled.positiontup
        self._names = None if names is None else tuple(names)
        self._read = _reader(self._names) if self._names is not None and not self._constants else None
        columns = [str(column.keyname) for column in compiled._result_columns]
        self._made: Callable[[Sequence[Any]], Any] | None = None
        if columns:
            self._made = cast("Any", namedtuple("Row", columns, rename=True))._make
        _plain(compiled)

    def given(self, values: Mapping[str, Any]) -> Any:
        """The parameters, as the driver takes them."""
        if self._read is not None:
            return self._read(values)
        if self._constants:
            values = {**self._constants, **values}
        return values if self._names is None else [values[name] for name in self._names]

    def row(self, found: Sequence[Any]) -> Row:
        assert self._made is not None  # a statement without columns returns no row
        return self._made(found)


class Ready:
    """A statement and its texts, each made when a connection of its dialect first executes it."""

    __slots__ = ("_columns", "_statement", "_texts")

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        """`columns`: those of an insert that are given by their names."""
        self._statement, self._columns = statement, columns
        self._texts: dict[str, Text] = {}

    def text(self, dialect: Dialect) -> Text:
        found = self._texts.get(dialect.name)
        if found is None:
            found = self._texts[dialect.name] = Text(self._statement, self._columns, dialect)
        return found


def ready(statement: Callable[P, ClauseElement]) -> Callable[P, Ready]:
    """The statement that the function makes, made once for each set of its arguments."""

    @functools.lru_cache(maxsize=VARIANTS)
    def made(*args: Any, **kwargs: Any) -> Ready:
        return Ready(statement(*args, **kwargs))

    return cast("Callable[P, Ready]", functools.update_wrapper(made, statement))


def _reader(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    if len(names) == 1:
        (name,) = names
        return lambda values: (values[name],)
    return itemgetter(*names) if names else lambda values: ()


def _written_out(bind: BindParameter[Any]) -> None:
    """Constants stand in the text. SQLite prepares a statement anew when a value is bound that the condition of a
    partial index speaks of (`waiting = ?`, where an index has `waiting = 1`); that takes ten times as long as the
    statement itself."""
    _not_required(bind)
    if bind.unique and isinstance(bind.value, (int, float, str, list, tuple)):
        bind.literal_execute = True


def _not_required(bind: BindParameter[Any]) -> None:
    """The compiler writes constants out only if no parameter waits for its value."""
    bind.required = False


def _plain(compiled: SQLCompiler) -> None:
    """Raises TypeError if a value is not of the kinds that both drivers take and give as they are."""
    types = [bind.type for bind in compiled.binds.values()] + [column.type for column in compiled._result_columns]
    if strange := [type for type in types if not isinstance(type, PLAIN)]:
        raise TypeError(f"{strange[0]!r} in {compiled} must be converted")
