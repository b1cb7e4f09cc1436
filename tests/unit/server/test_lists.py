"""Lists show who is there; content comes where it is asked for, and never more than a message or a page may hold."""

import json
from typing import Any

import grpc
import httpx
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.session.v1 import io_pb2 as session_io
from agent_runner.ai.stigmer.agentic.session.v1 import query_pb2_grpc as session_query
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.grpc_api.paging import LIST_BYTES
from agent_runner.status.brief import MAX_ENTRY_BYTES, MAX_TAGGED_BYTES, MAX_TEXT_CHARS, content_of, short, short_error
from agent_runner.status.failures import Code, describe
from agent_runner.status.log.bounds import MAX_PAGE_BYTES
from agent_runner.status.store.rows import dumps
from tests.unit.server.conftest import AUTHORIZED, Worker, created
from tests.unit.server.identity import agent

SHARES_A_SERVER = True

LARGE = 300_000
MOST_OF_AN_ENTRY = MAX_ENTRY_BYTES + 3 * MAX_TAGGED_BYTES


async def entries(http: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = await http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


async def test_an_execution_of_a_list(http: httpx.AsyncClient, worker: Worker) -> None:
    """Its names, phase, times and the beginning of its message; nothing of what was said or is its output."""
    made = await created(http, message="m" * 5000, env={"TOKEN": "a-secret-value"})
    claimed = await worker.claim(made["metadata"]["id"])
    await worker.say(claimed, "x" * LARGE, number=0)
    await worker.settle(claimed, number=1, output={"report": "y" * LARGE})
    (brief,) = await entries(http, "/v1/executions")
    whole = (await http.get(f"/v1/executions/{made['metadata']['id']}")).json()
    assert brief["metadata"] == whole["metadata"]
    assert brief["spec"]["session_id"] == whole["spec"]["session_id"]
    assert brief["spec"]["message"] == short("m" * 5000)
    for name in ("phase", "audit", "completed_at"):
        assert brief["status"][name] == whole["status"][name]
    assert not {"messages", "tool_calls", "todos"} & brief["status"].keys()
    assert "output" not in brief
    assert len(json.dumps(brief)) < MAX_ENTRY_BYTES
    assert await entries(http, "/v1/executions", view="full") == [whole]
    assert await entries(http, "/v1/executions", view="brief") == [brief]
    assert (await http.get("/v1/executions", params={"view": "most"})).status_code == 400


async def test_how_one_ended(http: httpx.AsyncClient, worker: Worker) -> None:
    """A failure with its code, and an answer that is no whole one, are told in the list too."""
    made = await created(http)
    await http.post(f"/v1/executions/{made['metadata']['id']}/cancel")
    (brief,) = await entries(http, "/v1/executions")
    whole = (await http.get(f"/v1/executions/{made['metadata']['id']}")).json()
    assert brief["status"]["error"] == whole["status"]["error"]
    assert brief["status"]["phase"] == "EXECUTION_CANCELLED"


async def test_a_page_of_short_entries(http: httpx.AsyncClient) -> None:
    """It is below the limit with labels of any size, and going on from its token misses nothing."""
    ids = []
    for number in range(40):
        body = agent(f"Agent {number}", labels={"all": "l" * 1900}, annotations={"more": "a" * 1900})
        body["spec"]["instructions"] = "i" * 50_000
        body["spec"]["description"] = "d" * 1000
        ids.append((await http.post("/v1/agents", json=body)).json()["metadata"]["id"])
    found: list[str] = []
    token, pages = "", 0
    while token or not pages:
        answer = await http.get("/v1/agents", params={"page_size": 500, "page_token": token})
        assert len(answer.content) <= MAX_PAGE_BYTES + MOST_OF_AN_ENTRY
        page = answer.json()
        for entry in page["entries"]:
            assert entry["metadata"]["labels"]
            assert len(entry["spec"]["instructions"]) == MAX_TEXT_CHARS
        found += [entry["metadata"]["id"] for entry in page["entries"]]
        token, pages = page["next_page_token"], pages + 1
    assert found == ids[::-1]


async def test_labels_that_are_too_many(http: httpx.AsyncClient) -> None:
    """They are left out as a whole: an entry of a list is small whatever its owner wrote."""
    body = agent("Much", labels={f"n{number}": "v" * 100 for number in range(100)})
    made = (await http.post("/v1/agents", json=body)).json()
    (brief,) = await entries(http, "/v1/agents")
    assert "labels" not in brief["metadata"]
    assert (await http.get(f"/v1/agents/{made['metadata']['id']}")).json()["metadata"]["labels"]


async def test_a_page_of_the_contract(http: httpx.AsyncClient, worker: Worker, channel: grpc.aio.Channel) -> None:
    """It has every entry that its number promises; content that would make it too large is left out and counted."""
    heavy = 12
    for _ in range(heavy):
        claimed = await worker.claim((await created(http))["metadata"]["id"])
        await worker.say(claimed, "x" * LARGE, number=0)
    query = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
    call = query.list(io_pb2.ListAgentExecutionsRequest(page_size=heavy), metadata=AUTHORIZED)
    listed = await call
    assert len(listed.entries) == heavy
    assert listed.total_pages == 1
    assert listed.ByteSize() < LIST_BYTES + heavy * MAX_ENTRY_BYTES
    whole = sum(one.ByteSize() > LARGE for one in listed.entries)
    assert whole == LIST_BYTES // (LARGE + 1000)
    assert dict(await call.trailing_metadata())["entries-without-content"] == str(heavy - whole)
    assert all(one.status.phase and one.spec.message == "hello" for one in listed.entries)
    second = await query.list(io_pb2.ListAgentExecutionsRequest(page_size=5, page_token="2"), metadata=AUTHORIZED)
    assert [e.metadata.id for e in second.entries] == [e.metadata.id for e in listed.entries[5:10]]


async def test_sessions_of_the_contract(
    http: httpx.AsyncClient, server: RunningServer, channel: grpc.aio.Channel
) -> None:
    """The same for what callers wrote: every session is there, the heavy ones beyond the limit without their labels."""
    first = await created(http)
    session = (await http.get(f"/v1/sessions/{first['spec']['session_id']}")).json()
    many = 5
    for number in range(many):
        metadata = {"name": f"Heavy {number}", "labels": {"l": "x" * 600_000}}
        spec = {"agent_instance_id": session["spec"]["agent_instance_id"], "subject": "short"}
        body = {"api_version": session["api_version"], "kind": "Session", "metadata": metadata, "spec": spec}
        assert (await http.post("/v1/sessions", json=body)).status_code == 201
    query = session_query.SessionQueryControllerStub(channel)
    listed = await query.list(session_io.ListSessionsRequest(page_size=50), metadata=AUTHORIZED)
    assert len(listed.entries) == many + 1
    assert listed.ByteSize() < LIST_BYTES + many * MAX_ENTRY_BYTES
    assert [bool(one.metadata.labels) for one in listed.entries] == [True, True, True, False, False, False]
    assert {one.spec.subject for one in listed.entries[:many]} == {"short"}


@given(text=st.text(st.characters(codec="utf-8")), cut=st.integers(0, 400))
def test_the_beginning_of_a_message(text: str, cut: int) -> None:
    """What is read from the beginning of a row is the beginning of its message, wherever the row was cut."""
    row = dumps({"id": "user", "type": "MESSAGE_HUMAN", "content": text})
    assert content_of(row) == short(text)
    assert text.startswith(content_of(row[:cut]).removesuffix("…"))


def test_a_long_error_keeps_its_code() -> None:
    """Whoever reads a list can look up what happened."""
    told = describe(Code.APPLICATION, {"original_error": "word " * 200}).error
    assert len(told) > MAX_TEXT_CHARS
    assert short_error(told).endswith(told[told.rindex(" [E") :])
    assert len(short_error(told)) < MAX_TEXT_CHARS + 40
