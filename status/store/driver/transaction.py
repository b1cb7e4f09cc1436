"""One thread's connection and the transactions on it.

The connection lasts from verb to verb. It is opened when a verb needs it and none is there, and given up when the
database said that it is lost. After an outage the other threads give up theirs too, before they use them again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection as CoreConnection
from sqlalchemy import CursorResult, Engine, Executable, ScalarResult
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from agent_runner.status.store.driver.thread_pool import Tell
from agent_runner.status.store.errors import StoreConflict, StoreUnavailable

T = TypeVar("T")
Params = dict[str, Any] | Sequence[dict[str, Any]] | None
CONFLICTS = frozenset({"40001", "40P01"})
"""Postgres' states for a serialization failure and for a deadlock: a second try may succeed."""


@dataclass(slots=True)
class Outages:
    """How often a connection of this store was lost; shared by its threads."""

    seen: int = 0
    transactions: int = field(default=0)
    """All transactions that were begun."""


class Connection:
    """What a verb works on: one transaction. Statements of SQLAlchemy Core are executed as they are."""

    def __init__(self, core: CoreConnection) -> None:
        self.core = core
        self.raw: Any = core.connection.dbapi_connection
        self.after: list[Tell] = []

    def after_commit(self, tell: Tell) -> None:
        """Call `tell` on the event loop once what was written is durable, and never if it is rolled back."""
        self.after.append(tell)

    def execute(self, statement: Executable, params: Params = None) -> CursorResult[Any]:
        return self.core.execute(statement, params)

    def scalar(self, statement: Executable, params: dict[str, Any] | None = None) -> Any:
        return self.core.scalar(statement, params)

    def scalars(self, statement: Executable, params: dict[str, Any] | None = None) -> ScalarResult[Any]:
        return self.core.scalars(statement, params)


class Session:
    """The connection of one thread. Used by that thread alone."""

    def __init__(self, engine: Engine, outages: Outages) -> None:
        self._engine, self._outages = engine, outages
        self._opened_after = 0
        self._connection: Connection | None = None

    def transact(self, begin: str, work: Callable[[Connection], T]) -> tuple[T, Sequence[Tell]]:
        """The result of `work`, committed, and what is to be called now. Raises `StoreUnavailable`, `StoreConflict`."""
        try:
            connection = self._ready()
            self._outages.transactions += 1
            try:
                connection.core.exec_driver_sql(begin)
                result = work(connection)
                connection.core.exec_driver_sql("COMMIT")
                connection.core.rollback()  # SQLAlchemy's own view of it: nothing is open
            except BaseException:
                self._undo(connection)
                raise
        except (DBAPIError, ConnectionError) as error:
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
            self._connection = Connection(self._engine.connect())
        return self._connection

    def _undo(self, connection: Connection) -> None:
        """Rolls back. A connection on which that fails is given up."""
        connection.after = []
        try:
            lost = connection.core.invalidated
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


def told(error: Exception) -> Exception:
    """ "Cannot be reached" of every driver as `StoreUnavailable`; any other error as it is."""
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") in CONFLICTS:
        return StoreConflict("the database gave way to another transaction")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or isinstance(error, (OperationalError, InterfaceError, ConnectionError)):
        return StoreUnavailable(f"the database cannot be reached: {type(error).__name__}")
    return error
