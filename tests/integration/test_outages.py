"""The server goes away, a worker stands still: no false reason, and nobody's memory is damaged."""

import signal
import time
from pathlib import Path

import psutil

from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import Stack
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER


def kill_server(stack: Stack) -> None:
    child = stack.server.child()
    stack.server.kill(signal.SIGKILL)
    child.kill()
    stack.server.popen.wait(20)


def wait_s(seconds: float) -> None:
    """An outage has a length; this is it."""
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= until, within_s=seconds + 20)


def test_the_only_server_is_down_during_twenty_runs(tmp_path: Path, broker: str) -> None:
    """20 runs, the server killed for 5 s in their middle: 20 COMPLETED."""
    with Stack.open(tmp_path, broker, AGENT_RUNNER_CONCURRENCY="25") as stack:
        stack.start_worker()
        ids = [stack.create(f"$ echo start {n}\n$ sleep 7\n$ echo end {n}")["metadata"]["id"] for n in range(20)]
        for id in ids:
            stack.wait_for(id, "EXECUTION_IN_PROGRESS")
        stack.wait_text(ids[-1], "start 19")
        kill_server(stack)
        wait_s(5)
        stack.start("server")
        stack.wait_ready()
        ended = [stack.wait_for(id, within_s=60)["status"] for id in ids]
        assert [(s["phase"], s.get("error", "")) for s in ended] == [("EXECUTION_COMPLETED", "")] * 20
        for number, status in enumerate(ended):
            assert [c["result"].split("\n")[0] for c in status["tool_calls"]][::2] == [
                f"start {number}",
                f"end {number}",
            ]


def test_a_zombie_wakes_after_the_next_turn(tmp_path: Path, broker: str) -> None:
    """Turn 1 stands still in a tool and fails; turn 2 completes; turn 1 wakes; turn 3 remembers turn 2."""
    with Stack.open(tmp_path, broker, AGENT_RUNNER_HEARTBEAT_TIMEOUT_S="3") as stack:
        first = stack.start_worker()
        one = stack.create("I am the first turn.\n$ sleep 4.25\n$ echo zombie was here")
        session, one_id = one["spec"]["session_id"], one["metadata"]["id"]
        eventually(lambda: stack.get(one_id)["status"].get("tool_calls"))
        frozen = psutil.Process(first.child().pid)
        frozen.suspend()
        failed = stack.wait_for(one_id)["status"]
        assert failed["error"].endswith("[E102 HEARTBEAT]")
        log = list(stack.events(one_id, 0))
        stack.start_worker()
        two = stack.create("Remember the word aubergine.", session_id=session)["metadata"]["id"]
        assert stack.wait_for(two)["status"]["phase"] == "EXECUTION_COMPLETED"
        frozen.resume()
        eventually(lambda: "stopped, nothing written" in first.output(), what="the zombie to learn that it is over")
        eventually(lambda: not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "4.25"]])
        three = stack.create("What did I say?", session_id=session)["metadata"]["id"]
        answer = stack.wait_for(three)["status"]["messages"][-1]["content"]
        assert "aubergine" in answer
        assert stack.get(one_id)["status"] == failed
        assert list(stack.events(one_id, 0)) == log
