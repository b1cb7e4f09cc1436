"""One directory per session on this machine, with commands in a clean environment under a shim.

    ROOT/workspace/                 the commands' working directory and HOME; the root `/` of the file tools
    ROOT/workspace/.agent-runner/   full outputs of commands that printed too much
    ROOT/tmp/                       TMPDIR

Promise: a command never sees the worker's environment; it ends with its run, also when the worker is killed with
SIGKILL; cancelling `execute` kills the command and its descendants before it returns.
Known limit: this is a directory, not a jail. The shell can read whatever the worker's user can read.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from clients.masking import Mask
from clients.sandbox.output import Output

SHIM = Path(__file__).with_name("shim.py")
OUTPUTS = ".agent-runner"
DEFAULT_MAX_RESULT_BYTES = 256 << 10
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMEOUT_EXIT_CODE = 124
KILLED_EXIT_CODE = 137
KILL_GRACE_S = 5.0
PIPE_CHUNKS = 16
"""Times 64 KiB: the most that a pipe holds on Linux."""


class SandboxError(Exception):
    """The sandbox could not be set up; the text says what and why (reported as E305)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """`output` is stdout and stderr in order, masked, at most the result limit; then `truncated` is true."""

    output: str
    exit_code: int
    truncated: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class _Command:
    shim: subprocess.Popen[bytes]
    output_fd: int
    status_fd: int


class LocalSandbox:
    """The sandbox of one run. `root_dir` belongs to the session and stays; processes and the pipe belong to the run.

    `workspace`: a directory of the user whose entries (not hidden ones) are shown in the sandbox by symlink, so that
    commands and file tools work on files that the user names, and change them.
    """

    def __init__(
        self,
        root_dir: Path,
        workspace: Path | None = None,
        env: Mapping[str, str] | None = None,
        mask: Mask | None = None,
        *,
        max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
    ) -> None:
        self.root_dir = Path(os.path.abspath(root_dir))
        self.work_dir = self.root_dir / "workspace"
        self.mask = mask or Mask()
        self.links: dict[str, Path] = {}
        """Name in the sandbox -> real path of the user's entry."""
        self._shown = workspace
        self._extra_env = dict(env or {})
        self._max_result_bytes = max_result_bytes
        self._commands: set[_Command] = set()
        self._numbers = count(1)
        self._pipe: tuple[int, int] | None = None

    def open(self) -> "LocalSandbox":
        """Make the directories, the links and the run's pipe. Raises SandboxError."""
        try:
            for directory in (self.work_dir, self.root_dir / "tmp"):
                directory.mkdir(parents=True, exist_ok=True)
            if self._shown is not None:
                self._link(self._shown)
            self._pipe = self._pipe or os.pipe()
        except OSError as error:
            raise SandboxError(f"sandbox {self.root_dir}: {error}") from error
        return self

    def _link(self, shown: Path) -> None:
        for entry in sorted(shown.iterdir()):
            here = self.work_dir / entry.name
            target = entry.resolve()
            if entry.name.startswith(".") or self.root_dir.is_relative_to(target):
                continue
            if not os.path.lexists(here):
                here.symlink_to(target)
            if here.is_symlink() and here.resolve() == target:
                self.links[entry.name] = target

    @property
    def environment(self) -> dict[str, str]:
        """What commands see: nothing of the worker's own environment but PATH."""
        base = {
            "PATH": os.environ.get("PATH", DEFAULT_PATH),
            "HOME": str(self.work_dir),
            "PWD": str(self.work_dir),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TMPDIR": str(self.root_dir / "tmp"),
        }
        return {**base, **self._extra_env}

    async def execute(self, command: str, timeout: float | None = None) -> CommandResult:
        """Run `command` in `/bin/sh`. `timeout` in seconds, None or 0 for none (the run's own limit then ends it).

        A command that passes its timeout is killed and has exit code 124. Cancelling kills it. What it leaves in the
        background lives until the run ends, but nobody reads what that prints after the command's own end.
        """
        running = self._start(command)
        number = next(self._numbers)
        output = Output(
            limit=self._max_result_bytes,
            mask=self.mask,
            path=self.work_dir / OUTPUTS / f"output-{os.getpid()}-{running.shim.pid}-{number}.txt",
            shown_path=f"/{OUTPUTS}/output-{os.getpid()}-{running.shim.pid}-{number}.txt",
        )
        status, timed_out = b"", False
        try:
            async with asyncio.timeout(timeout or None):
                status = await _watch(running, output)
        except TimeoutError:
            timed_out = True
        finally:
            try:
                # No status: a timeout, a cancel or an error came first, and then nothing of it may stay.
                if not status:
                    await asyncio.shield(self._kill(running))
            finally:
                _close(running.output_fd, running.status_fd)
                output.close()
        text, code = output.text(), int(status) if status else KILLED_EXIT_CODE
        if timed_out:
            text, code = f"{text}\n[killed: it did not end within {timeout:g} s]", TIMEOUT_EXIT_CODE
        elif not status:
            text = f"{text}\n[the command was killed from outside]"
        return CommandResult(output=text, exit_code=code, truncated=output.truncated)

    def execute_blocking(self, command: str, timeout: float | None = None) -> CommandResult:
        """`execute` for threads without an event loop."""
        return asyncio.run(self.execute(command, timeout))

    def _start(self, command: str) -> _Command:
        if self._pipe is None:
            raise SandboxError("the sandbox of this run is closed")
        self._reap()
        output_read, output_write = os.pipe()
        status_read, status_write = os.pipe()
        arguments = [sys.executable, "-I", "-S", str(SHIM), str(self._pipe[0]), str(status_write), "--"]
        try:
            shim = subprocess.Popen(  # noqa: S603  running what the agent asks for is its purpose
                [*arguments, "/bin/sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=subprocess.STDOUT,
                pass_fds=(self._pipe[0], status_write),
                cwd=self.work_dir,
                env=self.environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            _close(output_read, status_read)
            raise SandboxError(f"the command could not be started: {error}") from error
        finally:
            _close(output_write, status_write)
        for fd in (output_read, status_read):
            os.set_blocking(fd, False)
        started = _Command(shim=shim, output_fd=output_read, status_fd=status_read)
        self._commands.add(started)
        return started

    async def _kill(self, running: _Command) -> None:
        """SIGTERM to the shim, which kills the tree; SIGKILL to the shim itself only if it does not answer."""
        loop = asyncio.get_running_loop()
        running.shim.terminate()
        until = loop.time() + KILL_GRACE_S
        while running.shim.poll() is None:
            if loop.time() > until:
                running.shim.kill()
            await asyncio.sleep(0.005)
        self._commands.discard(running)

    def _reap(self) -> None:
        self._commands = {running for running in self._commands if running.shim.poll() is None}

    @property
    def busy(self) -> bool:
        """Whether anything that this run started still lives, background processes included."""
        self._reap()
        return bool(self._commands)

    async def close(self) -> None:
        """End everything that the run started; the directory stays. Idempotent."""
        if self._pipe is not None:
            _close(*self._pipe)
            self._pipe = None
        left = list(self._commands)
        await asyncio.gather(*(self._kill(running) for running in left))

    def remove(self) -> None:
        """Delete the session's directory; links are removed as links. Call after `close`. Idempotent."""
        shutil.rmtree(self.root_dir, ignore_errors=True)
        if not self.root_dir.exists() or self.root_dir.is_symlink():
            return
        # Folders that a command left without write permission (Go's module cache does) keep what is in them.
        with contextlib.suppress(OSError):
            self.root_dir.chmod(0o700)
        for folder, names, _ in os.walk(self.root_dir):
            for path in (os.path.join(folder, name) for name in names):
                if not os.path.islink(path):
                    with contextlib.suppress(OSError):
                        os.chmod(path, 0o700)
        shutil.rmtree(self.root_dir, ignore_errors=True)


async def _watch(running: _Command, output: Output) -> bytes:
    """Feed `output` until the command itself has ended; the shim's status, empty if it died without one."""
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
            data = os.read(running.status_fd, 16)
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
    # Whatever the command itself printed was in the pipe before its status was: nothing to wait for. What it left in
    # the background may print for ever, so no more than a pipe holds is read.
    with contextlib.suppress(BlockingIOError):
        for _ in range(PIPE_CHUNKS):
            if not (chunk := os.read(running.output_fd, 1 << 16)):
                break
            output.feed(chunk)
    return result


def _close(*fds: int) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
