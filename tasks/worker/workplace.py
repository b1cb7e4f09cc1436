"""Where a task's body finds the process that it works in, and how it waits for the process' event loop."""

from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from agent_runner.status.failures import Code
from agent_runner.tasks.body_errors import REVOKED_BY, ExecutionError
from agent_runner.tasks.worker.pool import current_slot

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

AFTER_SOFT_LIMIT_S = 4.0
"""Prefork's hard limit comes 5 s after the soft one."""

T = TypeVar("T")


class Workplace:
    """One per Celery application. Holds nothing until the process has been started (after any fork)."""

    def __init__(self) -> None:
        self._process: RunnerProcess | None = None

    @property
    def process(self) -> "RunnerProcess":
        if self._process is None:
            raise RuntimeError("this process has not been started as a worker")
        return self._process

    @process.setter
    def process(self, process: "RunnerProcess") -> None:
        self._process = process

    def put_back_if_leaving(self) -> None:
        """Before a task begins: a leaving worker starts nothing. Its consumer is closed: no message returns to it."""
        if self.process.draining:
            raise Reject("the worker is leaving", requeue=True)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it on the event loop and wait in this thread. Raises only ExecutionError and Ignore.

        A MemoryError that reaches Celery ends the whole worker, and a SystemExit takes a slot for ever. Another
        exception may not be picklable and may show a secret. So none of them passes.
        """
        work = self.process.loop.submit(coroutine)
        if slot := current_slot():
            slot.bind(work)
        try:
            try:
                return work.result()
            except SoftTimeLimitExceeded:
                work.cancel()
                return work.result(AFTER_SOFT_LIMIT_S)
            except CancelledError:
                # Terminated while no run could report it yet: in EnsureThread, or before the end of the claim.
                raise ExecutionError.of(Code.CANCELLED, REVOKED_BY) from None
        except (ExecutionError, Ignore):
            raise
        except BaseException as exc:
            raise ExecutionError.of(Code.WORKER_LOST, f"the task's body failed: {type(exc).__name__}") from None
