"""Finds the steps in memory after a head: a worker that was lost may have written more steps than it could report.

A step is reported a moment after it is durable, and later if no server answers. The next run of the session finds it
here. If that run went on from the reported head, it would forget a mail that was sent, or send it again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_runner.clients.engine.current import CurrentRun
    from agent_runner.clients.engine.memory.checkpoints import HeadTracking

WRITTEN_SQLITE = "SELECT task_id, type, value FROM writes WHERE thread_id = ? AND channel = ? AND checkpoint_id >= ?"
WRITTEN_POSTGRES = """
SELECT task_id, type, blob FROM checkpoint_writes WHERE thread_id = %s AND channel = %s AND checkpoint_id >= %s
"""
STEPS_SQLITE = """
SELECT checkpoint_id, parent_checkpoint_id, metadata FROM checkpoints
WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id > ? ORDER BY checkpoint_id
"""
STEPS_POSTGRES = """
SELECT checkpoint_id, parent_checkpoint_id,
    jsonb_build_object('source', metadata -> 'source', 'execution_id', metadata -> 'execution_id') AS metadata
FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id > %s ORDER BY checkpoint_id
"""
NO_CHECKPOINT = "00000000-0000-0000-0000-000000000000"
"""A checkpoint that never exists: a turn without a head starts empty, whatever the thread holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A checkpoint of the main conversation. `source`: LangGraph's word for its cause (input, loop, ...)."""

    id: str
    parent: str
    source: str
    execution_id: str


def step(id: str, parent: str | None, metadata: Mapping[str, Any]) -> Step:
    """The step in a checkpoint's row of the database."""
    found = "" if parent in (None, NO_CHECKPOINT) else str(parent)
    known = {name: str(metadata.get(name) or "") for name in ("source", "execution_id")}
    return Step(id=id, parent=found, source=known["source"], execution_id=known["execution_id"])


def furthest(steps: Iterable[Step], head: str, untold: str) -> str:
    """The last checkpoint that the execution `untold` reached after `head`; `head` if there is none. `steps`: oldest
    first."""
    found = reached(steps, head, {untold})
    return found[-1].id if found else head


def reached(steps: Iterable[Step], head: str, untold: Collection[str]) -> list[Step]:
    """The steps that these executions reached after `head`. `steps`: oldest first.

    Their own checkpoints count, and steps of the graph that had no new input: a new input of another execution begins
    the work of that execution. A run removes checkpoints of its own that it needs no more, so the one before may be
    missing.
    """
    found: list[Step] = []
    there, places = {head}, [*steps]
    known = {one.id for one in places} | {head}
    for one in places:
        own = one.execution_id in untold
        cut = own and one.parent not in known and one.parent > head
        if cut or (one.parent in there and (own or (head and one.source == "loop"))):
            there.add(one.id)
            found.append(one)
    return found


BEGUN = frozenset({"input", "loop"})
"""What a checkpoint of a run that has taken its input comes from. A repair of the state before comes from "update"."""


async def catch_up(memory: "HeadTracking", run: "CurrentRun") -> bool:
    """Move the run's head to the last step that an untold run had written. True: the run goes on from there without new
    input, because the step is part of its own work or of what it repeats."""
    head = run.head_checkpoint_id
    own = {run.untold, run.execution_id} if run.attempt > 1 else {run.untold}
    found = reached(await memory.steps_since(run.thread_id, head), head, own)
    if found:
        run.move_head(found[-1].id)
    if not run.go_on_if_found:
        return False
    if run.attempt <= 1:
        return bool(found)
    if any(one.execution_id in own and one.source in BEGUN for one in found):
        return True
    at = await memory.step_at(run.thread_id, head) if head else None
    return at is not None and at.execution_id in own and at.source in BEGUN
