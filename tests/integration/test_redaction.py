"""A graph that takes a text back: after the end it is nowhere that somebody could read."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.stack import KEY, Stack
from tests.integration.surfaces import Events, Monitor, of_api, of_files, of_redis

ASKED, SAID, FOUND = "canary-asked-5f1c", "canary-said-77ab", "canary-found-90de"
SOURCE = f'''
import time

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

CALL = {{"id": "c1", "name": "look", "args": {{"at": "{FOUND}"}}}}


def model(state: MessagesState):
    said = AIMessage(id="a1", content="It is {SAID}", tool_calls=[CALL])
    return {{"messages": [said, ToolMessage("{FOUND}", id="t1", tool_call_id="c1"), AIMessage("{SAID}", id="a2")]}}


def wait(state: MessagesState):
    time.sleep(1.5)


def guard(state: MessagesState):
    asked = state["messages"][0]
    clean = [HumanMessage("[asked]", id=asked.id), RemoveMessage(id="a2")]
    calls = [{{**CALL, "args": {{"at": "[found]"}}}}]
    clean += [AIMessage("It is [said]", id="a1", tool_calls=calls), ToolMessage("[found]", id="t1", tool_call_id="c1")]
    return {{"messages": [*clean, AIMessage("Done.")]}}


plan = StateGraph(MessagesState).add_node("model", model).add_node("wait", wait).add_node("guard", guard)
plan.add_edge(START, "model").add_edge("model", "wait").add_edge("wait", "guard").add_edge("guard", END)
graph = plan.compile()
'''


def resumed(stack: Stack, id: str, after: str) -> bytes:
    headers = {"Authorization": f"Bearer {KEY}", "Last-Event-ID": after}
    address = f"http://127.0.0.1:{stack.http_port}/v1/executions/{id}/events"
    return httpx.get(address, headers=headers, timeout=60, trust_env=False).content


def tables(database: Path) -> bytes:
    """Every row of every table."""
    with sqlite3.connect(database) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return repr([connection.execute(f'select * from "{name}"').fetchall() for name in names]).encode()


@pytest.mark.timeout(180)
def test_what_a_graph_takes_back_is_gone(tmp_path: Path) -> None:
    """Not in a table, a file of logs, a key of Redis, an answer or a stream that begins later; live it was seen."""
    (tmp_path / "guarded.py").write_text(SOURCE)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"guarded": "./guarded.py:graph"}}))
    with Stack.open(tmp_path, AGENT_RUNNER_GRAPHS=str(tmp_path / "langgraph.json"), LOG_LEVEL="DEBUG") as stack:
        stack.start_worker()
        with Monitor(stack.redis_port) as monitor:
            created = stack.http.post("/v1/executions", json={"graph": "guarded", "message": f"I am {ASKED}"}).json()
            id, session = created["metadata"]["id"], created["spec"]["session_id"]
            live = Events(stack, id)
            ended = stack.wait_for(id, "EXECUTION_COMPLETED", within_s=60)
            seen = live.whole()
        secrets = [secret.encode() for secret in (ASKED, SAID, FOUND)]
        assert all(secret in seen for secret in secrets), "who reads live has seen it"
        messages: list[Any] = ended["status"]["messages"]
        assert [m["content"] for m in messages] == ["[asked]", "It is [said]", "Done."]
        assert ended["spec"]["message"] == "[asked]"
        assert [(call["args"], call["result"]) for call in ended["status"]["tool_calls"]] == [
            ({"at": "[found]"}, "[found]")
        ]
        (database,) = stack.folder.rglob("agent-runner.db")
        surfaces = {
            "tables": tables(database),
            "the whole stream": resumed(stack, id, "0"),
            "half of the stream": resumed(stack, id, "3"),
            "MONITOR": monitor.recorded,
            **dict(of_redis(stack.redis_port)),
            **{name: content for name, content in of_files(stack.folder) if ".log" in name},
            **dict(of_api(stack, "/v1/executions", f"/v1/executions/{id}", f"/v1/sessions/{session}")),
            **dict(of_api(stack, f"/v1/sessions/{session}/state")),
        }
        found = [(where, secret) for where, content in surfaces.items() for secret in secrets if secret in content]
        assert found == []
        assert b"It is [said]" in surfaces["tables"]
        assert id.encode() in surfaces["MONITOR"]
        seqs = [int(line[4:]) for line in surfaces["the whole stream"].splitlines() if line.startswith(b"id: ")]
        assert seqs[:-1] == list(range(1, seqs[-1] + 1)), "no number is missing"
