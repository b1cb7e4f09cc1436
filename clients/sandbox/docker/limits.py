"""What a session's container is made with: limits, no privileges, no network unless a setting names one."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_runner.clients.sandbox.docker.containers import KEEPER_USER, Shape
from agent_runner.clients.sandbox.limits import Limits
from agent_runner.clients.sandbox.walls import MEMORY_FILES_BYTES, TMP

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

OWN_PROCESSES = 4
"""The keeper's two, a command's shell, and the program that kills."""


def shape_of(settings: "Settings", limits: Limits, root_dir: Path, shown: Iterable[Path]) -> Shape:
    """`root_dir`: the session's directory; `shown`: the user's entries, at the same paths inside."""
    shown = [path for path in sorted(set(shown)) if path.exists()]
    writable = [root_dir / "workspace", root_dir / "tmp", *shown]
    mounts = [_bind(path, path) for path in writable]
    mounts += [_bind(root_dir / "etc" / name, Path("/etc", name), read_only=True) for name in ("passwd", "group")]
    in_files = own_tmp(root_dir, shown)
    if in_files:
        mounts.append(_bind(root_dir / "tmp", TMP))
    memory = {"Memory": limits.memory_bytes, "MemorySwap": limits.memory_bytes} if limits.memory_bytes else {}
    host_config: dict[str, Any] = {
        **memory,
        "Mounts": mounts,
        "Tmpfs": {} if in_files else {str(TMP): f"rw,mode=1777,size={MEMORY_FILES_BYTES}"},
        "ShmSize": MEMORY_FILES_BYTES,
        "NetworkMode": settings.sandbox_docker_network,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": limits.processes + OWN_PROCESSES if limits.processes else None,
        "NanoCpus": int(settings.sandbox_docker_cpus * 1e9),
        "Ulimits": _ulimits(limits),
        "OomScoreAdj": 500,
        "IpcMode": "private",
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
        **({"Runtime": settings.sandbox_docker_runtime} if settings.sandbox_docker_runtime else {}),
    }
    return Shape(image=settings.sandbox_docker_image, user=f"{KEEPER_USER}:{KEEPER_USER}", host_config=host_config)


def own_tmp(root_dir: Path, shown: Iterable[Path]) -> bool:
    """Whether the session's temporary directory is /tmp: not if something else is mounted below it."""
    return not any(path.is_relative_to(TMP) for path in (root_dir, *shown))


def commands_user() -> int:
    """The user that commands run as: the worker's, so that its file tools can use what they make. For a worker of root
    one that nobody else is."""
    return os.geteuid() or KEEPER_USER - 1


def _ulimits(limits: Limits) -> list[dict[str, Any]]:
    named = {
        "core": 0,
        "fsize": limits.file_bytes or None,
        "nofile": limits.open_files or None,
        "cpu": limits.cpu_s or None,
        "data": limits.memory_bytes or None,
    }
    return [{"Name": name, "Soft": value, "Hard": value} for name, value in named.items() if value is not None]


def _bind(here: Path, inside: Path, *, read_only: bool = False) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(here), "Target": str(inside), "ReadOnly": read_only}
