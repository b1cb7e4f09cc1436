"""A step that is gone on with makes only the calls that had not finished, whoever makes them and whatever they give."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun
from tests.unit.engine.world import Ended, World, make_world
from tests.unit.models.settings import SomeSettings

SOURCE = """
import operator
from collections import Counter
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

MADE = Counter()
BROKEN = set()

class State(MessagesState, total=False):
    notes: Annotated[list[str], operator.add]

@tool
def mail(to: str) -> str:
    "Send a mail."
    MADE["mail " + to] += 1
    return f"sent to {to}"

@tool
def note(text: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
    "Take a note."
    MADE["note " + text] += 1
    return Command(update={"notes": [text], "messages": [ToolMessage(f"noted {text}", tool_call_id=tool_call_id)]})

@tool
def print_(sheet: str) -> str:
    "Print."
    if sheet in BROKEN:
        raise OSError("no paper")
    MADE["print " + sheet] += 1
    return f"printed {sheet}"

@tool
def ask(what: str) -> str:
    "Ask."
    answer = interrupt(what)
    if what in BROKEN:
        raise OSError("no ear")
    return f"{what}: {answer}"

TOOLS = {one.name: one for one in (mail, note, print_, ask)}

def model(state):
    '''Each line of the user is a step: `tool argument, tool argument`. The ids are the same in each step.'''
    said = [m for m in state["messages"] if isinstance(m, AIMessage) and m.tool_calls]
    steps = next(m for m in reversed(state["messages"]) if isinstance(m, HumanMessage)).text.split("; ")
    if len(said) == len(steps):
        return {"messages": [AIMessage("; ".join(m.text for m in state["messages"] if isinstance(m, ToolMessage)))]}
    calls = []
    for number, one in enumerate(steps[len(said)].split(", ")):
        name, argument = one.split()
        field = next(iter(TOOLS[name].tool_call_schema.model_fields))
        calls.append({"name": name, "args": {field: argument}, "id": f"call_{number}"})
    return {"messages": [AIMessage("", tool_calls=calls)]}

def blocking(state):
    return {"messages": [TOOLS[c["name"]].invoke({**c, "type": "tool_call"}) for c in state["messages"][-1].tool_calls]}

async def awaiting(state):
    calls = state["messages"][-1].tool_calls
    return {"messages": [await TOOLS[c["name"]].ainvoke({**c, "type": "tool_call"}) for c in calls]}

async def holding(state):
    return blocking(state)

def plan(tools):
    made = StateGraph(State).add_node("model", model).add_node("tools", tools)
    made.add_edge(START, "model").add_edge("tools", "model")
    made.add_conditional_edges("model", tools_condition)
    return made

node = plan(ToolNode(list(TOOLS.values()), handle_tool_errors=False))
by_hand, by_hand_awaiting, by_hand_holding = plan(blocking), plan(awaiting), plan(holding)

async def call_graph(state, config):
    return {"messages": (await inside.ainvoke(state, config))["messages"]}

inside = node.compile()
called = StateGraph(State).add_node("work", call_graph).add_edge(START, "work")
"""
GRAPHS = ("node", "by_hand", "by_hand_awaiting", "by_hand_holding", "called")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "calling.py").write_text(SOURCE)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {name: f"./calling.py:{name}" for name in GRAPHS}}))
    async with make_world(tmp_path, replace(SomeSettings(), graphs=tmp_path / "langgraph.json")) as made:
        yield made


async def source_of(world: World, graph: str) -> Any:
    await world.factory.graph(Bundle(graph=graph))
    path = str(world.directory / "calling.py")
    return next(m for m in list(sys.modules.values()) if getattr(m, "__file__", "") == path)


async def breaks(world: World, graph: str, message: str, head: str = "") -> CurrentRun:
    """A turn that ends with OSError; its run."""
    run = CurrentRun(thread_id="t", head_checkpoint_id=head)
    with pytest.raises(OSError, match="no "):
        async with asyncio.timeout(20):
            await world.turn(message, run, Bundle(graph=graph))
    return run


async def again(world: World, graph: str, run: CurrentRun, message: str = "", *, resume: bool = True) -> Ended:
    fresh = CurrentRun(thread_id="t", head_checkpoint_id=run.head_checkpoint_id)
    async with asyncio.timeout(20):
        return await world.turn(message, fresh, Bundle(graph=graph), resume=resume)


@pytest.mark.parametrize("graph", GRAPHS)
async def test_whoever_makes_the_calls(world: World, graph: str) -> None:
    """A `ToolNode`, a node of one's own in each way of calling, a graph that a node calls: the mail is sent once."""
    source = await source_of(world, graph)
    source.BROKEN.add("one")
    run = await breaks(world, graph, "mail Ann, print_ one")
    source.BROKEN.clear()
    assert (await again(world, graph, run)).answer == "sent to Ann; printed one"
    assert source.MADE == {"mail Ann": 1, "print one": 1}


@pytest.mark.parametrize("graph", GRAPHS[:-1])
async def test_a_message_knows_them_too(world: World, graph: str) -> None:
    """The same calls are remembered when a new message comes instead."""
    source = await source_of(world, graph)
    source.BROKEN.add("one")
    run = await breaks(world, graph, "mail Ann, print_ one")
    answer = (await again(world, graph, run, "thanks", resume=False)).answer
    assert answer.startswith("sent to Ann; Error: this call has no result")
    assert source.MADE == {"mail Ann": 1}


async def test_a_command_is_kept_whole(world: World) -> None:
    """What a tool wrote into the state with a `Command` is there, and its work is done once."""
    source = await source_of(world, "node")
    source.BROKEN.add("one")
    run = await breaks(world, "node", "note tea, print_ one")
    source.BROKEN.clear()
    ended = await again(world, "node", run)
    assert (ended.answer, ended.values["notes"]) == ("noted tea; printed one", ["tea"])
    assert source.MADE == {"note tea": 1, "print one": 1}


async def test_another_step_with_the_same_ids(world: World) -> None:
    """Models that number their calls from the start in each answer: the calls of the next step are made."""
    source = await source_of(world, "node")
    source.BROKEN.add("one")
    run = await breaks(world, "node", "mail Ann, print_ one; mail Bob, print_ two")
    source.BROKEN.clear()
    await again(world, "node", run)
    assert source.MADE == {"mail Ann": 1, "print one": 1, "mail Bob": 1, "print two": 1}


async def test_answers_reach_those_who_asked(world: World) -> None:
    """A step that asks twice: what had finished before is not made again, and each question gets its own answer."""
    source = await source_of(world, "by_hand")
    first = await world.turn("mail Ann, ask tea, ask milk", CurrentRun(thread_id="t"), Bundle(graph="by_hand"))
    assert first.question == "tea"
    head = first.head
    for answer, question in (("green", "milk"), ("soy", None)):
        run = CurrentRun(thread_id="t", head_checkpoint_id=head)
        ended = await world.turn(answer, run, Bundle(graph="by_hand"))
        head = ended.head
        assert ended.question == question
    assert ended.answer == "sent to Ann; tea: green; milk: soy"
    assert source.MADE == {"mail Ann": 1}


async def test_an_answer_that_broke_its_step(world: World) -> None:
    """It does not count; the answer before it does, and reaches the call that had asked for it."""
    source = await source_of(world, "by_hand")
    message = "mail Ann, ask tea, ask milk"
    first = await world.turn(message, CurrentRun(thread_id="t"), Bundle(graph="by_hand"))
    run = CurrentRun(thread_id="t", head_checkpoint_id=first.head)
    assert (await world.turn("green", run, Bundle(graph="by_hand"))).question == "milk"
    source.BROKEN.add("milk")
    run = await breaks(world, "by_hand", "sour", run.head_checkpoint_id)
    source.BROKEN.clear()
    ended = await again(world, "by_hand", run, "soy", resume=False)
    assert ended.answer == "sent to Ann; tea: green; milk: soy"
    assert source.MADE == {"mail Ann": 1}
