"""F30: cancel, in each state that a run can be in."""

import time

from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.support.waiting import eventually

LAST_WORD = "start Ollama."
"""The end of what the demo model says about itself."""


@case("F30/pending")
def pending(scene: Scene) -> None:
    """One that waits for a worker and one that waits for its session; a worker that comes later finds nothing to do."""
    begun = scene.stack.witnesses / "begun.txt"
    message = f"$ echo begun >> {begun}"
    session = scene.stack.get(scene.send(message))["spec"]["session_id"]
    scene.send(message, role="behind", session_id=session)
    scene.strike()
    phases = [scene.stack.phase(role.id) for role in scene.roles.values()]
    for role in ("behind", "run"):
        cancel(scene, role)
    for role in scene.roles:
        scene.end(role)
    scene.evidence(phases == ["EXECUTION_PENDING"] * 2, f"both were pending: {phases}")
    scene.worker()
    scene.next_works()
    scene.demand(not begun.exists(), "it was begun after its cancel")


@case("F30/streaming")
def streaming(scene: Scene) -> None:
    scene.worker()
    scene.send("Tell me what you can do.")
    scene.in_flight(text="I am the offline demo")
    scene.strike()
    cancel(scene)
    said = [m for m in scene.end()["messages"] if m["type"] == "MESSAGE_AI"]
    text = str(said[-1].get("content", "")) if said else ""
    scene.evidence(text and LAST_WORD not in text, f"it was cancelled in mid-stream: {text[-40:]!r}")
    scene.demand(said and said[-1].get("metadata", {}).get("incomplete"), "the half message is not marked incomplete")
    scene.next_works(within_s=30)


@case("F30/tool")
def blocking_tool(scene: Scene) -> None:
    """A command with a background process that left its session, and a Python tool that nobody can interrupt."""
    worker = scene.worker()
    child = worker.child()
    sleep = scene.sleep_command()
    scene.send(f"Before.\n$ echo alive\n$ setsid {sleep} & {sleep}")
    scene.act({"do": "say", "text": "alive"}, {"do": "tool", "name": "nap", "args": {"s": 30}}, role="thread")
    scene.in_flight(text="setsid")
    scene.in_flight("thread", text="nap")
    eventually(lambda: len(scene.tools()) == 2, what="both processes of the tool")
    scene.strike()
    for role in scene.roles:
        cancel(scene, role)
    struck = time.monotonic()
    scene.gone_within(scene.bound("cancel_timeout_s"), struck)
    for role in scene.roles:
        status = scene.end(role)
        open_calls = [call["name"] for call in status["tool_calls"] if not call.get("result")]
        scene.evidence(open_calls, f"{role} was in its tool: {status['tool_calls']}")
    scene.next_works()
    scene.demand(child.is_running(), "the worker process was replaced")


@case("F30/dead-owner")
def dead_owner(scene: Scene) -> None:
    """Killed with its supervisor, as if the host had died; and one that stands still, as on a dead link."""
    killed = scene.worker()
    scene.send(f"Before.\n$ echo alive\n$ {scene.sleep_command()}")
    scene.in_flight(text="alive")
    still = scene.worker()
    scene.send(f"Before.\n$ echo alive\n$ {scene.sleep_command()}", role="still")
    scene.in_flight("still", text="alive")
    owner, stopped = killed.child(), still.child()
    scene.strike()
    killed.kill()
    owner.kill()
    stopped.suspend()
    for role in scene.roles:
        cancel(scene, role)
    for role in scene.roles:
        scene.end(role)
    scene.evidence(killed.popen.wait(5) == -9 and not owner.is_running(), "one owner is dead")
    scene.evidence(stopped.status() == "stopped", "the other one stands still")
    stopped.resume()
    scene.gone_within(2, time.monotonic())
    scene.next_works()


def cancel(scene: Scene, role: str = "run") -> None:
    scene.stack.http.post(f"/v1/executions/{scene.roles[role].id}/cancel").raise_for_status()
