"""What goes between a worker and the store: what runs have to say, what they are answered, and what a run needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import Execution, Resource


class RunnerVerdict(Enum):
    """The store's answer to a runner's write."""

    OK = "ok"
    CANCEL = "cancel"
    FENCED_OUT = "fenced_out"
    GAP = "gap"
    """The deltas do not continue what is stored; `next` says from where to send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelta:
    """`payload` is JSON text; `value` the same as it was read, if it is at hand, which nobody changes."""

    kind: str
    payload: str
    value: dict[str, Any] | None = field(default=None, compare=False, repr=False)


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
class Appended:
    verdict: RunnerVerdict
    next: int
    last_seq: int
    execution_id: str
    snapshot_due: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    granted: bool
    refusal: str
    execution: Execution | None
    thread_id: str = ""
    """The session's thread, if an earlier turn created it."""
    done: bool = False
    """The step has ended with this thread."""


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


WHAT_IS_FOUND = "what is found"
"""Stands for the checkpoint of a run whose worker may have written steps without a report about any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    granted: bool
    refusal: str
    execution: Execution | None
    head_checkpoint_id: str = ""
    sandbox_id: str = ""
    resume: bool = False
    previous_code: str = ""
    """How the execution before it in its session ended."""
    untold_execution_id: str = ""
    """That execution, if the server ended it: its worker may have written more into memory than it reported."""
    go_on_if_found: bool = False
    """If it has, continue from there without new input."""
    rolled_back: Sequence[str] = ()
    """Ids of executions of the session whose checkpoints are to be removed."""
    bundle: Bundle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBeat:
    handle: int
    fence: int
    progress: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended, as its owner reports it. `facts` feed the failure table."""

    phase: Phase
    code: Code | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    waiting: bool = False
    """It ended with a question to a person."""
    progress: str = "{}"  # JSON
    used: Mapping[str, float] = field(default_factory=dict)  # of the attempt, for the budget of its org


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """`accepted` is also true for a repeated settle. `promoted` is the next execution of the session, if any."""

    accepted: bool
    execution: Execution | None
    next: int = 0
    promoted: str = ""


def thread_of(session_id: str) -> str:
    """The name of a session's thread; empty without a session: such a thread is used once, and its user names it."""
    return f"thread-{session_id}" if session_id else ""
