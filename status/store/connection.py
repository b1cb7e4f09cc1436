"""Connections and transactions.

SQLite has one writer: its transactions begin IMMEDIATE on one thread, so that writers queue here and never get
"database is locked". Readers see one consistent state: WAL on SQLite, REPEATABLE READ on Postgres.

Postgres locks rows, so every verb takes them in one order: the session's facts first (`Ending.hold_sessions`), then its
executions. A transaction that still conflicts with another one is tried again (`verbs.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.pool import NullPool

from agent_runner.status.store.driver import in_place
from agent_runner.status.store.driver.in_place import InPlace
from agent_runner.status.store.driver.thread_pool import Tell, ThreadPool
from agent_runner.status.store.driver.transaction import Connection, Outages, Session
from agent_runner.status.store.postgres import engine_url, is_postgres, suit
from agent_runner.status.store.verbs import Kind, check_verbs

T = TypeVar("T")
BUSY_TIMEOUT_S = 10
SQLITE_READERS = 4
POSTGRES_CONNECTIONS = 16
WAIT_S = 10
"""How long a verb waits for a thread."""
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
    "foreign_keys=ON",
    "secure_delete=ON",
)
BEGIN = {
    ("sqlite", Kind.WRITES): "BEGIN IMMEDIATE",
    ("sqlite", Kind.READS): "BEGIN",
    ("postgresql", Kind.WRITES): "BEGIN",
    ("postgresql", Kind.READS): "BEGIN ISOLATION LEVEL REPEATABLE READ",
}


def driver_url(url: str) -> URL:
    """The URL with our drivers: `sqlite:///file` -> sqlite3, `postgresql://` -> psycopg."""
    if is_postgres(url):
        return engine_url(url)
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+pysqlite")
    raise ValueError(f"AGENT_RUNNER_DATABASE_URL: {backend!r} is not supported; use sqlite:/// or postgresql://")


def open_engine(url: str) -> Engine:
    """We begin and end transactions. Errors show the statement without its values, because these are texts of users."""
    target = driver_url(url)
    engine = create_engine(target, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True)
    if target.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    return suit(engine, url)


class Transactions:
    """The base of every part of the store: a clock, and threads on which verbs are run."""

    def __init__(self, engine: Engine, now: Callable[[], float] | None) -> None:
        self.engine = engine
        self.outages = Outages()
        self._now = now
        self.is_sqlite = engine.dialect.name == "sqlite"
        most = SQLITE_READERS if self.is_sqlite else POSTGRES_CONNECTIONS
        readers = ThreadPool("store", most, self._session, wait_s=WAIT_S)
        writer = ThreadPool("store-writer", 1, self._session, wait_s=WAIT_S) if self.is_sqlite else readers
        self._threads = {Kind.WRITES: writer, Kind.READS: readers}
        own = Session(engine, self.outages, in_place=in_place.PRAGMAS) if self.is_sqlite else None
        self._here = InPlace(own) if own else None

    @classmethod
    def open(cls, url: str, *, now: Callable[[], float] | None = None) -> Self:
        """Connects lazily. `now` (epoch seconds) replaces the database's clock in tests."""
        return cls(open_engine(url), now)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_verbs(cls)

    @property
    def hops(self) -> int:
        """How many transactions were handed to a thread."""
        return sum(threads.hops for threads in set(self._threads.values()))

    async def close(self) -> None:
        """Waits for the verbs that run."""
        if self._here is not None:
            self._here.close()
        await asyncio.gather(*(threads.close() for threads in self._threads.values()))

    async def transact(
        self, kind: Kind, work: Callable[[Connection], T], *, alone: bool = False, short: bool = False
    ) -> T:
        """Runs `work` in one transaction on a thread of the store. Raises `StoreUnavailable`, `StoreConflict`. `alone`:
        it is a single statement, and a transaction by itself. `short`: on SQLite it runs here, unless it had to wait.
        """
        begin = "" if alone else BEGIN[self.engine.dialect.name, kind]
        writes = kind is Kind.WRITES
        here = self._here
        if short and here is not None and here.free(writes=writes):
            await asyncio.sleep(0)  # others go on and a cancel is seen, as if it were handed to a thread
            done = here.run(begin, work, writes=writes)
            if done is not None:
                result, after = done
                for tell in after:
                    tell()
                return result

        def whole(session: Session) -> tuple[T, Sequence[Tell]]:
            return session.transact(begin, work)

        return await self._threads[kind].submit(here.alone(whole) if writes and here is not None else whole)

    def params(self, **values: Any) -> dict[str, Any]:
        """Parameters of a statement that uses the clock."""
        return {"now": self._now() if self._now else None, **values}

    def _session(self) -> Session:
        return Session(self.engine, self.outages)


def _prepare_sqlite(raw: Any, _record: Any) -> None:
    for pragma in PRAGMAS:
        raw.execute(f"PRAGMA {pragma}")
