"""A result that cannot be stored is no failure of its task."""

from collections.abc import Callable

import pytest

from agent_runner.clients.broker.celery_config import new_celery
from agent_runner.clients.broker.result_store import ResultStore
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from tests.unit.tasks.conftest import WorkerProcess
from tests.unit.tasks.worker_app import settings_for

StartWorker = Callable[[str], WorkerProcess]
Send = Callable[..., str]
LINE = 'result of a task is not stored task_id=first state=SUCCESS error="this user has no permissions'


@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_a_result_that_is_refused(redis_server: RedisServer, start_worker: StartWorker, send: Send, pool: str) -> None:
    """The task has succeeded and is acknowledged, its end is the event of a success, and no error callback is sent."""
    worker = start_worker(pool)
    with redis_server.client() as redis:
        send("first", "sleep", 1.0)
        worker.wait_line("start first")
        redis.execute_command("ACL", "SETUSER", "default", "-setex")
        worker.wait_line("end first")
        eventually(lambda: LINE in worker.output(), what=lambda: f"the line; {worker.output()}")
        eventually(lambda: redis.hlen("unacked") == 0, what="no message left unacked")
        redis.execute_command("ACL", "SETUSER", "default", "+@all")
    send("second")
    worker.wait_line("end second")
    said = worker.output()
    assert "raised unexpected" not in said
    assert "outside body" not in said


@pytest.mark.parametrize("url", ["redis://h/0", "rediss://h/0", "unix:///run/redis.sock?db=1"])
def test_every_redis_is_this_store(url: str) -> None:
    """Whatever the spelling of the URL."""
    with new_celery(settings_for(url), main="tests") as app:
        assert isinstance(app.backend, ResultStore)
