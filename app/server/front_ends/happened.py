"""Rows of a log as happenings, in order. One `Reading` per reader: it knows what is open, and closes it in time.

Whatever a run does, what comes out is well-formed: a text begins once and ends once, a call is told once and returns
once, nothing is open at the end.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent_runner.app.server.front_ends import happenings as h
from agent_runner.app.server.front_ends.happenings import Happening, Json
from agent_runner.app.server.log_feed.log_ends import end_row
from agent_runner.status.log.events import INPUT_MESSAGE, USER_MESSAGE
from agent_runner.status.log.log import LogRow
from agent_runner.status.log.state import NOT_FINISHED
from agent_runner.status.log.stream.message_pieces import parts_in
from agent_runner.status.log.stream.stream_parts import STREAM
from agent_runner.status.phases import Phase
from agent_runner.status.requests.run_request import TASKS, VALUES
from agent_runner.status.usage.model_usage import whole_cost

QUESTION = "interrupt"
"""The id of the message with which a run that asks ends; its questions are told at the end."""
FAILURE = "failure"
OF_CALL = ":call"
"""Stands behind a call's id in place of the message that asked for it, if that is of an earlier run."""
MESSAGES, TODOS = "messages", "todos"
_ROLES: Mapping[str, h.Role] = {"MESSAGE_AI": "assistant", "MESSAGE_HUMAN": "user"}
CLOSED = ("TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED")


class Reading:
    """`theirs`: names of tools that the front end itself runs; a call of one stays open at the end of the run."""

    def __init__(self, theirs: frozenset[str] = frozenset()) -> None:
        self._theirs = theirs
        self._texts: dict[str, str] = {}
        """What was told of each message."""
        self._scopes: dict[str, str] = {}
        self._open: dict[str, None] = {}
        self._over: set[str] = set()
        """Messages whose text has ended."""
        self._calls: dict[str, tuple[str, str]] = {}
        """The name and scope of each call."""
        self._returned: set[str] = set()
        self._subs: dict[str, str] = {}
        """The open sub-agents: their names, by the ids of their calls."""
        self._known_subs: set[str] = set()
        self._steps: dict[str, str] = {}
        self._state: Json = {}
        self._todos: list[Any] = []
        self._told_state: Json | None = None
        self._questions: list[Json] = []
        self._asked = ""
        self._output: Any = None
        self._usage: dict[str, dict[str, int]] = {}
        self._costs: dict[str, Json | None] = {}
        """Of each model call, by its message."""
        self._failure: Json = {}
        self._rewritten = False

    def of(self, row: LogRow) -> Iterator[Happening]:
        if tell := _KINDS.get(row.kind):
            yield from tell(self, row.payload)
        if end_row(row) is not None:
            yield from self._end(row)

    def _message(self, said: Json) -> Iterator[Happening]:
        id_, kind, text = str(said["id"]), said.get("type", "MESSAGE_AI"), str(said.get("content") or "")
        metadata = said.get("metadata") or {}
        if id_ == FAILURE:
            self._failure = {"text": text, **metadata}
        elif id_ == QUESTION:
            self._asked = text
        elif kind == "MESSAGE_SYSTEM":
            yield h.Note(text=text, facts=metadata)
        elif id_ != USER_MESSAGE and not id_.startswith(INPUT_MESSAGE) and kind in _ROLES:
            yield from self._spoken(id_, _ROLES[kind], text, str(said.get("scope") or ""))

    def _spoken(self, id_: str, role: h.Role, text: str, scope: str) -> Iterator[Happening]:
        if id_ in self._texts:  # a run that was handed back says it again
            self._rewritten = True
            return
        self._texts[id_], self._scopes[id_] = "", self._scope(scope)
        if role == "assistant":
            yield h.ModelBegan(id=id_, scope=self._scopes[id_])
        if text:
            yield from self._more(id_, text, role)
            yield from self._close(id_)

    def _scope(self, scope: str) -> str:
        """The innermost open sub-agent of a scope `outer/inner`; empty if it is a part of a graph and no sub-agent."""
        return next((one for one in reversed(scope.split("/")) if one in self._subs), "")

    def _more(self, id_: str, text: str, role: h.Role = "assistant") -> Iterator[Happening]:
        if id_ in self._over:
            self._rewritten = True
            return
        scope = self._scopes[id_]
        if id_ not in self._open:
            self._open[id_] = None
            yield h.TextBegan(id=id_, role=role, scope=scope)
        self._texts[id_] += text
        yield h.TextMore(id=id_, text=text, scope=scope)

    def _close(self, id_: str) -> Iterator[Happening]:
        if id_ in self._open:
            del self._open[id_]
            self._over.add(id_)
            yield h.TextEnded(id=id_, scope=self._scopes[id_])

    def _text(self, said: Json) -> Iterator[Happening]:
        if said["id"] in self._texts and said["text"]:
            yield from self._more(said["id"], said["text"])

    def _message_end(self, said: Json) -> Iterator[Happening]:
        id_, metadata = str(said["id"]), said.get("metadata") or {}
        if id_ not in self._texts:
            return
        if usage := metadata.get("usage"):
            held = self._usage.setdefault(str(metadata.get("model") or ""), {})
            for name, tokens in usage.items():
                held[name] = held.get(name, 0) + tokens
        if metadata.get("usage") or metadata.get("model"):
            self._costs[id_] = metadata.get("cost")
        if reasoning := metadata.get("reasoning"):
            yield h.Reasoned(id=id_, text=str(reasoning), scope=self._scopes[id_])
        whole, told = str(said.get("content", self._texts[id_])), self._texts[id_]
        if whole.startswith(told) and whole != told:
            yield from self._more(id_, whole[len(told) :])
        elif whole != told:
            self._rewritten = True
        yield from self._close(id_)
        self._over.add(id_)

    def _tool_call(self, said: Json) -> Iterator[Happening]:
        id_, message = str(said["id"]), str(said.get("message") or "")
        if id_ in self._calls:
            return
        name, scope = str(said.get("name") or "tool"), self._scope(str(said.get("scope") or ""))
        yield from self._close(message)
        if not message:  # a run that goes on after a question: its call was asked for before
            yield h.ModelBegan(id=f"{id_}{OF_CALL}", scope=scope)
        self._calls[id_] = name, scope
        args = said.get("args")
        yield h.Called(id=id_, name=name, args={} if args is None else args, message=message, scope=scope)

    def _tool_end(self, said: Json) -> Iterator[Happening]:
        id_ = str(said["id"])
        if id_ not in self._calls or id_ in self._returned:
            return
        failed = said.get("status") == "TOOL_CALL_FAILED"
        name, scope = self._calls[id_]
        result, error = str(said.get("result") or ""), str(said.get("error") or "") if failed else ""
        if name in self._theirs and error.startswith("The run ended without running"):
            return
        self._returned.add(id_)
        if (sub := self._subs.pop(id_, None)) is not None:
            for message in [one for one in self._open if self._scopes[one] == id_]:
                yield from self._close(message)
            yield h.SubAgentEnded(id=id_, name=sub, result=result, error=error)
        yield h.Returned(id=id_, name=name, result=result, error=error, scope=scope)

    def _sub_agent(self, said: Json) -> Iterator[Happening]:
        id_ = str(said["id"])
        if id_ not in self._known_subs:
            self._known_subs.add(id_)
            name, scope = str(said.get("name") or "sub-agent"), self._scope(str(said.get("scope") or ""))
            self._subs[id_] = name
            yield h.SubAgentBegan(id=id_, name=name, task=str(said.get("input") or ""), scope=scope)

    def _message_edit(self, said: Json) -> Iterator[Happening]:
        id_, text = str(said["id"]), str(said.get("content") or "")
        if id_ in self._texts and text != self._texts[id_]:
            self._rewritten = True
            yield from self._close(id_)
            self._over.add(id_)

    def _changed(self, said: Json) -> Iterator[Happening]:
        self._rewritten = self._rewritten or str(said.get("id")) in {*self._texts, *self._calls}
        yield from ()

    def _todo_list(self, said: Json) -> Iterator[Happening]:
        self._todos = list(said["todos"])
        yield from self._state_now()

    def _output_is(self, said: Json) -> Iterator[Happening]:
        self._output = said.get("output")
        shown = said.get("fields") if said.get("fields") is not None else self._output
        if isinstance(shown, Mapping):
            yield from self._state_from(shown)

    def _state_from(self, values: Mapping[str, Any]) -> Iterator[Happening]:
        self._state = {k: v for k, v in values.items() if k != MESSAGES and not k.startswith("__")}
        yield from self._state_now()

    def _state_now(self) -> Iterator[Happening]:
        state = {**self._state, **({TODOS: self._todos} if self._todos else {})}
        if state != (self._told_state or {}):
            self._told_state = state
            yield h.StateIs(state=state)

    def _custom(self, said: Json) -> Iterator[Happening]:
        if said.get("note"):
            yield h.Note(text=str(said["note"]))
        else:
            yield h.Custom(name=str(said.get("name") or ""), data=said.get("data"), node=str(said.get("node") or ""))

    def _question(self, said: Json) -> Iterator[Happening]:
        self._questions.append(dict(said))
        yield from ()

    def _stream(self, said: Json) -> Iterator[Happening]:
        for part, namespace, data in parts_in(said):
            if namespace or not isinstance(data, dict):
                continue
            if part == VALUES:
                yield from self._state_from(data)
            elif part == TASKS:
                yield from self._step(data)

    def _step(self, task: Json) -> Iterator[Happening]:
        id_, name = str(task.get("id")), str(task.get("name") or "")
        if id_ in self._steps:
            if "result" in task or "error" in task:
                yield h.StepEnded(name=self._steps.pop(id_))
        elif "input" in task and not name.startswith("__"):
            same = sum(open_ == name or open_.startswith(f"{name} #") for open_ in self._steps.values())
            used = set(self._steps.values())
            shown = name if not same else next(f"{name} #{n}" for n in range(2, same + 3) if f"{name} #{n}" not in used)
            self._steps[id_] = shown
            yield h.StepBegan(name=shown)

    def _merge(self, said: Json) -> Iterator[Happening]:
        """A whole status, as runners with the compatible reporting send it."""
        status = said.get("status") or {}
        for number, message in enumerate(status.get("messages") or ()):
            kind, text = message.get("type", ""), str(message.get("content") or "")
            if kind != "MESSAGE_AI":
                continue
            id_ = str((message.get("metadata") or {}).get("message_id") or f"message-{number}")
            if id_ not in self._texts:
                yield from self._spoken(id_, "assistant", "", "")
            told = self._texts[id_]
            if text.startswith(told) and len(text) > len(told):
                yield from self._more(id_, text[len(told) :])
            self._rewritten = self._rewritten or not text.startswith(told)
        for call in status.get("tool_calls") or ():
            if id_ := str(call.get("id") or ""):
                yield from self._tool_call({**call, "id": id_, "message": ""})
                if call.get("status") in CLOSED:
                    yield from self._tool_end(call)
        if todos := status.get("todos"):
            yield from self._todo_list({TODOS: [dict(todo) for todo in todos.values()]})

    def _end(self, row: LogRow) -> Iterator[Happening]:
        end = end_row(row)
        assert end is not None
        for id_ in list(self._open):
            yield from self._close(id_)
        waits = end.phase is Phase.COMPLETED and bool(self._questions or self._asked)
        for id_, name in reversed(list(self._subs.items())):
            yield h.SubAgentEnded(id=id_, name=name, waits=waits, error="" if waits else NOT_FINISHED)
        for step in list(self._steps.values()):
            yield h.StepEnded(name=step)
        if not waits:
            for id_, (name, scope) in self._calls.items():
                if id_ not in self._returned and (end.phase is not Phase.COMPLETED or name not in self._theirs):
                    yield h.Returned(id=id_, name=name, result="", error=NOT_FINISHED, scope=scope)
        asked: list[Json] = [{"id": QUESTION, "text": self._asked}] if self._asked and not self._questions else []
        yield h.Over(
            phase=end.phase,
            code=end.error_code,
            text=str(row.payload.get("error") or self._failure.get("text") or ""),
            next_step=str(self._failure.get("next_step") or ""),
            questions=(self._questions or asked) if waits else (),
            output=self._output,
            usage=self._usage,
            cost=whole_cost(self._costs.values()),
            rewritten=self._rewritten,
        )


_KINDS: dict[str, Callable[[Reading, Json], Iterator[Happening]]] = {
    "message": Reading._message,
    "text": Reading._text,
    "message_end": Reading._message_end,
    "tool_call": Reading._tool_call,
    "tool_end": Reading._tool_end,
    "sub_agent": Reading._sub_agent,
    "message_edit": Reading._message_edit,
    "message_removed": Reading._changed,
    "message_moved": Reading._changed,
    "tool_edit": Reading._changed,
    "tool_removed": Reading._changed,
    "todos": Reading._todo_list,
    "output": Reading._output_is,
    "custom": Reading._custom,
    "question": Reading._question,
    "merge": Reading._merge,
    STREAM: Reading._stream,
}
