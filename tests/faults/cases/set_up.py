"""F15 and F16: the run cannot be set up, because the backend does not answer or what it needs was deleted."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.fault_stack import fresh_port, go_on, stop
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.integration.grpc_proxy import GrpcProxy
from tests.integration.stack import Process
from tests.support.waiting import eventually

TRIED_AGAIN = "EnsureThread is tried again"
AGENT = {
    "api_version": "agentic.stigmer.ai/v1",
    "kind": "Agent",
    "metadata": {"name": "Short lived", "org": "local", "owner_scope": "organization"},
    "spec": {"instructions": "Answer shortly, please."},
}


@case("F15/brief")
def backend_down_briefly(scene: Scene) -> None:
    """Away when the worker begins, and back before its last try."""
    with _linked(scene) as (worker, link):
        scene.evidence(link.reset() > 0, "the worker's link was cut")
        id = scene.send("$ echo set up after all")
        scene.strike(at=scene.roles["run"].struck_at)
        eventually(lambda: _tries(worker, id) >= 1, within_s=5, what="a failed try")
        link.heal()
        scene.end()
        scene.evidence(1 <= _tries(worker, id) <= 2, f"{_tries(worker, id)} tries failed")


@case("F15/long")
def backend_down_for_longer(scene: Scene) -> None:
    """Away for longer than the worker tries; the error callback, whose own way is open, tells."""
    scene.stack.start("orchestrator")
    with _linked(scene) as (worker, link):
        scene.evidence(link.reset() > 0, "the worker's link was cut")
        id = scene.send("Who hears me?")
        scene.strike(at=scene.roles["run"].struck_at)
        scene.end()
        scene.evidence(_tries(worker, id) >= 2, f"{_tries(worker, id)} tries failed before the last")
        link.heal()
        scene.next_works()


@case("F15/silent")
def nobody_can_tell(scene: Scene) -> None:
    """The step is done and the worker never hears of it, and no orchestrator is there: the server goes on by itself."""
    port = fresh_port()
    with GrpcProxy(port, scene.stack.grpc_port) as proxy:
        worker = scene.worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
        proxy.lose_reply("begin", times=10_000)
        scene.send("Who hears me?")
        scene.strike(at=scene.roles["run"].struck_at)
        scene.end()
        scene.evidence(proxy.lost["begin"] > 0, "the answers to begin were lost")
        worker.stop()


@case("F16/session")
def session_deleted(scene: Scene) -> None:
    _deleted(scene, "sessions")


@case("F16/instance")
def instance_deleted(scene: Scene) -> None:
    _deleted(scene, "agent-instances")


@case("F16/agent")
def agent_deleted(scene: Scene) -> None:
    _deleted(scene, "agents")


def _deleted(scene: Scene, route: str) -> None:
    """The worker stands still while what the accepted execution needs is deleted."""
    http = scene.stack.http
    agent = http.post("/v1/agents", json=AGENT).raise_for_status().json()
    child = scene.worker().child()
    stop(child)
    try:
        id = scene.send("Who am I talking to?", agent=agent["metadata"]["id"])
        ids = {
            "agents": agent["metadata"]["id"],
            "agent-instances": agent["status"]["default_instance_id"],
            "sessions": scene.stack.get(id)["spec"]["session_id"],
        }
        scene.facts["deleted"] = ids[route]
        http.delete(f"/v1/{route}/{ids[route]}").raise_for_status()
        scene.strike()
    finally:
        go_on(child)
    scene.end()
    scene.evidence(http.get(f"/v1/{route}/{ids[route]}").status_code == 404, f"it is not in {route} any more")
    scene.next_works()


@contextmanager
def _linked(scene: Scene) -> Iterator[tuple[Process, TcpProxy]]:
    port = fresh_port()
    with TcpProxy(port, scene.stack.grpc_port) as link:
        worker = scene.worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
        yield worker, link
        worker.stop()


def _tries(worker: Process, id: str) -> int:
    """How often EnsureThread of this execution failed and was tried again."""
    return sum(1 for line in worker.output().split("\n") if id in line and TRIED_AGAIN in line)
