"""Publishing: from a row to a message on its queue, and the stamp that starts its schedule-to-start clock."""

import asyncio
from collections.abc import Iterable

from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.clients.broker.celery_config import PUBLISH_THREADS
from agent_runner.clients.broker.publisher import Publisher, PublishError
from agent_runner.clients.tracing.tracing import OFF, TRACE, Tracing
from agent_runner.status.event_logger import event_logger
from agent_runner.status.phases import Step
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.records import Execution, Removal
from agent_runner.status.store.store import Store

log = event_logger(__name__)
AT_ONCE = 2 * PUBLISH_THREADS
"""Rows taken at once: with a broker at its slowest (its deadline each) they are sent before they are due again."""


class Dispatcher:
    """Publishes the message of a row's step: the chain, or ExecuteGraphton alone. A second copy loses the claim."""

    def __init__(self, store: Store, publisher: Publisher, tracing: Tracing = OFF) -> None:
        self._store = store
        self._publisher = publisher
        self._tracing = tracing
        self._passing = asyncio.Lock()
        self._asked_again = False

    async def publish(self, execution_id: str) -> None:
        """Publish the next step and stamp it. Raises `PublishError`."""
        execution = await self._store.get(execution_id)
        if execution is not None:
            await self.send(execution)

    async def send(self, execution: Execution) -> None:
        """As `publish`, for a row that was just read."""
        if execution.step not in (Step.ENSURE_THREAD, Step.EXECUTE):
            return
        # A message that is sent again, or at its turn, belongs to the trace of the request that created the row.
        with self._tracing.span(
            f"send {execution.step.value}",
            "producer",
            parent=execution.spec.get(TRACE) or {},
            messaging__system="celery",
            messaging__operation__name="send",
            messaging__operation__type="send",
            messaging__destination__name=execution.runner_queue,
            agent_runner__execution__id=execution.id,
        ):
            await self._publisher.publish(
                execution.id,
                execution.step,
                execution.runner_queue,
                execution.orchestrator_queue,
                execution.timeouts,
                self._tracing.carried(),
                attempt=max(1, execution.attempt if execution.resumable else execution.attempt + 1),
            )
        await self._store.dispatched(execution.id)

    async def clean_up(self, session_id: str, queue: str) -> None:
        """Have workers remove a deleted session's sandbox and memory. Retention asks again for what is left."""
        try:
            await self.remove(await self._store.retire_session(session_id), queue)
        except (PublishError, StoreUnavailable) as error:
            log.warning("session.cleanup_postponed", session_id=session_id, error=error)

    async def remove(self, removals: Iterable[Removal], queue: str) -> None:
        """Ask workers for these removals. Raises `PublishError`; removals that were not published are due again."""
        for removal in removals:
            if removal.sandbox_id:
                await self._publisher.publish_cleanup(removal.session_id, removal.sandbox_id, queue)
            else:
                await self._publisher.publish_prune(removal.thread_id, removal.head_checkpoint_id, queue)

    async def ask(self, query_id: str, queue: str, within_s: float) -> None:
        """Have a worker answer a question. Raises `PublishError`."""
        await self._publisher.publish_query(query_id, queue, within_s)

    async def depth(self, queue: str) -> int:
        """Messages on the broker's queue. Raises `PublishError`."""
        return await self._publisher.queue_length(queue)

    async def resend_due(self) -> None:
        """Publish the due rows: their turn has come, or they were not stamped or not claimed in time.

        One pass runs at a time, with a few messages at once. A row is taken just before it is sent. Else another server
        would find it due again and send it too. A row that cannot be published now is due again soon.
        """
        if self._passing.locked():
            self._asked_again = True
            return
        async with self._passing:
            self._asked_again = True
            while self._asked_again:
                self._asked_again = False
                try:
                    while turns := await self._store.take_turns(AT_ONCE):
                        await self._send_all(turns)
                    while due := await self._store.due_for_dispatch(AT_ONCE):
                        await self._send_all(due)
                except (PublishError, StoreUnavailable) as error:
                    log.warning("message.not_published", error=error)

    async def _send_all(self, due: Iterable[Execution]) -> None:
        """Tries all of them, then raises the first error."""
        sent = await asyncio.gather(*(self.send(execution) for execution in due), return_exceptions=True)
        for outcome in sent:
            if isinstance(outcome, BaseException):
                raise outcome


class Resender(Background):
    """`start()`, `stop()`: publishes due rows in a loop of its own, so a slow broker delays nothing else."""

    NAME = "publishing what is due"

    def __init__(self, dispatcher: Dispatcher, period_s: float) -> None:
        super().__init__(period_s)
        self._dispatcher = dispatcher

    async def round(self) -> None:
        await self._dispatcher.resend_due()
