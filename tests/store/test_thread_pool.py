"""Verbs run whole on the store's threads: what callers who leave, a full house, the end and an outage do to them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import update

from agent_runner.status.store.connection import POSTGRES_CONNECTIONS
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import Kind
from tests.store.conftest import Flow
from tests.support.databases import admin

BOUND_S = 20.0


@contextmanager
def all_busy(store: Store) -> Iterator[list[asyncio.Task[None]]]:
    """Every thread of the store that writes is in the middle of a transaction, until the block ends."""
    gate = threading.Event()
    most = 1 if store.is_sqlite else POSTGRES_CONNECTIONS

    def wait(connection: Connection) -> None:
        if not gate.wait(BOUND_S):
            raise TimeoutError

    tasks = [asyncio.get_running_loop().create_task(store.transact(Kind.WRITES, wait)) for _ in range(most)]
    try:
        yield tasks
    finally:
        gate.set()


async def test_a_caller_who_leaves_before_his_verb_began_has_done_nothing(store: Store, flow: Flow) -> None:
    """It is not begun any more, also when a thread comes free; the others before and after it are done."""
    made = await flow.created()
    other = await flow.created()
    with all_busy(store) as held:
        await asyncio.sleep(0)
        left = asyncio.create_task(store.request_cancel(made.id, "somebody"))
        stays = asyncio.create_task(store.request_cancel(other.id, "somebody"))
        await asyncio.sleep(0)
        left.cancel()
        assert await asyncio.gather(left, return_exceptions=True)
    assert await asyncio.gather(*held) == [None] * len(held)
    await asyncio.wait_for(stays, BOUND_S)
    assert (await flow.facts(made.id)).completed_at is None
    assert (await flow.facts(other.id)).completed_at is not None


async def test_a_verb_that_no_thread_takes_says_so_and_is_not_done_later(
    store: Store, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time it is refused, and what was told to have failed does not happen afterwards."""
    made = await flow.created()
    monkeypatch.setattr(store._threads[Kind.WRITES], "_wait_s", 0.05)
    with all_busy(store) as held:
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="all threads are busy"):
            await store.request_cancel(made.id, "somebody")
    await asyncio.gather(*held)
    assert (await flow.facts(made.id)).completed_at is None


async def test_an_end_waits_for_what_runs(store: Store, flow: Flow) -> None:
    """What was begun or waits is done; what comes later is refused; a second end is none."""
    made = await flow.created()
    with all_busy(store) as held:
        await asyncio.sleep(0)
        cancel = asyncio.create_task(store.request_cancel(made.id, "somebody"))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        assert not closing.done()
    await asyncio.wait_for(closing, BOUND_S)
    assert await asyncio.gather(*held) == [None] * len(held)
    assert (await cancel) is not None
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.get(made.id)
    await store.close()


async def test_what_is_told_after_a_commit_is_told_on_the_loop_and_only_then(store: Store, flow: Flow) -> None:
    """On the loop's own thread, before the caller has his answer; never for what was rolled back."""
    made, heard = await flow.created(), list[int]()

    def tells(connection: Connection, *, fails: bool) -> None:
        connection.execute(update(executions).where(executions.c.id == made.id).values(name="told"))
        connection.after_commit(lambda: heard.append(threading.get_ident()))
        if fails:
            raise ValueError("rolled back")

    with pytest.raises(ValueError, match="rolled back"):
        await store.transact(Kind.WRITES, lambda connection: tells(connection, fails=True))
    assert heard == []
    assert (await flow.facts(made.id)).name == "a run"
    await store.transact(Kind.WRITES, lambda connection: tells(connection, fails=False))
    assert heard == [threading.get_ident()]
    assert (await flow.facts(made.id)).name == "told"


async def test_after_an_outage_every_thread_connects_anew(store: Store, flow: Flow, sort: str) -> None:
    """One verb learns it; the connections of all other threads are as lost, and no caller meets them (Postgres)."""
    if sort != "postgres":
        pytest.skip("SQLite has no connection that could be lost")
    made = await flow.created()
    await asyncio.gather(*(store.get(made.id) for _ in range(2 * POSTGRES_CONNECTIONS)))
    with admin(store.engine.url.render_as_string(hide_password=False)) as cut:
        own = "datname = current_database() and pid <> pg_backend_pid()"
        cut.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {own}")
    with pytest.raises(StoreUnavailable):
        await store.get(made.id)
    found = await asyncio.gather(*(store.get(made.id) for _ in range(2 * POSTGRES_CONNECTIONS)))
    assert [one.id for one in found if one] == [made.id] * len(found)
