"""What is in memory after a head: a worker that is lost may have written more than it could tell.

A step is told a moment after it is durable, and later still while no server answers. The next run of the session finds
it here: going on from the head alone would forget a mail that was sent, or send it again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
    """A checkpoint of the main conversation. `source`: LangGraph's word for how it came about."""

    id: str
    parent: str
    source: str
    execution_id: str


def step(id: str, parent: str | None, metadata: Mapping[str, Any]) -> Step:
    """Of a checkpoint's row."""
    found = "" if parent in (None, NO_CHECKPOINT) else str(parent)
    known = {name: str(metadata.get(name) or "") for name in ("source", "execution_id")}
    return Step(id=id, parent=found, source=known["source"], execution_id=known["execution_id"])


def furthest(steps: Iterable[Step], head: str, untold: str) -> str:
    """How far the execution `untold` came beyond `head`. `steps`: oldest first.

    Its own checkpoints count, and steps of a graph that came of nothing new: with an input of somebody else begins
    somebody else's work.
    """
    reached, at = {head}, head
    for one in steps:
        if one.parent in reached and (one.execution_id == untold or (head and one.source == "loop")):
            reached.add(one.id)
            at = one.id
    return at
