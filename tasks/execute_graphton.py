"""ExecuteGraphton: runs the agent. The run itself is `tasks/run/execution.py`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import Ignore

from agent_runner.status.phases import Phase
from agent_runner.tasks.body_errors import AlreadyEnded
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.run.progress import Progress

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

ENDED_BADLY = frozenset({Phase.FAILED.wire_name, Phase.CANCELLED.wire_name})


async def execute_graphton(
    process: "RunnerProcess", app: Celery, task_id: str, hostname: str, execution_id: str, carried: Mapping[str, str]
) -> dict[str, Any]:
    """`{execution_id, phase, code, last_seq}` of an execution that completed.

    Raises AlreadyEnded with the end of another one, and Ignore where this delivery ended nothing: the run was handed
    on, or another worker has it. With the setting `celery_result=success` these are results, too.
    `carried`: the trace context that came with the message.
    """
    progress = Progress(app, task_id, hostname)
    result = await execute(process, execution_id, progress, carried)
    phase = str(result["phase"])
    if process.settings.celery_result == "success" or phase == Phase.COMPLETED.wire_name:
        return result
    if phase not in ENDED_BADLY:
        raise Ignore
    raise AlreadyEnded(phase, progress.error or f"[{result['code']}]")
