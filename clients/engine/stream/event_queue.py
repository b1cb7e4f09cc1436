"""Carries a run's events from callbacks, on whatever thread, to the one reader on the event loop, in order."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

Raw = Mapping[str, Any]


class EventQueue:
    """Without a limit of its own: a writer that never waits gives way when an event is as old as it may be, see
    `waits_s`. To be made on the loop of the reader."""

    def __init__(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._events: deque[Raw] = deque()
        self._oldest = 0.0
        self._waiting: asyncio.Future[None] | None = None

    @property
    def on_its_loop(self) -> bool:
        return threading.get_ident() == self._thread

    @property
    def waits_s(self) -> float:
        """How long the oldest event has been waiting, in seconds; 0.0 if none is."""
        return time.monotonic() - self._oldest if self._events else 0.0

    def put(self, raw: Raw) -> None:
        if not self._events:
            self._oldest = time.monotonic()
        self._events.append(raw)
        if self._waiting is not None:
            self.wake()

    def taken(self) -> Iterator[Raw]:
        """The events that are there, also those that come meanwhile. Each is taken out."""
        while self._events:
            yield self._events.popleft()

    def wake(self) -> None:
        if self.on_its_loop:
            self._wake()
            return
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._wake)

    async def wait(self) -> None:
        """Until an event comes or somebody wakes the reader."""
        self._waiting = self._loop.create_future()  # before the look at the events: another thread may put one now
        try:
            if not self._events:
                await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
