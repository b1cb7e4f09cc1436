"""The program that every sandbox command runs under: `main RUN_FD STATUS_FD`, with its input on stdin (marshal):

    argv, env, cwd, umask      the command
    rlimits                    limits of each of its processes, by the names in `kernel.RLIMITS`
    user                       the user and group id to run it as, for a worker of root; 0: the worker's own
    join                       descriptors of the namespaces to run it in, by name; empty: in those of the worker;
                               `group`: of cgroup.procs of the control group to run it in
    watch, directories         without namespaces: limits and directories to watch (with them, the keeper does it)
    input, errors              for a service: descriptors of its standard input and error output; else it reads nothing,
                               and both of its outputs are this program's

Promise: when the run's pipe (RUN_FD, whose only write end the worker holds) reaches end of file, or on SIGTERM, the
command and all processes that it started get SIGKILL. The exit code is written to STATUS_FD once, as decimal text, when
the command itself ends (128 + n for signal n); if a limit was broken, its text follows. Background processes of the
command live on until the run ends.

The processes of a command are recognised by their own UTS namespace, which none of them can leave. Without namespaces,
on Linux, this program becomes a child subreaper and looks for descendants; elsewhere only the process group is killed.

Standard library only. The worker executes this program and never imports it, so it holds no data of the worker. It does
not run with the command's environment: a variable that changes what a program loads would change this program, outside
the walls.
"""

import contextlib
import errno
import marshal
import os
import select
import signal
import sys

from agent_runner.clients.sandbox.programs import kernel
from agent_runner.clients.sandbox.programs.watch import Watch

TYPE_CHECKING = False  # every command waits for these imports
if TYPE_CHECKING:
    from typing import Any

WATCH_EVERY_S = 0.5
KILLED = 137


def start(told: "dict[str, Any]", inside: bool) -> int:
    """Fork and exec the command in a session of its own. It exits with 127 or 126 if it cannot be executed, as in
    shells."""
    alive_read, alive_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(alive_read)
        return pid  # `alive_write` stays open as long as this program lives
    try:
        os.close(alive_write)
        if "errors" in told:
            os.dup2(told["errors"], 2)
        os.setsid()
        kernel.die_first()
        if (group := told["join"].get("group")) is not None:
            os.write(group, b"0")
        if inside:
            enter(told["join"])
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.umask(told["umask"])
        os.chdir(told["cwd"])
        os.dup2(told["input"] if "input" in told else os.open(os.devnull, os.O_RDONLY), 0)
        kernel.limit(told["rlimits"])
        if told["user"]:
            kernel.become(told["user"])
        # If this program itself is killed, the command must end, too.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([alive_read], [], [], 0)[0]:
            os._exit(KILLED)
        os.execvpe(told["argv"][0], told["argv"], told["env"])  # noqa: S606  the purpose of this program
    except FileNotFoundError:
        os._exit(127)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"the command could not be started: {error}\n".encode())
        os._exit(126)


def enter(namespaces: dict[str, int]) -> None:
    """Join the remaining namespaces; the user, UTS (the tag) and pid namespaces were joined before the fork."""
    host = os.stat("/")
    for name in ("mnt", "net", "ipc", "cgroup"):
        if name in namespaces:
            kernel.setns(namespaces[name])
    root = os.stat("/")
    if (root.st_dev, root.st_ino) == (host.st_dev, host.st_ino):
        raise OSError("it would have run outside of its sandbox")
    if "inner" in namespaces:
        kernel.setns(namespaces["inner"])
    kernel.give_up_privileges()


def join(namespaces: dict[str, int]) -> int:
    """Join the namespaces in which the command is forked. Returns the tag by which all its processes are found."""
    before = kernel.inode("/proc/self/ns/uts")
    kernel.setns(namespaces["outer"])
    kernel.setns(namespaces["uts"])
    kernel.unshare(kernel.CLONE_NEWUTS)
    kernel.setns(namespaces["pid"])
    tag = kernel.inode("/proc/self/ns/uts")
    if tag in (0, before, os.fstat(namespaces["uts"]).st_ino):
        raise OSError("the command could not be told from others")
    return tag


def tagged(tag: int) -> list[int]:
    """Descriptors of the processes with this tag, except this one."""
    found = []
    for pid in kernel.numbers():
        if pid == os.getpid():
            continue
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        # Read while the descriptor is open: the process id cannot pass to another process in between.
        if kernel.inode(f"/proc/{pid}/ns/uts") == tag:
            found.append(fd)
        else:
            os.close(fd)
    return found


def descendants(root: int) -> set[int]:
    """Process ids below `root`, read from /proc; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for pid in kernel.numbers():
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:
                state, ppid = stat.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != b"Z":
            children.setdefault(int(ppid), []).append(pid)
    found: set[int] = set()
    front = [root]
    while front:
        for child in children.get(front.pop(), ()):
            if child not in found:
                found.add(child)
                front.append(child)
    return found


def kill_all(leader: int | None, tag: int) -> None:
    """SIGKILL all processes of the command, until none is left or a second has passed.

    `leader` is None once the command has been reaped: its group id may then belong to other processes.
    """
    signal.set_wakeup_fd(-1)
    for _ in range(100):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if leader is not None:
                os.kill(leader, signal.SIGKILL) if tag else os.killpg(leader, signal.SIGKILL)
        left = kill_tagged(tag) if tag else kill_descendants()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            if not left:
                return
        select.select([], [], [], 0.01)


def kill_tagged(tag: int) -> int:
    """SIGKILL all processes with this tag. Returns how many there were."""
    found = tagged(tag)
    for fd in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
    return len(found)


def kill_descendants() -> int:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return 0  # orphans become children of this process, and `kill_all` waits for its children


def refuse(status_fd: int, error: OSError, status: str = "126") -> int:
    with contextlib.suppress(OSError):
        os.write(2, f"the command could not be started: {error}\n".encode())
        os.write(status_fd, status.encode())
    return 126


def main(run_fd: int, status_fd: int) -> int:
    told = marshal.load(sys.stdin.buffer)  # noqa: S302  by the worker, for this program alone
    namespaces: dict[str, int] = told["join"]
    own = [told[name] for name in ("input", "errors") if name in told]
    for fd in (run_fd, status_fd, *namespaces.values(), *own):
        os.set_inheritable(fd, False)
    wake_read, wake_write = os.pipe()
    for fd in (wake_read, wake_write):
        os.set_blocking(fd, False)
    stopped: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    tag = 0
    try:
        if namespaces:
            tag = join(namespaces)
        else:
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        leader = start(told, bool(namespaces))
    except OSError as error:
        # ENOMEM: the pid namespace has just ended, and everything in it was killed.
        return refuse(status_fd, error, "gone" if namespaces and error.errno == errno.ENOMEM else "126")
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    os.kill(os.getpid(), signal.SIGCHLD)  # for a command that ended before the wake-up descriptor was set
    # Only the command may hold its output open: its reader must see the end when the command ends.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for fd in own:
        os.close(fd)
    watch = Watch(told["watch"], told["directories"]) if told["watch"] else None
    return follow(leader, tag, (run_fd, wake_read), status_fd, stopped, watch)


def follow(
    leader: int, tag: int, ends: tuple[int, int], status_fd: int, stopped: list[int], watch: Watch | None
) -> int:
    """Returns when all processes of the command have ended, or were killed."""
    run_fd, wake_read = ends
    code: int | None = None
    while True:
        ready, _, _ = select.select(ends, [], [], WATCH_EVERY_S if watch else None)
        broken = watch.look(sorted(descendants(os.getpid()))) if watch else ""
        if stopped or broken or run_fd in ready:
            if broken and code is None:
                os.write(status_fd, f"{KILLED} {broken}".encode())
            kill_all(leader if code is None else None, tag)
            return KILLED
        with contextlib.suppress(BlockingIOError):
            while os.read(wake_read, 512):
                pass
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == leader:
                    code = os.waitstatus_to_exitcode(ended[1])
                    code = 128 - code if code < 0 else code
                    with contextlib.suppress(OSError):
                        os.write(status_fd, str(code).encode())
                        os.close(status_fd)
        except ChildProcessError:
            return code if code is not None else KILLED
