"""The request of a worker for a message: Celery's own, which also reports the end of a terminated task."""

from typing import Any

from billiard.exceptions import WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from agent_runner.tasks.body_errors import ExecutionError

TERMINATED = "TaskRevokedError('terminated by an operator [E401 CANCELLED]')"


class RunRequest(Request):
    """A prefork child that an operator's signal killed does not count as a lost worker.

    Flower keeps the state that it considers the latest, and considers a custom state (PROGRESS) later than REVOKED. So
    the end of a terminated task is sent as a failure that names the operator's order.
    """

    _already_revoked: bool

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        if self._already_revoked and _was_ended(exc_info.exception):
            state.task_ready(self)
            self.send_event("task-failed", exception=TERMINATED, traceback="")
            return None
        return super().on_failure(exc_info, send_failed_event, return_ok)


def _was_ended(error: BaseException) -> bool:
    """The child died of the signal, or its body was left by what the signal raised there."""
    return isinstance(error, WorkerLostError) or (isinstance(error, ExecutionError) and "SystemExit" in str(error))
