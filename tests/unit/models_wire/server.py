"""A server that speaks the chat protocols of OpenAI, Anthropic and Ollama from scenes, on a port of its own.

The scenario is chosen by the model's name, so that one server serves many models at once.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.unit.models_wire.scenes import ANTHROPIC, NO_REASON, OLLAMA, OPENAI, Scenario, Scene

IN, OUT = 100, 10
DROP = b""
"""Not sent: the connection is broken here."""


def frames(wire: str, scene: Scene) -> list[bytes]:
    """The body of the answer, in the pieces it is written in."""
    made = {OPENAI: _openai, ANTHROPIC: _anthropic, OLLAMA: _ollama}[wire](scene)
    if scene.bytes_sent is not None:
        made = [b"".join(made)[: scene.bytes_sent]] if scene.bytes_sent else []
    return [*made, DROP] if scene.drop else made


def _words(scene: Scene) -> list[str]:
    return re.findall(r"\S+\s*", scene.words)


def _openai(scene: Scene) -> list[bytes]:
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "some-model"}
    chunks: list[dict[str, Any]] = []

    def say(delta: dict[str, Any], reason: str | None = None) -> None:
        chunks.append({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    if not scene.silent:
        say({"role": "assistant", "content": ""})
        for thought in re.findall(r"\S+\s*", scene.thought):
            say({scene.thought_key: thought})
        for word in re.findall(r"\S+\s*", scene.refusal):
            say({"refusal": word})
        for word in _words(scene):
            say({"content": word})
        for piece in scene.pieces:
            function = {k: v for k, v in (("name", piece.name), ("arguments", piece.args)) if v is not None}
            sent = {"type": "function", "function": function, "index": piece.index, "id": piece.id}
            say({"tool_calls": [{k: v for k, v in sent.items() if v is not None}]})
    chunks += [{**base, **raw} if "object" not in raw else raw for raw in scene.raw]
    over = scene.error is None and not scene.drop and not scene.silent and not scene.raw
    if over and scene.reason != NO_REASON:
        say({}, scene.reason or ("tool_calls" if scene.pieces else "stop"))
    if scene.usage == "each":
        for number, chunk in enumerate(chunks, 1):
            chunk["usage"] = {"prompt_tokens": IN, "completion_tokens": number, "total_tokens": IN + number}
    elif scene.usage == "last" and over:
        usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
        chunks.append({**base, "choices": [], "usage": usage})
    if scene.error is not None:
        chunks.append({"error": scene.error})
    ended = [] if scene.drop else [b"data: [DONE]\n\n"]
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + ended


def _anthropic(scene: Scene) -> list[bytes]:
    sent: list[bytes] = []

    def say(kind: str, **more: Any) -> None:
        sent.append(f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode())

    def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> None:
        say("content_block_start", index=index, content_block=start)
        for delta in deltas:
            say("content_block_delta", index=index, delta=delta)
        last = index == len(scene.pieces) - 1 and scene.reason == NO_REASON
        if not (last or scene.drop):
            say("content_block_stop", index=index)

    usage = {"input_tokens": IN, "output_tokens": 1}
    head = {"id": "m1", "type": "message", "role": "assistant", "model": "some-model", "content": [], "usage": usage}
    say("message_start", message={**head, "stop_reason": None, "stop_sequence": None})
    if scene.thought:
        deltas = [{"type": "thinking_delta", "thinking": t} for t in re.findall(r"\S+\s*", scene.thought)]
        thinking: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        block(0, thinking, *deltas, {"type": "signature_delta", "signature": "s"})
    if scene.words:
        block(
            int(bool(scene.thought)),
            {"type": "text", "text": ""},
            *({"type": "text_delta", "text": w} for w in _words(scene)),
        )
    for piece in scene.pieces:
        start: dict[str, Any] = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
        block(piece.index or 0, start, {"type": "input_json_delta", "partial_json": piece.args})
    if scene.error is not None:
        say("error", error=scene.error)
    elif not scene.drop and scene.reason != NO_REASON:
        reason = scene.reason or ("tool_use" if scene.pieces else "end_turn")
        say("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": OUT})
        say("message_stop")
    return sent


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
    for word in _words(scene):
        say({"content": word})
    if scene.pieces:
        calls = [{"function": {"name": p.name, "arguments": json.loads(p.args or "{}")}} for p in scene.pieces]
        say({"content": "", "tool_calls": calls})
    if scene.error is not None:
        lines.append({"error": scene.error["message"]})
    elif not scene.drop and scene.reason != NO_REASON:
        say({"content": ""}, done=True, done_reason=scene.reason or "stop", prompt_eval_count=IN, eval_count=OUT)
    return [json.dumps(line).encode() + b"\n" for line in lines]


class WireServer:
    """`scenarios` by model name. `asked` counts requests, by model name."""

    def __init__(self, scenarios: Mapping[str, Scenario]) -> None:
        self.scenarios = dict(scenarios)
        self.asked: Counter[str] = Counter()
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head, re.I)
                body = await reader.readexactly(int(length[1])) if length else b""
                path = head.split(b" ", 2)[1].decode()
                await self._one(path, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        wire = ANTHROPIC if path.endswith("/messages") else OLLAMA if path == "/api/chat" else OPENAI
        name = json.loads(body)["model"]
        scene = self.scenarios[name].scene(self.asked[name])
        self.asked[name] += 1
        if scene.status != 200:
            text = json.dumps({"type": "error", "error": scene.error}).encode()
            extra = "".join(f"{key}: {value}\r\n" for key, value in scene.headers.items())
            writer.write(
                f"HTTP/1.1 {scene.status} X\r\ncontent-type: application/json\r\nconnection: close\r\n{extra}"
                f"content-length: {len(text)}\r\n\r\n".encode()
                + text
            )
            await writer.drain()
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for frame in frames(wire, scene):
            await writer.drain()
            if frame == DROP:
                return
            writer.write(b"%x\r\n%s\r\n" % (len(frame), frame))
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@asynccontextmanager
async def serving(scenarios: Mapping[str, Scenario]) -> AsyncIterator[WireServer]:
    wires = WireServer(scenarios)
    server = await asyncio.start_server(wires.answer, "127.0.0.1", 0)
    wires.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wires
    finally:
        server.close()
