"""One event loop per process, on a thread of its own. Tasks submit to it; nobody calls `asyncio.run` per task.

The loop records each tick. A watch thread notices when the loop is blocked, logs the stack of the code that blocks it,
and calls `on_blocked`: a run that blocks the loop delays all other runs of the process.
"""

import asyncio
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from agent_runner.status.event_logger import event_logger
from agent_runner.tasks.worker.left_threads import frames_now
from agent_runner.tasks.worker.run_threads import RunThreads

log = event_logger(__name__)

TICK_S = 0.25
BLOCKED_S = 5.0
THREADS_PER_RUN = 32

OWNER: ContextVar[str] = ContextVar("agent_runner_owner", default="")
"""The execution that the current code works for. Tasks have its name, so that the log of a blocked loop shows it."""

_PREFIX = "run "

T = TypeVar("T")


class Work(Generic[T]):
    """A coroutine on the loop, seen from another thread. After `cancel` it still runs to its own end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._future = asyncio.run_coroutine_threadsafe(self._run(), loop)

    async def _run(self) -> T:
        if self._cancelled:
            self._coroutine.close()
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        return await self._coroutine

    def result(self, timeout_s: float | None = None) -> T:
        """Waits for the coroutine's result or exception. A cancel does not make this return earlier."""
        return self._future.result(timeout_s)

    def cancel(self) -> None:
        """From any thread. Cancels the task and not the future, so that the run can report how it ended."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()


class AgentLoop:
    """`start` returns when the loop runs; `stop` is idempotent.

    `on_blocked(owner, for_s)` is called once a second on the watch thread while the loop has not ticked for
    BLOCKED_S; `on_free` when it ticks again. `owner` is the execution whose code blocks it, or empty.
    """

    def __init__(
        self,
        *,
        threads_per_run: int = THREADS_PER_RUN,
        on_blocked: Callable[[str, float], None] = lambda owner, for_s: None,
        on_free: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._make_task: Callable[..., asyncio.Task[Any]] = asyncio.Task
        self._loop.set_task_factory(self._named_task)
        self.threads = RunThreads(owner=OWNER.get, per_run=threads_per_run)
        self._loop.set_default_executor(self.threads)
        self._on_blocked, self._on_free = on_blocked, on_free
        self._ticked_at = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agents", daemon=True)
        self._watch = threading.Thread(target=self._watch_ticks, name="loop watch", daemon=True)

    def start(self) -> None:
        running = threading.Event()
        self._loop.call_soon(running.set)
        self._loop.call_soon(self._tick)
        self._thread.start()
        running.wait()
        self._watch.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(1.0)
        self.threads.shutdown(wait=False)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Work[T]:
        """Run it on the loop; from any thread but the loop's own."""
        return Work(self._loop, coroutine)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """From any thread, also from a signal handler."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    def also(self, install: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        """Let `install` set a task factory on the loop. That factory then creates the tasks, with our names."""
        install(self._loop)
        if factory := self._loop.get_task_factory():
            inner: Callable[..., asyncio.Task[Any]] = factory  # type: ignore[assignment]
            self._make_task = lambda work, *, loop, **options: inner(loop, work, **options)
        self._loop.set_task_factory(self._named_task)

    def lag(self) -> float:
        """Seconds since the loop's last tick, beyond the tick's interval."""
        return max(0.0, time.monotonic() - self._ticked_at - TICK_S)

    @property
    def blocked(self) -> bool:
        return self.lag() > BLOCKED_S

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._stopped.is_set():
            try:
                self._loop.run_forever()
            except BaseException:
                # An exit or interrupt that agent code raises comes out here; the other runs must continue.
                log.exception("loop.exit_caught")

    def _named_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
        context = options.get("context")
        if owner := OWNER.get() if context is None else context.get(OWNER, ""):
            options["name"] = _PREFIX + owner
        return self._make_task(work, loop=loop, **options)

    def _tick(self) -> None:
        self._ticked_at = time.monotonic()
        self._loop.call_later(TICK_S, self._tick)

    def _watch_ticks(self) -> None:
        reported = False
        while not self._stopped.wait(min(1.0, BLOCKED_S / 2)):
            if self.blocked:
                owner = self._owner()
                if not reported:
                    log.error("loop.blocked", owner=owner or "unknown code", stack=self._stack())
                reported = True
                self._on_blocked(owner, self.lag())
            elif reported:
                reported = False
                log.warning("loop.free")
                self._on_free()

    def _owner(self) -> str:
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task else ""
        return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else ""

    def _stack(self) -> str:
        frame = frames_now().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame else "(the thread is gone)"
