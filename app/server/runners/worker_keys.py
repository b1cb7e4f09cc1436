"""A worker process belongs to the key that registered it. No other key may act for it.

The key of the environment may act for all processes. A process that is not registered yet belongs to no key: it has
nothing to protect.
"""

from agent_runner.app.server.access.principal import current
from agent_runner.status.store.errors import OtherKeysWorker
from agent_runner.status.store.store import Store


async def must_be_mine(store: Store, incarnation: str) -> None:
    """Call it before an action in the name of that process. Raises `OtherKeysWorker` (PERMISSION_DENIED)."""
    mine = current().key_id
    if mine and incarnation and await store.worker_key(incarnation) not in (None, mine):
        raise OtherKeysWorker(incarnation)
