"""Messages out of callbacks: whatever a graph does, they are those of LangGraph's stream mode `messages`."""

from collections import defaultdict
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

from agent_runner.clients.engine.stream import event_stream
from agent_runner.clients.engine.stream.event_sources import read_events
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.stream.graph_parts import GraphParts
from agent_runner.clients.engine.stream.message_callbacks import MessageCallbacks
from agent_runner.status.log.events import StreamPart
from agent_runner.status.requests.run_request import MESSAGES, UPDATES, RunRequest
from tests.unit.status_builder import test_event_sources as nodes
from tests.unit.status_builder.runs import agent
from tests.unit.status_builder.scripted_model import ScriptedModel
from tests.unit.status_builder.test_deep_agent import FULL_RUN
from tests.unit.status_builder.test_event_sources import ASKED, asks, graph_of, speaker

Found = list[tuple[Any, ...]]


def says(state: MessagesState) -> Any:
    return {"messages": [AIMessage("Said without a model."), AIMessage("Again.", id="again")]}


def commands(state: MessagesState) -> Any:
    return Command(update={"messages": [AIMessage("By a command.")]})


async def asks_in_secret(state: MessagesState) -> Any:
    await speaker("Nobody hears.").ainvoke(state["messages"], {"tags": ["nostream"]})
    await speaker("With a tag.").ainvoke(state["messages"], {"tags": ["mine"]})
    return {}


async def wants_to_know(state: MessagesState) -> Any:
    await speaker("Before the question.").ainvoke(state["messages"])
    return {"messages": [AIMessage(interrupt("which?"))]}


async def fails(state: MessagesState) -> Any:
    await speaker("Before the failure.").ainvoke(state["messages"])
    raise ValueError("no")


async def within(state: MessagesState) -> Any:
    return await graph_of(asks, says).ainvoke(state)


def fan() -> Any:
    graph = StateGraph(MessagesState).add_node("asks", asks)
    graph.add_conditional_edges(START, lambda state: [Send("asks", state), Send("asks", state)], ["asks"])
    return graph.compile()


def nested() -> Any:
    inner = graph_of(asks, says)
    return StateGraph(MessagesState).add_node("inner", inner).add_edge(START, "inner").compile(InMemorySaver())


async def both(graph: Any) -> tuple[Found, Found]:
    """(of callbacks, of the stream), of one run."""
    ours: Found = []
    theirs: Found = []
    config: Any = {"callbacks": [MessageCallbacks(ours.append)], "configurable": {"thread_id": "t"}}
    try:
        async for chunk in graph.astream(ASKED, config, stream_mode=["messages"], subgraphs=True):
            theirs.append(chunk)
    except ValueError:
        pass
    return ours, theirs


@pytest.mark.parametrize(
    "node",
    [
        *(asks, nodes.asks_from_a_thread, nodes.asks_twice_for_the_price_of_one, nodes.asks_one_that_dies),
        *(nodes.asks_no_chat_model, nodes.reads_another_graphs_events, nodes.retrieves, nodes.calls_a_tool_itself),
        *(says, commands, asks_in_secret, wants_to_know, fails, within),
    ],
)
async def test_the_messages_of_a_node_are_those_of_the_stream(node: Any) -> None:
    """With their places and metadata, in their order: of models, of nodes, within other graphs, before a bad end."""
    ours, theirs = await both(graph_of(node))
    assert theirs
    assert ours == theirs


@pytest.mark.parametrize("graph", [fan, nested, lambda: agent(ScriptedModel(reply=FULL_RUN))])
async def test_messages_side_by_side(graph: Any) -> None:
    """Of nodes and sub-agents at the same time: those of each message in their order."""
    ours, theirs = await both(graph().with_config(recursion_limit=100))
    assert _by_message(ours) == _by_message(theirs)
    assert len(ours) == len(theirs) > 2


def _by_message(found: Found) -> Any:
    told: Any = defaultdict(list)
    for namespace, _, (message, metadata) in found:
        told[message.id].append((namespace, message, metadata))
    return told


@pytest.mark.parametrize(("parts", "way"), [((MESSAGES,), True), ((MESSAGES, UPDATES), False)])
async def test_only_messages_alone_take_this_way(
    monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...], way: bool
) -> None:
    """The order between messages and other parts is the stream's own; either way all are told."""
    source, taken = read_events, []

    def watched(*args: Any, messages: bool = False, **options: Any) -> Any:
        taken.append((messages, MESSAGES in options["stream_mode"]))
        return source(*args, messages=messages, **options)

    monkeypatch.setattr(event_stream, "read_events", watched)
    asked = GraphParts(RunRequest(parts=parts))
    events = [e async for e in run_events(graph_of(asks, says), ASKED, {}, asked)]
    told = [event.data[0]["content"] for event in events if isinstance(event, StreamPart) and event.part == MESSAGES]
    assert taken == [(way, not way)]
    assert told == ["By ", "the ", "loop.", "", "Said without a model.", "Again."]
