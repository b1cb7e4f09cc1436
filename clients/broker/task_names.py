"""The names that server and workers share: tasks, and the ids of their messages."""

ENSURE_THREAD = "EnsureThread"
EXECUTE_GRAPHTON = "ExecuteGraphton"
CLEANUP_SANDBOX = "CleanupSandbox"
PRUNE_THREAD = "PruneThread"
QUERY_GRAPH = "QueryGraph"
REPORT_FAILURE = "ReportFailure"

STEP_OF_TASK = {ENSURE_THREAD: "ensure_thread", EXECUTE_GRAPHTON: "execute"}
"""The value of the header `step`; also the end of the task's id."""


def task_id(execution_id: str, task: str) -> str:
    """The id of this execution's message for that task: the same for every copy."""
    return f"{execution_id}:{STEP_OF_TASK[task]}"
