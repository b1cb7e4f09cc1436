"""What nodes tell of their own progress, by every documented way, in order, bounded."""

from typing import Any

import pytest
from deepagents import SubAgent, create_deep_agent
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import StreamWriter

from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.custom import CustomLimits
from agent_runner.status.log.events import CustomData
from tests.unit.status_builder.runs import tell
from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said


def one_node(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("export", node).add_edge(START, "export").compile()


async def by_writer(state: MessagesState) -> Any:
    write = get_stream_writer()
    write({"done": 1})
    write({"done": 2})
    return {"messages": [AIMessage("exported")]}


async def by_parameter(state: MessagesState, writer: StreamWriter) -> Any:
    writer({"done": 1})
    writer({"done": 2})
    return {"messages": [AIMessage("exported")]}


def by_a_blocking_writer(state: MessagesState) -> Any:
    write = get_stream_writer()
    write({"done": 1})
    write({"done": 2})
    return {"messages": [AIMessage("exported")]}


async def by_dispatch(state: MessagesState) -> Any:
    for done in (1, 2):
        await adispatch_custom_event("export", {"done": done})
    return {"messages": [AIMessage("exported")]}


def by_blocking_dispatch(state: MessagesState, config: RunnableConfig) -> Any:
    for done in (1, 2):
        dispatch_custom_event("export", {"done": done}, config=config)
    return {"messages": [AIMessage("exported")]}


@pytest.mark.parametrize("node", [by_writer, by_parameter, by_a_blocking_writer, by_dispatch, by_blocking_dispatch])
async def test_progress_is_told_by_every_way(node: Any) -> None:
    """Each piece is one row, in order, with the node and, where it was dispatched, the name."""
    told = await tell(one_node(node), "go")
    name = {"name": "export"} if "dispatch" in node.__name__ else {}
    assert told.error is None
    assert [d.payload for d in told.deltas if d.kind == "custom"] == [
        {"data": {"done": 1}, "node": "export", **name},
        {"data": {"done": 2}, "node": "export", **name},
    ]
    assert told.texts() == ["exported"]


async def test_progress_of_a_sub_graph_names_its_own_node() -> None:
    """A graph that is a node of another tells its progress too."""
    outer = StateGraph(MessagesState).add_node("inner", one_node(by_writer)).add_edge(START, "inner").compile()
    told = await tell(outer, "go")
    custom = [d.payload for d in told.deltas if d.kind == "custom"]
    assert custom == [{"data": {"done": n}, "node": "export"} for n in (1, 2)]


async def test_a_question_in_a_sub_graph_is_asked_once() -> None:
    """Listening to sub-graphs too does not tell their interrupts a second time."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import interrupt

    def ask(state: MessagesState) -> Any:
        return {"messages": [AIMessage(interrupt("which colour?"))]}

    inner = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    graph = StateGraph(MessagesState).add_node("inner", inner).add_edge(START, "inner")
    compiled = graph.compile(checkpointer=InMemorySaver())
    told = await tell(compiled, "go", configurable={"thread_id": "t"})
    assert told.texts() == ["which colour?"]


async def test_progress_is_bounded() -> None:
    """A large piece is cut with a note; a run that tells too much is told so once, and goes on."""

    async def flood(state: MessagesState) -> Any:
        write = get_stream_writer()
        write({"text": "x" * 5000})
        for n in range(50):
            write(n)
        return {"messages": [AIMessage("done")]}

    builder = StatusBuilder(custom=CustomLimits(row_bytes=1000, rows=10))
    deltas = []
    async for event in run_events(one_node(flood), {"messages": [("user", "go")]}, {}):
        deltas += builder.feed(event)
    rows = [d.payload for d in deltas if d.kind == "custom"]
    assert "[cut here: 1000 of" in str(rows[0]["data"])
    assert [row["data"] for row in rows[1:]] == [*range(9), None]
    assert "not kept from here on" in rows[-1]["note"]
    assert any(d.kind == "message" and d.payload["content"] == "done" for d in deltas)


def test_the_bytes_of_a_run_are_bounded() -> None:
    """Many small rows end where the run's bytes do."""
    builder = StatusBuilder(custom=CustomLimits(row_bytes=100, rows=1000, run_bytes=500))
    rows = [builder.feed(CustomData(scope="", data="x" * 98)) for _ in range(20)]
    assert [len(row) for row in rows] == [1] * 6 + [0] * 14


async def test_progress_of_a_sub_agent_carries_its_scope() -> None:
    """What a sub-agent's tool tells belongs to the sub-agent, what the main agent's tells to nobody else."""
    from langchain_core.tools import tool

    @tool
    async def export(rows: int) -> str:
        """Export."""
        get_stream_writer()({"rows": rows})
        return "ok"

    to_helper = {"description": "export these", "subagent_type": "helper"}
    model = ScriptedModel(
        reply=in_turn(
            said("", ("c1", "export", {"rows": 1})),
            said("", ("c2", "task", to_helper)),
            said("Done."),
            these=[said("", ("c3", "export", {"rows": 2})), said("Exported two.")],
        )
    )
    helper: SubAgent = {"name": "helper", "description": "helps", "system_prompt": "Help.", "tools": [export]}
    told = await tell(create_deep_agent(model=model, tools=[export], subagents=[helper]), "go")
    custom = [d.payload for d in told.deltas if d.kind == "custom"]
    assert told.error is None
    assert [(row["data"]["rows"], bool(row.get("scope"))) for row in custom] == [(1, False), (2, True)]
