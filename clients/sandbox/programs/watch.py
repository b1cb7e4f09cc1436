"""Measures what a run's processes use together, which limits of single processes cannot bound. Standard library only.

Known limits: it measures several times a second, so a run can be above a limit for a moment. Memory is what processes
have mapped; a shared segment that no process has mapped is not seen. The limits of single processes are firm.
"""

import errno
import os
import time
from collections.abc import Iterable, Mapping, Sequence

LOOK_S = 0.1
DISK_LOOK_S = 0.5
DISK_SHARE = 5
"""Of the time, one part in so many at most goes into measuring large directories."""
SLACK_BYTES = 1 << 20
TOO_DEEP = 1 << 62
"""Stands for a tree that has more levels than a process can have open: it counts as over any quota."""


def usage(directories: Iterable[str]) -> int:
    """Bytes on disk below these directories; links are not followed."""
    blocks = 0

    def lost(error: OSError) -> None:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG):
            raise RecursionError

    try:
        for directory in directories:
            for _, folders, names, fd in os.fwalk(directory, onerror=lost):
                for name in (*folders, *names):
                    try:
                        blocks += os.stat(name, dir_fd=fd, follow_symlinks=False).st_blocks
                    except OSError:
                        continue  # the file has just been removed
    except RecursionError:
        return TOO_DEEP
    return blocks * 512


class Watch:
    """`look(pids)` returns the broken limit in words, or an empty text. `proc` is the /proc with these process ids."""

    def __init__(self, limits: Mapping[str, int], directories: Sequence[str], proc: str = "/proc") -> None:
        self._limits, self._directories, self._proc = limits, list(directories), proc
        self._disk_at = 0.0
        self._ceiling: int | None = None

    def look(self, pids: Sequence[int]) -> str:
        memory, threads = 0, 0
        for pid in pids:
            values = self._fields(f"{pid}/status", ("RssAnon", "RssShmem", "Threads"))
            memory += values["RssAnon"] + values["RssShmem"]
            threads += values["Threads"]
        if (most := self._limits.get("processes", 0)) and threads > most:
            return f"more than {most} processes and threads (AGENT_RUNNER_SANDBOX_PROCESSES)"
        most = self._limits.get("memory", 0) >> 10
        if most and memory > most and self._proportional(pids) > most:
            return too_much_memory(most << 10)
        return self._disk()

    def idle(self) -> None:
        """No command runs: the next one may begin with the disk use that it finds."""
        self._ceiling = None

    def _disk(self) -> str:
        most = self._limits.get("disk", 0)
        now = time.monotonic()
        if not most or now < self._disk_at:
            return ""
        used = usage(self._directories)
        self._disk_at = time.monotonic() + max(DISK_LOOK_S, DISK_SHARE * (time.monotonic() - now))
        if self._ceiling is None:
            # A run that begins above the limit may still remove files.
            self._ceiling = max(most, used)
        if used <= self._ceiling + SLACK_BYTES and used < TOO_DEEP:
            return ""
        return f"more than {shown(most)} on disk (AGENT_RUNNER_SANDBOX_DISK_BYTES)"

    def _proportional(self, pids: Sequence[int]) -> int:
        """Memory in KiB, with shared pages counted once. Slow: read only when the fast sum is too much."""
        total = 0
        for pid in pids:
            values = self._fields(f"{pid}/smaps_rollup", ("Pss_Anon", "Pss_Shmem", "Pss"))
            total += values["Pss_Anon"] + values["Pss_Shmem"] if values["Pss_Anon"] else values["Pss"]
        return total

    def _fields(self, file: str, names: Sequence[str]) -> dict[str, int]:
        found = dict.fromkeys(names, 0)
        try:
            with open(f"{self._proc}/{file}") as lines:
                for line in lines:
                    name, _, value = line.partition(":")
                    if name in found:
                        found[name] = int(value.split()[0])
        except (OSError, ValueError, IndexError):
            return dict.fromkeys(names, 0)  # the process has just ended
        return found


def too_much_memory(most: int) -> str:
    return f"more than {shown(most)} of memory (AGENT_RUNNER_SANDBOX_MEMORY_BYTES)"


def shown(size: int) -> str:
    """A size as text for people."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
