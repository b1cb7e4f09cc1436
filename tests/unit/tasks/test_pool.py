"""The `async` pool under a real Celery worker: real cancel, no slot lost, resizable."""

from collections.abc import Callable

import pytest
from celery import Celery
from celery.result import AsyncResult

from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from tests.unit.tasks.conftest import WorkerProcess
from tests.unit.tasks.worker_app import SLOTS

StartWorker = Callable[[str], WorkerProcess]
Send = Callable[..., str]


def state(client: Celery, id: str) -> str:
    return str(AsyncResult(id, app=client).state)


@pytest.mark.parametrize("what", ["exit", "interrupt", "cancelled"])
def test_no_exception_eats_a_slot(
    redis_server: RedisServer, start_worker: StartWorker, send: Send, client: Celery, what: str
) -> None:
    """Whatever a body lets out, its task fails, its message is acked and its slot is free again."""
    worker = start_worker("async")
    for number in range(2 * SLOTS):
        send(f"bad-{number}", what)
    send("good")
    worker.wait_line("end good")
    for number in range(2 * SLOTS):
        eventually(lambda n=number: state(client, f"bad-{n}") == "FAILURE", what=f"bad-{number} is a failure")  # type: ignore[misc]
    with redis_server.client() as redis:
        eventually(lambda: redis.hlen("unacked") == 0, what="no message left unacked")
    assert worker.popen.poll() is None


def test_terminate_cancels_the_coroutine(start_worker: StartWorker, send: Send, client: Celery) -> None:
    """`revoke(terminate=True)` reaches the coroutine at once, which then ends by itself."""
    worker = start_worker("async")
    send("long", "coroutine", 60.0)
    worker.wait_line("start long")
    client.control.revoke("long", terminate=True)
    worker.wait_line("cancelled long")
    send("next")
    worker.wait_line("end next")


def test_every_task_has_a_pid_and_the_pool_tells_its_size(
    start_worker: StartWorker, send: Send, client: Celery
) -> None:
    """`inspect active` shows a pid of its own for each task, `inspect stats` what runs."""
    worker = start_worker("async")
    send("one", "coroutine", 60.0)
    send("two", "coroutine", 60.0)
    worker.wait_line("start one")
    worker.wait_line("start two")
    active = next(iter((client.control.inspect(destination=[worker.hostname], timeout=20).active() or {}).values()))
    assert len({task["worker_pid"] for task in active}) == 2
    pool = next(iter((client.control.inspect(destination=[worker.hostname], timeout=20).stats() or {}).values()))[
        "pool"
    ]
    assert pool["running"] == 2
    assert pool["max-concurrency"] == SLOTS
    assert pool["processes"] == [worker.popen.pid]


def test_the_pool_can_be_resized(start_worker: StartWorker, send: Send, client: Celery) -> None:
    """`pool_grow` makes room for more at once."""
    worker = start_worker("async")
    client.control.pool_grow(2, destination=[worker.hostname], reply=True, timeout=20)
    for number in range(SLOTS + 2):
        send(f"task-{number}", "coroutine", 60.0)
    eventually(
        lambda: sum(line.startswith("start") for line in worker.lines()) == SLOTS + 2, what="two more than before"
    )
