"""Messages of blocks as graphs get them, in every form that a graph can have."""

from typing import Any, TypedDict

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.graph_input import graph_input
from agent_runner.clients.engine.turn import Given, open_turn
from agent_runner.clients.engine.user_graphs.user_graphs import Graph, GraphError

BLOCKS = [{"type": "text", "text": "What is this?"}, {"type": "image", "base64": "aGk=", "mime_type": "image/png"}]
MESSAGE = HumanMessage(BLOCKS)  # type: ignore[arg-type]
OWN = Bundle(graph="g")


class NoMessages(TypedDict):
    n: int


def graph_of(schema: Any, node: Any = lambda state: None) -> Graph:
    made: Graph = StateGraph(schema).add_node("n", node).add_edge(START, "n").compile(InMemorySaver())
    return made


def functional(wanted: Any) -> Graph:
    def answer(given: Any) -> Any:
        return given

    answer.__annotations__["given"] = wanted
    made: Graph = entrypoint()(answer)
    return made


def test_a_graph_with_messages() -> None:
    """Its message has the blocks, behind the messages of the input."""
    given = graph_input(graph_of(MessagesState), OWN, "What is this?", "", BLOCKS)
    assert given["messages"][0].content == BLOCKS
    given = graph_input(graph_of(MessagesState), OWN, "What is this?", '{"messages": [["user", "hi"]]}', BLOCKS)
    assert [m.content for m in given["messages"]] == ["hi", BLOCKS]


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (Any, BLOCKS),
        (object, BLOCKS),
        (list[BaseMessage], [MESSAGE]),
        (dict[str, Any], {"messages": [MESSAGE]}),
        (MessagesState, {"messages": [MESSAGE]}),
    ],
)
def test_an_entrypoint(wanted: Any, given: Any) -> None:
    """What its author wants, of blocks too."""
    assert graph_input(functional(wanted), OWN, "What is this?", "", BLOCKS) == given


@pytest.mark.parametrize("graph", [graph_of(NoMessages), functional(str), functional(NoMessages)])
def test_a_graph_that_takes_no_message(graph: Graph) -> None:
    """Is told so, and never gets a message without its picture."""
    with pytest.raises(GraphError, match="has no 'messages' channel"):
        graph_input(graph, OWN, "What is this?", "", BLOCKS)


async def test_an_answer_of_blocks() -> None:
    """A question that takes anything gets the blocks, as JSON."""
    graph = graph_of(MessagesState, lambda state: {"messages": [str(interrupt("a picture?"))]})
    run = CurrentRun(thread_id="t")
    await graph.ainvoke({"messages": ["hi"]}, {"configurable": {"thread_id": "t"}})
    turn = await open_turn(graph, run, OWN, Given(message="What is this?", blocks=BLOCKS))
    (answer,) = turn.input.resume.values()
    assert answer == BLOCKS
