"""The store of graphs on Postgres as it is met: behind PgBouncer in transaction mode, and away for a while."""

import asyncio

import pytest

from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.store.org_store import OrgStore
from tests.surroundings.postgres import Cluster, pgbouncer


async def write_and_read(store: OrgStore, number: int) -> None:
    with running(CurrentRun(thread_id="t", org="acme")):
        await store.aput(("n", str(number)), "k", {"n": number}, ttl=60)
        assert (await store.aget(("n", str(number)), "k")) is not None
        await store.asearch(("n",), limit=50)


@pytest.mark.parametrize("spelled", ["{}", "{}?prepared_statements=off"])
async def test_processes_share_the_connections_of_a_pooler(cluster: Cluster, spelled: str) -> None:
    """Four that begin together, more calls at once than connections: all is set up once, nothing is refused."""
    with pgbouncer(cluster.folder.parent / "bouncer", cluster) as url:
        stores = [OrgStore(spelled.format(url)) for _ in range(4)]
        try:
            calls = [write_and_read(store, number) for number in range(5) for store in stores]
            await asyncio.wait_for(asyncio.gather(*calls), 60)
        finally:
            for store in stores:
                await store.aclose()


async def test_a_call_waits_for_a_database_that_is_away(cluster: Cluster) -> None:
    """As the memory does: the call comes back with the database, on the same store."""
    store = OrgStore(cluster.url)
    try:
        await asyncio.gather(*(write_and_read(store, number) for number in range(6)))
        await asyncio.to_thread(cluster.stop)
        waiting = [asyncio.create_task(write_and_read(store, number)) for number in range(6)]
        done, _ = await asyncio.wait(waiting, timeout=2)
        assert not done
        await asyncio.to_thread(cluster.start)
        await asyncio.wait_for(asyncio.gather(*waiting), 30)
    finally:
        await store.aclose()
