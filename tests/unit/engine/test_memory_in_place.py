"""Short verbs of the memory in SQLite run on the event loop, and never make it wait."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from agent_runner.clients.engine.memory.checkpoints import SqliteMemory, open_saver
from agent_runner.clients.engine.memory.sqlite.sqlite_in_place import LOG_BYTES, MOST_BYTES

PLACE: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[SqliteMemory]:
    async with await open_saver(f"sqlite:///{tmp_path}/memory.db") as memory:
        assert isinstance(memory.saver, SqliteMemory)
        yield memory.saver


def visits(saver: SqliteMemory, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each visit to the thread."""
    made: list[int] = []
    visit: Any = saver.conn._execute

    async def counted(*args: Any) -> Any:
        made.append(1)
        return await visit(*args)

    monkeypatch.setattr(saver.conn, "_execute", counted)
    return made


async def put(saver: SqliteMemory, number: int, *, size: int = 0) -> Any:
    content: Any = {**empty_checkpoint(), "id": f"c{number:05}", "channel_values": {"text": "x" * size}}
    return await saver.aput(PLACE, content, {}, {})


async def test_the_loop_goes_on_while_another_process_writes(tmp_path: Path, saver: SqliteMemory) -> None:
    """The write waits on the thread, and what is read and written after it comes after it."""
    place = await put(saver, 1)
    other = sqlite3.connect(tmp_path / "memory.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(saver.aput_writes(place, [("__error__", "first")], "task"))
    await asyncio.sleep(0)  # it has begun, and waits
    second = asyncio.create_task(saver.aput_writes(place, [("__error__", "second")], "task"))
    found = asyncio.create_task(saver.aget_tuple(place))
    await asyncio.wait({first, second}, timeout=0.2)
    assert not first.done()
    assert not second.done()
    other.execute("ROLLBACK").close()
    await asyncio.gather(first, second)
    assert (was := await found) is not None
    assert was.pending_writes == [("task", "__error__", "first")]
    other.close()
    assert (now := await saver.aget_tuple(place)) is not None
    assert now.pending_writes == [("task", "__error__", "second")]


async def test_what_is_large_goes_to_the_thread(saver: SqliteMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a millisecond is the most that one run may take from all others."""
    made = visits(saver, monkeypatch)
    await put(saver, 1, size=MOST_BYTES // 2)
    assert made == []
    await put(saver, 2, size=MOST_BYTES)
    assert made == [1]


async def test_the_log_of_the_file_is_copied_by_the_thread(
    tmp_path: Path, saver: SqliteMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop never does it, because that waits for the disk; so the log does not grow for ever either."""
    made = visits(saver, monkeypatch)
    for number in range(LOG_BYTES // (10 << 10)):
        await put(saver, number, size=30 << 10)
    assert 0 < len(made) < 50
    assert (tmp_path / "memory.db-wal").stat().st_size < 3 * LOG_BYTES
    assert (tmp_path / "memory.db").stat().st_size > 2 * LOG_BYTES


async def test_another_loop_may_use_the_memory(saver: SqliteMemory) -> None:
    """A connection of SQLite belongs to its thread: a graph that was called on another thread's loop gets the same
    memory over the connection's thread."""
    await put(saver, 1)
    found = await asyncio.to_thread(lambda: asyncio.run(saver.aget_tuple(PLACE)))
    assert found is not None
    assert found.checkpoint["id"] == "c00001"


async def test_a_failed_write_changes_nothing(saver: SqliteMemory) -> None:
    """It is one transaction in place too."""
    place = await put(saver, 1)

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM checkpoints").close()
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        await saver.write(half, 10)
    assert await saver.aget_tuple(place) is not None
    await put(saver, 2)


async def test_a_read_that_the_file_refuses_for_the_moment(tmp_path: Path, saver: SqliteMemory) -> None:
    """As while another process brings the file into order after a crash: the thread reads it, which waits."""
    await put(saver, 1)
    assert saver.here is not None
    other = sqlite3.connect(tmp_path / "memory.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert saver.here.read(lambda connection: connection.execute("BEGIN IMMEDIATE").close()) is None
    other.execute("ROLLBACK").close()
    other.close()
    assert saver.here.read(lambda connection: connection.execute("SELECT 1").fetchone()) == ((1,),)
