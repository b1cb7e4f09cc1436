"""The time line says where the time of an execution went, at every moment of its life."""

import json
from typing import Any

import httpx

from agent_runner.app.server.composition import RunningServer
from agent_runner.status.store.run_records import NewDelta
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


async def timeline(http: httpx.AsyncClient, id: str) -> dict[str, Any]:
    answer = await http.get(f"/v1/executions/{id}/timeline")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def named(shown: dict[str, Any], kind: str) -> list[str]:
    return [mark["name"] for mark in shown["marks"] if mark["kind"] == kind]


def delta(kind: str, **payload: Any) -> NewDelta:
    return NewDelta(kind=kind, payload=json.dumps(payload))


async def test_a_life_as_spans(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """Queue, EnsureThread and run one after the other; inside the run the calls, those of a sub-agent below its own."""
    id = (await created(http))["metadata"]["id"]
    shown = await timeline(http, id)
    assert [(span["kind"], span["state"]) for span in shown["spans"]] == [("queue", "open")]
    assert named(shown, "deadline") == ["schedule_to_start", "schedule_to_close"]
    claimed = await worker.claim(id)
    assert claimed.execution is not None
    usage = {"input_tokens": 12, "output_tokens": 3}
    said = [
        delta("message", id="a1", type="MESSAGE_AI", content=""),
        delta("message_end", id="a1", metadata={"model": "gpt", "usage": usage}),
        delta("tool_call", id="t1", message="a1", name="task", args={}, status="TOOL_CALL_RUNNING"),
        delta("sub_agent", id="t1", name="researcher", status="SUB_AGENT_IN_PROGRESS"),
        delta("tool_call", id="t2", name="grep", args={}, status="TOOL_CALL_RUNNING", scope="t1",
              component={"type": "search"}),
        delta("tool_end", id="t2", status="TOOL_CALL_FAILED", result="", error="no"),
    ]  # fmt: skip
    await server.ctx.store.append(claimed.execution.handle, claimed.execution.fence, 0, said)
    shown = await timeline(http, id)
    spans = {span["id"]: span for span in shown["spans"]}
    assert list(spans)[:3] == ["queue", "ensure_thread", "run"]
    assert [spans[name].get("end") is None for name in ("queue", "ensure_thread", "run")] == [False, False, True]
    assert spans["queue"]["end"] == spans["run"]["start"]
    assert spans["run"]["state"] == "in_progress"
    assert spans["a1"] == {
        "kind": "model", "name": "gpt", "id": "a1", "parentId": "run", "state": "completed",
        "start": spans["a1"]["start"], "end": spans["a1"]["end"], "tokens": {"input": 12, "output": 3},
    }  # fmt: skip
    assert (spans["t1"]["kind"], spans["t1"]["name"], spans["t1"]["state"]) == ("sub_agent", "researcher", "open")
    assert (spans["t2"]["parentId"], spans["t2"]["state"]) == ("t1", "failed")
    assert named(shown, "deadline") == ["start_to_close", "heartbeat", "schedule_to_close"]
    assert named(shown, "heartbeat") == ["last heartbeat"]
    await worker.settle(claimed, number=len(said), question={"id": "q1", "text": "which one?"})
    shown = await timeline(http, id)
    assert all(span.get("end") for span in shown["spans"] if span["kind"] in ("queue", "ensure_thread", "run"))
    assert named(shown, "phase") == ["EXECUTION_PENDING", "EXECUTION_IN_PROGRESS", "EXECUTION_COMPLETED"]
    assert named(shown, "question")
    assert not named(shown, "deadline"), "nothing is due any more"


async def test_what_stands_behind_another_one(http: httpx.AsyncClient) -> None:
    """It waits for its turn, which is said; one that never began has no run."""
    first = await created(http)
    id = (await created(http, session_id=first["spec"]["session_id"]))["metadata"]["id"]
    (span,) = (await timeline(http, id))["spans"]
    assert "session" in span["name"]
    assert "end" not in span
    await http.post(f"/v1/executions/{id}/cancel")
    shown = await timeline(http, id)
    assert [(span["kind"], "end" in span) for span in shown["spans"]] == [("queue", True)]


async def test_the_time_line_of_another_org(server: RunningServer, http: httpx.AsyncClient) -> None:
    """It does not exist."""
    id = (await created(http))["metadata"]["id"]
    async with http_client(server, await key(server, "admin", org="a")) as a:
        assert_problem(await a.get(f"/v1/executions/{id}/timeline"), 404, "NOT_FOUND")
