"""F45: code in C lets no other thread of its worker run. Only the supervisor can end that process, and does."""

import psutil

from agent_runner.status.timeouts import silent_process_s
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.support.waiting import eventually

ROUNDS = 12 * 10**9
"""One to three minutes of one call in C, far longer than the case."""
PAUSE_S = 1
"""Between the strike and the call: in it the run says what it said before. The row's bound has it, too."""
ENDED_WITHIN_S = 20.0
"""After the supervisor's own limit: it looks for the thread, and lets the process write where its threads are."""


@case("F45", pools=("async", "prefork"))
def interpreter_held(scene: Scene) -> None:
    """The run has ended by then; the log and `/v1/workers` name the function that called the code in C."""
    worker = scene.worker()
    (first,) = scene.stack.workers()
    process = psutil.Process(first["pid"])
    held = {"do": "hold_interpreter", "rounds": ROUNDS}
    scene.act({"do": "say", "text": "alive"}, {"do": "await", "s": PAUSE_S}, held)
    scene.in_flight(text="alive")
    scene.strike()
    scene.end()
    scene.demand(process.is_running(), "the process ended before its run")
    limit_s = silent_process_s(scene.bound("heartbeat_timeout_s")) + ENDED_WITHIN_S
    eventually(lambda: not process.is_running(), within_s=limit_s, what="the silent process to be ended")
    eventually(lambda: "worker.silent" in worker.output(), within_s=10, what="the supervisor to say so")
    scene.evidence("hold_interpreter (actor.py:" in worker.output(), "it was ended for its silence in that call")
    ended = eventually(lambda: _exit_text(scene, first["incarnation"]), within_s=10, what="how it ended")
    scene.demand("it was in hold_interpreter (actor.py:" in ended, f"the place is not named: {ended}")
    scene.demand(worker.popen.poll() is None, "the supervisor ended")
    scene.next_works(within_s=20)


def _exit_text(scene: Scene, incarnation: str) -> str:
    workers = scene.stack.http.get("/v1/workers").raise_for_status().json()["workers"]
    return next((str(one["exit_text"]) for one in workers if one["incarnation"] == incarnation), "")
