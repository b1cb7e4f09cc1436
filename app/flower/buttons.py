"""What Flower's buttons do to executions. The table below is that of docs/guides/flower.md, and is tested row by row.

Revoke, Terminate and Abort mean the same here: the execution is cancelled. Celery's own order goes out first, so that a
worker reports who gave it; what no worker knows (an execution that waits, a queue without workers, the id of an
execution instead of a task's) is cancelled on the server.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.control import Control
from celery.contrib.abortable import AbortableAsyncResult
from tornado.web import RequestHandler

from agent_runner.app.flower.flower_plan import FlowerPlan
from agent_runner.clients.backend.tls import direct_opener
from agent_runner.clients.broker.task_names import ENSURE_THREAD, EXECUTE_GRAPHTON, STEP_OF_TASK, task_id
from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)

OURS = "aex-"
LOOK_AGAIN_S = 2.0
"""The time for a worker to report the end by itself."""
ANSWER_S = 5.0
TIME_LIMIT = (
    "Not here: the time limit belongs to each execution. Give `timeouts` (start_to_close_s) with it, or set"
    " AGENT_RUNNER_START_TO_CLOSE_TIMEOUT_S."
)
RATE_LIMIT = (
    "Not here: a worker that holds a message back would let its execution end as if no worker had been there (E101)."
    " AGENT_RUNNER_CONCURRENCY and the buttons of the pool limit runs, AGENT_RUNNER_MAX_QUEUED what may wait."
)
RESTARTS = "Shutting down: it lets its runs reach a step, and its supervisor starts another one in its place."


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """`running`, `queued`: what happens to an execution in that state, in a few words."""

    name: str
    running: str
    queued: str


BUTTONS = (
    Button(name="Revoke", running="CANCELLED (E401)", queued="CANCELLED (E401)"),
    Button(name="Terminate", running="CANCELLED (E401), with any signal", queued="CANCELLED (E401)"),
    Button(name="Abort", running="CANCELLED (E401)", queued="CANCELLED (E401)"),
    Button(name="Pool grow", running="goes on", queued="may begin: the worker has the new slots at once"),
    Button(name="Pool shrink", running="goes on to its end", queued="waits: the worker has fewer slots from now on"),
    Button(name="Autoscale", running="goes on", queued="as for the greatest number: that many slots from now on"),
    Button(name="Shut down", running="handed on at its next step, else E106", queued="another worker takes it"),
    Button(name="Time limit", running="nothing: refused (409) with what to set instead", queued="the same"),
    Button(name="Rate limit", running="nothing: refused (409) with what to set instead", queued="the same"),
)


class OnTheServer:
    """Cancels executions over the server's HTTP API. Blocking; each call in a thread of its own."""

    def __init__(self, plan: FlowerPlan) -> None:
        self._url = f"{plan.http_url.rstrip('/')}/v1/executions"
        self._headers = {"Authorization": f"Bearer {plan.api_key}", "Content-Type": "application/json"}
        self._opener = direct_opener(Path(plan.tls_ca) if plan.tls_ca else None)

    def cancel_soon(self, execution_id: str) -> None:
        threading.Thread(target=self._cancel, args=(execution_id,), name="cancel", daemon=True).start()

    def _cancel(self, execution_id: str) -> None:
        until = time.monotonic() + LOOK_AGAIN_S
        try:
            while time.monotonic() < until:
                if self._ended(execution_id):
                    return
                time.sleep(0.2)
            self._call("POST", f"{self._url}/{execution_id}/cancel")
        except (OSError, ValueError) as error:
            log.warning("flower.not_cancelled", execution_id=execution_id, error=error)

    def _ended(self, execution_id: str) -> bool:
        found = self._call("GET", f"{self._url}/{execution_id}")
        return str(found["status"]["phase"]) not in ("EXECUTION_PENDING", "EXECUTION_IN_PROGRESS")

    def _call(self, method: str, url: str) -> Any:
        body = b"{}" if method == "POST" else None
        request = urllib.request.Request(url, body, self._headers, method=method)  # noqa: S310 - http and https only
        with self._opener.open(request, timeout=ANSWER_S) as answer:
            return json.loads(answer.read())


def execution_of(given: str) -> str:
    """The execution that an id means: its own, or that of one of its tasks; empty for a stranger's task."""
    execution_id, _, step = given.rpartition(":")
    if step in STEP_OF_TASK.values() and execution_id:
        return execution_id
    return given if given.startswith(OURS) else ""


def install(plan: FlowerPlan) -> None:
    """Make Celery's orders of this process mean executions. Call it before Flower's application is made."""
    server = OnTheServer(plan)
    revoke = Control.revoke

    def revoke_execution(self: Any, given: Any, *args: Any, **rest: Any) -> Any:
        execution_id = execution_of(given) if isinstance(given, str) else ""
        if not execution_id:
            return revoke(self, given, *args, **rest)
        tasks = [task_id(execution_id, task) for task in (ENSURE_THREAD, EXECUTE_GRAPHTON)]
        answer = revoke(self, tasks, *args, **{**rest, "terminate": True})
        server.cancel_soon(execution_id)
        return answer

    def abort(self: Any) -> None:
        app: Celery = self.app
        app.control.revoke(self.id, terminate=True)

    Control.revoke = revoke_execution  # type: ignore[method-assign,assignment]
    AbortableAsyncResult.abort = abort  # type: ignore[method-assign]
    _levers()


def refusing(reason: str) -> type[RequestHandler]:
    """A handler that changes nothing and says why."""

    class Refusing(RequestHandler):
        def prepare(self) -> None:
            self.set_status(409)
            self.finish(reason)

        def check_xsrf_cookie(self) -> None:
            """Not needed: a refused request changes nothing."""

    return Refusing


def _levers() -> None:
    """Buttons that cannot do what they say answer why; `Shut down` says what happens next."""
    import flower.command
    from flower.api.control import WorkerShutDown
    from flower.app import Flower

    time_limit, rate_limit = refusing(TIME_LIMIT), refusing(RATE_LIMIT)
    shut_down = WorkerShutDown.post

    async def shut_down_and_say(self: Any, workername: str) -> None:
        write = self.write
        self.write = lambda _: write({"message": RESTARTS})
        await shut_down(self, workername)

    class FlowerOfExecutions(Flower):  # type: ignore[misc]
        def find_handler(self, request: Any, **rest: Any) -> Any:
            if request.method == "POST" and "/api/task/timeout/" in request.path:
                return self.get_handler_delegate(request, time_limit)
            if request.method == "POST" and "/api/task/rate-limit/" in request.path:
                return self.get_handler_delegate(request, rate_limit)
            return super().find_handler(request, **rest)

    flower.command.Flower = FlowerOfExecutions
    WorkerShutDown.post = shut_down_and_say
