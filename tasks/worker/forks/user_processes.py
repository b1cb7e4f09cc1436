"""Lets the agents' own code start processes with `multiprocessing`, in a process that Celery has set up for itself.

Three things prevent this. A child of the prefork pool is daemonic, and those may have no children. A forked process
inherits Celery's handlers: SIGTERM, with which every pool ends its processes, would only ask it to leave when it has
time. And a fork keeps its worker's connections open: it must end with the worker, or the server cannot see that the
worker died.

    open_to_forks()    once per process, where agents run, after Celery's own forks
"""

import multiprocessing.process
import os
import signal
import threading
import time
from typing import Any

from agent_runner.tasks.worker.forks.grpc_in_forks import guard_forks

CELERYS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LOOK_S = 1.0

_MAIN = multiprocessing.process.current_process()
"""The standard library's own process object, taken before any fork."""
_open = False
_mask = threading.local()
"""`before`: the signals that the forking thread had blocked."""


def open_to_forks() -> None:
    """Idempotent. Processes that are started by exec (commands, `spawn`) inherit none of it and are not changed."""
    global _open
    if _open:
        return
    _open = True
    stock: Any = multiprocessing.process
    if stock.current_process().daemon:
        # billiard has put its own, daemonic process here. billiard keeps that one. The standard library gets its own
        # back, with a key and names that its other parts can read.
        stock._current_process = _MAIN
        stock._children = set()
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
    guard_forks()


def _before() -> None:
    """A signal that arrives before the child has its own handlers would be lost, so signals wait until then."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, (*CELERYS, signal.SIGINT))


def _in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _in_child() -> None:
    signal.set_wakeup_fd(-1)
    for number in CELERYS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)
    threading.Thread(target=_end_with, args=(os.getppid(),), name="worker-watch", daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process after its parent. PR_SET_PDEATHSIG is no way: it is sent when the forking thread ends."""
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(0)
