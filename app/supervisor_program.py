"""A supervisor's program: `python -P -m agent_runner.app.supervisor_program --as "agent-runner worker" FD`.

The command `agent-runner worker` reads the settings and then becomes this program, with the same process id. So what
only the settings need is not in memory for as long as the child lives. What to supervise comes through a pipe: there is
a key in it, and a command line can be read by everybody.
"""

from __future__ import annotations

import json
import os
import sys

from agent_runner.clients.process.import_path import PYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:  # see supervisor.py
    from collections.abc import Callable, Sequence
    from typing import NoReturn
    from urllib.request import OpenerDirector

MODULE = "agent_runner.app.supervisor_program"
MOST_BYTES = 1 << 16


class Supervised:
    """What a supervisor is told. Empty: none."""

    def __init__(
        self,
        *,
        role: str,
        argv: list[str],
        queue: str,
        http_url: str,
        api_key: str,
        tls_ca: str,
        redis_url: str,
        log_level: str,
        log_format: str,
    ) -> None:
        self.role, self.argv, self.queue = role, argv, queue
        self.http_url, self.api_key, self.tls_ca, self.redis_url = http_url, api_key, tls_ca, redis_url
        self.log_level, self.log_format = log_level, log_format


def become(supervised: Supervised) -> NoReturn:
    """Turn this process into the supervisor."""
    read_fd, write_fd = os.pipe()
    told = json.dumps(vars(supervised)).encode()
    assert len(told) < MOST_BYTES, "a pipe holds this much without a reader"
    os.write(write_fd, told)
    os.close(write_fd)
    os.set_inheritable(read_fd, True)
    argv = [*PYTHON, "-m", MODULE, "--as", f"agent-runner {supervised.role}", str(read_fd)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(argv[0], argv)  # noqa: S606 - our own program


def told_by(fd: int) -> Supervised:
    """What the command wrote that has become this program."""
    with os.fdopen(fd, "rb") as pipe:
        return Supervised(**json.loads(pipe.read()))


def main(arguments: Sequence[str]) -> int:
    from agent_runner.app.supervisor import supervise
    from agent_runner.clients.sandbox.programs.kernel import not_dumpable

    not_dumpable()  # a new program can be read again
    told = told_by(int(arguments[-1]))
    return supervise(
        told.role,
        told.argv,
        queue=told.queue,
        http_url=told.http_url,
        api_key=told.api_key,
        opener=_opener(told.tls_ca),
        detour=_detour(told) if told.queue else None,
        on_silent=_log_of_silence(told) if told.queue else None,
    )


def _opener(tls_ca: str) -> Callable[[], OpenerDirector]:
    def make() -> OpenerDirector:
        from pathlib import Path

        from agent_runner.clients.backend.tls import direct_opener

        return direct_opener(Path(tls_ca) if tls_ca else None)

    return make


def _detour(told: Supervised) -> Callable[[bytes], None]:
    def leave_in_redis(report: bytes) -> None:
        from agent_runner.clients.backend.exit_reports import leave

        leave(told.redis_url, told.queue, report)

    return leave_in_redis


def _log_of_silence(told: Supervised) -> Callable[[int, float, str], None]:
    """Only workers run code of users."""

    def tell(pid: int, silent_s: float, where: str) -> None:
        from agent_runner.clients.process.logs import set_up_logging
        from agent_runner.status.event_logger import event_logger

        set_up_logging(told.log_level, told.log_format)
        log = event_logger(MODULE)
        log.critical("worker.silent", role=told.role, pid=pid, silent_s=round(silent_s), where=where or "unknown")

    return tell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
