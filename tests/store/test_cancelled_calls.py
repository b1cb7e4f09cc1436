"""A caller who leaves in the middle of a write."""

import asyncio
import gc
from collections.abc import Iterator

import pytest
from ulid import ULID

from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.store import Store

TURNS = 60
"""A write is over after fewer turns of the loop."""
ROUNDS = 5


@pytest.fixture
def nothing_collected() -> Iterator[None]:
    """What is thrown away stays there: nobody may depend on a garbage collector that comes in time."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


def resource() -> Resource:
    id = f"env-{ULID()}".lower()
    body = {"text": "x" * 500}
    kind = ResourceKind.ENVIRONMENT
    return Resource(kind=kind, id=id, org="o", slug=id, parent_id="", created_at=1.0, version=0, body=body)


async def test_a_caller_who_leaves_holds_up_nobody(store: Store, nothing_collected: None) -> None:
    """Wherever in a write its caller is cancelled: it is stored whole or not at all, and the next one can write."""
    for turns in [*range(TURNS)] * ROUNDS:
        left = resource()
        writing = asyncio.create_task(store.put_resource(left))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        stored = await store.put_resource(resource())
        assert stored.version == 1
        found = await store.get_resource(ResourceKind.ENVIRONMENT, left.id)
        assert found is None or found.body == left.body
