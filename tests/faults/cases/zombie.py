"""F39: the worker of turn 1 wakes when turn 2 of the session has completed, and writes into the session's memory."""

import sqlite3

import psutil

from tests.faults.fault_stack import fresh_port, go_on, stop
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.support.waiting import eventually

FIRST, WORD = "I am the first turn", "aubergine"


@case("F39")
def zombie(scene: Scene) -> None:
    """Its tool has ended meanwhile and its link is dark: it ends that step before it can hear that it is over."""
    port = fresh_port()
    link = scene.afterwards.enter_context(TcpProxy(port, scene.stack.grpc_port))
    first = scene.worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
    id = scene.send(f"{FIRST}.\n$ echo alive\n$ {scene.sleep_command(1)}\n$ echo never")
    scene.in_flight(text="alive")
    eventually(scene.tools, what="the tool's process")
    session = scene.stack.get(id)["spec"]["session_id"]
    frozen = first.child()
    scene.strike()
    stop(frozen)
    failed = scene.end()
    scene.worker()
    two = scene.send(f"Remember the word {WORD}.", role="second", session_id=session)
    completed = scene.end("second")
    scene.evidence(frozen.status() == psutil.STATUS_STOPPED and not scene.tools(), "it stood still, its tool has ended")
    written = _checkpoints(scene)
    link.blackhole()
    go_on(frozen)
    eventually(lambda: _checkpoints(scene) > written, within_s=5, what="the zombie to write a checkpoint")
    scene.evidence("nothing written" not in first.output(), "it did so before it knew that it was over")
    link.heal()
    eventually(lambda: "stopped, nothing written" in first.output(), within_s=5, what="the zombie to be refused")
    scene.demand(scene.stack.get(id)["status"] == failed, "turn 1 was changed")
    scene.demand(scene.stack.get(two)["status"] == completed, "turn 2 was changed")
    scene.send("What did I say?", role="third", session_id=session)
    answer = str(scene.end("third")["messages"][-1].get("content", ""))
    scene.demand(FIRST in answer and WORD in answer, f"turn 3 does not remember both: {answer[:300]!r}")
    first.stop()


def _checkpoints(scene: Scene) -> int:
    """How many there are: one thread has them all."""
    with sqlite3.connect(scene.stack.folder / "checkpoints.db", timeout=5) as database:
        (count,) = database.execute("select count(*) from checkpoints").fetchone()
    return int(count)
