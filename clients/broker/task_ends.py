"""Tells Celery how a task ended if its worker cannot: the stored result, and the event that Flower shows.

It shows operators how the runs of a dead worker ended. Nothing depends on it: the status is in the store.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celery import Celery
from celery.exceptions import TaskRevokedError

from agent_runner.clients.broker.celery_config import new_celery
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

TRIES, PAUSE_S = 10, 3.0
"""A broker that is away for half a minute costs nothing."""
MOST_WAITING = 10_000


class ExecutionFailed(Exception):
    """The error that a result backend stores for a failure: the text for users, with the code at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnd:
    """`worker` is the Celery node that had the task. `text` says why it ended. `revoked`: it was cancelled."""

    task_id: str
    worker: str
    text: str
    revoked: bool = False
    worker_gone: bool = False
    """The process is known to be dead: an event about its task must not make it look alive."""


class TaskEnds:
    """`tell` returns at once and never raises; `close` drops ends that are not reported yet."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._celery: Celery | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="task ends")
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._closed = threading.Event()

    def tell(self, end: TaskEnd) -> None:
        if not self._waiting.acquire(blocking=False):
            log.warning("task_end.dropped", task_id=end.task_id)
            return
        try:
            self._thread.submit(self._told, end)
        except RuntimeError:  # `close` was called meanwhile
            self._waiting.release()

    def close(self) -> None:
        self._closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._celery is not None:
            self._celery.close()

    def _told(self, end: TaskEnd) -> None:
        try:
            for left in reversed(range(TRIES)):
                try:
                    return self._tell_now(end)
                except Exception as exc:
                    if self._closed.is_set() or not left:
                        log.warning("task_end.not_told", task_id=end.task_id, error=exc)
                        return None
                    log.debug("task_end.retry", task_id=end.task_id, error=exc)
                self._closed.wait(PAUSE_S)
        finally:
            self._waiting.release()

    def _tell_now(self, end: TaskEnd) -> None:
        if self._celery is None:
            self._celery = new_celery(self._settings, main="agent_runner.ends")
        app = self._celery
        error = TaskRevokedError(end.text) if end.revoked else ExecutionFailed(end.text)
        app.backend.store_result(end.task_id, error, "REVOKED" if end.revoked else "FAILURE")
        with app.connection_or_acquire() as connection:
            dispatcher = app.events.Dispatcher(connection, hostname=end.worker, buffer_while_offline=False)
            with dispatcher:
                # Also for a cancel: in Flower a custom state (PROGRESS) replaces REVOKED, but not FAILURE.
                dispatcher.send("task-failed", uuid=end.task_id, exception=repr(error), traceback="")
                if end.worker_gone:
                    dispatcher.send("worker-offline")
