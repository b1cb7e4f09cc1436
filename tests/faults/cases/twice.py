"""F28 and F29: what is delivered again, or late, changes nothing."""

import time

from agent_runner.status.phases import Step
from tests.faults.broker_hand import BrokerHand
from tests.faults.fault_stack import fresh_port
from tests.faults.once import Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.integration.stack import Json, Process
from tests.support.waiting import eventually

BOTH = (Step.ENSURE_THREAD, Step.EXECUTE)
CALLBACK_DONE = "Task ReportFailure["


@case("F28/at-once")
def delivered_at_once(scene: Scene) -> None:
    """Copies before it begins and while it runs."""
    worker = scene.worker()
    hand = BrokerHand(scene)
    with hand.held():
        run = Once(scene).send()
        hand.send_again(scene.roles["run"].id, *BOTH, *BOTH)
        scene.strike()
        scene.evidence(hand.waiting() == 5, f"{hand.waiting()} messages waited")
    run.in_the_middle()
    hand.send_again(scene.roles["run"].id, *BOTH)
    run.check()
    hand.empties()
    run.check()
    scene.evidence(_refusals(scene, worker) >= 5, f"{_refusals(scene, worker)} copies were refused")


@case("F28/completed")
def delivered_after_completion(scene: Scene) -> None:
    worker = scene.worker()
    run = Once(scene, pause_s=0.2).send()
    scene.strike()
    run.check()
    _unchanged_by_copies(scene, worker)
    run.check()


@case("F28/failed")
def delivered_after_failure(scene: Scene) -> None:
    worker = scene.worker()
    lines = scene.stack.folder / "lines.txt"
    append = {"do": "append", "file": str(lines), "text": "started"}
    scene.act(append, {"do": "await", "s": 0.5}, {"do": "raise", "what": "ValueError", "text": "no, and never again"})
    scene.strike()
    scene.end()
    _unchanged_by_copies(scene, worker)
    scene.demand(lines.read_text().split() == ["started"], f"it started again: {lines.read_text()!r}")


@case("F29/twice")
def callback_twice(scene: Scene) -> None:
    """Celery's own, and two more of it: within the grace and after the end. One of them counts."""
    orchestrator = scene.stack.start("orchestrator")
    hand = BrokerHand(scene)
    port = fresh_port()
    with TcpProxy(port, scene.stack.grpc_port) as link:
        worker = scene.worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
        scene.evidence(link.reset() > 0, "the worker's link was cut")
        id = scene.send("Who hears me?")
        scene.strike(at=scene.roles["run"].struck_at)
        eventually(lambda: _callbacks(orchestrator) >= 1, within_s=10, what="Celery's own callback")
        hand.call_back(id, Step.ENSURE_THREAD.value)
        status = scene.end()
        scene.evidence(_callbacks(orchestrator) >= 2, f"{_callbacks(orchestrator)} callbacks were handled by its end")
        _unchanged_by_callbacks(scene, orchestrator, hand, ("run",), Step.ENSURE_THREAD)
        system = [m for m in status["messages"] if m["type"] == "MESSAGE_SYSTEM"]
        scene.demand(len(system) == 1, f"{len(system)} SYSTEM messages")
        worker.stop()


@case("F29/late")
def callback_late(scene: Scene) -> None:
    """After COMPLETED and after FAILED for a reason of its own."""
    orchestrator = scene.stack.start("orchestrator")
    scene.worker()
    moment = {"do": "await", "s": 0.5}
    scene.act(moment, role="completed")
    scene.act(moment, {"do": "raise", "what": "ValueError", "text": "for a reason of its own"}, role="failed")
    scene.strike()
    for role in ("completed", "failed"):
        scene.end(role)
    _unchanged_by_callbacks(scene, orchestrator, BrokerHand(scene), ("completed", "failed"), Step.EXECUTE)


def _unchanged_by_copies(scene: Scene, worker: Process) -> None:
    id, hand = scene.roles["run"].id, BrokerHand(scene)
    before, refused = _all_of(scene, "run"), _refusals(scene, worker)
    hand.send_again(id, *BOTH, Step.EXECUTE)
    hand.empties()
    eventually(lambda: _refusals(scene, worker) >= refused + 3, within_s=5, what="the copies to be refused")
    scene.evidence(_refusals(scene, worker) >= refused + 3, "the copies were delivered")
    scene.demand(_all_of(scene, "run") == before, "a copy changed the execution")


def _unchanged_by_callbacks(
    scene: Scene, orchestrator: Process, hand: BrokerHand, roles: tuple[str, ...], step: Step
) -> None:
    """Two more callbacks for each, and the time that the server waits before it applies one."""
    before, handled = [_all_of(scene, role) for role in roles], _callbacks(orchestrator)
    for role in roles:
        hand.call_back(scene.roles[role].id, step.value, times=2)
    wanted = handled + 2 * len(roles)
    eventually(lambda: _callbacks(orchestrator) >= wanted, within_s=10, what="the callbacks to be handled")
    scene.evidence(_callbacks(orchestrator) >= wanted, "the callbacks were handled")
    hand.empties()
    time.sleep(scene.bound("worker_lost_grace_s + slack_s"))  # the server applies a callback that late
    scene.demand([_all_of(scene, role) for role in roles] == before, "a callback changed the execution")


def _all_of(scene: Scene, role: str) -> tuple[Json, list[tuple[int, str, Json]]]:
    id = scene.roles[role].id
    return scene.stack.get(id), list(scene.stack.events(id, 0))


def _refusals(scene: Scene, worker: Process) -> int:
    id = scene.roles["run"].id
    return sum(1 for line in worker.output().split("\n") if id in line and "is not ours" in line)


def _callbacks(orchestrator: Process) -> int:
    """How many callbacks it has handled."""
    return sum(1 for line in orchestrator.output().split("\n") if CALLBACK_DONE in line and "succeeded" in line)
