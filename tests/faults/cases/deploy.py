"""F31 and F32: a worker is told to leave while it works, and another one is there."""

import signal
from collections.abc import Sequence

from tests.faults.once import Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.witness import Seen
from tests.integration.stack import Json, Process
from tests.support.waiting import eventually

BOTH = ("async", "prefork")
AT_ONCE_S = 1.5
"""A boundary comes every 0.2 s; the rest is for a machine that is busy with other cases."""


@case("F31", pools=BOTH)
def terminated(scene: Scene) -> None:
    workers = _two_workers(scene)
    once = Once(scene, steps=4).send().in_the_middle()
    leaving = owner(scene, workers)
    scene.strike()
    leaving.kill(signal.SIGTERM)
    once.check()
    scene.evidence(hand_backs(scene), "it was given from the one to the other")
    left_well(scene, leaving)
    scene.next_works()


@case("F32/boundary", pools=BOTH)
def quit_at_a_boundary(scene: Scene) -> None:
    workers = _two_workers(scene)
    steps = [action for n in range(20) for action in ({"do": "await", "s": 0.2}, {"do": "say", "text": f"step {n}"})]
    scene.act(*steps)
    scene.in_flight(text="step 2")
    leaving = owner(scene, workers)
    struck = scene.strike()
    leaving.kill(signal.SIGQUIT)
    status = scene.end()
    said = _said(status)
    scene.demand(said == [f"step {n}" for n in range(20)], f"not each step once: {said}")
    given = hand_backs(scene)
    scene.evidence(given, "it was given from the one to the other")
    took = given[0].arrived - struck if given else 0.0
    scene.demand(took < AT_ONCE_S, f"it was handed back after {took:.2f} s, not at the next boundary")
    eventually(lambda: leaving.popen.poll() is not None, within_s=15, what="the worker to leave")
    scene.next_works()


@case("F32/tool", pools=BOTH)
def quit_in_a_tool(scene: Scene) -> None:
    workers = _two_workers(scene)
    scene.send(f"Before.\n$ echo alive\n$ {scene.sleep_command()}")
    scene.in_flight(text="alive")
    eventually(scene.tools, what="the tool's process")
    leaving = owner(scene, workers)
    scene.strike()
    leaving.kill(signal.SIGQUIT)
    status = scene.end()
    scene.evidence(not hand_backs(scene) and scene.sleep_command() in str(status["tool_calls"]), "it was in the tool")
    scene.gone_within(2, scene.roles["run"].witness.sse.ended_at)
    eventually(lambda: leaving.popen.poll() is not None, within_s=15, what="the worker to leave")
    scene.next_works()


def _two_workers(scene: Scene) -> list[Process]:
    """Both with all of their processes present: the children of a prefork worker come one by one."""
    workers = [scene.worker(), scene.worker()]
    each = 1 if scene.pool == "async" else 2

    def there() -> bool:
        online = {w["pid"] for w in scene.stack.workers()}
        return all(len(online & _pids(worker)) >= each for worker in workers)

    eventually(there, within_s=30, what="both workers")
    return workers


def _pids(worker: Process) -> set[int]:
    """Of the Celery process and, in prefork, of its children, which are those that run it."""
    celery = worker.child()
    return {celery.pid, *(child.pid for child in celery.children())}


def owner(scene: Scene, workers: Sequence[Process]) -> Process:
    """The worker that runs it."""
    pids = {pid: worker for worker in workers for pid in _pids(worker)}

    def busy() -> Process | None:
        return next((pids[w["pid"]] for w in scene.stack.workers() if w["busy"] and w["pid"] in pids), None)

    return eventually(busy, within_s=5, what="the worker that has it")


def _said(status: Json) -> list[str]:
    return [m.get("content", "") for m in status["messages"] if m["type"] == "MESSAGE_AI"]


def hand_backs(scene: Scene) -> list[Seen]:
    """The rows of its log that say so."""
    return [row for row in scene.roles["run"].witness.sse.rows if row.kind == "note"]


def left_well(scene: Scene, leaving: Process) -> None:
    eventually(lambda: leaving.popen.poll() is not None, within_s=15, what="the worker to leave")
    scene.demand(leaving.popen.returncode == 0, f"it left with exit code {leaving.popen.returncode}")
