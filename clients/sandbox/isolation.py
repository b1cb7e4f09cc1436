"""Whether commands can be walled off on this machine: tried once per process, by running a command as a run does."""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.limits import Limits
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.sandbox.network.allowed_hosts import AllowedHosts
from agent_runner.clients.sandbox.own_user import OwnUsers
from agent_runner.clients.sandbox.programs.groups import handed_over, problem
from agent_runner.clients.sandbox.walls import Walls

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

INSTALL = "Install bubblewrap 0.8 or later, and permit user namespaces (docs/guides/sandbox.md#isolation)."
OWN_USER = "a user of its own"
UNSAFE = "AGENT_RUNNER_SANDBOX_UNSAFE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """`walls` is None if commands are not walled off. Then `reason` says why, and `users` has the user ids for
    sessions, if each session can have its own."""

    walls: Walls | None = None
    users: OwnUsers | None = None
    reason: str = ""

    @property
    def apart(self) -> bool:
        """Whether a session's commands are kept from the worker and from other sessions."""
        return self.walls is not None or self.users is not None

    @property
    def said(self) -> str:
        """The isolation in words, for logs, presence, doctor and the live page."""
        if self.users is not None:
            return f"{OWN_USER}, without walls: {self.reason}"
        if self.walls is None:
            return f"not isolated: {self.reason}"
        if self.walls.allowed is not None:
            return "isolated, with a proxy to some hosts"
        return "isolated, with this machine's network" if self.walls.network else "isolated"


class NotIsolated(Exception):
    """Commands cannot be walled off, and the settings do not allow this worker to run them all the same."""


def isolation_of(settings: "Settings") -> Isolation:
    """The isolation of the local sandbox under these settings. The first call blocks (a tenth of a second): never call
    it on an event loop."""
    network, read_only = settings.sandbox_network == "on", settings.readable_in_sandbox
    hosts = settings.sandbox_allowed_hosts if settings.sandbox_network == "listed" else None
    groups = settings.sandbox_cgroup or handed_over()
    found = _tried(settings.sandbox_bubblewrap, network, read_only, hosts, groups)
    if found.walls is not None or os.geteuid() or OwnUsers.of(settings.sandbox_users) is None:
        return found
    return _with_users(found, settings.sandbox_users, settings.data_dir)


def check_isolation(settings: "Settings") -> Isolation | None:
    """At the start of a worker: None if it offers no local sandbox. Raises NotIsolated where it must not start."""
    if "local" not in settings.offered_sandboxes:
        return None
    if settings.sandbox_cgroup and (why := problem(settings.sandbox_cgroup)):
        raise NotIsolated(f"AGENT_RUNNER_SANDBOX_CGROUP cannot be used: {why} (docs/guides/sandbox.md#limits)")
    found = isolation_of(settings)
    if not found.apart and not settings.is_local and not settings.sandbox_unsafe:
        raise NotIsolated(
            f"agents' commands cannot be walled off here: {found.reason}. {INSTALL} Or set AGENT_RUNNER_SANDBOX=none,"
            f" or {UNSAFE}=1 if every command may do what the worker's user can."
        )
    return found


def limits_of(settings: "Settings") -> Limits:
    return Limits(
        memory_bytes=settings.sandbox_memory_bytes,
        processes=settings.sandbox_processes,
        file_bytes=settings.sandbox_file_bytes,
        open_files=settings.sandbox_open_files,
        cpu_s=settings.sandbox_cpu_s,
        disk_bytes=settings.sandbox_disk_bytes,
    )


@lru_cache
def _with_users(found: Isolation, given: str, data_dir: Path) -> Isolation:
    """The isolation with a user for each session, if that works for directories below `data_dir`."""
    users, probe = OwnUsers.of(given), data_dir / "sandboxes" / f".probe-{os.getpid()}"
    box = LocalSandbox(probe, users=users)
    try:
        result = box.open().try_once("cd && test -w .")
        why = f"they cannot use {probe.parent}: {result.output.strip()}" if result.exit_code else ""
    except SandboxError as error:
        why = str(error)
    finally:
        box.remove()
    if why:
        return replace(found, reason=f"{found.reason}, and sessions have no users of their own ({why})")
    return replace(found, users=users)


@lru_cache
def _tried(bubblewrap: str, network: bool, read_only: tuple[Path, ...], hosts: str | None, groups: str) -> Isolation:
    if sys.platform != "linux":
        return Isolation(reason=f"there is no bubblewrap for {sys.platform}")
    program = shutil.which(bubblewrap)
    if program is None:
        return Isolation(reason=f"bubblewrap ({bubblewrap}) is not installed")
    allowed = None if hosts is None else AllowedHosts.of(hosts)
    walls = Walls(
        bubblewrap=os.path.abspath(program), network=network, allowed=allowed, read_only=read_only, groups=groups
    )
    with tempfile.TemporaryDirectory(prefix="agent-runner-probe-") as directory:
        box = LocalSandbox(Path(directory, "box"), walls=walls)
        try:
            result = box.open().try_once("true")
        except SandboxError as error:
            return Isolation(reason=str(error).removeprefix("commands cannot be walled off: "))
    if result.exit_code:
        return Isolation(reason=f"a command could not be run in it: {result.output.strip()}")
    return Isolation(walls=walls)
