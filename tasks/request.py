"""What a worker holds of a message: Celery's request, which tells of a terminated task what became of it."""

from typing import Any

from billiard.exceptions import WorkerLostError
from celery.worker import state
from celery.worker.request import Request

TERMINATED = "TaskRevokedError('terminated by an operator [E401 CANCELLED]')"


class RunRequest(Request):
    """A child of prefork that an operator's signal killed is no lost worker.

    Flower keeps the state that it takes for the latest, and a custom one (PROGRESS) is later than REVOKED for it: so
    the end of a terminated task is told as a failure that names the order.
    """

    _already_revoked: bool

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        if self._already_revoked and isinstance(exc_info.exception, WorkerLostError):
            state.task_ready(self)
            self.send_event("task-failed", exception=TERMINATED, traceback="")
            return None
        return super().on_failure(exc_info, send_failed_event, return_ok)
