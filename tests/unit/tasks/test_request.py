"""What Celery's side is told of an execution that had ended before its message was taken."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from billiard.exceptions import WorkerLostError
from celery import Task
from celery.exceptions import Ignore

from agent_runner.status.phases import Phase
from agent_runner.tasks.body_errors import AlreadyEnded, ExecutionError
from agent_runner.tasks.repeated_end import repeat_end
from agent_runner.tasks.request import TERMINATED, RunRequest

ERROR = "The worker process is gone: signal 9 [E103 WORKER_LOST]"


class Recorded:
    """A bound task, as far as an end needs it."""

    def __init__(self) -> None:
        self.request = SimpleNamespace(id="aex-1:execute", errbacks=["report"])
        self.stored: list[tuple[str, str]] = []
        self.events: list[tuple[str, str]] = []
        self.backend = SimpleNamespace(store_result=lambda task, error, state: self.stored.append((task, state)))

    def send_event(self, type: str, **fields: Any) -> None:
        self.events.append((type, fields["exception"]))


class Revoked:
    """A worker's request that was terminated, as far as its failure needs it."""

    id = "aex-1:execute"
    _already_revoked = True

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def send_event(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields["exception"]))


def repeated(phase: Phase, error: str, task: Recorded) -> dict[str, Any]:
    return repeat_end(cast("Task[Any, Any]", task), "aex-1", AlreadyEnded(phase.wire_name, error))


def test_a_copy_of_a_failed_run_fails_the_same_way() -> None:
    """With the stored words, and without a callback that would tell the failure again."""
    task = Recorded()
    with pytest.raises(ExecutionError, match="E103 WORKER_LOST") as raised:
        repeated(Phase.FAILED, ERROR, task)
    assert str(raised.value) == ERROR
    assert not task.request.errbacks


def test_a_copy_of_a_cancelled_run_is_revoked() -> None:
    """Celery stores REVOKED, Flower reads the words; the body's outcome is ignored."""
    task = Recorded()
    with pytest.raises(Ignore):
        repeated(Phase.CANCELLED, "Cancelled by ann [E401 CANCELLED]", task)
    assert task.stored == [("aex-1:execute", "REVOKED")]
    ((type, exception),) = task.events
    assert type == "task-failed"
    assert "E401 CANCELLED" in exception


def test_a_copy_of_a_completed_run_is_a_result() -> None:
    """It says COMPLETED, as the first one did."""
    assert repeated(Phase.COMPLETED, "", Recorded())["phase"] == "EXECUTION_COMPLETED"


@pytest.mark.parametrize(
    "error", [WorkerLostError("signal 15 (SIGTERM)"), ExecutionError("[E103] the task's body failed: SystemExit")]
)
def test_a_child_that_an_operators_signal_ended_is_no_lost_worker(error: Exception) -> None:
    """Whether it died at once or could still say that it ends: Flower reads whose order it was."""
    request = Revoked()
    RunRequest.on_failure(cast("RunRequest", request), SimpleNamespace(exception=error))
    assert request.events == [("task-failed", TERMINATED)]
