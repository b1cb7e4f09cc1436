"""An answer that everybody may request at any rate. It costs one computation at a time and about one a second.

A request during a computation waits for its result. A request soon after it gets the same result. A failure goes to
all requests that wait, and is kept no longer than a result.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

from agent_runner.app.server.after_response import Soon

T = TypeVar("T")


class Fresh(Generic[T]):
    """`get()` returns a result of `make()` that is at most `for_s` seconds old."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]], *, for_s: float, soon: Soon) -> None:
        self._make = make
        self._for_s = for_s
        self._soon = soon
        self._task: asyncio.Task[T] | None = None
        self._ended_at = 0.0

    async def get(self) -> T:
        task = self._task
        if task is None or (task.done() and time.monotonic() - self._ended_at >= self._for_s):
            # In an empty context: the result is for all requests, and the end of one request must not end it.
            task = self._task = self._soon.start(self._make(), context=Context())
            task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[T]") -> None:
        self._ended_at = time.monotonic()
        if not task.cancelled():
            task.exception()  # all that waited got the exception
