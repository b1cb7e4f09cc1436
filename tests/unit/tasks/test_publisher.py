"""What stands on the queue: ids only, everything on each step, and a deadline on sending it."""

import asyncio
import base64
import json
import time
from threading import Event
from typing import Any

import pytest
from celery import Celery
from kombu import pools
from kombu.pools import ProducerPool

from agent_runner.clients.broker.celery_config import celery_config, celery_url
from agent_runner.clients.broker.publisher import Publisher, PublishError
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Step
from agent_runner.status.timeouts import Timeouts
from tests.support.redis_server import RedisServer


@pytest.fixture
def settings(redis_server: RedisServer) -> Settings:
    return Settings(broker_url=redis_server.url, redis_url=redis_server.url)


def messages(server: RedisServer, queue: str) -> list[tuple[dict[str, Any], Any]]:
    """(headers, body) in the order they were sent."""
    with server.client() as redis:
        raw: Any = redis.lrange(queue, 0, -1)
    told = [json.loads(m) for m in reversed(raw)]
    return [(m["headers"], json.loads(base64.b64decode(m["body"]))) for m in told]


@pytest.mark.promise("1.76")
async def test_each_step_carries_its_own_identity_limits_and_expiry(
    redis_server: RedisServer, settings: Settings
) -> None:
    """The chain's second step has them too, although Celery gives a chain's options to the first only."""
    publisher = Publisher(settings)
    await publisher.publish("exec-1", Step.ENSURE_THREAD, "runners", "orchestrators", Timeouts())
    publisher.close()
    ((headers, (args, kwargs, embed)),) = messages(redis_server, "runners")
    assert (args, kwargs) == (["exec-1"], {})
    assert headers["task"] == "EnsureThread"
    assert (headers["id"], headers["execution_id"], headers["step"]) == (
        "exec-1:ensure_thread",
        "exec-1",
        "ensure_thread",
    )
    assert headers["expires"]
    (second,) = embed["chain"]
    options = second["options"]
    assert second["task"] == "ExecuteGraphton"
    assert second["args"] == ["exec-1"]
    assert options["task_id"] == "exec-1:execute"
    assert options["headers"] == {"execution_id": "exec-1", "step": "execute"}
    assert options["queue"] == "runners"
    assert (options["soft_time_limit"], options["time_limit"]) == (605.0, 610.0)
    assert options["expires"] == 3660.0
    for told in (embed["errbacks"], options["link_error"]):
        assert [(e["task"], e["args"], e["options"]["queue"]) for e in told] == [
            ("ReportFailure", ["exec-1"], "orchestrators")
        ]


async def test_the_second_step_alone(redis_server: RedisServer, settings: Settings) -> None:
    """After EnsureThread, what is sent again is ExecuteGraphton, under the same id as in the chain."""
    publisher = Publisher(settings)
    await publisher.publish("exec-1", Step.EXECUTE, "runners", "orchestrators", Timeouts(start_to_close_s=10))
    assert await publisher.queue_length("runners") == 1
    assert await publisher.queue_length("never-used") == 0
    publisher.close()
    ((headers, (_, _, embed)),) = messages(redis_server, "runners")
    assert headers["id"] == "exec-1:execute"
    assert headers["timelimit"] == [20.0, 15.0]
    assert embed["chain"] is None


async def test_a_broker_that_is_away_is_told_in_time(redis_server: RedisServer, settings: Settings) -> None:
    """PublishError within the deadline, and the event loop stays free meanwhile; back with the broker."""
    publisher = Publisher(settings, deadline_s=1.0)
    await publisher.publish("exec-1", Step.EXECUTE, "runners", "orchestrators", Timeouts())
    redis_server.kill()
    began = time.monotonic()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(PublishError):
        await publisher.publish("exec-2", Step.EXECUTE, "runners", "orchestrators", Timeouts())
    assert time.monotonic() - began < 15
    assert ticks > 2 or time.monotonic() - began < 0.3
    ticking.cancel()
    redis_server.start()
    await publisher.publish("exec-3", Step.EXECUTE, "runners", "orchestrators", Timeouts())
    publisher.close()


def test_the_configuration_of_both_sides() -> None:
    """What the measurements settled."""
    config = celery_config(Settings(broker_url="redis://h/0", redis_url="redis://h/0", max_run_s=700))
    assert config["task_acks_late"] is True
    assert config["task_reject_on_worker_lost"] is False
    assert config["worker_prefetch_multiplier"] == 1
    assert config["result_backend_thread_safe"] is True
    assert config["accept_content"] == ["json"]
    assert config["broker_transport_options"]["visibility_timeout"] == 1400
    assert config["broker_transport_options"]["unacked_restore_throttle"] == 1


def test_rabbitmq_waits_for_acks_as_long_as_a_run_may_take() -> None:
    """Its consumer timeout would otherwise end the worker in the middle of a long run."""
    config = celery_config(Settings(broker_url="amqp://h//", redis_url="redis://h/0", max_run_s=700))
    assert config["broker_transport_options"] == {}
    assert {q.queue_arguments["x-consumer-timeout"] for q in config["task_queues"]} == {1_400_000}


@pytest.mark.parametrize(
    ("given", "spelt"),
    [
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("unix:///run/redis.sock?db=2", "redis+socket:///run/redis.sock?virtual_host=2"),
        ("unix://:secret@/run/redis.sock", "redis+socket://:secret@/run/redis.sock"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("amqp://h//", "amqp://h//"),
    ],
)
def test_urls_as_celery_spells_them(given: str, spelt: str) -> None:
    """Unix sockets have another scheme there."""
    assert celery_url(given) == spelt


async def test_the_first_messages_at_once_are_all_sent(
    redis_server: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery shrinks its new pool of connections when another thread may already have taken one."""
    publisher, taken = Publisher(settings), Event()
    acquire, pool = ProducerPool.acquire, vars(Celery)["pool"].fget

    def acquired(self: ProducerPool, *args: Any, **kwargs: Any) -> Any:
        taken.set()
        return acquire(self, *args, **kwargs)

    def limited(app: Celery) -> Any:
        taken.wait(0.5)
        return pool(app)

    monkeypatch.setattr(pools, "_limit", [10])  # as in a new process
    monkeypatch.setattr(ProducerPool, "acquire", acquired)
    monkeypatch.setattr(Celery, "pool", property(limited))
    sent = [publisher.publish(f"exec-{n}", Step.EXECUTE, "runners", "orchestrators", Timeouts()) for n in range(4)]
    await asyncio.gather(*sent)
    publisher.close()
    assert len(messages(redis_server, "runners")) == 4
