"""Connections and transactions.

SQLite has one writer: its transactions begin IMMEDIATE on a pool of one connection, so that writers queue here and
never get "database is locked". Readers see one consistent state: WAL on SQLite, REPEATABLE READ on Postgres.

Postgres locks rows, so every verb takes them in one order: the session's facts first (`Ending.hold_sessions`), then its
executions. A transaction that still conflicts with another one is tried again (`verbs.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from sqlalchemy import event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from agent_runner.status.store.errors import StoreConflict, StoreUnavailable
from agent_runner.status.store.postgres import engine_url, is_postgres, suit
from agent_runner.status.store.verbs import check_verbs

BUSY_TIMEOUT_S = 10
POOL_SIZE, POOL_OVERFLOW, POOL_WAIT_S = 8, 8, 10
CONFLICTS = frozenset({"40001", "40P01"})
"""Postgres' states for a serialization failure and for a deadlock: a second try may succeed."""
QUIET = {"hide_parameters": True}
"""Database errors show the statement without its values, because these are texts of users."""
_AFTER = "agent_runner_after_commit"


def async_url(url: str) -> URL:
    """The URL with our drivers: `sqlite:///file` -> aiosqlite, `postgresql://` -> psycopg."""
    if is_postgres(url):
        return engine_url(url)
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    raise ValueError(f"AGENT_RUNNER_DATABASE_URL: {backend!r} is not supported; use sqlite:/// or postgresql://")


class Transactions:
    """The base of every part of the store: a clock and two kinds of transactions."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine, now: Callable[[], float] | None) -> None:
        self._writer = writer
        self._reader = reader
        self._now = now
        self.is_sqlite = writer.dialect.name == "sqlite"

    @classmethod
    def open(cls, url: str, *, now: Callable[[], float] | None = None) -> Self:
        """Connects lazily. `now` (epoch seconds) replaces the database's clock in tests."""
        target = async_url(url)
        if target.get_backend_name() == "sqlite":
            writer = create_async_engine(target, pool_size=1, max_overflow=0, pool_timeout=BUSY_TIMEOUT_S, **QUIET)
            reader = create_async_engine(target, pool_size=4, max_overflow=12, **QUIET)
            _prepare_sqlite(writer, "BEGIN IMMEDIATE")
            _prepare_sqlite(reader, "BEGIN")
            return cls(writer, reader, now)
        writer = create_async_engine(
            target,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=POOL_WAIT_S,
            pool_pre_ping=False,
            **QUIET,
        )
        suit(writer.sync_engine, url)
        return cls(writer, writer.execution_options(isolation_level="REPEATABLE READ"), now)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_verbs(cls)

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()

    def params(self, **values: Any) -> dict[str, Any]:
        """Parameters of a statement that uses the clock."""
        return {"now": self._now() if self._now else None, **values}

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; committed at the end of the block. Raises `StoreUnavailable`."""
        with _unavailable():
            async with self._writer.begin() as connection:
                after = connection.info[_AFTER] = []
                yield connection
        for tell in after:
            tell()

    @staticmethod
    def after_commit(connection: AsyncConnection, tell: Callable[[], None]) -> None:
        """Call `tell` once what `connection` writes is durable, and never if it is rolled back."""
        connection.info[_AFTER].append(tell)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database. Raises `StoreUnavailable`."""
        with _unavailable():
            async with self._reader.connect() as connection, connection.begin():
                yield connection


class _unavailable:  # noqa: N801 - a context manager, read as a clause
    """Turns "cannot be reached" of every driver into `StoreUnavailable`; errors of our own code stay as they are."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") in CONFLICTS:
            raise StoreConflict("the database gave way to another transaction") from error
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if lost or isinstance(error, (OperationalError, InterfaceError, PoolTimeout, ConnectionError)):
            raise StoreUnavailable(f"the database cannot be reached: {type(error).__name__}") from error


def _prepare_sqlite(engine: AsyncEngine, begin: str) -> None:
    """We begin transactions ourselves: the driver would begin them late and only for some statements."""

    def on_connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        waits = f"busy_timeout={BUSY_TIMEOUT_S * 1000}"
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", waits, "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    def on_error(context: ExceptionContext) -> None:
        # A cancelled statement does not mean a lost connection. If the connection were discarded, it would keep its
        # lock until the unfinished statement is garbage-collected, and nothing could be written meanwhile.
        if isinstance(context.original_exception, asyncio.CancelledError):
            context.is_disconnect = False

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
    event.listen(engine.sync_engine, "handle_error", on_error)
