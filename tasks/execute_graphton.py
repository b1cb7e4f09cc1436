"""ExecuteGraphton: runs the agent. The run itself is `tasks/run/execution.py`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery import Celery

from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.run.progress import Progress

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess


async def execute_graphton(
    process: "RunnerProcess", app: Celery, task_id: str, hostname: str, execution_id: str, carried: Mapping[str, str]
) -> dict[str, Any]:
    """`{execution_id, phase, code, last_seq}`: a failure of the agent and a cancel are results, not errors.

    `carried`: the trace context that came with the message."""
    return await execute(process, execution_id, Progress(app, task_id, hostname), carried)
