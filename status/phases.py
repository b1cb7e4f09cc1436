"""The state machine of an execution, as data.

An execution has a *phase*, which the published contract shows to everybody, and a *step*, which says what the system
waits for next. The phase never goes back; the step does where a run goes back to the queue: it is handed back, or tried
again. Every write that moves an execution to another step or phase is one of the named transitions in `TRANSITIONS`:
`status/store/edges.py` makes its statement, and `docs/architecture/state-machine.md` is generated from the same table.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

SHOWN_CHARS = 40


class UnknownName(ValueError):
    """A name that is not known here. The text says what was given and what is allowed."""


class Phase(IntEnum):
    """The numbers of the contract's `ExecutionPhase`."""

    PENDING = 1
    IN_PROGRESS = 2
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def wire_name(self) -> str:
        """The contract's name, as it stands in JSON: `EXECUTION_PENDING`."""
        return f"EXECUTION_{self.name}"

    @classmethod
    def known(cls, name: object) -> "Phase | None":
        """By the contract's name, the short name or the contract's number, in any case; None for anything else."""
        return _BY_NAME.get(str(name).upper())

    @classmethod
    def named(cls, name: object) -> "Phase":
        """As `known`. Raises `UnknownName`, which lists all phases."""
        if (phase := cls.known(name)) is None:
            raise UnknownName(f"{str(name)[:SHOWN_CHARS]!r} is none of {', '.join(p.name for p in cls)}")
        return phase


PHASE_FORMS = tuple(form for phase in Phase for form in (phase.name, phase.wire_name, str(phase.value)))
"""All names that `Phase.named` accepts."""
_BY_NAME = {form: phase for phase in Phase for form in (phase.name, phase.wire_name, str(phase.value))}

TERMINAL_PHASES = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})


class Step(Enum):
    """What the system waits for. The value is what the store holds."""

    WAITING = "waiting"
    """Behind another execution of its session. Left when that one ends, or by the thread-wait timeout."""
    ENSURE_THREAD = "ensure_thread"
    """EnsureThread is to be started by a worker. Left by `begin`, or by schedule-to-start."""
    THREAD_STARTED = "thread_started"
    """EnsureThread runs. Left by `done`, or by the step's own deadline if its worker died, also by `retry_thread`."""
    EXECUTE = "execute"
    """ExecuteGraphton is to be claimed by a worker. Left by `claim`, or by schedule-to-start."""
    RUNNING = "running"
    """A worker owns the run. Left by `settle` or `report_end`, by `hand_back`, by `retry`, or by one of the run's
    deadlines."""
    SETTLED = "settled"
    """Over. Never left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A named edge: the steps it may start from, where it leads, and what it does to the fence."""

    name: str
    sources: frozenset[Step]
    step: Step
    phases: frozenset[Phase]
    """The phases it may end in."""
    raises_fence: bool
    may_stay: bool = False
    """The phase may also stay as it is, if the caller names no phase."""


_OPEN = frozenset(Step) - {Step.SETTLED}


def _edge(
    name: str,
    sources: set[Step] | frozenset[Step],
    step: Step,
    *phases: Phase,
    fence: bool = False,
    may_stay: bool = False,
) -> Transition:
    return Transition(
        name=name,
        sources=frozenset(sources),
        step=step,
        phases=frozenset(phases),
        raises_fence=fence,
        may_stay=may_stay,
    )


ADMIT = _edge("admit", {Step.WAITING}, Step.ENSURE_THREAD, Phase.PENDING)
BEGIN = _edge("begin", {Step.ENSURE_THREAD}, Step.THREAD_STARTED, Phase.PENDING)
DONE = _edge("done", {Step.THREAD_STARTED}, Step.EXECUTE, Phase.PENDING)
CLAIM = _edge("claim", {Step.EXECUTE}, Step.RUNNING, Phase.IN_PROGRESS, fence=True)
HAND_BACK = _edge("hand_back", {Step.RUNNING}, Step.EXECUTE, Phase.IN_PROGRESS, fence=True)
RETRY = _edge("retry", {Step.RUNNING}, Step.EXECUTE, Phase.IN_PROGRESS, fence=True)
"""An attempt has failed and another one is left: as the owner reports it, or as the server finds it. The next claim is
not granted before its time, and raises the attempt."""
RETRY_THREAD = _edge("retry_thread", {Step.THREAD_STARTED}, Step.ENSURE_THREAD, Phase.PENDING)
"""The worker was lost before the run was claimed. That was an attempt, too: the next one begins with EnsureThread. No
fence was given yet, so none is raised; a late worker is refused by its begin id."""
SETTLE = _edge("settle", {Step.RUNNING}, Step.SETTLED, *TERMINAL_PHASES, fence=True)
CANCEL_PENDING = _edge("cancel_pending", _OPEN - {Step.RUNNING}, Step.SETTLED, Phase.CANCELLED, fence=True)
FAIL = _edge("fail", _OPEN, Step.SETTLED, Phase.FAILED, Phase.CANCELLED, fence=True)
"""Written by the server: a deadline passed, a process died, a message could not be run."""

_STARTING = {Step.ENSURE_THREAD, Step.THREAD_STARTED, Step.EXECUTE}
REPORT_FIRST = _edge("report_first", _STARTING, Step.RUNNING, Phase.IN_PROGRESS, fence=True, may_stay=True)
"""`updateStatus` of the published contract: a runner that does not claim owns the run from its first report on."""
REPORT = _edge("report", {Step.RUNNING}, Step.RUNNING, Phase.IN_PROGRESS, may_stay=True)
REPORT_END = _edge("report_end", {Step.RUNNING}, Step.SETTLED, *TERMINAL_PHASES, fence=True)

TRANSITIONS = {
    t.name: t
    for t in (
        ADMIT, BEGIN, DONE, CLAIM, HAND_BACK, RETRY, RETRY_THREAD, SETTLE, CANCEL_PENDING, FAIL, REPORT_FIRST, REPORT,
        REPORT_END,
    )
}  # fmt: skip
