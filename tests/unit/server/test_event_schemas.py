"""The description of the event streams is true: what is streamed is what it says, kind by kind."""

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import aconnect_sse

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.http.document.event_schemas import row_name
from agent_runner.clients.engine.stream.event_stream import V2Events
from agent_runner.status.failures import Code
from agent_runner.status.log import state
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.events import CustomData, GraphOutput, Interrupted, MessageEdited, MessageMoved
from agent_runner.status.log.log import Delta
from agent_runner.status.log.row_kinds import ROW_KINDS
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import NewDelta, Outcome
from checks.tree import ROOT
from tests.support.described_events import Described
from tests.unit.server.conftest import Worker, created, sse
from tests.unit.status_builder import recording

SHARES_A_SERVER = True
RECORDED = Path(recording.__file__).parent / "recorded_events_v2.jsonl"
WRITTEN = re.compile(r"(?:Delta\(kind=|_delta\(\s*)\"(\w+)\"")
QUESTION = {"id": "q1", "value": {"ask": 1}, "text": "ask", "node": "n", "expects": {"kind": "any"}}


async def described(http: httpx.AsyncClient) -> Described:
    return Described((await http.get("/openapi.json")).json())


def recorded() -> list[Delta]:
    """A recorded run with tools, a sub-agent and todos; then the rarer things that a graph can do."""
    story, builder = V2Events(), StatusBuilder()
    deltas = [delta for raw in recording.read(RECORDED) for event in story.feed(raw) for delta in builder.feed(event)]
    said = next(delta.payload["id"] for delta in deltas if delta.kind == "message")
    for event in (
        MessageEdited(scope="", message_id=said, text="other", reasoning="because"),
        MessageMoved(message_id=said, after=""),
        CustomData(scope="", name="step", node="n", data={"done": 1}),
        GraphOutput(output={"total": 3}, fields={"total": 3}),
        Interrupted(question="ask", questions=(QUESTION,), next=("n",)),
    ):
        deltas += builder.feed(event)
    return deltas + builder.finish()


async def ended(server: RunningServer, http: httpx.AsyncClient, deltas: Iterable[Delta], **body: Any) -> str:
    """An execution whose worker said this, and that it failed."""
    id = str((await created(http, **body))["metadata"]["id"])
    execution = (await Worker(server).claim(id)).execution
    assert execution is not None
    told = [NewDelta(kind=delta.kind, payload=json.dumps(delta.payload)) for delta in deltas]
    store = server.ctx.store
    await store.append(execution.handle, execution.fence, 0, told)
    outcome = Outcome(
        phase=Phase.FAILED, code=Code.APPLICATION, facts={"original_error": "no paper", "error_node": "n"}
    )
    assert (await store.settle(execution.handle, execution.fence, len(told), [], "", outcome)).accepted
    return id


async def test_rows_of_runs_are_as_described(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Each event of two runs, strictly: no row has a field that is not described; also the snapshot and a refusal."""
    judge = await described(http)
    deltas = recorded()
    id = await ended(server, http, deltas, input={"messages": [{"role": "user", "content": "more"}]})
    events = sse((await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": "0"})).text)
    events += sse((await http.get(f"/v1/executions/{id}/events")).text)
    events += sse((await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": "9999"})).text)
    assert judge.mistakes((name, data) for name, _, data in events) == []
    kinds = {data["kind"] for name, _, data in events if name == "update"}
    assert {"text", "tool_call", "tool_end", "sub_agent", "todos", "message_edit", "custom", "question"} < kinds
    assert {name for name, _, _ in events} == {"snapshot", "update", "end", "error"}


async def test_changes_of_a_list_are_as_described(http: httpx.AsyncClient) -> None:
    """Its rows and its counts."""
    judge = await described(http)
    told: list[tuple[str, Any]] = []
    async with asyncio.timeout(20), aconnect_sse(http, "GET", "/v1/executions/changes") as source:
        await created(http)
        async for event in source.aiter_sse():
            told.append((event.event, event.json()))
            if {name for name, _ in told} == {"rows", "counts"}:
                break
    assert judge.mistakes(told) == []


async def test_each_kind_has_a_schema(http: httpx.AsyncClient) -> None:
    """The table, the fold, the description and what our own code writes name the same kinds."""
    assert set(state._KINDS) <= set(ROW_KINDS)
    written = {
        kind
        for room in ("app", "clients", "status", "tasks")
        for file in (ROOT / room).rglob("*.py")
        for kind in WRITTEN.findall(file.read_text())
    }
    assert written <= set(ROW_KINDS)
    assert set(ROW_KINDS) - written <= {"attempt", "stream", "stream_end"}, "a kind that nobody writes"
    assert (await described(http)).rows == [row_name(kind) for kind in ROW_KINDS.values()]
    assert [kind.name for kind in ROW_KINDS.values() if set(kind.needed) - kind.fields.keys()] == []
