"""Several processes that begin at the same time with one checkpoint store that is new: a file, an empty database."""

import asyncio
import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from agent_runner.clients.engine.memory.checkpoints import open_saver
from tests.support import databases

TOGETHER, FILES = 4, 10


def _open(folder: Path, begin: Barrier) -> None:
    async def once(url: str) -> None:
        async with await open_saver(url):
            pass

    for number in range(FILES):
        begin.wait(120)
        asyncio.run(once(f"sqlite:///{folder}/memory-{number}.db"))


def test_processes_that_begin_together_all_have_their_memory(tmp_path: Path) -> None:
    """SQLite changes a new file's mode under a lock that its busy timeout does not wait for."""
    spawn = multiprocessing.get_context("spawn")
    begin = spawn.Barrier(TOGETHER)
    processes = [spawn.Process(target=_open, args=(tmp_path, begin)) for _ in range(TOGETHER)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0] * TOGETHER


async def test_workers_that_begin_together_on_an_empty_postgres() -> None:
    """LangGraph's own set-up fails for all but one: its migrations are numbered rows that each would write."""
    with databases.postgres_database() as url:
        for memory in await asyncio.gather(*(open_saver(url) for _ in range(2 * TOGETHER))):
            await memory.aclose()
