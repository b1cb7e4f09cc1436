"""When a worker process is worn out: runs left so many threads behind that a new process is better.

Hung threads take no place from other runs (`run_threads.py`), but memory, and processor time if they spin. So a process
with too many of them reports the reason, takes no more work, lets its runs end, and is replaced by another process.
"""

import threading
from collections.abc import Callable

from agent_runner.status.event_logger import event_logger
from agent_runner.tasks.worker.left_threads import said
from agent_runner.tasks.worker.run_threads import RunThreads

log = event_logger(__name__)


class Wear:
    """`look` may be called at any time, on any thread; `on_worn_out` is called once."""

    def __init__(self, threads: RunThreads, *, most: int, on_worn_out: Callable[[], None]) -> None:
        self._threads, self._most, self._on_worn_out = threads, most, on_worn_out
        self._once = threading.Lock()
        self.reason = ""
        """Why the process takes no more work; empty while it does."""

    def look(self) -> int:
        """How many threads of ended runs have not come back."""
        left = self._threads.left()
        if len(left) >= self._most or self._threads.exhausted:
            self._worn_out(len(left), said(left))
        return len(left)

    def _worn_out(self, count: int, where: str) -> None:
        if not self._once.acquire(blocking=False):
            return
        cause = "the system gives it no further thread" if self._threads.exhausted else f"at most {self._most} may"
        self.reason = (
            f"threads of {count} calls of ended runs have not come back ({cause}: AGENT_RUNNER_MAX_HUNG_THREADS);"
            " it is being replaced"
        )
        log.error("worker.worn_out", reason=self.reason, where=where)
        self._on_worn_out()
