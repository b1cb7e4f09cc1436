"""Short verbs on SQLite run on the event loop, and never keep it waiting: what they would wait for goes to a thread."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_runner.status.phases import Phase
from agent_runner.status.store.driver.transaction import SHORT_BYTES, Connection
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.run_records import NewDelta, Outcome, RunnerVerdict
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import Kind
from tests.store.conftest import Flow
from tests.support import databases

BOUND_S = 20.0
AUTO_CHECKPOINT_BYTES = 1000 * 4096
"""From this size on SQLite carries its log into the database with the next commit, unless it is told not to."""
MOST_APPENDS = 1000
TURNS = 200
"""How often the loop is to come round while a verb waits elsewhere."""


@pytest.fixture
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with databases.migrated("sqlite", tmp_path_factory.mktemp("store")) as url:
        yield url


async def come_round() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_a_life_makes_no_hop(store: Store, flow: Flow, text: Callable[[str], NewDelta]) -> None:
    claimed = await flow.claimed()
    run = claimed.execution
    assert run is not None
    assert (await store.append(run.handle, run.fence, 0, [text("hello")])).verdict is RunnerVerdict.OK
    ended = await store.settle(run.handle, run.fence, 1, [text("!")], "", Outcome(phase=Phase.COMPLETED))
    assert ended.accepted
    found = await store.state(run.id)
    assert found is not None
    assert found[0].phase is Phase.COMPLETED
    assert store.hops == 0


async def test_what_follows_the_commit_is_told_on_the_loop(store: Store, flow: Flow) -> None:
    heard: list[int] = []
    store.on_rows = lambda rows: heard.append(threading.get_ident())
    await flow.created()
    await flow.claimed()
    assert set(heard) == {threading.get_ident()}


async def test_a_thread_that_writes_is_waited_for_on_a_thread(store: Store, flow: Flow) -> None:
    """The loop goes on meanwhile, and reads here are not held up."""
    made = await flow.created()
    begun, gate = threading.Event(), threading.Event()

    def holds(connection: Connection) -> None:
        begun.set()
        assert gate.wait(BOUND_S)

    held = asyncio.create_task(store.transact(Kind.WRITES, holds))
    await asyncio.to_thread(begun.wait, BOUND_S)
    stamped = asyncio.create_task(store.dispatched(made.id))
    await come_round()
    assert not stamped.done()
    assert (await flow.facts(made.id)).dispatched_at is None
    gate.set()
    await asyncio.wait_for(asyncio.gather(held, stamped), BOUND_S)
    assert (await flow.facts(made.id)).dispatched_at is not None


async def test_another_process_that_writes_is_waited_for_on_a_thread(
    store: Store, flow: Flow, database_url: str
) -> None:
    """It is met at the first statement, so nothing was done here; what is done at last is done once."""
    await flow.created()
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    new = flow.new()
    creating = asyncio.create_task(store.create(new))
    await come_round()
    assert not creating.done()
    assert await store.get(new.id) is None
    other.execute("COMMIT")
    other.close()
    assert (await asyncio.wait_for(creating, BOUND_S)).execution is not None
    assert [seq for seq, _ in await flow.log(new.id)] == [1, 2]
    assert store.hops == 1


async def test_much_to_do_is_done_once_and_on_a_thread(
    store: Store, flow: Flow, text: Callable[[str], NewDelta]
) -> None:
    """A large append, the state of a long log, its end with a snapshot: all rows once, in order."""
    claimed = await flow.claimed()
    run = claimed.execution
    assert run is not None
    counted: list[int] = []
    store.on_rows = lambda rows: counted.append(len(rows.told))
    before = store.hops
    large = [text("x" * (SHORT_BYTES // 4)) for _ in range(5)]
    assert (await store.append(run.handle, run.fence, 0, large)).next == len(large)
    assert store.hops == before + 1
    assert await store.state(run.id) is not None
    assert store.hops == before + 2
    ended = await store.settle(run.handle, run.fence, len(large), [], "", Outcome(phase=Phase.COMPLETED))
    assert ended.accepted
    assert store.hops == before + 3
    seqs = [seq for seq, _ in await flow.log(run.id)]
    assert seqs == list(range(1, (await flow.facts(run.id)).last_seq + 1))
    assert counted == [len(large), 1]


async def test_a_caller_who_leaves_before_it_began_has_done_nothing(store: Store, flow: Flow) -> None:
    made = await flow.created()
    left = asyncio.create_task(store.dispatched(made.id))
    await asyncio.sleep(0)  # it gives the loop up once, as if a thread had to take it
    left.cancel()
    assert isinstance((await asyncio.gather(left, return_exceptions=True))[0], asyncio.CancelledError)
    assert (await flow.facts(made.id)).dispatched_at is None


async def test_the_disk_is_waited_for_by_the_writers_thread_alone(
    store: Store, flow: Flow, text: Callable[[str], NewDelta], database_url: str
) -> None:
    """SQLite's log is not carried into the database here, however long it gets; the thread's next commit does that."""
    log = Path(database_url.removeprefix("sqlite:///") + "-wal")
    claimed = await flow.claimed()
    run = claimed.execution
    assert run is not None
    first = 0
    for _ in range(MOST_APPENDS):
        if log.stat().st_size > 2 * AUTO_CHECKPOINT_BYTES:
            break
        said = [text("x" * (SHORT_BYTES // 10)) for _ in range(8)]
        first = (await store.append(run.handle, run.fence, first, said)).next
    assert (store.hops, log.stat().st_size > 2 * AUTO_CHECKPOINT_BYTES) == (0, True)
    await store.alive(period_s=1.0)
    grown = log.stat().st_size
    await flow.created()
    assert log.stat().st_size == grown  # it begins anew from its start


async def test_after_the_end_nothing_is_done(store: Store, flow: Flow) -> None:
    made = await flow.created()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.dispatched(made.id)
