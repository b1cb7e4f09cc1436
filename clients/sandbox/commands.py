"""Starts one command or service under its shim, watches it until its own end, and kills it."""

import asyncio
import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from agent_runner.clients.sandbox.output import Output
from agent_runner.clients.sandbox.programs import start as programs

KILL_GRACE_S = 5.0
PIPE_CHUNKS = 16
"""Times 64 KiB: the most that a pipe holds on Linux."""
STATUS_BYTES = 512


@dataclass(slots=True, kw_only=True, eq=False)
class Command:
    shim: "subprocess.Popen[bytes]"
    output_fd: int
    status_fd: int

    def close(self) -> None:
        close(self.output_fd, self.status_fd)


@dataclass(slots=True, kw_only=True, eq=False)
class Service(Command):
    """A program that is spoken to over its standard input and output. Whoever takes a descriptor closes it."""

    input_fd: int
    errors_fd: int


def start(told: dict[str, Any], run_fd: int) -> Command:
    """Start a shim, which reads `told`. Raises OSError."""
    output_read, output_write = os.pipe()
    status_read, status_write = os.pipe()
    try:
        shim = programs.start("shim", told, (run_fd, status_write), also=told["join"].values(), output=output_write)
    except (OSError, ValueError):
        close(output_read, status_read)
        raise
    finally:
        close(output_write, status_write)
    for fd in (output_read, status_read):
        os.set_blocking(fd, False)
    return Command(shim=shim, output_fd=output_read, status_fd=status_read)


def serve(told: dict[str, Any], run_fd: int) -> Service:
    """Start a shim, which reads `told`, with pipes for what its program reads and writes. Raises OSError."""
    input_read, input_write = os.pipe()
    errors_read, errors_write = os.pipe()
    output_read, output_write = os.pipe()
    status_read, status_write = os.pipe()
    ours, theirs = (input_write, errors_read, output_read, status_read), (input_read, errors_write)
    told = {**told, "input": input_read, "errors": errors_write}
    try:
        also = (*told["join"].values(), *theirs)
        shim = programs.start("shim", told, (run_fd, status_write), also=also, output=output_write)
    except (OSError, ValueError):
        close(*ours)
        raise
    finally:
        close(*theirs, output_write, status_write)
    for fd in ours:
        os.set_blocking(fd, False)
    return Service(shim=shim, output_fd=output_read, status_fd=status_read, input_fd=input_write, errors_fd=errors_read)


async def watch(running: Command, output: Output) -> bytes:
    """Feed `output` until the command itself has ended. Returns the shim's status, empty if the shim wrote none."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        try:
            chunk = os.read(running.output_fd, 1 << 16)
        except BlockingIOError:
            return
        if chunk:
            output.feed(chunk)
        else:
            loop.remove_reader(running.output_fd)

    def status() -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(running.status_fd, STATUS_BYTES)
            loop.remove_reader(running.status_fd)
            if not ended.done():
                ended.set_result(data)

    loop.add_reader(running.output_fd, read)
    loop.add_reader(running.status_fd, status)
    try:
        result = await ended
    finally:
        loop.remove_reader(running.output_fd)
        loop.remove_reader(running.status_fd)
    # The command's own output was in the pipe before its status was, so there is nothing to wait for. Its background
    # processes may print for ever, so no more than a pipe holds is read.
    with contextlib.suppress(BlockingIOError):
        for _ in range(PIPE_CHUNKS):
            if not (chunk := os.read(running.output_fd, 1 << 16)):
                break
            output.feed(chunk)
    return result


async def kill(program: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to a program of ours, which then kills its processes; SIGKILL only if it does not end in time."""
    loop = asyncio.get_running_loop()
    program.terminate()
    until = loop.time() + KILL_GRACE_S
    while program.poll() is None:
        if loop.time() > until:
            program.kill()
        await asyncio.sleep(0.005)


def close(*fds: int) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
