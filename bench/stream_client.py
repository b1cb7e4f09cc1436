"""A lean HTTP client of the event stream: what it costs is not what is measured.

`Client.run` creates an execution and follows it in one request; `Client.follow` follows one that is there.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.integration.stack import KEY

COMPLETED = "EXECUTION_COMPLETED"


@dataclass(slots=True)
class Stream:
    """One stream, as it arrived. Times are monotonic, in seconds."""

    began: float
    first_text_at: float = 0.0
    ended_at: float = 0.0
    frames: list[bytes] = field(default_factory=list)

    def take(self, frame: bytes) -> None:
        if frame.startswith(b":"):
            return  # a ping
        self.frames.append(frame)
        if not self.first_text_at and b'"kind":"text"' in frame:
            self.first_text_at = time.monotonic()
        elif b"event: end" in frame:
            self.ended_at = time.monotonic()

    @property
    def end_s(self) -> float:
        return self.ended_at - self.began

    @property
    def first_text_s(self) -> float:
        return self.first_text_at - self.began

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """(event, data) of each frame."""
        lines = [dict(line.split(b": ", 1) for line in frame.splitlines()) for frame in self.frames]
        return [(told[b"event"].decode(), json.loads(told[b"data"])) for told in lines if b"event" in told]

    def text(self) -> str:
        """What the model said, after the snapshot."""
        rows = [data for event, data in self.events() if event == "update"]
        return "".join(row["payload"]["text"] for row in rows if row["kind"] == "text")

    def is_complete(self) -> bool:
        """Every row from the snapshot on, once and in order, and then a good end."""
        events = self.events()
        if not events:
            return False
        seqs = [data["seq"] for event, data in events if event != "end"]
        last = events[-1]
        in_order = seqs == list(range(seqs[0], seqs[-1] + 1))
        return in_order and last[0] == "end" and last[1]["phase"] == COMPLETED and last[1]["seq"] == seqs[-1]


class Client:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int) -> AsyncIterator["Client"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def run(self, message: str, graph: str = "") -> Stream:
        """Create an execution and follow it to its end. An empty graph is the default agent."""
        body = json.dumps({"message": message} | ({"graph": graph} if graph else {})).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return await self.read_to_end(await self._ask(f"POST /v1/executions HTTP/1.1\r\n{head}", body))

    async def follow(self, execution_id: str) -> Stream:
        """Returns when the server has answered; `read_to_end` reads what comes."""
        return await self._ask(f"GET /v1/executions/{execution_id}/events HTTP/1.1\r\n", b"")

    async def read_to_end(self, stream: Stream) -> Stream:
        async for frame in frames_of(self._reader):
            stream.take(frame)
        if not stream.ended_at:
            raise RuntimeError(f"the stream closed without an end: {stream.frames[-1:]}")
        return stream

    async def _ask(self, head: str, body: bytes) -> Stream:
        stream = Stream(time.monotonic())
        common = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n"
        self._writer.write(f"{head}{common}".encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if b" 20" not in answer[:14]:
            raise RuntimeError(f"the server answered {answer!r} {await self._reader.read(2000)!r}")
        return stream


async def frames_of(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The server-sent events of a chunked answer."""
    left = b""
    while size := int(await reader.readline(), 16):
        chunk = (await reader.readexactly(size + 2))[:-2]
        *frames, left = (left + chunk.replace(b"\r\n", b"\n")).split(b"\n\n")
        for frame in frames:
            yield frame
    await reader.readexactly(2)
