"""A session that waits for a person: how that is shown, found, answered and over."""

import json
from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.runners.claim_reply import claim_reply
from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import Claimed, NewDelta, Outcome
from tests.unit.server.conftest import Worker, created
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True

QUESTIONS = [
    {"id": "q1", "value": "Merge a?", "text": "Merge a?", "node": "review", "expects": {"kind": "any"}},
    {"id": "q2", "value": "Merge b?", "text": "Merge b?", "node": "review", "expects": {"kind": "any"}},
]


async def end(
    server: RunningServer, claimed: Claimed, *, asks: bool = False, head: str = "h1", code: Code | None = None
) -> None:
    execution = claimed.execution
    assert execution is not None
    asked = [NewDelta(kind="question", payload=json.dumps(one)) for one in QUESTIONS] if asks else []
    outcome = Outcome(phase=Phase.FAILED if code else Phase.COMPLETED, code=code, waiting=asks)
    assert (await server.ctx.store.settle(execution.handle, execution.fence, 0, asked, head, outcome)).accepted


async def asking(server: RunningServer, http: httpx.AsyncClient, worker: Worker, **body: Any) -> dict[str, Any]:
    """An execution that ended with two questions, at head h1."""
    made = await created(http, **body)
    await end(server, await worker.claim(made["metadata"]["id"]), asks=True)
    found: dict[str, Any] = (await http.get(f"/v1/executions/{made['metadata']['id']}")).json()
    return found


async def waiting(http: httpx.AsyncClient, flag: str = "true") -> list[str]:
    page = (await http.get("/v1/executions", params={"waiting_for_input": flag})).json()
    return [one["metadata"]["id"] for one in page["entries"]]


async def test_what_waits_is_told_apart(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """COMPLETED for everybody, and on our own API a flag, a filter, the questions and what to do."""
    asked = await asking(server, http, worker)
    done = await created(http)
    await worker.settle(await worker.claim(done["metadata"]["id"]), number=0)
    assert asked["status"]["phase"] == "EXECUTION_COMPLETED"
    assert asked["waiting_for_input"] is True
    assert asked["questions"] == QUESTIONS
    assert "q1" in asked["next_step"]
    assert await waiting(http) == [asked["metadata"]["id"]]
    assert await waiting(http, "false") == [done["metadata"]["id"]]
    wrong = await http.get("/v1/executions", params={"waiting_for_input": "maybe"})
    assert "waiting_for_input" in assert_problem(wrong, 400, "INVALID_ARGUMENT")["detail"]


@pytest.mark.parametrize(
    ("asks", "head", "code", "waits"),
    [
        (False, "h2", None, "nobody"),
        (True, "h1", None, "second"),
        (False, "h1", Code.ANSWER, "first"),
        (False, "h2", Code.APPLICATION, "nobody"),
    ],
)
async def test_it_waits_until_an_answer_was_taken(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, asks: bool, head: str, code: Code | None, waits: str
) -> None:
    """An answer that was refused leaves the question where it was; one that was taken ends the waiting."""
    first = await asking(server, http, worker)
    second = await created(http, session_id=first["spec"]["session_id"])
    claimed = await worker.claim(second["metadata"]["id"])
    assert await waiting(http) == [first["metadata"]["id"]]
    await end(server, claimed, asks=asks, head=head, code=code)
    expected = {"nobody": [], "first": [first["metadata"]["id"]], "second": [second["metadata"]["id"]]}
    assert expected[waits] == await waiting(http)


async def test_answers_reach_the_worker_by_their_ids(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker
) -> None:
    """Each as the JSON that it was; no message is made of them, and the conversation shows them."""
    session = (await asking(server, http, worker))["spec"]["session_id"]
    answers = {"q1": False, "q2": None}
    answer = await http.post("/v1/executions", json={"session_id": session, "answers": answers})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert json.loads(made["status"]["messages"][0]["content"]) == answers
    reply = await claim_reply(server.ctx, await worker.claim(made["metadata"]["id"]))
    assert (json.loads(reply.answers_json), reply.message, reply.input_json) == (answers, "", "")
    assert reply.waiting


async def test_answers_that_name_no_open_question_are_refused(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker
) -> None:
    """Before anything runs: with the questions that are open, or with the news that there is none."""
    session = (await asking(server, http, worker))["spec"]["session_id"]
    wrong = await http.post("/v1/executions", json={"session_id": session, "answers": {"q3": 1}})
    told = assert_problem(wrong, 400, "INVALID_ARGUMENT")["detail"]
    assert all(name in told for name in ("q3", "q1", "q2"))
    fresh = await created(http)
    await worker.settle(await worker.claim(fresh["metadata"]["id"]), number=0)
    none = {"session_id": fresh["spec"]["session_id"], "answers": {"q1": 1}}
    assert_problem(await http.post("/v1/executions", json=none), 409, "FAILED_PRECONDITION")


@pytest.mark.parametrize(
    ("body", "said", "given"),
    [
        ({"input": {"a": 1}}, "", {"a": 1}),
        ({"input": False}, "", False),
        ({"input": [1, "b"]}, "", [1, "b"]),
        ({"message": "hello", "input": {"a": 1}}, "hello", {"a": 1}),
        ({"message": "hello"}, "hello", None),
    ],
)
async def test_an_input_is_never_a_message(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, body: dict[str, Any], said: str, given: Any
) -> None:
    """The worker gets the words of the user and his JSON, each as what it is, also of a redriven execution."""
    made = (await http.post("/v1/executions", json={"graph": "g", **body})).json()
    for _ in range(2):
        claimed = await worker.claim(made["metadata"]["id"])
        reply = await claim_reply(server.ctx, claimed)
        assert (reply.message, json.loads(reply.input_json or "null")) == (said, given)
        await worker.settle(claimed, number=0)
        made = (await http.post(f"/v1/executions/{made['metadata']['id']}/redrive", json={})).json()


async def test_one_message_given_as_json_is_what_the_user_said(http: httpx.AsyncClient) -> None:
    """A state with one message of the user is shown as that message."""
    state = {"messages": [{"role": "user", "content": "hello"}], "tone": "dry"}
    made = (await http.post("/v1/executions", json={"graph": "g", "input": state})).json()
    first = made["status"]["messages"][0]
    assert (first["content"], first["metadata"]["input"]) == ("hello", state)


async def test_a_session_knows_its_graph(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """The next message needs no graph, may name the same, and is refused with another one."""
    first = await asking(server, http, worker, graph="refund")
    session = first["spec"]["session_id"]
    for more in ({}, {"graph": "refund"}):
        made = await created(http, session_id=session, **more)
        row = await server.ctx.store.get(made["metadata"]["id"])
        assert row is not None
        assert row.graph == "refund"
    other = await http.post("/v1/executions", json={"message": "a", "session_id": session, "graph": "other"})
    assert "refund" in assert_problem(other, 400, "INVALID_ARGUMENT")["detail"]
