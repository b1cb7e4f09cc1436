"""The agents' memory in Postgres. A module of its own: a worker with SQLite imports no driver of Postgres."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import Any, LiteralString, cast

from psycopg.rows import DictRow

from agent_runner.clients.engine.memory.checkpoints import HeadTracking, Memory
from agent_runner.clients.engine.memory.postgres_pool import Patient, Pool, open_pool, patiently, set_up_alone
from agent_runner.clients.engine.memory.postgres_saver import OneTripSaver
from agent_runner.clients.engine.memory.prune_postgres import drop_postgres, prune_postgres
from agent_runner.clients.engine.memory.state.serializer import StateSerializer
from agent_runner.clients.engine.memory.untold_steps import STEPS_POSTGRES, WRITTEN_POSTGRES, Step, step


class PostgresMemory(HeadTracking, Patient, OneTripSaver):
    """A small pool of connections. Reads and writes wait for a database that is away."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, serde=StateSerializer())
        # LangGraph holds one lock for a single connection and for a pool alike: a call that waits in the database would
        # hold up the memory of all other runs of the worker. The pool gives each call a connection of its own.
        self.lock = cast("asyncio.Lock", nullcontext())

    async def prune_to(self, thread_id: str, head: str, also: Collection[str]) -> int:
        return await prune_postgres(self.pool, thread_id, head, also)

    async def drop(self, thread_id: str, ids: Sequence[str]) -> None:
        await patiently(lambda: drop_postgres(self.pool, thread_id, ids))

    async def writes_since(self, thread_id: str, checkpoint_id: str, channel: str) -> dict[str, Any]:
        rows = await self._rows(WRITTEN_POSTGRES, thread_id, channel, checkpoint_id)
        return {row["task_id"]: self.serde.loads_typed((row["type"], row["blob"])) for row in rows}

    async def steps_since(self, thread_id: str, checkpoint_id: str) -> list[Step]:
        rows = await self._rows(STEPS_POSTGRES, thread_id, checkpoint_id)
        return [step(row["checkpoint_id"], row["parent_checkpoint_id"], row["metadata"]) for row in rows]

    async def _rows(self, question: LiteralString, *values: str) -> list[DictRow]:
        async def asked() -> list[DictRow]:
            async with self.pool.connection() as connection:
                return await (await connection.execute(question, values)).fetchall()

        return await patiently(asked)

    @property
    def pool(self) -> Pool:
        return cast("Pool", self.conn)


async def open_postgres(url: str) -> Memory:
    """Raises what psycopg raises."""
    pool = await open_pool(url)
    try:
        saver = PostgresMemory(pool)
        await set_up_alone(pool, saver.setup)
    except BaseException:
        await pool.close()
        raise
    return Memory(saver, pool.close)
