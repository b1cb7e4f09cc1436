"""One process per role of a stack: its start, its output, its restart and its end.

A role's process is a supervisor (`agent-runner worker`), or a foreign program that the kernel ends with this process
(Flower, Redis on Linux): this process starts it again, so none needs to stand between. Each has a session of its own,
so that Ctrl-C in the terminal reaches only this process. A supervisor reads a pipe that this process holds. When this
process ends, for whatever reason, the pipe closes and the role ends.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from agent_runner.app.dev.process_tree import ProcessTree
from agent_runner.app.dev.tied import PARENT_FD

BANNER = b"STARTUP FAILURE"
KEPT_LINES = 40
FIRST_BACKOFF_S, LAST_BACKOFF_S, HEALTHY_AFTER_S = 0.5, 30.0, 60.0
_FALLBACK = (
    "import sys; del sys.argv[:2]; sys.argv.insert(0, 'agent-runner');"
    " from agent_runner.app.cli.main import main; main()"
)


def command_line(role: str) -> list[str]:
    """The command line that starts a role. It contains `agent-runner <role>`."""
    script = Path(sys.executable).parent / "agent-runner"
    if not script.is_file():
        found = shutil.which("agent-runner")
        if found is None:
            return [sys.executable, "-c", _FALLBACK, "agent-runner", role]
        script = Path(found)
    return [sys.executable, str(script), role]


class Lifeline:
    """A pipe. Every role holds its reading end, only this process holds its writing end."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()

    def close(self) -> None:
        for fd in (self.read_fd, self._write_fd):
            with suppress(OSError):
                os.close(fd)


class RoleProcess:
    """One role's supervisor, started again when it dies. Its output goes to `write`, line by line."""

    def __init__(
        self,
        role: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        lifeline: Lifeline,
        write: Callable[[str, bytes], None],
    ) -> None:
        self.role = role
        self.failed_starts = 0
        self._argv = [*command_line(role), *arguments]
        self._environment = {**environment, PARENT_FD: str(lifeline.read_fd)}
        self._lifeline = lifeline
        self._write = write
        self._tail: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._backoff_s = FIRST_BACKOFF_S
        self._again_at = 0.0
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._started_at = monotonic()
        process = subprocess.Popen(  # noqa: S603 - our own command line
            self._argv,
            env=self._environment,
            pass_fds=[self._lifeline.read_fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._pump = threading.Thread(
            target=self._read, args=(process.stdout,), name=f"output {self.role}", daemon=True
        )
        self._pump.start()
        return process

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self.failed_starts += BANNER in line
                self._tail.append(line)
                self._write(self.role, line)

    def tail(self) -> str:
        """The last lines that it wrote."""
        return b"".join(self._tail).decode(errors="replace").rstrip()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self.process.poll()

    def restart_if_dead(self) -> str:
        """Start a dead process again, after its backoff. Returns a text when it finds the process dead, else empty."""
        code = self.exit_code
        if code is None:
            if monotonic() - self._started_at > HEALTHY_AFTER_S:
                self._backoff_s = FIRST_BACKOFF_S
            return ""
        if not self._again_at:
            self._again_at = monotonic() + self._backoff_s
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            said = f"agent-runner {self.role} ended ({how}); starting it again in {self._backoff_s:g} s"
            self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)
            return said
        if monotonic() >= self._again_at:
            self._again_at = 0.0
            self.process = self._start()
        return ""

    def terminate(self) -> None:
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the supervisor and the rest of its process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self._pump.join(1)


def end_all(processes: Sequence[RoleProcess], *, within_s: float, impatient: Callable[[], bool]) -> None:
    """Send SIGTERM to all, wait for all, then kill those that still run and every process that they started."""
    tree = ProcessTree(process.process.pid for process in processes if process.exit_code is None)
    tree.look()
    for process in processes:
        process.terminate()
    deadline = monotonic() + within_s
    while any(p.exit_code is None for p in processes) and monotonic() < deadline and not impatient():
        sleep(0.05)
        tree.look()
    tree.kill()
    for process in processes:
        process.kill()
