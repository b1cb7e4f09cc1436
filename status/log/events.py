"""The events of a run, in our own types: the input of the `StatusBuilder`.

The shape is that of LangGraph's v3 events: a message and a tool call have an identity, and everything has a scope. A
source of events (`clients/engine`) makes them; nothing here knows LangGraph.

`scope` is empty for the main agent. For a sub-agent it is the id of the `task` call that started it; for a nested one
`outer/inner`. `tool_call_id` is the id that the model gave the call, so that the call keeps its place when another
worker continues the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

USER_MESSAGE = "user"
"""The id of the user's message, which the server puts into the log when it creates an execution."""
INPUT_MESSAGE = "input-"
"""The prefix of the ids of the other messages that the user sent, in `input.messages`."""

WRONG_TURN = "wrong-turn-"
"""The prefix of the ids of the notes about wrong turns (`WrongTurn`)."""


def input_message(number: int) -> str:
    """The id of a message of `input.messages`; `number` counts from 1."""
    return f"{INPUT_MESSAGE}{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStarted:
    """A model was asked; nothing has come yet. `call_id` is unique in the run."""

    scope: str
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnded:
    """The model call is over, with or without an answer."""

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
    the provider's reason why the answer is incomplete; `refusal`: the text with which the model refused;
    `fell_back_from`: the models that were asked before and gave no answer (`model`, `cause`)."""

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
    fell_back_from: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBroken:
    """The model call ended before its message did: it failed, and may be tried again as another message."""

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
    """A tool call is over, also one that never ran. `result` is the tool's result, text or not."""

    scope: str
    tool_call_id: str
    name: str
    result: Any = ""
    failed: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSuspended:
    """A tool stopped to ask a person something. This is no failure."""

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

    `question` is the text of all questions. `questions` holds each of them as data, in the form of `status.questions`.
    `next` names the nodes that the graph continues with.
    """

    question: str
    questions: tuple[Mapping[str, Any], ...] = ()
    next: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOutput:
    """The final state of a graph, besides its messages.

    `fields`: the state as the graph keeps it, if `output` shows a structured answer at its top level. `answered`: this
    run itself has written a part of it.
    """

    output: Any
    fields: Mapping[str, Any] | None = None
    answered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded:
    """A message that no model wrote was added to the conversation. `type` is the contract's name (MESSAGE_HUMAN)."""

    message_id: str
    type: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEdited:
    """The graph rewrote a message; `text` is its whole new text. `requests`: its new or changed calls."""

    scope: str
    message_id: str
    text: str
    reasoning: str = ""
    requests: tuple[ToolRequest, ...] = ()
    removed_calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRemoved:
    """The graph removed a message together with its calls."""

    message_id: str
    tool_call_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageForgotten:
    """The graph removed all of its messages at once, and with them this one, which the user sent. It is not taken back:
    readers still see it."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageScoped:
    """The scope of a message, if it was not known when the message began. An empty `scope` is the main conversation."""

    message_id: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageMoved:
    """The message's place is after the message `after`. Empty: before all other messages of this run."""

    message_id: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEdited:
    """The graph rewrote a call's result, or removed it (then `result` and `failed` are None)."""

    tool_call_id: str
    result: Any = None
    failed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryCut:
    """The graph removed messages of earlier turns. `kept` of them are left; tool results are not counted."""

    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsTaken:
    """No tool runs these calls: a node used them itself, as `with_structured_output` does."""

    tool_call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswered:
    """The result of a tool is the last message of the run: its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongTurn:
    """The node `node` sent the run on to `target`, which its graph does not have, so that nothing ran there. `place`:
    the nodes around this graph, outermost first; `nodes`: those that it has. An empty `node`: the command with which
    the graph was begun."""

    message_id: str
    node: str
    target: str
    place: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomData:
    """A custom event of a node about its own progress; `data` is any value. `name` is set if the event was dispatched
    with one, `node` if the node is known."""

    scope: str
    data: Any
    name: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPart:
    """A part of the graph's own stream that the run was asked for. `data` is plain JSON."""

    part: str
    namespace: tuple[str, ...]
    data: Any


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
    | MessageForgotten
    | MessageScoped
    | MessageMoved
    | ToolEdited
    | CallsTaken
    | HistoryCut
    | ToolAnswered
    | WrongTurn
    | CustomData
    | StreamPart
)
