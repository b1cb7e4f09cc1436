"""F40: the RabbitMQ node is killed and started again. Nothing runs twice."""

import signal
import time

import psutil

from tests.faults.one_start import OneStart
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.rabbitmq import RabbitNode, scripts
from tests.integration.stack import eventually
from tests.integration.test_rabbitmq import OLD_ENOUGH_S


@case("F40")
def node_restarted(scene: Scene) -> None:
    """A node of the case's own; runs in their middle when it goes."""
    place = scripts()
    scene.evidence(place is not None, "rabbitmq-server is installed")
    if place is None:
        return
    stack = scene.stack
    folder = stack.folder / "rabbitmq"
    folder.mkdir()
    with RabbitNode(folder, place) as node:
        stack.server.stop()
        stack.settings["AGENT_RUNNER_BROKER_URL"] = node.url
        stack.start("server")
        stack.wait_ready()
        child = scene.worker().child()
        runs = [OneStart(scene, role, pause_s=OLD_ENOUGH_S + 2).send().in_the_middle() for role in ("run", "other")]
        old_at = time.monotonic() + OLD_ENOUGH_S
        eventually(lambda: time.monotonic() >= old_at, within_s=OLD_ENOUGH_S + 5)
        scene.strike()
        node.end(signal.SIGKILL)
        node.start()
        scene.evidence(True, "the node was killed and is back")
        for run in runs:
            run.check()
        scene.demand(child.is_running() and child.status() != psutil.STATUS_ZOMBIE, "the worker process was replaced")
        # A create may be refused with 503 while the node still recovers its queues; soon it is accepted again.
        eventually(lambda: stack.http.post("/v1/executions", json={"message": "hello"}).status_code == 201)
        scene.next_works()
