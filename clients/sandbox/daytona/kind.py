"""Daytona as a kind of sandbox."""

import threading
import weakref
from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.daytona.lifecycle import Lifecycle
from agent_runner.clients.sandbox.daytona.sandbox import DaytonaSandbox
from agent_runner.clients.sandbox.daytona.sdk import REQUEST_S, Service
from agent_runner.clients.sandbox.kinds.kind import Health, SandboxKind, SandboxRequest
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

SHARE_OF_AUTO_STOP = 3
"""A sandbox in use is told of so often within the time after which it would be stopped."""


class DaytonaKind(SandboxKind):
    def __init__(self, settings: "Settings") -> None:
        super().__init__(settings)
        self._service = Service(settings)
        self._lifecycle = Lifecycle(self._service, settings)
        self._awake = KeptAwake(self._service, settings.daytona_auto_stop_min * 60 / SHARE_OF_AUTO_STOP)

    def open(self, request: SandboxRequest) -> DaytonaSandbox:
        """The session's sandbox, started and answering. One that is broken for good is replaced by an empty one; one
        that does not answer is started again, once, and keeps its files."""
        box, new = self._lifecycle.ready(request.name)
        sandbox = DaytonaSandbox(
            self._service,
            box,
            env=request.env,
            mask=request.mask,
            max_result_bytes=request.max_result_bytes,
            restart=self._lifecycle.restarted,
            on_close=self._awake.remove,
        )
        try:
            sandbox.open()
        except SandboxError as error:
            if new:
                raise
            log.warning("sandbox.restarted", sandbox=sandbox.name, error=error)
            self._lifecycle.restarted(box)
            sandbox.open()
        self._awake.add(sandbox)
        return sandbox

    def remove(self, name: str) -> bool:
        return self._lifecycle.remove(name)

    def health(self) -> Health:
        url = self.settings.daytona_api_url
        try:
            client = self._service.made()
            next(iter(client.list(self._service.module.ListSandboxesQuery(limit=1), request_timeout=REQUEST_S)), None)
        except SandboxError as error:
            return Health(up=False, said=f"daytona: {error}", fix=_fix(error))
        except Exception as error:
            return Health(
                up=False, said=f"daytona: {self._service.words(error)}", fix="See DAYTONA_API_KEY, DAYTONA_API_URL."
            )
        return Health(up=True, said=f"daytona at {url}")

    def sweep(self) -> int:
        return self._lifecycle.sweep()


def _fix(error: SandboxError) -> str:
    return "pip install 'agent-runner[daytona]'" if "extra" in str(error) else "Set DAYTONA_API_KEY."


class KeptAwake:
    """Tells Daytona of the sandboxes in use: it stops one whose interface is not used for a while, also in the middle
    of a command that takes longer. One thread, while there are any."""

    def __init__(self, service: Service, every_s: float) -> None:
        self._service, self._every_s = service, every_s
        self._changed = threading.Condition()
        self._open: weakref.WeakSet[DaytonaSandbox] = weakref.WeakSet()
        self._runs = False

    def add(self, sandbox: DaytonaSandbox) -> None:
        if not self._every_s:
            return
        with self._changed:
            self._open.add(sandbox)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="daytona-awake", daemon=True).start()

    def remove(self, sandbox: DaytonaSandbox) -> None:
        with self._changed:
            self._open.discard(sandbox)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._open, timeout=self._every_s)
                if not self._open:
                    self._runs = False
                    return
                left = list(self._open)
            for sandbox in left:
                try:
                    sandbox.box.refresh_activity(request_timeout=REQUEST_S)
                except Exception as error:
                    log.warning("sandbox.not_kept_awake", sandbox=sandbox.name, error=self._service.words(error))
