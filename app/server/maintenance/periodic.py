"""Periodic work of a server: the loop that all such services share."""

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import ClassVar, Self

from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.errors import StoreUnavailable

log = event_logger(__name__)


class Background(ABC):
    """`start()` and `stop()`, or `async with`; subclasses do one `round()`.

    A round that fails is logged, and the next round comes all the same. Both may be called at any time and repeatedly:
    a second start changes nothing, and a stop of a service that does not run does nothing.
    """

    NAME: ClassVar[str]
    """For the log."""
    LAST_ROUND_S: ClassVar[float | None] = 3.0
    """How long `stop` waits for the round under way before it cancels it; None: as long as it takes."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def round(self) -> None:
        """Does the work once. May raise anything."""

    def first_s(self) -> float:
        """The seconds from the start to the first round."""
        return 0.0

    def rest_s(self, took_s: float) -> float:
        """The seconds from the end of a round to the next. `took_s`: how long the round took."""
        return self._period_s

    def start(self) -> None:
        if self._task is None:
            self._stopped = asyncio.Event()
            self._task = asyncio.create_task(self._rounds(self._stopped), name=type(self).__name__)

    async def stop(self) -> None:
        """Waits `LAST_ROUND_S` for the current round, then cancels it. A cancel costs the pool a connection."""
        self._stopped.set()
        task = self._task
        if task is None:
            return
        try:
            await asyncio.wait({task}, timeout=self.LAST_ROUND_S)
        finally:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._task is task:
            self._task = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _rounds(self, stopped: asyncio.Event) -> None:
        pause = self.first_s()
        while not await _set_within(stopped, pause):
            began = time.monotonic()
            try:
                await self.round()
            except StoreUnavailable as error:
                log.error("service.store_away", service=self.NAME, error=error)
            except Exception:
                log.exception("service.round_failed", service=self.NAME)
            except asyncio.CancelledError:
                # A round may raise a CancelledError of its own, which ends only this round.
                if stopped.is_set() or _cancelled():
                    raise
                log.exception("service.round_failed", service=self.NAME)
            pause = self.rest_s(time.monotonic() - began)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    if seconds > 0:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
