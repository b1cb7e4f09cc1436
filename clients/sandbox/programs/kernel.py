"""Kernel calls of the sandbox's programs, with the standard library only: these programs hold no data of the worker.

A command joins the namespaces that `keeper.py` holds by their descriptors, never by a process id: the id may have
passed to another process, whose namespaces are the host's.
"""

import contextlib
import ctypes
import fcntl
import os
import resource
from collections.abc import Mapping

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUTS = 0x04000000
NS_GET_USERNS, NS_GET_PARENT = 0xB701, 0xB702
OOM_SCORE = 500
LAST_CAPABILITY = 63
"""The kernel refuses those that it does not know; there are 41 of them today."""
RLIMITS = {
    "file": resource.RLIMIT_FSIZE,
    "open": resource.RLIMIT_NOFILE,
    "cpu": resource.RLIMIT_CPU,
    # Not the address space: programs reserve more of that than they ever use.
    "memory": resource.RLIMIT_DATA,
    "processes": getattr(resource, "RLIMIT_NPROC", -1),
    "core": resource.RLIMIT_CORE,
}


def prctl(option: int, value: int) -> bool:
    """False if the kernel does not know the option, or refuses it."""
    try:
        return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


def not_dumpable() -> bool:
    """Keep other processes of this user from this one's memory and environment; also no core file is written."""
    return prctl(PR_SET_DUMPABLE, 0)


def die_first() -> None:
    """If the machine runs out of memory, this process and its children are killed before the worker."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(OOM_SCORE))


def setns(fd: int) -> None:
    """Join a namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0):
        raise OSError(ctypes.get_errno(), f"a namespace cannot be joined: {os.strerror(ctypes.get_errno())}")


def unshare(flag: int) -> None:
    """Make a namespace of the kind `flag`. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flag):
        raise OSError(ctypes.get_errno(), f"no namespace of its own: {os.strerror(ctypes.get_errno())}")


def owner_of(namespace: int) -> int:
    """A descriptor of the user namespace that owns this one."""
    return fcntl.ioctl(namespace, NS_GET_USERNS)


def parent_of(namespace: int) -> int:
    """A descriptor of the user namespace that this one was made in."""
    return fcntl.ioctl(namespace, NS_GET_PARENT)


def give_up_privileges() -> None:
    """No program that is executed from here on can get a capability, whatever its file says. Raises OSError."""
    for capability in range(LAST_CAPABILITY + 1):
        if not prctl(PR_CAPBSET_DROP, capability):
            break
    if not prctl(PR_SET_NO_NEW_PRIVS, 1):
        raise OSError("privileges cannot be given up")


def become(user: int) -> None:
    """Become this user for good, with its own group only and no way back to privileges. Raises OSError."""
    give_up_privileges()
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def limit(values: Mapping[str, int]) -> None:
    """Set resource limits, by the names in `RLIMITS`; never above the present hard limits. No core files."""
    for name, value in {**values, "core": 0}.items():
        _, most = resource.getrlimit(RLIMITS[name])
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(RLIMITS[name], (value, value))


def numbers(directory: str = "/proc") -> list[int]:
    """The process ids that a /proc shows; none where there is no /proc."""
    try:
        return [int(name) for name in os.listdir(directory) if name.isdigit()]
    except OSError:
        return []


def inode(path: str) -> int:
    """The inode that tells one namespace from another; 0 if it cannot be read."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
