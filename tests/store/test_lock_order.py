"""All verbs at once on one session: they take their locks in one order, and no deadlock reaches a caller (Postgres)."""

import asyncio
import os
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from sqlalchemy import select

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.executions.ending import OPEN
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import NewDelta, Outcome, RunBeat
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts
from tests.store.conftest import Flow
from tests.support.tables import rows

WORKERS = 8
OPERATIONS = int(os.environ.get("AGENT_RUNNER_TEST_STRESS", "1200"))
WORKER = "w1"
SHORT = Timeouts(schedule_to_start_s=1, heartbeat_s=1, cancel_s=1)
SAID = NewDelta(kind="text", payload='{"id":"a","text":"x"}')


class Crowd:
    """Eight callers who do whatever can be done, on the executions of one session."""

    def __init__(self, stores: list[Store], seed: int) -> None:
        self.stores = stores
        self.random = random.Random(seed)
        self.session = f"ses-{uuid.uuid4().hex}"
        self.ids: list[str] = []
        self.done: Counter[str] = Counter()

    async def round(self) -> None:
        """One that runs, others that wait for it; then everybody does something at once, on any of them."""
        flow = Flow(self.stores[0])
        open_ones = [e for e in [await self.stores[0].get(id) for id in self.ids] if e and e.step is not Step.SETTLED]
        while len(open_ones) < 4:
            open_ones.append(await flow.created(session_id=self.session, timeouts=SHORT))
        self.ids = [e.id for e in open_ones]
        front = await flow.facts(self.ids[0])
        while front.step not in (Step.RUNNING, Step.WAITING, Step.SETTLED):
            await forward(self.stores[0], front)
            front = await flow.facts(front.id)
        verbs = [self.random.choice(VERBS) for _ in self.stores]
        seen = [await flow.facts(self.random.choice(self.ids)) for _ in verbs]
        await asyncio.gather(*(verb(store, e) for store, verb, e in zip(self.stores, verbs, seen, strict=True)))
        self.done.update(verb.__name__ for verb in verbs)


Verb = Callable[[Store, Execution], Awaitable[object]]


async def create(store: Store, execution: Execution) -> object:
    return await Flow(store).created(session_id=execution.session_id, timeouts=SHORT)


async def forward(store: Store, execution: Execution) -> object:
    """Whatever brings it one step on."""
    if execution.step is Step.ENSURE_THREAD:
        await store.dispatched(execution.id)
        return await store.begin(execution.id, "b1", WORKER)
    if execution.step is Step.THREAD_STARTED:
        return await store.done(execution.id, "b1", "thread-1")
    return await store.claim(execution.id, "c1", WORKER)


async def append(store: Store, execution: Execution) -> object:
    return await store.append(execution.handle, execution.fence, execution.runner_seq, [SAID], head=uuid.uuid4().hex)


async def settle(store: Store, execution: Execution) -> object:
    outcome = Outcome(phase=Phase.COMPLETED, code=None, facts={})
    return await store.settle(execution.handle, execution.fence, execution.runner_seq, [SAID], "head", outcome)


async def hand_back(store: Store, execution: Execution) -> object:
    return await store.hand_back(execution.handle, execution.fence, execution.runner_seq, [], "head", "shutdown")


async def beat(store: Store, execution: Execution) -> object:
    return await store.beat(WORKER, [RunBeat(handle=execution.handle, fence=execution.fence, progress={})])


async def cancel(store: Store, execution: Execution) -> object:
    return await store.request_cancel(execution.id, "somebody")


async def fail(store: Store, execution: Execution) -> object:
    return await store.fail(execution.id, Code.SYSTEM, {"original_error": "x"})


async def delete(store: Store, execution: Execution) -> object:
    return await store.delete(execution.id)


async def withdraw(store: Store, execution: Execution) -> object:
    return await store.withdraw(execution.id)


async def sweep(store: Store, execution: Execution) -> object:
    return await store.tick(period_s=1)


async def lose(store: Store, execution: Execution) -> object:
    await store.disconnected(WORKER, 3)
    return await store.exited(WORKER, "signal 9")


async def arrive(store: Store, execution: Execution) -> object:
    facts = {"queue": "runner", "role": "worker", "hostname": "h", "name": WORKER, "version": "1"}
    await store.hello(incarnation=WORKER, pid=1, slots=9, **facts)
    return None


async def due(store: Store, execution: Execution) -> object:
    return await store.due_for_dispatch()


async def retire(store: Store, execution: Execution) -> object:
    await store.purge(0)
    return await store.retire_sessions(0)


VERBS: list[Verb] = [create, forward, append, settle, settle, hand_back, beat, cancel, cancel, fail, delete, withdraw]
VERBS += [sweep, sweep, lose, arrive, due, retire]


@pytest.mark.timeout(600)
async def test_all_verbs_on_one_session(database_url: str, store: Store) -> None:
    """Nothing that eight callers do at the same time fails, and afterwards nobody waits for a session that is free."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer")
    stores = [Store.open(database_url) for _ in range(WORKERS)]
    crowd = Crowd(stores, seed=random.randrange(1 << 30))
    try:
        for _ in range(OPERATIONS // WORKERS):
            await crowd.round()
        open_ones = [row.step for row in await rows(stores[0], select(executions.c.step).where(OPEN))]
        assert min(1, len(open_ones)) == sum(step != Step.WAITING.value for step in open_ones)
    finally:
        for one in stores:
            await one.close()
    with psycopg.connect(database_url) as connection:
        met = connection.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    print(f"{OPERATIONS} operations, {dict(crowd.done)}, deadlocks that Postgres broke: {met}")
