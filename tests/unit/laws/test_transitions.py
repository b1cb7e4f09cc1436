"""The state machine as data: every edge of it keeps the laws, and every step can be left."""

from collections.abc import Iterator

import pytest

from agent_runner.status.phases import (
    REPORT,
    REPORT_END,
    REPORT_FIRST,
    TERMINAL_PHASES,
    TRANSITIONS,
    Phase,
    Step,
    Transition,
)

EDGES = [pytest.param(t, id=t.name) for t in TRANSITIONS.values()]
BORN = {(Step.WAITING, Phase.PENDING), (Step.ENSURE_THREAD, Phase.PENDING)}
"""What create makes."""
SERVER = {"admit", "cancel_pending", "fail"}
"""The edges that need no worker."""

REPORTED = {REPORT_FIRST, REPORT, REPORT_END}
"""The edges of a runner that reports by `updateStatus` only."""


def rank(phase: Phase) -> int:
    """How far along it is; all terminal phases are equally far."""
    return min(phase, min(TERMINAL_PHASES))


def reachable() -> set[tuple[Step, Phase]]:
    """Every (step, phase) that some sequence of transitions leads to."""
    found, new = set[tuple[Step, Phase]](), set(BORN)
    while new:
        found |= new
        new = {
            (t.step, after)
            for step, phase in new
            for t in TRANSITIONS.values()
            if step in t.sources
            for after in (t.phases | {phase} if t.may_stay else t.phases)
        }
        new -= found
    return found


def edges_from(step: Step) -> Iterator[Transition]:
    return (t for t in TRANSITIONS.values() if step in t.sources)


@pytest.mark.parametrize("edge", EDGES)
def test_an_end_is_never_left(edge: Transition) -> None:
    """L2: no edge starts at SETTLED, and exactly the edges that lead there end in a terminal phase."""
    assert Step.SETTLED not in edge.sources
    assert edge.sources
    assert edge.phases
    assert (edge.step is Step.SETTLED) == (edge.phases <= TERMINAL_PHASES)
    assert edge.step is Step.SETTLED or not edge.phases & TERMINAL_PHASES


@pytest.mark.parametrize("edge", EDGES)
def test_the_fence_rises_where_ownership_changes(edge: Transition) -> None:
    """L3: into a run, out of a run, and at the end; nowhere else."""
    stays = edge.sources == {edge.step}
    changes = Step.RUNNING in edge.sources | {edge.step} or edge.step is Step.SETTLED
    assert edge.raises_fence == (changes and not stays)


@pytest.mark.parametrize("edge", EDGES)
def test_no_edge_leads_back_to_an_earlier_phase(edge: Transition) -> None:
    """From whatever phase it may be taken in, it ends in the same one or a later one."""
    before = {phase for step, phase in reachable() if step in edge.sources}
    assert before, "it can never be taken"
    assert max(map(rank, before)) <= min(map(rank, edge.phases))


def test_names_are_those_of_the_table() -> None:
    """An edge is found under its own name."""
    assert {name: edge.name for name, edge in TRANSITIONS.items()} == {name: name for name in TRANSITIONS}


def test_every_step_is_reached() -> None:
    """There is no step that nothing leads to, and every terminal phase is one of the ends."""
    assert {step for step, _ in reachable()} == set(Step)
    assert {phase for step, phase in reachable() if step is Step.SETTLED} == TERMINAL_PHASES


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.SETTLED])
def test_every_open_step_ends_without_a_worker(step: Step) -> None:
    """L1: the server alone can end what stands in any step, as a failure."""
    ends = [t for t in edges_from(step) if t.name in SERVER and t.step is Step.SETTLED]
    assert any(Phase.FAILED in t.phases for t in ends)
    assert any(Phase.CANCELLED in t.phases for t in ends)


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.SETTLED])
def test_every_open_step_has_one_way_on(step: Step) -> None:
    """Besides the ends there is one way on; only what a worker has begun may also go back to the queue."""
    on = {t.name for t in edges_from(step) if t.step is not Step.SETTLED and t not in REPORTED}
    back = {Step.RUNNING: {"hand_back", "retry"}, Step.THREAD_STARTED: {"retry_thread"}}.get(step, set())
    assert back <= on
    assert len(on - back) == (0 if step is Step.RUNNING else 1)


def test_only_the_owner_completes() -> None:
    """COMPLETED is said by whoever runs it, a worker or a reporter, and by nobody else."""
    ends = [t for t in TRANSITIONS.values() if Phase.COMPLETED in t.phases]
    assert [t.name for t in ends] == ["settle", "report_end"]
    assert all(t.sources == {Step.RUNNING} for t in ends)


def test_a_reporter_never_begins_what_waits() -> None:
    """One run per thread: no report leads out of the queue of a session."""
    assert not any(Step.WAITING in t.sources for t in REPORTED)
