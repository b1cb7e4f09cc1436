"""A hand in the broker: holds the workers back, changes the message that waits, sends it again."""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery

from clients.settings import Settings
from clients.tasks_wire import REPORT_FAILURE, Publisher, new_celery
from status.phases import Step
from status.timeouts import Timeouts
from tests.faults.scene import Scene
from tests.integration.stack import Json, eventually

RUNNERS, ORCHESTRATORS = "agent_execution_runner", "agent_execution_stigmer"


class BrokerHand:
    """On the Redis of this scene."""

    def __init__(self, scene: Scene) -> None:
        self._port = scene.stack.redis_port
        url = f"redis://127.0.0.1:{self._port}/0"
        self._settings = Settings(broker_url=url, redis_url=url)

    @contextmanager
    def held(self) -> Iterator[None]:
        """No worker takes a message inside of the block."""
        with self._celery() as app:
            assert app.control.cancel_consumer(RUNNERS, reply=True, timeout=3), "no worker answers"
            yield
            app.control.add_consumer(RUNNERS)

    def alter(self, **changed: Any) -> Json:
        """Change the one message that waits: `body` (bytes), `content_type`, `headers` (added). Gives the old one."""
        with redis.Redis(port=self._port) as client:
            eventually(lambda: client.llen(RUNNERS) == 1, within_s=5, what="one message on the queue")
            raw = client.rpop(RUNNERS)
            assert isinstance(raw, bytes)
            before: Json = json.loads(raw)
            after = json.loads(raw)
            after["headers"] |= changed.get("headers", {})
            if "body" in changed:
                after["body"] = base64.b64encode(changed["body"]).decode()
            if "content_type" in changed:
                after |= {"content-type": changed["content_type"], "content-encoding": "binary"}
            assert after != before
            client.lpush(RUNNERS, json.dumps(after))
            return before

    def send_again(self, id: str, *steps: Step) -> None:
        """The messages of these steps as the server sends them: the same task ids, the same content."""

        async def send(publisher: Publisher) -> None:
            for step in steps:
                await publisher.publish(id, step, RUNNERS, ORCHESTRATORS, Timeouts())

        publisher = Publisher(self._settings)
        try:
            asyncio.run(send(publisher))
        finally:
            publisher.close()

    def call_back(self, id: str, step: str, times: int = 1) -> None:
        """The error callback of that step's task, as Celery sends it."""
        with self._celery() as app:
            for _ in range(times):
                app.send_task(REPORT_FAILURE, [id], queue=ORCHESTRATORS, parent_id=f"{id}:{step}", ignore_result=True)

    def waiting(self, queue: str = RUNNERS) -> int:
        """Messages that nobody has taken."""
        with redis.Redis(port=self._port) as client:
            return int(client.llen(queue))

    def empties(self, within_s: float = 10.0) -> None:
        """Wait until every message was taken and acknowledged."""
        with redis.Redis(port=self._port) as client:
            eventually(
                lambda: not client.llen(RUNNERS) and not client.llen(ORCHESTRATORS) and not client.hlen("unacked"),
                within_s=within_s,
                what="every message to be taken and acknowledged",
            )

    @contextmanager
    def _celery(self) -> Iterator[Celery]:
        app = new_celery(self._settings, main="faults")
        try:
            yield app
        finally:
            app.close()
