"""A session's sandbox in Daytona: found again, made, started, recovered, removed.

Its name is made of the install and the session, so that every worker finds the same one, and two workers that make it
at once get one. Labels say the same for the sweep. Daytona stops a sandbox that is idle, and deletes one that stays
stopped: so what nobody ends any more ends by itself.
"""

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

from agent_runner.clients.sandbox.daytona.sdk import REQUEST_S, Service, is_conflict, is_missing
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.network.allowed_hosts import AllowedHosts
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

INSTALL, SESSION = "agent-runner.install", "agent-runner.session"
"""Labels of every sandbox of ours."""
MAX_NAME = 60
POLL_S = 0.5
READY = "started"
ASLEEP = frozenset({"stopped", "archived", "paused"})
"""Starting them brings them back with their files."""
BROKEN = frozenset({"error", "build_failed"})
GONE = frozenset({"destroyed"})
ON_THE_WAY = frozenset(
    {"creating", "restoring", "starting", "resuming", "pending_build", "building_snapshot", "pulling_snapshot"}
)
REMOVE_S = 60.0


class Lifecycle:
    """Blocking; each method may take as long as Daytona does. Raises SandboxError."""

    def __init__(self, service: Service, settings: "Settings") -> None:
        self._service, self._settings = service, settings

    def ready(self, name: str) -> tuple[Any, bool]:
        """The session's sandbox, started, and whether it is new."""
        client = self._service.made()
        until = time.monotonic() + self._settings.daytona_start_s
        new = replaced = False
        box = self.find(name)
        while True:
            if box is None:
                box, new = self._create(client, name, self._left(until, name, "creating")), True
            state = _state(box)
            if state == READY:
                return box, new
            left = self._left(until, name, state)
            if state in BROKEN and not box.recoverable:
                if replaced or new:
                    raise SandboxError(
                        f"Daytona: sandbox {box.id} is in state {state}: {box.error_reason or 'no reason'}"
                    )
                log.warning("sandbox.replaced", sandbox=box.id, state=state, reason=box.error_reason or "")
                self._delete(box)
                box, replaced = self.find(name), True
            elif state in GONE:
                box = self._after_the_end(name)
            else:
                box = self._moved_on(box, state, left, name)

    def _after_the_end(self, name: str) -> Any:
        """A sandbox that was made meanwhile, or None. One that has ended may be shown for a moment."""
        time.sleep(POLL_S)
        box = self.find(name)
        return None if box is not None and _state(box) in GONE else box

    def restarted(self, box: Any) -> Any:
        """Stop it and start it again: its files stay, its processes end."""
        try:
            box.stop(timeout=REQUEST_S, force=True)
            box.start(timeout=self._settings.daytona_start_s)
        except Exception as error:
            raise self._service.refused(f"sandbox {box.id} could not be started again", error) from error
        return box

    def find(self, name: str) -> Any:
        """The session's sandbox in any state, or None."""
        full = self.full_name(name)
        try:
            box = self._service.made().get(full, request_timeout=REQUEST_S)
        except SandboxError:
            raise
        except Exception as error:
            if is_missing(error):
                return None
            raise self._service.refused("the session's sandbox could not be looked for", error) from error
        if box.labels.get(SESSION) != name or box.labels.get(INSTALL) != self._settings.daytona_install:
            raise SandboxError(
                f"Daytona: a sandbox with the name {full} is there, and is not ours: it lacks our labels"
            )
        return box

    def remove(self, name: str) -> bool:
        box = self.find(name)
        if box is None or _state(box) in GONE:
            return False
        self._delete(box)
        return True

    def sweep(self) -> int:
        """Delete sandboxes of this install that no session can use any more: those that cannot be recovered. One that
        Daytona would keep for ever when stopped is given its end."""
        client, found = self._service.made(), 0
        query = self._service.module.ListSandboxesQuery(labels={INSTALL: self._settings.daytona_install}, limit=100)
        try:
            for box in client.list(query, request_timeout=REQUEST_S):
                if _state(box) in BROKEN and not box.recoverable:
                    self._delete(box)
                    found += 1
                elif box.auto_delete_interval is None or box.auto_delete_interval < 0:
                    box.set_auto_delete_interval(self._delete_after_min, request_timeout=REQUEST_S)
        except SandboxError:
            raise
        except Exception as error:
            raise self._service.refused("the sandboxes of this install could not be swept", error) from error
        return found

    def full_name(self, name: str) -> str:
        """What Daytona calls it; short, and without letters that a name cannot have."""
        full = re.sub(r"[^a-zA-Z0-9-]", "-", f"{self._settings.daytona_install}-{name}")
        if len(full) <= MAX_NAME and full == f"{self._settings.daytona_install}-{name}":
            return full
        return f"{full[: MAX_NAME - 13]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"

    @property
    def _delete_after_min(self) -> int:
        return self._settings.daytona_auto_delete_min or int(self._settings.retention_days * 24 * 60)

    def _create(self, client: Any, name: str, left_s: float) -> Any:
        module, settings = self._service.module, self._settings
        given: dict[str, Any] = {
            "name": self.full_name(name),
            "labels": {INSTALL: settings.daytona_install, SESSION: name},
            "public": False,
            "auto_stop_interval": settings.daytona_auto_stop_min,
            "auto_archive_interval": settings.daytona_auto_archive_min,
            "auto_delete_interval": self._delete_after_min,
            **network_of(settings),
        }
        params: Any
        if settings.daytona_image:
            resources = module.Resources(
                cpu=settings.daytona_cpu or None,
                memory=settings.daytona_memory_gib or None,
                disk=settings.daytona_disk_gib or None,
            )
            params = module.CreateSandboxFromImageParams(image=settings.daytona_image, resources=resources, **given)
        else:
            params = module.CreateSandboxFromSnapshotParams(snapshot=settings.daytona_snapshot or None, **given)
        try:
            box = client.create(params, timeout=left_s)
        except Exception as error:
            if is_conflict(error) and (there := self.find(name)) is not None:
                return there  # another worker was faster
            self._remove_half_made(name)
            raise self._service.refused("the session's sandbox could not be created", error) from error
        log.info("sandbox.created", sandbox=box.id, session=name)
        return box

    def _remove_half_made(self, name: str) -> None:
        """A time limit of the SDK leaves what it waited for, and Daytona goes on making it."""
        try:
            if (box := self.find(name)) is not None and _state(box) != READY:
                self._delete(box)
        except SandboxError as error:
            log.warning("sandbox.not_removed", session=name, error=error)

    def _moved_on(self, box: Any, state: str, left_s: float, name: str) -> Any:
        """The sandbox a step nearer to being started; None when it is gone."""
        try:
            if state in ASLEEP:
                box.start(timeout=left_s)
            elif state in BROKEN:
                box.recover(timeout=left_s)
            elif state in ON_THE_WAY:
                box.wait_for_sandbox_start(timeout=left_s)
            else:
                time.sleep(POLL_S)  # it is on its way to a state that can be left: stopping, archiving, destroying
                box.refresh_data(request_timeout=REQUEST_S)
        except Exception as error:
            if is_missing(error):
                return None
            raise self._service.refused(f"sandbox {box.id} was {state} and could not be started", error) from error
        return box

    def _delete(self, box: Any) -> None:
        try:
            box.delete(timeout=REMOVE_S, wait=True)
        except Exception as error:
            if not is_missing(error):
                raise self._service.refused(f"sandbox {box.id} could not be deleted", error) from error

    def _left(self, until: float, name: str, state: str) -> float:
        left = until - time.monotonic()
        if left <= 0:
            raise SandboxError(
                f"Daytona: the sandbox of {name} was not started within {self._settings.daytona_start_s:g} s"
                f" (AGENT_RUNNER_DAYTONA_START_S); it is {state}"
            )
        return left


def network_of(settings: "Settings") -> dict[str, Any]:
    """What AGENT_RUNNER_SANDBOX_NETWORK means to Daytona. Its lists know no ports."""
    if settings.sandbox_network == "on":
        return {}
    entries = AllowedHosts.of(settings.sandbox_allowed_hosts).entries if settings.sandbox_network == "listed" else ()
    if not entries:
        return {"network_block_all": True}
    names = [entry.name for entry in entries if entry.network is None]
    networks = [str(entry.network) for entry in entries if entry.network is not None]
    return {"domain_allow_list": ",".join(names) or None, "network_allow_list": ",".join(networks) or None}


def _state(box: Any) -> str:
    return str(getattr(box.state, "value", box.state) or "unknown")
