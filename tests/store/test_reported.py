"""`updateStatus` of the published contract, and the laws that it must not break."""

from status.phases import Phase
from status.store.store import Store
from tests.store.conftest import Clock, Flow


async def test_a_status_update_of_a_waiting_execution_leaves_it_a_deadline(
    store: Store, flow: Flow, clock: Clock
) -> None:
    """L1: an execution that is not its session's turn still ends after a runner reported on it."""
    await store.tick(period_s=1)
    await flow.claimed(session_id="ses-1")
    behind = await flow.created(session_id="ses-1")
    await store.merge_status(behind.id, {"phase": Phase.IN_PROGRESS.wire_name})
    clock.advance(1_000_000)
    for _ in range(3):
        await store.tick(period_s=1_000_000)
    assert (await flow.facts(behind.id)).phase in {Phase.FAILED, Phase.CANCELLED}
