"""The result of a task whose execution had ended before the task began: Celery and Flower get the stored end.

Without this, the copy of a message whose worker died would turn the failed task into a successful one.
"""

from typing import Any

from celery import Task
from celery.exceptions import Ignore, TaskRevokedError

from agent_runner.status.event_logger import event_logger
from agent_runner.status.phases import Phase
from agent_runner.tasks.body_errors import AlreadyEnded, ExecutionError

log = event_logger(__name__)


def repeat_end(task: "Task[Any, Any]", execution_id: str, ended: AlreadyEnded) -> dict[str, Any]:
    """The result of a completed execution. Else raises, so that Celery sets FAILURE or REVOKED, without a callback."""
    if ended.phase == Phase.COMPLETED.wire_name:
        return {"execution_id": execution_id, "phase": ended.phase, "code": "", "last_seq": 0}
    # The failure has been reported; a callback could only report it again.
    task.request.errbacks = None
    if ended.phase == Phase.CANCELLED.wire_name:
        _revoked(task, str(ended))
        raise Ignore
    raise ExecutionError(str(ended)) from None


def _revoked(task: "Task[Any, Any]", text: str) -> None:
    task_id = task.request.id or ""
    try:
        task.backend.store_result(task_id, TaskRevokedError(text), "REVOKED")
        task.send_event("task-failed", exception=repr(TaskRevokedError(text)), traceback="")
    except Exception as exc:  # an error in the operators' view must not fail the task
        log.debug("task_end.not_repeated", task_id=task_id, error=exc)
