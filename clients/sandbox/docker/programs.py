"""Programs in a container: a command, whose output comes to its mark, and a service, spoken to over pipes."""

import asyncio
import os
import select
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_runner.clients.sandbox.commands import close
from agent_runner.clients.sandbox.docker.containers import Containers, Life
from agent_runner.clients.sandbox.docker.engine import Engine, Frames, NoSuchContainer, Stream
from agent_runner.clients.sandbox.kinds.port import KILLED_EXIT_CODE, SandboxError
from agent_runner.clients.sandbox.output import Output

MOST_DIGITS = 4


@dataclass(slots=True, kw_only=True, eq=False)
class Program:
    """`id`: what the engine calls it. `group`: the group of all its processes, which nobody else has in this life."""

    id: str
    group: int
    life: Life
    stream: Stream


def start(
    containers: Containers,
    life: Life,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    folder: str,
    user: int,
    group: int,
    speaks: bool = False,
) -> Program:
    """Start a program in this life of the container, and in no later one. Blocking; raises SandboxError."""
    told: dict[str, Any] = {"environment": dict(env), "user": f"{user}:{group}", "workdir": folder}
    with containers.engine.errors("a program cannot be started in the container") as api:
        made = api.exec_create(life.container, list(argv), stdin=speaks, stdout=True, stderr=True, **told)["Id"]
        # What was made belongs to the life in which it was made, and cannot be started in another one. So if the life
        # is still ours now, so is this program.
        if not containers.is_on(life):
            raise NoSuchContainer("the container has ended")
        stream = Stream(api.exec_start(made, socket=True))
    return Program(id=made, group=group, life=life, stream=stream)


class Ending:
    """Finds the mark of `scripts.COMMAND` in an output. `code` is None until then."""

    def __init__(self, mark: str) -> None:
        self._mark = f"\n{mark} ".encode()
        self._rest = b""
        self.code: int | None = None

    def feed(self, chunk: bytes) -> bytes:
        """What of the output is known to stand before the mark."""
        self._rest += chunk
        before, mark, after = self._rest.partition(self._mark)
        if not mark:
            known = max(len(self._rest) - len(self._mark) + 1, 0)
            found, self._rest = self._rest[:known], self._rest[known:]
            return found
        digits, end, _ = after.partition(b"\n")
        if not end and len(after) <= MOST_DIGITS:
            return b""  # the rest of the code comes
        self._rest = b""
        self.code = int(digits) if digits.isdigit() else KILLED_EXIT_CODE
        return before

    def last(self) -> bytes:
        """What is left if no mark came."""
        return self._rest


async def watch(program: Program, mark: str, output: Output) -> int | None:
    """Feed `output` until the command's own end; its exit code, or None if the stream ended without it."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int | None] = loop.create_future()
    frames, ending = Frames(), Ending(mark)

    def read() -> None:
        if ended.done():
            return
        while (chunk := program.stream.read()) is not None:
            for kind, data in frames.feed(chunk):
                if kind == 1:
                    output.feed(ending.feed(data))
                if ending.code is not None:
                    ended.set_result(ending.code)
                    return
            if not chunk:
                ended.set_result(None)
                return

    loop.add_reader(program.stream.fileno(), read)
    try:
        read()  # what came with the answer is not announced by the socket
        return await ended
    finally:
        loop.remove_reader(program.stream.fileno())
        if ending.code is None:
            output.feed(ending.last())


def exit_code(engine: Engine, program: Program) -> int:
    """Of a program whose stream has ended. The engine may learn it a moment later. Blocking."""
    with engine.errors("a program cannot be looked at") as api:
        code = api.exec_inspect(program.id)["ExitCode"]
    return KILLED_EXIT_CODE if code is None else int(code)


class ContainerService:
    """A program that is spoken to over pipes of this process; a thread carries bytes between them and the engine."""

    def __init__(self, engine: Engine, program: Program) -> None:
        self._engine, self.program = engine, program
        input_read, self.input_fd = os.pipe()
        self.output_fd, output_write = os.pipe()
        self.errors_fd, errors_write = os.pipe()
        self.status_fd, status_write = os.pipe()
        for fd in (self.input_fd, self.output_fd, self.errors_fd, self.status_fd, input_read):
            os.set_blocking(fd, False)
        self._fds = (input_read, output_write, errors_write, status_write)
        threading.Thread(target=self._carry, name="mcp in a container", daemon=True).start()

    def _carry(self) -> None:
        input_read, output_write, errors_write, status_write = self._fds
        stream, frames, waiting, speaks = self.program.stream, Frames(), b"", True
        try:
            while True:
                wanted = [stream.fileno(), *([input_read] if speaks and not waiting else [])]
                ready, _, _ = select.select(wanted, [stream.fileno()] if waiting else [], [], 1.0)
                if waiting:
                    waiting = waiting[stream.send(waiting) :]
                elif input_read in ready:
                    waiting = os.read(input_read, 1 << 16)
                    if not waiting:
                        speaks = False
                        stream.end_input()
                while (chunk := stream.read()) is not None:
                    if not chunk:
                        return
                    for kind, data in frames.feed(chunk):
                        os.write(output_write if kind == 1 else errors_write, data)
        except (OSError, ValueError):
            return  # the worker has closed its pipes, or the connection was closed
        finally:
            stream.close()
            self._tell(status_write)
            close(*self._fds)

    def _tell(self, status_write: int) -> None:
        words = f" {self.program.life.broken}" if self.program.life.broken else ""
        try:
            os.write(status_write, f"{exit_code(self._engine, self.program)}{words}".encode())
        except (OSError, SandboxError):
            return
