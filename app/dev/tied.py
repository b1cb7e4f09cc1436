"""Runs a foreign program that ends with its parent: `python -m agent_runner.app.dev.tied PROGRAM ARGUMENTS...`.

Our own processes read a pipe that their parent holds; a foreign program does not. On Linux the kernel ends it with its
parent. Elsewhere only its supervisor ends it.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from agent_runner.clients.process.import_path import PYTHON

PARENT_FD = "AGENT_RUNNER_PARENT_FD"
"""Names a pipe that ends with the stack which this process is a part of."""
KERNEL_ENDS = sys.platform == "linux"
_SET_PARENT_DEATH_SIGNAL = 1


def tied(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in this way."""
    return [*PYTHON, "-m", "agent_runner.app.dev.tied", *argv]


def become(argv: Sequence[str]) -> NoReturn:
    """Turn this process into the program."""
    parent = os.getppid()
    if KERNEL_ENDS:
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent or _stack_is_gone():  # it died before we asked
            sys.exit(1)
    os.execvp(argv[0], list(argv))  # noqa: S606 - our own command line


def _stack_is_gone() -> bool:
    """A process that imports much before it gets here may have lost its parent long ago."""
    if not (given := os.environ.get(PARENT_FD)):
        return False
    ends = select.poll()
    ends.register(int(given), 0)
    return bool(ends.poll(0))


if __name__ == "__main__":
    become(sys.argv[1:])
