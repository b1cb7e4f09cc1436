"""A slow broker is no outage: deadlines are kept, no clock is moved, nothing is sent over and over (L1, L5)."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import func, insert, select, update

from agent_runner.app.server.executions.dispatch import Dispatcher, Resender
from agent_runner.app.server.log_feed.wakeups import Wakeups
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.maintenance.sweeper import Pulse, Sweeper
from agent_runner.app.server.runners.presence import PresenceBoard
from agent_runner.clients.broker.publisher import Publisher
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import NewExecution
from agent_runner.status.store.schema import executions, sweeper
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts
from tests.support import databases
from tests.support.tables import change, rows, scalar

DUE = 2_000
SLOW_S = 0.025
PERIOD_S = 0.2
SILENT_S = 1.0


class SlowPublisher:
    """Four messages at once, each in its time, as the real one has threads."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self._threads = asyncio.Semaphore(4)

    async def publish(self, execution_id: str, *_: Any, **__: Any) -> None:
        async with self._threads:
            await asyncio.sleep(SLOW_S)
        self.sent[execution_id] += 1


class NoWakeups:
    def notify(self, execution_id: str) -> None: ...


class NoWorkers:
    async def push_cancels(self) -> None: ...


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(databases.copied(tmp_path / "store.db"))
    yield opened
    await opened.close()


def new(**given: Any) -> NewExecution:
    id = f"aex-{uuid.uuid4().hex}"
    values: dict[str, Any] = {"id": id, "name": id, "slug": id, "session_id": f"ses-{id}", "org": "local"}
    values |= {"agent_id": "agt-1", "message": "hello", "runner_queue": "runner", "orchestrator_queue": "orchestrator"}
    return NewExecution(**{"timeouts": Timeouts(), **values, **given})


async def silent_run(store: Store) -> str:
    """A run that was claimed by a worker that never beats."""
    quick = Timeouts(heartbeat_s=SILENT_S)
    execution = (await store.create(new(timeouts=quick))).execution
    assert execution is not None
    await store.dispatched(execution.id)
    assert (await store.begin(execution.id, "b1", "w1")).granted
    assert await store.done(execution.id, "b1", "thread-1")
    assert (await store.claim(execution.id, "c1", "w1")).granted
    return execution.id


async def many_due(store: Store) -> None:
    """Rows that were accepted while the broker was away, all to be published now."""
    first = (await store.create(new(session_id=""))).execution
    assert first is not None
    (row,) = await rows(store, select(executions).where(executions.c.id == first.id))
    computed = {column.name for column in executions.c if column.computed is not None}
    kept = {name: told for name, told in row._mapping.items() if name != "handle" and name not in computed}
    copies = [{**kept, "id": f"{first.id}-{n}", "slug": f"s-{n}", "next_dispatch_at": 0.0} for n in range(DUE)]
    await change(store, insert(executions), values=copies)
    await change(store, update(executions).where(executions.c.id == first.id).values(next_dispatch_at=9e15))


async def test_a_slow_broker_moves_no_clock(store: Store) -> None:
    """With 2,000 rows to publish at 25 ms each a silent run ends E102 in its time, and no row is sent twice."""
    publisher = SlowPublisher()
    dispatcher = Dispatcher(store, cast(Publisher, publisher))
    pulse = Pulse(store, PERIOD_S)
    await pulse.beat()
    await many_due(store)
    id = await silent_run(store)
    services: list[Background] = [
        pulse,
        Sweeper(store, cast(Wakeups, NoWakeups()), cast(PresenceBoard, NoWorkers()), PERIOD_S),
        Resender(dispatcher, PERIOD_S),
    ]
    for service in services:
        service.start()
    try:
        until = time.monotonic() + 60
        while (found := await store.get(id)) is not None and found.phase is Phase.IN_PROGRESS:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        sent_by_then = sum(publisher.sent.values())
    finally:
        for service in reversed(services):
            await service.stop()
    assert found is not None
    assert found.error_code == "E102"
    assert 0 < sent_by_then < DUE  # it ended while the broker was still behind
    assert max(publisher.sent.values()) == 1
    assert await scalar(store, select(sweeper.c.resumed_at)) is None
    silent_s = executions.c.completed_at - executions.c.last_beat_at
    late = await scalar(store, select(silent_s).where(executions.c.id == id))
    assert late is not None
    assert late >= SILENT_S


async def test_one_pass_at_a_time(store: Store) -> None:
    """However many ask for what is due meanwhile, a row is published once, and nobody who asked is forgotten."""
    publisher = SlowPublisher()
    dispatcher = Dispatcher(store, cast(Publisher, publisher))
    first = (await store.create(new())).execution
    assert first is not None
    await change(store, update(executions).values(next_dispatch_at=0.0))
    await asyncio.gather(*(dispatcher.resend_due() for _ in range(20)))
    assert {first.id: 1} == dict(publisher.sent)
    stamped = select(func.count()).select_from(executions).where(executions.c.dispatched_at.is_not(None))
    assert await scalar(store, stamped) == 1


async def test_no_deadline_is_looked_at_before_the_amnesty(store: Store) -> None:
    """A sweep that comes before the first stamp after an outage grants the amnesty itself: the run is not ended."""
    assert not await store.alive(period_s=PERIOD_S)
    id = await silent_run(store)
    await change(
        store,
        update(sweeper).values(alive_at=sweeper.c.alive_at - 100),
        update(executions).where(executions.c.id == id).values(due_heartbeat=executions.c.due_heartbeat - 50),
    )
    swept = await store.sweep(period_s=PERIOD_S)
    assert (swept.resumed, list(swept.ended)) == (True, [])
    found = await store.get(id)
    assert found is not None
    assert found.phase is Phase.IN_PROGRESS
