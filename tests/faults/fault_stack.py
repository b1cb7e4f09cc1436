"""The stack of one case: its own Redis, server, ports and data directory, with the catalogue's scaled timeouts."""

import contextlib
import itertools
import os
import random
import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.integration.stack import Stack

GRAPHS = Path(__file__).with_name("graphs") / "langgraph.json"
_FIRST_PORT, _LAST_PORT = 12_000, 32_000
_ports = itertools.cycle(random.sample(range(_FIRST_PORT, _LAST_PORT), _LAST_PORT - _FIRST_PORT))
_lock = threading.Lock()


def fresh_port() -> int:
    """A free port that no other case is given, below those that the kernel hands out to clients."""
    with _lock:
        for port in _ports:
            with socket.socket() as listener:
                try:
                    listener.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
    raise AssertionError("no free port")


@dataclass
class FaultStack(Stack):
    """A variable whose value is empty is not set at all."""

    redis_port: int = field(default_factory=fresh_port)
    http_port: int = field(default_factory=fresh_port)
    grpc_port: int = field(default_factory=fresh_port)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        given = {**super().environment({"AGENT_RUNNER_GRAPHS": str(GRAPHS)}), **self.settings, **(extra or {})}
        return {name: value for name, value in given.items() if value}

    def __exit__(self, *failure: Any) -> None:
        """How its processes stop is a part of what is looked at: none is simply ended."""
        for process in self.survivors():  # what a case has stopped must be able to end
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
        self.stop_all()
        super().__exit__(*failure)


def stop(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGSTOP)


def go_on(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGCONT)
