"""The sweeper ends executions past a deadline and pushes cancels to workers. The pulse records that a server is alive.

The sweeper's promise is L1, "every execution ends in time". Its limit is that it needs the store. Any number of both
may run at once. Each has its own loop: a sweep that ends thousands of rows must not look like an outage afterwards.
"""

from agent_runner.app.server.log_feed.wakeups import Wakeups
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.runners.presence import PresenceBoard
from agent_runner.app.server.runners.task_ends import TaskEndTeller, tell_task_end
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.store import Store

log = event_logger(__name__)


class Pulse(Background):
    """`await beat()` once before calls are accepted (it grants amnesty after an outage), then `start()`, `stop()`."""

    NAME = "the server's pulse"

    def __init__(self, store: Store, period_s: float) -> None:
        super().__init__(period_s)
        self._store = store

    async def beat(self) -> None:
        if await self._store.alive(period_s=self._period_s):
            log.warning("clocks.restarted")

    round = beat


class Sweeper(Background):
    """`start()`, `stop()`; `tick()` is one sweep."""

    NAME = "the sweeper"

    def __init__(
        self,
        store: Store,
        wakeups: Wakeups,
        presence: PresenceBoard,
        period_s: float,
        task_ends: TaskEndTeller | None = None,
    ) -> None:
        super().__init__(period_s)
        self._store = store
        self._task_ends = task_ends
        self._wakeups = wakeups
        self._presence = presence

    async def tick(self) -> None:
        swept = await self._store.sweep(period_s=self._period_s)
        if swept.resumed:
            log.warning("clocks.restarted")
        for execution in swept.ended:
            log.info("execution.swept", execution_id=execution.id, step=execution.step.value)
            self._wakeups.notify(execution.id)
        for execution in swept.retried:
            self._wakeups.notify(execution.id)
        await self._store.admit_due()  # the resender publishes them at its next round
        await self._store.remove_rolled_back()
        await self._presence.push_cancels()
        for execution in [*swept.ended, *swept.retried]:  # last, because nobody waits for it
            await tell_task_end(self._store, self._task_ends, execution)

    round = tick

    def rest_s(self, took_s: float) -> float:
        return max(0.05, self._period_s - took_s)
