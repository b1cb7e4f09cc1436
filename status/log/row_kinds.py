"""The kinds of rows of a log, as data: which fields the payload of each has, and who writes it.

The description of the API, the TypeScript types of the client and the checks of what workers send are made from this
table. `State` knows how a kind changes the status. Kinds and fields may be added; readers skip what they do not know.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase

Schema = Mapping[str, Any]
"""A JSON Schema."""


class Writer(Enum):
    """Who may write rows of a kind."""

    WORKER = "worker"
    """Workers report it; the server may write it too."""
    SERVER = "server"
    """Only the server: the execution's row decides on it (L6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKind:
    """`fields` are those of the payload; `needed` names those that every row has."""

    name: str
    says: str
    fields: Mapping[str, Schema]
    needed: tuple[str, ...] = ()
    writer: Writer = Writer.WORKER
    checked: bool = True
    """Whether a row of a worker without a needed field is refused. Not for kinds that the status has no part of."""

    def payload(self) -> dict[str, Any]:
        """The JSON Schema of the payload."""
        return {"type": "object", "required": list(self.needed), "properties": dict(self.fields)}


_TEXT: Schema = {"type": "string"}
_OBJECT: Schema = {"type": "object"}
_ANY: Schema = {}
_NUMBER: Schema = {"type": "integer", "minimum": 0}
_SCOPE: Schema = {**_TEXT, "description": "the call of the sub-agent that it belongs to; missing: the main agent"}
_PURGED: Schema = {"const": True, "description": "its text was taken away, because a later row rewrote or removed it"}
_MESSAGE: Schema = {**_TEXT, "description": "the id of the message"}
_CALL: Schema = {**_TEXT, "description": "the id of the tool call"}
_METADATA: Schema = {**_OBJECT, "description": "is added to the metadata that the message has"}
_CODE: Schema = {"enum": ["", *(code.value for code in Code)]}
_ARGS: Schema = {**_OBJECT, "description": "the arguments, cut if they are large"}
_COMPONENT: Schema = {
    "type": "object",
    "description": "how a page may show it",
    "properties": {
        "component_type": _TEXT,
        "component_group": _TEXT,
        "layout_hint": _TEXT,
        "metadata": {"type": "object", "properties": {"display_name": _TEXT}},
    },
}
MESSAGE_TYPES = ("MESSAGE_HUMAN", "MESSAGE_AI", "MESSAGE_TOOL", "MESSAGE_SYSTEM")
CALL_STATES = ("TOOL_CALL_PENDING", "TOOL_CALL_RUNNING", "TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED")
TODO_STATES = ("TODO_PENDING", "TODO_IN_PROGRESS", "TODO_COMPLETED", "TODO_CANCELLED")


def _kind(
    name: str,
    says: str,
    /,
    *,
    needs: Iterable[str] = (),
    writer: Writer = Writer.WORKER,
    checked: bool = True,
    **fields: Schema,
) -> RowKind:
    return RowKind(name=name, says=says, fields=fields, needed=tuple(needs), writer=writer, checked=checked)


_ALL = (
    _kind(
        "phase",
        "The execution is in another phase. The last row of a log is the one with a terminal phase.",
        needs=("phase",),
        writer=Writer.SERVER,
        phase={"enum": [phase.wire_name for phase in Phase]},
        attempt=_NUMBER,
        sandbox={**_TEXT, "description": "what the commands run in"},
        error={**_TEXT, "description": "of a failure, for people; ends with the code"},
        error_code=_CODE,
    ),
    _kind(
        "message",
        "A message begins, or is told whole. A known id: it replaces the message.",
        needs=("id",),
        id=_MESSAGE,
        type={"enum": list(MESSAGE_TYPES), "description": "missing: MESSAGE_AI"},
        content=_TEXT,
        metadata=_METADATA,
        scope=_SCOPE,
        before={**_TEXT, "description": "the message that it stands before; missing: at the end"},
        spoken={"description": "how much of the user's input is text that a person said"},
        layout={"type": "array", "description": "the order of text and attachments in the user's message"},
        asked={**_OBJECT, "description": "what a run of the Agent Server API asked for"},
        purged=_PURGED,
    ),
    _kind("text", "A message grows.", needs=("id", "text"), id=_MESSAGE, text=_TEXT, purged=_PURGED),
    _kind(
        "message_end",
        "A message has ended, or was broken off (`metadata.incomplete`).",
        needs=("id",),
        id=_MESSAGE,
        content={**_TEXT, "description": "the whole text, where it differs from what was streamed"},
        metadata={
            **_METADATA,
            "description": "usage, model, finish_reason, reasoning, incomplete, refusal; `forgotten`: the user sent it,"
            " and the graph removed it together with all others",
        },
        purged=_PURGED,
    ),
    _kind(
        "tool_call",
        "A tool is asked for, or begins to run, or waits for an answer. Later rows of a call have only what changed.",
        needs=("id",),
        id=_CALL,
        message={**_TEXT, "description": "the message that asked for it; empty if none did"},
        name=_TEXT,
        args=_ARGS,
        status={"enum": list(CALL_STATES)},
        component=_COMPONENT,
        scope=_SCOPE,
        purged=_PURGED,
    ),
    _kind(
        "tool_end",
        "A tool call is over.",
        needs=("id", "status"),
        id=_CALL,
        status={"enum": list(CALL_STATES[2:])},
        result={**_TEXT, "description": "cut if it is large"},
        error=_TEXT,
        purged=_PURGED,
    ),
    _kind(
        "sub_agent",
        "A sub-agent begins. It ends with the `tool_end` of the same id.",
        needs=("id",),
        id={**_TEXT, "description": "the id of the call that started it, and the scope of what it does"},
        name=_TEXT,
        input=_TEXT,
        status={"enum": ["SUB_AGENT_PENDING", "SUB_AGENT_IN_PROGRESS", "SUB_AGENT_COMPLETED", "SUB_AGENT_FAILED"]},
        scope=_SCOPE,
        purged=_PURGED,
    ),
    _kind(
        "message_edit",
        "The graph rewrote a message: this replaces its text.",
        needs=("id", "content"),
        id=_MESSAGE,
        content=_TEXT,
        metadata=_METADATA,
        purged=_PURGED,
    ),
    _kind("message_removed", "The graph removed a message.", needs=("id",), id=_MESSAGE),
    _kind("message_scope", "A message belongs to another agent than was told.", needs=("id", "scope"), id=_MESSAGE,
          scope={**_TEXT, "description": "empty: the main agent"}),
    _kind("message_moved", "A message has another place.", needs=("id",), id=_MESSAGE,
          after={**_TEXT, "description": "the message that it follows; missing: the user's"}),
    _kind(
        "tool_edit",
        "The graph rewrote a tool call or its result.",
        needs=("id",),
        id=_CALL,
        name=_TEXT,
        args=_ARGS,
        status={"enum": list(CALL_STATES[2:])},
        result=_TEXT,
        error=_TEXT,
        component=_COMPONENT,
        purged=_PURGED,
    ),
    _kind("tool_removed", "The graph removed a tool call.", needs=("id",), id=_CALL),
    _kind(
        "todos",
        "The whole list of the main agent.",
        needs=("todos",),
        todos={
            "type": "array",
            "items": {
                "type": "object",
                "required": ["content", "status"],
                "properties": {"content": _TEXT, "status": {"enum": list(TODO_STATES)}},
            },
        },
    ),
    _kind("output", "The final state of a graph without messages.", output=_ANY,
          fields={**_OBJECT, "description": "the state as the graph keeps it, where `output` has another form"}),
    _kind("history", "The graph removed messages of earlier turns.", needs=("kept",),
          kept={**_NUMBER, "description": "how many of them it still has"}),
    _kind(
        "question",
        "The graph asks a person. The execution ends, and an answer goes on in its session.",
        needs=("id",),
        id={**_TEXT, "description": "what `answers` name it by"},
        value={"description": "what the graph asked with, whole"},
        text={**_TEXT, "description": "the same in words"},
        node=_TEXT,
        scope=_SCOPE,
        expects={**_OBJECT, "description": "what kind of answer: `kind`, and what belongs to it"},
    ),
    _kind("incomplete", "The last answer is no whole one.", needs=("reason",),
          reason={**_TEXT, "description": "the provider's word, `cut_off` or `empty`"}, text=_TEXT),
    _kind(
        "attempt",
        "An attempt failed and another one follows.",
        needs=("attempt", "maximum_attempts", "error_code", "error", "pause_s"),
        writer=Writer.SERVER,
        attempt=_NUMBER,
        maximum_attempts=_NUMBER,
        error_code=_CODE,
        error=_TEXT,
        worker=_TEXT,
        pause_s={"type": "number", "description": "seconds until the next one may begin"},
    ),
    _kind("merge", "A status of the contract's `updateStatus`: what is set in it replaces what was.",
          needs=("status",), writer=Writer.SERVER, status=_OBJECT),
    _kind(
        "custom",
        "An event of the graph's own. No part of the status.",
        needs=("data",),
        checked=False,
        data=_ANY,
        name=_TEXT,
        node=_TEXT,
        scope=_SCOPE,
        note={**_TEXT, "description": "why nothing more is kept"},
    ),
    _kind(
        "stream",
        "Parts of LangGraph's own stream, for runs of the Agent Server API. No part of the status.",
        needs=("parts",),
        checked=False,
        parts={
            "type": "array",
            "description": "each is [part, namespace, data]; a `messages` part without metadata has that of the one"
            " before it, and one of a number and a text is that part of the row with this text as its content",
            "items": {"type": "array", "minItems": 3, "maxItems": 3},
        },
    ),
    _kind(
        "stream_end",
        "The state in which the graph stopped, for runs of the Agent Server API. No part of the status.",
        needs=("values",),
        checked=False,
        values=_ANY,
        interrupts={"type": "array"},
        error={"type": "object", "additionalProperties": _TEXT},
    ),
    _kind("note", "A remark about the run: it was handed back, and why. No part of the status.", needs=("text",),
          checked=False, text=_TEXT),
)  # fmt: skip
ROW_KINDS: Mapping[str, RowKind] = {kind.name: kind for kind in _ALL}
"""Every kind, by name."""
