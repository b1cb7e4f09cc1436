"""What Flower is told about tasks: everything, in few messages."""

import base64
import json
import signal
from collections import Counter
from collections.abc import Callable

from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from tests.unit.tasks.conftest import WorkerProcess

TASKS = 8


def test_events_of_tasks_are_published_together(
    redis_server: RedisServer, start_worker: Callable[[str], WorkerProcess], send: Callable[..., str]
) -> None:
    """Each task was received, started and succeeded, also the one that ended just before the worker did. Eight of them
    take a handful of messages: Celery itself publishes about one per event."""
    with redis_server.client() as redis, redis.pubsub() as listening:
        listening.psubscribe("*celeryev*")
        assert (listening.get_message(timeout=20) or {})["type"] == "psubscribe"
        worker = start_worker("async")
        for number in range(TASKS):
            send(f"task-{number}")
        eventually(lambda: sum(line.startswith("end") for line in worker.lines()) == TASKS, what="the end of all tasks")
        assert worker.end(signal.SIGTERM) == 0
        messages = []
        while (message := listening.get_message(timeout=2)) is not None:
            if "task" in str(message["channel"]):
                messages.append(json.loads(base64.b64decode(json.loads(message["data"])["body"])))
    batches = [said for said in messages if isinstance(said, list)]  # a single one is the sender's own
    told = Counter(event["type"] for events in batches for event in events)
    assert told == {"task-received": TASKS, "task-started": TASKS, "task-succeeded": TASKS}
    assert len(batches) <= TASKS
