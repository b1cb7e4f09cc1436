"""What a front end is told about a run, in no protocol's words. `happened.py` makes these from the rows of a log.

`scope` is the id of the call that started a sub-agent; empty for the main conversation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent_runner.status.phases import Phase

Json = dict[str, Any]
Role = Literal["assistant", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBegan:
    """A model is about to say or call something: one message of an AI."""

    id: str
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBegan:
    id: str
    role: Role = "assistant"
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMore:
    id: str
    text: str
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEnded:
    id: str
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoned:
    """All that the model thought for the message `id`."""

    id: str
    text: str
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """`message` is the message that asked for the call; empty if none did."""

    id: str
    name: str
    args: Any
    message: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    id: str
    name: str
    result: str
    error: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentBegan:
    """`id` is that of its call, and the scope of all that it says."""

    id: str
    name: str
    task: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentEnded:
    """`waits`: it stopped with a question and goes on in a later run."""

    id: str
    name: str
    result: str = ""
    error: str = ""
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBegan:
    """A node of the graph. No two steps that are open at the same time have the same name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateIs:
    """The whole state besides the messages."""

    state: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom:
    """A graph's own event."""

    name: str
    data: Any
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What we say beside the conversation: that something was cut, that an answer is not whole."""

    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The run has ended; always the last one. `questions`: it waits for answers. `rewritten`: what was told of the
    conversation no longer holds, because the graph edited, moved or removed messages that were told before."""

    phase: Phase
    code: str = ""
    text: str = ""
    next_step: str = ""
    questions: Sequence[Json] = ()
    output: Any = None
    usage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Tokens by model."""
    cost: Json | None = None
    """`amount` and `currency` of all model calls; None if that of one is not known, or is in another currency."""
    rewritten: bool = False


Happening = (
    ModelBegan
    | TextBegan
    | TextMore
    | TextEnded
    | Reasoned
    | Called
    | Returned
    | SubAgentBegan
    | SubAgentEnded
    | StepBegan
    | StepEnded
    | StateIs
    | Custom
    | Note
    | Over
)
