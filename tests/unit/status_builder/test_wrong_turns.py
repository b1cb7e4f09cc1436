"""A graph that is sent to a node which it does not have: LangGraph ends the run as a success, the status tells it."""

import operator
from dataclasses import asdict
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from agent_runner.app.cli.story import Story
from agent_runner.app.server.resources.session_state import remembered
from agent_runner.clients.backend.http_api import StreamEvent
from agent_runner.clients.engine.user_graphs.wrong_turns import notice_wrong_turns
from agent_runner.status.log.log import fold
from tests.unit.status_builder.runs import Told, rows, tell

HAS = "It has: 'plan', 'review'."


@pytest.fixture(autouse=True)
def noticed() -> None:
    notice_wrong_turns()


class Did(TypedDict, total=False):
    did: Annotated[list[str], operator.add]


def planned(goto: Any = None, edge: Any = None, *, defer: bool = False) -> Any:
    """plan -> (goto or edge) -> review."""
    builder = StateGraph(Did)

    def plan(state: Did) -> Any:
        return Command(goto=goto, update={"did": ["plan"]}) if goto else {"did": ["plan"]}

    builder.add_node("plan", plan)
    builder.add_node("review", lambda state: {"did": ["review"]}, defer=defer)
    builder.add_edge(START, "plan").add_edge("review", END)
    if edge:
        builder.add_conditional_edges("plan", lambda state: edge)
    return builder.compile()


def notes(told: Told) -> list[str]:
    said = [message for message in told.status.get("messages", []) if message["metadata"].get("note") == "wrong_turn"]
    assert all(message["type"] == "MESSAGE_SYSTEM" for message in said)
    return [message["content"] for message in said]


def to(target: str, node: str = "plan", has: str = HAS) -> str:
    sent = f"The node {node} sent the run on to '{target}', a node that its graph does not have: nothing ran there."
    return f"{sent} {has}".replace("node plan", "node 'plan'")


@pytest.mark.parametrize(
    "given",
    [
        {"goto": "reviewer"},
        {"edge": "reviewer"},
        {"goto": Send("reviewer", {})},
        {"edge": Send("reviewer", {})},
        {"goto": ["review", "reviewer"]},
        {"edge": [Send("review", {}), Send("reviewer", {}), Send("reviewer", {})]},
    ],
)
async def test_a_route_to_a_node_that_is_not_there_is_told(given: Any) -> None:
    """Once, with the node that routed, the target and what there is."""
    told = await tell(planned(**given), {"did": []})
    assert told.error is None
    assert notes(told) == [to("reviewer")]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"goto": END},
        {"edge": END},
        {"goto": "review"},
        {"edge": "review"},
        {"edge": "review", "defer": True},
        {"goto": "review", "defer": True},
        {"goto": Send("review", {})},
        {"goto": ["review", END]},
    ],
)
async def test_a_route_to_what_is_there_is_no_wrong_turn(given: Any) -> None:
    """Nor is one to the end, nor one to a node that waits for all others."""
    assert notes(await tell(planned(**given), {"did": []})) == []


def nested(goto: Any, *, parent: bool) -> Any:
    """outer: START -> team, other; team: lead -> goto."""

    def lead(state: MessagesState) -> Any:
        return Command(goto=goto, graph=Command.PARENT if parent else None)

    team = StateGraph(MessagesState).add_node("lead", lead).add_edge(START, "lead").compile()
    outer = StateGraph(MessagesState).add_node("team", team).add_edge(START, "team")
    outer.add_node("other", lambda state: {"messages": [AIMessage("done")]})
    return outer.compile(checkpointer=InMemorySaver())


async def test_a_wrong_turn_of_a_nested_graph_says_where() -> None:
    """The usual slip: a node of the parent graph, without `Command.PARENT`."""
    told = await tell(nested("other", parent=False), "go", configurable={"thread_id": "t"})
    assert notes(told) == [to("other", "'lead' within 'team'", "It has: 'lead'.")]


async def test_a_turn_into_the_parent_graph_is_looked_for_there() -> None:
    """Where it has the node, all is well; where it has not, the nested graph is the node that routed."""
    told = await tell(nested("other", parent=True), "go", configurable={"thread_id": "t"})
    assert (notes(told), told.texts()) == ([], ["done"])
    told = await tell(nested("others", parent=True), "go", configurable={"thread_id": "t"})
    assert notes(told) == [to("others", "'team'", "It has: 'team', 'other'.")]


@pytest.mark.parametrize("goto", ["reviewer", Send("reviewer", {}), ["reviewer", "review", END]])
async def test_a_command_of_the_caller_is_told_too(goto: Any) -> None:
    """There no node has routed."""
    told = await tell(planned(), Command(goto=goto, update={"did": []}))
    sent = "The caller's command sent the run on to 'reviewer', a node that its graph does not have"
    assert notes(told) == [f"{sent}: nothing ran there. {HAS}"]
    assert notes(await tell(planned(), Command(goto=["review", END], update={"did": []}))) == []


async def test_a_route_at_the_start_is_told() -> None:
    """LangGraph's name of the start is what the author of the graph wrote, too."""
    builder = StateGraph(Did)
    builder.add_node("plan", lambda state: {"did": ["plan"]})
    builder.add_conditional_edges(START, lambda state: "planner")
    assert notes(await tell(builder.compile(), {"did": []})) == [to("planner", "'__start__'", "It has: 'plan'.")]


async def test_a_graph_that_a_node_calls_in_a_thread_is_heard() -> None:
    """`invoke` in a plain function runs in another thread; the note is in its place nevertheless."""
    inner = planned(goto="reviewer")

    def ask(state: MessagesState) -> Any:
        inner.invoke({"did": []})
        return {"messages": [AIMessage("asked")]}

    graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    told = await tell(graph, "go")
    assert notes(told) == [to("reviewer", "'plan' within 'ask'")]
    assert [m["content"] for m in told.status["messages"]][-1] == "asked"


async def test_what_a_model_wrote_in_place_of_a_name_is_cut_and_many_are_bounded() -> None:
    """A route that is a whole answer, and a fan-out into nothing."""
    (note,) = notes(await tell(planned(goto="r" * 100_000), {"did": []}))
    assert len(note) < 500
    assert len(notes(await tell(planned(goto=[f"n{n}" for n in range(100)]), {"did": []}))) == 20


async def test_a_readers_memory_of_the_session_has_no_note() -> None:
    """The graph does not know what this system says beside it."""
    told = await tell(nested("others", parent=True), "go", configurable={"thread_id": "t"})
    state = fold(rows(told.deltas))
    assert any(message["metadata"].get("note") == "wrong_turn" for message in state.messages.values())
    assert [m for m in remembered(state) if m["type"] == "MESSAGE_SYSTEM"] == []


async def test_the_command_line_says_it() -> None:
    """As a line of its own, while the run goes on."""
    told = await tell(planned(goto="reviewer"), {"did": []})
    story = Story()
    said = [
        line.text
        for row in rows(told.deltas)
        for line in story.tell(StreamEvent(kind="update", id=row.seq, data=asdict(row)))
    ]
    assert to("reviewer") in said
