"""People answer what a graph asks: any JSON, by id, some now and some later; a bad answer leaves the question open."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.questions import told_in_full
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.turn import Given, open_turn
from agent_runner.clients.engine.user_graphs.user_graphs import GraphError
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import fold
from agent_runner.status.questions import AnswerError
from tests.unit.engine.world import World, make_world
from tests.unit.models.settings import SomeSettings
from tests.unit.status_builder.runs import Told, rows

SOURCE = """
import operator
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from tests.unit.engine.other_server import asking, counting, remote

class State(TypedDict, total=False):
    ran: Annotated[list, operator.add]
    files: list[str]
    answer: object

def before(state): return {"ran": ["before"]}
def ask(state): return {"answer": interrupt({"question": "How?", "options": ["a", {"b": 1}]}), "ran": ["ask"]}
def number(state): return {"answer": int(interrupt("A number?")), "ran": ["number"]}
def two(state): return {"answer": [interrupt("First?"), int(interrupt("Second?"))]}
def review(one): return {"ran": [[one["file"], interrupt("Merge " + one["file"] + "?")]]}
def after(state): return {"ran": ["after"]}

def chain(*nodes):
    plan = StateGraph(State)
    for node in nodes: plan.add_node(node.__name__, node)
    for a, b in zip((START, *[n.__name__ for n in nodes]), (*[n.__name__ for n in nodes], END)): plan.add_edge(a, b)
    return plan

any_ = chain(before, ask)
number_ = chain(before, number)
two_ = chain(two)
own = chain(before, number).compile(checkpointer=InMemorySaver())
stops_before = chain(before, after).compile(interrupt_before=["after"])
stops_after = chain(before, after).compile(interrupt_after=["before"])
reviews = StateGraph(State).add_node("review", review)
reviews.add_conditional_edges(START, lambda s: [Send("review", {"file": f}) for f in s["files"]], ["review"])
inner = chain(before, number).compile()
outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
inner_stop = chain(before, after).compile(interrupt_before=["after"])
outer_stop = StateGraph(State).add_node("inner", inner_stop).add_edge(START, "inner")
def fail(state): raise ValueError("no file")
def mend(state, error: NodeError): return {"answer": interrupt(f"{error.node} failed: {error.error}. Go on?")}
handled = StateGraph(State).add_node("fail", fail, error_handler=mend).add_edge(START, "fail")
handled_inside = StateGraph(State).add_node("inner", handled.compile()).add_edge(START, "inner")
beside = StateGraph(State).add_node("fail", fail, error_handler=mend).add_node("review", review)
beside.add_conditional_edges(START, lambda s: [Send("fail", s), Send("review", {"file": "a.txt"})], ["fail", "review"])
far = StateGraph(State).add_node("far", remote(counting())).add_edge(START, "far")
far_asks = StateGraph(State).add_node("far", remote(asking())).add_edge(START, "far")
def say(state): return {"messages": [AIMessage(str([m.text for m in state["messages"]]))]}
heard = StateGraph(MessagesState).add_node("say", say)
heard.add_edge(START, "say")
class Question(TypedDict):
    question: str
class Asked(MessagesState, total=False):
    question: str
narrow = StateGraph(Asked, input_schema=Question).add_node("say", say).add_edge(START, "say")
class Dicts(TypedDict):
    messages: Annotated[list[dict], operator.add]
def reply(state):
    return {"messages": [{"role": "assistant", "content": str([m["content"] for m in state["messages"]])}]}
dicts = StateGraph(Dicts).add_node("reply", reply).add_edge(START, "reply")
class Texts(TypedDict, total=False):
    messages: list[str]
    joined: str
texts = StateGraph(Texts).add_node("join", lambda s: {"joined": " ".join(s["messages"])}).add_edge(START, "join")
"""
GRAPHS = (
    "any_", "number_", "two_", "own", "stops_before", "stops_after", "reviews", "outer", "outer_stop", "heard",
    "narrow", "dicts", "texts",
    "handled", "handled_inside", "beside",
    "handled", "handled_inside", "beside", "far", "far_asks",
)  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "asking.py").write_text(SOURCE)
    graphs = {name: f"./asking.py:{name}" for name in GRAPHS}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    async with make_world(tmp_path, replace(SomeSettings(), graphs=tmp_path / "langgraph.json")) as made:
        yield made


class Talk:
    """One session with one graph. `head` moves as the server would move it."""

    def __init__(self, world: World, graph: str) -> None:
        self._world, self._bundle, self._thread = world, Bundle(graph=graph), f"{graph}-thread"
        self._head = ""

    async def say(self, *, waiting: bool = False, **given: Any) -> Told:
        """One execution. `message`, `input` (JSON), `answers` (by id)."""
        graph = await self._world.factory.graph(self._bundle)
        run = CurrentRun(thread_id=self._thread, head_checkpoint_id=self._head)
        told = Told(deltas=[], builder=StatusBuilder())
        sent = Given(
            message=given.get("message", ""),
            input_json=json.dumps(given["input"]) if "input" in given else "",
            answers_json=json.dumps(given["answers"]) if "answers" in given else "",
            waiting=waiting,
        )
        with running(run):
            turn = await open_turn(graph, run, self._bundle, sent)
            try:
                async for event in told_in_full(run_events(graph, turn.input, turn.config), graph, run, turn.config):
                    told.deltas += told.builder.feed(event)
            except Exception as error:
                told.error = error
            self._head = run.head_checkpoint_id
            latest = await graph.aget_state({"configurable": {"thread_id": self._thread}})
            self.values = latest.values
        return told


def questions(told: Told) -> list[dict[str, Any]]:
    return list(fold(rows(told.deltas)).questions.values())


@pytest.mark.parametrize("answer", [False, 0, "", "yes", 2.5, ["a", 1], {"b": 1}, {"deep": {"list": [None]}}])
async def test_an_answer_is_the_value_that_was_sent(world: World, answer: Any) -> None:
    """Any JSON reaches `interrupt()` as it is, and what ran before the question does not run again."""
    talk = Talk(world, "any_")
    await talk.say(input={})
    await talk.say(input=answer)
    assert talk.values == {"ran": ["before", "ask"], "answer": answer}


async def test_null_is_an_answer_by_its_id(world: World) -> None:
    """JSON's null can be sent, where the question is named."""
    talk = Talk(world, "any_")
    (asked,) = questions(await talk.say(input={}))
    await talk.say(answers={asked["id"]: None})
    assert talk.values == {"ran": ["before", "ask"], "answer": None}


async def test_a_question_is_data(world: World) -> None:
    """Its value is kept whole, beside its node and the options it names; the conversation shows the options."""
    told = await Talk(world, "any_").say(input={})
    (asked,) = questions(told)
    assert asked["value"] == {"question": "How?", "options": ["a", {"b": 1}]}
    assert (asked["node"], asked["expects"]) == ("ask", {"kind": "choice", "options": ["a", {"b": 1}]})
    (message,) = told.status["messages"]
    assert message["content"] == 'How?\n- a\n- {"b": 1}'
    assert message["metadata"]["interrupted"] is True
    assert message["metadata"]["questions"] == [asked]


@pytest.mark.parametrize("graph", ["number_", "own", "outer"])
async def test_a_bad_answer_does_not_count(world: World, graph: str) -> None:
    """What the graph cannot use fails its own execution only; the question stays open and takes the next answer."""
    talk = Talk(world, graph)
    await talk.say(input={})
    for _ in range(2):
        assert isinstance((await talk.say(message="two")).error, ValueError)
    assert (await talk.say(message="2")).error is None
    assert talk.values["answer"] == 2
    assert talk.values["ran"][-2:] == ["before", "number"]
    assert talk.values["ran"].count("number") == 1


async def test_earlier_answers_of_a_step_stay(world: World) -> None:
    """Of two questions in one node the answer to the first counts, however often the second is answered badly."""
    talk = Talk(world, "two_")
    assert [q["text"] for q in questions(await talk.say(input={}))] == ["First?"]
    assert [q["text"] for q in questions(await talk.say(message="one"))] == ["Second?"]
    assert isinstance((await talk.say(message="bad")).error, ValueError)
    assert (await talk.say(message="2")).error is None
    assert talk.values["answer"] == ["one", 2]


async def test_some_answers_now_and_some_later(world: World) -> None:
    """Parallel questions are answered by id: the others stay open, and nothing is answered twice."""
    talk = Talk(world, "reviews")
    first = await talk.say(input={"files": ["a", "b", "c"]})
    by_text = {q["text"]: q["id"] for q in questions(first)}
    assert sorted(by_text) == ["Merge a?", "Merge b?", "Merge c?"]
    second = await talk.say(answers={by_text["Merge b?"]: "no"})
    assert sorted(q["text"] for q in questions(second)) == ["Merge a?", "Merge c?"]
    with pytest.raises(AnswerError, match="2 questions are open"):
        await talk.say(message="yes")
    with pytest.raises(AnswerError, match=by_text["Merge b?"]):
        await talk.say(answers={by_text["Merge b?"]: "yes"})
    third = await talk.say(input={"Merge a?": "yes", "Merge c?": "later"})
    assert questions(third) == []
    assert sorted(talk.values["ran"]) == [["a", "yes"], ["b", "no"], ["c", "later"]]


@pytest.mark.parametrize("graph", ["stops_before", "stops_after", "outer_stop"])
async def test_a_breakpoint_waits_and_the_next_message_goes_on(world: World, graph: str) -> None:
    """`interrupt_before` and `interrupt_after` say that they wait and where; then each node has run once."""
    talk = Talk(world, graph)
    stopped = await talk.say(input={"files": []})
    (stop,) = questions(stopped)
    assert (stop["expects"], stop["node"]) == ({"kind": "go_on"}, "after")
    assert stopped.builder.interrupted
    gone_on = await talk.say(message="go on", waiting=True)
    assert questions(gone_on) == []
    assert talk.values["ran"] == ["before", "after"]


async def test_fields_given_at_a_breakpoint_are_taken(world: World) -> None:
    """An object at a breakpoint is written to the state before the graph goes on."""
    talk = Talk(world, "stops_before")
    await talk.say(input={"files": []})
    await talk.say(input={"files": ["x"]}, waiting=True)
    assert (talk.values["files"], talk.values["ran"]) == (["x"], ["before", "after"])


async def test_a_question_in_a_sub_graph_says_where(world: World) -> None:
    """Its node is the one that asks, its scope the way to it."""
    (asked,) = questions(await Talk(world, "outer").say(input={}))
    assert (asked["node"], asked["scope"]) == ("number", "inner")


async def test_answers_without_a_question_are_refused(world: World) -> None:
    """Answers by id never begin a turn."""
    with pytest.raises(AnswerError, match="no open question"):
        await Talk(world, "any_").say(answers={"x": 1})


@pytest.mark.parametrize(
    "given",
    [
        {"role": "user", "content": "hello"},
        ["user", "hello"],
        "hello",
        {"type": "human", "data": {"content": "hello"}},
        {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "hello"}},
    ],
)
async def test_messages_in_any_usual_form_are_messages(world: World, given: Any) -> None:
    """What is given as `messages` is understood; words beside it come after it."""
    talk = Talk(world, "heard")
    told = await talk.say(input={"messages": [given]}, message="there")
    assert told.texts() == ["['hello', 'there']"]


async def test_an_input_alone_is_no_message(world: World) -> None:
    """A graph with messages that is given other fields sees no message that nobody wrote."""
    assert (await Talk(world, "heard").say(input={"messages": []})).texts() == ["[]"]


async def test_a_message_that_the_graphs_input_drops_is_refused(world: World) -> None:
    """LangGraph keeps nothing that the input's schema has not: the message would be gone without a word."""
    with pytest.raises(GraphError, match=r"'messages' in its input schema \(it takes question\)"):
        await Talk(world, "narrow").say(message="hello")
    assert (await Talk(world, "narrow").say(input={"question": "why?"})).texts() == ["[]"]


async def test_a_message_has_the_form_that_the_graph_declares(world: World) -> None:
    """A state of dicts in OpenAI's form, or of texts, gets such a one, and its nodes read it as their own."""
    assert (await Talk(world, "dicts").say(message="hello")).texts() == ["['hello']"]
    told = await Talk(world, "dicts").say(message="there", input={"messages": [{"role": "user", "content": "hello"}]})
    assert told.texts() == ["['hello', 'there']"]
    told = await Talk(world, "texts").say(message="hello")
    assert [d.payload["output"]["joined"] for d in told.deltas if d.kind == "output"] == ["hello"]


@pytest.mark.parametrize("graph", ["handled", "handled_inside"])
async def test_what_an_error_handler_asks_is_answered_once(world: World, graph: str) -> None:
    """The node is not run again, and the handler goes on with the answer."""
    talk = Talk(world, graph)
    (asked,) = questions(await talk.say(input={}))
    assert asked["text"] == "fail failed: no file. Go on?"
    told = await talk.say(message="yes", waiting=True)
    assert told.error is None
    assert not told.builder.interrupted
    assert talk.values["answer"] == "yes"


async def test_an_error_handler_asks_beside_another_node(world: World) -> None:
    """Both questions are open. Each is answered by its id, in any order."""
    talk = Talk(world, "beside")
    by_text = {asked["text"]: asked["id"] for asked in questions(await talk.say(input={}))}
    assert set(by_text) == {"fail failed: no file. Go on?", "Merge a.txt?"}
    await talk.say(answers={by_text["Merge a.txt?"]: "merged"})
    told = await talk.say(answers={by_text["fail failed: no file. Go on?"]: "go on"})
    assert not told.builder.interrupted
    assert talk.values["answer"] == "go on"
    assert talk.values["ran"] == [["a.txt", "merged"]]


async def test_a_node_that_is_a_graph_of_another_server(world: World) -> None:
    """Its values are the node's, turn after turn. What it asks is told; only that server knows its state."""
    talk = Talk(world, "far")
    for turn in (1, 2):
        told = await talk.say(input={})
        assert told.error is None
        assert talk.values["ran"] == ["far away"] * turn
    (asked,) = questions(await Talk(world, "far_asks").say(input={}))
    assert asked["text"] == "Far away?"
