"""What is shown is what is remembered: the status against LangGraph's own final state."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Overwrite

from agent_runner.status.log.log import Delta, LogRow, State, fold
from agent_runner.status.log.purges import EDITS, purge_state, purged
from tests.unit.status_builder.runs import Told, rows, tell
from tests.unit.status_builder.scripted_model import ScriptedModel, said

KINDS = {"human": "MESSAGE_HUMAN", "ai": "MESSAGE_AI", "system": "MESSAGE_SYSTEM"}

Act = tuple[str, int]
Update = Callable[[str, list[BaseMessage], BaseMessage], Any]
"""Of a word that tells the node apart, the history, and a message of it."""
CLEAR = RemoveMessage(id=REMOVE_ALL_MESSAGES)


def calling(word: str, *_: Any) -> list[BaseMessage]:
    call = {"id": f"call-{word}", "name": "look", "args": {"at": word}}
    return [AIMessage(f"calling {word}", tool_calls=[call]), ToolMessage(f"result {word}", tool_call_id=call["id"])]


def other_call(_: str, history: list[BaseMessage], __: BaseMessage) -> list[BaseMessage]:
    asking = [m for m in history if isinstance(m, AIMessage) and m.tool_calls]
    return [m.model_copy(update={"tool_calls": [{**m.tool_calls[0], "args": {"at": "x"}}]}) for m in asking[:1]]


def other_result(word: str, history: list[BaseMessage], _: BaseMessage) -> list[BaseMessage]:
    results = [m for m in history if isinstance(m, ToolMessage)]
    return [m.model_copy(update={"content": f"masked {word}"}) for m in results[:1]]


UPDATES: dict[str, Update] = {
    "node": lambda word, history, one: [AIMessage(f"node {word}")],
    "twins": lambda word, history, one: [AIMessage("twin"), AIMessage("twin")],
    "dict": lambda word, history, one: [{"role": "assistant", "content": f"dict {word}"}],
    "tuple": lambda word, history, one: ("ai", f"tuple {word}"),
    "human": lambda word, history, one: [HumanMessage(f"human {word}")],
    "system": lambda word, history, one: [SystemMessage(f"system {word}")],
    "call": calling,
    "edit": lambda word, history, one: [one.model_copy(update={"content": f"edited {word}"})],
    "edit_call": other_call,
    "edit_result": other_result,
    "remove": lambda word, history, one: [RemoveMessage(id=str(one.id))] if history else [],
    "clear": lambda word, history, one: [CLEAR, AIMessage(f"summary {word}")],
    "clear_but_one": lambda word, history, one: [CLEAR, HumanMessage(f"summary {word}"), *history[-1:]],
    "overwrite": lambda word, history, one: Overwrite([AIMessage(f"over {word}", id=f"over-{word}")]),
    "in_front": lambda word, history, one: [CLEAR, AIMessage(f"front {word}"), *reversed(history)],
    "same": lambda word, history, one: history[-1:],
}
ACTS = ("model", "aside", "nested", "nested_guard", *UPDATES)


def behaviour(number: int, act: Act) -> Callable[[MessagesState], Any]:
    """A node that does this. Its texts are told apart by `number`."""
    kind, which = act
    model = ScriptedModel(reply=lambda _: said(f"model n{number}"))

    async def run(state: MessagesState) -> Any:
        history: list[BaseMessage] = [*state["messages"]]
        if kind in UPDATES:
            one = history[which % len(history)] if history else HumanMessage("nobody")
            return {"messages": UPDATES[kind](f"n{number}", history, one)}
        answer = await model.ainvoke(history)
        return {"messages": [answer]} if kind == "model" else {}

    return run


def nested(number: int, *, guarded: bool) -> Any:
    """A graph as a node: its messages come into the conversation, unless its own guard takes them back."""
    word = f"n{number}"
    model = ScriptedModel(reply=lambda _: said(f"nested {word}"))

    async def speak(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def guard(state: MessagesState) -> Any:
        last = state["messages"][-1]
        return {"messages": [RemoveMessage(id=str(last.id)), AIMessage(f"clean {word}")]}

    plan = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak")
    if not guarded:
        return plan.add_edge("speak", END).compile()
    return plan.add_node("guard", guard).add_edge("speak", "guard").add_edge("guard", END).compile()


def graph_of(acts: Sequence[Act], saver: InMemorySaver) -> Any:
    plan = StateGraph(MessagesState)
    last = START
    for number, act in enumerate(acts):
        guarded = act[0] == "nested_guard"
        doing = nested(number, guarded=guarded) if act[0].startswith("nested") else behaviour(number, act)
        plan.add_node(f"step{number}", doing)
        plan.add_edge(last, f"step{number}")
        last = f"step{number}"
    plan.add_edge(last, END)
    return plan.compile(checkpointer=saver)


def user(text: str) -> Delta:
    """As the server writes it when the execution is created."""
    return Delta(kind="message", payload={"id": "user", "type": "MESSAGE_HUMAN", "content": text})


def remembered(messages: Sequence[BaseMessage], before: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    old = {m.id for m in before}
    return [(KINDS[m.type], str(m.text)) for m in messages if m.type != "tool" and m.id not in old]


def shown(told: Told) -> list[tuple[str, str]]:
    """The main conversation of the status."""
    return [
        (m["type"], m.get("content", ""))
        for m in told.status["messages"]
        if not m.get("metadata", {}).keys() & {"scope", "removed", "forgotten", "note"}
    ]


@example([("call", 0), ("remove", 4)])
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 7)), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_the_status_is_what_the_graph_remembers(acts: list[Act]) -> None:
    """Whatever nodes do to the messages, the status shows those that LangGraph's final state has, and no other."""
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}
    first = graph_of([("node", 0), ("node", 0)], saver)
    await first.ainvoke({"messages": [HumanMessage("earlier")]}, config)
    graph = graph_of(acts, saver)
    before = (await graph.aget_state(config)).values["messages"]
    told = await tell(graph, {"messages": [HumanMessage("hello")]}, **config)
    assert told.error is None
    told.deltas.insert(0, user("hello"))
    final = (await graph.aget_state(config)).values["messages"]
    wanted, seen = remembered(final, before), shown(told)
    pinned = [one for one in seen if one[0] == "MESSAGE_HUMAN"][:1]  # the user's message stays the first
    assert sorted(wanted) == sorted(seen)
    assert [one for one in wanted if one not in pinned] == [one for one in seen if one not in pinned]
    results = {m.tool_call_id: str(m.text) for m in final if isinstance(m, ToolMessage) and m not in before}
    calls = {call["id"]: call for call in told.status.get("tool_calls", [])}
    new = [m for m in final if isinstance(m, AIMessage) and m.id not in {old.id for old in before}]
    asked = {call["id"]: call["args"] for m in new for call in m.tool_calls}
    assert {id_: call.get("args") for id_, call in calls.items()} == asked
    assert {id_: call.get("result", "") for id_, call in calls.items()} == {id_: results.get(id_, "") for id_ in calls}
    purging_changes_nothing(told)


def purging_changes_nothing(told: Told) -> None:
    """Old rows and purged rows fold to the same, from every position (L6), and what was taken away is in none."""
    told_rows = rows(told.deltas)
    whole = fold(told_rows)
    clean = list(told_rows)
    states: list[State] = []
    for at, row in enumerate(told_rows):
        states.append(fold(told_rows[: at + 1]))
        if row.kind in EDITS:
            for index in range(at):
                old = clean[index]
                if (blank := purged(old.kind, old.payload, row.kind, row.payload)) is not None:
                    clean[index] = LogRow(seq=old.seq, at=old.at, fence=old.fence, kind=old.kind, payload=blank)
    assert fold(clean) == whole
    for at, state in enumerate(states):
        assert fold(told_rows[at + 1 :], State.from_json(state.to_json())) == whole
        kept = state.to_json()
        for row in told_rows[at + 1 :]:
            if row.kind in EDITS:
                purge_state(kept, row.kind, row.payload)
        assert fold(clean[at + 1 :], State.from_json(kept)) == whole
