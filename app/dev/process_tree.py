"""All processes below this one, also those in a session of their own. The end of a stack ends all of them.

A process whose parent has ended is no longer in the tree. So the tree is read again and again while the parents run,
and each process that was found is remembered by its number and the time of its start. The time is needed because the
system uses numbers again.
"""

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


class ProcessTree:
    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = frozenset(roots)
        self._known: dict[int, str] = {}

    def look(self) -> None:
        """Remember all processes below the roots, and below the processes that are remembered already."""
        running = _running()
        self._known = {pid: began for pid, began in self._known.items() if running.get(pid, (0, ""))[1] == began}
        below = {pid for pid in (*self._roots, *self._known) if pid in running}
        grown = True
        while grown:
            new = {pid for pid, (parent, _) in running.items() if parent in below} - below
            below |= new
            grown = bool(new)
        self._known |= {pid: running[pid][1] for pid in below}

    def kill(self) -> None:
        """Kill all remembered processes. Done twice, for processes that started during the first look."""
        for _ in range(2):
            self.look()
            for pid in self._known:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def _running() -> dict[int, tuple[int, str]]:
    """Parent and start of every process, by its number; zombies left out."""
    return _of_proc() if (_PROC / "self/stat").exists() else _of_ps()


def _of_proc() -> dict[int, tuple[int, str]]:
    found = {}
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            with suppress(OSError):
                # The name, in brackets, may contain anything. The fields are counted from its end.
                fields = (_PROC / entry / "stat").read_bytes().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    found[int(entry)] = int(fields[1]), fields[19].decode()
    return found


def _of_ps() -> dict[int, tuple[int, str]]:
    with suppress(OSError, subprocess.CalledProcessError):
        told = subprocess.run(["ps", "-axo", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=True)  # noqa: S607
        rows = (line.split(None, 3) for line in told.stdout.splitlines())
        return {int(row[0]): (int(row[1]), row[3]) for row in rows if len(row) == 4 and not row[2].startswith("Z")}
    return {}
