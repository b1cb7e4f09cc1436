"""A server that was started in the sandbox: messages over its standard input and output, one JSON text per line.

Its error output is read and not shown; the end of it explains why a server ended.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage
from pydantic import ValidationError

from agent_runner.clients.mcp.definition import Program
from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.commands import STATUS_BYTES
from agent_runner.clients.sandbox.kinds.port import Sandbox, Service
from agent_runner.clients.sandbox.local import GONE

MAX_LINE_BYTES = 32 << 20
"""A longer message ends its server: nothing that a model reads needs more."""
LAST_WORDS_BYTES = 2000
LEAVE_S = 0.5
"""How long a server may take to leave by itself once its input has ended."""
Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Outgoing = MemoryObjectReceiveStream[SessionMessage]
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class RunningProgram:
    """Its process. Belongs to the task that made it."""

    def __init__(self, sandbox: Sandbox, service: Service) -> None:
        self._sandbox, self._service = sandbox, service
        self._said = b""
        self._broken = ""
        self._status: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def came_too_late(self) -> bool:
        """The run's namespaces had ended in the moment in which it was started: it can be started again."""
        return self._status.done() and self._status.result() == GONE

    async def how_it_ended(self, within_s: float = 1.0) -> str:
        """In words, with what it said last; empty while it runs."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._status), within_s)
        said = self._said.decode(errors="replace").strip()
        words = f"; it said: {said}" if said else ""
        if self._broken:
            return f"{self._broken}{words}"
        if not self._status.done():
            return ""
        code, _, limit = self._status.result().decode(errors="replace").partition(" ")
        if limit:
            return f"it was killed: {limit}{words}"
        known = {"127": "there is no such program in the sandbox", "126": "it could not be executed"}
        return f"it ended ({known.get(code, f'exit code {code}') if code else 'killed from outside'}){words}"

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        """For a session. The program is told to leave at the end, and killed if it does not."""
        incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        loop = asyncio.get_running_loop()
        service = self._service
        output, errors, status = (asyncio.StreamReader(limit=MAX_LINE_BYTES) for _ in range(3))
        readers = []
        for fd, reader in ((service.output_fd, output), (service.errors_fd, errors), (service.status_fd, status)):
            made = await loop.connect_read_pipe(
                lambda reader=reader: asyncio.StreamReaderProtocol(reader),  # type: ignore[misc]
                os.fdopen(fd, "rb", 0),
            )
            readers.append(made[0])
        pipe, flow = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(service.input_fd, "wb", 0)
        )
        to_server = asyncio.StreamWriter(pipe, flow, None, loop)
        work = [self._hear(errors), self._watch(status), self._read(output, incoming), self._write(outgoing, to_server)]
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield read, write
        finally:
            pipe.close()
            if not self._status.done():
                await asyncio.wait({self._status}, timeout=LEAVE_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for transport in readers:
                transport.close()
            for stream in (incoming, read, write, outgoing):
                stream.close()

    async def end(self) -> None:
        await self._sandbox.end(self._service)

    async def _read(self, output: asyncio.StreamReader, incoming: Incoming) -> None:
        async with incoming:
            while line := await self._line(output):
                if line.isspace():
                    continue
                try:
                    message = JSONRPCMessage.model_validate_json(line)
                except ValidationError:
                    self._said = (self._said + line)[-LAST_WORDS_BYTES:]  # a program that prints what is no message
                    continue
                await incoming.send(SessionMessage(message))

    async def _line(self, output: asyncio.StreamReader) -> bytes:
        try:
            return await output.readline()
        except ValueError:
            self._broken = f"it sent a message of more than {MAX_LINE_BYTES >> 20} MiB"
            await self._sandbox.end(self._service)
            return b""

    async def _write(self, outgoing: Outgoing, to_server: asyncio.StreamWriter) -> None:
        async with outgoing:
            async for one in outgoing:
                text = one.message.model_dump_json(by_alias=True, exclude_none=True)
                try:
                    to_server.write(f"{text}\n".encode())
                    await to_server.drain()
                except OSError:
                    return  # it has ended, which the reader sees

    async def _hear(self, errors: asyncio.StreamReader) -> None:
        while said := await errors.read(1 << 16):
            self._said = (self._said + said)[-LAST_WORDS_BYTES:]

    async def _watch(self, status: asyncio.StreamReader) -> None:
        self._status.set_result(await status.read(STATUS_BYTES))


async def started(sandbox: Sandbox, program: Program) -> RunningProgram:
    """Raises SandboxError."""
    return RunningProgram(sandbox, await own(sandbox.serve, program.argv, program.env, program.folder))
