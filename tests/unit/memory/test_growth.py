"""What a session keeps in memory does not grow with its turns or steps, and a turn from the head misses nothing."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.memory.checkpoints import open_saver
from agent_runner.status.phases import Phase
from tests.unit.memory.test_matrix import Stack
from tests.unit.tasks.runner_process import runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

POSTGRES = os.environ.get("AGENT_RUNNER_TEST_POSTGRES_URL", "")
CORPUS = 200_000
GRAPHS = f"""
from pathlib import Path
from typing import Annotated, Any
from deepagents import create_deep_agent
from langchain.agents import AgentState
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from tests.unit.memory.strict_model import StrictModel

MENDED = Path(__file__).with_name("mended")

class State(MessagesState, total=False):
    corpus: str
    round: int

def load(state):
    return {{"corpus": str(len(state["messages"])).ljust({CORPUS}, "x"), "round": 0}}

def study(state):
    if state["round"] == 3 and state["messages"][-1].content == "fail" and not MENDED.exists():
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
    url = {"checkpoint_url": POSTGRES} if request.param == "postgres" else {}
    async with runner_process(settings_of(server.port, tmp_path, graphs=tmp_path / "langgraph.json", **url)) as process:
        yield Stack(process, server)
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
    await asyncio.to_thread(lambda: stack.process.loop.submit(stack.process.memory.prune(thread, "")).result(20))


@pytest.mark.parametrize("removed", ["states before the head", "the thread"])
async def test_a_file_gives_its_room_back(tmp_path: Path, removed: str) -> None:
    """What is removed is not on the disk any more, also if nothing is written afterwards."""
    file = tmp_path / "memory.db"
    async with await open_saver(f"sqlite:///{file}") as memory:
        place = RunnableConfig(configurable={"thread_id": "t", "checkpoint_ns": ""})
        for n in range(120):
            state = empty_checkpoint()
            state["channel_values"] = {"corpus": f"{n}".ljust(CORPUS, "x")}
            place = await memory.saver.aput(place, state, {"step": n}, {})
        assert file.stat().st_size > 60 * CORPUS
        head = place["configurable"]["checkpoint_id"] if removed != "the thread" else ""
        await memory.prune("t", head)
        assert file.stat().st_size < 2 * CORPUS
        assert bool(await memory.saver.aget_tuple(place)) == bool(head)


async def edited(stack: Stack, graph: str, thread: str, head: str, note: str) -> str:
    """A fork of the head with one more message, made as LangGraph's own tools make it."""

    async def fork() -> str:
        found = await stack.process.engine.graph(Bundle(graph=graph), {})
        place = RunnableConfig(configurable={"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": head})
        node = "tell" if graph == "plan" else "model"
        said = [HumanMessage(note), AIMessage(f"answer to {note}")]
        made = await found.aupdate_state(place, {"messages": said}, as_node=node)
        return str(made["configurable"]["checkpoint_id"])

    return await asyncio.to_thread(stack.process.loop.submit(fork()).result, 10)


@pytest.mark.parametrize("graph", ["plan", "deep"])
async def test_a_fork_of_the_head(stack: Stack, graph: str) -> None:
    """After many pruned turns the head can be forked, and the fork goes on knowing all that was before it."""
    thread, head = f"fork-{os.urandom(4).hex()}", ""
    for n in range(6):
        await (await stack.turn(graph, thread, f"note {n}", head))
        head = stack.head(head)
    fork = await edited(stack, graph, thread, head, "an edit")
    assert (await notes(stack, graph, thread, head), await notes(stack, graph, thread, fork)) == (6, 7)
    result = await (await stack.turn(graph, thread, "go on", fork))
    assert result["phase"] == Phase.COMPLETED.wire_name, stack.server.settled
    assert await notes(stack, graph, thread, stack.head(fork)) == 8
    assert kept_bytes(stack, thread) < 3 * CORPUS
    await asyncio.to_thread(lambda: stack.process.loop.submit(stack.process.memory.prune(thread, "")).result(20))


async def notes(stack: Stack, graph: str, thread: str, head: str) -> int:
    """How many messages of the user stand there."""

    async def look() -> int:
        found = await stack.process.engine.graph(Bundle(graph=graph), {})
        place = RunnableConfig(configurable={"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": head})
        return sum(isinstance(one, HumanMessage) for one in (await found.aget_state(place)).values["messages"])

    return await asyncio.to_thread(stack.process.loop.submit(look()).result, 10)


@pytest.mark.parametrize("resume", [True, False])
async def test_a_redrive_after_pruning(stack: Stack, tmp_path: Path, resume: bool) -> None:
    """After many turns and a failed one, all pruned, the failed step goes on; or the run begins anew before it."""
    thread, head = f"resume-{os.urandom(4).hex()}", ""
    for n in range(6):
        await (await stack.turn("plan", thread, f"note {n}", head))
        head = stack.head(head)
    result = await (await stack.turn("plan", thread, "fail", head))
    assert result["phase"] == Phase.FAILED.wire_name
    (tmp_path / "mended").touch()
    result = await (await stack.turn("plan", thread, "fail", stack.head(head) if resume else head, resume=resume))
    assert result["phase"] == Phase.COMPLETED.wire_name, stack.server.settled
    assert f"13 {CORPUS}" in stack.texts
    await asyncio.to_thread(lambda: stack.process.loop.submit(stack.process.memory.prune(thread, "")).result(20))
