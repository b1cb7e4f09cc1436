"""LangGraph's SQLite saver, with verbs that are done in place if they are short, and else are one visit to the
connection's thread each.

LangGraph's own verbs visit it for each cursor, statement, fetch and commit. In a run of three checkpoints these were
more than thirty visits, and each wakes two threads. The tables and what is in them are LangGraph's.

A write is a transaction that begins and ends in one visit. So it is done as a whole or not at all, also if the run is
cancelled meanwhile, and never leaves the file locked for other processes. State is turned into bytes, and back, on the
event loop: nodes may change their state's objects, and the loop is where they run.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.checkpoint.sqlite.utils import load_pending_writes, pending_writes_sql

from agent_runner.clients.engine.memory.sqlite.sqlite_in_place import InPlace
from agent_runner.clients.engine.memory.task_writes import may_be_told_again, rows_of

PUT = """
INSERT OR REPLACE INTO checkpoints
(thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
CONTENT = 5
_WRITE = """
INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_GET = """
SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints
WHERE thread_id = ? AND checkpoint_ns = ?
"""
_THIS, _LATEST = "AND checkpoint_id = ?", "ORDER BY checkpoint_id DESC LIMIT 1"

T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class OneVisitSaver(AsyncSqliteSaver):
    """What is not here (lists, histories) is LangGraph's own, and only reads. `setup` must have been awaited."""

    here: InPlace | None = None
    """Does short verbs where they are called. None: all go to the thread, as for a database that is not in a file."""

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` on the connection's thread. It may only read.

        It returns no cursor: one that goes away on another thread resets its statement, which the connection may be
        using again by then.
        """
        connection = self.conn
        return await connection._execute(lambda: work(connection._conn))  # type: ignore[no-any-return,no-untyped-call]

    async def write(self, work: Callable[[sqlite3.Connection], T], size: int | None = None) -> T:
        """`work` as one transaction. A cancel takes effect after its end. `size`: about how many bytes it writes or
        removes; None for work that may last. Short work is done in place, all other on the connection's thread."""
        done = self.here.write(work, size) if self.here and size is not None else None
        return done[0] if done else await finished(self._transaction(work))

    async def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # LangGraph's own readers hold the lock while a cursor of theirs is open. A write that begins meanwhile would
        # fail at once ("database is locked") if another process has written since: it cannot wait in an old snapshot.
        with self.here.elsewhere() if self.here else nullcontext():
            async with self.lock:
                return await self.read(lambda connection: _whole(connection, work))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        place = config["configurable"]
        thread_id, namespace = str(place["thread_id"]), place.get("checkpoint_ns", "")
        wanted = get_checkpoint_id(config)

        def find(connection: sqlite3.Connection) -> tuple[tuple[Any, ...] | None, Rows]:
            return self._found(connection, thread_id, namespace, wanted)

        found = self.here.read(find) if self.here else None
        row, writes = found[0] if found else await self.read(find)
        if row is None:
            return None
        id, parent, kind, content, metadata = row

        def at(checkpoint_id: str) -> RunnableConfig:
            return {
                "configurable": {
                    "thread_id": thread_id,
                    "checkpoint_ns": namespace,
                    "checkpoint_id": checkpoint_id,
                }
            }

        return CheckpointTuple(
            config if wanted else at(id),
            self.serde.loads_typed((kind, content)),
            json.loads(metadata) if metadata is not None else {},
            at(parent) if parent else None,
            load_pending_writes(writes, self.serde),
        )

    def _found(
        self, connection: sqlite3.Connection, thread_id: str, namespace: str, wanted: str | None
    ) -> tuple[tuple[Any, ...] | None, Rows]:
        """The row of a checkpoint (the latest without a wanted one), and the rows of the writes to it."""
        place = (thread_id, namespace)
        found = connection.execute(
            f"{_GET} {_THIS if wanted else _LATEST}", (*place, wanted) if wanted else place
        ).fetchone()
        if found is None:
            return None, []
        return found, connection.execute(pending_writes_sql(self._has_task_path), (*place, found[0])).fetchall()

    def _row(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[RunnableConfig, tuple[Any, ...]]:
        """The config of a checkpoint, and its row for `PUT`; its bytes are at `CONTENT`."""
        place = config["configurable"]
        thread_id, namespace, id = place["thread_id"], place["checkpoint_ns"], checkpoint["id"]
        told = json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False).encode("utf-8", "ignore")
        row = (str(thread_id), namespace, id, place.get("checkpoint_id"), *self.serde.dumps_typed(checkpoint), told)
        return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": id}}, row

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        place = config["configurable"]
        task = (str(place["thread_id"]), str(place["checkpoint_ns"]), str(place["checkpoint_id"]), task_id, task_path)
        rows = [(*task, *row) for row in rows_of(writes, self.serde)]
        statement = f"INSERT OR {'REPLACE' if may_be_told_again(writes) else 'IGNORE'} {_WRITE}"
        size = sum(len(row[-1]) for row in rows)
        await self.write(lambda connection: connection.executemany(statement, rows).close(), size)

    async def adelete_thread(self, thread_id: str) -> None:
        def delete(connection: sqlite3.Connection) -> None:
            for table in ("checkpoints", "writes"):
                connection.execute(f"DELETE FROM {table} WHERE thread_id = ?", (str(thread_id),))  # noqa: S608

        await self.write(delete)


def _whole(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        done = work(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return done


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the end of `work`. A cancel that comes meanwhile takes effect only after that."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = cancelled or not task.cancelled()
        except BaseException:  # `task.result()` raises it below
            break
    if cancelled:
        task.cancelled() or task.exception()
        raise asyncio.CancelledError
    return task.result()
