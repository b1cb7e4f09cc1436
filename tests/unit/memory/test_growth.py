"""What a session keeps in memory does not grow with its turns or steps, and a turn from the head misses nothing."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from clients.settings import Settings
from status.phases import Phase
from tasks.process import RunnerProcess
from tests.unit.memory.test_matrix import Stack
from tests.unit.tasks.runner_server import RunnerServer

POSTGRES = os.environ.get("AGENT_RUNNER_TEST_POSTGRES_URL", "")
CORPUS = 200_000
GRAPHS = f"""
from typing import Annotated, Any
from deepagents import create_deep_agent
from langchain.agents import AgentState
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from tests.unit.memory.strict_model import StrictModel

class State(MessagesState, total=False):
    corpus: str
    round: int

def load(state):
    return {{"corpus": str(len(state["messages"])).ljust({CORPUS}, "x"), "round": 0}}

def study(state):
    if state["round"] == 3 and state["messages"][-1].content == "fail":
        raise ValueError("no")
    return {{"round": state["round"] + 1}}

plan = StateGraph(State).add_node("load", load).add_node("study", study).add_edge(START, "load")
def tell(state):
    return {{"messages": [AIMessage(f"{{len(state['messages'])}} {{len(state['corpus'])}}")]}}

plan.add_edge("load", "study").add_node("tell", tell)
plan.add_conditional_edges("study", lambda s: "study" if s["round"] < 12 else "tell")

class Held(AgentState[Any], total=False):
    corpus: str

class Hold(AgentMiddleware):
    state_schema = Held
    async def abefore_agent(self, state, runtime):
        return {{"corpus": str(len(state["messages"])).ljust({CORPUS}, "x")}}

deep = create_deep_agent(StrictModel(), [], middleware=[Hold()])
"""


@pytest.fixture(params=["sqlite", "postgres"])
async def stack(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stack]:
    if request.param == "postgres" and not POSTGRES:
        pytest.skip("needs AGENT_RUNNER_TEST_POSTGRES_URL")
    (tmp_path / "growing.py").write_text(GRAPHS)
    graphs = {"plan": "./growing.py:plan", "deep": "./growing.py:deep"}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    server = await RunnerServer().start()
    settings = Settings(
        backend_endpoint=f"127.0.0.1:{server.port}",
        data_dir=tmp_path,
        graphs=tmp_path / "langgraph.json",
        checkpoint_url=POSTGRES if request.param == "postgres" else f"sqlite:///{tmp_path}/memory.db",
    )
    process = RunnerProcess(settings, role="worker", queue="q", incarnation="inc", name="worker@here", slots=2)
    process.start()
    process.announce()
    yield Stack(process, server)
    process.leaving_now = True
    await asyncio.to_thread(process.stop)
    await server.stop()


def kept_bytes(stack: Stack, thread: str) -> int:
    """Of all that the thread has in memory."""
    url = stack.process.settings.checkpoint_url
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as base:
            whole = "SELECT coalesce(sum(length(checkpoint)), 0) FROM checkpoints WHERE thread_id = ?"
            writes = "SELECT coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = ?"
            return sum(int(base.execute(one, (thread,)).fetchone()[0]) for one in (whole, writes))
    with psycopg.connect(url) as server:
        found = server.execute(
            "SELECT (SELECT coalesce(sum(length(blob)), 0) FROM checkpoint_blobs WHERE thread_id = %(t)s)"
            " + (SELECT coalesce(sum(length(blob)), 0) FROM checkpoint_writes WHERE thread_id = %(t)s)",
            {"t": thread},
        ).fetchone()
        return int(found[0]) if found else 0


@pytest.mark.parametrize("graph", ["plan", "deep"])
async def test_turns_do_not_add_up(stack: Stack, graph: str, tmp_path: Path) -> None:
    """After many turns at most three final states are there, after a failed one too; the next turn knows all before."""
    thread, head = f"growth-{os.urandom(4).hex()}", ""
    for n in range(20):
        result = await (await stack.turn(graph, thread, f"note {n}", head))
        assert result["phase"] == Phase.COMPLETED.wire_name, stack.server.settled
        head = stack.head(head)
        assert kept_bytes(stack, thread) < 3 * CORPUS, n
    if graph == "plan":
        result = await (await stack.turn(graph, thread, "fail", head))
        assert result["phase"] == Phase.FAILED.wire_name
        assert kept_bytes(stack, thread) < 3 * CORPUS
        head = stack.head(head)
        await (await stack.turn(graph, thread, "again", head))
        assert f"42 {CORPUS}" in stack.texts
    elif (file := tmp_path / "memory.db").exists():
        assert file.stat().st_size < 10 * CORPUS
    await asyncio.to_thread(lambda: stack.process.loop.submit(stack.process.memory.prune(thread, "")).result(10))
