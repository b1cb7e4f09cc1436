"""The agents' memory in Postgres. A module of its own: a worker with SQLite imports no driver of Postgres."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import Any, cast

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from agent_runner.clients.engine.memory.checkpoints import HeadTracking, Memory
from agent_runner.clients.engine.memory.postgres_pool import Patient, Pool, open_pool, set_up_alone
from agent_runner.clients.engine.memory.prune_postgres import drop_postgres, prune_postgres
from agent_runner.clients.engine.memory.state.serializer import StateSerializer
from agent_runner.clients.engine.memory.untold_steps import STEPS_POSTGRES, WRITTEN_POSTGRES, Step, step


class PostgresMemory(HeadTracking, Patient, AsyncPostgresSaver):
    """A small pool of connections. Reads and writes wait for a database that is away."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, serde=StateSerializer())
        # LangGraph holds one lock for a single connection and for a pool alike: a call that waits in the database would
        # hold up the memory of all other runs of the worker. The pool gives each call a connection of its own.
        self.lock = cast("asyncio.Lock", nullcontext())

    async def prune_to(self, thread_id: str, head: str, also: Collection[str]) -> int:
        return await prune_postgres(self.pool, thread_id, head, also)

    async def drop(self, thread_id: str, ids: Sequence[str]) -> None:
        await drop_postgres(self.pool, thread_id, ids)

    async def writes_since(self, thread_id: str, checkpoint_id: str, channel: str) -> dict[str, Any]:
        async with self.pool.connection() as connection:
            rows = await (await connection.execute(WRITTEN_POSTGRES, (thread_id, channel, checkpoint_id))).fetchall()
        return {row["task_id"]: self.serde.loads_typed((row["type"], row["blob"])) for row in rows}

    async def steps_since(self, thread_id: str, checkpoint_id: str) -> list[Step]:
        async with self.pool.connection() as connection:
            rows = await (await connection.execute(STEPS_POSTGRES, (thread_id, checkpoint_id))).fetchall()
        return [step(row["checkpoint_id"], row["parent_checkpoint_id"], row["metadata"]) for row in rows]

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
