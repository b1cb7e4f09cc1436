"""Turns Celery's signals about messages and tasks whose body did not report into failure reports at once.

The sweeper ends every execution anyway; these reports make the end fast and give the true reason. Every report is
idempotent: an execution that has ended stays as it is.
"""

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Celery, signals
from celery.worker.consumer import Consumer

from agent_runner.clients.broker.task_names import EXECUTE_GRAPHTON, STEP_OF_TASK, TASK_OF_STEP, TaskName, named_by
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.tasks.app import registered
from agent_runner.tasks.body_errors import REVOKED_BY, ExecutionError, FailureReports
from agent_runner.tasks.report_failure import judge, lost_words

log = event_logger(__name__)

EVENTS_WAIT_S = 0.2


class Signals:
    """Connected for the life of the process. `queue` is the one that is consumed, `worker` the node's name.

    `forks`: a task has a process of its own, so an operator's signal reaches that process, not only a coroutine.
    """

    def __init__(self, app: Celery, reports: FailureReports, *, queue: str, worker: str, forks: bool = False) -> None:
        self._app, self._reports, self._queue, self._worker = app, reports, queue, worker
        self._forks = forks

    def connect(self) -> None:
        signals.task_unknown.connect(self.on_unknown, weak=False)
        signals.task_rejected.connect(self.on_rejected, weak=False)
        signals.task_revoked.connect(self.on_revoked, weak=False)
        signals.task_failure.connect(self.on_failure, weak=False)

    def on_unknown(self, message: Any = None, name: str = "", **_: Any) -> None:
        """Somebody sent a task that this worker does not have."""
        known = ", ".join(registered(self._app))
        self._tell(message, Code.NOT_REGISTERED, activity=name, queue=self._queue, registered=known)

    def on_rejected(self, message: Any = None, exc: BaseException | None = None, **_: Any) -> None:
        """A message of a content type that is not accepted, or without task headers."""
        cause = f"{type(exc).__name__}: {exc}" if exc else "it is no task message"
        self._tell(message, Code.BAD_MESSAGE, cause=cause)

    def on_undecodable(self, message: Any, exc: BaseException) -> None:
        """A body that is no JSON: Celery has no signal for that."""
        self._tell(message, Code.BAD_MESSAGE, cause=f"{type(exc).__name__}: {exc}")

    def on_revoked(
        self, request: Any = None, terminated: bool = False, expired: bool = False, signum: Any = None, **_: Any
    ) -> None:
        """The task was revoked before it started, or terminated. The sweeper decides about expired tasks.

        A terminated run reports its own end, with all its deltas. Where it cannot (EnsureThread, a prefork child that
        was killed or hangs), this report gives the reason, before the loss of the process can be reported.
        """
        task = _task_of(request)
        if expired or not task.execution_id:
            return
        killed = self._forks and signum in ("SIGKILL", "KILL", signal.SIGKILL)
        speaks = terminated and not killed and getattr(request, "name", "") == EXECUTE_GRAPHTON
        by = {"by": REVOKED_BY}
        self._reports.tell(task, Code.CANCELLED, by, after_grace=speaks)

    def on_failure(
        self, sender: Any = None, task_id: str = "", exception: BaseException | None = None, **_: Any
    ) -> None:
        """A pool child died (called in its parent), or a task raised an exception that our bodies do not let out.

        The parent has no request. The execution's id is never read from the arguments: they may be the mistake.
        """
        task = _task_of(getattr(sender, "request", None))
        task = task if task.execution_id else named_by(task_id)
        activity = getattr(sender, "name", "")
        if exception is None or activity not in STEP_OF_TASK or isinstance(exception, ExecutionError):
            # Our own error is reported by the error callback, after the grace.
            return
        facts: dict[str, Any] = {"activity": activity, "worker": self._worker}
        if isinstance(exception, WorkerLostError):
            self._reports.tell(task, Code.WORKER_LOST, {**facts, "cause": lost_words(str(exception))})
        elif isinstance(exception, TimeLimitExceeded):
            # The run's own limit passed 10 s before: nothing is left that could report more.
            self._reports.tell(task, Code.START_TO_CLOSE, facts, after_grace=True)
        elif task.execution_id:
            found = judge(type(exception).__name__, str(exception))
            self._reports.tell(task, found.code, {**facts, **found.facts}, after_grace=True)

    def _tell(self, message: Any, code: Code, **facts: Any) -> None:
        headers: Mapping[str, Any] = getattr(message, "headers", None) or {}
        execution_id = str(headers.get("execution_id") or "")
        facts.setdefault("activity", TASK_OF_STEP.get(str(headers.get("step")), str(headers.get("task") or "unknown")))
        if not execution_id:
            log.error("message.dropped", queue=self._queue, code=code.value, facts=facts)
            return
        task = TaskName(execution_id=execution_id, attempt=_attempt_in(headers.get("attempt")))
        self._reports.tell(task, code, {**facts, "worker": self._worker})


def _task_of(request: Any) -> TaskName:
    """From the headers, or from the task's id if the request has lost them."""
    told, by_id = getattr(request, "execution_id", None), named_by(str(getattr(request, "id", "")))
    return replace(by_id, execution_id=told) if isinstance(told, str) and told else by_id


def _attempt_in(header: Any) -> int:
    """Of a message that may be anybody's."""
    return header if isinstance(header, int) and not isinstance(header, bool) and header > 1 else 1


def telling_consumer(told: Signals) -> type[Consumer]:
    """Celery's consumer, which also reports a body that cannot be decoded before it drops the message.

    It publishes the events of tasks, which Flower shows, together: those of `EVENTS_WAIT_S`, or 24 of them.
    """

    class TellingConsumer(Consumer):
        hub: Any
        connection_errors: Any
        _flush_events: Any
        _publish_at = 0.0
        """When what waits is published. A time and no flag: a connection that is lost takes its timers along."""

        def on_send_event_buffered(self) -> Any:
            """Any thread. Celery would publish in the next round of its loop, about once per event."""
            now = time.monotonic()
            if self.hub and now >= self._publish_at:
                self._publish_at = now + EVENTS_WAIT_S
                self.hub.call_soon(self.hub.call_later, EVENTS_WAIT_S, self._flush_events)

        def shutdown(self) -> None:
            with suppress(*self.connection_errors):
                self._flush_events()
            super().shutdown()

        def on_decode_error(self, message: Any, exc: Exception) -> None:
            told.on_undecodable(message, exc)
            super().on_decode_error(message, exc)

    return TellingConsumer
