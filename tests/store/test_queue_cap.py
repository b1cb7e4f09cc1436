"""The cap of a queue holds whoever creates at the same time, at whichever server."""

import asyncio
from collections import Counter

import psycopg
import pytest

from agent_runner.status.store.executions import creation
from agent_runner.status.store.records import CreateVerdict
from agent_runner.status.store.store import Store
from tests.store.conftest import Flow

CAP, AT_ONCE = 5, 24


async def test_two_servers_never_exceed_the_cap(store: Store, database_url: str) -> None:
    """Of many who create at once exactly as many are accepted as there is room; other queues are not held up."""
    second = Store.open(database_url)
    try:
        flow = Flow(store)
        creates = [
            (store, second)[number % 2].create(flow.new(runner_queue="full"), queue_cap=CAP)
            for number in range(AT_ONCE)
        ]
        others = [store.create(flow.new(runner_queue=f"other-{number}"), queue_cap=CAP) for number in range(CAP)]
        full = Counter(created.verdict for created in await asyncio.gather(*creates))
        assert full == {CreateVerdict.CREATED: CAP, CreateVerdict.QUEUE_FULL: AT_ONCE - CAP}
        assert {created.verdict for created in await asyncio.gather(*others)} == {CreateVerdict.CREATED}
    finally:
        await second.close()


async def test_the_cap_holds_where_creates_stop_counting_at_once(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from the cap creates count beside each other, near it one after the other: as many as there is room."""
    monkeypatch.setattr(creation, "UNSEEN_MOST", 32)  # the connections of both servers
    cap = 70
    second = Store.open(database_url)
    try:
        flow = Flow(store)
        creates = [(store, second)[number % 2].create(flow.new(), queue_cap=cap) for number in range(cap + 20)]
        full = Counter(created.verdict for created in await asyncio.gather(*creates))
        assert full == {CreateVerdict.CREATED: cap, CreateVerdict.QUEUE_FULL: 20}
    finally:
        await second.close()


async def test_creates_far_from_the_cap_do_not_wait_for_each_other(store: Store, database_url: str, sort: str) -> None:
    """One that has counted and is slow to end holds up those only that are near the cap."""
    if sort != "postgres":
        pytest.skip("SQLite has one writer")
    flow = Flow(store)
    with psycopg.connect(database_url) as slow:
        lock = "SELECT pg_advisory_xact_lock_shared(hashtextextended('agent_runner.queue ' || %s, 0))"
        slow.execute(lock, (flow.new().runner_queue,))
        created = await store.create(flow.new(), queue_cap=creation.UNSEEN_MOST + 10)
        assert created.verdict is CreateVerdict.CREATED
        near = asyncio.create_task(store.create(flow.new(), queue_cap=CAP))
        assert not (await asyncio.wait([near], timeout=1))[0]
        slow.commit()
        assert (await asyncio.wait_for(near, 20)).verdict is CreateVerdict.CREATED
