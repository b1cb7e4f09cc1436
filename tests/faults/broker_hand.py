"""A hand in the broker: holds the workers back, changes the message that waits, sends it again."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery

from agent_runner.clients.broker.celery_config import new_celery
from agent_runner.clients.broker.task_names import REPORT_FAILURE
from agent_runner.status.phases import Step
from tests.faults.scene import Scene
from tests.integration import messages
from tests.integration.stack import Json
from tests.support.waiting import eventually


class BrokerHand:
    """On the broker of this scene; `alter` on Redis only."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._stack = scene, scene.stack

    @contextmanager
    def held(self) -> Iterator[None]:
        """No worker of this scene takes a message inside of the block. One RabbitMQ serves many: they are named."""
        names = [str(worker["name"]) for worker in self._stack.workers()]
        with self._celery() as app:

            def order(command: str) -> None:
                queue = {"queue": self._stack.runner_queue}
                answers = app.control.broadcast(
                    command, queue, destination=names, reply=True, limit=len(names), timeout=5
                )
                assert len(answers or ()) == len(names), f"not every worker did {command}: {answers}"

            order("cancel_consumer")
            yield
            order("add_consumer")

    def alter(self, **changed: Any) -> Json:
        """Change the one message that waits: `body` (bytes), `content_type`, `headers` (added). Gives the old one."""
        queue = self._stack.runner_queue
        with redis.Redis(port=self._stack.redis_port) as client:
            eventually(lambda: client.llen(queue) == 1, within_s=5, what="one message on the queue")
            raw = client.rpop(queue)
            assert isinstance(raw, bytes)
            before: Json = json.loads(raw)
            after = json.loads(raw)
            after["headers"] |= changed.get("headers", {})
            if "body" in changed:
                after["body"] = base64.b64encode(changed["body"]).decode()
            if "content_type" in changed:
                after |= {"content-type": changed["content_type"], "content-encoding": "binary"}
            assert after != before
            client.lpush(queue, json.dumps(after))
            return before

    def send_again(self, id: str, *steps: Step) -> None:
        """The messages of these steps as the server sends them: the same task ids, the same content."""
        messages.publish_again(self._stack, id, *steps)

    def call_back(self, id: str, step: str, times: int = 1) -> None:
        """The error callback of that step's task, as Celery sends it."""
        queue = self._stack.orchestrator_queue
        with self._celery() as app:
            for _ in range(times):
                app.send_task(REPORT_FAILURE, [id], queue=queue, parent_id=f"{id}:{step}", ignore_result=True)

    def waiting(self) -> int:
        """Messages of the runners' queue that nobody has taken."""
        return messages.waiting(self._stack)

    def empties(self, within_s: float = 10.0) -> None:
        """Wait until every message was taken and acknowledged. With RabbitMQ the latter is seen when the case is over:
        what its workers had not acknowledged is on the queue again when they have left."""
        messages.empties(self._stack, within_s)
        if self._scene.broker == "rabbitmq":
            self._scene.at_the_end(_nothing_is_left)

    @contextmanager
    def _celery(self) -> Iterator[Celery]:
        app = new_celery(messages.settings_of(self._stack), main="faults")
        try:
            yield app
        finally:
            app.close()


def _nothing_is_left(scene: Scene) -> None:
    left = messages.left_behind(scene.stack)
    scene.demand(not left, f"{left} messages were not acknowledged")
