"""Waiting for workers that are at work may last longer than waiting for none (L1, L5)."""

from agent_runner.status.phases import Phase
from agent_runner.status.store.executions.sweep import BATCH
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts
from tests.store.conftest import Clock, Flow
from tests.store.test_deadlines import ended, run_to
from tests.store.test_presence import HELLO

LONGER = Timeouts(busy_to_start_s=300, schedule_to_close_s=1500)


async def heard(store: Store, busy: int) -> None:
    """A beat of a worker of the queue: how many of its five slots are in use."""
    await store.beat("w9", [], busy=busy)


async def test_waiting_for_busy_workers_may_last_longer(store: Store, flow: Flow, clock: Clock) -> None:
    """No E101 while a worker of the queue is at work: sent again meanwhile, taken late, at the limit's end E101."""
    await store.tick(period_s=1)
    await store.hello(incarnation="w9", **HELLO)
    taken, left, plain = [await flow.created(timeouts=given) for given in (LONGER, LONGER, Timeouts())]
    for one in (taken, left, plain):
        await store.dispatched(one.id)
    late: set[str] = set()
    for second in range(0, 290, 10):
        await heard(store, 5)
        await run_to(store, clock, 10)
        late |= {one.id for one in await store.due_for_dispatch() if second > 100}
    assert (await ended(store, plain.id))[1] == "E101"
    assert {taken.id, left.id} == late
    assert (await store.begin(taken.id, "b1", "w9")).granted
    assert (await flow.facts(left.id)).phase is Phase.PENDING
    await heard(store, 5)
    await run_to(store, clock, 11)
    phase, code, error = await ended(store, left.id)
    assert (phase, code) == (Phase.FAILED, "E101")
    assert "within 300 s" in error
    assert "1 workers online, all 5 slots busy" in error


async def test_a_silent_worker_is_said_to_be_silent(store: Store, flow: Flow, clock: Clock) -> None:
    """E101 calls a worker online as long as it was heard within the heartbeat timeout."""
    await store.tick(period_s=1)
    await store.hello(incarnation="w9", **HELLO)
    first, second = [await flow.created() for _ in range(2)]
    await store.dispatched(first.id)
    await run_to(store, clock, 40)
    await store.dispatched(second.id)
    await heard(store, 0)
    await run_to(store, clock, 60)
    assert "1 workers online, 0 of 5 slots busy, but none took it" in (await ended(store, first.id))[2]
    assert "0 of 5 slots busy; one of them has been silent for 60 s" in (await ended(store, second.id))[2]


async def test_a_long_queue_does_not_hold_up_other_ends(store: Store, flow: Flow, clock: Clock) -> None:
    """More rows than a batch of the sweep go on waiting, and the one behind them ends in the same tick."""
    await store.tick(period_s=1)
    await store.hello(incarnation="w9", **HELLO)
    await heard(store, 5)
    for _ in range(BATCH + 1):
        await store.dispatched((await flow.created(timeouts=LONGER)).id)
    clock.advance(1)
    other = await flow.created()
    await store.dispatched(other.id)
    await run_to(store, clock, 58)
    await heard(store, 5)
    clock.advance(2)
    ticked = await store.tick(period_s=1)
    assert [one.id for one in ticked.ended] == [other.id]


async def test_it_is_taken_though_the_sweep_is_late(store: Store, flow: Flow, clock: Clock) -> None:
    """Between two ticks, after schedule-to-start, a worker that was busy may take it; beyond the longer limit none."""
    first, second = await flow.created(timeouts=LONGER), await flow.created(timeouts=LONGER)
    for one in (first, second):
        await store.dispatched(one.id)
    clock.advance(299)
    assert (await store.begin(first.id, "b1", "w1")).granted
    assert await store.done(first.id, "b1", "thread-1")
    clock.advance(299)
    assert (await store.claim(first.id, "c1", "w1")).granted
    assert not (await store.begin(second.id, "b2", "w1")).granted


async def test_no_worker_is_not_waited_for(store: Store, flow: Flow, clock: Clock) -> None:
    """E101 at schedule-to-start where no worker is or one is idle; as long after a busy one was last heard."""
    await store.tick(period_s=1)
    nobody = await flow.created(timeouts=LONGER)
    await store.dispatched(nobody.id)
    await run_to(store, clock, 59)
    assert (await flow.facts(nobody.id)).phase is Phase.PENDING
    await run_to(store, clock, 2)
    _, code, error = await ended(store, nobody.id)
    assert code == "E101"
    assert "within 60 s" in error
    assert "no worker ever connected" in error
    await store.hello(incarnation="w9", **HELLO)
    idle = await flow.created(timeouts=LONGER)
    await store.dispatched(idle.id)
    for _ in range(7):
        await heard(store, 0)
        await run_to(store, clock, 10)
    assert (await ended(store, idle.id))[1] == "E101"
    gone = await flow.created(timeouts=LONGER)
    await store.dispatched(gone.id)
    await run_to(store, clock, 50)
    await heard(store, 5)
    await run_to(store, clock, 59)
    assert (await flow.facts(gone.id)).phase is Phase.PENDING
    await run_to(store, clock, 2)
    assert (await ended(store, gone.id))[1] == "E101"
