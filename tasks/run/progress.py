"""The progress of a run for Flower and `celery`: a `task-progress` event and the state PROGRESS.

Nothing depends on it, because events can get lost. The flusher sends the status that people read.
"""

import asyncio
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
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    def watch(self, run: Run) -> None:
        """Looks at the run after each interval. Most runs end before the first, so a timer waits and no task."""
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look, run)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._sending is not None:
            await asyncio.wait({self._sending})

    def _look(self, run: Run) -> None:
        progress = run.progress()
        if progress["events_processed"] - self._told >= EVENTS_AT_LEAST and (
            self._sending is None or self._sending.done()
        ):
            self._told = progress["events_processed"]
            self._sending = asyncio.create_task(self._tell(progress))
        self.watch(run)

    async def _tell(self, progress: dict[str, Any]) -> None:
        try:
            await own(self._send, progress)
        except Exception as exc:  # an error in the operators' view must not fail the run
            log.debug("progress.not_told", task_id=self._task_id, error=exc)

    def _send(self, progress: dict[str, Any]) -> None:
        self._app.backend.store_result(self._task_id, progress, "PROGRESS")
        with self._app.events.default_dispatcher(hostname=self._hostname) as dispatcher:
            dispatcher.send("task-progress", uuid=self._task_id, **progress)
