"""Several processes that begin at the same time with one checkpoint file that is not there yet."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

TOGETHER, FILES = 4, 10


def _open(folder: Path, begin: Barrier) -> None:
    import asyncio

    from agent_runner.clients.engine.memory.checkpoints import open_saver

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
