"""After its end a run leaves in memory what a turn can begin at, and no more."""

from typing import TYPE_CHECKING

import aiosqlite
import psycopg

from agent_runner.status.event_logger import event_logger
from agent_runner.status.phases import Phase
from agent_runner.tasks.run.run import Run

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def tidy(process: "RunnerProcess", run: Run, phase: str) -> None:
    """`phase`: its end as the server stored it; empty if it is not ours. What fails here is left to retention."""
    head = run.current.head_checkpoint_id
    if not run.can_hand_back or not head or phase not in ENDED:
        return
    # A run that failed may be begun again from before it.
    before = run.claim.reply.head_checkpoint_id
    also = [before] if before and phase != Phase.COMPLETED.wire_name else []
    try:
        await process.memory.prune(run.current.thread_id, head, also=also)
    except (aiosqlite.Error, psycopg.Error) as exc:
        log.warning("memory.not_tidied", execution_id=run.id, error=type(exc).__name__)


ENDED = {phase.wire_name for phase in (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED)}
