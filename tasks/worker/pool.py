"""The `async` pool: Celery's thread pool, with functions that threads do not have.

Each task waits in a thread for a coroutine on the process' one event loop. This pool gives every task a pid of its
own, cancels its coroutine on terminate, frees the slot after any exception, and can be resized. Time limits are not
checked here: the run has its own.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.worker import state as worker_state

from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)

FIRST_PID = 1_000_001
"""Above Linux' usual pids, so that it cannot be confused with a process."""

COLD_STOP_S = 3.0


class Cancellable(Protocol):
    def cancel(self) -> object: ...


class Slot:
    """One task in the pool. `bind` gives it the coroutine that `cancel` ends; either may come first."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.dropped = False
        """Its outcome is not reported to Celery any more: the message goes back to the queue."""
        self._work: Cancellable | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def bind(self, work: Cancellable) -> None:
        with self._lock:
            self._work = work
            cancelled = self._cancelled
        if cancelled:
            work.cancel()

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            work = self._work
        if work is not None:
            work.cancel()


_here = threading.local()


def current_slot() -> Slot | None:
    """The slot that this thread works in; None outside of this pool (prefork, tests)."""
    return getattr(_here, "slot", None)


class Applied:
    """The object that Celery holds (weakly) for a task that it gave to the pool."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def terminate(self, signal: object = None) -> None:
        self._slot.cancel()


class TaskPool(ThreadPool):
    """`CELERY_CUSTOM_WORKER_POOL=agent_runner.tasks.worker.pool:TaskPool`, `--pool custom`."""

    limit: int
    executor: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._slots: dict[int, Slot] = {}
        self.on_resize: Callable[[int], None] | None = None
        self._pids = itertools.count(FIRST_PID)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> Any:
        slot = Slot(next(self._pids))
        self._slots[slot.pid] = slot
        self.executor.submit(self._work, slot, target, args or (), kwargs or {}, callback, accept_callback)
        return Applied(slot)

    def _work(
        self,
        slot: Slot,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        callback: Callable[..., Any] | None,
        accept_callback: Callable[..., Any] | None,
    ) -> None:
        _here.slot = slot
        try:
            self._tell(accept_callback, slot.pid, time.monotonic())
            try:
                outcome = target(*args, **kwargs)
            except BaseException as exc:  # else the slot stays taken, and the worker takes one run less for ever
                outcome = _lost(exc)
            if not slot.dropped:
                self._tell(callback, outcome)
        finally:
            _here.slot = None
            self._slots.pop(slot.pid, None)

    def _tell(self, callback: Callable[..., Any] | None, *args: Any) -> None:
        """Celery's callbacks talk to the broker and to event receivers: their failure must not fail the task."""
        if callback is None:
            return
        try:
            callback(*args)
        except BaseException:
            log.exception("celery.not_told")

    def terminate_job(self, pid: int, signal: object = None) -> None:
        """Cancel the coroutine; its run reports its end and the slot becomes free. Unknown pids have ended already."""
        if slot := self._slots.get(pid):
            slot.cancel()

    def on_stop(self) -> None:
        """A warm stop waits for all tasks. A cold stop waits `COLD_STOP_S`, so that runs can report how they end."""
        stops_cold: object = worker_state.should_terminate
        if stops_cold is None:
            super().on_stop()
            return
        self._drop()
        until = time.monotonic() + COLD_STOP_S
        while self._slots and time.monotonic() < until:
            time.sleep(0.02)

    def on_terminate(self) -> None:
        self._drop()

    def _drop(self) -> None:
        """After runs were asked to hand back: cancels the remaining tasks; their messages go back to the queue."""
        for slot in list(self._slots.values()):
            slot.dropped = True
            slot.cancel()
        self.executor.shutdown(wait=False, cancel_futures=True)

    def grow(self, n: int) -> None:
        self._resize(self.limit + n)

    def shrink(self, n: int) -> None:
        """Takes effect on new tasks: existing threads stay, and Celery's prefetch limits the number of tasks."""
        self._resize(max(1, self.limit - n))

    def _resize(self, limit: int) -> None:
        self.limit = limit
        self.executor._max_workers = limit
        _forget_idle_threads(self.executor)
        if self.on_resize is not None:
            self.on_resize(limit)

    def _get_info(self) -> dict[str, Any]:
        stock: dict[str, Any] = super()._get_info()  # type: ignore[misc]
        return {**stock, "running": len(self._slots), "processes": [os.getpid()]}


def _forget_idle_threads(executor: Any) -> None:
    """Each of the next tasks gets a thread of its own, until there are as many threads as slots.

    Without it some of them wait beside free slots: the executor counts a thread as idle at the end of each task, also
    when it goes on at once with one that waited, and starts no thread while it counts an idle one.
    """
    while executor._idle_semaphore.acquire(blocking=False):
        pass


def _lost(exc: BaseException) -> tuple[int, ExceptionInfo, float]:
    """The failure triple that Celery's tracer would have created."""
    try:
        raise WorkerLostError(f"the task's body let out {exc!r}") from exc
    except WorkerLostError:
        return 1, ExceptionInfo(), 0.0


def set_slots(state: Any, max: int = 0, min: int = 0) -> dict[str, str]:
    """Celery's remote command `autoscale`, which its own autoscaler answers with "not enabled".

    Idle slots cost next to nothing, so there is nothing to scale down to: the greatest number is set, at once.
    """
    wanted, consumer = max or min, state.consumer
    if wanted < 1:
        return {"error": "give the greatest number of slots"}
    more = wanted - consumer.pool.num_processes
    if more > 0:
        consumer.pool.grow(more)
    elif more < 0:
        consumer.pool.shrink(-more)
    consumer._update_prefetch_count(more)
    return {"ok": f"{wanted} slots"}
