"""A write to memory that waits in the database holds up nobody else's."""

import asyncio
from typing import Any

import psycopg
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint

from agent_runner.clients.engine.memory.checkpoints import open_saver
from tests.support.databases import postgres_database
from tests.support.waiting import eventually

WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

WITHIN_S = 10


def place(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def one_waits(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute(WAITING).fetchone() is not None


async def test_other_threads_go_on_while_one_waits_in_postgres() -> None:
    """One thread's row is locked by another transaction; the worker's other threads read and write their memory."""
    first: Checkpoint = {**empty_checkpoint(), "id": "c"}
    with postgres_database() as url:
        async with await open_saver(url) as memory, await psycopg.AsyncConnection.connect(url) as other:
            await memory.saver.aput(place("held"), first, {}, {})
            await other.execute("SELECT 1 FROM checkpoints WHERE thread_id = 'held' FOR UPDATE")
            held = asyncio.ensure_future(memory.saver.aput(place("held"), first, {}, {}))
            await asyncio.to_thread(eventually, lambda: one_waits(url), what="the write waits in the database")
            free = asyncio.ensure_future(memory.saver.aput(place("free"), first, {}, {}))
            await asyncio.wait({free}, timeout=WITHIN_S)
            went_on, waited = free.done(), not held.done()
            await other.rollback()
            await asyncio.gather(held, free)
            assert (went_on, waited) == (True, True)
