"""An answer that everybody may ask for, however often, at the cost of one computation at a time and about one a second.

Who asks while it is computed waits for that one; who asks soon after gets the same. A computation that failed is told
to those who waited, and kept as short as any.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

from agent_runner.app.server.after_response import Soon

T = TypeVar("T")


class Fresh(Generic[T]):
    """`get()` is what `make()` gave, at most `for_s` seconds ago."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]], *, for_s: float, soon: Soon) -> None:
        self._make = make
        self._for_s = for_s
        self._soon = soon
        self._task: asyncio.Task[T] | None = None
        self._ended_at = 0.0

    async def get(self) -> T:
        task = self._task
        if task is None or (task.done() and time.monotonic() - self._ended_at >= self._for_s):
            # Without the caller's context: it is done for all who ask, and the end of one must not end it.
            task = self._task = self._soon.start(self._make(), context=Context())
            task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[T]") -> None:
        self._ended_at = time.monotonic()
        if not task.cancelled():
            task.exception()  # whoever waited has been told
