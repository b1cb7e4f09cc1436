"""What a run does, step by step, in our own words: the input of the `StatusBuilder`.

The shape is that of LangGraph's v3 events: a message and a tool call have an identity, and everything has a scope. A
source of events (`clients/engine`) makes them; nothing here knows LangGraph.

`scope` is empty for the main agent. What a sub-agent does carries the id of the `task` call that spawned it, one within
another as `outer/inner`. `tool_call_id` is the id that the model gave the call, so that the same call keeps its place
when a run goes on elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStarted:
    """A model was asked; nothing has come yet. `call_id` is unique in the run."""

    scope: str
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnded:
    """That call is over, with or without an answer."""

    scope: str
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStarted:
    """An AI message begins. `message_id` is unique in the run."""

    scope: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageText:
    """More text of an AI message."""

    scope: str
    message_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """A tool call as the model asked for it. `invalid` says why it cannot be run (arguments that are no JSON)."""

    tool_call_id: str
    name: str
    args: Any
    invalid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFinished:
    """The whole AI message. `usage` holds token counts: input_tokens, output_tokens, total_tokens."""

    scope: str
    message_id: str
    text: str
    requests: tuple[ToolRequest, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    finish_reason: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBroken:
    """The model call ended without an end of its message: it failed, and may be tried again as another message."""

    scope: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """A tool runs. `args` matter only if no message asked for this call."""

    scope: str
    tool_call_id: str
    name: str
    args: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished:
    """A tool call is over, also one that never ran. `result` is what the tool gave, text or not."""

    scope: str
    tool_call_id: str
    name: str
    result: Any = ""
    failed: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSuspended:
    """A tool stopped to ask a person something. Not a failure."""

    scope: str
    tool_call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TodosWritten:
    """An agent's whole todo list: dicts with `content` and `status` (pending, in_progress, completed, cancelled)."""

    scope: str
    todos: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """The graph stopped to ask a person something; the turn ends with that question."""

    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOutput:
    """The final state of a graph that has no messages, or a structured answer."""

    output: Any


Event = (
    ModelStarted
    | ModelEnded
    | MessageStarted
    | MessageText
    | MessageFinished
    | MessageBroken
    | ToolStarted
    | ToolFinished
    | ToolSuspended
    | TodosWritten
    | Interrupted
    | GraphOutput
)
