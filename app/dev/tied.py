"""Runs a foreign program that ends with its parent: `python -m agent_runner.app.dev.tied PROGRAM ARGUMENTS...`.

Our own processes read a pipe that their parent holds; a foreign program does not. On Linux the kernel ends it with its
parent. Elsewhere only its supervisor ends it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from agent_runner.clients.process.import_path import PYTHON

_SET_PARENT_DEATH_SIGNAL = 1


def tied(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in this way."""
    return [*PYTHON, "-m", "agent_runner.app.dev.tied", *argv]


def become(argv: Sequence[str]) -> None:
    """Turn this process into the program; never returns."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execvp(argv[0], list(argv))  # noqa: S606 - our own command line


if __name__ == "__main__":
    become(sys.argv[1:])
