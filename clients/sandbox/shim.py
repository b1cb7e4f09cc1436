"""The program that every sandbox command runs under: `python -I -S shim.py RUN_FD STATUS_FD -- argv...`

Promise: when the run's pipe (RUN_FD, whose only write end the worker holds) reaches end of file, or on SIGTERM, the
command and all of its descendants get SIGKILL; so neither a SIGKILLed worker nor a cancel leaves a tool running.
The command is the leader of a session of its own. The exit code is written to STATUS_FD as decimal text, once, when the
command itself ends (128 + n for signal n); what it left in the background lives on until the run ends.

Standard library only, and executed, never imported: it must start fast and hold nothing of the worker.
On Linux it becomes a child subreaper, so that descendants that left the session are found too; elsewhere only the
command's process group is killed.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Best effort: without it the process group is still killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def start(argv: list[str], inherited: tuple[int, ...]) -> int:
    """Fork and exec the command in a session of its own; 127 or 126 if it cannot be executed, as shells do."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        # Should the shim itself be killed, the command must not outlive it.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(137)
        for fd in inherited:
            os.close(fd)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606  the purpose of this program
    except FileNotFoundError:
        os._exit(127)
    except BaseException:
        os._exit(126)


def descendants(root: int) -> set[int]:
    """Process ids below `root`, read from /proc; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return set()
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                state, ppid = stat.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != b"Z":
            children.setdefault(int(ppid), []).append(int(name))
    found: set[int] = set()
    front = [root]
    while front:
        for child in children.get(front.pop(), ()):
            if child not in found:
                found.add(child)
                front.append(child)
    return found


def kill_tree(leader: int | None) -> None:
    """SIGKILL the command's group and every descendant, until none is left or a second has passed.

    `leader` is None once the command has been reaped: its group id may by then belong to somebody else.
    """
    signal.set_wakeup_fd(-1)
    for _ in range(100):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if leader is not None:
                os.killpg(leader, signal.SIGKILL)
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        select.select([], [], [], 0.01)


def main() -> int:
    run_fd, status_fd = int(sys.argv[1]), int(sys.argv[2])
    argv = sys.argv[sys.argv.index("--") + 1 :]
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    for fd in (wake_read, wake_write):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    stopped: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    leader = start(argv, (run_fd, status_fd, wake_read, wake_write))
    # The command alone holds its output: its reader must see the end when the command ends.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)

    code: int | None = None
    while True:
        ready, _, _ = select.select([run_fd, wake_read], [], [])
        if stopped or run_fd in ready:
            kill_tree(leader if code is None else None)
            return 137
        try:
            while os.read(wake_read, 512):
                pass
        except BlockingIOError:
            pass
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == leader:
                    code = os.waitstatus_to_exitcode(ended[1])
                    code = 128 - code if code < 0 else code
                    try:
                        os.write(status_fd, str(code).encode())
                        os.close(status_fd)
                    except OSError:
                        pass
        except ChildProcessError:
            return code if code is not None else 137


if __name__ == "__main__":
    sys.exit(main())
