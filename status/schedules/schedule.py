"""A schedule: when executions begin by the clock, and what happens if the time comes and one cannot begin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from agent_runner.status.phases import Phase


class CatchUp(Enum):
    """What is done about times that passed while no server ran."""

    SKIP = "skip"
    """None of them fires. A time that passed less than the grace ago is not late."""
    ONCE = "once"
    """The last of them fires."""
    ALL = "all"
    """They fire one after the other, up to a number; those before these are passed over."""


class Overlap(Enum):
    """What a firing does if an earlier one has not ended. The last four are those of `Multitask`, in one session."""

    FRESH = "fresh"
    """Each firing has a session of its own, so they run beside each other."""
    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class Ended(Enum):
    """Why a schedule is over."""

    NOT = ""
    TIMES = "no_more_times"
    END_TIME = "end_time"
    FIRINGS = "max_firings"


class FiringOutcome(Enum):
    FIRED = "fired"
    """It made an execution."""
    REFUSED = "refused"
    """The execution was refused; the reason is kept."""
    SKIPPED = "skipped"
    """The time had passed, and the schedule does not catch up."""


NATIVE, AGENT_SERVER = "", "agent_server"
"""The API in whose words the request of a schedule is kept."""
BY_THE_CLOCK, BY_HAND = "clock", "hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When it fires. Times in seconds since 1970."""

    cron: str = ""
    at: Sequence[float] = ()
    """Instead of `cron`: these times, rising."""
    timezone: str = ""
    """An IANA name; empty: UTC."""
    end_at: float | None = None
    """No time after this one fires."""
    max_firings: int = 0
    """By the clock; 0: any number."""
    catch_up: CatchUp = CatchUp.ONCE
    catch_up_limit: int = 10
    """With `ALL`: the most that fire after an outage."""
    grace_s: float = 60.0
    """With `SKIP`: a time is late if it passed longer ago than this."""
    overlap: Overlap = Overlap.FRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    id: str
    org: str
    name: str
    rules: Rules
    edge: str = NATIVE
    request: Mapping[str, Any] = field(default_factory=dict)
    """The execution to make, in the words of its edge, without its secrets."""
    sealed: bytes = b""
    """Its secrets, encrypted."""
    session_id: str = ""
    """The session of all its firings. If they share one and none is named, that of the first firing."""
    paused: bool = False
    next_at: float | None = None
    """None: it is over."""
    ended: Ended = Ended.NOT
    revision: int = 1
    """Rises with each change by a caller, and not with a firing."""
    fired: int = 0
    """Executions that it made by the clock."""
    recorded: int = 0
    """Entries of its history, those included that were removed because newer ones came."""
    last_fired_at: float | None = None
    made_by: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def state(self) -> str:
        return "ended" if self.next_at is None else "paused" if self.paused else "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a firing was decided on. It is taken only if the schedule is still as it was then, so of any number of
    servers that decide the same, one fires."""

    schedule_id: str
    revision: int
    due_at: float | None
    """The time that was due; None: it was fired by hand, and the schedule's times stay as they are."""
    fires_for: float
    """The time that it fires for: with a catch-up a later one than `due_at`."""
    next_at: float | None
    ended: Ended = Ended.NOT
    passed_over: int = 0
    """Times before this one that do not fire."""
    session_id: str = ""
    """The session of the schedule from now on."""

    @property
    def kind(self) -> str:
        return BY_HAND if self.due_at is None else BY_THE_CLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """An entry of the history. `number` counts from 1."""

    number: int
    kind: str
    due_at: float
    at: float
    outcome: FiringOutcome
    passed_over: int = 0
    execution_id: str = ""
    code: str = ""
    reason: str = ""
    phase: Phase | None = None
    """Of its execution, as it is now; None: it is removed, or there was none."""
    error_code: str = ""
