"""One run in its session's sandbox at Daytona.

    WORK/workspace                 the commands' working directory and HOME; the root `/` of the file tools
    WORK/workspace/.agent-runner   full outputs of commands that printed too much
    /dev/shm/agent-runner-ID       what starts commands, with the run's environment: in memory, gone with the run

Commands see the sandbox's PATH and the run's own variables. Everything that a run has started ends with it, by `close`;
after a worker that was killed, when the session's next run begins or when Daytona stops the idle sandbox.
"""

import asyncio
import io
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO, TypeVar

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.process.threads import apart
from agent_runner.clients.sandbox.daytona import scripts
from agent_runner.clients.sandbox.daytona.remote_files import RemoteFiles
from agent_runner.clients.sandbox.daytona.sdk import Service, is_refusal
from agent_runner.clients.sandbox.daytona.shells import Shells, Started
from agent_runner.clients.sandbox.daytona.transcript import Transcript
from agent_runner.clients.sandbox.kinds.port import (
    KILLED_EXIT_CODE,
    OUTPUTS,
    TIMEOUT_EXIT_CODE,
    CommandResult,
    Sandbox,
    SandboxError,
)
from agent_runner.clients.sandbox.output import Output
from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)

T = TypeVar("T")

SCRIPT_S = 20
ANSWERS_S, AGAIN_S = 10.0, 0.5
LAST_OUTPUT_S = 5.0
"""How long the rest of a killed command's output is waited for."""


class DaytonaSandbox(Sandbox):
    """`box`: the SDK's sandbox, started; `restart` stops it and starts it again. `on_close` is called when the run
    needs it no more."""

    def __init__(
        self,
        service: Service,
        box: Any,
        *,
        env: Mapping[str, str],
        mask: Mask,
        max_result_bytes: int,
        restart: Callable[[Any], object],
        on_close: Callable[["DaytonaSandbox"], None],
    ) -> None:
        self.mask = mask
        self.box = box
        self._service, self._env, self._max_result_bytes = service, env, max_result_bytes
        self._restart, self._on_close = restart, on_close
        self._reviving = threading.Lock()
        self._id, self._directory = secrets.token_hex(8), ""
        self._shells: Shells | None = None
        self._files: RemoteFiles | None = None

    def open(self) -> "DaytonaSandbox":
        """Ends what an earlier run left, and puts there what starts commands. Blocking; raises SandboxError."""
        for name, value in self._env.items():
            if "\0" in f"{name}{value}":
                raise SandboxError(f"the variable {name!r} has a null byte")
        runner = self._prepare()
        self._shells = Shells(self._service, self.box, runner)
        return self

    def _prepare(self) -> str:
        """Returns the path of the program that runs commands."""
        name = f"{scripts.PREFIX}{self._id}"
        said = self._answering(scripts.called(scripts.OPEN, NAME=name)).splitlines()
        if len(said) != 3:
            raise SandboxError(f"Daytona: sandbox {self.box.id} does not answer as expected: {' '.join(said)[:200]!r}")
        self._directory, work_dir, path = said
        environment = {
            "PATH": path,
            "HOME": work_dir,
            "PWD": work_dir,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TMPDIR": "/tmp",  # noqa: S108
            **self._env,
        }
        runner = f"{self._directory}/run"
        self._files = RemoteFiles(self._service, self.box, work_dir, self.mask)
        program = scripts.runner(self._directory, work_dir, environment)
        self._files.put(runner, program.encode("utf-8", "surrogateescape"))
        return runner

    @property
    def name(self) -> str:
        return f"daytona:{self.box.id}"

    @property
    def files(self) -> RemoteFiles:
        if self._files is None:
            raise SandboxError("the sandbox of this run is not open")
        return self._files

    async def execute(self, command: str, timeout: float | None = None) -> CommandResult:
        """Run `command` in the sandbox's `/bin/sh`. `timeout` in seconds, None or 0 for none.

        One that exceeds it is killed and has exit code 124. Cancelling kills it with all that it started. Background
        processes live until the run ends; what they print after the command's own end is not read.
        """
        shells = self._shells
        if shells is None:
            raise SandboxError("the sandbox of this run is closed")
        if "\0" in command:
            raise SandboxError("the command could not be started: it has a null byte")
        started = await self._started(shells, command)
        kept = Spilled(self.files)
        output = Output(limit=self._max_result_bytes, mask=self.mask, shown_path=kept.shown, create=kept.create)
        transcript = Transcript(started.id, output.feed)
        follow = asyncio.ensure_future(apart(shells.follow, started, transcript, name="daytona-output"))
        follow.add_done_callback(_seen)
        timed_out = False
        try:
            async with asyncio.timeout(timeout or None):
                await asyncio.shield(follow)
        except TimeoutError:
            timed_out = True
        except SandboxError as error:
            transcript.complaint = str(error)
        except BaseException:
            kept.wanted = False
            raise
        finally:
            await _undisturbed(self._settle(shells, started, transcript, follow))
            if not kept.wanted:
                output.close()
        text, code = await apart(output.text, name="daytona-keep"), transcript.exit_code
        if timed_out:
            text, code = f"{text}\n[killed: it did not end within {timeout:g} s]", TIMEOUT_EXIT_CODE
        elif code is None:
            why = transcript.complaint or "the command was killed from outside"
            text, code = f"{text}\n[{self.mask(why)}]", KILLED_EXIT_CODE
        return CommandResult(output=text, exit_code=code, truncated=output.truncated)

    async def _started(self, shells: Shells, command: str) -> Started:
        """A cancel waits until the command has begun, and kills it."""
        starting = asyncio.ensure_future(apart(self._begin, shells, command, name="daytona-start"))
        starting.add_done_callback(_seen)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await _undisturbed(asyncio.wait({starting}))
            if starting.exception() is None:
                await _undisturbed(self._kill(shells, starting.result()))
            raise

    def _begin(self, shells: Shells, command: str) -> Started:
        """A command may have killed Daytona's own part of the sandbox: then it is started again, once."""
        try:
            return shells.start(command)
        except SandboxError as error:
            if shells.closed or error.__cause__ is None or is_refusal(error.__cause__):
                raise
            with self._reviving:
                log.warning("sandbox.restarted", sandbox=self.name, error=error)
                self._restart(self.box)
                shells.forget()
                self._prepare()
            return shells.start(command)

    async def close(self) -> None:
        """End everything that the run started; files stay. Idempotent."""
        shells, self._shells = self._shells, None
        if shells is not None:
            await apart(self._shut, shells, name="daytona-close")

    def _shut(self, shells: Shells) -> None:
        shells.close()
        try:
            self._script("the run could not be ended", scripts.called(scripts.CLOSE, DIRECTORY=self._directory))
        except SandboxError as error:
            # The next run of the session ends what is left, or Daytona does when it stops the idle sandbox.
            log.warning("sandbox.close_failed", sandbox=self.name, error=error)
        finally:
            self._on_close(self)

    async def _settle(
        self, shells: Shells, started: Started, transcript: Transcript, follow: "asyncio.Future[None]"
    ) -> None:
        """After the wait: the shell is free again, or everything of the command is killed."""
        if follow.done() and transcript.exit_code is not None:
            await apart(shells.give_back, started, name="daytona-end")
        else:
            await self._kill(shells, started, follow)
        transcript.stop()

    async def _kill(self, shells: Shells, started: Started, follow: "asyncio.Future[None] | None" = None) -> None:
        await apart(self._end, shells, started, name="daytona-kill")
        if follow is not None:
            await asyncio.wait({follow}, timeout=LAST_OUTPUT_S)
        await apart(shells.gave_up, started, name="daytona-kill")

    def _end(self, shells: Shells, started: Started) -> None:
        alone = "" if shells.others_at_work(started) else "1"
        line = scripts.called(scripts.STOP, DIRECTORY=self._directory, ID=started.id, ALONE=alone)
        try:
            self._script("the command could not be killed", line)
        except SandboxError as error:
            log.warning("sandbox.kill_failed", sandbox=self.name, error=error)

    def _answering(self, line: str) -> str:
        """What the first script printed. A sandbox that was started a moment ago may not answer yet."""
        until = time.monotonic() + ANSWERS_S
        while True:
            try:
                return self._script("the sandbox does not answer", line)
            except SandboxError as error:
                if time.monotonic() > until or error.__cause__ is None or is_refusal(error.__cause__):
                    raise
            time.sleep(AGAIN_S)

    def _script(self, what: str, line: str) -> str:
        """What one of our scripts printed. Raises SandboxError."""
        try:
            answer = self.box.process.exec(line, timeout=SCRIPT_S)
        except Exception as error:
            raise self._service.refused(f"{what} (sandbox {self.box.id})", error) from error
        if answer.exit_code:
            raise SandboxError(f"Daytona: {what} (sandbox {self.box.id}): {str(answer.result).strip()[:500]}")
        return str(answer.result)


class Spilled:
    """The file for an output that was too long: on the worker until it is whole, then in the sandbox."""

    def __init__(self, files: RemoteFiles) -> None:
        self._files = files
        self.shown = f"/{OUTPUTS}/output-{secrets.token_hex(6)}.txt"
        self.wanted = True

    def create(self) -> BinaryIO:
        """Raises OSError."""
        return _Upload(self)

    def put(self, path: str) -> None:
        """Raises OSError."""
        try:
            if self.wanted:
                self._files.put(self._files.real(self.shown), path)
        except SandboxError as error:
            raise OSError(str(error)) from error


class _Upload(io.BufferedWriter):
    """A file of the worker that is gone when it is closed, and then is in the sandbox."""

    def __init__(self, spilled: Spilled) -> None:
        fd, self._path = tempfile.mkstemp(prefix="agent-runner-output-")
        self._spilled = spilled
        super().__init__(io.FileIO(fd, "wb"))

    def close(self) -> None:
        """Raises OSError."""
        if self.closed:
            return
        try:
            super().close()
            self._spilled.put(self._path)
        finally:
            os.unlink(self._path)


def _seen(future: "asyncio.Future[Any]") -> None:
    """Asyncio would log an exception that nobody has looked at."""
    if not future.cancelled():
        future.exception()


async def _undisturbed(work: Awaitable[T]) -> T:
    """Finish `work` even if this task is cancelled meanwhile; the cancel is raised then."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
        except BaseException:
            break
    if cancelled:
        raise asyncio.CancelledError
    return task.result()
