"""An execution's log as lines of text, in the order of the log.

`Story.tell(event)` takes one event of the stream and returns the lines that it adds. `state` is the folded state so
far. The live display and the plain output of a pipe use the same story.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from agent_runner.clients.backend.http_api import StreamEvent
from agent_runner.status.attachments import amount
from agent_runner.status.log.log import LogRow, State
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.questions import expected_text

Payload = Mapping[str, Any]
RESULT_LINES, LINE_CHARS, SUMMARY_CHARS = 20, 400, 160
_TODO_MARKS = {"completed": "[x]", "in_progress": "[>]", "cancelled": "[-]"}


class Tone(Enum):
    """What a line is about; the display gives each a colour."""

    PHASE = "phase"
    USER = "user"
    TODO = "todo"
    CALL = "call"
    RESULT = "result"
    FAILED = "failed"
    SUB_AGENT = "sub_agent"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`who` is the sub-agent it belongs to; empty for the main conversation."""

    text: str
    tone: Tone
    who: str = ""


class Story:
    """The story of one execution. `state` is the fold of all rows so far."""

    def __init__(self) -> None:
        self.state = State.empty()
        self.ended = False
        self._unfinished: dict[str, str] = {}
        """By message: the text after its last line end, not shown yet."""
        self._todos: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._begun: set[str] = set()
        """The open calls that were shown. A call has one row when it is requested and one when it starts."""

    def tell(self, event: StreamEvent) -> list[Line]:
        """The lines that this event adds."""
        if event.kind == "snapshot":
            return list(self._tell_snapshot(event.data))
        if event.kind == "end":
            self.ended = True
            return list(self._flush())
        row = _row(event)
        self.state.apply(row)
        return list(self._tell_row(row))

    def unfinished(self) -> list[Line]:
        """The unfinished lines: text that has no line end yet."""
        return [
            Line(text=text, tone=Tone.TEXT, who=self._who_says(id_)) for id_, text in self._unfinished.items() if text
        ]

    def open_calls(self) -> list[tuple[str, str, float]]:
        """(who, what, since) of the tool calls that run now; sub-agents are not among them."""
        return [
            (
                self._who_calls(call),
                f"{call.get('name', '')} {summary(call.get('args'))}".strip(),
                _seconds(call["started_at"]),
            )
            for key, call in self.state.tool_calls.items()
            if call.get("status") not in ("TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED")
            and key not in self.state.sub_agents
        ]

    def open_sub_agents(self) -> list[tuple[str, str, float]]:
        """(label, input, since) of the sub-agents that work now."""
        return [
            (self._label(key), first_line(str(sub.get("input", ""))), _seconds(sub["started_at"]))
            for key, sub in self.state.sub_agents.items()
            if sub["status"] == "SUB_AGENT_IN_PROGRESS"
        ]

    def tokens(self) -> tuple[int, int]:
        """Tokens (read, written) by the model: the sum over the messages that have a count."""
        usages = [m["metadata"].get("usage") or {} for m in self.state.messages.values()]
        return sum(int(u.get("input_tokens") or 0) for u in usages), sum(
            int(u.get("output_tokens") or 0) for u in usages
        )

    def model(self) -> str:
        """The name of the model that spoke last in the main conversation; empty if no message has one."""
        named = [m["metadata"].get("model") for m in self.state.messages.values() if not m["metadata"].get("scope")]
        return next((str(name) for name in reversed(named) if name), "")

    def _tell_snapshot(self, data: Mapping[str, Any]) -> Iterator[Line]:
        """A snapshot in the middle of a run. It is shown once as a whole; later rows continue from it."""
        self.state = state_of(data.get("execution") or {}, int(data.get("seq") or 0))
        if self.state.phase is not None:
            yield Line(text=self.state.phase.name, tone=Tone.PHASE)
        yield from self._tell_todos()
        for key, call in self.state.tool_calls.items():
            yield from self._tell_call(key)
            if call.get("status") in ("TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED"):
                yield from self._tell_call_end(key)
        for failed in ((data.get("execution") or {}).get("attempts") or {}).get("failed") or ():
            yield from self._tell_attempt(failed)
        for key, message in self.state.messages.items():
            yield from self._tell_text(key, "".join(message["content"]) + "\n", message["type"])
            yield from self._tell_attached(message["metadata"])

    def _tell_row(self, row: LogRow) -> Iterator[Line]:
        if row.kind in _BREAKS:
            yield from self._flush()
        if tell := _KINDS.get(row.kind):
            yield from tell(self, row.payload)

    def _tell_phase(self, said: Payload) -> Iterator[Line]:
        yield Line(text=str(said.get("phase", "")).removeprefix("EXECUTION_"), tone=Tone.PHASE)

    def _tell_message(self, said: Payload) -> Iterator[Line]:
        metadata = said.get("metadata") or {}
        if metadata.get("note") == "wrong_turn":
            yield Line(text=said.get("content", ""), tone=Tone.FAILED)
        yield from self._tell_text(said["id"], said.get("content", ""), said.get("type", ""))
        yield from self._tell_attached(metadata)

    def _tell_attached(self, metadata: Mapping[str, Any]) -> Iterator[Line]:
        for one in metadata.get("attachments") or ():
            size = amount(int(one.get("size") or 0)) if one.get("size") else ""
            told = [one.get("id"), one.get("name"), one.get("mime_type") or one.get("type"), size, one.get("url")]
            yield Line(text=f"> + {', '.join(str(part) for part in told if part)}", tone=Tone.USER)

    def _tell_piece(self, said: Payload) -> Iterator[Line]:
        yield from self._tell_text(said["id"], said["text"])

    def _tell_new_call(self, said: Payload) -> Iterator[Line]:
        if said.get("name") != "task" and said["id"] not in self._begun:  # a `task` call is shown as a sub-agent
            yield from self._tell_call(said["id"])

    def _tell_end_of_call(self, said: Payload) -> Iterator[Line]:
        yield from self._tell_call_end(said["id"])

    def _tell_new_sub_agent(self, said: Payload) -> Iterator[Line]:
        yield from self._tell_sub_agent(said["id"])

    def _tell_list(self, _said: Payload) -> Iterator[Line]:
        yield from self._tell_todos()

    def _tell_custom(self, said: Payload) -> Iterator[Line]:
        told = [str(said.get("name") or ""), summary(said.get("data")) if said.get("data") is not None else ""]
        text = " ".join(part for part in [*told, str(said.get("note") or "")] if part)
        yield Line(text=f"* {text}", tone=Tone.RESULT, who=self._who(str(said.get("scope") or "")))

    def _tell_output(self, said: Payload) -> Iterator[Line]:
        text = json.dumps(said.get("output"), indent=2, ensure_ascii=False)
        yield from (Line(text=line, tone=Tone.TEXT) for line in text.splitlines())

    def _tell_question(self, said: Payload) -> Iterator[Line]:
        place = " in ".join(str(said[name]) for name in ("node", "scope") if said.get(name))
        yield Line(text=f"? question {said['id']}" + (f" ({place})" if place else ""), tone=Tone.TODO)
        yield Line(text=f"  expected: {expected_text(said)}", tone=Tone.RESULT)

    def _tell_incomplete(self, said: Payload) -> Iterator[Line]:
        yield Line(text=f"not a whole answer: {said.get('text') or said.get('reason')}", tone=Tone.FAILED)

    def _tell_attempt(self, said: Payload) -> Iterator[Line]:
        begins = f"; the next one begins in {said['pause_s']:g} s" if "pause_s" in said else ""
        text = f"attempt {said.get('attempt')} failed: {first_line(str(said.get('error', '')))}{begins}"
        yield Line(text=text, tone=Tone.FAILED)

    def _tell_note(self, said: Payload) -> Iterator[Line]:
        yield Line(text=f"note: {said.get('text', '')}", tone=Tone.RESULT)

    def _tell_text(self, message: str, text: str, type_: str = "") -> Iterator[Line]:
        if type_ == "MESSAGE_SYSTEM":
            return  # a failure is shown at the end, with its code and next step
        if type_ == "MESSAGE_HUMAN":
            yield from (Line(text=f"> {line}", tone=Tone.USER) for line in text.splitlines())
            return
        *lines, rest = (self._unfinished.pop(message, "") + text).split("\n")
        who = self._who_says(message)
        yield from (Line(text=line, tone=Tone.TEXT, who=who) for line in lines)
        if rest:
            self._unfinished[message] = rest

    def _tell_message_end(self, said: Payload) -> Iterator[Line]:
        if "content" in said:  # the final content replaces the streamed text
            self._unfinished.pop(said["id"], None)
            yield from self._tell_text(said["id"], said["content"])
        if rest := self._unfinished.pop(said["id"], ""):
            yield Line(text=rest, tone=Tone.TEXT, who=self._who_says(said["id"]))

    def _tell_rewritten(self, said: Payload) -> Iterator[Line]:
        self._unfinished.pop(said["id"], None)
        message = self.state.messages.get(said["id"])
        if message is not None:
            yield Line(text="~ the message above was rewritten:", tone=Tone.RESULT, who=self._who_says(said["id"]))
            yield from self._tell_text(said["id"], f"{said.get('content', '')}\n", message["type"])

    def _tell_taken_back(self, said: Payload) -> Iterator[Line]:
        self._unfinished.pop(said["id"], None)
        yield Line(text="~ a message was taken back", tone=Tone.RESULT)

    def _tell_rewritten_call(self, said: Payload) -> Iterator[Line]:
        call = self.state.tool_calls.get(said["id"])
        if call is None:
            return
        what = "result" if "result" in said else "call"
        who = self._who_calls(call)
        yield Line(text=f"~ the {what} of {call.get('name', '')} was rewritten:", tone=Tone.RESULT, who=who)
        shown = _text(call.get("result")) if "result" in said else summary(call.get("args"))
        yield from (Line(text=f"   {line}", tone=Tone.RESULT, who=who) for line in cut(shown))

    def _flush(self) -> Iterator[Line]:
        for message in list(self._unfinished):
            yield Line(text=self._unfinished.pop(message), tone=Tone.TEXT, who=self._who_says(message))

    def _tell_todos(self) -> Iterator[Line]:
        for todo in self.state.todos:
            status = str(todo.get("status", "")).lower().removeprefix("todo_")
            if self._todos.get(todo["content"]) != status:
                self._todos[todo["content"]] = status
                yield Line(text=f"{_TODO_MARKS.get(status, '[ ]')} {todo['content']}", tone=Tone.TODO)

    def _tell_call(self, key: str) -> Iterator[Line]:
        self._begun.add(key)
        call = self.state.tool_calls.get(key, {})
        text = f"-> {call.get('name', '')} {summary(call.get('args'))}".rstrip()
        yield Line(text=text, tone=Tone.CALL, who=self._who_calls(call))

    def _tell_call_end(self, key: str) -> Iterator[Line]:
        call = self.state.tool_calls.get(key)
        if call is None:
            return
        self._begun.discard(key)
        who, failed = self._who_calls(call), call.get("status") == "TOOL_CALL_FAILED"
        took = f"{max(_seconds(call.get('completed_at')) - _seconds(call.get('started_at')), 0):.1f} s"
        word = "failed" if failed else "done"
        tone = Tone.FAILED if failed else Tone.SUB_AGENT if key in self.state.sub_agents else Tone.CALL
        if key in self.state.sub_agents:
            yield Line(text=f"<= sub-agent {self._label(key)} {word} ({took})", tone=tone)
        else:
            yield Line(text=f"<- {call.get('name', '')} {word} ({took})", tone=tone, who=who)
        shown = str(call.get("error") or "") if failed and not call.get("result") else _text(call.get("result"))
        yield from (Line(text=f"   {line}", tone=Tone.RESULT, who=who) for line in cut(shown))

    def _tell_sub_agent(self, key: str) -> Iterator[Line]:
        sub = self.state.sub_agents.get(key)
        if sub is None or key in self._labels:
            return
        label, at_work = self._label(key), len(self.open_sub_agents())
        beside = f" ({at_work} in parallel)" if at_work > 1 else ""
        yield Line(
            text=f"=> sub-agent {label} started{beside}: {first_line(str(sub.get('input', '')))}", tone=Tone.SUB_AGENT
        )

    def _label(self, key: str) -> str:
        """The sub-agent's name; a second one of the same name is `name 2`."""
        if key not in self._labels:
            sub = self.state.sub_agents.get(key)
            name = str(sub.get("name") or "sub-agent") if sub else "sub-agent" if key in self.state.tool_calls else key
            twins = sum(label == name or label.startswith(f"{name} ") for label in self._labels.values())
            self._labels[key] = f"{name} {twins + 1}" if twins else name
        return self._labels[key]

    def _who(self, scope: str) -> str:
        return "/".join(self._label(part) for part in scope.split("/")) if scope else ""

    def _who_says(self, message: str) -> str:
        return self._who(str(self.state.messages.get(message, {}).get("metadata", {}).get("scope") or ""))

    def _who_calls(self, call: Mapping[str, Any]) -> str:
        return self._who(str(((call.get("component") or {}).get("metadata") or {}).get("scope") or ""))


_BREAKS = frozenset(
    {"phase", "attempt", "incomplete", "tool_call", "tool_end", "sub_agent", "message_removed", "question"}
)
"""Before these rows unfinished lines are shown as they are, so that the order stays that of the log."""
_KINDS: Mapping[str, Callable[[Story, Payload], Iterator[Line]]] = {
    "phase": Story._tell_phase,
    "message": Story._tell_message,
    "text": Story._tell_piece,
    "message_end": Story._tell_message_end,
    "todos": Story._tell_list,
    "tool_call": Story._tell_new_call,
    "tool_end": Story._tell_end_of_call,
    "sub_agent": Story._tell_new_sub_agent,
    "output": Story._tell_output,
    "question": Story._tell_question,
    "incomplete": Story._tell_incomplete,
    "note": Story._tell_note,
    "attempt": Story._tell_attempt,
    "message_edit": Story._tell_rewritten,
    "message_removed": Story._tell_taken_back,
    "tool_edit": Story._tell_rewritten_call,
    "custom": Story._tell_custom,
    "merge": Story._tell_list,
}


def state_of(execution: Mapping[str, Any], seq: int) -> State:
    """A state from a contract AgentExecution, for servers that send a snapshot instead of the log."""
    state = State.empty()
    state.apply(LogRow(seq=seq, at=0.0, fence=0, kind="merge", payload={"status": dict(execution.get("status") or {})}))
    # Later rows name a message by the id that its metadata carries.
    state.messages = {
        (id_ := str(message["metadata"].get("message_id") or key)): {**message, "id": id_}
        for key, message in state.messages.items()
    }
    return state


def ended_phase(state: State) -> Phase | None:
    return state.phase if state.phase in TERMINAL_PHASES else None


def summary(args: Any) -> str:
    """A call's arguments in one line: the command, the path, or all of them."""
    if not isinstance(args, Mapping):
        return first_line(str(args or ""))
    for name in ("command", "file_path", "path", "pattern", "query", "url"):
        if isinstance(args.get(name), str):
            return first_line(args[name])
    return first_line(json.dumps(dict(args), ensure_ascii=False)) if args else ""


def first_line(text: str) -> str:
    line, _, more = text.strip().partition("\n")
    return f"{line[:SUMMARY_CHARS]} ..." if more or len(line) > SUMMARY_CHARS else line


def cut(text: str) -> list[str]:
    """The first lines of a result, and a line with the number of the others."""
    lines = text.rstrip().splitlines()
    shown = [f"{line[:LINE_CHARS]} ..." if len(line) > LINE_CHARS else line for line in lines[:RESULT_LINES]]
    return [*shown, f"... {len(lines) - RESULT_LINES} more lines"] if len(lines) > RESULT_LINES else shown


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _row(event: StreamEvent) -> LogRow:
    data = event.data
    return LogRow(
        seq=event.id,
        at=_seconds(data.get("at")),
        fence=int(data.get("fence") or 0),
        kind=str(data.get("kind", "")),
        payload=data.get("payload") or {},
    )


def _seconds(at: Any) -> float:
    """Epoch seconds of a time in a log or a status: a number, or RFC 3339. 0 for anything else."""
    if isinstance(at, int | float):
        return float(at)
    try:
        return datetime.fromisoformat(str(at)).timestamp()
    except ValueError:
        return 0.0
