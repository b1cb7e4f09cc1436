"""A session's directory of this machine, whose commands run in the session's container.

Files are those of `LocalSandbox`: the directory is mounted at its own path, so the file tools, skills and long outputs
need no engine. The container is started when the run's first command needs it.
"""

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.docker import programs
from agent_runner.clients.sandbox.docker.containers import Containers, Life, Shape
from agent_runner.clients.sandbox.docker.engine import NoSuchContainer
from agent_runner.clients.sandbox.docker.limits import commands_user, own_tmp
from agent_runner.clients.sandbox.docker.memory_watch import MemoryWatch
from agent_runner.clients.sandbox.docker.scripts import COMMAND, KILL, SERVICE
from agent_runner.clients.sandbox.kinds.port import (
    DEFAULT_MAX_RESULT_BYTES,
    OUTPUTS,
    CommandResult,
    SandboxError,
    Service,
)
from agent_runner.clients.sandbox.limits import Limits
from agent_runner.clients.sandbox.local import LocalSandbox, Overflow
from agent_runner.clients.sandbox.output import Output
from agent_runner.clients.sandbox.programs.watch import LOOK_S, Watch, too_much_memory
from agent_runner.clients.sandbox.walls import TMP

FIRST_GROUP = 1_910_000_000
"""Each command has a group that no other process of the container has: none can leave it, so all are found again."""
KILL_GROUP = FIRST_GROUP - 1
KILL_S = 10.0


class DockerSandbox(LocalSandbox):
    def __init__(
        self,
        root_dir: Path,
        workspace: Path | None = None,
        env: Mapping[str, str] | None = None,
        mask: Mask | None = None,
        *,
        containers: Containers,
        shape_of: Callable[[Limits, Path, Sequence[Path]], Shape],
        memory_watch: MemoryWatch,
        max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(root_dir, workspace, env, mask, max_result_bytes=max_result_bytes, limits=limits)
        self._containers, self._shape_of, self._memory = containers, shape_of, memory_watch
        self._enclosed = True
        self._uid = commands_user()
        self.user = self._uid if os.geteuid() == 0 else 0
        self._life: Life | None = None
        self._opened = False
        self._groups = count(FIRST_GROUP)

    @property
    def name(self) -> str:
        return f"docker {self.root_dir.name}"

    def open(self) -> "DockerSandbox":
        """Make the directories, and ask the engine whether it is there. Raises SandboxError."""
        with self._containers.engine.errors("the sandbox cannot be opened") as api:
            api.ping()
        super().open()
        try:
            self._write_names()
        except OSError as error:
            raise SandboxError(f"sandbox {self.root_dir}: {error}") from error
        self._opened = True
        return self

    def _write_names(self) -> None:
        etc, uid = self.root_dir / "etc", self._uid
        etc.mkdir(mode=0o711, exist_ok=True)
        etc.chmod(0o711)
        people = (
            f"root:x:0:0::/:/bin/sh\nagent:x:{uid}:{uid}::{self.work_dir}:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
        )
        groups = f"root:x:0:\nagent:x:{uid}:\nnogroup:x:65534:\n"
        for name, text in (("passwd", people), ("group", groups)):
            path = etc / name
            if not path.exists() or path.read_text() != text:  # mounted by its inode: never replaced
                path.write_text(text)
            path.chmod(0o644)

    def _basic_environment(self) -> dict[str, str]:
        """Nothing of the worker's own; PATH is the image's."""
        tmp = TMP if own_tmp(self.root_dir, list(self.links.values())) else self.root_dir / "tmp"
        home = str(self.work_dir)
        return {"HOME": home, "PWD": home, "LANG": "C.UTF-8", "TERM": "dumb", "TMPDIR": str(tmp)}

    async def execute(self, command: str, timeout: float | None = None, *, tries: int = 5) -> CommandResult:
        mark = secrets.token_hex(12)
        may_write = not await own(self.quota.is_used_up)
        argv = ["/bin/sh", "-c", COMMAND, "sh", command, mark, "" if may_write else "full"]
        program = await self._start_or_undo(argv, self.environment)
        name = f"output-{os.getpid()}-{program.id[:12]}.txt"
        spilled = Overflow(self, name, self.quota.words if not may_write else "")
        output = self._output(name, spilled)
        code, ended, timed_out = None, False, False
        try:
            async with asyncio.timeout(timeout or None):
                code = await programs.watch(program, mark, output)
                ended = True
        except TimeoutError:
            timed_out = True
        finally:
            try:
                if not ended:
                    await asyncio.shield(own(self._kill_group, program))
            finally:
                program.stream.close()
                output.close()
        broken = await own(self._why_broken, program.life, code)
        if code is None and not (timed_out or broken) and await own(self._code_of, program) in (126, 127):
            raise SandboxError("the command could not be started: the image has no /bin/sh")
        status = f"{code} {broken}".encode() if code is not None or broken else b""
        return self._result(output, status, timeout if timed_out else None, may_write)

    def _output(self, name: str, spilled: Overflow) -> Output:
        shown = f"/{OUTPUTS}/{name}"
        return Output(
            limit=self._max_result_bytes,
            mask=self.mask,
            shown_path=shown,
            create=spilled.create,
            remove=spilled.remove,
        )

    async def _start_or_undo(self, argv: Sequence[str], env: Mapping[str, str]) -> programs.Program:
        """A cancel that comes while the engine starts it kills what has been started."""
        starting = asyncio.ensure_future(own(self._begin, argv, env))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxError):
                program = await starting
                await own(self._kill_group, program)
                program.stream.close()
            raise

    def _begin(
        self, argv: Sequence[str], env: Mapping[str, str], folder: str = "", *, speaks: bool = False
    ) -> programs.Program:
        """Blocking; raises SandboxError."""
        if any("\0" in text for text in (*argv, folder, *env, *env.values())):
            raise SandboxError("the command could not be started: it, or its environment, has a null byte")
        if not self.work_dir.is_dir():
            raise SandboxError(f"the command could not be started: {self.work_dir} is gone")
        for left in reversed(range(3)):
            life = self._living()
            try:
                return programs.start(
                    self._containers,
                    life,
                    argv,
                    env=env,
                    folder=str(self.work_dir / folder),
                    user=self._uid,
                    group=next(self._groups),
                    speaks=speaks,
                )
            except NoSuchContainer:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _living(self) -> Life:
        """The run's life of the container: started for its first command, and again after everything was killed."""
        with self._entering:
            if not self._opened:
                raise SandboxError("the sandbox of this run is closed")
            before = self._life
            if before is not None:
                if not before.broken and self._containers.is_on(before):
                    return before
                self._let_go(before)
            shape = self._shape_of(self.limits, self.root_dir, list(self.links.values()))
            self._life = life = self._containers.start(self.root_dir.name, shape, before)
            self._memory.add(life.container, lambda: self._break(life, too_much_memory(self.limits.memory_bytes)))
            threading.Thread(target=self._look, args=(life,), name="sandbox disk", daemon=True).start()
            return life

    def _look(self, life: Life) -> None:
        """Measures the session's files as long as this life goes on."""
        watch = Watch({"disk": self.limits.disk_bytes}, self.quota.directories)
        while not life.over.wait(LOOK_S):
            with contextlib.suppress(OSError):  # the directory was removed with its session
                if words := watch.look(()):
                    self._break(life, words)

    def _break(self, life: Life, words: str) -> None:
        """Kill everything of this life, and say why."""
        if not life.broken:
            life.broken = words
            with contextlib.suppress(SandboxError):
                self._containers.end(life)

    def _let_go(self, life: Life) -> None:
        self._memory.discard(life.container)
        self._containers.end(life)

    def _why_broken(self, life: Life, code: int | None) -> str:
        """The engine tells of memory that was used up a moment after it has killed: a command that was killed waits."""
        if code in (None, 137) and not life.broken and self._memory.ran_out(life.container, life.started_at):
            self._break(life, too_much_memory(self.limits.memory_bytes))
        return life.broken

    def _code_of(self, program: programs.Program) -> int:
        try:
            return programs.exit_code(self._containers.engine, program)
        except SandboxError:
            return 0

    def _kill_group(self, program: programs.Program) -> None:
        """Kill a command and all that it started; the whole container, if that does not work. Blocking."""
        try:
            argv = ["/bin/sh", "-c", KILL, "sh", str(program.group)]
            where: dict[str, Any] = {"env": {}, "folder": "/", "user": self._uid, "group": KILL_GROUP}
            killing = programs.start(self._containers, program.life, argv, **where)
            until = time.monotonic() + KILL_S
            try:
                while time.monotonic() < until:
                    if killing.stream.read() == b"":
                        if programs.exit_code(self._containers.engine, killing) == 0:
                            return
                        break
                    time.sleep(0.01)
            finally:
                killing.stream.close()
        except NoSuchContainer:
            return
        except SandboxError:
            pass
        with contextlib.suppress(SandboxError):
            self._containers.end(program.life)

    def serve(self, argv: Sequence[str], env: Mapping[str, str], folder: str = "") -> Service:
        full = "full" if self.quota.is_used_up() else ""
        line = ["/bin/sh", "-c", SERVICE, "sh", full, *argv]
        program = self._begin(line, {**self._basic_environment(), **env}, folder, speaks=True)
        return programs.ContainerService(self._containers.engine, program)

    async def end(self, service: Service) -> None:
        assert isinstance(service, programs.ContainerService)
        await own(self._kill_group, service.program)
        service.program.stream.close()

    @property
    def busy(self) -> bool:
        """Whether anything that this run started still lives. Blocking."""
        life = self._life
        return life is not None and self._containers.is_on(life)

    async def close(self) -> None:
        """End everything that the run started, with its container; the directory stays. Idempotent."""
        await own(self._end_life)
        await super().close()

    def _end_life(self) -> None:
        with self._entering:
            self._opened = False
            life, self._life = self._life, None
            if life is not None:
                with contextlib.suppress(NoSuchContainer):
                    self._let_go(life)
