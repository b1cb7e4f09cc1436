"""Turns the events of a run into deltas of its log. Pure: no clock, no network; one builder per run.

It knows the unfinished messages and the running calls. So it can name the current step of the run at any time, and
close messages and calls that a failed model call or the end of the run leaves open.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent_runner.status import endings
from agent_runner.status.log import events
from agent_runner.status.log.bounds import (
    DEFAULT_MAX_ENCODED_BYTES,
    DEFAULT_MAX_OUTPUT_BYTES,
    DEFAULT_MAX_TOOL_RESULT_BYTES,
    MAX_NAME_CHARS,
    output_cut,
    todos_shown,
)
from agent_runner.status.log.custom import CustomLimits, CustomRows
from agent_runner.status.log.log import Delta
from agent_runner.status.log.open_parts import MAX_ERROR_CHARS, OpenCall, OpenMessage, within
from agent_runner.status.log.plain import MAX_ENCODED, Room, note_of, plain, plain_text, result_text, shown_text
from agent_runner.status.log.tool_names import SUB_AGENT_TOOL, TODO_TOOL, component, display_name
from agent_runner.status.usage.model_usage import Priced, Usage

_TODOS = "todos"


class StatusBuilder:
    """Feed it the run's events in order; each gives the deltas to append."""

    def __init__(
        self,
        *,
        max_tool_result_bytes: int = DEFAULT_MAX_TOOL_RESULT_BYTES,
        max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES,
        max_encoded_bytes: int = DEFAULT_MAX_ENCODED_BYTES,
        custom: CustomLimits | None = None,
        priced: Priced | None = None,
    ) -> None:
        self.events_processed = 0
        self.messages = 0
        self.tool_calls = 0
        self.used = Usage(priced)
        self.interrupted = False
        self._max_bytes = max_tool_result_bytes
        self._max_encoded = max_encoded_bytes
        """The limit for encoded data in the output; larger data is left out."""
        self._max_output_bytes = max_output_bytes
        """The limit for the output, and for one message."""
        self._models: dict[str, str] = {}
        self._open: dict[str, OpenMessage] = {}
        self._calls: dict[str, OpenCall] = {}
        self._answers: dict[str, bool] = {}
        """For each AI message of the main conversation, in order: whether it has text."""
        self._answered = False
        """Whether something other than a message is the answer: an output, or a tool's result."""
        self._todos: list[Mapping[str, Any]] = []
        self._endings: dict[str, tuple[str, str]] = {}
        """For each incomplete answer: the reason, and the text of a refusal."""
        self._custom = CustomRows(custom)

    def feed(self, event: events.Event) -> list[Delta]:
        self.events_processed += 1
        return _HANDLERS[type(event)](self, event)

    def open_step(self) -> str:
        """The current step of the run: the innermost running tools, else a model call, else nothing (empty)."""
        running = {id_: call for id_, call in self._calls.items() if call.state == "TOOL_CALL_RUNNING"}
        inner = [c for id_, c in running.items() if not any(within(other.scope, c, id_) for other in running.values())]
        # a sub-agent's task call is open while the sub-agent waits for its model: the step is then the model call
        tools = [call for call in inner if call.name != SUB_AGENT_TOOL or not self._models]
        if tools:
            named = [f"tool '{c.name}'" + (f" ({c.shown})" if c.shown != c.name else "") for c in tools[:3]]
            return ", ".join(named) + (f" and {len(tools) - 3} more" if len(tools) > 3 else "")
        return "model call" if self._models or self._open else ""

    def finish(self) -> list[Delta]:
        """The run has ended. Closes open messages and calls, and adds a note if there is no complete answer."""
        deltas = self.break_off()
        for id_, call in self._calls.items():
            deltas += self._close(id_, call)
        last, answered = next(reversed(self._answers.items()), ("", False))
        if not self.interrupted and not self._answered:
            deltas += endings.not_whole(*self._endings.get(last, ("", "")), answered=answered)
        return deltas

    def _close(self, id_: str, call: OpenCall) -> list[Delta]:
        """Closes a call that is still open at the end of the run."""
        if self.interrupted or call.state not in ("TOOL_CALL_RUNNING", "TOOL_CALL_PENDING"):
            return []
        was = "while this call was open" if call.state == "TOOL_CALL_RUNNING" else "without running this call"
        return self._end_call(id_, "", failed=True, error=f"The run ended {was}")

    def break_off(self) -> list[Delta]:
        """The run failed, was cancelled or is handed back: unfinished messages stay and are marked as incomplete."""
        self._models.clear()
        return [delta for id_ in list(self._open) for delta in self._broken(id_)]

    def interrupt(
        self, question: str, questions: Sequence[Mapping[str, Any]] = (), next: Sequence[str] = ()
    ) -> list[Delta]:
        """The turn ends with a question to the user. A second call adds nothing."""
        if self.interrupted:
            return []
        self.interrupted = True
        self.messages += 1
        asked = [plain(dict(one), max_bytes=self._max_bytes) for one in questions]
        metadata = {"interrupted": True, **({"questions": asked} if asked else {}), **({"next": next} if next else {})}
        content = shown_text(question, self._max_bytes)
        message = _delta("message", id="interrupt", type="MESSAGE_AI", content=content, metadata=metadata)
        return [*(Delta(kind="question", payload=one) for one in asked), message]

    def _custom_data(self, event: events.CustomData) -> list[Delta]:
        row = self._custom.row(event)
        return [] if row is None else [Delta(kind="custom", payload=row)]

    def _model_started(self, event: events.ModelStarted) -> list[Delta]:
        self._models[event.call_id] = event.scope
        return []

    def _model_ended(self, event: events.ModelEnded) -> list[Delta]:
        self._models.pop(event.call_id, None)
        return []

    def _message_started(self, event: events.MessageStarted) -> list[Delta]:
        return self._start(event.message_id, event.scope)

    def _start(self, message_id: str, scope: str, content: str = "") -> list[Delta]:
        if message_id in self._open:
            return []
        self.messages += 1
        self._open[message_id] = OpenMessage(scope=scope)
        made = _delta("message", id=message_id, type="MESSAGE_AI", content=content)
        if scope:
            made.payload["scope"] = scope
        return [made]

    def _message_text(self, event: events.MessageText) -> list[Delta]:
        if not event.text:
            return []
        deltas = self._start(event.message_id, event.scope)
        message = self._open[event.message_id]
        left = self._max_output_bytes - message.size
        if left < 0:
            return []  # the message has been cut
        text = plain_text(event.text)
        message.size += len(text) if text.isascii() else len(text.encode())
        if message.size > self._max_output_bytes:
            text = text.encode()[:left].decode(errors="ignore") + note_of(self._max_output_bytes, message.size)
        message.pieces.append(text)
        return [*deltas, Delta(kind="text", payload={"id": event.message_id, "text": text})]

    def _message_finished(self, event: events.MessageFinished) -> list[Delta]:
        text = shown_text(event.text, self._max_output_bytes)
        unseen = event.message_id not in self._open
        deltas = self._start(event.message_id, event.scope, content=text)
        message = self._open.pop(event.message_id)
        streamed = text if message.size > self._max_output_bytes else "".join(message.pieces)
        end: dict[str, Any] = {"id": event.message_id}
        if not unseen and streamed != text:
            end["content"] = text
        if metadata := self._message_metadata(event):
            end["metadata"] = metadata
        if len(end) > 1:
            deltas.append(Delta(kind="message_end", payload=end))
        if not event.scope:
            self._answers.pop(event.message_id, None)
            self._answers[event.message_id] = bool(text.strip())
            if event.incomplete:
                self._endings[event.message_id] = (event.incomplete, plain_text(event.refusal)[:MAX_ERROR_CHARS])
        for request in event.requests:
            deltas += self._requested(request, event.scope, event.message_id)
        return deltas

    def _message_metadata(self, event: events.MessageFinished) -> dict[str, Any]:
        usage = {name: int(n) for name, n in event.usage.items() if isinstance(n, int | float)}
        cost = self.used.add(event.model, usage)
        told = {
            "usage": usage,
            "cost": cost.as_json() if cost else None,
            "model": event.model,
            "fell_back_from": [plain(dict(one), max_bytes=self._max_bytes) for one in event.fell_back_from],
            "finish_reason": event.finish_reason,
            "reasoning": plain(event.reasoning, max_bytes=self._max_bytes),
            "incomplete": event.incomplete,
            "refusal": plain(event.refusal, max_bytes=self._max_bytes),
        }
        return {name: value for name, value in told.items() if value}

    def _requested(self, request: events.ToolRequest, scope: str, message_id: str) -> list[Delta]:
        if request.name == TODO_TOOL:
            return []
        if (call := self._calls.get(request.tool_call_id)) and not call.message:  # it ran before its message was told
            call.message = message_id
            return [_delta("tool_call", id=request.tool_call_id, message=message_id, name=call.name, status=call.state)]
        args = self._args(request.args)
        deltas = [self._new_call(request.tool_call_id, request.name, args, scope, message_id)]
        if request.invalid:
            deltas += self._end_call(request.tool_call_id, "", failed=True, error=request.invalid)
        return deltas

    def _new_call(self, id_: str, name: str, args: dict[str, Any], scope: str, message: str = "") -> Delta:
        self.tool_calls += 1
        call = OpenCall(scope=scope, name=name, shown=display_name(name, args), message=message, args=args)
        self._calls[id_] = call
        made = _delta(
            "tool_call", id=id_, message=message, name=plain_text(name[:MAX_NAME_CHARS]), args=args, status=call.state
        )
        made.payload["component"] = component(name, args, scope=scope)
        if scope:
            made.payload["scope"] = scope
        return made

    def _args(self, args: Any) -> dict[str, Any]:
        while isinstance(args, Mapping) and len(args) == 1:  # tools without a schema get their arguments wrapped
            inner = args.get("kwargs", args.get("input"))
            if not isinstance(inner, Mapping):
                break
            args = inner
        shown = plain(args, max_bytes=self._max_bytes, room=Room(self._max_bytes, max_encoded=MAX_ENCODED))
        return shown if isinstance(shown, dict) else {} if shown is None else {"input": shown}

    def _tool_started(self, event: events.ToolStarted) -> list[Delta]:
        if event.name == TODO_TOOL:
            return []
        deltas = []
        call = self._calls.get(event.tool_call_id)
        args = self._args(event.args)
        if call is None:
            deltas.append(self._new_call(event.tool_call_id, event.name, args, event.scope))
            call = self._calls[event.tool_call_id]
            deltas[0].payload["status"] = "TOOL_CALL_RUNNING"
        elif call.state != "TOOL_CALL_RUNNING":
            told = {"id": event.tool_call_id, "message": call.message, "name": call.name}
            deltas.append(Delta(kind="tool_call", payload={**told, "status": "TOOL_CALL_RUNNING"}))
        call.state = "TOOL_CALL_RUNNING"
        if event.name == SUB_AGENT_TOOL:
            name = str(args.get("subagent_type") or "sub-agent")
            sub = _delta("sub_agent", id=event.tool_call_id, name=name, status="SUB_AGENT_IN_PROGRESS")
            deltas.append(sub)
            if event.scope:
                sub.payload["scope"] = event.scope
        return deltas

    def _tool_finished(self, event: events.ToolFinished) -> list[Delta]:
        if event.name == TODO_TOOL:
            return []
        deltas: list[Delta] = []
        call = self._calls.get(event.tool_call_id)
        if call is None:
            deltas.append(self._new_call(event.tool_call_id, event.name, {}, event.scope))
        result = result_text(event.result, max_bytes=self._max_bytes)
        return deltas + self._end_call(event.tool_call_id, result, failed=event.failed, error=event.error)

    def _end_call(self, id_: str, result: str, *, failed: bool, error: str) -> list[Delta]:
        call = self._calls[id_]
        if call.state in ("TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED"):
            return []
        return [Delta(kind="tool_end", payload=call.ended(id_, result, failed=failed, error=error))]

    def _tool_suspended(self, event: events.ToolSuspended) -> list[Delta]:
        call = self._calls.get(event.tool_call_id)
        if call is None or call.state != "TOOL_CALL_RUNNING":
            return []
        call.state = "TOOL_CALL_PENDING"
        return [_delta("tool_call", id=event.tool_call_id, message=call.message, name=call.name, status=call.state)]

    def _todos_written(self, event: events.TodosWritten) -> list[Delta]:
        if event.scope:  # a sub-agent's own list; the status shows the main agent's
            return []
        self._todos = list(event.todos)
        return [_delta("todos", todos=todos_shown(event.todos, self._max_bytes))]

    def _interrupted(self, event: events.Interrupted) -> list[Delta]:
        return self.interrupt(event.question, event.questions, event.next)

    def _graph_output(self, event: events.GraphOutput) -> list[Delta]:
        output, fields = event.output, event.fields
        if isinstance(output, Mapping) and self._todos and output.get(_TODOS) == self._todos:
            output = {name: value for name, value in output.items() if name != _TODOS}  # they are shown as todos
            if not output:
                return []
        self._answered = self._answered or event.answered
        room = Room(self._max_output_bytes, max_encoded=self._max_encoded)
        told = _delta("output", output=plain(output, max_bytes=self._max_output_bytes, room=room))
        if fields is not None:
            told.payload["fields"] = plain(fields, max_bytes=self._max_output_bytes, room=room)
        return [told, Delta(kind="message", payload=output_cut(self._max_output_bytes))] if room.cut else [told]

    def _message_added(self, event: events.MessageAdded) -> list[Delta]:
        self.messages += 1
        return [
            _delta(
                "message", id=event.message_id, type=event.type, content=shown_text(event.text, self._max_output_bytes)
            )
        ]

    def _message_edited(self, event: events.MessageEdited) -> list[Delta]:
        text = shown_text(event.text, self._max_output_bytes)
        edit = _delta("message_edit", id=event.message_id, content=text)
        if event.reasoning:
            edit.payload["metadata"] = {"reasoning": plain(event.reasoning, max_bytes=self._max_bytes)}
        if event.message_id in self._answers:
            self._answers[event.message_id] = bool(text.strip())
        deltas = [edit, *(self._forget(id_) for id_ in event.removed_calls)]
        for request in event.requests:
            call = self._calls.get(request.tool_call_id)
            if call is None:
                deltas += self._requested(request, event.scope, event.message_id)
            elif call.args != (args := self._args(request.args)) or call.name != request.name:
                call.args, call.name = args, request.name
                told = _delta(
                    "tool_edit", id=request.tool_call_id, name=plain_text(request.name[:MAX_NAME_CHARS]), args=args
                )
                told.payload["component"] = component(request.name, args, scope=event.scope)
                deltas.append(told)
        return deltas

    def _message_removed(self, event: events.MessageRemoved) -> list[Delta]:
        self._answers.pop(event.message_id, None)
        removed = _delta("message_removed", id=event.message_id)
        return [removed, *(self._forget(id_) for id_ in event.tool_call_ids)]

    def _message_forgotten(self, event: events.MessageForgotten) -> list[Delta]:
        return [_delta("message_end", id=event.message_id, metadata={"forgotten": True})]

    def _forget(self, call_id: str) -> Delta:
        self._calls.pop(call_id, None)
        return _delta("tool_removed", id=call_id)

    def _message_scoped(self, event: events.MessageScoped) -> list[Delta]:
        if event.scope:
            self._answers.pop(event.message_id, None)
        return [_delta("message_scope", id=event.message_id, scope=event.scope)]

    def _message_moved(self, event: events.MessageMoved) -> list[Delta]:
        if event.message_id in self._answers:  # messages only move up, so this one is not the run's last word
            self._answers = {event.message_id: self._answers.pop(event.message_id), **self._answers}
        return [_delta("message_moved", id=event.message_id, after=event.after)]

    def _tool_edited(self, event: events.ToolEdited) -> list[Delta]:
        result, call = result_text(event.result, max_bytes=self._max_bytes), self._calls.get(event.tool_call_id)
        if event.failed is None or call is None:
            return [_delta("tool_edit", id=event.tool_call_id, result=result)]
        return [Delta(kind="tool_edit", payload=call.ended(event.tool_call_id, result, failed=event.failed))]

    def _calls_taken(self, event: events.CallsTaken) -> list[Delta]:
        open_ = [id_ for id_ in event.tool_call_ids if id_ in self._calls]
        pending = [id_ for id_ in open_ if self._calls[id_].state == "TOOL_CALL_PENDING"]
        return [delta for id_ in pending for delta in self._end_call(id_, "", failed=False, error="")]

    def _history_cut(self, event: events.HistoryCut) -> list[Delta]:
        return [_delta("history", kept=event.kept)]

    def _tool_answered(self, event: events.ToolAnswered) -> list[Delta]:
        self._answered = True
        return []

    def _message_broken(self, event: events.MessageBroken) -> list[Delta]:
        return self._broken(event.message_id)

    def _broken(self, message_id: str) -> list[Delta]:
        if self._open.pop(message_id, None) is None:
            return []
        return [_delta("message_end", id=message_id, metadata={"incomplete": True})]


def _delta(kind: str, **payload: Any) -> Delta:
    return Delta(kind=kind, payload=payload)


_HANDLERS: dict[type, Callable[[StatusBuilder, Any], list[Delta]]] = {
    events.ModelStarted: StatusBuilder._model_started,
    events.ModelEnded: StatusBuilder._model_ended,
    events.MessageStarted: StatusBuilder._message_started,
    events.MessageText: StatusBuilder._message_text,
    events.MessageFinished: StatusBuilder._message_finished,
    events.MessageBroken: StatusBuilder._message_broken,
    events.ToolStarted: StatusBuilder._tool_started,
    events.ToolFinished: StatusBuilder._tool_finished,
    events.ToolSuspended: StatusBuilder._tool_suspended,
    events.TodosWritten: StatusBuilder._todos_written,
    events.Interrupted: StatusBuilder._interrupted,
    events.GraphOutput: StatusBuilder._graph_output,
    events.MessageAdded: StatusBuilder._message_added,
    events.MessageEdited: StatusBuilder._message_edited,
    events.MessageRemoved: StatusBuilder._message_removed,
    events.MessageForgotten: StatusBuilder._message_forgotten,
    events.MessageScoped: StatusBuilder._message_scoped,
    events.MessageMoved: StatusBuilder._message_moved,
    events.ToolEdited: StatusBuilder._tool_edited,
    events.CallsTaken: StatusBuilder._calls_taken,
    events.HistoryCut: StatusBuilder._history_cut,
    events.ToolAnswered: StatusBuilder._tool_answered,
    events.WrongTurn: lambda _, event: [endings.wrong_turn_note(event)],
    events.CustomData: StatusBuilder._custom_data,
}
