"""Sessions: memory, order, and concurrency (L4, memory and ownership)."""

import json
from typing import Any

import pytest

from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import Stack
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER


@pytest.mark.promise("4.17")
def test_the_second_turn_knows_the_first(shared: Stack) -> None:
    """A session remembers what was said in it."""
    first = shared.create("My favourite colour is vermilion.")
    session = first["spec"]["session_id"]
    shared.wait_for(first["metadata"]["id"], "EXECUTION_COMPLETED")
    second = shared.create("What did I say?", session_id=session)
    ended = shared.wait_for(second["metadata"]["id"], "EXECUTION_COMPLETED")
    answers = [m["content"] for m in ended["status"]["messages"] if m["type"] == "MESSAGE_AI"]
    assert "vermilion" in " ".join(answers)


def test_a_session_runs_in_order_and_two_sessions_overlap(shared: Stack) -> None:
    """Two executions posted at once to one session run one after the other; two sessions run at the same time."""
    opening = shared.create("hello")
    session = opening["spec"]["session_id"]
    shared.wait_for(opening["metadata"]["id"])
    slow = "$ date +%s.%N; sleep 1; date +%s.%N"
    same = [shared.create(slow, session_id=session)["metadata"]["id"] for _ in range(2)]
    other = shared.create(slow)["metadata"]["id"]
    spans = {}
    for id in (*same, other):
        call = shared.wait_for(id, "EXECUTION_COMPLETED")["status"]["tool_calls"][0]
        first, last = [float(line) for line in call["result"].split() if line.replace(".", "").isdigit()][:2]
        spans[id] = (first, last)
    assert spans[same[0]][1] <= spans[same[1]][0], json.dumps(spans)
    assert spans[other][0] < spans[same[0]][1], json.dumps(spans)
    assert spans[same[0]][0] < spans[other][1], json.dumps(spans)


@pytest.mark.promise("4.07")
def test_a_deleted_session_takes_its_sandbox_along(shared: Stack) -> None:
    """CleanupSandbox removes the directory on the worker."""
    id = shared.create("$ echo kept > note.txt")
    shared.wait_for(id["metadata"]["id"], "EXECUTION_COMPLETED")
    session = id["spec"]["session_id"]
    (note,) = shared.folder.rglob("note.txt")
    shared.http.delete(f"/v1/sessions/{session}").raise_for_status()
    eventually(lambda: not note.exists(), what="the sandbox to be removed")
    eventually(lambda: not note.parent.parent.exists(), what="its directory to be removed")


def test_a_persons_approval_of_tool_calls(shared: Stack) -> None:
    """The call is shown as a question and does not run; approved it runs once, and the session asks no more."""
    rules = {"execute": {"policy": "first", "args": {"command": "echo *"}}}

    def careful(name: str, given: str) -> Any:
        metadata = {"name": name, "owner_scope": "organization", "annotations": {"agent-runner/interrupt-on": given}}
        body = {"api_version": "agentic.stigmer.ai/v1", "kind": "Agent", "metadata": metadata}
        return shared.http.post("/v1/agents", json={**body, "spec": {"instructions": "Do what you are told."}})

    made = careful("Careful", json.dumps(rules))
    assert made.status_code == 201, made.text

    def send(**given: Any) -> dict[str, Any]:
        return shared.wait_for(shared.create(**given)["metadata"]["id"], within_s=60)

    asked = send(message="$ echo paid >> paid.txt && cat paid.txt", agent=made.json()["metadata"]["id"], model="demo")
    session = asked["spec"]["session_id"]
    (question,) = asked["questions"]
    assert (asked["waiting_for_input"], question["expects"]["kind"]) == (True, "decision")
    assert question["value"]["args"] == {"command": "echo paid >> paid.txt && cat paid.txt"}
    assert question["expects"]["allowed"] == ["approve", "edit", "reject"]
    done = send(session_id=session, message="approve", model="demo")
    ran = [call["result"] for call in done["status"]["tool_calls"] if call["name"] == "execute"]
    assert [result.splitlines()[0] for result in ran] == ["paid"]
    later = send(session_id=session, message="$ echo again", model="demo")
    assert (later["waiting_for_input"], later["status"]["phase"]) == (False, "EXECUTION_COMPLETED")
    refused = careful("Other", '{"execute": "maybe"}')
    assert refused.status_code == 400
    assert "policy must be always or first" in refused.json()["detail"]
