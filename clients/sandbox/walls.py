"""The command line of bubblewrap: what a command sees when it is walled off.

The session's directory and the entries that the workspace shows are writable. The system's programs, the worker's
Python and the paths in `AGENT_RUNNER_SANDBOX_READ_ONLY` are readable. Nothing else of the host is there: the list says
what is let in, so that anything forgotten stays outside.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent_runner.clients.sandbox.network.allowed_hosts import AllowedHosts

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_OF_THE_SYSTEM = frozenset({"usr", "etc", "proc", "dev", "sys", "boot", "run", *SYSTEM})
"""Nothing below these directories of the root is let in as a user's entry."""
ETC = (
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "debian_version", "fonts", "gai.conf",
    "host.conf", "inputrc", "java", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime",
    "lsb-release", "magic", "mime.types", "nsswitch.conf", "os-release", "perl", "pki/ca-trust", "pki/tls/certs",
    "profile", "protocols", "python3", "services", "shells", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
)  # fmt: skip
"""What programs need of /etc to work. No passwords, no keys, nobody's configuration."""
ETC_OF_NETWORK = ("hosts", "resolv.conf")
NOT_BESIDE_PYTHON = (".condarc", ".env", ".netrc", ".pypirc", "pip.conf", "secrets")
"""Files that may hold somebody's password: a Python with one of them at its top is not shown."""
HIDDEN_IN_PROC = (
    "acpi", "asound", "fs", "iomem", "ioports", "kallsyms", "kcore", "keys", "kpagecgroup", "kpagecount", "kpageflags",
    "latency_stats", "mtrr", "sched_debug", "scsi", "slabinfo", "timer_list", "timer_stats", "vmallocinfo",
)  # fmt: skip
INSIDE_UID = 1000
MEMORY_FILES_BYTES = 64 << 20
"""Of each file system that lies in memory."""
TMP = Path("/tmp")  # noqa: S108
FIXED = (
    "--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
    "--hostname", "sandbox", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """How commands are walled off. `bubblewrap` is the path of the program."""

    bubblewrap: str
    network: bool = False
    allowed: AllowedHosts | None = None
    """Hosts that commands reach through the worker's proxy, without a network of their own; None: there is no proxy."""
    read_only: tuple[Path, ...] = ()
    groups: str = ""
    """The directory of the cgroup file system below which each run gets a control group; empty: none."""

    def command_line(self, root_dir: Path, shown: Iterable[Path]) -> list[str]:
        """Without the program to run. `root_dir` holds `workspace`, `tmp` and `etc`; `shown` are the user's entries.

        Writable paths are mounted last, and nothing is mounted below them, because a command could have put a link
        there.
        """
        work_dir = root_dir / "workspace"
        # A path that was removed since would make the whole command line fail.
        shown = _outermost(path for path in shown if path.exists())
        line = [self.bubblewrap, *FIXED, *([] if self.network else ["--unshare-net"])]
        line += ["--uid", str(uid()), "--gid", str(gid()), *_system(), *_etc(self.network)]
        for name in ("passwd", "group", *(() if self.network else ("hosts",))):
            line += ["--ro-bind", str(root_dir / "etc" / name), f"/etc/{name}"]
        line += ["--proc", "/proc", "--dev", "/dev", "--size", str(MEMORY_FILES_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108
        line += ["--remount-ro", "/dev", *_masked_proc()]
        if self.own_tmp(root_dir, shown):
            line += ["--bind", str(root_dir / "tmp"), str(TMP)]
        else:
            line += ["--size", str(MEMORY_FILES_BYTES), "--tmpfs", str(TMP), *_bind("--bind", root_dir / "tmp")]
        for path in self.readable(root_dir):
            line += _bind("--ro-bind", path)
        for path in (*shown, work_dir):
            line += _bind("--bind", path)
        return [*line, "--remount-ro", "/"]

    def own_tmp(self, root_dir: Path, shown: Iterable[Path]) -> bool:
        """Whether the session's temporary directory can be /tmp: not if another path to mount lies below /tmp."""
        return not any(path.is_relative_to(TMP) for path in (root_dir, *shown, *self.readable(root_dir)))

    def path(self, given: str, root_dir: Path) -> str:
        """PATH with the worker's Python at its end: the user's own entry for it may lie in a directory that is not let
        in."""
        programs = [str(prefix / "bin") for prefix in reversed(_python(root_dir))]
        return ":".join(dict.fromkeys([*given.split(":"), *programs]))

    def readable(self, root_dir: Path) -> list[Path]:
        """The readable paths besides the system's."""
        return [path for path in (*_python(root_dir), *self.read_only) if path.exists()]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(one) for one in found):
            found.append(path)
    return found


def uid() -> int:
    """The user id inside. Never 0, because programs would believe that they may do more than they can."""
    return os.getuid() or INSIDE_UID


def gid() -> int:
    return os.getgid() or INSIDE_UID


def write_etc(root_dir: Path, home: Path) -> None:
    """Write the files with the names of the sandbox's one user. Raises OSError."""
    etc = root_dir / "etc"
    etc.mkdir(mode=0o700, exist_ok=True)
    (etc / "passwd").write_text(f"agent:x:{uid()}:{gid()}::{home}:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (etc / "group").write_text(f"agent:x:{gid()}:\nnogroup:x:65534:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost sandbox\n::1 localhost\n")


def may_show(path: Path, kept_out: Iterable[Path]) -> bool:
    """Whether a user's entry may be let in: a file or a directory that is no part of the system and contains no path of
    `kept_out`."""
    if not (path.is_file() or path.is_dir()):
        return False  # a socket leads to a process of the host
    inside_system = len(path.parts) < 2 or path.parts[1] in _OF_THE_SYSTEM
    return not inside_system and not any(one.is_relative_to(path) for one in kept_out)


def _system() -> list[str]:
    line = _bind("--ro-bind", Path("/usr"))
    for name in SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            line += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            line += _bind("--ro-bind", path)
    return line


def _etc(network: bool) -> list[str]:
    line = []
    for name in (*ETC, *(ETC_OF_NETWORK if network else ())):
        path = Path("/etc", name)
        if path.exists():
            # The target of a link may not exist inside, so the target itself is let in under the link's name.
            line += ["--ro-bind", str(path.resolve()), str(path)]
    return line


def _masked_proc() -> list[str]:
    """Hide the parts of /proc that show facts of the machine, or that their owner can change: with a worker of root,
    commands would be that owner."""
    line = []
    for name in HIDDEN_IN_PROC:
        path = Path("/proc", name)
        if path.is_dir():
            line += ["--tmpfs", str(path), "--remount-ro", str(path)]
        elif path.exists():
            line += ["--ro-bind", os.devnull, str(path)]
    return line


def _python(root_dir: Path) -> list[Path]:
    """The worker's Python, unless it is the system's: commands can use what the user has installed for the worker."""
    base, venv = Path(sys.base_prefix), Path(sys.prefix)
    library = base / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "os.py"
    found = [base] if library.exists() else []
    found += [venv] if venv != base and (venv / "pyvenv.cfg").is_file() else []
    return [path for path in found if not path.is_relative_to("/usr") and _is_plain(path, root_dir)]


def _is_plain(python: Path, root_dir: Path) -> bool:
    """Whether this is only a Python: neither the home nor the session's directory is in it, nor a file that may be
    secret."""
    inside = any(kept.is_relative_to(python) for kept in (root_dir, Path(os.path.expanduser("~"))))
    return not inside and not any((python / name).exists() for name in NOT_BESIDE_PYTHON)


def _bind(kind: str, path: Path) -> list[str]:
    return [kind, str(path), str(path)]
