"""The refusal of an execution that no worker would take, where AGENT_RUNNER_REQUIRE_WORKER asks for it."""

from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.store import Store

CODE = "NO_WORKER"
REASON_CHARS = 500


async def no_worker(store: Store, queue: str) -> Problem:
    """UNAVAILABLE: nothing was stored. With the reason why the last worker could not start, if there is one."""
    failed = await store.last_startup_failure(queue)
    why = f"; the last one that was started failed: {failed[1][:REASON_CHARS]}" if failed else ""
    return Problem(
        Kind.UNAVAILABLE,
        f"no worker of queue '{queue}' is there, and the server accepts nothing without one{why}",
        next_step="Start a worker (agent-runner worker), or wait for it and send it again; agent-runner doctor shows"
        " which are there. Without AGENT_RUNNER_REQUIRE_WORKER it would wait, and end E101 if none comes.",
        code=CODE,
    )
