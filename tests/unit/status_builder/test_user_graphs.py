"""Graphs of a user's own: without messages, without models, with questions, with tools in one node or in each other."""

import asyncio
from contextlib import suppress
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from agent_runner.clients.engine.stream.event_stream import V2Events, run_events
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.events import MessageFinished
from tests.unit.status_builder.runs import add, agent, rows, status_of, tell
from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said


class Talk(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Count(TypedDict):
    n: int


def chain(state: Any, *nodes: Any, **compiled: Any) -> Any:
    """A graph whose nodes follow each other."""
    graph = StateGraph(state)
    names = [START, *(getattr(node, "__name__", None) or node.name for node in nodes), END]
    for name, node in zip(names[1:], nodes, strict=False):
        graph.add_node(name, node)
    for one, next_one in pairwise(names):
        graph.add_edge(one, next_one)
    return graph.compile(**compiled)


async def test_a_graph_without_messages_ends_with_its_state() -> None:
    """The final state of a graph that has no messages is the output, and no remark about a missing answer is made."""

    def double(state: Count) -> Count:
        return {"n": state["n"] * 2}

    told = await tell(chain(Count, double), {"n": 21})
    assert [(d.kind, d.payload) for d in told.deltas] == [("output", {"output": {"n": 42}})]


async def test_messages_of_plain_functions_are_told() -> None:
    """What a node says without asking a model is an AI message; the history it was given is not told again."""

    def one(state: Talk) -> dict[str, Any]:
        return {"messages": [AIMessage(content="First.")]}

    def two(state: Talk) -> dict[str, Any]:
        return {"messages": [*state["messages"], AIMessage(content="Second.")]}

    graph = chain(Talk, one, two, checkpointer=InMemorySaver())
    thread = {"thread_id": "t"}
    assert (await tell(graph, "go", configurable=thread)).texts() == ["First.", "Second."]
    assert (await tell(graph, "again", configurable=thread)).texts() == ["First.", "Second."]


async def test_messages_given_as_input_are_not_told() -> None:
    """AI messages that came with the input are history."""

    def one(state: Talk) -> dict[str, Any]:
        return {"messages": [AIMessage(content="New.")]}

    old = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Old."}]
    assert (await tell(chain(Talk, one), {"messages": old})).texts() == ["New."]


async def test_all_calls_in_one_tool_node_find_their_ids() -> None:
    """A graph that runs all its calls in one node has each of them under the id its model gave it."""
    model = ScriptedModel(
        reply=in_turn(said("Three.", *((f"c{n}", "add", {"a": n % 2, "b": 1}) for n in range(3))), said("Done."))
    )

    async def ask(state: Talk) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def answer(state: Talk) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    told = await tell(chain(Talk, ask, ToolNode([add]), answer), "go")
    assert [(c["id"], c["result"]) for c in told.status["tool_calls"]] == [("c0", "1"), ("c1", "2"), ("c2", "1")]
    assert told.texts() == ["Three.", "Done."]


async def test_a_question_ends_the_turn_and_the_answer_resumes_it() -> None:
    """An interrupt is the last AI message and no failure; resumed, the same call keeps its id and ends."""

    @tool
    def ask_person(question: str) -> str:
        """Ask."""
        return f"they said {interrupt(question)}"

    from deepagents import create_deep_agent

    model = ScriptedModel(reply=in_turn(said("I ask.", ("q", "ask_person", {"question": "Red or blue?"})), said("Ok.")))
    graph = create_deep_agent(model=model, tools=[ask_person], checkpointer=InMemorySaver())
    thread = {"thread_id": "t"}
    told = await tell(graph, "go", configurable=thread)
    assert told.texts() == ["I ask.", "Red or blue?"]
    assert told.status["messages"][-1]["metadata"]["interrupted"] is True
    assert told.call("q")["status"] == "TOOL_CALL_PENDING"
    assert told.builder.interrupted

    resumed = await tell(graph, Command(resume="red"), configurable=thread)
    assert [(c["id"], c["result"], c["status"]) for c in resumed.status["tool_calls"]] == [
        ("q", "they said red", "TOOL_CALL_COMPLETED")
    ]
    assert resumed.texts() == ["Ok."]
    both = status_of([*told.deltas, *resumed.deltas])
    assert [c["id"] for c in both["messages"][0]["tool_calls"]] == ["q"]
    assert both["messages"][0]["tool_calls"][0]["status"] == "TOOL_CALL_COMPLETED"


async def test_a_sub_agent_of_a_sub_agent_has_both_in_its_scope() -> None:
    """The scope of a nested sub-agent is the way to it: outer call / inner call."""

    @tool
    async def inner_agent(about: str) -> str:
        """Ask another agent."""
        made = agent(
            ScriptedModel(reply=in_turn(said("Inner.", ("i1", "add", {"a": 1, "b": 1})), said("Inner result.")))
        )
        answer = await made.ainvoke({"messages": [HumanMessage(about)]})
        return str(answer["messages"][-1].text)

    from deepagents import create_deep_agent

    reply = in_turn(
        said("", ("k", "task", {"description": "OUTER", "subagent_type": "boss"})),
        said("All done."),
        OUTER=[said("Outer.", ("o1", "inner_agent", {"about": "x"})), said("Outer result.")],
    )
    boss: Any = {"name": "boss", "description": "d", "system_prompt": "p", "tools": [inner_agent]}
    told = await tell(create_deep_agent(model=ScriptedModel(reply=reply), subagents=[boss]), "go")
    assert told.texts() == ["", "All done."]
    assert told.texts("k") == ["Outer.", "Outer result."]
    assert told.texts("k/o1") == ["Inner.", "Inner result."]
    assert told.call("i1")["component_metadata"]["metadata"]["scope"] == "k/o1"
    assert told.call("o1")["result"] == "Inner result."


async def test_a_tool_within_a_tool_is_one_call() -> None:
    """A wrapper and the tool in it, as MCP adapters make them, are told as one call."""

    @tool
    async def outer(a: int) -> str:
        """Wrap."""
        return str(await add.ainvoke({"a": a, "b": 1}))

    model = ScriptedModel(reply=in_turn(said("", ("c", "outer", {"a": 1})), said("Done.")))
    from deepagents import create_deep_agent

    told = await tell(create_deep_agent(model=model, tools=[outer]), "go")
    assert [(c["id"], c["result"]) for c in told.status["tool_calls"]] == [("c", "2")]


async def test_a_structured_answer_is_the_output() -> None:
    """An agent that answers in a given form has that answer as its output."""
    from langchain.agents import create_agent
    from langchain.agents.structured_output import ToolStrategy
    from pydantic import BaseModel

    class Verdict(BaseModel):
        """A verdict."""

        good: bool

    model = ScriptedModel(reply=in_turn(said("", ("v", "Verdict", {"good": True}))))
    told = await tell(create_agent(model, tools=[], response_format=ToolStrategy(Verdict)), "go")
    assert told.deltas[-1].payload["output"] == {"good": True}
    assert told.call("v")["status"] == "TOOL_CALL_COMPLETED"


async def test_what_is_open_has_a_name() -> None:
    """At any moment the builder says what the run is in the middle of: a model call, a tool with its command."""
    reply = in_turn(said("Adding.", ("a", "add", {"a": 1, "b": 1})), said("Done."))
    builder, story = StatusBuilder(), V2Events()
    seen: list[str] = []
    async for raw in agent(ScriptedModel(reply=reply)).astream_events({"messages": [HumanMessage("go")]}, version="v2"):
        for event in story.feed(raw):
            builder.feed(event)
            if (step := builder.open_step()) not in seen[-1:]:
                seen.append(step)
    assert seen == ["model call", "", "tool 'add'", "", "model call", ""]


async def test_calls_that_are_no_json_are_failed_calls() -> None:
    """A call whose arguments cannot be read is shown with what the model wrote, and fails."""

    class Broken(ScriptedModel):
        def _generate(
            self,
            messages: list[Any],
            stop: list[str] | None = None,
            run_manager: CallbackManagerForLLMRun | None = None,
            **kwargs: Any,
        ) -> Any:
            result = super()._generate(messages, stop, run_manager, **kwargs)
            result.generations[0].message.invalid_tool_calls = [  # type: ignore[attr-defined]
                {"type": "invalid_tool_call", "id": "x", "name": "add", "args": '{"a": ', "error": "cut off"}
            ]
            return result

    async def ask(state: Talk) -> dict[str, Any]:
        return {"messages": [await Broken(reply=in_turn(said("Hm.")), disable_streaming=True).ainvoke("x")]}

    told = await tell(chain(Talk, ask), "go")
    assert told.call("x")["status"] == "TOOL_CALL_FAILED"
    assert told.call("x")["args"] == {"input": '{"a": '}
    assert told.call("x")["error"] == "cut off"


async def test_rows_of_a_run_have_no_gap() -> None:
    """Folding row by row, as a subscriber does, sees every number once."""
    told = await tell(agent(ScriptedModel(reply=in_turn(said("Hello there.")))), "go")
    assert [row.seq for row in rows(told.deltas)] == list(range(1, len(told.deltas) + 1))


async def test_a_call_of_middleware_is_no_part_of_the_conversation() -> None:
    """What middleware asks a model for itself, such as a summary, is not shown; nor is a call tagged nostream."""

    async def summarise(state: Talk) -> dict[str, Any]:
        model = ScriptedModel(reply=in_turn(said("A summary.")))
        await model.ainvoke("x", {"metadata": {"lc_source": "summarization"}})
        await model.ainvoke("x", {"tags": ["nostream"]})
        return {}

    async def answer(state: Talk) -> dict[str, Any]:
        return {"messages": [await ScriptedModel(reply=in_turn(said("Shown."))).ainvoke("x")]}

    assert (await tell(chain(Talk, summarise, answer), "go")).texts() == ["Shown."]


async def test_a_run_that_is_handed_over_goes_on_in_its_place() -> None:
    """After a drain at a step boundary another builder tells the rest: no call twice, none lost, links kept."""
    from langgraph.errors import GraphDrained
    from langgraph.runtime import RunControl

    reply = in_turn(said("Two.", ("a", "add", {"a": 1, "b": 1}), ("b", "add", {"a": 2, "b": 2})), said("Done."))
    graph = agent(ScriptedModel(reply=reply), checkpointer=InMemorySaver())
    thread, control = {"thread_id": "t"}, RunControl()
    first, builder = [], StatusBuilder()
    asked = {"messages": [HumanMessage("go")]}
    try:
        async for event in run_events(graph, asked, {"configurable": thread}, control=control):
            first += builder.feed(event)
            if isinstance(event, MessageFinished):
                control.request_drain("deploy")
        pytest.fail("the run was not drained")
    except GraphDrained:
        pass
    assert builder.open_step() == ""
    second = await tell(graph, None, configurable=thread)
    status = status_of([*first, *builder.break_off(), *second.deltas])
    assert [m["content"] for m in status["messages"]] == ["Two.", "Done."]
    assert [(c["id"], c["result"]) for c in status["tool_calls"]] == [("a", "2"), ("b", "4")]
    assert status["messages"][0]["tool_calls"] == status["tool_calls"]


async def test_a_tool_call_that_its_graph_stops_ends_and_says_so() -> None:
    """A node's own time limit cancels its tool: the call is FAILED at once, in words, and the graph goes on."""

    @tool
    async def wait(what: str) -> str:
        """Wait."""
        await asyncio.Event().wait()
        return what

    async def impatient(state: Talk) -> dict[str, Any]:
        call = {"type": "tool_call", "name": "wait", "args": {"what": "rain"}, "id": "w"}
        with suppress(TimeoutError):
            await asyncio.wait_for(wait.ainvoke(call), 0.05)
        return {"messages": [AIMessage(content="It did not rain.")]}

    told = await tell(chain(Talk, impatient), "go")
    (ended,) = [delta.payload for delta in told.deltas if delta.kind == "tool_end"]
    assert (ended["status"], ended["error"]) == ("TOOL_CALL_FAILED", "The graph stopped this before it had ended")
    assert told.texts() == ["It did not rain."]
