"""Celery's Redis result backend, whose failures do not become failures of tasks.

Celery stores a result before it says how the task ended. If that cannot be stored (Redis is full, its user may not
write, it does not answer for long), the stock tracer of 5.7 calls the task a failure: a run that has been completed is
a failed task for Flower, and its error callback is sent. Here nothing depends on results: how an execution ended is in
the store. So the failure is logged, and the task ends as it ended. It is registered as a backend of the application's
loader; nothing in Celery is patched.
"""

from typing import TYPE_CHECKING, Any

import redis
from celery.backends.redis import RedisBackend
from celery.exceptions import BackendError
from kombu.exceptions import OperationalError

from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from celery import Celery

log = event_logger(__name__)

OUTAGES = (redis.RedisError, OSError, BackendError, OperationalError)
SCHEMES = ("redis", "rediss")


class ResultStore(RedisBackend):
    """Raises nothing for an outage when it stores; reads raise as ever."""

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        """The encoded result, stored or not."""
        try:
            return super().store_result(task_id, result, state, *args, **kwargs)
        except OUTAGES as error:
            # redis-py puts the whole command, with the result in it, before the reason.
            log.warning("result.not_stored", task_id=task_id, state=state, error=str(error).rpartition("error: ")[2])
            return self.encode_result(result, state)


def register(app: "Celery") -> None:
    """Let redis:// and rediss:// result backends of this application be this one."""
    place = f"{__name__}:{ResultStore.__name__}"
    app.loader.override_backends = dict.fromkeys(SCHEMES, place)
