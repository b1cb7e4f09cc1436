"""ReportFailure: the error callback of both tasks, on the orchestrator's queue.

Celery calls it once, twice or not at all, so it is idempotent and never the only report of a failure. It invents no
reason: it reports what the failed task left as its result.
"""

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import Celery

from agent_runner.clients.broker.task_names import EXECUTE_GRAPHTON, TASK_OF_STEP, named_by
from agent_runner.clients.process.threads import own
from agent_runner.clients.reporting.native import BackendError
from agent_runner.status.failures import Code
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

_OWN_CODE = re.compile(r"\[(E\d{3})\] (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The failure in a failed task's result. `facts` feed the failure table."""

    code: Code
    facts: dict[str, Any] = field(default_factory=dict)


async def report_failure(process: "RunnerProcess", app: Celery, execution_id: str, parent_id: str) -> dict[str, Any]:
    """`{execution_id, phase, code, last_seq}` of the execution after the report. Raises ExecutionError."""
    if not execution_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Execution ID is required")
    failed = named_by(parent_id)
    found = await own(read_failure, app, parent_id)
    facts = {"activity": TASK_OF_STEP.get(failed.step, EXECUTE_GRAPHTON), **found.facts}
    request = pb.FailRequest(
        execution_id=execution_id,
        code=found.code.value,
        facts_json=json.dumps(facts),
        after_grace=True,
        # The failure of a copy of EnsureThread says nothing about the run that has started since.
        step=failed.step,
        attempt=failed.attempt,
    )
    try:
        reply = await process.backend.fail(request)
    except BackendError as exc:
        raise ExecutionError.of(Code.WORKER_LOST, f"the failure was not reported: {exc}") from None
    return {"execution_id": execution_id, "phase": reply.phase, "code": reply.code, "last_seq": reply.last_seq}


def read_failure(app: Celery, task_id: str) -> Found:
    """Blocks for one read of the result backend. If the result is gone, the failure has no cause."""
    if not task_id:
        return Found(code=Code.SYSTEM)
    meta = app.backend.get_task_meta(task_id)
    error = meta.get("result")
    if meta.get("status") != "FAILURE" or not isinstance(error, BaseException):
        return Found(code=Code.SYSTEM)
    return judge(type(error).__name__, str(error))


def judge(name: str, text: str) -> Found:
    """The failure that an exception means. The result backend stores its class (`name`) and its `text`."""
    if own := _OWN_CODE.search(text):
        code = Code.known(own[1]) or Code.WORKER_LOST
        return Found(code=code, facts={"cause": own[2], "original_error": own[2], "by": own[2]})
    match name:
        case "WorkerLostError" | "Terminated" | "SystemExit":
            return Found(code=Code.WORKER_LOST, facts={"cause": lost_words(text)})
        case "TimeLimitExceeded" | "SoftTimeLimitExceeded":
            limit = re.search(r"[\d.]+", text)
            return Found(code=Code.START_TO_CLOSE, facts={"limit_s": float(limit[0])} if limit else {})
        case "NotRegistered":
            return Found(code=Code.NOT_REGISTERED)
        case "TypeError":
            return Found(code=Code.BAD_MESSAGE, facts={"cause": re.sub(r"\S*<locals>\.", "", text)})
        case _:
            return Found(code=Code.SYSTEM, facts={"original_error": f"{name}: {text}" if text else name})


def lost_words(text: str) -> str:
    """`signal 9: usually out of memory` for Celery's text about a process that was killed."""
    if re.search(r"signal 9\b", text):
        return "signal 9: usually out of memory"
    if code := re.search(r"exitcode (\d+)", text):
        return f"exit code {code[1]}"
    return text or "its process ended"
