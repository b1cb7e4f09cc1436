"""A lean client of the Agent Server API: what `client.runs.stream` of LangGraph's SDK sends and reads, on our server or
on another one of that API. What it costs is not what is measured."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.stream_client import frames_of

TUPLES = ("messages-tuple",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Seconds from the POST of the run. `tokens`: how many pieces of text came."""

    first_text_s: float
    end_s: float
    tokens: int


class SdkClient:
    """One connection, one request at a time. Each run has a thread of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]) -> None:
        self._reader, self._writer = reader, writer
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int, headers: Mapping[str, str] | None = None) -> AsyncIterator["SdkClient"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer, headers or {})
        finally:
            writer.close()

    async def run(self, message: str, modes: Sequence[str] = TUPLES) -> Ran:
        """The thread is made before the clock of the run starts."""
        thread = json.loads(await self._post("/threads", {}))["thread_id"]
        return await self.run_on(thread, message, modes)

    async def run_on_new(self, message: str, modes: Sequence[str] = TUPLES) -> Ran:
        """The run makes its thread, as an execution makes its session."""
        return await self.run_on(str(uuid.uuid4()), message, modes, if_not_exists="create")

    async def run_on(self, thread: str, message: str, modes: Sequence[str], **more: str) -> Ran:
        said = {"messages": [{"role": "user", "content": message}]}
        body = {"assistant_id": "tokens", "input": said, "stream_mode": list(modes), **more}
        began, first, tokens = time.monotonic(), 0.0, 0
        await self._ask(f"/threads/{thread}/runs/stream", body)
        async for frame in frames_of(self._reader):
            if frame.startswith(b"event: error"):
                raise RuntimeError(f"the run failed: {frame!r}")
            if frame.startswith(b"event: messages") and b'"content":"w' in frame:
                first = first or time.monotonic()
                tokens += 1
        return Ran(first_text_s=first - began, end_s=time.monotonic() - began, tokens=tokens)

    async def _post(self, path: str, body: object) -> bytes:
        head = await self._ask(path, body)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return await self._reader.readexactly(int(length.partition(b":")[2]))

    async def _ask(self, path: str, body: object) -> bytes:
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{self._headers}"
        self._writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if b" 20" not in answer[:14]:
            raise RuntimeError(f"the server answered {answer!r} {await self._reader.read(2000)!r}")
        return answer
