"""Orgs take turns: caps hold whoever counts, sessions keep their order, and without a cap nothing is different."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase, Step
from agent_runner.status.requests.fair_turns import FairTurns
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import Outcome
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow

DONE = Outcome(phase=Phase.COMPLETED, code=None)


async def taken(store: Store, most: int = 100) -> list[str]:
    return [one.name for one in await store.take_turns(most)]


async def claimed(store: Store, execution: Execution) -> tuple[int, int]:
    await store.dispatched(execution.id)
    assert (await store.begin(execution.id, "b", "w", new_thread_id="t")).done
    run = (await store.claim(execution.id, "c", "w")).execution
    assert run is not None
    return run.handle, run.fence


async def run_through(store: Store, executions: Sequence[Execution]) -> None:
    for execution in executions:
        handle, fence = await claimed(store, execution)
        assert (await store.settle(handle, fence, 0, [], "", DONE)).accepted


async def test_without_a_cap_there_are_no_turns(store: Store, flow: Flow) -> None:
    """An execution is admitted by its creation, and the verb finds nothing to do."""
    execution = await flow.created()
    assert (execution.step, execution.ready_at, await store.take_turns(9)) == (Step.ENSURE_THREAD, 0, [])


async def test_a_burst_does_not_hold_up_another_org(store: Store, flow: Flow) -> None:
    """Of twenty of one org and three of another that came later, every second turn is the other's; a higher priority
    moves an execution inside its own org and nobody else's."""
    store.turns = FairTurns(queue_published=1)
    for number in range(20):
        await flow.created(org="a", name=f"a{number}", priority=5 if number == 7 else 0)
    for number in range(3):
        await flow.created(org="b", name=f"b{number}", priority=-10)
    order: list[str] = []
    while turns := await store.take_turns(9):
        assert len(turns) == 1
        order += [one.name for one in turns]
        await run_through(store, turns)
    assert order[:7] in (["a7", "b0", "a0", "b1", "a1", "b2", "a2"], ["b0", "a7", "b1", "a0", "b2", "a1", "a2"])
    assert order[7:] == [f"a{n}" for n in range(3, 20) if n != 7]


async def test_weights_are_shares(store: Store, flow: Flow) -> None:
    """An org with weight 3 gets three turns for each of the other's."""
    store.turns = FairTurns(queue_published=8, weights={"a": 3})
    for number in range(12):
        await flow.created(org="a", name=f"a{number}")
        await flow.created(org="b", name=f"b{number}")
    assert Counter(name[0] for name in await taken(store)) == {"a": 6, "b": 2}
    assert await taken(store) == []


async def test_two_servers_never_pass_the_caps(store: Store, database_url: str, clock: Clock, flow: Flow) -> None:
    """Many who take turns at once admit exactly as many as there is room for, of each org and in all."""
    store.turns = FairTurns(queue_published=5, org_running=3)
    second = Store.open(database_url, now=clock)
    second.turns = store.turns
    try:
        for number in range(8):
            for org in "abc":
                await flow.created(org=org, name=f"{org}{number}")
        rounds = await asyncio.gather(*((store, second)[n % 2].take_turns(4) for n in range(12)))
        admitted = [one for some in rounds for one in some]
        assert len({one.id for one in admitted}) == len(admitted) == 5
        for one in admitted:
            await claimed(store, one)
        rounds = await asyncio.gather(*((store, second)[n % 2].take_turns(4) for n in range(12)))
        admitted += [one for some in rounds for one in some]
        assert Counter(one.org for one in admitted) == {"a": 3, "b": 3, "c": 3}
        standing = {one.org: one for one in await store.turn_standings(org="")}
        assert {org: (one.ready, one.under_way) for org, one in standing.items()} == dict.fromkeys("abc", (5, 3))
        assert sum(one.published for one in standing.values()) == 4
    finally:
        await second.close()


async def test_a_session_keeps_its_order(store: Store, flow: Flow) -> None:
    """The second execution of a session is not ready before the first has ended, whatever its priority; a cancelled
    one makes the next one ready."""
    store.turns = FairTurns(queue_published=10)
    ids = [(await flow.created(session_id="s", name=f"n{n}", priority=n)).id for n in range(4)]
    first = await store.take_turns(9)
    assert [one.name for one in first] == ["n0"]
    assert await taken(store) == []
    await run_through(store, first)
    assert [(await flow.facts(id)).ready_at > 0 for id in ids] == [False, True, False, False]
    await store.request_cancel(ids[1], "test")
    assert await taken(store) == ["n2"]
    cancelled, third = await flow.facts(ids[1]), await flow.facts(ids[3])
    assert (cancelled.phase, cancelled.ready_at, third.ready_at) == (Phase.CANCELLED, 0, 0)


async def test_one_that_begins_later_takes_its_turn_then(store: Store, clock: Clock, flow: Flow) -> None:
    """A delayed execution is not ready before its time."""
    store.turns = FairTurns(org_published=1)
    await flow.created(name="later", after_s=60.0)
    assert (await taken(store), await store.admit_due()) == ([], [])
    clock.advance(61)
    assert len(await store.admit_due()) == 1
    assert (await store.admit_due(), await taken(store)) == ([], ["later"])


async def test_waiting_for_a_turn_is_no_schedule_to_start(store: Store, clock: Clock, flow: Flow) -> None:
    """The clock of the wait is the thread wait's; its end is E101 with the org's own numbers, and after the turn
    schedule-to-start has its whole time."""
    store.turns = FairTurns(org_running=1)
    first, second, third = [await flow.created(name=f"n{n}") for n in range(3)]
    assert await taken(store) == ["n0"]
    await store.dispatched(first.id)
    clock.advance(first.timeouts.schedule_to_start_s + 1)
    ended = (await store.tick(period_s=1e9)).ended
    assert [(one.id, (await flow.facts(one.id)).error_code) for one in ended] == [(first.id, "E101")]
    assert await taken(store) == ["n1"]
    await claimed(store, second)
    clock.advance(third.timeouts.thread_wait_s)
    assert third.id in [one.id for one in (await store.tick(period_s=1e9)).ended]
    state = await store.state(third.id)
    assert state is not None
    assert (await flow.facts(third.id)).error_code == Code.SCHEDULE_TO_START.value
    assert "turn of its org 'local'" in state[1].error
    assert "No worker available to execute activity" in state[1].error


@pytest.mark.parametrize("off", [FairTurns()])
async def test_switching_turns_off_leaves_nobody_behind(store: Store, flow: Flow, off: FairTurns) -> None:
    """What waits for a turn is admitted by the next tick of a server without caps."""
    store.turns = FairTurns(queue_published=1)
    for number in range(3):
        await flow.created(name=f"n{number}")
    store.turns = off
    assert len(await store.admit_due()) == 3
    assert {one.step for one in await store.due_for_dispatch()} == {Step.ENSURE_THREAD}
