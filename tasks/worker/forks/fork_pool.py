"""Celery's prefork pool, which notices at once that a child is gone.

The stock pool of 5.7 looks for ended children once when the pipe of one closes. The kernel closes a process's files a
moment before it says that the process has ended: where the parent is faster, it finds nothing, has stopped watching
that pipe, and looks again after up to five seconds. Until then nobody knows the signal that ended the child, and the
server has its own reason by then: a connection that closed.
"""

from typing import Any

from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool

FIRST_LOOK_S, LAST_LOOK_S = 0.02, 2.0
"""Between looks for a child whose pipe is closed. A child may close it and live on: the pool's own look, every five
seconds, is enough for that."""


class ForkPool(prefork.TaskPool):
    class Pool(AsynPool):
        def _event_process_exit(self: Any, hub: Any, proc: Any) -> None:
            super()._event_process_exit(hub, proc)  # type: ignore[misc]
            self._look_again(hub, proc, FIRST_LOOK_S)

        def _look_again(self: Any, hub: Any, proc: Any, pause_s: float) -> None:
            """Look until the pool has noticed that `proc` has ended."""
            if proc not in self._pool or pause_s > LAST_LOOK_S:
                return
            self.maintain_pool()
            hub.call_later(pause_s, self._look_again, hub, proc, 2 * pause_s)
