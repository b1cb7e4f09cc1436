"""A runner key may act for the executions of the queues that it serves. A key without queues serves all queues.

It may begin and claim executions of its queues. It may report a failure if it serves the queue of the error callbacks,
or if it serves the queue of the run and no worker of another key has claimed the run.
"""

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.store import Store


def must_serve(queue: str) -> None:
    """Raises PERMISSION_DENIED if the caller's key does not serve the queue."""
    mine = current().queues
    if mine and queue not in mine:
        raise _not_served(f"the queue {queue!r}")


async def must_serve_run(store: Store, execution_id: str) -> None:
    """Call it before a begin, a claim or a report. Raises PERMISSION_DENIED. Accepts an id that does not exist."""
    if current().queues and (execution := await store.get(execution_id)) is not None:
        must_serve(execution.runner_queue)


async def may_fail(store: Store, execution_id: str) -> None:
    """Call it before a report of a failure ends the execution. Raises PERMISSION_DENIED."""
    mine = current().queues
    if not mine or (execution := await store.get(execution_id)) is None:
        return
    if execution.orchestrator_queue in mine:
        return
    if execution.runner_queue not in mine:
        raise _not_served(f"the queues of AgentExecution '{execution_id}'")
    if execution.owner and await store.worker_key(execution.owner) not in (None, current().key_id):
        raise _not_served(f"the run of AgentExecution '{execution_id}', which a worker of another key has claimed")


def _not_served(what: str) -> Problem:
    mine = ", ".join(sorted(current().queues))
    return Problem(
        Kind.PERMISSION_DENIED,
        f"the key '{current().name}' serves {mine}, and not {what}",
        next_step="Use a key that serves it: agent-runner keys create --scope runner --queue NAME.",
    )
