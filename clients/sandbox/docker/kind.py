"""Containers of an engine on the worker's machine, as a kind of sandbox."""

import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.docker.containers import Containers, Shape
from agent_runner.clients.sandbox.docker.engine import Engine
from agent_runner.clients.sandbox.docker.limits import shape_of
from agent_runner.clients.sandbox.docker.memory_watch import MemoryWatch
from agent_runner.clients.sandbox.docker.sandbox import DockerSandbox
from agent_runner.clients.sandbox.isolation import limits_of
from agent_runner.clients.sandbox.kinds.kind import Health, SandboxKind, SandboxRequest
from agent_runner.clients.sandbox.kinds.local import remove_dir, session_dir
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.limits import Limits

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

GUIDE = "docs/guides/sandbox.md#docker"
SLACK_S = 120.0


class DockerKind(SandboxKind):
    def __init__(self, settings: "Settings") -> None:
        super().__init__(settings)
        self.engine = Engine(settings.sandbox_docker_host)
        self.containers = Containers(self.engine, settings.data_dir)
        self._memory = MemoryWatch(self.engine)
        self._tried: Health | None = None
        self._trying = threading.Lock()

    def open(self, request: SandboxRequest) -> DockerSandbox:
        settings = self.settings
        return DockerSandbox(
            session_dir(settings, request.name),
            settings.workspace,
            request.env,
            request.mask,
            containers=self.containers,
            shape_of=self._shape_of,
            memory_watch=self._memory,
            max_result_bytes=request.max_result_bytes,
            limits=limits_of(settings),
        ).open()

    def _shape_of(self, limits: Limits, root_dir: Path, shown: Sequence[Path]) -> Shape:
        return shape_of(self.settings, limits, root_dir, shown)

    def remove(self, name: str) -> bool:
        there = self._remove_container(name)
        return remove_dir(session_dir(self.settings, name)) or there

    def _remove_container(self, name: str) -> bool:
        if not self.containers.ever_used:
            return False
        return self.containers.remove(self.containers.name_of(name))

    def health(self) -> Health:
        """Tried once per process, by a command in a container that reads and writes a file of this machine."""
        with self._trying:
            if self._tried is None or not self._tried.up:
                self._tried = self._try()
            return self._tried

    def _try(self) -> Health:
        name = f"probe-{secrets.token_hex(6)}"
        token, settings = secrets.token_hex(12), self.settings
        try:
            with self.engine.errors("the engine was not found") as api:
                version = api.version()["Version"]
            box = self.open(SandboxRequest(name=name))
            try:
                (box.work_dir / "probe").write_text(token)
                (box.work_dir / "probe").chmod(0o644)
                told = box.try_once("cat probe && echo back > answer")
                seen = told.exit_code == 0 and told.output == token and (box.work_dir / "answer").exists()
            finally:
                self.remove(name)
        except SandboxError as error:
            return Health(up=False, said=str(error), fix=f"See {GUIDE}, or set AGENT_RUNNER_SANDBOX to another.")
        except OSError as error:
            return Health(up=False, said=f"{settings.data_dir} cannot be used: {error}", fix="Make it writable.")
        if not seen:
            why = f"containers of {self.engine.url} do not see the files of this machine below {settings.data_dir}"
            fix = f"The engine has to run on this machine, or have the directory at the same path ({GUIDE})."
            return Health(up=False, said=f"{why}: {told.output.strip() or 'the file is not there'}", fix=fix)
        network = settings.sandbox_docker_network
        beside = "" if network == "none" else f", with the network {network}"
        return Health(up=True, said=f"in containers of {settings.sandbox_docker_image} (Docker {version}){beside}")

    def sweep(self) -> int:
        if not self.containers.ever_used:
            return 0
        return self.containers.sweep(self.settings.sandbox_docker_idle_s, self.settings.max_run_s + SLACK_S)
