"""Graphs from a langgraph.json outside the repository."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.contain import contain
from agent_runner.clients.engine.current import AgentExitError, StopRun, running
from agent_runner.clients.engine.memory.checkpoints import tracks_heads
from agent_runner.clients.engine.turn import Given, open_turn
from agent_runner.clients.engine.user_graphs.user_graphs import GraphError
from tests.unit.engine.world import World, make_world
from tests.unit.models.settings import SomeSettings

SOURCE_OF_TWINS = """
from langgraph.graph import START, MessagesState, StateGraph
graph = StateGraph(MessagesState).add_node("n", lambda s: {"messages": [("ai", NAME)]}).add_edge(START, "n")
"""
GRAPHS = """
from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

from beside import SUFFIX


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Sum(TypedDict):
    numbers: list[int]
    total: int


def reply(state: Chat) -> dict:
    return {"messages": [AIMessage(f"{len(state['messages'])} {SUFFIX}")]}


def add(state: Sum) -> dict:
    return {"total": sum(state["numbers"])}


def ask(state: Chat) -> dict:
    return {"messages": [AIMessage("you said " + interrupt({"question": "which colour?"}))]}


async def leave(state: Chat) -> dict:
    raise SystemExit(7)


async def cancel(state: Chat) -> dict:
    raise asyncio.CancelledError


def one_node(schema, node):
    return StateGraph(schema).add_node("node", node).add_edge(START, "node")


chat = one_node(Chat, reply)
compiled = one_node(Chat, reply).compile()
total = one_node(Sum, add)
asking = one_node(Chat, ask)
leaving = one_node(Chat, leave)
cancelling = one_node(Chat, cancel)
made_for: list[str] = []


def made(config):
    made_for.append(config["configurable"]["thread_id"])
    return chat.compile()


async def made_async():
    return chat


def broken(config):
    raise ValueError("no such thing")


nonsense = 42
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of a user, whose module imports a neighbour and whose state has postponed annotations."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mine.py").write_text(GRAPHS)
    (folder / "beside.py").write_text("SUFFIX = 'messages so far'\n")
    names = [
        "chat",
        "compiled",
        "total",
        "asking",
        "leaving",
        "cancelling",
        "made",
        "made_async",
        "broken",
        "nonsense",
        "missing",
    ]
    graphs: dict[str, object] = {name: f"./mine.py:{name}" for name in names}
    graphs |= {"nofile": "./nofile.py:graph", "nospec": "mine.py", "dict": {"path": "./mine.py:chat"}}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs, "dependencies": ["."]}))
    return folder / "langgraph.json"


@pytest.mark.parametrize("name", ["chat", "compiled", "made", "made_async", "dict"])
async def test_every_kind_of_graph_runs_and_remembers(project: Path, name: str) -> None:
    """A StateGraph, a compiled one, and functions that return one get our memory and go from head to head."""
    async with make_world(project.parent, replace(SomeSettings(), graphs=project)) as world:
        bundle = Bundle(graph=name)
        graph = await world.factory.graph(bundle, {"configurable": {"thread_id": "t"}})
        assert tracks_heads(graph.checkpointer)
        world.factory.graph = _with_thread(world)  # type: ignore[method-assign]
        first = await world.turn("hello", world.run(), bundle)
        second = await world.turn("again", world.run(head=first.head), bundle)
        assert first.answer == "1 messages so far"
        assert second.answer == "3 messages so far"


def _with_thread(world: World):  # type: ignore[no-untyped-def]
    async def graph(bundle: Bundle, config: object = None):  # type: ignore[no-untyped-def]
        return await world.factory.user_graphs.load(bundle.graph, {"configurable": {"thread_id": "t"}})

    return graph


async def test_a_graph_without_messages_takes_input(project: Path) -> None:
    """Its input is JSON and its final state is the output; a mere message is refused with what to do."""
    async with make_world(project.parent, replace(SomeSettings(), graphs=project)) as world:
        ended = await world.turn("", world.run(), Bundle(graph="total"), input_json='{"numbers": [1, 2, 4]}')
        assert ended.values["total"] == 7
        with pytest.raises(GraphError, match="input"):
            await world.turn("add 1 and 2", world.run("t2"), Bundle(graph="total"))
        with pytest.raises(GraphError, match="JSON"):
            await world.turn("", world.run("t3"), Bundle(graph="total"), input_json="{")


async def test_an_interrupt_is_answered_by_the_next_message(project: Path) -> None:
    """The turn ends waiting; the next turn's message from that head is the answer."""
    async with make_world(project.parent, replace(SomeSettings(), graphs=project)) as world:
        asked = await world.turn("paint it", world.run(), Bundle(graph="asking"))
        assert asked.waits
        assert asked.question == {"question": "which colour?"}
        answered = await world.turn("blue", world.run(head=asked.head), Bundle(graph="asking"))
        assert not answered.waits
        assert answered.answer == "you said blue"


@pytest.mark.parametrize(("name", "raised"), [("leaving", "SystemExit"), ("cancelling", "CancelledError")])
async def test_a_node_cannot_leave_the_process(project: Path, name: str, raised: str) -> None:
    """SystemExit or a CancelledError of its own in a node is an error of the run that names it."""
    loop = asyncio.get_running_loop()
    contain(loop)
    try:
        async with make_world(project.parent, replace(SomeSettings(), graphs=project)) as world:
            with pytest.raises(AgentExitError, match=raised):
                await world.turn("go", world.run(), Bundle(graph=name))
    finally:
        loop.set_task_factory(None)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nobody", "It has: asking, broken, cancelling, chat"),
        ("nofile", "nofile.py does not exist"),
        ("nospec", "expected './file.py:graph'"),
        ("missing", "defines no 'missing'"),
        ("nonsense", "not a graph"),
        ("broken", "ValueError: no such thing"),
    ],
)
async def test_what_is_wrong_with_a_graph_is_told(project: Path, name: str, told: str) -> None:
    """The error names the file, the graph and, for a wrong name, the right ones."""
    async with make_world(project.parent, replace(SomeSettings(), graphs=project)) as world:
        with pytest.raises(GraphError) as caught:
            await world.factory.graph(Bundle(graph=name))
        assert told in str(caught.value)


async def test_no_file_and_broken_files_are_told(tmp_path: Path) -> None:
    """Missing, unreadable, no object and no graphs are different texts, each with the file and what to do."""
    path = tmp_path / "langgraph.json"
    async with make_world(tmp_path, replace(SomeSettings(), graphs=path)) as world:
        assert world.factory.user_graphs.names() == []
        for content, told, fix in (
            (None, "does not exist", "AGENT_RUNNER_GRAPHS must name"),
            ("", "it is empty", "Mend the file"),
            ("{", "it is not JSON", "Mend the file"),
            ("[]", "it is a JSON list", "Mend the file"),
            ("[" * 10_000, "it is nested too deeply", "Mend the file"),
            ("{}", "names no graphs", "expected"),
            ("\ufeff{}", "names no graphs", "expected"),  # Windows editors write this mark before a UTF-8 text
            ('{"graphs": {"x": "./gone.py:graph"}}', "gone.py does not exist", f"relative to {tmp_path}"),
        ):
            if content is not None:
                path.write_text(content)
            with pytest.raises(GraphError) as caught:
                await world.factory.graph(Bundle(graph="x"))
            assert str(caught.value).startswith(str(path))
            assert told in str(caught.value)
            assert fix in str(caught.value)


async def test_a_module_of_another_folder_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    """Two agents with modules of one name: the second is refused with both places, and works by a relative import."""
    source = "from twin_state import NAME\n" + SOURCE_OF_TWINS
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twin_state.py").write_text(f"NAME = '{name}'")
        (tmp_path / name / "graph.py").write_text(source)
    (tmp_path / "two" / "relative.py").write_text(source.replace("from twin", "from .twin"))
    places = {"one": "./one/graph.py:graph", "two": "./two/graph.py:graph", "relative": "./two/relative.py:graph"}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": places, "dependencies": ["./one", "./two"]}))
    async with make_world(tmp_path, replace(SomeSettings(), graphs=tmp_path / "langgraph.json")) as world:
        for name, answer in (("one", "one"), ("relative", "two")):
            assert (await world.turn("hi", world.run(), Bundle(graph=name))).answer == answer
        with pytest.raises(GraphError, match=r"one/twin_state.py, not .*two/twin_state.py.*from .twin_state import"):
            await world.turn("hi", world.run(), Bundle(graph="two"))


async def test_a_changed_file_is_read_again(project: Path) -> None:
    """A graph added to langgraph.json needs no restart."""
    async with make_world(project.parent, replace(SomeSettings(), graphs=project)) as world:
        with pytest.raises(GraphError):
            await world.factory.graph(Bundle(graph="new"))
        project.write_text(json.dumps({"graphs": {"new": "./mine.py:chat"}}))
        assert await world.factory.graph(Bundle(graph="new"))


async def test_the_gate_stands_before_a_users_tools_and_models(tmp_path: Path) -> None:
    """A user's graph calls a tool only after the gate; an error in the gate ends the run."""
    (tmp_path / "tooled.py").write_text(
        "from langchain_core.tools import tool\n"
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "calls = []\n"
        "@tool\n"
        "async def touch(x: int) -> str:\n"
        "    'Counts.'\n"
        "    calls.append(x)\n"
        "    return 'ok'\n"
        "async def node(state):\n"
        "    await touch.ainvoke({'x': 1})\n"
        "    return {'messages': [('ai', str(len(calls)))]}\n"
        "graph = StateGraph(MessagesState).add_node('n', node).add_edge(START, 'n')\n"
    )
    (tmp_path / "langgraph.json").write_text('{"graphs": {"g": "./tooled.py:graph"}}')
    async with make_world(tmp_path, replace(SomeSettings(), graphs=tmp_path / "langgraph.json")) as world:

        async def closed() -> None:
            raise StopRun("fenced out")

        with pytest.raises(StopRun):
            await world.turn("go", world.run(gate=closed), Bundle(graph="g"))
        assert (await world.turn("go", world.run(), Bundle(graph="g"))).answer == "1"


async def test_a_graph_with_its_own_memory_keeps_it(tmp_path: Path) -> None:
    """Its checkpointer stays, and turns do not name heads of ours."""
    (tmp_path / "own.py").write_text(
        "from langgraph.checkpoint.memory import InMemorySaver\n"
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "graph = StateGraph(MessagesState).add_node('n', lambda s: {'messages': [('ai', 'x')]})"
        ".add_edge(START, 'n').compile(checkpointer=InMemorySaver())\n"
    )
    (tmp_path / "langgraph.json").write_text('{"graphs": {"own": "./own.py:graph"}}')
    async with make_world(tmp_path, replace(SomeSettings(), graphs=tmp_path / "langgraph.json")) as world:
        bundle, run = Bundle(graph="own"), world.run(head="whatever")
        graph = await world.factory.graph(bundle)
        for count in (2, 4):
            with running(run):
                turn = await open_turn(graph, run, bundle, Given(message="hi"))
                result = await graph.ainvoke(turn.input, turn.config)
            assert len(result["messages"]) == count
