"""F10 to F12: a limit passes, wherever the run is at that moment."""

import os
import signal

import psutil

from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Process
from tests.support.waiting import eventually

SAID = {"do": "say", "text": "this much I had found out"}
BLOCKED_EXIT = 70


@case("F10", pools=("async", "prefork"))
def awaiting(scene: Scene) -> None:
    scene.worker()
    scene.act(SAID, {"do": "await", "s": 60})
    scene.in_flight(text=SAID["text"])
    scene.strike(at=scene.claimed_at())
    status = scene.end()
    scene.evidence(SAID["text"] in str(status["messages"]), "it had begun and was waiting")
    scene.demand(SAID["text"] in [m.get("content") for m in status["messages"]], "the partial message is gone")
    scene.next_works()


@case("F11/thread", pools=("async", "prefork"))
def tool_thread(scene: Scene) -> None:
    """The only slot's tool blocks its thread for a minute: the run is given up, the slot serves the next."""
    worker = scene.worker()
    child = worker.child()
    scene.act(SAID, {"do": "tool", "name": "nap", "args": {"s": 60}})
    scene.in_flight(text="nap")
    scene.strike(at=scene.claimed_at())
    status = scene.end()
    naps = [call for call in status["tool_calls"] if call["name"] == "nap"]
    scene.evidence(naps and not naps[0].get("result"), "it was in the tool")
    scene.demand(SAID["text"] in [m.get("content") for m in status["messages"]], "the partial message is gone")
    scene.next_works()
    scene.demand(child.is_running(), "the worker process was replaced")


@case("F11/loop")
def loop_blocked(scene: Scene) -> None:
    worker = scene.worker()
    child = worker.child()
    long = {"start_to_close_s": 25}
    scene.act(SAID, {"do": "await", "s": 60}, role="neighbour", timeouts=long)
    scene.in_flight("neighbour", text=SAID["text"])
    scene.act(SAID, {"do": "block_loop", "s": 60}, role="culprit")
    scene.in_flight("culprit")
    scene.strike(at=scene.claimed_at("culprit"))
    scene.end("culprit")
    scene.end("neighbour")
    scene.evidence("the event loop is blocked by" in worker.output(), "the loop was blocked")
    eventually(lambda: not _alive(child), within_s=3, what="the blocked process to end")
    eventually(scene.stack.workers, within_s=10, what="the process that replaces it")
    scene.next_works()


@case("F11/loop-fork", pools=("prefork",))
def loop_blocked_in_a_child(scene: Scene) -> None:
    worker = scene.worker(AGENT_RUNNER_CONCURRENCY="2")
    parent = worker.child()
    long = {"start_to_close_s": 25}
    scene.act(SAID, {"do": "await", "s": 10}, role="neighbour", timeouts=long)
    scene.in_flight("neighbour", text=SAID["text"])
    children = {p.pid for p in parent.children()}
    scene.act(SAID, {"do": "block_loop", "s": 60}, role="culprit")
    scene.in_flight("culprit")
    scene.strike(at=scene.claimed_at("culprit"))
    scene.end("culprit")
    scene.evidence("the event loop is blocked by" in worker.output(), "the child's loop was blocked")
    eventually(lambda: {p.pid for p in parent.children()} != children, within_s=5, what="the child to be replaced")
    scene.demand(_alive(parent), "the parent died too")
    scene.end("neighbour")
    scene.next_works()


@case("F12")
def handed_from_worker_to_worker(scene: Scene) -> None:
    """Each worker that has it is told to leave, so that no attempt ever reaches its own limit."""
    workers = {worker.child().pid: worker for worker in [scene.worker() for _ in range(4)]}
    scene.act(*[{"do": "await", "s": 0.2}] * 100)
    scene.in_flight()
    scene.strike(at=scene.roles["run"].struck_at)
    for _ in range(3):
        owner = _owner_of(scene, workers)
        _pass(scene, 1.8)
        os.kill(owner.pid, signal.SIGTERM)
    scene.end()
    log = [row for row in scene.roles["run"].witness.sse.rows if row.kind == "note"]
    scene.evidence(len(log) >= 2, f"it was handed back {len(log)} times")
    scene.note(f"handed back {len(log)} times")


def _owner_of(scene: Scene, workers: dict[int, Process]) -> Process:
    def busy() -> Process | None:
        return next((workers.pop(w["pid"]) for w in scene.stack.workers() if w["busy"] and w["pid"] in workers), None)

    return eventually(busy, within_s=5, what="a worker that has it")


def _pass(scene: Scene, seconds: float) -> None:
    """So long the run belongs to this worker."""
    scene.roles["run"].witness.sse.done.wait(seconds)


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
