"""Work that a server does round after round by itself: the one loop of all such services."""

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

    A round that fails is logged, and the next one comes all the same. Both verbs may be called at any time and again: a
    second start changes nothing, a stop before the start or after a stop has nothing to do.
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
        """Once what is to be done. May raise anything."""

    def first_s(self) -> float:
        """From the start to the first round."""
        return 0.0

    def rest_s(self, took_s: float) -> float:
        """From the end of a round, which took so long, to the next."""
        return self._period_s

    def start(self) -> None:
        if self._task is None:
            self._stopped = asyncio.Event()
            self._task = asyncio.create_task(self._rounds(self._stopped), name=type(self).__name__)

    async def stop(self) -> None:
        """After the round that is under way, if that ends soon: a cancel costs the pool a connection."""
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
                # A round may raise one of its own, which ends nothing but itself.
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
