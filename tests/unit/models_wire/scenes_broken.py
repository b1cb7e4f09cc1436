"""Streams with status 200 that break, or that are an error."""

import json

from tests.unit.models_wire.scenes import (
    ANTHROPIC,
    DONE,
    NO_REASON,
    OLLAMA,
    OPENAI,
    OVERLOADED,
    SERVER_ERROR,
    WIRES,
    Scenario,
    Scene,
    one,
)

HTML = "<!DOCTYPE html>\n<html><head><title>Sign in to the network</title></head><body><h1>Hello</h1></body></html>"
OUT_OF_MEMORY = {"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500}

BROKEN: dict[str, Scenario] = {
    "no end": one(Scene(words="Half an answer", reason=NO_REASON), *WIRES),
    "no end after thoughts": one(Scene(thought="Let me think.", reason=NO_REASON), *WIRES),
    "connection lost": one(Scene(words="Half an answer", drop=True), *WIRES),
    "connection reset": one(Scene(words="Half an answer", drop=True, reset=True), *WIRES),
    "connection lost before a word": Scenario(scenes=(Scene(drop=True), DONE), only=WIRES),
    "hung up on, once": Scenario(scenes=(Scene(hang_up=True), DONE), only=WIRES),
    "hung up on, always": one(Scene(hang_up=True), *WIRES),
    "half an event": one(Scene(words="Half an answer", bytes_sent=500), *WIRES),
    "error in the middle": one(Scene(words="Half an answer", error=SERVER_ERROR), OPENAI),
    "error first, once": Scenario(scenes=(Scene(silent=True, error=SERVER_ERROR), DONE), only=(OPENAI,)),
    "error first, always": one(Scene(silent=True, error=SERVER_ERROR), OPENAI),
    "connection lost before an event, once": Scenario(scenes=(Scene(silent=True, drop=True), DONE), only=WIRES),
    "error after thoughts, once": Scenario(
        scenes=(Scene(thought="Let me think.", error=SERVER_ERROR), DONE), only=(OPENAI, ANTHROPIC)
    ),
    "error as an object": one(Scene(words="Half", raw=(OUT_OF_MEMORY,)), OPENAI),
    "error as an object first": one(Scene(silent=True, raw=(OUT_OF_MEMORY,)), OPENAI),
    "error as a text": one(Scene(words="Half", raw=({"object": "x", "error": "the engine is gone"},)), OPENAI),
    "error as a bare message": one(
        Scene(words="Half", raw=({"object": "x", "message": "the engine is gone", "code": 503},)), OPENAI
    ),
    "error with the words of another": one(
        Scene(
            silent=True,
            raw=(
                {
                    "object": "x",
                    "error": {
                        "code": 400,
                        "message": "Provider returned error",
                        "metadata": {"raw": json.dumps({"error": {"message": "top_k is not supported"}})},
                    },
                },
            ),
        ),
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
    "request refused in the stream": one(
        Scene(silent=True, error={"type": "invalid_request_error", "message": "top_k is not supported"})
    ),
    "rate limit in the stream": one(Scene(error={"type": "rate_limit_error", "message": "Slow down"})),
    "too long, told in the stream": one(
        Scene(
            silent=True,
            error={
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
                "message": "Your input is longer than what this model reads",
            },
        )
    ),
    "overloaded in the middle": one(Scene(words="Half an answer", error=OVERLOADED), ANTHROPIC),
    "overloaded first, once": Scenario(scenes=(Scene(error=OVERLOADED), DONE), only=(ANTHROPIC,)),
    "overloaded first, always": one(Scene(error=OVERLOADED), ANTHROPIC),
    "runner stopped": one(Scene(words="Half", error={"message": "the runner has stopped"}), OLLAMA),
    "runner stopped first, once": Scenario(
        scenes=(Scene(error={"message": "the runner has stopped"}), DONE), only=(OLLAMA,)
    ),
    "nothing, once": Scenario(scenes=(Scene(silent=True), DONE), only=WIRES),
    "nothing, always": one(Scene(silent=True), *WIRES),
    "an error that is no stream, once": Scenario(
        scenes=(Scene(body=json.dumps({"error": SERVER_ERROR})), DONE), only=(OPENAI, ANTHROPIC)
    ),
    "an error that is no stream": one(
        Scene(body=json.dumps({"error": {"type": "invalid_request_error", "message": "top_k is not supported"}}))
    ),
    "an error object that is no stream": one(Scene(body=json.dumps(OUT_OF_MEMORY)), OPENAI),
    "a web page": one(Scene(body=HTML, content_type="text/html"), *WIRES),
}
