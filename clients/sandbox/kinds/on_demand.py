"""A sandbox that its first use opens.

A user's own graph may never ask for one, and a container, or just the directories of a session, can cost more than the
whole run.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.kinds.port import CommandResult, Files, Sandbox, SandboxError, Service


class OnDemand(Sandbox):
    """`open` blocks and raises SandboxError; it is called once, or again by the next use if it failed."""

    def __init__(self, open: Callable[[], Sandbox], *, name: str, mask: Mask) -> None:
        self.mask = mask
        self._open, self._name = open, name
        self._opening = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._closed = False

    @property
    def name(self) -> str:
        return self._sandbox.name if self._sandbox else self._name

    @property
    def files(self) -> Files:
        return self._opened().files

    async def execute(self, command: str, timeout: float | None = None) -> CommandResult:
        sandbox = await own(self._opened)
        return await sandbox.execute(command, timeout)

    def execute_blocking(self, command: str, timeout: float | None = None) -> CommandResult:
        return self._opened().execute_blocking(command, timeout)

    def serve(self, argv: Sequence[str], env: Mapping[str, str], folder: str = "") -> Service:
        return self._opened().serve(argv, env, folder)

    async def end(self, service: Service) -> None:
        await self._opened().end(service)

    async def close(self) -> None:
        self._closed = True
        if self._opening.locked():
            await own(self._settle)
        if self._sandbox is not None:
            await self._sandbox.close()

    def _opened(self) -> Sandbox:
        with self._opening:
            if self._closed:
                raise SandboxError("the sandbox of this run is closed")
            if self._sandbox is None:
                self._sandbox = self._open()
            return self._sandbox

    def _settle(self) -> None:
        """Waits for the end of an opening that began before the close."""
        with self._opening:
            pass
