"""An outage of Redis while a late-acked message is in flight: the worker lives, every task starts once."""

import signal
import time
from collections.abc import Callable

import pytest
from kombu import Connection
from kombu.transport import redis as stock

from agent_runner.clients.broker import redis_transport
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from tests.unit.tasks.conftest import WorkerProcess
from tests.unit.tasks.worker_app import QUEUE

StartWorker = Callable[[str], WorkerProcess]
Send = Callable[..., str]


@pytest.mark.parametrize("pool", ["async", "prefork"])
@pytest.mark.parametrize("down_s", [0.2, 3.0])
def test_a_restart_of_redis_repeats_nothing(
    redis_server: RedisServer, start_worker: StartWorker, send: Send, pool: str, down_s: float
) -> None:
    """A task in flight while Redis is killed is acked after it, once; the worker goes on to the next task."""
    worker = start_worker(pool)
    send("first", "sleep", 2.0)
    worker.wait_line("start first")
    redis_server.kill()
    time.sleep(down_s)
    redis_server.start()
    worker.wait_line("end first")
    send("second")
    worker.wait_line("end second")
    with redis_server.client() as redis:
        eventually(lambda: redis.hlen("unacked") == 0, what="no message left unacked")
        assert redis.llen(QUEUE) == 0
    assert worker.popen.poll() is None
    assert [line for line in worker.lines() if line.startswith("start")] == ["start first", "start second"]


def test_a_task_that_ends_while_redis_is_away_is_acked_when_it_is_back(
    redis_server: RedisServer, start_worker: StartWorker, send: Send
) -> None:
    """The ack waits in the worker; the message is not delivered again."""
    worker = start_worker("async")
    send("first", "sleep", 1.0)
    worker.wait_line("start first")
    redis_server.kill()
    worker.wait_line("end first")
    redis_server.start()
    send("second")
    worker.wait_line("end second", within_s=30)
    with redis_server.client() as redis:
        eventually(lambda: redis.hlen("unacked") == 0, what="no message left unacked", within_s=30)
    assert worker.lines().count("start first") == 1


def test_a_lost_connection_does_not_put_back_what_is_running(
    redis_server: RedisServer, start_worker: StartWorker, send: Send
) -> None:
    """Redis stays up and cuts all connections: the stock transport starts a second copy at once, ours none."""
    worker = start_worker("async")
    send("first", "sleep", 2.0)
    worker.wait_line("start first")
    with redis_server.client() as redis:
        redis.client_kill_filter(_type="normal", skipme=True)
        worker.wait_line("end first")
        send("second")
        worker.wait_line("end second")
        eventually(lambda: redis.hlen("unacked") == 0, what="no message left unacked")
    assert worker.lines().count("start first") == 1


def test_a_warm_stop_leaves_what_was_not_started(
    redis_server: RedisServer, start_worker: StartWorker, send: Send
) -> None:
    """SIGTERM waits for what runs; the rest stays on the queue and nothing is left unacked."""
    worker = start_worker("async")
    for number in range(6):
        send(f"task-{number}", "sleep", 1.5)
    eventually(lambda: sum(line.startswith("start") for line in worker.lines()) == 4, what="all slots busy")
    assert worker.end(signal.SIGTERM) == 0
    with redis_server.client() as redis:
        assert redis.llen(QUEUE) == 2
        assert redis.hlen("unacked") == 0
    assert sum(line.startswith("end") for line in worker.lines()) == 4


def test_a_cold_stop_puts_everything_back(redis_server: RedisServer, start_worker: StartWorker, send: Send) -> None:
    """SIGQUIT: also messages that were delivered before a lost connection go back to the queue."""
    worker = start_worker("async")
    for number in range(3):
        send(f"task-{number}", "sleep", 60.0)
    eventually(lambda: sum(line.startswith("start") for line in worker.lines()) == 3, what="three at work")
    with redis_server.client() as redis:
        redis.client_kill_filter(_type="normal", skipme=True)
        eventually(lambda: "Connection to broker lost" in worker.output(), what="the lost connection was seen")
        send("task-3", "sleep", 60.0)
        worker.wait_line("start task-3")
        assert worker.end(signal.SIGQUIT) == 0
        assert redis.llen(QUEUE) == 4
        assert redis.hlen("unacked") == 0


@pytest.mark.parametrize(
    "url", ["redis://h:1/0", "rediss://h:1/0", "redis+socket:///x.sock", "redis://a/0;redis://b/0"]
)
def test_every_kind_of_redis_url_uses_our_transport(url: str) -> None:
    """By alias: also for the second URL of a list, for unix sockets, and with TLS still on for rediss://."""
    redis_transport.register()
    connection = Connection(url)
    expected = redis_transport.Transport
    assert connection.get_transport_cls() is expected
    assert issubclass(expected, stock.Transport)
    assert expected.driver_type == "redis"
    if url.startswith("rediss"):
        assert connection.ssl
    connection.maybe_switch_next()
    assert connection.get_transport_cls() is expected


def test_other_brokers_are_not_touched() -> None:
    """AMQP stays kombu's own."""
    redis_transport.register()
    assert "redis" not in Connection("amqp://h//").get_transport_cls().__module__
