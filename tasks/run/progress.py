"""The progress of a run for Flower and `celery`: a `task-progress` event and the state PROGRESS.

Nothing depends on it, because events can get lost. The flusher sends the status that people read.
"""

import asyncio
import contextlib
from typing import Any

from celery import Celery

from agent_runner.clients.process.threads import own
from agent_runner.status.event_logger import event_logger
from agent_runner.tasks.run.run import Run

log = event_logger(__name__)

EVERY_S = 2.0
EVENTS_AT_LEAST = 5


class Progress:
    """For one delivery of one task: `watch` begins; `stop` ends, and waits for an event that is being sent."""

    def __init__(self, app: Celery, task_id: str, hostname: str) -> None:
        self._app, self._task_id, self._hostname = app, task_id, hostname
        self._told = 0
        self.error = ""
        """The text of an end that is no completion, for Celery's result."""
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def watch(self, run: Run) -> None:
        self._task = asyncio.create_task(self._tell(run))

    async def stop(self) -> None:
        self._stopped.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _tell(self, run: Run) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._stopped.wait()
            progress = run.progress()
            if self._stopped.is_set() or progress["events_processed"] - self._told < EVENTS_AT_LEAST:
                continue
            self._told = progress["events_processed"]
            try:
                await own(self._send, progress)
            except Exception as exc:  # an error in the operators' view must not fail the run
                log.debug("progress.not_told", task_id=self._task_id, error=exc)

    def _send(self, progress: dict[str, Any]) -> None:
        self._app.backend.store_result(self._task_id, progress, "PROGRESS")
        with self._app.events.default_dispatcher(hostname=self._hostname) as dispatcher:
            dispatcher.send("task-progress", uuid=self._task_id, **progress)
