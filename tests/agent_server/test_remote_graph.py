"""LangGraph's `RemoteGraph` against us: a graph here is called as a graph there, alone or as a node of another one."""

from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command


class State(TypedDict, total=False):
    n: int
    ran: list[str]


@pytest.fixture
def remote(client: Any) -> Any:
    return lambda name: RemoteGraph(name, client=client)


async def streamed(graph: Any, given: Any, **how: Any) -> list[Any]:
    return [part async for part in graph.astream(given, **how)]


async def test_it_is_called_and_streamed(remote: Any) -> None:
    """Values, updates, those of sub-graphs with their place, messages, what nodes write; its drawing."""
    counted = {"n": 4, "ran": ["add", "double"]}
    assert await remote("count").ainvoke({"n": 1}) == counted
    add, double = {"add": {"n": 2, "ran": ["add"]}}, {"double": {"n": 4, "ran": ["double"]}}
    assert await streamed(remote("count"), {"n": 1}, stream_mode="updates") == [add, double]
    assert await streamed(remote("count"), {"n": 1}, stream_mode="custom") == [{"adding": 1}]
    inside = await streamed(remote("outer"), {"n": 1}, stream_mode="updates", subgraphs=True)
    assert [(place[0].split(":")[0] if place else "", part) for place, part in inside] == [
        ("inner", add), ("inner", double), ("", {"inner": counted}),
    ]  # fmt: skip
    said = {"messages": [{"role": "user", "content": "hi"}]}
    pieces = await streamed(remote("talk"), said, stream_mode="messages")
    assert "".join(piece["content"] for piece, _ in pieces) == "one two three"
    assert list((await remote("count").aget_graph()).nodes) == ["__start__", "add", "double", "__end__"]


async def test_its_thread_has_questions_states_and_a_history(client: Any, remote: Any) -> None:
    """An answer goes on; the state is changed as a node would."""
    ask, thread = remote("ask"), (await client.threads.create())["thread_id"]
    place = {"configurable": {"thread_id": thread}}
    asked = await ask.ainvoke({"n": 1}, place)
    assert asked["__interrupt__"][0]["value"] == {"question": "go on?", "n": 2}
    assert (await ask.aget_state(place)).next == ("question",)
    assert (await ask.ainvoke(Command(resume="yes"), place))["answer"] == "yes"
    assert [state.next async for state in ask.aget_state_history(place)] == [
        (),
        ("question",),
        ("add",),
        ("__start__",),
    ]
    await ask.aupdate_state(place, {"n": 9})
    assert (await ask.aget_state(place)).values["n"] == 9


async def test_it_fails_with_our_code(remote: Any) -> None:
    """The exception of the graph, and what to do."""
    with pytest.raises(RemoteException) as failed:
        await remote("fails").ainvoke({"n": 1, "kind": "value"})
    told = failed.value.args[0]
    assert (told["error"], told["message"], told["code"]) == ("ValueError", "no value", "E301")


async def test_it_is_a_node_of_another_graph(remote: Any) -> None:
    """Its last values are the node's update."""
    local = StateGraph(State).add_node("far", remote("count")).add_edge(START, "far").compile()
    assert await local.ainvoke({"n": 1}) == {"n": 4, "ran": ["add", "double"]}
