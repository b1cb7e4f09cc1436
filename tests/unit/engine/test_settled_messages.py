"""What was compared before is not compared again, and nothing that happens to it is missed because of that."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agent_runner.clients.engine.stream.call_ids import Calls
from agent_runner.clients.engine.stream.conversation import Conversation
from agent_runner.clients.engine.stream.known_messages import KnownMessages, finished
from agent_runner.clients.engine.stream.settled_messages import SettledMessages
from agent_runner.status.log.events import Event

CHANGES = ["rewrite", "in place", "remove", "turn", "same id", "twice"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["say", "call", "result", "person", "told again", "step", *CHANGES]), st.integers(0, 9)),
    max_size=40,
)


class _Graph:
    """A graph's messages, and the conversation that is told of them."""

    def __init__(self, *, forgets: bool) -> None:
        self.calls, self.known = Calls(), KnownMessages()
        self.conversation = Conversation(self.calls, self.known, {"messages": [HumanMessage("go", id="h")]})
        self.held: list[BaseMessage] = [HumanMessage("go", id="h")]
        self.forgets, self.made = forgets, 0
        self.events: list[Event] = []

    def do(self, what: str, at: int) -> None:
        self.made += 1
        if what == "step":
            if self.forgets:
                self.conversation._settled.forget()
            self.events += self.conversation.state({"messages": list(self.held)})
        elif what in ("say", "call"):
            asked = [{"name": "look", "args": {"n": at}, "id": f"c{self.made}"}] if what == "call" else []
            self.tell(AIMessage(f"said {self.made}", id=f"a{self.made}", tool_calls=asked))
        elif what == "person":
            self.held.append(HumanMessage("more", id=f"h{self.made}" if at else None))
        elif what in ("result", "told again"):
            self.answer(again=what == "told again")
        elif self.held:
            self.change(what, at % len(self.held))

    def change(self, what: str, place: int) -> None:
        match what:
            case "rewrite":
                self.held[place] = self.held[place].model_copy(update={"content": f"rewritten {self.made}"})
            case "in place":
                self.held[place].content = f"changed {self.made}"
            case "remove":
                del self.held[place]
            case "turn":
                self.held.append(self.held.pop(place))
            case "same id":
                self.tell(AIMessage(f"said {self.made}", id=self.held[place].id))
            case "twice" if isinstance(message := self.held[place], AIMessage):
                self.tell(message)

    def answer(self, *, again: bool) -> None:
        results = [m.tool_call_id for m in self.held if isinstance(m, ToolMessage)]
        asked = [call["id"] or "" for m in self.held if isinstance(m, AIMessage) for call in m.tool_calls]
        if again and results:
            self.conversation.result_told(results[0], f"again {self.made}", failed=False)
        for id_ in [] if again else [id_ for id_ in asked if id_ not in results][:1]:
            self.held.append(ToolMessage(f"seen {self.made}", tool_call_id=id_, id=f"t{self.made}"))

    def tell(self, message: AIMessage) -> None:
        id_ = self.known.fresh_id(message.id or "")
        self.conversation.told(message, finished(message, scope="", message_id=id_, calls=self.calls))
        self.held.append(message)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(STEPS)
@example([("call", 0), ("result", 0), ("step", 0), ("told again", 0)])
@example([("say", 0), ("step", 0), ("same id", 1), ("remove", 2)])
@example([("say", 0), ("twice", 1), ("remove", 1), ("remove", 1)])
def test_nothing_is_missed(steps: list[tuple[str, int]]) -> None:
    """The events are those of a conversation that compares everything at each step."""
    told = []
    for forgets in (False, True):
        graph = _Graph(forgets=forgets)
        for what, at in [("step", 0), *steps, ("step", 0)]:
            graph.do(what, at)
        told.append([*map(_plain, graph.events), *map(_plain, graph.conversation.end(interrupted=False))])
    assert told[0] == told[1]


def _plain(event: Event) -> Any:
    """The address of an object may be in its event's id."""
    return repr(event).split("message-")[0]


def test_a_step_compares_what_it_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty steps compare fifty messages, and not each message after each step."""
    compared = 0
    compare = Conversation._message

    def counted(self: Conversation, *args: Any) -> Any:
        nonlocal compared
        compared += 1
        return compare(self, *args)

    monkeypatch.setattr(Conversation, "_message", counted)
    graph = _Graph(forgets=False)
    for _ in range(50):
        graph.do("say", 0)
        graph.do("step", 0)
    assert compared <= 52


CALL = {"name": "look", "args": {"n": 1}, "id": "c1", "type": "tool_call"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content", "no"),
        ("content", ["no"]),
        ("tool_calls", []),
        ("tool_calls", [{**CALL, "name": "buy"}]),
        ("tool_calls", [{**CALL, "args": {"n": 2}}]),
        ("additional_kwargs", {"reasoning_content": "because"}),
    ],
)
def test_whatever_is_shown_counts(field: str, value: Any) -> None:
    """A message that was rewritten in place is compared again, whichever part of it shows another thing."""
    message = AIMessage("yes", id="a1", tool_calls=[CALL])
    settled = SettledMessages()
    settled.settle([message], [True])
    assert settled.fresh([message]) == []
    setattr(message, field, value)
    assert settled.fresh([message]) is None
