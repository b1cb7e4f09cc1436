"""Finds the steps in memory after a head: a worker that was lost may have written more steps than it could report.

A step is reported a moment after it is durable, and later if no server answers. The next run of the session finds it
here. If that run went on from the reported head, it would forget a mail that was sent, or send it again.
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
    first.

    Its own checkpoints count, and steps of the graph that had no new input: a new input of another execution begins the
    work of that execution.
    """
    reached, at = {head}, head
    for one in steps:
        if one.parent in reached and (one.execution_id == untold or (head and one.source == "loop")):
            reached.add(one.id)
            at = one.id
    return at
