"""Which executions a runner key may speak of: those of the queues that it serves. A key without queues serves all.

It begins and claims what waits in its queues. It tells that an execution failed where it serves the queue of the error
callbacks, or where it serves the queue of the run and the run is nobody else's.
"""

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.store import Store


def must_serve(queue: str) -> None:
    """Raises PERMISSION_DENIED."""
    mine = current().queues
    if mine and queue not in mine:
        raise _not_served(f"the queue {queue!r}")


async def must_serve_run(store: Store, execution_id: str) -> None:
    """Before it is begun, claimed or reported. Raises PERMISSION_DENIED; what does not exist is told by others."""
    if current().queues and (execution := await store.get(execution_id)) is not None:
        must_serve(execution.runner_queue)


async def may_fail(store: Store, execution_id: str) -> None:
    """Before it is ended from outside. Raises PERMISSION_DENIED."""
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
