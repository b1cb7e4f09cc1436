"""`GET /v1/sessions/{id}/state`: what a session remembers, told from the logs of its turns."""

import json
from typing import Any

import httpx

from agent_runner.app.server.composition import RunningServer
from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import NewDelta, Outcome
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


async def turn(http: httpx.AsyncClient, worker: Worker, message: str, *deltas: tuple[str, Any], **body: Any) -> Any:
    """One turn of a session, to its end."""
    made_ = await created(http, message=message, **body)
    execution = (await worker.claim(made_["metadata"]["id"])).execution
    assert execution is not None
    told = [NewDelta(kind=kind, payload=json.dumps(payload)) for kind, payload in deltas]
    store = worker._ctx.store
    end = Outcome(phase=Phase.COMPLETED)
    settled = await store.settle(execution.handle, execution.fence, 0, told, f"head-{message}", end)
    assert settled.accepted
    return made_


def ai(id: str, text: str, **more: Any) -> tuple[str, Any]:
    return "message", {"id": id, "type": "MESSAGE_AI", "content": text, **more}


async def state(http: httpx.AsyncClient, session: str, **query: Any) -> Any:
    answer = await http.get(f"/v1/sessions/{session}/state", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(told: Any) -> list[str]:
    return [message["content"] for message in told["messages"]]


async def test_the_state_is_the_conversation_and_the_last_values(http: httpx.AsyncClient, worker: Worker) -> None:
    """Messages of all turns, without a sub-agent's; the fields as the graph keeps them; the head."""
    first = await turn(http, worker, "one", ai("a1", "first"), ai("s1", "inner", scope="c1"))
    session = first["spec"]["session_id"]
    output = ("output", {"output": {"answer": 42, "report": "r"}, "fields": {"structured_response": {"answer": 42}}})
    last = await turn(http, worker, "two", ai("a2", "second"), output, session_id=session)
    told = await state(http, session)
    assert said(told) == ["one", "first", "two", "second"]
    assert told["values"] == {"structured_response": {"answer": 42}}
    assert (told["execution_id"], told["values_of"]) == (last["metadata"]["id"],) * 2
    assert (told["checkpoint_id"], told["truncated"], told["questions"]) == ("head-two", False, [])


async def test_what_the_graph_forgot_is_not_there(http: httpx.AsyncClient, worker: Worker) -> None:
    """A turn that cut the history says how much of it is left; a limit shows the newest and says so."""
    first = await turn(http, worker, "one", ai("a1", "first"))
    session = first["spec"]["session_id"]
    await turn(http, worker, "two", ai("a2", "second"), ("history", {"kept": 1}), session_id=session)
    await turn(http, worker, "three", ai("a3", "third"), session_id=session)
    assert said(await state(http, session)) == ["first", "two", "second", "three", "third"]
    newest = await state(http, session, messages=2)
    assert (said(newest), newest["truncated"]) == (["three", "third"], True)


async def test_a_question_is_open(http: httpx.AsyncClient, worker: Worker) -> None:
    """The turn that waits names its question; the values are those of the last turn that came to its end."""
    first = await turn(http, worker, "one", ("output", {"output": {"plan": "p"}}))
    session = first["spec"]["session_id"]
    asked = ai("interrupt", "Red or blue?", metadata={"interrupted": True})
    await turn(http, worker, "two", asked, session_id=session)
    told = await state(http, session)
    assert [question["question"] for question in told["questions"]] == ["Red or blue?"]
    assert told["values"] == {"plan": "p"}
    assert said(told) == ["one", "two"]


async def test_what_comes_next(http: httpx.AsyncClient, worker: Worker) -> None:
    """Nothing after an end; the nodes that wait, with their questions as data; null where nobody told."""
    session = (await turn(http, worker, "one", ai("a1", "first")))["spec"]["session_id"]
    assert (await state(http, session))["next"] == []
    question = {"id": "q1", "text": "Red?", "value": "Red?", "node": "paint", "expects": {"kind": "any"}}
    asked = ai("interrupt", "Red?", metadata={"interrupted": True, "questions": [question], "next": ["paint", "dry"]})
    await turn(http, worker, "two", ("question", question), asked, session_id=session)
    told = await state(http, session)
    assert (told["next"], told["questions"]) == (["paint", "dry"], [{**question, "question": "Red?"}])
    for facts, expected in (({"next": ["tools"]}, ["tools"]), ({}, None)):
        made_ = await created(http, message="three", session_id=session)
        execution = (await worker.claim(made_["metadata"]["id"])).execution
        assert execution is not None
        end = Outcome(phase=Phase.FAILED, code=Code.APPLICATION, facts=facts)
        await worker._ctx.store.settle(execution.handle, execution.fence, 0, [], "h", end)
        assert (await state(http, session))["next"] == expected


async def test_orgs_are_kept_apart(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """A session of another org is not there, and one's own is."""
    session = (await turn(http, worker, "one", ai("a1", "first"), org="a"))["spec"]["session_id"]
    path = f"/v1/sessions/{session}/state"
    async with http_client(server, await key(server, "read", org="b")) as other:
        assert_problem(await other.get(path), 404, "NOT_FOUND")
    async with http_client(server, await key(server, "read", org="a")) as own:
        assert said((await own.get(path)).json()) == ["one", "first"]
