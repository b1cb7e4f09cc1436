"""Light rows of a list, and their counts. Times are epoch seconds of the database's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_runner.status.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one line of a list shows of an execution. Its document and its conversation were not read."""

    id: str
    phase: Phase
    code: str
    message: str
    """The beginning of the user's message."""
    agent: str
    """The agent's slug; its id if the agent is gone."""
    graph: str
    session_id: str
    created_at: float
    started_at: float | None
    """The claim of its last attempt."""
    ended_at: float | None
    wait_s: float | None
    """From the moment when a worker could take it until the claim of its first attempt."""
    input_tokens: int | None
    output_tokens: int | None
    """None: not reported."""
    cost: Mapping[str, Any] | None
    """`amount` and `currency`. None: not known."""
    worker: str
    attempt: int
    labels: Mapping[str, str]
    waiting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPage:
    """Newest first. A page of a search for a text may be short, or empty, and still have a next one."""

    rows: Sequence[Summary]
    next_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCounts:
    phases: Mapping[Phase, int]
    more: bool
    """There are more than were counted."""
