"""The state of an execution: the fold of its log, one row at a time.

A `State` that was stored as JSON (`to_json`) and read back continues exactly where it stopped. So a reader needs only
a snapshot and the rows after it. A tool call is stored once, even if it is shown in several places. Unknown kinds of
rows, and rows about unknown messages or calls, change nothing: an older reader can read the log of a newer writer.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from agent_runner.status.log.events import INPUT_MESSAGE, USER_MESSAGE
from agent_runner.status.log.purges import kept_metadata, without_input
from agent_runner.status.phases import TERMINAL_PHASES, Phase

Json = dict[str, Any]

_CLOSED_CALLS = {"TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED"}
_CLOSED_SUB_AGENTS = {"SUB_AGENT_COMPLETED", "SUB_AGENT_FAILED"}
NOT_FINISHED = "Not finished: the execution ended first"
"""The error of calls and sub-agents that were open when their execution failed or was cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """`at`: epoch seconds of the database clock. `seq` counts from 1 without gaps."""

    seq: int
    at: float
    fence: int
    kind: str
    payload: Json
    text: str = field(default="", compare=False, repr=False)
    """The payload as JSON text, if it is at hand; for readers that are sent text."""


class State:
    """The result of the rows so far. Times are epoch seconds, or the text from a status update of another runner."""

    def __init__(self) -> None:
        self.seq = 0
        self.phase: Phase | None = None
        self.error = ""
        self.error_code = ""
        self.started_at: float | str = 0.0
        self.completed_at: float | str = 0.0
        self.output: Any = None
        self.fields: Json | None = None
        """The graph's state besides its messages, if `output` shows it in another form."""
        self.history_kept: int | None = None
        """How many messages of earlier turns the graph still has, if it removed some."""
        self.sandbox = ""
        """A text that says what the commands of the last attempt ran in."""
        self.incomplete: Json = {}
        """`{reason, text}` if the run completed but its last answer is incomplete."""
        self.said: str | None = None
        """The user's message, after a status update of another runner has replaced the list of messages."""
        self.messages: dict[str, Json] = {}
        """By id. `content` is a list of pieces; `tool_calls` a list of keys into `tool_calls`."""
        self.tool_calls: dict[str, Json] = {}
        self.listed: dict[str, None] = {}
        """The keys of `tool_calls` that the status shows, in order (as a set that remembers the order)."""
        self.sub_agents: dict[str, Json] = {}
        self.todos: list[Json] = []
        self.questions: dict[str, Json] = {}
        """The questions to a person with which the execution ended, by id."""
        self.attempts: list[Json] = []
        """The attempts that failed and were followed by another one, in order: `attempt`, `error_code`, `error`,
        `worker`, `ended_at`, `next_at`, and `possibly_repeated`, the calls that were open (`id`, `name`)."""

    @classmethod
    def empty(cls) -> Self:
        return cls()

    @property
    def terminal(self) -> bool:
        return self.phase in TERMINAL_PHASES

    @property
    def message_count(self) -> int:
        return len(self.messages)

    @property
    def tool_call_count(self) -> int:
        return len(self.listed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def apply(self, row: LogRow) -> None:
        """Apply one row. Rows come in the order of their `seq`."""
        self.seq = row.seq
        # one row that is not valid must not make the whole execution unreadable
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            if fold_kind := _KINDS.get(row.kind):
                fold_kind(self, row.payload, row.at)

    def to_json(self) -> Json:
        """A compact JSON form; `from_json` of it equals this state."""
        return {
            "seq": self.seq,
            "phase": self.phase.wire_name if self.phase else "",
            "error": self.error,
            "error_code": self.error_code,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "output": self.output,
            **({} if self.fields is None else {"fields": self.fields}),
            **({} if self.history_kept is None else {"history_kept": self.history_kept}),
            **({"incomplete": self.incomplete} if self.incomplete else {}),
            **({"sandbox": self.sandbox} if self.sandbox else {}),
            **({} if self.said is None else {"said": self.said}),
            "messages": [{**m, "content": "".join(m["content"])} for m in self.messages.values()],
            "tool_calls": [{**call, "key": key} for key, call in self.tool_calls.items()],
            "listed": list(self.listed),
            "sub_agents": list(self.sub_agents.values()),
            "todos": self.todos,
            **({"questions": list(self.questions.values())} if self.questions else {}),
            **({"attempts": self.attempts} if self.attempts else {}),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        state = cls()
        state.seq = kept["seq"]
        state.phase = Phase.known(kept["phase"])
        state.error, state.error_code = kept["error"], kept["error_code"]
        state.started_at, state.completed_at = kept["started_at"], kept["completed_at"]
        state.output, state.fields, state.said = kept["output"], kept.get("fields"), kept.get("said")
        state.history_kept = kept.get("history_kept")
        state.sandbox = kept.get("sandbox") or ""
        state.incomplete = dict(kept.get("incomplete") or {})
        state.messages = {
            m["id"]: {**m, "content": [m["content"]], "tool_calls": list(m["tool_calls"])} for m in kept["messages"]
        }
        state.tool_calls = {call["key"]: {k: v for k, v in call.items() if k != "key"} for call in kept["tool_calls"]}
        state.listed = dict.fromkeys(kept["listed"])
        state.sub_agents = {sub["id"]: dict(sub) for sub in kept["sub_agents"]}
        state.todos = [dict(todo) for todo in kept["todos"]]
        state.questions = {one["id"]: dict(one) for one in kept.get("questions", ())}
        state.attempts = [dict(one) for one in kept.get("attempts", ())]
        return state

    def _phase(self, said: Json, at: float) -> None:
        phase = Phase.known(said.get("phase", ""))
        if phase is None:
            return
        self.phase = phase
        self.error = said.get("error") or self.error
        self.error_code = said.get("error_code") or self.error_code
        if phase is Phase.IN_PROGRESS:
            self.started_at = self.started_at or at
            self.sandbox = said.get("sandbox") or self.sandbox
        if phase in TERMINAL_PHASES:
            self.completed_at = at
        if phase in (Phase.FAILED, Phase.CANCELLED):
            self._close_what_is_open(at)

    def _close_what_is_open(self, at: float) -> None:
        for call in self.tool_calls.values():
            if call.get("status") not in _CLOSED_CALLS:
                call.update(status="TOOL_CALL_FAILED", error=NOT_FINISHED, completed_at=at)
        for sub in self.sub_agents.values():
            if sub["status"] not in _CLOSED_SUB_AGENTS:
                sub.update(status="SUB_AGENT_FAILED", error=NOT_FINISHED, completed_at=at)

    def _message(self, said: Json, at: float) -> None:
        known = self.messages.get(said["id"])
        message = known or {"id": said["id"], "at": at, "metadata": {}, "tool_calls": []}
        message["type"] = said.get("type", "MESSAGE_AI")
        message["content"] = [said.get("content", "")]
        message["metadata"] = message["metadata"] | (said.get("metadata") or {})
        if said.get("scope"):
            message["metadata"]["scope"] = said["scope"]
        self.messages[said["id"]] = message
        if known is None and said.get("before") in self.messages:
            self._put_before(said["before"], said["id"])

    def _put_before(self, place: str, id_: str) -> None:
        order = [key for key in self.messages if key != id_]
        at = order.index(place)
        self.messages = {key: self.messages[key] for key in [*order[:at], id_, *order[at:]]}

    def _text(self, said: Json, at: float) -> None:
        if message := self.messages.get(said["id"]):
            message["content"].append(said["text"])

    def _message_end(self, said: Json, at: float) -> None:
        if message := self.messages.get(said["id"]):
            if "content" in said:
                message["content"] = [said["content"]]
            message["metadata"] = message["metadata"] | (said.get("metadata") or {})
            message["ended_at"] = at

    def _tool_call(self, said: Json, at: float) -> None:
        key = said["id"]
        call = self.tool_calls.setdefault(key, {"id": key, "started_at": at})
        self.listed[key] = None
        call.update({name: said[name] for name in ("name", "args", "status") if name in said})
        if call.get("status") not in _CLOSED_CALLS:  # started again after a hand-back: its old end no longer holds
            for name in ("result", "error", "completed_at"):
                call.pop(name, None)
        if said.get("component"):
            call["component"] = dict(said["component"])
        if said.get("scope"):
            component = call.setdefault("component", {})
            component["metadata"] = {**(component.get("metadata") or {}), "scope": said["scope"]}
        message = self.messages.get(said.get("message", ""))
        if message and key not in message["tool_calls"]:
            message["tool_calls"].append(key)

    def _tool_end(self, said: Json, at: float) -> None:
        call = self.tool_calls.get(said["id"])
        if call is None:
            return
        end = {name: said[name] for name in ("result", "error") if said.get(name)}
        call.update(end, status=said["status"], completed_at=at)
        if sub := self.sub_agents.get(said["id"]):
            failed = said["status"] == "TOOL_CALL_FAILED"
            sub["status"] = "SUB_AGENT_FAILED" if failed else "SUB_AGENT_COMPLETED"
            sub["completed_at"] = at
            sub["output"] = said.get("result", "")
            sub["error"] = said.get("error", "")

    def _sub_agent(self, said: Json, at: float) -> None:
        sub = self.sub_agents.setdefault(said["id"], {"id": said["id"], "started_at": at})
        args = self.tool_calls.get(said["id"], {}).get("args") or {}
        sub["name"] = said.get("name") or sub.get("name", "")
        sub["input"] = said.get("input") or sub.get("input") or str(args.get("description", ""))
        sub["status"] = said.get("status") or "SUB_AGENT_IN_PROGRESS"
        if said.get("scope"):
            sub["scope"] = said["scope"]

    def _message_edit(self, said: Json, at: float) -> None:
        """Replaces the whole message; its older rows are purged."""
        if message := self.messages.get(said["id"]):
            message["content"] = [said.get("content", "")]
            message["metadata"] = kept_metadata(message["metadata"]) | (said.get("metadata") or {}) | {"edited": True}
        self._forget_input(said["id"])

    def _message_removed(self, said: Json, at: float) -> None:
        message = self.messages.get(said["id"])
        self._forget_input(said["id"])
        if message is None:
            return
        if said["id"] == USER_MESSAGE:  # its place is kept: the first message is the user's
            message.update(content=[], metadata={"removed": True})
        else:
            del self.messages[said["id"]]

    def _forget_input(self, id_: str) -> None:
        """Removes the stored `input`: its JSON contains the text of its messages, too."""
        if id_.startswith(INPUT_MESSAGE) and (user := self.messages.get(USER_MESSAGE)):
            user["metadata"] = without_input(user["metadata"])

    def _message_scope(self, said: Json, at: float) -> None:
        if message := self.messages.get(said["id"]):
            message["metadata"] = {k: v for k, v in message["metadata"].items() if k != "scope"}
            if said.get("scope"):
                message["metadata"]["scope"] = said["scope"]

    def _message_moved(self, said: Json, at: float) -> None:
        message, after = self.messages.get(said["id"]), said.get("after") or USER_MESSAGE
        if message is None or said["id"] in (after, USER_MESSAGE):
            return
        order = [key for key in self.messages if key != said["id"]]
        place = order.index(after) + 1 if after in self.messages else 0
        self.messages = {key: self.messages[key] for key in [*order[:place], said["id"], *order[place:]]}

    def _tool_edit(self, said: Json, at: float) -> None:
        call, sub = self.tool_calls.get(said["id"]), self.sub_agents.get(said["id"])
        if call is None:
            return
        edited = ("name", "args", "result", "component", "status")
        call.update({name: said[name] for name in edited if name in said})
        if "args" in said and sub:
            sub["input"] = str((said["args"] or {}).get("description", ""))
        if "result" in said:
            call.pop("error", None)
            call.update({"error": said["error"]} if said.get("error") else {})
            if sub:
                sub.update(output=said["result"], error=said.get("error", ""))
                if "status" in said:
                    sub["status"] = said["status"].replace("TOOL_CALL", "SUB_AGENT")

    def _tool_removed(self, said: Json, at: float) -> None:
        key = said["id"]
        self.tool_calls.pop(key, None)
        self.listed.pop(key, None)
        self.sub_agents.pop(key, None)
        for message in self.messages.values():
            if key in message["tool_calls"]:
                message["tool_calls"].remove(key)

    def _todos(self, said: Json, at: float) -> None:
        old: dict[str, list[Json]] = {}
        for todo in self.todos:
            old.setdefault(todo["content"], []).append(todo)
        self.todos = []
        for number, todo in enumerate(said["todos"], start=1):
            twins = old.get(todo["content"])
            before = twins.pop(0) if twins else {}
            kept = before.get("status") == todo["status"]
            self.todos.append(
                {
                    "id": str(number),
                    "content": todo["content"],
                    "status": todo["status"],
                    "created_at": before.get("created_at") or at,
                    "updated_at": before.get("updated_at") or at if kept else at,
                }
            )

    def _question(self, said: Json, at: float) -> None:
        self.questions[said["id"]] = dict(said)

    def _attempt(self, said: Json, at: float) -> None:
        """An attempt failed and another one is left. What was open is waited for again, and may be done twice."""
        running = {key: call for key, call in self.tool_calls.items() if call.get("status") == "TOOL_CALL_RUNNING"}
        for call in running.values():
            call.update(status="TOOL_CALL_PENDING", possibly_repeated=True)
        told: Json = {name: said[name] for name in ("attempt", "error_code", "error", "worker") if name in said}
        pause_s = float(said.get("pause_s") or 0)
        open_calls = [{"id": key, "name": call.get("name", "")} for key, call in running.items()]
        self.attempts.append({**told, "ended_at": at, "next_at": at + pause_s, "possibly_repeated": open_calls})

    def _output(self, said: Json, at: float) -> None:
        self.output, self.fields = said.get("output"), said.get("fields")

    def _history(self, said: Json, at: float) -> None:
        self.history_kept = int(said["kept"])

    def _incomplete(self, said: Json, at: float) -> None:
        self.incomplete = {"reason": str(said["reason"]), "text": str(said.get("text", ""))}

    def _merge(self, said: Json, at: float) -> None:
        """`updateStatus` of the contract: non-empty lists and set fields replace the old values, the rest stays."""
        new = said.get("status") or {}
        if calls := new.get("tool_calls"):
            self.listed = dict.fromkeys(self._take_calls(calls, "call"))
        if messages := new.get("messages"):
            if self.said is None and (asked := self.messages.get("user")):
                self.said = "".join(asked["content"])
            self.messages = {}
            for number, message in enumerate(messages):
                key = f"merged-{number}"
                self.messages[key] = {
                    "id": key,
                    "at": message.get("timestamp", ""),
                    "type": message.get("type", "MESSAGE_TYPE_UNSPECIFIED"),
                    "content": [message.get("content", "")],
                    "metadata": message.get("metadata") or {},
                    "tool_calls": self._take_calls(message.get("tool_calls", ()), f"{key}-call"),
                }
        if subs := new.get("sub_agent_executions"):
            blank = {"name": "", "input": "", "status": "SUB_AGENT_STATUS_UNSPECIFIED", "started_at": ""}
            self.sub_agents = {s.get("id") or f"merged-{n}": {**blank, "id": "", **s} for n, s in enumerate(subs)}
            for key, sub in self.sub_agents.items():
                sub["id"] = sub["id"] or key
        if todos := new.get("todos"):
            self.todos = [{"id": key, "content": "", "status": "", **todo} for key, todo in todos.items()]
        self._phase(new, at)
        self.error = new.get("error") or self.error
        self.started_at = new.get("started_at") or self.started_at
        self.completed_at = new.get("completed_at") or self.completed_at

    def _take_calls(self, calls: Sequence[Json], prefix: str) -> list[str]:
        keys = [call.get("id") or f"{prefix}-{number}" for number, call in enumerate(calls)]
        for key, call in zip(keys, calls, strict=True):
            kept = {name: value for name, value in call.items() if name != "component_metadata"}
            self.tool_calls[key] = {"id": "", **kept, "component": call.get("component_metadata") or {}}
        return keys


_KINDS = {
    "phase": State._phase,
    "message": State._message,
    "text": State._text,
    "message_end": State._message_end,
    "tool_call": State._tool_call,
    "tool_end": State._tool_end,
    "sub_agent": State._sub_agent,
    "message_edit": State._message_edit,
    "message_removed": State._message_removed,
    "message_scope": State._message_scope,
    "message_moved": State._message_moved,
    "tool_edit": State._tool_edit,
    "tool_removed": State._tool_removed,
    "todos": State._todos,
    "output": State._output,
    "history": State._history,
    "question": State._question,
    "incomplete": State._incomplete,
    "merge": State._merge,
    "attempt": State._attempt,
}
