"""Starts the sandbox's own programs, which get neither the environment nor the descriptors of this process."""

import marshal
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import agent_runner

SOURCE = Path(agent_runner.__file__).absolute().parents[1]
_START = (
    "import sys; sys.path.append(sys.argv[1]); from agent_runner.clients.sandbox.programs.{} import main;"
    " sys.exit(main(int(sys.argv[2]), int(sys.argv[3])))"
)


def start(name: str, told: dict[str, Any], fds: tuple[int, int], *, also: Iterable[int] = (), output: int) -> Any:
    """Run `main` of the module `name` with two descriptors, and `told` on stdin. Raises OSError."""
    argv = [sys.executable, "-I", "-S", "-c", _START.format(name), str(SOURCE), *map(str, fds)]
    with _file(marshal.dumps(told)) as stdin:
        return subprocess.Popen(  # noqa: S603  our own program
            argv,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(*fds, *also),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )


def _file(data: bytes) -> IO[bytes]:
    """A file with this data, in memory if possible, because it may hold secrets."""
    file: IO[bytes]
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("told", os.MFD_CLOEXEC), "r+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    file.write(data)
    file.flush()
    file.seek(0)
    return file
