"""The builder alone: no graph, no network."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from agent_runner.clients.engine.stream.plain_parts import plain_part
from agent_runner.status.log import events
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import Delta
from agent_runner.status.log.plain import plain
from agent_runner.status.log.tool_names import command_name, component_type, display_name
from tests.unit.status_builder.runs import status_of


def told(*what: events.Event, **settings: Any) -> list[Delta]:
    builder = StatusBuilder(**settings)
    return [delta for event in what for delta in builder.feed(event)]


def call(name: str = "x", args: Any = None, scope: str = "") -> events.ToolStarted:
    return events.ToolStarted(scope=scope, tool_call_id="c", name=name, args=args)


def end(result: Any, **more: Any) -> events.ToolFinished:
    return events.ToolFinished(scope="", tool_call_id="c", name="x", result=result, **more)


@pytest.mark.promise("0.24")
def test_the_builder_needs_no_network() -> None:
    """Deltas are values: the builder works with nothing around it."""
    deltas = told(events.MessageText(scope="", message_id="m", text="hi"))
    assert [d.kind for d in deltas] == ["message", "text"]


@pytest.mark.promise("1.53")
@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ("text", "text"),
        ({"output": "out"}, "out"),
        ({"content": "in"}, "in"),
        ({"content": [{"type": "text", "text": "block"}]}, "block"),
        ({"a": 1}, '{"a": 1}'),
        ([{"type": "text", "text": "a"}, {"type": "image", "base64": "..."}], "a\n[image 2 bytes]"),
        ([1, 2], "[1, 2]"),
        (None, ""),
        (True, "true"),
    ],
)
def test_results_are_shown_as_text(result: Any, shown: str) -> None:
    """Whatever a tool gives, its result reads as text."""
    (ended,) = [d for d in told(call(), end(result)) if d.kind == "tool_end"]
    assert ended.payload["result"] == shown


@pytest.mark.promise("1.55")
@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ({"kwargs": {"a": 1}}, {"a": 1}),
        ({"input": {"a": 1}}, {"a": 1}),
        ({"kwargs": {"input": {"a": 1}}}, {"a": 1}),
        ({"input": "text"}, {"input": "text"}),
        ({"kwargs": {"a": 1}, "b": 2}, {"kwargs": {"a": 1}, "b": 2}),
        ("free text", {"input": "free text"}),
        (None, {}),
        ({"n": 1, "f": float("nan"), "o": {1}}, {"n": 1, "f": "nan", "o": [1]}),
        ({"bad": "a\x00b\ud800"}, {"bad": "a\ufffdb\ufffd"}),
    ],
)
def test_arguments_are_plain(args: Any, shown: Any) -> None:
    """Wrapped arguments are unwrapped, whole numbers stay whole, and nothing is left that a store refuses."""
    assert told(call(args=args))[0].payload["args"] == shown


class Stage(Enum):
    DRAFT = "draft"


@dataclass
class Item:
    title: str
    price: Decimal


class Point(NamedTuple):
    x: int
    y: int


class Failing:
    """Its dump raises."""

    def model_dump(self) -> dict[str, Any]:
        raise ValueError

    def __str__(self) -> str:
        return "failing"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Item("tea", Decimal("1.50")), {"title": "tea", "price": "1.50"}),
        ([Stage.DRAFT], ["draft"]),
        ({Stage.DRAFT: 1}, {"draft": 1}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (deque([1]), [1]),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=1), 60.0),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (b"\x00\xff", "AP8="),
        (Failing(), "failing"),
        (int, "<class 'int'>"),
    ],
)
def test_objects_are_their_fields(value: Any, shown: Any) -> None:
    """What is no JSON is shown as the data that it holds, as LangGraph's clients get it."""
    assert plain({"value": value}, max_bytes=1000)["value"] == shown
    assert plain_part(value) == shown


def test_bytes_that_do_not_fit_are_named() -> None:
    """They are not encoded to be cut: half of base64 is nothing."""
    assert plain(b"x" * 2000, max_bytes=1000) == "[2.0 KB left out here]"


def test_long_results_are_cut_with_a_note() -> None:
    """A result above the limit keeps its head and says how much is missing; half a character is never shown."""
    (ended,) = [d for d in told(call(), end("ä" * 100), max_tool_result_bytes=21) if d.kind == "tool_end"]
    assert ended.payload["result"] == "ä" * 10 + "\n[cut here: 21 of 200 bytes are shown]"


def test_a_failure_has_an_error() -> None:
    """A failed call says why: the error, or what it put out last, or that it said nothing."""
    assert told(call(), end("", failed=True, error="boom"))[-1].payload["error"] == "boom"
    assert told(call(), end("x" * 5000 + "last", failed=True))[-1].payload["error"].endswith("last")
    assert told(call(), end("", failed=True))[-1].payload["error"]


@pytest.mark.promise("1.56")
def test_the_same_event_twice_is_one_entry() -> None:
    """A start or an end that is told twice changes nothing the second time."""
    deltas = told(call(), call(), end("r"), end("other"))
    assert [d.kind for d in deltas] == ["tool_call", "tool_end"]


def test_a_message_that_differs_from_its_stream_is_replaced() -> None:
    """What the model says in the end is what the message reads."""
    deltas = told(
        events.MessageText(scope="", message_id="m", text="Hal"),
        events.MessageFinished(scope="", message_id="m", text="Hello"),
    )
    assert status_of(deltas)["messages"][0]["content"] == "Hello"


def test_a_question_is_told_once() -> None:
    """Whether the stream or the caller tells of the interrupt, or both, the question stands there once."""
    builder = StatusBuilder()
    deltas = builder.feed(events.Interrupted(question="Why?")) + builder.interrupt("Why?") + builder.finish()
    assert [m["content"] for m in status_of(deltas)["messages"]] == ["Why?"]


def test_todos_of_a_sub_agent_are_its_own() -> None:
    """Only the main agent's list is the execution's."""
    todo = {"content": "a", "status": "cancelled"}
    assert told(events.TodosWritten(scope="k", todos=(todo,))) == []
    assert told(events.TodosWritten(scope="", todos=(todo, {"content": "b", "status": "?"})))[0].payload == {
        "todos": [{"content": "a", "status": "TODO_CANCELLED"}, {"content": "b", "status": "TODO_PENDING"}]
    }


def test_the_innermost_step_is_named() -> None:
    """While a sub-agent's tool runs, that tool is the open step, not the task around it."""
    builder = StatusBuilder()
    builder.feed(events.ToolStarted(scope="", tool_call_id="k", name="task", args={"subagent_type": "r"}))
    assert builder.open_step() == "tool 'task'"
    builder.feed(events.ModelStarted(scope="k", call_id="m"))
    assert builder.open_step() == "model call"
    builder.feed(events.ModelEnded(scope="k", call_id="m"))
    builder.feed(events.ToolStarted(scope="k", tool_call_id="e", name="execute", args={"command": "sleep 600"}))
    assert builder.open_step() == "tool 'execute' (sleep)"


@pytest.mark.promise("1.47")
@pytest.mark.promise("1.58")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("execute", "terminal"),
        ("bash", "terminal"),
        ("kubectl_get", "kubernetes"),
        ("k8s_logs", "kubernetes"),
        ("read_file", "preview"),
        ("write_file", "editor"),
        ("edit_file", "editor"),
        ("grep", "search"),
        ("glob", "search"),
        ("browser_click", "browser"),
        ("git_commit", "git"),
        ("ls", "filesystem"),
        ("web_search", "web-search"),
        ("task", "subagent"),
        ("write_todos", "todo"),
        ("get_weather", "tool"),
        ("", "tool"),
    ],
)
def test_a_tool_has_its_component(name: str, kind: str) -> None:
    """The page finds the component for a tool by its name."""
    assert component_type(name) == kind


@pytest.mark.promise("1.48")
def test_every_call_has_a_component_and_a_group() -> None:
    """Type, group and layout are set on each call; the group tells main agent and sub-agents apart."""
    for scope, group in (("", "main-agent-tools"), ("k", "sub-agent-tools")):
        component = told(call(name="ls", scope=scope))[0].payload["component"]
        assert component == {"component_type": "filesystem", "component_group": group, "layout_hint": "inline"}


@pytest.mark.promise("1.58")
@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("kubectl get pods -n x", "kubectl get"),
        ("docker build -t a .", "docker build"),
        ("npm install", "npm install"),
        ("git status", "git status"),
        ("python3 run.py --x", "python3 run.py"),
        ("python -m pytest", "python"),
        ("cd /app && FOO=1 sudo npm test", "npm test"),
        ("/usr/bin/ls -la", "ls"),
        ("cat a | grep b", "cat"),
        ("cd /app", "cd"),
        ("echo 'not closed", "echo"),
        ("  ", ""),
        ("# only a remark", ""),
    ],
)
def test_a_command_has_a_short_name(command: str, shown: str) -> None:
    """A command is named by its program, with the verb where it has one."""
    assert command_name(command) == shown
    assert display_name("execute", {"command": command}) == (shown or "execute")
