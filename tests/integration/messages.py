"""The messages on a stack's broker, whichever it is: what waits, what is left, and the same one once more."""

import asyncio
import time

import redis
from amqp.exceptions import NotFound

from agent_runner.clients.broker.publisher import Publisher
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Step
from agent_runner.status.timeouts import Timeouts
from tests.integration.rabbitmq import messages_ready
from tests.integration.stack import Stack
from tests.support.waiting import eventually


def settings_of(stack: Stack) -> Settings:
    """The broker and the Redis that its processes are told."""
    environment = stack.environment()
    return Settings(broker_url=environment["AGENT_RUNNER_BROKER_URL"], redis_url=environment["AGENT_RUNNER_REDIS_URL"])


def publish_again(stack: Stack, id: str, *steps: Step) -> None:
    """The messages of these steps as the server sends them: the same task ids, the same content."""

    async def send(publisher: Publisher) -> None:
        for step in steps:
            await publisher.publish(id, step, stack.runner_queue, stack.orchestrator_queue, Timeouts())

    publisher = Publisher(settings_of(stack))
    try:
        asyncio.run(send(publisher))
    finally:
        publisher.close()


def waiting(stack: Stack, queue: str = "") -> int:
    """Messages on the runners' queue, or on that one, which nobody has taken."""
    url, name = settings_of(stack).broker_url, queue or stack.runner_queue
    if url.startswith("amqp"):
        try:
            return messages_ready(url, name)
        except NotFound:
            return 0
    with redis.Redis.from_url(url) as client:
        return int(client.llen(name))


def empties(stack: Stack, within_s: float = 20.0) -> None:
    """Wait until every message was taken and, with Redis, acknowledged. RabbitMQ tells that to nobody but its own
    tools: see `left_behind`."""

    def empty() -> bool:
        return not waiting(stack) and not waiting(stack, stack.orchestrator_queue) and not _unacknowledged(stack)

    eventually(empty, within_s=within_s, what="every message to be taken and acknowledged")


def left_behind(stack: Stack) -> int:
    """Messages on the runners' queue once all workers have left: what they had not acknowledged is there again."""
    for process in [p for p in stack.processes if p.name == "worker"]:
        process.stop()
    # The broker sees the ends of their connections a moment later than we do.
    until = time.monotonic() + 3
    while not (found := waiting(stack)) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _unacknowledged(stack: Stack) -> int:
    url = settings_of(stack).broker_url
    if url.startswith("amqp"):
        return 0
    with redis.Redis.from_url(url) as client:
        return int(client.hlen("unacked"))
