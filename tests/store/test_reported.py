"""`updateStatus` of the published contract, and the laws that it must not break."""

import pytest

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.errors import NotItsTurn
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow


async def test_a_report_does_not_begin_a_second_run_of_a_session(store: Store, flow: Flow) -> None:
    """One run per thread: what waits behind an open run is refused, and stays as it is."""
    await flow.claimed(session_id="ses-1")
    behind = await flow.created(session_id="ses-1")
    with pytest.raises(NotItsTurn, match="ses-1"):
        await store.merge_status(behind.id, {"phase": Phase.IN_PROGRESS.wire_name})
    assert await flow.facts(behind.id) == behind


async def test_a_reported_run_has_the_deadline_of_its_turn(store: Store, flow: Flow, clock: Clock) -> None:
    """L1: what is promoted and then only ever reported on still ends."""
    await store.tick(period_s=1)
    first = await flow.created(session_id="ses-1")
    behind = await flow.created(session_id="ses-1")
    await store.merge_status(first.id, {"phase": Phase.COMPLETED.wire_name})
    await store.merge_status(behind.id, {"phase": Phase.IN_PROGRESS.wire_name})
    assert (await flow.facts(behind.id)).step is Step.RUNNING
    clock.advance(1_000_000)
    for _ in range(3):
        await store.tick(period_s=1_000_000)
    assert (await flow.facts(behind.id)).phase is Phase.FAILED


async def test_the_first_report_takes_the_run(store: Store, flow: Flow) -> None:
    """L3: ownership changes once, with a new fence; a worker that began EnsureThread for it is out."""
    execution = await flow.created()
    assert (await store.begin(execution.id, "b1", "w1")).granted
    for said in ("one", "two"):
        await store.merge_status(execution.id, {"messages": [{"content": said}]})
    after = await flow.facts(execution.id)
    assert (after.step, after.phase, after.fence) == (Step.RUNNING, Phase.PENDING, execution.fence + 1)
    assert not await store.done(execution.id, "b1", "thread-1")
