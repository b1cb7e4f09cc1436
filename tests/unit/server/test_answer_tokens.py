"""A person answers without a key: by a token that answers one question once, at the server's own edges."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import create_engine, select, text

from agent_runner.app.server.composition import RunningServer
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import NewDelta, Outcome
from agent_runner.status.store.schema import answer_tokens
from tests.support.log_lines import kept_objects
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import id_of, key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True
APPROVAL = {
    "id": "q1", "value": {"type": "tool_approval"}, "text": "Push?", "node": "tools",
    "expects": {"kind": "decision", "allowed": ["approve", "edit", "reject", "respond"], "schema": None},
}  # fmt: skip
OTHER = {"id": "q2", "value": "Why?", "text": "Why?", "expects": {"kind": "any"}}


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    async with http_client(server, key="") as client:
        del client.headers["authorization"]
        yield client


async def asking(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, *asked: dict[str, Any], **body: Any
) -> str:
    made = await created(http, **body)
    claimed = (await worker.claim(made["metadata"]["id"])).execution
    assert claimed is not None
    told = [NewDelta(kind="question", payload=json.dumps(one)) for one in asked or (APPROVAL,)]
    outcome = Outcome(phase=Phase.COMPLETED, waiting=True)
    assert (await server.ctx.store.settle(claimed.handle, claimed.fence, 0, told, "h1", outcome)).accepted
    return str(made["metadata"]["id"])


async def issued(http: httpx.AsyncClient, id: str, **wish: Any) -> dict[str, str]:
    answer = await http.post(f"/v1/executions/{id}/answer-token", json=wish)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, str] = answer.json()
    return found


@pytest.mark.promise("6.07")
async def test_a_token_shows_and_answers_one_question_once(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, visitor: httpx.AsyncClient
) -> None:
    """A look does not use it, an answer that does not fit does not use it, an answer does; the answer is one as by a
    key, with the labels and the timeouts of the execution that asked, and says who brought it."""
    id = await asking(server, http, worker, timeouts={"start_to_close_s": 77}, priority=3)
    token = await issued(http, id)
    for _ in range(2):
        shown = (await visitor.get(token["url"])).json()
        assert (shown["execution_id"], shown["question"]) == (id, APPROVAL)
        assert "approve" in shown["expected"]
        assert shown["expires_at"] == token["expires_at"]
    wrong = await visitor.post(token["url"], json={"answer": "perhaps"})
    assert "still good" in assert_problem(wrong, 400, "INVALID_ARGUMENT")["next_step"]
    bodies: tuple[Any, ...] = ({}, {"answer": 1, "more": 2}, [])
    for body in bodies:
        assert_problem(await visitor.post(token["url"], json=body), 400, "INVALID_ARGUMENT")
    edit = {"type": "edit", "edited_action": {"name": "push", "args": {"dry": True}}}
    answered = await visitor.post(token["url"], json={"answer": edit})
    assert answered.status_code == 201, answered.text
    made = (await http.get(f"/v1/executions/{answered.json()['execution_id']}")).json()
    asker = (await http.get(f"/v1/executions/{id}")).json()
    assert made["spec"]["session_id"] == asker["spec"]["session_id"]
    assert made["status"]["messages"][0]["metadata"]["answers"] == {"q1": edit}
    assert made["status"]["audit"]["spec_audit"]["created_by"]["id"] == f"answer token of {id}"
    stored = await server.ctx.store.get(made["metadata"]["id"])
    assert stored is not None
    assert (stored.timeouts.start_to_close_s, stored.priority) == (77, 3)
    again = assert_problem(await visitor.post(token["url"], json={"answer": "approve"}), 409, "ANSWER_TOKEN_USED")
    assert made["metadata"]["id"] in again["detail"]
    assert_problem(await visitor.get(token["url"]), 409, "ANSWER_TOKEN_USED")


async def test_every_decision_can_be_brought(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, visitor: httpx.AsyncClient
) -> None:
    """In words too, and with the token in the header instead of the address."""
    decisions: tuple[Any, ...] = ("approve", "reject: not now", {"type": "respond", "message": "ask Bob"})
    for decision in decisions:
        token = await issued(http, await asking(server, http, worker))
        bearer = {"Authorization": f"Bearer {token['token']}"}
        assert (await visitor.get("/v1/answer", headers=bearer)).status_code == 200
        answered = await visitor.post("/v1/answer", json={"answer": decision}, headers=bearer)
        assert answered.status_code == 201, answered.text


async def test_what_a_token_is_refused_for(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, visitor: httpx.AsyncClient
) -> None:
    """Each reason has its code: unknown, answered by somebody else, expired, its execution gone."""
    assert_problem(await visitor.get("/v1/answer"), 401, "ANSWER_TOKEN_UNKNOWN")
    assert_problem(await visitor.get("/v1/answer?token=ant_nothing"), 401, "ANSWER_TOKEN_UNKNOWN")
    assert_problem(await http.get("/v1/answer"), 401, "ANSWER_TOKEN_UNKNOWN")
    id = await asking(server, http, worker)
    token = await issued(http, id, lasts_s=600)
    session = (await http.get(f"/v1/executions/{id}")).json()["spec"]["session_id"]
    await created(http, session_id=session, message="approve")
    taken = await visitor.post(token["url"], json={"answer": "approve"})
    assert "answered by AgentExecution" in assert_problem(taken, 409, "QUESTION_ANSWERED")["detail"]

    gone = await asking(server, http, worker)
    late = await issued(http, gone)
    engine = create_engine(server.ctx.settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("update answer_tokens set expires_at = 1"))
    engine.dispose()
    assert_problem(await visitor.post(late["url"], json={"answer": "approve"}), 409, "ANSWER_TOKEN_EXPIRED")
    assert (await http.delete(f"/v1/executions/{gone}")).is_success
    assert_problem(await visitor.get(late["url"]), 401, "ANSWER_TOKEN_UNKNOWN")


async def test_who_may_have_a_token(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """Who may answer by a key, for an execution of its org that asks; with several questions it says for which."""
    id = await asking(server, http, worker, *(APPROVAL, OTHER))
    assert (
        "q2" in assert_problem(await http.post(f"/v1/executions/{id}/answer-token"), 400, "INVALID_ARGUMENT")["detail"]
    )
    assert (await issued(http, id, question_id="q2"))["question_id"] == "q2"
    unknown = await http.post(f"/v1/executions/{id}/answer-token", json={"question_id": "q9"})
    assert_problem(unknown, 400, "INVALID_ARGUMENT")
    running = (await created(http))["metadata"]["id"]
    assert_problem(await http.post(f"/v1/executions/{running}/answer-token"), 409, "FAILED_PRECONDITION")
    async with http_client(server, key=await key(server, "read")) as reader:
        assert_problem(await reader.post(f"/v1/executions/{id}/answer-token"), 403, "PERMISSION_DENIED")
    async with http_client(server, key=await key(server, "execute", org="acme")) as stranger:
        assert_problem(await stranger.post(f"/v1/executions/{id}/answer-token"), 404, "NOT_FOUND")


async def test_a_token_opens_nothing_else_and_ends_with_its_key(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker, visitor: httpx.AsyncClient
) -> None:
    """No other address, in no place where a key could stand."""
    mine = await key(server, "execute")
    id = await asking(server, http, worker)
    async with http_client(server, key=mine) as client:
        token = await issued(client, id)
    bearer = {"Authorization": f"Bearer {token['token']}"}
    for path in (f"/v1/executions/{id}", "/v1/executions", "/v1/page"):
        assert_problem(await visitor.get(path, headers=bearer), 401, "UNAUTHENTICATED")
        assert_problem(await visitor.get(path, params={"token": token["token"]}), 401, "UNAUTHENTICATED")
    assert (await http.delete(f"/v1/keys/{id_of(mine)}")).is_success
    assert "revoked" in assert_problem(await visitor.get(token["url"]), 401, "UNAUTHENTICATED")["detail"]


async def test_a_token_is_kept_nowhere(
    server: RunningServer,
    http: httpx.AsyncClient,
    worker: Worker,
    visitor: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not in a line, not in the database, not in what is read about its execution; only its digest is stored."""
    caplog.set_level(logging.DEBUG)
    id = await asking(server, http, worker)
    with kept_objects(logger="", level="DEBUG") as lines:
        token = await issued(http, id)
        await visitor.get(token["url"])
        await visitor.post(f"{token['url']}&x=%00", json={"answer": "approve"})  # refused, and the refusal is noted
        answered = (await visitor.post(token["url"], json={"answer": "approve"})).json()
    ours = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert any("/v1/answer" in line for line in ours)
    assert not any(token["token"] in line for line in ours)
    assert token["token"] not in str([line for line in lines if line.get("logger") != "httpx"])
    for one in (id, answered["execution_id"]):
        shown = (await http.get(f"/v1/executions/{one}")).text
        assert token["token"] not in shown + (await http.get("/v1/executions?view=full")).text
    engine = create_engine(server.ctx.settings.database_url)
    with engine.connect() as connection:
        tables = connection.execute(text("select name from sqlite_master where type = 'table'")).scalars().all()
        content = str([connection.execute(text(f"select * from {name}")).all() for name in tables])
        (digest,) = connection.execute(select(answer_tokens.c.digest)).scalars()
    engine.dispose()
    assert token["token"] not in content
    assert len(digest) == 64
