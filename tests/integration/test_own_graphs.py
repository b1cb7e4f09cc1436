"""A graph of the user's own, from a langgraph.json anywhere on the disk."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import Stack

SOURCE = """
from __future__ import annotations

from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class Sum(TypedDict, total=False):
    numbers: list[int]
    total: int


def add(state: Sum) -> Sum:
    return {"total": sum(state["numbers"])}


builder = StateGraph(Sum)
builder.add_node("add", add)
builder.add_edge(START, "add")
builder.add_edge("add", END)
graph = builder
"""
ASSISTANT = """
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from pathlib import Path


@dataclass
class Context:
    tenant: str


async def report(state: MessagesState, config: RunnableConfig, runtime: Runtime[Context]):
    get_stream_writer()({"step": 1, "token": os.environ["CRM_TOKEN"]})
    await adispatch_custom_event("progress", {"step": 2})
    known = config["configurable"]
    seen = await runtime.store.aget(("runs",), "last")
    await runtime.store.aput(("runs",), "last", {"tenant": runtime.context.tenant})
    token = "has a token" if len(os.environ["CRM_TOKEN"]) == 16 else "has none"
    before = seen.value["tenant"] if seen else "nobody"
    return {"messages": [AIMessage(f"{runtime.context.tenant} after {before}, {token}, {known['execution_id']}")]}


@asynccontextmanager
async def make(config):
    marker = Path(config["configurable"]["marker"])
    marker.write_text("open")
    try:
        yield StateGraph(MessagesState, context_schema=Context).add_node("report", report).add_edge(START, "report")
    finally:
        marker.write_text("closed")
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With a worker that knows both."""
    folder = tmp_path_factory.mktemp("own_graphs")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "adder.py").write_text(SOURCE)
    (elsewhere / "assistant.py").write_text(ASSISTANT)
    graphs = {"adder": "./adder.py:graph", "assistant": {"path": "./assistant.py:make", "configurable": ["marker"]}}
    (elsewhere / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    with Stack.open(folder, AGENT_RUNNER_GRAPHS=str(elsewhere / "langgraph.json")) as opened:
        opened.start_worker()
        yield opened


def test_a_graph_outside_the_repository(stack: Stack) -> None:
    """Its input is JSON and its final state is the output."""
    created = stack.http.post("/v1/executions", json={"graph": "adder", "input": {"numbers": [2, 3, 37]}})
    assert created.status_code == 201, created.text
    ended = stack.wait_for(created.json()["metadata"]["id"])
    assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"]
    assert ended["output"]["total"] == 42
    unknown = stack.http.post("/v1/executions", json={"graph": "nobody", "message": "x"}).json()
    failed = stack.wait_for(unknown["metadata"]["id"])["status"]
    assert failed["error"].endswith("[E302 SYSTEM]")
    assert "adder" in failed["error"]


def test_a_graph_gets_its_context_secrets_store_and_resources(stack: Stack, tmp_path: Path) -> None:
    """All at once, on a real stack; the secret itself is in no row, and a name that nobody listed is refused."""
    marker, secret = tmp_path / "marker", "crm-secret-12345"
    body = {"graph": "assistant", "message": "hi", "env": {"CRM_TOKEN": secret}}
    config = {"configurable": {"marker": str(marker)}}
    for tenant, before in (("acme", "nobody"), ("zeta", "acme")):
        more = {"context": {"tenant": tenant}, "config": config}
        created = stack.http.post("/v1/executions", json=body | more)
        assert created.status_code == 201, created.text
        id_ = created.json()["metadata"]["id"]
        ended = stack.wait_for(id_)
        assert ended["status"]["messages"][-1]["content"] == f"{tenant} after {before}, has a token, {id_}"
        assert marker.read_text() == "closed"
        events = stack.http.get(f"/v1/executions/{id_}/events", headers={"Last-Event-ID": "0"}).text
        assert '"step": 2' in events or '"step":2' in events
        assert secret not in events
    refused = stack.http.post(
        "/v1/executions",
        json=body | {"context": {"tenant": "a"}, "config": {"configurable": {"marker": str(marker), "base_url": "x"}}},
    )
    failed = stack.wait_for(refused.json()["metadata"]["id"])["status"]
    assert "config.configurable.base_url" in failed["error"], failed
    wrong = stack.http.post("/v1/executions", json=body | {"config": {"configurable": {"thread_id": "x"}}})
    assert (wrong.status_code, "thread_id" in wrong.text) == (400, True)
