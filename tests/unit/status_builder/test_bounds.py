"""What a run can say is bounded where it is made, and what is left out is said."""

import json
from typing import Any

import pytest

from agent_runner.status.log import events
from agent_runner.status.log.bounds import MAX_TODOS
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import Delta, LogRow, fold
from agent_runner.status.log.plain import Room, plain

LIMIT = 10_000


@pytest.fixture
def builder() -> StatusBuilder:
    return StatusBuilder(max_tool_result_bytes=LIMIT, max_output_bytes=4 * LIMIT)


def size(deltas: list[Delta]) -> int:
    return sum(len(json.dumps(d.payload, ensure_ascii=False).encode()) for d in deltas)


def content(deltas: list[Delta], id: str) -> str:
    rows = [LogRow(seq=n, at=0.0, fence=1, kind=d.kind, payload=d.payload) for n, d in enumerate(deltas, 1)]
    return "".join(fold(rows).messages[id]["content"])


def test_an_output_below_the_limit_is_whole(builder: StatusBuilder) -> None:
    """Its texts may be larger than a tool's result; nothing is said beside it."""
    output = {"pages": ["ä" * 1_500] * 10, "n": 3}
    (delta,) = builder.feed(events.GraphOutput(output=output))
    assert delta.payload == {"output": output}


@pytest.mark.parametrize(
    "output",
    [
        {"pages": ["x" * 3_000] * 300},
        {"page": "ä" * 300_000},
        [list(range(1_000))] * 1_000,
        {f"field {n}": n for n in range(100_000)},
        {"deep": {"deeper": [{"text": "x" * 500}] * 1_000}},
        {"x" * 100_000: 1},
        ["\x00" * 100_000],
    ],
    ids=["many texts", "one text", "numbers", "fields", "nested", "a name", "control characters"],
)
def test_a_larger_one_is_cut_with_a_note_that_names_size_and_setting(builder: StatusBuilder, output: Any) -> None:
    """In its place and as a message; the run goes on."""
    deltas = builder.feed(events.GraphOutput(output=output))
    assert [d.kind for d in deltas] == ["output", "message"]
    assert "cut here" in json.dumps(deltas[0].payload)
    assert size(deltas) < 8 * LIMIT
    note = deltas[1].payload
    assert note["type"] == "MESSAGE_SYSTEM"
    assert "too large" in note["content"]
    assert f"{4 * LIMIT} bytes (AGENT_RUNNER_MAX_OUTPUT_BYTES)" in note["content"]


def test_a_large_field_leaves_names_and_small_fields_whole(builder: StatusBuilder) -> None:
    """Of a state with pages too many the answer is put out too, whichever came first; each field has its name."""
    pages = {"pages": ["x" * 3_000] * 300, "answer": "from 300 pages", "sources": ["a", "b"], "n": 300}
    shown = builder.feed(events.GraphOutput(output=pages))[0].payload["output"]
    assert list(shown) == ["pages", "answer", "sources", "n"]
    assert {**shown, "pages": 0} == {**pages, "pages": 0}
    assert shown["pages"][-1] == f"[cut here: {301 - len(shown['pages'])} of 300 items are left out]"
    shown = builder.feed(events.GraphOutput(output={"docs": ["x"] * 100_000, "rows": [1] * 100_000}))[0].payload
    assert list(shown["output"]) == ["docs", "[cut here]"]


def test_what_does_not_fit_is_not_walked_through() -> None:
    """A large state costs what is shown of it, not what it has."""
    seen = []

    class Page:
        def __str__(self) -> str:
            seen.append(1)
            return "x" * 100

    room = Room(LIMIT)
    shown = plain([Page() for _ in range(100_000)], max_bytes=LIMIT, room=room)
    assert room.cut
    assert len(seen) <= LIMIT / 100
    assert shown[-1] == f"[cut here: {100_000 - len(seen)} of 100000 items are left out]"


def test_a_streamed_answer_is_cut_once(builder: StatusBuilder) -> None:
    """The first that does not fit ends it, with a note; the whole text at the end does not bring it back."""
    deltas = []
    for _ in range(1_000):
        deltas += builder.feed(events.MessageText(scope="", message_id="m", text="word " * 100))
    deltas += builder.feed(events.MessageFinished(scope="", message_id="m", text="word " * 100_000))
    assert size(deltas) < 8 * LIMIT
    said = content(deltas, "m")
    assert said.startswith("word word")
    assert said.count("[cut here: 40000 of ") == 1


def test_an_answer_that_was_not_streamed_is_cut(builder: StatusBuilder) -> None:
    """The note says how much there was."""
    deltas = builder.feed(events.MessageFinished(scope="", message_id="m", text="ä" * 100_000))
    assert content(deltas, "m").endswith("[cut here: 40000 of 200000 bytes are shown]")
    assert size(deltas) < 8 * LIMIT


def test_arguments_todos_questions_names_and_reasons_are_bounded(builder: StatusBuilder) -> None:
    """Each of them as a whole, not each text in it."""
    many = {f"argument {n}": "x" * 5_000 for n in range(100)}
    request = events.ToolRequest(tool_call_id="c", name="n" * 100_000, args=many)
    assert (
        size(
            builder.feed(
                events.MessageFinished(scope="", message_id="m", text="", requests=(request,), reasoning="r" * 100_000)
            )
        )
        < 4 * LIMIT
    )
    todos = tuple({"content": "x" * 5_000, "status": "pending"} for _ in range(100))
    written = builder.feed(events.TodosWritten(scope="", todos=todos * 100))
    assert size(written) < 10 * LIMIT + 100 * MAX_TODOS
    assert written[0].payload["todos"][-1]["content"] == "[cut here: 9000 more are left out]"
    result = [{"page": "x" * 5_000}] * 1_000
    assert size(builder.feed(events.ToolFinished(scope="", tool_call_id="c", name="n", result=result))) < 3 * LIMIT
    assert size(builder.feed(events.Interrupted(question="?" * 100_000))) < 2 * LIMIT
