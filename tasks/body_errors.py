"""The exceptions of a task's body, and failure reports over HTTP for runs whose body cannot report."""

import json
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent_runner.clients.backend.tls import direct_opener
from agent_runner.clients.broker.task_names import TaskName
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

TELL_TIMEOUT_S, TELL_TRIES, TELL_PAUSE_S = 2.0, 10, 1.0


REVOKED_BY = "an operator, who revoked the task"
"""Who cancelled a run whose task was revoked or terminated: the words of E401."""


class ExecutionError(Exception):
    """The only exception that a task's body lets out: `[E103] ...`, masked, and always picklable."""

    def __init__(self, text: str) -> None:
        super().__init__(text)

    @classmethod
    def of(cls, code: Code, text: str) -> "ExecutionError":
        return cls(f"[{code.value}] {text}")


class AlreadyEnded(ExecutionError):
    """The claim was refused because the execution has ended: the message is a copy, or it came too late."""

    def __init__(self, phase: str, error: str) -> None:
        super().__init__(error or phase)
        self.phase = phase


class FailureReports:
    """Reports failures to the server over HTTP, with the standard library: a process that forks opens no gRPC channel.

    `tell` returns at once. `tell_now` returns True when the server has the report, False when it refused or did not
    answer any try.
    """

    def __init__(self, settings: "Settings") -> None:
        self._url = f"{settings.http_url.rstrip('/')}/v1/runner/failures"
        key = settings.api_key.get_secret_value()
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._opener = direct_opener(settings.tls_ca)

    def tell(self, task: TaskName, code: Code, facts: Mapping[str, Any], *, after_grace: bool = False) -> None:
        options = {"after_grace": after_grace, "attempt": task.attempt}
        threading.Thread(
            target=self.tell_now,
            args=(task.execution_id, code, facts),
            kwargs=options,
            name="failure report",
            daemon=True,
        ).start()

    def tell_now(
        self,
        execution_id: str,
        code: Code,
        facts: Mapping[str, Any],
        *,
        after_grace: bool = False,
        attempt: int = 1,
        tries: int = TELL_TRIES,
    ) -> bool:
        said: dict[str, Any] = {"execution_id": execution_id, "code": code.value, "facts": dict(facts)}
        said |= {"after_grace": after_grace} | ({"attempt": attempt} if attempt > 1 else {})
        for left in reversed(range(tries)):
            request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
                self._url, json.dumps(said, default=str).encode(), self._headers, method="POST"
            )
            try:
                with self._opener.open(request, timeout=TELL_TIMEOUT_S):
                    return True
            except (OSError, ValueError) as exc:
                status = getattr(exc, "code", 500)
                if not left or 400 <= status < 500:
                    log.warning("failure.not_told", execution_id=execution_id, code=code.value, error=exc)
                    return False
            time.sleep(TELL_PAUSE_S)
        return False
