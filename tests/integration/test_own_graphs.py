"""A graph of the user's own, from a langgraph.json anywhere on the disk."""

import json
from pathlib import Path

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


def test_a_graph_outside_the_repository(tmp_path: Path) -> None:
    """Its input is JSON and its final state is the output."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "adder.py").write_text(SOURCE)
    (elsewhere / "langgraph.json").write_text(json.dumps({"graphs": {"adder": "./adder.py:graph"}}))
    with Stack.open(tmp_path, AGENT_RUNNER_GRAPHS=str(elsewhere / "langgraph.json")) as stack:
        stack.start_worker()
        created = stack.http.post("/v1/executions", json={"graph": "adder", "input": {"numbers": [2, 3, 37]}})
        assert created.status_code == 201, created.text
        ended = stack.wait_for(created.json()["metadata"]["id"])
        assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"]
        assert ended["output"]["total"] == 42
        unknown = stack.http.post("/v1/executions", json={"graph": "nobody", "message": "x"}).json()
        failed = stack.wait_for(unknown["metadata"]["id"])["status"]
        assert failed["error"].endswith("[E302 SYSTEM]")
        assert "adder" in failed["error"]
