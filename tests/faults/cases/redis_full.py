"""F43: Redis is full while runs are under way, or when a worker starts, and then it is not."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.faults.broker_hand import BrokerHand
from tests.faults.once import Gate, Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import eventually

FULL = "is full: maxmemory is used up"


@case("F43/flight", pools=("async", "prefork"))
def full_in_flight(scene: Scene) -> None:
    """Runs that a worker has taken end as ever, and are acknowledged; nothing new is accepted until there is room."""
    worker = scene.worker()
    child = worker.child().pid
    gate = Gate(scene)
    runs = [Once(scene, role, gate=gate).send().in_the_middle() for role in ("run", "other")]
    with _redis(scene) as client:
        scene.strike()
        client.config_set("maxmemory", 1)
        refused = scene.stack.http.post("/v1/executions", json={"message": "$ echo refused"})
        scene.evidence(refused.status_code == 503, f"a create was refused: {refused.text[:200]}")

        def went_on() -> bool:
            gate.let_go()
            return all(run.went_on for run in runs)

        eventually(went_on, what="the last commands")
        for run in runs:
            run.check()
        eventually(lambda: not client.hlen("unacked"), what="every ack")
        client.config_set("maxmemory", 0)
    BrokerHand(scene).empties()
    scene.next_works()
    scene.demand(worker.child().pid == child, "the worker ended")


@case("F43/start", pools=("async", "prefork"))
def full_at_start(scene: Scene) -> None:
    """A worker starts on it, says so, and runs what was queued as soon as there is room, without a restart."""
    run = Once(scene, "run").send()
    hand = BrokerHand(scene)
    eventually(lambda: hand.waiting() == 1, within_s=5, what="the message")
    with _redis(scene) as client:
        client.delete(*(key for key in client.keys("_kombu.*")))
        scene.strike()
        client.config_set("maxmemory", 1)
        worker = scene.worker()
        child = worker.child().pid
        scene.evidence(FULL in worker.output(), "the worker started on a full Redis and said so")
        client.config_set("maxmemory", 0)
    run.check()
    hand.empties()
    scene.next_works()
    scene.demand(worker.child().pid == child, "the worker ended")


@contextmanager
def _redis(scene: Scene) -> Iterator["redis.Redis"]:
    with redis.Redis(port=scene.stack.redis_port) as client:
        yield client
