"""Signs of life for the supervisor, which ends a process that shows none.

A thread writes one each second. It needs the interpreter for that: code in C that keeps the interpreter to itself holds
up this thread like all the others, and nothing within the process could notice that and end it.
"""

import faulthandler
import os
import threading
import time

SIGNS_FD = "AGENT_RUNNER_SIGNS_FD"
EVERY_S = 1.0

_fd = -1
_silence_s = 0.0


def show_life(silence_s: float) -> None:
    """From now on, until `may_be_silent` says otherwise, this process may be silent for so long. Without a supervisor
    it does nothing. Call it again in a forked process.

    The supervisor asks with SIGABRT where the threads are. Python's handler answers on stderr without the interpreter,
    with names of files and functions only. It does the same when code in C crashes.
    """
    global _fd
    if given := os.environ.pop(SIGNS_FD, ""):
        _fd = int(given)
        os.set_inheritable(_fd, False)
        os.set_blocking(_fd, False)
        faulthandler.enable()
    if _fd >= 0:
        may_be_silent(silence_s)
        threading.Thread(target=_show, name="signs of life", daemon=True).start()


def may_be_silent(silence_s: float) -> None:
    """Any thread. The supervisor is told at once: the interpreter may be held from the next moment on."""
    global _silence_s
    if silence_s != _silence_s:
        _silence_s = silence_s
        _write()


def _show() -> None:
    while True:
        _write()
        time.sleep(EVERY_S)


def _write() -> None:
    if _fd >= 0:
        try:
            os.write(_fd, b"%d %g\n" % (os.getpid(), _silence_s))
        except OSError:
            return  # the supervisor has ended, or is stopped and the pipe is full
