"""A run's namespaces, as the worker holds them: their descriptors, and the program that keeps them (`keeper.py`)."""

import contextlib
import json
import os
import socket
import subprocess
from typing import Any

from agent_runner.clients.sandbox.network.allowed_hosts import AllowedHosts
from agent_runner.clients.sandbox.network.proxy import Egress
from agent_runner.clients.sandbox.programs import groups, kernel
from agent_runner.clients.sandbox.programs import start as programs
from agent_runner.clients.sandbox.programs.watch import too_much_memory

START_S = 15.0
OWN_PROCESSES = 2
"""bubblewrap's init and the anchor."""
MESSAGE_BYTES, MOST_DESCRIPTORS = 64 << 10, 16


class WallsFailed(OSError):
    """The namespaces could not be made; the text says why."""


class Namespaces:
    """The namespaces of one run; making them blocks. `namespaces`: descriptor by name. `init`: the process id of the
    first process in the pid namespace."""

    def __init__(self, told: dict[str, Any], run_fd: int) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.process: subprocess.Popen[bytes] = programs.start(
                "keeper", told, (run_fd, theirs.fileno()), output=subprocess.DEVNULL
            )
        finally:
            theirs.close()
        self._channel.settimeout(START_S)
        try:
            said, fds = self._receive()
        except TimeoutError:
            said, fds = {"failed": f"nothing was heard of it for {START_S:g} s"}, []
        names = said.get("up", ())
        self.namespaces = dict(zip(names, fds, strict=False))
        self._events: int | None = self.namespaces.pop("events", None)
        self._memory = int(told["limits"].get("memory", 0))
        self.listener = socket.socket(fileno=fds[len(names)]) if len(fds) > len(names) else None
        """Of the run's network, if it was asked for."""
        self.way_out: Egress | None = None
        self.init = int(said.get("init", 0))
        self.used = int(said.get("used", 0))
        """Bytes on disk when it began, with what a command has locked."""
        self._broken = ""
        self._channel.settimeout(0)
        if not self.namespaces:
            self.end()
            raise WallsFailed(said.get("failed") or "the program that keeps them ended at once")

    def let_out(self, allowed: AllowedHosts) -> None:
        """Serve the run's commands as their proxy, until `let_go`."""
        if self.listener is not None:
            self.way_out = Egress(self.listener, allowed)

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        data, fds, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, MOST_DESCRIPTORS)
        for fd in fds:
            os.set_inheritable(fd, False)
        return (json.loads(data) if data else {}), fds

    @property
    def alive(self) -> bool:
        return not self.broken and self.process.poll() is None

    @property
    def broken(self) -> str:
        """The limit, in words, for which all processes of the run were killed; empty if there is none."""
        with contextlib.suppress(OSError):
            if not self._broken and self._events is not None and groups.ran_out(self._events):
                self._broken = too_much_memory(self._memory)
            if not self._broken:
                self._broken = self._receive()[0].get("broken", "")
        return self._broken

    @property
    def busy(self) -> bool:
        """Whether there are other processes than bubblewrap's init and the anchor."""
        return len(kernel.numbers(f"/proc/{self.init}/root/proc")) > OWN_PROCESSES

    def end(self) -> None:
        """End all processes of the run and wait for them. Idempotent; blocking, for a moment."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.let_go()

    def let_go(self) -> None:
        """Close the descriptors; the processes live on until the run's pipe ends."""
        while self.namespaces:
            os.close(self.namespaces.popitem()[1])
        if self._events is not None:
            os.close(self._events)
            self._events = None
        if self.way_out is not None:
            self.way_out.close()
        elif self.listener is not None:
            self.listener.close()
        self._channel.close()
