"""Opens LangGraph's own stores: SQLite in the file of the checkpoints, or Postgres with a pool of its own.

Search by meaning in Postgres needs the extension pgvector. If it is missing, or if the stored vectors have another
length than the configuration says, the store is not opened. The error says what to do.
"""

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

from langgraph.store.base import BaseStore, Op, Result, TTLConfig

from agent_runner.clients.engine.memory.database_errors import is_busy, psycopg_errors
from agent_runner.clients.engine.store.sqlite_vectors import connect
from agent_runner.clients.engine.store.vectors_first import VectorsFirst

BUSY_TIMEOUT_MS = 15_000
CLOSE_SWEEPER_S = 1.0
CONFLICT_TRIES = 20
VECTORS_ON_POSTGRES = """
    SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector') AS there,
        EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'vector') AS available,
        (SELECT atttypmod FROM pg_attribute
            WHERE attrelid = to_regclass('store_vectors') AND attname = 'embedding') AS dims,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            OR (has_database_privilege(current_database(), 'CREATE')
                AND EXISTS (SELECT 1 FROM pg_available_extension_versions WHERE name = 'vector' AND trusted)) AS may
"""
LEAVE_OUT = "or take `index` out of `store` in langgraph.json"

T = TypeVar("T")
Index = dict[str, Any] | None


class StoreError(Exception):
    """The store cannot be opened or used here; the text says what to do."""


class Opened:
    """An open store. A batch may be repeated, and is: after a conflict, and when a database that was away is back."""

    def __init__(
        self,
        store: Any,
        batch: Callable[[Any, list[Op]], Awaitable[list[Result]]],
        vectors: VectorsFirst | None,
        close: Any,
    ) -> None:
        self._store, self._batch, self._vectors, self.aclose = store, batch, vectors, close

    async def abatch(self, ops: list[Op]) -> list[Result]:
        """To be called in a task of its own, once."""
        if self._vectors is not None:
            await self._vectors.prepare(ops)
        return await self._batch(self._store, ops)


async def open_store(url: str, index: Index, ttl: TTLConfig | None) -> Opened:
    """`url` as for the memory. Raises StoreError, and what the drivers raise."""
    scheme, _, rest = url.partition("://")
    vectors = VectorsFirst(index["embed"], index.get("fields")) if index else None
    if index:
        index = {**index, "embed": vectors}
    async with AsyncExitStack() as opening:
        if scheme.partition("+")[0] == "sqlite":
            store, batch = await _sqlite(opening, rest.partition("?")[0].removeprefix("/"), index, ttl), _on_sqlite
        else:
            store, batch = await _postgres(opening, url, index, ttl), _on_postgres
        if ttl:
            await store.start_ttl_sweeper()
            opening.push_async_callback(store.stop_ttl_sweeper, CLOSE_SWEEPER_S)
        return Opened(store, batch, vectors, opening.pop_all().aclose)
    raise AssertionError


async def _sqlite(opening: AsyncExitStack, path: str, index: Index, ttl: TTLConfig | None) -> Any:
    from langgraph.store.sqlite.aio import AsyncSqliteStore

    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = await opening.enter_async_context(connect(path or ":memory:"))
    await connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    await connection.execute("PRAGMA journal_mode=WAL")
    # Without it the vectors of a deleted item would stay.
    await connection.execute("PRAGMA foreign_keys=ON")
    # Each read already says whether it extends the TTL. With False here the SQLite store would overrule it.
    lives = cast("TTLConfig", {**(ttl or {}), "refresh_on_read": True})
    store = AsyncSqliteStore(connection, index=index, ttl=lives)  # type: ignore[arg-type]
    # If another process sets up the same tables at the same time, SQLite may raise any of its errors.
    await repeated(store.setup, lambda error: isinstance(error, sqlite3.Error))
    if index:
        found = await connection.execute_fetchall("SELECT length(embedding) / 4 FROM store_vectors LIMIT 1")
        _same_length(next((int(row[0]) for row in found), None), index["dims"])
    return store


async def _postgres(opening: AsyncExitStack, url: str, index: Index, ttl: TTLConfig | None) -> Any:
    from langgraph.store.postgres.aio import AsyncPostgresStore

    from agent_runner.clients.engine.memory.postgres_pool import open_pool, set_up_alone

    pool = await open_pool(url)
    opening.push_async_callback(pool.close)
    if index:
        async with pool.connection() as connection:
            found = await (await connection.execute(VECTORS_ON_POSTGRES)).fetchone()
        check_vectors(**(found or {}), wanted=index["dims"])
    store = AsyncPostgresStore(pool, index=index, ttl=ttl)  # type: ignore[arg-type]
    await set_up_alone(pool, store.setup)
    return store


def check_vectors(there: bool, available: bool, dims: int | None, may: bool, *, wanted: int) -> None:
    """Check the result of `VECTORS_ON_POSTGRES`. Raises StoreError, which says what to do."""
    if not there and not available:
        raise StoreError(
            "store.index in langgraph.json: this Postgres has no pgvector: install it on its server (its extension is"
            f" `vector`), {LEAVE_OUT}"
        )
    if not there and not may:
        raise StoreError(
            "store.index in langgraph.json: this user may not add pgvector: let a superuser run CREATE EXTENSION"
            f" vector, {LEAVE_OUT}"
        )
    _same_length(dims, wanted)


def _same_length(stored: int | None, dims: int) -> None:
    if stored is not None and stored != dims:
        raise StoreError(
            f"the store has vectors of {stored} numbers, store.index.dims in langgraph.json says {dims}. Vectors of two"
            " models cannot be compared: go back to the old model, or drop the tables store_vectors and"
            " vector_migrations; what is stored is found by meaning once it is written again"
        )


async def _on_sqlite(store: Any, ops: list[Op]) -> list[Result]:
    async def once() -> list[Result]:
        if (store.ttl_config or {}).get("omit_expired"):  # LangGraph's SQLite store ignores this setting
            await store.sweep_ttl()
        results: list[Result] = await store.abatch(ops)
        return results

    return await repeated(once, _is_conflict)


async def _on_postgres(store: BaseStore, ops: list[Op]) -> list[Result]:
    from agent_runner.clients.engine.memory.postgres_pool import patiently

    return await repeated(lambda: patiently(lambda: store.abatch(ops)), _is_conflict)


async def repeated(work: Callable[[], Awaitable[T]], again: Callable[[BaseException], bool]) -> T:
    for left in reversed(range(CONFLICT_TRIES)):
        try:
            return await work()
        except Exception as error:
            if not left or not again(error):
                raise
            await asyncio.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - spreads the retries, no secret
    raise AssertionError


def _is_conflict(error: BaseException) -> bool:
    """Whether the error only means that somebody else used the database at the same time."""
    cause = error.__cause__ if isinstance(error.__cause__, sqlite3.Error) else error  # the store wraps some of them
    if isinstance(cause, sqlite3.OperationalError):
        return is_busy(cause)
    return isinstance(error, psycopg_errors("DeadlockDetected", "SerializationFailure"))
