"""The store of graphs (`runtime.store`, `get_store`, `InjectedStore`): LangGraph's own, with each org apart.

It lies in the same database as the checkpoints, SQLite or Postgres. All namespaces of an org are below one first label
that the graph never sees: it is put before each namespace on the way in and taken off on the way out, so that no
search, listing or wildcard reaches what belongs to others. The label is the org in hex: an org may have a dot in its
name, which no label may.

Opened at its first use, on the loop of the process. `langgraph.json` configures it as LangGraph's server reads it:
`{"store": {"index": {"embed", "dims", "fields"}, "ttl": {"default_ttl", "refresh_on_read", ...}}}`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
)

from clients.engine.current import current_run

BUSY_TIMEOUT_MS = 15_000
POOL_MAX_SIZE = 5
OPEN_TIMEOUT_S = 10.0
SET_UP_TRIES = 8
"""Several processes may set the same tables up at once."""
StoreConfig = Mapping[str, Any]


class StoreError(Exception):
    """The store cannot be opened or used here; the text says what to do."""


class OrgStore(BaseStore):
    """`url` as for the memory. `configure` gives the `store` entry of `langgraph.json`, its embedding resolved."""

    supports_ttl = True

    def __init__(self, url: str, configure: Callable[[], Awaitable[StoreConfig]] | None = None) -> None:
        self._url, self.configure = url, configure
        self._loop = asyncio.get_running_loop()
        self._opening: asyncio.Task[Any] | None = None
        self._resources = AsyncExitStack()
        self._work: set[asyncio.Future[Any]] = set()
        self.ttl_config: TTLConfig | None = None

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        label = _label()
        return await self._run(label, list(ops))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """From a thread; on the loop itself it would wait for itself."""
        label = _label()
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            raise asyncio.InvalidStateError(
                "a blocking call of the store in an async node would stop the event loop: use await store.aget(...),"
                " aput, asearch, adelete, or a node that is not async"
            )
        return asyncio.run_coroutine_threadsafe(self._run(label, list(ops)), self._loop).result()

    async def aclose(self) -> None:
        if self._opening is not None and self._opening.done() and not self._opening.cancelled():
            await self._resources.aclose()

    async def ready(self) -> None:
        """Open it now. Raises StoreError."""
        await self._inner()

    async def _run(self, label: str, ops: list[Op]) -> list[Result]:
        # A cancelled run must not leave the shared connection in the middle of a transaction.
        work = asyncio.ensure_future(self._apply(label, ops))
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        return await asyncio.shield(work)

    async def _apply(self, label: str, ops: list[Op]) -> list[Result]:
        inner = await self._inner()
        results = await inner.abatch([_inward(label, op) for op in ops])
        return [_outward(op, result) for op, result in zip(ops, results, strict=True)]

    async def _inner(self) -> BaseStore:
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.ensure_future(self._open())
        opened: BaseStore = await asyncio.shield(self._opening)
        return opened

    async def _open(self) -> BaseStore:
        config = dict(await self.configure()) if self.configure else {}
        self.ttl_config = config.get("ttl") or None
        try:
            store = await self._opened(config.get("index") or None)
        except Exception as error:
            raise StoreError(f"the store of graphs cannot be opened: {type(error).__name__}: {error}") from error
        if self.ttl_config:
            await store.start_ttl_sweeper()
            self._resources.push_async_callback(store.stop_ttl_sweeper, 1.0)
        return store  # type: ignore[no-any-return]

    async def _opened(self, index: Any) -> Any:
        scheme, _, rest = self._url.partition("://")
        if scheme.partition("+")[0] == "sqlite":
            return await self._sqlite(rest.partition("?")[0].removeprefix("/"), index)
        return await self._postgres(f"postgresql://{rest}", index)

    async def _sqlite(self, path: str, index: Any) -> Any:
        from langgraph.store.sqlite.aio import AsyncSqliteStore

        if path and path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        connection = await self._resources.enter_async_context(
            aiosqlite.connect(path or ":memory:", isolation_level=None)
        )
        await connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        await connection.execute("PRAGMA journal_mode=WAL")
        store = AsyncSqliteStore(connection, index=index, ttl=self.ttl_config)
        await _set_up(store)
        return store

    async def _postgres(self, url: str, index: Any) -> Any:
        from langgraph.store.postgres.aio import AsyncPostgresStore
        from psycopg import AsyncConnection
        from psycopg.rows import DictRow, dict_row
        from psycopg_pool import AsyncConnectionPool

        pool = AsyncConnectionPool[AsyncConnection[DictRow]](
            url,
            min_size=1,
            max_size=POOL_MAX_SIZE,
            open=False,
            check=AsyncConnectionPool.check_connection,
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
        )
        await pool.open(wait=True, timeout=OPEN_TIMEOUT_S)
        self._resources.push_async_callback(pool.close)
        store = AsyncPostgresStore(pool, index=index, ttl=self.ttl_config)
        await _set_up(store)
        return store


async def _set_up(store: Any) -> None:
    for left in reversed(range(SET_UP_TRIES)):
        try:
            await store.setup()
        except Exception:
            if not left:
                raise
            await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - apart from the others, no secret
        else:
            return


def _label() -> str:
    run = current_run()
    if run is None:
        raise StoreError("the store can be used within a run only: whose namespaces are meant is known there")
    return f"org-{run.org.encode().hex()}"


def _inward(label: str, op: Op) -> Op:
    match op:
        case GetOp() | PutOp():
            return op._replace(namespace=(label, *op.namespace))
        case SearchOp():
            return op._replace(namespace_prefix=(label, *op.namespace_prefix))
        case ListNamespacesOp():
            return op._replace(
                match_conditions=_conditions(label, op.match_conditions or ()),
                max_depth=None if op.max_depth is None else op.max_depth + 1,
            )
    raise StoreError(f"the store knows no {type(op).__name__}")


def _conditions(label: str, given: Iterable[MatchCondition]) -> tuple[MatchCondition, ...]:
    """All below the label. A suffix must not reach up into it: as many labels as it has must follow the label."""
    told = [MatchCondition("prefix", (label,))]
    for one in given:
        if one.match_type == "prefix":
            told.append(MatchCondition("prefix", (label, *one.path)))
        else:
            told += [MatchCondition("prefix", (label, *("*" for _ in one.path))), one]
    return tuple(told)


def _outward(op: Op, result: Any) -> Any:
    if isinstance(op, ListNamespacesOp):
        return [tuple(namespace[1:]) for namespace in result]
    for item in result if isinstance(result, list) else [result]:
        if isinstance(item, Item):
            item.namespace = tuple(item.namespace[1:])
    return result
