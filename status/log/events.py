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

USER_MESSAGE = "user"
"""The id of what the user said, which the server puts into the log when it creates an execution."""
INPUT_MESSAGE = "input-"
"""How the ids begin of the other messages that he sent, as `input.messages`."""


def input_message(number: int) -> str:
    """The id of the message at that place of `input.messages`, counted from 1."""
    return f"{INPUT_MESSAGE}{number}"


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
    """The AI message has ended. `usage` holds token counts: input_tokens, output_tokens, total_tokens. `incomplete`:
    why it is no whole answer, in the provider's word; `refusal`: the words in which the model refused."""

    scope: str
    message_id: str
    text: str
    requests: tuple[ToolRequest, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    finish_reason: str = ""
    reasoning: str = ""
    incomplete: str = ""
    refusal: str = ""


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
    """The graph stopped to ask a person something; the turn ends with that question.

    `question` is all of it in words; `questions` each as data, as `status.questions` describes them; `next` the nodes
    that the graph goes on with.
    """

    question: str
    questions: tuple[Mapping[str, Any], ...] = ()
    next: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOutput:
    """What the final state of a graph holds beside its messages.

    `fields`: the same as the graph keeps it, where `output` shows a structured answer at its top. `answered`: the run
    itself has put something there.
    """

    output: Any
    fields: Mapping[str, Any] | None = None
    answered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded:
    """A message that no model said came into the conversation. `type` as the contract names it, MESSAGE_HUMAN say."""

    message_id: str
    type: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEdited:
    """The graph rewrote a message: this is all of its text now. `requests`: its calls that are new or other."""

    scope: str
    message_id: str
    text: str
    reasoning: str = ""
    requests: tuple[ToolRequest, ...] = ()
    removed_calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRemoved:
    """The graph took a message back, and its calls with it."""

    message_id: str
    tool_call_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageScoped:
    """Whose a message is, where that was not known when it began. `scope` empty: it is of the main conversation."""

    message_id: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageMoved:
    """A message stands behind `after` in the conversation; empty: before all that were said in this run."""

    message_id: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEdited:
    """The graph rewrote a call's result, or took it back (then it is None)."""

    tool_call_id: str
    result: Any = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryCut:
    """The graph forgot messages of earlier turns; `kept` of them are left, tools' results not counted."""

    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsTaken:
    """No tool runs these calls: a node took them itself, as `with_structured_output` does."""

    tool_call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswered:
    """The result of a tool is the last message of the run: its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomData:
    """What a node tells of its own progress, any value. `name` only where it was dispatched under one; `node` where
    it is known which one."""

    scope: str
    data: Any
    name: str = ""
    node: str = ""


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
    | MessageAdded
    | MessageEdited
    | MessageRemoved
    | MessageScoped
    | MessageMoved
    | ToolEdited
    | CallsTaken
    | HistoryCut
    | ToolAnswered
    | CustomData
)
