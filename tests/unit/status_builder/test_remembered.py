"""Whose a message is, whether a run has answered, and what it leaves beside its messages."""

from typing import Annotated, Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    PIIMiddleware,
    ToolCallRequest,
    ToolErrorMiddleware,
)
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.status.log.events import MessageEdited
from tests.unit.status_builder.runs import Told, add, tell
from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said

SECRET = "ann.doe@example.com"
TASK = {"description": "look", "subagent_type": "deputy"}


def one_node(node: Any, state: Any = MessagesState) -> Any:
    return StateGraph(state).add_node("node", node).add_edge(START, "node").add_edge("node", END).compile()


def everything(told: Told) -> str:
    return repr(told.status)


class Report(MessagesState, total=False):
    report: str
    empty: list[str]
    question: str


async def test_what_a_node_used_itself_has_its_name() -> None:
    """A model's words that never come into the state are the node's; the fields are the output, and the answer."""
    model = ScriptedModel(reply=in_turn(said("A draft.")))

    async def write(state: Report) -> Any:
        return {"report": (await model.ainvoke("draft")).text, "empty": []}

    told = await tell(one_node(write, Report), "go")
    assert (told.texts(), told.texts("node")) == ([], ["A draft."])
    assert told.deltas[-1].payload == {"output": {"report": "A draft."}}


async def test_a_field_that_only_came_in_is_no_answer() -> None:
    """It is in the output, and the run has still ended without an answer."""
    told = await tell(one_node(lambda state: {}, Report), {"question": "why?", "messages": []})
    assert [d.payload["output"] for d in told.deltas if d.kind == "output"] == [{"question": "why?"}]
    assert told.deltas[-1].payload["metadata"] == {"note": "empty_answer"}


async def test_an_agent_inside_of_a_graph_has_answered_after_an_approval() -> None:
    """The message that asked for the call comes into the outer state after the answer, and is not the last word."""
    model = ScriptedModel(reply=in_turn(said("", ("c", "add", {"a": 1, "b": 2})), said("It is 3.")))
    agent = create_agent(model, [add], middleware=[HumanInTheLoopMiddleware(interrupt_on={"add": True})])
    nested = StateGraph(MessagesState).add_node("agent", agent).add_edge(START, "agent")
    graph = nested.compile(checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"messages": [HumanMessage("1 + 2?")]}, thread)
    told = await tell(graph, Command(resume={"decisions": [{"type": "approve"}]}), configurable={"thread_id": "t"})
    assert told.texts()[-1] == "It is 3."
    assert "empty_answer" not in everything(told)
    (call,) = told.status["tool_calls"]
    assert (call["id"], call["result"]) == ("c", "3")


async def test_a_nested_graphs_own_words_have_its_name() -> None:
    """A graph that a node asks: what it said is scoped, what comes into the parent's messages is main, once."""
    inner = create_agent(ScriptedModel(reply=in_turn(said("I add.", ("c", "add", {"a": 1, "b": 2})), said("3"))), [add])

    async def ask(state: MessagesState) -> Any:
        answer = await inner.ainvoke({"messages": [HumanMessage("1 + 2?")]})
        return {"messages": [answer["messages"][-1]]}

    told = await tell(one_node(ask), "go")
    assert told.texts() == ["3"]
    assert told.texts("node/model") == ["I add."]
    assert [call["status"] for call in told.status["tool_calls"]] == ["TOOL_CALL_COMPLETED"]


class Verdict(BaseModel):
    """A verdict."""

    good: bool


async def test_a_call_that_a_node_takes_itself_is_no_open_call() -> None:
    """A structured answer within a node is COMPLETED at the end; a remembered call that nobody ran is FAILED."""
    asks = ScriptedModel(reply=in_turn(said("", ("v", "Verdict", {"good": True}))))

    async def judge(state: Report) -> Any:
        answer = await asks.ainvoke("judge")
        return {"report": str(answer.tool_calls[0]["args"]["good"])}

    told = await tell(one_node(judge, Report), "go")
    assert told.call("v")["status"] == "TOOL_CALL_COMPLETED"
    left = AIMessage("I shall look", tool_calls=[{"id": "x", "name": "look", "args": {}}])
    told = await tell(one_node(lambda state: {"messages": [left]}), "go")
    assert told.call("x")["status"] == "TOOL_CALL_FAILED"
    assert "without running this call" in told.call("x")["error"]


async def test_the_result_of_a_tool_is_an_answer() -> None:
    """`return_direct`: the run ends with the tool's result, and needs no other answer."""

    @tool(return_direct=True)
    def now() -> str:
        """The time."""
        return "noon"

    told = await tell(create_agent(ScriptedModel(reply=in_turn(said("", ("n", "now", {})))), [now]), "go")
    assert told.call("n")["result"] == "noon"
    assert not [d for d in told.deltas if d.payload.get("metadata", {}).get("note")]


async def test_redaction_of_answers_results_and_calls() -> None:
    """What the middleware redacts in answers and results is nowhere in the status."""

    @tool
    def look(name: str) -> str:
        """Look somebody up."""
        return f"write to {SECRET}"

    model = ScriptedModel(reply=in_turn(said("I look.", ("l", "look", {"name": "ann"})), said(f"It is {SECRET}")))
    guard = PIIMiddleware("email", strategy="redact", apply_to_output=True, apply_to_tool_results=True)
    told = await tell(create_agent(model, [look], middleware=[guard]), "who?")
    assert told.texts() == ["I look.", "It is [REDACTED_EMAIL]"]
    assert told.call("l")["result"] == "write to [REDACTED_EMAIL]"
    assert SECRET not in everything(told)


@tool
def look_up(name: str) -> str:
    """Look somebody up."""
    raise ValueError(f"no line to {SECRET}")


def handled(error: Exception, request: ToolCallRequest) -> str:
    return f"{type(error).__name__}: ask the operator"


class StandsIn(AgentMiddleware[Any, Any]):
    """Where the tool raises, an older answer is good enough; what a tool gives for `ann` is an error."""

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Any) -> Any:
        told = {"tool_call_id": request.tool_call["id"], "name": request.tool_call["name"]}
        try:
            await handler(request)
        except ValueError:
            return ToolMessage("as of last week", **told)
        return ToolMessage("not her again", status="error", **told)


@tool
def look(name: str) -> str:
    """Look somebody up."""
    return "found"


@pytest.mark.parametrize(
    ("tool_", "middleware", "end"),
    [
        (look_up, ToolErrorMiddleware(handled), ("TOOL_CALL_FAILED", "ValueError: ask the operator")),
        (look_up, ToolErrorMiddleware(lambda e, _: f"{e}!"), ("TOOL_CALL_FAILED", f"ValueError: no line to {SECRET}")),
        (look_up, StandsIn(), ("TOOL_CALL_COMPLETED", "as of last week")),
        (look, StandsIn(), ("TOOL_CALL_FAILED", "not her again")),
    ],
)
async def test_a_call_ends_as_the_graph_keeps_it(tool_: Any, middleware: Any, end: tuple[str, str]) -> None:
    """An error handler says what is told of an exception, and whether the call is a failure: also for a sub-agent."""
    call, deep = said("", ("l", tool_.name, {"name": "ann"})), said("", ("t", "task", TASK))
    agent = create_agent(ScriptedModel(reply=in_turn(call, said("ok"))), [tool_], middleware=[middleware])
    told = await tell(agent, "who?")
    deputy: Any = {"name": "deputy", "description": "a deputy", "runnable": agent}
    chief = create_deep_agent(ScriptedModel(reply=in_turn(deep, said("ok"))), subagents=[deputy])
    for one in (told, await tell(chief, "who?")):
        shown = one.call("l")
        assert (shown["status"], shown.get("error", shown.get("result"))) == end
        assert end[1].endswith(SECRET) or SECRET not in everything(one)


class TakesBack(AgentMiddleware[Any, Any]):
    """Takes an answer with a secret back, and says something else."""

    def after_model(self, state: Any, runtime: Any) -> Any:
        last = state["messages"][-1]
        if SECRET in str(last.text):
            return {"messages": [RemoveMessage(id=last.id), AIMessage("I may not say.")]}
        return None


async def test_a_sub_agents_guard() -> None:
    """What the guard of a sub-agent takes back is gone, too; what it says instead has its scope."""
    model = ScriptedModel(
        reply=in_turn(
            said("", ("t", "task", {"description": "dig deep", "subagent_type": "digger"})),
            said("Done."),
            dig=[said(f"Found {SECRET}")],
        )
    )
    digger: Any = {
        "name": "digger",
        "description": "digs",
        "system_prompt": "Dig.",
        "model": model,
        "tools": [],
        "middleware": [TakesBack()],
    }
    told = await tell(create_deep_agent(model=model, subagents=[digger]), "go")
    assert SECRET not in everything(told)
    assert told.texts("t") == ["I may not say."]
    assert told.texts() == ["", "Done."]


async def test_a_call_goes_with_its_message_and_what_was_said_within() -> None:
    """A summary in place of the history: neither the call nor the sub-agent's words stay."""

    def forget(state: MessagesState) -> Any:
        return {"messages": [*(RemoveMessage(id=str(m.id)) for m in state["messages"][1:]), AIMessage("All well.")]}

    model = ScriptedModel(
        reply=in_turn(
            said("", ("t", "task", {"description": "dig deep", "subagent_type": "general-purpose"})),
            said("Done."),
            dig=[said(f"Found {SECRET}")],
        )
    )
    plan = StateGraph(MessagesState).add_node("agent", create_deep_agent(model=model)).add_node("forget", forget)
    graph = plan.add_edge(START, "agent").add_edge("agent", "forget").add_edge("forget", END).compile()
    told = await tell(graph, "go")
    assert SECRET not in everything(told)
    assert told.texts() == ["All well."]
    assert "tool_calls" not in told.status


class Dicts(TypedDict, total=False):
    messages: Annotated[list[Any], lambda old, new: [*old, *new]]


class Added(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]


@pytest.mark.parametrize(
    "answer",
    [{"role": "assistant", "content": "tea"}, ("ai", "tea"), AIMessage("tea")],
    ids=["dict", "tuple", "message"],
)
@pytest.mark.parametrize("reducer", ["add_messages", "concatenation"])
async def test_messages_in_every_form_are_messages(answer: Any, reducer: str) -> None:
    """Whether the reducer makes objects of them or not: shown once, and an answer."""
    state: Any = Dicts if reducer == "concatenation" else Added
    told = await tell(one_node(lambda _: {"messages": [answer]}, state), "go")
    assert told.texts() == ["tea"]
    assert not [d for d in told.deltas if d.kind not in ("message", "message_end")]


async def test_a_tool_message_of_a_node_counts() -> None:
    """A node that answers a call by itself ends it with that result."""
    call = {"id": "c", "name": "look", "args": {}}

    def answer(state: MessagesState) -> Any:
        return {"messages": [AIMessage("", tool_calls=[call]), ToolMessage("seen", tool_call_id="c"), AIMessage("ok")]}

    told = await tell(one_node(answer), "go")
    assert (told.call("c")["status"], told.call("c")["result"]) == ("TOOL_CALL_COMPLETED", "seen")


async def test_an_edit_after_a_hand_back_leaves_finished_calls_alone() -> None:
    """A run that goes on elsewhere edits a message from before: its text, not the calls that it keeps."""
    call = {"id": "c", "name": "look", "args": {}}
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}

    def ask(state: MessagesState) -> Any:
        return {"messages": [AIMessage(SECRET, id="a", tool_calls=[call]), ToolMessage("seen", tool_call_id="c")]}

    def guard(state: MessagesState) -> Any:
        return {"messages": [AIMessage("[redacted]", id="a", tool_calls=[call])]}

    plan = StateGraph(MessagesState).add_node("ask", ask).add_node("guard", guard)
    plan.add_edge(START, "ask").add_edge("ask", "guard").add_edge("guard", END)
    graph = plan.compile(checkpointer=saver, interrupt_before=["guard"])
    await graph.ainvoke({"messages": [HumanMessage("go")]}, config)
    told = [event async for event in run_events(graph, None, config)]
    edits = [event for event in told if isinstance(event, MessageEdited)]
    assert [(e.message_id, e.text, e.requests, e.removed_calls) for e in edits] == [("a", "[redacted]", (), ())]


async def test_a_chunk_that_a_node_returns_is_one_message() -> None:
    """LangGraph makes a message of it, with an id that the chunk has not when its node ends."""
    listed = [
        AIMessageChunk(content="one"),
        AIMessageChunk(content="one"),
        ChatMessage(role="critic", content="hm"),
        AIMessage("two"),
    ]
    told = await tell(one_node(lambda state: {"messages": listed}), "go")
    assert told.texts() == ["one", "one", "two"]
    assert len(told.status["messages"]) == len(listed)
