"""The data directory of a command that brings its own stack: writable, or one sentence that says it is not."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_runner.app.cli.exits import Failed

NEXT_STEP = "Run it in a folder that you may write, or name one with AGENT_RUNNER_DATA_DIR{option}."


@contextmanager
def written_in(folder: Path, *, option: str = "") -> Iterator[None]:
    """Make `folder` and try it; within, what the system refuses there ends the command too. Raises `Failed`.

    `option` is the command's own for this setting. Tried by writing: root may do what the mode forbids, and nobody
    may write to a file system that is mounted read-only or full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".probe-", dir=folder) as probe:
            probe.write(b"x")
        yield
    except OSError as error:
        if not _is_there(error.filename, folder):
            raise
        why = (error.strerror or str(error)).lower()
        if isinstance(error, FileExistsError | NotADirectoryError):
            why = f"{error.filename} is no folder"
        next_step = NEXT_STEP.format(option=f" or {option}" if option else "")
        raise Failed(f"the data directory {folder} cannot be written: {why}", next_step=next_step) from None


def _is_there(name: object, folder: Path) -> bool:
    """Whether an error is about the folder, what is in it, or what it would be in."""
    if name is None:
        return True  # a write, of the probe
    if not isinstance(name, str | os.PathLike):
        return False
    place = Path(name)
    return place.is_relative_to(folder) or folder.is_relative_to(place)
