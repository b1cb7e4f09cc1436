"""The list of promises can be relied on, and the runner says of each row what its tests say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from checks.tree import ROOT
from tests.promises import LIST, Outcomes, Promise, promises


def test_every_row_is_read() -> None:
    """No row of the list is lost on the way, and no id stands twice."""
    written = re.findall(r"^\| (\d+\.\d+) ", LIST.read_text(), re.MULTILINE)
    assert [row.id for row in promises()] == written
    assert len(set(written)) == len(written)


def test_every_kept_promise_has_a_place_that_exists() -> None:
    """What is current or superseded names the file that keeps it; what comes later names none."""
    wrong: list[Promise] = [
        row for row in promises() if (row.state == "later") == bool(row.place) or not (ROOT / row.place).exists()
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (None, "no test"),
        (set(), "skipped"),
        ({"skipped"}, "skipped"),
        ({"passed"}, "passing"),
        ({"passed", "skipped"}, "passing"),
        ({"passed", "failed"}, "failing"),
    ],
)
def test_the_verdict_of_a_row(outcomes: set[str] | None, verdict: str) -> None:
    """One failing test makes a row fail; what did not run proves nothing."""
    seen = Outcomes()
    if outcomes is not None:
        seen.of_row["1.01"] = outcomes
    assert seen.verdict("1.01") == verdict


def test_the_runner_prints_each_row(tmp_path: Path) -> None:
    """Rows are printed as passing, failing or without a test, and a failing one fails the run."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    promise(id): proves a row\n")
    (tmp_path / "test_rows.py").write_text(
        "import pytest\n"
        "@pytest.mark.promise('0.01')\n"
        "def test_good(): pass\n"
        "@pytest.mark.promise('0.02', '0.03')\n"
        "def test_bad(): assert False\n"
        "def test_of_no_row(): assert False\n"
    )
    command = [sys.executable, "-m", "tests.promises", "-c", str(tmp_path / "pytest.ini"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if re.match(r"\d\.\d\d ", line)}
    assert "passing" in lines["0.01"]
    assert "FAILING" in lines["0.02"]
    assert "FAILING" in lines["0.03"]
    assert "no test" in lines["0.04"]
    assert done.returncode == 1
