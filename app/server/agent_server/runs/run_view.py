"""A run as this API shows it, and how an execution ended in its words."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal

from agent_runner.app.server.agent_server.assistants.assistant_service import default_id
from agent_runner.app.server.agent_server.offsets import iso
from agent_runner.app.server.agent_server.runs.run_drafts import RUN
from agent_runner.app.server.agent_server.uuids import run_uuid, thread_uuid
from agent_runner.status.failures import Code
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.store.records import Execution

Json = dict[str, Any]
RunField = Literal[
    "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status", "metadata", "kwargs",
    "multitask_strategy", "langsmith_session_name", "execution_id",
]  # fmt: skip
"""What a list of runs can be cut down to."""
TIMEOUTS = frozenset({Code.START_TO_CLOSE.value, Code.SCHEDULE_TO_CLOSE.value, Code.THREAD_BUSY.value})


class RunStatus(Enum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


OF_PHASE = {
    Phase.PENDING: RunStatus.PENDING,
    Phase.IN_PROGRESS: RunStatus.RUNNING,
    Phase.COMPLETED: RunStatus.SUCCESS,
    Phase.FAILED: RunStatus.ERROR,
    Phase.CANCELLED: RunStatus.INTERRUPTED,
}
CHOSEN_BY: Mapping[str, Json] = {
    **{status.value: {"phases": [phase]} for phase, status in OF_PHASE.items()},
    RunStatus.ERROR.value: {"phases": [Phase.FAILED], "without_codes": sorted(TIMEOUTS)},
    RunStatus.TIMEOUT.value: {"phases": [Phase.FAILED], "codes": sorted(TIMEOUTS)},
}
"""By status: what finds its executions in the store."""


def status_of(execution: Execution) -> RunStatus:
    """An execution that stopped with a question has succeeded: its thread waits, not the run."""
    if execution.phase is Phase.FAILED and execution.error_code in TIMEOUTS:
        return RunStatus.TIMEOUT
    return OF_PHASE[execution.phase]


def run_json(execution: Execution, first: Json) -> Json:
    """`first`: the payload of the first row of its log, with the input."""
    kept = execution.spec.get(RUN) or {}
    beside, asked = first.get("metadata") or {}, first.get("asked") or {}
    given = beside.get("input") if kept else beside.get("input", {"messages": [first.get("content", "")]})
    kwargs = {"input": given, "command": asked.get("command"), **(kept.get("kwargs") or {})}
    changed = execution.completed_at or execution.claimed_at or execution.created_at
    begins = max(execution.created_at, execution.not_before)
    return {
        "run_id": run_uuid(execution.id),
        "thread_id": thread_uuid(execution.session_id),
        "assistant_id": kept.get("assistant_id") or default_id(execution.graph),
        "status": status_of(execution).value,
        "metadata": kept.get("metadata") or {},
        "kwargs": kwargs,
        "multitask_strategy": execution.multitask,
        "created_at": iso(begins),
        "updated_at": iso(max(changed, begins)),
        "langsmith_session_name": None,
        "execution_id": execution.id,
    }


def has_ended(execution: Execution) -> bool:
    return execution.phase in TERMINAL_PHASES
