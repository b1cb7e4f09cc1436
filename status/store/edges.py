"""Every statement that moves an execution to another step or phase is made here, from its edge of the state machine.

What the table says is so because there is no other way to write it: a test finds a statement that sets `step`, `phase`
or `fence` of an execution anywhere else.
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
    """The statement of an edge: from its sources only, to its step, and to the next fence where the edge raises it.

    `phase` is one of the edge's; None: its only one, or that the phase stays where the edge allows it. With
    `cancel_wins` a row that is to be cancelled becomes CANCELLED instead. Whoever executes it learns by the returned
    row whether the edge was taken. Raises `ValueError` for a phase that the edge does not end in.
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
    """What a row is made with: its first step, PENDING. Raises `ValueError` for a step that nothing begins in."""
    if step not in (Step.WAITING, Step.ENSURE_THREAD):
        raise ValueError(f"no execution begins in {step.value}")
    return {"step": step.value, "phase": int(Phase.PENDING)}
