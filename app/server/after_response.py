"""Work that goes on after the request that started it. It ends before the store is closed."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


class Soon:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], *, context: Context | None = None) -> "asyncio.Task[T]":
        """Run it on the loop. A reference keeps the task from the garbage collector until it ends."""
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, within_s: float) -> None:
        """Waits `within_s` for all tasks and the tasks that they start, then cancels the rest."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while self._tasks and (left_s := until - loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
