"""Publishing: from a row to a message on its queue, and the stamp that starts its schedule-to-start clock."""

import logging
from collections.abc import Iterable

from clients.tasks_wire import Publisher, PublishError
from status.phases import Step
from status.store.errors import StoreUnavailable
from status.store.records import Execution, Removal
from status.store.store import Store

log = logging.getLogger(__name__)


class Dispatcher:
    """What is sent is what the row's step says: the chain, or ExecuteGraphton alone. A second copy loses the claim."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    async def publish(self, execution_id: str) -> None:
        """Publish the next step and stamp it. Raises `PublishError`."""
        execution = await self._store.get(execution_id)
        if execution is not None:
            await self.send(execution)

    async def send(self, execution: Execution) -> None:
        """As `publish`, for a row that was just read."""
        if execution.step not in (Step.ENSURE_THREAD, Step.EXECUTE):
            return
        await self._publisher.publish(
            execution.id, execution.step, execution.runner_queue, execution.orchestrator_queue, execution.timeouts
        )
        await self._store.dispatched(execution.id)

    async def clean_up(self, session_id: str, queue: str) -> None:
        """Have workers remove a deleted session's sandbox and memory. Retention sees to what is not removed now."""
        try:
            await self.remove(await self._store.retire_session(session_id), queue)
        except (PublishError, StoreUnavailable) as error:
            log.warning("the sandbox and the memory of session %s stay for now: %s", session_id, error)

    async def remove(self, removals: Iterable[Removal], queue: str) -> None:
        """Have workers remove these. Raises `PublishError`; what was not published then is due again."""
        for removal in removals:
            if removal.sandbox_id:
                await self._publisher.publish_cleanup(removal.session_id, removal.sandbox_id, queue)
            else:
                await self._publisher.publish_prune(removal.thread_id, removal.head_checkpoint_id, queue)

    async def resend_due(self) -> None:
        """Publish what is due: its turn has come, or it was not stamped or not claimed in its time.

        What cannot be published now is due again soon.
        """
        try:
            for execution in await self._store.due_for_dispatch():
                await self.send(execution)
        except (PublishError, StoreUnavailable) as error:
            log.warning("not published, it is sent again soon: %s", error)
