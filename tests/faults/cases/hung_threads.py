"""F41: threads that never come back cost their own run, and at last their process, which is followed by another."""

import psutil

from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Json
from tests.support.waiting import eventually

CALLS = 24
"""More than the row's AGENT_RUNNER_MAX_HUNG_THREADS."""
REPLACED_WITHIN_S = 25.0


@case("F41", pools=("async", "prefork"))
def threads_hang(scene: Scene) -> None:
    worker = scene.worker()
    child = worker.child()
    first = {one["incarnation"] for one in scene.stack.workers()}
    scene.act({"do": "say", "text": "beside"}, {"do": "await", "s": 6}, role="neighbour")
    scene.in_flight("neighbour", text="beside")
    scene.send(str(CALLS), role="culprit", graph="silent", timeouts={"start_to_close_s": 3})
    scene.strike(at=scene.claimed_at("culprit"))
    scene.end("culprit")
    said = eventually(lambda: _refusals(scene), within_s=10, what="the worker to say why it takes no more")
    scene.evidence(f"threads of {CALLS} calls" in said, f"it lost the threads of {CALLS} calls: {said}")
    scene.demand("AGENT_RUNNER_MAX_HUNG_THREADS" in said, f"the setting is not named: {said}")
    scene.next_works(within_s=20)
    scene.end("neighbour")
    eventually(lambda: not _alive(child), within_s=REPLACED_WITHIN_S, what="the worn-out worker to leave")
    taking = eventually(lambda: _others(scene, first), within_s=REPLACED_WITHIN_S, what="its successor")
    scene.demand(not any(one["hung_threads"] or one["not_taking"] for one in taking), f"the successor: {taking}")
    scene.demand(worker.popen.poll() is None, "the supervisor ended")
    scene.next_works(within_s=20)


def _refusals(scene: Scene) -> str:
    return " ".join(str(one["not_taking"]) for one in scene.stack.workers() if one["not_taking"])


def _others(scene: Scene, first: set[str]) -> list[Json]:
    """The workers that are online, once none of the first is."""
    online = scene.stack.workers()
    return [] if any(one["incarnation"] in first for one in online) else online


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
