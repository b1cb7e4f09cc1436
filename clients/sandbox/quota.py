"""How much of its disk quota a session has used; measured again when the last value is old."""

import time
from collections.abc import Iterable
from pathlib import Path

from agent_runner.clients.sandbox.programs.watch import DISK_SHARE, shown, usage

FRESH_S = 1.0


class Quota:
    """Any thread may call; measuring blocks, for as long as a walk through the directories takes."""

    def __init__(self, directories: Iterable[Path], most: int) -> None:
        self.directories = [str(directory) for directory in directories]
        self._most = most
        self._used, self._until = 0, 0.0

    def is_used_up(self, by: int = 0) -> bool:
        """Whether `by` bytes more do not fit. With a quota of 0 everything fits."""
        if not self._most:
            return False
        now = time.monotonic()
        if now >= self._until or self._used + by > self._most:
            self._used = usage(self.directories)
            self._until = time.monotonic() + max(FRESH_S, DISK_SHARE * (time.monotonic() - now))
        if self._used + by > self._most or self._used >= self._most:
            return True
        self._used += by
        return False

    @property
    def words(self) -> str:
        return f"the session's disk quota of {shown(self._most)} is used up (AGENT_RUNNER_SANDBOX_DISK_BYTES)"
