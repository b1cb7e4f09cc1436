"""Celery's worker, which says that it leaves before it waits for its tasks, warm (SIGTERM) or cold (SIGQUIT)."""

from collections.abc import Callable

from celery.apps.worker import Worker


class LeavingWorker(Worker):
    """`leave` is called once or more, on the main thread, also in a signal handler; `leave_cold` may take its time."""

    leave: Callable[[], None] = staticmethod(lambda: None)
    leave_cold: Callable[[], None] = staticmethod(lambda: None)

    def _shutdown(self, warm: bool = True) -> None:
        if warm:
            self.leave()
        super()._shutdown(warm)  # type: ignore[misc]

    def wait_for_soft_shutdown(self) -> bool:
        """Celery's first step of a cold stop; after it, it cancels what is left and stops the pool."""
        self.leave_cold()
        return True
