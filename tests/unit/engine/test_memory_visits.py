"""A verb of the memory in SQLite is done in place, or is one visit to its connection's thread."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from agent_runner.clients.engine.memory.checkpoints import SqliteMemory, open_saver
from agent_runner.clients.engine.memory.sqlite.prune_sqlite import ROWS_IN_PLACE

PLACE: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


SHORT = ("put", "write", "get", "prune")


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "on the thread"])
@pytest.mark.parametrize("verb", [*SHORT, "prune of much", "delete"])
async def test_a_verb_is_one_visit_or_none(
    tmp_path: Path, verb: str, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many statements it has: each visit wakes the thread, and then the event loop."""
    async with await open_saver(f"sqlite:///{tmp_path}/memory.db") as memory:
        saver = memory.saver
        assert isinstance(saver, SqliteMemory)
        assert saver.here is not None
        if not in_place:
            saver.here.close()
        written: Any = await saver.aput(PLACE, {**empty_checkpoint(), "id": "c1"}, {}, {})
        if verb == "prune":
            for number in (2, 3):
                written = await saver.aput(written, {**empty_checkpoint(), "id": f"c{number}"}, {}, {})
        if verb == "prune of much":
            await saver.aput_writes(written, [("a", number) for number in range(ROWS_IN_PLACE + 1)], "task")
        visits = 0
        visit: Any = saver.conn._execute

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal visits
            visits += 1
            answer = await visit(*args, **kwargs)
            assert not isinstance(answer, sqlite3.Cursor)
            return answer

        monkeypatch.setattr(saver.conn, "_execute", counted)
        match verb:
            case "put":
                await saver.aput(written, {**empty_checkpoint(), "id": "c2"}, {}, {})
            case "write":
                await saver.aput_writes(written, [("a", 1), ("b", 2)], "task")
            case "get":
                assert await saver.aget_tuple(PLACE) is not None
            case "prune":
                assert await memory.prune("t", "c3") == 2
            case "prune of much":
                assert await memory.prune("t", "c1") == 0
            case "delete":
                await saver.adelete_thread("t")
        # Where something was removed, the thread also looks whether the file has pages to give back.
        looks = verb in ("prune", "delete") and not in_place
        assert visits == (0 if in_place and verb in SHORT else 1 + looks)


async def test_a_write_waits_for_an_open_list(tmp_path: Path) -> None:
    """Another process writes while a list is read here: the next write waits for the list and succeeds."""
    url = f"sqlite:///{tmp_path}/memory.db"
    async with await open_saver(url) as here, await open_saver(url) as elsewhere:
        for number in range(300):  # more than aiosqlite fetches at a time
            await here.saver.aput(PLACE, {**empty_checkpoint(), "id": f"c{number:03}"}, {}, {})
        listing = here.saver.alist(PLACE)
        assert isinstance(listing, AsyncGenerator)
        await anext(listing)
        await elsewhere.saver.aput(PLACE, {**empty_checkpoint(), "id": "d1"}, {}, {})
        writing = asyncio.create_task(here.saver.aput(PLACE, {**empty_checkpoint(), "id": "d2"}, {}, {}))
        await asyncio.wait({writing}, timeout=0.2)
        await listing.aclose()
        await writing
        assert (found := await elsewhere.saver.aget_tuple(PLACE)) is not None
        assert found.checkpoint["id"] == "d2"


async def test_what_was_written_is_found(tmp_path: Path) -> None:
    """The latest checkpoint or a named one, its parent, its metadata, and the writes in the order of the tasks."""
    async with await open_saver(f"sqlite:///{tmp_path}/memory.db") as memory:
        first: Any = await memory.saver.aput(PLACE, {**empty_checkpoint(), "id": "c1"}, {"step": 0}, {})
        second: Any = await memory.saver.aput(first, {**empty_checkpoint(), "id": "c2"}, {"step": 1}, {})
        await memory.saver.aput_writes(second, [("a", 1), ("b", [2])], "task")
        await memory.saver.aput_writes(second, [("a", "again")], "task")
        found = await memory.saver.aget_tuple(PLACE)
        assert found is not None
        assert (found.config, found.parent_config) == (second, first)
        assert found.metadata["step"] == 1
        assert found.pending_writes == [("task", "a", 1), ("task", "b", [2])]
        older = await memory.saver.aget_tuple(first)
        assert older is not None
        assert (older.checkpoint["id"], older.parent_config, older.pending_writes) == ("c1", None, [])
        assert await memory.saver.aget_tuple({"configurable": {**PLACE["configurable"], "thread_id": "other"}}) is None


async def test_many_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """They share one connection: what one has finished with must not reset the statement that another is using."""
    async with await open_saver(f"sqlite:///{tmp_path}/memory.db") as memory:

        async def run(number: int) -> None:
            place: Any = {"configurable": {"thread_id": f"t{number}", "checkpoint_ns": ""}}
            for step in range(60):
                place = await memory.saver.aput(place, {**empty_checkpoint(), "id": f"c{step:03}"}, {}, {})
                await memory.saver.aput_writes(place, [("a", step)], "task")
                found = await memory.saver.aget_tuple(place)
                assert found is not None
                assert found.pending_writes == [("task", "a", step)]

        await asyncio.gather(*(run(number) for number in range(32)))
