"""Shows an execution on the terminal while it runs.

`PlainDisplay` prints one line per change and nothing else, for pipes and logs. `LiveDisplay` prints the same lines.
Below them it shows the current state: todos, running tools, sub-agents side by side, the unfinished sentence.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Protocol, TextIO

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.text import Text

from agent_runner.app.cli.story import Line, Story, Tone
from agent_runner.clients.backend.http_api import StreamEvent
from agent_runner.status.phases import Phase
from agent_runner.status.visible_text import visible

REFRESH_PER_S, TALK_LINES = 8, 4
PANEL_WIDTH = 38
NOTICED_S = 2.0
"""A shorter wait before the run is not worth a word."""
"""Two sub-agents side by side on the narrowest usual terminal."""
_STYLES = {
    Tone.PHASE: "bold cyan",
    Tone.USER: "bold",
    Tone.TODO: "yellow",
    Tone.CALL: "blue",
    Tone.RESULT: "dim",
    Tone.FAILED: "red",
    Tone.SUB_AGENT: "magenta",
    Tone.TEXT: "",
}


class Display(Protocol):
    story: Story

    def show(self, event: StreamEvent) -> None:
        """Show one event of the stream."""

    def note(self, text: str) -> None:
        """Print a text that is not part of the execution."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class SilentDisplay:
    """Shows nothing: `--json`."""

    def __init__(self) -> None:
        self.story = Story()

    def show(self, event: StreamEvent) -> None:
        self.story.tell(event)

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class PlainDisplay:
    """Prints one line per change and flushes it at once. A printed line stays."""

    def __init__(self, out: TextIO) -> None:
        self.story = Story()
        self._out = out

    def show(self, event: StreamEvent) -> None:
        for line in self.story.tell(event):
            print(plain(line), file=self._out, flush=True)

    def note(self, text: str) -> None:
        print(visible(text), file=self._out, flush=True)

    def close(self) -> None:
        self._out.flush()


class LiveDisplay:
    """The lines scroll up. The current state stays below them."""

    def __init__(self, console: Console) -> None:
        self.story = Story()
        self._console = console
        self._since = monotonic()
        self._ahead: float | None = None
        """How far the log's clock is ahead of ours, from the rows as they arrive."""
        self._spinner = Spinner("dots")
        self._live = Live(
            get_renderable=self._now,
            console=console,
            refresh_per_second=REFRESH_PER_S,
            transient=True,
            redirect_stderr=False,
        )
        self._live.start()

    def show(self, event: StreamEvent) -> None:
        if event.kind == "update" and isinstance(event.data.get("at"), str):
            self._ahead = _epoch(event.data["at"]) - monotonic()
        if lines := self.story.tell(event):
            self._live.refresh()  # else the sentence that these lines finish would appear below them again
            self._console.print(*map(styled, lines), sep="\n", soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(Text(visible(text), style="dim"))

    def close(self) -> None:
        self._live.stop()

    def _now(self) -> RenderableType:
        story = self.story
        phase = story.state.phase.name if story.state.phase else "SENT"
        head = Text(f"{phase}  {monotonic() - self._since:.0f} s{tokens_text(story)}", style=_STYLES[Tone.PHASE])
        parts: list[RenderableType] = [Columns([self._spinner, head])]
        parts += [Text(visible(f"  {todo_text(todo)}"), style=_STYLES[Tone.TODO]) for todo in story.state.todos]
        calls = story.open_calls()
        parts += [
            Text(visible(f"  -> {what}  {self._for(since)}"), style=_STYLES[Tone.CALL])
            for who, what, since in calls
            if not who
        ]
        panels = []
        for label, task, since in story.open_sub_agents():
            doing = [what for who, what, _ in calls if who == label]
            said = [line.text for line in story.unfinished() if line.who == label]
            body = Text(visible("\n".join([task, *doing, *said][-TALK_LINES:])), overflow="ellipsis")
            panels.append(
                Panel(
                    body,
                    title=Text(visible(f"{label}  {self._for(since)}")),
                    border_style=_STYLES[Tone.SUB_AGENT],
                    width=PANEL_WIDTH,
                )
            )
        if panels:
            parts.append(Columns(panels))
        parts += [Text(visible(line.text)) for line in story.unfinished() if not line.who][-TALK_LINES:]
        return Group(*parts)

    def _for(self, since: float) -> str:
        return "" if self._ahead is None or not since else f"{max(self._ahead + monotonic() - since, 0):.0f} s"


def display_for(out: TextIO) -> Display:
    """Live on a terminal, plain lines elsewhere."""
    console = Console(file=out, highlight=False)
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else PlainDisplay(out)


def plain(line: Line) -> str:
    return visible(f"[{line.who}] {line.text}" if line.who else line.text)


def styled(line: Line) -> Text:
    text = Text(style=_STYLES[line.tone])
    if line.who:
        text.append(visible(f"[{line.who}] "), style=_STYLES[Tone.SUB_AGENT])
    return text.append(visible(line.text))


def todo_text(todo: Mapping[str, Any]) -> str:
    marks = {"completed": "[x]", "in_progress": "[>]"}
    status = str(todo.get("status", "")).lower().removeprefix("todo_")
    return f"{marks.get(status, '[ ]')} {todo.get('content', '')}"


def tokens_text(story: Story) -> str:
    """`, 1,234 tokens (1,000 read, 234 written)`; empty if there is no count."""
    read, written = story.tokens()
    return f", {read + written:,} tokens ({read:,} read, {written:,} written)" if read + written else ""


def ending(execution: Mapping[str, Any], story: Story) -> str:
    """The last line: how it ended, how long it took, what it used. The times are its own, whenever one looks at it."""
    status = execution.get("status") or {}
    phase = str(status.get("phase", "")).removeprefix("EXECUTION_")
    calls, subs = len(status.get("tool_calls", [])), len(status.get("sub_agent_executions", []))
    counts = [_count(calls, "tool call"), *([_count(subs, "sub-agent")] if subs else [])]
    model = f", model {story.model()}" if story.model() else ""
    if (tried := (execution.get("attempts") or {}).get("current", 1)) > 1:
        counts.append(f"{tried} attempts")
    if execution.get("incomplete"):
        phase += " with an answer that is not whole,"
    return f"{phase} {_took(status)}, {', '.join(counts)}{tokens_text(story)}{model}"


def _took(status: Mapping[str, Any]) -> str:
    """`in 4.2 s`, from create to end; a wait that one would notice is named."""
    created = str(((status.get("audit") or {}).get("status_audit") or {}).get("created_at", ""))
    started, ended = str(status.get("started_at", "")), str(status.get("completed_at", ""))
    if not created or not ended:
        return "after an unknown time"
    waited_s = _epoch(started or ended) - _epoch(created)
    waited = f", {waited_s:.1f} s of them before it began" if waited_s >= NOTICED_S else ""
    return f"in {max(_epoch(ended) - _epoch(created), 0.0):.1f} s{waited}"


def failure(execution: Mapping[str, Any]) -> tuple[str, str, str]:
    """(the error with its code, where it was raised, the next step) of an execution that failed or was cancelled."""
    status = execution.get("status") or {}
    told: Mapping[str, Any] = {}
    for message in status.get("messages", []):
        if message.get("type") == "MESSAGE_SYSTEM":
            told = message.get("metadata") or told
    error = str(status.get("error") or "it failed for a reason that was not recorded")
    code = str(told.get("error_code") or "")
    node, at, kind = (str(told.get(name) or "") for name in ("error_node", "error_at", "error_class"))
    where = ", ".join(part for part in (node and f"node {node}", at, kind) if part)
    return (
        visible(error if code in error else f"{error} [{code}]"),
        visible(where),
        visible(str(told.get("next_step") or "")),
    )


def phase_of(execution: Mapping[str, Any]) -> Phase | None:
    name = str((execution.get("status") or {}).get("phase", "")).removeprefix("EXECUTION_")
    return Phase.__members__.get(name)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _epoch(at: str) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return datetime.now(UTC).timestamp()
