"""The sandbox on the worker's own machine, as a kind."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.isolation import INSTALL, isolation_of, limits_of
from agent_runner.clients.sandbox.kinds.kind import Health, SandboxKind, SandboxRequest
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.local import LocalSandbox

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings


def session_dir(settings: "Settings", name: str) -> Path:
    """The directory of the sandbox of that name."""
    return settings.data_dir / "sandboxes" / name


class LocalKind(SandboxKind):
    def open(self, request: SandboxRequest) -> LocalSandbox:
        settings, found = self.settings, isolation_of(self.settings)
        return LocalSandbox(
            session_dir(settings, request.name),
            workspace=settings.workspace,
            env=request.env,
            mask=request.mask,
            max_result_bytes=request.max_result_bytes,
            walls=found.walls,
            users=found.users,
            limits=limits_of(settings),
        ).open()

    def remove(self, name: str) -> bool:
        return remove_dir(session_dir(self.settings, name))

    def health(self) -> Health:
        settings = self.settings
        parent = next(path for path in settings.data_dir.parents if path.is_dir())
        there = settings.data_dir if settings.data_dir.is_dir() else parent
        if not os.access(there, os.W_OK):
            fix = "Make it writable, or set AGENT_RUNNER_DATA_DIR."
            return Health(up=False, said=f"local, under {settings.data_dir}", fix=fix)
        found = isolation_of(settings)
        allowed = found.apart or settings.is_local or settings.sandbox_unsafe
        said = f"local, under {settings.data_dir}; commands are {found.said}{'' if found.walls else f'. {INSTALL}'}"
        return Health(up=allowed, said=said, fix="" if found.walls else INSTALL)


def remove_dir(directory: Path) -> bool:
    """Remove a session's directory; whether it was there. Raises SandboxError if some files stay."""
    there = directory.exists()
    if there:
        LocalSandbox(directory).remove()
        if directory.exists():
            raise SandboxError(f"not all of {directory} can be removed")
    return there
