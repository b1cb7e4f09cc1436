"""A project of the user's may call its modules as it likes: also like packages that we and Python are made of."""

import json
from pathlib import Path

import httpx
import pytest

from tests.integration.stack import Stack
from tests.support.ports import free_port
from tests.support.waiting import eventually

GRAPH = """
from ai.names import NAME
from app.prices import PRICE
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from status import WORD
from tasks import TASK


def say(state: MessagesState):
    return {"messages": [AIMessage(content=f"{NAME} {PRICE} {TASK} {WORD}")]}


graph = StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").add_edge("say", END).compile()
"""
FILES = {
    "ai/__init__.py": "",
    "ai/names.py": "NAME = 'tea'",
    "app/__init__.py": "",
    "app/prices.py": "PRICE = 3",
    "clients/__init__.py": "",
    "status.py": "WORD = 'open'",
    "tasks.py": "TASK = 'buy'",
    "graph.py": GRAPH,
    "langgraph.json": json.dumps({"graphs": {"shop": "./graph.py:graph"}}),
}
NOT_OURS_TO_READ = (
    "redis",
    "kombu",
    "celery",
    "celeryconfig",
    "flower",
    "flowerconfig",
    "grpc",
    "click",
    "json",
    "logging",
    "google",
    "langgraph",
    "opentelemetry",
)


def project(folder: Path) -> Path:
    """Files of the user's; those named like a dependency of ours end whoever imports them."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in NOT_OURS_TO_READ:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the user was imported')")
    return folder


@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_every_process_starts_in_such_a_project(tmp_path: Path, pool: str) -> None:
    """Server, worker, orchestrator and Flower start in its folder, and its graph imports its own modules."""
    project(tmp_path)
    with Stack.open(tmp_path, AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="2") as stack:
        flower = stack.start("flower", "--port", str(port := free_port()))
        orchestrator = stack.start("orchestrator")
        stack.start_worker()
        id = str(stack.create("what is open?", graph="shop")["metadata"]["id"])
        ended = stack.wait_for(id, "EXECUTION_COMPLETED")
        assert ended["status"]["messages"][-1]["content"] == "tea 3 buy open"
        eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/healthcheck", trust_env=False).is_success, what="Flower")
        eventually(lambda: "ready" in orchestrator.output(), what="the orchestrator")
        for process in stack.processes:
            assert "of the user was imported" not in process.output(), process.name
        assert flower.popen.poll() is None
