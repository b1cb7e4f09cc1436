"""How each wire says a scene: the frames of its answer, as they are written one after the other."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.unit.models_wire.scenes import ANTHROPIC, NO_REASON, OLLAMA, OPENAI, Scene

IN, OUT = 100, 10
DROP = b""
"""Not sent: the connection is broken here."""
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "some-model"}
COMMENT = b": still at it\n\n"


def frames(wire: str, scene: Scene) -> list[bytes]:
    """The body of the answer, in the pieces it is written in."""
    made = {OPENAI: _openai, ANTHROPIC: _anthropic, OLLAMA: _ollama}[wire](scene)
    if scene.bytes_sent is not None:
        made = [b"".join(made)[: scene.bytes_sent]] if scene.bytes_sent else []
    return [*made, DROP] if scene.drop else made


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


def _said(scene: Scene) -> list[str]:
    return list(scene.tokens) or _words(scene.words)


def _openai(scene: Scene) -> list[bytes]:
    def in_full(raw: dict[str, Any]) -> dict[str, Any]:
        """What names its own kind of object is sent as it is."""
        return raw if "object" in raw else CHUNK | raw

    no_reason = "" if scene.empty_reasons else None
    chunks: list[dict[str, Any]] = [
        *map(in_full, scene.first),
        *(_openai_chunk(delta, no_reason) for delta in _openai_deltas(scene)),
        *map(in_full, scene.raw),
    ]
    over = scene.error is None and not (scene.drop or scene.silent or scene.raw)
    if over and scene.reason != NO_REASON:
        chunks.append(_openai_chunk({}, scene.reason or ("tool_calls" if scene.pieces else "stop")))
    if scene.usage == "each":
        for number, chunk in enumerate(chunks, 1):
            chunk["usage"] = {"prompt_tokens": IN, "completion_tokens": number, "total_tokens": IN + number}
    elif scene.usage == "last" and over:
        usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
        chunks.append({**CHUNK, "choices": [], "usage": usage})
    if scene.error is not None:
        chunks.append({"error": scene.error})
    ended = [] if scene.drop else [b"data: [DONE]\n\n"]
    comment = COMMENT if scene.pings else b""
    return [comment + b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + ended


def _openai_chunk(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _openai_deltas(scene: Scene) -> Iterator[dict[str, Any]]:
    if scene.silent:
        return
    yield {"role": "assistant", "content": ""}
    yield from ({scene.thought_key: thought} for thought in _words(scene.thought))
    yield from ({"refusal": word} for word in _words(scene.refusal))
    yield from ({"content": word} for word in _said(scene))
    for piece in scene.pieces:
        function = {k: v for k, v in (("name", piece.name), ("arguments", piece.args)) if v is not None}
        sent = {"type": "function", "function": function, "index": piece.index, "id": piece.id}
        yield {"tool_calls": [{k: v for k, v in sent.items() if v is not None}]}


def _anthropic(scene: Scene) -> list[bytes]:
    between = [COMMENT, _event("ping")] if scene.pings else []
    return [part for event in _anthropic_events(scene) for part in (event, *between)]


def _event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


def _anthropic_events(scene: Scene) -> Iterator[bytes]:
    usage = {"input_tokens": IN, "output_tokens": 1}
    head = {"id": "m1", "type": "message", "role": "assistant", "model": "some-model", "content": [], "usage": usage}
    if not scene.silent:
        yield _event("message_start", message={**head, "stop_reason": None, "stop_sequence": None})
    if scene.thought:
        thinking = [{"type": "thinking_delta", "thinking": thought} for thought in _words(scene.thought)]
        start: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        yield from _block(scene, 0, start, *thinking, {"type": "signature_delta", "signature": "s"})
    if _said(scene):
        said = [{"type": "text_delta", "text": word} for word in _said(scene)]
        yield from _block(scene, int(bool(scene.thought)), {"type": "text", "text": ""}, *said)
    for piece in scene.pieces:
        start = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
        yield from _block(scene, piece.index or 0, start, {"type": "input_json_delta", "partial_json": piece.args})
    if scene.error is not None:
        yield _event("error", error=scene.error)
    elif not (scene.drop or scene.silent or scene.reason == NO_REASON):
        yield from _anthropic_end(scene)


def _block(scene: Scene, index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> Iterator[bytes]:
    yield _event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    last = index == len(scene.pieces) - 1 and scene.reason == NO_REASON
    if not (last or scene.drop):
        yield _event("content_block_stop", index=index)


def _anthropic_end(scene: Scene) -> Iterator[bytes]:
    delta: dict[str, Any] = {"stop_reason": scene.reason or ("tool_use" if scene.pieces else "end_turn")}
    delta |= {"stop_sequence": None} | ({"stop_details": scene.details} if scene.details else {})
    usage = {"output_tokens": OUT}
    if scene.usage == "each":  # some servers count again in every event
        usage["input_tokens"] = IN
        yield _event("message_delta", delta={"stop_reason": None}, usage={**usage, "output_tokens": 1})
    yield _event("message_delta", delta=delta, usage=usage)
    yield _event("message_stop")


def _ollama(scene: Scene) -> list[bytes]:
    lines: list[dict[str, Any]] = []

    def say(message: dict[str, Any], **more: Any) -> None:
        lines.append(
            {
                "model": "m",
                "created_at": "2026-01-01T00:00:00Z",
                "message": {"role": "assistant", **message},
                "done": False,
                **more,
            }
        )

    if scene.thought:
        say({"content": "", "thinking": scene.thought})
    for word in _said(scene):
        say({"content": word})
    if scene.pieces:
        calls = [{"function": {"name": p.name, "arguments": json.loads(p.args or "{}")}} for p in scene.pieces]
        say({"content": "", "tool_calls": calls})
    if scene.error is not None:
        lines.append({"error": scene.error["message"]})
    elif not scene.drop and not scene.silent and scene.reason != NO_REASON:
        say({"content": ""}, done=True, done_reason=scene.reason or "stop", prompt_eval_count=IN, eval_count=OUT)
    return [json.dumps(line).encode() + b"\n" for line in lines]
