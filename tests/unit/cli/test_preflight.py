"""`doctor` before anything runs: each finding names its fix, and with the fix it is gone."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_runner.app.cli.checks import Check
from agent_runner.app.cli.preflight import check_graphs, check_keys, check_names
from agent_runner.clients.settings.settings import Settings, SettingsError, load_settings
from checks.tree import ROOT

NEVER_RUN = "raise SystemExit('no code of the user runs')\n"
GRAPHS: Any = {"g": "./flow.py:graph"}
STRONG = "a-key-that-is-long-enough-for-production"


def loaded() -> Settings:
    """As `doctor` loads them: also where they are wrong."""
    try:
        return load_settings("doctor", env_file=Path("absent.env"))
    except SettingsError as error:
        return error.settings


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("AGENT_RUNNER_CONCURENCY", "AGENT_RUNNER_CONCURRENCY"),
        ("AGENT_RUNNER_DATABSE_URL", "AGENT_RUNNER_DATABASE_URL"),
        ("AGENT_RUNNER_DATABASE_URI", "AGENT_RUNNER_DATABASE_URL"),
        ("AGENT_RUNNER_ALLOWED_HOST", "AGENT_RUNNER_ALLOWED_HOSTS"),
        ("AGENT_RUNNER_HTTPPORT", "AGENT_RUNNER_HTTP_PORT"),
        ("STIGMER_APIKEY", "STIGMER_API_KEY"),
        ("STIGMER_LLM_MODELL", "STIGMER_LLM_MODEL"),
    ],
)
def test_a_misspelt_name(wrong: str, right: str, clean_environment: Path) -> None:
    """It fails `doctor`, which names the setting that was meant; renamed, nothing is found."""
    os.environ[wrong] = "1"
    (check,) = check_names(loaded())
    assert (check.up, check.required) == (False, True)
    assert wrong in check.why
    assert check.fix == f"Rename it to {right}."
    os.environ[right] = os.environ.pop(wrong)
    assert check_names(loaded()) == []


def test_a_name_of_nothing(clean_environment: Path) -> None:
    """A name that is like no setting is told and fails nothing; it may be another program's."""
    os.environ["AGENT_RUNNER_COLOUR_OF_THE_OFFICE"] = "green"
    (check,) = check_names(loaded())
    assert (check.required, check.fix) == (False, "Take it away.")
    del os.environ["AGENT_RUNNER_COLOUR_OF_THE_OFFICE"]
    assert check_names(loaded()) == []


def test_names_in_our_own_files_are_known(clean_environment: Path) -> None:
    """What `.env.example` and the guide for Compose name is a finding of nobody."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    os.environ |= {line.strip("# ").partition("=")[0]: "1" for line in lines if line.startswith("#AGENT_RUNNER_")}
    os.environ["AGENT_RUNNER_WORKER_KEY"] = "x"
    assert check_names(Settings.model_construct()) == []


@pytest.mark.parametrize(
    ("given", "fixed"),
    [
        ({}, {"STIGMER_API_KEY": STRONG}),
        ({"STIGMER_API_KEY": "short", "AGENT_RUNNER_BIND": "0.0.0.0"}, {"STIGMER_API_KEY": STRONG}),
    ],
)
def test_a_key_that_is_missing_or_weak(given: dict[str, str], fixed: dict[str, str], clean_environment: Path) -> None:
    """In production; the fix names the variable, and setting it ends the finding."""
    os.environ |= {"MODE": "production", **given}
    (check,) = check_keys(loaded())
    assert not check.up
    assert next(iter(fixed)) in check.fix
    os.environ |= fixed
    assert check_keys(loaded()) == []


def test_a_local_stack_needs_no_key(clean_environment: Path) -> None:
    """`MODE=local` has defaults for both."""
    assert check_keys(loaded()) == []


def document(**given: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "langgraph.json").write_text(json.dumps({"graphs": GRAPHS, **given}))


def source(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "flow.py").write_text(NEVER_RUN + text)


@pytest.mark.parametrize(
    ("broken", "said", "fix", "mended"),
    [
        (document(graphs={}), "names no graphs", '{"graphs"', document()),
        (document(graphs={"g": "./flow.py"}), "graph 'g' is './flow.py'", "./file.py:graph", document()),
        (document(graphs={"g": "./flaw.py:graph"}), "flaw.py does not exist", "relative to", document()),
        (document(graphs={"g": {"path": "./flow.py:grpah"}}), "defines no 'grpah'", "./flow.py:graph", document()),
        (document(graphs={"g": "no_such_package.flow:graph"}), "'no_such_package'", "Install", document()),
        (document(dependencies="."), "no list", '["."', document(dependencies=["."])),
        (document(dependencies=["./lib"]), "./lib", "Mend", document(dependencies=["."])),
        (document(dependencies=["no-such-package>=1"]), "not installed", "'no-such-package>=1'", document()),
        (document(env=".env"), "does not exist", "Make the file", document(env={"A": "b"})),
        (document(env=1), "neither a file", '".env"', document(env={})),
        (source("other = 1\n"), "defines no 'graph'", "Define 'graph'", source("graph = 1\n")),
        (source("graph = (\n"), "is not Python", "Mend the file", source("graph = ()\n")),
        (lambda folder: (folder / "langgraph.json").write_text("{"), "cannot be read", "Mend the file", document()),
    ],
)
def test_graphs_that_will_not_load(
    broken: Callable[[Path], object], said: str, fix: str, mended: Callable[[Path], object], clean_environment: Path
) -> None:
    """Each is told before a run finds it out, without running any of it; mended, the graphs are named."""
    source("if True:\n    graph = object()\n")(clean_environment)
    document()(clean_environment)
    broken(clean_environment)
    (check,) = check_graphs(loaded())
    assert (check.up, said in check.why, fix in check.fix) == (False, True, True), check
    mended(clean_environment)
    (check,) = check_graphs(loaded())
    assert (check.up, check.why) == (True, f"{clean_environment / 'langgraph.json'}: g"), check


@pytest.mark.parametrize(
    "text",
    [
        "def graph(config): ...",
        "async def graph(config): ...",
        "from elsewhere import made as graph",
        "from elsewhere import *",
        "graph: object = 1",
        "try:\n    graph = 1\nexcept Exception:\n    raise",
        "with open('x') as graph: ...",
        "for graph in (): ...",
        "(graph := 1)",
        "a, (graph, b) = 1, (2, 3)",
        "globals()['gr' + 'aph'] = 1",
    ],
)
def test_every_form_of_a_definition(text: str, clean_environment: Path) -> None:
    """What Python would bind is found, and what only a run could tell is not called missing."""
    source(text)(clean_environment)
    document()(clean_environment)
    assert [check.up for check in check_graphs(loaded())] == [True]


def test_a_package_beside_the_file(clean_environment: Path) -> None:
    """It is found in the folders that a worker would look in, also below `src`."""
    (clean_environment / "lib" / "src" / "own_flow").mkdir(parents=True)
    document(graphs={"g": "own_flow.main:graph"}, dependencies=["./lib"])(clean_environment)
    assert [check.up for check in check_graphs(loaded())] == [True]


def test_the_file_itself(clean_environment: Path) -> None:
    """Without one there is nothing to say, unless the setting names it."""
    assert check_graphs(loaded()) == []
    os.environ["AGENT_RUNNER_GRAPHS"] = "graphs/langgraph.json"
    (check,) = check_graphs(loaded())
    assert (check.up, "AGENT_RUNNER_GRAPHS" in check.fix) == (False, True)
    del os.environ["AGENT_RUNNER_GRAPHS"]
    assert check_graphs(loaded()) == []
    assert isinstance(check, Check)
