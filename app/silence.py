"""Which of a supervisor's processes are silent: code in C that keeps Python's interpreter to itself stops all of them.

A process writes a line `PID SECONDS` each second: it may be silent for so long from now on. It needs the interpreter
for that, so a process whose interpreter is held cannot. A process that has never written one is not watched. Forked
processes write to the pipe of the one that they come from.

Only time in which a process could have written counts: not what the supervisor itself slept through (a machine that was
suspended, or has far too much to do), and not while the process is stopped by a signal or a debugger.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # a supervisor imports neither
    from collections.abc import Callable

LOOK_S = 1.0
DUMP_WITHIN_S = 5.0
"""After SIGABRT a process writes where its threads are, and ends. One that does not gets SIGKILL."""
SAMPLE_S = 0.3
_CURRENT = b"Current thread"
_FRAME = re.compile(rb'File "(?:.*/)?(.+)", line (\d+) in (.+)')
_PROC = "/proc"
_TICK_S = 0.02
_STOPPED, _ENDED = "Tt", "ZX"


class _Shown:
    __slots__ = ("allowed_s", "silent_s")

    def __init__(self, allowed_s: float) -> None:
        self.allowed_s, self.silent_s = allowed_s, 0.0


class Signs:
    """What one child and the processes that it forks have written to `fd`, which this object closes."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        self._shown: dict[int, _Shown] = {}

    def look(self) -> dict[int, float]:
        """Call it about every `LOOK_S`. The processes that are silent for too long, each once, and for how long."""
        now = time.monotonic()
        passed_s, self._looked_at = min(now - self._looked_at, LOOK_S), now
        heard = self._read()
        self._shown |= heard
        for pid in self._shown.keys() - heard.keys():
            state = _state(pid)
            if state in _ENDED:
                del self._shown[pid]
            elif state not in _STOPPED:
                self._shown[pid].silent_s += passed_s
        return {pid: self._shown.pop(pid).silent_s for pid, shown in list(self._shown.items()) if _is_over(shown)}

    def close(self) -> None:
        """Any thread."""
        with self._lock:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> dict[int, _Shown]:
        heard = {}
        with self._lock, contextlib.suppress(OSError):  # nothing new, or closed
            for line in os.read(self._fd, 1 << 16).splitlines():
                with contextlib.suppress(ValueError):
                    pid, seconds = line.split()
                    heard[int(pid)] = _Shown(float(seconds))
        return heard


def _is_over(shown: _Shown) -> bool:
    return shown.silent_s >= shown.allowed_s


def is_here(pid: int, session: int) -> bool:
    """Whether this is still a process of that session. Else its number may belong to any other process by now."""
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == session
    return False


def busiest_thread(pid: int) -> int:
    """The thread that holds the interpreter, while the others wait for it; 0 where none computes."""
    before = _used(pid)
    time.sleep(SAMPLE_S)
    gained = {thread: used - before.get(thread, 0) for thread, used in _used(pid).items()}
    busiest = max(gained, key=gained.__getitem__, default=0)
    return busiest if gained.get(busiest) else 0


def end(pid: int, *, session: int, thread: int, has_ended: Callable[[], bool]) -> None:
    """End a process of this session, after it has written where its threads are, this one (if any) first."""
    with contextlib.suppress(ProcessLookupError):
        # Python's handler takes the thread that gets the signal for the current one.
        os.kill(thread or pid, signal.SIGABRT)
        until = time.monotonic() + DUMP_WITHIN_S
        while not has_ended() and _state(pid) not in _ENDED and time.monotonic() < until:
            time.sleep(_TICK_S)
        if pid == session:
            os.killpg(pid, signal.SIGKILL)  # its forked processes, too
        elif is_here(pid, session):
            os.kill(pid, signal.SIGKILL)


class Place:
    """Reads what a process writes, line by line. `found`: in what the first thread of a dump was."""

    def __init__(self) -> None:
        self.found = ""
        self._expected = self._next = False

    def expect(self, expected: bool) -> None:
        self.found, self._expected = "", expected

    def read(self, line: bytes) -> None:
        if self._next and (frame := _FRAME.search(line)):
            file, number, function = (part.decode(errors="replace") for part in frame.groups())
            self.found, self._expected = f"{function} ({file}:{number})", False
        self._next = self._expected and line.startswith(_CURRENT)


def silence(silent_s: float, place: Place) -> str:
    """Why a supervisor ended a process, for the reader of an execution."""
    said = f"it showed no sign of life for {silent_s:.0f} s, so its supervisor ended it"
    return f"{said}; it was in {place.found}" if place.found else said


def _used(pid: int) -> dict[int, int]:
    """The processor time of each thread, in ticks. Empty where there is no /proc."""
    used = {}
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"{_PROC}/{pid}/task"):
            fields = _stat(f"{pid}/task/{thread}")
            if len(fields) > 12:
                used[int(thread)] = int(fields[11]) + int(fields[12])
    return used


def _state(pid: int) -> str:
    """Linux' letter for the process; `?` where there is no /proc; `X` for none."""
    if fields := _stat(str(pid)):
        return fields[0].decode()
    return "X" if os.path.exists(f"{_PROC}/self/stat") else "?"


def _stat(which: str) -> list[bytes]:
    """The fields behind the name, which may contain anything."""
    with contextlib.suppress(OSError), open(f"{_PROC}/{which}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
    return []
