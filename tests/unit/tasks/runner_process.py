"""A worker's process inside the test's own, on memory of its own, reporting to the server that the test plays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent_runner.clients.settings.settings import Settings
from agent_runner.tasks.worker.process import RunnerProcess

SLOTS = 2


class Quiet:
    """Progress that nobody watches."""

    def watch(self, run: object) -> None:
        pass

    async def stop(self) -> None:
        pass


def settings_of(port: int, folder: Path, **given: Any) -> Settings:
    """`port`: of the server that it reports to. Memory in a file of the folder, unless given."""
    own: dict[str, Any] = {"checkpoint_url": f"sqlite:///{folder}/memory.db"}
    return Settings(backend_endpoint=f"127.0.0.1:{port}", data_dir=folder, **(own | given))


@asynccontextmanager
async def runner_process(settings: Settings) -> AsyncIterator[RunnerProcess]:
    """Started and announced. It leaves at once at the end, whatever runs."""
    process = RunnerProcess(settings, role="worker", queue="q", incarnation="inc", name="worker@here", slots=SLOTS)
    await asyncio.to_thread(process.start)
    try:
        process.announce()
        yield process
    finally:
        process.leaving_now = True
        await asyncio.to_thread(process.stop)
