"""A worker process belongs to the key that it registered with: no other key speaks for it.

The key of the environment may speak for all. A process that nobody has registered yet is nobody's: there is nothing
of it that could be taken.
"""

from agent_runner.app.server.access.principal import current
from agent_runner.status.store.errors import OtherKeysWorker
from agent_runner.status.store.store import Store


async def must_be_mine(store: Store, incarnation: str) -> None:
    """Before anything is done in the name of that process. Raises PERMISSION_DENIED."""
    mine = current().key_id
    if mine and incarnation and await store.worker_key(incarnation) not in (None, mine):
        raise OtherKeysWorker(incarnation)
