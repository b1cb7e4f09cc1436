"""What a worker holds of a message: Celery's request, which stays revoked once an operator has terminated it."""

from typing import Any

from billiard.exceptions import WorkerLostError
from celery.worker.request import Request, task_ready

from status.phases import Phase


class RunRequest(Request):
    """The run of a terminated task ends by itself, or with its process; neither makes it a success or a failure.

    Celery would tell Flower both: REVOKED, and then what came of the body.
    """

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        if self._already_revoked and isinstance(exc_info.exception, WorkerLostError):
            task_ready(self)
            return None
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def send_event(self, type: str, **fields: Any) -> None:
        outcome = type in ("task-succeeded", "task-failed")
        # It may have completed before the order reached it: then that is what became of it.
        if outcome and self._already_revoked and Phase.COMPLETED.wire_name not in str(fields.get("result")):
            return
        super().send_event(type, **fields)
