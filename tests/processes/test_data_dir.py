"""`run` and `dev` where nothing can be written: one sentence, a next step, and no traceback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "agent-runner")
Place = Callable[[Path], tuple[Path, list[str]]]


def a_file(folder: Path) -> tuple[Path, list[str]]:
    (folder / "data").write_text("not a folder")
    return folder / "data", []


def below_a_file(folder: Path) -> tuple[Path, list[str]]:
    return a_file(folder)[0] / "deeper" / "data", []


def read_only(folder: Path) -> tuple[Path, list[str]]:
    """Root may write whatever the mode says: for root a file system that is mounted read-only."""
    place = folder / "read-only"
    place.mkdir()
    if os.getuid():
        place.chmod(0o555)
        return place / ".agent-runner", []
    unshare = shutil.which("unshare")
    mount = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    within = [str(unshare), "--mount", "sh", "-c", mount, str(place)]
    if unshare is None or subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    return place / ".agent-runner", within


@pytest.mark.parametrize("place", [a_file, below_a_file, read_only])
@pytest.mark.parametrize(
    "command", [["run", "hello"], ["dev", "--no-flower", "--http-port", "0", "--grpc-port", "0"]], ids=["run", "dev"]
)
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, command: list[str], place: Place) -> None:
    """Exit 1, which folder and why, and what to do."""
    folder, within = place(tmp_path)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AGENT_RUNNER_DATA_DIR": str(folder)}
    done = subprocess.run(
        [*within, PROGRAM, *command], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (1, 2), done.stderr
    assert lines[0].startswith(f"Error: the data directory {folder} cannot be written: ")
    assert lines[1].startswith("Next step: ")
    assert "AGENT_RUNNER_DATA_DIR" in lines[1]
    assert ("--data-dir" in lines[1]) == (command[0] == "dev")
