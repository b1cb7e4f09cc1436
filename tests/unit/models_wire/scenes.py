"""What a model says in one answer, independent of the wire it travels on.

A `Scene` is one answer; a scenario is the answers to the requests of a turn, in their order, the last one for all that
follow. A wire that cannot say something (`only`) leaves the scenario out. Which there are: `scenarios.py`.
"""

import json
from dataclasses import dataclass, field
from typing import Any

OPENAI, ANTHROPIC, OLLAMA = "openai", "anthropic", "ollama"
WIRES = (OPENAI, ANTHROPIC, OLLAMA)
PROTOCOLS = (OPENAI, ANTHROPIC)
NO_REASON = ""
SOURCES = {
    OPENAI: "platform.openai.com/docs/api-reference/chat-streaming, and how vLLM, SGLang, LiteLLM, OpenRouter, Azure"
    " OpenAI, DeepSeek and FastAPI depart from it",
    ANTHROPIC: "docs.anthropic.com/en/docs/build-with-claude/streaming, /en/api/errors, /en/api/handling-stop-reasons",
    OLLAMA: "github.com/ollama/ollama, docs/api.md (chat), and its server's errors",
}
"""Where the forms of each wire are described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a tool call as it goes over the wire. `None` leaves the key out."""

    index: int | None = 0
    id: str | None = None
    name: str | None = None
    args: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One answer. `reason` is the wire's own word; `NO_REASON` sends none. `error` ends the stream with an error of the
    wire; `drop` breaks the connection."""

    thought: str = ""
    thought_key: str = "reasoning_content"
    words: str = ""
    tokens: tuple[str, ...] = ()
    """In place of `words`, in exactly these pieces."""
    refusal: str = ""
    pieces: tuple[Piece, ...] = ()
    reason: Any = None
    usage: str = "last"
    """`last`: as the protocol has it; `each`: in every chunk, counted from the beginning; `none`."""
    error: dict[str, Any] | None = None
    drop: bool = False
    reset: bool = False
    """Together with `drop`: the connection is reset, not closed."""
    hang_up: bool = False
    """The connection ends before the status line."""
    silent: bool = False
    """No chunk at all."""
    pings: bool = False
    """Comments, and the wire's own pings, stand between everything else."""
    empty_reasons: bool = False
    """Every chunk carries the reason for the end, an empty one."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    """Sent instead of everything else, as `content_type`."""
    content_type: str = "application/json"
    details: dict[str, Any] | None = None
    """What Anthropic says beside the reason (`stop_details`)."""
    raw: tuple[dict[str, Any], ...] = ()
    """Whole chunks or lines, after everything else."""
    first: tuple[dict[str, Any], ...] = ()
    """The same, before."""
    bytes_sent: int | None = None
    """The body ends after so many bytes, wherever that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    scenes: tuple[Scene, ...]
    only: tuple[str, ...] = PROTOCOLS

    def scene(self, request: int) -> Scene:
        return self.scenes[min(request, len(self.scenes) - 1)]


DONE = Scene(words="All is done.")
OVERLOADED = {"type": "overloaded_error", "message": "The model is overloaded, come back later"}
SERVER_ERROR = {"type": "server_error", "message": "Something went wrong on our side", "param": None, "code": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWords:
    """The tools that are called: one that takes a text, and one that is given nothing."""

    tool: str = "note"
    key: str = "line"
    text: str = "first; second"
    other_text: str = "another"
    bare_tool: str = "look"

    @property
    def whole(self) -> str:
        return json.dumps({self.key: self.text})

    @property
    def other(self) -> str:
        return json.dumps({self.key: self.other_text})

    @property
    def cut(self) -> str:
        return self.whole[:-5]

    @property
    def broken(self) -> str:
        return f'{{"{self.key}": {self.text[:5]}]] '


NOTE = CallWords()
WHOLE_ARGS = NOTE.whole


def call(args: str = WHOLE_ARGS, id: str | None = "call_1", index: int | None = 0, name: str = NOTE.tool) -> Piece:
    return Piece(index=index, id=id, name=name, args=args)


def one(scene: Scene, *only: str) -> Scenario:
    return Scenario(scenes=(scene,), only=only or PROTOCOLS)


def then_done(scene: Scene, *only: str) -> Scenario:
    return Scenario(scenes=(scene, DONE), only=only or PROTOCOLS)
