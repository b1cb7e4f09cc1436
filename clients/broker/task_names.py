"""The names that server and workers share: tasks, and the ids of their messages."""

from dataclasses import dataclass

ENSURE_THREAD = "EnsureThread"
EXECUTE_GRAPHTON = "ExecuteGraphton"
CLEANUP_SANDBOX = "CleanupSandbox"
PRUNE_THREAD = "PruneThread"
QUERY_GRAPH = "QueryGraph"
REPORT_FAILURE = "ReportFailure"

STEP_OF_TASK = {ENSURE_THREAD: "ensure_thread", EXECUTE_GRAPHTON: "execute"}
"""The value of the header `step`; also the end of the task's id, followed by the attempt from the second one on."""


TASK_OF_STEP = {step: task for task, step in STEP_OF_TASK.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskName:
    """What a task's id says. `step` is empty for an id that is not ours."""

    execution_id: str = ""
    step: str = ""
    attempt: int = 1


def task_id(execution_id: str, task: str, attempt: int = 1) -> str:
    """The id of this execution's message for that task and attempt: the same for every copy."""
    return f"{execution_id}:{STEP_OF_TASK[task]}" + (f".{attempt}" if attempt > 1 else "")


def named_by(task_id: str) -> TaskName:
    execution_id, colon, last = task_id.rpartition(":")
    step, dot, number = last.partition(".")
    if not colon or step not in TASK_OF_STEP or (dot and not (number.isascii() and number.isdecimal())):
        return TaskName()
    return TaskName(execution_id=execution_id, step=step, attempt=int(number) if dot else 1)
