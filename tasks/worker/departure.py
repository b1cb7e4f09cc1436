"""Celery's worker with hooks that run before it waits for its tasks, at a warm (SIGTERM) or cold (SIGQUIT) stop."""

from collections.abc import Callable
from typing import Any

from celery.apps.worker import Worker
from celery.utils.threads import bound_open_broker_sockets  # type: ignore[attr-defined]
from kombu.common import ignore_errors

BROKER_S = 5.0


class LeavingWorker(Worker):
    """`leave` is called once or more, on the main thread, also in a signal handler; `leave_cold` may take its time."""

    leave: Callable[[], None] = staticmethod(lambda: None)
    leave_cold: Callable[[], None] = staticmethod(lambda: None)
    consumer: Any

    def _shutdown(self, warm: bool = True) -> None:
        if warm:
            self.leave()
        super()._shutdown(warm)  # type: ignore[misc]

    def stop_consuming(self) -> None:
        """Take no further message, and give back messages that the broker still sends. A silent broker gets 5 s.

        Celery itself does so only at the end of a cold stop's first step, which lasts seconds. Until then nobody would
        handle a message that its open poll has received.
        """
        tasks = getattr(self.consumer, "task_consumer", None)
        if tasks is None:
            return
        bound_open_broker_sockets(self.consumer.connection, BROKER_S)
        with ignore_errors(self.consumer):
            tasks.on_message = _give_back
            tasks.cancel()
            if end_poll := getattr(tasks.channel, "end_poll", None):
                end_poll()

    def wait_for_soft_shutdown(self) -> bool:
        """Celery's first step of a cold stop. After it, Celery cancels the remaining tasks and stops the pool."""
        self.leave_cold()
        return True


def _give_back(message: Any) -> None:
    message.requeue()
