"""A server that speaks the chat protocols of OpenAI, Anthropic and Ollama from scenes, on a port of its own.

The scenario is chosen by the model's name, so that one server serves many models at once.
"""

import asyncio
import json
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.unit.models_wire.responses_frames import responses_frames
from tests.unit.models_wire.scenes import ANTHROPIC, OLLAMA, OPENAI, Scenario, Scene
from tests.unit.models_wire.wires import DROP, frames

RESET_AFTER_S = 0.1


class WireServer:
    """`scenarios` by model name. `asked` counts requests, by model name."""

    def __init__(self, scenarios: Mapping[str, Scenario]) -> None:
        self.scenarios = dict(scenarios)
        self.asked: Counter[str] = Counter()
        self.url = ""

    def scene(self, name: str, asked: dict[str, Any]) -> Scene:
        """The answer to a request, which is counted."""
        self.asked[name] += 1
        return self.scenarios[name].scene(self.asked[name] - 1)

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
        asked = json.loads(body)
        scene = self.scene(asked["model"], asked)
        if scene.status != 200 or scene.body:
            await _whole(writer, wire, scene)
        elif not scene.hang_up:
            await _streamed(
                writer, responses_frames(scene, DROP) if _is_responses(path) else frames(wire, scene), scene
            )


async def _whole(writer: asyncio.StreamWriter, wire: str, scene: Scene) -> None:
    """An answer in one piece."""
    inner: Any = scene.error["message"] if wire == OLLAMA and scene.error else scene.error
    text = scene.body.encode() or json.dumps({"type": "error", "error": inner}).encode()
    extra = "".join(f"{key}: {value}\r\n" for key, value in scene.headers.items())
    head = (
        f"HTTP/1.1 {scene.status} X\r\ncontent-type: {scene.content_type}\r\nconnection: close\r\n{extra}"
        f"content-length: {len(text)}\r\n\r\n"
    )
    writer.write(head.encode() + text)
    await writer.drain()


def _is_responses(path: str) -> bool:
    return path.endswith("/responses")


async def _streamed(writer: asyncio.StreamWriter, answer: list[bytes], scene: Scene) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for frame in answer:
        await writer.drain()
        if frame == DROP:
            if scene.reset:
                await asyncio.sleep(RESET_AFTER_S)  # what was sent may arrive first
                raw: socket.socket = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        writer.write(b"%x\r\n%s\r\n" % (len(frame), frame))
    writer.write(b"0\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def serving(scenarios: Mapping[str, Scenario], kind: type[WireServer] = WireServer) -> AsyncIterator[WireServer]:
    wires = kind(scenarios)
    server = await asyncio.start_server(wires.answer, "127.0.0.1", 0)
    wires.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wires
    finally:
        server.close()
