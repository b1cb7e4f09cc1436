"""Threads that run whole verbs, each with a connection of its own: one hop from the event loop and one back.

A caller who is cancelled leaves either before its verb began, and then nothing is done, or while it runs, and then it
runs to its end: no transaction stops half-way.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from agent_runner.status.store.errors import StoreUnavailable

T = TypeVar("T")
Tell = Callable[[], None]


class Session(Protocol):
    """What one thread keeps between two verbs."""

    def close(self) -> None: ...


S = TypeVar("S", bound=Session)


class _Job(Generic[S]):
    """One verb on its way. `work` returns the result, and what to call on the loop before the caller gets it."""

    __slots__ = ("_loop", "_taken", "answer", "last", "work")

    def __init__(self, work: Callable[[S], tuple[Any, Sequence[Tell]]], *, last: bool = False) -> None:
        self.work = work
        self.last = last
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self._loop.create_future()
        self._taken = threading.Lock()

    def take(self) -> bool:
        """True for the first that asks: the thread that runs it, or the caller who gave it up."""
        return self._taken.acquire(blocking=False)

    def give_up(self, busy: str) -> None:
        if self.take():
            self._deliver(None, StoreUnavailable(busy), ())

    def run(self, session: S) -> None:
        result: Any = None
        error: BaseException | None = None
        after: Sequence[Tell] = ()
        try:
            result, after = self.work(session)
        except BaseException as raised:  # the caller gets it
            error = raised
        try:
            self._loop.call_soon_threadsafe(self._deliver, result, error, after)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _deliver(self, result: Any, error: BaseException | None, after: Sequence[Tell]) -> None:
        try:
            for tell in after:
                tell()
        except Exception as raised:
            error = raised
        if self.answer.done():  # the caller was cancelled
            return
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(error)


class ThreadPool(Generic[S]):
    """At most `most` threads, started as they are needed. Jobs begin in the order in which they came."""

    def __init__(self, name: str, most: int, open: Callable[[], S], *, wait_s: float) -> None:
        self._name, self._most, self._open, self._wait_s = name, most, open, wait_s
        self._jobs: queue.SimpleQueue[_Job[S]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._closed = False
        self.hops = 0
        """Verbs that were handed to a thread."""

    @property
    def waiting(self) -> int:
        """Verbs that no thread has begun."""
        return self._jobs.qsize()

    async def submit(self, work: Callable[[S], tuple[T, Sequence[Tell]]]) -> T:
        """Runs `work` on one of the threads. Raises `StoreUnavailable` if none began it in time, or after `close`."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        self.hops += 1
        job = _Job(work)
        self._put(job)
        late = job.answer.get_loop().call_later(self._wait_s, job.give_up, f"{self._name}: all threads are busy")
        try:
            result: T = await job.answer
        except asyncio.CancelledError:
            job.take()  # if it has not begun, it never will
            raise
        finally:
            late.cancel()
        return result

    async def close(self) -> None:
        """Waits for what runs or waits, then closes the connections."""
        if self._closed:
            return
        self._closed = True
        last = [_Job[S](lambda _: (None, ()), last=True) for _ in range(self._started)]
        for job in last:
            self._jobs.put(job)
        await asyncio.gather(*(job.answer for job in last))

    def _put(self, job: _Job[S]) -> None:
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            self._started += 1
            threading.Thread(target=self._serve, name=f"{self._name}-{self._started}", daemon=True).start()

    def _serve(self) -> None:
        session = self._open()
        while True:
            job = self._jobs.get()
            if job.last:
                session.close()
                job.run(session)
                return
            if job.take():
                job.run(session)
            del job  # what it holds is not kept until the next one comes
            self._idle.release()
