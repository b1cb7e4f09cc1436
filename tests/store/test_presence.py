"""Absence proves nothing: who is lost, and who has only left (L5)."""

from typing import Any

from agent_runner.status.phases import Phase
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow
from tests.store.test_deadlines import ended, run_to

HELLO: dict[str, Any] = {
    "queue": "runner",
    "role": "worker",
    "hostname": "h",
    "pid": 1,
    "slots": 5,
    "name": "w@h",
    "version": "1",
}


async def test_who_said_goodbye_is_not_lost(store: Store, flow: Flow, clock: Clock) -> None:
    """The end of a stream after a goodbye is no loss; a run that it left behind falls to the heartbeat."""
    await store.tick(period_s=1)
    await store.hello(incarnation="w1", **HELLO)
    execution = (await flow.claimed("w1")).execution
    assert execution is not None
    await store.goodbye("w1")
    await store.disconnected("w1", 3.0)
    await run_to(store, clock, 29)
    assert (await flow.facts(execution.id)).phase is Phase.IN_PROGRESS
    assert next(w for w in await store.workers() if w.incarnation == "w1").disconnected_at is None
    await run_to(store, clock, 2)
    assert (await ended(store, execution.id))[1] == "E102"


async def test_who_comes_back_after_a_goodbye_can_be_lost(store: Store, flow: Flow, clock: Clock) -> None:
    """A hello forgets the goodbye."""
    await store.tick(period_s=1)
    await store.hello(incarnation="w1", **HELLO)
    await store.goodbye("w1")
    await store.hello(incarnation="w1", **HELLO)
    execution = (await flow.claimed("w1")).execution
    assert execution is not None
    await store.disconnected("w1", 3.0)
    await run_to(store, clock, 4)
    assert (await ended(store, execution.id))[1] == "E103"


async def test_a_stream_of_somebody_unknown_proves_nothing(store: Store, flow: Flow, clock: Clock) -> None:
    """A process that this database never heard of is not declared lost."""
    await store.tick(period_s=1)
    execution = (await flow.claimed("w1")).execution
    assert execution is not None
    await store.disconnected("w1", 3.0)
    await run_to(store, clock, 10)
    assert (await flow.facts(execution.id)).phase is Phase.IN_PROGRESS


async def test_the_loss_of_one_worker_is_not_that_of_another(store: Store, flow: Flow, clock: Clock) -> None:
    """Only the runs of the process whose stream ended are lost."""
    await store.tick(period_s=1)
    for name in ("w1", "w2"):
        await store.hello(incarnation=name, **HELLO)
    lost, kept = (await flow.claimed("w1")).execution, (await flow.claimed("w2")).execution
    assert lost is not None
    assert kept is not None
    await store.disconnected("w1", 3.0)
    await run_to(store, clock, 4)
    assert (await ended(store, lost.id))[1] == "E103"
    assert (await flow.facts(kept.id)).phase is Phase.IN_PROGRESS


async def test_a_handed_back_run_is_not_lost_with_its_old_owner(store: Store, flow: Flow, clock: Clock) -> None:
    """Between the hand-back and the next claim nobody owns it: no heartbeat, no start-to-close, no loss."""
    await store.tick(period_s=1)
    await store.hello(incarnation="w1", **HELLO)
    execution = (await flow.claimed("w1")).execution
    assert execution is not None
    await store.disconnected("w1", 3.0)
    assert (await store.hand_back(execution.handle, 1, 0, [], "", "deploy")).accepted
    assert await store.exited("w1", "signal 9") == []
    await run_to(store, clock, 59)
    assert (await flow.facts(execution.id)).phase is Phase.IN_PROGRESS


async def test_what_commands_run_in_is_told(store: Store) -> None:
    """By the worker's hello, and by the claim for its execution; it is no part of the version."""
    await store.hello(incarnation="w1", sandbox="not isolated: no bubblewrap", **HELLO)
    await store.hello(incarnation="w2", **HELLO)
    told = {worker.incarnation: (worker.version, worker.sandbox) for worker in await store.workers()}
    assert told == {"w1": ("1", "not isolated: no bubblewrap"), "w2": ("1", "")}
