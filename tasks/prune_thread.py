"""PruneThread: removes checkpoints of a thread that no turn can need, or the whole thread if its session is gone."""

from typing import TYPE_CHECKING, Any

from agent_runner.clients.engine.memory.database_errors import memory_errors
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.removals import confirm
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def prune_thread(process: "RunnerProcess", thread_id: str, head_checkpoint_id: str) -> dict[str, Any]:
    """`{thread_id, checkpoints}`: how many were removed; 0 also for a whole thread. Raises ExecutionError."""
    if not thread_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Thread ID is required for PruneThread")
    try:
        count = await process.memory.prune(thread_id, head_checkpoint_id)
    except memory_errors() as exc:
        raise ExecutionError.of(Code.SYSTEM, f"thread {thread_id} stays for now: {type(exc).__name__}") from None
    log.info("thread.pruned", thread_id=thread_id, checkpoints=count, whole=not head_checkpoint_id)
    await confirm(process, pb.RemovedRequest(thread_id=thread_id, head_checkpoint_id=head_checkpoint_id))
    return {"thread_id": thread_id, "checkpoints": count}
