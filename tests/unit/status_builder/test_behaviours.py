"""Whatever an agent does, in however many turns, its status is LangGraph's own final state: also that of sub-agents.

`AGENT_RUNNER_TEST_BEHAVIOURS` says how many behaviours are made (2,000 once; the default is cheap).
"""

import json
import os
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.types import Command

from tests.unit.status_builder.behaviours import DEPTH, DEPUTIES, FINAL, SAVER, agent
from tests.unit.status_builder.runs import Told, tell

EXAMPLES = int(os.environ.get("AGENT_RUNNER_TEST_BEHAVIOURS", "25"))
NEXT = count(1)

numbers = st.integers(0, 1)  # few, so that calls are often identical
IDS = st.sampled_from(["call_1", "call_2", "call_3", ""])
"""Of a call. Models use one id again, in a loop and in sub-agents; empty: one of its own."""


def plain_calls() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.one_of(
        st.tuples(st.just("add"), st.fixed_dictionaries({"a": numbers, "b": numbers})),
        st.tuples(st.just("add"), st.just({"a": "x", "b": 1})),
        st.tuples(st.just("fail"), st.just({"why": "no such host"})),
        st.tuples(st.just("flaky"), st.builds(lambda n: {"times": n}, st.integers(1, 3))),
        st.tuples(st.just("ask"), st.just({"question": "Red or blue?"})),
        st.tuples(st.just("pay"), st.just({"to": "Ann"})),
        st.tuples(st.just("nothing_like_it"), st.just({"q": 1})),
        st.tuples(st.just("task"), st.just({"description": "{}", "subagent_type": "nobody"})),
    )


def calls(depth: int) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    if not depth:
        return plain_calls()
    delegated = st.builds(
        lambda script, who: ("task", {"script": script, "subagent_type": who}),
        scripts(depth - 1),
        st.sampled_from(DEPUTIES),
    )
    return st.one_of(plain_calls(), delegated)


def steps(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "text": st.sampled_from(["", "I look at it.", "And now the next thing, at length."]),
            "calls": st.lists(st.tuples(IDS, calls(depth)), min_size=1, max_size=3),
            "dies": st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2]),
            "then": st.sampled_from(["", "", "", "edit", "take_back", "redact", "forget"]),
        }
    )


def scripts(depth: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(steps(depth), min_size=0 if depth < DEPTH else 1, max_size=3 if depth == DEPTH else 2)


def written(steps_: Sequence[dict[str, Any]], asks: bool) -> dict[str, Any]:
    """The script as the agent gets it: everything in it has an id of its own. `asks`: a person is asked somewhere."""
    script: dict[str, Any] = {"id": f"s{next(NEXT)}", "steps": []}
    for step in steps_:
        made: list[dict[str, Any]] = []
        for id_, (name, args) in step["calls"]:
            # A call that waits goes on in the next turn under the id that the model gave it, so it has one of its own.
            again = asks or id_ in {call["id"] for call in made}
            id_ = f"own_{next(NEXT)}" if again or not id_ else id_
            if "script" in args:
                args = {**args, "description": json.dumps(written(args["script"], asks))}
                del args["script"]
            if name == "flaky":
                args = {**args, "key": f"k{next(NEXT)}"}
            made.append({"id": id_, "name": name, "args": args})
        # These may change what an earlier turn has shown: a turn that is over does not change.
        then = "" if asks and step["then"] in ("forget", "redact") else step["then"]
        script["steps"].append({**step, "calls": made, "then": then})
    return script


def asks_in(steps_: Sequence[dict[str, Any]]) -> bool:
    return any(
        name in ("ask", "pay") or asks_in(args.get("script", ()))
        for step in steps_
        for _, (name, args) in step["calls"]
    )


async def turns(graph: Any, asked: str, config: Any, choose: Callable[[int], list[int]]) -> list[Told]:
    """The executions of one conversation, until no question is open. `choose`: those that are answered, of so many."""
    told = [await tell(graph, asked, **config)]
    for _ in range(40):
        state = await graph.aget_state(config)
        if not state.interrupts:
            return told
        chosen = [state.interrupts[i] for i in choose(len(state.interrupts))]
        answers = {one.id: "red" if isinstance(one.value, str) else {"type": "approve"} for one in chosen}
        told.append(await tell(graph, Command(resume=answers), **config))
    raise AssertionError("it asks without end")


Call = tuple[str, str, str, str]
"""Name, arguments, state and result."""


def _text(state: str, result: str) -> str:
    """Of a failed call the status has the tool's exception, and the message what the model read. What was redacted is
    redacted in both."""
    return result if state != "TOOL_CALL_FAILED" or result == "redacted" else ""


def remembered(messages: Sequence[BaseMessage]) -> tuple[list[str], list[Call]]:
    """The AI's texts, and the calls, of an agent's own final state."""
    texts: list[str] = []
    found: list[Call] = []
    for at, message in enumerate(messages):
        if not isinstance(message, AIMessage):
            continue
        texts.append(str(message.text))
        for call in message.tool_calls:
            later = messages[at + 1 :]
            until = next((i for i, m in enumerate(later) if isinstance(m, AIMessage)), len(later))
            result = next(m for m in later[:until] if isinstance(m, ToolMessage) and m.tool_call_id == call["id"])
            state = "TOOL_CALL_FAILED" if result.status == "error" else "TOOL_CALL_COMPLETED"
            found.append((call["name"], json.dumps(call["args"], sort_keys=True), state, _text(state, result.text)))
    return texts, sorted(found)


def shown(told: Sequence[Told], scope: str) -> tuple[list[str], list[Call]]:
    """The same of one agent, as the statuses of the turns show it: what is said stays, a call ends in a later turn."""
    texts: list[str] = []
    found: dict[str, Call] = {}
    for one in told:
        for message in one.status.get("messages", []):
            metadata = message.get("metadata", {})
            if message["type"] != "MESSAGE_AI" or metadata.get("scope", "") != scope:
                continue
            if not metadata.keys() & {"removed", "note", "interrupted", "incomplete"}:
                texts.append(message.get("content", ""))
        for call in one.status.get("tool_calls", []):
            if call["component_metadata"].get("metadata", {}).get("scope", "") == scope:
                args = json.dumps(call.get("args", {}), sort_keys=True)
                text = _text(call["status"], call.get("result", ""))
                found[call["id"]] = (call["name"], args, call["status"], text)
    return texts, sorted(found.values())


def scopes(told: Sequence[Told]) -> dict[str, str]:
    """The scope of each sub-agent that ran, by the id of its script."""
    found = {}
    for one in told:
        for call in one.status.get("tool_calls", []):
            if call["name"] == "task" and call["args"]["description"] != "{}":
                above = call["component_metadata"].get("metadata", {}).get("scope", "")
                script = json.loads(call["args"]["description"])
                found[script["id"]] = f"{above}/{call['id']}" if above else call["id"]
    return found


def agents_in(script_id: str) -> list[str]:
    """The script ids of an agent and of the sub-agents whose call its final state still has."""
    calls_ = [call for m in FINAL[script_id] if isinstance(m, AIMessage) for call in m.tool_calls]
    delegated = [call["args"]["description"] for call in calls_ if call["args"].get("description", "{}") != "{}"]
    return [script_id, *(one for each in delegated for one in agents_in(json.loads(each)["id"]))]


@pytest.mark.promise("6.41")
@given(scripts(DEPTH), st.booleans(), st.booleans())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
async def test_status_is_the_final_state_of_every_agent(
    behaviour: list[dict[str, Any]], blocks: bool, one_by_one: bool
) -> None:
    """Parallel and identical calls, failures, sub-agents of sub-agents, retries, rewrites, questions: what is shown of
    each agent is what LangGraph has of it."""
    script = written(behaviour, asks_in(behaviour))
    graph, thread = agent(blocks=blocks), script["id"]
    config: Any = {"configurable": {"thread_id": thread}}
    try:
        told = await turns(graph, json.dumps(script), config, lambda n: [0] if one_by_one else list(range(n)))
        assert [one.error for one in told] == [None] * len(told)
        where = {script["id"]: "", **scopes(told)}
        state = (await graph.aget_state(config)).values["messages"]
        assert [m.id for m in state] == [m.id for m in FINAL[script["id"]]]
        agents = agents_in(script["id"])
        assert sorted(where) == sorted(agents)
        for id_ in agents:
            seen, wanted = shown(told, where[id_]), remembered(FINAL[id_])
            assert seen == wanted, f"{id_}: {seen} is not {wanted}"
        texts = [m["content"] for m in told[0].status["messages"] if m["type"] == "MESSAGE_HUMAN"]
        assert texts == [str(m.text) for m in state if isinstance(m, HumanMessage)][1:]
    finally:
        await SAVER.adelete_thread(thread)
        FINAL.clear()


def step(*calls_: tuple[str, str, dict[str, Any]], text: str = "I look.", dies: int = 0, then: str = "") -> Any:
    made = [{"id": id_, "name": name, "args": args} for id_, name, args in calls_]
    return {"text": text, "calls": made, "dies": dies, "then": then}


ASK = ("q", "ask", {"question": "Red or blue?"})


async def talk(*steps_: Any) -> list[Told]:
    script = {"id": f"s{next(NEXT)}", "steps": list(steps_)}
    config: Any = {"configurable": {"thread_id": script["id"]}}
    return await turns(agent(), json.dumps(script), config, lambda n: list(range(n)))


def results(told: Told) -> dict[str, tuple[str, str]]:
    return {c["id"]: (c["status"].removeprefix("TOOL_CALL_"), c.get("result", "")) for c in told.status["tool_calls"]}


async def test_a_broken_attempt_is_shown_beside_the_one_that_counts() -> None:
    """LangGraph forgets the half message of an attempt that is tried again. Who watched has read it: it stays."""
    (told,) = await talk(step(("a", "add", {"a": 1, "b": 1}), text="I look at it.", dies=1))
    messages = [(m["content"], "incomplete" in m.get("metadata", {})) for m in told.status["messages"]]
    assert messages[:2] == [("I ", True), ("I look at it.", False)]


async def test_a_turn_that_is_over_does_not_change() -> None:
    """What an earlier turn has shown of a result stays there, also if a later one rewrites it in the graph's state."""
    first, last = await talk(step(("a", "add", {"a": 1, "b": 1}), ASK, then="redact"))
    assert results(first) == {"a": ("COMPLETED", "2"), "q": ("PENDING", "")}
    assert results(last)["q"] == ("COMPLETED", "redacted")


async def test_an_answered_call_has_the_models_id() -> None:
    """In the turn of the question a second `q` is `q~2`; the turn of the answer knows one `q`: it is that one."""
    first, last = await talk(step(("q", "add", {"a": 1, "b": 1})), step(ASK))
    assert results(first) == {"q": ("COMPLETED", "2"), "q~2": ("PENDING", "")}
    assert results(last) == {"q": ("COMPLETED", "they said red")}


async def test_an_id_that_is_used_again_has_its_own_result() -> None:
    """In a loop, and in the next turn of a session: no call ends with the result of an older one."""
    one, other = ("c", "add", {"a": 1, "b": 1}), ("c", "fail", {"why": "no"})
    (told,) = await talk(step(one), step(other))
    assert {id_: state for id_, (state, _) in results(told).items()} == {"c": "COMPLETED", "c~2": "FAILED"}
    script = {"id": f"s{next(NEXT)}", "steps": [step(one)]}
    config: Any = {"configurable": {"thread_id": script["id"]}}
    await turns(agent(), json.dumps(script), config, lambda n: [0])
    script = {"id": f"s{next(NEXT)}", "steps": [step(other)]}
    (told,) = await turns(agent(), json.dumps(script), config, lambda n: [0])
    assert [state for state, _ in results(told).values()] == ["FAILED"]


async def test_a_sub_agents_call_that_had_ended_before_the_question() -> None:
    """It is neither running nor failed when the sub-agent goes on after the answer."""
    inner = json.dumps({"id": f"s{next(NEXT)}", "steps": [step(("a", "add", {"a": 1, "b": 1}), ASK)]})
    first, last = await talk(step(("t", "task", {"description": inner, "subagent_type": "deputy"})))
    assert results(first)["a"] == ("COMPLETED", "2")
    assert results(last).get("a", ("COMPLETED", "2")) == ("COMPLETED", "2")
    assert results(last)["q"] == ("COMPLETED", "they said red")


@pytest.mark.parametrize("then", ["redact", "forget"])
@pytest.mark.parametrize("call", [("a", "add", {"a": 1, "b": 1}), ("a", "add", {"a": "x", "b": 1})])
async def test_what_a_sub_agent_takes_back_is_gone(then: str, call: Any) -> None:
    """A result that a sub-agent redacts is redacted in the status, a failed one too; a history it sums up is gone."""
    inner = json.dumps({"id": f"s{next(NEXT)}", "steps": [step(call, text="I look at it.", then=then)]})
    (told,) = await talk(step(("t", "task", {"description": inner, "subagent_type": "deputy"})))
    if then == "forget":
        assert "a" not in results(told)
        assert "I look at it." not in told.texts("t")
        return
    assert results(told)["a"][1] == "redacted"
    assert told.call("a").get("error", "redacted") == "redacted"


async def test_a_sub_agents_answer_in_place_of_a_model_is_taken_back() -> None:
    """What a middleware says for a model that gave no answer has an id only later; what takes it back finds it."""
    inner = json.dumps({"id": f"s{next(NEXT)}", "steps": [step(dies=2, then="take_back")]})
    (told,) = await talk(step(("t", "task", {"description": inner, "subagent_type": "deputy"})))
    whole = [text for text in told.texts("t") if "failed after 2 attempts" in text]
    assert len(whole) == 1
    assert whole[0].endswith(" instead")
