"""Where a redrive begins: at the step that failed, before the whole run, or where the session is now."""

from dataclasses import dataclass

from agent_runner.app.server.problems import failed_precondition, invalid
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import WHAT_IS_FOUND
from agent_runner.status.store.store import Store

FAILED_STEP, START = "failed_step", "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The fields have the same names in `NewExecution`."""

    base_checkpoint_id: str | None = None
    resume_checkpoint_id: str = ""


async def where_to_begin(store: Store, old: Execution, asked: str) -> Begin:
    """`asked` empty: from the failed step if the memory has one, else from before the run.

    After later turns of the session a redrive is one more message: it begins where the session is. Raises
    INVALID_ARGUMENT, and FAILED_PRECONDITION if the failed step was asked for and is not possible.
    """
    if asked not in ("", FAILED_STEP, START):
        raise invalid(f"from: must be {FAILED_STEP!r} or {START!r}, not {asked!r}")
    head, latest = await store.session_memory(old.session_id)
    why = ""
    if old.phase == Phase.COMPLETED:
        why = "it completed"
    elif latest != old.id:
        why = f"its session has gone on since, with {latest or 'nothing that is kept'}"
    elif not head or old.base_checkpoint_id in (None, head):
        why = "no step of it is in memory"
    if asked == FAILED_STEP and why:
        raise failed_precondition(
            f"AgentExecution '{old.id}' cannot go on from a failed step: {why}",
            next_step='Redrive it with {"from": "start"} (--from start), or send a new message.',
        )
    if not why and asked != START:
        return Begin(base_checkpoint_id=old.base_checkpoint_id, resume_checkpoint_id=head)
    if latest == old.id and old.phase != Phase.COMPLETED:
        # Its worker may have died before it could report its first step.
        began = asked != START and old.base_checkpoint_id is not None
        return Begin(base_checkpoint_id=old.base_checkpoint_id, resume_checkpoint_id=WHAT_IS_FOUND if began else "")
    return Begin()
