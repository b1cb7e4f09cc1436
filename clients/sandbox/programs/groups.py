"""A control group (version 2) for one run: the kernel bounds the memory and the processes of all its commands together.

A group is made below a base, a directory of the cgroup file system that somebody has handed over to this user: its
processes are all in groups below it, and it passes the controllers `memory` and `pids` on. Commands move themselves
into the group before they become what they are; bubblewrap's own processes stay outside.

Standard library only: the keeper uses it.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Mapping

NEEDED = ("memory", "pids")
DELEGATED = ("user.delegate", "trusted.delegate")
"""The marks that systemd sets on a group that it hands over (`Delegate=yes`)."""
ROOT = "/sys/fs/cgroup"
PREFIX = "agent-runner-"


class Group:
    """The group of one run, with its limits set. `limits`: memory in bytes, processes; 0 or missing: none.

    `procs` is open for writing: whoever writes `0` there moves himself into the group. `events` is open for reading.
    """

    def __init__(self, base: str, limits: Mapping[str, int]) -> None:
        """Raises OSError, whose text says what is missing."""
        _pass_on(base)
        _tidy(base)
        self.path = os.path.join(base, f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}")
        os.mkdir(self.path, 0o755)
        try:
            if limits.get("memory"):
                self._set("memory.max", limits["memory"])
                with contextlib.suppress(OSError):  # a kernel that counts no swap has no such file
                    self._set("memory.swap.max", 0)
                self._set("memory.oom.group", 1)
            if limits.get("processes"):
                self._set("pids.max", limits["processes"])
            self.procs = os.open(os.path.join(self.path, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)
            self.events = os.open(os.path.join(self.path, "memory.events"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.rmdir(self.path)
            raise

    def _set(self, name: str, value: int) -> None:
        with open(os.path.join(self.path, name), "w") as file:
            file.write(str(value))

    def remove(self) -> None:
        """Kill what is left in it, and remove it. A group that still has a dying process is left to `_tidy`."""
        for fd in (self.procs, self.events):
            with contextlib.suppress(OSError):
                os.close(fd)
        with contextlib.suppress(OSError):
            self._set("cgroup.kill", 1)
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


def ran_out(events: int) -> bool:
    """Whether the kernel has killed processes of the group because its memory was used up."""
    try:
        said = os.pread(events, 4096, 0).decode()
    except OSError:
        return False  # the group is gone
    return any(line.startswith("oom_kill ") and int(line.split()[1]) for line in said.splitlines())


def handed_over() -> str:
    """The group above the one of this process, if systemd has handed it over to us; empty if not.

    A service with `Delegate=yes` and `DelegateSubgroup=` has its processes one level below such a group.
    """
    try:
        with open("/proc/self/cgroup") as file:
            own = next((line[3:].strip() for line in file if line.startswith("0::")), "/")
    except OSError:
        return ""
    base = os.path.normpath(f"{ROOT}/{os.path.dirname(own)}")
    if base == ROOT or ".." in own.split("/"):
        return ""
    return base if any(_marked(base, name) for name in DELEGATED) else ""


def problem(base: str) -> str:
    """Why groups cannot be made below this base; empty if they can."""
    try:
        group = Group(base, {"memory": 1 << 30, "processes": 16})
    except OSError as error:
        return str(error.strerror or error)
    group.remove()
    return ""


def _pass_on(base: str) -> None:
    with open(os.path.join(base, "cgroup.controllers")) as file:
        there = file.read().split()
    if missing := [name for name in NEEDED if name not in there]:
        raise OSError(f"{base} has no controller {' and no '.join(missing)}")
    path = os.path.join(base, "cgroup.subtree_control")
    with open(path) as file:
        passed_on = file.read().split()
    if wanted := [f"+{name}" for name in NEEDED if name not in passed_on]:
        try:
            with open(path, "w") as file:
                file.write(" ".join(wanted))
        except OSError as error:
            words = "processes are in it, not below it" if error.errno == errno.EBUSY else error.strerror
            raise OSError(f"{base} does not pass controllers on: {words}") from error


def _tidy(base: str) -> None:
    """Remove the groups of keepers that were killed; one that has processes stays, as the kernel refuses it."""
    for name in os.listdir(base):
        if name.startswith(PREFIX) and not os.path.exists(f"/proc/{name.removeprefix(PREFIX).split('-')[0]}"):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(base, name))


def _marked(path: str, name: str) -> bool:
    try:
        return os.getxattr(path, name) == b"1"
    except (OSError, AttributeError):
        return False
