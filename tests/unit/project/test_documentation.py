"""The documentation is whole, points to what exists, and says what the code says."""

import ast
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


WALK = ROOT / "docs/architecture/the-way-of-an-execution.md"
NAMED = re.compile(r"`((?:app|clients|status|tasks)/[\w/]+\.py)`, `([A-Za-z][\w.]*)`")


def defined(file: str) -> set[str]:
    """The functions and classes of a file, and the methods of the classes as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{one.name}" for one in inner}
    return found


def test_the_walk_leads_through_code_that_exists() -> None:
    """At most twelve stops, each with its file and its function; every function that is named is in its file."""
    stops = WALK.read_text().split("\n## ")[1:]
    numbered = [stop for stop in stops if stop[0].isdigit()]
    assert [int(stop.split(".")[0]) for stop in numbered] == list(range(1, len(numbered) + 1))
    assert 8 <= len(numbered) <= 12
    assert [stop.splitlines()[0] for stop in numbered if not NAMED.fullmatch(stop.splitlines()[2])] == []
    named = NAMED.findall(WALK.read_text())
    assert [f"{file}: {name}" for file, name in named if name not in defined(file)] == []
    assert WALK.relative_to(ROOT).as_posix() in (ROOT / "README.md").read_text()


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
