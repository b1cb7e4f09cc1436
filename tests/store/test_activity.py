"""What the overview and the watchers of lists read: what waits, what ran, what changed lately."""

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import Outcome
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow


async def test_what_waits_in_each_queue(store: Store, flow: Flow, clock: Clock) -> None:
    """It is counted from the moment when a worker could take it, and no longer once one has."""
    assert await store.queue_ages(org="") == []
    first = await flow.executable(runner_queue="red", org="a")
    clock.advance(10)
    await flow.created(runner_queue="red", org="b")
    await flow.created(runner_queue="blue", org="b", session_id="s1")
    await flow.created(runner_queue="blue", org="b", session_id="s1")
    clock.advance(5)
    ages = {age.queue: (age.waiting, round(age.oldest_s)) for age in await store.queue_ages(org="")}
    assert ages == {"red": (2, 15), "blue": (1, 5)}, "what stands behind another execution waits for no worker"
    assert [(age.queue, age.waiting) for age in await store.queue_ages(org="a")] == [("red", 1)]
    assert (await store.claim(first.id, "c1", "w1")).granted
    assert {age.queue: age.waiting for age in await store.queue_ages(org="")} == {"red": 1, "blue": 1}


async def test_how_long_pending_executions_have_waited(store: Store, flow: Flow, clock: Clock) -> None:
    """All of them, also those behind another of their session; from when they may begin, the longest first."""
    assert await store.pending_waits() == []
    first = await flow.executable(session_id="s1")
    clock.advance(10)
    await flow.created(session_id="s1")
    await flow.created(after_s=60.0)
    clock.advance(5)
    assert [round(one) for one in await store.pending_waits()] == [15, 5, 0]
    assert (await store.claim(first.id, "c1", "w1")).granted
    assert [round(one) for one in await store.pending_waits()] == [5, 0]


async def test_what_ran_lately(store: Store, flow: Flow, clock: Clock) -> None:
    """What ended since then with its times, and what runs and began since then; of one org or of all."""
    early = (await flow.claimed("w1", org="a")).execution
    clock.advance(100)
    since = clock.at
    late = (await flow.claimed("w2", org="b")).execution
    assert early is not None
    assert late is not None
    clock.advance(7)
    outcome = Outcome(phase=Phase.FAILED, code=Code.APPLICATION, facts={"original_error": "no"})
    await store.settle(early.handle, early.fence, 0, [], "", outcome)
    ended, running = await store.runs_since(since, org="")
    assert (ended.phase, ended.started_at, ended.ended_at) == (Phase.FAILED, since - 100, since + 7)
    assert (running.phase, running.started_at, running.ended_at, running.wait_s) == (None, since, None, 0.0)
    assert await store.runs_since(since, org="b") == [running]
    assert await store.runs_since(since + 8, org="") == []


async def test_what_changed_lately(store: Store, flow: Flow, clock: Clock) -> None:
    """What was created, claimed or ended in the last seconds, with the phase that it has now."""
    one = (await flow.claimed("w1")).execution
    two = await flow.created()
    assert one is not None
    assert set(await store.changed_lately(4)) == {(one.id, Phase.IN_PROGRESS), (two.id, Phase.PENDING)}
    clock.advance(5)
    assert await store.changed_lately(4) == []
    await store.settle(one.handle, one.fence, 0, [], "", Outcome(phase=Phase.COMPLETED))
    assert await store.changed_lately(4) == [(one.id, Phase.COMPLETED)]


async def test_the_newest_failed_starts(store: Store, clock: Clock) -> None:
    """One of each queue, newest first."""
    await store.startup_failed("red", "worker", "no module")
    clock.advance(1)
    await store.startup_failed("blue", "worker", "no key")
    assert [(one.queue, one.text) for one in await store.startup_failures()] == [
        ("blue", "no key"),
        ("red", "no module"),
    ]
