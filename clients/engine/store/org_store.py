"""The store of graphs (`runtime.store`, `get_store`, `InjectedStore`): LangGraph's own, each org's data kept apart.

It is in the same database as the checkpoints, SQLite or Postgres. All namespaces of an org begin with a label that the
graph never sees. The label is added to the namespaces of each operation, and removed from the namespaces of each
result. So no search, listing or wildcard reaches the data of another org. The label is the org in hex, because an org
may have a dot in its name and a label may not.

The store is opened at its first use, on the loop of the process, for all runs. It sees nothing of the first run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from typing import Any

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

from agent_runner.clients.engine.current import current_run
from agent_runner.clients.engine.store.embedding import EmbeddingError
from agent_runner.clients.engine.store.store_config import StoreConfig
from agent_runner.clients.engine.store.store_databases import Opened, StoreError, open_store

CLOSE_WAIT_S = 5.0
"""How long a close waits for operations that are still running."""

__all__ = ["OrgStore", "StoreError"]


LEAST_MINUTES = 1 / 60_000
"""A life of a millisecond. LangGraph writes it to Postgres as a text, which cannot be read where it is much shorter."""


class OrgStore(BaseStore):
    """`url`: as for the memory. `configure` gives the `store` entry of `langgraph.json`, with an embedding object as
    `embed`. `ttl_config` is set as soon as the file is read, because LangGraph needs it before each call."""

    supports_ttl = True

    def __init__(self, url: str, configure: Callable[[], Awaitable[StoreConfig]] | None = None) -> None:
        self._url, self.configure = url, configure
        self._loop = asyncio.get_running_loop()
        self._opening: asyncio.Task[Opened] | None = None
        self._work: set[asyncio.Future[Any]] = set()
        self.ttl_config: TTLConfig | None = None

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        label = _label()
        return await self._run(label, list(ops))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """For calls from a thread. Raises InvalidStateError on the event loop, which would wait for itself."""
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
        """Close the store after its running operations have ended. Waits at most CLOSE_WAIT_S for them."""
        if self._work:
            await asyncio.wait(self._work, timeout=CLOSE_WAIT_S)
        opening, self._opening = self._opening, None
        if opening is None:
            return
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled() and opening.exception() is None:
            await opening.result().aclose()

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
        try:
            results = await inner.abatch([_inward(label, op) for op in ops])
        except EmbeddingError as error:
            raise StoreError(str(error)) from error
        return [_outward(op, result) for op, result in zip(ops, results, strict=True)]

    async def _inner(self) -> Opened:
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            # All orgs share the embedding, so it must not use a key of the run that opens the store.
            self._opening = asyncio.create_task(self._open(), context=Context())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Opened:
        try:
            config = await self.configure() if self.configure else StoreConfig()
            self.ttl_config = config.ttl
            return await open_store(self._url, dict(config.index) if config.index else None, config.ttl)
        except (StoreError, EmbeddingError) as error:
            raise StoreError(str(error)) from error
        except Exception as error:
            raise StoreError(f"the store of graphs cannot be opened: {type(error).__name__}: {error}") from error


def _label() -> str:
    run = current_run()
    if run is None:
        raise StoreError("the store can be used within a run only: whose namespaces are meant is known there")
    return f"org-{run.org.encode().hex()}"


def _inward(label: str, op: Op) -> Op:
    match op:
        case PutOp(ttl=int() | float() as minutes) if 0 < minutes < LEAST_MINUTES:
            return op._replace(namespace=(label, *op.namespace), ttl=LEAST_MINUTES)
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
    """The conditions, limited to namespaces below the label. A suffix must not match the label itself: as many labels
    as the suffix has must follow it."""
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
