"""Both sources of events tell the same status."""

from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from agent_runner.clients.engine.stream import event_stream as stream
from agent_runner.clients.engine.stream import fast_stream
from tests.unit.status_builder.runs import Told, add, agent, tell
from tests.unit.status_builder.scripted_model import Reply, ScriptedModel, in_turn, said
from tests.unit.status_builder.test_deep_agent import FULL_RUN
from tests.unit.status_builder.test_user_graphs import Count, Talk, chain

_UNSTABLE = {"timestamp", "started_at", "completed_at", "created_at", "updated_at", "message_id"}


@tool
def ask_person(question: str) -> str:
    """Ask."""
    return f"they said {interrupt(question)}"


def plain(told: Told) -> Any:
    """The status without times and random ids; lists of parallel sub-agents in the order of their content."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            if "expects" in value:  # an open question: its id is of this run
                value = {**value, "id": ""}
            # a failed call's text is the exception in one source, what the model read of it in the other
            failed = {"error", "result"} if value.get("status") == "TOOL_CALL_FAILED" else set()
            return {k: of(v) for k, v in value.items() if k not in _UNSTABLE | failed}
        return [of(v) for v in value] if isinstance(value, list) else value

    status = of(told.status)
    by_scope = [m for m in status.get("messages", []) if m.get("metadata", {}).get("scope")]
    main = [m for m in status.get("messages", []) if not m.get("metadata", {}).get("scope")]
    status["messages"] = main + sorted(by_scope, key=str)
    status["tool_calls"] = sorted(status.get("tool_calls", []), key=lambda c: str(c["id"]))
    return status, told.builder.tool_calls, told.builder.used.tokens, told.builder.interrupted, repr(told.error)


_QUESTION = in_turn(said("I ask.", ("q", "ask_person", {"question": "Red or blue?"})), said("Ok."))
_FAILING = in_turn(said("I try.", ("f", "fail", {"why": "no such host"})))


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("reply", [FULL_RUN, _FAILING, in_turn(said("")), in_turn(said("Hi."))])
async def test_both_sources_tell_the_same(reply: Reply, blocks: bool) -> None:
    """A run told by `astream` and by `astream_events` folds to the same status."""
    graph = agent(ScriptedModel(reply=reply, blocks=blocks))
    assert plain(await tell(graph, "go", source=fast_stream.run_events)) == plain(await tell(graph, "go"))


async def test_both_tell_the_same_of_a_question() -> None:
    """An interrupt reads the same from both sources."""
    from deepagents import create_deep_agent

    graph = create_deep_agent(model=ScriptedModel(reply=_QUESTION), tools=[ask_person], checkpointer=InMemorySaver())
    one = await tell(graph, "go", source=fast_stream.run_events, configurable={"thread_id": "1"})
    assert plain(one) == plain(await tell(graph, "go", source=stream.run_events, configurable={"thread_id": "2"}))


async def test_both_tell_the_same_of_other_graphs() -> None:
    """A graph without messages, one whose nodes ask no model, and a half message."""
    from langchain_core.messages import AIMessage

    def double(state: Count) -> Count:
        return {"n": state["n"] * 2}

    def speak(state: Talk) -> dict[str, Any]:
        return {"messages": [AIMessage(content="First.")]}

    async def think(state: Talk) -> dict[str, Any]:
        model = ScriptedModel(reply=in_turn(said("Only a thought.")))
        return {"messages": [AIMessage(content=str((await model.ainvoke("x")).text).upper())]}

    dying = agent(ScriptedModel(reply=in_turn(said("I will die of this here")), dies_after=3))
    for graph, asked in (
        (chain(Count, double), {"n": 1}),
        (chain(Talk, speak), "go"),
        (chain(Talk, think), "go"),
        (dying, "go"),
    ):
        assert plain(await tell(graph, asked, source=fast_stream.run_events)) == plain(await tell(graph, asked))


async def test_the_fast_source_keeps_sub_agents_apart() -> None:
    """Scopes come from the namespaces alone."""
    told = await tell(agent(ScriptedModel(reply=FULL_RUN)), "go", source=fast_stream.run_events)
    assert told.texts("k1") == ["Alpha looks.", "Alpha result."]
    assert told.texts("k2") == ["Beta looks.", "Beta result."]
    assert add.name in {call["name"] for call in told.status["tool_calls"]}
