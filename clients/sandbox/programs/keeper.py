"""Holds the namespaces of one run: `main RUN_FD SOCKET_FD`, with its input on stdin (marshal): argv, limits,
directories, proxy_port, group (the base of control groups, or empty).

Promise: all processes of a run are in one pid namespace, which ends with the run: when the run's pipe (RUN_FD, whose
only write end the worker holds) reaches end of file, on SIGTERM, when a limit is broken, and when this program is
killed.

It sends one JSON object per message over the socket. The first is `{"up": [names]}` with one descriptor per name; with
a PROXY_PORT one more descriptor follows, a socket that listens on that port in the run's network. With a GROUP the
names `group` and `events` are among them: `cgroup.procs` and `memory.events` of a control group for the run. After a
failure the first is `{"failed": words}` instead. When a limit is broken it sends `{"broken": words}`. When this program
has ended, all processes of the run are gone.

It is executed, never imported by the worker; standard library only.
"""

import contextlib
import json
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
from typing import Any

from agent_runner.clients.sandbox.programs import groups, kernel
from agent_runner.clients.sandbox.programs.watch import LOOK_S, Watch, usage

START_S = 10.0
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
IN_REPORT = {name: f"{name}-namespace" for name in NAMESPACES}
"""As bubblewrap names them in what it says with --info-fd."""
ANCHOR = ("/bin/sh", "-c", "echo up; read -r _")
"""Keeps the namespaces while no command runs. It says `up` once everything is mounted: nobody may join before."""
OWN = 2
"""Processes of a run that has no command: bubblewrap's init and the anchor."""


class _Failed(Exception):
    pass


class _Walls:
    """A bubblewrap process with the anchor in it, and descriptors of its namespaces."""

    def __init__(self, argv: list[str]) -> None:
        info_read, info_write = os.pipe()
        try:
            self.bwrap = subprocess.Popen(  # noqa: S603 - the command line is made by the worker
                [*argv, "--info-fd", str(info_write), "--", *ANCHOR],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(info_write,),
                env={},
            )
        except OSError as error:
            raise _Failed(f"{argv[0]} cannot be executed: {error.strerror}") from error
        finally:
            os.close(info_write)
        assert self.bwrap.stdout is not None
        self._wait_until_up(self.bwrap.stdout.fileno())
        with open(info_read) as said:
            report: dict[str, int] = json.load(said)
        self.init = report["child-pid"]
        self.pidfd = os.pidfd_open(self.init)
        self.namespaces = self._open(report)

    def _wait_until_up(self, fd: int) -> None:
        if select.select([fd], [], [], START_S)[0] and os.read(fd, 16) == b"up\n":
            return
        late = self.bwrap.poll() is None and not select.select([fd], [], [], 0)[0]
        if late:
            self.bwrap.kill()
        _, errors = self.bwrap.communicate()
        ended = f"bubblewrap was not ready within {START_S:g} s" if late else "bubblewrap ended at once"
        words = errors.decode(errors="replace").strip() or f"{ended} (exit code {self.bwrap.returncode})"
        raise _Failed(" ".join(words.split())[-400:])

    def _open(self, report: dict[str, int]) -> dict[str, int]:
        """Open the namespaces and compare their inodes with bubblewrap's report, because the process id may have passed
        to another process."""
        opened = {}
        for name in NAMESPACES:
            if (expected := report.get(IN_REPORT[name])) is None:
                continue
            fd = os.open(f"/proc/{self.init}/ns/{name}", os.O_RDONLY)
            if os.fstat(fd).st_ino != expected:
                raise _Failed(f"the {name} namespace is not the one that was made")
            opened[name] = fd
        if not {"mnt", "pid"} <= set(opened):
            raise _Failed("bubblewrap has not made the namespaces that it was asked for")
        outer = kernel.owner_of(opened["mnt"])
        inner = os.open(f"/proc/{self.init}/ns/user", os.O_RDONLY)
        if os.fstat(inner).st_ino != os.fstat(outer).st_ino:
            if os.fstat(kernel.parent_of(inner)).st_ino != os.fstat(outer).st_ino:
                raise _Failed("the user namespace is not the one that was made")
            opened["inner"] = inner
        return {"outer": outer, **opened}

    @property
    def proc(self) -> str:
        """A /proc that shows only the run's own processes."""
        return f"/proc/{self.init}/root/proc"

    def end(self) -> None:
        """SIGKILL to pid 1; returns when the kernel has ended every process of the namespace."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        select.select([self.pidfd], [], [])
        self.bwrap.kill()
        self.bwrap.wait()


def main(run_fd: int, socket_fd: int) -> int:
    told = marshal.load(sys.stdin.buffer)  # noqa: S302  by the worker, for this program alone
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    stop_read, stop_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(stop_write, b"."))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    channel = socket.socket(fileno=socket_fd)
    try:
        walls = _Walls(told["argv"])
    except (_Failed, OSError, ValueError, KeyError) as failure:
        _say(channel, {"failed": str(failure) or type(failure).__name__})
        return 1
    group: groups.Group | None = None
    if told["group"]:
        # Its absence is no failure: a worker that needs groups has tried them when it started.
        with contextlib.suppress(OSError):
            group = groups.Group(told["group"], told["limits"])
            walls.namespaces |= {"group": group.procs, "events": group.events}
    names = list(walls.namespaces)
    try:
        # From here on it can read files that a command has locked, and has no power beyond this sandbox.
        kernel.setns(walls.namespaces["outer"])
        fds = [walls.namespaces[name] for name in names]
        told_at_start = {"up": names, "init": walls.init, "used": usage(told["directories"])}
        listener = _listener(walls.namespaces["net"], told["proxy_port"]) if told["proxy_port"] else None
        _say(channel, told_at_start, [*fds, *([listener.fileno()] if listener else [])])
        if listener:
            listener.close()
        _keep(walls, told, channel, (run_fd, stop_read))
    finally:
        walls.end()
        if group is not None:
            group.remove()
    return 0


def _listener(net: int, port: int) -> socket.socket:
    """A socket that listens in the run's network; the worker serves it. This program stays in that network, too."""
    kernel.setns(net)
    return socket.create_server(("127.0.0.1", port), backlog=128)


def _keep(walls: _Walls, told: dict[str, Any], channel: socket.socket, ends: tuple[int, int]) -> None:
    """Returns when the run ends, the namespace ends by itself, or a limit is broken, which the worker is told first."""
    watch = Watch(told["limits"], told["directories"], walls.proc)
    while True:
        ready, _, _ = select.select([*ends, walls.pidfd], [], [], LOOK_S)
        if ready:
            return
        pids = kernel.numbers(walls.proc)
        if len(pids) <= OWN:
            watch.idle()
        elif words := watch.look(pids):
            _say(channel, {"broken": words})
            return


def _say(channel: socket.socket, what: dict[str, Any], fds: list[int] | None = None) -> None:
    with contextlib.suppress(OSError):  # the worker is gone, so the run's pipe has ended, too
        socket.send_fds(channel, [json.dumps(what).encode()], fds or [])
