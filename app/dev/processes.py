"""One process per role of a stack: how it is started, seen to run, restarted and ended.

A role's process is a supervisor (`agent-runner worker`). It leads a session of its own, so that Ctrl-C in the terminal
reaches only us, and it reads a pipe that we hold: whatever ends us, its end ends the role.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO

PARENT_FD = "AGENT_RUNNER_PARENT_FD"
FIRST_BACKOFF_S, LAST_BACKOFF_S, HEALTHY_AFTER_S = 0.5, 30.0, 60.0
_FALLBACK = "import sys; del sys.argv[:2]; sys.argv.insert(0, 'agent-runner'); from app.cli.main import main; main()"


def command_line(role: str) -> list[str]:
    """How to start a role so that `agent-runner <role>` stands in the command line."""
    script = Path(sys.executable).parent / "agent-runner"
    if not script.is_file():
        found = shutil.which("agent-runner")
        if found is None:
            return [sys.executable, "-c", _FALLBACK, "agent-runner", role]
        script = Path(found)
    return [sys.executable, str(script), role]


class Lifeline:
    """A pipe whose reading end every role holds and whose writing end only we do."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()

    def close(self) -> None:
        for fd in (self.read_fd, self._write_fd):
            with suppress(OSError):
                os.close(fd)


class RoleProcess:
    """One role's supervisor, and its successors when it dies."""

    def __init__(
        self,
        role: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        lifeline: Lifeline,
        *,
        log: Path | None,
    ) -> None:
        self.role = role
        self._argv = [*command_line(role), *arguments]
        self._environment = {**environment, PARENT_FD: str(lifeline.read_fd)}
        self._lifeline = lifeline
        self._log = log
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.unlink(missing_ok=True)
        self._backoff_s = FIRST_BACKOFF_S
        self._again_at = 0.0
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._started_at = monotonic()
        with self._opened_log() as output:
            return subprocess.Popen(
                self._argv,
                env=self._environment,
                pass_fds=[self._lifeline.read_fd],
                stdin=subprocess.DEVNULL,
                # stdout of `dev` and `run` belongs to READY and to the answer.
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @contextmanager
    def _opened_log(self) -> Iterator[IO[bytes] | int]:
        if self._log is None:
            yield sys.stderr.fileno()
            return
        with self._log.open("ab") as file:
            yield file

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self.process.poll()

    def restart_if_dead(self) -> str:
        """Start it again when its time has come; says what happened, or nothing."""
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
        """The supervisor and what is left of its session."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)


def end_all(processes: Sequence[RoleProcess], *, within_s: float) -> None:
    """Ask all of them at once, wait for all, kill those that are still there."""
    for process in processes:
        process.terminate()
    deadline = monotonic() + within_s
    while any(p.exit_code is None for p in processes) and monotonic() < deadline:
        sleep(0.05)
    for process in processes:
        process.kill()
