"""Answers with tool calls, in every form in which servers send them, whole and not."""

from typing import Any

from tests.unit.models_wire.scenes import (
    ANTHROPIC,
    DONE,
    NO_REASON,
    OLLAMA,
    OPENAI,
    OVERLOADED,
    SERVER_ERROR,
    WIRES,
    CallWords,
    Piece,
    Scenario,
    Scene,
    one,
    then_done,
)


def called(words: CallWords) -> dict[str, Scenario]:
    """`words`: the tool, its arguments."""

    def call(
        args: str = words.whole, id: str | None = "call_1", index: int | None = 0, name: str = words.tool
    ) -> Piece:
        return Piece(index=index, id=id, name=name, args=args)

    def other(**more: Any) -> Piece:
        return call(words.other, **{"id": "call_2", "index": 1, **more})

    cut, parts = call(words.cut), [words.whole[n : n + 5] for n in range(0, len(words.whole), 5)]
    return {
        "call": then_done(Scene(pieces=(call(),)), *WIRES),
        "two calls": then_done(Scene(pieces=(call(), other())), *WIRES),
        "the same call twice": then_done(Scene(pieces=(call(), call(id="call_2", index=1))), *WIRES),
        "call among comments and pings": then_done(Scene(pieces=(call(),), pings=True)),
        "call with nothing": then_done(Scene(pieces=(call("", name=words.bare_tool),))),
        "call with null": then_done(Scene(pieces=(call("null", name=words.bare_tool),)), OPENAI),
        "call of an unknown tool": then_done(Scene(pieces=(call("{}", name="no_such_tool"),)), *WIRES),
        "call without a name": then_done(Scene(pieces=(call(name=""),)), OPENAI),
        "call ended by stop": then_done(Scene(pieces=(call(),), reason="stop"), OPENAI),
        "call ended by end_turn": then_done(Scene(pieces=(call(),), reason="end_turn"), ANTHROPIC),
        "call with thoughts": then_done(Scene(thought="Hm.", pieces=(call(index=1),))),
        "call and refusal": then_done(Scene(refusal="I cannot help with that.", pieces=(call(),)), OPENAI),
        "cut, no end": then_done(Scene(pieces=(cut,), reason=NO_REASON)),
        "cut after the arguments, no end": then_done(Scene(pieces=(call(),), reason=NO_REASON), *WIRES),
        "cut, connection lost": then_done(Scene(pieces=(cut,), drop=True)),
        "cut, connection reset": then_done(Scene(pieces=(cut,), drop=True, reset=True)),
        "cut, error": then_done(Scene(pieces=(cut,), error=SERVER_ERROR), OPENAI),
        "cut, overloaded": then_done(Scene(pieces=(cut,), error=OVERLOADED), ANTHROPIC),
        "cut, runner stopped": then_done(Scene(pieces=(call(),), error={"message": "the runner has stopped"}), OLLAMA),
        "cut, error as an object": then_done(
            Scene(pieces=(cut,), raw=({"object": "error", "message": "out of memory"},)), OPENAI
        ),
        "cut, filtered": then_done(Scene(pieces=(cut,), reason="content_filter"), OPENAI),
        "cut, out of tokens": then_done(Scene(pieces=(cut,), reason="length"), OPENAI),
        "whole, out of tokens": then_done(Scene(pieces=(call(),), reason="length"), OPENAI, OLLAMA),
        "cut, max_tokens": then_done(
            Scene(words="I call.", pieces=(call(words.cut, index=1),), reason="max_tokens"), ANTHROPIC
        ),
        "cut, window full": then_done(Scene(pieces=(cut,), reason="model_context_window_exceeded"), ANTHROPIC),
        "cut, refused": then_done(Scene(pieces=(cut,), reason="refusal"), ANTHROPIC),
        "cut, paused": then_done(Scene(pieces=(cut,), reason="pause_turn"), ANTHROPIC),
        "cut, and a reason that ends calls": then_done(Scene(pieces=(cut,))),
        "whole and cut": then_done(Scene(pieces=(call(), call(words.cut, id="call_2", index=1)))),
        "always cut": one(Scene(pieces=(cut,))),
        "no JSON": then_done(Scene(pieces=(call(words.broken),))),
        "no JSON and no id": then_done(Scene(pieces=(call(words.broken, id=""),)), OPENAI),
        "no object": then_done(Scene(pieces=(call('["one"]'),))),
        "whole and no JSON": then_done(Scene(pieces=(call(), call(words.broken, id="call_2", index=1)))),
        "no id": then_done(Scene(pieces=(call(id=None),)), OPENAI),
        "two with empty ids": then_done(Scene(pieces=(call(id=""), other(id=""))), OPENAI),
        "two with one id": then_done(Scene(pieces=(call(), other(id="call_1")))),
        "one id in three turns": Scenario(scenes=(Scene(pieces=(call(),)),) * 3 + (DONE,)),
        "no index": then_done(Scene(pieces=(call(index=None), other(index=None))), OPENAI),
        "index 0 for both": then_done(Scene(pieces=(call(), other(index=0))), OPENAI),
        "index 0 for both, no ids": then_done(Scene(pieces=(call(id=None), other(id=None, index=0))), OPENAI),
        "id in every piece": then_done(
            Scene(pieces=(call(""), *(Piece(id="call_1", args=part) for part in parts))), OPENAI
        ),
        "id and name in every piece": then_done(Scene(pieces=(call(""), *(call(part) for part in parts))), OPENAI),
        "empty id and name in later pieces": then_done(
            Scene(pieces=(call(""), *(Piece(id="", name="", args=part) for part in parts))), OPENAI
        ),
        "arguments as an object": then_done(
            Scene(
                raw=(
                    {
                        "choices": [
                            {
                                "index": 0,
                                "delta": {
                                    "tool_calls": [
                                        {
                                            "index": 0,
                                            "id": "call_1",
                                            "type": "function",
                                            "function": {"name": words.tool, "arguments": {words.key: words.text}},
                                        }
                                    ]
                                },
                            }
                        ]
                    },
                    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
                ),
            ),
            OPENAI,
        ),
        "function_call": then_done(
            Scene(
                raw=(
                    {
                        "choices": [
                            {"index": 0, "delta": {"function_call": {"name": words.tool, "arguments": words.whole}}}
                        ]
                    },
                    {"choices": [{"index": 0, "delta": {}, "finish_reason": "function_call"}]},
                ),
            ),
            OPENAI,
        ),
    }
