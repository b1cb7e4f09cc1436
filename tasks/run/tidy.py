"""After the end of a run: removes the checkpoints of its thread at which no turn can begin."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from agent_runner.clients.engine.memory.database_errors import memory_errors
from agent_runner.status.event_logger import event_logger
from agent_runner.status.phases import Phase
from agent_runner.tasks.run.run import Run

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def tidy(process: "RunnerProcess", run: Run, phase: str) -> None:
    """`phase`: the run's stored end; empty if the run is not ours. If the removal fails, retention does it later."""
    head = run.current.head_checkpoint_id
    if not run.can_hand_back or not head or phase not in ENDED:
        return
    if run.rolled_back:
        await undo(process, run, [run.id])
        return
    if run.current.trail.keeps_all:
        return
    # A run that did not complete may be started again from the head before it.
    before = run.claim.reply.head_checkpoint_id
    also = [before] if before and phase != Phase.COMPLETED.wire_name else []
    try:
        await process.memory.prune(run.current.thread_id, head, also=also)
    except memory_errors() as exc:
        log.warning("memory.not_tidied", execution_id=run.id, error=type(exc).__name__)


async def undo(process: "RunnerProcess", run: Run, execution_ids: Collection[str]) -> None:
    """Remove from the run's thread what these executions wrote. What cannot be removed is no part of any turn."""
    try:
        await process.memory.undo(run.current.thread_id, execution_ids)
    except memory_errors() as exc:
        log.warning("memory.not_tidied", execution_id=run.id, error=type(exc).__name__)


ENDED = {phase.wire_name for phase in (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED)}
