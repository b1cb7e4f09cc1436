"""Checks that the data directory of a command that starts its own stack is writable."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_runner.app.cli.exits import Failed

NEXT_STEP = "Run it in a folder that you may write, or name one with AGENT_RUNNER_DATA_DIR{option}."


@contextmanager
def written_in(folder: Path, *, option: str = "") -> Iterator[None]:
    """Makes `folder` and writes to it. Raises `Failed` if that is refused, now or later in the block.

    `option` is the command's option for this setting. The mode of the folder is not enough for this check: root may
    write against it, and nobody can write to a file system that is full or mounted read-only.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".probe-", dir=folder) as probe:
            probe.write(b"x")
        yield
    except OSError as error:
        if isinstance(error, ConnectionError) or not _is_there(error.filename, folder):
            raise  # who reads our output has left (`| head`), for one: no file is meant
        why = (error.strerror or str(error)).lower()
        if isinstance(error, FileExistsError | NotADirectoryError):
            why = f"{error.filename} is no folder"
        next_step = NEXT_STEP.format(option=f" or {option}" if option else "")
        raise Failed(f"the data directory {folder} cannot be written: {why}", next_step=next_step) from None


def _is_there(name: object, folder: Path) -> bool:
    """Whether the path of an error is the folder, a path in it, or one of its parents."""
    if name is None:
        return True  # the write of the probe failed: such an error has no path
    if not isinstance(name, str | os.PathLike):
        return False
    place = Path(name)
    return place.is_relative_to(folder) or folder.is_relative_to(place)
