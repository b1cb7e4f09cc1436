"""Finds the Celery task of an execution that the server ended, so that Flower shows its end if the worker is gone."""

from typing import Protocol

from agent_runner.clients.broker.task_ends import TaskEnd
from agent_runner.clients.broker.task_names import ENSURE_THREAD, EXECUTE_GRAPHTON, task_id
from agent_runner.status.failures import Code
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.store.records import Execution
from agent_runner.status.store.store import Store

NOBODY = "nobody"
"""The name of the node, in Flower, of executions that ended before any worker had them."""


class TaskEndTeller(Protocol):
    def tell(self, end: TaskEnd) -> None: ...


async def tell_task_end(store: Store, ends: TaskEndTeller | None, ended: Execution) -> None:
    """Call it after an end, also of an attempt, that no worker wrote.

    `ended` may be the row from before the end: the text of the error is read only if there is a task to report. Where
    no worker had a task, the end is that of ExecuteGraphton at nobody: the copy of a message that comes later ends so,
    too.
    """
    task = task_of(ended) if ended.owner_name else EXECUTE_GRAPHTON
    if ends is None or not task:
        return
    found = await store.state(ended.id)
    if found is None:
        return
    execution, state = found
    attempt = max(1, ended.attempt)
    before = next((one for one in state.attempts if one.get("attempt") == attempt), None)
    if before is None and execution.phase not in TERMINAL_PHASES:
        return
    text, code = (before["error"], before["error_code"]) if before else (state.error, execution.error_code)
    ends.tell(
        TaskEnd(
            task_id=task_id(execution.id, task, attempt),
            worker=ended.owner_name or f"{NOBODY}@{execution.runner_queue}",
            text=text or execution.phase.wire_name,
            revoked=before is None and execution.phase is Phase.CANCELLED,
            worker_gone=code == Code.WORKER_LOST.value or not ended.owner_name,
        )
    )


def task_of(execution: Execution) -> str:
    """The name of the task that was running at the end; empty between the two tasks."""
    if execution.claimed_at is not None:
        return EXECUTE_GRAPHTON
    return "" if execution.thread_id else ENSURE_THREAD
