"""The shells of one run in its sandbox: Daytona's "sessions". A command has one for itself while it runs."""

import asyncio
import secrets
import shlex
import threading
from dataclasses import dataclass
from typing import Any

from agent_runner.clients.sandbox.daytona.scripts import PREFIX
from agent_runner.clients.sandbox.daytona.sdk import REQUEST_S, Service, is_missing, is_refusal
from agent_runner.clients.sandbox.daytona.transcript import Ended, Transcript
from agent_runner.clients.sandbox.kinds.port import SandboxError

FOLLOW_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """`id`: ours, in the stream and in the environment of all that the command starts."""

    id: str
    shell: str
    command: str


class Shells:
    """Any thread may call; everything blocks. Raises SandboxError."""

    def __init__(self, service: Service, box: Any, runner: str) -> None:
        self._service, self._box, self._runner = service, box, runner
        self._lock = threading.Lock()
        self._idle: list[str] = []
        self._all: set[str] = set()
        self._at_work: set[str] = set()
        self._closed = False

    def start(self, command: str) -> Started:
        """Start a command in a shell that has nothing to do, or in a new one."""
        id_, shell = secrets.token_hex(8), self._taken()
        line = f"sh {shlex.quote(self._runner)} {id_} {shlex.quote(command)}"
        try:
            asked = self._service.module.SessionExecuteRequest(command=line, run_async=True)
            answer = self._box.process.execute_session_command(shell, asked, timeout=int(REQUEST_S))
        except Exception as error:
            self.drop(shell)
            raise self._service.refused("the command could not be started", error) from error
        with self._lock:
            self._at_work.add(id_)
        return Started(id=id_, shell=shell, command=answer.cmd_id)

    def follow(self, started: Started, transcript: Transcript) -> None:
        """Read the log until the command has ended. A connection that breaks is made again."""
        process = self._box.process
        for left in reversed(range(FOLLOW_TRIES)):
            try:
                asyncio.run(
                    process.get_session_command_logs_async(
                        started.shell, started.command, transcript.take, lambda said: None
                    )
                )
            except Ended:
                break
            except Exception as error:
                if is_missing(error) or is_refusal(error) or not left:
                    raise self._service.refused("the command's output was lost", error) from error
                transcript.again()
            else:
                break
        transcript.finish()

    def others_at_work(self, started: Started) -> bool:
        with self._lock:
            return bool(self._at_work - {started.id})

    def give_back(self, started: Started) -> None:
        """After the command's own end. A shell whose output a background process holds open takes no command."""
        with self._lock:
            self._at_work.discard(started.id)
        try:
            found = self._box.process.get_session_command(started.shell, started.command, request_timeout=REQUEST_S)
        except Exception:
            self.drop(started.shell)
            return
        if found.exit_code is not None:
            with self._lock:
                self._idle.append(started.shell)

    def gave_up(self, started: Started) -> None:
        """After the command was killed."""
        with self._lock:
            self._at_work.discard(started.id)
            idle, self._idle = self._idle, []
        for shell in (started.shell, *idle):
            self.drop(shell)

    def drop(self, shell: str) -> None:
        """End a shell and its process group. Not finding it is no error, nor is not reaching the sandbox: what is left
        is ended with the run."""
        with self._lock:
            self._all.discard(shell)
        try:
            self._box.process.delete_session(shell, request_timeout=REQUEST_S)
        except Exception as error:
            if not is_missing(error):
                with self._lock:
                    self._all.add(shell)

    def forget(self) -> None:
        """The sandbox was started again: no shell is left."""
        with self._lock:
            self._idle, self._all, self._at_work = [], set(), set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            left, self._idle = list(self._all), []
        for shell in left:
            self.drop(shell)

    @property
    def closed(self) -> bool:
        return self._closed

    def _taken(self) -> str:
        with self._lock:
            if self._closed:
                raise SandboxError("the sandbox of this run is closed")
            if self._idle:
                return self._idle.pop()
            shell = f"{PREFIX}{secrets.token_hex(6)}"
            self._all.add(shell)
        try:
            self._box.process.create_session(shell, request_timeout=REQUEST_S)
        except Exception as error:
            with self._lock:
                self._all.discard(shell)
            raise self._service.refused("no shell could be opened in the sandbox", error) from error
        return shell
