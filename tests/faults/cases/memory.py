"""F21: memory runs out, for a tool and for the process that runs the agent."""

import signal
import sys

import psutil

from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.support.waiting import eventually

LIMIT_KB = 200_000
HELD_MB = 200


@case("F21/tool", pools=("async", "prefork"))
def tool_out_of_memory(scene: Scene) -> None:
    """One is ended by its limit, one is killed as the kernel kills; both are failed calls, and the run goes on."""
    scene.worker()
    too_much = f"ulimit -v {LIMIT_KB}; {sys.executable} -I -S -c 'bytearray({LIMIT_KB} << 11)'"
    scene.send(f"Work.\n$ echo before; sleep 0.5\n$ {too_much}\n$ kill -9 $$\n$ echo went on")
    scene.in_flight()
    scene.strike()
    status = scene.end()
    results = [(call["status"], call.get("result", "")) for call in status["tool_calls"]]
    failed = [text for state, text in results if state == "TOOL_CALL_FAILED"]
    scene.evidence(len(failed) == 2 and "MemoryError" in failed[0], f"the limit ended it: {results}")
    scene.evidence(len(failed) == 2 and "exit code 137" in failed[1], f"the signal ended it: {results}")
    scene.demand([state for state, _ in results][-1] == "TOOL_CALL_COMPLETED", "the run did not go on")


@case("F21/process", pools=("async", "prefork"))
def process_out_of_memory(scene: Scene) -> None:
    """SIGKILL stands for the kernel's killer, and takes what that would: the largest process of the worker."""
    worker = scene.worker()
    child = worker.child()
    scene.act({"do": "hold_memory", "mb": HELD_MB}, {"do": "say", "text": "I hold much"}, {"do": "await", "s": 60})
    scene.in_flight(text="I hold much")
    largest = max([child, *child.children()], key=lambda process: process.memory_info().rss)
    held = largest.memory_info().rss
    scene.strike()
    largest.send_signal(signal.SIGKILL)
    scene.end()
    scene.evidence(held > HELD_MB << 20, f"the process held {held >> 20} MB")
    scene.evidence(not _runs(largest), "the process is dead")
    scene.demand(scene.pool == "async" or _runs(child), "the parent died too")
    eventually(scene.stack.workers, within_s=20, what="a worker that serves the next")
    scene.next_works()


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
