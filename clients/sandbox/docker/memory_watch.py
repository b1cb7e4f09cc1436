"""Hears from the engine when a container's memory is used up: one connection for all containers of this process.

The kernel kills one process then. The others of the run could go on without it and nobody would know why, so all of
them are killed, as in the local sandbox.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from agent_runner.clients.sandbox.docker.engine import Engine
from agent_runner.clients.sandbox.kinds.port import SandboxError

AGAIN_S = 1.0
LATE_S = 0.3
"""How long the engine may take to tell what the kernel has done."""
OOM = {"event": ["oom"]}


class MemoryWatch:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, container: str, ran_out: Callable[[], None]) -> None:
        """`ran_out` is called, in a thread of ours, when this container's memory is used up."""
        with self._lock:
            self._told[container] = ran_out
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._listen, name="sandbox memory", daemon=True)
                self._thread.start()

    def discard(self, container: str) -> None:
        with self._lock:
            self._told.pop(container, None)

    def ran_out(self, container: str, since: str) -> bool:
        """Whether it was used up in the life that began at that moment. Waits a little for late news. Blocking."""
        until = time.monotonic() + LATE_S
        while True:
            with contextlib.suppress(SandboxError), self._engine.errors("the engine's events cannot be read") as api:
                now = datetime.now(UTC).timestamp()
                filters = {**OOM, "container": [container]}
                if any(api.events(since=since, until=f"{now:.9f}", filters=filters, decode=True)):
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(LATE_S / 3)

    def _listen(self) -> None:
        while self._told:
            with contextlib.suppress(SandboxError), self._engine.errors("the engine's events cannot be read") as api:
                for event in self._events(api):
                    with self._lock:
                        tell = self._told.get(event.get("id") or event.get("Actor", {}).get("ID", ""))
                    if tell is not None:
                        threading.Thread(target=tell, name="sandbox memory used up", daemon=True).start()
            time.sleep(AGAIN_S)

    def _events(self, api: Any) -> Any:
        # Ends now and then, so that a worker without containers keeps no connection.
        return api.events(until=f"{datetime.now(UTC).timestamp() + 60:.9f}", filters=OOM, decode=True)
