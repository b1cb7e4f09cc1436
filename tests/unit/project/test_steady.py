"""What continuous integration does with a test that fails: once more alone, and then it counts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checks.steady import FEW
from checks.tree import ROOT

TESTS = """
from pathlib import Path
import pytest

def seen(name):
    file = Path(__file__).with_name(name + ".ran")
    known = file.exists()
    with file.open("a") as lines:
        lines.write("x")
    return known

def test_sound():
    seen("sound")

@pytest.mark.parametrize("name", {once})
def test_once(name):
    assert seen(name)

@pytest.mark.parametrize("name", {always})
def test_always(name):
    seen(name)
    assert not name
"""


def steady(folder: Path, *, once: list[str], always: list[str], processes: int = 0) -> tuple[int, str]:
    """The exit code and the output of a run of tests of which these fail the first time, or each time."""
    (folder / "test_some.py").write_text(TESTS.format(once=once, always=always))
    command = [sys.executable, "-m", "checks.steady", str(processes), "-q"]
    # Of all plugins only the one that is needed: pytest starts some times here.
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p xdist.plugin"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), **plugins}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def runs(folder: Path, name: str) -> int:
    return len((folder / f"{name}.ran").read_text())


def test_a_test_that_passes_alone_is_named_and_does_not_fail_the_run(tmp_path: Path) -> None:
    """It and no other runs a second time."""
    code, said = steady(tmp_path, once=["slow [1] at times"], always=[])
    assert code == 0, said
    assert "UNSTEADY: test_some.py::test_once[slow [1] at times]" in said
    assert (runs(tmp_path, "sound"), runs(tmp_path, "slow [1] at times")) == (1, 2)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_test_that_fails_twice_fails_the_run(tmp_path: Path, processes: int) -> None:
    """The one beside it that passed alone is named all the same."""
    code, said = steady(tmp_path, once=["slow"], always=["broken"], processes=processes)
    assert code == 1, said
    assert "FAILED TWICE: test_some.py::test_always[broken]" in said
    assert "UNSTEADY: test_some.py::test_once[slow]" in said
    assert "FAILED TWICE: test_some.py::test_once" not in said


def test_many_failures_are_not_run_again(tmp_path: Path) -> None:
    """They would all pass the second time."""
    names = [f"n{number}" for number in range(FEW + 1)]
    code, said = steady(tmp_path, once=names, always=[])
    assert code == 1, said
    assert "UNSTEADY" not in said
    assert [runs(tmp_path, name) for name in names] == [1] * len(names)


def test_tests_that_cannot_run_fail_at_once(tmp_path: Path) -> None:
    """A file that is no Python is no test that was slow."""
    (tmp_path / "test_broken.py").write_text("def")
    code, said = steady(tmp_path, once=[], always=[])
    assert code != 0
    assert "UNSTEADY" not in said


def test_a_run_without_failures_says_nothing(tmp_path: Path) -> None:
    """And leaves nothing in the folder."""
    code, said = steady(tmp_path, once=[], always=[])
    assert (code, "UNSTEADY" in said, "again" in said) == (0, False, False)
    assert not (tmp_path / ".pytest_cache").exists()
