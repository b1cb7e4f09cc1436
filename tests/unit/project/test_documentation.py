"""The documentation is whole, points to what exists, and says what the code says."""

import re
import subprocess
import sys

import pytest

from agent_runner.status.failures import FAILURES
from agent_runner.status.timeouts import TimeoutType
from checks import catalogue, file_length, links, paths
from checks.tree import ROOT, files


@pytest.mark.promise("0.29")
def test_every_link_leads_somewhere() -> None:
    """A link inside the repository names a file, and a heading of it, that exist."""
    assert [line for path in files(".md") for line in links.problems(path)] == []


def test_every_path_that_is_named_exists() -> None:
    """A file or folder of ours that a document names in code quotes is there."""
    assert [line for path in files(".md") for line in paths.problems(path)] == []


@pytest.mark.promise("0.29", "1.72")
def test_the_index_lists_every_document() -> None:
    """docs/README.md links to every document, and every document is named in lower case with hyphens."""
    assert catalogue.problems() == []


@pytest.mark.promise("1.93")
def test_no_file_is_too_long() -> None:
    """No Python file of ours is above the limit, but for the exceptions that say why."""
    assert file_length.problems(file_length.exceptions()) == []


@pytest.mark.promise("3.33", "4.60")
def test_generated_parts_are_up_to_date() -> None:
    """The diagram and the tables of failures, timeouts and settings are what the code says."""
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.promise("1.108")
def test_each_error_text_is_documented() -> None:
    """Whoever searches the documentation for the text of a failure, or its code, finds it."""
    text = (ROOT / "docs/architecture/error-propagation.md").read_text()
    assert [f.code for f in FAILURES.values() if f.says not in text or f.next_step not in text] == []


def test_each_code_can_be_looked_up() -> None:
    """Troubleshooting has one row per code, in order, that links to that code's text; documents name no other code."""
    text = (ROOT / "docs/guides/troubleshooting.md").read_text()
    rows = re.findall(r"^\| \[(E\d+)\]\(../architecture/error-propagation.md#(\S+)\) \|", text, re.MULTILINE)
    assert rows == [(f.code.value, f"{f.code.value}-{f.category}".lower()) for f in FAILURES.values()]
    named = {code for path in files(".md") for code in re.findall(r"\bE[1-9]\d\d\b", path.read_text())}
    assert named - {f.code.value for f in FAILURES.values()} == set()


@pytest.mark.promise("4.60")
def test_each_timeout_is_documented() -> None:
    """Every timeout has a row with its default and what sets it."""
    text = (ROOT / "docs/architecture/error-propagation.md").read_text()
    assert [t for t in TimeoutType if f"| {t.value.replace('_', '-')} |" not in text] == []
