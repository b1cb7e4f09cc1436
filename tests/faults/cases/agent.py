"""F13 and F14: the agent's own failures."""

import json

import redis

from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Json
from tests.support.waiting import eventually


@case("F13")
def agent_raises(scene: Scene) -> None:
    """E301 for the user and for Celery: FAILURE, with the text of the status."""
    scene.worker()
    scene.act(
        {"do": "say", "text": "before"},
        {"do": "await", "s": 0.5},
        {"do": "raise", "what": "ValueError", "text": "the agent says no"},
    )
    scene.in_flight(text="before")
    scene.strike()
    status = scene.end()
    scene.evidence("the agent says no" in str(status.get("error")), "the agent raised")
    result = eventually(lambda: celery_result(scene), within_s=5, what="Celery's result of ExecuteGraphton")
    told = json.dumps(result["result"])
    scene.demand(
        result["status"] == "FAILURE" and "the agent says no" in told and "E301" in told, f"Celery says {told}"
    )


@case("F14")
def tool_raises(scene: Scene) -> None:
    """In a graph of the user's and in an agent of ours: a failed tool call, and the run goes on."""
    scene.worker()
    wait = {"do": "await", "s": 0.5}
    scene.act(wait, {"do": "tool", "name": "fail", "args": {"text": "no such star"}}, {"do": "say", "text": "went on"})
    scene.send("Look.\n$ sleep 0.5\n> read nowhere.txt\n$ exit 3\n$ echo went on", role="agent")
    scene.strike()
    for role, failed in (("run", {"fail"}), ("agent", {"read_file", "execute"})):
        status = scene.end(role)
        calls = [call for call in status["tool_calls"] if call["status"] == "TOOL_CALL_FAILED"]
        scene.evidence({call["name"] for call in calls} == failed, f"{failed} failed in {role}: {status['tool_calls']}")
        scene.demand(all(call.get("error") for call in calls), f"a failed call without its error in {role}")
        scene.demand("went on" in json.dumps(status), f"{role} did not go on")
    texts = [c.get("error", "") for c in scene.end()["tool_calls"]]
    scene.demand(any("no such star" in text for text in texts), f"the tool's error is not shown: {texts}")


def celery_result(scene: Scene, role: str = "run", step: str = "execute") -> Json | None:
    """What Celery keeps as the task's result, once it has ended."""
    with redis.Redis(port=scene.stack.redis_port) as client:
        stored = client.get(f"celery-task-meta-{scene.roles[role].id}:{step}")
    found: Json | None = json.loads(stored) if isinstance(stored, bytes) else None
    return found if found and found["status"] in ("SUCCESS", "FAILURE") else None
