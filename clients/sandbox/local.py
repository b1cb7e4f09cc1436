"""One directory per session on this machine, with commands in a clean environment under a shim, walled off if possible.

    ROOT/workspace/                 the commands' working directory and HOME; the root `/` of the file tools
    ROOT/workspace/.agent-runner/   full outputs of commands that printed too much
    ROOT/tmp/                       TMPDIR
    ROOT/etc/                       the names of users that commands see

Promise: a command never sees the worker's environment. It ends with its run, also when the worker is killed with
SIGKILL. Cancelling `execute` kills the command and its descendants before it returns. With `walls` a command sees
nothing else of the host, and its run uses no more than its limits.

Known limit: without `walls` this is a directory, not a jail: the shell can read whatever its user can read. That is the
worker's user, or with `users` a user that only this session has.
"""

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox import commands
from agent_runner.clients.sandbox.beneath import Beneath, Refused
from agent_runner.clients.sandbox.kinds.port import (
    DEFAULT_MAX_RESULT_BYTES,
    KILLED_EXIT_CODE,
    OUTPUTS,
    TIMEOUT_EXIT_CODE,
    CommandResult,
    Sandbox,
    SandboxError,
    Service,
)
from agent_runner.clients.sandbox.limits import Limits
from agent_runner.clients.sandbox.namespaces import Namespaces
from agent_runner.clients.sandbox.network.proxy import PORT, environment
from agent_runner.clients.sandbox.output import Output
from agent_runner.clients.sandbox.own_user import OwnUsers, give
from agent_runner.clients.sandbox.quota import Quota
from agent_runner.clients.sandbox.walls import TMP, Walls, may_show, write_etc

if TYPE_CHECKING:
    from agent_runner.clients.sandbox.files import SandboxFiles

__all__ = ["OUTPUTS", "CommandResult", "LocalSandbox", "SandboxError"]
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMANDS_UMASK = 0o022
"""The worker's own keeps everybody else out; what a command makes in the user's files is to look like the user's."""
TRY_S = 15.0
GONE = b"gone"
"""Said by the shim when the namespaces had ended in the moment in which it came."""


Started = TypeVar("Started", bound=commands.Command)


class Overflow:
    """The file for an output that was too long; it is in a directory that commands can change meanwhile."""

    def __init__(self, sandbox: "LocalSandbox", name: str, refusal: str) -> None:
        self._beneath = Beneath(sandbox.work_dir, {})
        self._parts, self._refusal = (OUTPUTS, name), refusal

    def create(self) -> BinaryIO:
        """Raises OSError."""
        if self._refusal:
            raise OSError(self._refusal)
        try:
            with self._beneath.place(self._parts, make=True) as place:
                return os.fdopen(place.file(os.O_WRONLY | os.O_CREAT), "wb")
        except Refused as error:
            raise OSError(str(error)) from error

    def remove(self) -> None:
        """Raises OSError."""
        with contextlib.suppress(Refused), self._beneath.place(self._parts, last_link=False) as place:
            os.unlink(place.name, dir_fd=place.fd)


class LocalSandbox(Sandbox):
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
        walls: Walls | None = None,
        limits: Limits | None = None,
        users: OwnUsers | None = None,
    ) -> None:
        self.root_dir = Path(os.path.abspath(root_dir))
        self.work_dir = self.root_dir / "workspace"
        self.mask = mask or Mask()
        self.links: dict[str, Path] = {}
        """Name in the sandbox -> real path of the user's entry."""
        self.walls, self.limits = walls, limits or Limits()
        self._users, self.user = users, 0
        """The user that commands run as; 0: the worker's own."""
        self._enclosed = walls is not None
        """Whether commands see nothing of the machine but what is shown to them."""
        self._shown = workspace
        self._extra_env = dict(env or {})
        self._max_result_bytes = max_result_bytes
        self._commands: set[commands.Command] = set()
        self._numbers = count(1)
        self._pipe: tuple[int, int] | None = None
        self._kept: Namespaces | None = None
        self._entering = threading.Lock()
        self.quota = Quota([self.work_dir, self.root_dir / "tmp"], self.limits.disk_bytes)

    @property
    def name(self) -> str:
        return str(self.root_dir)

    @property
    def files(self) -> "SandboxFiles":
        from agent_runner.clients.sandbox.files import SandboxFiles  # it knows this class

        return SandboxFiles(self)

    def open(self) -> "LocalSandbox":
        """Make the directories, the links and the run's pipe. Raises SandboxError."""
        try:
            self.root_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._users is not None:
                self.user = self._users.settle(self.root_dir)
            elif os.geteuid() == 0 and self.root_dir.exists() and self.root_dir.lstat().st_uid != self.user:
                give(self.root_dir, self.user)  # the session's commands ran in another way before
            for directory in (self.root_dir, self.work_dir, self.root_dir / "tmp"):
                directory.mkdir(mode=0o700, exist_ok=True)
                if self.user:
                    os.chown(directory, self.user, self.user, follow_symlinks=False)
            self.root_dir.chmod(0o700)  # earlier versions left it open to others
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
            if self._enclosed and not may_show(target, (self.root_dir,)):
                continue
            if not os.path.lexists(here):
                here.symlink_to(target)
            if here.is_symlink() and here.resolve() == target:
                self.links[entry.name] = target

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands: nothing of the worker's own but PATH."""
        return {**self._basic_environment(), **self._extra_env}

    def _basic_environment(self) -> dict[str, str]:
        tmp = self.root_dir / "tmp"
        if self.walls and self.walls.own_tmp(self.root_dir, self.links.values()):
            tmp = TMP
        path = os.environ.get("PATH", DEFAULT_PATH)
        base = {
            "PATH": self.walls.path(path, self.root_dir) if self.walls else path,
            "HOME": str(self.work_dir),
            "PWD": str(self.work_dir),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TMPDIR": str(tmp),
        }
        way_out = environment() if self.walls and self.walls.allowed else {}
        return {**base, **way_out}

    async def execute(self, command: str, timeout: float | None = None, *, tries: int = 5) -> CommandResult:
        """Background processes live until the run ends, but what they print after the command's own end is not read."""
        told = await own(self._prepare, ["/bin/sh", "-c", command], self.environment)
        running = self._start(told, commands.start)
        may_write = told["rlimits"].get("file") != 0
        name = f"output-{os.getpid()}-{running.shim.pid}-{next(self._numbers)}.txt"
        spilled = Overflow(self, name, self.quota.words if not may_write else "")
        output = Output(
            limit=self._max_result_bytes,
            mask=self.mask,
            shown_path=f"/{OUTPUTS}/{name}",
            create=spilled.create,
            remove=spilled.remove,
        )
        status, timed_out = b"", False
        try:
            async with asyncio.timeout(timeout or None):
                status = await commands.watch(running, output)
        except TimeoutError:
            timed_out = True
        finally:
            try:
                # No status: a timeout, a cancel or an error came first, and then no process of it may stay.
                if not status:
                    await asyncio.shield(self._kill(running))
            finally:
                running.close()
                output.close()
        if status == GONE and tries:
            return await self.execute(command, timeout, tries=tries - 1)
        return self._result(output, status, timeout if timed_out else None, may_write)

    def serve(self, argv: Sequence[str], env: Mapping[str, str], folder: str = "") -> Service:
        told = self._prepare(list(argv), {**self._basic_environment(), **env}, folder)
        return self._start(told, commands.serve)

    async def end(self, service: Service) -> None:
        assert isinstance(service, commands.Service)
        await self._kill(service)

    def try_once(self, command: str) -> CommandResult:
        """Run one command in a sandbox that is open, and close it. Blocking."""

        async def run() -> CommandResult:
            try:
                return await self.execute(command, TRY_S)
            finally:
                await self.close()

        with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop of its own
            return thread.submit(lambda: asyncio.run(run())).result()

    def _result(self, output: Output, status: bytes, passed_s: float | None, may_write: bool) -> CommandResult:
        said, _, broken = status.decode().partition(" ")
        text, code = output.text(), int(said) if said.isdigit() else KILLED_EXIT_CODE
        broken = broken or (self._kept.broken if self._kept else "")
        if broken:
            text, code = f"{text}\n[everything that this run had started was killed: {broken}]", KILLED_EXIT_CODE
        elif passed_s is not None:
            text, code = f"{text}\n[killed: it did not end within {passed_s:g} s]", TIMEOUT_EXIT_CODE
        elif not status:
            text = f"{text}\n[the command was killed from outside]"
        if code and not may_write:
            text = f"{text}\n[{self.quota.words}: commands can remove files, and write none]"
        return CommandResult(output=text, exit_code=code, truncated=output.truncated)

    def _prepare(self, argv: list[str], env: dict[str, str], folder: str = "") -> dict[str, Any]:
        """The shim's input; makes the namespaces if they are not there. Blocking."""
        if any("\0" in text for text in (*argv, folder, *env, *env.values())):
            raise SandboxError("the command could not be started: it, or its environment, has a null byte")
        if not self.work_dir.is_dir():
            raise SandboxError(f"the command could not be started: {self.work_dir} is gone")
        namespaces = self._enter() if self.walls else {}
        may_write = not self.quota.is_used_up() and not self._is_full()
        watched = {} if self.walls else self.limits.of_the_run()
        return {
            "argv": argv,
            "env": env,
            "cwd": str(self.work_dir / folder),
            "umask": COMMANDS_UMASK,
            "user": self.user,
            "join": namespaces,
            "rlimits": self.limits.of_a_process(apart=bool(self.walls or self.user), may_write=may_write),
            "watch": {name: value for name, value in watched.items() if value},
            "directories": self.quota.directories,
        }

    def _enter(self) -> dict[str, int]:
        """The run's namespaces, made when its first command needs them, and again after they have ended."""
        assert self.walls is not None
        with self._entering:
            if self._pipe is None:
                raise SandboxError("the sandbox of this run is closed")
            # A keeper that found the disk too full is replaced when it is idle: the new one measures again, with all
            # files that a command may have locked since.
            stale = self._kept is not None and self._is_full() and not self._kept.busy
            if self._kept is not None and (stale or not self._kept.alive):
                self._kept.end()
                self._kept = None
            if self._kept is None:
                try:
                    write_etc(self.root_dir, self.work_dir)
                except OSError as error:
                    raise SandboxError(f"sandbox {self.root_dir}: {error}") from error
                told = {
                    "argv": self.walls.command_line(self.root_dir, self.links.values()),
                    "limits": self.limits.of_the_run(),
                    "directories": self.quota.directories,
                    "proxy_port": PORT if self.walls.allowed else 0,
                    "group": self.walls.groups,
                }
                try:
                    self._kept = Namespaces(told, self._pipe[0])
                except OSError as error:
                    raise SandboxError(f"commands cannot be walled off: {error}") from error
                if self.walls.allowed:
                    self._kept.let_out(self.walls.allowed)
            return dict(self._kept.namespaces)

    def _is_full(self) -> bool:
        return self._kept is not None and 0 < self.limits.disk_bytes < self._kept.used

    def _start(self, told: dict[str, Any], start: Callable[[dict[str, Any], int], Started]) -> Started:
        if self._pipe is None:
            raise SandboxError("the sandbox of this run is closed")
        self._reap()
        try:
            started = start(told, self._pipe[0])
        except (OSError, ValueError) as error:
            raise SandboxError(f"the command could not be started: {error}") from error
        self._commands.add(started)
        return started

    async def _kill(self, running: commands.Command) -> None:
        await commands.kill(running.shim)
        self._commands.discard(running)

    def _reap(self) -> None:
        self._commands = {running for running in self._commands if running.shim.poll() is None}

    @property
    def busy(self) -> bool:
        """Whether anything that this run started still lives, background processes included."""
        self._reap()
        return bool(self._commands) or (self._kept is not None and self._kept.busy)

    async def close(self) -> None:
        """End everything that the run started; the directory stays. Idempotent."""
        kept = await own(self._shut)
        left = list(self._commands)
        await asyncio.gather(*(self._kill(running) for running in left))
        if kept is not None:
            await commands.kill(kept.process)
            kept.let_go()

    def _shut(self) -> Namespaces | None:
        """Close the run's pipe; no command starts any more. Waits for namespaces that are just being made."""
        with self._entering:
            pipe, self._pipe = self._pipe, None
            kept, self._kept = self._kept, None
        if pipe is not None:
            commands.close(*pipe)
        return kept

    def remove(self) -> None:
        """Delete the session's directory; links are removed as links. Call after `close`. Idempotent."""
        shutil.rmtree(self.root_dir, ignore_errors=True)
        if not self.root_dir.exists() or self.root_dir.is_symlink():
            return
        # Files in folders that a command left without write permission (Go's module cache does) are still there.
        with contextlib.suppress(OSError):
            self.root_dir.chmod(0o700)
        for folder, names, _ in os.walk(self.root_dir):
            for path in (os.path.join(folder, name) for name in names):
                if not os.path.islink(path):
                    with contextlib.suppress(OSError):
                        os.chmod(path, 0o700)
        shutil.rmtree(self.root_dir, ignore_errors=True)
