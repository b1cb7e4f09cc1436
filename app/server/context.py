"""The objects that the handlers of HTTP and gRPC use. The composition makes them once."""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent_runner.app.server.access.gate import Gate
from agent_runner.app.server.after_response import Soon
from agent_runner.app.server.log_feed.wakeups import Heard
from agent_runner.app.server.log_feed.watchers import Watchers
from agent_runner.app.server.maintenance.end_counts import Ends
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.app.server.runners.task_ends import TaskEndTeller
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.tracing.tracing import OFF, Tracing
from agent_runner.status.store.records import Execution, Removal
from agent_runner.status.store.store import Store


class Publisher(Protocol):
    async def publish(self, execution_id: str) -> None:
        """Put the execution's next step on its queue; raises `PublishError` of `clients.broker`."""

    async def send(self, execution: Execution) -> None:
        """As `publish`, for a row that was just read."""

    async def clean_up(self, session_id: str, queue: str) -> None:
        """Have workers remove the sandbox and the memory of a deleted session."""

    async def remove(self, removals: Iterable[Removal], queue: str) -> None:
        """Publish these removals; raises `PublishError` of `clients.broker`."""

    async def ask(self, query_id: str, queue: str, within_s: float) -> None:
        """Have a worker answer a question about a graph; raises `PublishError` of `clients.broker`."""

    async def depth(self, queue: str) -> int:
        """Messages on the broker's queue; raises `PublishError` of `clients.broker`."""

    async def resend_due(self) -> None:
        """Publish every row that is due."""


class Waker(Protocol):
    """Tells watchers of a log that it grew. A wake-up carries no data and may be lost: watchers look every second."""

    def notify(self, execution_id: str, *, here: bool = True) -> None:
        """`here` False: those of this server know it already."""

    def subscribe(self, execution_id: str) -> AbstractContextManager[asyncio.Event]:
        """The event is set by a `notify` of this id, here or on another server."""

    def hear(self) -> AbstractContextManager[Heard]:
        """Collects the ids of all wake-ups."""

    async def ping(self) -> None:
        """Raises when Redis does not answer."""


class Canceller(Protocol):
    def push_cancel(self, execution: Execution) -> None:
        """Tell the worker that runs it, if it is connected here. Else it gets the cancel with its next heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    settings: Settings
    store: Store
    dispatcher: Publisher
    wakeups: Waker
    watchers: Watchers
    sealing: Sealing
    gate: Gate
    presence: Canceller | None = None
    task_ends: TaskEndTeller | None = None
    counted: Ends = field(default_factory=Ends)
    tracing: Tracing = OFF
    outliving: Soon = field(default_factory=Soon)
    """Work that outlives its request; see `soon`."""

    def grown(self, execution_id: str, last_seq: int) -> None:
        """The execution's log has this row now. Wakes its watchers, but here only those that have not got it."""
        self.wakeups.notify(execution_id, here=not self.watchers.have(execution_id, last_seq))

    def soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it on the loop. It ends before the store is closed."""
        self.outliving.start(work)
