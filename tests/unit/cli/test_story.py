"""The display's story: one line per change, in order, with who said or did it."""

import io
from typing import Any

import pytest
from rich.console import Console

from agent_runner.app.cli.display import LiveDisplay, PlainDisplay, ending, plain
from agent_runner.app.cli.story import Story
from agent_runner.clients.backend.http_api import StreamEvent
from agent_runner.status.log.log import fold, render
from tests.unit.cli.scripted_server import IN_PROGRESS, PENDING, USER, Said, rows_of


def call(id_: str, name: str, args: dict[str, str]) -> Said:
    return "tool_call", {"id": id_, "message": "m1", "name": name, "args": args, "status": "TOOL_CALL_RUNNING"}


RECORDED: list[Said] = [
    USER,
    PENDING,
    IN_PROGRESS,
    ("todos", {"todos": [{"content": "look", "status": "in_progress"}, {"content": "tell", "status": "pending"}]}),
    ("message", {"id": "m1", "type": "MESSAGE_AI", "content": ""}),
    ("text", {"id": "m1", "text": "I look\nand "}),
    ("text", {"id": "m1", "text": "delegate."}),
    ("message_end", {"id": "m1", "metadata": {"usage": {"input_tokens": 1000, "output_tokens": 20}}}),
    call("c1", "execute", {"command": "ls"}),
    call("c1", "execute", {"command": "ls"}),
    call("t1", "task", {"description": "A"}),
    call("t2", "task", {"description": "B"}),
    ("sub_agent", {"id": "t1", "name": "helper"}),
    ("sub_agent", {"id": "t2", "name": "helper"}),
    ("message", {"id": "m2", "type": "MESSAGE_AI", "content": "", "scope": "t1"}),
    ("message", {"id": "m3", "type": "MESSAGE_AI", "content": "", "scope": "t2"}),
    ("text", {"id": "m2", "text": "one\n"}),
    ("text", {"id": "m3", "text": "two\n"}),
    ("tool_end", {"id": "c1", "status": "TOOL_CALL_COMPLETED", "result": "a.txt\nb.txt"}),
    ("tool_end", {"id": "t1", "status": "TOOL_CALL_COMPLETED", "result": "done A"}),
    ("tool_end", {"id": "t2", "status": "TOOL_CALL_FAILED", "error": "broken B"}),
    ("todos", {"todos": [{"content": "look", "status": "completed"}, {"content": "tell", "status": "pending"}]}),
    ("phase", {"phase": "EXECUTION_COMPLETED"}),
]  # fmt: skip
TOLD = """\
> hello
PENDING
IN_PROGRESS
[>] look
[ ] tell
I look
and delegate.
-> execute ls
=> sub-agent helper started: A
=> sub-agent helper 2 started (2 in parallel): B
[helper] one
[helper 2] two
<- execute done (10.0 s)
   a.txt
   b.txt
<= sub-agent helper done (9.0 s)
   done A
<= sub-agent helper 2 failed (9.0 s)
   broken B
[x] look
COMPLETED"""


def updates(said: list[Said]) -> list[StreamEvent]:
    def data(row: Any) -> dict[str, Any]:
        return {"seq": row.seq, "at": row.at, "kind": row.kind, "payload": row.payload}

    return [StreamEvent(kind="update", id=row.seq, data=data(row)) for row in rows_of(said)]


def test_plain_lines() -> None:
    """A pipe gets every change as one line, in the order of the log, and parallel sub-agents by their names."""
    out = io.StringIO()
    display = PlainDisplay(out)
    for event in updates(RECORDED):
        display.show(event)
    assert out.getvalue().strip() == TOLD
    assert display.story.tokens() == (1000, 20)


def test_live_display_says_the_same() -> None:
    """A terminal gets the same lines, and while sub-agents work both are shown."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None, highlight=False)
    display = LiveDisplay(console)
    for event in updates(RECORDED):
        display.show(event)
        if event.id == 18:
            assert [label for label, _, _ in display.story.open_sub_agents()] == ["helper", "helper 2"]
            assert [what for _, what, _ in display.story.open_calls()] == ["execute ls"]
            shown = Console(width=120, color_system=None, file=io.StringIO(), record=True)
            shown.print(display._now())
            text = shown.export_text()
            assert "helper" in text
            assert "helper 2" in text
            assert "-> execute ls" in text
            assert "[ ] tell" in text
    display.close()
    assert all(line in out.getvalue() for line in TOLD.splitlines())


def test_snapshot_goes_on() -> None:
    """A picture in the middle followed by rows tells the rest of a sentence, not a new one."""
    rows = rows_of(RECORDED)
    execution = {"status": render(fold(rows[:6]))}
    story = Story()
    story.tell(StreamEvent(kind="snapshot", id=6, data={"seq": 6, "execution": execution}))
    for event in updates(RECORDED)[6:]:
        story.tell(event)
    assert "".join(story.state.messages["m1"]["content"]) == "I look\nand delegate."
    assert set(story.state.sub_agents) == {"t1", "t2"}


def test_long_results_are_cut() -> None:
    """A long result shows its beginning and how much more there is."""
    said = [*RECORDED[:9], ("tool_end", {"id": "c1", "status": "TOOL_CALL_COMPLETED", "result": "x\n" * 50})]
    story = Story()
    lines = [plain(line) for event in updates(said) for line in story.tell(event)]
    assert lines[-1] == "   ... 30 more lines"


def test_what_is_rewritten_or_taken_back_is_told() -> None:
    """The new text, and that something went; a node's own words have its name."""
    said: list[Said] = [
        ("message", {"id": "m1", "type": "MESSAGE_AI", "content": ""}),
        ("text", {"id": "m1", "text": "Her card is 4111"}),
        ("message_edit", {"id": "m1", "content": "Her card is [redacted]"}),
        call("c1", "execute", {"command": "ls"}),
        ("tool_end", {"id": "c1", "status": "TOOL_CALL_COMPLETED", "result": "4111"}),
        ("tool_edit", {"id": "c1", "result": "[redacted]"}),
        ("message", {"id": "m2", "type": "MESSAGE_AI", "content": "", "scope": "planner/model"}),
        ("text", {"id": "m2", "text": "I think\n"}),
        ("message_removed", {"id": "m1"}),
    ]
    out = io.StringIO()
    display = PlainDisplay(out)
    for event in updates(said):
        display.show(event)
    assert out.getvalue().splitlines() == [
        "~ the message above was rewritten:",
        "Her card is [redacted]",
        "-> execute ls",
        "<- execute done (1.0 s)",
        "   4111",
        "~ the result of execute was rewritten:",
        "   [redacted]",
        "[planner/model] I think",
        "~ a message was taken back",
    ]


@pytest.mark.parametrize(
    ("started", "said"),
    [
        ("2026-01-02T03:04:05.5Z", "COMPLETED in 60.0 s, 0 tool calls"),
        ("2026-01-02T03:04:35Z", "COMPLETED in 60.0 s, 30.0 s of them before it began, 0 tool calls"),
        ("", "COMPLETED in 60.0 s, 60.0 s of them before it began, 0 tool calls"),
    ],
)
def test_the_time_is_the_executions_own(started: str, said: str) -> None:
    """From its create to its end, however late one looks at it; a long wait is named."""
    audit = {"status_audit": {"created_at": "2026-01-02T03:04:05Z"}}
    status = {"phase": "EXECUTION_COMPLETED", "completed_at": "2026-01-02T03:05:05Z", "audit": audit}
    assert ending({"status": status | ({"started_at": started} if started else {})}, Story()) == said
