"""A run that is cancelled while it writes to memory leaves no transaction open."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.memory.checkpoints import Memory, SqliteMemory, open_saver

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}}

IN_PLACE = pytest.mark.parametrize("in_place", [True, False], ids=["in place", "on the thread"])


async def _opened(file: Path, *, in_place: bool) -> Memory:
    memory = await open_saver(f"sqlite:///{file}")
    assert isinstance(memory.saver, SqliteMemory)
    assert memory.saver.here is not None
    if not in_place:
        memory.saver.here.close()
    return memory


@pytest.mark.parametrize("write", ["aput", "aput_writes", "adelete_thread"])
@IN_PLACE
async def test_a_cancelled_write_leaves_no_transaction_open(tmp_path: Path, write: str, in_place: bool) -> None:
    """Wherever the cancel falls, another process can write at once, and a write that was begun is whole."""
    file = tmp_path / "memory.db"
    async with await _opened(file, in_place=in_place) as memory:
        other = sqlite3.connect(file, timeout=0)
        for steps in range(40):
            arguments: dict[str, Any] = {
                "aput": (CONFIG, {**empty_checkpoint(), "id": f"c{steps}"}, {}, {}),
                "aput_writes": (CONFIG, [("a", 1), ("b", 2)], f"task-{steps}"),
                "adelete_thread": ("t",),
            }
            task = asyncio.ensure_future(getattr(memory.saver, write)(*arguments[write]))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            other.execute("BEGIN IMMEDIATE").connection.rollback()
        written = other.execute("SELECT task_id, count(*) FROM writes GROUP BY task_id").fetchall()
        assert [count for _, count in written] == [2] * len(written)
        other.close()


@IN_PLACE
async def test_the_head_is_what_was_written(tmp_path: Path, in_place: bool) -> None:
    """A cancel between the write and the word of it does not leave the run behind its own memory."""
    async with await _opened(tmp_path / "memory.db", in_place=in_place) as memory:
        for steps in range(30):
            run = CurrentRun(thread_id=f"t{steps}")
            place: Any = {"configurable": {"thread_id": run.thread_id, "checkpoint_ns": ""}}
            with running(run):
                task = asyncio.ensure_future(memory.saver.aput(place, {**empty_checkpoint(), "id": "c"}, {}, {}))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            found = await memory.saver.aget_tuple(place)
            assert run.head_checkpoint_id == (found.checkpoint["id"] if found else "")
