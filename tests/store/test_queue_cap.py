"""The cap of a queue holds whoever creates at the same time, at whichever server."""

import asyncio
from collections import Counter

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
