"""Fires what is due, on every server. Which server fires a schedule does not matter, and none of them leads."""

import asyncio

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.schedules.firer import Firer
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.errors import StoreError
from agent_runner.status.store.turns.firings import Due

log = event_logger(__name__)
AT_ONCE = 10


class ScheduleClock(Background):
    NAME = "firing schedules"

    def __init__(self, ctx: ServerContext, firer: Firer, period_s: float) -> None:
        super().__init__(period_s)
        self._store, self._firer = ctx.store, firer

    async def round(self) -> None:
        while due := await self._store.take_due_schedules(AT_ONCE):
            await asyncio.gather(*(self._fire(one) for one in due))

    async def _fire(self, due: Due) -> None:
        try:
            await self._firer.fire_due(due)
        except StoreError as error:
            log.warning("schedule.postponed", schedule_id=due.schedule.id, error=error)
        except Exception:  # the others of this round still fire
            log.exception("schedule.failed", schedule_id=due.schedule.id)
