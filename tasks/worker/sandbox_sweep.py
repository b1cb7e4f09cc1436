"""Removes sandboxes that nobody owns any more: when a worker starts, and every few minutes."""

import threading
from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.kinds.registry import kinds_of
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)
SWEEP_EVERY_S = 300.0


class SandboxSweep:
    """A thread of a worker process. A kind that has nothing to sweep costs nothing."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._left = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._sweep, name="sandbox sweep", daemon=True).start()

    def stop(self) -> None:
        self._left.set()

    def _sweep(self) -> None:
        while True:
            sweep_once(self._settings)
            if self._left.wait(SWEEP_EVERY_S):
                return


def sweep_once(settings: "Settings") -> int:
    """How many were removed. What fails is logged, and tried again the next time."""
    removed = 0
    for name, kind in kinds_of(settings).items():
        try:
            found = kind.sweep()
        except SandboxError as error:
            log.warning("sandbox.sweep_failed", kind=name, error=error)
            continue
        removed += found
        if found:
            log.info("sandbox.swept", kind=name, count=found)
    return removed
