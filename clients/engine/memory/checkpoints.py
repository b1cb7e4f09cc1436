"""The agents' memory: LangGraph checkpoints in SQLite or Postgres, with the head of each run tracked.

LangGraph's checkpoints have no fence: a run that was given up and wakes later can still write. So a turn never starts
from the latest checkpoint of a thread. It starts from the head that the server handed out with the claim, and the run
reports the head that it reached. Both savers here tell the current run its new head after the checkpoint is durable.

A saver belongs to the event loop that opened it: one per process, opened after any fork.
Objects of classes that are not LangGraph's or langchain's own are restored from a checkpoint only if the graph's
schemas declare the class, or `langgraph.json` allows it (`serializer.py`).
"""

import asyncio
import json
import random
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import ERROR, RESUME
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata

from agent_runner.clients.engine.current import CurrentRun, current_run
from agent_runner.clients.engine.memory.pruning import saved
from agent_runner.clients.engine.memory.sqlite.prune_sqlite import (
    drop_sqlite,
    give_back,
    has_room,
    prune_sqlite,
    shrinking,
    weight,
)
from agent_runner.clients.engine.memory.sqlite.sqlite_in_place import InPlace
from agent_runner.clients.engine.memory.sqlite.sqlite_saver import CONTENT, PUT, OneVisitSaver, Rows, finished
from agent_runner.clients.engine.memory.state.serializer import StateSerializer
from agent_runner.clients.engine.memory.untold_steps import (
    STEPS_SQLITE,
    WRITTEN_SQLITE,
    Step,
    step,
)
from agent_runner.status.store.postgres import advice

if TYPE_CHECKING:
    from agent_runner.clients.engine.memory.postgres_memory import PostgresMemory

SQLITE_BUSY_TIMEOUT_MS = 15_000


class MemoryStoreError(Exception):
    """The checkpoint store cannot be opened; the text names it without its password."""


class HeadTracking(ABC):
    """A mixin for savers. It tells the current run each checkpoint of its main conversation once that is written."""

    @abstractmethod
    async def drop(self, thread_id: str, ids: Sequence[str]) -> None:
        """Remove these checkpoints of the main conversation."""

    @abstractmethod
    async def writes_since(self, thread_id: str, checkpoint_id: str, channel: str) -> dict[str, Any]:
        """The values written into `channel` at this checkpoint and later ones, also in sub-graphs, by task id."""

    @abstractmethod
    async def steps_since(self, thread_id: str, checkpoint_id: str) -> list[Step]:
        """The steps of the main conversation after this checkpoint, oldest first."""

    async def step_at(self, thread_id: str, checkpoint_id: str) -> Step | None:
        """The step with this id; None if it is not in the store."""
        saver = cast("BaseCheckpointSaver[str]", self)
        place = {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
        found = await saver.aget_tuple({"configurable": place})
        return step(checkpoint_id, None, cast("Mapping[str, Any]", found.metadata)) if found else None

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        saver, run = cast("BaseCheckpointSaver[str]", super()), current_run()

        async def put() -> RunnableConfig:
            written = await saver.aput(config, checkpoint, metadata, new_versions)
            if over := self._told(run, written["configurable"], metadata):
                await self.drop(written["configurable"]["thread_id"], over)
            return written

        # No cancel may come between the write and the new head: with the old head the next turn would forget the step.
        return await finished(put())

    @staticmethod
    def _told(run: CurrentRun | None, place: Mapping[str, Any], metadata: CheckpointMetadata) -> Sequence[str]:
        """Tell the run its new head. Returns the checkpoints of the run that are not needed any more."""
        if run is not None and not place.get("checkpoint_ns") and place["thread_id"] == run.thread_id:
            run.move_head(place["checkpoint_id"])
            return run.trail.step(place["checkpoint_id"], saved("", "", "", metadata).deltas)
        return ()

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        saver = cast("BaseCheckpointSaver[str]", super())
        await saver.aput_writes(config, without_refused_answers(writes), task_id, task_path)


def without_refused_answers(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """The writes of a task; if the task failed, without the answers that it failed on.

    LangGraph keeps a failed task's RESUME beside its ERROR, and gives it to the next attempt before any new answer. So
    one bad answer would spoil the session for ever. Answers to earlier questions of the task stay: they were saved when
    the task asked its next question.
    """
    failed = any(channel == ERROR for channel, _ in writes)
    return [(channel, value) for channel, value in writes if channel != RESUME] if failed else writes


def forget_refused_answers(saver: BaseCheckpointSaver[Any]) -> None:
    """Make a saver that a graph brought along save its writes in the same way (`without_refused_answers`)."""
    if isinstance(saver, HeadTracking) or getattr(saver, "_forgets_refused_answers", False):
        return
    put, aput = saver.put_writes, saver.aput_writes

    def put_writes(
        config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        put(config, without_refused_answers(writes), task_id, task_path)

    async def aput_writes(
        config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await aput(config, without_refused_answers(writes), task_id, task_path)

    vars(saver).update(put_writes=put_writes, aput_writes=aput_writes, _forgets_refused_answers=True)


class SqliteMemory(HeadTracking, OneVisitSaver):
    """Two connections per process, one of them on the event loop. Several processes share the file (WAL)."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        run, (written, row) = current_run(), self._row(config, checkpoint, metadata)
        thread_id, size = row[0], len(row[CONTENT])

        def put(connection: sqlite3.Connection) -> None:
            connection.execute(PUT, row).close()

        async def told() -> None:
            if over := self._told(run, written["configurable"], metadata):
                # Earlier checkpoints of a run are rarely larger than this one.
                await self.write(lambda connection: drop_sqlite(connection, thread_id, over), size * len(over))

        async def on_the_thread() -> None:
            await self.write(put)
            await told()

        # In place there is no moment for a cancel, see `HeadTracking`.
        if self.here and self.here.write(put, size):
            await told()
        else:
            await finished(on_the_thread())
        return written

    async def prune_to(self, thread_id: str, head: str, also: Collection[str]) -> int:
        weighed = self.here.read(lambda connection: weight(connection, thread_id)) if self.here else None
        size = weighed[0] if weighed else None
        gone = await self.write(lambda connection: prune_sqlite(connection, thread_id, head, also), size)
        if gone:
            await self._give_back()
        return gone

    async def adelete_thread(self, thread_id: str) -> None:
        await super().adelete_thread(thread_id)
        await self._give_back()

    async def _give_back(self) -> None:
        if self.here and self.here.read(has_room) == (False,):
            return
        while await self.write(give_back):
            pass

    async def drop(self, thread_id: str, ids: Sequence[str]) -> None:
        await self.write(lambda connection: drop_sqlite(connection, thread_id, ids))

    async def writes_since(self, thread_id: str, checkpoint_id: str, channel: str) -> dict[str, Any]:
        rows = await self._rows(WRITTEN_SQLITE, thread_id, channel, checkpoint_id)
        return {task: self.serde.loads_typed((kind, value)) for task, kind, value in rows}

    async def steps_since(self, thread_id: str, checkpoint_id: str) -> list[Step]:
        rows = await self._rows(STEPS_SQLITE, thread_id, checkpoint_id)
        return [step(id, parent, json.loads(metadata or b"{}")) for id, parent, metadata in rows]

    async def _rows(self, question: str, *values: str) -> Rows:
        return await self.read(lambda connection: connection.execute(question, values).fetchall())


def tracks_heads(checkpointer: object) -> bool:
    """Whether a graph's memory is ours."""
    return isinstance(checkpointer, HeadTracking)


class Memory:
    """An open saver and how to close it: `async with await open_saver(url) as memory: memory.saver`."""

    def __init__(self, saver: "SqliteMemory | PostgresMemory", close: Callable[[], Awaitable[Any]]) -> None:
        self.saver: BaseCheckpointSaver[str] = saver
        self._tracked: HeadTracking = saver
        self._prune = saver.prune_to
        self._close: Callable[[], Awaitable[Any]] | None = close

    async def prune(self, thread_id: str, head: str, *, also: Collection[str] = ()) -> int:
        """Remove the checkpoints that no turn from this head, or from a later head that follows it, can need. Without a
        head the whole thread is removed.

        `also`: further checkpoints that a turn may begin at. Returns how many were removed: 0 if the head is not in the
        store, and always 0 without a head. Runs of the thread may go on meanwhile. Pruning again, or with an older
        head, does no harm.
        """
        if head:
            return await self._prune(thread_id, head, also)
        await self.saver.adelete_thread(thread_id)
        return 0

    async def undo(self, thread_id: str, execution_ids: Collection[str]) -> int:
        """Remove all checkpoints of the main conversation that these executions wrote. Returns how many."""
        steps = await self._tracked.steps_since(thread_id, "") if execution_ids else []
        ids = [step.id for step in steps if step.execution_id in execution_ids]
        if ids:
            await self._tracked.drop(thread_id, ids)
        return len(ids)

    async def aclose(self) -> None:
        """Close the store. Idempotent."""
        close, self._close = self._close, None
        if close is not None:
            await close()

    async def __aenter__(self) -> "Memory":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def open_saver(url: str) -> Memory:
    """Open and set up the store of `sqlite:///FILE` or `postgresql://...` (a `+driver` in the scheme is ignored)."""
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    try:
        if kind == "sqlite":
            return await _open_sqlite(rest.partition("?")[0])
        if kind in ("postgresql", "postgres"):
            from agent_runner.clients.engine.memory.postgres_memory import open_postgres

            return await open_postgres(url)
    except Exception as error:
        raise MemoryStoreError(f"checkpoint store {_shown(url)}: {error} {advice(str(error))}".strip()) from error
    raise MemoryStoreError(f"checkpoint store {_shown(url)}: must begin with sqlite:/// or postgresql://")


async def _open_sqlite(rest: str) -> Memory:
    """Several processes may begin with one new file: its mode is changed under a lock that the busy timeout does not
    wait for."""
    until = time.monotonic() + SQLITE_BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            return await _opened_sqlite(rest)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        await asyncio.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - spreads those that collided


async def _opened_sqlite(rest: str) -> Memory:
    # sqlite:///relative, sqlite:////absolute, as SQLAlchemy reads it.
    path = rest.removeprefix("/")
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = aiosqlite.connect(path or ":memory:")
    await connection
    try:
        await connection.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_TIMEOUT_MS}")
        await shrinking(connection)
        saver = SqliteMemory(connection, serde=StateSerializer())
        await saver.setup()
        await connection.execute("PRAGMA synchronous=NORMAL")
        if path and path != ":memory:":
            saver.here = InPlace(path)
    except BaseException:
        await connection.close()
        raise

    async def close() -> None:
        if saver.here:
            saver.here.close()
        await connection.close()

    return Memory(saver, close)


def _shown(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
