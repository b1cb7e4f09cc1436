"""Scenarios: what a model says in one answer, independent of the wire it travels on.

A `Scene` is one answer; a scenario is the answers to the requests of a turn, in their order, the last one for all that
follow. A wire that cannot say something (`only`) leaves the scenario out.
"""

import json
from dataclasses import dataclass, field
from typing import Any

OPENAI, ANTHROPIC, OLLAMA = "openai", "anthropic", "ollama"
WIRES = (OPENAI, ANTHROPIC, OLLAMA)
PROTOCOLS = (OPENAI, ANTHROPIC)
NO_REASON = ""


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
    wire; `drop` breaks the connection. `raw` are whole chunks or events, sent after everything else."""

    thought: str = ""
    thought_key: str = "reasoning_content"
    words: str = ""
    refusal: str = ""
    pieces: tuple[Piece, ...] = ()
    reason: str | None = None
    usage: str = "last"
    """`last`: as the protocol has it; `each`: in every chunk, counted from the beginning; `none`."""
    error: dict[str, Any] | None = None
    drop: bool = False
    silent: bool = False
    """No chunk at all."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: tuple[dict[str, Any], ...] = ()
    bytes_sent: int | None = None
    """The body ends after so many bytes, wherever that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    scenes: tuple[Scene, ...]
    only: tuple[str, ...] = PROTOCOLS

    def scene(self, request: int) -> Scene:
        return self.scenes[min(request, len(self.scenes) - 1)]


DONE = Scene(words="All is done.")
WHOLE_ARGS = json.dumps({"line": "first; second"})
OTHER_ARGS = json.dumps({"line": "another"})
CUT_ARGS = '{"line": "first; sec'
BROKEN_ARGS = '{"line": first]] '
OVERLOADED = {"type": "overloaded_error", "message": "The model is overloaded, come back later"}
SERVER_ERROR = {"type": "server_error", "message": "Something went wrong on our side", "param": None, "code": None}


def call(args: str = WHOLE_ARGS, id: str | None = "call_1", index: int | None = 0, name: str = "note") -> Piece:
    return Piece(index=index, id=id, name=name, args=args)


def one(scene: Scene, *only: str) -> Scenario:
    return Scenario(scenes=(scene,), only=only or PROTOCOLS)


def then_done(scene: Scene, *only: str) -> Scenario:
    return Scenario(scenes=(scene, DONE), only=only or PROTOCOLS)


def _pieces(args: str, size: int = 5) -> list[str]:
    return [args[n : n + size] for n in range(0, len(args), size)]


SCENARIOS: dict[str, Scenario] = {
    # answers
    "whole": one(Scene(words="A whole answer."), *WIRES),
    "whole without counts": one(Scene(words="A whole answer.", usage="none"), OPENAI),
    "counts in every chunk": one(Scene(words="one two three four", usage="each"), OPENAI),
    "counts refused by a gateway": Scenario(
        scenes=(
            Scene(status=400, error={"message": "Unknown parameter: stream_options", "type": "invalid_request_error"}),
            Scene(words="A whole answer.", usage="none"),
        ),
        only=(OPENAI,),
    ),
    "out of tokens": one(Scene(words="An answer that is too", reason="length"), OPENAI, OLLAMA),
    "out of tokens (max_tokens)": one(Scene(words="An answer that is too", reason="max_tokens"), ANTHROPIC),
    "out of tokens before a word": one(Scene(reason="length"), OPENAI),
    "filtered": one(Scene(words="Half of", reason="content_filter"), OPENAI),
    "filtered before a word": one(Scene(reason="content_filter"), OPENAI),
    "refused in words apart": one(Scene(refusal="I cannot help with that."), OPENAI),
    "refused": one(Scene(words="I begin, but", reason="refusal"), ANTHROPIC),
    "refused before a word": one(Scene(reason="refusal"), ANTHROPIC),
    "window full": one(Scene(words="Half of", reason="model_context_window_exceeded"), ANTHROPIC),
    "unknown reason": one(Scene(words="Half of", reason="budget_spent"), OPENAI),
    "empty": one(Scene(), *WIRES),
    "paused turn": Scenario(scenes=(Scene(words="I look it up.", reason="pause_turn"), DONE), only=(ANTHROPIC,)),
    "thinking": one(Scene(thought="Let me think.", words="It is 4."), *WIRES),
    "thinking (reasoning)": one(Scene(thought="Let me think.", thought_key="reasoning", words="It is 4."), OPENAI),
    # streams that break
    "no end": one(Scene(words="Half an answer", reason=NO_REASON), *WIRES),
    "connection lost": one(Scene(words="Half an answer", drop=True), *WIRES),
    "connection lost before a word": Scenario(scenes=(Scene(drop=True), DONE), only=(ANTHROPIC,)),
    "error in the middle": one(Scene(words="Half an answer", error=SERVER_ERROR), OPENAI),
    "error first, once": Scenario(scenes=(Scene(silent=True, error=SERVER_ERROR), DONE), only=(OPENAI,)),
    "error first, always": one(Scene(silent=True, error=SERVER_ERROR), OPENAI),
    "error as an object": one(
        Scene(words="Half", raw=({"object": "error", "message": "out of memory", "type": "InternalServerError"},)),
        OPENAI,
    ),
    "error in a choice": one(
        Scene(
            words="Half",
            raw=(
                {
                    "error": {"code": 502, "message": "The provider hung up"},
                    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
                },
            ),
        ),
        OPENAI,
    ),
    "overloaded in the middle": one(Scene(words="Half an answer", error=OVERLOADED), ANTHROPIC),
    "overloaded first, once": Scenario(scenes=(Scene(error=OVERLOADED), DONE), only=(ANTHROPIC,)),
    "overloaded first, always": one(Scene(error=OVERLOADED), ANTHROPIC),
    "runner stopped": one(Scene(words="Half", error={"message": "the runner has stopped"}), OLLAMA),
    "nothing, once": Scenario(scenes=(Scene(silent=True), DONE), only=(OPENAI,)),
    "nothing, always": one(Scene(silent=True), OPENAI),
    "asked to wait three minutes": one(
        Scene(status=429, headers={"retry-after": "180"}, error={"type": "rate_limit_error", "message": "Slow down"})
    ),
    "request refused": one(
        Scene(status=400, error={"type": "invalid_request_error", "message": "temperature is not supported"})
    ),
    # calls
    "call": then_done(Scene(pieces=(call(),)), *WIRES),
    "two calls": then_done(Scene(pieces=(call(), call(OTHER_ARGS, id="call_2", index=1))), *WIRES),
    "call without arguments": then_done(Scene(pieces=(call("", name="look"),))),
    "call with null": then_done(Scene(pieces=(call("null", name="look"),)), OPENAI),
    "call ended by stop": then_done(Scene(pieces=(call(),), reason="stop"), OPENAI),
    "call ended by end_turn": then_done(Scene(pieces=(call(),), reason="end_turn"), ANTHROPIC),
    "call with thoughts": then_done(Scene(thought="Hm.", pieces=(call(index=1),)), ANTHROPIC),
    "cut, no end": then_done(Scene(pieces=(call(CUT_ARGS),), reason=NO_REASON)),
    "cut after the arguments, no end": then_done(Scene(pieces=(call(),), reason=NO_REASON)),
    "cut, connection lost": then_done(Scene(pieces=(call(CUT_ARGS),), drop=True)),
    "cut, error": then_done(Scene(pieces=(call(CUT_ARGS),), error=SERVER_ERROR), OPENAI),
    "cut, error as an object": then_done(
        Scene(pieces=(call(CUT_ARGS),), raw=({"object": "error", "message": "out of memory"},)), OPENAI
    ),
    "cut, filtered": then_done(Scene(pieces=(call(CUT_ARGS),), reason="content_filter"), OPENAI),
    "cut, out of tokens": then_done(Scene(pieces=(call(CUT_ARGS),), reason="length"), OPENAI),
    "cut, max_tokens": then_done(
        Scene(words="I call.", pieces=(call(CUT_ARGS, index=1),), reason="max_tokens"), ANTHROPIC
    ),
    "cut, window full": then_done(Scene(pieces=(call(CUT_ARGS),), reason="model_context_window_exceeded"), ANTHROPIC),
    "cut, and a reason that ends calls": then_done(Scene(pieces=(call(CUT_ARGS),))),
    "whole and cut": then_done(Scene(pieces=(call(), call(CUT_ARGS, id="call_2", index=1)))),
    "always cut": one(Scene(pieces=(call(CUT_ARGS),))),
    "no JSON": then_done(Scene(pieces=(call(BROKEN_ARGS),))),
    "no JSON and no id": then_done(Scene(pieces=(call(BROKEN_ARGS, id=""),)), OPENAI),
    "whole and no JSON": then_done(Scene(pieces=(call(), call(BROKEN_ARGS, id="call_2", index=1)))),
    "no id": then_done(Scene(pieces=(call(id=None),)), OPENAI),
    "two with empty ids": then_done(Scene(pieces=(call(id=""), call(OTHER_ARGS, id="", index=1))), OPENAI),
    "two with one id": then_done(Scene(pieces=(call(), call(OTHER_ARGS, index=1)))),
    "one id in three turns": Scenario(scenes=(Scene(pieces=(call(),)),) * 3 + (DONE,)),
    "no index": then_done(Scene(pieces=(call(index=None), call(OTHER_ARGS, id="call_2", index=None))), OPENAI),
    "index 0 for both": then_done(Scene(pieces=(call(), call(OTHER_ARGS, id="call_2"))), OPENAI),
    "index 0 for both, no ids": then_done(Scene(pieces=(call(id=None), call(OTHER_ARGS, id=None))), OPENAI),
    "id in every piece": then_done(
        Scene(pieces=(call(""), *(Piece(id="call_1", args=part) for part in _pieces(WHOLE_ARGS)))), OPENAI
    ),
    "id and name in every piece": then_done(
        Scene(pieces=(call(""), *(call(part) for part in _pieces(WHOLE_ARGS)))), OPENAI
    ),
    "empty id and name in later pieces": then_done(
        Scene(pieces=(call(""), *(Piece(id="", name="", args=part) for part in _pieces(WHOLE_ARGS)))), OPENAI
    ),
    "function_call": then_done(
        Scene(
            reason=NO_REASON,
            raw=(
                {"choices": [{"index": 0, "delta": {"function_call": {"name": "note", "arguments": WHOLE_ARGS}}}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "function_call"}]},
            ),
        ),
        OPENAI,
    ),
}
