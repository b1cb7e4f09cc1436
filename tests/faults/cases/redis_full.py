"""F43 and F44: Redis is full, or a worker's user may do nothing there, for a while."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.faults.broker_hand import BrokerHand
from tests.faults.once import Gate, Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.support.waiting import eventually

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
        _open(gate, runs)
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


@case("F44", pools=("async", "prefork"))
def permission_withdrawn(scene: Scene) -> None:
    """The workers' Redis user may do nothing for a while: runs end as ever, what was queued runs when it may again."""
    with _redis(scene) as client:
        client.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">known", "~*", "&*", "+@all")
        url = f"redis://worker:known@127.0.0.1:{scene.stack.redis_port}/0"
        worker = scene.worker(AGENT_RUNNER_BROKER_URL=url, AGENT_RUNNER_REDIS_URL=url)
        gate = Gate(scene)
        runs = [Once(scene, role, gate=gate).send().in_the_middle() for role in ("run", "other")]
        scene.strike()
        client.execute_command("ACL", "SETUSER", "worker", "-@all")
        queued = Once(scene, "queued").send()
        _open(gate, runs)
        for run in runs:
            run.check()
        refused = lambda: [one for one in client.acl_log() if one["username"] == "worker"]  # noqa: E731
        scene.evidence(eventually(refused, what="a refusal"), "Redis refused commands of the worker")
        client.execute_command("ACL", "SETUSER", "worker", "+@all")
        queued.check()
        eventually(lambda: not client.hlen("unacked"), what=lambda: f"every ack; left: {_left(client)}")
    BrokerHand(scene).empties()
    scene.next_works()
    scene.demand(worker.popen.poll() is None, "the worker ended")


def _left(client: Any) -> list[str]:
    """The ids of the tasks whose messages are not acknowledged."""
    return [json.loads(one)[0]["headers"]["id"] for one in client.hvals("unacked")]


def _open(gate: Gate, runs: list[Once]) -> None:
    def went_on() -> bool:
        gate.let_go()
        return all(run.went_on for run in runs)

    eventually(went_on, what="the last commands")


@contextmanager
def _redis(scene: Scene) -> Iterator[Any]:
    with redis.Redis(port=scene.stack.redis_port) as client:
        yield client
