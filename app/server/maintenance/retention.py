"""Retention: every hour it removes old executions, and asks workers to remove what no session needs.

Its promise is that nothing is kept for ever by accident. Its limit is that a worker must take the message before
sandboxes and checkpoints are removed. Any number of servers may do it at once: each batch belongs to one server.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from agent_runner.app.server.context import Publisher, ServerContext
from agent_runner.app.server.maintenance.end_counts import Ends
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.clients.broker.publisher import PublishError
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.executions.retention import Overdue
from agent_runner.status.store.store import Store

log = event_logger(__name__)

DAY_S = 86_400.0
PERIOD_S = 3600.0
JITTER = 0.1
FIRST_S = (60.0, 600.0)
"""The seconds from a server's start to its first run: a random time between these."""
MAX_SESSIONS = 1000
"""The limit of one run: each session is one or two messages."""
PAUSE_S = 0.02
"""The pause between two batches: other writers of the store get their turn."""
GIVE_UP_S = 30 * DAY_S
"""A removal that no worker has confirmed in this time is dropped: no worker can do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was removed, or in a dry run what would be removed. `bytes`: the size of logs and snapshots."""

    executions: int = 0
    log_rows: int = 0
    bytes: int = 0
    sessions: int = 0
    """Sessions whose sandbox and spare memory workers are asked to remove."""
    skill_archives: int = 0
    unconfirmed: int = 0
    """Removals that workers have not confirmed yet."""
    more: bool = False
    """The time was up before everything was done."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Retention(Background):
    """`run()` once, or `start()` and `stop()`. It has no state, so there may be several."""

    NAME = "retention"

    def __init__(
        self, store: Store, dispatcher: Publisher, counted: Ends, *, days: float, queue: str, period_s: float = PERIOD_S
    ) -> None:
        super().__init__(period_s)
        self._store = store
        self._dispatcher = dispatcher
        self._counted = counted
        self._days = days
        self._queue = queue

    @classmethod
    def of(cls, ctx: ServerContext) -> Self:
        settings = ctx.settings
        return cls(ctx.store, ctx.dispatcher, ctx.counted, days=settings.retention_days, queue=settings.runner_queue)

    async def run(self, days: float | None = None, *, within_s: float = float("inf"), by_hand: bool = False) -> Report:
        """Removes everything older than `days` (default: the setting). When the time is up, it ends after the batch.

        `by_hand`: a person waits for it. So workers are asked again for all removals that they have not confirmed.
        """
        older_than_s = (self._days if days is None else days) * DAY_S
        until = time.monotonic() + within_s
        report = await self._purge(older_than_s, until)
        retired = await self._batches(lambda: self._retire(older_than_s), until, most=MAX_SESSIONS)
        archives = await self._batches(self._store.purge_skill_archives, until)
        if given_up := await self._store.give_up_removals(GIVE_UP_S):
            log.warning("removals.given_up", count=given_up)
        more = report.more or time.monotonic() >= until or retired >= MAX_SESSIONS
        await self._publish(until, early=by_hand and not more)
        left = await self._store.unconfirmed()
        return replace(report, sessions=retired, skill_archives=archives, unconfirmed=left, more=more)

    async def preview(self, days: float | None = None) -> Report:
        """What `run` would remove now."""
        overdue: Overdue = await self._store.overdue((self._days if days is None else days) * DAY_S)
        return Report(**asdict(overdue))

    async def _purge(self, older_than_s: float, until: float) -> Report:
        report = Report(more=True)
        while report.more and time.monotonic() < until:
            purged = await self._store.purge(older_than_s)
            self._counted.purged.inc(purged.executions)
            report = replace(
                report,
                executions=report.executions + purged.executions,
                log_rows=report.log_rows + purged.log_rows,
                bytes=report.bytes + purged.bytes,
                more=purged.more,
            )
            await asyncio.sleep(PAUSE_S)
        return report

    async def _retire(self, idle_s: float) -> int:
        return len(await self._store.retire_sessions(idle_s))

    async def _batches(self, batch: Callable[[], Awaitable[int]], until: float, *, most: float = float("inf")) -> int:
        """Runs batches until one is empty, the time is up, or there were `most`. Returns the sum."""
        total = 0
        while total < most and time.monotonic() < until and (done := await batch()):
            total += done
            await asyncio.sleep(PAUSE_S)
        return total

    async def _publish(self, until: float, *, early: bool) -> None:
        """Publishes every due removal once. If the broker is away, the other removals stay due."""
        after = 0
        try:
            while due := await self._store.due_removals(after, early=early):
                await self._dispatcher.remove(due, self._queue)
                after = due[-1].id
                await self._store.asked([removal.id for removal in due])
                if time.monotonic() >= until:
                    return
        except PublishError as error:
            log.warning("removals.not_requested", error=error)

    async def round(self) -> None:
        report = await self.run()
        if report.executions or report.sessions or report.skill_archives:
            log.info(
                "retention.done",
                days=self._days,
                executions=report.executions,
                log_rows=report.log_rows,
                bytes=report.bytes,
                sessions=report.sessions,
                skill_archives=report.skill_archives,
            )

    def first_s(self) -> float:
        return random.uniform(*FIRST_S)  # noqa: S311 - spreads servers, guards nothing

    def rest_s(self, took_s: float) -> float:
        return self._period_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
