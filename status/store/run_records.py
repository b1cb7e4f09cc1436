"""What goes between a worker and the store: what runs have to say, and what a run needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_runner.status.store.records import NewDelta, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDeltas:
    """What one run has to say: deltas numbered from `first`, and its head checkpoint, under its fence."""

    handle: int
    fence: int
    first: int
    deltas: Sequence[NewDelta]
    head: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRows:
    """Rows of a log as they were stored, in order: each with its fence. `at`: the time of all of them."""

    execution_id: str
    before: int
    """The number of the row before the first."""
    at: float
    told: Sequence[tuple[int, NewDelta]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What was stored for a run at the moment of its claim. A resource that does not exist any more is None."""

    message: Mapping[str, Any]
    """The payload of the log's first row."""
    waiting: bool
    """An earlier execution of its session waits for a person."""
    session: Resource | None
    instance: Resource | None
    agent: Resource | None


def thread_of(session_id: str) -> str:
    """The name of a session's thread; empty without a session: such a thread is used once, and its user names it."""
    return f"thread-{session_id}" if session_id else ""
