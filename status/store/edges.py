"""Every statement that moves an execution to another step or phase is made here, from its edge of the state machine.

So the table is always true. A test fails if a statement elsewhere sets `step`, `phase` or `fence` of an execution.
"""

from typing import Any

from sqlalchemy import ColumnElement, Update, case, update

from agent_runner.status.phases import Phase, Step, Transition
from agent_runner.status.store.schema import executions

E = executions.c


def take(
    edge: Transition,
    *conditions: ColumnElement[bool],
    phase: Phase | None = None,
    cancel_wins: bool = False,
    **values: Any,
) -> Update:
    """The update of an edge: it takes rows from the edge's sources to its step, and raises the fence if the edge does.

    `phase` is one of the edge's phases. None means its only phase, or no change of phase if the edge allows that. With
    `cancel_wins` a row with a requested cancel becomes CANCELLED instead. The statement returns the row if the edge was
    taken. Raises `ValueError` for a phase that the edge does not end in.
    """
    if phase is None and len(edge.phases) == 1 and not edge.may_stay:
        (phase,) = edge.phases
    named = {p for p in (phase, Phase.CANCELLED if cancel_wins else None) if p}
    if not named <= edge.phases or (phase is None and not edge.may_stay):
        raise ValueError(f"{edge.name} ends in {sorted(p.name for p in edge.phases)}, not in {phase and phase.name}")
    moved: dict[str, Any] = {"step": edge.step.value}
    if phase is not None:
        cancelled = (E.cancel_requested_at.is_not(None), int(Phase.CANCELLED))
        moved["phase"] = case(cancelled, else_=int(phase)) if cancel_wins else int(phase)
    if edge.raises_fence:
        moved["fence"] = E.fence + 1
    return update(executions).where(from_sources(edge), *conditions).values(**moved, **values).returning(executions)


def from_sources(edge: Transition) -> ColumnElement[bool]:
    """The row stands in a step that the edge may start from."""
    return E.step.in_([step.value for step in Step if step in edge.sources])


def started(step: Step) -> dict[str, Any]:
    """The values of a new row: its first step, PENDING. Raises `ValueError` for a step in which no execution begins."""
    if step not in (Step.WAITING, Step.ENSURE_THREAD):
        raise ValueError(f"no execution begins in {step.value}")
    return {"step": step.value, "phase": int(Phase.PENDING)}
