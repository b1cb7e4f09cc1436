"""F25: create cannot reach the broker, or does not learn that it did. One run or none, never two under one key."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

from tests.faults.broker_hand import BrokerHand
from tests.faults.fault_stack import fresh_port, go_on, stop
from tests.faults.once import Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.support.waiting import eventually

KEY_HEADER = "Idempotency-Key"
DEADLINE_S = 5.0
"""The publisher's; no setting."""


@case("F25/down")
def broker_down(scene: Scene) -> None:
    """503 E501 and no row; the same call later is accepted."""
    scene.worker()
    run = Once(scene)
    with _keyed(scene):
        scene.stack.redis.kill()
        scene.stack.redis.popen.wait(5)
        _refused(scene, run.message)
        scene.stack.start_redis()
        run.send()
    scene.strike(at=scene.roles["run"].struck_at)
    run.check()
    _rows_are(scene, 1)


@case("F25/unheard")
def publish_unheard(scene: Scene) -> None:
    """The broker stands still, takes the message when create has given up, and the caller tries again."""
    worker = scene.worker()
    _publish_one(scene)
    run = Once(scene)
    broker = psutil.Process(scene.stack.redis.pid)
    with _keyed(scene):
        stop(broker)
        try:
            _refused(scene, run.message)
        finally:
            go_on(broker)
        run.send()
    scene.strike(at=scene.roles["run"].struck_at)
    run.check()
    eventually(lambda: "no such execution" in worker.output(), within_s=5, what="the copy that was taken back")
    scene.evidence("no such execution" in worker.output(), "the broker had taken the message that was given up")
    BrokerHand(scene).empties()
    _rows_are(scene, 2)


@case("F25/taken")
def publish_taken(scene: Scene) -> None:
    """The broker takes it and a worker begins, and only the server does not hear of it."""
    port = fresh_port()
    with TcpProxy(port, scene.stack.redis_port) as link:
        scene.stack.server.stop()
        scene.stack.start("server", AGENT_RUNNER_BROKER_URL=f"redis://127.0.0.1:{port}/0")
        scene.stack.wait_ready()
        scene.worker()
        _publish_one(scene)
        run = Once(scene)
        with _keyed(scene):
            link.mute()
            began = time.monotonic()
            run.send()
            scene.evidence(time.monotonic() - began >= DEADLINE_S - 0.5, "create waited for the broker's answer")
            scene.evidence(link.held > 0, f"{link.held} answers of the broker were lost")
            run.check()
            link.heal()
            again = scene.stack.http.post("/v1/executions", json={"message": run.message})
            same = again.json().get("metadata", {}).get("id") == scene.roles["run"].id
            scene.demand(same, f"the same key gave {again.status_code} {again.text[:200]}")
        BrokerHand(scene).empties()
        run.check()
        _rows_are(scene, 2)


@contextmanager
def _keyed(scene: Scene) -> Iterator[None]:
    """Every create inside of the block is the same call."""
    headers: httpx.Headers = scene.stack.http.headers
    headers[KEY_HEADER] = uuid.uuid4().hex
    yield
    del headers[KEY_HEADER]


def _refused(scene: Scene, message: str) -> None:
    rows, sessions, began = _rows(scene), _sessions(scene), time.monotonic()
    answer = scene.stack.http.post("/v1/executions", json={"message": message})
    took = time.monotonic() - began
    said = answer.json()
    scene.evidence(answer.status_code == 503 and said.get("code") == "E501", f"create: {answer.status_code} {said}")
    scene.demand(took < DEADLINE_S + 1, f"create took {took:.1f} s to say so")
    scene.demand(said.get("next_step"), "the refusal has no next step")
    scene.demand(_rows(scene) == rows, "a refused execution left a row")
    scene.demand(_sessions(scene) == sessions, "a refused execution left a session")


def _publish_one(scene: Scene) -> None:
    """The server's connection to the broker is open: the next message needs no answer to be sent."""
    scene.next_works()


def _rows_are(scene: Scene, count: int) -> None:
    scene.demand(_rows(scene) == count, f"{_rows(scene)} executions instead of {count}")


def _rows(scene: Scene) -> int:
    return int(scene.stack.http.get("/v1/executions").raise_for_status().json()["total"])


def _sessions(scene: Scene) -> int:
    return int(scene.stack.http.get("/v1/sessions").raise_for_status().json()["total"])
