"""What tools and models say is shown on a terminal and in logs, never obeyed by them."""

import io
import json
import logging
from typing import Any

import pytest
from rich.console import Console

from agent_runner.app.cli.display import LiveDisplay, PlainDisplay, failure
from agent_runner.clients.backend.http_api import StreamEvent
from agent_runner.clients.process.env_file_lines import told_of_env_file
from agent_runner.clients.process.logs import set_up_logging
from agent_runner.status.visible_text import visible

TRICKS = {
    "\x1b[31mred\x1b[0m": "\\x1b[31mred\\x1b[0m",
    "good\rbad!": "good\\rbad!",
    "a\x08b\x07": "a\\x08b\\x07",
    "\x9b2J": "\\x9b2J",
    "user\u202egnp.exe": "user\\u202egnp.exe",
    "two\nlines\tand a tab": "two\nlines\tand a tab",
    "of Windows\r\n": "of Windows\n",
    "grüße 日本 🎉": "grüße 日本 🎉",
}


@pytest.mark.parametrize("said", TRICKS)
def test_control_characters_are_words(said: str) -> None:
    """Escapes, carriage returns, bells, turned text; what people write stays."""
    assert visible(said) == TRICKS[said]


def events(text: str) -> list[StreamEvent]:
    def row(seq: int, kind: str, **payload: Any) -> StreamEvent:
        data = {"seq": seq, "at": "2026-01-01T00:00:00Z", "kind": kind, "payload": payload}
        return StreamEvent(kind="update", id=seq, data=data)

    return [
        row(1, "message", id="m1", type="MESSAGE_AI", content=f"{text}\n"),
        row(2, "message_end", id="m1"),
        row(3, "todos", todos=[{"content": text, "status": "TODO_PENDING"}]),
        row(4, "tool_call", id="c1", name=f"tool{text}", args={"x": text}, status="TOOL_CALL_RUNNING", message="m1"),
        row(5, "tool_end", id="c1", status="TOOL_CALL_COMPLETED", result=text),
        row(6, "sub_agent", id="s1", name=f"sub{text}", input=text, status="SUB_AGENT_IN_PROGRESS"),
    ]


@pytest.mark.parametrize("live", [False, True])
def test_the_command_line_shows_them(live: bool) -> None:
    """In messages, todos, calls, results and sub-agents, live and plain: no escape of theirs reaches the terminal."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=200)
    display = LiveDisplay(console) if live else PlainDisplay(out)
    for event in events("\x1b]0;title\x07\x1b[2Jx\ry"):
        display.show(event)
    display.note("\x1b]0;title\x07")
    display.close()
    said = out.getvalue()
    assert "\x1b]0;" not in said
    assert "\x1b[2Jx" not in said
    assert "\x07" not in said
    assert "x\ry" not in said
    assert said.count("\\x1b]0;title\\x07") >= 5


def test_a_failure_is_shown() -> None:
    """Its text is a tool's or a model's."""
    assert failure({"status": {"error": "\x1b[2Jgone\r"}})[0] == "\\x1b[2Jgone\\r"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logs_show_them(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    """A line that a tool has coloured or overwritten is one line with words in it, in both formats."""
    told_of_env_file()  # another test may have read one
    before = logging.getLogger().handlers[:]
    try:
        set_up_logging("INFO", log_format)
        logging.getLogger("tool").info("it said %s", "\x1b[2J\rINFO all is well")
    finally:
        logging.getLogger().handlers[:] = before
    (line,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in line
    assert "all is well" in line
    if log_format == "json":
        assert "\x1b[2J" in json.loads(line)["message"]
