"""The workflows of the forge do what the Makefile and pyproject.toml say."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_workflow_makes_is_a_target(workflow: Path) -> None:
    """No step calls a target that is not there."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {target for step in steps(workflow) for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    assert called <= targets


def test_every_supported_python_is_tested() -> None:
    """The matrix and the classifiers name the same versions, the oldest is the one that is required."""
    matrix = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    named = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.fullmatch(r".*:: 3\.\d+", c)]
    assert matrix["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_tests_of_the_workflow_have_their_services() -> None:
    """Nothing is skipped there for want of a server: each variable points at a service of the job."""
    job = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]
    ports = {port.split(":")[0] for service in job["services"].values() for port in service["ports"]}
    wanted = {re.search(r":(\d+)/", url).group(1) for url in job["env"].values()}  # type: ignore[union-attr]
    assert wanted <= ports
    used = set(re.findall(r"AGENT_RUNNER_TEST_[A-Z]+_URL", (ROOT / "docs/guides/testing.md").read_text()))
    assert set(job["env"]) == used
