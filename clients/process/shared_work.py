"""Work that several runs need and that is done once: they wait for the same task, and none of them can cancel it."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SharedWork(Generic[K, T]):
    """Results by key, at most `most` of them; the least recently used is dropped first. Used on one event loop.

    A failure is raised for all who wait and is not kept: the next caller tries again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: OrderedDict[K, asyncio.Task[T]] = OrderedDict()

    async def get(self, key: K, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the first caller's `start()`, which runs in an empty context: other runs wait for it, too."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(start(), context=Context())
            task.add_done_callback(lambda done: self._forget_failure(key, done))
        self._tasks.move_to_end(key)
        while len(self._tasks) > self._most:
            self._tasks.popitem(last=False)
        return await asyncio.shield(task)

    def _forget_failure(self, key: K, task: "asyncio.Task[T]") -> None:
        failed = task.cancelled() or task.exception() is not None
        if failed and self._tasks.get(key) is task:
            del self._tasks[key]
