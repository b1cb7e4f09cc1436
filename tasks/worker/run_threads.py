"""The event loop's default threads: each run has its own share, and threads that it leaves behind are counted.

Blocking nodes and tools of a run (LangGraph and langchain give them to the loop's default executor, `asyncio.to_thread`
too) run on at most `per_run` threads; the others wait for a free thread of that run. Python cannot end a thread. One
that never comes back takes a place of its own run only. It costs other runs nothing but memory.

Known limit: threads that a user's code starts by itself are not bounded. Those of langchain's own pools (`batch`, a
graph's `invoke` inside of a node) are counted, raw `threading.Thread`s are not.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from agent_runner.tasks.worker.left_threads import Left, called, nested, places, said, watch_pools

IDLE_S = 10.0
COMMON_THREADS = 64
"""For work that belongs to no run: name look-ups of libraries."""

_Item = tuple["Future[Any]", Callable[[], Any]]
_Inbox = SimpleQueue[tuple["_Share", _Item]]


class _Share:
    """One run's threads. Guarded by the lock of `RunThreads`."""

    def __init__(self, owner: str, most: int) -> None:
        self.owner, self.most = owner, most
        self.waiting: deque[_Item] = deque()
        self.at_work: set[int] = set()
        self.places = 0
        """The number of places in use: threads at work, and threads that are about to start work."""


class RunThreads(ThreadPoolExecutor):
    """`owner()` names the run that the current code works for; empty outside of one. Any thread may call.

    A subclass only because asyncio takes no other kind of executor as its default.
    """

    def __init__(self, *, owner: Callable[[], str], per_run: int) -> None:
        super().__init__(1)
        watch_pools()
        self._owner, self._per_run = owner, per_run
        self._lock = threading.Lock()
        self._common = _Share("", COMMON_THREADS)
        self._shares: dict[str, _Share] = {}
        self._left: list[_Share] = []
        self._idle: list[_Inbox] = []
        self._closed = False
        self.exhausted = False
        """The system gave no further thread."""

    def begin(self, owner: str) -> None:
        """A run may use threads from now on. A run that came back gets a new share."""
        with self._lock:
            self._shares[owner] = _Share(owner, self._per_run)

    def end(self, owner: str) -> None:
        """The run may use no more threads. Waiting work is cancelled; busy threads count as left until they return."""
        with self._lock:
            share = self._shares.pop(owner, None)
            waiting = list(share.waiting) if share else []
            if share:
                share.waiting.clear()
                if share.places:
                    self._left.append(share)
        for future, _ in waiting:
            future.cancel()

    @property
    def any_left(self) -> bool:
        """Whether an ended run has threads here that have not come back. Costs nothing, unlike `left`. Those of pools
        that it created come back before the thread that created the pool."""
        return bool(self._left)

    def left_by(self, owner: str) -> str:
        """The threads that a run has left behind, as text that follows the failure's text; empty if there are none."""
        return said([one for one in self.left() if one.owner == owner]) if self.any_left else ""

    def left(self) -> list[Left]:
        """The threads of ended runs that have not come back, each with its place. Looks at each thread of the
        process."""
        with self._lock:
            over = {ident: share.owner for share in self._left for ident in share.at_work}
            alive = {"", *self._shares}
        return places(over | {ident: owner for ident, owner in nested(self._owner).items() if owner not in alive})

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        owner = self._owner()
        future: Future[Any] = Future()
        item: _Item = future, lambda: called(fn, args, kwargs)
        with self._lock:
            share = self._shares.get(owner) if owner else self._common
            if share is None or self._closed:
                raise RuntimeError("this run is over: it starts nothing more")
            if share.places >= share.most:
                share.waiting.append(item)
                return future
            share.places += 1
            if self._idle:
                self._idle.pop().put((share, item))
                return future
        self._start(share, item)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more work begins. Does not wait for running work."""
        with self._lock:
            self._closed = True
            owners = list(self._shares)
        for owner in owners:
            self.end(owner)

    def _start(self, share: _Share, item: _Item) -> None:
        try:
            threading.Thread(target=self._serve, args=(share, item), name="run thread", daemon=True).start()
        except RuntimeError:
            self.exhausted = True
            with self._lock:
                share.places -= 1
                if share.places:  # one of its own threads takes it when it is free
                    share.waiting.append(item)
                    return
            raise

    def _serve(self, share: _Share, item: _Item) -> None:
        inbox: _Inbox = SimpleQueue()
        ident = threading.get_ident()
        while True:
            with self._lock:
                share.at_work.add(ident)
            _work(*item)
            del item  # a result may be large, and this thread may wait
            with self._lock:
                share.at_work.discard(ident)
                if share.waiting:
                    item = share.waiting.popleft()
                    continue
                share.places -= 1
                if not share.places:
                    with suppress(ValueError):
                        self._left.remove(share)
                self._idle.append(inbox)
            del share
            try:
                share, item = inbox.get(timeout=IDLE_S)
            except Empty:
                with self._lock:
                    if inbox in self._idle:
                        self._idle.remove(inbox)
                        return
                share, item = inbox.get()  # work came at the last moment


def _work(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
