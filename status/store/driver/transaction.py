"""One thread's connection and the transactions on it.

The connection lasts from verb to verb. It is opened when a verb needs it and none is there, and given up when the
database said that it is lost. After an outage the other threads give up theirs too, before they use them again.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from sqlalchemy import Connection as CoreConnection
from sqlalchemy import CursorResult, Engine, Executable, ScalarResult
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from agent_runner.status.store.driver.ready import Ready, Row
from agent_runner.status.store.driver.thread_pool import Tell
from agent_runner.status.store.errors import StoreConflict, StoreUnavailable

T = TypeVar("T")
Params = dict[str, Any] | Sequence[dict[str, Any]] | None
CONFLICTS = frozenset({"40001", "40P01"})
"""Postgres' states for a serialization failure and for a deadlock: a second try may succeed."""


SHORT_BYTES = 32 * 1024
"""Of texts: more than that takes longer than a millisecond or two to read, fold or write."""


class NeedsThread(Exception):
    """The verb would keep the event loop waiting. What it has done is taken back; it is to be run on a thread."""


@dataclass(slots=True)
class Outages:
    """How often a connection of this store was lost; shared by its threads."""

    seen: int = 0
    transactions: int = field(default=0)
    """All transactions that were begun."""


class Connection:
    """What a verb works on: one transaction.

    Statements that are `Ready` go to the driver's cursor as they are; those of SQLAlchemy Core go by SQLAlchemy, on the
    same connection.
    """

    def __init__(self, core: CoreConnection, *, in_place: bool = False) -> None:
        self.core = core
        self._in_place = in_place
        self.raw = cast("Any", core.connection.dbapi_connection)
        self.after: list[Tell] = []
        self.lost = False
        self._left: int | None = None
        """How many statements may come, if they are no transaction."""
        self._cursor = self.raw.cursor()
        self._dialect = core.dialect
        self._errors: Any = self._dialect.loaded_dbapi.Error
        self._is_sqlite = self._dialect.name == "sqlite"

    def after_commit(self, tell: Tell) -> None:
        """Call `tell` on the event loop once what was written is durable, and never if it is rolled back."""
        self.after.append(tell)

    def may_last(self) -> None:
        """What follows may take long: if this is the event loop's own thread, the verb begins anew on another one."""
        if self._in_place:
            raise NeedsThread

    def one(self, statement: Ready, **values: Any) -> Row | None:
        """The first row; None if there is none."""
        text = statement.text(self._dialect)
        self._run(text.sql, text.given(values))
        found = self._cursor.fetchall()
        return text.row(found[0]) if found else None

    def only(self, statement: Ready, **values: Any) -> Row:
        """The row of a statement that always returns one."""
        text = statement.text(self._dialect)
        self._run(text.sql, text.given(values))
        (found,) = self._cursor.fetchall()
        return text.row(found)

    def all(self, statement: Ready, **values: Any) -> list[Row]:
        text = statement.text(self._dialect)
        self._run(text.sql, text.given(values))
        return [text.row(found) for found in self._cursor.fetchall()]

    def first(self, statement: Ready, **values: Any) -> Any:
        """The first column of the first row; None if there is none."""
        text = statement.text(self._dialect)
        self._run(text.sql, text.given(values))
        found = self._cursor.fetchall()
        return found[0][0] if found else None

    def run(self, statement: Ready, **values: Any) -> int:
        """How many rows the statement changed."""
        text = statement.text(self._dialect)
        self._run(text.sql, text.given(values))
        return int(self._cursor.rowcount)

    def run_many(self, statement: Ready, values: Sequence[Mapping[str, Any]]) -> None:
        """The statement once for each of these; on Postgres they travel together."""
        text = statement.text(self._dialect)
        if len(values) == 1:
            self._run(text.sql, text.given(values[0]))
        elif values:
            self._run(text.sql, [text.given(one) for one in values], many=True)

    def one_of_each(self, statement: Ready, values: Sequence[Mapping[str, Any]]) -> list[Row | None]:
        """`one` for each of these; on Postgres they travel together."""
        if self._is_sqlite or len(values) < 2:
            return [self.one(statement, **one) for one in values]
        text = statement.text(self._dialect)
        self._run(text.sql, [text.given(one) for one in values], many=True, returning=True)
        found: list[Row | None] = []
        for _ in values:
            row = self._cursor.fetchone()
            found.append(text.row(row) if row else None)
            self._cursor.nextset()
        return found

    def execute(self, statement: Executable, params: Params = None) -> CursorResult[Any]:
        self._in_transaction()
        return self.core.execute(statement, params)

    def scalar(self, statement: Executable, params: dict[str, Any] | None = None) -> Any:
        self._in_transaction()
        return self.core.scalar(statement, params)

    def scalars(self, statement: Executable, params: dict[str, Any] | None = None) -> ScalarResult[Any]:
        self._in_transaction()
        return self.core.scalars(statement, params)

    def _in_transaction(self) -> None:
        if self._left is not None:
            raise RuntimeError("a verb that is to be a single statement executes one that is not `Ready`")

    def begin(self, sql: str) -> None:
        """An empty `sql`: one statement follows, which the database commits by itself."""
        self._left = None if sql else 1
        if sql:
            self._run(sql, ())

    def commit(self) -> None:
        if self._left is None:
            self._run("COMMIT", ())
        if self.core.in_transaction():  # SQLAlchemy's own view of it: nothing is open any more
            self.core.rollback()

    def _run(self, sql: str, given: Any, *, many: bool = False, **how: Any) -> None:
        if self._left is not None:
            self._left -= 1
            if many or self._left < 0:
                raise RuntimeError("a verb that is to be a single statement has executed a second one")
        try:
            (self._cursor.executemany if many else self._cursor.execute)(sql, given, **how)
        except self._errors as error:
            self.lost = self._dialect.is_disconnect(error, self.raw, self._cursor)
            raise DBAPIError.instance(
                sql,
                None,
                error,
                self._errors,
                hide_parameters=True,
                connection_invalidated=self.lost,
                dialect=self._dialect,
            ) from error


class Session:
    """The connection of one thread. Used by that thread alone."""

    def __init__(self, engine: Engine, outages: Outages, *, in_place: Sequence[str] | None = None) -> None:
        """`in_place`: it is the event loop's own, which must not wait; the statements that prepare its connection."""
        self._engine, self._outages, self._in_place = engine, outages, in_place
        self._opened_after = 0
        self._connection: Connection | None = None

    def transact(self, begin: str, work: Callable[[Connection], T]) -> tuple[T, Sequence[Tell]]:
        """The result of `work`, committed, and what is to be called now. Raises `StoreUnavailable`, `StoreConflict`."""
        try:
            connection = self._ready()
            self._outages.transactions += 1
            try:
                connection.begin(begin)
                result = work(connection)
                connection.commit()
            except BaseException:
                self._undo(connection)
                raise
        except (DBAPIError, ConnectionError) as error:
            if self._in_place is not None and is_busy(error):
                raise NeedsThread from error
            raise told(error) from error
        after, connection.after = connection.after, []
        return result, after

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.core.close()

    def _ready(self) -> Connection:
        if self._connection is not None and self._opened_after != self._outages.seen:
            self._drop()
        if self._connection is None:
            self._opened_after = self._outages.seen
            core = self._engine.connect()
            for prepares in self._in_place or ():
                core.exec_driver_sql(prepares)
            self._connection = Connection(core, in_place=self._in_place is not None)
        return self._connection

    def _undo(self, connection: Connection) -> None:
        """Rolls back. A connection on which that fails is given up."""
        connection.after = []
        try:
            lost = connection.lost or connection.core.invalidated
            if not lost:
                connection.raw.rollback()
                connection.core.rollback()
        except Exception:  # the error of the verb is the one that counts
            lost = True
        if lost:
            if self._opened_after == self._outages.seen:
                self._outages.seen += 1
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.core.invalidate()
            connection.core.close()
        except Exception:  # it is lost in any case
            return


def is_busy(error: Exception) -> bool:
    """Whether another connection holds SQLite's lock."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_BUSY


def told(error: Exception) -> Exception:
    """ "Cannot be reached" of every driver as `StoreUnavailable`; any other error as it is."""
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") in CONFLICTS:
        return StoreConflict("the database gave way to another transaction")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or isinstance(error, (OperationalError, InterfaceError, ConnectionError)):
        return StoreUnavailable(f"the database cannot be reached: {type(error).__name__}")
    return error
