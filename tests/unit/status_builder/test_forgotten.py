"""A graph that removes all of its messages: what the user asked is still to be read."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from agent_runner.app.server.resources.session_state import remembered
from agent_runner.status.log.log import Delta, fold
from tests.unit.status_builder.runs import Told, rows, tell

CLEAR = RemoveMessage(id=REMOVE_ALL_MESSAGES)
ASKED = [HumanMessage("My name is Ann.", id="h1"), HumanMessage("Who am I?", id="h2")]


async def told_of(*said: BaseMessage, nested: bool = False) -> Told:
    """Of a run on ASKED, whose first rows the server writes, and whose one node answers with `said`."""

    def node(state: MessagesState) -> Any:
        return {"messages": list(said)}

    graph: Any = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    if nested:
        graph = StateGraph(MessagesState).add_node("inner", graph).add_edge(START, "inner").compile()
    told = await tell(graph, {"messages": list(ASKED)})
    first = [
        Delta(kind="message", payload={"id": id_, "type": "MESSAGE_HUMAN", "content": message.text})
        for id_, message in zip(("input-1", "user"), ASKED, strict=True)
    ]
    told.deltas = [*first, *told.deltas]
    return told


def shown(told: Told) -> list[tuple[str, dict[str, Any]]]:
    """The user's own messages."""
    humans = [one for one in told.status["messages"] if one["type"] == "MESSAGE_HUMAN"]
    ours = ("removed", "forgotten")
    marks = [{k: v for k, v in one.get("metadata", {}).items() if k in ours} for one in humans]
    return [(one.get("content", ""), mark) for one, mark in zip(humans, marks, strict=True)]


def memory(told: Told) -> Sequence[str]:
    return [one.get("content", "") for one in remembered(fold(rows(told.deltas)))]


@pytest.mark.parametrize("said", [[CLEAR], [CLEAR, AIMessage("I know nothing.")]])
async def test_what_the_user_asked_stays_when_the_graph_forgets_all(said: list[BaseMessage]) -> None:
    """With its text and a mark; no row takes the text out of the store, and it is no part of the session's memory."""
    told = await told_of(*said)
    assert shown(told) == [("My name is Ann.", {"forgotten": True}), ("Who am I?", {"forgotten": True})]
    assert not [one for one in told.deltas if one.kind == "message_removed"]
    assert memory(told) == [message.text for message in said[1:]]


async def test_what_is_kept_beside_a_summary_is_not_forgotten() -> None:
    """A summary takes all away and puts the last messages back."""
    told = await told_of(CLEAR, AIMessage("Ann introduced herself."), ASKED[1])
    assert shown(told) == [("My name is Ann.", {"forgotten": True}), ("Who am I?", {})]
    assert "Who am I?" in memory(told)


async def test_a_message_that_is_taken_back_by_its_id_is_not_shown() -> None:
    """A guard that does not let something in; its text may be private."""
    told = await told_of(RemoveMessage(id="h2"), AIMessage("I may not answer that."))
    assert shown(told)[-1] == ("", {"removed": True})


async def test_what_a_nested_graph_forgets_is_still_known() -> None:
    """Its parent keeps the messages."""
    told = await told_of(CLEAR, AIMessage("I know nothing."), nested=True)
    assert [text for text, metadata in shown(told) if not metadata] == ["My name is Ann.", "Who am I?"]
