"""The sweeper: every tick it ends what is due, publishes what is to be sent again, and pushes cancels to workers.

Its promise is L1, "every execution ends in time"; its limit is that it needs the store. Any number may run at once.
"""

import logging
import time

from app.server.background import Background
from app.server.dispatch import Dispatcher
from app.server.presence import PresenceBoard
from app.server.wakeups import Wakeups
from status.store.errors import StoreUnavailable
from status.store.store import Store

log = logging.getLogger(__name__)


class Sweeper(Background):
    """`await tick()` once before calls are accepted (it grants amnesty after an outage), then `start()`, `stop()`."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, wakeups: Wakeups, presence: PresenceBoard, period_s: float
    ) -> None:
        super().__init__()
        self._store = store
        self._dispatcher = dispatcher
        self._wakeups = wakeups
        self._presence = presence
        self._period_s = period_s

    async def tick(self) -> None:
        swept = await self._store.tick(period_s=self._period_s)
        if swept.resumed:
            log.warning("nobody swept for a while: heartbeat and schedule-to-start clocks start again")
        for execution in swept.ended:
            log.info("execution %s ended by the sweeper in step %s", execution.id, execution.step.value)
            self._wakeups.notify(execution.id)
        await self._dispatcher.resend_due()
        await self._presence.push_cancels()

    async def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                await self.tick()
            except StoreUnavailable as error:
                log.error("the sweeper cannot reach the store: %s", error)
            except Exception:
                log.exception("a sweep failed; the next one tries again")
            await self._rest(max(0.05, self._period_s - (time.monotonic() - began)))
